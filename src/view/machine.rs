//! What the machine has left, and what worktrees take up on its disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::snapshot::Snapshot;
use crate::agent::environment::Environment;
use crate::agent::machine::{Probe, folder_size};
use crate::core::admission;

/// Measured once. What cannot be measured here is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    /// Its figures; the disk is the one that holds the worktrees.
    pub figures: admission::Machine,
    /// Disk used by each task's worktree, bytes; a task is missing when its worktree is, or
    /// when it is too big to be measured in time.
    pub worktrees: BTreeMap<String, u64>,
    /// How many instances may run; none when nobody looks after that.
    pub admitted: Option<Admitted>,
}

/// How many instances of a run may work at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// So many.
    pub slots: u32,
    /// So many are wanted.
    pub wanted: u32,
    /// Why it is fewer.
    pub why: Option<String>,
}

impl Admitted {
    /// What the conductor of a run found last.
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let file = snapshot.conditions.as_ref()?;
        let wanted = snapshot.workers?;
        let slots = file.slots.unwrap_or(wanted).min(wanted);
        let tightest = file.sources.iter().find(|s| s.slots == Some(slots));
        Some(Self {
            slots,
            wanted,
            why: tightest.and_then(|source| source.why.clone()),
        })
    }
}

impl Machine {
    /// Measures. The worktrees together get at most `patience`.
    #[must_use]
    pub fn measure(snapshot: &Snapshot, env: &Environment, patience: Duration) -> Self {
        let deadline = Instant::now() + patience;
        let mut worktrees = BTreeMap::new();
        for task in snapshot.rows() {
            if let Some(place) = task.place.as_ref().filter(|_| task.worktree_exists)
                && let Some(size) = folder_size(&place.worktree, deadline)
            {
                worktrees.insert(task.name.to_string(), size);
            }
        }
        let place = snapshot
            .settings
            .as_ref()
            .map_or(snapshot.dir.as_path(), |s| s.worktree_dir.as_path());
        Self {
            figures: Probe::of(env).read(place),
            worktrees,
            admitted: Admitted::of(snapshot),
        }
    }
}
