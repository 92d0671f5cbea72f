//! Scripts out of JSON, for driving a client by hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::reply::{Reply, Usage};
use super::request::Request;
use super::script::{Script, Worker, housekeeping};

impl Script {
    /// Reads the JSON form. The example `loopback-model` documents it.
    ///
    /// # Errors
    /// A description of the first thing that is not understood.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        known(&document, &["rules"], "script")?;
        let rules = document["rules"]
            .as_array()
            .ok_or("script: `rules` is not a list")?;
        let mut script = Self::new();
        for (index, rule) in rules.iter().enumerate() {
            let place = format!("rule {index}");
            known(
                rule,
                &["when", "steps", "forever", "reply", "times"],
                &place,
            )?;
            let when = When::from_json(&rule["when"], &place)?;
            let times = rule["times"].as_u64().map_or(usize::MAX, size);
            let used = AtomicUsize::new(0);
            let mut worker = when.marker().map_or_else(Worker::default, Worker::since);
            let steps = match (&rule["steps"], &rule["reply"]) {
                (Value::Array(steps), Value::Null) => steps.clone(),
                (Value::Null, reply @ Value::Object(_)) => {
                    worker = worker.forever();
                    vec![reply.clone()]
                }
                _ => return Err(format!("{place}: wants either `steps` or `reply`")),
            };
            for step in &steps {
                worker = worker.reply(reply_from_json(step, &place)?);
            }
            if rule["forever"] == true {
                worker = worker.forever();
            }
            script = script.rule(move |request| {
                if !when.matches(request) {
                    return None;
                }
                let reply = worker.answer(request)?;
                (used.fetch_add(1, Ordering::SeqCst) < times).then_some(reply)
            });
        }
        Ok(script)
    }
}

/// The conditions of a rule; all that are given must hold.
#[derive(Default)]
struct When {
    mentions: Option<String>,
    system: Option<String>,
    user: Option<String>,
    first_user: Option<String>,
    last_user: Option<String>,
    tool_result: Option<String>,
    model: Option<String>,
    offers: Option<String>,
    not: Option<String>,
    steps: Option<usize>,
    session: Option<usize>,
}

impl When {
    fn from_json(value: &Value, place: &str) -> Result<Self, String> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let names = [
            "mentions",
            "system",
            "user",
            "first_user",
            "last_user",
            "tool_result",
            "model",
            "offers",
            "not",
            "steps",
            "session",
        ];
        known(value, &names, place)?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let number = |name: &str| value[name].as_u64().map(size);
        Ok(Self {
            mentions: text("mentions"),
            system: text("system"),
            user: text("user"),
            first_user: text("first_user"),
            last_user: text("last_user"),
            tool_result: text("tool_result"),
            model: text("model"),
            offers: text("offers"),
            not: text("not"),
            steps: number("steps"),
            session: number("session"),
        })
    }

    /// The text with which the conversation of this rule begins.
    fn marker(&self) -> Option<String> {
        let given = [&self.first_user, &self.user, &self.mentions];
        given.into_iter().flatten().next().cloned()
    }

    fn matches(&self, request: &Request) -> bool {
        fn holds(wanted: Option<&String>, test: impl FnOnce(&str) -> bool) -> bool {
            wanted.is_none_or(|w| test(w))
        }
        housekeeping(request).is_none()
            && holds(self.mentions.as_ref(), |w| request.mentions(w))
            && holds(self.not.as_ref(), |w| !request.mentions(w))
            && holds(self.system.as_ref(), |w| request.system_text().contains(w))
            && holds(self.user.as_ref(), |w| request.user_text().contains(w))
            && holds(self.first_user.as_ref(), |w| {
                request.first_user_text().contains(w)
            })
            && holds(self.last_user.as_ref(), |w| {
                request.last_user_text().contains(w)
            })
            && holds(self.tool_result.as_ref(), |w| {
                request
                    .last_tool_result()
                    .is_some_and(|r| r.text.contains(w))
            })
            && holds(self.model.as_ref(), |w| request.model().contains(w))
            && holds(self.offers.as_ref(), |w| request.offers(w))
            && self.steps.is_none_or(|n| request.steps_done() == n)
            && self.session.is_none_or(|n| request.session_ordinal == n)
    }
}

fn reply_from_json(value: &Value, place: &str) -> Result<Reply, String> {
    let names = [
        "text",
        "tools",
        "error",
        "hang",
        "raw",
        "cut",
        "stall",
        "no_stop",
        "dribble_ms",
        "delay_ms",
        "usage",
        "stop_reason",
    ];
    known(value, &names, place)?;
    if value["hang"] == true {
        return Ok(Reply::Hang);
    }
    if let Some(raw) = value["raw"].as_str() {
        return Ok(Reply::Raw(raw.as_bytes().to_vec()));
    }
    if let error @ Value::Object(_) = &value["error"] {
        known(error, &["status", "type", "message", "headers"], place)?;
        let status = error["status"]
            .as_u64()
            .and_then(|n| u16::try_from(n).ok())
            .ok_or_else(|| format!("{place}: an error wants a `status`"))?;
        let mut reply = Reply::error(
            status,
            error["type"].as_str().unwrap_or("api_error"),
            error["message"].as_str().unwrap_or("scripted error"),
        );
        for (name, header) in error["headers"].as_object().into_iter().flatten() {
            reply = reply.header(name, header.as_str().unwrap_or_default());
        }
        return Ok(reply);
    }
    let tools = value["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let text = value["text"].as_str();
    if text.is_none() && tools.is_empty() {
        return Err(format!("{place}: a reply that says and does nothing"));
    }
    let mut reply = match text {
        Some(text) => Reply::text(text),
        None => Reply::Message(super::Message::default()),
    };
    for tool in tools {
        known(tool, &["name", "input"], place)?;
        let name = tool["name"]
            .as_str()
            .ok_or_else(|| format!("{place}: a tool without `name`"))?;
        reply = reply.and_tool(name, tool["input"].clone());
    }
    let milliseconds = |name: &str| value[name].as_u64().map(Duration::from_millis);
    if let Some(pause) = milliseconds("dribble_ms") {
        reply = reply.dribble(pause);
    }
    if let Some(delay) = milliseconds("delay_ms") {
        reply = reply.after(delay);
    }
    if let usage @ Value::Object(_) = &value["usage"] {
        known(
            usage,
            &["input", "output", "cache_read", "cache_creation"],
            place,
        )?;
        let standard = Usage::default();
        reply = reply.usage(Usage {
            input: usage["input"].as_u64().unwrap_or(standard.input),
            output: usage["output"].as_u64().unwrap_or(standard.output),
            cache_read: usage["cache_read"].as_u64().unwrap_or(standard.cache_read),
            cache_creation: usage["cache_creation"]
                .as_u64()
                .unwrap_or(standard.cache_creation),
        });
    }
    if let Some(reason) = value["stop_reason"].as_str() {
        reply = reply.stop_reason(reason);
    }
    if value["cut"] == true {
        reply = reply.cut();
    }
    if value["stall"] == true {
        reply = reply.stall();
    }
    if value["no_stop"] == true {
        reply = reply.without_message_stop();
    }
    Ok(reply)
}

/// A count as the machine counts.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Refuses fields that mean nothing, since a misspelt one would be silently ignored.
fn known(value: &Value, names: &[&str], place: &str) -> Result<(), String> {
    let fields = value
        .as_object()
        .ok_or_else(|| format!("{place}: not an object"))?;
    match fields.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(format!(
            "{place}: unknown field `{key}`, known are {}",
            names.join(", ")
        )),
        None => Ok(()),
    }
}
