//! Claiming a place for a task: its base commit, its branch name, its folder.

use std::sync::atomic::AtomicBool;

use crate::core::attempt::FailureClass;
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use crate::core::record::{Place, Resolution};
use crate::git::GitError;
use crate::integrate::{self, LinkHow, MergeTask, base_for, meeting_ground};
use crate::store::{StoreError, claims, run_log};

use super::context::Context;

/// Why a task could not be started.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error(
        "the results of the dependencies do not merge with each other: {task} conflicts in {}",
        files.join(", ")
    )]
    DependencyConflict { task: TaskName, files: Vec<String> },
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot {action} {path}: {source}")]
    Io {
        action: &'static str,
        path: String,
        source: std::io::Error,
    },
    #[error(
        "{branch} was tidied up and belongs to the orchestration {by} now: give the task to a \
         new run, or tidy {by} up when it has ended and try again"
    )]
    Taken {
        branch: BranchName,
        by: OrchestrationId,
    },
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// For the retry policy.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::DependencyConflict { .. } => FailureClass::DependencyConflict,
            Self::Git(_) | Self::Store(_) | Self::Io { .. } => FailureClass::Worktree,
            // Another attempt would find the same.
            Self::Taken { .. } => FailureClass::Setup,
            Self::Other(_) => FailureClass::Other,
        }
    }
}

/// Decides where a task is worked on, and claims its names. Nothing is made in git yet but
/// the commit that joins several dependencies. Doing it again gives the same names.
///
/// # Errors
/// Dependencies in conflict, or git or the claims folder fail.
pub(super) fn prepare(
    context: &Context,
    task: &TaskName,
    dependencies: &[MergeTask],
) -> Result<Place, StartError> {
    let base = &context.settings.base_commit;
    let stop = AtomicBool::new(false);
    let tell = |line: &str| run_log::append(&context.run, super::now(), &[line]);
    let mut bench = context.bench(&stop, &tell);
    // The queue has its own in use.
    bench.scratch = integrate::scratch_worktree(&context.settings.worktree_dir, context.run.id());
    bench.scratch.as_mut_os_string().push(format!("-{task}"));
    let joined = base_for(
        &context.repo,
        &context.author,
        base,
        dependencies,
        task,
        |tip, other, conflict| bench.settle(tip, other, conflict),
    );
    if bench.scratch.is_dir() {
        // It holds nobody's work. What stays is found by the next tidying up.
        let _ = context.repo.worktree_remove(&bench.scratch, true);
    }
    let base = match joined? {
        Ok(base) => base,
        Err(stop) => {
            return Err(StartError::DependencyConflict {
                task: stop.task,
                files: stop.files,
            });
        }
    };
    claim(context, task, base)
}

/// Claims a place where a conflict is resolved. It begins where the merge queue met the
/// conflict, so that a merge there finds the same and no more. `held` are results that the
/// queue has merged.
///
/// # Errors
/// When git or the claims folder fails.
pub(super) fn prepare_resolver(
    context: &Context,
    resolution: &Resolution,
    held: Vec<Oid>,
) -> Result<Place, StartError> {
    let settings = &context.settings;
    let mut how = LinkHow::new(&settings.base_branch, settings.delivery_style);
    how.held = held;
    let (onto, theirs) = (&resolution.onto, &resolution.theirs);
    let base = meeting_ground(&context.repo, onto, theirs, &how)?;
    claim(context, &resolution.resolver, base)
}

/// Claims the names of a place that begins at `base`. Doing it again gives the same.
///
/// # Errors
/// When git or the claims folder fails.
fn claim(context: &Context, task: &TaskName, base: Oid) -> Result<Place, StartError> {
    let folder = &context.settings.worktree_dir;
    let issue = context.plan.ix(task).and_then(|ix| {
        let number = context.plan.task(ix).issue_number?;
        TaskName::parse(&format!("issue-{number}")).ok()
    });
    if let Some(issue) = issue {
        return claim_issue(context, task, &issue, base);
    }
    let branches = context.repo.refs("refs/heads/task")?;
    let name = claims::claim(&context.layout, context.run.id(), task, |name| {
        let full = BranchName::for_task(name).full_ref().to_ascii_lowercase();
        let below = format!("{full}/");
        folder.join(name.as_str()).exists()
            || branches.iter().any(|(there, _)| {
                let there = there.to_ascii_lowercase();
                there == full || there.starts_with(&below)
            })
    })?;
    Ok(Place {
        branch: BranchName::for_task(&name),
        worktree: folder.join(name.as_str()),
        base,
    })
}

/// The same for a task that is an issue: its branch is `issue-N`.
fn claim_issue(
    context: &Context,
    task: &TaskName,
    issue: &TaskName,
    base: Oid,
) -> Result<Place, StartError> {
    let folder = &context.settings.worktree_dir;
    let name = claims::claim_like(&context.layout, context.run.id(), task, issue, |name| {
        let branch = BranchName::for_issue(name);
        folder.join(name.as_str()).exists() || !matches!(context.repo.branch_tip(&branch), Ok(None))
    })?;
    Ok(Place {
        branch: BranchName::for_issue(&name),
        worktree: folder.join(name.as_str()),
        base,
    })
}
