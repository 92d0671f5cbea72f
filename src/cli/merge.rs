//! `orchestra merge`

use super::select::RunChoice;
use super::{Context, Exit, Failure};

/// How results are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Merge, verify, deliver when green
    Automatic,
    /// Merge and verify into a branch for review
    Review,
    /// List what merges cleanly and what does not
    Manual,
}

/// Merge the results of a run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra merge automatic\n  \
    orchestra merge review --orchestration 20261121-0913\n  \
    orchestra merge manual --json")]
pub struct Args {
    /// How
    #[arg(value_enum)]
    pub mode: Mode,
    /// Which run.
    #[command(flatten)]
    pub choice: RunChoice,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra merge` is not part of this build",
    ))
}
