//! What would merge and what would not, without changing anything.

use crate::core::id::{BranchName, Oid, TaskName};
use crate::git::{DiffStat, GitError, Merge, Repo};

use super::MergeTask;

/// How one task's result stands to the base branch and to the other results.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The task.
    pub task: TaskName,
    /// Whether the base branch contains it already.
    pub contained: bool,
    /// Commits that it adds to the base branch.
    pub commits: usize,
    /// The files and lines that the task itself changed.
    pub stat: DiffStat,
    /// Paths in conflict with the base branch; empty when it merges cleanly.
    pub conflicts: Vec<String>,
    /// Paths in conflict when all results are merged in this order, those that conflict left
    /// out; empty when it merges cleanly in its place.
    pub in_order: Vec<String>,
    /// Other tasks that it conflicts with, and where.
    pub against: Vec<(TaskName, Vec<String>)>,
}

/// Tries each result against the base branch, against each other, and in order, in memory.
///
/// # Errors
/// When git fails, or the base branch is gone.
pub fn preview(
    repo: &Repo,
    base_branch: &BranchName,
    tasks: &[MergeTask],
) -> Result<Vec<Preview>, GitError> {
    let Some(base) = repo.branch_tip(base_branch)? else {
        return Err(GitError::NoSuchBranch {
            branch: base_branch.clone(),
        });
    };
    let mut previews = Vec::with_capacity(tasks.len());
    let mut tip = base.clone();
    for task in tasks {
        let mut in_order = Vec::new();
        if !repo.is_ancestor(&task.head, &tip)? {
            match repo.merge(&tip, &task.head)? {
                Merge::Clean { tree } => {
                    let parents = [tip, task.head.clone()];
                    tip = repo.stand_in(&tree, &parents)?;
                }
                Merge::Conflict { files, .. } => {
                    in_order = files.into_iter().map(|file| file.path).collect();
                }
            }
        }
        previews.push(Preview {
            task: task.name.clone(),
            contained: repo.is_ancestor(&task.head, &base)?,
            commits: repo.commits_between(&base, &task.head)?.len(),
            stat: repo.diff_stat(&task.start, &task.head)?,
            conflicts: conflicts(repo, &base, &task.head)?,
            in_order,
            against: Vec::new(),
        });
    }
    for (at, one) in tasks.iter().enumerate() {
        for (beside, other) in tasks.iter().enumerate().skip(at + 1) {
            let files = conflicts(repo, &one.head, &other.head)?;
            if files.is_empty() {
                continue;
            }
            for (preview, with) in [(at, other), (beside, one)] {
                if let Some(preview) = previews.get_mut(preview) {
                    preview.against.push((with.name.clone(), files.clone()));
                }
            }
        }
    }
    Ok(previews)
}

fn conflicts(repo: &Repo, ours: &Oid, theirs: &Oid) -> Result<Vec<String>, GitError> {
    Ok(match repo.merge(ours, theirs)? {
        Merge::Clean { .. } => Vec::new(),
        Merge::Conflict { files, .. } => files.into_iter().map(|file| file.path).collect(),
    })
}
