//! The command line: what can be asked, one file per command.
//!
//! A command gets its arguments and a [`Context`], and returns an [`Exit`] or a [`Failure`];
//! only [`main`] touches the process. Everything deterministic is elsewhere: a command reads
//! its input, calls a room below, and prints what a view makes of the result.

pub mod analyze;
pub mod analyzer;
mod announcing;
pub mod attach;
pub mod cleanup;
pub mod completions;
pub mod conduct;
pub mod conductor;
pub mod config;
pub mod context;
pub mod control;
pub mod demo;
pub mod doctor;
mod doubts;
pub mod exit;
pub mod failure;
pub mod follow;
pub mod history;
pub mod init;
mod issue;
pub mod keep;
pub mod list;
pub mod logs;
pub mod man;
pub mod merge;
pub mod plan;
pub mod plan_input;
pub mod play;
pub mod prune;
pub mod report;
pub mod restore;
mod retry;
pub mod run;
pub mod schema;
pub mod select;
pub mod settings_flags;
pub mod status;
pub mod statusline;
pub mod supervise;
pub mod undo;
pub mod wait;
mod watch;
pub mod worktree;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use context::{ColorWhen, Context, Env};
pub use exit::Exit;
pub use failure::Failure;

/// Parallel development with Claude Code: say what you want; it is split into tasks, each
/// worked on in a git worktree of its own, and the results are merged and verified.
#[derive(Debug, Parser)]
#[command(
    name = "orchestra",
    version,
    about = "Parallel development with Claude Code",
    after_help = help_end(),
    max_term_width = 100
)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// The command; status or help without one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What applies to every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Work on the repository in this folder
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        help_heading = "Global options"
    )]
    pub repo: Option<PathBuf>,
    /// When to use colours (NO_COLOR is honoured)
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        help_heading = "Global options"
    )]
    pub color: ColorWhen,
    /// Say more about what is done
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each is documented in its file")]
pub enum Command {
    Init(init::Args),
    Plan(plan::Args),
    Run(Box<run::Args>),
    Status(status::Args),
    List(list::Args),
    History(history::Args),
    Logs(logs::Args),
    Attach(attach::Args),
    Wait(wait::Args),
    Report(report::Args),
    Control(control::Args),
    Retry(retry::Args),
    Merge(merge::Args),
    Undo(undo::Args),
    Restore(restore::Args),
    Cleanup(cleanup::Args),
    Prune(prune::Args),
    Worktree(worktree::Args),
    Doctor(doctor::Args),
    Demo(demo::Args),
    Config(config::Args),
    Statusline(statusline::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Analyze(analyze::Args),
    #[command(hide = true)]
    Conduct(conduct::Args),
    #[command(hide = true)]
    Keep(keep::Args),
    #[command(hide = true)]
    Supervise(supervise::Args),
    #[command(hide = true)]
    Man(man::Args),
    #[command(hide = true)]
    Play(play::Args),
}

fn help_end() -> String {
    format!(
        "Examples:\n  \
           orchestra run \"Add user profiles, fix the login, update the docs\"\n  \
           orchestra run --tasks plan.json --verify \"make test\"\n  \
           orchestra status --watch\n  \
           orchestra demo\n\n\
         Without a command: the status of the repository here, or this help outside of one.\n\n\
         {}",
        Exit::table()
    )
}

/// The whole program: arguments, output and environment of this process.
#[must_use]
pub fn main() -> ExitCode {
    let env = Env::of_process();
    let cli = match Cli::try_parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // A reader of the help that left early is no failure.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Success.into()
            };
        }
    };
    if let Some(Command::Play(args)) = &cli.command {
        return play::main(args, &env);
    }
    let (page, err_page) = context::pages(&cli.global, &env);
    let mut context = Context {
        out: &mut std::io::stdout().lock(),
        err: &mut std::io::stderr(),
        stdin: &mut std::io::stdin().lock(),
        cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        page,
        err_page,
        terminal: context::is_repaintable(&env),
        verbose: cli.global.verbose,
        repo: cli.global.repo.clone(),
        env,
    };
    perform(cli.command, &mut context).into()
}

/// Runs a command line in a given context, for tests. The first argument is the program.
pub fn run_args<I, T>(args: I, context: &mut Context<'_>) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    match Cli::try_parse_from(args) {
        Ok(cli) => {
            context.repo = cli.global.repo.clone().or(context.repo.take());
            context.verbose = cli.global.verbose;
            perform(cli.command, context)
        }
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                context.remark(text.trim_end());
                Exit::Usage
            } else {
                let _ = context.print(&text);
                Exit::Success
            }
        }
    }
}

/// Carries a command out and says why it failed.
fn perform(command: Option<Command>, context: &mut Context<'_>) -> Exit {
    match dispatch(command, context) {
        Ok(exit) => exit,
        Err(failure) => {
            let text = failure.render(&context.err_page);
            // Nothing is left to be done when even that cannot be written.
            let _ = context.err.write_all(text.as_bytes());
            failure.exit
        }
    }
}

fn dispatch(command: Option<Command>, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    match command {
        None => bare(cx),
        Some(Command::Init(args)) => init::run(&args, cx),
        Some(Command::Plan(args)) => plan::run(&args, cx),
        Some(Command::Run(args)) => run::run(&args, cx),
        Some(Command::Status(args)) => status::run(&args, cx),
        Some(Command::List(args)) => list::run(&args, cx),
        Some(Command::History(args)) => history::run(&args, cx),
        Some(Command::Logs(args)) => logs::run(&args, cx),
        Some(Command::Attach(args)) => attach::run(&args, cx),
        Some(Command::Wait(args)) => wait::run(&args, cx),
        Some(Command::Report(args)) => report::run(&args, cx),
        Some(Command::Control(args)) => control::run(&args, cx),
        Some(Command::Merge(args)) => merge::run(&args, cx),
        Some(Command::Undo(args)) => undo::run(&args, cx),
        Some(Command::Retry(args)) => retry::run(&args, cx),
        Some(Command::Restore(args)) => restore::run(&args, cx),
        Some(Command::Cleanup(args)) => cleanup::run(&args, cx),
        Some(Command::Prune(args)) => prune::run(&args, cx),
        Some(Command::Worktree(args)) => worktree::run(&args, cx),
        Some(Command::Doctor(args)) => doctor::run(&args, cx),
        Some(Command::Demo(args)) => demo::run(&args, cx),
        Some(Command::Config(args)) => config::run(&args, cx),
        Some(Command::Statusline(args)) => statusline::run(&args, cx),
        Some(Command::Schema(args)) => schema::run(&args, cx),
        Some(Command::Completions(args)) => completions::run(&args, cx),
        Some(Command::Analyze(args)) => analyze::run(&args, cx),
        Some(Command::Conduct(args)) => conduct::run(&args, cx),
        Some(Command::Keep(args)) => keep::run(&args, cx),
        Some(Command::Supervise(args)) => supervise::run(&args, cx),
        Some(Command::Man(args)) => man::run(&args, cx),
        Some(Command::Play(_)) => Err(Failure::internal("a player needs a process of its own")),
    }
}

/// No command: the status of the repository that one stands in, or help outside of one.
fn bare(cx: &mut Context<'_>) -> Result<Exit, Failure> {
    if cx.repository().is_ok() {
        return status::run(&status::Args::default(), cx);
    }
    let help = Cli::command().render_help();
    let help = if cx.page.color {
        help.ansi().to_string()
    } else {
        help.to_string()
    };
    cx.print(&help)?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests;
