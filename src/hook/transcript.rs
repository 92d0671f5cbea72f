//! The client's own record of a session: the only proof that a session was told something.
//!
//! It is a file of JSON lines that the client appends to. A text that wakes a session stands
//! there first as an entry of the queue, then as a message, and what the model says to it
//! comes behind that.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;

/// How far a text got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// The client does not know it.
    Not,
    /// The client has it.
    Received,
    /// The model has said something since.
    Answered,
}

/// Longest line that is looked into, bytes.
const LONGEST: u64 = 8 * 1024 * 1024;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "isSidechain")]
    is_sidechain: bool,
    #[serde(rename = "isApiErrorMessage")]
    is_error: bool,
}

/// How far the text with this tag got, by what stands behind the byte `from`. None when there
/// is no such record.
#[must_use]
pub fn heard(transcript: &Path, from: u64, tag: &str) -> Option<Heard> {
    let mut file = File::open(transcript).ok()?;
    let length = file.metadata().ok()?.len();
    // One that got shorter was written anew.
    let from = if length < from { 0 } else { from };
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut heard = Heard::Not;
    let mut told = false;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let mut line = std::io::Read::take(&mut reader, LONGEST);
        if line.read_until(b'\n', &mut bytes).ok()? == 0 {
            return Some(heard);
        }
        let has_tag = contains(&bytes, tag.as_bytes());
        // Most lines are large and about nothing of this.
        if !(has_tag || told && contains(&bytes, b"\"assistant\"")) {
            continue;
        }
        let line: Line = serde_json::from_slice(&bytes).unwrap_or_default();
        match line.kind.as_str() {
            "assistant" if told && !line.is_sidechain && !line.is_error => {
                return Some(Heard::Answered);
            }
            "queue-operation" if has_tag => heard = Heard::Received,
            "user" | "attachment" if has_tag && !line.is_sidechain => {
                heard = Heard::Received;
                told = true;
            }
            _ => {}
        }
    }
}

/// How long the record is now, bytes.
#[must_use]
pub fn length(transcript: &Path) -> u64 {
    transcript.metadata().map_or(0, |meta| meta.len())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_once_the_model_answered_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        assert_eq!(heard(&path, 0, "[r stuck/a/1]"), None);
        let tag = "[r stuck/a/1]";
        let lines = [
            (
                r#"{"type":"assistant","message":{"content":"before"}}"#.to_owned(),
                Heard::Not,
            ),
            (
                r#"{"type":"user","message":{"content":"[r stuck/a/12]"}}"#.to_owned(),
                Heard::Not,
            ),
            (
                r#"{"type":"assistant","message":{}}"#.to_owned(),
                Heard::Not,
            ),
            (
                format!(r#"{{"type":"api-request-blob","message":"{tag}"}}"#),
                Heard::Not,
            ),
            (
                format!(
                    r#"{{"type":"queue-operation","operation":"enqueue","content":"x {tag}"}}"#
                ),
                Heard::Received,
            ),
            (
                r#"{"type":"assistant","message":{"content":"of another turn"}}"#.to_owned(),
                Heard::Received,
            ),
            (
                format!(r#"{{"type":"user","message":{{"content":"{tag}"}}}}"#),
                Heard::Received,
            ),
            (
                r#"{"type":"system","note":"\"assistant\""}"#.to_owned(),
                Heard::Received,
            ),
            (
                r#"{"type":"assistant","isSidechain":true}"#.to_owned(),
                Heard::Received,
            ),
            (
                r#"{"type":"assistant","isApiErrorMessage":true}"#.to_owned(),
                Heard::Received,
            ),
            ("torn \"assistant\"".to_owned(), Heard::Received),
            (
                r#"{"type":"assistant","message":{"content":"docs is stuck"}}"#.to_owned(),
                Heard::Answered,
            ),
        ];
        let mut text = String::new();
        for (line, expected) in lines {
            text.push_str(&line);
            text.push('\n');
            std::fs::write(&path, &text).unwrap();
            assert_eq!(heard(&path, 0, tag), Some(expected), "{line}");
        }
        assert_eq!(heard(&path, length(&path), tag), Some(Heard::Not));
        assert_eq!(heard(&path, length(&path) + 1, tag), Some(Heard::Answered));
    }
}
