//! `orchestra-heartbeat`: what happens in a session that a person talks to.
//!
//! Headless instances are watched through their streams and judged by their supervisors; one
//! that a person talks to (`orchestra attach`, or a session that they opened by hand in a task's
//! worktree) has neither. The settings of the worktree, and of no other folder, let this program
//! add a line to `instance-TASK.beat` for each prompt, tool call and end of a turn, and hold the
//! end of a turn to its evidence ([`crate::supervise::stop`]). The client's status line, which
//! says what a session costs, is told the same way.
//!
//! `orchestra-heartbeat --main PATH --run ID --task TASK`

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Outcome;
use super::edge::World;
use crate::agent::tree::MARK_VARIABLE;
use crate::conduct;
use crate::core::id::{OrchestrationId, TaskName};
use crate::format::beat_file::{self, BeatLine, TodoCall};
use crate::format::claude_stream::tool_subject;
use crate::format::hook_json::HookEvent;
use crate::format::launch_file::LaunchFile;
use crate::format::status_file::StatusFile;
use crate::store::layout::{Layout, RunDir};
use crate::store::{atomic, beats, lock};
use crate::supervise::attached::ATTACHED_VARIABLE;
use crate::supervise::stop;

/// Longest last text that is kept, characters.
const MAX_SAID: usize = 4000;
/// Longest input of a todo tool that is kept, bytes.
const MAX_TODO: usize = 32 * 1024;

/// The whole hook.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    let attached = world.var(ATTACHED_VARIABLE).is_some();
    if world.var(MARK_VARIABLE).is_some() && !attached {
        // A headless instance: its supervisor hears more than this.
        return Outcome::Silent;
    }
    let Some((run, task)) = place(world) else {
        return Outcome::Silent;
    };
    // A beat counts whatever the event says.
    let parsed = HookEvent::parse(&world.input);
    let is_known = parsed.is_ok();
    let event = parsed.unwrap_or_default();
    let mut beat = beat(&event);
    if !is_known {
        "Unknown".clone_into(&mut beat.event);
    }
    if !attached {
        beat.client = super::announce::client(world);
    }
    let mut outcome = Outcome::Silent;
    match event.hook_event_name.as_str() {
        "" if is_known => outcome = Outcome::Line(status_line(&run, &task)),
        "UserPromptSubmit" if !attached && is_taken(&run, &task, &event) => {
            outcome = Outcome::Answer(json!({ "decision": "block", "reason": taken(&task) }));
        }
        "Stop" => {
            if let Some(back) = sent_back(world, &run, &task, &event) {
                beat.sent_back = back.brief;
                outcome = Outcome::Answer(json!({ "decision": "block", "reason": back.message }));
            }
        }
        _ => {}
    }
    // Whoever watches sees the missing beats; the session is not to be bothered.
    let _ = beats::add(&run.beat(&task), &beat);
    outcome
}

/// Whether an instance works in this very session: two clients would write over each other.
fn is_taken(run: &RunDir, task: &TaskName, event: &HookEvent) -> bool {
    if !lock::may_be_held(&run.lock(task)) {
        return false;
    }
    let launch: Option<LaunchFile> = atomic::peek_json(&run.launch(task));
    let status: Option<StatusFile> = atomic::peek_json(&run.status(task));
    // Others than an instance hold the lock for an instant.
    launch.zip(status).is_some_and(|(launch, status)| {
        launch.session_id.to_string() == event.session_id
            && status.attempt == launch.attempt
            && status.ended_at.is_none()
    })
}

fn taken(task: &TaskName) -> String {
    format!(
        "An instance of Orchestra works on {task} in this very session now. Leave this one \
         (/exit); `orchestra attach {task}` takes it over, `orchestra control pause {task}` \
         lets it stop."
    )
}

/// Which instance it is, as the settings of its worktree say.
fn place(world: &World) -> Option<(RunDir, TaskName)> {
    let mut args = world.args.iter();
    let (mut main, mut id, mut task) = (None, None, None);
    while let Some(flag) = args.next() {
        let value = args.next()?;
        match flag.as_str() {
            "--main" => main = Some(PathBuf::from(value)).filter(|path| path.is_absolute()),
            "--run" => id = OrchestrationId::parse(value).ok(),
            "--task" => task = TaskName::parse(value).ok(),
            _ => return None,
        }
    }
    let run = Layout::new(&main?).run(&id?);
    run.dir().is_dir().then_some((run, task?))
}

fn beat(event: &HookEvent) -> BeatLine {
    let is_todo = matches!(
        event.tool_name.as_str(),
        "TaskCreate" | "TaskUpdate" | "TodoWrite"
    );
    let fits = || serde_json::to_vec(&event.tool_input).is_ok_and(|text| text.len() <= MAX_TODO);
    let todo = (event.hook_event_name == "PostToolUse" && is_todo && fits()).then(|| TodoCall {
        input: event.tool_input.clone(),
        created: event.tool_response["task"]["id"]
            .as_str()
            .map(str::to_owned),
    });
    let name = match event.hook_event_name.as_str() {
        "" => "StatusLine",
        // The client itself, about a command in the background.
        "UserPromptSubmit" if event.prompt.starts_with("<task-notification>") => "Notification",
        name => name,
    };
    BeatLine {
        at: conduct::now().0,
        event: name.chars().take(40).collect(),
        tool: event.tool_name.chars().take(80).collect(),
        subject: tool_subject(&event.tool_input),
        session: event.session_id.chars().take(80).collect(),
        transcript: event.transcript_path.chars().take(4000).collect(),
        todo,
        said: event
            .last_assistant_message
            .chars()
            .take(MAX_SAID)
            .collect(),
        reason: event.reason.chars().take(80).collect(),
        usd: event.cost["total_cost_usd"].as_f64(),
        client: None,
        sent_back: String::new(),
    }
}

/// Whether the turn is sent back.
fn sent_back(
    world: &World,
    run: &RunDir,
    task: &TaskName,
    event: &HookEvent,
) -> Option<stop::SentBack> {
    let works_on = matches!(&event.background_tasks, Value::Array(tasks) if !tasks.is_empty());
    if works_on || event.permission_mode == "plan" {
        return None;
    }
    let launch: LaunchFile = atomic::peek_json(&run.launch(task))?;
    let bytes = std::fs::read(run.beat(task)).unwrap_or_default();
    let before: Vec<BeatLine> = beat_file::lines(&String::from_utf8_lossy(&bytes))
        .filter(|line| line.session == event.session_id)
        .collect();
    // What cannot be looked at keeps nobody from ending a turn.
    stop::at_stop(
        run,
        &launch,
        &before,
        &event.last_assistant_message,
        &world.env,
    )
    .ok()
    .flatten()
}

/// Whose session this is, at the foot of the terminal.
fn status_line(run: &RunDir, task: &TaskName) -> String {
    let status: Option<StatusFile> = atomic::peek_json(&run.status(task));
    let mut line = format!("orchestra {}/{task}", run.id());
    if let Some(status) = status {
        if let (Some(done), Some(total)) = (status.progress.done, status.progress.total) {
            line.push_str(&format!(" | {done}/{total}"));
        }
        if let Some(usd) = status.cost_usd {
            line.push_str(&format!(" | ${usd:.2}"));
        }
    }
    line.push_str(" | /exit gives it back");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::agent::environment::Environment;

    fn world(dir: &Path, input: &Value) -> World {
        World {
            cwd: dir.to_owned(),
            input: input.to_string().into_bytes(),
            args: [
                "--main",
                dir.to_str().unwrap(),
                "--run",
                "run-1",
                "--task",
                "docs",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..World::default()
        }
    }

    #[test]
    fn beats_are_added_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join(".claude/orchestration/run-1");
        std::fs::create_dir_all(&run).unwrap();
        let event = json!({"hook_event_name": "PostToolUse", "tool_name": "Bash",
            "tool_input": {"command": "make"}});
        let mut world = world(dir.path(), &event);
        let file = run.join("instance-docs.beat");
        for _ in 0..3 {
            assert_eq!(hook(&world), Outcome::Silent);
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<BeatLine> = beat_file::lines(&text).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].tool, "Bash");
        assert_eq!(lines[0].subject, "make");
        assert!(
            lines[0].client.is_some(),
            "of a session that was opened by hand"
        );
        assert!(lines[0].at > 0);
        std::fs::write(&file, "x".repeat(300_000)).unwrap();
        let _ = hook(&world);
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
        // A headless instance leaves nothing behind; one that a person attached to does.
        std::fs::remove_file(&file).unwrap();
        world.env = Environment::from_vars([(MARK_VARIABLE, "t/run-1/docs")]);
        assert_eq!(hook(&world), Outcome::Silent);
        assert!(!file.exists());
        world.env.set(ATTACHED_VARIABLE, "1");
        assert_eq!(hook(&world), Outcome::Silent);
        assert!(file.exists());
        // Neither does anything that is no instance.
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(beat_file::lines(&text).all(|line| line.client.is_none()));
        // What is no event, or too long for one, is no status line.
        world.input = b"not JSON".to_vec();
        assert_eq!(hook(&world), Outcome::Silent);
        std::fs::remove_file(&file).unwrap();
        for args in [
            &[][..],
            &["--main", "/nowhere", "--run", "run-1", "--task", "docs"],
        ] {
            world.args = args.iter().map(|a| (*a).to_owned()).collect();
            assert_eq!(hook(&world), Outcome::Silent);
        }
        assert!(!file.exists());
    }

    #[test]
    fn the_status_line_tells_the_cost_and_whose_session_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join(".claude/orchestration/run-1");
        std::fs::create_dir_all(&run).unwrap();
        let said = json!({"session_id": "s", "cost": {"total_cost_usd": 0.25}});
        let outcome = hook(&world(dir.path(), &said));
        let Outcome::Line(line) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(line, "orchestra run-1/docs | /exit gives it back");
        let text = std::fs::read_to_string(run.join("instance-docs.beat")).unwrap();
        let beat = beat_file::lines(&text).next().unwrap();
        assert_eq!((beat.event.as_str(), beat.usd), ("StatusLine", Some(0.25)));
    }
}
