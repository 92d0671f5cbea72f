//! Backups that are old enough go.

use crate::core::id::OrchestrationId;
use crate::core::time::Timestamp;
use crate::git::{Backup, GitError, Repo};
use crate::store::layout::{Layout, RunDir};
use crate::store::{journal, lock};

/// Milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// The backups of runs that nobody wrote to for `days` days; all stay when it is 0.
///
/// A run's age is that of the last entry of its journal; when its folder is gone, that of its
/// id. Those of a run of which neither can be told stay, and so do those of a run at work.
///
/// # Errors
/// When the repository cannot be read.
pub fn expired(
    repo: &Repo,
    layout: &Layout,
    days: u32,
    now: Timestamp,
) -> Result<Vec<Backup>, GitError> {
    if days == 0 {
        return Ok(Vec::new());
    }
    let limit = now.0.saturating_sub(i64::from(days).saturating_mul(DAY));
    let mut last: Option<(OrchestrationId, bool)> = None;
    let mut old = Vec::new();
    for backup in repo.all_backups()? {
        // In order of the runs: each is looked at once.
        let goes = match &last {
            Some((run, goes)) if *run == backup.run => *goes,
            _ => used_last(&layout.run(&backup.run)).is_some_and(|at| at.0 < limit),
        };
        last = Some((backup.run.clone(), goes));
        if goes {
            old.push(backup);
        }
    }
    Ok(old)
}

/// Lets the expired backups go, all or none. Returns them.
///
/// # Errors
/// When the repository cannot be read, or one of them was moved meanwhile.
pub fn expire(
    repo: &Repo,
    layout: &Layout,
    days: u32,
    now: Timestamp,
) -> Result<Vec<Backup>, GitError> {
    let old = expired(repo, layout, days, now)?;
    repo.delete_backups(&old)?;
    Ok(old)
}

/// When something happened to a run last; none when that cannot be told or it is at work.
fn used_last(run: &RunDir) -> Option<Timestamp> {
    if lock::may_be_held(&run.conductor_lock()) {
        return None;
    }
    if run.dir().symlink_metadata().is_err() {
        return run.id().begun();
    }
    journal::read(&run.journal()).ok()?.last().map(|l| l.at)
}
