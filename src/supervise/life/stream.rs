//! What follows from the events of the agent's stream.

use std::time::Instant;

use super::requests::says_stuck;
use super::{Life, Phase};
use crate::core::liveness::Doing;
use crate::core::time::Millis;
use crate::format::claude_stream::{
    ApiRetry, Assistant, Event, NOT_JSON, Piece, TurnResult, User, one_line, tool_subject,
};
use crate::format::status_file::{Progress, StatusFile};
use crate::format::todo_list::Todos;
use crate::supervise::classify;
use crate::supervise::costs::Costs;

/// How much of the standard error is kept, bytes.
const STDERR_TAIL: usize = 4000;
/// How many denied calls are named.
const NAMED_DENIALS: usize = 5;

/// What the agent's output told so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whether the session exists.
    pub(super) session_seen: bool,
    pub(super) todos: Todos,
    pub(super) costs: Costs,
    /// Whether it was told that its budget is nearly spent.
    pub(super) warned_of_budget: bool,
    /// Whether the model said anything in the present turn.
    pub(super) said_something: bool,
    /// The end of the last turn.
    pub(super) last_result: Option<TurnResult>,
    /// Calls that were denied, the first few of them.
    pub(super) denials: Vec<String>,
    /// The end of the standard error.
    pub(super) stderr_tail: String,
}

impl Heard {
    /// Before the first word of an attempt; `before` is where earlier ones left the task.
    pub(super) fn begin(before: &StatusFile, resumed: bool) -> Self {
        Self {
            session_seen: resumed,
            todos: if resumed {
                Todos::resumed(&before.progress.items)
            } else {
                Todos::default()
            },
            costs: Costs::after(before.cost_usd, before.tokens),
            ..Self::default()
        }
    }

    pub(super) fn denied(&mut self, calls: &[String]) {
        for call in calls {
            if !self.denials.contains(call) && self.denials.len() < NAMED_DENIALS {
                self.denials.push(call.clone());
            }
        }
    }

    fn complained(&mut self, text: &str) {
        self.stderr_tail.push_str(text);
        if self.stderr_tail.len() > STDERR_TAIL {
            let mut cut = self.stderr_tail.len() - STDERR_TAIL;
            while !self.stderr_tail.is_char_boundary(cut) {
                cut += 1;
            }
            self.stderr_tail.drain(..cut);
        }
    }
}

impl Life<'_> {
    pub(super) fn on_event(&mut self, event: Event) {
        // What is no JSON is not the client's word; and one that is ended because it failed
        // does not put that off by talking on.
        let is_noise = event == Event::Other(NOT_JSON.into());
        if !is_noise && (self.phase != Phase::Closing || self.candidate.is_some()) {
            self.signs.heard(self.clock.now());
        }
        if let Event::Partial(piece) = &event {
            self.heard.costs.piece(piece);
            if matches!(piece, Piece::Written { .. }) {
                self.look_at_tokens();
            }
            return;
        }
        self.times.something_happened();
        match event {
            Event::Init { session, .. } => {
                self.heard.session_seen = true;
                let seen = self.report.status.session_id.replace(session);
                self.turn_began();
                if seen != self.report.status.session_id {
                    // At once: should this process be killed, the next one resumes the session
                    // only when it knows that there is one.
                    self.report.flush(true);
                }
            }
            Event::Assistant(said) => self.on_assistant(&said),
            Event::User(user) => self.on_user(&user),
            Event::Result(result) => self.on_result(*result),
            Event::ApiRetry(retry) => self.on_retry(&retry),
            Event::RateLimit(limit) => self.provider_limits(&limit),
            Event::PermissionDenied { tool, reason } => {
                self.note(&format!("denied: {tool}: {}", one_line(&reason, 200)));
            }
            Event::PermissionRequest(request) => self.on_permission_request(*request),
            Event::ControlRequest {
                request_id,
                subtype,
            } => self.on_other_request(&request_id, &subtype),
            Event::ControlCancel { request_id } => self.on_request_withdrawn(&request_id),
            Event::ControlResponse { .. } | Event::Partial(_) | Event::Other(_) => {}
        }
    }

    /// A turn that begins by itself (a message that was queued, the end of a background
    /// command) makes a look of the gate out of date.
    pub(super) fn turn_began(&mut self) {
        if self.phase == Phase::Gating {
            self.abandon_gate();
            self.phase = Phase::Working;
        }
    }

    fn on_assistant(&mut self, said: &Assistant) {
        self.heard.said_something = true;
        self.provider_said(said);
        if self.nudging.is_none() {
            self.signs.said(said);
        }
        if !said.from_subagent {
            self.turn_began();
            self.model_went_on();
        }
        self.heard.costs.said(said);
        for call in &said.tool_uses {
            if !said.from_subagent {
                self.heard.todos.called(call);
            }
            let subject = tool_subject(&call.input);
            self.report.status.activity = Some(if subject.is_empty() {
                call.name.clone()
            } else {
                format!("{}: {subject}", call.name)
            });
        }
        let text = one_line(&said.text, 160);
        if said.tool_uses.is_empty() && !text.is_empty() {
            self.report.status.activity = Some(text);
        }
        self.report.status.tokens = self.heard.costs.task_tokens();
        self.look_at_tokens();
    }

    fn on_user(&mut self, user: &User) {
        if let Some(id) = &user.replays {
            self.mail.taken(id);
        }
        let mut changed = false;
        for result in &user.results {
            changed |= self.heard.todos.answered(result);
        }
        if changed {
            self.show_progress();
        }
        self.signs.answered(user);
        let between_calls = self.signs.doing() != Doing::InTools;
        if !user.results.is_empty() && between_calls && self.phase == Phase::Working {
            self.at_boundary();
        }
    }

    /// What the instance's list says, beside what it said itself.
    pub(super) fn show_progress(&mut self) {
        let said = self.report.status.progress.said.take();
        self.report.status.progress = Progress {
            said,
            ..self.heard.todos.progress()
        };
    }

    fn on_retry(&mut self, retry: &ApiRetry) {
        self.signs.waits(Millis(retry.delay_ms), self.clock.now());
        self.provider_retried(retry);
        let status = retry.status.map_or(String::new(), |s| format!(" {s}"));
        let text = format!(
            "the provider answers{status} {}: try {} of {}",
            one_line(&retry.error, 80),
            retry.attempt,
            retry.max_retries
        );
        self.report.status.activity = Some(text.clone());
        self.note(&text);
    }

    fn on_result(&mut self, result: TurnResult) {
        self.model_went_on();
        // What was asked in this turn is over with it.
        self.withdraw_all();
        self.heard.costs.turn_ended(&result);
        self.report.status.cost_usd = self.heard.costs.task_usd();
        self.report.status.tokens = self.heard.costs.task_tokens();
        self.heard.denied(&result.permission_denials);
        if !result.permission_denials.is_empty() {
            self.note(&format!("denied: {}", self.heard.denials.join("; ")));
        }
        self.signs.turn_ended();
        let nothing_done = result.num_turns == Some(0) && !self.heard.said_something;
        self.heard.said_something = false;
        if self.goes_on_after_nudge(&result) {
            return;
        }
        let well = classify::ended_well(&result);
        let more = result.queued_turns > 0;
        if more {
            self.heard.costs.told();
        }
        self.heard.last_result = Some(result);
        match self.phase {
            Phase::Stopping(_) => self.close(),
            Phase::Working | Phase::Gating if !well => {
                if let Some(result) = &self.heard.last_result {
                    let (class, detail) = classify::of_result(result);
                    let class = self.provider_failed(class, &detail);
                    self.fail(class, detail);
                }
            }
            Phase::Working if well && nothing_done => {
                if let Some(result) = &self.heard.last_result {
                    let (class, detail) = classify::of_refused_prompt(result);
                    self.fail(class, detail);
                }
            }
            Phase::Working if more => {}
            Phase::Working => self.turn_ended_well(),
            Phase::Setup | Phase::Gating | Phase::Waiting(_) | Phase::Closing => {}
        }
    }

    fn turn_ended_well(&mut self) {
        // What it said of itself just before, and what it was told.
        self.phase = Phase::Gating;
        self.look_into_inbox();
        if self.phase != Phase::Gating {
            return;
        }
        if self.mail.is_under_way() {
            self.phase = Phase::Working;
            return;
        }
        let text = self.heard.last_result.as_ref().map(|r| r.text.clone());
        if self.stuck.is_none()
            && let Some((reason, options)) = text.as_deref().and_then(says_stuck)
        {
            self.is_stuck(reason, options);
        }
        if self.stuck.is_some() {
            self.phase = Phase::Waiting(Instant::now());
            self.at_boundary();
        } else {
            self.start_gate();
        }
    }

    pub(super) fn on_stderr(&mut self, text: &str) {
        // Kept for people as well, where this process would complain.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        self.heard.complained(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_complaints_and_the_first_denials_are_kept() {
        let mut heard = Heard::default();
        heard.complained(&"é".repeat(STDERR_TAIL));
        heard.complained("the end");
        assert!(heard.stderr_tail.len() <= STDERR_TAIL);
        assert!(heard.stderr_tail.ends_with("éthe end"));
        heard.denied(&["a".into(), "a".into(), "b".into()]);
        assert_eq!(heard.denials, ["a", "b"]);
        heard.denied(&["c", "d", "e", "f"].map(String::from));
        assert_eq!(heard.denials.len(), NAMED_DENIALS);
    }
}
