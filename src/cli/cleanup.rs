//! `orchestra cleanup`

use super::select::{Purpose, RunChoice, choose};
use super::settings_flags::{SettingsFlags, resolved};
use super::{Context, Exit, Failure, conductor};
use crate::conduct;
use crate::conduct::cleanup::{
    Item, Manner, Orphan, Which, cleanup, orphans, release_orphaned_claims,
};
use crate::conduct::expire::{expire, expired};
use crate::core::id::OrchestrationId;
use crate::core::state::State;
use crate::format::SCHEMA_VERSION;
use crate::git::{Backup, Repo};
use crate::store::claims::Claim;
use crate::store::layout::Layout;
use crate::view::page::{self, one_line, plural};

/// Remove worktrees and branches that a run made; their work is kept in backup refs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra cleanup success\n  \
    orchestra cleanup all --dry-run\n  \
    orchestra cleanup failed --orchestration 20261121-0913 --json\n\n\
  Commits, uncommitted changes and untracked files are kept in backup refs (`orchestra restore`\n  \
  lists them); files that git ignores are not, and are named. Backups of runs that nobody used\n  \
  for `backup_days` days (30, unless configured) go as well.")]
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

/// What one tidying up found and did.
#[derive(Default)]
pub(super) struct Tidied {
    pub(super) rows: Vec<(OrchestrationId, Item)>,
    /// Runs that cannot be read, and why.
    pub(super) unread: Vec<(OrchestrationId, String)>,
    orphans: Vec<Orphan>,
    claims: Vec<Claim>,
    expired: Vec<Backup>,
    days: u32,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let repo = cx.repository()?;
    let layout = Layout::new(repo.root());
    let chosen = match &args.choice.orchestration {
        Some(_) => Some(choose(&layout, &args.choice, Purpose::Look, cx)?.run),
        None => None,
    };
    let mut tidied = Tidied::default();
    let mut read = Vec::new();
    let manner = if args.dry_run {
        Manner::DryRun
    } else {
        Manner::Told
    };
    let runs = match &chosen {
        Some(run) => vec![run.clone()],
        None => layout.runs(),
    };
    for run in runs.iter().filter(|run| run.settings().is_file()) {
        match conductor::load(run, cx) {
            Ok((context, state)) => {
                let items = cleanup(&context, &state, args.which, manner)?;
                let id = run.id();
                tidied
                    .rows
                    .extend(items.into_iter().map(|item| (id.clone(), item)));
                read.push((context, state));
            }
            // One damaged run holds no other up.
            Err(failure) if chosen.is_none() => {
                let rendered = failure.render(&cx.err_page);
                cx.remark(rendered.trim_end());
                tidied.unread.push((run.id().clone(), failure.what));
            }
            Err(failure) => return Err(failure),
        }
    }
    if chosen.is_none() {
        of_no_run(args, &repo, &layout, &read, &mut tidied, cx)?;
    }
    tell(args.dry_run, args.json, &tidied, cx)
}

/// Says what was found and done, and how that went.
pub(super) fn tell(
    dry_run: bool,
    as_json: bool,
    tidied: &Tidied,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    if as_json {
        cx.print_json(&json(dry_run, tidied))?;
    } else {
        let text = text(dry_run, tidied);
        cx.print(&text)?;
    }
    // Left for a reason is an answer; left because of an error is none.
    if !tidied.unread.is_empty() || tidied.rows.iter().any(|(_, item)| item.failed) {
        return Ok(Exit::Internal);
    }
    Ok(Exit::Success)
}

/// What belongs to no run, or to one that is long over.
fn of_no_run(
    args: &Args,
    repo: &Repo,
    layout: &Layout,
    runs: &[(conduct::Context, State)],
    tidied: &mut Tidied,
    cx: &Context<'_>,
) -> Result<(), Failure> {
    tidied.claims = release_orphaned_claims(layout, args.dry_run)?;
    // A run that cannot be read may name any of them.
    if args.which == Which::All && tidied.unread.is_empty() {
        tidied.orphans = orphans(repo, runs)?;
    }
    tidied.days = resolved(&SettingsFlags::default(), Some(repo.root()), cx)?.backup_days;
    tidied.expired = if args.dry_run {
        expired(repo, layout, tidied.days, cx.now())?
    } else {
        expire(repo, layout, tidied.days, cx.now())?
    };
    Ok(())
}

/// The worktrees, branches and bytes that go, or went.
fn totals(tidied: &Tidied) -> (usize, usize, u64) {
    let mut all = (0, 0, 0);
    for (_, item) in tidied.rows.iter().filter(|(_, i)| i.kept.is_none()) {
        all.0 += usize::from(item.worktree.is_some());
        all.1 += usize::from(item.branch.is_some());
        all.2 += item.bytes;
    }
    all
}

fn json(dry_run: bool, tidied: &Tidied) -> serde_json::Value {
    let (worktrees, branches, bytes) = totals(tidied);
    serde_json::json!({
        "schemaVersion": SCHEMA_VERSION,
        "dryRun": dry_run,
        "items": tidied.rows.iter().map(|(id, item)| item_json(id, item)).collect::<Vec<_>>(),
        "totals": { "worktrees": worktrees, "branches": branches, "bytes": bytes },
        "notOurs": tidied.orphans.iter().map(|o| serde_json::json!({
            "what": o.what, "why": o.why, "command": o.command,
        })).collect::<Vec<_>>(),
        "claims": tidied.claims.iter().map(|c| serde_json::json!({
            "name": c.name.to_string(), "orchestrationId": c.orchestration_id.to_string(),
        })).collect::<Vec<_>>(),
        "expiredBackups": tidied.expired.iter().map(|b| serde_json::json!({
            "ref": b.name, "commit": b.oid.to_string(),
        })).collect::<Vec<_>>(),
        "unreadable": tidied.unread.iter().map(|(id, why)| serde_json::json!({
            "orchestrationId": id.to_string(), "why": why,
        })).collect::<Vec<_>>(),
    })
}

fn item_json(id: &OrchestrationId, item: &Item) -> serde_json::Value {
    serde_json::json!({
        "orchestrationId": id.to_string(),
        "task": item.task.as_ref().map(ToString::to_string),
        "worktree": item.worktree,
        "branch": item.branch.as_ref().map(ToString::to_string),
        "bytes": item.bytes,
        "kept": item.kept,
        "backups": item.backups,
        "ignored": item.ignored,
    })
}

fn text(dry_run: bool, tidied: &Tidied) -> String {
    let mut text = String::new();
    for (id, item) in &tidied.rows {
        text.push_str(&line(id, item, dry_run));
    }
    for (id, why) in &tidied.unread {
        text.push_str(&format!(
            "kept     {id}: it cannot be read: {}\n",
            one_line(why)
        ));
    }
    let verb = if dry_run { "would go" } else { "removed " };
    for claim in &tidied.claims {
        text.push_str(&format!(
            "{verb} the claim of {} (a run whose folder is gone) on the name {}\n",
            claim.orchestration_id, claim.name
        ));
    }
    if !tidied.expired.is_empty() {
        text.push_str(&format!(
            "{verb} {} of runs that nobody used for {} days\n",
            plural(tidied.expired.len(), "backup"),
            tidied.days
        ));
        // Afterwards this is the only place where their commits can be found.
        for backup in &tidied.expired {
            text.push_str(&format!(
                "         {} {}\n",
                backup.oid.short(),
                backup.name
            ));
        }
    }
    if text.is_empty() {
        text.push_str("there is nothing to tidy up\n");
    }
    let (worktrees, branches, bytes) = totals(tidied);
    if worktrees + branches > 1 {
        text.push_str(&format!(
            "{}: {worktrees} worktrees, {branches} branches, {}\n",
            if dry_run { "in all" } else { "freed" },
            page::bytes(bytes)
        ));
    }
    if !tidied.orphans.is_empty() {
        text.push_str("not ours by the journal, and left alone:\n");
        for orphan in &tidied.orphans {
            text.push_str(&format!(
                "  {}: {}; if nobody needs it: {}\n",
                one_line(&orphan.what),
                orphan.why,
                one_line(&orphan.command)
            ));
        }
    }
    text
}

fn line(id: &OrchestrationId, item: &Item, dry_run: bool) -> String {
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
    if item.ignored.is_empty() {
        return;
    }
    let mut names: Vec<String> = item.ignored.iter().take(5).map(|n| one_line(n)).collect();
    if item.ignored.len() > names.len() {
        names.push(format!("and {} more", item.ignored.len() - names.len()));
    }
    text.push_str(&format!(
        "         not kept, since git ignores it: {}\n",
        names.join(", ")
    ));
}
