//! `orchestra cleanup`

use super::select::{Purpose, RunChoice, choose};
use super::{Context, Exit, Failure};
use crate::conduct;
use crate::conduct::cleanup::{Item, Which, cleanup};
use crate::format::SCHEMA_VERSION;
use crate::store::layout::RunDir;
use crate::view::page;

/// Remove worktrees and branches that a run made; their work is kept in backup refs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra cleanup success\n  \
    orchestra cleanup all --dry-run\n  \
    orchestra cleanup failed --orchestration 20261121-0913 --json")]
pub struct Args {
    /// Which tasks
    #[arg(value_enum)]
    pub which: Which,
    /// Which run [default: all runs of the repository].
    #[command(flatten)]
    pub choice: RunChoice,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let runs = match &args.choice.orchestration {
        Some(_) => vec![choose(&layout, &args.choice, Purpose::Look, cx)?.run],
        None => layout.runs(),
    };
    let mut rows = Vec::new();
    for run in runs.iter().filter(|run| run.settings().is_file()) {
        for item in tidy(run, args, cx)? {
            rows.push((run.id().to_string(), item));
        }
    }
    if args.json {
        let items: Vec<_> = rows.iter().map(|(id, item)| json(id, item)).collect();
        cx.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "dryRun": args.dry_run,
            "items": items,
        }))?;
    } else if rows.is_empty() {
        cx.print("there is nothing to tidy up\n")?;
    } else {
        let text: String = rows
            .iter()
            .map(|(id, item)| line(id, item, args.dry_run))
            .collect();
        cx.print(&text)?;
    }
    // Left for a reason is an answer; left because of an error is none.
    if rows.iter().any(|(_, item)| item.failed) {
        return Ok(Exit::Internal);
    }
    Ok(Exit::Success)
}

fn tidy(run: &RunDir, args: &Args, cx: &Context<'_>) -> Result<Vec<Item>, Failure> {
    let context = conduct::load(run, &cx.own_exe()?, cx.environment())
        .map_err(|e| Failure::internal(e.to_string()).in_path(run.dir()))?;
    let state = conduct::read_state(&context)?;
    Ok(cleanup(&context, &state, args.which, args.dry_run)?)
}

fn json(id: &str, item: &Item) -> serde_json::Value {
    serde_json::json!({
        "orchestrationId": id,
        "task": item.task.as_ref().map(ToString::to_string),
        "worktree": item.worktree,
        "branch": item.branch.as_ref().map(ToString::to_string),
        "bytes": item.bytes,
        "kept": item.kept,
        "backups": item.backups,
    })
}

fn line(id: &str, item: &Item, dry_run: bool) -> String {
    let what = item
        .task
        .as_ref()
        .map_or_else(|| format!("{id} (merging)"), |task| format!("{id} {task}"));
    if let Some(why) = &item.kept {
        let mut text = format!("kept     {what}: {why}\n");
        keepsakes(item, &mut text);
        return text;
    }
    let verb = if dry_run { "would go" } else { "removed " };
    let mut things = Vec::new();
    if let Some(path) = &item.worktree {
        things.push(format!("{} ({})", path.display(), page::bytes(item.bytes)));
    }
    if let Some(branch) = &item.branch {
        things.push(format!("branch {branch}"));
    }
    let mut text = format!("{verb} {what}: {}\n", things.join(", "));
    keepsakes(item, &mut text);
    text
}

fn keepsakes(item: &Item, text: &mut String) {
    for backup in &item.backups {
        text.push_str(&format!("         its work is kept as {backup}\n"));
    }
}
