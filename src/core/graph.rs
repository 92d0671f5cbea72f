//! The graph of tasks: who waits for whom, in which order, and where a circle closes.
//!
//! Everything is linear in tasks plus edges and free of recursion, so that a plan of ten
//! thousand tasks in one chain is no special case.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// The position of a task in its plan. Meaningful only together with that plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskIx(u32);

impl TaskIx {
    /// The task at position `index` (0 is the first task of the plan).
    #[must_use]
    pub fn new(index: u32) -> Self {
        Self(index)
    }

    /// The position, for indexing a `Vec` that holds one entry per task.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Positions beyond `u32` cannot occur: validation limits the number of tasks.
    pub(crate) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// A directed graph over the tasks `0..len`. An edge goes from the task that must be
/// finished to the task that waits for it. May hold cycles until it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    before: Vec<Vec<TaskIx>>,
    after: Vec<Vec<TaskIx>>,
}

impl Graph {
    /// Builds the graph of `len` tasks from edges `(before, after)`. Repeated edges count
    /// once, edges from a task to itself and edges out of range are dropped: the caller
    /// has reported them.
    #[must_use]
    pub fn new(len: usize, edges: impl IntoIterator<Item = (TaskIx, TaskIx)>) -> Self {
        let mut graph = Self {
            before: vec![Vec::new(); len],
            after: vec![Vec::new(); len],
        };
        let in_range = |ix: TaskIx| ix.index() < len;
        for (before, after) in edges {
            if before != after && in_range(before) && in_range(after) {
                graph.before[after.index()].push(before);
                graph.after[before.index()].push(after);
            }
        }
        for list in graph.before.iter_mut().chain(graph.after.iter_mut()) {
            list.sort_unstable();
            list.dedup();
        }
        graph
    }

    /// The number of tasks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.before.len()
    }

    /// Whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// What `ix` waits for directly, in input order.
    #[must_use]
    pub fn deps(&self, ix: TaskIx) -> &[TaskIx] {
        &self.before[ix.index()]
    }

    /// What waits for `ix` directly, in input order.
    #[must_use]
    pub fn dependents(&self, ix: TaskIx) -> &[TaskIx] {
        &self.after[ix.index()]
    }

    /// All tasks, in input order.
    pub fn tasks(&self) -> impl DoubleEndedIterator<Item = TaskIx> + use<> {
        (0..self.len()).map(TaskIx::at)
    }

    /// A topological order: always the earliest task in input order that waits for nothing
    /// else. Tasks on a cycle, and tasks behind one, are missing from it.
    #[must_use]
    pub fn order(&self) -> Vec<TaskIx> {
        let mut missing: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut free: BinaryHeap<Reverse<TaskIx>> = self
            .tasks()
            .filter(|ix| missing[ix.index()] == 0)
            .map(Reverse)
            .collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(ix)) = free.pop() {
            order.push(ix);
            for next in self.dependents(ix) {
                missing[next.index()] -= 1;
                if missing[next.index()] == 0 {
                    free.push(Reverse(*next));
                }
            }
        }
        order
    }

    /// The phase of each task: 0 for a task that waits for nothing, otherwise one more than
    /// the latest phase among what it waits for. Tasks on or behind a cycle count as 0.
    #[must_use]
    pub fn levels(&self) -> Vec<usize> {
        let mut levels = vec![0; self.len()];
        for ix in self.order() {
            let level = levels[ix.index()] + 1;
            for next in self.dependents(ix) {
                let known = &mut levels[next.index()];
                *known = level.max(*known);
            }
        }
        levels
    }

    /// The tasks by phase; within a phase in input order. Every task of a phase could run
    /// at the same time as the others of it.
    #[must_use]
    pub fn phases(&self) -> Vec<Vec<TaskIx>> {
        let levels = self.levels();
        let count = levels.iter().max().map_or(0, |last| last + 1);
        let mut phases = vec![Vec::new(); count];
        for ix in self.tasks() {
            phases[levels[ix.index()]].push(ix);
        }
        phases
    }

    /// The tasks that are not done and wait only for done ones, in input order.
    #[must_use]
    pub fn ready(&self, done: impl Fn(TaskIx) -> bool) -> Vec<TaskIx> {
        self.tasks()
            .filter(|ix| !done(*ix) && self.deps(*ix).iter().all(|dep| done(*dep)))
            .collect()
    }

    /// Everything that waits for `ix`, directly or through others, in input order and
    /// without `ix` itself.
    #[must_use]
    pub fn descendants(&self, ix: TaskIx) -> Vec<TaskIx> {
        self.reach(ix, |at| self.dependents(at))
    }

    /// Everything that `ix` waits for, directly or through others, in input order and
    /// without `ix` itself.
    #[must_use]
    pub fn ancestors(&self, ix: TaskIx) -> Vec<TaskIx> {
        self.reach(ix, |at| self.deps(at))
    }

    /// Whether `after` waits for `before`, directly or through others.
    #[must_use]
    pub fn waits_for(&self, after: TaskIx, before: TaskIx) -> bool {
        self.ancestors(after).binary_search(&before).is_ok()
    }

    fn reach<'a>(&'a self, from: TaskIx, next: impl Fn(TaskIx) -> &'a [TaskIx]) -> Vec<TaskIx> {
        let mut seen = vec![false; self.len()];
        let mut todo = vec![from];
        seen[from.index()] = true;
        while let Some(ix) = todo.pop() {
            for to in next(ix) {
                if !seen[to.index()] {
                    seen[to.index()] = true;
                    todo.push(*to);
                }
            }
        }
        self.tasks()
            .filter(|ix| *ix != from && seen[ix.index()])
            .collect()
    }

    /// For each task the weight of the heaviest chain that starts with it, its own weight
    /// included: what is still ahead when it starts. `weight` gives one task's weight, in
    /// any unit; the graph must hold no cycle.
    #[must_use]
    pub fn remaining_chains(&self, weight: impl Fn(TaskIx) -> u64) -> Vec<u64> {
        let mut chains = vec![0_u64; self.len()];
        for ix in self.order().into_iter().rev() {
            let below = self.dependents(ix).iter().map(|to| chains[to.index()]);
            chains[ix.index()] = weight(ix).saturating_add(below.max().unwrap_or(0));
        }
        chains
    }

    /// The heaviest chain from a first to a last task, given the result of
    /// [`Graph::remaining_chains`]. Among equals the earlier in input order.
    #[must_use]
    pub fn critical_path(&self, chains: &[u64]) -> Vec<TaskIx> {
        let heaviest = |candidates: &mut dyn Iterator<Item = TaskIx>| {
            candidates.min_by_key(|ix| (Reverse(chains[ix.index()]), *ix))
        };
        let mut path = Vec::new();
        let mut at = heaviest(&mut self.tasks().filter(|ix| self.deps(*ix).is_empty()));
        while let Some(ix) = at {
            path.push(ix);
            at = heaviest(&mut self.dependents(ix).iter().copied());
        }
        path
    }

    /// One circle out of every knot of tasks that wait for each other, in the direction
    /// "needs": each task waits for the next one, and the last for the first. Each starts
    /// with its earliest task in input order, and is as short as one through it can be.
    #[must_use]
    pub fn cycles(&self) -> Vec<Vec<TaskIx>> {
        let knots = self.knots();
        let mut by_knot: Vec<Vec<TaskIx>> = Vec::new();
        for ix in self.tasks() {
            let knot = knots[ix.index()];
            if by_knot.len() <= knot {
                by_knot.resize(knot + 1, Vec::new());
            }
            by_knot[knot].push(ix);
        }
        let mut cycles: Vec<Vec<TaskIx>> = by_knot
            .into_iter()
            .filter(|members| members.len() > 1)
            .filter_map(|members| self.shortest_circle(*members.first()?, &knots))
            .collect();
        cycles.sort();
        cycles
    }

    /// Breadth first from `start` along "needs", inside its knot, until `start` shows again.
    fn shortest_circle(&self, start: TaskIx, knots: &[usize]) -> Option<Vec<TaskIx>> {
        let mut came_from = HashMap::new();
        let mut todo = VecDeque::from([start]);
        while let Some(ix) = todo.pop_front() {
            for need in self.deps(ix) {
                if *need == start {
                    let mut path = vec![ix];
                    let mut at = ix;
                    while let Some(previous) = came_from.get(&at) {
                        at = *previous;
                        path.push(at);
                    }
                    path.reverse();
                    return Some(path);
                }
                if knots[need.index()] == knots[start.index()] && !came_from.contains_key(need) {
                    came_from.insert(*need, ix);
                    todo.push_back(*need);
                }
            }
        }
        None
    }

    /// Tarjan's strongly connected components with a stack of its own: for each task the
    /// number of its component.
    fn knots(&self) -> Vec<usize> {
        const UNSEEN: usize = usize::MAX;
        let mut number = vec![UNSEEN; self.len()];
        let mut low = vec![0; self.len()];
        let mut knot = vec![UNSEEN; self.len()];
        let (mut next_number, mut next_knot) = (0, 0);
        let mut open: Vec<TaskIx> = Vec::new();
        for root in self.tasks() {
            if number[root.index()] != UNSEEN {
                continue;
            }
            let mut visits = vec![(root, 0_usize)];
            while let Some((ix, edge)) = visits.pop() {
                let at = ix.index();
                if edge == 0 {
                    number[at] = next_number;
                    low[at] = next_number;
                    next_number += 1;
                    open.push(ix);
                }
                if let Some(need) = self.before[at].get(edge) {
                    visits.push((ix, edge + 1));
                    if number[need.index()] == UNSEEN {
                        visits.push((*need, 0));
                    } else if knot[need.index()] == UNSEEN {
                        low[at] = low[at].min(number[need.index()]);
                    }
                    continue;
                }
                if low[at] == number[at] {
                    while let Some(member) = open.pop() {
                        knot[member.index()] = next_knot;
                        if member == ix {
                            break;
                        }
                    }
                    next_knot += 1;
                }
                if let Some((parent, _)) = visits.last() {
                    low[parent.index()] = low[parent.index()].min(low[at]);
                }
            }
        }
        knot
    }

    /// All edges `(before, after)`, ordered by the waiting task.
    pub fn edges(&self) -> impl Iterator<Item = (TaskIx, TaskIx)> + '_ {
        self.tasks()
            .flat_map(|after| self.deps(after).iter().map(move |before| (*before, after)))
    }
}

#[cfg(test)]
mod tests;
