//! Tests with the real program: real processes, real repositories, the scripted agent; and
//! of its architecture.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start processes and fail loudly"
)]

mod architecture;
mod dependencies;
mod faults;
mod gate;
mod harness;
#[path = "../support/instance.rs"]
mod instance;
mod refusals;
mod supervise;
mod whole_run;
