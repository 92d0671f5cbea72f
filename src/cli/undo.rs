//! `orchestra undo`

use std::cell::RefCell;

use serde_json::json;

use super::select::{named, none_there};
use super::{Context, Exit, Failure};
use crate::conduct::undo::{self, Known, Obstacle, Outcome, Rehearsal, Step, UndoError, Wish};
use crate::core::delivery::Undo;
use crate::core::id::{OrchestrationId, listed};
use crate::core::record::UndoHow;
use crate::format::SCHEMA_VERSION;
use crate::git::{DeliverError, Delivered};
use crate::store::layout::RunDir;
use crate::store::lock;
use crate::view::page::{one_line, plural};

/// Take back what a run delivered
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra undo --dry-run\n  \
    orchestra undo 20261121-0913\n  \
    orchestra undo 20261121-0913 --revert\n\n\
  The base branch goes back to where it was before; uncommitted changes of other files stay.\n  \
  When it went on since, or was pushed, --revert makes one commit on top that does the\n  \
  opposite, verified before it is delivered. What was taken back stays in backup refs.")]
pub struct Args {
    /// The orchestration: its id or the beginning of it [default: the newest that delivered]
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Show what would be taken back and what is in the way, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Make a commit on top that does the opposite, instead of moving the branch back
    #[arg(long)]
    pub revert: bool,
    /// Take back what later runs delivered on top of it, too
    #[arg(long)]
    pub chain: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let (exe, env) = (cx.own_exe()?, cx.environment());
    let runs = undo::known(&layout, &exe, &env);
    let target = target(args, &layout.runs(), &runs, &layout)?;
    let wish = Wish {
        revert: args.revert,
        chain: args.chain,
    };
    let id = target.id();
    if args.dry_run {
        let rehearsal = undo::rehearse(&runs, target, wish).map_err(|e| failure(e, id, wish))?;
        let live = lock::may_be_held(&target.context.run.conductor_lock());
        return show(args, id, wish, &rehearsal, live, cx);
    }
    let shared = RefCell::new(&mut *cx);
    let tell = |line: &str| shared.borrow_mut().remark(line);
    let outcome =
        undo::undo(&layout, id, wish, &exe, &env, &tell).map_err(|e| failure(e, id, wish))?;
    if args.json {
        cx.print_json(&outcome_json(id, &outcome))?;
    } else {
        cx.print(&outcome_text(target, &outcome))?;
    }
    Ok(Exit::Success)
}

/// The named run, else the newest that delivered something.
fn target<'a>(
    args: &Args,
    dirs: &[RunDir],
    runs: &'a [Known],
    layout: &crate::store::layout::Layout,
) -> Result<&'a Known, Failure> {
    if dirs.is_empty() {
        return Err(none_there(layout));
    }
    if let Some(name) = &args.id {
        let run = named(dirs, name)?;
        return runs.iter().find(|k| k.id() == run.id()).ok_or_else(|| {
            Failure::usage(format!(
                "{} was not started, or its files cannot be read",
                run.id()
            ))
            .in_path(run.dir())
            .next("`orchestra doctor` looks for the cause")
        });
    }
    runs.iter()
        .filter(|k| !k.state.deliveries().all().is_empty())
        .max_by_key(|k| (k.begun, k.id().clone()))
        .ok_or_else(|| {
            Failure::usage(
                "no run of this repository delivered anything: there is nothing to take back",
            )
            .next("`orchestra list` shows the runs that there are")
        })
}

/// Merging finds nothing to do when a commit on top did the opposite: what it would say then
/// is not true.
///
/// # Errors
/// When that is so, with the command that brings the results back.
pub(super) fn check_not_reverted(run: &RunDir, cx: &Context<'_>) -> Result<(), Failure> {
    let Ok(known) = undo::look(run, &cx.own_exe()?, &cx.environment()) else {
        return Ok(());
    };
    let Some(last) = known.state.deliveries().all().last() else {
        return Ok(());
    };
    if let Undo::Done {
        how: UndoHow::Revert { commit },
    } = &last.undo
    {
        return Err(Failure::usage(format!(
            "what {} delivered was taken back by the commit {}: the base branch holds its commits, \
             and merging them again changes nothing",
            known.id(),
            commit.short()
        ))
        .next(format!(
            "git revert {} brings the results back",
            commit.short()
        )));
    }
    Ok(())
}

fn show(
    args: &Args,
    id: &OrchestrationId,
    wish: Wish,
    rehearsal: &Rehearsal,
    live: bool,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let blocked = match &rehearsal.obstacle {
        Some(obstacle) => Some((obstacle.to_string(), ways(obstacle, id, wish))),
        None if live && !rehearsal.steps.is_empty() => {
            let error = UndoError::Conducted(id.clone());
            Some((error.to_string(), Vec::new()))
        }
        None => None,
    };
    if args.json {
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": id.to_string(),
            "baseBranch": rehearsal.branch.to_string(),
            "dryRun": true,
            "how": how_word(wish),
            "tip": rehearsal.tip.to_string(),
            "end": rehearsal.end.to_string(),
            "deliveries": steps_json(rehearsal),
            "absent": rehearsal.absent.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "inTheWay": blocked.as_ref().map(|(why, _)| why),
            "next": blocked.as_ref().map(|(_, next)| next),
        }))?;
    } else {
        let mut text = String::new();
        if rehearsal.steps.is_empty() {
            text.push_str(&nothing_left(
                id,
                rehearsal.branch.as_str(),
                false,
                &rehearsal.absent,
            ));
        } else {
            text.push_str(&format!(
                "would take {} back from {}, newest first:\n",
                plural_deliveries(rehearsal.steps.len()),
                rehearsal.branch
            ));
            for step in &rehearsal.steps {
                text.push_str(&step_text(step));
            }
            if blocked.is_none() {
                text.push_str(&match wish.revert {
                    false => format!(
                        "{} would go back from {} to {}\n",
                        rehearsal.branch,
                        rehearsal.tip.short(),
                        rehearsal.end.short()
                    ),
                    true => format!(
                        "one commit on top of {} ({}) would do the opposite\n",
                        rehearsal.branch,
                        rehearsal.tip.short()
                    ),
                });
            }
        }
        if let Some((why, next)) = &blocked {
            text.push_str(&format!("in the way: {why}\n"));
            for next in next {
                text.push_str(&format!("  {next}\n"));
            }
        }
        cx.print(&text)?;
    }
    Ok(if blocked.is_some() {
        Exit::NotIntegrated
    } else {
        Exit::Success
    })
}

fn how_word(wish: Wish) -> &'static str {
    if wish.revert { "revert" } else { "rewind" }
}

fn plural_deliveries(n: usize) -> String {
    if n == 1 {
        "1 delivery".into()
    } else {
        format!("{n} deliveries")
    }
}

fn step_text(step: &Step) -> String {
    let mut text = format!(
        "  {} of {}: {}, {}, +{} -{}\n",
        step.to.short(),
        step.run,
        plural(step.commits, "commit"),
        plural(step.files.len(), "file"),
        step.lines.added,
        step.lines.removed
    );
    if !step.tasks.is_empty() {
        text.push_str(&format!("      tasks: {}\n", listed(&step.tasks)));
    }
    for file in step.files.iter().take(10) {
        text.push_str(&format!("      {}\n", one_line(file)));
    }
    if step.files.len() > 10 {
        text.push_str(&format!("      and {} more\n", step.files.len() - 10));
    }
    text
}

fn steps_json(rehearsal: &Rehearsal) -> Vec<serde_json::Value> {
    let steps = rehearsal.steps.iter();
    steps
        .map(|step| {
            json!({
                "orchestrationId": step.run.to_string(),
                "from": step.from.to_string(),
                "to": step.to.to_string(),
                "commits": step.commits,
                "files": step.files,
                "linesAdded": step.lines.added,
                "linesRemoved": step.lines.removed,
                "tasks": step.tasks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn outcome_json(id: &OrchestrationId, outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Done {
            rehearsal,
            how,
            delivered,
            backup,
            verified,
        } => json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": id.to_string(),
            "baseBranch": rehearsal.branch.to_string(),
            "dryRun": false,
            "takenBack": true,
            "how": match how { UndoHow::Rewind => "rewind", UndoHow::Revert { .. } => "revert" },
            "tip": rehearsal.tip.to_string(),
            "end": match how {
                UndoHow::Rewind => rehearsal.end.to_string(),
                UndoHow::Revert { commit } => commit.to_string(),
            },
            "deliveries": steps_json(rehearsal),
            "backup": backup,
            "verified": verified,
            "checkout": match delivered {
                Delivered::Checkout { path, .. } => Some(path),
                Delivered::Already | Delivered::RefOnly => None,
            },
        }),
        Outcome::Already { mended, absent } => json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": id.to_string(),
            "dryRun": false,
            "takenBack": mended,
            "deliveries": [],
            "absent": absent.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    }
}

fn outcome_text(target: &Known, outcome: &Outcome) -> String {
    let id = target.id();
    match outcome {
        Outcome::Already { mended, absent } => nothing_left(
            id,
            target.context.settings.base_branch.as_str(),
            *mended,
            absent,
        ),
        Outcome::Done {
            rehearsal,
            how,
            delivered,
            backup,
            verified,
        } => {
            let mut text = format!(
                "took {} back from {}:\n",
                plural_deliveries(rehearsal.steps.len()),
                rehearsal.branch
            );
            for step in &rehearsal.steps {
                text.push_str(&step_text(step));
            }
            let branch = &rehearsal.branch;
            match how {
                UndoHow::Rewind => {
                    text.push_str(&format!("{branch} is at {} again\n", rehearsal.end.short()));
                }
                UndoHow::Revert { commit } => text.push_str(&format!(
                    "{branch} is at {}, which does the opposite{}\n",
                    commit.short(),
                    if *verified == Some(true) {
                        "; verified"
                    } else {
                        "; no verify command is configured"
                    }
                )),
            }
            if let Delivered::Checkout {
                warning: Some(warning),
                ..
            } = delivered
            {
                text.push_str(&format!("but: {}\n", one_line(warning)));
            }
            text.push_str(&format!("what it was is kept as {backup}\n"));
            text.push_str(&match how {
                UndoHow::Rewind => {
                    format!("to deliver it again: orchestra merge automatic --orchestration {id}\n")
                }
                UndoHow::Revert { commit } => {
                    format!("to have it back: git revert {}\n", commit.short())
                }
            });
            text
        }
    }
}

fn nothing_left(
    id: &OrchestrationId,
    branch: &str,
    mended: bool,
    absent: &[crate::core::id::Oid],
) -> String {
    if mended {
        return format!(
            "what {id} delivered is taken back: an earlier call had done it, and was cut off\n"
        );
    }
    match absent {
        [] => format!("what {id} delivered was taken back already\n"),
        absent => {
            let absent: Vec<&str> = absent.iter().map(crate::core::id::Oid::short).collect();
            format!(
                "{branch} does not hold what {id} delivered ({}): there is nothing to take back\n",
                absent.join(", ")
            )
        }
    }
}

/// What a person can do about an obstacle.
fn ways(obstacle: &Obstacle, id: &OrchestrationId, wish: Wish) -> Vec<String> {
    let flags = match (wish.revert, wish.chain) {
        (true, true) => " --revert --chain",
        (true, false) => " --revert",
        (false, true) => " --chain",
        (false, false) => "",
    };
    let mut ways = Vec::new();
    if let Obstacle::BuiltOn { later, people, .. } = obstacle
        && !later.is_empty()
        && people.is_empty()
        && !wish.chain
    {
        ways.push(format!(
            "orchestra undo {id} --chain takes back all of it, newest first"
        ));
    }
    if obstacle.is_passed_by_a_revert() {
        ways.push(format!(
            "orchestra undo {id} --revert{} does the opposite in a commit on top",
            if wish.chain { " --chain" } else { "" }
        ));
    }
    match obstacle {
        Obstacle::InUse { live, .. } => ways.push(format!(
            "wait for it (orchestra wait --orchestration {live}) or end it, then: orchestra undo {id}{flags}"
        )),
        Obstacle::Refused(
            DeliverError::Overlap { .. }
            | DeliverError::Busy { .. }
            | DeliverError::CheckedOutTwice { .. }
            | DeliverError::Unreachable { .. }
            | DeliverError::Moved { .. }
            | DeliverError::HookRefused { .. },
        ) => ways.push(format!("then: orchestra undo {id}{flags}")),
        Obstacle::Foreign { .. } => {
            ways.push("take back by hand what is not wanted: git revert COMMIT".into());
        }
        Obstacle::Conflict { .. } if !wish.chain => ways.push(format!(
            "what came later may have to go first; orchestra undo {id} --revert --chain takes later \
             deliveries back as well"
        )),
        _ => {}
    }
    ways
}

fn failure(error: UndoError, id: &OrchestrationId, wish: Wish) -> Failure {
    let what = error.to_string();
    match error {
        UndoError::Nothing(_) => {
            Failure::usage(what).next("`orchestra status` shows where it stands")
        }
        UndoError::Obstacle(obstacle) => {
            let mut failure = Failure::new(Exit::NotIntegrated, what);
            failure.next = ways(&obstacle, id, wish);
            failure
        }
        UndoError::Conducted(_) | UndoError::NotOver(_) => Failure::usage(what),
        UndoError::Red { .. } | UndoError::Unproved { .. } => {
            Failure::new(Exit::NotIntegrated, what)
        }
        UndoError::Store(error) => error.into(),
        UndoError::Git(error) => error.into(),
    }
}
