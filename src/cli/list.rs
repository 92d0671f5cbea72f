//! `orchestra list`

use serde_json::json;

use super::select::{age_key, none_there};
use super::{Context, Exit, Failure};
use crate::core::time::Timestamp;
use crate::format::SCHEMA_VERSION;
use crate::store::layout::RunDir;
use crate::view::clock::rfc3339;
use crate::view::lines::short;
use crate::view::page::{cell, columns, fit, one_line};
use crate::view::report_json::{state_name, verdict_name};
use crate::view::snapshot::Snapshot;
use crate::view::summary::standing;

/// List the runs of this repository, the newest first
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra list\n  \
    orchestra list --live\n  \
    orchestra list --json | jq -r '.orchestrations[].id'")]
pub struct Args {
    /// Only runs in which something is still to happen
    #[arg(long)]
    live: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let mut looks: Vec<(RunDir, Snapshot)> = layout
        .runs()
        .into_iter()
        .filter_map(|run| Some((run.clone(), Snapshot::load(&run, cx.now()).ok()?)))
        .collect();
    let any = !looks.is_empty();
    looks.retain(|(_, s)| !args.live || s.is_live());
    looks.sort_by_cached_key(|(run, s)| std::cmp::Reverse(age_key(run, s)));
    if args.json {
        let list: Vec<_> = looks.iter().map(|(run, s)| entry(run, s)).collect();
        cx.print_json(&json!({"schemaVersion": SCHEMA_VERSION, "orchestrations": list}))?;
        return Ok(Exit::Success);
    }
    if looks.is_empty() {
        if any {
            cx.print("No orchestration is live.\n")?;
        } else {
            let nothing = none_there(&layout);
            cx.print(&format!("{}.\n", nothing.what))?;
            for next in nothing.next {
                cx.print(&format!("  {next}\n"))?;
            }
        }
        return Ok(Exit::Success);
    }
    let page = cx.page;
    let width = looks
        .iter()
        .map(|(r, _)| r.id().as_str().len())
        .max()
        .unwrap_or(0)
        .min(40);
    let states = looks.iter().map(|(_, s)| columns(&standing(s).0)).max();
    let state_width = states.unwrap_or(0).max(5);
    let room = page.width.saturating_sub(width + state_width + 7 + 7 + 4);
    let head = format!(
        "{} {} {} {} request",
        cell("id", width),
        cell("state", state_width),
        cell("age", 7),
        cell("tasks", 7)
    );
    let mut text = format!("{}\n", page.strong(&head));
    for (run, snapshot) in &looks {
        let (state, tone) = standing(snapshot);
        let age = created(run, snapshot).map(|at| short(cx.now().since(at)));
        let request = snapshot
            .request
            .as_deref()
            .map(one_line)
            .unwrap_or_default();
        let line = format!(
            "{} {} {} {} {}",
            cell(run.id().as_str(), width),
            page.paint(tone, &cell(&state, state_width)),
            cell(&age.unwrap_or_else(|| "?".into()), 7),
            cell(&format!("{}/{}", snapshot.done(), snapshot.tasks.len()), 7),
            fit(&request, room)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    cx.print(&text)?;
    Ok(Exit::Success)
}

fn created(run: &RunDir, snapshot: &Snapshot) -> Option<Timestamp> {
    let (at, _) = age_key(run, snapshot);
    (at > 0).then_some(Timestamp(at))
}

fn entry(run: &RunDir, snapshot: &Snapshot) -> serde_json::Value {
    json!({
        "id": run.id().as_str(),
        "folder": run.dir().display().to_string(),
        "state": state_name(snapshot),
        "verdict": snapshot.verdict().map(verdict_name),
        "live": snapshot.is_live(),
        "conductorAlive": snapshot.conductor_alive,
        "createdAt": created(run, snapshot).map(rfc3339),
        "endedAt": snapshot.ended_at.map(rfc3339),
        "tasksDone": snapshot.done(),
        "tasksTotal": snapshot.tasks.len(),
        "request": snapshot.request,
    })
}
