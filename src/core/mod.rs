//! The pure heart: no file system, clock, environment, process or git in here.
//!
//! Everything is a plain value; the same input always gives the same output. The
//! other rooms bring facts in as values and carry decisions out as effects.

pub mod admission;
pub mod attempt;
pub mod breaker;
pub mod budget;
pub mod claim;
pub mod conditions;
pub mod delivery;
pub mod doubt;
pub mod estimate;
pub mod event;
pub mod graph;
pub mod history;
pub mod id;
pub mod liveness;
pub mod memory;
pub mod overlap;
pub mod permission;
pub mod plan;
pub mod queue;
pub mod record;
pub mod retry;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod step;
pub mod time;
pub mod together;
