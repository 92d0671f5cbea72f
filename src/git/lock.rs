//! The locks between all processes of this program that work in one repository.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::GitError;
use super::repo::Repo;

/// What a lock protects. Its file is in the folder that all worktrees share and is
/// never removed: a lock on a file that can be removed and made anew protects nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Records of worktrees, `info/exclude`: held for moments.
    Records,
    /// Deliveries, one after the other: held while the person's hooks run.
    Delivery,
}

impl Purpose {
    fn file(self) -> &'static str {
        match self {
            Self::Records => "orchestra.lock",
            Self::Delivery => "orchestra-delivery.lock",
        }
    }

    fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Records => 2 * 60,
            Self::Delivery => 30 * 60,
        })
    }
}

/// A lock file of git: there while git changes something, and left by a git that was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it has been there.
    pub age: Duration,
}

impl Repo {
    /// The lock files of git in this repository and its worktrees, ordered by path. Those of
    /// single objects and packs are not looked for.
    #[must_use]
    pub fn lock_files(&self) -> Vec<LockFile> {
        let common = self.common_dir();
        let own = [Purpose::Records.file(), Purpose::Delivery.file()];
        let mut found = Vec::new();
        // Folders, and whether those in them are looked through as well.
        let mut todo = vec![
            (common.to_owned(), false),
            (common.join("refs"), true),
            (common.join("worktrees"), true),
        ];
        while let Some((folder, deep)) = todo.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let (Ok(about), path) = (entry.metadata(), entry.path()) else {
                    continue;
                };
                if about.is_dir() {
                    if deep && entry.file_name() != "modules" {
                        todo.push((path, true));
                    }
                    continue;
                }
                let is_lock = path.extension().is_some_and(|end| end == "lock");
                if !is_lock || own.iter().any(|name| entry.file_name() == *name) {
                    continue;
                }
                let age = about.modified().ok().and_then(|at| at.elapsed().ok());
                found.push(LockFile {
                    path,
                    age: age.unwrap_or_default(),
                });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }
}

/// Held while it lives, by one thread of one process.
pub(crate) struct AdminLock {
    _file: File,
}

impl AdminLock {
    pub(crate) fn acquire(common_dir: &Path, purpose: Purpose) -> Result<Self, GitError> {
        let path = common_dir.join(purpose.file());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| GitError::io("opening the lock file", &path, &e))?;
        let deadline = Instant::now() + purpose.patience();
        let mut pause = Duration::from_millis(1);
        loop {
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(e) if e.kind() == fs2::lock_contended_error().kind() => {
                    if Instant::now() > deadline {
                        return Err(GitError::Locked {
                            lock: path.display().to_string(),
                            detail: "another process of Orchestra holds it".to_owned(),
                        });
                    }
                }
                Err(e) => return Err(GitError::io("locking", &path, &e)),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}
