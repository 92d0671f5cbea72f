//! The end of a run: results, reports, tidying up. Each part may be done again.

use crate::core::record::{IntegrationEnd, Verdict};
use crate::core::state::State;
use crate::format::settings_file::CleanupWhen;
use crate::store::atomic::{self, Durability};
use crate::view::snapshot::Snapshot;
use crate::view::{report, report_json};

use super::cleanup::{Which, cleanup};
use super::context::Context;

/// Closes a run that ended. Returns lines for the log.
///
/// Measured figures of worktrees are in the status files by now, so that tidying up first
/// loses none of them; and a report that says "tidy" is written when it is true.
pub(super) fn close(context: &Context, state: &State, verdict: Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    let good = matches!(verdict, Verdict::Success | Verdict::Partial);
    let which = match (context.settings.cleanup, good) {
        (CleanupWhen::Success, true) => Some(Which::Success),
        (CleanupWhen::All, true) => Some(Which::All),
        _ => None,
    };
    if let Some(which) = which {
        match cleanup(context, state, which, false) {
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
    if let Err(error) = write_results(context) {
        lines.push(format!("the results could not be written: {error}"));
    }
    if let Err(error) = write_reports(context) {
        lines.push(format!("the report could not be written: {error}"));
    }
    lines
}

/// Writes `results.json`.
///
/// # Errors
/// When the run cannot be read or the file cannot be written.
pub fn write_results(context: &Context) -> Result<(), String> {
    let snapshot = look(context)?;
    let results = report_json::results(&snapshot);
    atomic::write_json(
        &context.run.results(),
        "the results",
        &results,
        Durability::Durable,
    )
    .map_err(|e| e.to_string())
}

/// Writes the report of a good or a bad end.
///
/// # Errors
/// When the run cannot be read or the file cannot be written.
pub fn write_reports(context: &Context) -> Result<(), String> {
    let snapshot = look(context)?;
    let (path, stale, text) = match snapshot.verdict() {
        Some(Verdict::Success | Verdict::Partial | Verdict::Unmerged) => {
            let files = match &snapshot.integration {
                Some(IntegrationEnd::Delivered { from, to, .. }) => {
                    context.repo.changed_paths(from, to).ok()
                }
                _ => None,
            };
            let text = report::success(&snapshot, files.as_deref());
            (
                context.run.success_report(),
                context.run.failure_report(),
                text,
            )
        }
        Some(Verdict::Failed | Verdict::Cancelled) => (
            context.run.failure_report(),
            context.run.success_report(),
            report::failure(&snapshot),
        ),
        None => return Ok(()),
    };
    atomic::write(&path, text.as_bytes(), Durability::Durable).map_err(|e| e.to_string())?;
    // A run that was continued leaves one report: that of its last end.
    match std::fs::remove_file(&stale) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
        _ => Ok(()),
    }
}

fn look(context: &Context) -> Result<Snapshot, String> {
    Snapshot::load(&context.run, super::now()).map_err(|e| e.to_string())
}
