//! Figures about a run as a whole. All of them rest on something measured; where nothing
//! was measured the answer says so.

use crate::core::state::TaskState;
use crate::core::time::{Millis, Timestamp};
use crate::format::status_file::Tokens;

use super::snapshot::{Snapshot, Standing, TaskView, Word};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overall {
    /// Percent of the whole: tasks that are done, and of the others what their instances'
    /// own lists say is done.
    pub percent: u8,
    /// Tasks done.
    pub done: usize,
    /// Tasks in all.
    pub total: usize,
    /// Instances at work that report no progress; they count as nothing done yet.
    pub unmeasured: usize,
}

/// How far the run is; `None` without a readable plan.
#[must_use]
pub fn overall(snapshot: &Snapshot) -> Option<Overall> {
    let total = snapshot.tasks.len();
    if total == 0 {
        return None;
    }
    let sum: usize = snapshot
        .tasks
        .iter()
        .map(|t| usize::from(t.percent().unwrap_or(0)))
        .sum();
    let unmeasured = snapshot
        .tasks
        .iter()
        .filter(|t| t.is_active() && t.percent().is_none())
        .count();
    Some(Overall {
        percent: u8::try_from(sum / total).unwrap_or(100),
        done: snapshot.done(),
        total,
        unmeasured,
    })
}

/// How long tasks still take, integration not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeLeft {
    /// No task is left.
    Over,
    /// It cannot be said; why, for people.
    Unknown(&'static str),
    /// About so long.
    About {
        /// The time.
        left: Millis,
        /// What it rests on, for people.
        basis: String,
    },
}

/// How long the tasks of a run still take.
///
/// For an instance that keeps a list, the rest of its list at its pace so far; for other
/// tasks the plan's estimates, corrected by how long finished ones really took, or else the
/// mean of the finished tasks. Put together with the dependencies and the number of workers.
#[must_use]
pub fn time_left(snapshot: &Snapshot) -> TimeLeft {
    match snapshot.standing {
        Standing::Finished { .. } | Standing::Integrating(_) => return TimeLeft::Over,
        Standing::Planned => return by_estimates(snapshot),
        Standing::Unknown => return TimeLeft::Unknown("the run's files cannot be read"),
        Standing::Running if snapshot.paused => return TimeLeft::Unknown("the run is paused"),
        Standing::Running if snapshot.cancelling => return TimeLeft::Unknown("the run is ending"),
        Standing::Running => {}
    }
    by_estimates(snapshot)
}

fn by_estimates(snapshot: &Snapshot) -> TimeLeft {
    let left: Vec<&TaskView> = unsettled(snapshot).collect();
    if left.is_empty() {
        return TimeLeft::Over;
    }
    if left.iter().any(|t| t.word() == Word::Stuck) {
        return TimeLeft::Unknown("an instance waits for an answer");
    }
    if left.iter().any(|t| t.held) {
        return TimeLeft::Unknown("a task is paused");
    }
    let scale = Scale::of(snapshot);
    let mut own_lists = 0;
    let mut remaining = Vec::with_capacity(snapshot.tasks.len());
    for task in &snapshot.tasks {
        let ms = if task.state.is_settled() {
            0
        } else if let Some(ms) = by_own_list(task, snapshot.taken_at) {
            own_lists += 1;
            ms
        } else {
            match scale.expected(task) {
                Some(expected) => expected
                    .saturating_sub(in_work(task, snapshot.taken_at))
                    .max(expected / 10),
                None => return TimeLeft::Unknown("no past tasks to go by, none finished yet"),
            }
        };
        remaining.push(ms);
    }
    let mut basis = Vec::new();
    if own_lists > 0 {
        basis.push("todo lists of the instances".to_owned());
    }
    if own_lists < left.len() {
        basis.push(scale.basis());
    }
    TimeLeft::About {
        left: Millis(schedule(snapshot, &remaining)),
        basis: format!("by {}", basis.join(" and ")),
    }
}

fn unsettled(snapshot: &Snapshot) -> impl Iterator<Item = &TaskView> {
    snapshot.tasks.iter().filter(|t| !t.state.is_settled())
}

fn in_work(task: &TaskView, now: Timestamp) -> u64 {
    match (&task.state, task.attempt_started_at) {
        (TaskState::Active(_), Some(start)) => now.since(start).0,
        _ => 0,
    }
}

/// What the rest of the instance's list takes at its pace so far. Too little done says
/// nothing yet, and a list that is done says nothing of what comes after it.
fn by_own_list(task: &TaskView, now: Timestamp) -> Option<u64> {
    if !task.is_active() {
        return None;
    }
    let percent = u64::from(task.percent()?);
    let worked = in_work(task, now);
    (10..100)
        .contains(&percent)
        .then(|| worked * (100 - percent) / percent)
}

/// How long a task takes that nothing else is known of.
struct Scale {
    finished: usize,
    mean: Option<u64>,
    /// Measured milliseconds per estimated minute.
    per_minute: Option<u64>,
    /// Whose estimates they are.
    estimates: &'static str,
}

impl Scale {
    fn of(snapshot: &Snapshot) -> Self {
        let done: Vec<&TaskView> = snapshot
            .tasks
            .iter()
            .filter(|t| matches!(t.state, TaskState::Done { .. }))
            .collect();
        let worked: u64 = done.iter().map(|t| t.worked.0).sum();
        let minutes: Option<u64> = done
            .iter()
            .map(|t| t.estimated_minutes.map(u64::from))
            .sum();
        let per_minute = match minutes {
            Some(minutes) if minutes > 0 => Some(worked / minutes),
            _ if done.is_empty() => Some(60_000),
            _ => None,
        };
        let learned = unsettled(snapshot)
            .filter(|t| t.estimate_is_learned)
            .count();
        Self {
            estimates: match learned {
                0 => "the plan's estimates",
                n if n == unsettled(snapshot).count() => "past tasks here",
                _ => "the plan's estimates and past tasks here",
            },
            finished: done.len(),
            mean: worked.checked_div(done.len() as u64),
            per_minute: per_minute
                .filter(|_| unsettled(snapshot).all(|t| t.estimated_minutes.is_some())),
        }
    }

    fn expected(&self, task: &TaskView) -> Option<u64> {
        match (self.per_minute, task.estimated_minutes) {
            (Some(ms), Some(minutes)) => Some(ms * u64::from(minutes)),
            _ => self.mean,
        }
    }

    fn basis(&self) -> String {
        let finished = super::page::plural(self.finished, "finished task");
        match (self.per_minute.is_some(), self.finished) {
            (true, 0) => self.estimates.to_owned(),
            (true, _) => format!("{} and {finished}", self.estimates),
            (false, _) => finished,
        }
    }
}

/// When the last task ends, when every task takes as long as `remaining` says and starts as
/// soon as there is room.
fn schedule(snapshot: &Snapshot, remaining: &[u64]) -> u64 {
    let tasks = &snapshot.tasks;
    let slots = snapshot.workers.unwrap_or(1).max(1) as usize;
    let mut ended: Vec<bool> = tasks.iter().map(|t| t.state.is_settled()).collect();
    let mut running: Vec<(u64, usize)> = tasks
        .iter()
        .enumerate()
        .filter(|(_, t)| t.is_active())
        .map(|(at, _)| (remaining.get(at).copied().unwrap_or(0), at))
        .collect();
    let mut now = 0;
    loop {
        for at in 0..tasks.len() {
            let ready = !ended[at]
                && !running.iter().any(|(_, other)| *other == at)
                && tasks[at]
                    .needs
                    .iter()
                    .chain(&tasks[at].after)
                    .all(|dep| ended[*dep]);
            if ready && running.len() < slots {
                running.push((now + remaining.get(at).copied().unwrap_or(0), at));
            }
        }
        let Some(first) = running.iter().min().copied() else {
            return now;
        };
        running.retain(|entry| *entry != first);
        ended[first.1] = true;
        now = now.max(first.0);
    }
}

/// What the tasks of a run changed, used and cost together. A sum of which a part is not
/// known is not known; `None` then.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Files changed; a file that two tasks changed counts twice.
    pub files: Option<u64>,
    /// Lines added.
    pub added: Option<u64>,
    /// Lines removed.
    pub removed: Option<u64>,
    /// Money, US dollars.
    pub cost_usd: Option<f64>,
    /// Tokens.
    pub tokens: Option<Tokens>,
    /// Time of all attempts together.
    pub worked: Millis,
}

/// Sums over the tasks that were begun; money, tokens and time with those of the instances
/// that resolved conflicts between them. None of them: nothing is known.
#[must_use]
pub fn totals(snapshot: &Snapshot) -> Totals {
    let begun: Vec<_> = snapshot.tasks.iter().filter(|t| t.attempts > 0).collect();
    let statuses: Vec<_> = begun.iter().map(|t| t.status.as_ref()).collect();
    let paid: Vec<_> = snapshot
        .rows()
        .filter(|t| t.attempts > 0)
        .map(|t| t.status.as_ref())
        .collect();
    fn sum<T: Copy>(parts: impl Iterator<Item = Option<T>>, add: impl Fn(T, T) -> T) -> Option<T> {
        let all: Option<Vec<T>> = parts.collect();
        all?.into_iter().reduce(add)
    }
    let of = |field: fn(&crate::format::status_file::StatusFile) -> Option<u64>| {
        sum(statuses.iter().map(|s| s.and_then(field)), |a, b| a + b)
    };
    Totals {
        files: of(|s| s.files_changed.map(u64::from)),
        added: of(|s| s.lines_added),
        removed: of(|s| s.lines_removed),
        cost_usd: sum(paid.iter().map(|s| s.and_then(|s| s.cost_usd)), |a, b| {
            a + b
        }),
        tokens: sum(paid.iter().map(|s| s.and_then(|s| s.tokens)), |a, b| {
            Tokens {
                input: a.input + b.input,
                output: a.output + b.output,
                cache_creation: a.cache_creation + b.cache_creation,
                cache_read: a.cache_read + b.cache_read,
            }
        }),
        worked: Millis(snapshot.rows().map(|t| t.worked.0).sum()),
    }
}

/// The number of worktrees that are on disk, as far as the run made them.
#[must_use]
pub fn worktrees(snapshot: &Snapshot) -> usize {
    let there = |t: &&TaskView| t.worktree_exists;
    snapshot.rows().filter(there).count()
}

/// The phase in work, from 1, of how many; `None` when all tasks may run at the same time
/// or all phases are over.
#[must_use]
pub fn phase(snapshot: &Snapshot) -> Option<(usize, usize)> {
    if snapshot.phases.len() < 2 {
        return None;
    }
    let open = |phase: &Vec<usize>| {
        phase
            .iter()
            .filter_map(|at| snapshot.tasks.get(*at))
            .any(|t| !t.state.is_settled())
    };
    let at = snapshot.phases.iter().position(open)?;
    Some((at + 1, snapshot.phases.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testkit::{Sample, T0};

    #[test]
    fn percent_counts_done_tasks_and_measured_lists_only() {
        let snapshot = Sample::chain(4)
            .done("t1", 60)
            .working("t2", 30, Some(50))
            .build();
        let overall = overall(&snapshot).unwrap();
        assert_eq!(
            (overall.percent, overall.done, overall.unmeasured),
            (37, 1, 0)
        );
        let snapshot = Sample::chain(4)
            .done("t1", 60)
            .working("t2", 30, None)
            .build();
        assert_eq!(super::overall(&snapshot).unwrap().percent, 25);
        assert_eq!(super::overall(&snapshot).unwrap().unmeasured, 1);
    }

    #[test]
    fn time_left_is_unknown_until_something_was_measured() {
        let left = |sample: Sample| time_left(&sample.build());
        assert_eq!(
            left(Sample::chain(3)),
            TimeLeft::Unknown("no past tasks to go by, none finished yet")
        );
        // One of 60 s is done; one is 20 s in, one has yet to start: 40 + 60.
        assert_eq!(
            left(Sample::chain(3).done("t1", 60).working("t2", 20, None)),
            TimeLeft::About {
                left: Millis::from_secs(100),
                basis: "by 1 finished task".into()
            }
        );
        // Its own list says half after 20 s: 20 more.
        assert_eq!(
            left(Sample::chain(3).done("t1", 60).working("t2", 20, Some(50))),
            TimeLeft::About {
                left: Millis::from_secs(80),
                basis: "by todo lists of the instances and 1 finished task".into()
            }
        );
        assert_eq!(
            left(
                Sample::chain(2)
                    .done("t1", 60)
                    .stuck("t2", 20, "which key?")
            ),
            TimeLeft::Unknown("an instance waits for an answer")
        );
        assert_eq!(left(Sample::chain(1).done("t1", 9)), TimeLeft::Over);
    }

    #[test]
    fn estimates_of_the_plan_are_corrected_by_what_was_measured() {
        let mut snapshot = Sample::flat(3).done("t1", 120).build();
        for task in &mut snapshot.tasks {
            task.estimated_minutes = Some(1);
        }
        // A minute took two; two tasks are left and may run at once.
        assert_eq!(
            time_left(&snapshot),
            TimeLeft::About {
                left: Millis::from_secs(120),
                basis: "by the plan's estimates and 1 finished task".into()
            }
        );
        snapshot.workers = Some(1);
        assert!(matches!(
            time_left(&snapshot),
            TimeLeft::About {
                left: Millis(240_000),
                ..
            }
        ));
    }

    #[test]
    fn a_sum_with_an_unknown_part_is_unknown() {
        let mut snapshot = Sample::flat(2).done("t1", 60).done("t2", 30).build();
        assert_eq!(totals(&snapshot).files, Some(4));
        assert_eq!(totals(&snapshot).worked, Millis::from_secs(90));
        snapshot.tasks[1].status.as_mut().unwrap().files_changed = None;
        assert_eq!(totals(&snapshot).files, None);
        assert_eq!(totals(&Sample::flat(2).build()).cost_usd, None);
        let _ = T0;
    }

    #[test]
    fn phases_of_a_chain_are_counted() {
        assert_eq!(phase(&Sample::chain(3).done("t1", 9).build()), Some((2, 3)));
        assert_eq!(phase(&Sample::flat(3).build()), None);
    }
}
