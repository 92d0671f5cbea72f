//! The state of a working tree: what is in it, and keeping or resetting it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::Git;
use super::error::GitError;
use super::objects::{ChangeKind, DiffStat, FileStat, Lines};
use super::plumbing::{STAT_FORMAT, parse_stat, parts};
use super::repo::{Backend, Head, Repo, parse_oid, path};
use super::worktree::git_dir_of;
use crate::core::id::Oid;

/// Untracked files larger than this are listed without a number of lines.
const COUNTED_FILE: u64 = 8 * 1024 * 1024;
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Something that the person has begun in a working tree and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `git merge`
    Merge,
    /// `git rebase`
    Rebase,
    /// `git am`
    Am,
    /// `git cherry-pick`
    CherryPick,
    /// `git revert`
    Revert,
    /// `git bisect`
    Bisect,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Merge => "merge",
            Self::Rebase => "rebase",
            Self::Am => "am",
            Self::CherryPick => "cherry-pick",
            Self::Revert => "revert",
            Self::Bisect => "bisect",
        })
    }
}

/// One changed file of a working tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// Its path from the top folder.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What differs between a working tree, its index and its commit. A file that is
/// staged and changed again is in both lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeStatus {
    /// Changes in the index.
    pub staged: Vec<StatusEntry>,
    /// Changes of tracked files that are not in the index.
    pub modified: Vec<StatusEntry>,
    /// Files that git does not know and does not ignore. A nested repository is one
    /// entry that ends with `/`.
    pub untracked: Vec<String>,
    /// Files with unresolved conflicts.
    pub conflicted: Vec<String>,
    /// Submodules with another commit or with changes inside.
    pub submodules: Vec<String>,
    /// What is under way.
    pub operation: Option<Operation>,
}

impl TreeStatus {
    /// Nothing to commit, nothing untracked, nothing under way.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.operation.is_none() && self.paths().next().is_none()
    }

    /// Whether the index is known to hold just what the commit holds.
    #[must_use]
    pub fn is_index_as_committed(&self) -> bool {
        // What is only to be added later (`git add -N`) counts as modified.
        self.staged.is_empty()
            && self.modified.is_empty()
            && self.conflicted.is_empty()
            && self.submodules.is_empty()
    }

    /// Every path that is named, each as often as it is named.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let entries = self.staged.iter().chain(&self.modified);
        entries
            .map(|e| e.path.as_str())
            .chain(self.untracked.iter().map(String::as_str))
            .chain(self.conflicted.iter().map(String::as_str))
            .chain(self.submodules.iter().map(String::as_str))
    }
}

fn kind(letter: u8) -> Option<ChangeKind> {
    match letter {
        b'.' => None,
        b'A' => Some(ChangeKind::Added),
        b'D' => Some(ChangeKind::Deleted),
        b'T' => Some(ChangeKind::TypeChanged),
        b'R' | b'C' => Some(ChangeKind::Renamed),
        _ => Some(ChangeKind::Modified),
    }
}

impl Repo {
    /// The state of a working tree. Ignored files do not appear.
    ///
    /// # Errors
    /// What git says when it cannot be read.
    pub fn status(&self, worktree: &Path) -> Result<TreeStatus, GitError> {
        let output = Git::at(worktree)
            .args([
                "status",
                "--porcelain=v2",
                "-z",
                "--untracked-files=all",
                "--ignore-submodules=none",
                "--no-renames",
            ])
            .run()?;
        let mut status = TreeStatus::default();
        for entry in parts(&output.stdout) {
            let entry = String::from_utf8_lossy(entry);
            let Some((form, rest)) = entry.split_once(' ') else {
                continue;
            };
            // `1 XY sub mH mI mW hH hI path`, `u XY sub m1 m2 m3 mW h1 h2 h3 path`
            let fields = match form {
                "?" => {
                    status.untracked.push(rest.to_owned());
                    continue;
                }
                "1" => 8,
                "u" => 10,
                _ => continue,
            };
            let fields: Vec<&str> = rest.splitn(fields, ' ').collect();
            let (Some(xy), Some(sub), Some(path)) = (fields.first(), fields.get(1), fields.last())
            else {
                return Err(output.unreadable(entry.into_owned()));
            };
            let path = (*path).to_owned();
            if form == "u" {
                status.conflicted.push(path);
                continue;
            }
            let letter = |at| xy.as_bytes().get(at).copied().and_then(kind);
            if let Some(kind) = letter(0) {
                let path = path.clone();
                status.staged.push(StatusEntry { path, kind });
            }
            if let Some(kind) = letter(1) {
                if sub.starts_with('S') && kind == ChangeKind::Modified {
                    status.submodules.push(path);
                } else {
                    status.modified.push(StatusEntry { path, kind });
                }
            }
        }
        status.operation = self.operation_in(worktree, &git_dir_of(worktree)?)?;
        Ok(status)
    }

    /// What is under way in a worktree, by the files that git keeps for it.
    pub(crate) fn operation_in(
        &self,
        worktree: &Path,
        git_dir: &Path,
    ) -> Result<Option<Operation>, GitError> {
        let has = |name: &str| git_dir.join(name).exists();
        let found = if has("rebase-merge") {
            Some(Operation::Rebase)
        } else if has("rebase-apply") {
            Some(if has("rebase-apply/applying") {
                Operation::Am
            } else {
                Operation::Rebase
            })
        } else if has("MERGE_HEAD") {
            Some(Operation::Merge)
        } else if has("CHERRY_PICK_HEAD") {
            Some(Operation::CherryPick)
        } else if has("REVERT_HEAD") {
            Some(Operation::Revert)
        } else if has("BISECT_LOG") {
            Some(Operation::Bisect)
        } else {
            None
        };
        if found.is_some() || self.backend() == Backend::Library {
            return Ok(found);
        }
        // With reftable these are no files.
        for (name, operation) in [
            ("CHERRY_PICK_HEAD", Operation::CherryPick),
            ("REVERT_HEAD", Operation::Revert),
        ] {
            let output = Git::at(worktree)
                .args(["rev-parse", "-q", "--verify", name])
                .output()?;
            if output.success() {
                return Ok(Some(operation));
            }
        }
        Ok(None)
    }

    /// What a worktree has changed since a commit: committed, uncommitted and
    /// untracked together. Cheap enough to be asked every few seconds: two processes,
    /// and only files that differ are read.
    ///
    /// # Errors
    /// What git says when it cannot be read.
    pub fn worktree_stat(&self, worktree: &Path, base: &Oid) -> Result<DiffStat, GitError> {
        let output = Git::at(worktree)
            .arg("diff")
            .args(STAT_FORMAT)
            .args([base.as_str(), "--"])
            .run()?;
        let mut files = parse_stat(&output)?;
        let output = Git::at(worktree)
            .args(["ls-files", "-z", "--others", "--exclude-standard"])
            .args(["--full-name", "--", ":/"])
            .run()?;
        for name in parts(&output.stdout) {
            let shown = String::from_utf8_lossy(name).into_owned();
            // Removed from the index, still on disk: the diff has it already.
            if files.iter().any(|f| f.path == shown) {
                continue;
            }
            files.push(FileStat {
                path: shown,
                old_path: None,
                kind: ChangeKind::Added,
                lines: lines_of_file(&worktree.join(path(name)))
                    .map(|added| Lines { added, removed: 0 }),
            });
        }
        Ok(DiffStat::new(files))
    }

    /// Keeps everything that a worktree holds beyond its commit (staged, unstaged,
    /// deleted, untracked; not ignored) in a commit on top of its `HEAD`, and returns
    /// that commit; none when there is nothing. Index, `HEAD`, stash and files stay as
    /// they are. Nothing points at the commit yet: see [`Repo::backup`].
    ///
    /// Of a nested repository only the id of its commit is kept, as git always does.
    ///
    /// # Errors
    /// When a file cannot be read: then there is no snapshot rather than a part of one.
    pub fn snapshot(&self, worktree: &Path, message: &str) -> Result<Option<Oid>, GitError> {
        let status = self.status(worktree)?;
        self.snapshot_of(worktree, &status, message)
    }

    /// As [`Repo::snapshot`], of a worktree whose state was looked at just now.
    ///
    /// # Errors
    /// As [`Repo::snapshot`].
    pub fn snapshot_of(
        &self,
        worktree: &Path,
        status: &TreeStatus,
        message: &str,
    ) -> Result<Option<Oid>, GitError> {
        if status.paths().next().is_none() {
            return Ok(None);
        }
        let head = match self.head_at(worktree)? {
            Head::Branch { oid, .. } | Head::Detached { oid } => Some(oid),
            Head::Unborn { .. } => None,
        };
        let git_dir = git_dir_of(worktree)?;
        let scratch = tempfile::Builder::new()
            .prefix("orchestra-snapshot.")
            .tempdir_in(&git_dir)
            .map_err(|e| GitError::io("making a folder in", &git_dir, &e))?;
        let index = scratch.path().join("index");
        copy_index(&git_dir.join("index"), &index)?;
        Git::at(worktree)
            .env("GIT_INDEX_FILE", &index)
            .args(["-c", "core.splitIndex=false", "-c", "core.fsmonitor=false"])
            .args(["-c", "core.safecrlf=false", "-c", "add.ignoreErrors=false"])
            .args(["-c", "advice.addEmbeddedRepo=false"])
            .args(["add", "--all", "--", ":/"])
            .run()?;
        let output = Git::at(worktree)
            .env("GIT_INDEX_FILE", &index)
            .arg("write-tree")
            .run()?;
        let tree = parse_oid(&output, &output.text())?;
        let nothing = match &head {
            Some(head) => self.tree_of(head)? == tree,
            None => {
                let listed = Git::at(worktree).args(["ls-tree", tree.as_str()]).run()?;
                listed.stdout.is_empty()
            }
        };
        if nothing {
            return Ok(None);
        }
        let parents: Vec<Oid> = head.into_iter().collect();
        // Never signed: a snapshot must not wait for a passphrase.
        let stamp = self.stamp(None)?;
        self.commit_with(&tree, &parents, message, &stamp, false)
            .map(Some)
    }

    /// As [`Repo::snapshot`], of a folder that is no worktree (any more): its files as they
    /// differ from the commit `parent`, by the ignore rules of the folder; none when they do
    /// not differ. Files that are missing do not count: the folder may be half-made.
    ///
    /// # Errors
    /// When a file cannot be read: then there is no snapshot rather than a part of one.
    pub fn snapshot_folder(
        &self,
        folder: &Path,
        parent: &Oid,
        message: &str,
    ) -> Result<Option<Oid>, GitError> {
        let scratch = tempfile::Builder::new()
            .prefix("orchestra-snapshot.")
            .tempdir_in(self.common_dir())
            .map_err(|e| GitError::io("making a folder in", self.common_dir(), &e))?;
        let index = scratch.path().join("index");
        let git = || {
            Git::at(folder)
                .env("GIT_INDEX_FILE", &index)
                .env("GIT_DIR", self.common_dir())
                .env("GIT_WORK_TREE", folder)
                .args(["-c", "core.bare=false", "-c", "core.splitIndex=false"])
                .args(["-c", "core.fsmonitor=false", "-c", "core.safecrlf=false"])
                .args([
                    "-c",
                    "add.ignoreErrors=false",
                    "-c",
                    "advice.addEmbeddedRepo=false",
                ])
        };
        git().args(["read-tree", parent.as_str()]).run()?;
        git().args(["add", "--ignore-removal", "--", "."]).run()?;
        let output = git().arg("write-tree").run()?;
        let tree = parse_oid(&output, &output.text())?;
        if self.tree_of(parent)? == tree {
            return Ok(None);
        }
        let stamp = self.stamp(None)?;
        self.commit_with(&tree, std::slice::from_ref(parent), message, &stamp, false)
            .map(Some)
    }

    /// Files and folders of a worktree that git ignores, folders as one entry that ends with
    /// `/`.
    ///
    /// # Errors
    /// What git says when it cannot be read.
    pub fn ignored_in(&self, worktree: &Path) -> Result<Vec<String>, GitError> {
        let output = Git::at(worktree)
            .args(["ls-files", "-z", "--others", "--ignored"])
            .args(["--exclude-standard", "--directory"])
            .run()?;
        Ok(parts(&output.stdout)
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect())
    }

    /// Makes a worktree hold exactly the tree of a commit, detached: changes of tracked
    /// files go, files that are neither tracked nor ignored go, ignored ones (build
    /// caches) stay. For worktrees that are this program's own only.
    ///
    /// # Errors
    /// [`GitError::NotAWorktree`] for a folder that is none, or no longer; else what git says.
    pub fn checkout_detached(&self, worktree: &Path, at: &Oid) -> Result<(), GitError> {
        // Or what lies round it, perhaps the person's checkout, would be overwritten.
        if !self.is_linked_worktree(worktree) {
            return Err(GitError::NotAWorktree {
                path: worktree.to_owned(),
            });
        }
        let before = self.head_at(worktree)?;
        // The hook runs afterwards by itself, so that its failure is not taken for one
        // of the checkout.
        Git::at(worktree)
            .timeout(CHECKOUT_TIMEOUT)
            .args(["-c", "core.hooksPath=/dev/null"])
            .args(["checkout", "--quiet", "--force", "--detach"])
            .args(["--no-recurse-submodules", at.as_str(), "--"])
            .run()?;
        Git::at(worktree)
            .timeout(CHECKOUT_TIMEOUT)
            .args(["clean", "--quiet", "-d", "--force", "--force"])
            .run()?;
        let none = "0".repeat(at.as_str().len());
        let old = before.oid().map_or(none.as_str(), Oid::as_str);
        self.post_checkout(worktree, old, at)?;
        Ok(())
    }

    /// Whether a path (from the top folder) is in the index of a worktree.
    ///
    /// # Errors
    /// What git says when the index cannot be read.
    pub fn is_tracked(&self, worktree: &Path, path: &str) -> Result<bool, GitError> {
        if path.is_empty() {
            return Ok(false);
        }
        let output = Git::at(worktree)
            .env("GIT_LITERAL_PATHSPECS", "1")
            .args(["ls-files", "-z", "--full-name", "--", path])
            .run()?;
        Ok(!output.stdout.is_empty())
    }
}

/// Copies an index with its time: git trusts cached file times only as far as they are
/// older than the index.
pub(crate) fn copy_index(from: &Path, to: &PathBuf) -> Result<(), GitError> {
    let copy = || -> std::io::Result<()> {
        let modified = std::fs::metadata(from)?.modified()?;
        std::fs::copy(from, to)?;
        std::fs::File::options()
            .write(true)
            .open(to)?
            .set_modified(modified)
    };
    match copy() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|e| GitError::io("copying the index", from, &e)),
    }
}

/// The number of lines of a text file (a link counts as one line); none when it is
/// binary, too large or gone.
fn lines_of_file(file: &Path) -> Option<u64> {
    let metadata = std::fs::symlink_metadata(file).ok()?;
    if metadata.file_type().is_symlink() {
        return Some(1);
    }
    if !metadata.is_file() || metadata.len() > COUNTED_FILE {
        return None;
    }
    let mut content = Vec::new();
    std::fs::File::open(file)
        .ok()?
        .take(COUNTED_FILE)
        .read_to_end(&mut content)
        .ok()?;
    super::library::count_lines(&content)
}
