//! Budgets: what is granted, what is spent, and what a spent budget ends.

use orchestra::core::attempt::{FailureClass, StartMode};
use orchestra::core::record::Record;
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Room, writes};

fn cost(usd: f64) -> Value {
    json!({"usage": {"cost_usd": usd, "input_tokens": 0, "output_tokens": 0}})
}

fn tokens(n: u64) -> Value {
    json!({"usage": {"input_tokens": n, "output_tokens": 0}})
}

/// What each attempt at a task was granted in US dollars, whether it was the last of its
/// budget, and how it started.
fn grants(room: &Room, run: &RunDir, name: &str) -> Vec<(f64, bool, StartMode)> {
    let records = room.records(run).into_iter();
    let own = records.filter_map(|record| match record {
        Record::AttemptStarted {
            task, grant, start, ..
        } if task.as_str() == name => Some((grant.limit.usd.unwrap().dollars(), grant.last, start)),
        _ => None,
    });
    own.collect()
}

fn failure(room: &Room, run: &RunDir, name: &str) -> (FailureClass, String) {
    let records = room.records(run).into_iter();
    let mut failed = records.filter_map(|record| match record {
        Record::TaskFailed {
            task,
            class,
            detail,
        } if task.as_str() == name => Some((class, detail)),
        _ => None,
    });
    failed.next().expect("the task failed")
}

/// What the attempts really spent, by their outcomes.
fn spent(room: &Room, run: &RunDir) -> f64 {
    let records = room.records(run).into_iter();
    let each = records.filter_map(|record| match record {
        Record::AttemptEnded { account, .. } => Some(account.usd.unwrap_or_default().dollars()),
        _ => None,
    });
    each.sum()
}

#[test]
fn a_task_near_its_budget_ends_its_work_with_the_rest_of_it() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    // The prompt of the second process is kept: it says that the end is near.
    room.script(&json!({
        "a": {"attempts": [
            [{"write": {"path": "a", "text": "sound\n"}}, cost(0.5), cost(0.5),
             {"write": {"path": "a", "text": "too much\n"}}],
            [{"write_prompt": "PROMPT"}, cost(0.04), {"commit": "What is sound"}],
        ]},
        "b": writes("b", "b\n"),
    }));
    room.run(&["--max-budget-usd", "1.10"]).expect(0);
    let run = room.only_run();
    let granted = grants(&room, &run, "a");
    assert_eq!(granted.len(), 2, "{granted:?}");
    assert_eq!(granted[0], (0.935, false, StartMode::Fresh));
    assert_eq!(granted[1], (0.10, true, StartMode::Resume));
    assert_eq!(room.read("a"), "sound\n");
    let prompt = room.read("PROMPT");
    assert!(prompt.contains("budget is nearly spent"), "{prompt}");
    let results: Value = serde_json::from_slice(&std::fs::read(run.results()).unwrap()).unwrap();
    let total = results["totals"]["costUsd"].as_f64().unwrap();
    assert!((total - 1.04).abs() < 1e-9, "{results}");
}

#[test]
fn a_task_over_its_budget_is_given_up_and_what_it_did_is_kept() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"attempts": [[
            {"write": {"path": "half", "text": "done\n"}}, cost(0.3), cost(0.3), cost(0.3),
        ]]},
        "b": writes("b", "b\n"),
    }));
    let said = room.run(&["--max-budget-usd", "0.50"]);
    let run = room.only_run();
    let (class, detail) = failure(&room, &run, "a");
    assert_eq!(class, FailureClass::Budget);
    assert!(detail.contains("$0.50 is spent"), "{detail}");
    said.expect(1);
    // One request on top, and no other attempt.
    assert_eq!(grants(&room, &run, "a").len(), 1);
    assert_eq!(
        std::fs::read_to_string(room.worktree("a").join("half")).unwrap(),
        "done\n"
    );
    let issues = room.orchestra(&["status", "issues"]).expect(0);
    assert!(issues.out.contains("budget"), "{}", issues.out);
}

#[test]
fn a_run_never_passes_its_ceiling_by_more_than_a_request_per_instance() {
    let room = Room::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    let tasks: Vec<(&str, &[&str])> = names.iter().map(|n| (*n, &[] as &[&str])).collect();
    room.plan(&tasks);
    let request = 0.11;
    let greedy: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| {
            let mut steps = vec![json!({"write": {"path": name, "text": "x\n"}})];
            steps.extend(std::iter::repeat_n(cost(request), 30));
            steps.push(json!({"commit": "Never reached"}));
            ((*name).to_owned(), json!({"attempts": [steps]}))
        })
        .collect();
    room.script(&Value::Object(greedy));
    let ceiling = 2.0;
    room.run(&["--run-budget-usd", "2.00", "--max-workers", "3"])
        .expect(1);
    let run = room.only_run();
    let total = spent(&room, &run);
    assert!(total > 0.5 * ceiling, "{total}");
    assert!(total <= ceiling + 3.0 * request, "{total}");
    let budget = names
        .iter()
        .filter(|n| failure(&room, &run, n).0 == FailureClass::Budget)
        .count();
    assert_eq!(budget, names.len());
    room.assert_quiet();
}

#[test]
fn tokens_are_warned_of_and_then_end_the_attempt_in_the_middle_of_its_turn() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        // The warning arrives as a message, which is the next turn of the scripted agent.
        "a": {"steps": [tokens(7_000), tokens(700), "end_turn",
            {"write_prompt": "WARNING"}, {"commit": "Warned"}]},
        "b": {"attempts": [[tokens(5_000), tokens(5_000), {"hang": {"deaf": true}}]]},
    }));
    room.run(&["--max-tokens", "10000", "--success-percent", "50"])
        .expect(5);
    let run = room.only_run();
    let warning = room.read("WARNING");
    assert!(warning.contains("tokens is nearly spent"), "{warning}");
    let (class, detail) = failure(&room, &run, "b");
    assert_eq!(class, FailureClass::Budget);
    assert!(detail.contains("10000 tokens"), "{detail}");
    room.assert_quiet();
}
