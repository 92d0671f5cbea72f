//! Looking at the worktree: what the gate and the status file need of git.

use std::path::Path;

use super::gate::{GitEvidence, MergeEvidence, Rules};
use super::merging::AutoMerged;
use crate::core::id::Oid;
use crate::format::launch_file::Merging;
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
    let merge = match (&rules.merging, head.oid()) {
        (Some(merging), Some(head)) => Some(look_at_merge(repo, rules, merging, head)?),
        _ => None,
    };
    Ok(GitEvidence {
        merge,
        branch,
        head: head.oid().cloned(),
        contains_base,
        commits,
        uncommitted,
        operation: status.operation.map(|operation| operation.to_string()),
    })
}

/// What became of the merge that was to be brought to its end.
fn look_at_merge(
    repo: &Repo,
    rules: &Rules,
    merging: &Merging,
    head: &Oid,
) -> Result<MergeEvidence, GitError> {
    let mut evidence = MergeEvidence {
        contains_theirs: repo.is_ancestor(&merging.theirs, head)?,
        ..MergeEvidence::default()
    };
    if !evidence.contains_theirs {
        return Ok(evidence);
    }
    // Trees are compared and read as commits are.
    let auto = repo.stand_in(&merging.tree, &[])?;
    for path in repo.changed_paths(&auto, head)? {
        let may_change = merging.files.contains(&path) || merging.generated.contains(&path);
        let comes_or_goes = || -> Result<bool, GitError> {
            Ok(repo.read_file(&auto, &path)?.is_none() || repo.read_file(head, &path)?.is_none())
        };
        if !may_change && !(merging.moves && comes_or_goes()?) {
            evidence.elsewhere.push(path);
        }
    }
    let text = |commit: &Oid, path: &str| -> Result<Option<String>, GitError> {
        let content = repo.read_file(commit, path)?;
        Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    for path in &merging.files {
        let auto = text(&auto, path)?.unwrap_or_default();
        let auto = AutoMerged::read(&auto, rules.base.as_str(), merging.theirs.as_str());
        let resolved = text(head, path)?;
        if let Some(resolved) = &resolved {
            let ours = text(&rules.base, path)?.unwrap_or_default();
            let theirs = text(&merging.theirs, path)?.unwrap_or_default();
            let left = auto.markers_left(resolved, [&ours, &theirs]);
            if !left.is_empty() {
                evidence.markers.push((path.clone(), left));
            }
        }
        // Where files are is decided by whoever resolves that; what a tool makes is its own.
        let bound = auto.has_places() && !merging.generated.contains(path);
        if bound
            && !(resolved.is_none() && merging.moves)
            && let Some(line) = auto.strayed(&resolved.unwrap_or_default())
        {
            evidence.strayed.push((path.clone(), line));
        }
    }
    Ok(evidence)
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
