//! What reaches the state machine from outside, and what it wants done.

use serde::{Deserialize, Serialize};

use super::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use super::budget::{Account, Grant};
use super::conditions::Conditions;
use super::graph::TaskIx;
use super::id::TaskName;
use super::record::{MergeMode, Place, QueueResult, QueueWork, Verdict};
use super::retry::Approach;
use super::time::Timestamp;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A conductor took the orchestration up: a new one, or after a crash.
    Adopted,
    /// Time went on; nothing else.
    Tick,
    /// A place for the task is claimed.
    Prepared {
        /// The task.
        task: TaskIx,
        /// The place.
        place: Place,
    },
    /// No place could be had, or the attempt could not be started.
    NotStarted {
        /// The task.
        task: TaskIx,
        /// Why.
        class: FailureClass,
        /// What happened, for people.
        detail: String,
    },
    /// The supervisor of the attempt holds its lock.
    Launched {
        /// The task.
        task: TaskIx,
        /// The attempt.
        attempt: u32,
    },
    /// The supervisor is gone; this is what it left.
    Ended {
        /// The task.
        task: TaskIx,
        /// The attempt.
        attempt: u32,
        /// How it ended.
        end: AttemptEnd,
        /// What else is known of it.
        left: Left,
    },
    /// What machine and provider allow changed.
    Conditions(Conditions),
    /// A person or a tool asks for something.
    Asked {
        /// Tells requests apart: each is taken in once.
        id: String,
        /// What is asked for.
        request: Request,
    },
    /// A task in work was seen to have changed files.
    Touched {
        /// The task.
        task: TaskIx,
        /// The paths, from the root of the repository.
        files: Vec<String>,
    },
    /// The merge queue's piece of work ended.
    Queue(QueueResult),
    /// Reports are written, the workspace is tidy.
    Closed {
        /// Which end this is about: that of its [`Effect::Close`].
        number: u32,
    },
}

/// What an attempt left besides how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Whether its session is known to exist, so that it can be resumed.
    pub session_seen: bool,
    /// Before which time another try is of no use: the reset of a usage limit.
    pub until: Option<Timestamp>,
    /// What it used.
    pub account: Account,
}

/// A request to the conductor, as it lies in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Nothing new starts; running instances stop and keep their sessions.
    Pause {
        /// One task; the whole run when absent.
        task: Option<TaskName>,
    },
    /// Go on.
    Resume {
        /// One task; the whole run when absent.
        task: Option<TaskName>,
    },
    /// End it; work is kept.
    Cancel {
        /// One task; the whole run when absent.
        task: Option<TaskName>,
    },
    /// One more or one fewer instance at once.
    Scale {
        /// +1, -1 or another difference.
        by: i32,
    },
    /// Give failed, skipped and cancelled tasks a new chance.
    Retry {
        /// One task; all of them when absent.
        task: Option<TaskName>,
    },
    /// Merge what is done.
    Merge {
        /// How far it may go.
        mode: MergeMode,
        /// Only these tasks, and what they build on; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Vec<TaskName>>,
    },
    /// Go on with a task that came to its end without being done, in its own session, since a
    /// person said something to it; the message itself waits in the instance's inbox.
    Answer {
        /// The task.
        task: TaskName,
    },
    /// A person takes a task over in their terminal, in its own session. An instance that works
    /// on it stops at its next boundary.
    Attach {
        /// The task.
        task: TaskName,
        /// By which the terminal knows the attempt that is meant for it.
        ticket: String,
    },
    /// Try a conflict again that nothing could settle, with what a person says about it.
    Resolve {
        /// The task that was set aside.
        task: TaskName,
        /// What they say.
        text: String,
    },
}

impl Request {
    /// Whether it gives tasks a new chance, which they cannot have while results are integrated.
    #[must_use]
    pub fn is_about_tasks(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Answer { .. })
    }
}

/// How an instance is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopHow {
    /// To be continued.
    Pause,
    /// At the next boundary between two tool calls; the task is queued again.
    Yield,
    /// For good.
    Cancel,
}

/// Something to be done outside. Every effect is idempotent: after a crash it may be done
/// again from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Merge the dependencies' results and claim a branch and a folder for the task.
    Prepare {
        /// The task.
        task: TaskIx,
    },
    /// Make the worktree if need be, start the attempt's supervisor if it is not running,
    /// and watch it.
    Launch {
        /// The task.
        task: TaskIx,
        /// The attempt.
        attempt: u32,
        /// Its session.
        session: SessionId,
        /// Fresh or resumed.
        start: StartMode,
        /// What it does differently.
        approach: Approach,
        /// What it may spend.
        grant: Grant,
        /// How the attempts before ended, for a fresh session to learn from.
        lesson: Option<String>,
        /// The request of the person who works in it: their terminal takes it, no supervisor is
        /// started.
        attached: Option<String>,
    },
    /// Tell the supervisor of a running attempt to stop.
    Stop {
        /// The task.
        task: TaskIx,
        /// How.
        how: StopHow,
    },
    /// Do a piece of work of the merge queue.
    Queue(QueueWork),
    /// End the piece of work of the merge queue that is going on; it still reports how it
    /// ended.
    StopQueue,
    /// Write results and reports; tidy up after a good end.
    Close {
        /// Which end this is, from 1: a run that goes on after its end comes to another.
        number: u32,
        /// How it ended.
        verdict: Verdict,
    },
    /// Send a [`Event::Tick`] at this time.
    WakeAt(Timestamp),
}
