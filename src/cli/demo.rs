//! `orchestra demo`

use std::path::PathBuf;

use super::{Context, Exit, Failure};

/// Show the whole job in a scratch repository, without login or network
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra demo\n  orchestra demo --keep /tmp/look-at-it")]
pub struct Args {
    /// Make the scratch repository here, and keep it
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra demo` is not part of this build",
    ))
}
