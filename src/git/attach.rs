//! A worktree for a branch that is there already.

use std::path::Path;
use std::time::Duration;

use super::error::GitError;
use super::lock::{AdminLock, Purpose};
use super::repo::Repo;
use crate::core::id::BranchName;

/// A checkout of a large repository may take long.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

impl Repo {
    /// Makes a worktree on an existing branch, as `git worktree add PATH BRANCH` does.
    ///
    /// # Errors
    /// When the branch is checked out elsewhere, or what git says.
    pub fn worktree_attach(&self, path: &Path, branch: &BranchName) -> Result<(), GitError> {
        let _lock = AdminLock::acquire(self.common_dir(), Purpose::Records)?;
        self.git()
            .once()
            .timeout(CHECKOUT_TIMEOUT)
            .args(["worktree", "add", "--quiet", "--"])
            .arg(path)
            .arg(branch.as_str())
            .run()
            .map(|_| ())
    }
}
