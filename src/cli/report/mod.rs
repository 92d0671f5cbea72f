//! `orchestra report`

mod say;

use super::select::{self, Purpose, RunChoice};
use super::{Context, Exit, Failure};
use crate::view::report_json::results;
use crate::view::{detailed, report};

/// Print the report of a run: how it ended, or the state so far
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra report\n  \
    orchestra report --orchestration 20261121-0913\n  \
    orchestra report --json | jq .totals\n\n\
  The JSON is that of results.json; `orchestra schema results` describes it.\n\
  `stuck`, `progress` and `note` are for instances: what they say of themselves.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What an instance says of itself
    #[command(subcommand)]
    say: Option<say::Say>,
    /// Which run.
    #[command(flatten)]
    choice: RunChoice,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    if let Some(say) = &args.say {
        return say::run(say, cx);
    }
    let layout = cx.layout()?;
    let chosen = select::choose(&layout, &args.choice, Purpose::Look, cx)?;
    let (run, snapshot) = (&chosen.run, &chosen.snapshot);
    if args.json {
        // The file was written when figures could still be measured.
        match std::fs::read_to_string(run.results()) {
            Ok(text) if !snapshot.is_live() => cx.print(&text)?,
            _ => cx.print_json(&results(snapshot))?,
        }
        return Ok(Exit::Success);
    }
    let Some(verdict) = snapshot.verdict() else {
        let text = detailed::render(snapshot, &cx.page);
        cx.print(&text)?;
        return Ok(Exit::Success);
    };
    use crate::core::record::Verdict;
    let good = matches!(
        verdict,
        Verdict::Success | Verdict::Partial | Verdict::Unmerged
    );
    let file = if good {
        run.success_report()
    } else {
        run.failure_report()
    };
    let text = std::fs::read_to_string(file).unwrap_or_else(|_| {
        if good {
            report::success(snapshot, None)
        } else {
            report::failure(snapshot)
        }
    });
    cx.print(&text)?;
    Ok(Exit::Success)
}
