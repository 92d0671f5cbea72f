//! What a run leaves for the next ones to learn from.

use std::fs;

use orchestra::core::record::Record;
use orchestra::format::history_file::HistoryLine;
use orchestra::format::settings_file::SettingsFile;
use orchestra::store::history;
use orchestra::store::layout::Layout;
use serde_json::{Value, json};

use super::harness::{Room, wait_for, writes};

fn lines(room: &Room) -> Vec<HistoryLine> {
    history::lines(&Layout::new(&room.repo)).unwrap()
}

/// Tasks of an earlier run: 25 minutes, 80 cents and 700 MB each.
fn earlier(room: &Room, count: u32) {
    let layout = Layout::new(&room.repo);
    fs::create_dir_all(layout.root()).unwrap();
    let line = |n: u32, whole| HistoryLine {
        v: 1,
        run: "old".into(),
        task: format!("t{n}"),
        attempt: 1,
        whole,
        agent: "scripted".into(),
        kind: "feature".into(),
        outcome: "done".into(),
        duration_ms: Some(25 * 60_000),
        cost_usd: Some(0.8),
        peak_memory_bytes: Some(700_000_000),
        ..HistoryLine::default()
    };
    let all: Vec<HistoryLine> = (0..count)
        .flat_map(|n| [line(n, false), line(n, true)])
        .collect();
    history::append(&layout, &all).unwrap();
}

fn features(room: &Room, names: &[&str]) {
    let tasks: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "type": "feature", "prompt": "Write it."}))
        .collect();
    room.plan_of(&json!({"tasks": tasks}));
}

#[test]
fn a_run_writes_down_what_became_of_its_attempts_and_tasks() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": writes("a", "x\n"),
        "b": {"attempts": [
            [{"exit": 7}],
            [{"write": {"path": "b", "text": "x\n"}}, {"commit": "Add b"}],
        ]},
    }));
    room.run(&[]).expect(0);
    let lines = lines(&room);
    let told: Vec<(&str, u32, bool, &str, Option<&str>)> = {
        let mut told: Vec<_> = lines
            .iter()
            .map(|l| {
                let class = l.class.as_deref();
                (
                    l.task.as_str(),
                    l.attempt,
                    l.whole,
                    l.outcome.as_str(),
                    class,
                )
            })
            .collect();
        told.sort_unstable();
        told
    };
    assert_eq!(
        told,
        [
            ("a", 1, false, "done", None),
            ("a", 1, true, "done", None),
            ("b", 1, false, "failed", Some("crash")),
            ("b", 2, false, "done", None),
            ("b", 2, true, "done", None),
        ]
    );
    let done = lines.iter().find(|l| l.task == "a" && !l.whole).unwrap();
    assert_eq!(done.agent, "scripted");
    assert!(done.duration_ms.is_some());
    assert_eq!(done.files_changed, Some(1));
    let shown = room
        .orchestra(&["history", "--agent", "scripted"])
        .expect(0);
    assert!(
        shown.out.contains("of 2 tasks here 1 met crash"),
        "{}",
        shown.out
    );
    assert!(
        room.orchestra(&["history"])
            .expect(0)
            .out
            .starts_with("No task")
    );
    room.assert_tidy();
}

#[test]
fn a_line_that_a_conductor_owes_is_written_by_the_next_one_once() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"])]);
    let waits = json!({"steps": [
        {"run": "while [ ! -e \"$ROOM/go\" ]; do sleep 0.05; done"},
        {"write": {"path": "b", "text": "x\n"}},
        {"commit": "Add b"},
    ]});
    room.script(&json!({"a": writes("a", "x\n"), "b": waits}));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    room.wait_until_running(&run, "b");
    wait_for("the lines", || (lines(&room).len() == 2).then_some(()));
    room.kill_conductor();
    // As if it had died before it wrote the second line.
    let path = Layout::new(&room.repo).history();
    let text = fs::read_to_string(&path).unwrap();
    let (first, _) = text.split_once('\n').unwrap();
    fs::write(&path, format!("{first}\n{{\"v\":1,")).unwrap();
    fs::write(room.path("go"), "").unwrap();
    room.orchestra(&["wait"]).expect(0);
    let mut keys: Vec<_> = lines(&room).iter().map(HistoryLine::key).collect();
    keys.sort();
    let key = |task: &str, whole| (task.to_owned(), 1, whole);
    assert_eq!(
        keys,
        [
            key("a", false),
            key("a", true),
            key("b", false),
            key("b", true)
        ]
    );
}

#[test]
fn plans_without_estimates_are_estimated_by_past_tasks() {
    let room = Room::new();
    features(&room, &["a", "b", "c"]);
    let plan = room.path("plan.json").display().to_string();
    let show = || {
        let args = ["plan", "--dry-run", "--tasks", &plan];
        room.orchestra(&args).expect(0).out
    };
    earlier(&room, 2);
    assert!(show().contains("too few past tasks here"), "{}", show());
    earlier(&room, 7);
    room.script(
        &json!({"a": writes("a", "x\n"), "b": writes("b", "x\n"), "c": writes("c", "x\n")}),
    );
    let out = room.run(&["--max-workers", "2"]).expect(0).out;
    for said in [
        "about 25 min, from 9 feature tasks here",
        "50 min with 2 at once",
        "from how long past tasks here took",
        "$0.80 per task, from 9 tasks here",
        "by past tasks here",
    ] {
        assert!(out.contains(said), "{said} is missing in\n{out}");
    }
    let run = room.only_run();
    let text = fs::read_to_string(run.settings()).unwrap();
    let settings: SettingsFile = serde_json::from_str(&text).unwrap();
    assert_eq!(settings.learned.memory, Some(700_000_000));
    assert_eq!(settings.learned.durations.len(), 3);
    // What was learned later does not change what this run was.
    assert!(room.records(&run).contains(&Record::Closed));
}
