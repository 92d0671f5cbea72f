//! `orchestra analyze`: the background process that makes a plan of a request.

use super::{Context, Exit, Failure, analyzer};
use crate::agent::detach::{announce_ready, announce_refused, leave_session};
use crate::core::id::OrchestrationId;
use crate::store::layout::Layout;

/// Make the plan of a prepared orchestration in the background (started by a hook)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra analyze 20261121-091357-3fa2c1")]
pub struct Args {
    /// The orchestration.
    pub id: String,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    leave_session();
    let id = OrchestrationId::parse(&args.id).map_err(|why| {
        Failure::usage(format!(
            "{:?} is not the id of an orchestration: {why}",
            args.id
        ))
    })?;
    let repo = cx.repository()?;
    let run = Layout::new(repo.root()).run(&id);
    match analyzer::prepare(repo.root(), cx) {
        Ok(_) => announce_ready(cx.out),
        Err(failure) => announce_refused(cx.out, &failure.what),
    }
    analyzer::in_workspace(repo.root(), &run, || {}, cx)?;
    Ok(Exit::Success)
}
