//! Looking at the worktree: what the gate and the status file need of git.

use std::path::Path;

use super::gate::{GitEvidence, Rules};
use crate::core::id::Oid;
use crate::git::{DiffStat, GitError, Head, Repo};

/// Changes since the base: files, lines added, lines removed.
pub(crate) type Changes = (u32, u64, u64);

/// Gathers what git says about the worktree.
pub(crate) fn look(repo: &Repo, worktree: &Path, rules: &Rules) -> Result<GitEvidence, GitError> {
    let head = repo.head_at(worktree)?;
    let (contains_base, commits) = match head.oid() {
        Some(oid) => {
            let contains = repo.is_ancestor(&rules.base, oid)?;
            let commits = if contains {
                repo.commits_between(&rules.base, oid)?.len()
            } else {
                0
            };
            (contains, commits)
        }
        None => (false, 0),
    };
    let status = repo.status(worktree)?;
    let mut uncommitted: Vec<String> = status.paths().map(str::to_owned).collect();
    uncommitted.sort();
    uncommitted.dedup();
    let branch = match &head {
        Head::Branch { name, .. } => Some(name.clone()),
        Head::Unborn { .. } | Head::Detached { .. } => None,
    };
    Ok(GitEvidence {
        branch,
        head: head.oid().cloned(),
        contains_base,
        commits,
        uncommitted,
        operation: status.operation.map(|operation| operation.to_string()),
    })
}

/// Measures the changes since the base, committed or not.
pub(crate) fn measure(repo: &Repo, worktree: &Path, rules: &Rules) -> Result<Changes, GitError> {
    Ok(totals(&repo.worktree_stat(worktree, &rules.base)?))
}

/// The same of a commit: without a process, so that it costs the end of a task nothing.
pub(crate) fn measure_commit(repo: &Repo, rules: &Rules, head: &Oid) -> Result<Changes, GitError> {
    Ok(totals(&repo.diff_stat(&rules.base, head)?))
}

fn totals(stat: &DiffStat) -> Changes {
    let files = u32::try_from(stat.files.len()).unwrap_or(u32::MAX);
    (files, stat.lines.added, stat.lines.removed)
}
