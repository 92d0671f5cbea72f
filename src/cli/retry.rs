//! `orchestra retry`

use super::follow::{Interrupts, follow};
use super::select::{Chosen, Purpose, RunChoice, choose};
use super::{Context, Exit, Failure, conductor, control};

/// Try again what did not get done, on top of what was delivered
///
/// Failed, skipped and cancelled tasks start anew. A task whose result was set aside goes on
/// in its own session: it is told why, and to merge the base branch first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra retry\n  \
    orchestra retry payment-fix\n  \
    orchestra retry --orchestration 20261121-0913 --detach")]
pub struct Args {
    /// The task, or #NUMBER of its issue; all that did not get done when not given
    task: Option<String>,
    /// Which run.
    #[command(flatten)]
    choice: RunChoice,
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let chosen = choose(&cx.layout()?, &args.choice, Purpose::Act, cx)?;
    again(&chosen, args.task.as_deref(), args.detach, cx)
}

/// Asks for another try and follows it.
pub(super) fn again(
    chosen: &Chosen,
    task: Option<&str>,
    detach: bool,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let (request, said) = control::retry(chosen, task, cx)?;
    let interrupts = Interrupts::listen()?;
    let from = std::fs::metadata(chosen.run.log()).map_or(0, |m| m.len());
    conductor::ask(&chosen.run, request, cx)?;
    cx.print(&format!("{}: {said}\n", chosen.snapshot.id))?;
    if detach {
        return Ok(Exit::Success);
    }
    follow(&chosen.run, &interrupts, from, cx)
}
