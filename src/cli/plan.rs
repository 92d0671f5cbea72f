//! `orchestra plan`

use serde_json::{Value, json};

use super::doubts;
use super::issue;
use super::plan_input::PlanInput;
use super::run::{learned, refused};
use super::settings_flags::{SettingsFlags, resolved};
use super::{Context, Exit, Failure};
use crate::conduct::create;
use crate::core::history::Learned;
use crate::format::{SCHEMA_VERSION, plan_file};
use crate::store::layout::Layout;
use crate::view::plan::{self as plan_view, Options};

/// Make, check, show and store a plan
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra plan \"Add user profiles, fix the login, update the docs\"\n  \
    orchestra plan --tasks tasks.json --dry-run\n  \
    orchestra plan --tasks - --strict --json < tasks.json\n  \
    orchestra plan --request-file request.txt\n  \
    orchestra plan --issue 12 --dry-run")]
pub struct Args {
    /// Where the plan comes from.
    #[command(flatten)]
    input: PlanInput,
    /// With --issue: only what failed in the last run of the issue
    #[arg(long, requires = "issue", help_heading = "Plan")]
    retry: bool,
    /// Refuse a plan with tasks that may touch the same files at the same time
    #[arg(long, help_heading = "Plan")]
    strict: bool,
    /// Check and show it, and store nothing
    #[arg(long, help_heading = "Plan")]
    dry_run: bool,
    /// Instances at once, for the estimate
    #[arg(long, value_name = "N", help_heading = "Plan")]
    max_workers: Option<u32>,
    /// Print JSON
    #[arg(long, help_heading = "Plan")]
    json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    // A task file can be checked anywhere; storing needs a repository.
    let repo = match cx.repository() {
        Ok(repo) => Some(repo),
        Err(_) if args.dry_run && args.input.tasks.is_some() => None,
        Err(failure) => return Err(failure),
    };
    let root = repo.as_ref().map(|r| r.root());
    if let (Some(number), true, Some(root)) = (args.input.issue, args.retry, root) {
        let chosen = issue::last_run(&Layout::new(root), number, cx)?;
        return issue::show_retry(&chosen, cx);
    }
    let flags = SettingsFlags {
        max_workers: args.max_workers,
        ..SettingsFlags::default()
    };
    let config = resolved(&flags, root, cx)?;
    let workers = config.max_workers as usize;
    let obtained = args.input.obtain(cx, root, args.strict, workers)?;
    let plan = &obtained.parsed.plan;
    let stored = match &repo {
        Some(repo) if !args.dry_run => {
            let id = obtained
                .orchestration
                .clone()
                .unwrap_or_else(|| create::new_id(cx.now()));
            let run =
                create::open_workspace(repo, &id, obtained.request.as_deref()).map_err(refused)?;
            if let Some(issue) = &obtained.issue {
                issue::store(&run, issue)?;
            }
            // A prepared orchestration has its plan stored by whoever made it.
            if !run.plan().exists() {
                create::store_plan(&run, plan).map_err(refused)?;
            }
            Some(run)
        }
        _ => None,
    };
    let learned = match root {
        Some(root) => learned(root, plan, &config),
        None => Learned::default(),
    };
    let doubts = doubts::about(repo.as_ref(), &obtained, &config, &learned);
    if args.json {
        let plan_json: Value = serde_json::from_str(&plan_file::write(plan))
            .map_err(|e| Failure::internal(format!("the plan cannot be encoded: {e}")))?;
        let names = |phase: &Vec<_>| -> Vec<String> {
            phase.iter().map(|ix| plan.name(*ix).to_string()).collect()
        };
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": stored.as_ref().map(|r| r.id().as_str()),
            "file": stored.as_ref().map(|r| r.plan().display().to_string()),
            "plan": plan_json,
            "phases": plan.phases().iter().map(names).collect::<Vec<_>>(),
            "notes": obtained.parsed.notes,
            "doubts": doubts,
        }))?;
        return Ok(Exit::Success);
    }
    let options = Options {
        color: cx.page.color,
        width: cx.page.width,
        workers,
    };
    let notes = &obtained.parsed.notes;
    let mut text = plan_view::render_doubts(plan, notes, &doubts, &learned, &options);
    if let Some(run) = &stored {
        let id = run.id();
        text.push_str(&if run.settings().exists() {
            format!("\n{id} was started already: orchestra status --orchestration {id}\n")
        } else if doubts::is_attended(cx) && doubts.iter().any(|doubt| doubt.asks) {
            format!(
                "\nStored as {id}. Ask the person whether to go on; when they have said yes:\n  \
                 orchestra run --orchestration {id} --yes\n"
            )
        } else {
            format!("\nStored as {id}. Start it with:\n  orchestra run --orchestration {id}\n")
        });
    }
    cx.print(&text)?;
    Ok(Exit::Success)
}
