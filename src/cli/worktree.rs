//! `orchestra worktree`

use std::path::PathBuf;

use super::{Context, Exit, Failure};

/// Make and configure the worktrees of a plan; all of them or none
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra worktree --plan plan.json\n  \
    orchestra worktree --plan - --worktree-dir ../trees < plan.json")]
pub struct Args {
    /// The plan; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// Folder for the worktrees
    #[arg(long, value_name = "DIR")]
    pub worktree_dir: Option<PathBuf>,
    /// Branch that they start from [default: the present one]
    #[arg(long, value_name = "BRANCH")]
    pub base_branch: Option<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra worktree` is not part of this build",
    ))
}
