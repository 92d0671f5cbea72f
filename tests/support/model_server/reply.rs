//! What the server answers: messages, errors, and the ways to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// One answer of the scripted model.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A message, streamed.
    Message(Message),
    /// An API error.
    Error {
        status: u16,
        headers: Vec<(String, String)>,
        kind: String,
        message: String,
    },
    /// No byte ever; ends when the client or the server goes.
    Hang,
    /// These bytes as they are instead of an HTTP answer, then the connection is closed.
    Raw(Vec<u8>),
}

/// A streamed message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Its content in order.
    pub blocks: Vec<Block>,
    /// The token counts it claims.
    pub usage: Usage,
    /// How the stream ends.
    pub ending: Ending,
    /// Wait before the first byte.
    pub delay: Option<Duration>,
    /// Wait before each piece of content; text goes out a few characters at a time.
    pub dribble: Option<Duration>,
    /// Hold everything after `message_start` until the gate opens.
    pub gate: Option<Gate>,
    /// Instead of `tool_use` or `end_turn`, whichever fits the content.
    pub stop_reason: Option<String>,
}

/// A content block.
#[derive(Clone, Debug)]
pub enum Block {
    Text(String),
    Tool { name: String, input: Value },
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    #[default]
    Complete,
    /// After the content, without `message_delta` and `message_stop`; the HTTP answer itself is complete.
    NoMessageStop,
    /// The connection is closed after the first piece of content.
    Cut,
    /// The stream falls silent after the first piece of content and stays open.
    Stall,
}

/// Token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_creation: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            input: 100,
            output: 20,
            cache_read: 0,
            cache_creation: 0,
        }
    }
}

impl Usage {
    /// The counts as the API writes them, with `output` so far.
    pub fn to_json(self, output: u64) -> Value {
        json!({
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_creation,
            "cache_read_input_tokens": self.cache_read,
            "output_tokens": output,
        })
    }
}

/// Something that a test opens, and that replies can wait for.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Reply {
    /// A message of text; ends the turn.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Message(Message {
            blocks: vec![Block::Text(text.into())],
            ..Message::default()
        })
    }

    /// A message that calls one tool.
    pub fn tool(name: impl Into<String>, input: Value) -> Self {
        Self::Message(Message {
            blocks: vec![Block::Tool {
                name: name.into(),
                input,
            }],
            ..Message::default()
        })
    }

    /// A Bash call.
    pub fn bash(command: impl Into<String>) -> Self {
        Self::tool(
            "Bash",
            json!({"command": command.into(), "description": "scripted"}),
        )
    }

    /// An API error: `kind` is `rate_limit_error`, `overloaded_error`, ….
    pub fn error(status: u16, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Error {
            status,
            headers: Vec::new(),
            kind: kind.into(),
            message: message.into(),
        }
    }

    /// 429 with `retry-after` in seconds.
    pub fn rate_limited(retry_after: u64) -> Self {
        Self::error(
            429,
            "rate_limit_error",
            "This request would exceed your rate limit.",
        )
        .header("retry-after", retry_after.to_string())
    }

    /// 529.
    pub fn overloaded() -> Self {
        Self::error(529, "overloaded_error", "Overloaded")
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::error(401, "authentication_error", "invalid x-api-key")
    }

    /// 500.
    pub fn server_error() -> Self {
        Self::error(500, "api_error", "Internal server error")
    }

    /// Adds a tool call to a message.
    #[must_use]
    pub fn and_tool(self, name: impl Into<String>, input: Value) -> Self {
        self.message(|m| {
            m.blocks.push(Block::Tool {
                name: name.into(),
                input,
            });
        })
    }

    /// Adds a header to an error.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        match &mut self {
            Self::Error { headers, .. } => headers.push((name.into(), value.into())),
            other => panic!("only an error has headers of its own: {other:?}"),
        }
        self
    }

    /// Sets the token counts of a message.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        self.message(|m| m.usage = usage)
    }

    /// Sets input and output tokens of a message.
    #[must_use]
    pub fn tokens(self, input: u64, output: u64) -> Self {
        self.usage(Usage {
            input,
            output,
            ..Usage::default()
        })
    }

    /// Waits before the first byte.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        self.message(|m| m.delay = Some(delay))
    }

    /// Waits before every piece of content.
    #[must_use]
    pub fn dribble(self, pause: Duration) -> Self {
        self.message(|m| m.dribble = Some(pause))
    }

    /// Holds the content back until the gate opens.
    #[must_use]
    pub fn held_by(self, gate: &Gate) -> Self {
        self.message(|m| m.gate = Some(gate.clone()))
    }

    /// Breaks the connection in the middle of the content.
    #[must_use]
    pub fn cut(self) -> Self {
        self.message(|m| m.ending = Ending::Cut)
    }

    /// Falls silent in the middle of the content.
    #[must_use]
    pub fn stall(self) -> Self {
        self.message(|m| m.ending = Ending::Stall)
    }

    /// Leaves out the end of the message.
    #[must_use]
    pub fn without_message_stop(self) -> Self {
        self.message(|m| m.ending = Ending::NoMessageStop)
    }

    /// Gives another reason for stopping: `max_tokens`, `refusal`, ….
    #[must_use]
    pub fn stop_reason(self, reason: impl Into<String>) -> Self {
        self.message(|m| m.stop_reason = Some(reason.into()))
    }

    fn message(mut self, change: impl FnOnce(&mut Message)) -> Self {
        match &mut self {
            Self::Message(message) => change(message),
            other => panic!("only a message can be changed so: {other:?}"),
        }
        self
    }
}
