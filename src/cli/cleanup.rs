//! `orchestra cleanup`

use super::select::RunChoice;
use super::{Context, Exit, Failure};

/// What is tidied up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// What done tasks left
    Success,
    /// What failed, skipped and cancelled tasks left
    Failed,
    /// Both
    All,
}

/// Remove worktrees and branches that a run made; their work is kept in backup refs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra cleanup success\n  \
    orchestra cleanup all --dry-run\n  \
    orchestra cleanup failed --orchestration 20261121-0913 --json")]
pub struct Args {
    /// Which tasks
    #[arg(value_enum)]
    pub which: Which,
    /// Which run.
    #[command(flatten)]
    pub choice: RunChoice,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra cleanup` is not part of this build",
    ))
}
