//! `journal.jsonl`: one line per record, appended and synced before its effects are carried
//! out. Its only writer is whoever holds the conductor's lock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StoreError, atomic};
use crate::core::record::Record;
use crate::core::time::Timestamp;
use crate::format::SCHEMA_VERSION;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Schema version.
    pub v: u32,
    /// Number of the line, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub entry: Record,
}

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    seq: u64,
}

impl Journal {
    /// Opens the journal and reads all of it.
    ///
    /// A last line that was not written to its end (the writer died) is copied to
    /// `journal.jsonl.unreadable-N` and cut off: its effects were never begun.
    ///
    /// # Errors
    /// A damaged line before the last, or a line of a newer version: nothing is changed then.
    pub fn open(path: &Path) -> Result<(Self, Vec<Line>), StoreError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(StoreError::io("open", path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(StoreError::io("read", path))?;
        let (lines, good) = parse(path, &bytes)?;
        if good < bytes.len() {
            let torn = bytes.get(good..).unwrap_or_default();
            keep_torn(path, torn)?;
            file.set_len(good as u64)
                .map_err(StoreError::io("cut the torn end of", path))?;
        }
        file.seek(SeekFrom::Start(good as u64))
            .map_err(StoreError::io("seek in", path))?;
        let journal = Self {
            file,
            path: path.to_owned(),
            seq: lines.last().map_or(0, |l| l.seq),
        };
        Ok((journal, lines))
    }

    /// Number of the last line; 0 when there is none.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Appends records in one write and syncs them.
    ///
    /// # Errors
    /// When the disk is full or gone. What was written in part is cut off again, so that the
    /// journal stays whole.
    pub fn append(&mut self, records: &[Record], at: Timestamp) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let before = self
            .file
            .stream_position()
            .map_err(StoreError::io("seek in", &self.path))?;
        let mut bytes = Vec::new();
        let mut seq = self.seq;
        for record in records {
            seq += 1;
            let line = Line {
                v: SCHEMA_VERSION,
                seq,
                at,
                entry: record.clone(),
            };
            serde_json::to_writer(&mut bytes, &line).map_err(|source| StoreError::Encode {
                what: "a journal record",
                source,
            })?;
            bytes.push(b'\n');
        }
        let written = self
            .file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let _ = self.file.set_len(before);
            let _ = self.file.seek(SeekFrom::Start(before));
            return Err(StoreError::io("append to", &self.path)(error));
        }
        self.seq = seq;
        Ok(())
    }
}

/// Reads a journal without changing it; a torn last line is passed over. Empty when there is
/// none.
///
/// # Errors
/// A damaged line before the last, or a line of a newer version.
pub fn read(path: &Path) -> Result<Vec<Line>, StoreError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("read", path)(e)),
    };
    Ok(parse(path, &bytes)?.0)
}

/// The lines, and the length in bytes up to which they are good.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<Line>, usize), StoreError> {
    let mut lines = Vec::new();
    let mut good = 0;
    for (n, raw) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let end = good + raw.len();
        let whole = raw.ends_with(b"\n");
        match serde_json::from_slice::<Line>(raw) {
            Ok(line) if whole && line.v > SCHEMA_VERSION => {
                return Err(StoreError::Newer {
                    path: path.to_owned(),
                    found: u64::from(line.v),
                    known: SCHEMA_VERSION,
                });
            }
            Ok(line) if whole => lines.push(line),
            // Not written to its end, whatever it says.
            Ok(_) | Err(_) if !whole => break,
            Ok(_) => break,
            // Blocks of a file that was not synced can come back as zeros.
            Err(_) if end == bytes.len() && raw.iter().all(|b| matches!(b, 0 | b'\n')) => break,
            Err(error) => {
                if let Some(found) = newer(raw) {
                    return Err(StoreError::Newer {
                        path: path.to_owned(),
                        found,
                        known: SCHEMA_VERSION,
                    });
                }
                return Err(StoreError::Journal {
                    path: path.to_owned(),
                    line: n + 1,
                    detail: error.to_string(),
                });
            }
        }
        good = end;
    }
    Ok((lines, good))
}

fn newer(raw: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(raw).ok()?;
    let v = value.get("v")?.as_u64()?;
    (v > u64::from(SCHEMA_VERSION)).then_some(v)
}

fn keep_torn(path: &Path, torn: &[u8]) -> Result<(), StoreError> {
    for n in 1..1000 {
        let aside = path.with_extension(format!("jsonl.unreadable-{n}"));
        if atomic::create_new(&aside, torn)? {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        vec![Record::Begun, Record::WorkersChanged { workers: 3 }]
    }

    #[test]
    fn what_is_appended_is_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut journal, lines) = Journal::open(&path).unwrap();
        assert!(lines.is_empty());
        journal.append(&records(), Timestamp(5)).unwrap();
        journal.append(&[Record::Closed], Timestamp(6)).unwrap();
        let (mut again, lines) = Journal::open(&path).unwrap();
        assert_eq!(lines.iter().map(|l| l.seq).collect::<Vec<_>>(), [1, 2, 3]);
        again.append(&[Record::Closed], Timestamp(7)).unwrap();
        assert_eq!(read(&path).unwrap().len(), 4);
    }

    #[test]
    fn a_torn_end_at_any_byte_loses_only_the_torn_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&records(), Timestamp(5)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(&path).unwrap().len(), 1, "cut at {cut}");
            let (mut journal, lines) = Journal::open(&path).unwrap();
            assert_eq!(lines.len(), 1);
            journal.append(&[Record::Closed], Timestamp(6)).unwrap();
            let lines = read(&path).unwrap();
            assert_eq!(lines.len(), 2);
            assert_eq!(lines[1].entry, Record::Closed);
        }
    }

    #[test]
    fn damage_in_the_middle_is_an_error_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let bytes = b"{\"v\":1,\"seq\":1,\"at\":0,\"entry\":{\"kind\":\"begun\"}}\nrubbish\n{}\n";
        std::fs::write(&path, bytes).unwrap();
        let error = Journal::open(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Journal { line: 2, .. }),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_newer_journal_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, b"{\"v\":9,\"seq\":1,\"new\":true}\n").unwrap();
        assert!(matches!(
            read(&path).unwrap_err(),
            StoreError::Newer { found: 9, .. }
        ));
    }
}
