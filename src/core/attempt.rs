//! One attempt at a task: how it is numbered, which session it has, how it ended.

use serde::{Deserialize, Serialize};

use super::id::Oid;

/// The id of a Claude Code session, chosen before the instance starts so that a crash
/// between the decision and the start can be found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub uuid::Uuid);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// How an instance is brought to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartMode {
    /// A new session with the whole task as its prompt.
    Fresh,
    /// The same session goes on after an interruption.
    Resume,
}

/// Why an attempt did not end in a finished task. The policy of what to do about each is
/// in [`super::retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// Network trouble or a server error that passes.
    TransientApi,
    /// The provider is overloaded or limits the rate.
    Overload,
    /// The account's usage limit is reached.
    UsageLimit,
    /// Not logged in, or the key is refused.
    Authentication,
    /// The task's budget is spent.
    Budget,
    /// The agent's process died, was killed or could not be started.
    Crash,
    /// The supervisor died with its instance.
    SupervisorLost,
    /// The kernel, or the limit of the instance's memory, ended it.
    OutOfMemory,
    /// The task's time is over.
    Timeout,
    /// Nothing was heard of the agent for too long.
    Hang,
    /// A needed permission was denied.
    Permission,
    /// The agent ended as if all were well, without having said or done anything.
    BadResult,
    /// The agent ended normally, but the evidence that the task is done is missing.
    GateNotPassed,
    /// The set-up command of the worktree failed.
    Setup,
    /// The worktree could not be made ready.
    Worktree,
    /// The results of the dependencies cannot be merged with each other.
    DependencyConflict,
    /// Anything else; the detail says what.
    Other,
}

impl std::fmt::Display for FailureClass {
    /// As it is written in files: `gate-not-passed`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl FailureClass {
    /// Whether the provider failed the attempt: that says nothing against the task.
    #[must_use]
    pub fn is_outage(self) -> bool {
        matches!(self, Self::TransientApi | Self::Overload | Self::UsageLimit)
    }
}

/// How an attempt ended. Written by the supervisor as its last act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// Done, and the evidence was seen: commits, a clean tree, the verify command green.
    Complete {
        /// The frozen tip of the task's branch.
        head: Oid,
        /// What the instance said about its work at the end.
        summary: String,
    },
    /// Not done.
    Failed {
        /// What kind of failure.
        class: FailureClass,
        /// What happened, for people.
        detail: String,
    },
    /// Ended on request, to be continued by the same session.
    Paused,
    /// Ended on request, for good.
    Cancelled,
}
