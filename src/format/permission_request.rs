//! The client asks whether a tool may be used (`--permission-prompt-tool stdio`).
//!
//! ```json
//! {"type":"control_request","request_id":"…","request":{"subtype":"can_use_tool",
//!  "tool_name":"Bash","input":{"command":"git commit -m x"},"tool_use_id":"toolu_…",
//!  "decision_reason":"This command requires approval","blocked_path":"/outside/x",
//!  "permission_suggestions":[{"type":"addRules","behavior":"allow","destination":"localSettings",
//!    "rules":[{"toolName":"Bash","ruleContent":"git commit *"}]}]}}
//! ```
//!
//! The client waits for the answer without a limit of its own. Calls of one turn are asked one
//! after the other; subagents may ask at the same time. It withdraws a request (an interrupt)
//! with `{"type":"control_cancel_request","request_id":"…"}`. A question to a person
//! (`AskUserQuestion`) comes the same way, and its answers go into the input by which it is
//! allowed: `answers`, by the text of the question; several labels are joined by `, `.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::claude_stream::{line, one_line, tool_subject};
use crate::core::permission::{Call, Question};

/// The client's tool that asks a person.
pub const QUESTION_TOOL: &str = "AskUserQuestion";

/// Longest text of a question, an option or a reason, characters.
const LONG: usize = 1000;
/// Longest command that is shown, characters.
const LONG_SUBJECT: usize = 300;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct PermissionRequest {
    /// Its id, which the answer repeats.
    pub id: String,
    /// The call.
    pub call: Call,
    /// The input of the tool as it was given.
    pub input: Value,
    /// Why the client asks, as far as it says so.
    pub reason: Option<String>,
    /// The questions, when it is a question rather than a request for permission.
    pub questions: Vec<Question>,
}

impl PermissionRequest {
    /// Reads a line of the stream; none when it is no such request.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let request = value.get("request")?;
        if request.get("subtype")?.as_str()? != "can_use_tool" {
            return None;
        }
        let id = value.get("request_id")?.as_str()?.to_owned();
        let tool = request.get("tool_name")?.as_str()?.to_owned();
        let input = request.get("input").cloned().unwrap_or(Value::Null);
        let said = |name: &str| {
            let text = one_line(text(request, name), LONG);
            (!text.is_empty()).then_some(text)
        };
        let questions = if tool == QUESTION_TOOL {
            questions(&input)
        } else {
            Vec::new()
        };
        let rules = rules(request);
        Some(Self {
            id,
            call: Call {
                subject: subject(&input),
                alone: rules.is_empty(),
                shape: shape(rules, &tool, &input, request),
                tool,
            },
            reason: said("decision_reason")
                .or_else(|| said("blocked_path").map(|path| format!("it is about {path}"))),
            questions,
            input,
        })
    }

    /// The line that allows the call, or answers the questions.
    ///
    /// `answers` are pairs of a question's text and its answer; none for a permission.
    #[must_use]
    pub fn allow(&self, answers: &[(String, String)]) -> String {
        let mut input = self.input.clone();
        if !answers.is_empty() {
            let answers: Map<String, Value> = answers
                .iter()
                .map(|(question, answer)| (question.clone(), answer.clone().into()))
                .collect();
            match input.as_object_mut() {
                Some(object) => drop(object.insert("answers".into(), answers.into())),
                None => input = json!({ "answers": answers }),
            }
        }
        if !input.is_object() {
            input = json!({});
        }
        response(
            &self.id,
            &json!({"behavior": "allow", "updatedInput": input}),
        )
    }

    /// The line that denies the call. The message is what the model reads as its result.
    #[must_use]
    pub fn deny(&self, message: &str) -> String {
        response(&self.id, &json!({"behavior": "deny", "message": message}))
    }
}

fn response(id: &str, response: &Value) -> String {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "success", "request_id": id, "response": response},
    }))
}

/// The line that says that a request of the client is not understood, so that it does not wait.
#[must_use]
pub fn refusal(request_id: &str, why: &str) -> String {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request_id, "error": why},
    }))
}

fn subject(input: &Value) -> String {
    // The whole command: who allows something should see it.
    match input.get("command").and_then(Value::as_str) {
        Some(command) => one_line(command, LONG_SUBJECT),
        None => tool_subject(input),
    }
}

/// A text of an object; empty when there is none.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The members of a list of an object; none when there is no list.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// The rules that the client itself would remember for the call.
fn rules(request: &Value) -> BTreeSet<String> {
    list(request, "permission_suggestions")
        .iter()
        .filter(|s| text(s, "type") == "addRules" && text(s, "behavior") == "allow")
        .flat_map(|s| list(s, "rules"))
        .filter_map(|rule| {
            let tool = rule.get("toolName")?.as_str()?;
            let content = rule.get("ruleContent").and_then(Value::as_str);
            Some(content.map_or(tool.to_owned(), |content| format!("{tool}({content})")))
        })
        .collect()
}

/// The rules for a call; where there are none, the call as a whole. A path that the client
/// stumbles over is a part of the shape.
fn shape(rules: BTreeSet<String>, tool: &str, input: &Value, request: &Value) -> BTreeSet<String> {
    let mut shape = rules;
    if shape.is_empty() {
        shape.insert(format!("{tool} {input}"));
    }
    if let Some(path) = request.get("blocked_path").and_then(Value::as_str) {
        shape.insert(format!("path {path}"));
    }
    shape
}

fn questions(input: &Value) -> Vec<Question> {
    list(input, "questions")
        .iter()
        .map(|question| Question {
            // Word for word: it is the key of its answer.
            text: text(question, "question").to_owned(),
            options: list(question, "options")
                .iter()
                .map(|option| {
                    let meaning = one_line(text(option, "description"), LONG);
                    (text(option, "label").to_owned(), meaning)
                })
                .filter(|(label, _)| !label.is_empty())
                .collect(),
            several: question
                .get("multiSelect")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::claude_stream::{Event, parse_line};

    fn read(text: &str) -> PermissionRequest {
        match parse_line(text.as_bytes()) {
            Some(Event::PermissionRequest(request)) => *request,
            other => panic!("{other:?}"),
        }
    }

    /// As the client wrote it.
    const COMMIT: &str = r#"{"type":"control_request","request_id":"36c0","request":{
        "subtype":"can_use_tool","tool_name":"Bash","display_name":"Bash",
        "input":{"command":"git commit --allow-empty -m x","description":"c"},"description":"c",
        "permission_suggestions":[{"type":"addRules","rules":[{"toolName":"Bash",
        "ruleContent":"git commit *"}],"behavior":"allow","destination":"localSettings"}],
        "decision_reason":"This command requires approval","decision_reason_type":"other",
        "tool_use_id":"toolu_3_0"}}"#;

    #[test]
    fn a_request_has_a_call_and_a_shape() {
        let request = read(COMMIT);
        assert_eq!(request.call.text(), "Bash: git commit --allow-empty -m x");
        assert_eq!(request.call.shape, ["Bash(git commit *)".to_owned()].into());
        assert_eq!(request.call.rules().as_deref(), Some("Bash(git commit *)"));
        assert_eq!(
            request.reason.as_deref(),
            Some("This command requires approval")
        );
        assert!(request.questions.is_empty());
        let allowed: Value = serde_json::from_str(&request.allow(&[])).unwrap();
        assert_eq!(
            allowed,
            json!({"type": "control_response", "response": {"subtype": "success",
                "request_id": "36c0", "response": {"behavior": "allow", "updatedInput":
                {"command": "git commit --allow-empty -m x", "description": "c"}}}})
        );
        let denied: Value = serde_json::from_str(&request.deny("no \"one\"\nthere")).unwrap();
        assert_eq!(
            denied["response"]["response"],
            json!({"behavior": "deny", "message": "no \"one\"\nthere"})
        );
    }

    #[test]
    fn without_suggestions_the_whole_call_is_the_shape() {
        let request = |command: &str, more: &str| {
            read(&format!(
                r#"{{"type":"control_request","request_id":"r","request":{{
                "subtype":"can_use_tool","tool_name":"Bash","input":{{"command":"{command}"}}{more}}}}}"#
            ))
            .call
            .shape
        };
        assert_eq!(request("a", ""), request("a", r#","x":1"#));
        assert_ne!(request("a", ""), request("b", ""));
        assert_ne!(request("a", ""), request("a", r#","blocked_path":"/x""#));
    }

    #[test]
    fn questions_are_answered_in_the_input() {
        let request = read(
            r#"{"type":"control_request","request_id":"q","request":{"subtype":"can_use_tool",
            "tool_name":"AskUserQuestion","requires_user_interaction":true,"tool_use_id":"t",
            "input":{"questions":[{"question":"Which colour?","header":"Colour","multiSelect":false,
            "options":[{"label":"red","description":"r"},{"label":"blue"}]},
            {"question":"Parts?","multiSelect":true,"options":[]}]}}}"#,
        );
        assert_eq!(request.questions.len(), 2);
        assert_eq!(
            request.questions[0].options[1],
            ("blue".into(), String::new())
        );
        assert!(request.questions[1].several);
        let pairs = [("Which colour?".to_owned(), "blue".to_owned())];
        let line: Value = serde_json::from_str(&request.allow(&pairs)).unwrap();
        let input = &line["response"]["response"]["updatedInput"];
        assert_eq!(input["answers"], json!({"Which colour?": "blue"}));
        assert_eq!(input["questions"], request.input["questions"]);
    }

    #[test]
    fn other_requests_are_refused_rather_than_left_waiting() {
        let line = br#"{"type":"control_request","request_id":"h","request":{"subtype":"dance"}}"#;
        assert_eq!(
            parse_line(line),
            Some(Event::ControlRequest {
                request_id: "h".into(),
                subtype: "dance".into()
            })
        );
        let line: Value = serde_json::from_str(&refusal("h", "no")).unwrap();
        assert_eq!(line["response"]["subtype"], "error");
        assert_eq!(
            parse_line(br#"{"type":"control_cancel_request","request_id":"h"}"#),
            Some(Event::ControlCancel {
                request_id: "h".into()
            })
        );
    }

    #[test]
    fn nonsense_is_no_panic() {
        for line in [
            r#"{"type":"control_request"}"#,
            r#"{"type":"control_request","request":{"subtype":"can_use_tool"}}"#,
            r#"{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool",
                "tool_name":"AskUserQuestion","input":[1,{"questions":3}]}}"#,
            r#"{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool",
                "tool_name":"X","permission_suggestions":[1,{"rules":"x"}]}}"#,
        ] {
            let event = parse_line(line.as_bytes()).unwrap();
            if let Event::PermissionRequest(request) = event {
                assert!(request.allow(&[]).contains("updatedInput"));
                assert!(!request.call.shape.is_empty());
            }
        }
    }
}
