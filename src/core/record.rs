//! The vocabulary of the journal: what was decided and what happened.
//!
//! The state of an orchestration is the fold of its records ([`super::state::State::apply`]),
//! and nothing else. Applying a record involves no policy, so a journal means the same to
//! a later version with other policies. These names are therefore a file format: add to
//! them, never change them. `tests/fixtures/journal-v1.jsonl` is read by every version.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use super::budget::{Account, Grant};
use super::id::{BranchName, Oid, TaskName};
use super::retry::Approach;
use super::time::{Millis, Timestamp};

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
        let branch = self.branch.as_str();
        let name = match branch.strip_prefix("task/") {
            Some(name) => name,
            None => branch.starts_with("issue-").then_some(branch)?,
        };
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

/// How a task's work becomes part of the base branch. What it holds afterwards is the same
/// in every style; only the history differs.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryStyle {
    /// One merge commit per task, on top of its own commits.
    #[default]
    Merge,
    /// One commit per task.
    Squash,
    /// The task's own commits, made again on top of what came before.
    Rebase,
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

/// One result as it enters the merge queue. Frozen: nothing of it is read again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueItem {
    /// The task.
    pub task: TaskName,
    /// The commit that is merged.
    pub head: Oid,
    /// The tasks whose commits `head` contains: without them it cannot be merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TaskName>,
}

/// One result on the chain of merged results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLink {
    /// The task.
    pub task: TaskName,
    /// The commit that holds it and all links before it.
    pub commit: Oid,
    /// Conflicting files that were settled without a person or a model, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<SettledFile>,
}

/// A conflicting file that was settled mechanically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledFile {
    /// Its path from the top folder.
    pub path: String,
    /// What settled it, as `union` or `rerere`.
    pub by: String,
}

/// A result that does not merge with what came before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConflict {
    /// The task.
    pub task: TaskName,
    /// The commit that it was merged with.
    pub at: Oid,
    /// The paths in conflict.
    pub files: Vec<String>,
    /// The tasks on the chain that changed these paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<TaskName>,
    /// The merged tree with markers in these paths and no others, when conflicts in others
    /// were settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partly: Option<Oid>,
}

/// One piece of work of the merge queue. At most one is in work at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "kebab-case")]
pub enum QueueWork {
    /// Merge results in memory, one on top of the other.
    Merge {
        /// The commit to begin with; the base branch's tip when absent.
        onto: Option<Oid>,
        /// The results, in order.
        items: Vec<QueueItem>,
        /// Whether this only finds out what fails together, and is never delivered.
        #[serde(default)]
        trial: bool,
    },
    /// Run the verify command on exactly this commit.
    Verify {
        /// The commit.
        commit: Oid,
    },
    /// Move the base branch, if it is still where the chain begins.
    Deliver {
        /// Where the base branch must be.
        from: Oid,
        /// The proven commit.
        to: Oid,
    },
    /// Put the merged commit on a branch for people, if the base branch is still where the
    /// chain begins.
    Present {
        /// Where the base branch must be.
        from: Oid,
        /// The commit.
        commit: Oid,
    },
}

/// What came of a piece of work of the merge queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum QueueResult {
    /// Results were merged.
    Merged {
        /// The base branch's tip under them all.
        base: Oid,
        /// What merged, in order.
        links: Vec<QueueLink>,
        /// What did not. A result that needs one of these was not tried.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conflicts: Vec<QueueConflict>,
    },
    /// The verify command ended.
    Verified {
        /// Whether it succeeded.
        green: bool,
        /// The end of what it printed, when it did not.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tail: String,
    },
    /// The base branch holds the commit.
    Delivered,
    /// The commit is on a branch for people.
    Presented {
        /// The branch.
        branch: BranchName,
    },
    /// The base branch is elsewhere now.
    BaseMoved {
        /// Where.
        to: Oid,
    },
    /// The base branch, or the branch for people, could not be moved.
    Refused {
        /// Why, and what a person can do.
        detail: String,
    },
    /// It could not be done.
    Failed {
        /// Why.
        detail: String,
    },
    /// It was stopped on request.
    Stopped,
}

/// Why a result is not delivered with the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum AsideWhy {
    /// The tree is red with it and green without it.
    Red {
        /// The merged commit that is red.
        commit: Oid,
        /// The end of what the verify command printed.
        tail: String,
        /// The tasks with which it is red while it is green without them; empty when it is
        /// red by itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<TaskName>,
    },
    /// It does not merge, and nothing could settle that.
    Conflict {
        /// The paths.
        files: Vec<String>,
        /// The tasks whose changes it meets there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<TaskName>,
        /// What became of the resolver, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// It contains the commits of a task that was set aside.
    Because {
        /// That task.
        task: TaskName,
    },
}

/// An instance that resolves a conflict: a task that the queue adds to those of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Its own name.
    pub resolver: TaskName,
    /// The task whose result is to be merged.
    pub task: TaskName,
    /// The merged results so far: where its branch begins.
    pub onto: Oid,
    /// The result that is to be merged with them.
    pub theirs: Oid,
    /// The tasks whose results `onto` holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<TaskName>,
    /// The paths in conflict.
    pub files: Vec<String>,
    /// The tasks whose changes meet there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<TaskName>,
    /// The merged tree with markers in these paths and no others, when conflicts in others
    /// were settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partly: Option<Oid>,
    /// What a person said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<String>,
}

/// How a delivery is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum UndoHow {
    /// The base branch goes back to where it was before.
    Rewind,
    /// A commit on top does the opposite.
    Revert {
        /// That commit.
        commit: Oid,
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
        /// What it does differently.
        #[serde(default, skip_serializing_if = "Approach::is_plain")]
        approach: Approach,
        /// What it may spend.
        #[serde(default, skip_serializing_if = "Grant::is_unlimited")]
        grant: Grant,
        /// When that was decided.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// The request of the person who works in it, in a terminal of their own; an instance
        /// works without one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attached: Option<String>,
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
        /// Before which time another try is of no use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// What it used.
        #[serde(default, skip_serializing_if = "Account::is_empty")]
        account: Account,
    },
    /// The task will be tried again.
    Requeued {
        /// The task.
        task: TaskName,
        /// Fresh or resumed.
        start: StartMode,
        /// Not before.
        not_before: Timestamp,
        /// How long that is from the decision on: should the clock go back, the pause does
        /// not get longer than this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay: Option<Millis>,
        /// What it does differently.
        #[serde(default, skip_serializing_if = "Approach::is_plain")]
        approach: Approach,
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
    /// A person takes the task over: its next attempt is theirs.
    AttachAsked {
        /// The task.
        task: TaskName,
        /// The request, by which the person's terminal knows the attempt that is meant for it.
        ticket: String,
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
        /// The tasks whose results are wanted; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Vec<TaskName>>,
        /// Whether somebody asked for it: then what can be delivered is, however much is
        /// missing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        asked: bool,
    },
    /// The merge queue begins a piece of work.
    QueueStarted {
        /// Which.
        work: QueueWork,
    },
    /// The merge queue's piece of work ended.
    QueueEnded {
        /// How.
        result: QueueResult,
    },
    /// The chain of merged results is good up to this commit; what is behind it is merged
    /// anew.
    Proven {
        /// The commit.
        commit: Oid,
        /// Whether the verify command said so; false when none is configured.
        verified: bool,
    },
    /// A result is not delivered with the others.
    SetAside {
        /// The task.
        task: TaskName,
        /// Why.
        why: AsideWhy,
    },
    /// An instance is to resolve a conflict.
    ResolverAdded {
        /// What it is about.
        resolution: Resolution,
    },
    /// A person said how a conflict is to be resolved: the result gets another chance.
    ConflictAnswered {
        /// The task.
        task: TaskName,
        /// What they said.
        text: String,
    },
    /// Integration ended.
    IntegrationEnded {
        /// How.
        result: IntegrationEnd,
    },
    /// A delivery is being taken back; moving the base branch follows.
    UndoStarted {
        /// `from` of the delivery.
        from: Oid,
        /// `to` of the delivery.
        to: Oid,
        /// The base branch's tip now.
        tip: Oid,
        /// How.
        how: UndoHow,
    },
    /// A delivery was taken back.
    Undone {
        /// `from` of the delivery.
        from: Oid,
        /// `to` of the delivery.
        to: Oid,
        /// How.
        how: UndoHow,
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
