//! What would merge and what would not, without changing anything.

use crate::core::id::{BranchName, TaskName};
use crate::git::{GitError, Merge, Repo};

use super::MergeTask;

/// How one task's result stands to the base branch and to the other results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The task.
    pub task: TaskName,
    /// Whether the base branch contains it already.
    pub contained: bool,
    /// Commits that it adds.
    pub commits: usize,
    /// Paths in conflict with the base branch; empty when it merges cleanly.
    pub conflicts: Vec<String>,
    /// Other tasks that it conflicts with, and where.
    pub against: Vec<(TaskName, Vec<String>)>,
}

/// Tries each result against the base branch and against each other, in memory.
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
    let conflicts = |a: &crate::core::id::Oid, b: &crate::core::id::Oid| {
        Ok::<_, GitError>(match repo.merge(a, b)? {
            Merge::Clean { .. } => Vec::new(),
            Merge::Conflict { files, .. } => files.into_iter().map(|f| f.path).collect(),
        })
    };
    let mut previews = Vec::with_capacity(tasks.len());
    for task in tasks {
        let mut against = Vec::new();
        for other in tasks.iter().filter(|o| o.name != task.name) {
            let files = conflicts(&task.head, &other.head)?;
            if !files.is_empty() {
                against.push((other.name.clone(), files));
            }
        }
        previews.push(Preview {
            task: task.name.clone(),
            contained: repo.is_ancestor(&task.head, &base)?,
            commits: repo.commits_between(&base, &task.head)?.len(),
            conflicts: conflicts(&base, &task.head)?,
            against,
        });
    }
    Ok(previews)
}
