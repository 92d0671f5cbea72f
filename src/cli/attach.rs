//! `orchestra attach`

use serde_json::json;

use super::select::{self, Purpose, RunChoice};
use super::{Context, Exit, Failure};
use crate::format::SCHEMA_VERSION;
use crate::view::report::shell_word;

/// Show how to go on in the session of a task
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra attach user-profiles\n  \
    eval \"$(orchestra attach user-profiles)\"")]
pub struct Args {
    /// The task, or #NUMBER of its issue
    task: String,
    /// Which run.
    #[command(flatten)]
    choice: RunChoice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let chosen = select::choose(&layout, &args.choice, Purpose::Look, cx)?;
    let name = select::task(&chosen.snapshot, &args.task)?;
    let task = chosen.snapshot.task(&name);
    let session = task.and_then(|t| t.session);
    let place = task.and_then(|t| t.place.as_ref().filter(|_| t.worktree_exists));
    let (Some(session), Some(place)) = (session, place) else {
        return Err(
            Failure::usage(format!("{name} has no session with a worktree")).next(format!(
                "orchestra logs {name} - shows what it did, when it was started"
            )),
        );
    };
    // Two processes on one session would write over each other.
    if task.is_some_and(|t| t.supervisor_alive) {
        return Err(
            Failure::usage(format!("an instance is at work on {name} right now"))
                .next(format!("orchestra logs {name} -f - follows it"))
                .next(format!(
                    "orchestra control answer {name} \"TEXT\" - tells it something"
                ))
                .next(format!(
                    "orchestra control pause {name} - stops it, and then attach"
                )),
        );
    }
    let folder = place.worktree.display().to_string();
    let command = format!("cd {} && claude --resume {session}", shell_word(&folder));
    if args.json {
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "task": name.as_str(),
            "sessionId": session.to_string(),
            "worktreePath": folder,
            "command": command,
        }))?;
    } else {
        cx.print(&format!("{command}\n"))?;
    }
    Ok(Exit::Success)
}
