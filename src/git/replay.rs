//! Making commits again elsewhere, in memory.

use super::error::GitError;
use super::merge::Merge;
use super::objects::{CommitInfo, Identity, Moment, Stamp};
use super::plumbing;
use super::repo::Repo;
use crate::core::id::Oid;

impl Repo {
    /// A commit that only says "this tree holds all that these commits hold", for asking
    /// git to merge on that ground. Nothing ever points at it. The same question always
    /// gives the same commit.
    ///
    /// # Errors
    /// [`GitError::Missing`] for a tree or parent that is not here.
    pub fn stand_in(&self, tree: &Oid, parents: &[Oid]) -> Result<Oid, GitError> {
        let epoch = Moment { time: 0, offset: 0 };
        let stamp = Stamp {
            author: Identity::orchestra(),
            written: epoch,
            committer: Identity::orchestra(),
            committed: epoch,
        };
        self.commit_with(tree, parents, "A ground for merging\n", &stamp, false)
    }

    /// What a commit changed beside its parent `parent`, done to another tree: git's
    /// three-way merge with that parent as the common ancestor.
    ///
    /// # Errors
    /// As [`Repo::merge`].
    pub fn pick(&self, onto: &Oid, commit: &Oid, parent: &Oid) -> Result<Merge, GitError> {
        let ground = self.stand_in(onto, std::slice::from_ref(parent))?;
        self.merge(&ground, commit)
    }

    /// As [`Repo::commits_between`], with messages and names in UTF-8 whatever they were
    /// written in: git is the one that knows the encodings.
    ///
    /// # Errors
    /// As [`Repo::commits_between`].
    pub fn commits_in_utf8(&self, base: &Oid, tip: &Oid) -> Result<Vec<CommitInfo>, GitError> {
        plumbing::commits_between(self, base, tip)
    }
}
