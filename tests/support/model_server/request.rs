//! What a client asked for, in the terms of a script.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::Value;

use super::http::Call;

/// Assistant text that the client itself puts into a conversation that it resumes.
const FILLER: &str = "No response requested.";

/// How the client begins the made-up result of a call that a crash tore away.
const TORN: &str = "[Tool call interrupted: the session ended";

/// How the client announces a message that came while a turn was running.
const MID_TURN: &str = "The user sent a new message while you were working:\n";

/// One request for a message.
#[derive(Clone, Debug)]
pub struct Request {
    /// Number of this request among all of the server, from 0.
    pub ordinal: usize,
    /// The session id that the client sent; empty when it sent none. Subagents
    /// have the id of the session that they belong to.
    pub session: String,
    /// The id of the subagent that asks, none in the main conversation.
    pub agent: Option<String>,
    /// Number of this session in the order of appearance, from 0.
    pub session_ordinal: usize,
    /// Number of this request within its session, from 0.
    pub turn: usize,
    /// Path with its query.
    pub path: String,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Value,
    /// When it arrived.
    pub at: Instant,
}

/// The result of a tool call that the client sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// Id of the call.
    pub id: String,
    /// Name of the tool that was called, empty when the call is not in the conversation.
    pub tool: String,
    /// Its text parts, joined.
    pub text: String,
    /// Whether the client calls it an error (a failure, or a denied permission).
    pub is_error: bool,
}

/// A tool call earlier in the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolUse {
    pub id: String,
    pub name: String,
    pub input: Value,
}

impl Request {
    pub(super) fn new(call: Call) -> Self {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_else(|error| {
            Value::String(format!(
                "not JSON ({error}): {}",
                String::from_utf8_lossy(&call.body)
            ))
        });
        let session = session_of(&call.headers, &body);
        Self {
            ordinal: 0,
            session,
            agent: call
                .headers
                .iter()
                .find(|(name, _)| name == "x-claude-code-agent-id")
                .map(|(_, id)| id.clone()),
            session_ordinal: 0,
            turn: 0,
            path: call.path,
            headers: call.headers,
            body,
            at: Instant::now(),
        }
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The model asked for.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// Whether an event stream was asked for.
    pub fn wants_stream(&self) -> bool {
        self.body["stream"].as_bool().unwrap_or(false)
    }

    /// The system prompt and what the client says later in the role of the
    /// system (environment, hook context, agents on offer), joined by newlines.
    pub fn system_text(&self) -> String {
        let mut all = content_texts(&self.body["system"]);
        all.extend(
            self.of_role("system")
                .flat_map(|m| content_texts(&m["content"])),
        );
        all.join("\n")
    }

    /// The messages as they are.
    pub fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Every text that came from the user, in order, without tool results. The
    /// client's own reminders are among them, and what the user sent while a
    /// turn was running, which the client passes on in the role of the system.
    pub fn user_texts(&self) -> Vec<String> {
        self.messages()
            .iter()
            .flat_map(|m| match m["role"].as_str() {
                Some("user") => content_texts(&m["content"]),
                Some("system") => content_texts(&m["content"])
                    .iter()
                    .filter_map(|text| mid_turn(text))
                    .collect(),
                _ => Vec::new(),
            })
            .collect()
    }

    /// All user texts, joined by newlines.
    pub fn user_text(&self) -> String {
        self.user_texts().join("\n")
    }

    /// User texts without the client's own reminders; the notice that a
    /// background task ended is kept, since the turn is about it.
    pub fn prompts(&self) -> Vec<String> {
        self.user_texts()
            .into_iter()
            .filter(|text| {
                !text.trim_start().starts_with("<system-reminder>")
                    || text.contains("<task-notification>")
            })
            .collect()
    }

    /// The first thing that the user said.
    pub fn first_user_text(&self) -> String {
        self.prompts().into_iter().next().unwrap_or_default()
    }

    /// The latest thing that the user said.
    pub fn last_user_text(&self) -> String {
        self.prompts().pop().unwrap_or_default()
    }

    /// Whether system prompt or user text contains `needle`.
    pub fn mentions(&self, needle: &str) -> bool {
        self.system_text().contains(needle) || self.user_text().contains(needle)
    }

    /// What the assistant said and did earlier.
    pub fn tool_uses(&self) -> Vec<ToolUse> {
        self.of_role("assistant")
            .flat_map(|m| m["content"].as_array().into_iter().flatten())
            .filter(|block| block["type"] == "tool_use")
            .map(|block| ToolUse {
                id: string(&block["id"]),
                name: string(&block["name"]),
                input: block["input"].clone(),
            })
            .collect()
    }

    /// The results of tool calls, in order.
    pub fn tool_results(&self) -> Vec<ToolResult> {
        let names: HashMap<String, String> = self
            .tool_uses()
            .into_iter()
            .map(|call| (call.id, call.name))
            .collect();
        self.of_role("user")
            .flat_map(|m| m["content"].as_array().into_iter().flatten())
            .filter(|block| block["type"] == "tool_result")
            .map(|block| {
                let id = string(&block["tool_use_id"]);
                ToolResult {
                    tool: names.get(&id).cloned().unwrap_or_default(),
                    text: content_texts(&block["content"]).join("\n"),
                    is_error: block["is_error"].as_bool().unwrap_or(false),
                    id,
                }
            })
            .collect()
    }

    /// The latest tool result.
    pub fn last_tool_result(&self) -> Option<ToolResult> {
        self.tool_results().pop()
    }

    /// How many of the scripted model's answers the conversation holds: tool
    /// calls that have their results, and plain texts. What a crash tore away
    /// is not counted, nor is what the client made up itself; so a scripted
    /// conversation goes on where it was, without state in the server.
    pub fn steps_done(&self) -> usize {
        self.steps_from(0)
    }

    /// [`Request::steps_done`], counted from the first message in which the
    /// user said `marker`; from the start when that is nowhere.
    pub fn steps_since(&self, marker: &str) -> usize {
        let begins = |m: &Value| {
            m["role"] == "user"
                && content_texts(&m["content"])
                    .iter()
                    .any(|t| t.contains(marker))
        };
        self.steps_from(self.messages().iter().position(begins).unwrap_or(0))
    }

    fn steps_from(&self, start: usize) -> usize {
        let answered: Vec<String> = self
            .tool_results()
            .into_iter()
            .filter(|result| !result.text.starts_with(TORN))
            .map(|result| result.id)
            .collect();
        self.messages()[start..]
            .iter()
            .filter(|m| m["role"] == "assistant")
            .filter(|m| {
                let blocks = m["content"].as_array().map_or(&[][..], Vec::as_slice);
                let mut calls = blocks.iter().filter(|b| b["type"] == "tool_use").peekable();
                if calls.peek().is_some() {
                    calls.all(|b| answered.contains(&string(&b["id"])))
                } else {
                    content_texts(&m["content"]).join("\n").trim() != FILLER
                }
            })
            .count()
    }

    /// Names of the tools on offer.
    pub fn tools(&self) -> Vec<&str> {
        self.body["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tool| tool["name"].as_str())
            .collect()
    }

    /// Whether a tool is on offer.
    pub fn offers(&self, tool: &str) -> bool {
        self.tools().contains(&tool)
    }

    /// The working directory that the client names in its prompt.
    pub fn cwd(&self) -> Option<String> {
        let all = format!("{}\n{}", self.system_text(), self.user_text());
        all.lines().find_map(|line| {
            let (label, path) = line.split_once("orking directory: ")?;
            let label = label.trim_start_matches([' ', '-', '*']);
            (label.len() < 12).then(|| path.trim().to_owned())
        })
    }

    /// A few lines about this request, for the message of a failing test.
    pub fn describe(&self) -> String {
        let shorten = |text: &str| {
            let mut short: String = text.chars().take(600).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            short
        };
        format!(
            "request {} (session {} turn {}{}, model {}, {} messages, {} tools, {} steps done)\n  \
             system: {}\n  last user text: {}\n  last tool result: {}",
            self.ordinal,
            self.session_ordinal,
            self.turn,
            if self.agent.is_some() {
                ", subagent"
            } else {
                ""
            },
            self.model(),
            self.messages().len(),
            self.tools().len(),
            self.steps_done(),
            shorten(&self.system_text()),
            shorten(&self.last_user_text()),
            self.last_tool_result()
                .map_or_else(|| "none".to_owned(), |r| shorten(&r.text)),
        )
    }

    fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Value> {
        self.messages().iter().filter(move |m| m["role"] == role)
    }
}

/// The text parts of a content, which is a string or an array.
fn content_texts(content: &Value) -> Vec<String> {
    if let Value::String(text) = content {
        return vec![text.clone()];
    }
    content
        .as_array()
        .into_iter()
        .flatten()
        .filter(|part| part["type"] == "text")
        .map(|part| string(&part["text"]))
        .collect()
}

/// The user's words in the announcement of a message that came mid-turn.
fn mid_turn(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(MID_TURN)?;
    let said = rest.split("\n\nThis is how ").next().unwrap_or(rest);
    Some(said.to_owned())
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn session_of(headers: &[(String, String)], body: &Value) -> String {
    if let Some((_, id)) = headers
        .iter()
        .find(|(n, _)| n == "x-claude-code-session-id")
    {
        return id.clone();
    }
    let user = string(&body["metadata"]["user_id"]);
    match serde_json::from_str::<Value>(&user) {
        Ok(parsed) if parsed["session_id"].is_string() => string(&parsed["session_id"]),
        _ => match user.rsplit_once("session_") {
            Some((_, id)) => id.to_owned(),
            None => user,
        },
    }
}
