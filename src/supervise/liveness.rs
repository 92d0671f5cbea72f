//! Gathers the signs of life of one process of an instance, for the policy in
//! [`crate::core::liveness`]. Only what was seen counts: a line of the stream that means
//! something, work of the processes, a change of files. A loop that says "working" is none of
//! these, and neither is noise.

use std::time::Instant;

use crate::core::liveness::{Doing, Limits, Look, Signs, Tick, Watch};
use crate::core::time::{Millis, Timestamp};
use crate::format::claude_stream::{Assistant, User, tool_subject};

/// CPU time below this between two looks is the idle ticking of a waiting process.
const IDLE_CPU_MS: u64 = 50;
/// The same for bytes read and written.
const IDLE_IO_BYTES: u64 = 4096;
/// More open tool calls than these are not told apart.
const MAX_TOOLS: usize = 64;

/// Two clocks, read together: the one for lengths of time, and the one for people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// The clock that never goes back.
    pub(crate) tick: Tick,
    /// The clock on the wall.
    pub(crate) wall: Timestamp,
}

/// Turns instants into ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    /// What both clocks say.
    pub(crate) fn now(&self) -> Now {
        let millis = self.0.elapsed().as_millis();
        Now {
            tick: Tick(u64::try_from(millis).unwrap_or(u64::MAX)),
            wall: super::report::now(),
        }
    }
}

/// The signs of life, and the watch over them.
#[derive(Debug)]
pub(crate) struct Liveness {
    watch: Watch,
    signs: Signs,
    /// The last sign, for people.
    last: Timestamp,
    cpu_ms: u64,
    io_bytes: u64,
    files: Option<(u32, u64, u64)>,
    /// Whether the client said anything at all.
    heard_of: bool,
    /// Tool calls without a result: id, and what it is for people.
    tools: Vec<(String, String)>,
}

impl Liveness {
    /// Begins now.
    pub(crate) fn new(limits: Limits, now: Timestamp) -> Self {
        Self {
            watch: Watch::new(limits),
            signs: Signs::default(),
            last: now,
            cpu_ms: 0,
            io_bytes: 0,
            files: None,
            heard_of: false,
            tools: Vec::new(),
        }
    }

    /// A line of the stream that means something.
    pub(crate) fn heard(&mut self, now: Now) {
        self.heard_of = true;
        self.signs.heard = now.tick;
        self.signs.waits_until = Tick(0);
        self.last = now.wall;
    }

    /// The client says that it waits so long before it asks the provider again.
    pub(crate) fn waits(&mut self, delay: Millis, now: Now) {
        self.signs.waits_until = now.tick.plus(delay);
    }

    /// What the processes used so far: CPU time in milliseconds, bytes read and written. Both
    /// may fall when a process ends.
    pub(crate) fn worked(&mut self, cpu_ms: u64, io_bytes: u64, now: Now) {
        if cpu_ms > self.cpu_ms.saturating_add(IDLE_CPU_MS)
            || io_bytes > self.io_bytes.saturating_add(IDLE_IO_BYTES)
        {
            self.signs.worked = now.tick;
            self.last = now.wall;
        }
        // Ticking must not add up to a sign of life either.
        self.cpu_ms = cpu_ms;
        self.io_bytes = io_bytes;
    }

    /// Files changed, lines added and removed since the base. Returns whether they changed.
    pub(crate) fn files(&mut self, files: (u32, u64, u64), now: Now) -> bool {
        let changed = self.files != Some(files);
        if changed && self.files.is_some() {
            self.signs.changed = now.tick;
            self.last = now.wall;
        }
        self.files = Some(files);
        changed
    }

    /// The model said something, or called tools.
    pub(crate) fn said(&mut self, said: &Assistant) {
        for call in &said.tool_uses {
            if self.tools.len() < MAX_TOOLS && self.tools.iter().all(|(id, _)| *id != call.id) {
                let subject = tool_subject(&call.input);
                let shown = if subject.is_empty() {
                    call.name.clone()
                } else {
                    format!("{}: {subject}", call.name)
                };
                self.tools.push((call.id.clone(), shown));
            }
        }
        self.watch.progressed();
    }

    /// Tools answered.
    pub(crate) fn answered(&mut self, user: &User) {
        for result in &user.results {
            self.tools.retain(|(id, _)| *id != result.tool_use_id);
            if !result.is_error {
                self.watch.progressed();
            }
        }
    }

    /// The turn ended, and with it all that was open in it.
    pub(crate) fn turn_ended(&mut self) {
        self.tools.clear();
        self.watch.turn_ended();
    }

    /// What an agent is doing whose turn it is.
    pub(crate) fn doing(&self) -> Doing {
        if !self.heard_of {
            Doing::StartingUp
        } else if self.tools.is_empty() {
            Doing::AwaitingProvider
        } else {
            Doing::InTools
        }
    }

    /// The open tool calls, for people.
    pub(crate) fn tools(&self) -> Vec<&str> {
        self.tools.iter().map(|(_, shown)| shown.as_str()).collect()
    }

    /// Looks whether it still lives.
    pub(crate) fn look(&mut self, doing: Doing, now: Now) -> Look {
        self.watch.look(now.tick, doing, &self.signs)
    }

    /// The last sign of life.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::liveness::Remedy;
    use crate::format::claude_stream::{ToolResult, ToolUse};
    use crate::format::instance_limits::InstanceLimits;

    fn at(ms: u64) -> Now {
        Now {
            tick: Tick(ms),
            wall: Timestamp(i64::try_from(ms).unwrap()),
        }
    }

    fn begin() -> Liveness {
        Liveness::new(InstanceLimits::default().silence(), Timestamp(0))
    }

    #[test]
    fn only_real_signs_count() {
        let mut life = begin();
        life.worked(10, 100, at(1));
        assert_eq!(life.last(), Timestamp(0), "start-up ticking");
        life.worked(500, 100, at(2));
        assert_eq!(life.last(), Timestamp(2));
        life.worked(520, 4000, at(3));
        assert_eq!(life.last(), Timestamp(2), "idle ticking");
        life.worked(100, 100, at(4));
        assert_eq!(life.last(), Timestamp(2), "a process ended");
        life.worked(200, 100, at(5));
        assert_eq!(life.last(), Timestamp(5));
        life.worked(200, 9000, at(6));
        assert_eq!(life.last(), Timestamp(6), "input and output");
        assert!(life.files((1, 1, 0), at(7)));
        assert_eq!(life.last(), Timestamp(6), "the first look shows no change");
        assert!(!life.files((1, 1, 0), at(8)));
        assert!(life.files((1, 2, 0), at(9)));
        assert_eq!(life.last(), Timestamp(9));
    }

    #[test]
    fn idle_ticking_does_not_add_up() {
        let mut life = begin();
        for n in 1..=100u64 {
            life.worked(n * 10, n * 1000, at(n));
        }
        assert_eq!(life.last(), Timestamp(0));
    }

    #[test]
    fn what_it_does_follows_from_the_stream() {
        let mut life = begin();
        assert_eq!(life.doing(), Doing::StartingUp);
        life.heard(at(1));
        assert_eq!(life.doing(), Doing::AwaitingProvider);
        let call = |id: &str, command: &str| ToolUse {
            id: id.into(),
            name: "Bash".into(),
            input: serde_json::json!({"command": command}),
        };
        let said = |calls: Vec<ToolUse>| Assistant {
            tool_uses: calls,
            ..Assistant::default()
        };
        life.said(&said(vec![call("1", "make"), call("2", "make test")]));
        life.said(&said(vec![call("2", "make test")]));
        assert_eq!(life.tools(), ["Bash: make", "Bash: make test"]);
        let answer = |id: &str| User {
            results: vec![ToolResult {
                tool_use_id: id.into(),
                is_error: true,
                created_task: None,
                text: String::new(),
            }],
            ..User::default()
        };
        life.answered(&answer("1"));
        assert_eq!(life.doing(), Doing::InTools);
        life.answered(&answer("2"));
        assert_eq!(life.doing(), Doing::AwaitingProvider);
        life.said(&said(vec![call("3", "make")]));
        life.turn_ended();
        assert_eq!(life.doing(), Doing::AwaitingProvider);
    }

    #[test]
    fn a_client_that_waits_by_its_own_word_is_not_silent() {
        let mut life = begin();
        life.heard(at(0));
        life.waits(Millis::from_secs(1000), at(0));
        let mut remedies = Vec::new();
        for second in 0..1500 {
            let look = life.look(life.doing(), at(second * 1000));
            if look.remedy != Remedy::Wait {
                remedies.push((second, look.remedy));
                break;
            }
        }
        assert_eq!(remedies, [(1300, Remedy::Nudge)]);
    }
}
