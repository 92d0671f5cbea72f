//! `orchestra supervise`: the background process that owns one instance.

use super::{Context, Exit, Failure};

/// Supervise one instance in the background (started by the conductor)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra supervise 20261121-091357-3fa2 user-profiles")]
pub struct Args {
    /// The run.
    pub id: String,
    /// The task.
    pub task: String,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra supervise` is not part of this build",
    ))
}
