//! Progress as the instance's own todo items tell it, whichever of the client's two todo
//! tools it uses. A call counts once its result says that it worked.

use std::collections::HashMap;

use serde_json::Value;

use super::beat_file::TodoCall;
use crate::format::claude_stream::{ToolResult, ToolUse, one_line};
use crate::format::status_file::{Progress, TodoItem};

/// Longest text of an item that is kept, characters.
const ITEM_LENGTH: usize = 200;

/// More items than this are not kept; a runaway list must not fill status files.
const MAX_ITEMS: usize = 200;

/// The instance's todo items so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Todos {
    /// In the order in which they were made, with the client's ids.
    items: Vec<(String, TodoItem)>,
    /// Calls without a result yet, by their id.
    open: HashMap<String, Call>,
}

#[derive(Debug, Clone)]
enum Call {
    Create(String),
    Update {
        id: String,
        state: Option<String>,
        text: Option<String>,
    },
    Replace(Vec<TodoItem>),
}

impl Todos {
    /// Items that an earlier attempt left, so that a resumed session goes on with them. The
    /// client counts ids from 1 in the order in which items were made.
    pub(crate) fn resumed(items: &[TodoItem]) -> Self {
        Self {
            items: items
                .iter()
                .enumerate()
                .map(|(at, item)| ((at + 1).to_string(), item.clone()))
                .collect(),
            open: HashMap::new(),
        }
    }

    /// A tool was called.
    pub(crate) fn called(&mut self, call: &ToolUse) {
        let field = |name: &str| call.input.get(name).and_then(Value::as_str);
        let parsed = match call.name.as_str() {
            "TaskCreate" => field("subject").map(|text| Call::Create(short(text))),
            "TaskUpdate" => call.input.get("taskId").map(|id| Call::Update {
                id: id.as_str().map_or_else(|| id.to_string(), str::to_owned),
                state: field("status").map(str::to_owned),
                text: field("subject").map(short),
            }),
            "TodoWrite" => call
                .input
                .get("todos")
                .and_then(Value::as_array)
                .map(|todos| Call::Replace(todos.iter().filter_map(item).collect())),
            _ => None,
        };
        if let Some(parsed) = parsed
            && self.open.len() < MAX_ITEMS
        {
            self.open.insert(call.id.clone(), parsed);
        }
    }

    /// A tool answered. Returns whether an item changed.
    pub(crate) fn answered(&mut self, result: &ToolResult) -> bool {
        let Some(call) = self.open.remove(&result.tool_use_id) else {
            return false;
        };
        if result.is_error {
            return false;
        }
        match call {
            Call::Create(text) => {
                let id = result
                    .created_task
                    .clone()
                    .unwrap_or_else(|| (self.items.len() + 1).to_string());
                let state = "pending".to_owned();
                self.items.retain(|(known, _)| *known != id);
                if self.items.len() < MAX_ITEMS {
                    self.items.push((id, TodoItem { text, state }));
                }
            }
            Call::Update { id, state, text } => {
                if state.as_deref() == Some("deleted") {
                    self.items.retain(|(known, _)| *known != id);
                } else if let Some((_, item)) = self.items.iter_mut().find(|(k, _)| *k == id) {
                    item.state = state.unwrap_or_else(|| item.state.clone());
                    item.text = text.unwrap_or_else(|| item.text.clone());
                } else {
                    return false;
                }
            }
            Call::Replace(items) => {
                self.items = items
                    .into_iter()
                    .take(MAX_ITEMS)
                    .enumerate()
                    .map(|(at, item)| ((at + 1).to_string(), item))
                    .collect();
            }
        }
        true
    }

    /// A hook told of a call that worked. Returns whether an item changed.
    pub(crate) fn beat(&mut self, tool: &str, call: &TodoCall) -> bool {
        let id = "beat".to_owned();
        self.called(&ToolUse {
            id: id.clone(),
            name: tool.to_owned(),
            input: call.input.clone(),
        });
        self.answered(&ToolResult {
            tool_use_id: id,
            is_error: false,
            created_task: call.created.clone(),
            text: String::new(),
        })
    }

    /// What the status file says.
    pub(crate) fn progress(&self) -> Progress {
        if self.items.is_empty() {
            return Progress::default();
        }
        let items: Vec<TodoItem> = self.items.iter().map(|(_, item)| item.clone()).collect();
        let done = items.iter().filter(|i| i.state == "completed").count();
        let count = |n: usize| u32::try_from(n).ok();
        Progress {
            said: None,
            done: count(done),
            total: count(items.len()),
            percent: u8::try_from(done * 100 / items.len()).ok(),
            current: items
                .iter()
                .find(|i| i.state == "in_progress")
                .map(|i| i.text.clone()),
            items,
        }
    }
}

fn item(value: &Value) -> Option<TodoItem> {
    Some(TodoItem {
        text: short(value.get("content")?.as_str()?),
        state: value.get("status")?.as_str()?.to_owned(),
    })
}

fn short(text: &str) -> String {
    one_line(text, ITEM_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(id: &str, name: &str, input: Value) -> ToolUse {
        ToolUse {
            id: id.into(),
            name: name.into(),
            input,
        }
    }

    fn answer(id: &str, created: Option<&str>, is_error: bool) -> ToolResult {
        ToolResult {
            tool_use_id: id.into(),
            is_error,
            created_task: created.map(str::to_owned),
            text: String::new(),
        }
    }

    #[test]
    fn created_and_updated_items_are_counted_once_they_worked() {
        let mut todos = Todos::default();
        assert_eq!(todos.progress(), Progress::default());
        for (id, text) in [("1", "Write it"), ("2", "Test it"), ("3", "Drop it")] {
            todos.called(&call(id, "TaskCreate", json!({"subject": text})));
            assert!(todos.answered(&answer(id, Some(id), false)));
        }
        for (call_id, item, state) in [
            ("4", "1", "completed"),
            ("5", "2", "in_progress"),
            ("6", "3", "deleted"),
        ] {
            let input = json!({"taskId": item, "status": state});
            todos.called(&call(call_id, "TaskUpdate", input));
            assert!(todos.answered(&answer(call_id, None, false)));
        }
        // One that the client refused, and one that was never called.
        todos.called(&call(
            "7",
            "TaskUpdate",
            json!({"taskId": "2", "status": "completed"}),
        ));
        assert!(!todos.answered(&answer("7", None, true)));
        assert!(!todos.answered(&answer("8", None, false)));
        let progress = todos.progress();
        assert_eq!((progress.done, progress.total), (Some(1), Some(2)));
        assert_eq!(progress.percent, Some(50));
        assert_eq!(progress.current.as_deref(), Some("Test it"));
    }

    #[test]
    fn a_written_list_replaces_the_one_before() {
        let mut todos = Todos::resumed(&[TodoItem {
            text: "old".into(),
            state: "completed".into(),
        }]);
        assert_eq!(todos.progress().percent, Some(100));
        let list = json!({"todos": [
            {"content": "a", "status": "completed"}, {"content": "b", "status": "pending"},
            {"content": 7}, null]});
        todos.called(&call("1", "TodoWrite", list));
        assert!(todos.answered(&answer("1", None, false)));
        assert_eq!(todos.progress().total, Some(2));
        assert_eq!(todos.progress().current, None);
    }
}
