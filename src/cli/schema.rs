//! `orchestra schema`

use super::{Context, Exit, Failure};

/// x
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  orchestra schema")]
pub struct Args {}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra schema` is not part of this build",
    ))
}
