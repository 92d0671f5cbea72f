//! `orchestra status`

use std::time::Duration;

use super::select::{self, Chosen, Purpose, RunChoice};
use super::watch::Watch;
use super::{Context, Exit, Failure, conductor};
use crate::agent::environment::Environment;
use crate::store::layout::RunDir;
use crate::view::live::{self, Region};
use crate::view::machine::Machine;
use crate::view::page::{Page, columns, fit};
use crate::view::snapshot::Snapshot;
use crate::view::{detailed, issues, report_json, resources, summary};

/// How long sizes of worktrees may take to be measured.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// How far the run is, and each task in a line
    #[default]
    Summary,
    /// Each task with its todo items, changes, heartbeat, cost
    Detailed,
    /// Memory, CPU, disk, tokens, money
    Resources,
    /// What wants you, and how to answer
    Issues,
}

/// Show where a run stands
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra status\n  \
    orchestra status detailed\n  \
    orchestra status issues --orchestration 20261121-0913\n  \
    orchestra status --watch\n  \
    orchestra status --json | jq .percent\n\n\
  The JSON is described by `orchestra schema status`.")]
pub struct Args {
    /// What to show
    #[arg(value_enum, default_value_t)]
    mode: Mode,
    /// Which run.
    #[command(flatten)]
    choice: RunChoice,
    /// Print all of it as JSON, whatever the mode
    #[arg(long)]
    json: bool,
    /// Redraw on every change, until the run ends
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let Chosen {
        run,
        mut snapshot,
        other_live,
    } = match select::choose(&layout, &args.choice, Purpose::Look, cx) {
        // A repository without runs is nothing wrong when one only looks round.
        Err(failure) if args.choice.orchestration.is_none() && !args.json => {
            cx.print(&format!("{}.\n", capital(&failure.what)))?;
            for next in &failure.next {
                cx.print(&format!("  {next}\n"))?;
            }
            return Ok(Exit::Success);
        }
        other => other?,
    };
    if snapshot.is_live() && !snapshot.conductor_alive {
        conductor::ensure_and_say(&run, cx);
        snapshot = Snapshot::load(&run, cx.now())?;
    }
    if args.watch {
        return watch(args, &run, cx);
    }
    if args.json {
        cx.print_json(&report_json::status_report(&snapshot))?;
        return Ok(Exit::Success);
    }
    let mut text = render(args.mode, &snapshot, &cx.environment(), &cx.page);
    if !other_live.is_empty() {
        let ids: Vec<String> = other_live.iter().map(ToString::to_string).collect();
        let note = format!("also live: {}", ids.join(", "));
        text.push_str(&format!("\n{}\n", cx.page.faint(&note)));
    }
    cx.print(&text)?;
    Ok(Exit::Success)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// The text of a mode.
fn render(mode: Mode, snapshot: &Snapshot, env: &Environment, page: &Page) -> String {
    match mode {
        Mode::Summary => summary::render(snapshot, page),
        Mode::Detailed => detailed::render(snapshot, page),
        Mode::Resources => {
            let machine = Machine::measure(snapshot, env, PATIENCE);
            resources::render(snapshot, &machine, page)
        }
        Mode::Issues => issues::render(snapshot, page),
    }
}

/// Redraws until the run ends; its exit code is the run's. On a terminal the text is painted
/// over, elsewhere it is printed anew when it has changed; JSON is one line per change.
fn watch(args: &Args, run: &RunDir, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let changes = Watch::of(run.dir());
    let mut painted = String::new();
    let mut region = Vec::<String>::new();
    loop {
        let snapshot = Snapshot::load(run, cx.now())?;
        if args.json {
            let text = serde_json::to_string(&report_json::status_report(&snapshot))
                .map_err(|e| Failure::internal(format!("the output cannot be encoded: {e}")))?;
            cx.print(&format!("{text}\n"))?;
        } else if cx.terminal {
            let (wide, rows) = live::terminal_size().unwrap_or((cx.page.width, 24));
            let page = Page::new(wide, cx.page.color);
            let text = render(args.mode, &snapshot, &cx.environment(), &page);
            let mut lines: Vec<String> = text.lines().map(|l| narrow(l, wide)).collect();
            if snapshot.is_live() && lines.len() >= rows {
                lines.truncate(rows.saturating_sub(2));
                lines.push(page.faint("…"));
            }
            let mut painter = Region::resume(&mut *cx.out, std::mem::take(&mut region));
            painter.repaint(lines)?;
            region = painter.into_painted();
        } else {
            let text = render(args.mode, &snapshot, &cx.environment(), &cx.page);
            if text != painted {
                cx.print(&format!("{text}\n"))?;
                painted = text;
            }
        }
        if !snapshot.is_live() {
            return Ok(snapshot.verdict().map_or(Exit::Success, |verdict| {
                Exit::of_run(verdict, snapshot.integration.as_ref())
            }));
        }
        if !snapshot.conductor_alive {
            conductor::ensure_and_say(run, cx);
        }
        // Ages and times go on even when no file changes.
        changes.pause(Duration::from_secs(if cx.terminal { 1 } else { 10 }));
    }
}

/// A line that does not wrap: addresses and commands are printed whole, but a wrapped line
/// could not be painted over. Too long ones lose their colours with their end.
fn narrow(line: &str, width: usize) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    if columns(&plain) <= width {
        line.to_owned()
    } else {
        fit(&plain, width)
    }
}
