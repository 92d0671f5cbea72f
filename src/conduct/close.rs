//! The end of a run: results, reports, tidying up. Each part may be done again.

use crate::core::record::{IntegrationEnd, Verdict};
use crate::core::state::State;
use crate::format::settings_file::CleanupWhen;
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::view::page::plural;
use crate::view::snapshot::Snapshot;
use crate::view::{report, report_json};

use super::cleanup::{Manner, Which, cleanup};
use super::context::Context;
use super::expire::expire;

/// What closing a run has to say.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Lines for the log: what was left, or could not be tidied up.
    pub(super) lines: Vec<String>,
    /// Why results or report could not be written. A run without them is not closed.
    pub(super) faults: Vec<String>,
}

/// Closes a run that ended.
///
/// Measured figures of worktrees are in the status files by now, so that tidying up first
/// loses none of them; and a report that says "tidy" is written when it is true.
pub(super) fn close(context: &Context, state: &State, verdict: Verdict) -> Closing {
    let mut lines = Vec::new();
    let good = matches!(verdict, Verdict::Success | Verdict::Partial);
    let which = match (context.settings.cleanup, good) {
        (CleanupWhen::Success, true) => Some(Which::Success),
        (CleanupWhen::All, true) => Some(Which::All),
        _ => None,
    };
    if let Some(which) = which {
        match cleanup(context, state, which, Manner::Quiet) {
            Ok(items) => lines.extend(items.iter().filter_map(|item| {
                let what = item.task.as_ref().map_or("the run", |task| task.as_str());
                item.kept
                    .as_ref()
                    .map(|why| format!("{what} was not tidied up: {why}"))
            })),
            Err(error) => lines.push(format!(
                "tidying up stopped: {error}. `orchestra cleanup success` tries again"
            )),
        }
    }
    let days = context.settings.backup_days;
    match expire(&context.repo, &context.layout, days, super::now()) {
        Ok(old) if old.is_empty() => {}
        Ok(old) => lines.push(format!(
            "{} of runs that nobody used for {days} days went",
            plural(old.len(), "backup")
        )),
        Err(error) => lines.push(format!("old backups stay for now: {error}")),
    }
    Closing {
        lines,
        faults: write_reports(context),
    }
}

/// Writes results and report as the journal has them now. Returns what could not be written.
pub(super) fn write_reports(context: &Context) -> Vec<String> {
    let mut lines = Vec::new();
    match Snapshot::load(&context.run, super::now()) {
        Ok(snapshot) => {
            if let Err(error) = write_results(context, &snapshot) {
                lines.push(format!("the results could not be written: {error}"));
            }
            if let Err(error) = write_report(context, &snapshot) {
                lines.push(format!("the report could not be written: {error}"));
            }
        }
        Err(error) => lines.push(format!(
            "neither results nor report could be written: {error}"
        )),
    }
    lines
}

/// Writes `results.json`.
fn write_results(context: &Context, snapshot: &Snapshot) -> Result<(), StoreError> {
    atomic::write_json(
        &context.run.results(),
        "the results",
        &report_json::results(snapshot),
        Durability::Durable,
    )
}

/// Writes the report of a good or a bad end.
fn write_report(context: &Context, snapshot: &Snapshot) -> Result<(), StoreError> {
    let (path, stale, text) = match snapshot.verdict() {
        Some(Verdict::Success | Verdict::Partial | Verdict::Unmerged) => {
            let files = match &snapshot.integration {
                Some(IntegrationEnd::Delivered { from, to, .. }) => {
                    context.repo.changed_paths(from, to).ok()
                }
                _ => None,
            };
            let text = report::success(snapshot, files.as_deref());
            (
                context.run.success_report(),
                context.run.failure_report(),
                text,
            )
        }
        Some(Verdict::Failed | Verdict::Cancelled) => (
            context.run.failure_report(),
            context.run.success_report(),
            report::failure(snapshot),
        ),
        None => return Ok(()),
    };
    atomic::write(&path, text.as_bytes(), Durability::Durable)?;
    // A run that was continued leaves one report: that of its last end.
    match std::fs::remove_file(&stale) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", stale)(e))
        }
        _ => Ok(()),
    }
}
