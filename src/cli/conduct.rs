//! `orchestra conduct`: the background process that carries one run out.

use super::{Context, Exit, Failure};
use crate::agent::detach::{announce_ready, announce_refused, leave_session};
use crate::conduct::{self, ConductError, surroundings};
use crate::core::id::OrchestrationId;
use crate::store::layout::Layout;

/// Conduct a run in the background (started by the other commands)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra conduct 20261121-091357-3fa2")]
pub struct Args {
    /// The run.
    pub id: String,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    leave_session();
    let id = OrchestrationId::parse(&args.id)
        .map_err(|why| Failure::usage(format!("{:?} is not the id of a run: {why}", args.id)))?;
    // Whoever starts a conductor names the main checkout; by hand it may be any folder in it.
    let mut run = Layout::new(&cx.start()).run(&id);
    if !run.settings().is_file() {
        run = Layout::new(cx.repository()?.root()).run(&id);
    }
    let env = surroundings::of_run(&run, &cx.environment());
    let context = conduct::load(&run, &cx.own_exe()?, env);
    let ended = context.and_then(|context| conduct::conduct(&context, || announce_ready(cx.out)));
    match ended {
        Ok(()) => Ok(Exit::Success),
        Err(ConductError::Held(id)) => {
            announce_refused(cx.out, &format!("another conductor of {id} is running"));
            Ok(Exit::StillRunning)
        }
        Err(error) => {
            // Whoever started this process tells the person why it cannot be had.
            announce_refused(cx.out, &error.to_string());
            Err(Failure::internal(error.to_string()).in_path(run.dir()))
        }
    }
}
