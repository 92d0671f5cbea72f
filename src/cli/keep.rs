//! `orchestra keep`: the background process that waits for the conductor's end.

use super::{Context, Exit, Failure};
use crate::agent::detach::{announce_ready, announce_refused, leave_session};
use crate::conduct::keep::{Kept, keep};
use crate::core::id::OrchestrationId;
use crate::store::layout::Layout;

/// Keep a run conducted in the background (started by the conductor)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra keep 20261121-091357-3fa2")]
pub struct Args {
    /// The run.
    pub id: String,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    leave_session();
    let id = OrchestrationId::parse(&args.id)
        .map_err(|why| Failure::usage(format!("{:?} is not the id of a run: {why}", args.id)))?;
    let run = Layout::new(&cx.start()).run(&id);
    let (exe, env) = (cx.own_exe()?, cx.environment());
    match keep(&run, &exe, &env, || announce_ready(cx.out)) {
        Ok(Kept::Done) => Ok(Exit::Success),
        Ok(Kept::Held) => {
            announce_refused(cx.out, &format!("another keeper of {id} is there"));
            Ok(Exit::StillRunning)
        }
        Ok(Kept::GivenUp(why)) => Err(Failure::internal(why).in_path(run.dir())),
        Err(error) => {
            announce_refused(cx.out, &error.to_string());
            Err(Failure::internal(error.to_string()).in_path(run.dir()))
        }
    }
}
