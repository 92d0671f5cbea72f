//! `instance-complete`: an instance says that it is done.
//!
//! Scripts that work on tasks by themselves report here. Claude Code's own events of an
//! instance are only noted: whether a task is done is decided by evidence, by its supervisor.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::edge::World;
use super::{Outcome, place};
use crate::agent::tree::MARK_VARIABLE;
use crate::conduct::{self, ensure};
use crate::core::event::Request;
use crate::core::id::{TaskName, listed};
use crate::core::plan::Limits;
use crate::core::record::MergeMode;
use crate::format::claude_stream::one_line;
use crate::format::hook_json::{self, HookEvent, Input, InstanceDocument, tells_failure};
use crate::format::plan_file;
use crate::format::settings_file::SettingsFile;
use crate::git::Repo;
use crate::store::layout::{Layout, RunDir};
use crate::store::{atomic, lock::Lock, run_log};

/// The whole hook.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    match hook_json::parse::<InstanceDocument>(&world.input) {
        Err(fault) => Outcome::Fault(fault.to_string()),
        Ok(Input::Script(document)) => match of_script(&document, world) {
            Ok(outcome) => outcome,
            Err(why) => Outcome::Fault(why),
        },
        Ok(Input::Event(event)) => {
            of_event(&event, world);
            Outcome::Silent
        }
    }
}

/// Notes that an instance's session ended a turn.
fn of_event(event: &HookEvent, world: &World) {
    if !matches!(event.hook_event_name.as_str(), "Stop" | "SessionEnd") {
        return;
    }
    let Some((id, task)) = world.var(MARK_VARIABLE).and_then(place::instance) else {
        return;
    };
    if let Some((_, run)) = place::run(&world.folder(&event.cwd), &id) {
        let what = if event.hook_event_name == "Stop" {
            "ended a turn"
        } else {
            "ended its session"
        };
        run_log::append(&run, conduct::now(), &[format!("{task}: {what}")]);
    }
}

fn of_script(document: &InstanceDocument, world: &World) -> Result<Outcome, String> {
    let run = known_run(&document.orchestration_id, &document.worktree_path, world)?;
    let task = &document.instance;
    let failed = tells_failure(&document.result);
    let tasks = known_tasks(&run.dir);
    if let Known::Planned(names) = &tasks
        && !names.contains(task)
    {
        return Err(format!(
            "the plan of {} has no task {task}; it has {}",
            document.orchestration_id,
            listed(names)
        ));
    }
    let state = if failed { "failed" } else { "complete" };
    run_log::append(
        &run.dir,
        conduct::now(),
        &[format!(
            "{task}: {state} in {}: {}",
            document.worktree_path.display(),
            one_line(&text_of(&document.result), 500)
        )],
    );
    if failed {
        return Ok(answer(&run.dir, task, state, false));
    }
    atomic::write(
        &run.dir.complete_marker(task),
        format!("{}\n", text_of(&document.result)).as_bytes(),
        atomic::Durability::Durable,
    )
    .map_err(|e| e.to_string())?;
    let all = set_integration_going(&run, world)?;
    Ok(answer(&run.dir, task, state, all))
}

fn answer(run: &RunDir, task: &TaskName, state: &str, all_complete: bool) -> Outcome {
    Outcome::Answer(json!({
        "orchestration_id": run.id(),
        "instance_id": task,
        "status": state,
        "all_complete": all_complete,
        "log": run.log(),
    }))
}

/// A run and the checkout that it is in.
pub(super) struct KnownRun {
    pub(super) main: std::path::PathBuf,
    pub(super) dir: RunDir,
}

/// Finds an orchestration from where the hook was started, else from the worktree that it is
/// told of.
pub(super) fn known_run(
    id: &crate::core::id::OrchestrationId,
    worktree: &Path,
    world: &World,
) -> Result<KnownRun, String> {
    let mut why = None;
    for start in [world.cwd.as_path(), worktree] {
        if !start.is_absolute() || !start.is_dir() {
            continue;
        }
        match Repo::discover(start) {
            Ok(repo) => {
                let dir = Layout::new(repo.root()).run(id);
                let main = repo.root().to_owned();
                if dir.dir().is_dir() {
                    return Ok(KnownRun { main, dir });
                }
                why = Some(format!(
                    "there is no orchestration {id} in {}; orchestration-start makes one",
                    main.display()
                ));
            }
            Err(error) => why = why.or(Some(error.to_string())),
        }
    }
    Err(why.unwrap_or_else(|| format!("there is no orchestration {id} here")))
}

/// The tasks of a run.
enum Known {
    /// By its plan.
    Planned(BTreeSet<TaskName>),
    /// By the files of its instances; there may be more.
    Seen(BTreeSet<TaskName>),
}

fn known_tasks(run: &RunDir) -> Known {
    let plan = std::fs::read(run.plan())
        .ok()
        .and_then(|bytes| plan_file::parse(&bytes, &Limits::default()).ok());
    if let Some(parsed) = plan {
        return Known::Planned(parsed.plan.tasks().iter().map(|t| t.name.clone()).collect());
    }
    let names = std::fs::read_dir(run.dir())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_prefix("instance-")?;
            let name = name
                .strip_suffix("-complete")
                .or_else(|| name.strip_suffix(".status.json"))?;
            TaskName::parse(name).ok()
        })
        .collect();
    Known::Seen(names)
}

/// When all tasks are complete, asks for integration, once. Says whether they are.
fn set_integration_going(run: &KnownRun, world: &World) -> Result<bool, String> {
    let dir = &run.dir;
    // Of two instances that end at the same time, one sees that all are complete.
    let lock = Lock::take_within(&dir.hook_lock(), Duration::from_secs(10));
    let _lock = lock.map_err(|e| e.to_string())?;
    let (tasks, planned) = match known_tasks(dir) {
        Known::Planned(tasks) => (tasks, true),
        Known::Seen(tasks) => (tasks, false),
    };
    let missing = tasks
        .iter()
        .filter(|task| !dir.complete_marker(task).exists())
        .count();
    let tell = |line: &str| run_log::append(dir, conduct::now(), &[line]);
    if missing > 0 {
        tell(&format!(
            "{} of {} instances are complete",
            tasks.len() - missing,
            tasks.len()
        ));
        return Ok(false);
    }
    if !planned {
        tell("all known instances are complete; there is no plan to integrate by");
        return Ok(true);
    }
    let settings: Option<SettingsFile> = atomic::peek_json(&dir.settings());
    let Some(settings) = settings else {
        tell(
            "all instances are complete; the run was not started by this program, so their \
             branches are left for the integration step",
        );
        return Ok(true);
    };
    let first =
        atomic::create_new(&dir.integration_asked(), b"asked\n").map_err(|e| e.to_string())?;
    if first {
        tell("all instances are complete; integration begins");
        let mode = settings.merge.unwrap_or(MergeMode::Automatic);
        ensure::ask(
            dir,
            Request::Merge { mode, only: None },
            &run.main,
            &world.program("orchestra"),
            &world.env,
        )?;
    }
    Ok(true)
}

/// A result as text.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
