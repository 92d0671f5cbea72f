//! Merging results in memory, one after the other.

use crate::core::id::{BranchName, Oid, TaskName};
use crate::git::{Author, ConflictFile, GitError, Merge, Repo};

use super::MergeTask;

/// Where a series of merges stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeStop {
    /// The task that does not merge with what came before.
    pub task: TaskName,
    /// The paths in conflict.
    pub files: Vec<String>,
}

/// What came of putting one result on top of the chain.
pub(super) enum Linked {
    /// The commit that holds it; the tip itself when that contains it already.
    Commit(Oid),
    /// It does not merge.
    Conflict {
        /// The files.
        files: Vec<ConflictFile>,
    },
}

/// Puts results on top of a chain, each with a merge commit of its own that names the task.
pub(super) struct Linker<'a> {
    repo: &'a Repo,
    base_branch: &'a BranchName,
    /// Asked for once.
    author: Option<Author>,
}

impl<'a> Linker<'a> {
    pub(super) fn new(repo: &'a Repo, base_branch: &'a BranchName) -> Self {
        Self {
            repo,
            base_branch,
            author: None,
        }
    }

    /// # Errors
    /// When git fails.
    pub(super) fn link(&mut self, tip: &Oid, task: &MergeTask) -> Result<Linked, GitError> {
        let repo = self.repo;
        if repo.is_ancestor(&task.head, tip)? {
            return Ok(Linked::Commit(tip.clone()));
        }
        match repo.merge(tip, &task.head)? {
            Merge::Clean { tree } => {
                let message = message(task, self.base_branch);
                let by = match self.author.take() {
                    Some(by) => by,
                    None => repo.author(None)?,
                };
                let parents = [tip.clone(), task.head.clone()];
                let commit = repo.commit_by(&by, &tree, &parents, &message)?;
                self.author = Some(by);
                Ok(Linked::Commit(commit))
            }
            Merge::Conflict { files, .. } => Ok(Linked::Conflict { files }),
        }
    }
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
