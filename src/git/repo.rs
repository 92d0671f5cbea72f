//! Finding a repository and its main checkout, and where `HEAD` is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::command::{Git, Output, git_version};
use super::error::GitError;
use super::hooks::HooksElsewhere;
use super::worktree;
use crate::core::id::{BranchName, Oid};

/// Which tool reads commits, trees and refs of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// libgit2, inside this process.
    Library,
    /// The `git` command: for repositories that libgit2 cannot open (reftable,
    /// SHA-256) or would answer wrongly for (partial clones, replace refs, shallow).
    Command,
}

/// What `HEAD` of a checkout points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// On a branch with at least one commit.
    Branch {
        /// The branch.
        name: BranchName,
        /// Its commit.
        oid: Oid,
    },
    /// On a branch that has no commit yet.
    Unborn {
        /// The branch that the first commit would make.
        name: BranchName,
    },
    /// On a commit, not on a branch.
    Detached {
        /// The commit.
        oid: Oid,
    },
}

impl Head {
    /// The commit, if there is one.
    #[must_use]
    pub fn oid(&self) -> Option<&Oid> {
        match self {
            Self::Branch { oid, .. } | Self::Detached { oid } => Some(oid),
            Self::Unborn { .. } => None,
        }
    }

    /// The branch, if `HEAD` is on one.
    #[must_use]
    pub fn branch(&self) -> Option<&BranchName> {
        match self {
            Self::Branch { name, .. } | Self::Unborn { name } => Some(name),
            Self::Detached { .. } => None,
        }
    }
}

/// One repository with its main checkout. Cheap to clone, usable from many threads.
#[derive(Clone)]
pub struct Repo {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    common_dir: PathBuf,
    backend: Backend,
    /// Opened repositories that no thread uses right now.
    idle: Mutex<Vec<git2::Repository>>,
    hooks: Mutex<Option<HooksElsewhere>>,
}

impl std::fmt::Debug for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repo")
            .field("root", &self.inner.root)
            .field("common_dir", &self.inner.common_dir)
            .field("backend", &self.inner.backend)
            .finish_non_exhaustive()
    }
}

impl Repo {
    /// Finds the repository from any folder in it: the main checkout, a folder below
    /// it, or one of its linked worktrees. The result is always about the **main**
    /// checkout. For a bare repository with worktrees that is the worktree of its
    /// default branch.
    ///
    /// # Errors
    /// [`GitError::NotARepository`], [`GitError::Bare`], [`GitError::NotOwned`],
    /// [`GitError::NoMainCheckout`], [`GitError::NoGit`], [`GitError::TooOld`].
    pub fn discover(start: &Path) -> Result<Self, GitError> {
        git_version()?;
        let places = Places::of(start)?;
        let root = if let Some(top) = places.main_top() {
            top
        } else if is_bare(&places.common_dir)? {
            default_worktree_of_bare(&places.common_dir)?
        } else if places.git_dir == places.common_dir {
            // Inside the `.git` folder itself.
            main_checkout(start, &places.common_dir)?
        } else {
            main_checkout(start, &places.common_dir)?
        };
        let backend = backend_for(&places.common_dir);
        Ok(Self::assemble(root, places.common_dir, backend))
    }

    /// The repository whose main checkout is `root`, as an earlier [`Repo::discover`] told
    /// it: for the background processes of a run, which need not find out again what the
    /// command that started it found out.
    ///
    /// # Errors
    /// As [`Repo::discover`].
    pub fn of_main_checkout(root: &Path) -> Result<Self, GitError> {
        let common_dir = root.join(".git");
        // A file names a folder elsewhere: git knows how to follow it.
        if !common_dir.is_dir() {
            return Self::discover(root);
        }
        let backend = backend_for(&common_dir);
        Ok(Self::assemble(root.to_owned(), common_dir, backend))
    }

    fn assemble(root: PathBuf, common_dir: PathBuf, backend: Backend) -> Self {
        Self {
            inner: Arc::new(Inner {
                root,
                common_dir,
                backend,
                idle: Mutex::default(),
                hooks: Mutex::default(),
            }),
        }
    }

    /// The same repository served by the other backend, to compare them.
    #[cfg(test)]
    pub(crate) fn with_backend(&self, backend: Backend) -> Self {
        Self::assemble(
            self.inner.root.clone(),
            self.inner.common_dir.clone(),
            backend,
        )
    }

    /// The top folder of the main checkout.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The folder that all worktrees share: `.git` of the main checkout, usually.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.inner.common_dir
    }

    /// Which tool reads this repository.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    pub(super) fn hooks_known(&self) -> &Mutex<Option<HooksElsewhere>> {
        &self.inner.hooks
    }

    /// `HEAD` of the main checkout.
    ///
    /// # Errors
    /// What git says when it cannot be read.
    pub fn head(&self) -> Result<Head, GitError> {
        self.head_at(self.root())
    }

    /// `HEAD` of the worktree in which a folder lies.
    ///
    /// # Errors
    /// What git says when it cannot be read.
    pub fn head_at(&self, start: &Path) -> Result<Head, GitError> {
        // Most folders that are asked about are the top of a worktree in use.
        if let Some(head) = self.library_head(start) {
            return Ok(head);
        }
        let symbolic = Git::at(start)
            .args(["symbolic-ref", "-q", "HEAD"])
            .output()?;
        let commit = Git::at(start)
            .args(["rev-parse", "-q", "--verify", "HEAD^{commit}"])
            .output()?;
        let oid = match commit.code {
            Some(0) => Some(parse_oid(&commit, &commit.text())?),
            Some(1) => None,
            _ => return Err(classify(&commit, start)),
        };
        let name = match symbolic.code {
            Some(0) => symbolic
                .text()
                .strip_prefix("refs/heads/")
                .map(|short| parse_branch(&symbolic, short))
                .transpose()?,
            Some(1) => None,
            _ => return Err(classify(&symbolic, start)),
        };
        match (name, oid) {
            (Some(name), Some(oid)) => Ok(Head::Branch { name, oid }),
            (Some(name), None) => Ok(Head::Unborn { name }),
            (None, Some(oid)) => Ok(Head::Detached { oid }),
            (None, None) => Err(GitError::Missing {
                what: format!("the commit that HEAD of {} points at", start.display()),
            }),
        }
    }

    /// `HEAD` of the top folder of one of this repository's worktrees, when it is on a
    /// branch with commits or on a commit; none in every other case, which git itself then
    /// decides.
    fn library_head(&self, top: &Path) -> Option<Head> {
        if self.backend() != Backend::Library {
            return None;
        }
        let git_dir = worktree::own_git_dir(top)?;
        let common_dir = self.common_dir().canonicalize().ok()?;
        if git_dir != common_dir && git_dir.parent() != Some(&common_dir.join("worktrees")) {
            return None;
        }
        let text = head_file(&git_dir)?;
        let Some(full) = text.strip_prefix("ref: ") else {
            let oid = Oid::parse(text.trim_end()).ok()?;
            // It is there, and a commit.
            let ancestor = self.is_ancestor(&oid, &oid).ok()?;
            return ancestor.then_some(Head::Detached { oid });
        };
        let short = full.strip_prefix("refs/heads/")?.trim_end();
        let name = BranchName::parse(short).ok()?;
        let oid = self.branch_tip(&name).ok()??;
        Some(Head::Branch { name, oid })
    }

    /// A call of git in the main checkout.
    pub(crate) fn git(&self) -> Git {
        Git::at(self.root())
    }

    /// Does something with the library; opens the repository when none is idle.
    pub(crate) fn library<T>(
        &self,
        work: impl FnOnce(&git2::Repository) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let repository = match idle {
            Some(repository) => repository,
            None => open_library(self.common_dir()).map_err(|e| GitError::Library {
                doing: "opening it",
                detail: e.message().to_owned(),
            })?,
        };
        let result = work(&repository);
        self.inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(repository);
        result
    }
}

/// What git says about the repository round a folder.
struct Places {
    git_dir: PathBuf,
    common_dir: PathBuf,
    /// The top folder of the working tree; none outside of one.
    top: Option<PathBuf>,
}

impl Places {
    fn of(start: &Path) -> Result<Self, GitError> {
        if !start.is_dir() {
            return Err(GitError::NotARepository {
                path: start.to_owned(),
            });
        }
        let output = Git::at(start)
            .args([
                "rev-parse",
                "--path-format=absolute",
                "--git-dir",
                "--git-common-dir",
                // Last: git ends with an error here when there is none.
                "--show-toplevel",
            ])
            .output()?;
        let mut lines = output.stdout.split(|b| *b == b'\n');
        let (Some(git_dir), Some(common_dir), true) =
            (lines.next(), lines.next(), lines.next().is_some())
        else {
            return Err(classify(&output, start));
        };
        let top = output.stdout.split(|b| *b == b'\n').nth(2);
        Ok(Self {
            git_dir: path(git_dir),
            common_dir: path(common_dir),
            top: top
                .filter(|top| output.success() && !top.is_empty())
                .map(path),
        })
    }

    /// The top folder when this is in the main checkout.
    fn main_top(&self) -> Option<PathBuf> {
        self.top.clone().filter(|_| self.git_dir == self.common_dir)
    }
}

/// Asked of the shared folder: inside a worktree of a bare repository, git says "not bare".
fn is_bare(common_dir: &Path) -> Result<bool, GitError> {
    let output = Git::at(common_dir)
        .arg("--git-dir=.")
        .args(["config", "--type=bool", "--get", "core.bare"])
        .output()?;
    Ok(output.success() && output.text() == "true")
}

/// What the `HEAD` of a git folder says; none when it cannot be read, or is a symbolic link
/// as very old versions of git made it.
pub(crate) fn head_file(git_dir: &Path) -> Option<String> {
    let file = git_dir.join("HEAD");
    if file.symlink_metadata().ok()?.is_symlink() {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// A failure to open a repository, typed where a person can do something about it.
fn classify(output: &Output, start: &Path) -> GitError {
    let text = &output.stderr;
    if text.contains("dubious ownership") {
        let path = text
            .split_once("repository at '")
            .and_then(|(_, rest)| rest.split_once('\''))
            .map_or_else(|| start.to_owned(), |(path, _)| PathBuf::from(path));
        GitError::NotOwned { path }
    } else if text.contains("not a git repository") {
        GitError::NotARepository {
            path: start.to_owned(),
        }
    } else {
        output.failed()
    }
}

/// The main checkout as seen from elsewhere: `core.worktree` (submodules, separate
/// git folders), else the folder that holds `.git`.
fn main_checkout(start: &Path, common_dir: &Path) -> Result<PathBuf, GitError> {
    let lost = || GitError::NoMainCheckout {
        common_dir: common_dir.to_owned(),
        start: start.to_owned(),
    };
    let configured = Git::at(common_dir)
        .arg("--git-dir=.")
        .args(["config", "--get", "core.worktree"])
        .output()?;
    let candidate = if configured.success() {
        common_dir.join(path(trim_line(&configured.stdout)))
    } else if common_dir.file_name() == Some(OsStr::new(".git")) {
        common_dir.parent().ok_or_else(lost)?.to_owned()
    } else {
        return Err(lost());
    };
    if !candidate.is_dir() {
        return Err(lost());
    }
    let places = Places::of(&candidate)?;
    if places.common_dir != common_dir {
        return Err(lost());
    }
    places.top.ok_or_else(lost)
}

/// A bare repository with worktrees beside it is a common way to work: the worktree
/// of its default branch then stands for the main checkout.
fn default_worktree_of_bare(common_dir: &Path) -> Result<PathBuf, GitError> {
    let head = Git::at(common_dir)
        .arg("--git-dir=.")
        .args(["symbolic-ref", "-q", "HEAD"])
        .output()?;
    worktree::list(common_dir)?
        .into_iter()
        .find(|w| !w.bare && w.path.is_dir() && w.branch.as_deref() == Some(&head.text()))
        .map(|w| w.path)
        .ok_or_else(|| GitError::Bare {
            path: common_dir.to_owned(),
        })
}

fn open_library(common_dir: &Path) -> Result<git2::Repository, git2::Error> {
    git2::Repository::open_ext(
        common_dir,
        git2::RepositoryOpenFlags::NO_SEARCH | git2::RepositoryOpenFlags::NO_DOTGIT,
        std::iter::empty::<&OsStr>(),
    )
}

/// The one check that decides which backend serves a repository.
fn backend_for(common_dir: &Path) -> Backend {
    let Ok(repository) = open_library(common_dir) else {
        return Backend::Command;
    };
    if serves(&repository, common_dir).unwrap_or(false) {
        Backend::Library
    } else {
        Backend::Command
    }
}

/// Whether libgit2 gives git's answers for commits, trees, diffs and refs here. Index
/// formats do not matter: no index is read through it.
fn serves(repository: &git2::Repository, common_dir: &Path) -> Result<bool, git2::Error> {
    // History that is cut off, or objects that stand in for others.
    if common_dir.join("shallow").exists() || common_dir.join("info/grafts").exists() {
        return Ok(false);
    }
    if repository
        .references_glob("refs/replace/*")?
        .next()
        .is_some()
    {
        return Ok(false);
    }
    // Objects that git fetches when they are first read.
    let config = repository.config()?;
    let mut entries = config.entries(Some("(extensions\\.partialclone|remote\\..*\\.promisor)"))?;
    Ok(entries.next().is_none())
}

pub(crate) fn trim_line(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

pub(crate) fn parse_oid(output: &Output, text: &str) -> Result<Oid, GitError> {
    Oid::parse(text).map_err(|e| output.unreadable(e.to_string()))
}

pub(crate) fn parse_branch(output: &Output, text: &str) -> Result<BranchName, GitError> {
    BranchName::parse(text).map_err(|e| output.unreadable(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testkit::Fixture;

    #[test]
    fn a_repository_of_someone_else_is_told_with_the_remedy() {
        let f = Fixture::new();
        let output = Git::at(&f.root)
            .env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
            .args(["rev-parse", "--git-dir"])
            .output()
            .unwrap();
        let error = classify(&output, &f.root);
        assert!(
            matches!(&error, GitError::NotOwned { path } if *path == f.root),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains("safe.directory"), "{text}");
    }
}
