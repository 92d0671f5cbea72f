//! How long a plan probably takes, by the estimates that it gives itself and by how long such
//! tasks took before. Where neither is known nothing is said: a figure that nobody gave or
//! measured would be an invention.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::core::history::Learned;
use crate::core::plan::{TaskIx, ValidPlan};

/// How long a plan probably takes, in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanEstimate {
    /// Something is known of every task.
    Known {
        /// One task after the other.
        in_sequence: u64,
        /// With as many workers as the graph can use: the critical path.
        at_best: u64,
        /// With the given number of workers, started in the order of the scheduler.
        with_workers: u64,
        /// Of how many tasks only the past says something.
        learned: usize,
    },
    /// Of some tasks nothing is known, so that nothing can be said.
    Unknown {
        /// Of how many tasks something is known.
        given: usize,
    },
}

/// Estimates how long `plan` takes with `workers` at once (0 counts as 1), by what the plan
/// says, else by what was learned. Merging and verifying are not in it.
#[must_use]
pub fn estimate(plan: &ValidPlan, learned: &Learned, workers: usize) -> PlanEstimate {
    let known = plan.ixs().filter_map(|ix| learned.minutes(plan, ix));
    let minutes: Vec<u64> = known.collect();
    if minutes.len() < plan.len() {
        return PlanEstimate::Unknown {
            given: minutes.len(),
        };
    }
    let chains = learned.chains(plan);
    PlanEstimate::Known {
        in_sequence: minutes.iter().sum(),
        at_best: chains.iter().max().copied().unwrap_or(0),
        with_workers: play(plan, &chains, &minutes, workers.max(1)),
        learned: plan
            .tasks()
            .iter()
            .filter(|task| task.estimated_minutes.is_none())
            .count(),
    }
}

/// Plays the run through: whenever a worker is free it takes the first ready task.
fn play(plan: &ValidPlan, chains: &[u64], minutes: &[u64], workers: usize) -> u64 {
    let order = |ix: TaskIx| {
        (
            Reverse(plan.task(ix).priority),
            Reverse(chains[ix.index()]),
            ix,
        )
    };
    let mut missing: Vec<usize> = plan.ixs().map(|ix| plan.deps(ix).len()).collect();
    let mut ready: BTreeSet<_> = plan
        .ixs()
        .filter(|ix| missing[ix.index()] == 0)
        .map(|ix| (order(ix), ix))
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
                ready.insert((order(*next), *next));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::Guess;
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
                estimate(&plan, &Learned::default(), workers),
                PlanEstimate::Known {
                    in_sequence: 65,
                    at_best: 45,
                    with_workers,
                    learned: 0,
                }
            );
        }
    }

    #[test]
    fn a_missing_estimate_is_not_made_up() {
        let plan = plan(&[("a", Some(10.0), &[]), ("b", None, &[])]);
        let nothing = Learned::default();
        assert_eq!(
            estimate(&plan, &nothing, 2),
            PlanEstimate::Unknown { given: 1 }
        );
        let learned = Learned {
            durations: [(
                plan.tasks()[1].name.clone(),
                Guess {
                    minutes: 7,
                    tasks: 3,
                    kind: None,
                },
            )]
            .into(),
            ..nothing
        };
        assert_eq!(
            estimate(&plan, &learned, 2),
            PlanEstimate::Known {
                in_sequence: 17,
                at_best: 10,
                with_workers: 10,
                learned: 1
            }
        );
    }
}
