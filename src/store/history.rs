//! `history.jsonl` of a repository, beside its runs. Several conductors write it, each whole
//! lines under a lock; it never grows beyond some thousand lines.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use super::layout::Layout;
use super::lock::Lock;
use super::{StoreError, atomic};
use crate::core::history::History;
use crate::format::history_file::HistoryLine;

/// So many of the newest lines are kept.
pub const KEPT: usize = 5_000;

/// It is cut back only when it is so many lines too long: not at every line.
const SLACK: usize = 500;

/// How long to wait for another writer.
const PATIENCE: Duration = Duration::from_secs(2);

/// All lines that can be read, in the order in which they were written; none when there is
/// no file. Torn lines, and lines of another shape, are passed over.
///
/// # Errors
/// When there is a file and it cannot be read.
pub fn lines(layout: &Layout) -> Result<Vec<HistoryLine>, StoreError> {
    let path = layout.history();
    match std::fs::read(&path) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io("read", &path)(error)),
    }
}

fn parse(bytes: &[u8]) -> Vec<HistoryLine> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// The history of what one agent did (`claude` or `scripted`); empty when it cannot be read:
/// nothing depends on it.
#[must_use]
pub fn of_agent(layout: &Layout, agent: &str) -> History {
    let lines = lines(layout).unwrap_or_default().into_iter();
    History::new(
        lines
            .filter(|line| line.agent == agent)
            .map(Into::into)
            .collect(),
    )
}

/// Adds lines, and cuts the file back when it became too long.
///
/// # Errors
/// When it cannot be written, or another writer holds it for too long.
pub fn append(layout: &Layout, new: &[HistoryLine]) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let path = layout.history();
    let Some(_lock) = Lock::take_within(&layout.history_lock(), PATIENCE)? else {
        let busy = std::io::Error::other("another process writes it");
        return Err(StoreError::io("write", &path)(busy));
    };
    let mut text = String::new();
    for line in new {
        if let Ok(line) = serde_json::to_string(line) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    add(&path, &text)?;
    cut_back(&path)
}

/// Adds text to the end, on a line of its own even when the last writer died within one.
fn add(path: &Path, text: &str) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        let _ = file.read_exact(&mut last);
    }
    let torn = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{torn}{text}").as_bytes())
        .map_err(StoreError::io("write", path))
}

fn cut_back(path: &Path) -> Result<(), StoreError> {
    /// No line is shorter, so that a small file need not be counted.
    const SHORTEST: u64 = 80;
    let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
    if size < SHORTEST * (KEPT + SLACK) as u64 {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(StoreError::io("read", path))?;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.len() < KEPT + SLACK {
        return Ok(());
    }
    let newest = lines.get(lines.len() - KEPT..).unwrap_or_default().concat();
    atomic::write(path, &newest, atomic::Durability::Durable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::Fate;
    use crate::core::time::Timestamp;

    fn line(n: u32) -> HistoryLine {
        let line = HistoryLine {
            at: Timestamp(i64::from(n)),
            run: "r".into(),
            task: format!("t{n}"),
            attempt: 1,
            agent: "claude".into(),
            ..HistoryLine::default()
        };
        line.ended(&Fate::Done)
    }

    fn layout(dir: &Path) -> Layout {
        let layout = Layout::new(dir);
        std::fs::create_dir_all(layout.root()).unwrap();
        layout
    }

    #[test]
    fn torn_and_strange_lines_are_passed_over_and_newer_ones_read() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        assert_eq!(lines(&layout).unwrap(), []);
        append(&layout, &[line(1)]).unwrap();
        let path = layout.history();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("no json\n{\"v\":1}\n");
        let newer = serde_json::to_string(&line(2)).unwrap();
        let newer = newer.replacen("{\"v\":1", "{\"v\":9,\"more\":[1]", 1);
        text.push_str(&format!("{newer}\n{{\"v\":1,\"at\":5,\"ru"));
        std::fs::write(&path, text).unwrap();
        append(&layout, &[line(3)]).unwrap();
        let read = lines(&layout).unwrap();
        let tasks: Vec<&str> = read.iter().map(|l| l.task.as_str()).collect();
        assert_eq!(tasks, ["t1", "t2", "t3"]);
        assert_eq!(read[2], line(3));
        assert_eq!(of_agent(&layout, "claude").kinds()[0].attempts, 3);
        assert!(of_agent(&layout, "scripted").is_empty());
    }

    #[test]
    fn only_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let all: Vec<HistoryLine> = (0..5_499).map(line).collect();
        append(&layout, &all).unwrap();
        assert_eq!(lines(&layout).unwrap().len(), 5_499);
        append(&layout, &[line(9_999)]).unwrap();
        let kept = lines(&layout).unwrap();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0], line(500));
        assert_eq!(kept[KEPT - 1], line(9_999));
    }

    #[test]
    fn several_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let layout = &layout;
                scope.spawn(move || {
                    for n in 0..25 {
                        append(layout, &[line(writer * 100 + n)]).unwrap();
                    }
                });
            }
        });
        assert_eq!(lines(&layout).unwrap().len(), 100);
    }
}
