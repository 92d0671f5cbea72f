//! Which tasks are likely to touch the same files, and who goes first.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::core::graph::{Graph, TaskIx};

mod pattern;

pub use pattern::{FilePattern, PatternFault};

use pattern::PlainPath;

/// Two tasks that expect to touch the same files: an edge that was added so that they do
/// not do so at the same time, or, where that was not wanted, the reason for a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequenced {
    /// The task that goes first.
    pub before: TaskIx,
    /// The task that waits for it.
    pub after: TaskIx,
    /// The overlapping globs, `before`'s and `after`'s; a few, not necessarily all.
    pub because: Vec<(String, String)>,
}

/// How many pairs of globs are given as the reason.
const REASONS: usize = 3;

/// How much work goes into comparing globs before the rest counts as overlapping, in steps
/// of some ten nanoseconds. Keeps an absurd plan from taking minutes; sensible ones stay
/// far below.
const MAX_WORK: usize = 100_000_000;

/// More refused pairs than this are not looked for.
const MAX_REFUSED: usize = 1000;

/// The edges to add to `graph`, which holds no cycle, so that no two tasks that may run at
/// the same time have overlapping `files` (one list per task).
///
/// An edge leads from the task of the earlier phase to the later one; within a phase from
/// the more urgent, else from the earlier in input order. So the edges never close a
/// circle. No edge is added where a way leads already.
pub fn sequence<R: Ord>(
    graph: &Graph,
    urgency: impl Fn(TaskIx) -> R,
    files: &[&[FilePattern]],
) -> Vec<Sequenced> {
    walk(graph, urgency, files, true)
}

/// Every pair of tasks that may run at the same time and whose `files` overlap, in the
/// order in which [`sequence`] would put them.
pub fn concurrent_overlaps<R: Ord>(
    graph: &Graph,
    urgency: impl Fn(TaskIx) -> R,
    files: &[&[FilePattern]],
) -> Vec<Sequenced> {
    walk(graph, urgency, files, false)
}

/// How much work goes into looking which tasks expect to touch what was changed, in the
/// same steps: this is done while a run waits.
const MAX_LOOK: usize = 10_000_000;

/// Paths that were changed, made ready for being compared with many globs.
#[derive(Debug)]
pub struct Touched {
    paths: Vec<PlainPath>,
    left: usize,
}

impl Touched {
    /// These paths, from the root of the repository.
    #[must_use]
    pub fn of(paths: &[String]) -> Self {
        Self {
            paths: paths.iter().map(|path| PlainPath::of(path)).collect(),
            left: MAX_LOOK,
        }
    }

    /// Some of the paths that the globs cover, not necessarily all of them. When that takes
    /// too long to find out, all the rest counts as covered.
    pub fn covered_by(&mut self, globs: &[FilePattern]) -> Vec<String> {
        let left = &mut self.left;
        self.paths
            .iter()
            .filter(|path| globs.iter().any(|glob| glob.may_cover(path, left)))
            .take(REASONS)
            .map(|path| path.text.clone())
            .collect()
    }
}

/// Goes through the tasks in their order of running and looks back from each at the
/// nearest earlier ones first, so that one edge serves for all that lie behind it.
fn walk<R: Ord>(
    graph: &Graph,
    urgency: impl Fn(TaskIx) -> R,
    files: &[&[FilePattern]],
    link: bool,
) -> Vec<Sequenced> {
    let levels = graph.levels();
    let mut order: Vec<TaskIx> = graph.tasks().collect();
    order.sort_by_cached_key(|ix| (levels[ix.index()], Reverse(urgency(*ix)), *ix));
    let mut position = vec![0; order.len()];
    for (at, ix) in order.iter().enumerate() {
        position[ix.index()] = at;
    }

    let mut found = Vec::new();
    let mut index = Index::default();
    let mut left = MAX_WORK;
    let mut earlier: Vec<Bits> = Vec::with_capacity(order.len());
    for (at, ix) in order.iter().enumerate() {
        let mut mine = Bits::new(order.len());
        for dep in graph.deps(*ix) {
            mine.join(&earlier[position[dep.index()]]);
            mine.set(position[dep.index()]);
        }
        let mut candidates = index.candidates(files[ix.index()], order.len());
        while let Some(other) = candidates.take_last_not_in(&mine) {
            let before = order[other];
            let because = reasons(files[before.index()], files[ix.index()], &mut left);
            if because.is_empty() {
                continue;
            }
            found.push(Sequenced {
                before,
                after: *ix,
                because,
            });
            if !link && found.len() >= MAX_REFUSED {
                return found;
            }
            if link {
                mine.join(&earlier[other]);
                mine.set(other);
            }
        }
        index.add(files[ix.index()], at);
        earlier.push(mine);
    }
    found.sort_by_key(|edge| (edge.after, edge.before));
    found
}

/// A few pairs of overlapping globs.
fn reasons(
    before: &[FilePattern],
    after: &[FilePattern],
    left: &mut usize,
) -> Vec<(String, String)> {
    let mut because = Vec::new();
    for first in before {
        for second in after {
            if first.may_overlap_within(second, left) {
                because.push((first.as_str().to_owned(), second.as_str().to_owned()));
                if because.len() == REASONS {
                    return because;
                }
            }
        }
    }
    because
}

/// Finds the tasks whose globs can meet a glob at all, by the folders that they start with.
#[derive(Default)]
struct Index {
    /// Positions of tasks by the whole root of one of their globs.
    at: HashMap<String, Vec<usize>>,
    /// Positions of tasks by every beginning of such a root, the whole one included.
    below: HashMap<String, Vec<usize>>,
}

impl Index {
    fn candidates(&self, files: &[FilePattern], len: usize) -> Bits {
        let mut bits = Bits::new(len);
        for roots in files.iter().flat_map(FilePattern::roots) {
            let above = roots.iter().filter_map(|root| self.at.get(root));
            let below = roots.last().and_then(|root| self.below.get(root));
            for position in above.chain(below).flatten() {
                bits.set(*position);
            }
        }
        bits
    }

    fn add(&mut self, files: &[FilePattern], position: usize) {
        let enter = |map: &mut HashMap<String, Vec<usize>>, root: &String| {
            let list = map.entry(root.clone()).or_default();
            if list.last() != Some(&position) {
                list.push(position);
            }
        };
        for roots in files.iter().flat_map(FilePattern::roots) {
            if let Some(root) = roots.last() {
                enter(&mut self.at, root);
            }
            for root in &roots {
                enter(&mut self.below, root);
            }
        }
    }
}

/// A set of positions.
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn set(&mut self, position: usize) {
        self.0[position / 64] |= 1 << (position % 64);
    }

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    /// Removes and returns the last position that `other` does not hold.
    fn take_last_not_in(&mut self, other: &Self) -> Option<usize> {
        for (word, (mine, theirs)) in self.0.iter_mut().zip(&other.0).enumerate().rev() {
            *mine &= !theirs;
            if *mine != 0 {
                let bit = 63 - mine.leading_zeros() as usize;
                *mine &= !(1 << bit);
                return Some(word * 64 + bit);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
