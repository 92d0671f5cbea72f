//! From finished tasks to a delivered base branch: merge in memory, prove the merged tree,
//! deliver exactly that.
//!
//! Everything works on frozen object ids. What is delivered is the very commit that was
//! verified; when the base branch moved meanwhile, it is all done again on top of it.

mod merge;
mod preview;
pub mod radar;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use merge::{MergeStop, base_for, merge_all};
pub use preview::{Preview, preview};

use crate::agent::environment::Environment;
use crate::agent::shell::{CommandReport, run_configured};
use crate::agent::tree::{self, Marker};
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use crate::core::record::{IntegrationEnd, MergeMode};
use crate::git::{BackupKind, DeliverError, Delivered, Expected, GitError, Repo, WorktreeSpec};

/// How often a base branch that keeps moving is followed.
const MAX_ROUNDS: u32 = 8;

/// A finished task as it enters integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeTask {
    /// Its name.
    pub name: TaskName,
    /// Its frozen result.
    pub head: Oid,
    /// One line about it, for the commit message.
    pub title: String,
    /// What the instance said at the end, for the commit message.
    pub summary: String,
}

/// One integration.
#[derive(Debug)]
pub struct Job {
    /// The repository.
    pub repo: Repo,
    /// The run.
    pub id: OrchestrationId,
    /// The run's random token, part of process markers.
    pub token: String,
    /// The branch to deliver to.
    pub base_branch: BranchName,
    /// Its tip when the run began.
    pub base_commit: Oid,
    /// The results, dependencies first.
    pub tasks: Vec<MergeTask>,
    /// How far to go.
    pub mode: MergeMode,
    /// The command that makes a worktree ready, and the one that proves it.
    pub setup: Option<String>,
    /// See `setup`.
    pub verify: Option<String>,
    /// Time for one run of either.
    pub timeout: Duration,
    /// Environment of both.
    pub env: Environment,
    /// Where the scratch worktree is.
    pub scratch: PathBuf,
    /// What the commands printed goes here.
    pub log: PathBuf,
}

/// The branch on which a run's merged results are kept until they are delivered.
#[must_use]
pub fn integration_branch(id: &OrchestrationId) -> Option<BranchName> {
    BranchName::parse(&format!("orchestra/{id}")).ok()
}

/// Where a run's scratch worktree is: beside the tasks' worktrees, under a name that no task
/// can have.
#[must_use]
pub fn scratch_worktree(worktree_dir: &Path, id: &OrchestrationId) -> PathBuf {
    worktree_dir.join(format!("_verify-{id}"))
}

/// Integrates. Never leaves the base branch anywhere but where it was or at a commit that
/// was verified (when a verify command is configured). May be done again after a crash at
/// any point.
///
/// `tell` is called with a line for people at each step.
pub fn integrate(job: &Job, stop: &AtomicBool, tell: &dyn Fn(&str)) -> IntegrationEnd {
    match job.rounds(stop, tell) {
        Ok(end) => end,
        Err(error) => IntegrationEnd::Failed {
            detail: error.to_string(),
        },
    }
}

impl Job {
    fn rounds(&self, stop: &AtomicBool, tell: &dyn Fn(&str)) -> Result<IntegrationEnd, GitError> {
        // A verify command of a conductor that was killed may still run in the scratch
        // worktree. Instances carry a task in their marker and are not meant.
        tree::end(
            &tree::Tree::marked(self.marker()),
            &tree::EndPlan::default(),
        );
        for _ in 0..MAX_ROUNDS {
            let Some(tip) = self.repo.branch_tip(&self.base_branch)? else {
                return Ok(IntegrationEnd::Failed {
                    detail: format!(
                        "the base branch {} is gone; make it again, then `orchestra merge automatic`",
                        self.base_branch
                    ),
                });
            };
            if let Some(end) = self.round(&tip, stop, tell)? {
                return Ok(end);
            }
            tell("the base branch moved meanwhile: merging again on top of it");
        }
        Ok(IntegrationEnd::Failed {
            detail: format!(
                "the base branch {} moved during each of {MAX_ROUNDS} tries; \
                 run `orchestra merge automatic` when it is at rest",
                self.base_branch
            ),
        })
    }

    /// One try on top of `tip`; none when the base moved meanwhile.
    fn round(
        &self,
        tip: &Oid,
        stop: &AtomicBool,
        tell: &dyn Fn(&str),
    ) -> Result<Option<IntegrationEnd>, GitError> {
        let merged = match merge_all(&self.repo, tip, &self.tasks, &self.base_branch)? {
            Ok(merged) => merged,
            Err(stop) => {
                tell(&format!(
                    "{} does not merge: {}",
                    stop.task,
                    stop.files.join(", ")
                ));
                return Ok(Some(IntegrationEnd::Conflict {
                    task: stop.task,
                    files: stop.files,
                }));
            }
        };
        if merged == *tip {
            // Nothing new: delivered already, by an integration that did not live to say so.
            return Ok(Some(IntegrationEnd::Delivered {
                from: self.base_commit.clone(),
                to: merged,
                verified: self.verify.is_some(),
            }));
        }
        // Not before: what is delivered already cannot be stopped.
        if stop.load(Ordering::Relaxed) {
            return Ok(Some(stopped()));
        }
        let branch = self.keep(&merged)?;
        tell(&format!("merged {} tasks in memory", self.tasks.len()));
        if let Some(red) = self.prove(&merged, stop, tell)? {
            return Ok(Some(red));
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(Some(stopped()));
        }
        let verified = self.verify.is_some();
        match (self.mode, branch) {
            (MergeMode::Review, Some(branch)) => Ok(Some(IntegrationEnd::Reviewable {
                branch,
                commit: merged,
                verified,
            })),
            (MergeMode::Review, None) => Ok(Some(IntegrationEnd::Failed {
                detail: format!(
                    "the branch orchestra/{} for the review could not be moved: is it checked \
                     out? Check out something else, then `orchestra merge review`",
                    self.id
                ),
            })),
            (MergeMode::Automatic, branch) => self.deliver(tip, merged, verified, branch, tell),
        }
    }

    /// Puts the merged commit on the integration branch, so that it is never lost. None when
    /// the name is blocked; a backup ref holds it then.
    fn keep(&self, merged: &Oid) -> Result<Option<BranchName>, GitError> {
        let Some(branch) = integration_branch(&self.id) else {
            return Ok(None);
        };
        let before = self.repo.branch_tip(&branch)?;
        if let Some(before) = &before
            && !self.repo.is_ancestor(before, merged)?
        {
            // What was put there for a review, and perhaps what a person added to it.
            self.backup(before)?;
        }
        let expected = before.as_ref().map_or(Expected::Absent, Expected::At);
        let moved = !is_checked_out(&self.repo, &branch)?
            && self
                .repo
                .update_ref(&branch.full_ref(), merged, expected)
                .is_ok();
        if !moved {
            self.backup(merged)?;
        }
        Ok(moved.then_some(branch))
    }

    fn backup(&self, commit: &Oid) -> Result<(), GitError> {
        if let Ok(name) = TaskName::parse("integration") {
            self.repo
                .backup(&self.id, &name, BackupKind::Merge, commit)?;
        }
        Ok(())
    }

    /// Runs the verify command on exactly the merged commit; how it ended when not green.
    fn prove(
        &self,
        merged: &Oid,
        stop: &AtomicBool,
        tell: &dyn Fn(&str),
    ) -> Result<Option<IntegrationEnd>, GitError> {
        let Some(verify) = &self.verify else {
            tell("no verify command is configured: the merged tree is delivered unproven");
            return Ok(None);
        };
        self.ready_scratch(merged)?;
        if let Some(setup) = &self.setup {
            tell("making the scratch worktree ready");
            let report = self.command(setup, stop);
            if report.stopped {
                return Ok(Some(stopped()));
            }
            if !report.is_green() {
                return Ok(Some(IntegrationEnd::Failed {
                    detail: format!(
                        "the set-up command failed in the scratch worktree ({}): {}",
                        report.ending(),
                        report.tail
                    ),
                }));
            }
        }
        tell("verifying the merged tree");
        let report = self.command(verify, stop);
        if report.stopped {
            return Ok(Some(stopped()));
        }
        if report.is_green() {
            tell("the merged tree is green");
            return Ok(None);
        }
        tell(&format!("the merged tree is red: {}", report.ending()));
        Ok(Some(IntegrationEnd::Red {
            commit: merged.clone(),
            tail: format!("{}\n({})", report.tail, report.ending()),
        }))
    }

    fn ready_scratch(&self, merged: &Oid) -> Result<(), GitError> {
        let known = self
            .repo
            .worktrees()?
            .into_iter()
            .any(|w| same_place(&w.path, &self.scratch));
        if known && self.scratch.is_dir() {
            match self.repo.checkout_detached(&self.scratch, merged) {
                Ok(()) => return self.fill_submodules(merged),
                // Half-made by a process that was killed: it holds nobody's work.
                Err(_) => self.repo.worktree_remove(&self.scratch, true)?,
            }
        } else if known {
            self.repo.worktree_remove(&self.scratch, true)?;
        }
        self.repo.worktree_add(&WorktreeSpec {
            path: self.scratch.clone(),
            branch: None,
            at: merged.clone(),
        })?;
        self.fill_submodules(merged)?;
        self.repo.copy_included(&self.scratch)?;
        Ok(())
    }

    /// As in the tasks' worktrees: as far as it goes without the network.
    fn fill_submodules(&self, merged: &Oid) -> Result<(), GitError> {
        if self.repo.has_submodules(merged)? {
            self.repo.init_submodules(&self.scratch)?;
        }
        Ok(())
    }

    fn command(&self, command: &str, stop: &AtomicBool) -> CommandReport {
        run_configured(
            command,
            &self.scratch,
            &self.env,
            &self.log,
            self.timeout,
            &self.marker(),
            stop,
        )
    }

    /// Marks what integration itself starts: no task can have this name, so that a sweep of
    /// a task's processes never meets it.
    fn marker(&self) -> Marker {
        Marker::integration(&self.token, &self.id)
    }

    fn deliver(
        &self,
        tip: &Oid,
        merged: Oid,
        verified: bool,
        branch: Option<BranchName>,
        tell: &dyn Fn(&str),
    ) -> Result<Option<IntegrationEnd>, GitError> {
        if let Ok(name) = TaskName::parse("base") {
            self.repo.backup(&self.id, &name, BackupKind::Base, tip)?;
        }
        match self.repo.deliver(&self.base_branch, tip, &merged) {
            Ok(done) => {
                if let Delivered::Checkout {
                    warning: Some(warning),
                    ..
                } = &done
                {
                    tell(&format!("delivered, but: {warning}"));
                }
                if let Some(branch) = branch
                    && matches!(is_checked_out(&self.repo, &branch), Ok(false))
                {
                    // It only kept the commit safe, which the base branch does now.
                    let _ = self.repo.delete_ref(&branch.full_ref(), &merged);
                }
                Ok(Some(IntegrationEnd::Delivered {
                    from: tip.clone(),
                    to: merged,
                    verified,
                }))
            }
            Err(DeliverError::Moved { .. }) => Ok(None),
            Err(DeliverError::Git(error)) => Err(error),
            Err(refused) => Ok(Some(IntegrationEnd::NotDelivered {
                commit: merged,
                detail: format!("{refused}. Then: `orchestra merge automatic`"),
            })),
        }
    }
}

/// Whether a person looks at a branch: then it is neither moved nor deleted under them.
///
/// # Errors
/// When git cannot list the worktrees.
pub fn is_checked_out(repo: &Repo, branch: &BranchName) -> Result<bool, GitError> {
    let full = branch.full_ref();
    let worktrees = repo.worktrees()?;
    Ok(worktrees
        .iter()
        .any(|w| w.branch.as_deref() == Some(full.as_str())))
}

fn stopped() -> IntegrationEnd {
    IntegrationEnd::Failed {
        detail: "stopped on request; the base branch is untouched".into(),
    }
}

fn same_place(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
