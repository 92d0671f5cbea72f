//! The stream of an instance for people: what it said, its tool calls in a line each, what
//! came out of them.

use crate::format::claude_stream::{Event, parse_line, tool_subject};

use super::page::{Page, Tone, columns, fit, money, one_line, wrap};

/// Longest text of one message that is shown, in lines.
const MOST_LINES: usize = 200;

/// One line of the stream as lines for people; empty when it tells them nothing.
#[must_use]
pub fn render(line: &[u8], page: &Page) -> String {
    let mut text = String::new();
    for line in parse_line(line)
        .map(|e| lines(&e, page))
        .unwrap_or_default()
    {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn lines(event: &Event, page: &Page) -> Vec<String> {
    let short = |tone: Tone, mark: &str, text: &str| {
        let room = page.width.saturating_sub(columns(mark) + 1);
        page.paint(tone, &format!("{mark} {}", fit(&one_line(text), room)))
    };
    match event {
        Event::Init { session, model, .. } => {
            vec![short(
                Tone::Faint,
                "--",
                &format!("session {session}, model {model}"),
            )]
        }
        Event::Assistant(said) => {
            let indent = if said.from_subagent { "    " } else { "" };
            let mut out = Vec::new();
            for paragraph in said.text.lines() {
                let width = page.width.saturating_sub(indent.len());
                for line in wrap(paragraph, width) {
                    out.push(format!("{indent}{line}"));
                }
            }
            if out.len() > MOST_LINES {
                let more = out.len() - MOST_LINES;
                out.truncate(MOST_LINES);
                out.push(page.faint(&format!("{indent}… {more} lines more")));
            }
            for call in &said.tool_uses {
                let what = format!("{} {}", call.name, tool_subject(&call.input));
                out.push(short(Tone::Busy, &format!("{indent}*"), &what));
            }
            out
        }
        Event::User(told) => {
            let indent = if told.to_subagent { "    " } else { "" };
            told.results
                .iter()
                .filter(|r| r.is_error || !r.text.trim().is_empty())
                .map(|r| {
                    let (tone, mark) = if r.is_error {
                        (Tone::Bad, "x")
                    } else {
                        (Tone::Faint, ">")
                    };
                    short(tone, &format!("{indent}  {mark}"), &r.text)
                })
                .collect()
        }
        Event::Result(end) => {
            let mut what = end.subtype.clone();
            if let Some(reason) = &end.terminal_reason {
                what.push_str(&format!(", {reason}"));
            }
            what.push_str(&format!(", {} turns", end.num_turns.unwrap_or(0)));
            if let Some(cost) = end.total_cost_usd {
                what.push_str(&format!(", {}", money(cost)));
            }
            let tone = if end.is_error { Tone::Bad } else { Tone::Good };
            let mut out = vec![short(tone, "==", &what)];
            out.extend(end.errors.iter().map(|e| short(Tone::Bad, "  x", e)));
            let denied = |d: &String| short(Tone::Warn, "  !", &format!("denied: {d}"));
            out.extend(end.permission_denials.iter().map(denied));
            out
        }
        Event::ApiRetry(retry) => {
            let status = retry.status.map(|s| format!(" ({s})")).unwrap_or_default();
            let text = format!(
                "the provider fails{status}: {}; try {} of {} in {} s",
                retry.error,
                retry.attempt,
                retry.max_retries,
                retry.delay_ms / 1000
            );
            vec![short(Tone::Warn, "!", &text)]
        }
        Event::PermissionDenied { tool, reason } => {
            vec![short(Tone::Warn, "!", &format!("denied: {tool}: {reason}"))]
        }
        Event::PermissionRequest(request) => vec![short(
            Tone::Warn,
            "  ?",
            &format!("asks for {}", request.call.text()),
        )],
        Event::ControlRequest { .. } | Event::ControlCancel { .. } => vec![],
        Event::RateLimit(limit) if limit.is_over() => {
            let text = format!("the usage limit is reached ({})", limit.kind);
            vec![short(Tone::Warn, "!", &text)]
        }
        Event::RateLimit(_)
        | Event::ControlResponse { .. }
        | Event::Partial(_)
        | Event::Other(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_reads_as_a_conversation() {
        let stream = [
            r#"{"type":"system","subtype":"init","session_id":"s-1","model":"claude-x","tools":["Bash"]}"#,
            r#"{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"I look at the tests first.\n\nThen I\u001b[2J fix the total, which is a longer sentence that must be wrapped."}]}}"#,
            r#"{"type":"assistant","message":{"id":"m1","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"make\ntest"}}]}}"#,
            r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":"2 failed"}]}}"#,
            r#"{"type":"of-a-later-release"}"#,
            "not json",
            "",
            r#"{"type":"result","subtype":"success","is_error":false,"num_turns":3,"total_cost_usd":0.12,"terminal_reason":"completed","result":"done"}"#,
        ];
        let page = Page::new(60, false);
        let text: String = stream.iter().map(|l| render(l.as_bytes(), &page)).collect();
        insta::assert_snapshot!(text, @r"
        -- session s-1, model claude-x
        I look at the tests first.
        Then I [2J fix the total, which is a longer sentence that
        must be wrapped.
        * Bash make test
          x 2 failed
        == success, completed, 3 turns, $0.12
        ");
    }
}
