//! `orchestra merge`

mod rows;
mod walk;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::conductor;
use super::follow::{Interrupts, follow_until};
use super::select::{self, Purpose, RunChoice, choose};
use super::{Context, Exit, Failure};
use crate::conduct;
use crate::core::event::Request;
use crate::core::id::TaskName;
use crate::core::record::{IntegrationEnd, MergeMode};
use crate::core::state::State;
use crate::format::SCHEMA_VERSION;
use crate::store::layout::RunDir;
use crate::view::snapshot::{Snapshot, Standing};

use rows::Rows;
pub(super) use walk::{answer, can_ask};

/// How results are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Merge, verify, deliver when green
    Automatic,
    /// Merge and verify into a branch for review
    Review,
    /// Go through the tasks one at a time; without a terminal, list them
    Manual,
}

/// Merge the results of a run
///
/// Results are merged in dependency order and proved with the verify command. What does not
/// merge or makes the tree red is set aside, the rest goes on. The base branch only ever moves
/// to a commit that was proved.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra merge automatic\n  \
    orchestra merge automatic --task api --task docs\n  \
    orchestra merge automatic --dry-run\n  \
    orchestra merge review --diff api\n  \
    orchestra merge manual --json")]
pub struct Args {
    /// How
    #[arg(value_enum)]
    pub mode: Mode,
    /// Which run.
    #[command(flatten)]
    pub choice: RunChoice,
    /// Only this task, and what it builds on (may be given again)
    #[arg(long = "task", value_name = "TASK")]
    pub tasks: Vec<String>,
    /// Show what would be merged and what conflicts; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Show what this task changed; change nothing
    #[arg(long, value_name = "TASK", conflicts_with_all = ["dry_run", "json"])]
    pub diff: Option<String>,
    /// Wait no longer than this for its end, then exit with 9; it goes on
    #[arg(long, value_name = "SECONDS", conflicts_with = "json")]
    pub timeout: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How the end of a merge is waited for and told.
#[derive(Debug, Clone, Copy, Default)]
struct Telling {
    json: bool,
    deadline: Option<Instant>,
}

/// One run, as it is to be merged.
struct Merging {
    run: RunDir,
    /// A look at it when the command began.
    snapshot: Snapshot,
    context: conduct::Context,
}

impl Merging {
    fn state(&self) -> Result<State, Failure> {
        Ok(conduct::read_state(&self.context)?)
    }
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let chosen = choose(&cx.layout()?, &args.choice, Purpose::Act, cx)?;
    let (context, state) = conductor::load(&chosen.run, cx)?;
    let merging = Merging {
        context,
        run: chosen.run,
        snapshot: chosen.snapshot,
    };
    let snapshot = &merging.snapshot;
    if let Some(task) = &args.diff {
        let task = select::task(snapshot, task)?;
        let text = rows::diff(&merging, &state, &task, cx.page.color)?;
        cx.print(&text)?;
        return Ok(Exit::Success);
    }
    if snapshot.done() == 0 {
        return Err(Failure::usage(format!(
            "no task of {} is done: there is nothing to merge",
            snapshot.id
        ))
        .next("`orchestra status` shows where it stands"));
    }
    let mut only = Vec::new();
    for task in &args.tasks {
        only.push(select::task(snapshot, task)?);
    }
    let only = (!only.is_empty()).then_some(only);
    let looking = args.dry_run || (args.mode == Mode::Manual && args.json);
    if looking {
        return look(args, &merging, only.as_deref(), cx);
    }
    if args.mode != Mode::Manual {
        super::undo::check_not_reverted(&merging.run, cx)?;
    }
    if args.mode == Mode::Manual && !walk::can_ask(cx) {
        return look(args, &merging, only.as_deref(), cx);
    }
    match snapshot.standing {
        Standing::Finished { .. } => {}
        Standing::Integrating(_) => {
            cx.remark("its results are being merged already");
        }
        _ => {
            return Err(Failure::usage(format!(
                "{} is not finished: its results are merged when all tasks have ended",
                snapshot.id
            ))
            .next("`orchestra wait` waits for it, `orchestra control cancel` ends it"));
        }
    }
    let telling = Telling {
        json: args.json,
        deadline: args
            .timeout
            .and_then(|s| Instant::now().checked_add(Duration::from_secs(s))),
    };
    let idle = matches!(snapshot.standing, Standing::Finished { .. });
    match args.mode {
        Mode::Manual => walk::walk(&merging, only.as_deref(), cx),
        Mode::Automatic => merge(&merging, MergeMode::Automatic, only, idle, telling, cx),
        Mode::Review => {
            let exit = merge(&merging, MergeMode::Review, only.clone(), idle, telling, cx)?;
            let state = merging.state()?;
            let ready = matches!(state.integration(), Some(IntegrationEnd::Reviewable { .. }));
            if !ready || args.json {
                return Ok(exit);
            }
            let rows = Rows::of(&merging, &state, only.as_deref())?;
            cx.print(&rows.review(&state))?;
            if !walk::can_ask(cx) || !walk::confirm(&merging, &state, cx)? {
                return Ok(exit);
            }
            merge(
                &merging,
                MergeMode::Automatic,
                only,
                true,
                Telling::default(),
                cx,
            )
        }
    }
}

/// What merges cleanly and what does not; changes nothing.
fn look(
    args: &Args,
    merging: &Merging,
    only: Option<&[TaskName]>,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let state = merging.state()?;
    let rows = Rows::of(merging, &state, only)?;
    if args.json {
        cx.print_json(&rows.json(merging, args.mode == Mode::Manual))?;
    } else {
        cx.print(&rows.text(merging, args.mode))?;
    }
    Ok(Exit::Success)
}

/// Asks the conductor for a merge, follows it to its end, and says how it went.
fn merge(
    merging: &Merging,
    mode: MergeMode,
    only: Option<Vec<TaskName>>,
    ask: bool,
    telling: Telling,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let run = &merging.run;
    let interrupts = Interrupts::listen()?;
    let from = std::fs::metadata(run.log()).map_or(0, |m| m.len());
    if ask {
        conductor::ask(run, Request::Merge { mode, only }, cx)?;
    }
    let exit = follow_until(run, &interrupts, from, telling.deadline, cx)?;
    if exit == Exit::StillRunning {
        return Ok(exit);
    }
    let state = merging.state()?;
    if telling.json {
        cx.print_json(&Merged {
            schema_version: SCHEMA_VERSION,
            orchestration_id: run.id().to_string(),
            integration: state.integration(),
        })?;
    } else if state.queue().aside().is_empty()
        && let Some(text) = state.integration().map(next_step)
    {
        cx.print(&format!("{text}\n"))?;
    }
    Ok(exit)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Merged<'a> {
    schema_version: u32,
    orchestration_id: String,
    integration: Option<&'a IntegrationEnd>,
}

/// What a person can do now.
fn next_step(end: &IntegrationEnd) -> String {
    match end {
        IntegrationEnd::Delivered { to, verified, .. } => format!(
            "delivered as {}{}",
            to.short(),
            if *verified {
                ", verified"
            } else {
                "; no verify command is configured"
            }
        ),
        IntegrationEnd::Reviewable { branch, commit, .. } => format!(
            "ready for review on {branch} ({}): `git log -p {branch}`; \
             `orchestra merge automatic` delivers it",
            commit.short()
        ),
        IntegrationEnd::Conflict { task, files } => format!(
            "{task} conflicts in {}; nothing was delivered. `orchestra merge manual` shows what \
             merges with what, `orchestra control answer {task} \"…\"` has it resolved",
            files.join(", ")
        ),
        IntegrationEnd::Red { commit, .. } => format!(
            "the merged tree ({}) is red; nothing was delivered. `orchestra report` shows the output",
            commit.short()
        ),
        IntegrationEnd::NotDelivered { detail, .. } | IntegrationEnd::Failed { detail } => {
            detail.clone()
        }
    }
}
