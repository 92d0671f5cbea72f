//! Taking a delivery back: moving a branch to where it was, or making the commit that does
//! the opposite.

use std::path::{Path, PathBuf};

use super::command::{Git, Output};
use super::deliver::{DeliverError, Delivered, meet};
use super::error::GitError;
use super::lock::{AdminLock, Purpose};
use super::merge::Merge;
use super::objects::{Identity, Moment, Stamp};
use super::plumbing::parts;
use super::refs::Expected;
use super::repo::Repo;
use crate::core::id::{BranchName, Oid};

impl Repo {
    /// Moves a branch back from a commit to an older one.
    ///
    /// Where the branch is checked out, its files are moved back with it: uncommitted changes
    /// of other files stay, staged ones staged, and when one is in the way nothing happens.
    /// Files that are not tracked are never overwritten, ignored ones neither. A call that was
    /// cut off may be made again. Moving back what is there already is a success.
    ///
    /// # Errors
    /// See [`DeliverError`].
    pub fn rewind(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
    ) -> Result<Delivered, DeliverError> {
        let _lock = AdminLock::acquire(self.common_dir(), Purpose::Delivery)?;
        if self.branch_tip(branch)?.as_ref() == Some(to) {
            return Ok(Delivered::Already);
        }
        let Some(path) = self.free_to_rewind(branch, from, to)? else {
            return self.move_ref(branch, from, to);
        };
        let back = read_tree(&path, from, to, &[])?;
        if !back.success() {
            return Err(back.failed().into());
        }
        match self.update_ref(&branch.full_ref(), to, Expected::At(from)) {
            Ok(()) => Ok(Delivered::Checkout {
                path,
                warning: None,
            }),
            Err(error) => Err(self.not_rewound(branch, from, to, path, error)?),
        }
    }

    /// Whether [`Repo::rewind`] would do it now; changes nothing.
    ///
    /// # Errors
    /// Those that it would have.
    pub fn can_rewind(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
    ) -> Result<(), DeliverError> {
        self.free_to_rewind(branch, from, to).map(|_| ())
    }

    /// Checks all that can be in the way; the checkout that has to be moved back as well.
    fn free_to_rewind(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
    ) -> Result<Option<PathBuf>, DeliverError> {
        self.expect_at(branch, from, to)?;
        if !self.is_ancestor(to, from)? {
            return Err(DeliverError::NotForward {
                from: to.clone(),
                to: from.clone(),
            });
        }
        let worktrees = self.worktrees()?;
        self.check_operations(branch, &worktrees)?;
        let Some(path) = self.checked_out_at(branch, &worktrees)? else {
            return Ok(None);
        };
        let head = self.head_at(&path)?;
        if head.branch() != Some(branch) {
            return Ok(None);
        }
        let hidden = self.untracked_in_the_way(&path, from, to)?;
        if !hidden.is_empty() {
            return Err(DeliverError::Overlap {
                path,
                files: hidden,
            });
        }
        // Files whose times changed and nothing else would look changed below. That the
        // index cannot be written is said there.
        Git::at(&path)
            .args(["update-index", "-q", "--refresh"])
            .output()?;
        let trial = read_tree(&path, from, to, &["-n"])?;
        if trial.success() {
            return Ok(Some(path));
        }
        let status = self.status(&path)?;
        let moved = self.changed_paths(from, to)?;
        let mut files: Vec<String> = status
            .paths()
            .filter(|own| moved.iter().any(|path| meet(own, path)))
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        if files.is_empty() {
            return Err(trial.failed().into());
        }
        Err(DeliverError::Overlap { path, files })
    }

    /// Files that git does not track and that stand where the older commit has one. Git
    /// itself overwrites those that are ignored.
    fn untracked_in_the_way(
        &self,
        checkout: &Path,
        from: &Oid,
        to: &Oid,
    ) -> Result<Vec<String>, GitError> {
        let mut found = Vec::new();
        for path in self.changed_paths(from, to)? {
            let comes_back = self.read_file(from, &path)?.is_none();
            if comes_back && let Some(blocker) = self.blocker(checkout, from, &path)? {
                found.push(blocker);
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// What is not tracked and has the place of a file, or of one of the folders above it.
    fn blocker(&self, checkout: &Path, now: &Oid, path: &str) -> Result<Option<String>, GitError> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let Some(part) = path.get(..end) else {
                continue;
            };
            let Ok(about) = checkout.join(part).symlink_metadata() else {
                return Ok(None);
            };
            if about.is_dir() {
                if end < path.len() {
                    continue;
                }
                let others = Git::at(checkout)
                    .env("GIT_LITERAL_PATHSPECS", "1")
                    .args(["ls-files", "-z", "--others", "--full-name", "--", part])
                    .run()?;
                let first = parts(&others.stdout).next();
                return Ok(first.map(|name| String::from_utf8_lossy(name).into_owned()));
            }
            let tracked =
                self.read_file(now, part)?.is_some() || self.is_tracked(checkout, part)?;
            return Ok((!tracked).then(|| part.to_owned()));
        }
        Ok(None)
    }

    /// The branch did not move: its files go back to where they were.
    fn not_rewound(
        &self,
        branch: &BranchName,
        from: &Oid,
        to: &Oid,
        path: PathBuf,
        error: GitError,
    ) -> Result<DeliverError, DeliverError> {
        if let Err(detail) = self.put_back(branch, from, to, &path)? {
            return Ok(DeliverError::HalfWay {
                branch: branch.clone(),
                path,
                detail,
            });
        }
        self.expect_at(branch, from, to)?;
        Ok(match error {
            GitError::HookRefused { detail, .. } => DeliverError::HookRefused {
                branch: branch.clone(),
                detail,
            },
            other => other.into(),
        })
    }

    /// The tree of `tip` without what was done from `from` to `to`: a three-way merge in
    /// memory whose common ancestor is `to`.
    ///
    /// # Errors
    /// [`GitError::Missing`] for a commit that is not here.
    pub fn reverse(&self, tip: &Oid, from: &Oid, to: &Oid) -> Result<Merge, GitError> {
        // Said with commits of their own rather than `--merge-base`, which git before 2.40
        // does not know.
        let like =
            |commit: &Oid, parents: &[Oid]| self.commit_in_memory(&self.tree_of(commit)?, parents);
        let ancestor = like(to, &[])?;
        let ours = like(tip, std::slice::from_ref(&ancestor))?;
        let theirs = like(from, &[ancestor])?;
        self.merge(&ours, &theirs)
    }

    /// A commit that stands for a step in a calculation: the same each time, never signed,
    /// and nothing points at it.
    ///
    /// # Errors
    /// [`GitError::Missing`] for a tree or parent that is not here.
    pub fn commit_in_memory(&self, tree: &Oid, parents: &[Oid]) -> Result<Oid, GitError> {
        let never = Moment { time: 0, offset: 0 };
        let stamp = Stamp {
            author: Identity::orchestra(),
            written: never,
            committer: Identity::orchestra(),
            committed: never,
        };
        self.commit_with(tree, parents, "In memory", &stamp, false)
    }

    /// Branches of other repositories, as far as they are known here, that hold a commit.
    ///
    /// # Errors
    /// What git says when it cannot tell.
    pub fn pushed_to(&self, commit: &Oid) -> Result<Vec<String>, GitError> {
        let output = self
            .git()
            .args(["for-each-ref", "--format=%(refname:short)", "--contains"])
            .args([commit.as_str(), "refs/remotes"])
            .run()?;
        Ok(output.text().lines().map(str::to_owned).collect())
    }
}

/// Moves index and files of a checkout from one commit to another; what differs from the
/// first one in other files stays as it is.
fn read_tree(path: &Path, from: &Oid, to: &Oid, more: &[&str]) -> Result<Output, GitError> {
    Git::at(path)
        .args(["read-tree", "-m", "-u", "--no-recurse-submodules"])
        .args(more)
        .args([from.as_str(), to.as_str()])
        .output()
}
