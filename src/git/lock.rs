//! The lock between all processes of this program that change what worktrees share.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::GitError;

/// The lock file in the common folder. It is never removed: a lock on a file that can
/// be removed and made anew protects nothing.
const NAME: &str = "orchestra.lock";
/// Longer than the administrative part of any number of worktrees.
const PATIENCE: Duration = Duration::from_secs(120);

/// Held while it lives, by one thread of one process.
pub(crate) struct AdminLock {
    _file: File,
}

impl AdminLock {
    pub(crate) fn acquire(common_dir: &Path) -> Result<Self, GitError> {
        let path = common_dir.join(NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| GitError::io("opening the lock file", &path, &e))?;
        let deadline = Instant::now() + PATIENCE;
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
