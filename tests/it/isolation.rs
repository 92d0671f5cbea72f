//! What the guard lets an instance do: see [`crate::guard_rows`].

use orchestra::agent::environment::Environment;
use orchestra::format::hook_json::HookEvent;
use orchestra::hook::guard::paths::Bounds;
use orchestra::hook::guard::{Verdict, in_instance};
use serde_json::{Value, json};

use crate::guard_rows::{CLASSES, Ground, ORDINARY, ORDINARY_TOOLS, TOOLS};

struct Field {
    _dir: tempfile::TempDir,
    ground: Ground,
    bounds: Bounds,
}

fn field() -> Field {
    let dir = tempfile::tempdir().unwrap();
    let ground = Ground::make(dir.path());
    let bounds = Bounds::new(
        &ground.work(),
        &ground.main(),
        [ground.scratch()],
        Environment::from_vars([
            ("HOME", ground.root.join("home")),
            ("TMPDIR", ground.scratch()),
            ("PATH", "/usr/bin:/bin".into()),
            ("CLAUDE_PROJECT_DIR", ground.work()),
        ]),
    );
    Field {
        _dir: dir,
        ground,
        bounds,
    }
}

impl Field {
    fn tool(&self, tool: &str, input: Value) -> Verdict {
        let event = json!({
            "session_id": "5d0c2b7c-4a0e-4d1d-9a55-0a2f5b6c7d8e",
            "transcript_path": "/x/y.jsonl",
            "cwd": self.ground.work(),
            "permission_mode": "acceptEdits",
            "hook_event_name": "PreToolUse",
            "tool_name": tool,
            "tool_input": input,
            "tool_use_id": "toolu_1",
        });
        let event = HookEvent::parse(event.to_string().as_bytes()).unwrap();
        in_instance(&event, &self.bounds)
    }

    fn command(&self, command: &str) -> Verdict {
        self.tool("Bash", json!({"command": command, "description": "x"}))
    }
}

#[test]
fn every_attempt_to_get_out_is_denied_with_a_reason() {
    let field = field();
    let mut wrong = Vec::new();
    let mut count = 0;
    for class in CLASSES {
        for attempt in class.attempts {
            count += 1;
            match field.command(&field.ground.put(attempt)) {
                Verdict::Deny(why) if why.len() > 20 && why.len() < 1_500 => {}
                other => wrong.push(format!("{}: {attempt}: {other:?}", class.name)),
            }
        }
    }
    for (tool, input) in TOOLS {
        count += 1;
        let input = serde_json::from_str(&field.ground.put(input)).unwrap();
        let verdict = field.tool(tool, input);
        if !matches!(verdict, Verdict::Deny(_)) {
            wrong.push(format!("{tool} {input:?}", input = verdict));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 120, "{count}");
}

#[test]
fn ordinary_work_passes() {
    let field = field();
    let mut wrong = Vec::new();
    let count = ORDINARY.len() + ORDINARY_TOOLS.len();
    for command in ORDINARY {
        if let Verdict::Deny(why) = field.command(&field.ground.put(command)) {
            wrong.push(format!("{command}\n      {why}"));
        }
    }
    for (tool, input) in ORDINARY_TOOLS {
        let input = serde_json::from_str(&field.ground.put(input)).unwrap();
        if let Verdict::Deny(why) = field.tool(tool, input) {
            wrong.push(format!("{tool} {why}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 120, "{count}");
}
