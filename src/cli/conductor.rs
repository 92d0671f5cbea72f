//! Making sure that a live orchestration has a conductor.

use super::context::{self, Context};
use super::failure::Failure;
use crate::store::layout::RunDir;
use crate::store::lock;
use crate::view::snapshot::{Snapshot, Standing};

/// What was found, or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// A conductor was at work already.
    Alive,
    /// The run is over, or was never begun: it needs none.
    NotNeeded,
    /// A new one was started.
    Started,
    /// None is at work, and none could be started; the reason is for people.
    NotStarted(String),
}

/// Starts a conductor for a live run that has none. Harmless when several processes do it
/// at once: a conductor that finds the lock held ends at once.
///
/// # Errors
/// When the run's folder cannot be read.
pub fn ensure(run: &RunDir) -> Result<Ensured, Failure> {
    if lock::is_held(&run.conductor_lock()) {
        return Ok(Ensured::Alive);
    }
    let snapshot = Snapshot::load(run, context::now())?;
    // What a run is cannot be told without its settings and its plan; a conductor could not
    // go on either.
    let begun = !matches!(snapshot.standing, Standing::Planned | Standing::Unknown);
    if !begun || !snapshot.is_live() {
        return Ok(Ensured::NotNeeded);
    }
    start(run, &snapshot)
}

/// As [`ensure`], and tells the person on standard error what was done.
pub(super) fn ensure_and_say(run: &RunDir, cx: &mut Context<'_>) {
    match ensure(run) {
        Ok(Ensured::Started) => cx.remark(&format!(
            "note: {} had no conductor; a new one was started",
            run.id()
        )),
        Ok(Ensured::NotStarted(why)) => cx.remark(&format!(
            "warning: {} has no conductor, and none could be started: {why}",
            run.id()
        )),
        Ok(Ensured::Alive | Ensured::NotNeeded) => {}
        Err(failure) => cx.remark(&format!("warning: {}", failure.what)),
    }
}

fn start(run: &RunDir, snapshot: &Snapshot) -> Result<Ensured, Failure> {
    let _ = (run, snapshot);
    Ok(Ensured::NotStarted("not part of this build".to_owned()))
}
