//! Conflicts that are seen while both sides are still at work.

use std::fs;

use orchestra::core::id::TaskName;
use orchestra::core::record::Record;
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Room, wait_for};

/// Waits until the test lets the instance go on.
fn until(sign: &str) -> Value {
    json!({"run": format!("while [ ! -e \"$ROOM/{sign}\" ]; do sleep 0.02; done")})
}

fn sign(room: &Room, sign: &str) {
    fs::write(room.path(sign), "").unwrap();
}

fn room() -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_RADAR_SECONDS", "1");
    room
}

fn predicted(room: &Room) -> Vec<Value> {
    let report = room
        .orchestra(&["status", "issues", "--json"])
        .expect(0)
        .json();
    report["predictedConflicts"].as_array().unwrap().clone()
}

fn told(run: &RunDir, task: &str) -> Option<String> {
    let task = TaskName::parse(task).unwrap();
    let status: Value = serde_json::from_slice(&fs::read(run.status(&task)).ok()?).unwrap();
    let said = &status["forwardedMessage"];
    said.as_str().map(str::to_owned)
}

fn log(run: &RunDir) -> String {
    fs::read_to_string(run.log()).unwrap()
}

#[test]
fn two_at_work_in_the_same_lines_are_told_and_it_passes_when_one_gives_way() {
    let room = room();
    room.plan(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let write = |path: &str, text: &str| json!({"write": {"path": path, "text": text}});
    room.script(&json!({
        "a": {"steps": [
            write("README.md", "a\n"),
            until("give-way"),
            write("README.md", "base\n"),
            write("a.md", "a\n"),
            until("end"),
            {"commit": "a"},
        ]},
        "b": {"steps": [write("README.md", "b\n"), until("end"), {"commit": "b"}]},
        "c": {"steps": [write("c.md", "c\n"), until("end"), {"commit": "c"}]},
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    let conflicts = wait_for("a predicted conflict", || {
        Some(predicted(&room)).filter(|c| !c.is_empty())
    });
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0]["tasks"], json!(["a", "b"]));
    assert_eq!(conflicts[0]["files"], json!(["README.md"]));
    let issues = room.orchestra(&["status", "issues"]).expect(0).out;
    assert!(
        issues.contains("a - PREDICTED CONFLICT")
            && issues.contains("does not merge with that of b: README.md"),
        "{issues}"
    );
    for (task, other) in [("a", "b"), ("b", "a")] {
        let text = wait_for("the note", || told(&run, task));
        assert!(
            text.contains(&format!("the task {other} (at work")) && text.contains("README.md"),
            "{text}"
        );
    }
    assert_eq!(told(&run, "c"), None);
    // A conductor that takes over says it no second time.
    room.kill_conductor();
    room.orchestra(&["status"]).expect(0);
    wait_for("the next look", || {
        Some(predicted(&room)).filter(|c| !c.is_empty())
    });
    sign(&room, "give-way");
    wait_for("the end of the conflict", || {
        predicted(&room).is_empty().then_some(())
    });
    let quiet = room.orchestra(&["status", "issues"]).expect(0).out;
    assert!(quiet.contains("No issues"), "{quiet}");
    assert_eq!(
        log(&run).matches("told: A note").count(),
        2,
        "{}",
        log(&run)
    );
    assert!(log(&run).contains("radar: a and b are no longer in conflict"));
    sign(&room, "end");
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("README.md"), "b\n");
    room.assert_tidy();
    assert!(!run.radar().exists() && !run.radar_folder().exists());
}

#[test]
fn a_task_that_has_not_begun_goes_behind_the_one_that_changes_its_files() {
    let room = room();
    room.plan_of(&json!({"tasks": [
        {"name": "a", "files": ["a/**"], "priority": "high"},
        {"name": "b", "files": ["b/**"], "priority": "high"},
        {"name": "c", "files": ["shared/**"]},
    ]}));
    room.script(&json!({
        "a": {"steps": [
            {"write": {"path": "shared/list", "text": "a\n"}}, until("a"), {"commit": "a"},
        ]},
        "b": {"steps": [{"write": {"path": "b/x", "text": "b\n"}}, until("b"), {"commit": "b"}]},
        "c": {"steps": [
            {"require": {"path": "shared/list", "contains": "a"}},
            {"append": {"path": "shared/list", "text": "c\n"}}, {"commit": "c"},
        ]},
    }));
    room.run(&["--detach", "--max-workers", "2"]).expect(0);
    let run = room.only_run();
    room.wait_for_record(&run, "the new order", |r| {
        matches!(r, Record::PutAfter { task, after, files }
            if task.as_str() == "c" && after.as_str() == "a" && files == &["shared/list"])
    });
    let report = room.orchestra(&["status", "--json"]).expect(0).json();
    assert_eq!(report["tasks"][2]["runsAfter"], json!(["a"]));
    assert_eq!(report["tasks"][2]["state"], "waiting");
    assert!(log(&run).contains("c: waits for a, which changes shared/list"));
    // There is room for it, and it waits all the same.
    sign(&room, "b");
    room.wait_for_record(
        &run,
        "the end of b",
        |r| matches!(r, Record::AttemptEnded { task, .. } if task.as_str() == "b"),
    );
    sign(&room, "a");
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("shared/list"), "a\nc\n");
    let records = room.records(&run);
    let at = |is: &dyn Fn(&Record) -> bool| records.iter().position(is).unwrap();
    let end = at(&|r| matches!(r, Record::AttemptEnded { task, .. } if task.as_str() == "a"));
    let start = at(&|r| matches!(r, Record::AttemptStarted { task, .. } if task.as_str() == "c"));
    assert!(end < start);
    room.assert_tidy();
}

#[test]
fn a_note_is_no_answer_to_a_question() {
    let room = room();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [
            {"write": {"path": "README.md", "text": "a\n"}},
            {"stuck": {"reason": "Which way?"}},
            until("end"),
            {"write": {"path": "README.md", "text": "b\n"}},
            {"commit": "a"},
        ]},
        "b": {"steps": [
            until("begin"),
            {"write": {"path": "README.md", "text": "b\n"}}, until("end"), {"commit": "b"},
        ]},
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    room.wait_until_running(&run, "a");
    wait_for("the question", || {
        (room.status(&run, "a")["status"] == "stuck").then_some(())
    });
    sign(&room, "begin");
    wait_for("the note to b", || told(&run, "b"));
    assert_eq!(told(&run, "a"), None);
    room.orchestra(&["control", "answer", "a", "Left"])
        .expect(0);
    // Now that it works again it hears of the other one.
    wait_for("the note to a", || {
        told(&run, "a").filter(|text| text.contains("the task b"))
    });
    sign(&room, "end");
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("README.md"), "b\n");
    room.assert_quiet();
}

#[test]
fn what_the_plan_did_not_know_keeps_no_task_from_starting() {
    // a and b run and conflict; c needs b and is put behind a, with which b does not merge.
    let mut room = room();
    room.set("ORCHESTRA_MERGE", "none");
    room.plan_of(&json!({"tasks": [
        {"name": "a"}, {"name": "b"},
        {"name": "c", "dependencies": ["b"], "files": ["shared/**"]},
    ]}));
    let clash = |text: &str, sign: &str| {
        json!({"steps": [
            {"write": {"path": "shared/list", "text": text}}, until(sign), {"commit": text},
        ]})
    };
    room.script(&json!({
        "a": clash("a", "end"), "b": clash("b", "end"),
        "c": {"steps": [
            {"require": {"path": "shared/list", "contains": "b"}},
            {"write_prompt": "c.md"}, {"commit": "c"},
        ]},
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    room.wait_for_record(&run, "the new order", |r| {
        matches!(r, Record::PutAfter { task, after, .. }
            if task.as_str() == "c" && after.as_str() == "a")
    });
    sign(&room, "end");
    room.orchestra(&["wait"]).expect(0);
    let prompt = room.git(&["show", "task/c:c.md"]);
    assert!(
        prompt.contains("already contains the finished task b") && !prompt.contains("task a"),
        "{prompt}"
    );
}

#[test]
fn without_a_radar_there_is_none() {
    let mut room = room();
    room.set("ORCHESTRA_RADAR_SECONDS", "0");
    room.plan(&[("a", &[]), ("b", &[])]);
    room.run(&[]).expect(0);
    let run = room.only_run();
    assert!(!run.radar().exists() && !run.radar_folder().exists());
}
