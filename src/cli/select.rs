//! Which orchestration a command is about.

use clap::Args;

use super::context::Context;
use super::failure::Failure;
use crate::core::id::{OrchestrationId, TaskName};
use crate::core::plan::nearest;
use crate::store::layout::{Layout, RunDir};
use crate::store::modified;
use crate::view::clock;
use crate::view::snapshot::{Snapshot, Standing};

/// How a run is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunChoice {
    /// The orchestration: its id or the beginning of it [default: the newest, a live one first]
    #[arg(long, value_name = "ID")]
    pub orchestration: Option<String>,
}

/// What the run is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at: of several the newest is right.
    Look,
    /// To be acted on: of several live ones none may be guessed.
    Act,
}

/// A chosen run with a look at it.
#[derive(Debug)]
pub struct Chosen {
    /// Its folder.
    pub run: RunDir,
    /// How it stands.
    pub snapshot: Snapshot,
    /// Ids of other live runs of the repository.
    pub other_live: Vec<OrchestrationId>,
}

/// Chooses the run: the named one, else the newest live one, else the newest.
///
/// # Errors
/// When there is none, when the name fits none or several, or when several are live and one
/// is to be acted on.
pub fn choose(
    layout: &Layout,
    choice: &RunChoice,
    purpose: Purpose,
    cx: &Context<'_>,
) -> Result<Chosen, Failure> {
    let runs = layout.runs();
    if let Some(name) = &choice.orchestration {
        let run = named(&runs, name)?;
        let snapshot = Snapshot::load(&run, cx.now())?;
        check_readable(&run, &snapshot, purpose)?;
        return Ok(Chosen {
            run,
            snapshot,
            other_live: Vec::new(),
        });
    }
    let mut looks: Vec<(RunDir, Snapshot)> = Vec::new();
    for run in runs {
        // A run that goes away while we look is no longer there.
        if let Ok(snapshot) = Snapshot::load(&run, cx.now()) {
            looks.push((run, snapshot));
        }
    }
    looks.sort_by_key(|(run, snapshot)| (snapshot.is_live(), age_key(run, snapshot)));
    let live = looks.iter().filter(|(_, s)| s.is_live()).count();
    if live > 1 && purpose == Purpose::Act {
        let ids: Vec<String> = looks
            .iter()
            .filter(|(_, s)| s.is_live())
            .map(|(run, _)| run.id().to_string())
            .collect();
        return Err(Failure::usage(format!(
            "{live} orchestrations are live: {}",
            ids.join(", ")
        ))
        .next("say which one with --orchestration ID"));
    }
    let Some((run, snapshot)) = looks.pop() else {
        return Err(none_there(layout));
    };
    check_readable(&run, &snapshot, purpose)?;
    let other_live = looks
        .iter()
        .filter(|(_, s)| s.is_live())
        .map(|(run, _)| run.id().clone())
        .collect();
    Ok(Chosen {
        run,
        snapshot,
        other_live,
    })
}

/// A run whose files do not tell how it stands can be looked at, and not acted on.
fn check_readable(run: &RunDir, snapshot: &Snapshot, purpose: Purpose) -> Result<(), Failure> {
    if purpose == Purpose::Look || snapshot.standing != Standing::Unknown {
        return Ok(());
    }
    Err(unreadable(run, snapshot))
}

/// The files of a run do not tell how it stands.
pub(super) fn unreadable(run: &RunDir, snapshot: &Snapshot) -> Failure {
    let why = snapshot.problems.first().cloned().unwrap_or_default();
    Failure::internal(format!(
        "it cannot be told how {} stands: {why}",
        snapshot.id
    ))
    .in_path(run.dir())
    .next("`orchestra doctor` looks for the cause")
}

/// There is no orchestration at all.
pub fn none_there(layout: &Layout) -> Failure {
    Failure::usage("there is no orchestration in this repository")
        .in_path(layout.root())
        .next("start one: orchestra run \"WHAT YOU WANT\", or orchestra run --tasks FILE")
        .next("or see one at work: orchestra demo")
}

/// Sorts older runs first: by when they were created, then by id.
#[must_use]
pub fn age_key(run: &RunDir, snapshot: &Snapshot) -> (i64, OrchestrationId) {
    // The journal tells milliseconds, the settings only seconds: two short runs can begin in one.
    let created = snapshot
        .begun_at
        .or_else(|| clock::parse(&snapshot.settings.as_ref()?.created_at))
        .map(|at| at.0)
        .or_else(|| Some(modified(run.dir())?.0))
        .unwrap_or(0);
    (created, run.id().clone())
}

pub(super) fn named(runs: &[RunDir], name: &str) -> Result<RunDir, Failure> {
    if let Some(run) = runs.iter().find(|r| r.id().as_str() == name) {
        return Ok(run.clone());
    }
    let fitting: Vec<&RunDir> = runs
        .iter()
        .filter(|r| !name.is_empty() && r.id().as_str().starts_with(name))
        .collect();
    match fitting.as_slice() {
        [run] => Ok((*run).clone()),
        [] => {
            let failure = Failure::usage(format!(
                "there is no orchestration `{}` in this repository",
                name.escape_debug()
            ));
            let near = nearest(name, runs.iter().map(|r| r.id().as_str()));
            Err(match near {
                Some(near) => failure.next(format!("did you mean {near}?")),
                None => failure.next("`orchestra list` shows the runs that there are"),
            })
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|r| r.id().as_str()).collect();
            Err(Failure::usage(format!(
                "`{name}` is the beginning of {} orchestrations: {}",
                ids.len(),
                ids.join(", ")
            ))
            .next("write more of the id"))
        }
    }
}

/// The task of that name in a run.
///
/// # Errors
/// When the run has none; the nearest name and all names are given.
pub fn task(snapshot: &Snapshot, name: &str) -> Result<TaskName, Failure> {
    let by_issue = name.strip_prefix('#').and_then(|n| n.parse::<u64>().ok());
    let found = snapshot.rows().find(|t| {
        (by_issue.is_some() && t.issue_number == by_issue)
            || TaskName::parse(name).is_ok_and(|n| n.folded() == t.name.folded())
    });
    if let Some(task) = found {
        return Ok(task.name.clone());
    }
    let names: Vec<&str> = snapshot.rows().map(|t| t.name.as_str()).collect();
    let failure = Failure::usage(format!(
        "the orchestration {} has no task `{}`",
        snapshot.id,
        name.escape_debug()
    ));
    Err(match nearest(name, names.iter().copied()) {
        Some(near) => failure.next(format!("did you mean {near}?")),
        None if names.is_empty() => failure,
        None => failure.next(format!("its tasks: {}", names.join(", "))),
    })
}
