//! Adding lines to `instance-TASK.beat`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::{StoreError, atomic};
use crate::format::beat_file::BeatLine;

/// A file that grew beyond this begins anew, bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// Adds a line in one write, so that lines never mix.
///
/// # Errors
/// When the file cannot be written.
pub fn add(path: &Path, beat: &BeatLine) -> Result<(), StoreError> {
    let mut line = serde_json::to_vec(beat).map_err(|source| StoreError::Encode {
        what: "a beat",
        source,
    })?;
    line.push(b'\n');
    let io = |error| StoreError::io("add to", path)(error);
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.map_err(io)?;
    if file.metadata().map_err(io)?.len() > MAX_BYTES {
        return atomic::write(path, &line, atomic::Durability::Volatile);
    }
    file.write_all(&line).map_err(io)
}
