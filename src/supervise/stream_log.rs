//! The kept copy of an instance's stream: byte for byte, but for the pieces of messages that
//! are under way (they come again as whole messages), and up to a bound.

use std::fs::File;
use std::io::Write;

/// How the line of a piece of a message begins. One that begins in another way is kept.
const PARTIAL: &[u8] = br#"{"type":"stream_event""#;

/// The copy.
#[derive(Debug)]
pub(crate) struct StreamLog<W = File> {
    out: Option<W>,
    /// The most that is kept, bytes.
    room: Option<u64>,
    kept: u64,
    line: Line,
}

/// What becomes of the present line.
#[derive(Debug)]
enum Line {
    /// That is not known yet: this is its beginning.
    Begun(Vec<u8>),
    Kept,
    Dropped,
}

impl<W: Write> StreamLog<W> {
    /// A copy into `out` of at most `room` bytes; none at all without `out`.
    pub(crate) fn new(out: Option<W>, room: Option<u64>) -> Self {
        Self {
            out,
            room,
            kept: 0,
            line: Line::Begun(Vec::new()),
        }
    }

    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// When it cannot be written; nothing is kept from then on.
    pub(crate) fn keep(&mut self, piece: &[u8]) -> std::io::Result<()> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let mut kept = Vec::with_capacity(piece.len());
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.take(part, &mut kept);
        }
        self.kept += kept.len() as u64;
        let full = self.room.filter(|room| self.kept > *room);
        let written = match full {
            None => out.write_all(&kept),
            Some(room) => out.write_all(full_line(room).as_bytes()),
        };
        if full.is_some() || written.is_err() {
            self.out = None;
        }
        written
    }

    /// The stream is over; so is its last line.
    ///
    /// # Errors
    /// As [`StreamLog::keep`].
    pub(crate) fn finish(&mut self) -> std::io::Result<()> {
        match (&mut self.out, &self.line) {
            (Some(out), Line::Begun(begun)) => out.write_all(begun),
            _ => Ok(()),
        }
    }
}

impl Line {
    /// Takes a part of the line, at most up to its end; what is certain to be kept goes into
    /// `kept`.
    fn take(&mut self, part: &[u8], kept: &mut Vec<u8>) {
        match self {
            Self::Kept => kept.extend_from_slice(part),
            Self::Dropped => {}
            Self::Begun(begun) => {
                begun.extend_from_slice(part);
                if begun.starts_with(PARTIAL) {
                    *self = Self::Dropped;
                } else if !PARTIAL.starts_with(begun) {
                    kept.append(begun);
                    *self = Self::Kept;
                }
            }
        }
        if part.ends_with(b"\n") {
            *self = Self::Begun(Vec::new());
        }
    }
}

/// The last line of a copy that has no room for more.
fn full_line(room: u64) -> String {
    format!(
        "\n{{\"type\":\"orchestra\",\"subtype\":\"log_full\",\"message\":\"{} MiB of this \
         attempt's stream are kept; the rest is not (max_log_mb)\"}}\n",
        room / (1024 * 1024)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copy(pieces: &[&[u8]], room: Option<u64>) -> String {
        let mut out = Vec::new();
        let mut log = StreamLog::new(Some(&mut out), room);
        for piece in pieces {
            log.keep(piece).unwrap();
        }
        log.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pieces_of_messages_are_left_out_however_they_come() {
        let text = "{\"type\":\"system\"}\n{\"type\":\"stream_event\",\"event\":1}\n\
                    {\"type\":\"stream\"}\n\n{\"type\":\"stream_event\"}\nnoise\n{\"type\"";
        let expected = "{\"type\":\"system\"}\n{\"type\":\"stream\"}\n\nnoise\n{\"type\"";
        assert_eq!(copy(&[text.as_bytes()], None), expected);
        for size in 1..40 {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(copy(&pieces, None), expected, "{size}");
        }
    }

    #[test]
    fn a_full_copy_says_so_and_ends() {
        let line = b"0123456789\n";
        let text = copy(&[line, line, line, line], Some(25));
        assert!(text.starts_with("0123456789\n0123456789\n\n{\"type\":\"orchestra\""));
        assert_eq!(text.matches("log_full").count(), 1);
        assert!(text.ends_with("}\n"));
    }

    proptest! {
        #[test]
        fn everything_else_is_kept_as_it_is(text in "[a-z{}\":\n]{0,200}", size in 1usize..30) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(copy(&pieces, None), text);
        }
    }
}
