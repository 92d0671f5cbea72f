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
//! | `merge`, `replay` | merging two commits and picking one in memory, by git itself |
//! | `merging` | a merge begun in a worktree for somebody else to end |
//! | `message`, `hooks` | trailers of commit messages; hooks that judge commits |
//! | `resolve` | contents in conflict, merging single files, git's memory of resolutions |
//! | `radar` | pictures of worktrees at work, and merging many pairs of them |
//! | `patch` | a difference as people read it |
//! | `refs` | compare-and-swap of refs, backups |
//! | `worktree` | adding, removing and listing worktrees |
//! | `checkout` | the state of a working tree: status, diff, snapshot, reset |
//! | `deliver` | moving a branch of the person forward without touching their work |
//! | `undo` | moving it back again, and the opposite of a delivery as a tree |
//! | `exclude`, `lock` | `info/exclude`, the lock between processes of this program |
//! | `submodule` | filling submodules of a new worktree without the network |
//! | `include` | ignored files that a new worktree needs all the same |
//! | `scratch` | new repositories for demonstrations |

mod checkout;
mod command;
mod deliver;
mod error;
mod exclude;
mod hooks;
mod include;
mod library;
mod lock;
mod merge;
mod merging;
mod message;
mod objects;
mod past;
mod patch;
mod plumbing;
mod radar;
mod refs;
mod replay;
mod repo;
mod resolve;
mod scratch;
mod submodule;
mod undo;
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
pub use lock::LockFile;
pub use merge::{ConflictFile, ConflictMessage, ConflictStage, Merge};
pub use merging::MergeBegun;
pub use message::{trailer_values, with_trailers};
pub use objects::{
    Author, ChangeKind, CommitInfo, DiffStat, FileStat, Identity, KeptAuthor, Lines,
};
pub use past::Past;
pub use radar::{Look, MergePair, Picture, RadarChange, Scanner};
pub use refs::{BACKUPS, Backup, BackupKind, Expected, Headline};
pub use repo::{Backend, Head, Repo};
pub use resolve::{Lean, TreeFile};
pub use submodule::SubmoduleReport;
pub use worktree::{Added, WorktreeInfo, WorktreeSpec};
