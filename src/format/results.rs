//! `results.json`: how a run ended, for tools.

use serde::{Deserialize, Serialize};

use super::status_file::Tokens;
use crate::core::id::TaskName;
use crate::core::record::{AsideWhy, IntegrationEnd, Verdict};

/// The file itself. What is unknown is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "Results of an orchestration")]
pub struct ResultsFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The run.
    pub orchestration_id: String,
    /// What the person asked for.
    pub request: Option<String>,
    /// How it ended: `success`, `partial`, `unmerged`, `failed` or `cancelled`; null while it runs.
    #[schemars(with = "Option<String>")]
    pub verdict: Option<Verdict>,
    /// Whether it ended well: every task done, or enough of them, and delivered as far as asked.
    pub success: bool,
    /// The branch that results are delivered to.
    pub base_branch: Option<String>,
    /// Its tip when the run began.
    pub base_commit: Option<String>,
    /// Its tip after the delivery; null when nothing was delivered.
    pub delivered_commit: Option<String>,
    /// Whether the merged tree was verified; null when nothing was merged.
    pub verified: Option<bool>,
    /// When the run began, RFC 3339.
    pub started_at: Option<String>,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
    /// Seconds from the beginning to the end.
    pub duration_seconds: Option<f64>,
    /// Seconds of all attempts at all tasks together.
    pub task_seconds: f64,
    /// `taskSeconds` against `durationSeconds`: how many times faster than one after the
    /// other; null when nothing was measured.
    pub speed_up: Option<f64>,
    /// Sums over the tasks.
    pub totals: ResultTotals,
    /// The tasks, in the order of the plan.
    pub tasks: Vec<TaskResult>,
    /// How integration ended; null when there was none.
    pub integration: Option<IntegrationResult>,
    /// How often the verify command was run on merged commits.
    #[serde(default)]
    pub verify_runs: u32,
    /// Commits on which the verify command gave both answers.
    #[serde(default)]
    pub flaky: Vec<FlakyCheck>,
    /// What is left to be done, for people.
    pub follow_ups: Vec<String>,
}

/// Sums over the tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultTotals {
    /// Tasks of the plan.
    pub tasks: usize,
    /// Tasks done.
    pub done: usize,
    /// Tasks given up.
    pub failed: usize,
    /// Tasks not tried because of others.
    pub skipped: usize,
    /// Tasks taken out on request.
    pub cancelled: usize,
    /// Done tasks against all, 0 to 1.
    pub success_rate: f64,
    /// Files changed by tasks; one that two tasks changed counts twice.
    pub files_modified: Option<u64>,
    /// Lines added by tasks.
    pub lines_added: Option<u64>,
    /// Lines removed by tasks.
    pub lines_removed: Option<u64>,
    /// Money spent, US dollars.
    pub cost_usd: Option<f64>,
    /// Tokens used.
    pub tokens: Option<Tokens>,
}

/// Where a task stands at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Not at its end yet.
    Open,
    /// Done.
    Done,
    /// Given up.
    Failed,
    /// Not tried because of another task.
    Skipped,
    /// Taken out on request.
    Cancelled,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskResult {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// Its branch.
    pub branch: Option<String>,
    /// The verified tip of its branch.
    pub commit: Option<String>,
    /// Attempts made.
    pub attempts: u32,
    /// When its first attempt started, RFC 3339.
    pub started_at: Option<String>,
    /// When it came to its end, RFC 3339.
    pub ended_at: Option<String>,
    /// Seconds of its attempts together.
    pub duration_seconds: f64,
    /// Files changed.
    pub files_changed: Option<u32>,
    /// Lines added.
    pub lines_added: Option<u64>,
    /// Lines removed.
    pub lines_removed: Option<u64>,
    /// Money spent, US dollars.
    pub cost_usd: Option<f64>,
    /// Why it is not done.
    pub error: Option<String>,
    /// What the instance said about its work.
    pub summary: Option<String>,
    /// Names of the tasks whose results it needs.
    pub dependencies: Vec<String>,
    /// The GitHub issue that it comes from.
    pub issue_number: Option<u64>,
    /// Its pull request.
    pub pull_request_url: Option<String>,
    /// Where its result stands; null while it is not done.
    #[serde(default)]
    pub integration: Option<TaskIntegration>,
}

/// Where the result of a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskIntegration {
    /// `delivered`, `proven` (merged and found good), `merged` (not proven yet), `resolving`
    /// (an instance resolves its conflict), `set-aside`, or `not-delivered` for none of these.
    pub state: String,
    /// The commit that holds it and all that was merged before it; null while it is in none.
    pub commit: Option<String>,
    /// Why it is not delivered with the others; null unless it was set aside.
    pub set_aside: Option<SetAside>,
    /// Conflicts that were settled without a person or a model on the way to `commit`.
    pub settled: Vec<Settled>,
}

/// Why a result is not delivered with the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetAside {
    /// `red` (the verify command fails with it), `conflict` (it does not merge) or `because`
    /// (it builds on one that was set aside).
    pub why: String,
    /// The paths in conflict.
    pub files: Vec<String>,
    /// The tasks with which it is red or in conflict, or on which it builds.
    pub with: Vec<String>,
    /// The merged commit that is red.
    pub commit: Option<String>,
    /// The end of what the verify command printed, or what became of the instance that was to
    /// resolve the conflict.
    pub evidence: Option<String>,
}

impl From<&AsideWhy> for SetAside {
    fn from(why: &AsideWhy) -> Self {
        let names = |tasks: &[TaskName]| tasks.iter().map(ToString::to_string).collect();
        match why {
            AsideWhy::Red { commit, tail, with } => Self {
                why: "red".to_owned(),
                files: Vec::new(),
                with: names(with),
                commit: Some(commit.to_string()),
                evidence: Some(tail.clone()).filter(|tail| !tail.is_empty()),
            },
            AsideWhy::Conflict {
                files,
                with,
                detail,
            } => Self {
                why: "conflict".to_owned(),
                files: files.clone(),
                with: names(with),
                commit: None,
                evidence: detail.clone(),
            },
            AsideWhy::Because { task } => Self {
                why: "because".to_owned(),
                files: Vec::new(),
                with: names(std::slice::from_ref(task)),
                commit: None,
                evidence: None,
            },
        }
    }
}

/// A conflicting file that was settled without a person or a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// Its path from the top folder.
    pub path: String,
    /// What settled it, as `union` or `rerere`.
    pub by: String,
}

/// A commit on which the verify command gave both answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlakyCheck {
    /// The commit.
    pub commit: String,
    /// How often the command succeeded.
    pub green: u32,
    /// How often it failed.
    pub red: u32,
}

/// How integration ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationResult {
    /// `delivered`, `reviewable`, `conflict`, `red`, `not-delivered` or `failed`.
    pub end: String,
    /// The merged commit.
    pub commit: Option<String>,
    /// The branch that waits for review, or for the rest of the results.
    pub branch: Option<String>,
    /// Whether the merged tree was verified.
    pub verified: Option<bool>,
    /// The task that does not merge.
    pub task: Option<String>,
    /// The paths in conflict.
    pub files: Vec<String>,
    /// What happened, for people.
    pub detail: Option<String>,
}

impl IntegrationResult {
    fn named(end: &str) -> Self {
        Self {
            end: end.to_owned(),
            commit: None,
            branch: None,
            verified: None,
            task: None,
            files: Vec::new(),
            detail: None,
        }
    }
}

impl From<&IntegrationEnd> for IntegrationResult {
    fn from(end: &IntegrationEnd) -> Self {
        match end {
            IntegrationEnd::Delivered { to, verified, .. } => Self {
                commit: Some(to.to_string()),
                verified: Some(*verified),
                ..Self::named("delivered")
            },
            IntegrationEnd::Reviewable {
                branch,
                commit,
                verified,
            } => Self {
                commit: Some(commit.to_string()),
                branch: Some(branch.to_string()),
                verified: Some(*verified),
                ..Self::named("reviewable")
            },
            IntegrationEnd::Conflict { task, files } => Self {
                task: Some(task.to_string()),
                files: files.clone(),
                ..Self::named("conflict")
            },
            IntegrationEnd::Red { commit, tail } => Self {
                commit: Some(commit.to_string()),
                verified: Some(false),
                detail: Some(tail.clone()),
                ..Self::named("red")
            },
            IntegrationEnd::NotDelivered { commit, detail } => Self {
                commit: Some(commit.to_string()),
                detail: Some(detail.clone()),
                ..Self::named("not-delivered")
            },
            IntegrationEnd::Failed { detail } => Self {
                detail: Some(detail.clone()),
                ..Self::named("failed")
            },
        }
    }
}

/// The JSON Schema of the file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(ResultsFile).to_value()
}
