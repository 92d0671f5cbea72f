//! What a hook costs the client, against a program that does nothing at all.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::scratch::Scratch;
use super::table::Table;
use super::{Options, median};

pub(crate) fn measure(options: &Options, table: &mut Table) {
    let times = if options.quick { 100 } else { 500 };
    let scratch = Scratch::with_files(20);
    let Some(empty) = empty_program(scratch.path()) else {
        eprintln!("no rustc: the hooks are not measured");
        return;
    };
    let common = json!({
        "session_id": "11111111-2222-3333-4444-555555555555",
        "transcript_path": "/nonexistent/transcript.jsonl",
        "cwd": scratch.repo(),
    });
    let with = |more: Value| {
        let mut event = common.clone();
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event.to_string()
    };
    let tool = with(json!({
        "hook_event_name": "PreToolUse", "tool_name": "Bash",
        "tool_input": {"command": "cargo test", "description": "Run the tests"},
        "tool_use_id": "toolu_1",
    }));
    let used = with(json!({
        "hook_event_name": "PostToolUse", "tool_name": "Bash",
        "tool_input": {"command": "cargo test"}, "tool_response": {"stdout": "ok"},
        "tool_use_id": "toolu_1", "duration_ms": 20,
    }));
    let prompt = with(json!({
        "hook_event_name": "UserPromptSubmit", "prompt": "What does this function do?",
    }));
    let stop = with(json!({"hook_event_name": "Stop", "stop_hook_active": false}));
    let expansion = with(json!({
        "hook_event_name": "UserPromptExpansion", "expansion_type": "slash_command",
        "command_name": "other:review", "command_args": "main", "prompt": "/other:review main",
    }));
    for (name, event) in [
        ("orchestra-guard", &tool),
        ("orchestra-heartbeat", &used),
        ("orchestra-announce", &stop),
        ("orchestration-start", &prompt),
        ("orchestra-command", &expansion),
        ("orchestra-statusline", &prompt),
    ] {
        let program = options.program.with_file_name(name);
        if !program.is_file() {
            eprintln!("{name} is not built: not measured");
            continue;
        }
        let (mut own, mut nothing) = (Vec::new(), Vec::new());
        // Alternating, so that both meet the same disturbances.
        for _ in 0..times {
            nothing.push(once(&scratch, &empty, event));
            own.push(once(&scratch, &program, event));
        }
        let (own, nothing) = (median(own), median(nothing));
        table.row(
            &format!("hook `{name}`, nothing to do with it"),
            &format!("{:.2}", own / nothing),
            &format!(
                "an empty Rust program, {:.1} ms (p50 of {times})",
                nothing * 1e3
            ),
            "≤ 1.5",
        );
    }
}

fn once(scratch: &Scratch, program: &Path, event: &str) -> f64 {
    let begin = Instant::now();
    let mut child = scratch
        .command(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The empty program does not read: that is no error here.
    let _ = child.stdin.take().unwrap().write_all(event.as_bytes());
    child.wait().unwrap();
    begin.elapsed().as_secs_f64()
}

/// Builds a program with an empty `main` the way the release profile builds ours.
fn empty_program(folder: &Path) -> Option<PathBuf> {
    let source = folder.join("empty.rs");
    let program = folder.join("empty");
    std::fs::write(&source, "fn main() {}\n").unwrap();
    let built = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "--edition",
            "2024",
            "-C",
            "opt-level=3",
            "-C",
            "codegen-units=1",
        ])
        .args(["-C", "lto=thin", "-C", "strip=symbols", "-o"])
        .arg(&program)
        .arg(&source)
        .status();
    built
        .is_ok_and(|status| status.success())
        .then_some(program)
}
