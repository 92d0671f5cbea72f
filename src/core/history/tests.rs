use super::*;
use crate::core::plan::{Faults, Limits, Plan, TaskDraft};

fn past(kind: &str, whole: bool, fate: Fate, minutes: u64) -> Past {
    Past {
        at: Timestamp(0),
        run: "r".into(),
        task: format!("{kind}-{minutes}"),
        whole,
        kind: kind.into(),
        model: None,
        fate,
        worked: Some(Millis::from_secs(minutes * 60)),
        usd: Some(minutes as f64 / 10.0),
        memory: Some(minutes * 1000),
    }
}

fn done(kind: &str, minutes: &[u64]) -> Vec<Past> {
    let one = |m: &u64| past(kind, true, Fate::Done, *m);
    minutes.iter().map(one).collect()
}

fn gate(kind: &str, failed: usize, done: usize) -> Vec<Past> {
    let bad = Fate::Failed("gate-not-passed".into());
    let bad = std::iter::repeat_n(past(kind, false, bad, 1), failed);
    bad.chain(std::iter::repeat_n(past(kind, false, Fate::Done, 1), done))
        .collect()
}

fn plan(tasks: &[(&str, &str, Option<f64>, &[&str])]) -> ValidPlan {
    let tasks = tasks.iter().map(|(name, kind, minutes, needs)| TaskDraft {
        kind: Some((*kind).to_owned()),
        estimated_minutes: *minutes,
        ..TaskDraft::new(*name).after(needs.iter().copied())
    });
    let plan = Plan {
        tasks: tasks.collect(),
        ..Plan::default()
    };
    plan.validate(&Limits::default(), Faults::default())
        .unwrap()
        .0
}

#[test]
fn the_median_of_the_kind_counts_else_of_all_else_nothing() {
    let mut all = done("feature", &[10, 50, 20]);
    let history = History::new(all.clone());
    let guess = history.typical("feature").unwrap();
    assert_eq!(
        (guess.minutes, guess.basis().as_str()),
        (20, "from 3 feature tasks here")
    );
    assert_eq!(history.typical("bugfix"), None, "three of all are too few");
    all.extend(done("bugfix", &[5, 7]));
    // What did not get done, and what the merge queue added, says nothing.
    all.push(past("bugfix", true, Fate::Failed("timeout".into()), 600));
    all.extend(done(RESOLUTION, &[1, 1, 1, 1]));
    let history = History::new(all);
    let guess = history.typical("bugfix").unwrap();
    assert_eq!((guess.minutes, guess.tasks, guess.kind), (10, 5, None));
    assert_eq!(history.typical("testing").unwrap().tasks, 5);
    assert_eq!(history.price(), Some(Price { usd: 1.0, tasks: 5 }));
    assert_eq!(History::default().typical("feature"), None);
    assert_eq!(History::default().price(), None);
}

#[test]
fn what_the_plan_says_is_left_alone_and_chains_weigh_what_was_learned() {
    let plan = plan(&[
        ("a", "feature", None, &[]),
        ("b", "bugfix", Some(3.0), &["a"]),
        ("c", "feature", None, &[]),
        ("d", "testing", None, &["c"]),
    ]);
    let learned = History::new(done("feature", &[10, 20, 50])).learn(&plan, None, None);
    let names: Vec<&str> = learned.durations.keys().map(TaskName::as_str).collect();
    assert_eq!(names, ["a", "c"]);
    // Nobody knows of d: it counts as the mean of 20, 3 and 20.
    assert_eq!(learned.chains(&plan), [23, 3, 35, 15]);
    assert_eq!(Learned::default().chains(&plan), [6, 3, 6, 3]);
}

#[test]
fn a_model_that_failed_half_of_the_gates_is_not_enough() {
    let history = |failed, done| History::new(gate("feature", failed, done));
    assert_eq!(history(2, 1).not_enough("feature", None), None, "too few");
    assert_eq!(history(2, 3).not_enough("feature", None), None);
    let why = Some(NotEnough {
        failed: 2,
        tries: 4,
    });
    assert_eq!(history(2, 2).not_enough("feature", None), why);
    assert_eq!(history(2, 2).not_enough("bugfix", None), None);
    assert_eq!(history(2, 2).not_enough("feature", Some("other")), None);
    let plan = plan(&[("a", "feature", None, &[]), ("b", "testing", None, &[])]);
    let learned = history(2, 2).learn(&plan, None, Some("big"));
    assert_eq!(learned.stronger.len(), 1);
    assert_eq!(history(2, 2).learn(&plan, None, None).stronger.len(), 0);
    let same = history(2, 2).learn(&plan, Some("big"), Some("big"));
    assert_eq!(same.stronger.len(), 0);
}

#[test]
fn memory_is_what_nine_of_ten_need() {
    let attempts = |peaks: std::ops::Range<u64>| {
        let one = |m| past("feature", false, Fate::Done, m);
        History::new(peaks.map(one).collect())
    };
    assert_eq!(attempts(1..3).memory(), None);
    assert_eq!(attempts(1..4).memory(), Some(3000));
    assert_eq!(attempts(1..11).memory(), Some(9000));
}

#[test]
fn the_table_and_the_failures_by_task() {
    let mut all = done("feature", &[10, 20]);
    all.extend(done("bugfix", &[5]));
    let limit = || Fate::Failed("usage-limit".into());
    all.push(past("feature", false, limit(), 10));
    all.push(past("feature", false, limit(), 10));
    all.push(past("bugfix", false, Fate::Done, 5));
    let history = History::new(all);
    let rows = history.kinds();
    let row = &rows[0];
    assert_eq!(
        (row.kind.as_str(), row.tasks, row.done, row.attempts),
        ("feature", 2, 2, 2)
    );
    assert_eq!(
        (row.worked, row.usd),
        (Some(Millis::from_secs(600)), Some(1.0))
    );
    assert_eq!(rows[1].kind, "bugfix");
    assert_eq!(history.failures(), (vec![("usage-limit".into(), 1)], 3));
    assert_eq!(history.digest(), None);
    let digest = History::new(done("feature", &[10, 20, 30])).digest();
    assert_eq!(digest.unwrap(), "- feature: 20 min (median of 3)");
}
