//! How long a plan probably takes.

use crate::core::plan::ValidPlan;

/// How long a plan probably takes, in minutes, by the estimates that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanEstimate {
    /// Every task gives an estimate.
    Known {
        /// One task after the other.
        in_sequence: u64,
        /// With as many workers as the graph can use: the critical path.
        at_best: u64,
        /// With the given number of workers.
        with_workers: u64,
    },
    /// Not every task gives one, so that nothing can be said.
    Unknown {
        /// How many tasks give one.
        given: usize,
    },
}

/// Estimates how long `plan` takes with `workers` at once (at least 1).
#[must_use]
pub fn estimate(plan: &ValidPlan, workers: usize) -> PlanEstimate {
    let _ = (plan, workers);
    PlanEstimate::Unknown { given: 0 }
}
