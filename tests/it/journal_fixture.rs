//! A journal as version 1 writes it: every later version reads it, and means the same.

use std::collections::BTreeSet;
use std::path::Path;

use orchestra::core::attempt::AttemptEnd;
use orchestra::core::budget::{BudgetPolicy, Limit};
use orchestra::core::plan::Limits;
use orchestra::core::queue::QueuePolicy;
use orchestra::core::record::{AsideWhy, IntegrationEnd, QueueResult, QueueWork, Record, Verdict};
use orchestra::core::retry::RetryPolicy;
use orchestra::core::state::{Phase, Policy, State, TaskFacts, TaskState};
use orchestra::format::plan_file;
use orchestra::store::journal;
use serde_json::{Value, json};

const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/journal-v1.jsonl"
);

/// How many kinds there are. A new kind is a compile error here: give it a line in the
/// fixture. None may ever be taken out.
fn kind(record: &Record) -> &'static str {
    match record {
        Record::Begun => "begun",
        Record::Prepared { .. } => "prepared",
        Record::AttemptStarted { .. } => "attempt-started",
        Record::AttemptRunning { .. } => "attempt-running",
        Record::AttemptEnded { .. } => "attempt-ended",
        Record::Requeued { .. } => "requeued",
        Record::TaskFailed { .. } => "task-failed",
        Record::TaskSkipped { .. } => "task-skipped",
        Record::TaskCancelled { .. } => "task-cancelled",
        Record::PutAfter { .. } => "put-after",
        Record::AttachAsked { .. } => "attach-asked",
        Record::TaskRevived { .. } => "task-revived",
        Record::PauseRequested { .. } => "pause-requested",
        Record::ResumeRequested { .. } => "resume-requested",
        Record::CancelRequested { .. } => "cancel-requested",
        Record::WorkersChanged { .. } => "workers-changed",
        Record::IntegrationStarted { .. } => "integration-started",
        Record::IntegrationEnded { .. } => "integration-ended",
        Record::QueueStarted { .. } => "queue-started",
        Record::QueueEnded { .. } => "queue-ended",
        Record::Proven { .. } => "proven",
        Record::SetAside { .. } => "set-aside",
        Record::ResolverAdded { .. } => "resolver-added",
        Record::ConflictAnswered { .. } => "conflict-answered",
        Record::UndoStarted { .. } => "undo-started",
        Record::Undone { .. } => "undone",
        Record::Finished { .. } => "finished",
        Record::Closed => "closed",
        Record::RequestTaken { .. } => "request-taken",
    }
}

fn end(end: &AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Complete { .. } => "complete",
        AttemptEnd::Failed { .. } => "failed",
        AttemptEnd::Paused => "paused",
        AttemptEnd::Cancelled => "cancelled",
    }
}

fn integration(end: &IntegrationEnd) -> &'static str {
    match end {
        IntegrationEnd::Delivered { .. } => "delivered",
        IntegrationEnd::Reviewable { .. } => "reviewable",
        IntegrationEnd::Conflict { .. } => "conflict",
        IntegrationEnd::Red { .. } => "red",
        IntegrationEnd::NotDelivered { .. } => "not-delivered",
        IntegrationEnd::Failed { .. } => "failed",
    }
}

fn work(work: &QueueWork) -> &'static str {
    match work {
        QueueWork::Merge { .. } => "merge",
        QueueWork::Verify { .. } => "verify",
        QueueWork::Deliver { .. } => "deliver",
        QueueWork::Present { .. } => "present",
    }
}

fn result(result: &QueueResult) -> &'static str {
    match result {
        QueueResult::Merged { .. } => "merged",
        QueueResult::Verified { .. } => "verified",
        QueueResult::Delivered => "delivered",
        QueueResult::Presented { .. } => "presented",
        QueueResult::BaseMoved { .. } => "base-moved",
        QueueResult::Refused { .. } => "refused",
        QueueResult::Failed { .. } => "failed",
        QueueResult::Stopped => "stopped",
    }
}

fn why(why: &AsideWhy) -> &'static str {
    match why {
        AsideWhy::Red { .. } => "red",
        AsideWhy::Conflict { .. } => "conflict",
        AsideWhy::Because { .. } => "because",
    }
}

/// Fields that were added later are null for what was written before.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| (k, without_nulls(v)))
            .collect(),
        other => other,
    }
}

#[test]
fn a_journal_of_version_1_is_read_and_written_the_same() {
    let lines = journal::read(Path::new(FIXTURE)).unwrap();
    let text = std::fs::read_to_string(FIXTURE).unwrap();
    assert_eq!(lines.len(), text.lines().count());
    for (line, raw) in lines.iter().zip(text.lines()) {
        assert_eq!(line.v, 1);
        let raw: Value = serde_json::from_str(raw).unwrap();
        assert_eq!(raw["entry"]["kind"], kind(&line.entry));
        assert_eq!(
            without_nulls(serde_json::to_value(line).unwrap()),
            without_nulls(raw),
            "line {}",
            line.seq
        );
    }
}

#[test]
fn every_kind_of_record_is_in_the_fixture() {
    let lines = journal::read(Path::new(FIXTURE)).unwrap();
    let kinds: BTreeSet<&str> = lines.iter().map(|l| kind(&l.entry)).collect();
    assert_eq!(kinds.len(), 29, "{kinds:?}");
    let ends: BTreeSet<&str> = lines
        .iter()
        .filter_map(|l| match &l.entry {
            Record::AttemptEnded { end: how, .. } => Some(end(how)),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 4, "{ends:?}");
    let ends: BTreeSet<&str> = lines
        .iter()
        .filter_map(|l| match &l.entry {
            Record::IntegrationEnded { result } => Some(integration(result)),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 6, "{ends:?}");
    let of = |name: fn(&Record) -> Option<&'static str>| -> BTreeSet<&str> {
        lines.iter().filter_map(|l| name(&l.entry)).collect()
    };
    let works = of(|record| match record {
        Record::QueueStarted { work: one } => Some(work(one)),
        _ => None,
    });
    assert_eq!(works.len(), 4, "{works:?}");
    let results = of(|record| match record {
        Record::QueueEnded { result: one } => Some(result(one)),
        _ => None,
    });
    assert_eq!(results.len(), 8, "{results:?}");
    let whys = of(|record| match record {
        Record::SetAside { why: one, .. } => Some(why(one)),
        _ => None,
    });
    assert_eq!(whys.len(), 3, "{whys:?}");
}

#[test]
fn the_fixture_means_what_it_meant() {
    let plan = json!({"tasks": [
        {"name": "api"}, {"name": "docs", "dependencies": ["api"]},
        {"name": "broken"}, {"name": "after", "dependencies": ["broken"]}, {"name": "extra"},
    ]});
    let parsed = plan_file::parse(plan.to_string().as_bytes(), &Limits::default()).unwrap();
    let policy = Policy {
        workers: 5,
        success_percent: 80,
        merge: None,
        queue: QueuePolicy {
            verify: true,
            early: true,
            deliver_each: false,
            resolvers: 2,
        },
        retry: RetryPolicy::default(),
        budget: BudgetPolicy::default(),
        token: uuid::Uuid::nil(),
    };
    let lines = journal::read(Path::new(FIXTURE)).unwrap();
    let facts = TaskFacts::of(&parsed.plan, 3, Limit::default());
    let state = State::replay(facts, policy, lines.iter().map(|l| &l.entry));
    let states: Vec<&TaskState> = state.indexes().map(|ix| &state.task(ix).state).collect();
    assert!(matches!(states[0], TaskState::Done { summary, .. } if summary == "The API"));
    assert!(matches!(states[1], TaskState::Done { .. }));
    assert!(matches!(states[2], TaskState::Failed { .. }));
    assert!(matches!(states[3], TaskState::Skipped { because } if because.index() == 2));
    assert_eq!(states[4], &TaskState::Cancelled);
    assert_eq!(state.workers(), 4);
    assert!(!state.is_paused());
    assert_eq!(
        state.phase(),
        &Phase::Finished {
            verdict: Verdict::Partial,
            closed: true
        }
    );
    assert!(matches!(
        state.integration(),
        Some(IntegrationEnd::Delivered { verified: true, .. })
    ));
}
