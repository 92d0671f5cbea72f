//! `orchestra run`

use std::path::PathBuf;

use super::announcing;
use super::conductor;
use super::doubts;
use super::follow::{Interrupts, follow};
use super::issue;
use super::plan_input::{Obtained, PlanInput};
use super::retry;
use super::settings_flags::{SettingsFlags, resolved};
use super::{Context, Exit, Failure};
use crate::agent::sandbox;
use crate::conduct::create::{self, Base, CreateError};
use crate::conduct::ensure::Ensured;
use crate::conduct::worktree::{default_folder, resolve_existing};
use crate::core::doubt::Doubt;
use crate::core::history::Learned;
use crate::core::id::{BranchName, OrchestrationId};
use crate::core::plan::ValidPlan;
use crate::format::SCHEMA_VERSION;
use crate::format::config::{AgentKind, Resolved};
use crate::format::launch_file::AgentChoice;
use crate::format::settings_file::SettingsFile;
use crate::git::Repo;
use crate::store::history;
use crate::store::layout::{Layout, RunDir};
use crate::view::clock;
use crate::view::live;
use crate::view::plan as plan_view;
use crate::view::snapshot::Snapshot;

/// Plan, run and integrate; the exit code says how it ended
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra run \"Add user profiles, fix the login, update the docs\"\n  \
    orchestra run --tasks plan.json --max-workers 3 --verify \"make test\"\n  \
    orchestra run --request-file request.txt --detach\n  \
    orchestra run --issue 12\n  \
    orchestra run --tasks plan.json --merge=review --output results.json")]
pub struct Args {
    /// Where the plan comes from.
    #[command(flatten)]
    pub input: PlanInput,
    /// What is set for this run.
    #[command(flatten)]
    pub settings: SettingsFlags,
    /// Branch that tasks start from and results are delivered to [default: the present one]
    #[arg(long, value_name = "BRANCH", help_heading = "Run")]
    pub base_branch: Option<String>,
    /// With --issue: only what failed in the last run of the issue
    #[arg(long, requires = "issue", help_heading = "Run")]
    pub retry: bool,
    /// Refuse a plan with tasks that may touch the same files at the same time; where nobody can
    /// be asked, also one with other doubts
    #[arg(long, help_heading = "Run")]
    pub strict: bool,
    /// Start without asking, whatever is doubtful about the plan
    #[arg(long, short = 'y', help_heading = "Run")]
    pub yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long, help_heading = "Run")]
    pub dry_run: bool,
    /// Return as soon as the run has begun; it goes on in the background
    #[arg(long, help_heading = "Run")]
    pub detach: bool,
    /// Copy results.json to this file at the end
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub output: Option<PathBuf>,
    /// Script for `--agent scripted`
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub script: Option<PathBuf>,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let repo = cx.repository()?;
    if let (Some(number), true) = (args.input.issue, args.retry) {
        return retry_issue(number, args, &Layout::new(repo.root()), cx);
    }
    let config = resolved(&args.settings, Some(repo.root()), cx)?;
    let obtained = args.input.obtain(
        cx,
        Some(repo.root()),
        args.strict,
        usize::try_from(config.max_workers).unwrap_or(usize::MAX),
    )?;
    let start = cx.start();
    let chosen = prepare(&Preparation {
        repo: &repo,
        start: &start,
        plan: &obtained.parsed.plan,
        config: &config,
        base_branch: args.base_branch.as_deref(),
        script: args.script.clone(),
        id: obtained.orchestration.clone(),
        cx,
    })?;
    let doubts = doubts::about(Some(&repo), &obtained, &config, &chosen.learned);
    show_plan(&obtained, &doubts, &config, &chosen.learned, cx)?;
    let (_, word) = sandbox::choose(config.sandbox, &cx.environment()).map_err(Failure::usage)?;
    if let Some(word) = word {
        cx.remark(&format!("note: {word}"));
    }
    if args.dry_run {
        return Ok(Exit::Success);
    }
    let output = args.output.as_ref().map(|path| cx.cwd.join(path));
    if let Some(output) = &output {
        check_output(output)?;
    }
    let again = match &obtained.orchestration {
        Some(id) => format!("orchestra run --orchestration {id} --yes"),
        None => "orchestra run … --yes".to_owned(),
    };
    doubts::settle(&doubts, args.yes, args.strict, &again, cx)?;
    let run = begin(&repo, &obtained, &chosen)?;
    announcing::join(&run, cx);
    let exit = watch(&run, args.detach, cx)?;
    if let (Some(output), false) = (output, args.detach) {
        copy_results(&run, &output)?;
    }
    Ok(exit)
}

/// Another try at what failed in the last run of an issue.
fn retry_issue(
    number: u64,
    args: &Args,
    layout: &Layout,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let chosen = issue::last_run(layout, number, cx)?;
    if args.settings != SettingsFlags::default() {
        cx.remark(
            "note: a run that is tried again keeps its settings; those given now count for nothing",
        );
    }
    if args.dry_run {
        return issue::show_retry(&chosen, cx);
    }
    retry::again(&chosen, None, args.detach, cx)
}

/// What a run is made of, before anything is made.
pub(super) struct Preparation<'a, 'b> {
    pub(super) repo: &'a Repo,
    /// Where the person stands.
    pub(super) start: &'a std::path::Path,
    pub(super) plan: &'a ValidPlan,
    pub(super) config: &'a Resolved,
    pub(super) base_branch: Option<&'a str>,
    pub(super) script: Option<PathBuf>,
    /// The id that was given beforehand; a new one otherwise.
    pub(super) id: Option<OrchestrationId>,
    pub(super) cx: &'a Context<'b>,
}

/// Checks everything that can be checked, and freezes the settings. Makes nothing.
pub(super) fn prepare(what: &Preparation<'_, '_>) -> Result<SettingsFile, Failure> {
    let Preparation {
        repo,
        plan,
        config,
        cx,
        ..
    } = what;
    let wanted = match what.base_branch {
        Some(text) => Some(BranchName::parse(text).map_err(|e| Failure::usage(e.to_string()))?),
        None => None,
    };
    let Base { branch, commit } =
        create::base(repo, what.start, wanted.as_ref(), plan).map_err(refused)?;
    let worktree_dir = match &config.worktree_dir {
        Some(folder) => absolute(&repo.root().join(folder), &cx.cwd),
        None => default_folder(repo)?,
    };
    // Real from the start: a link that is there later was put there by somebody.
    let worktree_dir = resolve_existing(&worktree_dir);
    create::check_room(repo, &worktree_dir).map_err(refused)?;
    let agent = match config.agent {
        AgentKind::Claude => AgentChoice::Claude {
            program: find_claude(&config.claude_program, cx)?,
        },
        AgentKind::Scripted => AgentChoice::Scripted {
            script: match &what.script {
                Some(script) => Some(readable(&cx.cwd.join(script))?),
                None => None,
            },
        },
    };
    let now = cx.now();
    let environment = cx.environment();
    let (sandbox, _) = sandbox::choose(config.sandbox, &environment).map_err(Failure::usage)?;
    Ok(SettingsFile {
        schema_version: SCHEMA_VERSION,
        orchestration_id: what.id.clone().unwrap_or_else(|| create::new_id(now)),
        token: uuid::Uuid::new_v4(),
        created_at: clock::rfc3339(now),
        main_checkout: repo.root().to_owned(),
        base_branch: branch,
        base_commit: commit,
        worktree_dir,
        state_dir: create::state_dir(&environment),
        agent,
        max_workers: config.max_workers,
        admission: config.admission,
        timeout_seconds: config.timeout_seconds,
        command_timeout_seconds: config.command_timeout_seconds,
        max_attempts: config.max_attempts,
        gate_rounds: config.gate_rounds,
        merge_early: config.merge_early,
        deliver_each: config.deliver_each,
        resolvers: config.resolvers,
        delivery_style: config.delivery_style,
        commit_hooks: config.commit_hooks,
        answer_timeout_seconds: config.answer_timeout_seconds,
        permission_requests: config.permission_requests,
        permission_timeout_seconds: config.permission_timeout_seconds,
        limits: config.limits,
        radar_seconds: config.radar_seconds,
        retry_base_ms: config.retry_base_ms,
        success_percent: config.success_percent,
        merge: config.merge.mode(),
        cleanup: config.cleanup,
        backup_days: config.backup_days,
        permission_mode: config.permission_mode.clone(),
        sandbox,
        allowed_tools: config.allowed_tools.clone(),
        disallowed_tools: config.disallowed_tools.clone(),
        model: config.model.clone(),
        max_budget_usd: config.max_budget_usd,
        budgets: config.budgets,
        retries: config.retries.clone(),
        learned: learned(repo.root(), plan, config),
        verify: config.verify.clone(),
        setup: config.setup.clone(),
        notify: config.notify.clone(),
        notify_command: config.notify_command.clone(),
        union_files: config.union_files.clone(),
        lockfiles: config.lockfiles.clone(),
        started_by_session: cx.env.get("CLAUDE_CODE_SESSION_ID").map(str::to_owned),
    })
}

/// What earlier runs of the repository teach about a plan.
pub(super) fn learned(root: &std::path::Path, plan: &ValidPlan, config: &Resolved) -> Learned {
    let history = history::of_agent(&Layout::new(root), config.agent.word());
    let stronger = config.retries.stronger_model.as_deref();
    history.learn(plan, config.model.as_deref(), stronger)
}

/// Makes the run's folder and makes it startable.
pub(super) fn begin(
    repo: &Repo,
    obtained: &Obtained,
    settings: &SettingsFile,
) -> Result<RunDir, Failure> {
    let id = &settings.orchestration_id;
    let known = Layout::new(repo.root()).run(id);
    if known.settings().exists() {
        return Err(refused(CreateError::Started(id.clone())));
    }
    let run = create::open_workspace(repo, id, obtained.request.as_deref()).map_err(refused)?;
    if let Some(issue) = &obtained.issue {
        issue::store(&run, issue)?;
    }
    create::start(&run, &obtained.parsed.plan, settings).map_err(refused)?;
    Ok(run)
}

/// Starts the conductor, and follows the run unless it is to go on alone.
pub(super) fn watch(run: &RunDir, detach: bool, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let interrupts = Interrupts::listen()?;
    if let Ok(snapshot) = Snapshot::load(run, cx.now()) {
        let block = live::start_block(&snapshot, &cx.page);
        cx.print(&format!("{block}\n"))?;
    }
    if let Ensured::Failed(why) = conductor::ensure(run, cx)? {
        return Err(
            Failure::internal(format!("the conductor could not be started: {why}"))
                .in_path(run.dir())
                .next("`orchestra status` tries again"),
        );
    }
    if detach {
        cx.print(&format!(
            "It goes on in the background: `orchestra status` shows it, `orchestra wait --orchestration {}` waits for it\n",
            run.id()
        ))?;
        return Ok(Exit::Success);
    }
    follow(run, &interrupts, 0, cx)
}

fn show_plan(
    obtained: &Obtained,
    doubts: &[Doubt],
    config: &Resolved,
    learned: &Learned,
    cx: &mut Context<'_>,
) -> Result<(), Failure> {
    let options = plan_view::Options {
        color: cx.page.color,
        width: cx.page.width,
        workers: usize::try_from(config.max_workers).unwrap_or(usize::MAX),
    };
    let parsed = &obtained.parsed;
    let text = plan_view::render_doubts(&parsed.plan, &parsed.notes, doubts, learned, &options);
    cx.print(&text)
}

pub(super) fn find_claude(program: &std::path::Path, cx: &Context<'_>) -> Result<PathBuf, Failure> {
    let found = if program.components().count() > 1 {
        let path = cx.cwd.join(program);
        path.is_file().then_some(path)
    } else {
        cx.env
            .get("PATH")
            .into_iter()
            .flat_map(std::env::split_paths)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    };
    found.ok_or_else(|| {
        Failure::environment(format!(
            "Claude Code was not found: there is no `{}` on PATH",
            program.display()
        ))
        .next("install Claude Code and log in: https://code.claude.com/docs/en/setup")
        .next("or see the whole job without it: orchestra demo")
    })
}

fn readable(path: &std::path::Path) -> Result<PathBuf, Failure> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(path.to_owned()),
        Err(e) => Err(Failure::usage(format!("the script cannot be read: {e}")).in_path(path)),
    }
}

/// Before a run begins: its results must have somewhere to go.
fn check_output(path: &std::path::Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    if folder.is_dir() && !path.is_dir() {
        return Ok(());
    }
    Err(Failure::usage("the results cannot be written there")
        .in_path(path)
        .next("give a file in a folder that exists with --output FILE"))
}

pub(super) fn copy_results(run: &RunDir, to: &std::path::Path) -> Result<(), Failure> {
    std::fs::copy(run.results(), to).map(|_| ()).map_err(|e| {
        Failure::internal(format!("the results could not be copied: {e}"))
            .in_path(to)
            .next(format!("they are in {}", run.results().display()))
    })
}

pub(super) fn refused(error: CreateError) -> Failure {
    match error {
        CreateError::Store(error) => Failure::internal(error.to_string()),
        other => Failure::environment(other.to_string()),
    }
}

/// An absolute path without `.` and `..`, without asking the file system.
pub(super) fn absolute(path: &std::path::Path, cwd: &std::path::Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}
