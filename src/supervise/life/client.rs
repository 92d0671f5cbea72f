//! The agent's process: talking to it, and whether it still lives.

use std::process::Child;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::Life;
use crate::agent::tree::ProcessKey;
use crate::format::claude_stream::user_message;
use crate::supervise::classify::Exit;

/// How long output may still come after the process ended.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// The agent's process.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) child: Child,
    pub(super) key: Option<ProcessKey>,
    /// What its standard input is told; none once that is closed.
    pub(super) stdin: Option<Sender<String>>,
    /// Whether all of its standard output was read.
    pub(super) stream_over: bool,
    /// Whether all of its standard error was read; it tells why a start was refused.
    pub(super) stderr_over: bool,
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
        let all_read = self.stream_over && self.stderr_over;
        self.exit
            .is_some_and(|(_, at)| all_read || at.elapsed() >= DRAIN_GRACE)
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
    pub(super) fn say(&self, text: &str) {
        self.send(user_message(text));
    }

    /// Sends the agent a line of the protocol.
    pub(super) fn send(&self, line: String) {
        if let Some(agent) = &self.agent {
            agent.send(line);
        }
    }
}
