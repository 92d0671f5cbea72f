//! A look at a run as the shapes that tools read.

use crate::core::record::{IntegrationEnd, Verdict};
use crate::core::state::TaskState;
use crate::core::time::Millis;
use crate::format::SCHEMA_VERSION;
use crate::format::results::{
    FlakyCheck, IntegrationResult, ResultTotals, ResultsFile, SetAside, Settled, TaskIntegration,
    TaskResult, TaskStatus,
};
use crate::format::status_report::{
    ConflictReport, EmergencyReport, HeldReport, IssueReport, MergingReport, ResolutionReport,
    StatusReport, TaskReport,
};

use super::clock::rfc3339;
use super::figures::{self, TimeLeft};
use super::merging::{self, Doing, ResultIs};
use super::snapshot::{Snapshot, Standing, TaskView, Word};
use super::{issues, lines};

#[expect(clippy::cast_precision_loss, reason = "no run lasts 2^53 milliseconds")]
fn seconds(time: Millis) -> f64 {
    time.0 as f64 / 1000.0
}

/// Two digits after the point are all that a ratio tells.
fn hundredths(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

fn names(snapshot: &Snapshot, positions: &[usize]) -> Vec<String> {
    positions
        .iter()
        .filter_map(|at| snapshot.tasks.get(*at))
        .map(|t| t.name.to_string())
        .collect()
}

/// Why a task is not done or does not go on, in a sentence.
fn reason(snapshot: &Snapshot, task: &TaskView) -> Option<String> {
    match &task.state {
        TaskState::Failed { detail, .. } | TaskState::Undecided { detail, .. } => {
            Some(detail.clone())
        }
        TaskState::Skipped { because } => {
            let cause = snapshot.tasks.get(because.index())?;
            Some(format!("it needs {}, which did not get done", cause.name))
        }
        TaskState::Cancelled => Some("taken out on request".to_owned()),
        TaskState::Active(_) if task.word() == Word::Stuck => task.instance()?.stuck_reason.clone(),
        _ => None,
    }
}

/// The name of a verdict, as the files have it.
#[must_use]
pub fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Success => "success",
        Verdict::Partial => "partial",
        Verdict::Unmerged => "unmerged",
        Verdict::Failed => "failed",
        Verdict::Cancelled => "cancelled",
    }
}

/// Where the run stands, as the report has it.
#[must_use]
pub fn state_name(snapshot: &Snapshot) -> &'static str {
    match snapshot.standing {
        Standing::Planned => "planned",
        Standing::Unknown => "unknown",
        Standing::Running if snapshot.cancelling => "cancelling",
        Standing::Running if snapshot.paused => "paused",
        Standing::Running => "running",
        Standing::Integrating(_) => "integrating",
        Standing::Finished { .. } => "finished",
    }
}

/// All of a look, for `status --json`.
#[must_use]
pub fn status_report(snapshot: &Snapshot) -> StatusReport {
    let (time_left_seconds, time_left_basis) = match figures::time_left(snapshot) {
        TimeLeft::Over => (None, None),
        TimeLeft::Unknown(why) => (None, Some(why.to_owned())),
        TimeLeft::About { left, basis } => (Some(seconds(left)), Some(basis)),
    };
    StatusReport {
        schema_version: SCHEMA_VERSION,
        orchestration_id: snapshot.id.to_string(),
        folder: snapshot.dir.display().to_string(),
        taken_at: rfc3339(snapshot.taken_at),
        request: snapshot.request.clone(),
        state: state_name(snapshot).to_owned(),
        verdict: snapshot.verdict().map(|v| verdict_name(v).to_owned()),
        live: snapshot.is_live(),
        conductor_alive: snapshot.conductor_alive,
        started_at: snapshot.begun_at.map(rfc3339),
        ended_at: snapshot.ended_at.map(rfc3339),
        elapsed_seconds: snapshot.elapsed().map(seconds),
        emergency: snapshot.emergency.as_ref().map(|e| EmergencyReport {
            critical: e.critical.clone(),
            words: e.words.clone(),
        }),
        held: snapshot.hold().map(|hold| HeldReport {
            until: rfc3339(hold.until),
            why: hold.why.clone(),
        }),
        allowed_instances: snapshot.conditions.as_ref().and_then(|file| file.slots),
        held_back: snapshot.held_back(),
        max_workers: snapshot.workers,
        active_instances: snapshot.active().count(),
        worktrees: figures::worktrees(snapshot),
        percent: figures::overall(snapshot).map(|o| o.percent),
        tasks_done: snapshot.done(),
        tasks_total: snapshot.tasks.len(),
        time_left_seconds,
        time_left_basis,
        phase: figures::phase(snapshot).map(|(at, _)| at),
        phases: snapshot.phases.iter().map(|p| names(snapshot, p)).collect(),
        tasks: snapshot
            .tasks
            .iter()
            .map(|t| task_report(snapshot, t))
            .collect(),
        resolvers: snapshot
            .resolvers
            .iter()
            .map(|t| task_report(snapshot, t))
            .collect(),
        integration: integration_result(snapshot),
        merging: merging_report(snapshot),
        resolutions: snapshot
            .merging
            .resolutions
            .iter()
            .map(|resolution| ResolutionReport {
                resolver: resolution.resolver.to_string(),
                task: resolution.task.to_string(),
                with: resolution.with.iter().map(ToString::to_string).collect(),
                files: resolution.files.clone(),
            })
            .collect(),
        verify_runs: snapshot.merging.verify_runs,
        flaky: flaky(snapshot),
        issues: issues::issues(snapshot)
            .into_iter()
            .map(|i| IssueReport {
                kind: i.kind.to_owned(),
                task: i.task,
                what: i.what,
                details: i.details,
                options: i.options,
                remedies: i.remedies,
            })
            .collect(),
        budget: snapshot.budget.map(|budget| budget.report()),
        predicted_conflicts: snapshot
            .conflicts
            .iter()
            .map(|conflict| ConflictReport {
                tasks: vec![conflict.tasks.0.to_string(), conflict.tasks.1.to_string()],
                files: conflict.files.clone(),
                since: rfc3339(conflict.since),
            })
            .collect(),
        notes: snapshot.notes.clone(),
        problems: snapshot.problems.clone(),
    }
}

fn task_report(snapshot: &Snapshot, task: &TaskView) -> TaskReport {
    TaskReport {
        name: task.name.to_string(),
        description: task.description.clone(),
        role: task.role.clone(),
        priority: task.priority.to_string(),
        issue_number: task.issue_number,
        state: task.word().text().to_lowercase().replace(' ', "-"),
        reason: reason(snapshot, task),
        dependencies: names(snapshot, &task.needs),
        runs_after: names(snapshot, &task.after),
        attempt: task.attempts,
        max_attempts: task.max_attempts,
        percent: task.percent(),
        branch: task.place.as_ref().map(|p| p.branch.to_string()),
        worktree_path: task
            .place
            .as_ref()
            .map(|p| p.worktree.display().to_string()),
        worktree_exists: task.worktree_exists,
        started_at: task.started_at.map(rfc3339),
        ended_at: task.ended_at.map(rfc3339),
        worked_seconds: seconds(task.worked),
        heartbeat_age_seconds: task.heartbeat_age(snapshot.taken_at).map(seconds),
        integration: task_integration(snapshot, task),
        supervisor_alive: task.supervisor_alive,
        instance: task.status.clone(),
    }
}

/// How a run ended, for `results.json`. Of a run that goes on it is the state so far.
#[must_use]
pub fn results(snapshot: &Snapshot) -> ResultsFile {
    let totals = figures::totals(snapshot);
    let duration = snapshot.elapsed();
    let verdict = snapshot.verdict();
    let settings = snapshot.settings.as_ref();
    let integration = snapshot.integration.as_ref();
    let delivered = match integration {
        Some(IntegrationEnd::Delivered { to, .. }) => Some(to.to_string()),
        _ => None,
    };
    let verified = integration
        .map(IntegrationResult::from)
        .and_then(|i| i.verified);
    #[expect(clippy::cast_precision_loss, reason = "no plan has 2^53 tasks")]
    let success_rate = match snapshot.tasks.len() {
        0 => 0.0,
        all => hundredths(snapshot.done() as f64 / all as f64),
    };
    ResultsFile {
        schema_version: SCHEMA_VERSION,
        orchestration_id: snapshot.id.to_string(),
        request: snapshot.request.clone(),
        verdict,
        success: matches!(
            verdict,
            Some(Verdict::Success | Verdict::Partial | Verdict::Unmerged)
        ),
        base_branch: settings.map(|s| s.base_branch.to_string()),
        base_commit: settings.map(|s| s.base_commit.to_string()),
        delivered_commit: delivered,
        verified,
        started_at: snapshot.begun_at.map(rfc3339),
        ended_at: snapshot.ended_at.map(rfc3339),
        duration_seconds: duration.map(seconds),
        task_seconds: seconds(totals.worked),
        speed_up: duration
            .filter(|d| d.0 > 0 && totals.worked.0 > 0)
            .map(|d| hundredths(seconds(totals.worked) / seconds(d))),
        totals: ResultTotals {
            tasks: snapshot.tasks.len(),
            done: snapshot.done(),
            failed: snapshot.count(&[Word::Failed]),
            skipped: snapshot.count(&[Word::Skipped]),
            cancelled: snapshot.count(&[Word::Cancelled]),
            success_rate,
            files_modified: totals.files,
            lines_added: totals.added,
            lines_removed: totals.removed,
            cost_usd: totals.cost_usd,
            tokens: totals.tokens,
        },
        tasks: snapshot
            .tasks
            .iter()
            .map(|t| task_result(snapshot, t))
            .collect(),
        integration: integration_result(snapshot),
        verify_runs: snapshot.merging.verify_runs,
        flaky: flaky(snapshot),
        follow_ups: follow_ups(snapshot),
    }
}

fn task_result(snapshot: &Snapshot, task: &TaskView) -> TaskResult {
    let status = task.status.as_ref().filter(|_| task.attempts > 0);
    let (commit, summary) = match &task.state {
        TaskState::Done { head, summary } => (
            Some(head.to_string()),
            Some(summary.clone()).filter(|s| !s.trim().is_empty()),
        ),
        _ => (None, None),
    };
    TaskResult {
        name: task.name.to_string(),
        status: match &task.state {
            TaskState::Done { .. } => TaskStatus::Done,
            TaskState::Failed { .. } => TaskStatus::Failed,
            TaskState::Skipped { .. } => TaskStatus::Skipped,
            TaskState::Cancelled => TaskStatus::Cancelled,
            _ => TaskStatus::Open,
        },
        branch: task.place.as_ref().map(|p| p.branch.to_string()),
        commit,
        attempts: task.attempts,
        started_at: task.started_at.map(rfc3339),
        ended_at: task.ended_at.map(rfc3339),
        duration_seconds: seconds(task.worked),
        files_changed: status.and_then(|s| s.files_changed),
        lines_added: status.and_then(|s| s.lines_added),
        lines_removed: status.and_then(|s| s.lines_removed),
        cost_usd: status.and_then(|s| s.cost_usd),
        error: reason(snapshot, task),
        summary,
        dependencies: names(snapshot, &task.needs),
        issue_number: task.issue_number,
        pull_request_url: task.pull_request().map(str::to_owned),
        integration: task_integration(snapshot, task),
    }
}

/// How integration ended, with the branch on which results wait that were too few.
fn integration_result(snapshot: &Snapshot) -> Option<IntegrationResult> {
    let mut result = IntegrationResult::from(snapshot.integration.as_ref()?);
    if let Some(branch) = merging::too_few(snapshot) {
        result.branch = Some(branch.to_string());
    }
    Some(result)
}

fn task_integration(snapshot: &Snapshot, task: &TaskView) -> Option<TaskIntegration> {
    let result = snapshot.merging.result(task)?;
    let (commit, set_aside) = match result {
        ResultIs::Delivered(commit) | ResultIs::Proven(commit) | ResultIs::Merged(commit) => {
            (Some(commit.to_string()), None)
        }
        ResultIs::Aside(why) => (None, Some(SetAside::from(why))),
        ResultIs::Resolving(_) | ResultIs::Open => (None, None),
    };
    let settled = snapshot.merging.settled.get(&task.name);
    Some(TaskIntegration {
        state: result.name().to_owned(),
        settled: settled
            .into_iter()
            .flatten()
            .filter(|_| commit.is_some())
            .map(|file| Settled {
                path: file.path.clone(),
                by: file.by.clone(),
            })
            .collect(),
        commit,
        set_aside,
    })
}

fn flaky(snapshot: &Snapshot) -> Vec<FlakyCheck> {
    let flaky = snapshot.merging.flaky.iter();
    flaky
        .map(|f| FlakyCheck {
            commit: f.commit.to_string(),
            green: f.green,
            red: f.red,
        })
        .collect()
}

fn merging_report(snapshot: &Snapshot) -> Option<MergingReport> {
    let merging = &snapshot.merging;
    let (state, results, commit, run) = match &merging.doing {
        Some(Doing::Merging(n)) => (Some("merging"), Some(*n), None, None),
        Some(Doing::Verifying {
            commit,
            results,
            run,
        }) => (Some("verifying"), Some(*results), Some(commit), Some(*run)),
        Some(Doing::Searching(n)) => (Some("searching"), Some(*n), None, None),
        Some(Doing::Suspecting(_)) => (Some("searching"), Some(1), None, None),
        Some(Doing::CheckingBase) => (Some("searching"), None, None, None),
        Some(Doing::Delivering(commit)) => (Some("delivering"), None, Some(commit), None),
        Some(Doing::Presenting(commit)) => (Some("presenting"), None, Some(commit), None),
        None if !merging.resolutions.is_empty() => (Some("resolving"), None, None, None),
        None => (None, None, None, None),
    };
    Some(MergingReport {
        state: state.map(str::to_owned),
        text: merging::progress(snapshot)?,
        proven: merging.good(),
        delivered: merging.delivered.len(),
        set_aside: merging.aside.len(),
        total: snapshot.tasks.len(),
        results,
        commit: commit.map(ToString::to_string),
        run,
    })
}

/// What is left to be done when the run has ended.
#[must_use]
pub fn follow_ups(snapshot: &Snapshot) -> Vec<String> {
    if snapshot.verdict().is_none() {
        return Vec::new();
    }
    let mut list: Vec<String> = snapshot
        .tasks
        .iter()
        .filter(|t| !matches!(t.state, TaskState::Done { .. }))
        .map(|t| match reason(snapshot, t) {
            Some(why) => format!("{}: {}", t.name, super::page::one_line(&why)),
            None => format!("{}: {}", t.name, lines::symbol(t.word())),
        })
        .collect();
    let aside = merging::set_aside(snapshot);
    list.extend(aside.map(|(task, why)| merging::follow_up(snapshot, task, why)));
    list.extend(snapshot.merging.flaky.iter().map(issues::flaky_text));
    if let Some(branch) = merging::too_few(snapshot) {
        let ended = merging::ended(snapshot).map_or_else(String::new, |(text, _)| text);
        list.push(format!(
            "{ended}; they wait on {branch}, and `orchestra merge automatic --orchestration {}` \
             delivers them",
            snapshot.id
        ));
        return list;
    }
    match &snapshot.integration {
        Some(IntegrationEnd::Delivered {
            verified: false, ..
        }) => {
            list.push("the results were not verified: configure a verify command".to_owned());
        }
        Some(IntegrationEnd::Reviewable { branch, .. }) => {
            list.push(format!("review {branch} and merge it"));
        }
        Some(IntegrationEnd::Delivered { .. }) | None => {}
        Some(_) => list.extend(merging::ended(snapshot).map(|(text, _)| text)),
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Record;
    use crate::view::testkit::{Sample, oid};

    fn partial() -> Snapshot {
        Sample::of(&[("a", vec![]), ("b", vec![0]), ("c", vec![]), ("d", vec![])])
            .done("c", 60)
            .done("d", 30)
            .failed("a", 30, "tests are red")
            .skipped("b", "a")
            .record(Record::IntegrationEnded {
                result: IntegrationEnd::Delivered {
                    from: oid('a'),
                    to: oid('c'),
                    verified: true,
                },
            })
            .finished(Verdict::Partial)
            .build()
    }

    #[test]
    fn results_are_measured_and_fit_their_schema() {
        let results = results(&partial());
        assert_eq!(results.verdict, Some(Verdict::Partial));
        assert!(results.success);
        assert_eq!(
            results.delivered_commit.as_deref(),
            Some("c".repeat(40).as_str())
        );
        assert_eq!(results.duration_seconds, Some(120.0));
        assert_eq!((results.task_seconds, results.speed_up), (120.0, Some(1.0)));
        assert_eq!(results.totals.success_rate, 0.5);
        assert_eq!(results.totals.files_modified, Some(6));
        assert_eq!(
            results.follow_ups,
            ["a: tests are red", "b: it needs a, which did not get done"]
        );
        assert_eq!(results.tasks[1].dependencies, ["a"]);
        assert_eq!(results.tasks[1].status, TaskStatus::Skipped);
        let value = serde_json::to_value(&results).unwrap();
        assert_eq!(value["verdict"], "partial");
        assert_eq!(value["tasks"][0]["linesAdded"], 120);
        let schema = crate::format::results::json_schema();
        jsonschema::validate(&schema, &value).unwrap();
        let again: ResultsFile = serde_json::from_value(value).unwrap();
        assert_eq!(again, results);
    }

    #[test]
    fn the_status_report_has_all_of_the_look_and_fits_its_schema() {
        let snapshot = Sample::chain(3)
            .done("t1", 60)
            .working("t2", 20, Some(50))
            .build();
        let value = serde_json::to_value(status_report(&snapshot)).unwrap();
        let schema = crate::format::status_report::json_schema();
        jsonschema::validate(&schema, &value).unwrap();
        assert_eq!(value["state"], "running");
        assert_eq!(value["percent"], 50);
        assert_eq!(value["timeLeftSeconds"], 80.0);
        assert_eq!(value["tasks"][1]["state"], "working");
        assert_eq!(value["tasks"][1]["heartbeatAgeSeconds"], 5.0);
        assert_eq!(
            value["tasks"][1]["instance"]["stuckReason"],
            serde_json::Value::Null
        );
        assert_eq!(value["tasks"][2]["dependencies"][0], "t2");
        assert_eq!(value["phase"], 2);
    }
}
