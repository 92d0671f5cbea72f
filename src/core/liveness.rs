//! When silence means that an instance hangs, and what is done about it: the policy, over plain
//! values and a clock that is handed in.
//!
//! What counts as a sign of life, and how long its absence is borne, depends on what the
//! instance is doing:
//!
//! | doing | signs of life | limit | remedies in order |
//! |---|---|---|---|
//! | starting up | a line, CPU or I/O, a file | [`Limits::startup`] | end |
//! | waiting for the provider | a line, CPU or I/O, a file | [`Limits::provider`] | nudge, end |
//! | inside tools | a line, CPU or I/O, a file | [`Limits::tool`] | nudge, end |
//! | after its result, input closed | a line | [`Limits::closing`] | end |
//! | nothing is expected of it | | | |
//!
//! A tool that is busy is therefore waited for as long as the task has time. A limit of zero is
//! none. Three things are never taken for silence: the time before the present kind of doing,
//! the time until which the client said that it waits, and time in which nobody looked (the
//! machine was suspended, the watching process was stopped): after such a gap the whole limit
//! begins anew.

use super::time::Millis;

/// A point on a clock that never goes back: milliseconds since some beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Milliseconds from `earlier` to this point; zero when that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The point that lies `length` later.
    #[must_use]
    pub fn plus(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Its process runs; nothing was heard of it yet.
    StartingUp,
    /// No tool is open: the next word is the provider's.
    AwaitingProvider,
    /// At least one tool call has no result yet.
    InTools,
    /// All is said; its input is closed and its process is to end.
    Closing,
    /// Nothing is expected of it: it is checked, or waits for a person.
    Nothing,
}

/// How long silence is borne; zero: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start of the process to its first word.
    pub startup: Millis,
    /// While the next word is the provider's.
    pub provider: Millis,
    /// Inside tool calls in which nothing happens.
    pub tool: Millis,
    /// From the closing of its input to its end.
    pub closing: Millis,
}

impl Limits {
    fn of(&self, doing: Doing) -> Option<Millis> {
        let limit = match doing {
            Doing::StartingUp => self.startup,
            Doing::AwaitingProvider => self.provider,
            Doing::InTools => self.tool,
            Doing::Closing => self.closing,
            Doing::Nothing => Millis(0),
        };
        (limit.0 > 0).then_some(limit)
    }
}

/// When each sign of life was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// A line of its stream that means something.
    pub heard: Tick,
    /// CPU time or input and output of its process tree, beyond the ticking of idle processes.
    pub worked: Tick,
    /// A change of files in its worktree.
    pub changed: Tick,
    /// Until when the client said that it waits before it tries the provider again.
    pub waits_until: Tick,
}

impl Signs {
    fn last(&self, doing: Doing) -> Tick {
        match doing {
            Doing::Closing => self.heard,
            _ => self
                .heard
                .max(self.worked)
                .max(self.changed)
                .max(self.waits_until),
        }
    }
}

/// Silence that is long enough to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// What it was doing all that time.
    pub doing: Doing,
    /// How long nothing was seen.
    pub length: Millis,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing yet.
    Wait,
    /// The turn is interrupted; once it ended, the same session is told what was seen, and
    /// goes on.
    Nudge,
    /// The process tree is ended.
    End,
}

/// What a look showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What is to be done now.
    pub remedy: Remedy,
    /// Silence of more than half of its limit, for people; always there with a remedy.
    pub silence: Option<Silence>,
}

/// A longer time than this between two looks is one in which nobody looked.
pub const GAP: Millis = Millis::from_secs(20);

/// How many nudges one process gets, however well each of them helped.
pub const MAX_NUDGES: u32 = 3;

/// How long the client may take to end a turn that was interrupted, at least and at most; it is
/// the limit itself in between.
const INTERRUPT_AT_LEAST: u64 = 5_000;
const INTERRUPT_AT_MOST: u64 = 30_000;

/// The watch over one process of an instance.
#[derive(Debug, Clone)]
pub struct Watch {
    limits: Limits,
    /// The last look: when, and what it was doing.
    looked: Option<(Tick, Doing)>,
    /// Silence counts from here at the earliest.
    floor: Tick,
    nudges: u32,
    /// Since the last nudge nothing was achieved.
    unproven: bool,
    /// A nudge's interrupt is not answered yet: since when, and the silence it was for.
    interrupting: Option<(Tick, Silence)>,
}

impl Watch {
    /// A watch that begins with its first look.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            looked: None,
            floor: Tick(0),
            nudges: 0,
            unproven: false,
            interrupting: None,
        }
    }

    /// The instance did something: a word, a call or the result of a call that was not
    /// interrupted.
    pub fn progressed(&mut self) {
        self.unproven = false;
    }

    /// Its turn ended.
    pub fn turn_ended(&mut self) {
        self.interrupting = None;
    }

    /// Looks. Never ends or nudges at the first look, nor at the first one after a gap.
    pub fn look(&mut self, now: Tick, doing: Doing, signs: &Signs) -> Look {
        let goes_on = self
            .looked
            .is_some_and(|(at, what)| what == doing && now.since(at) <= GAP);
        self.looked = Some((now, doing));
        if !goes_on {
            self.floor = now;
            if let Some((since, _)) = &mut self.interrupting {
                *since = now;
            }
        }
        if let Some((since, silence)) = self.interrupting {
            let waited = now.since(since.max(signs.heard));
            let grace = self.limits.of(silence.doing).map_or(0, |limit| limit.0);
            let over = waited.0 >= grace.clamp(INTERRUPT_AT_LEAST, INTERRUPT_AT_MOST);
            return Look {
                remedy: if over { Remedy::End } else { Remedy::Wait },
                silence: Some(Silence {
                    length: Millis(silence.length.0 + now.since(since).0),
                    ..silence
                }),
            };
        }
        let length = now.since(signs.last(doing).max(self.floor));
        let silence = Silence { doing, length };
        match self.limits.of(doing) {
            Some(limit) if length >= limit => Look {
                remedy: self.remedy(now, silence),
                silence: Some(silence),
            },
            limit => Look {
                remedy: Remedy::Wait,
                silence: limit
                    .filter(|limit| length.0.saturating_mul(2) > limit.0)
                    .map(|_| silence),
            },
        }
    }

    fn remedy(&mut self, now: Tick, silence: Silence) -> Remedy {
        let can_be_nudged = matches!(silence.doing, Doing::AwaitingProvider | Doing::InTools);
        if !can_be_nudged || self.unproven || self.nudges >= MAX_NUDGES {
            return Remedy::End;
        }
        self.nudges += 1;
        self.unproven = true;
        self.interrupting = Some((now, silence));
        Remedy::Nudge
    }
}

impl Silence {
    /// For people, as what the instance does now: `silent for 6m inside Bash: cargo test`.
    /// `tools` are the open tool calls, for people.
    #[must_use]
    pub fn activity(&self, tools: &[&str]) -> String {
        // Told in steps, so that it does not change with every look.
        let step = if self.length.0 >= 60_000 { 60 } else { 10 };
        let seconds = self.length.0 / 1000;
        let shown = Millis::from_secs((seconds - seconds % step).max(1));
        format!("silent for {shown} {}", self.place(tools))
    }

    /// Why the attempt ended, for people.
    #[must_use]
    pub fn detail(&self, tools: &[&str]) -> String {
        format!(
            "no sign of life for {} {}",
            rounded(self.length),
            self.place(tools)
        )
    }

    fn place(&self, tools: &[&str]) -> String {
        match self.doing {
            Doing::StartingUp => "since its start".to_owned(),
            Doing::AwaitingProvider => "while it waited for the provider".to_owned(),
            Doing::InTools if tools.is_empty() => "inside a tool".to_owned(),
            Doing::InTools => format!("inside {}", tools.join(" and ")),
            Doing::Closing => "after its result".to_owned(),
            Doing::Nothing => "while nothing was asked of it".to_owned(),
        }
    }

    /// What the session is told after its turn was interrupted.
    #[must_use]
    pub fn nudge(&self, tools: &[&str]) -> String {
        let length = rounded(self.length);
        if self.doing != Doing::InTools {
            return format!(
                "Nothing came from you for {length}, so your turn was interrupted. Your work is \
                 untouched. Look where you were and go on with the task."
            );
        }
        let what: Vec<String> = tools.iter().map(|tool| format!("`{tool}`")).collect();
        let (what, were) = match what.as_slice() {
            [] => ("The tool call".to_owned(), "was"),
            [one] => (format!("The call {one}"), "was"),
            many => (format!("The calls {}", many.join(" and ")), "were"),
        };
        format!(
            "{what} gave no sign of life for {length} (no output, no CPU time, no input or output, \
             no changed file) and {were} interrupted. Do not just repeat it: find out what it \
             waits for, keep it from reading standard input, give it a time limit (`timeout 60 …`), \
             or reach the same in another way. Then go on with the task."
        )
    }
}

fn rounded(length: Millis) -> Millis {
    Millis::from_secs((length.0 / 1000).max(1))
}

#[cfg(test)]
mod tests;
