//! `orchestra wait`

use std::time::{Duration, Instant};

use super::announcing::Following;
use super::select::{self, Purpose, RunChoice};
use super::watch::Watch;
use super::{Context, Exit, Failure, conductor};
use crate::store::inbox;
use crate::view::merging;
use crate::view::page::Page;
use crate::view::report_json::results;
use crate::view::snapshot::{Snapshot, Standing};
use crate::view::summary;

/// Wait for the end of a run; the exit code says how it ended
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra wait && echo delivered\n  \
    orchestra wait --timeout 600; test $? -eq 9 && echo \"still running\"\n  \
    orchestra wait --json | jq .success")]
pub struct Args {
    /// Which run.
    #[command(flatten)]
    choice: RunChoice,
    /// Wait no longer than this, then exit with 9
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Print the results as JSON at the end
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let run = select::choose(&layout, &args.choice, Purpose::Look, cx)?.run;
    let deadline = args
        .timeout
        .and_then(|s| Instant::now().checked_add(Duration::from_secs(s)));
    let changes = Watch::of(run.dir());
    let mut following = Following::of(&run);
    let mut told = false;
    let mut warned = false;
    loop {
        // First the inbox, then the journal: a letter goes when what follows from it is written.
        let asked = inbox::letters_waiting(&run.inbox());
        let snapshot = Snapshot::load(&run, cx.now())?;
        if matches!(snapshot.standing, Standing::Planned) {
            return Err(
                Failure::usage(format!("{} was planned, but not started", snapshot.id))
                    .next(format!("orchestra run --orchestration {}", run.id())),
            );
        }
        if let Standing::Finished {
            verdict,
            closed: true,
        } = snapshot.standing
            && !asked
        {
            if args.json {
                cx.print_json(&results(&snapshot))?;
            } else {
                cx.print(&summary::header(&snapshot, &cx.page))?;
                for line in merging::last_words(&snapshot) {
                    cx.print(&format!("{line}\n"))?;
                }
            }
            following.told(cx);
            return Ok(Exit::of_run(verdict, snapshot.integration.as_ref()));
        }
        if matches!(snapshot.standing, Standing::Unknown) && !snapshot.conductor_alive {
            return Err(select::unreadable(&run, &snapshot));
        }
        following.hold();
        following.ring(cx)?;
        let now = Instant::now();
        if deadline.is_some_and(|at| now >= at) {
            let text = summary::header(
                &snapshot,
                &Page {
                    color: false,
                    ..cx.page
                },
            );
            cx.remark(&format!("the time to wait is over\n{}", text.trim_end()));
            return Ok(Exit::StillRunning);
        }
        // A run that nobody conducts would never end.
        if !snapshot.conductor_alive {
            conductor::ensure_patiently(&run, &mut warned, cx)?;
        }
        if snapshot.paused && !told {
            cx.remark(&format!(
                "note: {} is paused; `orchestra control resume` goes on",
                snapshot.id
            ));
            told = true;
        }
        let most = deadline.map_or(Duration::from_secs(2), |at| {
            at.saturating_duration_since(now)
                .min(Duration::from_secs(2))
        });
        changes.pause(most);
    }
}
