//! The written shape of a plan, and the JSON Schemas that are made of it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use super::SCHEMA_VERSION;
use crate::core::plan::{Plan, Priority, TaskKind, ValidPlan};

/// A plan of Orchestra: tasks that are worked on in parallel, each in a git worktree of
/// its own, in the order that their dependencies ask for.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Orchestra plan")]
pub(super) struct PlanShape {
    /// The version of this format.
    #[serde(rename = "schemaVersion")]
    #[schemars(schema_with = "version", default)]
    schema_version: u32,
    /// What the person asked for, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// The tasks.
    #[schemars(length(min = 1))]
    tasks: Vec<TaskShape>,
    /// Pairs of tasks that do not run at the same time because they expect to touch the
    /// same files. Found by Orchestra; need not be written by hand.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    sequenced: Vec<SequenceShape>,
}

/// One task: what one Claude Code instance does in one worktree.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TaskShape {
    /// A short unique name of letters, digits, '-', '_' and '.'; part of the task's branch
    /// and worktree.
    #[schemars(length(min = 1, max = 80))]
    name: String,
    /// What is to be done, in a sentence or two.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The whole instruction for the instance; without one the description is it.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    /// What kind of work it is: feature, bugfix, documentation, testing, refactoring,
    /// investigation, or another plain word.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The subagent that does it, when not the one of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    subagent: Option<String>,
    /// Names of the tasks whose results it needs. It starts when they are finished.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    dependencies: Vec<String>,
    /// How urgent it is.
    #[schemars(schema_with = "priority", default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
    /// Globs of the files that it expects to touch, relative to the root of the repository.
    /// Tasks that would touch the same ones do not run at the same time.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    files: Vec<String>,
    /// How one sees that it is done, one criterion per entry.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    success_criteria: Vec<String>,
    /// The tools it may use, one rule per entry, such as "Edit" or "Bash(git add *)".
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_tools: Option<Vec<String>>,
    /// The branch that it starts from, when not the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_branch: Option<String>,
    /// The model that works on it, when not the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Longest run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    timeout_seconds: Option<u32>,
    /// Most money that it may cost, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    max_budget_usd: Option<f64>,
    /// How often it may be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    max_attempts: Option<u32>,
    /// How long it probably takes, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 43_200))]
    estimated_minutes: Option<u32>,
    /// The GitHub issue that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    issue_number: Option<u64>,
}

/// Two tasks that do not run at the same time.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SequenceShape {
    /// The name of the task that goes first.
    before: String,
    /// The name of the task that waits for it.
    after: String,
    /// Overlapping globs, the first task's and the second's.
    #[serde(default)]
    because: Vec<(String, String)>,
}

fn version(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "const": SCHEMA_VERSION })
}

fn priority(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": Priority::ALL.map(Priority::as_str) })
}

impl From<&ValidPlan> for PlanShape {
    fn from(plan: &ValidPlan) -> Self {
        let drafts = Plan::from(plan);
        Self {
            schema_version: SCHEMA_VERSION,
            request: drafts.request,
            tasks: drafts
                .tasks
                .into_iter()
                .zip(plan.tasks())
                .map(|(draft, task)| TaskShape {
                    name: draft.name,
                    description: draft.description,
                    prompt: draft.prompt,
                    kind: draft.kind,
                    subagent: draft.subagent,
                    dependencies: draft.dependencies,
                    priority: draft.priority,
                    files: draft.files,
                    success_criteria: draft.success_criteria,
                    allowed_tools: draft.allowed_tools,
                    base_branch: draft.base_branch,
                    model: draft.model,
                    timeout_seconds: task.timeout_seconds,
                    max_budget_usd: task.max_budget_usd,
                    max_attempts: task.max_attempts,
                    estimated_minutes: task.estimated_minutes,
                    issue_number: task.issue_number,
                })
                .collect(),
            sequenced: drafts
                .sequenced
                .into_iter()
                .map(|edge| SequenceShape {
                    before: edge.before,
                    after: edge.after,
                    because: edge.because,
                })
                .collect(),
        }
    }
}

/// The JSON Schema (draft 2020-12) of a plan file.
pub(super) fn json_schema() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<PlanShape>()
        .to_value()
}

/// What a model is asked for: only what it can know, everything else is the person's.
#[cfg(test)]
pub(super) const ANALYZER_FIELDS: &[&str] = &[
    "name",
    "description",
    "prompt",
    "type",
    "dependencies",
    "priority",
    "files",
    "success_criteria",
    "estimated_minutes",
];

/// The smaller schema for a plan that a model writes: one level, no references, every
/// word of a closed list spelled out.
pub(super) fn analyzer_schema() -> Value {
    let texts = |about: &str| json!({ "type": "array", "items": { "type": "string" }, "description": about });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["request", "tasks"],
        "properties": {
            "request": { "type": "string", "description": "What the person asked for, in their words." },
            "tasks": {
                "type": "array",
                "minItems": 1,
                "description": "As few tasks as the request needs, each of which can be worked on and tested by itself.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "description", "prompt", "type", "dependencies", "files", "success_criteria"],
                    "properties": {
                        "name": {
                            "type": "string",
                            "pattern": "^[A-Za-z0-9]([A-Za-z0-9_-]{0,48}[A-Za-z0-9])?$",
                            "description": "Short and unique: lower-case letters, digits and '-'."
                        },
                        "description": { "type": "string", "description": "What is to be done, in a sentence or two." },
                        "prompt": {
                            "type": "string",
                            "description": "The whole instruction for somebody who sees nothing but this and the repository."
                        },
                        "type": { "type": "string", "enum": TaskKind::KNOWN.map(|kind| kind.to_string()) },
                        "dependencies": texts(
                            "Names of the tasks whose results it needs. Only real needs: everything else runs in parallel."
                        ),
                        "priority": { "type": "string", "enum": Priority::ALL.map(Priority::as_str) },
                        "files": texts(
                            "Globs of the files it will touch, relative to the root of the repository. Tasks that share files are run one after the other."
                        ),
                        "success_criteria": texts("How one sees that it is done, one criterion per entry."),
                        "estimated_minutes": { "type": "integer", "minimum": 1, "maximum": 43_200 }
                    }
                }
            }
        }
    })
}
