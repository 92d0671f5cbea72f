//! `instance-TASK.beat`: what the hooks tell of an instance that a person talks to, a JSON
//! object per line. Lines are only ever added, each in one write, by any number of hooks; when
//! the file has grown too long it begins anew.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::announcement_file::ProcessName;

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BeatLine {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// Claude Code's name of the event; `StatusLine` when the client asked for its status line.
    pub event: String,
    /// The tool that was used.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tool: String,
    /// What it was used on, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The session.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// The session's file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transcript: String,
    /// The call of a todo tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<TodoCall>,
    /// The last text of a turn that ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// Why a session ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the whole session cost so far, US dollars, as the client says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// The client of a session that somebody opened by hand; of one that has a supervisor, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ProcessName>,
    /// What is missing, for people: the end of the turn was sent back.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sent_back: String,
}

/// A call of one of the client's todo tools, which worked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TodoCall {
    /// Its input.
    pub input: Value,
    /// The id of the item that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// Lines of a file; what is no such line is passed over.
pub fn lines(text: &str) -> impl DoubleEndedIterator<Item = BeatLine> + '_ {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_and_lines_of_others_are_passed_over() {
        let text = "{\"at\":1,\"tool\":\"Bash\"}\n{\"at\":2,\"ev\n7\n{\"at\":3,\"new\":[]}\n";
        let at: Vec<i64> = lines(text).map(|line| line.at).collect();
        assert_eq!(at, [1, 3]);
        let full = BeatLine {
            at: 5,
            event: "PostToolUse".into(),
            usd: Some(0.5),
            todo: Some(TodoCall::default()),
            ..BeatLine::default()
        };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(lines(&text).collect::<Vec<_>>(), [full]);
    }
}
