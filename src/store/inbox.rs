//! Inboxes: folders into which anybody puts requests as files, and which one process empties.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{StoreError, atomic};
use crate::core::time::Timestamp;
use crate::format::SCHEMA_VERSION;

/// A request as it lies in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter<T> {
    /// Version of this shape.
    pub schema_version: u32,
    /// Tells letters apart: a letter is acted upon once.
    pub id: String,
    /// What is asked for.
    pub body: T,
}

/// Puts a letter into the folder, which is made if need be. Returns the letter's id.
///
/// # Errors
/// When the folder cannot be written.
pub fn post<T: Serialize>(folder: &Path, body: T, now: Timestamp) -> Result<String, StoreError> {
    fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
    // Names sort by time; the random part keeps two writers apart. A clock that went back must
    // not bring a later letter before an earlier one.
    let last = waiting(folder).filter_map(|path| number(&path)).max();
    let number = now.0.max(last.map_or(0, |n| n.saturating_add(1)));
    let id = format!("{number:015}-{}", uuid::Uuid::new_v4().simple());
    let letter = Letter {
        schema_version: SCHEMA_VERSION,
        id: id.clone(),
        body,
    };
    let path = folder.join(format!("{id}.json"));
    atomic::write_json(&path, "a request", &letter, atomic::Durability::Durable)?;
    Ok(id)
}

/// All letters, oldest first. A letter that cannot be read is set aside and named in the
/// second list.
///
/// # Errors
/// When the folder cannot be read. A missing folder is an empty one.
pub fn letters<T: DeserializeOwned>(
    folder: &Path,
) -> Result<(Vec<Letter<T>>, Vec<StoreError>), StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        Err(e) => return Err(StoreError::io("read", folder)(e)),
    };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension() == Some(OsStr::new("json")))
        .collect();
    paths.sort();
    let mut letters = Vec::new();
    let mut bad = Vec::new();
    for path in paths {
        match atomic::read_json::<Letter<T>>(&path, "a request") {
            Ok(letter) => letters.extend(letter),
            Err(error) => {
                // A letter that stays where it is would be waiting for ever.
                if path.symlink_metadata().is_ok() {
                    atomic::set_aside(&path)?;
                }
                bad.push(error);
            }
        }
    }
    Ok((letters, bad))
}

/// Whether there are letters, without reading any.
#[must_use]
pub fn letters_waiting(folder: &Path) -> bool {
    waiting(folder).next().is_some()
}

/// The files of letters.
fn waiting(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension() == Some(OsStr::new("json")))
}

fn number(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    // No clock says as much: the name is somebody else's.
    let number: i64 = name.split_once('-')?.0.parse().ok()?;
    (number < 999_999_999_999_999).then_some(number)
}

/// Removes a letter that was acted upon. Idempotent.
///
/// # Errors
/// When the folder cannot be written.
pub fn discard(folder: &Path, id: &str) -> Result<(), StoreError> {
    // The id comes from a file: only its own kind of name is ever removed.
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(());
    }
    let path = folder.join(format!("{id}.json"));
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(StoreError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Request;

    #[test]
    fn letters_come_out_in_order_and_once_discarded_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = dir.path().join("inbox");
        assert!(letters::<Request>(&inbox).unwrap().0.is_empty());
        let first = post(&inbox, Request::Scale { by: 1 }, Timestamp(20)).unwrap();
        // The clock goes back between them.
        post(&inbox, Request::Scale { by: 2 }, Timestamp(10)).unwrap();
        fs::write(inbox.join("zz.json"), "half").unwrap();
        let (found, bad) = letters::<Request>(&inbox).unwrap();
        assert_eq!(found[0].body, Request::Scale { by: 1 });
        assert_eq!((found.len(), bad.len()), (2, 1));
        discard(&inbox, &first).unwrap();
        discard(&inbox, &first).unwrap();
        discard(&inbox, "../../x").unwrap();
        let (found, bad) = letters::<Request>(&inbox).unwrap();
        assert_eq!((found.len(), bad.len()), (1, 0));
    }

    #[test]
    fn a_letter_that_cannot_be_understood_does_not_wait_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = dir.path();
        fs::write(inbox.join("1.json"), "{\"schemaVersion\":99}").unwrap();
        fs::create_dir(inbox.join("2.json")).unwrap();
        let (found, bad) = letters::<Request>(inbox).unwrap();
        assert_eq!((found.len(), bad.len()), (0, 2));
        assert!(!letters_waiting(inbox));
        assert!(inbox.join("1.json.unreadable-1").exists());
        let (found, bad) = letters::<Request>(inbox).unwrap();
        assert_eq!((found.len(), bad.len()), (0, 0));
    }
}
