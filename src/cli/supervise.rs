//! `orchestra supervise`: the background process that owns one instance.

use std::path::PathBuf;

use super::{Context, Exit, Failure};
use crate::agent::detach::leave_session;
use crate::core::id::{OrchestrationId, TaskName};
use crate::store::layout::Layout;
use crate::supervise::{self, Supervision, SupervisorExit};

/// Supervise one instance in the background (started by the conductor)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra supervise 20261121-091357-3fa2 user-profiles")]
pub struct Args {
    /// The run.
    pub id: String,
    /// The task.
    pub task: String,
    /// Folder of the port slots, shared by all runs of the person
    #[arg(long, value_name = "DIR")]
    pub slots: Option<PathBuf>,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    leave_session();
    let id = OrchestrationId::parse(&args.id)
        .map_err(|why| Failure::usage(format!("{:?} is not the id of a run: {why}", args.id)))?;
    let task = TaskName::parse(&args.task)
        .map_err(|why| Failure::usage(format!("{:?} is not a task: {why}", args.task)))?;
    let inherited = cx.environment();
    let slots = args
        .slots
        .clone()
        .unwrap_or_else(|| crate::conduct::create::state_dir(&inherited).join("ports"));
    let exit = supervise::run(
        &Supervision {
            run: &Layout::new(&cx.start()).run(&id),
            task: &task,
            slots: &slots,
            exe: &cx.own_exe()?,
            inherited: &inherited,
        },
        cx.out,
    );
    Ok(match exit {
        SupervisorExit::Ended(_) | SupervisorExit::NothingToDo => Exit::Success,
        SupervisorExit::Refused(_) => Exit::Environment,
        SupervisorExit::OutcomeLost(..) => Exit::Internal,
    })
}
