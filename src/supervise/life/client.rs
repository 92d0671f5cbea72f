//! The agent's process: talking to it, and whether it still lives.

use std::process::Child;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::Life;
use crate::agent::tree::ProcessKey;
use crate::format::claude_stream::user_message;
use crate::supervise::classify::Exit;

/// How long output may still come after the process ended. It is the whole of this only when
/// something else holds the pipes open, or when the machine is busy beyond reason.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// What of its output was read to the end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Drained {
    /// The stream of events.
    pub(super) stream: bool,
    /// Its standard error, which may be the only place that says why it ended.
    pub(super) stderr: bool,
}

impl Drained {
    /// Whether nothing more is to be waited for, this long after the end of the process.
    fn is_enough(self, since_exit: Duration) -> bool {
        (self.stream && self.stderr) || since_exit >= DRAIN_GRACE
    }
}

/// The agent's process.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) child: Child,
    pub(super) key: Option<ProcessKey>,
    /// What its standard input is told; none once that is closed.
    pub(super) stdin: Option<Sender<String>>,
    /// What of its output was read to the end.
    pub(super) drained: Drained,
    /// When its stream of events ended.
    pub(super) stream_ended: Option<Instant>,
    /// How and when it ended.
    pub(super) exit: Option<(Exit, Instant)>,
}

impl Client {
    /// Whether its process has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.exit.is_none()
    }

    /// Whether it can still be told something.
    fn listens(&self) -> bool {
        self.is_running() && self.stdin.is_some()
    }

    /// Whether it ended, and nothing more is to come from it.
    pub(super) fn is_over(&self) -> bool {
        self.exit
            .is_some_and(|(_, at)| self.drained.is_enough(at.elapsed()))
    }

    fn send(&self, line: String) {
        if let Some(stdin) = &self.stdin {
            // A writer that is gone belongs to a process that is gone; its exit tells.
            let _ = stdin.send(line);
        }
    }

    /// Closes its input, after which the client ends by itself.
    pub(super) fn close(&mut self) {
        self.stdin = None;
    }

    /// Takes note of its end, if it came.
    pub(super) fn look_for_exit(&mut self) {
        if !self.is_running() {
            return;
        }
        if let Ok(Some(status)) = self.child.try_wait() {
            use std::os::unix::process::ExitStatusExt;
            let exit = Exit {
                code: status.code(),
                signal: status.signal(),
            };
            self.exit = Some((exit, Instant::now()));
            self.close();
        }
    }
}

impl Life<'_> {
    /// Whether the agent can still be told something.
    pub(super) fn agent_listens(&self) -> bool {
        self.agent.as_ref().is_some_and(Client::listens)
    }

    /// Whether there is an agent whose process has not ended.
    pub(super) fn agent_runs(&self) -> bool {
        self.agent.as_ref().is_some_and(Client::is_running)
    }

    /// Tells the agent what begins its next turn, or joins the present one.
    pub(super) fn say(&mut self, text: &str) {
        self.heard.costs.told();
        self.send(user_message(text));
    }

    /// Sends the agent a line of the protocol.
    pub(super) fn send(&self, line: String) {
        if let Some(agent) = &self.agent {
            agent.send(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_read_before_an_end_is_judged_but_not_for_ever() {
        let at_once = Duration::ZERO;
        for (stream, stderr, after, enough) in [
            (true, true, at_once, true),
            (true, false, at_once, false),
            (false, true, at_once, false),
            (false, false, at_once, false),
            (true, false, DRAIN_GRACE, true),
            (false, false, DRAIN_GRACE, true),
        ] {
            let drained = Drained { stream, stderr };
            assert_eq!(drained.is_enough(after), enough, "{drained:?} {after:?}");
        }
    }
}
