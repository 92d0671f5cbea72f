//! Adding, removing and listing worktrees.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::command::Git;
use super::error::GitError;
use super::lock::{AdminLock, Purpose};
use super::plumbing::parts;
use super::refs::hook_refused;
use super::repo::{Backend, Repo, parse_oid, path};
use crate::core::id::{BranchName, Oid};

/// A checkout of a large repository and the hooks that follow it may take long.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// A worktree to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeSpec {
    /// Where: an absolute path that does not exist or is an empty folder.
    pub path: PathBuf,
    /// The branch to make for it, which must not exist; none: a detached `HEAD`.
    pub branch: Option<BranchName>,
    /// The commit to start from.
    pub at: Oid,
}

/// A worktree that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Where it is.
    pub path: PathBuf,
    /// What the person's `post-checkout` hook said when it failed. The worktree is
    /// complete all the same, as it is with `git worktree add`.
    pub hook_failure: Option<String>,
}

/// One worktree as git lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeInfo {
    /// Its top folder (for a bare repository, the repository).
    pub path: PathBuf,
    /// Its commit; none before the first one.
    pub head: Option<Oid>,
    /// The full ref of its branch (`refs/heads/main`); none when detached.
    pub branch: Option<String>,
    /// The entry is a bare repository, not a worktree.
    pub bare: bool,
    /// The reason why it is locked against removal; empty when none was given.
    pub locked: Option<String>,
    /// Why git would prune the entry, usually because its folder is gone.
    pub prunable: Option<String>,
}

/// Lists the worktrees of the repository round a folder, the main one first.
pub(crate) fn list(dir: &Path) -> Result<Vec<WorktreeInfo>, GitError> {
    let output = Git::at(dir)
        .args(["worktree", "list", "--porcelain", "-z"])
        .run()?;
    let mut found: Vec<WorktreeInfo> = Vec::new();
    for line in parts(&output.stdout) {
        if let Some(at) = line.strip_prefix(b"worktree ") {
            found.push(WorktreeInfo {
                path: path(at),
                head: None,
                branch: None,
                bare: false,
                locked: None,
                prunable: None,
            });
            continue;
        }
        let (Some(last), line) = (found.last_mut(), String::from_utf8_lossy(line)) else {
            continue;
        };
        let (key, value) = line.split_once(' ').unwrap_or((&line, ""));
        match key {
            // An unborn branch is listed with an id of zeroes.
            "HEAD" if value.bytes().any(|b| b != b'0') => {
                last.head = Some(parse_oid(&output, value)?);
            }
            "branch" => last.branch = Some(value.to_owned()),
            "bare" => last.bare = true,
            "locked" => last.locked = Some(value.to_owned()),
            "prunable" => last.prunable = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(found)
}

/// The git folder of a worktree: `.git` itself, or what the file `.git` names.
pub(crate) fn git_dir_of(worktree: &Path) -> Result<PathBuf, GitError> {
    if let Some(folder) = own_git_dir(worktree) {
        return Ok(folder);
    }
    let output = Git::at(worktree)
        .args(["rev-parse", "--absolute-git-dir"])
        .run()?;
    Ok(path(super::repo::trim_line(&output.stdout)))
}

/// The git folder of a worktree of which `top` is the top folder, without a process; none
/// for any other folder and whatever else is not as usual.
pub(crate) fn own_git_dir(top: &Path) -> Option<PathBuf> {
    let dot_git = top.join(".git");
    let folder = if dot_git.is_dir() {
        dot_git
    } else {
        let text = std::fs::read(dot_git).ok()?;
        top.join(path(super::repo::trim_line(
            text.strip_prefix(b"gitdir: ")?,
        )))
    };
    let folder = folder.canonicalize().ok()?;
    folder.join("HEAD").is_file().then_some(folder)
}

impl Repo {
    /// Lists all worktrees, the main checkout first.
    ///
    /// # Errors
    /// What git says when it cannot list them.
    pub fn worktrees(&self) -> Result<Vec<WorktreeInfo>, GitError> {
        list(self.common_dir())
    }

    /// Whether a folder is the top of a linked worktree of this repository. Without its
    /// `.git` file, git would take it for a part of whatever lies round it.
    #[must_use]
    pub fn is_linked_worktree(&self, top: &Path) -> bool {
        let records = self
            .common_dir()
            .canonicalize()
            .map(|c| c.join("worktrees"));
        matches!((own_git_dir(top), records),
            (Some(own), Ok(records)) if own.parent() == Some(records.as_path()))
    }

    /// Whether git keeps a record of a worktree at this path. Read without a process, and
    /// on the safe side: a record of a worktree with the same folder name elsewhere counts.
    #[must_use]
    pub fn may_be_registered(&self, worktree: &Path) -> bool {
        let records = self.common_dir().join("worktrees");
        let Ok(records) = std::fs::read_dir(records) else {
            return false;
        };
        records.flatten().any(|record| {
            // `PATH/.git`; an unreadable record may be of any worktree.
            std::fs::read(record.path().join("gitdir")).map_or(true, |text| {
                let named = path(super::repo::trim_line(&text));
                named.parent().and_then(Path::file_name) == worktree.file_name()
            })
        })
    }

    /// Git's own record of the worktree at exactly this path, without a process; none when
    /// there is no such record, or more than one, or when it is not as usual.
    fn record_of(&self, worktree: &Path) -> Option<PathBuf> {
        let link = worktree.join(".git");
        let records = std::fs::read_dir(self.common_dir().join("worktrees")).ok()?;
        let mut found = records
            .flatten()
            .map(|entry| entry.path())
            .filter(|record| {
                std::fs::read(record.join("gitdir"))
                    .is_ok_and(|text| path(super::repo::trim_line(&text)) == link)
            });
        let record = found.next()?;
        found.next().is_none().then_some(record)
    }

    /// Whether git keeps a record of a worktree at this path.
    ///
    /// # Errors
    /// What git says when it cannot list them.
    pub fn is_registered(&self, worktree: &Path) -> Result<bool, GitError> {
        if self.record_of(worktree).is_some() {
            return Ok(true);
        }
        Ok(self.may_be_registered(worktree)
            && self
                .worktrees()?
                .iter()
                .any(|w| same_path(&w.path, worktree)))
    }

    /// Whether a branch is checked out, in the main checkout or in a worktree.
    ///
    /// # Errors
    /// What git says when it cannot list the worktrees.
    pub fn is_checked_out(&self, branch: &BranchName) -> Result<bool, GitError> {
        let full = branch.full_ref();
        if let Some(found) = self.heads_name(&full) {
            return Ok(found);
        }
        let worktrees = self.worktrees()?;
        Ok(worktrees
            .iter()
            .any(|w| w.branch.as_deref() == Some(full.as_str())))
    }

    /// Whether one of the `HEAD` files names a ref; none when one of them cannot be read or
    /// is not as usual (with reftable they say nothing).
    fn heads_name(&self, full: &str) -> Option<bool> {
        if self.backend() != Backend::Library {
            return None;
        }
        let mut folders = vec![self.common_dir().to_owned()];
        match std::fs::read_dir(self.common_dir().join("worktrees")) {
            Ok(records) => {
                for record in records {
                    folders.push(record.ok()?.path());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
        let mut named = false;
        for folder in folders {
            let head = super::repo::head_file(&folder)?;
            named |= head
                .strip_prefix("ref:")
                .is_some_and(|name| name.trim() == full);
        }
        Some(named)
    }

    /// The worktree at a path and why it is locked, if it is; none when git does not know it,
    /// or when it is the main checkout.
    fn removable(&self, worktree: &Path) -> Result<Option<(PathBuf, Option<String>)>, GitError> {
        if let Some(record) = self.record_of(worktree)
            && !same_path(worktree, self.root())
        {
            match std::fs::read(record.join("locked")) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(Some((worktree.to_owned(), None)));
                }
                Ok(why) => {
                    let why = String::from_utf8_lossy(&why).trim().to_owned();
                    return Ok(Some((worktree.to_owned(), Some(why))));
                }
                Err(_) => {}
            }
        }
        let known = self
            .worktrees()?
            .into_iter()
            .skip(1)
            .find(|w| same_path(&w.path, worktree) && !same_path(&w.path, self.root()));
        Ok(known.map(|w| (w.path, w.locked)))
    }

    /// Makes one worktree; see [`Repo::worktrees_add`].
    ///
    /// # Errors
    /// As [`Repo::worktrees_add`].
    pub fn worktree_add(&self, spec: &WorktreeSpec) -> Result<Added, GitError> {
        let mut added = self.worktrees_add(std::slice::from_ref(spec))?;
        added.pop().ok_or_else(|| GitError::NotAWorktree {
            path: spec.path.clone(),
        })
    }

    /// Makes worktrees, all or none.
    ///
    /// Git's records are written one after the other, under a lock that all processes
    /// of this program share; the files are written in parallel. The person's
    /// `post-checkout` hook runs in each as it would with `git worktree add`. When one
    /// fails, all that this call made go again, branches included.
    ///
    /// # Errors
    /// [`GitError::NotAbsolute`], [`GitError::PathOccupied`], [`GitError::BranchExists`],
    /// [`GitError::RefBlocked`], [`GitError::Missing`] for a start that is no commit
    /// here, else what git said.
    pub fn worktrees_add(&self, specs: &[WorktreeSpec]) -> Result<Vec<Added>, GitError> {
        check_specs(specs)?;
        let mut registered = 0;
        let result = self
            .register_all(specs, &mut registered)
            .and_then(|()| self.fill_all(specs));
        if result.is_err() {
            self.roll_back(specs.get(..registered).unwrap_or_default());
        }
        result
    }

    /// Makes a worktree on a branch that is there already and is checked out nowhere.
    /// When its files cannot be written, the worktree goes again and the branch stays.
    ///
    /// # Errors
    /// [`GitError::NotAbsolute`], [`GitError::PathOccupied`], [`GitError::Missing`]
    /// without such a branch; when it is checked out elsewhere, what git says.
    pub fn worktree_attach(&self, path: &Path, branch: &BranchName) -> Result<Added, GitError> {
        let at = self.branch_tip(branch)?.ok_or_else(|| GitError::Missing {
            what: format!("the branch {branch}"),
        })?;
        let spec = WorktreeSpec {
            path: path.to_owned(),
            branch: None,
            at,
        };
        check_specs(std::slice::from_ref(&spec))?;
        {
            let _lock = AdminLock::acquire(self.common_dir(), Purpose::Records)?;
            self.git()
                .once()
                .args(["worktree", "add", "--quiet", "--no-checkout", "--"])
                .arg(path)
                .arg(branch.as_str())
                .run()?;
        }
        self.fill(&spec, workers_for(1)).inspect_err(|_| {
            let _ = self.worktree_remove(path, true);
        })
    }

    fn register_all(&self, specs: &[WorktreeSpec], registered: &mut usize) -> Result<(), GitError> {
        let _lock = AdminLock::acquire(self.common_dir(), Purpose::Records)?;
        for spec in specs {
            self.register(spec)?;
            *registered += 1;
        }
        Ok(())
    }

    /// Makes the branch and git's records of one worktree, without its files.
    fn register(&self, spec: &WorktreeSpec) -> Result<(), GitError> {
        let mut git = self
            .git()
            .once()
            .args(["worktree", "add", "--quiet", "--no-checkout"]);
        git = match &spec.branch {
            Some(branch) => git.args(["--no-track", "-b", branch.as_str()]),
            None => git.arg("--detach"),
        };
        let output = git
            .arg("--")
            .arg(&spec.path)
            .arg(spec.at.as_str())
            .output()?;
        if output.success() {
            return Ok(());
        }
        if let Some(branch) = &spec.branch {
            let name = branch.full_ref();
            if hook_refused(&output.stderr) {
                return Err(GitError::HookRefused {
                    name,
                    detail: output.stderr,
                });
            }
            // Git makes the branch first. One that is there after the failure is ours
            // unless git says that it was there before.
            if output.stderr.contains("a branch named") {
                return Err(GitError::BranchExists {
                    branch: branch.clone(),
                });
            }
            if let Some(by) = self.blocking_ref(&name)? {
                return Err(GitError::RefBlocked { name, by });
            }
            if self.branch_tip(branch)?.is_some() {
                let _ = self.delete_ref(&name, &spec.at);
            }
        }
        if self.resolve(spec.at.as_str())?.is_none() {
            return Err(super::library::missing_commit(&spec.at));
        }
        Err(output.failed())
    }

    /// Writes the files of all worktrees, as many at a time as there are processors.
    fn fill_all(&self, specs: &[WorktreeSpec]) -> Result<Vec<Added>, GitError> {
        let threads = processors().min(specs.len()).max(1);
        let workers = workers_for(threads);
        if threads == 1 {
            return specs.iter().map(|spec| self.fill(spec, workers)).collect();
        }
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let results: Mutex<Vec<(usize, Result<Added, GitError>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(spec) = specs.get(at) else { break };
                        let result = self.fill(spec, workers);
                        if result.is_err() {
                            stop.store(true, Ordering::Relaxed);
                        }
                        results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((at, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Writes the files of a registered worktree, then runs the hook that
    /// `git worktree add` would run.
    fn fill(&self, spec: &WorktreeSpec, workers: usize) -> Result<Added, GitError> {
        Git::at(&spec.path)
            .timeout(CHECKOUT_TIMEOUT)
            .arg("-c")
            .arg(format!("checkout.workers={workers}"))
            .args(["reset", "--hard", "--quiet", "--no-recurse-submodules"])
            .run()?;
        let none = "0".repeat(spec.at.as_str().len());
        Ok(Added {
            path: spec.path.clone(),
            hook_failure: self.post_checkout(&spec.path, &none, &spec.at)?,
        })
    }

    /// Runs the person's `post-checkout` hook, if there is one; what it said if it failed.
    pub(crate) fn post_checkout(
        &self,
        worktree: &Path,
        old: &str,
        new: &Oid,
    ) -> Result<Option<String>, GitError> {
        if !self.may_have_hook("post-checkout") {
            return Ok(None);
        }
        let output = Git::at(worktree)
            .timeout(CHECKOUT_TIMEOUT)
            .once()
            .args(["hook", "run", "--ignore-missing", "post-checkout", "--"])
            .args([old, new.as_str(), "1"])
            .output()?;
        Ok((!output.success()).then(|| {
            if output.stderr.is_empty() {
                format!("exit code {:?}", output.code)
            } else {
                output.stderr
            }
        }))
    }

    /// Takes back what [`Repo::register`] and [`Repo::fill`] made. What cannot be taken back
    /// stays: the error that is reported is the first one.
    fn roll_back(&self, specs: &[WorktreeSpec]) {
        for spec in specs.iter().rev() {
            let _ = self.worktree_remove(&spec.path, true);
            if let Some(branch) = &spec.branch {
                let _ = self.delete_ref(&branch.full_ref(), &spec.at);
            }
        }
    }

    /// Removes one worktree, its folder and git's record of it; its branch stays. The
    /// folder may be gone already. Without force, a worktree with changes that are in
    /// no commit (ignored files do not count) stays.
    ///
    /// # Errors
    /// [`GitError::WorktreeDirty`], [`GitError::WorktreeLocked`],
    /// [`GitError::NotAWorktree`], else what git said.
    pub fn worktree_remove(&self, worktree: &Path, force: bool) -> Result<(), GitError> {
        let _lock = AdminLock::acquire(self.common_dir(), Purpose::Records)?;
        let (known, locked) = self
            .removable(worktree)?
            .ok_or_else(|| GitError::NotAWorktree {
                path: worktree.to_owned(),
            })?;
        // Git locks a worktree while it makes it: this one's making was cut off.
        let unborn = force && locked.as_deref() == Some("initializing");
        if let Some(reason) = locked.filter(|_| !unborn) {
            return Err(GitError::WorktreeLocked {
                path: known,
                reason,
            });
        }
        if unborn && holds_only_its_link(&known) {
            // Cut off before its record was whole, which git refuses to look into. A folder
            // that is gone it does not ask about.
            std::fs::remove_dir_all(&known)
                .map_err(|e| GitError::io("removing the folder", &known, &e))?;
        }
        let output = remove_call(self, &known, u8::from(force) + u8::from(unborn))?;
        if output.success() {
            return Ok(());
        }
        if !force {
            if output
                .stderr
                .contains("contains modified or untracked files")
            {
                return Err(GitError::WorktreeDirty { path: known });
            }
            if !output.stderr.contains("submodules") {
                return Err(output.failed());
            }
            // Git removes worktrees with submodules only by force: look ourselves.
            if !self.status(&known)?.is_clean() {
                return Err(GitError::WorktreeDirty { path: known });
            }
            let forced = remove_call(self, &known, 1)?;
            if forced.success() {
                return Ok(());
            }
        }
        // Git drops its record even when it cannot delete every file. Read-only
        // folders (module caches of build tools) are the usual reason.
        let still_listed = self.worktrees()?.iter().any(|w| w.path == known);
        if !still_listed && known.exists() {
            make_folders_writable(&known);
            return std::fs::remove_dir_all(&known)
                .map_err(|e| GitError::io("removing the folder", &known, &e));
        }
        if still_listed {
            Err(output.failed())
        } else {
            Ok(())
        }
    }
}

/// Whether nothing is in a worktree but the file that points to its record.
fn holds_only_its_link(worktree: &Path) -> bool {
    std::fs::read_dir(worktree).is_ok_and(|entries| {
        entries
            .flatten()
            .all(|entry| entry.file_name() == ".git" && entry.path().is_file())
    })
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// How many processes git may use for the files of each of several checkouts. Two or
/// three cost as much to feed as they save, more so on a busy machine.
fn workers_for(checkouts: usize) -> usize {
    match processors() / checkouts {
        many @ 4.. => many,
        _ => 1,
    }
}

fn remove_call(
    repo: &Repo,
    worktree: &Path,
    forces: u8,
) -> Result<super::command::Output, GitError> {
    // Not from the root: for a bare repository that is itself a worktree.
    let mut git = Git::at(repo.common_dir()).args(["worktree", "remove"]);
    // The second one is for locks.
    for _ in 0..forces {
        git = git.arg("--force");
    }
    git.arg("--").arg(worktree).output()
}

fn make_folders_writable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = std::fs::symlink_metadata(folder) else {
        return;
    };
    if !metadata.is_dir() {
        return;
    }
    let mut permissions = metadata.permissions();
    if permissions.mode() & 0o700 != 0o700 {
        permissions.set_mode(permissions.mode() | 0o700);
        let _ = std::fs::set_permissions(folder, permissions);
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        make_folders_writable(&entry.path());
    }
}

fn same_path(a: &Path, b: &Path) -> bool {
    a == b
        || match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        }
}

fn check_specs(specs: &[WorktreeSpec]) -> Result<(), GitError> {
    let mut paths = HashSet::new();
    let mut branches = HashSet::new();
    for spec in specs {
        if !spec.path.is_absolute() {
            return Err(GitError::NotAbsolute {
                path: spec.path.clone(),
            });
        }
        let free = match std::fs::read_dir(&spec.path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        };
        if !free || !paths.insert(&spec.path) {
            return Err(GitError::PathOccupied {
                path: spec.path.clone(),
            });
        }
        if let Some(branch) = &spec.branch
            && !branches.insert(branch)
        {
            return Err(GitError::BranchExists {
                branch: branch.clone(),
            });
        }
    }
    Ok(())
}
