//! The worktrees of a plan made before any instance: all of them or none.

use crate::core::graph::TaskIx;
use crate::core::record::{Place, Record};
use crate::store::claims;
use crate::store::journal::Journal;
use crate::store::lock::Lock;

use super::cleanup::{Item, Manner, Which, cleanup};
use super::context::Context;
use super::prepare::{StartError, prepare};
use super::{LOCK_PATIENCE, launch, now, read_state};

/// Claims and makes the worktrees of all tasks, and leaves the run paused.
///
/// A task with dependencies gets its worktree at the base for now; it is brought up to their
/// results before its instance starts. When one cannot be made, those that were made go
/// again, and the run's folder with them.
///
/// # Errors
/// What kept one of them from being made.
pub fn make_all(context: &Context) -> Result<Vec<(TaskIx, Place)>, StartError> {
    let made = make(context);
    if made.is_err() {
        roll_back(context);
    }
    made
}

fn make(context: &Context) -> Result<Vec<(TaskIx, Place)>, StartError> {
    // As a conductor does, so that none starts meanwhile.
    let _lock = Lock::take_within(&context.run.conductor_lock(), LOCK_PATIENCE)?
        .ok_or_else(|| StartError::Other("a conductor of this run is at work".into()))?;
    let (mut journal, _) = Journal::open(&context.run.journal())?;
    journal.append(
        &[Record::Begun, Record::PauseRequested { task: None }],
        now(),
    )?;
    let mut places = Vec::new();
    for ix in context.plan.ixs() {
        let task = context.plan.name(ix);
        let place = prepare(context, task, &[])?;
        let record = Record::Prepared {
            task: task.clone(),
            place: place.clone(),
        };
        journal.append(&[record], now())?;
        launch::make_ready(context, context.plan.task(ix), &place)?;
        places.push((ix, place));
    }
    Ok(places)
}

fn roll_back(context: &Context) {
    let removed = read_state(context)
        .ok()
        .and_then(|state| cleanup(context, &state, Which::All, Manner::Quiet).ok());
    for claim in claims::of_run(&context.layout, context.run.id()) {
        let _ = claims::release(&context.layout, context.run.id(), &claim.name);
    }
    // What could not be taken away keeps its journal, so that `orchestra cleanup` and
    // `orchestra doctor` find it later.
    let gone = |items: &[Item]| {
        items
            .iter()
            .all(|i| i.kept.is_none() && i.backups.is_empty())
    };
    if removed.is_some_and(|items| gone(&items)) {
        let _ = std::fs::remove_dir_all(context.run.dir());
    }
}
