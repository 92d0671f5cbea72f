//! Replace, never truncate: a reader sees the old file or the new one, never a part.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use crate::format::SCHEMA_VERSION;

/// Whether a write must survive a power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It may be lost with the machine: figures that are measured again.
    Volatile,
    /// Synced before the rename, and the folder after it.
    Durable,
}

/// Replaces `path` with `bytes` through a temporary file in the same folder.
///
/// # Errors
/// When the folder is missing, read-only or full; the old file is then untouched.
pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), StoreError> {
    let folder = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(folder)
        .map_err(StoreError::io("create a temporary file beside", path))?;
    file.write_all(bytes)
        .map_err(StoreError::io("write", path))?;
    if durability == Durability::Durable {
        file.as_file()
            .sync_all()
            .map_err(StoreError::io("sync", path))?;
    }
    // tempfile makes files private; these are for other tools to read.
    set_readable(file.path())?;
    file.persist(path)
        .map_err(|e| StoreError::io("replace", path)(e.error))?;
    if durability == Durability::Durable {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Replaces a file of somebody else's: its mode stays, and a link to it stays one. A new one
/// can be read by all.
///
/// # Errors
/// As [`write()`].
pub fn rewrite(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(folder)
        .map_err(StoreError::io("create a temporary file beside", path))?;
    file.write_all(bytes)
        .map_err(StoreError::io("write", path))?;
    file.as_file()
        .sync_all()
        .map_err(StoreError::io("sync", path))?;
    match fs::metadata(path) {
        Ok(old) => fs::set_permissions(file.path(), old.permissions())
            .map_err(StoreError::io("set the mode of", file.path()))?,
        Err(_) => set_readable(file.path())?,
    }
    file.persist(path)
        .map_err(|e| StoreError::io("replace", path)(e.error))?;
    sync_folder(folder)
}

/// Creates `path` with `bytes`; the file appears whole or not at all.
///
/// Returns false, and leaves the file alone, when it already exists.
///
/// # Errors
/// As [`write()`].
pub fn create_new(path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
    create(path, bytes, true)
}

/// As [`create_new`], and nobody but the owner may read it.
///
/// # Errors
/// As [`write()`].
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
    create(path, bytes, false)
}

fn create(path: &Path, bytes: &[u8], readable: bool) -> Result<bool, StoreError> {
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(parent(path))
        .map_err(StoreError::io("create a temporary file beside", path))?;
    file.write_all(bytes)
        .map_err(StoreError::io("write", path))?;
    if readable {
        set_readable(file.path())?;
    }
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(e) if e.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(StoreError::io("create", path)(e.error)),
    }
}

/// Replaces `path` with `value` as indented JSON.
///
/// # Errors
/// As [`write()`].
pub fn write_json<T: Serialize>(
    path: &Path,
    what: &'static str,
    value: &T,
    durability: Durability,
) -> Result<(), StoreError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|source| StoreError::Encode { what, source })?;
    bytes.push(b'\n');
    write(path, &bytes, durability)
}

/// Reads a JSON file of this program; `None` when there is none.
///
/// A file that cannot be read as `T` is renamed to `NAME.unreadable-N` and reported, so that
/// nothing ever overwrites it with an empty state. A file of a newer schema version is left
/// where it is and reported.
///
/// # Errors
/// [`StoreError::Unreadable`], [`StoreError::Newer`], or the reading itself failed.
pub fn read_json<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    match read_json_in_place(path, what) {
        Err(StoreError::Unreadable {
            what, path, detail, ..
        }) => Err(StoreError::Unreadable {
            aside: Some(set_aside(&path)?),
            what,
            path,
            detail,
        }),
        other => other,
    }
}

/// As [`read_json`], but a file that cannot be read stays where it is: for files that are
/// written once and never again, whose absence would mean something else.
///
/// # Errors
/// As [`read_json`].
pub fn read_json_in_place<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("read", path)(e)),
    };
    match decode(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(Decode::Newer(found)) => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        }),
        Err(Decode::Bad(detail)) => Err(StoreError::Unreadable {
            what,
            path: path.to_owned(),
            aside: None,
            detail,
        }),
    }
}

/// As [`read_json`], for lookers: never renames anything, `None` when unreadable.
#[must_use]
pub fn peek_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    decode(&fs::read(path).ok()?).ok()
}

enum Decode {
    Newer(u64),
    Bad(String),
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Decode> {
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|e| Decode::Bad(e.to_string()))?;
    let version = value
        .get("schemaVersion")
        .and_then(serde_json::Value::as_u64);
    if let Some(found) = version
        && found > u64::from(SCHEMA_VERSION)
    {
        return Err(Decode::Newer(found));
    }
    serde_json::from_value(value).map_err(|e| Decode::Bad(e.to_string()))
}

/// Renames an unreadable file to the first free `NAME.unreadable-N`.
///
/// # Errors
/// When the folder cannot be written.
pub fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    for n in 1..1000 {
        let aside = path.with_file_name(format!("{name}.unreadable-{n}"));
        if !aside.exists() {
            fs::rename(path, &aside).map_err(StoreError::io("set aside", path))?;
            return Ok(aside);
        }
    }
    Err(StoreError::io("set aside", path)(std::io::Error::other(
        "a thousand unreadable copies are there already",
    )))
}

/// Makes the renames in a folder survive a power loss.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    fs::File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(StoreError::io("sync", folder))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

fn set_readable(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        .map_err(StoreError::io("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_written_file_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert_eq!(read_json::<serde_json::Value>(&path, "a").unwrap(), None);
        let value = json!({"schemaVersion": 1, "x": [1, 2]});
        write_json(&path, "a", &value, Durability::Durable).unwrap();
        assert_eq!(read_json(&path, "a").unwrap(), Some(value));
    }

    #[test]
    fn an_unreadable_file_is_set_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, b"{\"half\":").unwrap();
        let error = read_json::<serde_json::Value>(&path, "a").unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
        assert!(!path.exists());
        assert_eq!(
            fs::read(dir.path().join("a.json.unreadable-1")).unwrap(),
            b"{\"half\":"
        );
    }

    #[test]
    fn a_newer_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, b"{\"schemaVersion\":99}").unwrap();
        let error = read_json::<serde_json::Value>(&path, "a").unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 99, .. }));
        assert!(path.exists());
    }

    #[test]
    fn create_new_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("claim");
        assert!(create_new(&path, b"one").unwrap());
        assert!(!create_new(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
}
