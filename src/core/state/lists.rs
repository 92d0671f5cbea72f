//! Who is ready, waits, or is in work: kept up to date with each change, so that no question costs
//! a walk over all tasks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rank, State, TaskState};
use crate::core::graph::TaskIx;
use crate::core::time::Timestamp;

impl State {
    /// The done tasks whose results are neither proven nor delivered, dependencies before
    /// dependents, otherwise as in the plan. Its cost does not depend on the others.
    pub(in crate::core) fn unmerged(&self) -> Vec<TaskIx> {
        let mut waiting: BTreeMap<TaskIx, usize> = BTreeMap::new();
        let mut followers: BTreeMap<TaskIx, Vec<TaskIx>> = BTreeMap::new();
        for ix in &self.unmerged {
            let before: BTreeSet<TaskIx> = self.before(*ix).collect();
            let before = before.intersection(&self.unmerged);
            let mut count = 0;
            for before in before {
                followers.entry(*before).or_default().push(*ix);
                count += 1;
            }
            waiting.insert(*ix, count);
        }
        let free = waiting.iter().filter(|(_, count)| **count == 0);
        let mut free: BTreeSet<TaskIx> = free.map(|(ix, _)| *ix).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(ix) = free.pop_first() {
            order.push(ix);
            for follower in followers.get(&ix).into_iter().flatten() {
                if let Some(left) = waiting.get_mut(follower) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        free.insert(*follower);
                    }
                }
            }
        }
        order
    }

    /// Takes out of the unmerged ones what was proven since `known` links were.
    pub(in crate::core) fn merged_since(&mut self, known: usize) {
        let new = self.queue.proven().get(known..).unwrap_or_default();
        let merged: Vec<TaskIx> = new.iter().filter_map(|l| self.find(&l.task)).collect();
        for ix in merged {
            self.unmerged.remove(&ix);
        }
    }

    /// Finds the unmerged ones anew: a chain was given up, or a delivery taken back.
    pub(in crate::core) fn find_unmerged(&mut self) {
        let done = |ix: &TaskIx| matches!(self.task(*ix).state, TaskState::Done { .. });
        let unmerged = self
            .indexes()
            .filter(done)
            .filter(|ix| !self.queue.is_settled(self.name(*ix)));
        self.unmerged = unmerged.collect();
    }

    /// The tasks of the plan that wait or are ready.
    pub(in crate::core) fn open(&self) -> impl Iterator<Item = TaskIx> {
        let planned = self.planned;
        let open = self.open.iter().copied();
        open.filter(move |ix| ix.index() < planned)
    }

    /// Whether some task is neither settled nor in work.
    pub(in crate::core) fn has_idle(&self) -> bool {
        self.unsettled > self.active.len()
    }

    /// The ready task that should start next at `now`, if any is due and not held.
    #[must_use]
    pub(in crate::core) fn next_ready(&self) -> Option<TaskIx> {
        self.ready
            .iter()
            .map(|(_, _, _, ix)| *ix)
            .find(|ix| !self.awaits_the_queue(*ix))
    }

    /// Whether a task's predecessors did not merge with each other, and the merge queue is
    /// about to find out how they do.
    pub(in crate::core) fn awaits_the_queue(&self, ix: TaskIx) -> bool {
        self.task(ix).apart
            && self
                .before(ix)
                .any(|before| self.queue.is_deciding(self.name(before)))
    }

    /// Whether it is worth while to begin a task once more whose predecessors did not merge
    /// with each other.
    pub(in crate::core) fn may_come_together(&self, ix: TaskIx) -> bool {
        self.awaits_the_queue(ix)
            || (self.task(ix).failures == 1
                && self
                    .before(ix)
                    .any(|before| self.queue.is_resolved(self.name(before))))
    }

    pub(in crate::core) fn before(&self, ix: TaskIx) -> impl Iterator<Item = TaskIx> {
        let facts = self.facts(ix);
        facts.needs.iter().chain(&facts.after).copied()
    }

    /// Moves the tasks whose pause is over to the ready queue; returns when the next one is.
    pub(in crate::core) fn wake_delayed(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((at, ix)) = self.delayed.first().copied() {
            if !self.is_due(ix, now) {
                return Some(at);
            }
            self.delayed.pop_first();
            self.ready.insert(self.rank(ix));
        }
        None
    }

    /// Whether the pause of a task is over. When more of it seems to be left than it was to
    /// last, the clock went back.
    pub(in crate::core) fn is_due(&self, ix: TaskIx, now: Timestamp) -> bool {
        let TaskState::Ready(next) = &self.task(ix).state else {
            return true;
        };
        let longest = next.delay.unwrap_or(self.policy.retry.max_delay);
        next.not_before <= now || next.not_before.since(now) > longest
    }

    /// The tasks whose ended attempt awaits a decision.
    pub(in crate::core) fn undecided(&self) -> Vec<TaskIx> {
        self.undecided.iter().copied().collect()
    }

    /// The tasks that need this one's result.
    pub(in crate::core) fn needing(&self, ix: TaskIx) -> Vec<TaskIx> {
        self.dependents[ix.index()]
            .iter()
            .filter(|(_, needs)| *needs)
            .map(|(d, _)| *d)
            .collect()
    }

    /// A person waits to take it over, or does not any more.
    pub(in crate::core) fn want(&mut self, ix: TaskIx, ticket: Option<String>) {
        if ticket.is_some() {
            self.wanted.insert(ix);
        } else {
            self.wanted.remove(&ix);
        }
        self.tasks[ix.index()].attach = ticket;
    }

    /// Whether a task may still be made to wait for another one: it was never started, does
    /// not wait for that one anyway, and that one does not wait for it.
    pub(in crate::core) fn can_go_after(&self, ix: TaskIx, before: TaskIx) -> bool {
        let entry = self.task(ix);
        matches!(entry.state, TaskState::Waiting | TaskState::Ready(_))
            && entry.attempts == 0
            && ix != before
            && !self.comes_before(before, ix)
            && !self.comes_before(ix, before)
    }

    /// Whether `later` waits for `earlier`, directly or not.
    pub(in crate::core) fn comes_before(&self, earlier: TaskIx, later: TaskIx) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = vec![later];
        while let Some(ix) = todo.pop() {
            let facts = self.facts(ix);
            for before in facts.needs.iter().chain(&facts.after) {
                if *before == earlier {
                    return true;
                }
                if seen.insert(*before) {
                    todo.push(*before);
                }
            }
        }
        false
    }

    pub(in crate::core) fn put_after(&mut self, ix: TaskIx, before: TaskIx) {
        self.facts[ix.index()].after.push(before);
        self.dependents[before.index()].push((ix, false));
        let entry = &mut self.tasks[ix.index()];
        // A place that is there does not hold what the other one will have done.
        entry.early = entry.place.is_some();
        if !self.is_free(ix) {
            self.set(ix, TaskState::Waiting);
        }
    }

    pub(in crate::core) fn rank(&self, ix: TaskIx) -> Rank {
        let facts = self.facts(ix);
        let alone = matches!(&self.task(ix).state, TaskState::Ready(next) if next.approach.alone);
        (alone, facts.urgency, std::cmp::Reverse(facts.chain), ix)
    }

    /// The one place where a task's state changes, so that the indexes stay true.
    pub(in crate::core) fn set(&mut self, ix: TaskIx, to: TaskState) {
        self.leave_queues(ix);
        let entry = &mut self.tasks[ix.index()];
        let planned = ix.index() < self.planned;
        if planned && matches!(entry.state, TaskState::Done { .. }) {
            self.done -= 1;
            self.unmerged.remove(&ix);
        }
        if !entry.state.is_settled() {
            self.unsettled -= 1;
        }
        entry.state = to;
        if planned && matches!(entry.state, TaskState::Done { .. }) {
            self.done += 1;
            self.unmerged.insert(ix);
        }
        if !entry.state.is_settled() {
            self.unsettled += 1;
        }
        self.enter_queues(ix);
    }

    pub(in crate::core) fn leave_queues(&mut self, ix: TaskIx) {
        let rank = self.rank(ix);
        self.open.remove(&ix);
        match &self.tasks[ix.index()].state {
            TaskState::Ready(next) => {
                self.delayed.remove(&(next.not_before, ix));
                self.ready.remove(&rank);
            }
            TaskState::Active(_) => {
                self.active.remove(&ix);
            }
            TaskState::Undecided { .. } => {
                self.undecided.remove(&ix);
            }
            _ => {}
        }
    }

    pub(in crate::core) fn enter_queues(&mut self, ix: TaskIx) {
        let rank = self.rank(ix);
        let entry = &self.tasks[ix.index()];
        if matches!(entry.state, TaskState::Waiting | TaskState::Ready(_)) {
            self.open.insert(ix);
        }
        match &entry.state {
            TaskState::Ready(_) if entry.held => {}
            TaskState::Ready(next) if next.not_before > Timestamp(0) => {
                self.delayed.insert((next.not_before, ix));
            }
            TaskState::Ready(_) => {
                self.ready.insert(rank);
            }
            TaskState::Active(_) => {
                self.active.insert(ix);
            }
            TaskState::Undecided { .. } => {
                self.undecided.insert(ix);
            }
            _ => {}
        }
    }
}
