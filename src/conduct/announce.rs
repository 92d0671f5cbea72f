//! What people are told without asking: made out of the journal, so that a crash neither loses
//! nor repeats anything. An announcement's id names the line that it is made of; whoever looks
//! adds what is missing.
//!
//! That an instance is stuck stands in no journal; its supervisor announces it.

use crate::core::record::{IntegrationEnd, Record};
use crate::core::time::Timestamp;
use crate::format::announcement_file::{Announcement, AnnouncementKind};
use crate::store::announcements::{self, Book};
use crate::store::journal::{self, Line};
use crate::store::layout::RunDir;
use crate::store::{StoreError, run_log};
use crate::view::merging;
use crate::view::report_json::follow_ups;
use crate::view::snapshot::Snapshot;
use crate::view::summary;

/// Most follow-ups that are told.
const NAMED: usize = 6;

/// Announces what a conductor decides.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// It could not be written, and that was said.
    said: bool,
}

impl Announcer {
    /// Makes the ledger if there is none, and announces what a conductor that died did not get
    /// to.
    pub(super) fn new(run: &RunDir, lines: &[Line]) -> Self {
        let mut announcer = Self::default();
        let last = lines.last().map_or(0, |line| line.seq);
        let made = announcements::begin(run, last, super::now());
        announcer.heed(run, made.and_then(|()| of_lines(run, lines)));
        announcer
    }

    /// Takes in what was decided; the last of the records is line `seq` of the journal.
    pub(super) fn follow(&mut self, run: &RunDir, seq: u64, records: &[Record]) {
        if !records.iter().any(is_news) {
            return;
        }
        let first = seq.saturating_sub(records.len() as u64);
        let at = super::now();
        let news = (first + 1..)
            .zip(records)
            .filter_map(|(seq, record)| of_record(run, seq, record))
            .collect();
        let done = announcements::announce(run, news, at);
        self.heed(run, done);
    }

    fn heed(&mut self, run: &RunDir, done: Result<(), StoreError>) {
        if let Err(error) = done
            && !self.said
        {
            self.said = true;
            let line = format!("something could not be announced: {error}");
            run_log::append(run, super::now(), &[line]);
        }
    }
}

/// Announces what the journal holds and nobody announced, for a run whose conductor may have
/// died in between.
///
/// # Errors
/// When the journal cannot be read or the ledger not written.
pub fn complete(run: &RunDir) -> Result<(), StoreError> {
    if !run.announcements().is_dir() {
        return Ok(());
    }
    of_lines(run, &journal::read(&run.journal())?)
}

/// The line of the journal that closed the run, if that is where it stands.
#[must_use]
pub fn closed_at(lines: &[Line]) -> Option<u64> {
    let last = lines.iter().rev().find_map(|line| match line.entry {
        Record::Closed => Some(Some(line.seq)),
        Record::TaskRevived { .. }
        | Record::IntegrationStarted { .. }
        | Record::Finished { .. }
        | Record::AttemptStarted { .. } => Some(None),
        _ => None,
    });
    last.flatten()
}

/// Whether the run is closed and that was announced.
///
/// # Errors
/// When the journal cannot be read.
pub fn is_through(run: &RunDir, book: &Book) -> Result<bool, StoreError> {
    let lines = journal::read(&run.journal())?;
    Ok(closed_at(&lines).is_some_and(|seq| seq <= book.since || tells_end(book, seq)))
}

fn tells_end(book: &Book, seq: u64) -> bool {
    [AnnouncementKind::Finished, AnnouncementKind::Ready]
        .iter()
        .any(|kind| book.knows(&format!("{}/{seq}", kind.word())))
}

fn of_lines(run: &RunDir, lines: &[Line]) -> Result<(), StoreError> {
    let book = Book::read(run)?;
    // Of an end that was not the last one, only the last is worth telling.
    let last_end = lines
        .iter()
        .rev()
        .find(|line| line.entry == Record::Closed)
        .map(|line| line.seq);
    let missing: Vec<Announcement> = lines
        .iter()
        .filter(|line| line.seq > book.since && is_news(&line.entry))
        .filter(|line| match line.entry {
            Record::Closed => Some(line.seq) == last_end && !tells_end(&book, line.seq),
            _ => true,
        })
        .filter_map(|line| of_record(run, line.seq, &line.entry))
        .filter(|news| !book.knows(&news.id))
        .collect();
    announcements::announce(run, missing, super::now())
}

fn is_news(record: &Record) -> bool {
    matches!(record, Record::TaskFailed { .. } | Record::Closed)
}

fn of_record(run: &RunDir, seq: u64, record: &Record) -> Option<Announcement> {
    match record {
        Record::TaskFailed {
            task,
            class,
            detail,
        } => Some(Announcement::failed(
            run.id(),
            task,
            seq,
            &class.to_string(),
            detail,
        )),
        Record::Closed => Some(of_end(run, seq, super::now())),
        _ => None,
    }
}

/// The end of a run. What cannot be read is left out; that it ended is told in any case.
fn of_end(run: &RunDir, seq: u64, now: Timestamp) -> Announcement {
    let id = run.id();
    let mut kind = AnnouncementKind::Finished;
    let mut lines = Vec::new();
    if let Ok(snapshot) = Snapshot::load(run, now) {
        let branch = match &snapshot.integration {
            Some(IntegrationEnd::Reviewable { branch, .. }) => Some(branch.clone()),
            _ => None,
        };
        let (how, _) = summary::standing(&snapshot);
        let word = if branch.is_some() {
            kind = AnnouncementKind::Ready;
            "is READY FOR REVIEW"
        } else {
            "is FINISHED"
        };
        lines.push(format!("The orchestration {id} {word}: {how}."));
        if let Some((text, _)) = merging::ended(&snapshot) {
            lines.push(format!("Integration: {text}."));
        }
        let follow_ups = follow_ups(&snapshot);
        lines.extend(follow_ups.iter().take(NAMED).map(|f| format!("- {f}")));
        if follow_ups.len() > NAMED {
            lines.push(format!("- and {} more", follow_ups.len() - NAMED));
        }
    } else {
        lines.push(format!("The orchestration {id} is FINISHED."));
    }
    lines.push(format!("All of it: orchestra report --orchestration {id}"));
    Announcement::ended(id, kind, seq, &lines)
}
