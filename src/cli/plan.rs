//! `orchestra plan`

use super::plan_input::PlanInput;
use super::settings_flags::{SettingsFlags, resolved};
use super::{Context, Exit, Failure};
use crate::conduct::create;
use crate::format::plan_file;
use crate::store::layout::Layout;
use crate::view::plan as plan_view;

/// Make, validate, show and store a plan
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra plan \"Add user profiles, fix the login, update the docs\"\n  \
    orchestra plan --tasks plan.json --strict\n  \
    orchestra plan --tasks plan.json --dry-run --json")]
pub struct Args {
    /// Where the plan comes from.
    #[command(flatten)]
    pub input: PlanInput,
    /// Refuse a plan with tasks that may touch the same files at the same time
    #[arg(long)]
    pub strict: bool,
    /// Show the plan, and store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let repo = match cx.repository() {
        Ok(repo) => Some(repo),
        // A task file can be looked at anywhere.
        Err(_) if args.dry_run && args.input.tasks.is_some() => None,
        Err(failure) => return Err(failure),
    };
    let root = repo.as_ref().map(|repo| repo.root().to_owned());
    let config = resolved(&SettingsFlags::default(), root.as_deref(), cx)?;
    let workers = usize::try_from(config.max_workers).unwrap_or(usize::MAX);
    let obtained = args
        .input
        .obtain(cx, root.as_deref(), args.strict, workers)?;
    let plan = &obtained.parsed.plan;
    if args.json {
        cx.print(&plan_file::write(plan))?;
    } else {
        let options = plan_view::Options {
            color: cx.page.color,
            width: cx.page.width,
            workers,
        };
        let text = plan_view::render(plan, &obtained.parsed.notes, &options);
        cx.print(&text)?;
    }
    let Some(repo) = repo.filter(|_| !args.dry_run) else {
        return Ok(Exit::Success);
    };
    let id = obtained
        .orchestration
        .clone()
        .unwrap_or_else(|| create::new_id(cx.now()));
    let run = Layout::new(repo.root()).run(&id);
    if !run.plan().exists() {
        let run = create::open_workspace(&repo, &id, obtained.request.as_deref())
            .map_err(|e| super::run::refused(e.into()))?;
        create::store_plan(&run, plan).map_err(super::run::refused)?;
    }
    let next = if run.settings().exists() {
        format!("Orchestration {id} was started already: orchestra status --orchestration {id}\n")
    } else {
        format!("Start it with: orchestra run --orchestration {id}\n")
    };
    if args.json {
        cx.remark(next.trim_end());
    } else {
        cx.print(&format!("\n{next}"))?;
    }
    Ok(Exit::Success)
}
