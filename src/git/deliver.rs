//! Moving a branch of the person forward without touching their work.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkout::Operation;
use super::command::{Git, Output};
use super::error::GitError;
use super::lock::{AdminLock, Purpose};
use super::refs::{Expected, hook_refused};
use super::repo::Repo;
use super::worktree::{WorktreeInfo, git_dir_of};
use crate::core::id::{BranchName, Oid};

/// The person's `post-merge` hook may install dependencies.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// How a delivery was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The branch was there already.
    Already,
    /// The branch is checked out nowhere: only the ref moved.
    RefOnly,
    /// The branch is checked out: git fast-forwarded that checkout.
    Checkout {
        /// The checkout.
        path: PathBuf,
        /// What went wrong after the branch had moved, such as a failing hook.
        warning: Option<String>,
    },
}

/// Why a delivery did not happen. Unless it says otherwise, nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DeliverError {
    #[error("{branch} moved meanwhile: it is at {}, not at {}; try again on top of it", now.short(), expected.short())]
    Moved {
        branch: BranchName,
        expected: Oid,
        now: Oid,
    },
    #[error("the branch {branch} is gone; make it again or choose another base branch")]
    Gone { branch: BranchName },
    #[error("{} does not contain {}: a delivery only moves a branch forward", to.short(), from.short())]
    NotForward { from: Oid, to: Oid },
    #[error(
        "uncommitted changes in {} are in the way: {}; commit, stash or move them, then try again",
        path.display(),
        files.join(", ")
    )]
    Overlap { path: PathBuf, files: Vec<String> },
    #[error("a {operation} of {branch} is under way in {}; finish or abort it, then try again", path.display())]
    Busy {
        branch: BranchName,
        path: PathBuf,
        operation: Operation,
    },
    #[error(
        "{branch} is checked out more than once ({}); check out something else in all but one",
        paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    CheckedOutTwice {
        branch: BranchName,
        paths: Vec<PathBuf>,
    },
    #[error(
        "{branch} is checked out in {}, which cannot be reached now; make it available or remove that worktree",
        path.display()
    )]
    Unreachable { branch: BranchName, path: PathBuf },
    #[error("a hook of the repository refused to move {branch}: {detail}")]
    HookRefused { branch: BranchName, detail: String },
    #[error(
        "the files in {} were updated but {branch} was not moved, and the files could not be put back: {detail}; `git status` there shows them as staged changes",
        path.display()
    )]
    HalfWay {
        branch: BranchName,
        path: PathBuf,
        detail: String,
    },
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Repo {
    /// Moves a branch forward from one commit to another.
    ///
    /// Where the branch is checked out, in the main checkout or any worktree, git
    /// itself fast-forwards that checkout: uncommitted changes of other files stay,
    /// and when one is in the way nothing happens. Where it is not, the ref moves by
    /// compare-and-swap. Delivering what is there already is a success.
    ///
    /// # Errors
    /// See [`DeliverError`].
    pub fn deliver(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
    ) -> Result<Delivered, DeliverError> {
        // Git reads the branch, then updates the files, then moves the branch if it is
        // still there: two at once would both update the files.
        let _lock = AdminLock::acquire(self.common_dir(), Purpose::Delivery)?;
        self.expect_at(branch, from, to)?;
        if !self.is_ancestor(from, to)? {
            return Err(DeliverError::NotForward {
                from: from.clone(),
                to: to.clone(),
            });
        }
        if self.branch_tip(branch)?.as_ref() == Some(to) {
            return Ok(Delivered::Already);
        }
        let worktrees = self.worktrees()?;
        self.check_operations(branch, &worktrees)?;
        match self.checked_out_at(branch, &worktrees)? {
            Some(path) => self.fast_forward(branch, from, to, path),
            None => self.move_ref(branch, from, to),
        }
    }

    /// The branch is where it was, or where it should be.
    pub(super) fn expect_at(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
    ) -> Result<(), DeliverError> {
        match self.branch_tip(branch)? {
            None => Err(DeliverError::Gone {
                branch: branch.clone(),
            }),
            Some(now) if now != *from && now != *to => Err(DeliverError::Moved {
                branch: branch.clone(),
                expected: from.clone(),
                now,
            }),
            Some(_) => Ok(()),
        }
    }

    /// The one checkout of a branch that can be reached, if it is checked out.
    pub(super) fn checked_out_at(
        &self,
        branch: &BranchName,
        worktrees: &[WorktreeInfo],
    ) -> Result<Option<PathBuf>, DeliverError> {
        let full = branch.full_ref();
        let mut paths = Vec::new();
        for worktree in worktrees
            .iter()
            .filter(|w| !w.bare && w.branch.as_deref() == Some(full.as_str()))
        {
            // The main entry of unusual layouts names the git folder.
            let path = if worktree.path == self.common_dir() {
                self.root()
            } else {
                &worktree.path
            };
            if path.exists() {
                paths.push(path.to_owned());
            } else if worktree.locked.is_some() {
                // Locked and absent: on a disk that is not mounted now.
                return Err(DeliverError::Unreachable {
                    branch: branch.clone(),
                    path: path.to_owned(),
                });
            }
        }
        if paths.len() > 1 {
            return Err(DeliverError::CheckedOutTwice {
                branch: branch.clone(),
                paths,
            });
        }
        Ok(paths.pop())
    }

    /// Refuses while something is under way that has the branch in its hands. During
    /// a rebase `HEAD` is detached, so the worktree does not seem to be on the branch.
    pub(super) fn check_operations(
        &self,
        branch: &BranchName,
        worktrees: &[WorktreeInfo],
    ) -> Result<(), DeliverError> {
        let full = branch.full_ref();
        for worktree in worktrees.iter().filter(|w| !w.bare) {
            let path = if worktree.path == self.common_dir() {
                self.root()
            } else {
                &worktree.path
            };
            if !path.exists() {
                continue;
            }
            // An unreadable worktree of someone else is not in the way.
            let Ok(git_dir) = git_dir_of(path) else {
                continue;
            };
            let on_it = worktree.branch.as_deref() == Some(full.as_str());
            if (on_it || holds_branch(&git_dir, branch))
                && let Some(operation) = self.operation_in(path, &git_dir)?
            {
                return Err(DeliverError::Busy {
                    branch: branch.clone(),
                    path: path.to_owned(),
                    operation,
                });
            }
        }
        Ok(())
    }

    pub(super) fn move_ref(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
    ) -> Result<Delivered, DeliverError> {
        match self.update_ref(&branch.full_ref(), to, Expected::At(from)) {
            Ok(()) => Ok(Delivered::RefOnly),
            Err(GitError::HookRefused { detail, .. }) => Err(DeliverError::HookRefused {
                branch: branch.clone(),
                detail,
            }),
            Err(error @ GitError::RefMoved { .. }) => {
                self.expect_at(branch, from, to)?;
                if self.branch_tip(branch)?.as_ref() == Some(to) {
                    Ok(Delivered::Already)
                } else {
                    Err(error.into())
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn fast_forward(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
        path: PathBuf,
    ) -> Result<Delivered, DeliverError> {
        let head = self.head_at(&path)?;
        if head.branch() != Some(branch) || head.oid() != Some(from) {
            self.expect_at(branch, from, to)?;
            return self.move_ref(branch, from, to);
        }
        if self.brings_back(from, to, &path)? {
            let files = self.overlap(from, to, &path, "")?;
            return Err(DeliverError::Overlap { path, files });
        }
        let output = self.merge_call(branch, to, &path)?;
        let tip = self.branch_tip(branch)?;
        if tip.as_ref() == Some(to) {
            let warning = (!output.success()).then(|| output.stderr.clone());
            return Ok(Delivered::Checkout { path, warning });
        }
        Err(self.why_refused(branch, from, to, path, &output)?)
    }

    fn merge_call(&self, branch: &BranchName, to: &Oid, path: &Path) -> Result<Output, GitError> {
        let mut git = Git::at(path)
            .timeout(DELIVERY_TIMEOUT)
            .env("GIT_REFLOG_ACTION", "orchestra deliver");
        if self.person()?.is_none() {
            let own = super::objects::Identity::orchestra();
            git = git
                .env("GIT_COMMITTER_NAME", own.name)
                .env("GIT_COMMITTER_EMAIL", own.email);
        }
        // Options that the person configured for their own merges of this branch
        // (`--squash`, `--no-ff`). A name with `=` cannot be given this way.
        if !branch.as_str().contains('=') {
            git = git.arg("-c").arg(format!("branch.{branch}.mergeOptions="));
        }
        git.args(["merge", "--ff-only", "--no-squash", "--no-autostash"])
            // Ignored files are the person's, too: their `.env` is not overwritten.
            .args(["--no-verify-signatures", "--no-overwrite-ignore"])
            .args(["--no-stat", "--quiet", to.as_str()])
            .output()
    }

    /// The reason why git did not fast-forward, and the files as they were before.
    fn why_refused(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
        path: PathBuf,
        output: &Output,
    ) -> Result<DeliverError, DeliverError> {
        let refused = hook_refused(&output.stderr);
        if refused || output.stderr.contains("cannot lock ref") {
            // Git updates the files first and the ref last.
            if let Err(detail) = self.put_back(branch, from, to, &path)? {
                return Ok(DeliverError::HalfWay {
                    branch: branch.clone(),
                    path,
                    detail,
                });
            }
        }
        self.expect_at(branch, from, to)?;
        if refused {
            return Ok(DeliverError::HookRefused {
                branch: branch.clone(),
                detail: output.stderr.clone(),
            });
        }
        let files = self.overlap(from, to, &path, &output.stderr)?;
        if files.is_empty() {
            return Err(output.failed().into());
        }
        Ok(DeliverError::Overlap { path, files })
    }

    /// Takes the update of a checkout back after its ref did not move; uncommitted
    /// changes stay, as they do on the way there. The inner error is git's refusal.
    pub(super) fn put_back(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
        path: &Path,
    ) -> Result<Result<(), String>, GitError> {
        let step = |old: &Oid, new: &Oid| {
            Git::at(path)
                .args(["read-tree", "-m", "-u", old.as_str(), new.as_str()])
                .output()
        };
        let back = step(to, from)?;
        if !back.success() {
            return Ok(Err(back.stderr));
        }
        // Somebody else moved the branch in that moment: where both made the same
        // change, it belongs to them now. Git refuses where that is not so.
        if let Some(now) = self.branch_tip(branch)?.filter(|now| now != from) {
            step(from, &now)?;
        }
        Ok(Ok(()))
    }

    /// Whether the delivery changes a file that the person deleted: to git a file that is
    /// missing from a checkout is no change, and comes back.
    fn brings_back(&self, from: &Oid, to: &Oid, path: &Path) -> Result<bool, GitError> {
        let listed = Git::at(path).args(["ls-files", "-z", "--deleted"]).run()?;
        if listed.stdout.is_empty() {
            return Ok(false);
        }
        let delivered = self.changed_paths(from, to)?;
        let mut deleted = listed.stdout.split(|byte| *byte == 0);
        Ok(deleted.any(|own| delivered.iter().any(|theirs| own == theirs.as_bytes())))
    }

    /// The files with uncommitted changes that the delivery would touch.
    fn overlap(
        &self,
        from: &Oid,
        to: &Oid,
        path: &Path,
        stderr: &str,
    ) -> Result<Vec<String>, GitError> {
        let status = self.status(path)?;
        let delivered = self.changed_paths(from, to)?;
        let mut files: BTreeSet<String> = status
            .paths()
            .filter(|own| delivered.iter().any(|theirs| meet(own, theirs)))
            .chain(status.conflicted.iter().map(String::as_str))
            .map(str::to_owned)
            .collect();
        // Ignored files are not in the status, but git names them.
        for line in stderr.lines() {
            let named = line.strip_prefix('\t').map(str::trim);
            if let Some(named) = named.filter(|n| !files.iter().any(|f| meet(f, n))) {
                files.insert(named.to_owned());
            }
        }
        Ok(files.into_iter().collect())
    }
}

/// Whether two paths cannot be changed independently: the same, or one is a folder of
/// the other.
pub(super) fn meet(a: &str, b: &str) -> bool {
    let a = a.trim_end_matches('/');
    a == b
        || b.strip_prefix(a).is_some_and(|rest| rest.starts_with('/'))
        || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a rebase or bisect in this git folder will come back to the branch.
fn holds_branch(git_dir: &Path, branch: &BranchName) -> bool {
    let full = branch.full_ref();
    let names = |file: &str| {
        std::fs::read_to_string(git_dir.join(file)).is_ok_and(|text| {
            text.lines()
                .any(|line| line == full || line == branch.as_str())
        })
    };
    [
        "rebase-merge/head-name",
        "rebase-apply/head-name",
        "rebase-merge/update-refs",
        "BISECT_START",
    ]
    .into_iter()
    .any(names)
}
