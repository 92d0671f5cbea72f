//! A merge that somebody else ends: begun in a worktree, left there with its markers.

use std::path::Path;

use super::command::Git;
use super::error::GitError;
use super::objects::Identity;
use super::repo::Repo;
use super::worktree::git_dir_of;
use crate::core::id::Oid;

/// A merge that is only begun waits for nobody, and runs nothing that the person wants to run
/// at merges of their own: no hooks, no signatures and no stash have a say in it.
const BEGIN: &[&str] = &[
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "merge.autoStash=false",
    "-c",
    "merge.verifySignatures=false",
    "merge",
    "--quiet",
    "--no-commit",
    "--no-ff",
    "--strategy=ort",
];

/// The call that begins a merge in a worktree, without the commit to be merged. Git wants to
/// know who merges even when nothing is committed: `by` when the person does not.
pub(super) fn beginning(worktree: &Path, by: Option<&Identity>) -> Git {
    let mut git = Git::at(worktree);
    if let Some(by) = by {
        git = git
            .env("GIT_AUTHOR_NAME", &by.name)
            .env("GIT_AUTHOR_EMAIL", &by.email)
            .env("GIT_COMMITTER_NAME", &by.name)
            .env("GIT_COMMITTER_EMAIL", &by.email);
    }
    git.args(BEGIN)
}

/// What became of beginning a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeBegun {
    /// It is under way since just now.
    Now,
    /// It is under way since earlier.
    UnderWay,
    /// The commit is contained already.
    Contained,
    /// Git would not; nothing was changed.
    Refused {
        /// What git said.
        detail: String,
    },
}

impl Repo {
    /// Begins to merge a commit into what is checked out in a worktree, and leaves it to
    /// somebody else to end that: conflicts are in the files with markers round them, and the
    /// message of the commit is `message`. A merge that is under way already is left as it
    /// is, and so is a worktree whose commit contains the other.
    ///
    /// # Errors
    /// When git cannot be run, or the state of the worktree cannot be read.
    pub fn begin_merge_in(
        &self,
        worktree: &Path,
        theirs: &Oid,
        message: &str,
    ) -> Result<MergeBegun, GitError> {
        let git_dir = git_dir_of(worktree)?;
        if git_dir.join("MERGE_HEAD").exists() {
            return Ok(MergeBegun::UnderWay);
        }
        if let Some(head) = self.head_at(worktree)?.oid()
            && self.is_ancestor(theirs, head)?
        {
            return Ok(MergeBegun::Contained);
        }
        // Whether recorded resolutions are used (`rerere`) is as the person configured it.
        let nobody = Identity::orchestra();
        let by = self.person()?.is_none().then_some(&nobody);
        let output = beginning(worktree, by)
            .once()
            .arg(theirs.as_str())
            .output()?;
        if !git_dir.join("MERGE_HEAD").exists() {
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let detail = if output.stderr.is_empty() {
                said
            } else {
                output.stderr
            };
            return Ok(MergeBegun::Refused { detail });
        }
        let file = git_dir.join("MERGE_MSG");
        std::fs::write(&file, format!("{}\n", message.trim_end()))
            .map_err(|e| GitError::io("writing", &file, &e))?;
        Ok(MergeBegun::Now)
    }

    /// Takes files in conflict as a tree holds them, in a worktree in which a merge is under
    /// way: they count as resolved. One that the tree does not hold goes.
    ///
    /// # Errors
    /// When git cannot be run, or does not know the tree.
    pub fn take_resolved(
        &self,
        worktree: &Path,
        tree: &Oid,
        files: &[String],
    ) -> Result<(), GitError> {
        for path in files {
            let git = || {
                Git::at(worktree)
                    .env("GIT_LITERAL_PATHSPECS", "1")
                    .args(["-c", "core.hooksPath=/dev/null"])
            };
            let there = git()
                .args(["ls-tree", "-z", "--name-only", "--full-tree", tree.as_str()])
                .args(["--", path])
                .run()?;
            let args: &[&str] = if there.stdout.is_empty() {
                &["rm", "--quiet", "--force", "--ignore-unmatch", "--"]
            } else {
                &["checkout", "--quiet", tree.as_str(), "--"]
            };
            git().args(args).arg(path).run()?;
        }
        Ok(())
    }

    /// The difference between two commits in some files, as people read it, without regard to
    /// how the person wants to see differences.
    ///
    /// # Errors
    /// When one of the commits is not here.
    pub fn diff_of_files(
        &self,
        from: &Oid,
        to: &Oid,
        files: &[String],
    ) -> Result<String, GitError> {
        if files.is_empty() {
            return Ok(String::new());
        }
        let output = self
            .git()
            .env("GIT_LITERAL_PATHSPECS", "1")
            .args([
                "-c",
                "core.quotePath=false",
                "diff-tree",
                "-r",
                "-p",
                "--no-color",
                "--no-ext-diff",
                "--no-textconv",
                "--no-renames",
            ])
            .args([from.as_str(), to.as_str(), "--"])
            .args(files)
            .run()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
