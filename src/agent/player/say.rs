//! What the player prints: the same lines as the client.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

/// Prints the stream.
pub(super) struct Speaker<'a> {
    out: &'a mut dyn Write,
    mute: bool,
    session: String,
    cwd: String,
    messages: u64,
    results: u64,
    last_text: String,
    denials: Vec<Value>,
    total_usd: f64,
    /// Since the last result.
    usd: f64,
    input_tokens: u64,
    output_tokens: u64,
}

impl<'a> Speaker<'a> {
    pub(super) fn new(out: &'a mut dyn Write, session: &str, cwd: &Path) -> Self {
        Self {
            out,
            mute: false,
            session: session.to_owned(),
            cwd: cwd.display().to_string(),
            messages: 0,
            results: 0,
            last_text: String::new(),
            denials: Vec::new(),
            total_usd: 0.0,
            usd: 0.0,
            input_tokens: 0,
            output_tokens: 0,
        }
    }

    fn line(&mut self, mut value: Value) {
        if let Some(object) = value.as_object_mut() {
            object.insert("session_id".into(), self.session.clone().into());
        }
        self.raw(format!("{value}").as_bytes());
    }

    /// Prints a line as it is; false when it cannot. A reader that is gone is no error: the
    /// end follows anyway.
    pub(super) fn raw(&mut self, line: &[u8]) -> bool {
        self.mute
            || self
                .out
                .write_all(line)
                .and_then(|()| self.out.write_all(b"\n"))
                .and_then(|()| self.out.flush())
                .is_ok()
    }

    /// Prints nothing any more.
    pub(super) fn fall_silent(&mut self) {
        self.mute = true;
    }

    pub(super) fn init(&mut self) {
        self.last_text.clear();
        self.line(json!({
            "type": "system", "subtype": "init", "cwd": self.cwd, "model": "scripted",
            "tools": ["Bash", "Write", "TaskCreate", "TaskUpdate", "TodoWrite"],
        }));
    }

    pub(super) fn control_response(&mut self, request_id: &str) {
        self.line(json!({
            "type": "control_response",
            "response": {"subtype": "success", "request_id": request_id},
        }));
    }

    pub(super) fn text(&mut self, text: &str) {
        text.clone_into(&mut self.last_text);
        self.assistant(&json!({"type": "text", "text": text}));
    }

    /// A tool call with its result.
    pub(super) fn tool(&mut self, name: &str, input: &Value, said: &str, outcome: &Value) {
        let id = self.call(name, input);
        self.answer(&id, said, outcome);
    }

    /// A tool call that is still open; returns its id.
    pub(super) fn call(&mut self, name: &str, input: &Value) -> String {
        let id = format!("toolu_{:08}", self.messages);
        self.assistant(&json!({"type": "tool_use", "id": id, "name": name, "input": input}));
        id
    }

    /// The result of a tool call.
    pub(super) fn answer(&mut self, id: &str, said: &str, outcome: &Value) {
        self.line(json!({
            "type": "user", "parent_tool_use_id": null,
            "message": {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": id, "content": said,
                 "is_error": outcome["interrupted"] == true}]},
            "tool_use_result": outcome,
        }));
    }

    /// The end of a turn that was interrupted.
    pub(super) fn interrupted(&mut self, queued: usize) {
        self.result(
            &json!({
                "subtype": "error_during_execution", "is_error": true,
                "terminal_reason": "aborted_tools",
            }),
            queued,
        );
    }

    fn assistant(&mut self, block: &Value) {
        self.message(block, &json!({"input_tokens": 0, "output_tokens": 0}));
    }

    fn message(&mut self, block: &Value, usage: &Value) {
        let id = format!("msg_{:08}", self.messages);
        self.messages += 1;
        self.line(json!({
            "type": "assistant", "parent_tool_use_id": null,
            "message": {"id": id, "role": "assistant", "content": [block],
                        "usage": usage},
        }));
    }

    pub(super) fn denied(&mut self, tool: &str, what: &str) {
        self.denials
            .push(json!({"tool_name": tool, "tool_input": {"command": what}}));
        self.line(json!({
            "type": "system", "subtype": "permission_denied", "tool_name": tool,
            "message": format!("Permission to use {tool} with {what} has been denied."),
        }));
    }

    /// A call that the answer to a request denied; only the result tells of it.
    pub(super) fn refused(&mut self, tool: &str, input: &Value, message: &str) {
        self.denials
            .push(json!({"tool_name": tool, "tool_input": input}));
        self.tool(tool, input, message, &Value::Null);
    }

    /// A message is taken into a turn; told only of one that has an id.
    pub(super) fn replay(&mut self, text: &str, id: Option<&str>) {
        if let Some(id) = id {
            self.line(json!({
                "type": "user", "parent_tool_use_id": null, "isReplay": true, "uuid": id,
                "message": {"role": "user", "content": text},
            }));
        }
    }

    /// Asks whether a tool may be used; returns the request's id.
    pub(super) fn ask(&mut self, tool: &str, input: &Value, rule: Option<&str>) -> String {
        let id = format!("{}-{:08}", self.session, self.messages);
        self.messages += 1;
        let suggestions: Vec<Value> = rule
            .map(|rule| {
                json!({"type": "addRules", "behavior": "allow", "destination": "localSettings",
                       "rules": [{"toolName": tool, "ruleContent": rule}]})
            })
            .into_iter()
            .collect();
        self.line(json!({
            "type": "control_request", "request_id": id,
            "request": {"subtype": "can_use_tool", "tool_name": tool, "input": input,
                        "permission_suggestions": suggestions,
                        "decision_reason": "This command requires approval"},
        }));
        id
    }

    /// Takes a request back.
    pub(super) fn withdraw(&mut self, request_id: &str) {
        self.line(json!({"type": "control_cancel_request", "request_id": request_id}));
    }

    pub(super) fn api_retry(&mut self, status: u64, delay_ms: u64) {
        self.line(json!({
            "type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 10,
            "retry_delay_ms": delay_ms, "error_status": status, "error": "scripted",
        }));
    }

    pub(super) fn spend(&mut self, cost_usd: f64, input_tokens: u64, output_tokens: u64) {
        self.total_usd += cost_usd;
        self.usd += cost_usd;
        self.input_tokens += input_tokens;
        self.output_tokens += output_tokens;
        let usage = json!({"input_tokens": input_tokens, "output_tokens": output_tokens});
        self.message(&json!({"type": "text", "text": ""}), &usage);
    }

    /// What this process spent so far, US dollars.
    pub(super) fn total_usd(&self) -> f64 {
        self.total_usd
    }

    pub(super) fn result_success(&mut self, queued: usize) {
        let text = self.last_text.clone();
        self.result(
            &json!({
                "subtype": "success", "is_error": false, "result": text,
                "terminal_reason": "completed", "api_error_status": null,
            }),
            queued,
        );
    }

    /// The result line, with costs as the client tells them.
    pub(super) fn result(&mut self, how: &Value, queued: usize) {
        let mut line = json!({
            "type": "result", "num_turns": 1, "total_cost_usd": self.total_usd,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens},
            "model_usage_since_last_result": {"scripted": {
                "inputTokens": self.input_tokens, "outputTokens": self.output_tokens,
                "costUSD": self.usd}},
            "permission_denials": std::mem::take(&mut self.denials),
            "queued_turn_count": queued, "result_index": self.results,
        });
        if let (Some(line), Some(how)) = (line.as_object_mut(), how.as_object()) {
            line.extend(how.clone());
        }
        self.results += 1;
        (self.usd, self.input_tokens, self.output_tokens) = (0.0, 0, 0);
        self.line(line);
    }
}
