//! The orchestration folder: layout, locks, atomic writes, journal, inboxes, claims, the log.
//!
//! Every state is a file; every file has one writer at a time; every write replaces the
//! whole file or appends whole lines. Only the log for people has several writers. Reading
//! never waits for a lock. Lock files are never removed: removing one would let two processes
//! hold "the" lock on two inodes.

pub mod announcements;
pub mod atomic;
pub mod beats;
pub mod breaker;
pub mod claims;
pub mod history;
pub mod inbox;
pub mod instance_inbox;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod notes;
pub mod run_log;
pub mod seats;

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::core::time::Timestamp;

/// When a file or folder was last changed; none when that is not known.
#[must_use]
pub fn modified(path: &Path) -> Option<Timestamp> {
    let at = path.metadata().ok()?.modified().ok()?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(i64::try_from(since.as_millis()).ok()?))
}

/// What can go wrong with the files of an orchestration.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StoreError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{} is not readable as {what}: {detail}. {}; nothing was overwritten",
        path.display(), where_to(aside.as_deref())
    )]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        aside: Option<PathBuf>,
        detail: String,
    },
    #[error(
        "{} was written by a newer version (schema {found}, this program knows up to {known}): \
         update orchestra", path.display()
    )]
    Newer {
        path: PathBuf,
        found: u64,
        known: u32,
    },
    #[error(
        "line {line} of {} is not a journal record: {detail}. Nothing was changed; \
         `orchestra doctor` says more", path.display()
    )]
    Journal {
        path: PathBuf,
        line: usize,
        detail: String,
    },
    #[error("cannot encode {what}: {source}")]
    Encode {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

fn where_to(aside: Option<&Path>) -> String {
    match aside {
        Some(aside) => format!("It was set aside as {}", aside.display()),
        None => "It was left as it is".into(),
    }
}

impl StoreError {
    /// For `map_err`: an input/output error with its action and place.
    pub fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
