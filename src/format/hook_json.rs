//! What hooks are given on standard input: Claude Code's own events, and the documents of
//! scripts.
//!
//! The events are somebody else's format and are read tolerantly: unknown fields and events
//! pass. The documents are our own contract and are read strictly: what is missing or has
//! the wrong type is named.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::core::id::{OrchestrationId, TaskName};

/// Longest input of a hook that is read, in bytes.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// Longest request that is taken in, in bytes.
pub const MAX_REQUEST: usize = 200_000;

/// An event of Claude Code; what an event does not have is empty.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HookEvent {
    /// `PreToolUse`, `UserPromptExpansion`, …
    #[serde(deserialize_with = "lenient")]
    pub hook_event_name: String,
    /// The session.
    #[serde(deserialize_with = "lenient")]
    pub session_id: String,
    /// Where the session's shell stands.
    #[serde(deserialize_with = "lenient")]
    pub cwd: String,
    /// The client's own record of the session.
    #[serde(deserialize_with = "lenient")]
    pub transcript_path: String,
    /// How a session began: `startup`, `resume`, `clear`, `compact`.
    #[serde(deserialize_with = "lenient")]
    pub source: String,
    /// `default`, `plan`, `auto`, …
    #[serde(deserialize_with = "lenient")]
    pub permission_mode: String,
    /// The tool that is about to be used, or was.
    #[serde(deserialize_with = "lenient")]
    pub tool_name: String,
    /// Its input.
    pub tool_input: Value,
    /// The slash command, with its plugin: `orchestra:parallel-dev`.
    #[serde(deserialize_with = "lenient")]
    pub command_name: String,
    /// What was typed after it, byte for byte but for blanks at both ends.
    #[serde(deserialize_with = "lenient")]
    pub command_args: String,
    /// What a tool answered.
    pub tool_response: Value,
    /// The last text of a turn that ended.
    #[serde(deserialize_with = "lenient")]
    pub last_assistant_message: String,
    /// Why a session ended.
    #[serde(deserialize_with = "lenient")]
    pub reason: String,
    /// Commands that go on in the background when a turn ends.
    pub background_tasks: Value,
    /// What is typed; what the client tells the model of a command in the background begins
    /// with `<task-notification>`.
    #[serde(deserialize_with = "lenient")]
    pub prompt: String,
    /// What the session costs, for its status line.
    pub cost: Value,
}

/// A text; anything else counts as an empty one.
fn lenient<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        _ => String::new(),
    })
}

impl HookEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// One line that says what is wrong with the text.
    pub fn parse(bytes: &[u8]) -> Result<Self, InputFault> {
        serde_json::from_slice(bytes).map_err(|e| InputFault::NotJson(e.to_string()))
    }

    /// The slash command without its plugin, when it is one of this plugin's.
    #[must_use]
    pub fn own_command(&self) -> Option<&str> {
        if self.hook_event_name != "UserPromptExpansion" {
            return None;
        }
        match self.command_name.split_once(':') {
            Some(("orchestra", name)) => Some(name),
            Some(_) => None,
            None => Some(&self.command_name),
        }
    }

    /// A text of the tool's input.
    #[must_use]
    pub fn input_text(&self, field: &str) -> Option<&str> {
        self.tool_input.get(field)?.as_str()
    }
}

/// What is wrong with a hook's input. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum InputFault {
    #[error("the input is empty; a JSON document is expected on standard input")]
    Empty,
    #[error("the input is longer than {MAX_DOCUMENT} bytes; nothing was read of it")]
    TooLong,
    #[error("the input is not JSON: {0}")]
    NotJson(String),
    #[error("the input is {0}; a JSON object is expected")]
    NotAnObject(&'static str),
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    #[error("the field `{field}` is {found}; {wanted} is expected")]
    Kind {
        field: &'static str,
        found: &'static str,
        wanted: &'static str,
    },
    #[error("the field `{field}` ({text}) is not usable: {why}")]
    Unusable {
        field: &'static str,
        text: String,
        why: String,
    },
}

/// A hook's input: one of the two things that it may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<D> {
    /// Claude Code's own.
    Event(Box<HookEvent>),
    /// A script's.
    Script(D),
}

/// A document that a script may give to a hook.
pub trait ScriptDocument: Sized {
    /// Reads it from the fields of a JSON object.
    ///
    /// # Errors
    /// The first fault.
    fn read(fields: &Fields) -> Result<Self, InputFault>;
}

/// Reads the input of a hook that also takes a script's document.
///
/// # Errors
/// What is wrong with it.
pub fn parse<D: ScriptDocument>(bytes: &[u8]) -> Result<Input<D>, InputFault> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(InputFault::TooLong);
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(InputFault::Empty);
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| InputFault::NotJson(e.to_string()))?;
    let Value::Object(fields) = value else {
        return Err(InputFault::NotAnObject(kind(&value)));
    };
    if fields.contains_key("hook_event_name") {
        return HookEvent::deserialize(Value::Object(fields))
            .map(|event| Input::Event(Box::new(event)))
            .map_err(|e| InputFault::NotJson(e.to_string()));
    }
    D::read(&Fields(fields)).map(Input::Script)
}

/// The fields of a document.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, field: &'static str) -> Result<&Value, InputFault> {
        match self.0.get(field) {
            None | Some(Value::Null) => Err(InputFault::Missing(field)),
            Some(value) => Ok(value),
        }
    }

    fn text(&self, field: &'static str) -> Result<&str, InputFault> {
        let value = self.get(field)?;
        value.as_str().ok_or_else(|| InputFault::Kind {
            field,
            found: kind(value),
            wanted: "a text",
        })
    }

    fn id(&self, field: &'static str) -> Result<OrchestrationId, InputFault> {
        let text = self.text(field)?;
        OrchestrationId::parse(text).map_err(|e| unusable(field, text, e.to_string()))
    }
}

fn unusable(field: &'static str, text: &str, why: String) -> InputFault {
    let short: String = text.chars().take(60).collect();
    InputFault::Unusable {
        field,
        text: format!("{short:?}"),
        why,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// For `orchestration-start`: `{user_request, orchestration_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartDocument {
    /// What is asked for, byte for byte.
    pub user_request: String,
    /// The new orchestration.
    pub orchestration_id: OrchestrationId,
}

impl ScriptDocument for StartDocument {
    fn read(fields: &Fields) -> Result<Self, InputFault> {
        let request = fields.text("user_request")?;
        if request.trim().is_empty() {
            let why = "it is empty".to_owned();
            return Err(unusable("user_request", request, why));
        }
        if request.len() > MAX_REQUEST {
            let why = format!("it is longer than {MAX_REQUEST} bytes");
            return Err(unusable("user_request", request, why));
        }
        if request.contains('\0') {
            let why = "it holds a NUL character".to_owned();
            return Err(unusable("user_request", request, why));
        }
        Ok(Self {
            user_request: request.to_owned(),
            orchestration_id: fields.id("orchestration_id")?,
        })
    }
}

/// For `instance-complete`: `{orchestration_id, instance_id, worktree_path, result}`.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceDocument {
    /// The orchestration.
    pub orchestration_id: OrchestrationId,
    /// The task; `ORCHESTRATION/TASK`, as in status files, is understood too.
    pub instance: TaskName,
    /// Where it worked.
    pub worktree_path: PathBuf,
    /// What it says of its result.
    pub result: Value,
}

impl ScriptDocument for InstanceDocument {
    fn read(fields: &Fields) -> Result<Self, InputFault> {
        let orchestration_id = fields.id("orchestration_id")?;
        let text = fields.text("instance_id")?;
        let name = text
            .strip_prefix(orchestration_id.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(text);
        let instance =
            TaskName::parse(name).map_err(|e| unusable("instance_id", text, e.to_string()))?;
        let path = fields.text("worktree_path")?;
        if path.is_empty() || path.chars().any(char::is_control) {
            let why = "it is empty or holds a control character".to_owned();
            return Err(unusable("worktree_path", path, why));
        }
        Ok(Self {
            orchestration_id,
            instance,
            worktree_path: path.into(),
            result: fields.get("result")?.clone(),
        })
    }
}

/// For `integration-complete`: `{orchestration_id, integration_result, success}`.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationDocument {
    /// The orchestration.
    pub orchestration_id: OrchestrationId,
    /// What came of it: a text, or an object.
    pub integration_result: Value,
    /// Whether it went well.
    pub success: bool,
}

impl ScriptDocument for IntegrationDocument {
    fn read(fields: &Fields) -> Result<Self, InputFault> {
        let success = fields.get("success")?;
        Ok(Self {
            orchestration_id: fields.id("orchestration_id")?,
            integration_result: fields.get("integration_result")?.clone(),
            success: success.as_bool().ok_or_else(|| InputFault::Kind {
                field: "success",
                found: kind(success),
                wanted: "true or false",
            })?,
        })
    }
}

/// Whether a `result` of a script speaks of failure.
#[must_use]
pub fn tells_failure(result: &Value) -> bool {
    match result {
        Value::Bool(good) => !good,
        Value::String(text) => {
            let text = text.trim().to_ascii_lowercase();
            ["fail", "error", "cancel", "abort"]
                .iter()
                .any(|word| text.starts_with(word))
        }
        Value::Object(fields) => ["success", "status", "result"]
            .iter()
            .find_map(|field| fields.get(*field))
            .is_some_and(tells_failure),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn start(value: &Value) -> Result<Input<StartDocument>, InputFault> {
        parse(value.to_string().as_bytes())
    }

    #[test]
    fn the_documents_of_scripts_are_read() {
        let Input::Script(start) =
            start(&json!({"user_request": "Add \"x\"\n", "orchestration_id": "orch-1"})).unwrap()
        else {
            panic!("a script's document")
        };
        assert_eq!(start.user_request, "Add \"x\"\n");
        let text = json!({"orchestration_id": "o", "instance_id": "o/auth",
            "worktree_path": "/w/auth", "result": {"status": "success"}, "more": 1});
        let Ok(Input::Script(done)) = parse::<InstanceDocument>(text.to_string().as_bytes()) else {
            panic!("a script's document")
        };
        assert_eq!(done.instance.as_str(), "auth");
        let text = json!({"orchestration_id": "o", "integration_result": "ok", "success": false});
        let Ok(Input::Script(end)) = parse::<IntegrationDocument>(text.to_string().as_bytes())
        else {
            panic!("a script's document")
        };
        assert!(!end.success);
    }

    #[test]
    fn bad_documents_are_named_in_one_line() {
        for (text, said) in [
            ("", "empty"),
            (" \n", "empty"),
            ("{", "not JSON"),
            ("[1]", "a list"),
            ("\"x\"", "a text"),
            ("{}", "`user_request` is missing"),
            (r#"{"user_request":"x"}"#, "`orchestration_id` is missing"),
            (r#"{"user_request":null,"orchestration_id":"a"}"#, "missing"),
            (
                r#"{"user_request":7,"orchestration_id":"a"}"#,
                "is a number",
            ),
            (r#"{"user_request":"x","orchestration_id":{}}"#, "an object"),
            (r#"{"user_request":" ","orchestration_id":"a"}"#, "empty"),
            (
                r#"{"user_request":"x","orchestration_id":"../x"}"#,
                "usable",
            ),
            (
                r#"{"user_request":"x","orchestration_id":"/etc"}"#,
                "usable",
            ),
            (
                r#"{"user_request":"x","orchestration_id":"a\u0000b"}"#,
                "control",
            ),
            (
                r#"{"user_request":"a\u0000","orchestration_id":"a"}"#,
                "NUL",
            ),
        ] {
            let said_now = parse::<StartDocument>(text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(said_now.contains(said), "{text}: {said_now}");
            assert!(!said_now.contains('\n'), "{said_now}");
        }
        let long = vec![b' '; MAX_DOCUMENT + 1];
        assert_eq!(parse::<StartDocument>(&long), Err(InputFault::TooLong));
        let deep = "[".repeat(100_000);
        assert!(parse::<StartDocument>(deep.as_bytes()).is_err());
    }

    #[test]
    fn events_are_read_whatever_else_they_hold() {
        let event = json!({"hook_event_name": "UserPromptExpansion", "session_id": 7,
            "command_name": "orchestra:parallel-dev", "command_args": "\"a\"", "new": [1]});
        let Ok(Input::Event(event)) = parse::<StartDocument>(event.to_string().as_bytes()) else {
            panic!("an event")
        };
        assert_eq!(event.own_command(), Some("parallel-dev"));
        assert_eq!(event.session_id, "");
        let mut other = (*event).clone();
        other.command_name = "else:parallel-dev".into();
        assert_eq!(other.own_command(), None);
        other.command_name = "parallel-dev".into();
        assert_eq!(other.own_command(), Some("parallel-dev"));
        other.hook_event_name = "Stop".into();
        assert_eq!(other.own_command(), None);
    }

    #[test]
    fn failure_is_heard() {
        for bad in [
            json!("failed"),
            json!(false),
            json!({"status": "error: x"}),
            json!({"success": false}),
        ] {
            assert!(tells_failure(&bad), "{bad}");
        }
        for good in [
            json!("success"),
            json!(true),
            json!({}),
            json!("All tests pass"),
            json!({"status": "done"}),
        ] {
            assert!(!tells_failure(&good), "{good}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse::<StartDocument>(&bytes);
            let _ = parse::<InstanceDocument>(&bytes);
            let _ = parse::<IntegrationDocument>(&bytes);
            let _ = HookEvent::parse(&bytes);
        }
    }
}
