//! Making sure that a live orchestration has a conductor, and seeing a run as one does.

use super::context::Context;
use super::failure::Failure;
use crate::conduct;
use crate::conduct::ensure::{self, Ensured};
use crate::core::event::Request;
use crate::core::state::State;
use crate::store::layout::RunDir;
use crate::store::lock;

/// Loads a run as its conductor does, with the state that its journal tells.
///
/// # Errors
/// When it was not started, or a file of it cannot be read.
pub(super) fn load(run: &RunDir, cx: &Context<'_>) -> Result<(conduct::Context, State), Failure> {
    let context = conduct::load(run, &cx.own_exe()?, cx.environment())
        .map_err(|e| Failure::internal(e.to_string()).in_path(run.dir()))?;
    let state = conduct::read_state(&context)?;
    Ok((context, state))
}

/// Starts a conductor for a live run that has none. Harmless when several processes do it
/// at once: a conductor that finds the lock held ends at once.
///
/// # Errors
/// When this program cannot be found.
pub fn ensure(run: &RunDir, cx: &Context<'_>) -> Result<Ensured, Failure> {
    Ok(ensure::ensure(
        run,
        run.main_checkout(),
        &cx.own_exe()?,
        &cx.environment(),
    ))
}

/// As [`ensure()`], for whoever waits for the run. What keeps a conductor from being started
/// is told once while a keeper tries on: a full disk has room again some time.
///
/// # Errors
/// When this program cannot be found, or no conductor can be started and nobody tries on.
pub(super) fn ensure_patiently(
    run: &RunDir,
    told: &mut bool,
    cx: &mut Context<'_>,
) -> Result<Ensured, Failure> {
    let ensured = ensure(run, cx)?;
    let Ensured::Failed(why) = &ensured else {
        *told = false;
        return Ok(ensured);
    };
    if !lock::is_held(&run.keeper_lock()).unwrap_or(false) {
        return Err(
            Failure::internal(format!("no conductor can be started: {why}"))
                .in_path(run.dir())
                .next("`orchestra doctor` looks for the cause"),
        );
    }
    if !*told {
        cx.remark(&format!(
            "warning: {} has no conductor, which is tried again: {why}",
            run.id()
        ));
        *told = true;
    }
    Ok(ensured)
}

/// Posts a request to a run and makes sure that a conductor reads it.
///
/// # Errors
/// When the inbox cannot be written, or no conductor can be started.
pub fn ask(run: &RunDir, request: Request, cx: &Context<'_>) -> Result<(), Failure> {
    let root = run.main_checkout();
    ensure::ask(run, request, root, &cx.own_exe()?, &cx.environment()).map_err(|why| {
        Failure::internal(format!("the request could not be handed over: {why}"))
            .in_path(run.dir())
            .next("`orchestra doctor` looks for the cause")
    })
}

/// As [`ensure()`], and tells the person on standard error what was done.
pub(super) fn ensure_and_say(run: &RunDir, cx: &mut Context<'_>) {
    match ensure(run, cx) {
        Ok(Ensured::Started) => cx.remark(&format!(
            "note: {} had no conductor; a new one was started",
            run.id()
        )),
        Ok(Ensured::Failed(why)) => cx.remark(&format!(
            "warning: {} has no conductor, and none could be started: {why}",
            run.id()
        )),
        Ok(Ensured::Running | Ensured::NotNeeded) => {}
        Err(failure) => cx.remark(&format!("warning: {}", failure.what)),
    }
}
