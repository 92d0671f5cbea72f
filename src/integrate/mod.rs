//! The hands of the merge queue: merge in memory, prove a commit, deliver exactly that.
//!
//! What is done and in which order is decided in [`crate::core::queue`]; each piece of work
//! here ends in a [`QueueResult`]. Everything works on frozen object ids, and each piece may
//! be done again from its start after a crash at any point.

mod link;
pub mod mechanical;
mod merge;
mod preview;
pub mod radar;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mechanical::{Conflict, Rules, Rung, Settled, Workbench};

pub use link::{LinkHow, Linked, link, link_tree, meeting_ground};
pub use merge::{MergeStop, base_for};
pub use preview::{Preview, preview};

use crate::agent::environment::Environment;
use crate::agent::shell::{CommandReport, run_configured};
use crate::agent::tree::{self, Marker};
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use crate::core::record::{DeliveryStyle, QueueConflict, QueueLink, QueueResult, SettledFile};
use crate::git::{
    BackupKind, DeliverError, Delivered, Expected, GitError, KeptAuthor, Repo, WorktreeSpec,
};

/// In the place of a task's name in the backups of merged results.
const INTEGRATION: &str = "integration";

/// A finished task as it enters integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeTask {
    /// Its name.
    pub name: TaskName,
    /// Where it began: what it changed is the difference to its result.
    pub start: Oid,
    /// Its frozen result.
    pub head: Oid,
    /// The tasks whose commits the result contains; without them it is not merged.
    pub needs: Vec<TaskName>,
    /// One line about it, for the commit message.
    pub title: String,
    /// What the instance said at the end, for the commit message.
    pub summary: String,
}

/// The workbench of one run's merge queue.
pub struct Bench<'a> {
    /// The repository.
    pub repo: Repo,
    /// The run.
    pub id: OrchestrationId,
    /// The run's random token, part of process markers.
    pub token: String,
    /// The branch to deliver to.
    pub base_branch: BranchName,
    /// The command that makes a worktree ready, and the one that proves it.
    pub setup: Option<String>,
    /// See `setup`.
    pub verify: Option<String>,
    /// Time for one run of either.
    pub timeout: Duration,
    /// Environment of both.
    pub env: Environment,
    /// What the commits on the base branch look like.
    pub style: DeliveryStyle,
    /// Whether the person's hooks have a say about these commits.
    pub hooks: bool,
    /// Files whose lines of both sides are kept when they conflict, as globs.
    pub union_files: Vec<String>,
    /// Lock files and the command that writes each anew.
    pub lockfiles: BTreeMap<String, String>,
    /// Where the scratch worktree is.
    pub scratch: PathBuf,
    /// What the commands printed goes here.
    pub log: PathBuf,
    /// Who merges.
    pub author: &'a KeptAuthor,
    /// Set when the work is to end.
    pub stop: &'a AtomicBool,
    /// Takes a line for people at each step.
    pub tell: &'a dyn Fn(&str),
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

impl Bench<'_> {
    /// Merges results in memory, one on top of the other; `before` are those that `onto`
    /// holds already. A result that does not merge is left out, and with it those that
    /// contain its commits.
    #[must_use]
    pub fn merge(
        &self,
        onto: Option<&Oid>,
        before: &[MergeTask],
        tasks: &[MergeTask],
        trial: bool,
    ) -> QueueResult {
        self.told(self.try_merge(onto, before, tasks, trial))
    }

    fn try_merge(
        &self,
        onto: Option<&Oid>,
        before: &[MergeTask],
        tasks: &[MergeTask],
        trial: bool,
    ) -> Result<QueueResult, GitError> {
        let base = match onto {
            Some(onto) => onto.clone(),
            None => match self.repo.branch_tip(&self.base_branch)? {
                Some(tip) => tip,
                None => return Ok(self.base_is_gone()),
            },
        };
        let mut how = LinkHow::new(&self.base_branch, self.style).by(self.author);
        how.hooks = self.hooks && !trial;
        how.held.extend(before.iter().map(|task| task.head.clone()));
        let mut tip = base.clone();
        let mut links: Vec<QueueLink> = Vec::new();
        let mut conflicts: Vec<QueueConflict> = Vec::new();
        let mut left_out: Vec<&TaskName> = Vec::new();
        let mut on_chain: Vec<&MergeTask> = before.iter().collect();
        for task in tasks {
            if self.is_stopped() {
                return Ok(QueueResult::Stopped);
            }
            if task.needs.iter().any(|needed| left_out.contains(&needed)) {
                left_out.push(&task.name);
                continue;
            }
            let mut settled = Vec::new();
            let mut partly = None;
            let linked = match link(&self.repo, &tip, task, &how)? {
                Linked::Conflict {
                    tree,
                    files,
                    messages,
                } => {
                    let conflict = Conflict {
                        tree: &tree,
                        files: &files,
                        messages: &messages,
                    };
                    match self.settle(&tip, task, conflict)? {
                        Settled::All { tree, how: by } => {
                            settled = by.iter().map(settled_file).collect();
                            Ok(link_tree(&self.repo, &tip, task, &how, &tree)?)
                        }
                        Settled::Some { left, .. } if left.is_empty() => Err(files),
                        Settled::Some {
                            tree,
                            left,
                            settled,
                        } => {
                            partly = (!settled.is_empty()).then_some(tree);
                            Err(left)
                        }
                    }
                }
                Linked::Commit(commit) => Ok(commit),
                Linked::Contained => {
                    how.held.push(task.head.clone());
                    Ok(tip.clone())
                }
            };
            match linked {
                Ok(commit) => {
                    tip = commit;
                    on_chain.push(task);
                    links.push(QueueLink {
                        task: task.name.clone(),
                        commit: tip.clone(),
                        settled,
                    });
                }
                Err(files) => {
                    let files: Vec<String> = files.into_iter().map(|f| f.path).collect();
                    left_out.push(&task.name);
                    conflicts.push(QueueConflict {
                        task: task.name.clone(),
                        at: tip.clone(),
                        with: self.who_changed(&files, &on_chain)?,
                        files,
                        partly,
                    });
                }
            }
        }
        if self.is_stopped() {
            return Ok(QueueResult::Stopped);
        }
        if !trial {
            // Nothing else points at the merged commits yet.
            if tip != base {
                self.backup(&tip)?;
            }
            for conflict in &conflicts {
                (self.tell)(&format!(
                    "{} does not merge: {}",
                    conflict.task,
                    conflict.files.join(", ")
                ));
            }
        }
        Ok(QueueResult::Merged {
            base,
            links,
            conflicts,
        })
    }

    /// Settles what needs no thought of the conflicts of putting a task on top of `tip`.
    ///
    /// # Errors
    /// When git fails.
    pub fn settle(
        &self,
        tip: &Oid,
        task: &MergeTask,
        conflict: Conflict<'_>,
    ) -> Result<Settled, GitError> {
        let rules = match Rules::new(&self.union_files, &self.lockfiles) {
            Ok(rules) => rules,
            Err(error) => {
                (self.tell)(&format!("no conflict is settled mechanically: {error}"));
                return Ok(Settled::Some {
                    tree: conflict.tree.clone(),
                    settled: Vec::new(),
                    left: conflict.files.to_vec(),
                });
            }
        };
        let marker = self.marker();
        let workbench = Workbench {
            scratch: &self.scratch,
            env: &self.env,
            log: &self.log,
            timeout: self.timeout,
            marker: &marker,
            stop: self.stop,
        };
        let settled =
            mechanical::settle(&self.repo, tip, &task.head, conflict, &rules, &workbench)?;
        let (Settled::All { how, .. } | Settled::Some { settled: how, .. }) = &settled;
        for (path, rung) in how {
            (self.tell)(&format!("{}: {path} {rung}", task.name));
        }
        Ok(settled)
    }

    /// Those of the tasks that changed one of these files.
    fn who_changed(
        &self,
        files: &[String],
        tasks: &[&MergeTask],
    ) -> Result<Vec<TaskName>, GitError> {
        let mut found = Vec::new();
        for task in tasks {
            let changed = self.repo.changed_paths(&task.start, &task.head)?;
            if changed.iter().any(|path| files.contains(path)) {
                found.push(task.name.clone());
            }
        }
        Ok(found)
    }

    /// Runs the verify command on exactly this commit.
    #[must_use]
    pub fn verify(&self, commit: &Oid) -> QueueResult {
        self.told(self.try_verify(commit))
    }

    fn try_verify(&self, commit: &Oid) -> Result<QueueResult, GitError> {
        let Some(verify) = &self.verify else {
            return Ok(QueueResult::Failed {
                detail: "no verify command is configured".into(),
            });
        };
        // A command of a conductor that was killed may still run in the scratch worktree.
        // Instances carry a task in their marker and are not meant.
        tree::end(
            &tree::Tree::marked(self.marker()),
            &tree::EndPlan::default(),
        );
        self.ready_scratch(commit)?;
        if let Some(setup) = &self.setup {
            (self.tell)("making the scratch worktree ready");
            let report = self.command(setup);
            if report.stopped {
                return Ok(QueueResult::Stopped);
            }
            if !report.is_green() {
                return Ok(QueueResult::Failed {
                    detail: format!(
                        "the set-up command failed in the scratch worktree ({}): {}",
                        report.ending(),
                        report.tail
                    ),
                });
            }
        }
        (self.tell)(&format!("verifying the merged tree {}", commit.short()));
        let report = self.command(verify);
        if report.stopped {
            return Ok(QueueResult::Stopped);
        }
        if report.is_green() {
            (self.tell)(&format!("the merged tree {} is green", commit.short()));
            return Ok(QueueResult::Verified {
                green: true,
                tail: String::new(),
            });
        }
        (self.tell)(&format!(
            "the merged tree {} is red: {}",
            commit.short(),
            report.ending()
        ));
        // It is the evidence.
        self.backup(commit)?;
        Ok(QueueResult::Verified {
            green: false,
            tail: format!("{}\n({})", report.tail, report.ending()),
        })
    }

    /// Moves the base branch from one commit to the other, if it is still at the first. What
    /// is there already is delivered, whoever did it: perhaps an earlier try that did not
    /// live to say so.
    #[must_use]
    pub fn deliver(&self, from: &Oid, to: &Oid) -> QueueResult {
        self.told(self.try_deliver(from, to))
    }

    fn try_deliver(&self, from: &Oid, to: &Oid) -> Result<QueueResult, GitError> {
        let Some(tip) = self.repo.branch_tip(&self.base_branch)? else {
            return Ok(self.base_is_gone());
        };
        if tip == *to || self.repo.is_ancestor(to, &tip)? {
            self.drop_branch(to)?;
            return Ok(QueueResult::Delivered);
        }
        if tip != *from {
            return Ok(self.moved(tip));
        }
        self.keep(to)?;
        if let Ok(name) = TaskName::parse("base") {
            self.repo.backup(&self.id, &name, BackupKind::Base, from)?;
        }
        match self.repo.deliver(&self.base_branch, from, to) {
            Ok(done) => {
                if let Delivered::Checkout {
                    warning: Some(warning),
                    ..
                } = &done
                {
                    (self.tell)(&format!("delivered, but: {warning}"));
                }
                self.drop_branch(to)?;
                Ok(QueueResult::Delivered)
            }
            Err(DeliverError::Moved { now, .. }) => Ok(self.moved(now)),
            Err(DeliverError::Git(error)) => Err(error),
            Err(refused) => Ok(QueueResult::Refused {
                detail: format!("{refused}. Then: `orchestra merge automatic`"),
            }),
        }
    }

    /// Puts a commit on the branch for people, if the base branch is still where the chain
    /// begins.
    #[must_use]
    pub fn present(&self, from: &Oid, commit: &Oid) -> QueueResult {
        self.told(self.try_present(from, commit))
    }

    fn try_present(&self, from: &Oid, commit: &Oid) -> Result<QueueResult, GitError> {
        match self.repo.branch_tip(&self.base_branch)? {
            None => return Ok(self.base_is_gone()),
            Some(tip) if tip != *from => return Ok(self.moved(tip)),
            Some(_) => {}
        }
        Ok(match self.keep(commit)? {
            Some(branch) => QueueResult::Presented { branch },
            None => QueueResult::Refused {
                detail: format!(
                    "the branch orchestra/{} for the merged results could not be moved: is it \
                     checked out? Check out something else, then `orchestra merge review`",
                    self.id
                ),
            },
        })
    }

    fn told(&self, result: Result<QueueResult, GitError>) -> QueueResult {
        result.unwrap_or_else(|error| QueueResult::Failed {
            detail: error.to_string(),
        })
    }

    fn moved(&self, to: Oid) -> QueueResult {
        (self.tell)("the base branch moved meanwhile: merging again on top of it");
        QueueResult::BaseMoved { to }
    }

    fn base_is_gone(&self) -> QueueResult {
        QueueResult::Failed {
            detail: format!(
                "the base branch {} is gone; make it again, then `orchestra merge automatic`",
                self.base_branch
            ),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The branch and the backups only kept the commit safe, which the base branch does now.
    fn drop_branch(&self, delivered: &Oid) -> Result<(), GitError> {
        if let Some(branch) = integration_branch(&self.id)
            && self.repo.branch_tip(&branch)?.as_ref() == Some(delivered)
            && !self.repo.is_checked_out(&branch)?
        {
            let _ = self.repo.delete_ref(&branch.full_ref(), delivered);
        }
        let mut held = Vec::new();
        for backup in self.repo.all_backups()? {
            let own = backup.run == self.id && backup.task.as_str() == INTEGRATION;
            if own && self.repo.is_ancestor(&backup.oid, delivered)? {
                held.push(backup);
            }
        }
        // What could not be deleted expires.
        let _ = self.repo.delete_backups(&held);
        Ok(())
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
        let moved = !self.repo.is_checked_out(&branch)?
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
        if let Ok(name) = TaskName::parse(INTEGRATION) {
            self.repo
                .backup(&self.id, &name, BackupKind::Merge, commit)?;
        }
        Ok(())
    }

    fn ready_scratch(&self, merged: &Oid) -> Result<(), GitError> {
        let known = self.repo.is_registered(&self.scratch)?;
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

    fn command(&self, command: &str) -> CommandReport {
        run_configured(
            command,
            &self.scratch,
            &self.env,
            &self.log,
            self.timeout,
            &self.marker(),
            self.stop,
        )
    }

    /// Marks what integration itself starts: no task can have this name, so that a sweep of
    /// a task's processes never meets it.
    fn marker(&self) -> Marker {
        Marker::integration(&self.token, &self.id)
    }
}

fn settled_file((path, rung): &(String, Rung)) -> SettledFile {
    SettledFile {
        path: path.clone(),
        by: rung.word().to_owned(),
    }
}
