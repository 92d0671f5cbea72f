//! The only room that knows git.
//!
//! [`Repo`] is one repository as the rest of the program sees it. Reading commits,
//! trees and refs, and making commits, goes through libgit2 where it can open the
//! repository and gives the same answer as git; everything that touches a working
//! tree, runs hooks or merges goes through the `git` command, and so does everything
//! in a repository that libgit2 cannot serve ([`Backend`] says which applies).
//!
//! | file | what |
//! |---|---|
//! | `command` | the one function that starts `git` |
//! | `repo` | finding the repository and its main checkout, `HEAD` |
//! | `objects`, `library`, `plumbing` | commits, trees, diffs, refs: the surface and its two backends |
//! | `merge` | merging two commits in memory, by git itself |
//! | `radar` | pictures of worktrees at work, and merging many pairs of them |
//! | `refs` | compare-and-swap of refs, backups |
//! | `worktree` | adding, removing and listing worktrees |
//! | `checkout` | the state of a working tree: status, diff, snapshot, reset |
//! | `deliver` | moving a branch of the person forward without touching their work |
//! | `exclude`, `lock` | `info/exclude`, the lock between processes of this program |
//! | `submodule` | filling submodules of a new worktree without the network |
//! | `include` | ignored files that a new worktree needs all the same |
//! | `scratch` | new repositories for demonstrations |

mod checkout;
mod command;
mod deliver;
mod error;
mod exclude;
mod include;
mod library;
mod lock;
mod merge;
mod objects;
mod plumbing;
mod radar;
mod refs;
mod repo;
mod scratch;
mod submodule;
mod worktree;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use checkout::{Operation, StatusEntry, TreeStatus};
pub use command::{GitVersion, MINIMUM_GIT, git_version};
pub use deliver::{DeliverError, Delivered};
pub use error::GitError;
pub use include::INCLUDE_FILE;
pub use merge::{ConflictFile, ConflictMessage, ConflictStage, Merge};
pub use objects::{Author, ChangeKind, CommitInfo, DiffStat, FileStat, Identity, Lines};
pub use radar::{Look, MergePair, Picture, RadarChange, Scanner};
pub use refs::{BackupKind, Expected};
pub use repo::{Backend, Head, Repo};
pub use submodule::SubmoduleReport;
pub use worktree::{Added, WorktreeInfo, WorktreeSpec};
