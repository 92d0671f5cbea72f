//! `orchestra-heartbeat`: an interactive instance shows that it is alive.
//!
//! Headless instances are watched through their streams; one that a person talks to has no
//! such stream. After each tool call this adds a line to `instance-TASK.beat`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::edge::World;
use super::{Outcome, place};
use crate::agent::tree::MARK_VARIABLE;
use crate::conduct;
use crate::format::hook_json::HookEvent;
use crate::store::atomic;

/// A file that grew beyond this begins anew, bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The whole hook.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    let Some((id, task)) = world.var(MARK_VARIABLE).and_then(place::instance) else {
        return Outcome::Silent;
    };
    // A beat counts whatever the event says; only its folder and tool are taken from it.
    let event = HookEvent::parse(&world.input).unwrap_or_default();
    let Some((_, run)) = place::run(&world.folder(&event.cwd), &id) else {
        return Outcome::Silent;
    };
    let tool: String = event.tool_name.chars().take(80).collect();
    let beat = format!("{}\n", json!({ "at": conduct::now().0, "tool": tool }));
    // Whoever watches sees the missing beats; the instance is not to be bothered.
    let _ = add(&run.beat(&task), beat.as_bytes());
    Outcome::Silent
}

/// Adds a line in one write, so that lines never mix.
fn add(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() > MAX_BYTES {
        return atomic::write(path, line, atomic::Durability::Volatile)
            .map_err(std::io::Error::other);
    }
    file.write_all(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::environment::Environment;

    #[test]
    fn beats_are_added_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join(".claude/orchestration/run-1");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::create_dir_all(dir.path().join(".git")).unwrap();
        let mut world = World {
            cwd: dir.path().to_owned(),
            input: br#"{"hook_event_name":"PostToolUse","tool_name":"Bash"}"#.to_vec(),
            env: Environment::from_vars([(MARK_VARIABLE, "t/run-1/docs")]),
            ..World::default()
        };
        let file = run.join("instance-docs.beat");
        for _ in 0..3 {
            assert_eq!(hook(&world), Outcome::Silent);
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 3);
        let beat: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(beat["tool"], "Bash");
        assert!(beat["at"].as_i64().unwrap() > 0);
        std::fs::write(&file, "x".repeat(70_000)).unwrap();
        let _ = hook(&world);
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
        // An ordinary session leaves nothing behind.
        world.env = Environment::default();
        std::fs::remove_file(&file).unwrap();
        let _ = hook(&world);
        assert!(!file.exists());
    }
}
