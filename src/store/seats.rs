//! `.sessions/` beside the runs: the sessions that a person sits at and that hear of runs, a
//! small file each. A session that has nothing to do with any run has none.

use std::path::PathBuf;
use std::time::Duration;

use super::layout::Layout;
use super::lock::Lock;
use super::{StoreError, atomic};
use crate::format::announcement_file::SeatFile;

/// How long to wait for another writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The seat of a session; one look at one file when there is none. Sessions whose name is no
/// file name have none.
#[must_use]
pub fn of_session(layout: &Layout, session: &str) -> Option<SeatFile> {
    atomic::peek_json(&path(layout, session)?)
}

/// All seats that can be read, in no order.
#[must_use]
pub fn all(layout: &Layout) -> Vec<SeatFile> {
    std::fs::read_dir(layout.seats())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "json"))
        .filter_map(|entry| atomic::peek_json(&entry.path()))
        .collect()
}

/// Held while seats are changed; makes their folder.
///
/// # Errors
/// When it cannot be had.
pub fn lock(layout: &Layout) -> Result<Lock, StoreError> {
    let folder = layout.seats();
    std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    let path = folder.join("seats.lock");
    Lock::take_within(&path, PATIENCE)?.ok_or_else(|| {
        let busy = std::io::Error::other("another process changes the sessions");
        StoreError::io("lock", path)(busy)
    })
}

/// Writes a seat. One whose session is no file name is not kept.
///
/// # Errors
/// When it cannot be written.
pub fn put(layout: &Layout, seat: &SeatFile) -> Result<(), StoreError> {
    match path(layout, &seat.session) {
        Some(path) => atomic::write_json(&path, "a session", seat, atomic::Durability::Volatile),
        None => Ok(()),
    }
}

/// Removes a seat.
pub fn remove(layout: &Layout, session: &str) {
    if let Some(path) = path(layout, session) {
        // One that stays is a session that hears of runs that are gone: of nothing.
        let _ = std::fs::remove_file(path);
    }
}

/// Held by the process that waits for a client, named by the client's number and start.
#[must_use]
pub fn watch_lock(layout: &Layout, client: &str) -> PathBuf {
    layout.seats().join(format!("{client}.lock"))
}

fn path(layout: &Layout, session: &str) -> Option<PathBuf> {
    let fits = (1..=64).contains(&session.len())
        && session
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    fits.then(|| layout.seats().join(format!("{session}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_files_and_no_name_leaves_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert!(all(&layout).is_empty() && of_session(&layout, "s").is_none());
        let _lock = lock(&layout).unwrap();
        for session in ["s-1", "../x", "", "a/b"] {
            let seat = SeatFile {
                session: session.into(),
                ..SeatFile::default()
            };
            put(&layout, &seat).unwrap();
        }
        assert_eq!(all(&layout).len(), 1);
        assert_eq!(of_session(&layout, "s-1").unwrap().session, "s-1");
        remove(&layout, "s-1");
        assert!(all(&layout).is_empty());
    }
}
