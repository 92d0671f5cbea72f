//! What a command has to do with announcements: who hears of a run that it starts, and that
//! whoever follows a run to its end was told of it.

use std::path::PathBuf;

use super::Context;
use crate::conduct::announce;
use crate::conduct::listen::{self, Sitter, is_alive};
use crate::format::announcement_file::ProcessName;
use crate::store::announcements;
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
}

impl Following {
    pub(super) fn of(run: &RunDir) -> Self {
        let mut following = Self {
            run: run.clone(),
            lock: None,
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

    /// The end was printed.
    pub(super) fn told(self, cx: &Context<'_>) {
        // A session that is gone was told nothing.
        if client(cx).is_some_and(|client| !is_alive(&client)) {
            return;
        }
        let to = cx.env.get("CLAUDE_CODE_SESSION_ID").unwrap_or("a command");
        // The conductor may be about to announce the end: then that is known already. What is
        // not written down is told again.
        let _ = announce::complete(&self.run);
        let _ = announcements::all_told(&self.run, to, cx.now());
    }
}
