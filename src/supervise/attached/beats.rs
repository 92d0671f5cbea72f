//! What is known of a session without a stream: the lines of its hooks, what its status line
//! says that it costs, and its own file.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::Attached;
use crate::core::attempt::FailureClass;
use crate::core::budget::Money;
use crate::format::beat_file::{self, BeatLine};
use crate::format::status_file::{Progress, Tokens};
use crate::supervise::report::rfc3339;

/// What the client says that the session costs: in all its processes together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usd {
    /// By earlier attempts at the task.
    pub(super) earlier: Option<f64>,
    pub(super) first: Option<f64>,
    pub(super) last: Option<f64>,
}

impl Usd {
    pub(super) fn attempt(&self) -> Option<f64> {
        Some((self.last? - self.first?).max(0.0))
    }

    pub(super) fn task(&self) -> Option<f64> {
        match (self.earlier, self.attempt()) {
            (None, None) => None,
            (earlier, now) => Some(earlier.unwrap_or(0.0) + now.unwrap_or(0.0)),
        }
    }
}

/// Lines that hooks add to a file.
#[derive(Debug)]
pub(super) struct Beats {
    pub(super) path: PathBuf,
    pub(super) read: u64,
}

impl Beats {
    pub(super) fn new_lines(&mut self) -> Vec<BeatLine> {
        let Ok(mut file) = std::fs::File::open(&self.path) else {
            return Vec::new();
        };
        if file.metadata().is_ok_and(|m| m.len() < self.read) {
            // It began anew.
            self.read = 0;
        }
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(self.read))
            .and_then(|_| file.read_to_end(&mut bytes));
        if read.is_err() {
            return Vec::new();
        }
        // What is not whole yet is read another time; what never will be ends with the next line.
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(end.map_or(0, |end| end + 1));
        self.read += bytes.len() as u64;
        beat_file::lines(&String::from_utf8_lossy(&bytes)).collect()
    }
}

impl Attached<'_> {
    pub(super) fn look_at_session(&mut self) {
        if let Some(path) = self.session_file.clone() {
            self.transcript.look(&path);
        }
        self.report.status.tokens = self.task_tokens();
        self.report.status.cost_usd = self.usd.task();
    }

    /// Of the task so far.
    pub(super) fn task_tokens(&self) -> Option<Tokens> {
        match (self.earlier_tokens, self.transcript.tokens()) {
            (None, None) => None,
            (earlier, own) => Some(earlier.unwrap_or_default().plus(own.unwrap_or_default())),
        }
    }

    /// The attempt's grant holds for a person as well; what the request under way costs is all
    /// that can come on top.
    pub(super) fn look_at_budget(&mut self) {
        let granted = self.launch.grant.limit;
        let usd = self.usd.attempt().map(Money::from_dollars);
        let tokens = self.transcript.tokens().map(|tokens| tokens.total());
        let spent = match (usd, granted.usd, tokens, granted.tokens) {
            (Some(used), Some(granted), ..) if used >= granted => {
                format!("{used} of {granted} granted")
            }
            (.., Some(used), Some(granted)) if used >= granted => {
                format!("{used} tokens of {granted} granted")
            }
            _ => return,
        };
        if self.ending.is_none() {
            let detail = format!("the budget is spent: {spent}");
            self.fail(FailureClass::Budget, detail);
            self.end_tree();
        }
    }

    pub(super) fn read_beats(&mut self) {
        for beat in self.beats.new_lines() {
            self.take(beat);
        }
    }

    pub(super) fn take(&mut self, beat: BeatLine) {
        self.report.status.last_heartbeat = Some(rfc3339(crate::core::time::Timestamp(beat.at)));
        if !beat.transcript.is_empty() {
            self.session_file = Some(PathBuf::from(&beat.transcript));
        }
        if let Some(usd) = beat.usd {
            self.usd.first.get_or_insert(usd);
            self.usd.last = Some(usd);
        }
        match beat.event.as_str() {
            "UserPromptSubmit" => {
                self.asked = true;
                self.in_turn = true;
                self.said.clear();
                self.report.status.activity = Some("at work on what you said".into());
                self.show_stuck(None);
            }
            "PostToolUse" => {
                self.unmeasured = true;
                self.report.status.activity = Some(match beat.subject.as_str() {
                    "" => beat.tool.clone(),
                    subject => format!("{}: {subject}", beat.tool),
                });
                if let Some(call) = &beat.todo {
                    self.todo(&beat.tool, call);
                }
            }
            "Stop" if !beat.sent_back.is_empty() => {
                self.unmeasured = true;
                self.report.status.activity = Some(format!("sent back: {}", beat.sent_back));
                self.announce(&format!("sent back: {}", beat.sent_back));
            }
            "Stop" => {
                self.unmeasured = true;
                self.in_turn = false;
                self.report.status.activity = Some("waits for what you say".into());
                self.said = beat.said;
            }
            _ => {}
        }
    }

    pub(super) fn todo(&mut self, tool: &str, call: &beat_file::TodoCall) {
        if self.todos.beat(tool, call) {
            let said = self.report.status.progress.said.take();
            self.report.status.progress = Progress {
                said,
                ..self.todos.progress()
            };
        }
    }
}
