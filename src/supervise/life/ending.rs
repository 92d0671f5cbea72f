//! The end of an attempt: the tree, the last look, the marker, the outcome.

use std::path::Path;
use std::time::Duration;

use super::Life;
use crate::agent::machine::disk;
use crate::agent::tree::{self, EndPlan, ProcessKey, Tree};
use crate::core::attempt::{AttemptEnd, FailureClass};
use crate::format::SCHEMA_VERSION;
use crate::format::outcome_file::OutcomeFile;
use crate::supervise::classify;
use crate::supervise::last_word;
use crate::supervise::report::{now, rfc3339};

/// How long the supervisor's own helpers may take before the tree is ended without regard
/// to them.
const HELPER_PATIENCE: Duration = Duration::from_secs(20);
/// Longest summary that is kept, characters.
const SUMMARY_LENGTH: usize = 4000;
/// A disk with less room than this is full, bytes.
const NO_ROOM: u64 = 1024 * 1024;

impl Life<'_> {
    /// Ends every process of the instance.
    pub(super) fn end_tree(&mut self) {
        let helpers = self.workshop.helpers.clone();
        let alone = helpers.hold_within(HELPER_PATIENCE);
        let managed: Vec<ProcessKey> = self.agent.iter().filter_map(|a| a.key).collect();
        let tree = Tree {
            roots: managed.clone(),
            below_me: alone.is_some(),
            marker: Some(self.workshop.marker.clone()),
            command: None,
        };
        let plan = EndPlan {
            managed: &managed,
            ..EndPlan::default()
        };
        let report = tree::end(&tree, &plan);
        if !report.left.is_empty() {
            self.memory.kill_group();
            let pids: Vec<String> = report.left.iter().map(|k| k.pid.to_string()).collect();
            self.report.status.last_error = Some(format!(
                "processes that cannot be ended are left: {}",
                pids.join(", ")
            ));
        }
    }

    /// The last acts, in this order: the tree, the last look, status, marker, outcome.
    pub(super) fn finish(mut self) -> (AttemptEnd, Result<(), String>) {
        self.end_tree();
        let end = self.conclude();
        self.look_for_session(&end);
        let changes = match &end {
            // Nothing else is left in the worktree.
            AttemptEnd::Complete { head, .. } => self.workshop.measure_commit(head),
            _ => self.workshop.measure(),
        };
        if let Ok(changes) = changes {
            self.changed(changes);
        }
        self.last_status(&end);
        self.known.forget();
        if let AttemptEnd::Complete { head, .. } = &end {
            let at = self.report.status.ended_at.as_deref();
            // The outcome says the same; the marker is for other tools.
            if let Err(e) = last_word::mark_complete(self.supervision.run, &self.launch, head, at) {
                self.report.status.last_error = Some(e.to_string());
                self.report.finish();
            }
        }
        let written = self.write_outcome(&end);
        for path in &self.taken {
            let _ = std::fs::remove_file(path);
        }
        // Others may take the ports from now on.
        self.slot = None;
        (end, written)
    }

    /// How it ended, all considered.
    fn conclude(&mut self) -> AttemptEnd {
        if let Some(end) = self.ending.take() {
            return end;
        }
        if let Some(candidate) = self.candidate.take() {
            return self.confirm(&candidate);
        }
        if let Some(result) = &self.heard.last_result
            && !classify::ended_well(result)
        {
            let (class, detail) = classify::of_result(result);
            return AttemptEnd::Failed { class, detail };
        }
        let exit = self.agent.as_ref().and_then(|a| a.exit);
        let exit = exit.map(|(exit, _)| exit).unwrap_or_default();
        let (class, detail) =
            classify::of_exit(exit, &self.heard.stderr_tail, self.memory.ran_out(exit));
        AttemptEnd::Failed { class, detail }
    }

    /// Whether the session exists is also told by refusals to make it or to resume it.
    fn look_for_session(&mut self, end: &AttemptEnd) {
        if classify::session_exists_already(&self.heard.stderr_tail) {
            // Made by a process that did not live to tell: it can be resumed.
            self.heard.session_seen = true;
        }
        let AttemptEnd::Failed { detail, .. } = end else {
            return;
        };
        if classify::session_is_unknown(detail)
            || classify::session_is_unknown(&self.heard.stderr_tail)
        {
            self.heard.session_seen = false;
            self.report.status.session_id = None;
        }
    }

    /// The last text of the agent.
    pub(super) fn summary(&self) -> String {
        let text = self
            .heard
            .last_result
            .as_ref()
            .map_or("", |r| r.text.trim());
        text.chars().take(SUMMARY_LENGTH).collect()
    }

    fn last_status(&mut self, end: &AttemptEnd) {
        let status = &mut self.report.status;
        status.status = last_word::status_of(end);
        if let AttemptEnd::Failed { detail, .. } = end {
            status.last_error = Some(detail.clone());
        }
        status.activity = None;
        status.ended_at = Some(rfc3339(now()));
        status.cost_usd = self.heard.costs.task_usd();
        status.tokens = self.heard.costs.task_tokens();
        status.resources.processes = Some(0);
        status.resources.memory_bytes = Some(0);
        self.report.finish();
    }

    /// Writes the outcome, which is what counts; a full disk gets some time to be cleared.
    fn write_outcome(&self, end: &AttemptEnd) -> Result<(), String> {
        let resets_at = match end {
            AttemptEnd::Failed {
                class: FailureClass::UsageLimit,
                detail,
            } => self.reset_of_limit(detail),
            _ => None,
        };
        let outcome = OutcomeFile {
            schema_version: SCHEMA_VERSION,
            attempt: self.launch.attempt,
            outcome: with_faults(
                end.clone(),
                &[
                    self.report.fault(),
                    self.log_fault.as_deref(),
                    full_disk(&self.launch.worktree).as_deref(),
                ],
            ),
            cost_usd: self.heard.costs.attempt_usd(),
            cost_is_partial: self.heard.costs.is_partial(),
            tokens: self.heard.costs.attempt_tokens(),
            peak_memory_bytes: self.memory.peak,
            duration_ms: Some(self.times.spent()),
            resets_at,
            session_seen: self.heard.session_seen,
            ended_at: rfc3339(now()),
        };
        let path = self.supervision.run.outcome(self.supervision.task);
        last_word::write_outcome(&path, &outcome)
    }
}

/// That the agent had no room to write, which it may not have said.
fn full_disk(worktree: &Path) -> Option<String> {
    let (_, free) = disk(worktree)?;
    (free < NO_ROOM).then(|| format!("the disk of {} is full", worktree.display()))
}

/// What this process itself could not write is told with a failure; a task that is done is
/// done all the same.
fn with_faults(end: AttemptEnd, faults: &[Option<&str>]) -> AttemptEnd {
    match end {
        AttemptEnd::Failed { class, mut detail } => {
            for fault in faults.iter().flatten() {
                detail.push_str("; besides: ");
                detail.push_str(fault);
            }
            AttemptEnd::Failed { class, detail }
        }
        other => other,
    }
}
