//! Merging results in memory, one after the other.

use crate::core::id::{BranchName, Oid, TaskName};
use crate::git::{GitError, Merge, Repo};

use super::MergeTask;

/// Where a series of merges stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeStop {
    /// The task that does not merge with what came before.
    pub task: TaskName,
    /// The paths in conflict.
    pub files: Vec<String>,
}

/// Merges results on top of `onto`, each with a merge commit of its own that names the
/// task. Results that are contained already add nothing.
///
/// # Errors
/// When git fails; a conflict is the inner error.
pub fn merge_all(
    repo: &Repo,
    onto: &Oid,
    tasks: &[MergeTask],
    base_branch: &BranchName,
) -> Result<Result<Oid, MergeStop>, GitError> {
    let mut tip = onto.clone();
    let mut author = None;
    for task in tasks {
        if repo.is_ancestor(&task.head, &tip)? {
            continue;
        }
        match repo.merge(&tip, &task.head)? {
            Merge::Clean { tree } => {
                let message = message(task, base_branch);
                let by = match author.take() {
                    Some(by) => by,
                    None => repo.author(None)?,
                };
                tip = repo.commit_by(&by, &tree, &[tip, task.head.clone()], &message)?;
                author = Some(by);
            }
            Merge::Conflict { files, .. } => {
                return Ok(Err(MergeStop {
                    task: task.name.clone(),
                    files: files.into_iter().map(|f| f.path).collect(),
                }));
            }
        }
    }
    Ok(Ok(tip))
}

/// The commit from which a task with dependencies starts: all their results in one.
///
/// One dependency's result is taken as it is; of several, each that contains another one
/// stands for both. `base` is where a task without dependencies starts.
///
/// # Errors
/// When git fails; a conflict between the dependencies is the inner error.
pub fn base_for(
    repo: &Repo,
    base: &Oid,
    dependencies: &[MergeTask],
    task: &TaskName,
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
        match repo.merge(&tip, head)? {
            Merge::Clean { tree } => {
                let message = format!(
                    "Merge {} as a base for {task}\n\nOrchestra-Task: {task}\n",
                    dependency.name
                );
                tip = repo.commit(&tree, &[tip, head.clone()], &message, None)?;
            }
            Merge::Conflict { files, .. } => {
                return Ok(Err(MergeStop {
                    task: dependency.name.clone(),
                    files: files.into_iter().map(|f| f.path).collect(),
                }));
            }
        }
    }
    Ok(Ok(tip))
}

fn message(task: &MergeTask, base_branch: &BranchName) -> String {
    let title: String = task
        .title
        .lines()
        .next()
        .unwrap_or("")
        .chars()
        .take(60)
        .collect();
    let subject = if title.is_empty() || title == task.name.as_str() {
        format!("Merge task {} into {base_branch}", task.name)
    } else {
        format!("Merge task {}: {title}", task.name)
    };
    let summary: String = task.summary.chars().take(4000).collect();
    let body = summary.trim();
    if body.is_empty() {
        format!("{subject}\n\nOrchestra-Task: {}\n", task.name)
    } else {
        format!("{subject}\n\n{body}\n\nOrchestra-Task: {}\n", task.name)
    }
}
