//! What a command has to do with announcements: who hears of a run that it starts, and that
//! whoever follows a run to its end was told of it.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::{Context, Failure};
use crate::conduct::listen::{self, Sitter, is_alive};
use crate::conduct::{announce, notifier};
use crate::format::announcement_file::ProcessName;
use crate::format::settings_file::SettingsFile;
use crate::store::announcements::{self, Book};
use crate::store::atomic;
use crate::store::layout::{Layout, RunDir};
use crate::store::lock::Lock;

/// The session that this command runs in hears of the run, if a person sits there.
pub(super) fn join(run: &RunDir, cx: &Context<'_>) {
    let attended = cx.env.get("CLAUDE_CODE_SESSION_ATTENDED") != Some("0");
    let entry = cx.env.get("CLAUDE_CODE_ENTRYPOINT");
    let Some(session) = cx.env.get("CLAUDE_CODE_SESSION_ID") else {
        return;
    };
    if !attended || entry.is_some_and(|entry| entry != "cli") {
        return;
    }
    let who = Sitter {
        session: session.to_owned(),
        transcript: PathBuf::new(),
        client: client(cx),
    };
    // Without it the session hears of the run when it asks.
    let _ = listen::join(&Layout::new(run.main_checkout()), &who, run.id());
}

fn client(cx: &Context<'_>) -> Option<ProcessName> {
    listen::process_name(cx.env.get("CLAUDE_PID")?.parse().ok()?)
}

/// A command that follows a run. Its end is the announcement of the run's end: nobody else
/// announces that meanwhile.
pub(super) struct Following {
    run: RunDir,
    lock: Option<Lock>,
    /// How long the ledger was at the last look, bytes.
    seen: u64,
    /// How many announcements the terminal was told of, or that were there before.
    rung: Option<usize>,
}

impl Following {
    pub(super) fn of(run: &RunDir) -> Self {
        let mut following = Self {
            run: run.clone(),
            lock: None,
            seen: 0,
            rung: None,
        };
        following.hold();
        following
    }

    /// Takes the lock, as soon as the run has a place for it. With several that follow, one
    /// is enough.
    pub(super) fn hold(&mut self) {
        if self.lock.is_none() && self.run.announcements().is_dir() {
            let path = announcements::follower_lock(&self.run);
            self.lock = Lock::try_take(&path).ok().flatten();
        }
    }

    /// Rings the terminal, if that is configured, for what is new since the last time. Costs
    /// one look at one file.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub(super) fn ring(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let path = announcements::ledger(&self.run);
        let length = path.metadata().map_or(0, |meta| meta.len());
        if !cx.terminal || length == self.seen {
            return Ok(());
        }
        self.seen = length;
        let settings: Option<SettingsFile> = atomic::peek_json(&self.run.settings());
        let (Some(settings), Ok(book)) = (settings, Book::read(&self.run)) else {
            return Ok(());
        };
        let known = self.rung.replace(book.items.len());
        let programs = cx.env.get("PATH").map(OsStr::new);
        let new = book.items.iter().skip(known.unwrap_or(usize::MAX));
        let sequence: String = new
            .map(|item| notifier::for_terminal(&settings, programs, &item.announcement))
            .collect();
        if sequence.is_empty() {
            return Ok(());
        }
        cx.print(&sequence)
    }

    /// The end was printed.
    pub(super) fn told(mut self, cx: &mut Context<'_>) {
        // The conductor may be about to announce the end: then that is known already.
        let _ = announce::complete(&self.run);
        let _ = self.ring(cx);
        // A session that is gone was told nothing.
        if client(cx).is_some_and(|client| !is_alive(&client)) {
            return;
        }
        let to = cx.env.get("CLAUDE_CODE_SESSION_ID").unwrap_or("a command");
        // What is not written down is told again.
        let _ = announcements::all_told(&self.run, to, cx.now());
    }
}
