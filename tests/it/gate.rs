//! Done means evidence; and what follows when it is missing.

use std::fs;

use orchestra::core::attempt::{AttemptEnd, FailureClass};
use orchestra::core::record::Record;
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Room, writes};

fn results(run: &RunDir) -> Value {
    serde_json::from_slice(&fs::read(run.results()).unwrap()).unwrap()
}

fn attempts(room: &Room, run: &RunDir, name: &str) -> usize {
    room.records(run)
        .iter()
        .filter(|r| matches!(r, Record::AttemptStarted { task, .. } if task.as_str() == name))
        .count()
}

#[test]
fn an_instance_is_sent_back_until_the_evidence_is_there() {
    let room = Room::new();
    room.plan(&[("uncommitted", &[]), ("half", &[]), ("red", &[])]);
    room.script(&json!({
        "uncommitted": {"steps": [
            {"write": {"path": "a", "text": "x\n"}},
            "end_turn",
            {"write_prompt": "sent-back-a"}, {"commit": "Add a"},
        ]},
        "half": {"steps": [
            {"write": {"path": "b", "text": "x\n"}}, {"commit": "Add b"},
            {"write": {"path": "left-over", "text": "x\n"}},
            "end_turn",
            {"write_prompt": "sent-back-b"}, {"delete": "left-over"}, {"commit": "More"},
        ]},
        "red": {"steps": [
            {"write": {"path": "broken", "text": "x\n"}}, {"commit": "Break it"},
            "end_turn",
            {"write_prompt": "sent-back-c"}, {"delete": "broken"}, {"commit": "Mend it"},
        ]},
    }));
    room.run(&[
        "--verify",
        "if [ -e broken ]; then echo it is broken; exit 3; fi",
    ])
    .expect(0);
    let run = room.only_run();
    let log = fs::read_to_string(run.log()).unwrap();
    for line in [
        "uncommitted: sent back: no commits, 1 file not committed\n",
        "half: sent back: 1 file not committed\n",
        "red: sent back: the verify command is not green (exit code 3)\n",
    ] {
        assert!(log.contains(line), "{log}");
    }
    for name in ["uncommitted", "half", "red"] {
        assert_eq!(attempts(&room, &run, name), 1, "{name}");
        assert_eq!(room.inits(&run, name).len(), 2, "{name} had two turns");
    }
    assert!(room.read("sent-back-a").contains("no commit"));
    assert!(room.read("sent-back-b").contains("left-over"));
    assert!(room.read("sent-back-c").contains("it is broken"));
    assert!(!room.repo.join("left-over").exists());
    room.assert_tidy();
}

#[test]
fn a_task_without_evidence_fails_with_its_branch_kept() {
    let room = Room::new();
    room.plan(&[("never", &[]), ("after", &["never"])]);
    room.script(&json!({"never": {"steps": [
        {"write": {"path": "kept", "text": "x\n"}}, {"commit": "Some work"},
        {"write": {"path": "left", "text": "y\n"}},
        "end_turn", "end_turn", "end_turn", "end_turn", "end_turn", "end_turn", "end_turn",
    ]}}));
    room.run(&["--max-attempts", "1"]).expect(1);
    let run = room.only_run();
    let failed = room.records(&run).into_iter().find_map(|r| match r {
        Record::TaskFailed { class, detail, .. } => Some((class, detail)),
        _ => None,
    });
    let (class, detail) = failed.unwrap();
    assert_eq!(class, FailureClass::GateNotPassed);
    assert!(detail.contains("left"), "{detail}");
    assert_eq!(room.git(&["show", "task/never:kept"]), "x");
    assert_eq!(
        fs::read_to_string(room.worktree("never").join("left")).unwrap(),
        "y\n"
    );
    let skipped =
        |r: &Record| matches!(r, Record::TaskSkipped { task, .. } if task.as_str() == "after");
    assert!(room.records(&run).iter().any(skipped));
    assert_eq!(attempts(&room, &run, "after"), 0);
    assert_eq!(room.status(&run, "never")["status"], "failed");
    assert_eq!(room.status(&run, "after")["status"], "cancelled");
    assert_eq!(room.git(&["log", "--format=%s", "main"]), "Base");
    assert!(run.failure_report().exists());
    let report = fs::read_to_string(run.failure_report()).unwrap();
    assert!(
        report.contains("never") && report.contains("left"),
        "{report}"
    );
    assert_eq!(results(&run)["success"], false);
    room.assert_quiet();
}

#[test]
fn enough_done_is_a_partial_success_and_a_retry_completes_it() {
    let room = Room::new();
    let names = ["a", "b", "c", "d", "bad"];
    room.plan(&names.map(|n| (n, &[][..])));
    let mut script = json!({"bad": {"steps": [{"complain": "no luck"}, {"exit": 3}]}});
    for name in &names[..4] {
        script[*name] = writes(name, "x\n");
    }
    room.script(&script);
    room.run(&["--max-attempts", "1"]).expect(5);
    let run = room.only_run();
    for name in &names[..4] {
        assert!(room.repo.join(name).exists(), "{name} was delivered");
    }
    let said = results(&run);
    assert!(said["followUps"].to_string().contains("bad"), "{said}");
    assert_eq!(
        room.task_branches(),
        ["task/bad"],
        "only what failed is kept"
    );

    room.script(&json!({"bad": writes("good", "at last\n")}));
    room.orchestra(&["control", "retry", "bad"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("good"), "at last\n");
    assert_eq!(results(&run)["success"], true);
    assert!(run.success_report().exists());
    assert!(!run.failure_report().exists());
    room.assert_tidy();
}

#[test]
fn too_few_done_deliver_nothing_until_a_retry() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[]), ("bad", &[]), ("after", &["bad"])]);
    room.script(&json!({
        "bad": {"steps": [{"exit": 3}]},
        "a": writes("a", "x\n"), "b": writes("b", "x\n"),
    }));
    room.run(&["--max-attempts", "2"]).expect(1);
    let run = room.only_run();
    assert_eq!(attempts(&room, &run, "bad"), 2);
    assert_eq!(room.git(&["log", "--format=%s", "main"]), "Base");
    assert_eq!(room.task_branches(), ["task/a", "task/b", "task/bad"]);
    assert!(run.failure_report().exists());

    room.script(&json!({
        "bad": writes("bad", "good now\n"),
        "after": {"steps": [
            {"require": {"path": "bad", "contains": "good now"}},
            {"write": {"path": "after", "text": "x\n"}}, {"commit": "After"}]},
    }));
    room.orchestra(&["control", "retry"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    for name in ["a", "b", "bad", "after"] {
        assert!(room.repo.join(name).exists(), "{name}");
    }
    assert_eq!(
        attempts(&room, &run, "a"),
        1,
        "what was done is not done again"
    );
    assert!(!run.failure_report().exists());
    room.assert_tidy();
}

#[test]
fn a_crash_is_resumed_and_a_second_failure_is_told_what_went_wrong() {
    let room = Room::new();
    room.plan(&[("crash", &[]), ("fresh", &[])]);
    room.script(&json!({
        "crash": {"attempts": [
            [{"write": {"path": "crash", "text": "x\n"}}, {"signal": 9}],
            [{"require": {"path": "crash"}}, {"commit": "Add it"}],
        ]},
        "fresh": {"attempts": [
            ["end_turn", "end_turn", "end_turn", "end_turn", "end_turn", "end_turn"],
            [{"write_prompt": "told"}, {"commit": "Add it"}],
        ]},
    }));
    room.run(&[]).expect(0);
    let run = room.only_run();
    let sessions = room.inits(&run, "crash");
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0], sessions[1], "the session went on");
    let sessions = room.inits(&run, "fresh");
    assert_ne!(sessions.first(), sessions.last(), "another session");
    assert!(
        room.read("told").contains("no commit"),
        "{}",
        room.read("told")
    );
    let ends: Vec<bool> = room
        .records(&run)
        .iter()
        .filter_map(|r| match r {
            Record::AttemptEnded { end, .. } => Some(matches!(end, AttemptEnd::Complete { .. })),
            _ => None,
        })
        .collect();
    assert_eq!(ends.iter().filter(|good| **good).count(), 2);
    assert_eq!(ends.len(), 4);
    room.assert_tidy();
}

#[test]
fn a_question_that_nobody_answers_ends() {
    let room = Room::new();
    room.plan(&[("asks", &[]), ("other", &[])]);
    room.script(&json!({
        "asks": {"steps": [{"stuck": {"reason": "which port?", "options": ["80", "8080"]}}]},
        "other": writes("other", "x\n"),
    }));
    room.write(".claude/orchestra.toml", "answer_timeout_seconds = 1\n");
    let ended = room.run(&[]).expect(1);
    assert!(
        ended.out.contains("nobody answered within 1s: which port?"),
        "{}",
        ended.out
    );
    let run = room.only_run();
    assert_eq!(
        attempts(&room, &run, "asks"),
        1,
        "asking again helps nobody"
    );
}

#[test]
fn a_stuck_instance_is_answered_in_its_session() {
    let room = Room::new();
    room.plan(&[("asks", &[]), ("other", &[])]);
    room.script(&json!({
        "asks": {"steps": [
            {"stuck": {"reason": "which port?", "options": ["80", "8080"]}},
            {"write_prompt": "answer"}, {"commit": "Add it"},
        ]},
        "other": writes("other", "x\n"),
    }));
    let started = room.start_run(&[]);
    let run = room.only_run();
    let question = "asks: STUCK - which port? (options: 80 | 8080); \
                    answer with: orchestra control answer asks \"…\"";
    super::harness::wait_for("a question to whoever follows the run", || {
        started.out().contains(question).then_some(())
    });
    assert_eq!(room.status(&run, "asks")["status"], "stuck");
    let issues = room.orchestra(&["status", "issues"]).expect(0);
    assert!(
        issues.out.contains("which port?") && issues.out.contains("8080"),
        "{}",
        issues.out
    );
    room.orchestra(&[
        "control",
        "answer",
        "asks",
        "Take $(touch pwned) 8080 \"please\"",
    ])
    .expect(0);
    let ended = started.end().expect(0);
    assert_eq!(ended.out.matches("STUCK").count(), 1, "{}", ended.out);
    assert!(
        ended
            .out
            .contains("asks: told: Take $(touch pwned) 8080 \"please\"\n"),
        "{}",
        ended.out
    );
    assert!(
        room.read("answer")
            .contains("Take $(touch pwned) 8080 \"please\"")
    );
    assert_eq!(attempts(&room, &run, "asks"), 1);
    let sessions = room.inits(&run, "asks");
    assert_eq!(sessions.len(), 2, "two turns");
    assert_eq!(sessions[0], sessions[1], "in the same session");
    room.assert_tidy();
}
