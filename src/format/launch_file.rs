//! `instance-TASK.launch.json`: everything a supervisor needs for one attempt.
//!
//! Written by the conductor before it starts the supervisor, read by the supervisor only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::breaker_file::BreakerOrder;
use super::instance_limits::InstanceLimits;
use crate::core::attempt::{SessionId, StartMode};
use crate::core::budget::Grant;
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use crate::core::permission::PermissionRequests;

/// Which agent works on the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AgentChoice {
    /// The real Claude Code client.
    Claude {
        /// The program: a path, or a name looked up in PATH.
        program: PathBuf,
    },
    /// The built-in scripted player: no login, no network.
    Scripted {
        /// The script that it plays; its own default when absent.
        script: Option<PathBuf>,
    },
}

impl AgentChoice {
    /// `claude` or `scripted`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Claude { .. } => "claude",
            Self::Scripted { .. } => "scripted",
        }
    }
}

/// Four hours: a person may be away for a while, but no run waits for ever.
pub const DEFAULT_ANSWER_TIMEOUT: u64 = 14_400;

fn default_answer_timeout() -> u64 {
    DEFAULT_ANSWER_TIMEOUT
}

/// A merge with conflicts that an instance resolves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Merging {
    /// The commit that is merged into the branch's base.
    pub theirs: Oid,
    /// The tree that git makes of it alone, with markers in the files in conflict; the labels
    /// in them are the ids of the base and of `theirs`.
    pub tree: Oid,
    /// The paths in conflict.
    pub files: Vec<String>,
    /// Paths that a tool makes from files in conflict: they may change as a whole.
    #[serde(default)]
    pub generated: Vec<String>,
    /// Whether the conflict is about where files are: then files may come and go.
    #[serde(default)]
    pub moves: bool,
}

/// The order for one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The orchestration.
    pub orchestration_id: OrchestrationId,
    /// Random token of the orchestration; part of the process marker, so that another
    /// repository's run with the same id is never mistaken for this one.
    pub token: String,
    /// The task.
    pub task: TaskName,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The session, chosen beforehand.
    pub session_id: SessionId,
    /// Fresh or resumed.
    pub start: StartMode,
    /// The request of the person who works in it: the terminal that asked takes the order up.
    /// A supervisor is started for it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// The agent.
    pub agent: AgentChoice,
    /// The task's worktree.
    pub worktree: PathBuf,
    /// The person's main checkout, which nothing may write to.
    pub main_checkout: PathBuf,
    /// The task's branch.
    pub branch: BranchName,
    /// The commit that the branch started from.
    pub base: Oid,
    /// The first user message (for a resumed session: how to go on).
    pub prompt: String,
    /// The rules, appended to the system prompt.
    pub system_prompt: String,
    /// Claude Code's permission mode.
    pub permission_mode: String,
    /// What stands round the client.
    #[serde(default)]
    pub sandbox: crate::core::sandbox::Sandbox,
    /// Tools allowed without asking.
    pub allowed_tools: Vec<String>,
    /// Tools denied.
    pub disallowed_tools: Vec<String>,
    /// Settings file to hand over, when the worktree cannot hold its own.
    #[serde(default)]
    pub settings: Option<PathBuf>,
    /// Model; the client's default when absent.
    #[serde(default)]
    pub model: Option<String>,
    /// Environment of the instance beyond the inherited one.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Set-up command of the worktree, configured by the person; run before the agent.
    #[serde(default)]
    pub setup: Option<String>,
    /// Verify command, configured by the person.
    #[serde(default)]
    pub verify: Option<String>,
    /// Time for the whole attempt, seconds.
    pub timeout_seconds: u64,
    /// Time for one run of the verify or set-up command, seconds.
    pub command_timeout_seconds: u64,
    /// What the attempt may spend.
    #[serde(default)]
    pub grant: Grant,
    /// Where it tells what the provider says; nowhere when absent.
    #[serde(default)]
    pub breaker: Option<BreakerOrder>,
    /// How many times an instance that says it is done without evidence is sent back.
    pub gate_rounds: u32,
    /// How long a stuck instance waits for an answer before the attempt fails, seconds.
    #[serde(default = "default_answer_timeout")]
    pub answer_timeout_seconds: u64,
    /// What is done about requests for permission.
    #[serde(default)]
    pub permission_requests: PermissionRequests,
    /// How long the person has to answer one, seconds.
    #[serde(default = "super::settings_file::default_permission_timeout")]
    pub permission_timeout_seconds: u64,
    /// How long the instance may be silent, and what it may use.
    #[serde(default)]
    pub limits: InstanceLimits,
    /// Whether a task may end without commits (an investigation may).
    #[serde(default)]
    pub may_end_without_commits: bool,
    /// The merge that the instance is to bring to its end; none for the tasks of a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merging: Option<Merging>,
    /// Number of the issue, for the status file.
    #[serde(default)]
    pub issue_number: Option<u64>,
    /// Title of the issue, for the status file.
    #[serde(default)]
    pub issue_title: Option<String>,
}
