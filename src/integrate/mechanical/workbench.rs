//! The place where configured commands and git work on files for the merge.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::agent::environment::Environment;
use crate::agent::shell::{CommandReport, run_configured};
use crate::agent::tree::Marker;
use crate::core::id::Oid;
use crate::git::{GitError, Identity, Repo, WorktreeSpec};

/// A scratch worktree and how commands are run in it. The worktree is made when it is first
/// needed, and left for whoever made up its path to remove.
#[derive(Debug, Clone)]
pub struct Workbench<'a> {
    /// Where the worktree is or will be: an absolute path at which nobody works.
    pub scratch: &'a Path,
    /// The environment of the commands.
    pub env: &'a Environment,
    /// What they print goes here.
    pub log: &'a Path,
    /// Time for each of them.
    pub timeout: Duration,
    /// Marks their processes.
    pub marker: &'a Marker,
    /// Ends them when it becomes true.
    pub stop: &'a AtomicBool,
}

impl Workbench<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Makes the worktree hold exactly what a commit holds.
    pub(super) fn check_out(&self, repo: &Repo, commit: &Oid) -> Result<(), GitError> {
        let is_here = |path: &Path| {
            path == self.scratch
                || matches!((path.canonicalize(), self.scratch.canonicalize()),
                    (Ok(a), Ok(b)) if a == b)
        };
        let known = repo.worktrees()?.iter().any(|w| is_here(&w.path));
        if known {
            if self.scratch.is_dir() && repo.checkout_detached(self.scratch, commit).is_ok() {
                return Ok(());
            }
            // Half-made by a process that was killed, or spoilt by a command: it holds
            // nobody's work. Git removes a worktree only whole or when its folder is gone.
            if self.scratch.is_dir() && !repo.is_linked_worktree(self.scratch) {
                std::fs::remove_dir_all(self.scratch)
                    .map_err(|e| GitError::io("removing", self.scratch, &e))?;
            }
            repo.worktree_remove(self.scratch, true)?;
        }
        repo.worktree_add(&WorktreeSpec {
            path: self.scratch.to_owned(),
            branch: None,
            at: commit.clone(),
        })?;
        if repo.has_submodules(commit)? {
            repo.init_submodules(self.scratch)?;
        }
        // Credentials of package registries, for instance.
        repo.copy_included(self.scratch)?;
        Ok(())
    }

    /// As [`Workbench::check_out`], for a tree.
    pub(super) fn check_out_tree(
        &self,
        repo: &Repo,
        tree: &Oid,
        parents: &[Oid],
    ) -> Result<(), GitError> {
        // Never signed: nobody will see this commit, and signing may ask for a passphrase.
        let stamp = repo.stamp(Some(&Identity::orchestra()))?;
        let commit = repo.commit_with(tree, parents, "Conflict", &stamp, false)?;
        self.check_out(repo, &commit)
    }

    /// Runs a command in a folder of the worktree.
    pub(super) fn run(
        &self,
        command: &str,
        folder: &Path,
        variables: &[(&str, OsString)],
    ) -> CommandReport {
        let mut env = self.env.clone();
        for (name, value) in variables {
            env.set(*name, value.clone());
        }
        run_configured(
            command,
            folder,
            &env,
            self.log,
            self.timeout,
            self.marker,
            self.stop,
        )
    }

    /// Where a file of the repository is in the worktree.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        self.scratch.join(path)
    }
}
