//! What `orchestra status --json` prints: all of one look at a run.

use serde::{Deserialize, Serialize};

use super::note_file::NoteLine;
use super::results::{FlakyCheck, IntegrationResult, TaskIntegration};
use super::status_file::StatusFile;

/// Nothing starts for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldReport {
    /// When it may go on, RFC 3339.
    pub until: String,
    /// Why.
    pub why: String,
}

/// The whole report. What is unknown is null; no figure is in it that was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "Status of an orchestration")]
pub struct StatusReport {
    /// Version of this shape.
    pub schema_version: u32,
    /// The run.
    pub orchestration_id: String,
    /// Its folder.
    pub folder: String,
    /// When the look was taken, RFC 3339.
    pub taken_at: String,
    /// What the person asked for.
    pub request: Option<String>,
    /// `planned`, `running`, `paused`, `cancelling`, `integrating`, `finished` or `unknown`.
    pub state: String,
    /// How it ended: `success`, `partial`, `unmerged`, `failed` or `cancelled`.
    pub verdict: Option<String>,
    /// Whether something is still to happen.
    pub live: bool,
    /// Whether a conductor is at work.
    pub conductor_alive: bool,
    /// When the run began, RFC 3339.
    pub started_at: Option<String>,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
    /// Seconds from the beginning to the end or to now.
    pub elapsed_seconds: Option<f64>,
    /// Why it is an emergency run; null when it is none.
    pub emergency: Option<EmergencyReport>,
    /// Until when nothing starts because of machine or provider; null when that is not so.
    pub held: Option<HeldReport>,
    /// How many instances machine and provider allow at once; null when it is any number.
    pub allowed_instances: Option<u32>,
    /// What machine and provider hold back, in sentences.
    pub held_back: Vec<String>,
    /// Instances at once.
    pub max_workers: Option<u32>,
    /// Instances at work.
    pub active_instances: usize,
    /// Worktrees that are there.
    pub worktrees: usize,
    /// Percent of the whole: tasks done, and the measured part of those in work.
    pub percent: Option<u8>,
    /// Tasks done.
    pub tasks_done: usize,
    /// Tasks of the plan.
    pub tasks_total: usize,
    /// How long the tasks still take; null when unknown.
    pub time_left_seconds: Option<f64>,
    /// What the time left rests on, or why it is unknown.
    pub time_left_basis: Option<String>,
    /// The phase in work, from 1.
    pub phase: Option<usize>,
    /// Names of the tasks by phase.
    pub phases: Vec<Vec<String>>,
    /// The tasks, in the order of the plan.
    pub tasks: Vec<TaskReport>,
    /// The instances that resolve conflicts between results: none of the plan's tasks, in the
    /// same shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<TaskReport>,
    /// How the last integration ended.
    pub integration: Option<IntegrationResult>,
    /// What is being done with the results; null while nothing is.
    #[serde(default)]
    pub merging: Option<MergingReport>,
    /// Conflicts that instances resolve now.
    #[serde(default)]
    pub resolutions: Vec<ResolutionReport>,
    /// How often the verify command was run on merged commits.
    #[serde(default)]
    pub verify_runs: u32,
    /// Commits on which the verify command gave both answers.
    #[serde(default)]
    pub flaky: Vec<FlakyCheck>,
    /// What wants a person.
    pub issues: Vec<IssueReport>,
    /// Results that would not merge if their tasks ended now; each is an issue as well.
    #[serde(default)]
    pub predicted_conflicts: Vec<ConflictReport>,
    /// What the run may cost; null when nothing is limited.
    #[serde(default)]
    pub budget: Option<BudgetReport>,
    /// What its instances learnt, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<NoteLine>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// What a run may cost, and what of that is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetReport {
    /// US dollars; null when they are not limited.
    pub limit_usd: Option<f64>,
    /// US dollars of ended attempts; of those that could not tell, what they were granted.
    pub spent_usd: f64,
    /// US dollars that attempts in work may spend.
    pub granted_usd: f64,
    /// Tokens; null when they are not limited.
    pub limit_tokens: Option<u64>,
    /// Tokens of ended attempts, as with money.
    pub spent_tokens: u64,
    /// Tokens that attempts in work may use.
    pub granted_tokens: u64,
}

/// What is being done with the results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergingReport {
    /// `merging`, `verifying`, `searching` (for the result that makes the tree red),
    /// `delivering`, `presenting` (on a branch for people) or `resolving`; null while the
    /// queue waits.
    pub state: Option<String>,
    /// The same for people, with the figures.
    pub text: String,
    /// Results that were found good, the delivered ones included.
    pub proven: usize,
    /// Results on the base branch.
    pub delivered: usize,
    /// Results that were set aside.
    pub set_aside: usize,
    /// Tasks of the plan.
    pub total: usize,
    /// The results that it is about: merged, verified or searched.
    pub results: Option<usize>,
    /// The commit that is verified, delivered or presented.
    pub commit: Option<String>,
    /// The run of the verify command on that commit, from 1.
    pub run: Option<u32>,
}

/// A conflict that an instance resolves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolutionReport {
    /// The name of that instance's own task.
    pub resolver: String,
    /// The task whose result is to be merged.
    pub task: String,
    /// The tasks whose changes it meets.
    pub with: Vec<String>,
    /// The paths in conflict.
    pub files: Vec<String>,
}

/// Two tasks whose results would not merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConflictReport {
    /// The two tasks; at least one is in work.
    pub tasks: Vec<String>,
    /// The paths in conflict.
    pub files: Vec<String>,
    /// Since when, RFC 3339.
    pub since: String,
}

/// Why a run is an emergency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmergencyReport {
    /// Names of the tasks of critical priority.
    pub critical: Vec<String>,
    /// Words of the request that tell of an incident.
    pub words: Vec<String>,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    /// Its name.
    pub name: String,
    /// What is to be done.
    pub description: Option<String>,
    /// The subagent that does it.
    pub role: String,
    /// `critical`, `high`, `normal` or `low`.
    pub priority: String,
    /// The GitHub issue that it comes from.
    pub issue_number: Option<u64>,
    /// `waiting`, `ready`, `retry`, `paused`, `starting`, `working`, `stuck`, `lost`, `done`,
    /// `pr-ready`, `failed`, `skipped` or `cancelled`.
    pub state: String,
    /// Why, when it is failed, skipped, stuck or tried again.
    pub reason: Option<String>,
    /// Names of the tasks whose results it needs.
    pub dependencies: Vec<String>,
    /// Names of the tasks that only go before it, as they touch the same files.
    pub runs_after: Vec<String>,
    /// Number of the last attempt; 0 before the first.
    pub attempt: u32,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// Measured percent; null when unknown.
    pub percent: Option<u8>,
    /// Its branch.
    pub branch: Option<String>,
    /// Its worktree.
    pub worktree_path: Option<String>,
    /// Whether the worktree is there.
    pub worktree_exists: bool,
    /// When its first attempt started, RFC 3339.
    pub started_at: Option<String>,
    /// When it came to its end, RFC 3339.
    pub ended_at: Option<String>,
    /// Seconds of its attempts together.
    pub worked_seconds: f64,
    /// Seconds since something was last seen of its instance.
    pub heartbeat_age_seconds: Option<f64>,
    /// Where its result stands; null while it is not done.
    #[serde(default)]
    pub integration: Option<TaskIntegration>,
    /// Whether a supervisor owns its instance right now.
    pub supervisor_alive: bool,
    /// Its status file, as the supervisor wrote it.
    pub instance: Option<StatusFile>,
}

/// Something that wants a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssueReport {
    /// `stuck`, `failed`, `set aside`, `conflict`, `predicted conflict`, `flaky check`, …
    pub kind: String,
    /// The task, when it is about one.
    pub task: Option<String>,
    /// What happened.
    pub what: String,
    /// More about it, a line each: both sides of a conflict, the end of an output.
    #[serde(default)]
    pub details: Vec<String>,
    /// Options that were considered.
    pub options: Vec<String>,
    /// What to do.
    pub remedies: Vec<String>,
}

/// The JSON Schema of the report; that of the instance status file is in it.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(StatusReport).to_value()
}
