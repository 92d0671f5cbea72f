//! `history.jsonl`: what became of each attempt and each task of the runs in a repository, a
//! line each. Readers pass over lines that they cannot read, and fields that they do not know.

use serde::{Deserialize, Serialize};

use super::SCHEMA_VERSION;
use crate::core::history::{Fate, Past};
use crate::core::time::{Millis, Timestamp};

/// One line. What was not measured is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryLine {
    /// Version of this shape.
    pub v: u32,
    /// When it ended, milliseconds since 1970.
    pub at: Timestamp,
    /// The run.
    pub run: String,
    /// The task.
    pub task: String,
    /// Number of the attempt; for a task as a whole, how many were made.
    pub attempt: u32,
    /// Whether this is the task as a whole.
    #[serde(default)]
    pub whole: bool,
    /// `claude` or `scripted`.
    #[serde(default)]
    pub agent: String,
    /// What kind of work it was.
    #[serde(default)]
    pub kind: String,
    /// The subagent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The model that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `done`, `failed` or `stopped`.
    pub outcome: String,
    /// The class of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How long it was worked on, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What it cost, US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Tokens of all kinds together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Memory of its processes at the peak, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Time of the CPU, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Files changed since the task's base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_changed: Option<u32>,
    /// Lines added since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_added: Option<u64>,
    /// Lines removed since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_removed: Option<u64>,
}

impl HistoryLine {
    /// What tells one line from another: the same end is never written twice.
    #[must_use]
    pub fn key(&self) -> (String, u32, bool) {
        (self.task.clone(), self.attempt, self.whole)
    }

    /// Sets how it ended.
    #[must_use]
    pub fn ended(mut self, fate: &Fate) -> Self {
        self.v = SCHEMA_VERSION;
        let (outcome, class) = match fate {
            Fate::Done => ("done", None),
            Fate::Failed(class) => ("failed", Some(class.clone())),
            Fate::Stopped => ("stopped", None),
        };
        self.outcome = outcome.to_owned();
        self.class = class;
        self
    }
}

impl From<HistoryLine> for Past {
    fn from(line: HistoryLine) -> Self {
        Self {
            at: line.at,
            run: line.run,
            task: line.task,
            whole: line.whole,
            kind: line.kind,
            model: line.model,
            fate: match (line.outcome.as_str(), line.class) {
                ("done", _) => Fate::Done,
                ("failed", class) => Fate::Failed(class.unwrap_or_else(|| "other".to_owned())),
                _ => Fate::Stopped,
            },
            worked: line.duration_ms.map(Millis),
            usd: line.cost_usd,
            memory: line.peak_memory_bytes,
        }
    }
}
