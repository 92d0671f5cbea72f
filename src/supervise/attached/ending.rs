//! The person has left: is the task done, and what is written down of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Attached, Given, Msg, TICK, Then};
use crate::core::attempt::{AttemptEnd, StartMode};
use crate::core::claim::Turn;
use crate::core::event::Request;
use crate::core::id::Oid;
use crate::format::SCHEMA_VERSION;
use crate::format::claude_stream::one_line;
use crate::format::outcome_file::OutcomeFile;
use crate::store::inbox;
use crate::supervise::report::{now, rfc3339};
use crate::supervise::{gate, last_word};

/// How long a letter to the conductor may take to be read before the task is given back.
const LETTER_PATIENCE: Duration = Duration::from_secs(5);
/// Longest summary that is kept, characters.
const SUMMARY_LENGTH: usize = 4000;

impl Attached<'_> {
    /// What the instance says of itself at the end.
    pub(super) fn turn(&self, head: Option<&Oid>) -> bool {
        let progress = self.todos.progress();
        Turn {
            said: if self.in_turn { "" } else { &self.said },
            todos: progress.done.zip(progress.total),
            worked: head.is_some() && head != self.head.as_ref(),
        }
        .claims_done()
    }

    /// Looks at the evidence, if that is wanted. Returns why the task is not complete.
    pub(super) fn judge(&mut self, say: &mut dyn FnMut(&str)) -> Result<AttemptEnd, String> {
        let then = self.visit.then;
        if self.terminated {
            return Err("the terminal was closed".into());
        }
        if matches!(then, Then::Resume | Then::Pause) {
            return Err("as you wanted".into());
        }
        let git = self.workshop.look()?;
        if then == Then::Decide && !self.turn(git.head.as_ref()) {
            return Err("the instance did not say that it is done".into());
        }
        if let Some(verify) = &self.launch.verify {
            say(&format!(
                "checking: {} (Ctrl-C leaves that to the instance)",
                one_line(verify, 100)
            ));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let report = std::thread::scope(|scope| {
            let (shop, stopped) = (&self.workshop, &stop);
            let gate = scope.spawn(move || shop.gate(stopped));
            while !gate.is_finished() {
                let told = self.told.recv_timeout(TICK);
                if matches!(told, Ok(Msg::Interrupt | Msg::Terminate)) || self.is_cancelled() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            gate.join().unwrap_or_else(|_| Err("an inner error".into()))
        })?;
        match report.git.head {
            Some(head) if report.lacks.is_empty() => Ok(AttemptEnd::Complete {
                head,
                summary: self.said.chars().take(SUMMARY_LENGTH).collect(),
            }),
            _ => Err(gate::detail(&report.lacks)),
        }
    }

    /// The last acts, in this order: the tree, the last look, status, marker, outcome.
    pub(super) fn finish(mut self, code: Option<i32>, say: &mut dyn FnMut(&str)) -> Given {
        self.end_tree();
        let judged = self.ending.is_none().then(|| self.judge(say));
        // Meanwhile somebody may have cancelled it.
        self.look_into_inbox();
        let (end, open) = match (self.ending.take(), judged) {
            (Some(end), _) | (None, Some(Ok(end))) => (end, None),
            (None, Some(Err(open))) => (AttemptEnd::Paused, Some(open)),
            (None, None) => (AttemptEnd::Paused, None),
        };
        let paused = end == AttemptEnd::Paused;
        let then = self.visit.then;
        let held = paused && matches!(then, Then::Pause | Then::Complete);
        let task = Some(self.visit.supervision.task.clone());
        if held {
            self.ask(Request::Pause { task });
        } else if paused && then == Then::Resume {
            // It may have been held back before.
            self.ask(Request::Resume { task });
        }
        if let Ok(changes) = self.workshop.measure() {
            self.changed(changes);
        }
        let at = rfc3339(now());
        let tokens = self.transcript.tokens();
        self.report.status.tokens = self.task_tokens();
        let status = &mut self.report.status;
        status.status = last_word::status_of(&end);
        if let AttemptEnd::Failed { detail, .. } = &end {
            status.last_error = Some(detail.clone());
        }
        status.activity = None;
        status.attached_since = None;
        status.ended_at = Some(at.clone());
        status.cost_usd = self.usd.task();
        status.resources.processes = Some(0);
        status.resources.memory_bytes = Some(0);
        self.report.finish();
        self.known.forget();
        let run = self.visit.supervision.run;
        if let AttemptEnd::Complete { head, .. } = &end {
            // The outcome says the same; the marker is for other tools.
            let _ = last_word::mark_complete(run, &self.launch, head, Some(&at));
        }
        // Where the hooks told of the session and of no prompt, nothing was spent.
        let idle = self.session_file.is_some() && !self.asked;
        let outcome = OutcomeFile {
            schema_version: SCHEMA_VERSION,
            attempt: self.launch.attempt,
            outcome: end.clone(),
            cost_usd: self.usd.attempt().or(idle.then_some(0.0)),
            cost_is_partial: self.in_turn,
            tokens,
            peak_memory_bytes: self.peak,
            // A person's time says nothing of how long the task takes.
            duration_ms: None,
            resets_at: None,
            session_seen: self.session_exists(),
            ended_at: at,
        };
        let path = run.outcome(self.visit.supervision.task);
        let lost = last_word::write_outcome(&path, &outcome).err();
        for path in &self.taken {
            let _ = std::fs::remove_file(path);
        }
        self.slot = None;
        Given {
            end,
            open,
            held,
            code,
            lost,
        }
    }

    /// A session that is resumed was there; a fresh one is once something was said in it.
    pub(super) fn session_exists(&self) -> bool {
        self.launch.start == StartMode::Resume || self.asked
    }

    /// The conductor reads it before it hears of the end, so that nothing is started between.
    pub(super) fn ask(&self, request: Request) {
        let folder = self.visit.supervision.run.inbox();
        let Ok(id) = inbox::post(&folder, request, now()) else {
            return;
        };
        let letter: &Path = &folder.join(format!("{id}.json"));
        let deadline = Instant::now() + LETTER_PATIENCE;
        while letter.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
