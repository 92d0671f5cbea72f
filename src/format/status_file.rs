//! `instance-TASK.status.json`: where one instance stands, for people and other tools.
//!
//! Its writer is whoever holds `instance-TASK.lock`: the supervisor while it lives, the
//! conductor otherwise. Every field is always present; what is unknown is null.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::id::{OrchestrationId, TaskName};

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceStatus {
    /// Planned, not started.
    Registered,
    /// Its worktree or its session is being made ready.
    Planning,
    /// At work.
    Working,
    /// Waits for an answer from a person.
    Stuck,
    /// Done, with evidence.
    Complete,
    /// Given up.
    Failed,
    /// Ended on request.
    Cancelled,
    /// Stopped on request, to be continued.
    Paused,
}

/// Progress as measured from the instance's own todo items. All null when it keeps none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Todo items done.
    pub done: Option<u32>,
    /// Todo items in all.
    pub total: Option<u32>,
    /// Percent done, 0 to 100.
    pub percent: Option<u8>,
    /// The item in work.
    pub current: Option<String>,
    /// All items in order, with their state (`pending`, `in_progress`, `completed`).
    pub items: Vec<TodoItem>,
    /// What the instance last said of its progress itself. Never counted: it is told as its
    /// word, and only when it keeps no list.
    pub said: Option<SaidProgress>,
}

/// Progress in an instance's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SaidProgress {
    /// What it said.
    pub text: String,
    /// Percent done, 0 to 100, if it said so.
    pub percent: Option<u8>,
    /// Steps done, if it said so.
    pub done: Option<u32>,
    /// Steps in all, if it said so.
    pub total: Option<u32>,
}

/// One todo item of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TodoItem {
    /// What is to be done.
    pub text: String,
    /// `pending`, `in_progress` or `completed`.
    pub state: String,
}

/// Tokens used, counted once per message.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct Tokens {
    /// Input tokens that were not read from the cache.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
    /// Input tokens written to the cache.
    pub cache_creation: u64,
    /// Input tokens read from the cache.
    pub cache_read: u64,
}

impl Tokens {
    /// Of all kinds together.
    #[must_use]
    pub fn total(self) -> u64 {
        [
            self.input,
            self.output,
            self.cache_creation,
            self.cache_read,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_creation: self.cache_creation.saturating_add(other.cache_creation),
            cache_read: self.cache_read.saturating_add(other.cache_read),
        }
    }
}

/// What the instance's process tree uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Processes in the tree.
    pub processes: Option<u32>,
    /// Resident memory of the tree, bytes.
    pub memory_bytes: Option<u64>,
    /// Most memory of the tree that was seen during the attempt, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// CPU time used by the tree so far, milliseconds.
    pub cpu_ms: Option<u64>,
}

/// The file itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The instance: `ORCHESTRATION/TASK`.
    pub id: String,
    /// Number of the issue that it works on.
    #[serde(default)]
    pub issue_number: Option<u64>,
    /// Title of that issue.
    #[serde(default)]
    pub issue_title: Option<String>,
    /// Where it stands.
    pub status: InstanceStatus,
    /// Its branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// Absolute path of its worktree.
    #[serde(default)]
    pub worktree_path: Option<String>,
    /// When the first attempt started, RFC 3339.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When something was last seen of it (an event, work of its processes), RFC 3339.
    #[serde(default)]
    pub last_heartbeat: Option<String>,
    /// Why it is stuck.
    #[serde(default)]
    pub stuck_reason: Option<String>,
    /// The id of what is asked, which an answer repeats.
    #[serde(default)]
    pub question: Option<String>,
    /// Since when it waits for an answer, RFC 3339.
    #[serde(default)]
    pub stuck_since: Option<String>,
    /// The last message that was forwarded to it.
    #[serde(default)]
    pub forwarded_message: Option<String>,
    /// Its pull request.
    #[serde(default)]
    pub pull_request_url: Option<String>,
    /// Name of the task.
    pub task: String,
    /// Number of the attempt, from 1; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
    /// The Claude Code session.
    #[serde(default)]
    pub session_id: Option<String>,
    /// Measured progress.
    #[serde(default)]
    pub progress: Progress,
    /// Files changed since the task's base, committed or not.
    #[serde(default)]
    pub files_changed: Option<u32>,
    /// Lines added since the base.
    #[serde(default)]
    pub lines_added: Option<u64>,
    /// Lines removed since the base.
    #[serde(default)]
    pub lines_removed: Option<u64>,
    /// Money spent on the task, US dollars.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// Tokens used by the task.
    #[serde(default)]
    pub tokens: Option<Tokens>,
    /// Processes, memory and CPU time of the instance.
    #[serde(default)]
    pub resources: Resources,
    /// The options that a stuck instance considered.
    #[serde(default)]
    pub options: Vec<String>,
    /// The last thing that went wrong.
    #[serde(default)]
    pub last_error: Option<String>,
    /// The last thing that the instance did, for people (a tool call, a sentence).
    #[serde(default)]
    pub activity: Option<String>,
    /// When the instance ended, RFC 3339.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// Since when a person works in its session, in a terminal of their own, RFC 3339.
    #[serde(default)]
    pub attached_since: Option<String>,
    /// Fields of newer versions are kept when the file is rewritten.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

impl StatusFile {
    /// A task that is planned and not started.
    #[must_use]
    pub fn registered(id: &OrchestrationId, task: &TaskName) -> Self {
        Self {
            schema_version: super::SCHEMA_VERSION,
            id: format!("{id}/{task}"),
            issue_number: None,
            issue_title: None,
            status: InstanceStatus::Registered,
            branch: None,
            worktree_path: None,
            started_at: None,
            last_heartbeat: None,
            stuck_reason: None,
            question: None,
            stuck_since: None,
            forwarded_message: None,
            pull_request_url: None,
            task: task.to_string(),
            attempt: 0,
            session_id: None,
            progress: Progress::default(),
            files_changed: None,
            lines_added: None,
            lines_removed: None,
            cost_usd: None,
            tokens: None,
            resources: Resources::default(),
            options: Vec::new(),
            last_error: None,
            activity: None,
            ended_at: None,
            attached_since: None,
            rest: BTreeMap::new(),
        }
    }
}
