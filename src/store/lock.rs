//! Held file locks: the only proof of life that is believed.
//!
//! A lock dies with its process whatever killed it, and cannot be inherited by an
//! unrelated process that got the same pid. All locks are `flock`s on files that are
//! opened close-on-exec, so children never keep them.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StoreError;

/// An exclusive lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    // Dropping the file releases the lock.
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Where the lock file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock if it is free; `None` when another process holds it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn try_take(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = open(path)?;
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(Self {
                _file: file,
                path: path.to_owned(),
            })),
            Err(e) if is_contended(&e) => Ok(None),
            Err(e) => Err(StoreError::io("lock", path)(e)),
        }
    }

    /// Takes the lock, trying until `patience` is over. A probe by [`is_held`] holds it for
    /// some microseconds, so even a starting owner needs a little patience.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn take_within(path: &Path, patience: Duration) -> Result<Option<Self>, StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(Some(lock));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes the lock, waiting as long as it needs. For short critical sections only.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let file = open(path)?;
        fs2::FileExt::lock_exclusive(&file).map_err(StoreError::io("lock", path))?;
        Ok(Self {
            _file: file,
            path: path.to_owned(),
        })
    }
}

/// Whether some process holds the lock. A missing lock file is a free lock.
///
/// # Errors
/// When that cannot be told: the file cannot be opened (too many open files, no permission) or
/// not be locked. Whoever would start a second owner of a free lock must not do it then.
pub fn is_held(path: &Path) -> Result<bool, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(StoreError::io("open the lock file", path)(e)),
    };
    match fs2::FileExt::try_lock_shared(&file) {
        Ok(()) => Ok(false),
        Err(e) if is_contended(&e) => Ok(true),
        Err(e) => Err(StoreError::io("look at the lock", path)(e)),
    }
}

/// As [`is_held`], for lookers and for whoever only spares what is in use: held, too, when
/// that cannot be told.
#[must_use]
pub fn may_be_held(path: &Path) -> bool {
    is_held(path).unwrap_or(true)
}

/// Blocks until no process holds the lock: returns at once when its owner ends, however it
/// ends. Meant for a thread of its own.
///
/// # Errors
/// When the lock file cannot be opened or waited for.
pub fn wait_until_free(path: &Path) -> Result<(), StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StoreError::io("open", path)(e)),
    };
    fs2::FileExt::lock_shared(&file).map_err(StoreError::io("wait for", path))
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(StoreError::io("open the lock file", path))
}

fn is_contended(error: &std::io::Error) -> bool {
    error.raw_os_error() == fs2::lock_contended_error().raw_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_seen_and_freed_by_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        assert!(!is_held(&path).unwrap());
        let lock = Lock::try_take(&path).unwrap().unwrap();
        assert!(is_held(&path).unwrap());
        assert!(Lock::try_take(&path).unwrap().is_none());
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || wait_until_free(&path)
        });
        drop(lock);
        waiter.join().unwrap().unwrap();
        assert!(!is_held(&path).unwrap());
        assert!(path.exists(), "lock files are never removed");
    }

    #[test]
    fn a_lock_that_cannot_be_looked_at_is_not_called_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        // A way that leads nowhere cannot be opened, not even by root.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(is_held(&path).is_err());
        assert!(may_be_held(&path));
        assert!(!may_be_held(&dir.path().join("missing.lock")));
    }
}
