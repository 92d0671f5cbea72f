//! `orchestra merge`

use serde::Serialize;

use super::conductor;
use super::follow::{Interrupts, follow};
use super::select::{Purpose, RunChoice, choose};
use super::{Context, Exit, Failure};
use crate::conduct;
use crate::core::event::Request;
use crate::core::record::{IntegrationEnd, MergeMode};
use crate::format::SCHEMA_VERSION;
use crate::integrate::{self, Preview};
use crate::view::snapshot::Standing;

/// How results are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Merge, verify, deliver when green
    Automatic,
    /// Merge and verify into a branch for review
    Review,
    /// List what merges cleanly and what does not
    Manual,
}

/// Merge the results of a run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra merge automatic\n  \
    orchestra merge review --orchestration 20261121-0913\n  \
    orchestra merge manual --json")]
pub struct Args {
    /// How
    #[arg(value_enum)]
    pub mode: Mode,
    /// Which run.
    #[command(flatten)]
    pub choice: RunChoice,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let chosen = choose(&cx.layout()?, &args.choice, Purpose::Act, cx)?;
    let snapshot = &chosen.snapshot;
    if snapshot.done() == 0 {
        return Err(Failure::usage(format!(
            "no task of {} is done: there is nothing to merge",
            snapshot.id
        ))
        .next("`orchestra status` shows where it stands"));
    }
    if args.mode != Mode::Manual {
        super::undo::check_not_reverted(&chosen.run, cx)?;
    }
    let mode = match args.mode {
        Mode::Manual => return manual(args, &chosen.run, cx),
        Mode::Automatic => MergeMode::Automatic,
        Mode::Review => MergeMode::Review,
    };
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
    let interrupts = Interrupts::listen()?;
    let from = std::fs::metadata(chosen.run.log()).map_or(0, |m| m.len());
    if matches!(snapshot.standing, Standing::Finished { .. }) {
        conductor::ask(&chosen.run, Request::Merge { mode, only: None }, cx)?;
    }
    let exit = follow(&chosen.run, &interrupts, from, cx)?;
    let context = conduct::load(&chosen.run, &cx.own_exe()?, cx.environment())
        .map_err(|e| Failure::internal(e.to_string()))?;
    let state = conduct::read_state(&context)?;
    if args.json {
        cx.print_json(&Merged {
            schema_version: SCHEMA_VERSION,
            orchestration_id: chosen.run.id().to_string(),
            integration: state.integration(),
        })?;
    } else if let Some(text) = state.integration().map(next_step) {
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
             merges with what",
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManualRow {
    task: String,
    delivered: bool,
    commits: usize,
    clean: bool,
    conflicts: Vec<String>,
    conflicts_with: Vec<ManualPair>,
    command: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManualPair {
    task: String,
    files: Vec<String>,
}

/// What merges cleanly and what does not, with the command for each; changes nothing.
fn manual(
    args: &Args,
    run: &crate::store::layout::RunDir,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let context = conduct::load(run, &cx.own_exe()?, cx.environment())
        .map_err(|e| Failure::internal(e.to_string()))?;
    let state = conduct::read_state(&context)?;
    let tasks: Vec<_> = state
        .merge_order()
        .into_iter()
        .filter_map(|ix| context.merge_task(&state, ix))
        .collect();
    let base = &context.settings.base_branch;
    let previews = integrate::preview(&context.repo, base, &tasks)?;
    let rows: Vec<ManualRow> = previews
        .iter()
        .map(|p| {
            let place = state
                .find(&p.task)
                .and_then(|ix| state.task(ix).place.as_ref());
            let branch = place.map_or_else(String::new, |place| place.branch.to_string());
            row(p, &branch)
        })
        .collect();
    if args.json {
        cx.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": run.id().to_string(),
            "baseBranch": base.to_string(),
            "tasks": rows,
        }))?;
        return Ok(Exit::Success);
    }
    let mut text = format!("Results of {} against {base}, in merge order:\n", run.id());
    for row in &rows {
        text.push_str(&manual_text(row));
    }
    cx.print(&text)?;
    Ok(Exit::Success)
}

fn row(preview: &Preview, branch: &str) -> ManualRow {
    ManualRow {
        task: preview.task.to_string(),
        delivered: preview.contained,
        commits: preview.commits,
        clean: preview.conflicts.is_empty(),
        conflicts: preview.conflicts.clone(),
        conflicts_with: preview
            .against
            .iter()
            .map(|(task, files)| ManualPair {
                task: task.to_string(),
                files: files.clone(),
            })
            .collect(),
        command: format!("git merge --no-ff {branch}"),
    }
}

fn manual_text(row: &ManualRow) -> String {
    let mut text = if row.delivered {
        format!("  = {}: delivered already\n", row.task)
    } else if row.clean {
        format!(
            "  + {}: merges cleanly ({} commits)\n      {}\n",
            row.task, row.commits, row.command
        )
    } else {
        format!(
            "  ! {}: conflicts in {}\n      {}\n",
            row.task,
            row.conflicts.join(", "),
            row.command
        )
    };
    for pair in &row.conflicts_with {
        text.push_str(&format!(
            "      conflicts with {} in {}\n",
            pair.task,
            pair.files.join(", ")
        ));
    }
    text
}
