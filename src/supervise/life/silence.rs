//! What is done about silence: telling it, interrupting with a nudge, ending. When which of
//! these is due, [`crate::core::liveness`] decides.

use std::time::{Duration, Instant};

use super::{Life, Phase};
use crate::core::attempt::FailureClass;
use crate::core::liveness::{Doing, Remedy, Silence};
use crate::format::claude_stream::{TurnResult, interrupt, one_line};

/// Silence as the status tells it, and what the status told before.
#[derive(Debug)]
pub(super) struct Told {
    now: String,
    before: Option<String>,
}

impl Life<'_> {
    /// What the instance is doing, as far as silence is concerned.
    fn doing(&self) -> Doing {
        if !self.agent_runs() {
            return Doing::Nothing;
        }
        match self.phase {
            Phase::Working if self.waits_for_person() => Doing::Nothing,
            Phase::Working => self.signs.doing(),
            Phase::Closing => Doing::Closing,
            Phase::Setup | Phase::Gating | Phase::Waiting(_) | Phase::Stopping(_) => Doing::Nothing,
        }
    }

    /// Looks whether the instance still lives, and does what is to be done if it does not.
    pub(super) fn look_for_life(&mut self) {
        let now = self.clock.now();
        let look = self.signs.look(self.doing(), now);
        if look.silence.is_some() {
            // Nothing tells of files that a quiet command changes: they are looked for.
            self.times.something_happened();
        }
        match (look.remedy, look.silence) {
            (Remedy::Nudge, Some(silence)) if self.agent_listens() => self.nudge(silence),
            (Remedy::Nudge | Remedy::End, Some(silence)) => self.end_of_patience(silence),
            (_, silence) => self.tell_silence(silence),
        }
    }

    /// Interrupts the turn. What the session is told is kept until the turn has ended.
    fn nudge(&mut self, silence: Silence) {
        let tools = self.signs.tools();
        let (text, detail) = (silence.nudge(&tools), silence.detail(&tools));
        self.nudging = Some(text);
        self.note(&detail);
        self.announce(&format!("{detail}; interrupted"));
        self.send(interrupt("nudge"));
    }

    /// The turn ended while a nudge waited for that: the session is told, and goes on. Returns
    /// whether that is so; a turn that ended in another way is judged by its result.
    pub(super) fn goes_on_after_nudge(&mut self, result: &TurnResult) -> bool {
        let Some(text) = self.nudging.take() else {
            return false;
        };
        let interrupted = result.subtype == "error_during_execution"
            || result
                .terminal_reason
                .as_deref()
                .is_some_and(|reason| reason.starts_with("aborted"));
        if !interrupted || self.phase != Phase::Working || !self.agent_listens() {
            return false;
        }
        if let Some(spent) = self.money_is_spent() {
            self.fail(FailureClass::Budget, spent);
            return true;
        }
        // No failure, should the process end before its next result.
        self.heard.last_result = None;
        self.report.status.activity = Some(format!("nudged: {}", one_line(&text, 120)));
        self.say(&text);
        true
    }

    fn end_of_patience(&mut self, silence: Silence) {
        if silence.doing != Doing::Closing {
            let detail = silence.detail(&self.signs.tools());
            self.announce(&format!("{detail}; ended"));
            self.fail(FailureClass::Hang, detail);
        }
        self.end_tree();
    }

    /// Says in the status why it is silent, and takes that back once it is not any more.
    fn tell_silence(&mut self, silence: Option<Silence>) {
        let activity = &mut self.report.status.activity;
        let told = self
            .silence
            .take()
            .filter(|told| activity.as_ref() == Some(&told.now));
        match silence.filter(|silence| silence.doing != Doing::Closing) {
            Some(silence) => {
                let now = silence.activity(&self.signs.tools());
                let before = told.map_or_else(|| activity.take(), |told| told.before);
                *activity = Some(now.clone());
                self.silence = Some(Told { now, before });
            }
            None => {
                if let Some(told) = told {
                    *activity = told.before;
                }
            }
        }
    }

    /// A client whose output is over can neither be heard nor judged, though its process goes
    /// on: it is ended after the time that a client gets to end by itself.
    pub(super) fn look_for_lost_stream(&mut self, at: Instant) {
        let patience = Duration::from_secs(self.launch.limits.closing_silence_seconds.max(1));
        let lost = self.agent.as_ref().is_some_and(|agent| {
            agent.is_running()
                && agent
                    .stream_ended
                    .is_some_and(|since| at >= since + patience)
        });
        if lost && matches!(self.phase, Phase::Working | Phase::Waiting(_)) {
            let detail = "its output ended without a result while its process went on".to_owned();
            self.fail(FailureClass::Crash, detail);
            self.end_tree();
        }
    }
}
