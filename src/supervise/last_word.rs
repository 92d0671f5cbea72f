//! The last word about an attempt: the outcome, which is what counts, and the marker for other
//! tools.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::core::attempt::AttemptEnd;
use crate::core::id::Oid;
use crate::format::SCHEMA_VERSION;
use crate::format::launch_file::LaunchFile;
use crate::format::outcome_file::OutcomeFile;
use crate::format::status_file::InstanceStatus;
use crate::store::StoreError;
use crate::store::atomic::{Durability, write_json};
use crate::store::layout::RunDir;

/// How often the outcome is tried to be written when the disk is full.
const OUTCOME_TRIES: u32 = 20;

/// Writes the outcome; a full disk gets some time to be cleared.
pub(crate) fn write_outcome(path: &Path, outcome: &OutcomeFile) -> Result<(), String> {
    let mut last = String::new();
    for n in 0..OUTCOME_TRIES {
        match write_json(path, "an outcome", outcome, Durability::Durable) {
            Ok(()) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(Duration::from_millis(25) * (n + 1));
    }
    Err(last)
}

/// Leaves the marker of a task that is done.
pub(crate) fn mark_complete(
    run: &RunDir,
    launch: &LaunchFile,
    head: &Oid,
    completed_at: Option<&str>,
) -> Result<(), StoreError> {
    let marker = json!({
        "schemaVersion": SCHEMA_VERSION,
        "task": launch.task,
        "attempt": launch.attempt,
        "commit": head,
        "completedAt": completed_at,
    });
    let path = run.complete_marker(&launch.task);
    write_json(&path, "the marker", &marker, Durability::Durable)
}

/// What the status file says of a task whose attempt ended so.
pub(crate) fn status_of(end: &AttemptEnd) -> InstanceStatus {
    match end {
        AttemptEnd::Complete { .. } => InstanceStatus::Complete,
        AttemptEnd::Failed { .. } => InstanceStatus::Failed,
        AttemptEnd::Paused => InstanceStatus::Paused,
        AttemptEnd::Cancelled => InstanceStatus::Cancelled,
    }
}
