//! `orchestra conduct`: the background process that carries one run out.

use super::{Context, Exit, Failure};

/// Conduct a run in the background (started by the other commands)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra conduct 20261121-091357-3fa2")]
pub struct Args {
    /// The run.
    pub id: String,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra conduct` is not part of this build",
    ))
}
