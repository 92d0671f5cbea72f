//! What the model says when: rules, and the usual course of a worker.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::reply::{Block, Message, Reply};
use super::request::Request;

/// A rule: an answer for the requests that it knows.
pub type Rule = Box<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

/// Rules, asked in order; the first answer counts.
#[derive(Default)]
pub struct Script {
    rules: Vec<Rule>,
}

impl Script {
    /// A script that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A script that is one closure.
    pub fn from_fn(answer: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::new().rule(answer)
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(
        mut self,
        rule: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Box::new(rule));
        self
    }

    /// Answers every request that satisfies `wanted`.
    #[must_use]
    pub fn on(
        self,
        wanted: impl Fn(&Request) -> bool + Send + Sync + 'static,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.rule(move |request| wanted(request).then(|| answer(request)))
    }

    /// Answers only the first `times` requests that satisfy `wanted`; put it
    /// before the rule for the later ones ("twice overloaded, then fine").
    #[must_use]
    pub fn first(
        self,
        times: usize,
        wanted: impl Fn(&Request) -> bool + Send + Sync + 'static,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let used = AtomicUsize::new(0);
        self.rule(move |request| {
            (wanted(request) && used.fetch_add(1, Ordering::SeqCst) < times)
                .then(|| answer(request))
        })
    }

    /// The course of the conversation whose system prompt or user text
    /// contains `marker`. When it is the user's text, the course begins there,
    /// whatever was said before.
    #[must_use]
    pub fn worker(self, marker: impl Into<String>, course: impl FnOnce(Worker) -> Worker) -> Self {
        let marker = marker.into();
        let worker = course(Worker::since(marker.clone()));
        self.course(move |request| request.mentions(&marker), worker)
    }

    /// The course of the conversations that satisfy `wanted`. Requests of the
    /// client on its own behalf are left out.
    #[must_use]
    pub fn conversation(
        self,
        wanted: impl Fn(&Request) -> bool + Send + Sync + 'static,
        course: impl FnOnce(Worker) -> Worker,
    ) -> Self {
        self.course(wanted, course(Worker::default()))
    }

    fn course(
        self,
        wanted: impl Fn(&Request) -> bool + Send + Sync + 'static,
        worker: Worker,
    ) -> Self {
        self.rule(move |request| {
            (housekeeping(request).is_none() && wanted(request))
                .then(|| worker.answer(request))
                .flatten()
        })
    }

    /// The first rule's answer.
    pub fn answer(&self, request: &Request) -> Option<Reply> {
        self.rules.iter().find_map(|rule| rule(request))
    }
}

/// The course of one conversation: its answers in order. Which one is due
/// follows from the conversation in the request alone
/// ([`Request::steps_done`], [`Request::steps_since`]), so any number of instances can be on the same
/// course, and a resumed one goes on where it was. After the last step the
/// requests are unknown, and so unexpected.
///
/// In texts and in tool input, `{cwd}` stands for the working directory of the
/// client and `{last_result}` for the text of the latest tool result.
#[derive(Default)]
pub struct Worker {
    /// The user's text with which the course begins; none for the start of the conversation.
    marker: Option<String>,
    steps: Vec<Step>,
    forever: bool,
}

type Step = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

impl Worker {
    /// A course that begins with the first text of the user that contains
    /// `marker`, so that it can be one part of a longer session.
    pub fn since(marker: impl Into<String>) -> Self {
        Self {
            marker: Some(marker.into()),
            ..Self::default()
        }
    }

    /// The next answer is this.
    #[must_use]
    pub fn reply(self, reply: Reply) -> Self {
        self.compute(move |_| reply.clone())
    }

    /// The next answer is computed.
    #[must_use]
    pub fn compute(mut self, step: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }

    /// The next answer is a tool call.
    #[must_use]
    pub fn tool(self, name: &str, input: Value) -> Self {
        self.reply(Reply::tool(name, input))
    }

    /// The next answer writes a file; a relative path is one in the working directory.
    #[must_use]
    pub fn write(self, path: &str, content: &str) -> Self {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{{cwd}}/{path}")
        };
        self.tool("Write", json!({"file_path": path, "content": content}))
    }

    /// The next answer runs a command.
    #[must_use]
    pub fn bash(self, command: &str) -> Self {
        self.reply(Reply::bash(command))
    }

    /// The next answers add and commit everything.
    #[must_use]
    pub fn commit(self, message: &str) -> Self {
        self.bash("git add -A").bash(&format!(
            "git commit -q -m '{}'",
            message.replace('\'', "'\\''")
        ))
    }

    /// The next answer is text, which ends the turn.
    #[must_use]
    pub fn say(self, text: &str) -> Self {
        self.reply(Reply::text(text))
    }

    /// From here on the last answer is given again and again.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.forever = true;
        self
    }

    /// The answer that is due.
    pub fn answer(&self, request: &Request) -> Option<Reply> {
        let done = match &self.marker {
            Some(marker) => request.steps_since(marker),
            None => request.steps_done(),
        };
        let step = match self.steps.get(done) {
            Some(step) => step,
            None if self.forever => self.steps.last()?,
            None => return None,
        };
        Some(fill_in(step(request), request))
    }
}

/// Puts the working directory and the latest result in their places.
fn fill_in(reply: Reply, request: &Request) -> Reply {
    let Reply::Message(message) = reply else {
        return reply;
    };
    let cwd = request.cwd().unwrap_or_default();
    let result = request
        .last_tool_result()
        .map_or_else(String::new, |r| r.text);
    let fill = |text: &str| {
        text.replace("{cwd}", &cwd)
            .replace("{last_result}", &result)
    };
    let blocks = message
        .blocks
        .iter()
        .map(|block| match block {
            Block::Text(text) => Block::Text(fill(text)),
            Block::Tool { name, input } => Block::Tool {
                name: name.clone(),
                input: map_strings(input, &fill),
            },
        })
        .collect();
    Reply::Message(Message { blocks, ..message })
}

/// Applies `change` to every string in a JSON value.
fn map_strings(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|v| map_strings(v, change)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, v)| (key.clone(), map_strings(v, change)))
            .collect(),
        other => other.clone(),
    }
}

/// The answer to what the client asks on its own behalf (a title for the
/// session, a summary line, a probe of the key), none for anything else. Such
/// requests offer no tools or ask for a small structured answer.
pub(super) fn housekeeping(request: &Request) -> Option<Reply> {
    let no_tools = request.tools().is_empty();
    if no_tools && request.body["max_tokens"] == 1 {
        return Some(Reply::text("ok"));
    }
    let system = request.system_text();
    let schema = &request.body["output_config"]["format"]["schema"]["properties"];
    if no_tools && !schema["title"].is_null() {
        return Some(Reply::text(
            json!({"title": "Scripted session"}).to_string(),
        ));
    }
    let small = request.model().contains("haiku");
    (no_tools && (small || system.contains("title"))).then(|| Reply::text("Scripted session"))
}
