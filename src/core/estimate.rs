//! How long a plan probably takes, by the estimates that it gives itself. Where one is
//! missing nothing is said: a figure that nobody gave would be an invention.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::core::plan::{TaskIx, ValidPlan};

/// How long a plan probably takes, in minutes, by the estimates that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanEstimate {
    /// Every task gives an estimate.
    Known {
        /// One task after the other.
        in_sequence: u64,
        /// With as many workers as the graph can use: the critical path.
        at_best: u64,
        /// With the given number of workers, started in the order of the scheduler.
        with_workers: u64,
    },
    /// Not every task gives one, so that nothing can be said.
    Unknown {
        /// How many tasks give one.
        given: usize,
    },
}

/// Estimates how long `plan` takes with `workers` at once (0 counts as 1). Merging and
/// verifying are not in it.
#[must_use]
pub fn estimate(plan: &ValidPlan, workers: usize) -> PlanEstimate {
    let minutes: Vec<u64> = plan
        .tasks()
        .iter()
        .filter_map(|task| task.estimated_minutes.map(u64::from))
        .collect();
    if minutes.len() < plan.len() {
        return PlanEstimate::Unknown {
            given: minutes.len(),
        };
    }
    let longest = plan.ixs().map(|ix| plan.remaining_chain(ix)).max();
    PlanEstimate::Known {
        in_sequence: minutes.iter().sum(),
        at_best: longest.unwrap_or(0),
        with_workers: play(plan, &minutes, workers.max(1)),
    }
}

/// Plays the run through: whenever a worker is free it takes the first ready task.
fn play(plan: &ValidPlan, minutes: &[u64], workers: usize) -> u64 {
    let mut missing: Vec<usize> = plan.ixs().map(|ix| plan.deps(ix).len()).collect();
    let mut ready: BTreeSet<_> = plan
        .ixs()
        .filter(|ix| missing[ix.index()] == 0)
        .map(|ix| (plan.start_order(ix), ix))
        .collect();
    let mut running: BinaryHeap<Reverse<(u64, TaskIx)>> = BinaryHeap::new();
    let mut now = 0;
    loop {
        while running.len() < workers
            && let Some((_, ix)) = ready.pop_first()
        {
            running.push(Reverse((now + minutes[ix.index()], ix)));
        }
        let Some(Reverse((end, ix))) = running.pop() else {
            return now;
        };
        now = end;
        for next in plan.dependents(ix) {
            missing[next.index()] -= 1;
            if missing[next.index()] == 0 {
                ready.insert((plan.start_order(*next), *next));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::plan::{Faults, Limits, Plan, TaskDraft};

    fn plan(tasks: &[(&str, Option<f64>, &[&str])]) -> ValidPlan {
        let tasks = tasks.iter().map(|(name, minutes, needs)| TaskDraft {
            estimated_minutes: *minutes,
            ..TaskDraft::new(*name).after(needs.iter().copied())
        });
        let plan = Plan {
            tasks: tasks.collect(),
            ..Plan::default()
        };
        plan.validate(&Limits::default(), Faults::default())
            .unwrap()
            .0
    }

    #[test]
    fn a_diamond_by_workers() {
        let plan = plan(&[
            ("a", Some(10.0), &[]),
            ("b", Some(20.0), &["a"]),
            ("c", Some(30.0), &["a"]),
            ("d", Some(4.5), &["b", "c"]),
        ]);
        for (workers, with_workers) in [(0, 65), (1, 65), (2, 45), (9, 45)] {
            assert_eq!(
                estimate(&plan, workers),
                PlanEstimate::Known {
                    in_sequence: 65,
                    at_best: 45,
                    with_workers
                }
            );
        }
    }

    #[test]
    fn a_missing_estimate_is_not_made_up() {
        let plan = plan(&[("a", Some(10.0), &[]), ("b", None, &[])]);
        assert_eq!(estimate(&plan, 2), PlanEstimate::Unknown { given: 1 });
    }
}
