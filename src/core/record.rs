//! The vocabulary of the journal: what was decided and what happened.
//!
//! The state of an orchestration is the fold of its records ([`super::state::State::apply`]),
//! and nothing else. Applying a record involves no policy, so a journal means the same to
//! a later version with other policies. These names are therefore a file format: add to
//! them, never change them. `tests/fixtures/journal-v1.jsonl` is read by every version.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use super::id::{BranchName, Oid, TaskName};
use super::time::Timestamp;

/// Where a task is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The task's branch.
    pub branch: BranchName,
    /// The task's worktree, an absolute path.
    pub worktree: PathBuf,
    /// The commit that the branch starts from: the base with the results of all dependencies.
    pub base: Oid,
}

impl Place {
    /// The name that was claimed for it: that of the task, or one that is like it.
    #[must_use]
    pub fn claimed_name(&self) -> Option<TaskName> {
        let name = self.branch.as_str().strip_prefix("task/")?;
        TaskName::parse(name).ok()
    }
}

/// How far integration may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MergeMode {
    /// Merge, verify, deliver to the base branch when green.
    Automatic,
    /// Merge and verify into a branch for review; deliver nothing.
    Review,
}

/// How integration ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum IntegrationEnd {
    /// The base branch now holds the verified commit.
    Delivered {
        /// The base branch's tip before.
        from: Oid,
        /// The verified commit, now the base branch's tip.
        to: Oid,
        /// Whether a verify command was run and green; false when none is configured.
        verified: bool,
    },
    /// The merged and verified commit waits on a branch.
    Reviewable {
        /// The branch.
        branch: BranchName,
        /// Its tip.
        commit: Oid,
        /// As for `Delivered`.
        verified: bool,
    },
    /// A task's result does not merge.
    Conflict {
        /// The task.
        task: TaskName,
        /// The paths in conflict.
        files: Vec<String>,
    },
    /// The verify command is red on the merged tree.
    Red {
        /// The merged commit, kept on a branch.
        commit: Oid,
        /// The end of what the command printed.
        tail: String,
    },
    /// Merged and green, but the base branch could not be moved.
    NotDelivered {
        /// The merged commit, kept on a branch.
        commit: Oid,
        /// Why, and what the person can do.
        detail: String,
    },
    /// Something else failed.
    Failed {
        /// What.
        detail: String,
    },
}

/// How an orchestration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every task done and delivered.
    Success,
    /// Enough tasks done, and those delivered; the rest are follow-ups.
    Partial,
    /// Tasks done as far as asked; delivery was not asked for.
    Unmerged,
    /// Too many tasks failed, or integration did.
    Failed,
    /// Ended on request.
    Cancelled,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// The orchestration began.
    Begun,
    /// A place for a task was decided and claimed; making it may follow.
    Prepared {
        /// The task.
        task: TaskName,
        /// The place.
        place: Place,
    },
    /// An attempt was decided; making its worktree and starting it follow.
    AttemptStarted {
        /// The task.
        task: TaskName,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The session, chosen now.
        session: SessionId,
        /// Fresh or resumed.
        start: StartMode,
    },
    /// The attempt's supervisor holds its lock.
    AttemptRunning {
        /// The task.
        task: TaskName,
        /// The attempt.
        attempt: u32,
    },
    /// The attempt ended.
    AttemptEnded {
        /// The task.
        task: TaskName,
        /// The attempt.
        attempt: u32,
        /// How.
        end: AttemptEnd,
        /// Whether the session is known to exist, so that it can be resumed.
        #[serde(default)]
        session_seen: bool,
    },
    /// The task will be tried again.
    Requeued {
        /// The task.
        task: TaskName,
        /// Fresh or resumed.
        start: StartMode,
        /// Not before.
        not_before: Timestamp,
    },
    /// The task is given up.
    TaskFailed {
        /// The task.
        task: TaskName,
        /// Why.
        class: FailureClass,
        /// What happened, for people.
        detail: String,
    },
    /// The task will not be tried: a dependency is missing for good.
    TaskSkipped {
        /// The task.
        task: TaskName,
        /// The task that did not get done.
        because: TaskName,
    },
    /// The task was taken out on request.
    TaskCancelled {
        /// The task.
        task: TaskName,
    },
    /// A task that was never started goes after another one, which turned out to change files
    /// that it expects to touch.
    PutAfter {
        /// The task that waits.
        task: TaskName,
        /// The task that it waits for, however that ends.
        after: TaskName,
        /// Some of those files, for people.
        #[serde(default)]
        files: Vec<String>,
    },
    /// A failed, skipped or cancelled task gets a new chance on request.
    TaskRevived {
        /// The task.
        task: TaskName,
    },
    /// Nothing new starts; of the whole run, or of one task.
    PauseRequested {
        /// The task; the run when absent.
        task: Option<TaskName>,
    },
    /// The opposite.
    ResumeRequested {
        /// The task; the run when absent.
        task: Option<TaskName>,
    },
    /// It is to end.
    CancelRequested {
        /// The task; the run when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskName>,
    },
    /// Another number of instances may run at once.
    WorkersChanged {
        /// The number.
        workers: u32,
    },
    /// The results are being merged.
    IntegrationStarted {
        /// How far it may go.
        mode: MergeMode,
    },
    /// Integration ended.
    IntegrationEnded {
        /// How.
        result: IntegrationEnd,
    },
    /// The orchestration ended; reports and cleaning up follow.
    Finished {
        /// How.
        verdict: Verdict,
    },
    /// Reports are written, the workspace is tidy.
    Closed,
    /// A request from the inbox was taken in, so that it is not taken in again when its file
    /// could not be removed before a crash.
    RequestTaken {
        /// The request's id.
        id: String,
    },
}
