//! `orchestra doctor`

use super::{Context, Exit, Failure};

/// x
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  orchestra doctor")]
pub struct Args {}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra doctor` is not part of this build",
    ))
}
