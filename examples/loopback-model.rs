//! Runs the scripted model server by hand.
//!
//! ```text
//! cargo run --example loopback-model -- SCRIPT.json [--port PORT] [--record FOLDER]
//! ```
//!
//! It prints its URL on the first line, then one line per request, and goes on
//! until it is killed. With `--record`, every request body is also written to
//! `FOLDER/NNNN.json` together with its headers. Point a client at it with
//! `ANTHROPIC_BASE_URL` and a dummy `ANTHROPIC_API_KEY`.
//!
//! # The script
//!
//! ```json
//! {
//!   "rules": [
//!     {
//!       "when": {"user": "build the backend"},
//!       "steps": [
//!         {"text": "I write it.", "tools": [
//!           {"name": "Write", "input": {"file_path": "{cwd}/a.rs", "content": "// a\n"}}
//!         ]},
//!         {"tools": [{"name": "Bash", "input": {"command": "git add -A && git commit -qm a"}}]},
//!         {"text": "Done."}
//!       ]
//!     },
//!     {"when": {"user": "flaky"}, "times": 2,
//!      "reply": {"error": {"status": 529, "type": "overloaded_error", "headers": {"retry-after": "1"}}}},
//!     {"reply": {"text": "Hello."}}
//!   ]
//! }
//! ```
//!
//! The rules are asked in order; the first that answers wins. A request that
//! none knows gets status 400 and is printed with the word UNEXPECTED.
//!
//! A rule has:
//!
//! - `when`: conditions, all of which must hold; without it, always. Texts are
//!   looked for as substrings: `system` (system prompt), `user` (any user
//!   text), `first_user`, `last_user`, `mentions` (system prompt or user text),
//!   `not` (neither of these), `tool_result` (in the latest result), `model`;
//!   `offers` is the exact name of a tool on offer; `steps` the number of the
//!   model's answers so far; `session` the number of the session, from 0.
//! - `steps`: the answers of the conversation, in order; `"forever": true`
//!   repeats the last one. They are counted from the message in which the user
//!   said what `first_user`, `user` or `mentions` asks for. Or `reply`: one answer for every request.
//! - `times`: the rule answers so often and then no more.
//!
//! An answer has `text` and `tools` (a list of `{name, input}`), or one of
//! `error` (`status`, `type`, `message`, `headers`), `"hang": true`, `raw`
//! (bytes instead of an HTTP answer). A message may also have `usage`
//! (`input`, `output`, `cache_read`, `cache_creation`), `stop_reason`,
//! `delay_ms` (before the first byte), `dribble_ms` (before every few
//! characters), `"cut": true` (connection lost mid-content), `"stall": true`
//! (silent mid-content), `"no_stop": true` (stream ends without its end). In
//! texts and input, `{cwd}` is the client's working directory and
//! `{last_result}` the text of the latest tool result.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    reason = "a tool for people, on top of the test support"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use support::model_server::{ModelServer, Script};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("loopback-model: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut script = None;
    let mut port = 0;
    let mut record: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--port" => port = value()?.parse().map_err(|e| format!("--port: {e}"))?,
            "--record" => record = Some(value()?.into()),
            _ => script = Some(argument),
        }
    }
    let path = script.ok_or("usage: loopback-model SCRIPT.json [--port PORT] [--record FOLDER]")?;
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let script = Script::from_json(&text).map_err(|e| format!("{path}: {e}"))?;
    let server = ModelServer::start_on(port, script).map_err(|e| e.to_string())?;
    println!("{}", server.url());
    if let Some(folder) = &record {
        std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    }
    let (mut seen, mut surprises) = (0, 0);
    loop {
        let count = server.requests().len();
        if count == seen {
            // Also woken by nothing at all, to print surprises.
            let _ = server.wait_for(Duration::from_millis(500), |all| all.len() > seen);
        }
        for request in server.requests().iter().skip(seen) {
            seen += 1;
            println!(
                "{} session {} turn {} {} steps {} tools {} last {:?}",
                request.ordinal,
                request.session_ordinal,
                request.turn,
                request.model(),
                request.steps_done(),
                request.tools().len(),
                request
                    .last_user_text()
                    .chars()
                    .take(80)
                    .collect::<String>(),
            );
            if let Some(folder) = &record {
                let document = json!({"session": request.session, "path": request.path,
                    "headers": request.headers, "body": request.body});
                let file = folder.join(format!("{:04}.json", request.ordinal));
                let text = serde_json::to_string_pretty(&document).map_err(|e| e.to_string())?;
                std::fs::write(file, text).map_err(|e| e.to_string())?;
            }
        }
        let unexpected = server.unexpected();
        for surprise in &unexpected[surprises..] {
            println!("UNEXPECTED {surprise}");
        }
        surprises = unexpected.len();
    }
}
