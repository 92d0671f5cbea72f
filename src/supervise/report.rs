//! The writer of the status file: on change, at most a few times a second.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::core::time::Timestamp;
use crate::format::launch_file::LaunchFile;
use crate::format::status_file::StatusFile;
use crate::store::StoreError;
use crate::store::atomic::{Durability, write_json};

/// Shortest time between two writes.
const SPACING: Duration = Duration::from_millis(250);
/// The same when only the heartbeat and figures of processes changed.
const QUIET_SPACING: Duration = Duration::from_secs(2);

/// The status file as it should be, and as it was last written.
#[derive(Debug)]
pub(crate) struct Report {
    /// What the file is to say.
    pub(crate) status: StatusFile,
    path: PathBuf,
    written: Option<StatusFile>,
    at: Option<Instant>,
    fault: Option<String>,
}

impl Report {
    /// Begins the report of an attempt, keeping what earlier attempts and others wrote.
    pub(crate) fn begin(
        path: PathBuf,
        before: Option<StatusFile>,
        launch: &LaunchFile,
        now: Timestamp,
    ) -> Self {
        let mut status = before
            .unwrap_or_else(|| StatusFile::registered(&launch.orchestration_id, &launch.task));
        status.schema_version = crate::format::SCHEMA_VERSION;
        status.issue_number = launch.issue_number.or(status.issue_number);
        status.issue_title = launch.issue_title.clone().or(status.issue_title);
        status.branch = Some(launch.branch.to_string());
        status.worktree_path = Some(launch.worktree.display().to_string());
        status.started_at.get_or_insert_with(|| rfc3339(now));
        status.attempt = launch.attempt;
        status.ended_at = None;
        status.attached_since = None;
        status.stuck_reason = None;
        status.stuck_since = None;
        status.question = None;
        status.resources.peak_memory_bytes = None;
        status.options.clear();
        Self {
            status,
            path,
            written: None,
            at: None,
            fault: None,
        }
    }

    /// Writes the file if it changed and enough time went by, or in any case when `force`.
    pub(crate) fn flush(&mut self, force: bool) {
        self.flush_at(Instant::now(), force);
    }

    fn flush_at(&mut self, now: Instant, force: bool) {
        if self.written.as_ref() == Some(&self.status) {
            return;
        }
        let spacing = if self.is_quiet_change() {
            QUIET_SPACING
        } else {
            SPACING
        };
        if !force && self.at.is_some_and(|at| now < at + spacing) {
            return;
        }
        self.at = Some(now);
        match self.write(Durability::Volatile) {
            Ok(()) => {
                self.written = Some(self.status.clone());
                self.fault = None;
            }
            Err(error) => self.fault = Some(error.to_string()),
        }
    }

    /// Writes the last word of the attempt.
    pub(crate) fn finish(&mut self) {
        self.fault = self
            .write(Durability::Durable)
            .err()
            .map(|error| error.to_string());
    }

    /// Why the last write failed, if it did.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn write(&self, durability: Durability) -> Result<(), StoreError> {
        write_json(&self.path, "an instance's status", &self.status, durability)
    }

    fn is_quiet_change(&self) -> bool {
        self.written.as_ref().is_some_and(|written| {
            let mut same = written.clone();
            same.last_heartbeat.clone_from(&self.status.last_heartbeat);
            same.resources = self.status.resources;
            same == self.status
        })
    }
}

/// A point in time as files say it: RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    chrono::DateTime::from_timestamp_millis(at.0)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The clock.
pub(crate) fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::status_file::InstanceStatus;
    use crate::store::atomic::peek_json;

    #[test]
    fn earlier_attempts_are_kept_and_fast_changes_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        let mut launch = crate::agent::scripted::tests::launch("a");
        let mut first = Report::begin(path.clone(), None, &launch, Timestamp(1000));
        first.status.cost_usd = Some(0.5);
        first.status.stuck_reason = Some("why".into());
        first
            .status
            .rest
            .insert("newer".into(), serde_json::json!(1));
        let start = Instant::now();
        first.flush_at(start, false);
        first.status.activity = Some("next".into());
        first.flush_at(start + SPACING / 2, false);
        let on_disk: StatusFile = peek_json(&path).unwrap();
        assert_eq!(on_disk.activity, None, "too soon");
        first.flush_at(start + SPACING, false);
        let on_disk: StatusFile = peek_json(&path).unwrap();
        assert_eq!(on_disk.activity.as_deref(), Some("next"));
        first.status.last_heartbeat = Some("later".into());
        first.flush_at(start + SPACING * 2, false);
        let on_disk: StatusFile = peek_json(&path).unwrap();
        assert_eq!(on_disk.last_heartbeat, None, "a heartbeat alone can wait");
        first.flush_at(start + SPACING * 2, true);
        let on_disk: StatusFile = peek_json(&path).unwrap();
        assert_eq!(on_disk.last_heartbeat.as_deref(), Some("later"));

        launch.attempt = 2;
        let second = Report::begin(path, Some(on_disk), &launch, Timestamp(9000));
        let status = &second.status;
        assert_eq!(
            status.started_at.as_deref(),
            Some("1970-01-01T00:00:01.000Z")
        );
        assert_eq!((status.attempt, status.cost_usd), (2, Some(0.5)));
        assert_eq!(status.stuck_reason, None);
        assert_eq!(status.status, InstanceStatus::Registered);
        assert!(status.rest.contains_key("newer"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_fault_and_no_end() {
        let launch = crate::agent::scripted::tests::launch("a");
        let path = PathBuf::from("/proc/nothing/status.json");
        let mut report = Report::begin(path, None, &launch, Timestamp(0));
        report.flush(true);
        assert!(report.fault().is_some());
        report.finish();
        assert!(report.fault().is_some());
    }
}
