//! `orchestra attach`

use super::{Context, Exit, Failure};

/// Show how to go on in the session of a task
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  orchestra attach")]
pub struct Args {}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra attach` is not part of this build",
    ))
}
