//! Sends a reply, as an event stream where it is a message.

use serde_json::{Value, json};

use super::http::Connection;
use super::reply::{Block, Ending, Message, Reply};
use super::request::Request;

/// Sends the reply. True when the connection can serve another request.
pub fn send(connection: &mut Connection<'_>, request: &Request, reply: Reply) -> bool {
    match reply {
        Reply::Hang => {
            connection.pause(None);
            false
        }
        Reply::Raw(bytes) => {
            connection.bytes(&bytes);
            connection.cut();
            false
        }
        Reply::Error {
            status,
            headers,
            kind,
            message,
        } => {
            let body = json!({"type": "error", "error": {"type": kind, "message": message},
                "request_id": format!("req_{}", request.ordinal)});
            connection.json(status, &headers, &body)
        }
        Reply::Message(message) => {
            if message
                .delay
                .is_some_and(|delay| !connection.pause(Some(delay)))
            {
                return false;
            }
            if request.wants_stream() {
                stream(connection, request, &message)
            } else {
                connection.json(200, &[], &whole(request, &message))
            }
        }
    }
}

/// The message as one JSON document, for a caller that asked for no stream.
fn whole(request: &Request, message: &Message) -> Value {
    let content: Vec<Value> = message
        .blocks
        .iter()
        .enumerate()
        .map(|(index, block)| match block {
            Block::Text(text) => json!({"type": "text", "text": text}),
            Block::Tool { name, input } => json!({"type": "tool_use",
                "id": tool_id(request, index), "name": name, "input": input}),
        })
        .collect();
    let mut head = head(request, message);
    head["content"] = Value::Array(content);
    head["stop_reason"] = json!(stop_reason(message));
    head["usage"] = message.usage.to_json(message.usage.output);
    head
}

fn stream(connection: &mut Connection<'_>, request: &Request, message: &Message) -> bool {
    let start = json!({"type": "message_start", "message": head(request, message)});
    if !connection.begin_stream() || !event(connection, &start) {
        return false;
    }
    if let Some(gate) = &message.gate
        && !connection.pause_until(None, || gate.is_open())
    {
        return false;
    }
    let small = message.dribble.is_some() || matches!(message.ending, Ending::Cut | Ending::Stall);
    for (index, block) in message.blocks.iter().enumerate() {
        let (opening, deltas) = match block {
            Block::Text(text) => (
                json!({"type": "text", "text": ""}),
                pieces(text, small)
                    .into_iter()
                    .map(|piece| json!({"type": "text_delta", "text": piece}))
                    .collect::<Vec<_>>(),
            ),
            Block::Tool { name, input } => (
                json!({"type": "tool_use", "id": tool_id(request, index), "name": name, "input": {}}),
                pieces(&input.to_string(), small)
                    .into_iter()
                    .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
                    .collect(),
            ),
        };
        let opening =
            json!({"type": "content_block_start", "index": index, "content_block": opening});
        if !event(connection, &opening) {
            return false;
        }
        for delta in deltas {
            if let Some(pause) = message.dribble
                && !connection.pause(Some(pause))
            {
                return false;
            }
            let delta = json!({"type": "content_block_delta", "index": index, "delta": delta});
            if !event(connection, &delta) {
                return false;
            }
            match message.ending {
                Ending::Cut => {
                    connection.cut();
                    return false;
                }
                Ending::Stall => {
                    connection.pause(None);
                    return false;
                }
                Ending::Complete | Ending::NoMessageStop => {}
            }
        }
        if !event(
            connection,
            &json!({"type": "content_block_stop", "index": index}),
        ) {
            return false;
        }
    }
    if message.ending == Ending::NoMessageStop {
        connection.end_stream();
        return false;
    }
    let delta = json!({"type": "message_delta",
        "delta": {"stop_reason": stop_reason(message), "stop_sequence": null},
        "usage": message.usage.to_json(message.usage.output)});
    event(connection, &delta)
        && event(connection, &json!({"type": "message_stop"}))
        && connection.end_stream()
}

fn head(request: &Request, message: &Message) -> Value {
    json!({
        "id": format!("msg_{:08}", request.ordinal),
        "type": "message",
        "role": "assistant",
        "model": request.model(),
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": message.usage.to_json(1),
    })
}

/// An id that no other tool call of this server has.
fn tool_id(request: &Request, index: usize) -> String {
    format!("toolu_{:08}_{index}", request.ordinal)
}

fn stop_reason(message: &Message) -> String {
    let calls_tool = message
        .blocks
        .iter()
        .any(|b| matches!(b, Block::Tool { .. }));
    match &message.stop_reason {
        Some(reason) => reason.clone(),
        None if calls_tool => "tool_use".to_owned(),
        None => "end_turn".to_owned(),
    }
}

/// Splits a text into what is sent at once: all of it, or a few characters.
fn pieces(text: &str, small: bool) -> Vec<String> {
    let size = if small { 8 } else { 16 * 1024 };
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters
        .chunks(size)
        .map(|c| c.iter().collect())
        .collect()
}

fn event(connection: &mut Connection<'_>, data: &Value) -> bool {
    let kind = data["type"].as_str().unwrap_or_default();
    connection.chunk(format!("event: {kind}\ndata: {data}\n\n").as_bytes())
}
