//! `results.json`: how a run ended, for tools.

use serde::{Deserialize, Serialize};

use super::status_file::Tokens;
use crate::core::record::{IntegrationEnd, Verdict};

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
}

/// How integration ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationResult {
    /// `delivered`, `reviewable`, `conflict`, `red`, `not-delivered` or `failed`.
    pub end: String,
    /// The merged commit.
    pub commit: Option<String>,
    /// The branch that waits for review.
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
