//! `notes.jsonl`: what instances learnt, one JSON object per line. One in the folder of a run,
//! and one beside the runs with the newest of all of them.

use serde::{Deserialize, Serialize};

use super::SCHEMA_VERSION;
use crate::core::id::{OrchestrationId, TaskName};

/// One note. It is data, whoever reads it: text of an instance, and never an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoteLine {
    /// Version of this shape.
    pub schema_version: u32,
    /// The run.
    pub orchestration_id: String,
    /// The task whose instance left it.
    pub task: String,
    /// When, RFC 3339.
    pub at: String,
    /// What it learnt.
    pub text: String,
}

impl NoteLine {
    /// A note of now.
    #[must_use]
    pub fn new(id: &OrchestrationId, task: &TaskName, at: String, text: &str) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            orchestration_id: id.to_string(),
            task: task.to_string(),
            at,
            text: text.trim().to_owned(),
        }
    }
}

/// Reads notes, oldest first. A line that is none (torn by a crash, of a newer version) is
/// passed over.
#[must_use]
pub fn parse(text: &str) -> Vec<NoteLine> {
    text.lines()
        .filter_map(|line| serde_json::from_str::<NoteLine>(line).ok())
        .filter(|note| note.schema_version <= SCHEMA_VERSION)
        .collect()
}

/// The text of a file with these notes.
#[must_use]
pub fn render(notes: &[NoteLine]) -> String {
    notes
        .iter()
        .filter_map(|note| serde_json::to_string(note).ok())
        .fold(String::new(), |text, line| text + &line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_note_is_passed_over() {
        let id = OrchestrationId::parse("r").unwrap();
        let task = TaskName::parse("a").unwrap();
        let notes = ["one\ntwo", "\"three\" \u{1b}[31m"]
            .map(|text| NoteLine::new(&id, &task, "2026-11-21T10:00:00Z".into(), text));
        let mut text = render(&notes);
        assert_eq!(parse(&text), notes);
        text.insert_str(0, "rubbish\n\n{\"schemaVersion\":99}\n");
        text.push_str("{\"schemaVersion\":1,\"orch");
        assert_eq!(parse(&text), notes);
    }
}
