//! The end of a turn in a session that a person talks to: is what it says backed by evidence?
//!
//! Asked by a hook, so it knows only files: the order, the status and the lines of the hooks
//! before it. Which evidence is wanted, [`crate::core::claim`] decides.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::gate::{self, Lack, Rules, lacks_in_git};
use super::work::{Helpers, Workshop};
use crate::agent::environment::Environment;
use crate::agent::tree::Marker;
use crate::core::claim::{Stop, Wanted};
use crate::core::id::Oid;
use crate::format::SCHEMA_VERSION;
use crate::format::beat_file::BeatLine;
use crate::format::launch_file::LaunchFile;
use crate::format::status_file::StatusFile;
use crate::format::todo_list::Todos;
use crate::store::atomic::{self, Durability};
use crate::store::layout::RunDir;

/// Tools that change nothing.
const LOOKING: &[&str] = &[
    "Read",
    "Grep",
    "Glob",
    "LS",
    "WebFetch",
    "WebSearch",
    "TaskCreate",
    "TaskUpdate",
    "TaskList",
    "TaskGet",
    "TodoWrite",
    "AskUserQuestion",
    "ToolSearch",
];

/// What a session is told, and what people are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBack {
    /// For the model.
    pub message: String,
    /// In a few words, for the log.
    pub brief: String,
}

/// What the verify command said about a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CheckedFile {
    schema_version: u32,
    head: Oid,
    verify: String,
    green: bool,
}

/// Whether the end of a turn is sent back, and with which words. `before` are the lines of the
/// hooks of this session so far; `env` is the session's environment.
///
/// # Errors
/// When the worktree cannot be looked at; then the turn ends.
pub fn at_stop(
    run: &RunDir,
    launch: &LaunchFile,
    before: &[BeatLine],
    said: &str,
    env: &Environment,
) -> Result<Option<SentBack>, String> {
    if is_done(run, launch) {
        // It is done; the person has a look at it.
        return Ok(None);
    }
    let status: Option<StatusFile> = atomic::peek_json(&run.status(&launch.task));
    let wanted = since_prompt(before, said, status.as_ref()).wants(launch.gate_rounds);
    if wanted == Wanted::Nothing {
        return Ok(None);
    }
    let shop = workshop(run, launch, env);
    let git = shop.look()?;
    let mut lacks = lacks_in_git(&shop.rules, &git);
    if wanted == Wanted::Tidy {
        lacks.retain(|lack| matches!(lack, Lack::Uncommitted(_) | Lack::OffBranch { .. }));
    } else if lacks.is_empty()
        && let (Some(verify), Some(head)) = (&launch.verify, &git.head)
        && let Some(lack) = verified(&shop, &checked_path(run, launch), verify, head)
    {
        lacks.push(lack);
    }
    if lacks.is_empty() {
        return Ok(None);
    }
    let mut message = gate::message(&shop.rules, &lacks);
    message.push_str(
        " A person is with you in this session. When they wanted it left like this, say so and \
         end your turn: you are not asked again for the same.",
    );
    Ok(Some(SentBack {
        message,
        brief: gate::brief(&lacks),
    }))
}

/// Whether the task is done. The marker of a result that had to be mended since is of an attempt
/// before the one that the order is for.
fn is_done(run: &RunDir, launch: &LaunchFile) -> bool {
    let path = run.complete_marker(&launch.task);
    let marker: Option<Value> = atomic::peek_json(&path);
    let of = marker.and_then(|marker| marker.get("attempt")?.as_u64());
    of.map_or_else(|| path.exists(), |of| of >= u64::from(launch.attempt))
}

/// What the session did since the person last said something.
fn since_prompt<'a>(before: &[BeatLine], said: &'a str, status: Option<&StatusFile>) -> Stop<'a> {
    let prompt = before.iter().rposition(|b| b.event == "UserPromptSubmit");
    let since = before.get(prompt.unwrap_or(0)..).unwrap_or_default();
    let sent_back = since.iter().filter(|b| !b.sent_back.is_empty()).count();
    let worked = |b: &BeatLine| b.event == "PostToolUse" && !LOOKING.contains(&b.tool.as_str());
    Stop {
        said,
        todos: todos(before, status),
        worked: since.iter().any(worked),
        sent_back: u32::try_from(sent_back).unwrap_or(u32::MAX),
    }
}

/// The list as it was known before, and what was done about it since. A list of which the calls
/// are known already comes out the same.
fn todos(before: &[BeatLine], status: Option<&StatusFile>) -> Option<(u32, u32)> {
    let known = status.map_or(&[][..], |status| &status.progress.items[..]);
    let mut todos = Todos::resumed(known);
    for beat in before {
        if let Some(call) = &beat.todo {
            todos.beat(&beat.tool, call);
        }
    }
    let progress = todos.progress();
    progress.done.zip(progress.total)
}

fn workshop(run: &RunDir, launch: &LaunchFile, env: &Environment) -> Workshop {
    Workshop {
        worktree: launch.worktree.clone(),
        main_checkout: launch.main_checkout.clone(),
        rules: Rules {
            branch: launch.branch.clone(),
            base: launch.base.clone(),
            may_end_without_commits: launch.may_end_without_commits,
            verify: launch.verify.clone(),
            merging: launch.merging.clone(),
        },
        env: env.for_instance(),
        marker: Marker::new(&launch.token, &launch.orchestration_id, Some(&launch.task)),
        commands_log: run.commands_log(&launch.task),
        command_timeout: Duration::from_secs(launch.command_timeout_seconds),
        helpers: Helpers::default(),
        repo: Arc::default(),
    }
}

fn checked_path(run: &RunDir, launch: &LaunchFile) -> std::path::PathBuf {
    run.checked(&launch.task)
}

/// Runs the verify command, unless it was green for this very commit before.
fn verified(shop: &Workshop, path: &Path, verify: &str, head: &Oid) -> Option<Lack> {
    let green = atomic::peek_json::<CheckedFile>(path)
        .is_some_and(|known| known.green && known.head == *head && known.verify == verify);
    if green {
        return None;
    }
    let report = shop.run(verify, &AtomicBool::new(false));
    let checked = CheckedFile {
        schema_version: SCHEMA_VERSION,
        head: head.clone(),
        verify: verify.to_owned(),
        green: report.is_green(),
    };
    // Unwritten, it is only run once more.
    let _ = atomic::write_json(path, "what was checked", &checked, Durability::Volatile);
    (!report.is_green()).then(|| Lack::Verify {
        ending: report.ending(),
        tail: report.tail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::scripted::tests::launch;
    use crate::core::id::OrchestrationId;
    use crate::store::layout::Layout;
    use crate::supervise::last_word::mark_complete;

    #[test]
    fn a_result_that_had_to_be_mended_is_not_done_by_its_old_marker() {
        let dir = tempfile::tempdir().unwrap();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        let mut launch = launch("work");
        assert!(!is_done(&run, &launch));
        let head = Oid::parse(&"a".repeat(40)).unwrap();
        mark_complete(&run, &launch, &head, None).unwrap();
        assert!(is_done(&run, &launch));
        launch.attempt += 1;
        assert!(!is_done(&run, &launch));
        // One that a script left counts as it stands.
        std::fs::write(run.complete_marker(&launch.task), "").unwrap();
        assert!(is_done(&run, &launch));
    }
}
