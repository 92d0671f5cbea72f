//! `announcements/` of a run: the ledger of what people are to be told, and who was told.
//!
//! Several processes write it, each whole lines under a lock. What counts is the fold of its
//! lines, a [`Book`]. The folder holds nothing else, so that watching it costs nothing while
//! a run works.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::StoreError;
use super::layout::RunDir;
use super::lock::Lock;
use crate::core::time::Timestamp;
use crate::format::SCHEMA_VERSION;
use crate::format::announcement_file::{
    Announcement, Claimant, LedgerEntry, LedgerLine, ProcessName,
};

/// How long to wait for another writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where one announcement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody was told.
    Open,
    /// A session is being told.
    Claimed {
        /// Who.
        by: Claimant,
        /// Since when.
        at: Timestamp,
    },
    /// Told, or not worth telling any more.
    Settled,
}

/// One announcement, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The announcement.
    pub announcement: Announcement,
    /// When it was made.
    pub at: Timestamp,
    /// Where it stands.
    pub standing: Standing,
    /// How often in a row the same client undertook to tell it.
    pub handed: u32,
    /// Who did so last.
    last_client: Option<ProcessName>,
    /// Whether the configured notifications were given.
    pub notified: bool,
}

/// What the ledger says, all lines together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// In the order in which they were made.
    pub items: Vec<Item>,
    /// Nothing up to this line of the journal is announced.
    pub since: u64,
}

impl Book {
    /// Reads a run's ledger; empty when there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub fn read(run: &RunDir) -> Result<Self, StoreError> {
        let path = ledger(run);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(StoreError::io("read", path)(error)),
        }
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut book = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice::<LedgerLine>(line) {
                book.apply(line);
            }
        }
        book
    }

    /// Takes a line in.
    fn apply(&mut self, line: LedgerLine) {
        let at = line.at;
        match line.entry {
            LedgerEntry::Since { seq } => self.since = seq,
            LedgerEntry::Announced(announcement) => {
                if !self.knows(&announcement.id) {
                    self.items.push(Item {
                        announcement,
                        at,
                        standing: Standing::Open,
                        handed: 0,
                        last_client: None,
                        notified: false,
                    });
                }
            }
            LedgerEntry::Claimed { ids, by } => self.each(&ids, |item| {
                if item.standing == Standing::Open {
                    item.standing = Standing::Claimed { by: by.clone(), at };
                    if item.last_client.as_ref() != Some(&by.client) {
                        item.last_client = Some(by.client.clone());
                        item.handed = 0;
                    }
                    item.handed = item.handed.saturating_add(1);
                }
            }),
            LedgerEntry::Released { ids, .. } => self.each(&ids, |item| {
                if matches!(item.standing, Standing::Claimed { .. }) {
                    item.standing = Standing::Open;
                }
            }),
            LedgerEntry::Told { ids, .. } | LedgerEntry::Moot { ids } => {
                self.each(&ids, |item| item.standing = Standing::Settled);
            }
            LedgerEntry::Notified { ids } => self.each(&ids, |item| item.notified = true),
        }
    }

    fn each(&mut self, ids: &[String], mut change: impl FnMut(&mut Item)) {
        let ids: HashSet<&String> = ids.iter().collect();
        for item in &mut self.items {
            if ids.contains(&item.announcement.id) {
                change(item);
            }
        }
    }

    /// Whether something was announced.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.items.iter().any(|item| item.announcement.id == id)
    }

    /// Whether there is anything that nobody was told for sure.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.items
            .iter()
            .all(|item| item.standing == Standing::Settled)
    }
}

/// The ledger, held for writing.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    _lock: Lock,
    /// What it says now.
    pub book: Book,
}

impl Ledger {
    /// Takes the lock and reads. None for a run that keeps no ledger.
    ///
    /// # Errors
    /// When it cannot be read, or another writer holds it for too long.
    pub fn open(run: &RunDir) -> Result<Option<Self>, StoreError> {
        if !run.announcements().is_dir() {
            return Ok(None);
        }
        let path = ledger(run);
        let Some(lock) = Lock::take_within(&run.announcements().join("ledger.lock"), PATIENCE)?
        else {
            let busy = std::io::Error::other("another process writes it");
            return Err(StoreError::io("write", path)(busy));
        };
        let book = Book::read(run)?;
        Ok(Some(Self {
            path,
            _lock: lock,
            book,
        }))
    }

    /// Adds lines, synced: what they say is counted on.
    ///
    /// # Errors
    /// When they cannot be written; the book then does not hold them either.
    pub fn append(&mut self, entries: Vec<LedgerEntry>, at: Timestamp) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let lines: Vec<LedgerLine> = entries
            .into_iter()
            .map(|entry| LedgerLine {
                v: SCHEMA_VERSION,
                at,
                entry,
            })
            .collect();
        let mut text = String::new();
        for line in &lines {
            let line = serde_json::to_string(line).map_err(|source| StoreError::Encode {
                what: "an announcement",
                source,
            })?;
            text.push_str(&line);
            text.push('\n');
        }
        self.add(&text)
            .map_err(StoreError::io("write", &self.path))?;
        for line in lines {
            self.book.apply(line);
        }
        Ok(())
    }

    /// To the end, on a line of its own even when the last writer died within one. What was
    /// written in part is cut off again.
    fn add(&self, text: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&self.path)?;
        let before = file.metadata()?.len();
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        let torn = if last == [b'\n'] { "" } else { "\n" };
        let written = file
            .write_all(format!("{torn}{text}").as_bytes())
            .and_then(|()| file.sync_data());
        if written.is_err() {
            let _ = file.set_len(before);
        }
        written
    }
}

/// Makes the ledger of a run that has none: nothing up to line `seq` of the journal will be
/// announced.
///
/// # Errors
/// When it cannot be made.
pub fn begin(run: &RunDir, seq: u64, at: Timestamp) -> Result<(), StoreError> {
    let folder = run.announcements();
    if ledger(run).exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    match Ledger::open(run)? {
        Some(mut ledger) if ledger.book == Book::default() => {
            ledger.append(vec![LedgerEntry::Since { seq }], at)
        }
        _ => Ok(()),
    }
}

/// Announces what was not announced yet. A run without a ledger announces nothing.
///
/// # Errors
/// When it cannot be written.
pub fn announce(run: &RunDir, news: Vec<Announcement>, at: Timestamp) -> Result<(), StoreError> {
    if news.is_empty() {
        return Ok(());
    }
    let Some(mut ledger) = Ledger::open(run)? else {
        return Ok(());
    };
    let new = news
        .into_iter()
        .filter(|news| !ledger.book.knows(&news.id))
        .map(LedgerEntry::Announced)
        .collect();
    ledger.append(new, at)
}

/// Whoever followed the run to its end was told all of it.
///
/// # Errors
/// When it cannot be written.
pub fn all_told(run: &RunDir, to: &str, at: Timestamp) -> Result<(), StoreError> {
    if Book::read(run)?.is_settled() {
        return Ok(());
    }
    let Some(mut ledger) = Ledger::open(run)? else {
        return Ok(());
    };
    let open = ledger.book.items.iter();
    let ids: Vec<String> = open
        .filter(|item| item.standing != Standing::Settled)
        .map(|item| item.announcement.id.clone())
        .collect();
    let to = to.to_owned();
    ledger.append(vec![LedgerEntry::Told { ids, to }], at)
}

/// The file.
#[must_use]
pub fn ledger(run: &RunDir) -> PathBuf {
    run.announcements().join("ledger.jsonl")
}

/// Held by a command that follows the run and tells its end.
#[must_use]
pub fn follower_lock(run: &RunDir) -> PathBuf {
    run.announcements().join("follower.lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{OrchestrationId, TaskName};
    use crate::store::layout::Layout;

    fn news(n: u64) -> Announcement {
        let run = OrchestrationId::parse("r").unwrap();
        Announcement::failed(&run, &TaskName::parse("a").unwrap(), n, "crash", "x")
    }

    fn run(dir: &std::path::Path) -> RunDir {
        let run = Layout::new(dir).run(&OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        run
    }

    #[test]
    fn a_run_without_a_ledger_announces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        announce(&run, vec![news(1)], Timestamp(1)).unwrap();
        all_told(&run, "x", Timestamp(1)).unwrap();
        assert!(!run.announcements().exists());
        assert_eq!(Book::read(&run).unwrap(), Book::default());
    }

    #[test]
    fn the_same_is_announced_once_and_claims_move_as_they_should() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        begin(&run, 4, Timestamp(1)).unwrap();
        begin(&run, 9, Timestamp(1)).unwrap();
        announce(&run, vec![news(5), news(6)], Timestamp(2)).unwrap();
        announce(&run, vec![news(6), news(7)], Timestamp(3)).unwrap();
        let mut ledger = Ledger::open(&run).unwrap().unwrap();
        assert_eq!((ledger.book.since, ledger.book.items.len()), (4, 3));
        let ids = vec![news(5).id, news(6).id];
        let by = Claimant {
            session: "s".into(),
            ..Claimant::default()
        };
        let claimed = LedgerEntry::Claimed {
            ids: ids.clone(),
            by: by.clone(),
        };
        ledger.append(vec![claimed], Timestamp(4)).unwrap();
        // A second claim changes nothing.
        let other = LedgerEntry::Claimed {
            ids: ids.clone(),
            by: Claimant::default(),
        };
        ledger.append(vec![other], Timestamp(5)).unwrap();
        let at = Timestamp(4);
        assert_eq!(ledger.book.items[0].standing, Standing::Claimed { by, at });
        let told = LedgerEntry::Told {
            ids: vec![news(5).id],
            to: "s".into(),
        };
        let released = LedgerEntry::Released {
            ids,
            why: "gone".into(),
        };
        ledger.append(vec![told, released], Timestamp(6)).unwrap();
        let standings: Vec<_> = ledger.book.items.iter().map(|i| &i.standing).collect();
        // What was told stays told.
        assert_eq!(standings[0], &Standing::Settled);
        assert_eq!(standings[1..], [&Standing::Open, &Standing::Open]);
        // How often the same client tried is known; another one begins anew.
        let claim = |pid| LedgerEntry::Claimed {
            ids: vec![news(6).id],
            by: Claimant {
                client: ProcessName {
                    pid,
                    ..ProcessName::default()
                },
                ..Claimant::default()
            },
        };
        let release = || LedgerEntry::Released {
            ids: vec![news(6).id],
            why: "lost".into(),
        };
        let mut handed = Vec::new();
        for pid in [0, 0, 7] {
            ledger
                .append(vec![claim(pid), claim(pid), release()], Timestamp(6))
                .unwrap();
            handed.push(ledger.book.items[1].handed);
        }
        assert_eq!(handed, [2, 3, 1]);
        assert_eq!(Book::read(&run).unwrap(), ledger.book);
        drop(ledger);
        all_told(&run, "x", Timestamp(7)).unwrap();
        assert!(Book::read(&run).unwrap().is_settled());
    }

    #[test]
    fn a_torn_end_at_any_byte_loses_only_what_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        begin(&run, 0, Timestamp(1)).unwrap();
        announce(&run, vec![news(1)], Timestamp(2)).unwrap();
        let first = std::fs::read(ledger(&run)).unwrap().len();
        announce(&run, vec![news(2)], Timestamp(3)).unwrap();
        let whole = std::fs::read(ledger(&run)).unwrap();
        for cut in first..whole.len() - 1 {
            std::fs::write(ledger(&run), &whole[..cut]).unwrap();
            assert_eq!(Book::read(&run).unwrap().items.len(), 1, "cut at {cut}");
            announce(&run, vec![news(1), news(2)], Timestamp(4)).unwrap();
            assert_eq!(Book::read(&run).unwrap().items.len(), 2, "cut at {cut}");
        }
    }
}
