//! `orchestra run`

use std::path::PathBuf;

use super::plan_input::PlanInput;
use super::settings_flags::SettingsFlags;
use super::{Context, Exit, Failure};

/// Plan, run and integrate; the exit code says how it ended
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra run \"Add user profiles, fix the login, update the docs\"\n  \
    orchestra run --tasks plan.json --max-workers 3 --verify \"make test\"\n  \
    orchestra run --request-file request.txt --detach\n  \
    orchestra run --tasks plan.json --merge=review --output results.json")]
pub struct Args {
    /// Where the plan comes from.
    #[command(flatten)]
    pub input: PlanInput,
    /// What is set for this run.
    #[command(flatten)]
    pub settings: SettingsFlags,
    /// Branch that tasks start from and results are delivered to [default: the present one]
    #[arg(long, value_name = "BRANCH", help_heading = "Run")]
    pub base_branch: Option<String>,
    /// Refuse a plan with tasks that may touch the same files at the same time
    #[arg(long, help_heading = "Run")]
    pub strict: bool,
    /// Show what would be done, and do nothing
    #[arg(long, help_heading = "Run")]
    pub dry_run: bool,
    /// Return as soon as the run has begun; it goes on in the background
    #[arg(long, help_heading = "Run")]
    pub detach: bool,
    /// Copy results.json to this file at the end
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub output: Option<PathBuf>,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let _ = (args, cx);
    Err(Failure::internal(
        "`orchestra run` is not part of this build",
    ))
}
