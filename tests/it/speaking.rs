//! What instances say of themselves (`orchestra report …`), and what they are told: the whole
//! program, with the scripted agent.

use std::fs;

use orchestra::core::attempt::StartMode;
use orchestra::core::id::TaskName;
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Room, wait_for, writes};

fn run_steps(command: &str, after: &[Value]) -> Value {
    let mut steps = vec![json!({ "run": command })];
    steps.extend_from_slice(after);
    json!({ "steps": steps })
}

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

fn stuck(room: &Room, run: &RunDir, task: &str) -> Value {
    wait_for("a question", || {
        if !run.status(&name(task)).exists() {
            return None;
        }
        let status = room.status(run, task);
        (status["status"] == "stuck").then_some(status)
    })
}

#[test]
fn an_instance_says_that_it_is_stuck_and_goes_on_with_the_answer() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let ask = "echo 'Which key is for tests?' | orchestra report stuck --reason - \
               --option 'the old one' --option 'a new one' > \"$ROOM/said-a\"; echo $? >> \"$ROOM/said-a\"";
    room.script(&json!({
        "a": run_steps(ask, &[
            json!("end_turn"), json!({"write_prompt": "a.md"}), json!({"commit": "a"}),
        ]),
        "b": writes("b", "x\n"),
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    let status = stuck(&room, &run, "a");
    assert_eq!(status["stuckReason"], "Which key is for tests?");
    assert_eq!(status["options"], json!(["the old one", "a new one"]));
    let said = wait_for("the end of the command", || {
        let said = fs::read_to_string(room.path("said-a")).unwrap_or_default();
        said.ends_with("\n0\n").then_some(said)
    });
    assert!(said.contains("End your turn now"), "{said}");
    let issues = room.orchestra(&["status", "issues"]).expect(0).out;
    assert!(issues.contains("Which key is for tests?"), "{issues}");
    room.orchestra(&["control", "answer", "a", "a new one"])
        .expect(0);
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("a.md"), "a new one\n");
    assert_eq!(room.status(&run, "a")["forwardedMessage"], "a new one");
    room.assert_tidy();
}

#[test]
fn outside_of_an_instance_there_is_nothing_to_report() {
    let room = Room::new();
    for args in [
        &["report", "stuck", "--reason", "x"][..],
        &["report", "progress", "x", "--percent", "40"],
        &["report", "note", "x"],
    ] {
        let ended = room.orchestra(args).expect(2);
        assert!(ended.err.contains("is for an instance"), "{}", ended.err);
        assert!(ended.err.contains("orchestra report"), "{}", ended.err);
    }
    for args in [
        &["report", "stuck"][..],
        &["report", "progress", "x", "--percent", "140"],
        &["report", "progress", "x", "--done", "3"],
        &["report", "--json", "note", "x"],
    ] {
        room.orchestra(args).expect(2);
    }
}

#[test]
fn notes_reach_later_instances_and_later_runs_and_progress_is_told_as_said() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"])]);
    let note = "orchestra report note 'The tests need TZ=UTC' && \
                orchestra report note 'The tests need TZ=UTC' && \
                orchestra report progress 'half of it' --percent 50";
    room.script(&json!({
        "a": run_steps(note, &[
            json!({"write": {"path": "a", "text": "x"}}),
            json!({"run": "while [ ! -e \"$ROOM/go\" ]; do sleep 0.05; done"}),
            json!({"commit": "a"}),
        ]),
        "b": {"steps": [{"write_prompt": "b.md"}, {"commit": "b"}]},
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    wait_for("a status", || run.status(&name("a")).exists().then_some(()));
    wait_for("progress", || {
        (room.status(&run, "a")["progress"]["said"]["percent"] == 50).then_some(())
    });
    let status = room.status(&run, "a");
    assert_eq!(
        status["progress"]["percent"],
        Value::Null,
        "never taken for measured"
    );
    let detailed = room.orchestra(&["status", "detailed"]).expect(0).out;
    assert!(detailed.contains("it says 50%: half of it"), "{detailed}");
    assert!(detailed.contains("a: The tests need TZ=UTC"), "{detailed}");
    fs::write(room.path("go"), "").unwrap();
    room.orchestra(&["wait"]).expect(0);
    let told = room.read("b.md");
    assert_eq!(
        told.matches("> [a] The tests need TZ=UTC").count(),
        1,
        "{told}"
    );
    assert!(told.contains("of this run left"), "{told}");
    let report = room.orchestra(&["report"]).expect(0).out;
    assert!(report.contains("- a: The tests need TZ=UTC"), "{report}");

    room.plan(&[("c", &[]), ("d", &[])]);
    room.script(&json!({
        "c": {"steps": [{"write_prompt": "c.md"}, {"commit": "c"}]},
        "d": writes("d", "x\n"),
    }));
    room.run(&[]).expect(0);
    let told = room.read("c.md");
    assert!(told.contains("from earlier runs"), "{told}");
    assert!(told.contains("> [a] The tests need TZ=UTC"), "{told}");
}

#[test]
fn an_answer_that_comes_after_the_end_brings_the_session_back() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[]), ("c", &["a"])]);
    room.script(&json!({
        "a": {"steps": [
            {"stuck": {"reason": "which colour?", "options": ["red", "blue"]}},
            {"write_prompt": "a.md"}, {"commit": "a"}]},
        "b": writes("b", "x\n"),
        "c": writes("c", "x\n"),
    }));
    room.write(
        ".claude/orchestra.toml",
        "answer_timeout_seconds = 1\nmax_attempts = 1\n",
    );
    room.run(&[]).expect(1);
    let run = room.only_run();
    let status = room.status(&run, "a");
    assert_eq!(status["status"], "failed");
    assert_eq!(status["stuckReason"], "which colour?");
    room.orchestra(&["control", "answer", "b", "x"]).expect(2);
    room.orchestra(&["control", "answer", "a", "blue"])
        .expect(0);
    room.orchestra(&["wait"]).expect(0);
    let told = room.read("a.md");
    assert!(
        told.contains("which colour?") && told.ends_with("\nblue\n"),
        "{told}"
    );
    assert_eq!(room.read("c"), "x\n");
    let starts = room.starts(&run, "a");
    assert_eq!(starts.len(), 2);
    assert_eq!(starts[1], (starts[0].0, StartMode::Resume));
    room.assert_quiet();
}

#[test]
fn a_broadcast_reaches_those_that_run_and_those_that_start_later_and_answers_nothing() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"]), ("s", &[])]);
    let wait = json!({"run": "while [ ! -e \"$ROOM/go\" ]; do sleep 0.05; done"});
    let told = |name: &str| {
        vec![
            json!({"commit": name}),
            json!("end_turn"),
            json!({"write_prompt": format!("{name}.md")}),
            json!({"commit": "told"}),
        ]
    };
    let steps = |first: Vec<Value>, rest: Vec<Value>| {
        let steps: Vec<Value> = first.into_iter().chain(rest).collect();
        json!({ "steps": steps })
    };
    room.script(&json!({
        "a": steps(vec![json!({"write": {"path": "a", "text": "x"}}), wait], told("a")),
        "b": steps(vec![json!({"write": {"path": "b", "text": "x"}})], told("b")),
        "s": {"steps": [
            {"stuck": {"reason": "which colour?"}},
            {"write_prompt": "s.md"}, {"commit": "s"},
        ]},
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    let file = room.worktree("a").join("a");
    wait_for("work", || file.exists().then_some(()));
    stuck(&room, &run, "s");
    let said = room
        .orchestra(&["control", "broadcast", "the server is down"])
        .expect(0)
        .out;
    assert!(said.contains("told a, s"), "{said}");
    assert!(said.contains("b will be told when it runs"), "{said}");
    wait_for("the message", || {
        (room.status(&run, "a")["forwardedMessage"] == "the server is down").then_some(())
    });
    assert_eq!(room.status(&run, "s")["status"], "stuck");
    room.orchestra(&["control", "answer", "s", "green"])
        .expect(0);
    fs::write(room.path("go"), "").unwrap();
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("s.md"), "green\n");
    for name in ["a.md", "b.md"] {
        assert_eq!(room.read(name), "the server is down\n");
    }
}
