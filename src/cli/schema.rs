//! `orchestra schema`

use super::{Context, Exit, Failure};
use crate::format::{config, plan_file, results, status_report};

/// Which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Task files and plans
    Plan,
    /// The output of `orchestra status --json`; the instance status file is a part of it
    Status,
    /// results.json
    Results,
    /// .claude/orchestra.toml and the person's config.toml
    Config,
}

/// Print the JSON Schema of a format
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra schema plan > plan.schema.json\n  \
    orchestra schema status | jq '.properties | keys'")]
pub struct Args {
    /// Which format
    #[arg(value_enum)]
    what: What,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let schema = match args.what {
        What::Plan => plan_file::json_schema(),
        What::Status => status_report::json_schema(),
        What::Results => results::json_schema(),
        What::Config => config::json_schema(),
    };
    cx.print_json(&schema)?;
    Ok(Exit::Success)
}
