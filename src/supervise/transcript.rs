//! The tokens of a session without a stream, from the file that the client keeps of it.
//!
//! The client writes a line per block of a message, each with the usage of the message as far
//! as it is known then. What subagents use is in files of their own beside it.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::core::time::Timestamp;
use crate::format::claude_stream::{Event, parse_line};
use crate::format::status_file::Tokens;

/// Most of a file that is read at once, bytes.
const PIECE: u64 = 8 * 1024 * 1024;

/// What was used since a point in time.
#[derive(Debug)]
pub(crate) struct Transcript {
    since: Timestamp,
    /// Up to where each file was read.
    read: HashMap<PathBuf, u64>,
    messages: HashMap<String, Tokens>,
    known: bool,
    /// Most of a file that is read at once, bytes.
    piece: u64,
}

impl Transcript {
    pub(crate) fn since(since: Timestamp) -> Self {
        Self {
            since,
            read: HashMap::new(),
            messages: HashMap::new(),
            known: false,
            piece: PIECE,
        }
    }

    /// Reads what was added to the session's file, and to those of its subagents.
    pub(crate) fn look(&mut self, main: &Path) {
        self.known |= self.read_on(main);
        let subagents = std::fs::read_dir(main.with_extension("").join("subagents"));
        for entry in subagents.into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                self.read_on(&path);
            }
        }
    }

    /// What was used; unknown when there is no file to read.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        let all = self.messages.values().copied();
        self.known
            .then(|| all.fold(Tokens::default(), Tokens::plus))
    }

    /// Returns whether the file is there.
    fn read_on(&mut self, path: &Path) -> bool {
        let Ok(mut file) = std::fs::File::open(path) else {
            return false;
        };
        while self.read_piece(path, &mut file) {}
        true
    }

    /// Returns whether there is more to read.
    fn read_piece(&mut self, path: &Path, file: &mut std::fs::File) -> bool {
        let known = self.read.get(path).copied().unwrap_or(0);
        // One that got shorter was written anew; messages have names, so none counts twice.
        let from = match file.metadata() {
            Ok(meta) if meta.len() < known => 0,
            _ => known,
        };
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| file.take(self.piece).read_to_end(&mut bytes));
        if read.is_err() {
            return false;
        }
        // The last line may still be in the writing; one without end is passed over.
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if bytes.len() as u64 == self.piece => bytes.len(),
            None => 0,
        };
        self.read.insert(path.to_owned(), from + whole as u64);
        for line in bytes[..whole].split(|byte| *byte == b'\n') {
            self.take(line);
        }
        bytes.len() as u64 == self.piece
    }

    fn take(&mut self, line: &[u8]) {
        // Most lines are something else, and long.
        let is_said = line.windows(11).any(|w| w == b"\"assistant\"");
        if !is_said || !self.is_new(line) {
            return;
        }
        let Some(Event::Assistant(said)) = parse_line(line) else {
            return;
        };
        let known = self.messages.entry(said.message_id).or_default();
        if said.usage.total() > known.total() {
            *known = said.usage;
        }
    }

    /// A session goes on in the file in which it began.
    fn is_new(&self, line: &[u8]) -> bool {
        let value: Option<Value> = serde_json::from_slice(line).ok();
        let at = value.and_then(|value| {
            let at = value.get("timestamp")?.as_str()?;
            let at = chrono::DateTime::parse_from_rfc3339(at).ok()?;
            Some(at.timestamp_millis())
        });
        at.is_some_and(|at| at >= self.since.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(id: &str, second: u32, output: u64) -> String {
        format!(
            "{{\"type\":\"assistant\",\"timestamp\":\"1970-01-01T00:00:{second:02}.000Z\",\
             \"message\":{{\"id\":\"{id}\",\"usage\":{{\"input_tokens\":10,\
             \"output_tokens\":{output}}}}}}}\n"
        )
    }

    #[test]
    fn what_was_used_since_then_counts_once_per_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let mut seen = Transcript::since(Timestamp(5_000));
        seen.look(&path);
        assert_eq!(seen.tokens(), None, "no file, no figure");
        let mut file = std::fs::File::create(&path).unwrap();
        let add = |file: &mut std::fs::File, text: &str| file.write_all(text.as_bytes()).unwrap();
        add(&mut file, &line("old", 4, 1000));
        seen.look(&path);
        assert_eq!(seen.tokens().unwrap().total(), 0);
        add(&mut file, &line("a", 6, 1));
        add(
            &mut file,
            "{\"type\":\"user\",\"x\":\"assistant\"}\nnoise\n",
        );
        let second = line("a", 7, 30);
        let (half, rest) = second.split_at(40);
        add(&mut file, half);
        seen.look(&path);
        assert_eq!(seen.tokens().unwrap().total(), 11);
        add(&mut file, rest);
        seen.look(&path);
        assert_eq!(seen.tokens().unwrap().total(), 40);
        std::fs::create_dir_all(dir.path().join("s/subagents")).unwrap();
        std::fs::write(dir.path().join("s/subagents/x.jsonl"), line("b", 8, 5)).unwrap();
        seen.look(&path);
        assert_eq!(seen.tokens().unwrap().total(), 55);
        // However long the file is, one look is enough; lines that are too long are passed over.
        let mut long = Transcript::since(Timestamp(5_000));
        long.piece = 256;
        add(&mut file, &format!("{}\n", "x".repeat(1000)));
        add(&mut file, &line("c", 9, 2));
        long.look(&path);
        assert_eq!(long.tokens().unwrap().total(), 67);
        // Written anew, it is read from its beginning.
        std::fs::write(&path, line("a", 9, 40)).unwrap();
        long.look(&path);
        assert_eq!(long.tokens().unwrap().total(), 77);
    }
}
