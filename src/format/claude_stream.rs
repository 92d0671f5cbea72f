//! The client's stream: one JSON object per line on its output, and what is sent to it.
//!
//! New kinds of lines appear with every release of the client. They are kept as
//! [`Event::Other`]; nothing that a line holds is ever an error.

use serde_json::{Value, json};

use super::permission_request::PermissionRequest;
use super::status_file::Tokens;

/// A line longer than this is passed over: bytes. Nothing that matters is that long; large
/// lines are results of tools, such as pictures.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// What an [`Event::Other`] calls a line that is not JSON, or not an object.
pub const NOT_JSON: &str = "not json";

/// What one line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `system/init`: a turn begins. Comes once per turn, not once per process.
    Init {
        /// The session.
        session: String,
        /// The model.
        model: String,
        /// The tools that the model has.
        tools: Vec<String>,
    },
    /// Something that the model said or did; one line per content block.
    Assistant(Assistant),
    /// What is told to the model: messages and the results of its tools.
    User(User),
    /// The end of a turn. One process may print several.
    Result(Box<TurnResult>),
    /// `system/api_retry`: a request failed and is tried again.
    ApiRetry(ApiRetry),
    /// `rate_limit_event`: how the account stands with its usage limits.
    RateLimit(RateLimit),
    /// `system/permission_denied`: a tool call that nobody could allow.
    PermissionDenied {
        /// The tool.
        tool: String,
        /// Why.
        reason: String,
    },
    /// The answer to a request of ours, such as an interrupt.
    ControlResponse {
        /// The id of the request.
        request_id: String,
        /// Whether it was granted.
        success: bool,
    },
    /// `stream_event`: a piece of a message that is under way. The whole comes as well.
    Partial(Piece),
    /// The client asks whether a tool may be used, and waits for the answer.
    PermissionRequest(Box<PermissionRequest>),
    /// The client asks for something else, and waits for the answer.
    ControlRequest {
        /// The id of the request.
        request_id: String,
        /// What it asks for.
        subtype: String,
    },
    /// The client no longer wants the answer to a request of its own.
    ControlCancel {
        /// The id of the request.
        request_id: String,
    },
    /// Anything else, by its `type` or `type/subtype`.
    Other(String),
}

/// What a piece of a message tells beyond what the whole does: the message's events are those of
/// the Messages API, <https://docs.claude.com/en/docs/build-with-claude/streaming>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// `message_start`: what follows is of this message.
    Start {
        /// The call of the subagent that says it; none for the instance itself.
        speaker: Option<String>,
        /// The message's id.
        message_id: String,
    },
    /// `message_delta`: what was written of the message until now.
    Written {
        /// As above.
        speaker: Option<String>,
        /// Tokens of its output, all together.
        output: u64,
    },
    /// Nothing.
    Other,
}

/// Something that the model said or did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assistant {
    /// The message that this is a part of; its usage is repeated on each part.
    pub message_id: String,
    /// Whether a subagent said it.
    pub from_subagent: bool,
    /// Text, of all text blocks together.
    pub text: String,
    /// Tool calls.
    pub tool_uses: Vec<ToolUse>,
    /// Tokens of the message as far as they were known at its start.
    pub usage: Tokens,
    /// The client said it in place of the model, as the provider refused the request.
    pub refusal: Option<Refusal>,
}

/// Why the provider refused a request, beside the words for people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refusal {
    /// The client's word for it: `rate_limit`, `overloaded`, `authentication_failed`, ….
    pub error: String,
    /// The usage limit that was reached, when it was one.
    pub limit: Option<RateLimit>,
}

/// How the account stands with its usage limits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RateLimit {
    /// `allowed`, `allowed_warning` or `rejected`.
    pub status: String,
    /// When the limit is reset, seconds of the epoch.
    pub resets_at: Option<u64>,
    /// Which limit: `five_hour`, `seven_day`, `seven_day_opus`, ….
    pub kind: String,
    /// Whether it goes on beyond the limit, on credits.
    pub goes_on: bool,
}

impl RateLimit {
    /// Whether requests are refused until the reset.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status == "rejected" && !self.goes_on
    }

    /// Whether other models can still be used.
    #[must_use]
    pub fn is_of_one_model(&self) -> bool {
        matches!(self.kind.strip_prefix("seven_day_"), Some(model) if model != "overage_included")
    }

    fn read(value: &Value) -> Self {
        let overage = text(value, "overageStatus");
        Self {
            status: text(value, "status"),
            resets_at: number(value, "resetsAt"),
            kind: text(value, "rateLimitType"),
            goes_on: flag(value, "isUsingOverage") || overage.starts_with("allowed"),
        }
    }
}

/// A tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolUse {
    /// Its id, by which its result is found.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its input, whatever shape the tool takes.
    pub input: Value,
}

/// What is told to the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User {
    /// Whether it is told to a subagent.
    pub to_subagent: bool,
    /// Results of tool calls.
    pub results: Vec<ToolResult>,
    /// The id of a message of ours that was now taken into a turn. It is not yet in the
    /// session's file: that is sure with the next thing that the model says.
    pub replays: Option<String>,
}

/// The result of a tool call, as far as it is needed here.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call.
    pub tool_use_id: String,
    /// Whether it failed.
    pub is_error: bool,
    /// The id of the todo item that a TaskCreate made.
    pub created_task: Option<String>,
    /// The beginning of its text, for people.
    pub text: String,
}

/// A request to the provider that failed and is tried again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ApiRetry {
    /// Number of the retry, from 1.
    pub attempt: u64,
    /// How many there will be.
    pub max_retries: u64,
    /// How long it waits, milliseconds.
    pub delay_ms: u64,
    /// HTTP status.
    pub status: Option<u64>,
    /// The client's word for it.
    pub error: String,
}

/// The end of a turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TurnResult {
    /// `success`, `error_during_execution`, `error_max_budget_usd`, …
    pub subtype: String,
    /// True also for `success` when the provider refused.
    pub is_error: bool,
    /// The last text.
    pub text: String,
    /// `completed`, `api_error`, `budget_exhausted`, `aborted_tools`, …
    pub terminal_reason: Option<String>,
    /// HTTP status of the failure.
    pub api_error_status: Option<u64>,
    /// What went wrong.
    pub errors: Vec<String>,
    /// Turns within this one, when the client says so; none of them when it did not take the
    /// prompt.
    pub num_turns: Option<u64>,
    /// Money in all, US dollars: since the start of the process, and when it resumed a
    /// session whose last process ended cleanly, that one's money as well.
    pub total_cost_usd: Option<f64>,
    /// Money and tokens since the result before, or since the start of the process.
    pub since_last: Option<(f64, Tokens)>,
    /// Tokens of this turn.
    pub turn_tokens: Tokens,
    /// Denied tool calls, for people: `Bash: git push`.
    pub permission_denials: Vec<String>,
    /// Messages that wait for turns of their own: more turns follow by themselves.
    pub queued_turns: u64,
    /// Number of this result in its process, from 0.
    pub index: u64,
}

/// Reads one line, without its line break. None for a blank line; a line that is not JSON or
/// not an object is [`Event::Other`] of [`NOT_JSON`].
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<Event> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        // Half a character in one text must not lose the event that carries it.
        Err(_) => match serde_json::from_str(&String::from_utf8_lossy(line)) {
            Ok(value) => value,
            Err(_) => return Some(Event::Other(NOT_JSON.into())),
        },
    };
    if !value.is_object() {
        return Some(Event::Other(NOT_JSON.into()));
    }
    Some(event(&value))
}

fn event(value: &Value) -> Event {
    let kind = text(value, "type");
    let subtype = text(value, "subtype");
    match (kind.as_str(), subtype.as_str()) {
        ("system", "init") => Event::Init {
            session: text(value, "session_id"),
            model: text(value, "model"),
            tools: list(value, "tools")
                .filter_map(|tool| tool.as_str().map(str::to_owned))
                .collect(),
        },
        ("system", "api_retry") => Event::ApiRetry(ApiRetry {
            attempt: number(value, "attempt").unwrap_or(0),
            max_retries: number(value, "max_retries").unwrap_or(0),
            delay_ms: number(value, "retry_delay_ms").unwrap_or(0),
            status: number(value, "error_status"),
            error: words(value.get("error")),
        }),
        ("system", "permission_denied") => Event::PermissionDenied {
            tool: text(value, "tool_name"),
            reason: text(value, "message"),
        },
        ("rate_limit_event", _) => {
            let info = value.get("rate_limit_info").unwrap_or(&Value::Null);
            Event::RateLimit(RateLimit::read(info))
        }
        ("stream_event", _) => Event::Partial(piece(value)),
        ("assistant", _) => Event::Assistant(assistant(value)),
        ("user", _) => Event::User(user(value)),
        ("result", _) => Event::Result(Box::new(result(value, subtype))),
        ("control_response", _) => {
            let response = value.get("response").unwrap_or(&Value::Null);
            Event::ControlResponse {
                request_id: text(response, "request_id"),
                success: text(response, "subtype") == "success",
            }
        }
        ("control_request", _) => match PermissionRequest::read(value) {
            Some(request) => Event::PermissionRequest(Box::new(request)),
            None => Event::ControlRequest {
                request_id: text(value, "request_id"),
                subtype: text(value.get("request").unwrap_or(&Value::Null), "subtype"),
            },
        },
        ("control_cancel_request", _) => Event::ControlCancel {
            request_id: text(value, "request_id"),
        },
        (kind, "") => Event::Other(kind.to_owned()),
        (kind, subtype) => Event::Other(format!("{kind}/{subtype}")),
    }
}

fn piece(value: &Value) -> Piece {
    let event = value.get("event").unwrap_or(&Value::Null);
    let speaker = || {
        let parent = text(value, "parent_tool_use_id");
        (!parent.is_empty()).then_some(parent)
    };
    let part = |name| event.get(name).unwrap_or(&Value::Null);
    match event.get("type").and_then(Value::as_str) {
        Some("message_start") => Piece::Start {
            speaker: speaker(),
            message_id: text(part("message"), "id"),
        },
        Some("message_delta") => match number(part("usage"), "output_tokens") {
            Some(output) => Piece::Written {
                speaker: speaker(),
                output,
            },
            None => Piece::Other,
        },
        _ => Piece::Other,
    }
}

fn assistant(value: &Value) -> Assistant {
    let message = value.get("message").unwrap_or(&Value::Null);
    let mut said = Assistant {
        message_id: text(message, "id"),
        from_subagent: is_of_subagent(value),
        usage: tokens(message.get("usage").unwrap_or(&Value::Null)),
        refusal: refusal(value),
        ..Assistant::default()
    };
    if let Some(content) = message.get("content").and_then(Value::as_str) {
        content.clone_into(&mut said.text);
    }
    for block in list(message, "content") {
        match text(block, "type").as_str() {
            "text" => {
                if !said.text.is_empty() {
                    said.text.push('\n');
                }
                said.text.push_str(&text(block, "text"));
            }
            "tool_use" => said.tool_uses.push(ToolUse {
                id: text(block, "id"),
                name: text(block, "name"),
                input: block.get("input").cloned().unwrap_or(Value::Null),
            }),
            _ => {}
        }
    }
    said
}

fn refusal(value: &Value) -> Option<Refusal> {
    let error = text(value, "error");
    if error.is_empty() && !flag(value, "is_api_error_message") {
        return None;
    }
    let told = value
        .get("api_error_params")
        .and_then(|p| p.get("rate_limit_info"));
    let is_limit = text(value, "api_error") == "usage_limit_reached";
    let limit = told.map(RateLimit::read).or_else(|| {
        is_limit.then(|| RateLimit {
            status: "rejected".into(),
            ..RateLimit::default()
        })
    });
    Some(Refusal { error, limit })
}

fn user(value: &Value) -> User {
    let message = value.get("message").unwrap_or(&Value::Null);
    let outcome = value.get("tool_use_result").unwrap_or(&Value::Null);
    let created = outcome.get("task").map(|task| words(task.get("id")));
    let results = list(message, "content")
        .filter(|block| text(block, "type") == "tool_result")
        .map(|block| {
            let said: String = words(block.get("content")).chars().take(400).collect();
            ToolResult {
                tool_use_id: text(block, "tool_use_id"),
                is_error: flag(block, "is_error"),
                created_task: created
                    .clone()
                    .filter(|id| !id.is_empty())
                    .or_else(|| task_number(&said)),
                text: said,
            }
        })
        .collect();
    User {
        to_subagent: is_of_subagent(value),
        results,
        replays: flag(value, "isReplay").then(|| text(value, "uuid")),
    }
}

/// The number in `Task #12 created successfully: …`.
fn task_number(said: &str) -> Option<String> {
    let (number, rest) = said.strip_prefix("Task #")?.split_once(' ')?;
    rest.starts_with("created").then(|| number.to_owned())
}

fn result(value: &Value, subtype: String) -> TurnResult {
    TurnResult {
        subtype,
        is_error: flag(value, "is_error"),
        text: text(value, "result"),
        terminal_reason: value
            .get("terminal_reason")
            .and_then(Value::as_str)
            .map(str::to_owned),
        api_error_status: number(value, "api_error_status"),
        errors: list(value, "errors").map(|e| words(Some(e))).collect(),
        num_turns: number(value, "num_turns"),
        total_cost_usd: value
            .get("total_cost_usd")
            .and_then(Value::as_f64)
            .filter(|cost| cost.is_finite() && *cost >= 0.0),
        since_last: value
            .get("model_usage_since_last_result")
            .and_then(Value::as_object)
            .map(|models| {
                let cost = models.values().filter_map(|m| m.get("costUSD")?.as_f64());
                (cost.filter(|c| *c > 0.0).sum(), of_models(models))
            }),
        turn_tokens: tokens(value.get("usage").unwrap_or(&Value::Null)),
        permission_denials: list(value, "permission_denials").map(denial).collect(),
        queued_turns: number(value, "queued_turn_count").unwrap_or(0),
        index: number(value, "result_index").unwrap_or(0),
    }
}

fn of_models(models: &serde_json::Map<String, Value>) -> Tokens {
    models.values().fold(Tokens::default(), |sum, model| {
        sum.plus(Tokens {
            input: number(model, "inputTokens").unwrap_or(0),
            output: number(model, "outputTokens").unwrap_or(0),
            cache_creation: number(model, "cacheCreationInputTokens").unwrap_or(0),
            cache_read: number(model, "cacheReadInputTokens").unwrap_or(0),
        })
    })
}

fn denial(value: &Value) -> String {
    let tool = text(value, "tool_name");
    let what = tool_subject(value.get("tool_input").unwrap_or(&Value::Null));
    if what.is_empty() {
        tool
    } else {
        format!("{tool}: {what}")
    }
}

/// What a tool call is about, for people, on one line: its command, file, pattern, ….
#[must_use]
pub fn tool_subject(input: &Value) -> String {
    let found = [
        "command",
        "file_path",
        "notebook_path",
        "path",
        "pattern",
        "query",
        "url",
        "subject",
        "description",
        "skill",
        "prompt",
    ]
    .iter()
    .find_map(|name| input.get(name).and_then(Value::as_str));
    one_line(found.unwrap_or_default(), 120)
}

/// The text on one line, without control characters, cut at `limit` characters.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        if count > 0 {
            line.push(' ');
            count += 1;
        }
        for c in word.chars().filter(|c| !c.is_control()) {
            if count >= limit {
                line.push('…');
                return line;
            }
            line.push(c);
            count += 1;
        }
    }
    line
}

fn tokens(usage: &Value) -> Tokens {
    Tokens {
        input: number(usage, "input_tokens").unwrap_or(0),
        output: number(usage, "output_tokens").unwrap_or(0),
        cache_creation: number(usage, "cache_creation_input_tokens").unwrap_or(0),
        cache_read: number(usage, "cache_read_input_tokens").unwrap_or(0),
    }
}

fn is_of_subagent(value: &Value) -> bool {
    value
        .get("parent_tool_use_id")
        .is_some_and(|parent| !parent.is_null())
}

fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name).and_then(Value::as_u64)
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The text of something that may be a text, a list of text blocks, or anything else.
fn words(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => blocks
            .iter()
            .filter_map(|block| block.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n"),
        Some(other) => other.to_string(),
    }
}

/// The line that says something to the session: a user message.
#[must_use]
pub fn user_message(text: &str) -> String {
    let mut line =
        json!({"type": "user", "message": {"role": "user", "content": text}}).to_string();
    line.push('\n');
    line
}

/// The same with an id, which the client repeats when it takes the message into a turn
/// ([`User::replays`]).
#[must_use]
pub fn user_message_with_id(text: &str, id: uuid::Uuid) -> String {
    let message = json!({"role": "user", "content": text});
    line(&json!({"type": "user", "message": message, "uuid": id.to_string()}))
}

/// One line of the protocol.
pub(super) fn line(value: &Value) -> String {
    let mut line = value.to_string();
    line.push('\n');
    line
}

/// The line that interrupts the present turn.
#[must_use]
pub fn interrupt(request_id: &str) -> String {
    let mut line = json!({
        "type": "control_request",
        "request_id": request_id,
        "request": {"subtype": "interrupt"},
    })
    .to_string();
    line.push('\n');
    line
}

/// Cuts a byte stream into lines with bounded memory.
#[derive(Debug, Default)]
pub struct LineSplitter {
    line: Vec<u8>,
    /// The present line is too long and is passed over up to its end.
    skipping: bool,
    skipped: u64,
    limit: usize,
}

impl LineSplitter {
    /// A splitter that passes over lines longer than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// How many lines were too long.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next piece and hands every line that it completes to `take`.
    pub fn feed(&mut self, mut piece: &[u8], mut take: impl FnMut(&[u8])) {
        while let Some(at) = piece.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = piece.split_at(at);
            piece = rest.get(1..).unwrap_or_default();
            self.append(head);
            self.complete(&mut take);
        }
        self.append(piece);
    }

    /// The stream is over: what is left is the last line.
    pub fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.complete(&mut take);
        }
    }

    fn append(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        if self.line.len() + piece.len() > self.limit {
            self.skipping = true;
            self.skipped += 1;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(piece);
        }
    }

    fn complete(&mut self, take: &mut impl FnMut(&[u8])) {
        if self.skipping {
            self.skipping = false;
            return;
        }
        take(&self.line);
        // One large line must not hold its memory for the rest of a long run.
        if self.line.capacity() > 64 * 1024 {
            self.line = Vec::new();
        }
        self.line.clear();
    }
}

#[cfg(test)]
#[path = "claude_stream_tests.rs"]
mod tests;
