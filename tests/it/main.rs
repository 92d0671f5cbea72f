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
mod delivery;
mod dependencies;
mod faults;
mod gate;
mod harness;
mod hooks;
#[path = "../support/instance.rs"]
mod instance;
mod journal_fixture;
mod leftovers;
mod radar;
mod refusals;
mod restore;
mod set_aside;
mod steering;
mod supervise;
mod surroundings;
mod tidying;
mod undo;
mod upkeep;
mod whole_run;
