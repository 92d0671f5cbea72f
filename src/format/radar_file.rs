//! `radar.json`: the conflicts that were predicted in a run, and what the instances were told
//! of them. Its only writer is the conductor.

use serde::{Deserialize, Serialize};

use crate::core::id::TaskName;
use crate::core::time::Timestamp;

/// The file itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RadarFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The conflicts that there are now, in order of their tasks.
    #[serde(default)]
    pub conflicts: Vec<PredictedConflict>,
    /// What was said, so that it is not said again by the next conductor.
    #[serde(default)]
    pub told: Vec<Told>,
}

/// Two tasks whose results would not merge if they ended now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PredictedConflict {
    /// The two tasks; at least one is in work.
    pub tasks: (TaskName, TaskName),
    /// The paths in conflict.
    pub files: Vec<String>,
    /// Since when, milliseconds of the epoch.
    pub since: Timestamp,
}

/// What one instance was told about another task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// The task whose instance was told.
    pub to: TaskName,
    /// The other task.
    pub about: TaskName,
    /// All files that were named.
    pub files: Vec<String>,
    /// How often it was told.
    pub times: u32,
    /// When it was told last, milliseconds of the epoch.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_kept() {
        let text = r#"{"schemaVersion":1,"conflicts":[{"tasks":["a","b"],"files":["x"],"since":5}],
            "told":[{"to":"a","about":"b","files":["x"],"times":1,"at":6}],"newer":true}"#;
        let file: RadarFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.conflicts[0].since, Timestamp(5));
        let mut written = serde_json::to_value(&file).unwrap();
        written["newer"] = true.into();
        let read: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(written, read);
    }
}
