//! Tests with the real program: real processes, real repositories, the scripted agent; and
//! of its architecture.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start processes and fail loudly"
)]

mod admission;
mod announcing;
mod architecture;
mod asking;
mod attach;
mod chaos;
mod configuration;
mod crash;
mod delivery;
mod dependencies;
mod doctor;
#[path = "../support/fault_rows.rs"]
mod fault_rows;
mod fault_table;
mod faults;
mod full_disk;
mod gate;
#[path = "../support/guard_rows.rs"]
#[allow(unreachable_pub, reason = "shared with the other tests")]
mod guard_rows;
mod harness;
mod history;
mod hooks;
mod install;
#[path = "../support/instance.rs"]
mod instance;
mod isolation;
mod issues;
mod journal_fixture;
mod keeper;
mod leftovers;
mod liveness;
mod merging;
mod money;
mod ownership;
mod provider;
mod queue;
mod queue_base;
mod queue_faults;
mod queue_lockfiles;
mod radar;
mod refusals;
mod resolving;
mod restore;
#[path = "../support/scratch.rs"]
mod scratch;
mod set_aside;
mod speaking;
mod steering;
mod supervise;
mod surroundings;
#[path = "../support/terminal.rs"]
#[allow(unreachable_pub, reason = "shared with the other tests")]
mod terminal;
mod tidying;
mod undo;
mod upkeep;
mod whole_run;
