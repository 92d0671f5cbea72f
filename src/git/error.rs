//! What can go wrong with git, as values that a caller can decide on.

use std::path::PathBuf;

use crate::core::id::{BranchName, Oid};

/// Why something in a repository could not be done.
///
/// The variants that a caller may want to treat differently are typed; everything
/// else that the command refuses is [`GitError::Failed`] with the whole story.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum GitError {
    #[error("the command `git` was not found; install git 2.38 or newer and put it on PATH")]
    NoGit,
    #[error(
        "git {found} is too old: `git merge-tree --write-tree` is missing; install git 2.38 or newer"
    )]
    TooOld { found: String },
    #[error("{} is not inside a git repository; go to your project or run `git init` there", path.display())]
    NotARepository { path: PathBuf },
    #[error(
        "the repository at {} is bare: it has no checkout to work in; run from a clone or from a worktree of its default branch",
        path.display()
    )]
    Bare { path: PathBuf },
    #[error(
        "git does not trust the repository at {} because someone else owns it; if you trust it, run: git config --global --add safe.directory {}",
        path.display(),
        path.display()
    )]
    NotOwned { path: PathBuf },
    #[error(
        "the main checkout of {} was not found from {}; run from the main checkout",
        common_dir.display(),
        start.display()
    )]
    NoMainCheckout { common_dir: PathBuf, start: PathBuf },

    #[error("`{command}` in {} failed{}: {stderr}", dir.display(), exit_text(*code))]
    Failed {
        command: String,
        dir: PathBuf,
        /// The exit code; none when a signal ended it.
        code: Option<i32>,
        stderr: String,
    },
    #[error(
        "`{command}` in {} did not end within {seconds} s and was stopped; a hook, filter or signing program of the repository may be waiting for input",
        dir.display()
    )]
    TimedOut {
        command: String,
        dir: PathBuf,
        seconds: u64,
    },
    #[error(
        "{lock} is held by another process and did not become free: {detail}; wait for it, or when no git process is running, remove that file"
    )]
    Locked { lock: String, detail: String },
    #[error("`{command}` could not be started in {}: {detail}", dir.display())]
    Spawn {
        command: String,
        dir: PathBuf,
        detail: String,
    },
    #[error("`{command}` answered something unexpected: {detail}")]
    Unreadable { command: String, detail: String },
    #[error("{doing} failed in the repository: {detail}")]
    Library { doing: &'static str, detail: String },
    #[error("{doing} {} failed: {detail}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        detail: String,
    },

    #[error("{what} does not exist in this repository")]
    Missing { what: String },
    #[error(
        "{name} was expected {} but is {}; something else moved it",
        expected.as_ref().map_or_else(|| "not to exist".to_owned(), |o| format!("at {}", o.short())),
        actual.as_ref().map_or_else(|| "gone".to_owned(), |o| format!("at {}", o.short()))
    )]
    RefMoved {
        name: String,
        /// What the caller expected; none for "must not exist".
        expected: Option<Oid>,
        /// What is there now; none when there is nothing.
        actual: Option<Oid>,
    },
    #[error(
        "{name} cannot exist beside {by}: git keeps refs like files and folders; rename or delete {by}"
    )]
    RefBlocked { name: String, by: String },
    #[error("the repository's reference-transaction hook refused to change {name}: {detail}")]
    HookRefused { name: String, detail: String },
    #[error("{name:?} is not a ref name that can be used here")]
    BadRefName { name: String },
    #[error("there is no branch {branch} in this repository; `git branch` lists those there are")]
    NoSuchBranch { branch: BranchName },
    #[error("the branch {branch} already exists")]
    BranchExists { branch: BranchName },
    #[error("{} already exists and is not an empty folder", path.display())]
    PathOccupied { path: PathBuf },
    #[error("{} must be an absolute path", path.display())]
    NotAbsolute { path: PathBuf },
    #[error("{} is not a worktree of this repository", path.display())]
    NotAWorktree { path: PathBuf },
    #[error(
        "the worktree {} holds changes that are in no commit; save them or remove it with force",
        path.display()
    )]
    WorktreeDirty { path: PathBuf },
    #[error("the worktree {} is locked ({reason}); unlock it with `git worktree unlock`", path.display())]
    WorktreeLocked { path: PathBuf, reason: String },
    #[error("{ours} and {theirs} have no common history, so they cannot be merged")]
    Unrelated { ours: Oid, theirs: Oid },
    #[error(
        "the commit could not be signed, which commit.gpgSign asks for: {detail}; make `git commit --allow-empty -S` work in this repository without typing anything (user.signingKey, gpg.format, an agent that holds the key), or switch commit.gpgSign off"
    )]
    Signing { detail: String },
    #[error(
        "the repository's {hook} hook refused the commit {subject:?}: {detail}; change the hook, or do not let hooks judge commits that are made for delivery"
    )]
    CommitRefused {
        hook: &'static str,
        subject: String,
        detail: String,
    },
}

fn exit_text(code: Option<i32>) -> String {
    code.map_or_else(
        || " (ended by a signal)".to_owned(),
        |code| format!(" (exit code {code})"),
    )
}

impl GitError {
    pub(crate) fn io(doing: &'static str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            detail: error.to_string(),
        }
    }
}
