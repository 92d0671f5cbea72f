//! Where a task begins that builds on others.

use crate::core::id::{Oid, TaskName};
use crate::git::{GitError, KeptAuthor, Merge, Repo};

use super::MergeTask;
use super::mechanical::{Conflict, Settled};

/// Where a series of merges stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeStop {
    /// The task that does not merge with what came before.
    pub task: TaskName,
    /// The paths in conflict.
    pub files: Vec<String>,
}

/// The commit from which a task with dependencies starts: all their results in one.
///
/// One dependency's result is taken as it is; of several, each that contains another one
/// stands for both. `base` is where a task without dependencies starts, `author` merges them.
/// Conflicts are given to `settle` first.
///
/// # Errors
/// When git fails; a conflict between the dependencies that needs thought is the inner error.
pub fn base_for(
    repo: &Repo,
    author: &KeptAuthor,
    base: &Oid,
    dependencies: &[MergeTask],
    task: &TaskName,
    settle: impl Fn(&Oid, &MergeTask, Conflict<'_>) -> Result<Settled, GitError>,
) -> Result<Result<Oid, MergeStop>, GitError> {
    let mut tip = base.clone();
    for dependency in dependencies {
        let head = &dependency.head;
        if repo.is_ancestor(head, &tip)? {
            continue;
        }
        if repo.is_ancestor(&tip, head)? {
            tip = head.clone();
            continue;
        }
        let tree = match repo.merge(&tip, head)? {
            Merge::Clean { tree } => tree,
            Merge::Conflict {
                tree,
                files,
                messages,
            } => {
                let conflict = Conflict {
                    tree: &tree,
                    files: &files,
                    messages: &messages,
                };
                match settle(&tip, dependency, conflict)? {
                    Settled::All { tree, .. } => tree,
                    Settled::Some { .. } => {
                        return Ok(Err(MergeStop {
                            task: dependency.name.clone(),
                            files: files.into_iter().map(|f| f.path).collect(),
                        }));
                    }
                }
            }
        };
        let message = format!(
            "Merge {} as a base for {task}\n\nOrchestra-Task: {task}\n",
            dependency.name
        );
        tip = repo.commit_by(&author.get(repo)?, &tree, &[tip, head.clone()], &message)?;
    }
    Ok(Ok(tip))
}
