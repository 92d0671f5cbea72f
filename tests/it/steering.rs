//! Pause, resume, cancel; and worktrees that are made before anything runs.

use std::fs;
use std::path::PathBuf;

use orchestra::core::attempt::{AttemptEnd, StartMode};
use orchestra::core::record::Record;
use orchestra::store::layout::RunDir;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{Room, signal, wait_for, writes};

/// A task that works until it is interrupted, and ends when it is resumed.
fn long(name: &str) -> Value {
    json!({"steps": [
        {"detach": {"seconds": 600}},
        {"write": {"path": name, "text": "begun\n"}},
        {"sleep_ms": 600_000},
        {"append": {"path": name, "text": "ended\n"}},
        {"commit": format!("Add {name}")},
    ]})
}

/// Two long tasks and one after them; returns when both have begun.
#[track_caller]
fn begin() -> (Room, RunDir) {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
    room.script(&json!({"a": long("a"), "b": long("b"), "c": writes("c", "x\n")}));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    for name in ["a", "b"] {
        let file = room.worktree(name).join(name);
        wait_for("work", || file.exists().then_some(()));
    }
    (room, run)
}

fn paused(room: &Room, run: &RunDir, name: &str) {
    room.wait_for_record(run, "a pause", |r| {
        matches!(r, Record::AttemptEnded { task, end: AttemptEnd::Paused, .. }
            if task.as_str() == name)
    });
}

#[track_caller]
fn assert_resumed(room: &Room, run: &RunDir, name: &str) {
    let all = room.starts(run, name);
    assert_eq!(all.len(), 2, "{name}");
    assert_eq!(all[0].0, all[1].0, "{name} goes on in its session");
    assert_eq!(all[1].1, StartMode::Resume);
    assert_eq!(room.read(name), "begun\nended\n");
}

#[test]
fn a_paused_run_goes_on_in_the_same_sessions_even_after_a_crash() {
    let (room, run) = begin();
    room.orchestra(&["control", "pause"]).expect(0);
    room.orchestra(&["control", "pause"]).expect(0);
    paused(&room, &run, "a");
    paused(&room, &run, "b");
    // Nobody is needed for a run that rests: no process at all.
    room.assert_quiet();
    assert_eq!(room.status(&run, "a")["status"], "paused");
    room.orchestra(&["status"]).expect(0);
    room.assert_quiet();
    room.orchestra(&["wait", "--timeout=0"]).expect(9);
    let pauses = |r: &&Record| matches!(r, Record::PauseRequested { .. });
    assert_eq!(room.records(&run).iter().filter(pauses).count(), 1);

    room.orchestra(&["control", "resume"]).expect(0);
    room.orchestra(&["control", "resume"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    assert_resumed(&room, &run, "a");
    assert_resumed(&room, &run, "b");
    assert_eq!(room.read("c"), "x\n");
    room.assert_tidy();
}

#[test]
fn a_pause_that_is_cut_off_by_a_crash_is_a_pause() {
    let (room, run) = begin();
    // Whether the instances still heard of it or not, they go on behind what they did.
    room.script(&json!({
        "a": {"attempts": [[], [{"append": {"path": "a", "text": "ended\n"}}, {"commit": "A"}]]},
        "b": {"attempts": [[], [{"append": {"path": "b", "text": "ended\n"}}, {"commit": "B"}]]},
        "c": writes("c", "x\n"),
    }));
    room.orchestra(&["control", "pause"]).expect(0);
    room.wait_for_record(&run, "the pause", |r| {
        matches!(r, Record::PauseRequested { .. })
    });
    room.kill_all();
    room.orchestra(&["status"]).expect(0);
    room.orchestra(&["control", "resume"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    for name in ["a", "b"] {
        let all = room.starts(&run, name);
        assert!(all.iter().all(|s| s.0 == all[0].0), "{name}: {all:?}");
        assert_eq!(room.read(name), "begun\nended\n");
    }
    assert_eq!(room.read("c"), "x\n");
    room.assert_tidy();
}

#[test]
fn one_task_is_paused_and_cancelled_alone() {
    let room = Room::new();
    room.plan(&[
        ("a", &[]),
        ("b", &[]),
        ("c", &["b"]),
        ("d", &[]),
        ("e", &[]),
    ]);
    room.script(&json!({
        "a": long("a"), "b": long("b"), "d": writes("d", "x\n"), "e": writes("e", "x\n"),
    }));
    room.run(&["--detach", "--success-percent", "60"]).expect(0);
    let run = room.only_run();
    for name in ["a", "b"] {
        let file = room.worktree(name).join(name);
        wait_for("work", || file.exists().then_some(()));
    }
    room.orchestra(&["control", "pause", "a"]).expect(0);
    paused(&room, &run, "a");
    room.process("play", "b");
    let agents = room.processes_of("play");
    assert!(agents.iter().all(|p| !p.args.iter().any(|arg| arg == "a")));
    room.orchestra(&["control", "cancel", "b"]).expect(0);
    room.wait_for_record(
        &run,
        "the end of c",
        |r| matches!(r, Record::TaskSkipped { task, .. } if task.as_str() == "c"),
    );
    wait_for("the status", || {
        (room.status(&run, "b")["status"] == "cancelled").then_some(())
    });
    room.orchestra(&["control", "resume", "a"]).expect(0);
    room.orchestra(&["wait"]).expect(5);
    assert_resumed(&room, &run, "a");
    assert_eq!(room.task_branches(), ["task/b"], "what it did is kept");
    assert_eq!(
        fs::read_to_string(room.worktree("b").join("b")).unwrap(),
        "begun\n"
    );
    room.assert_quiet();
}

#[test]
fn a_cancelled_run_keeps_its_work_and_can_be_taken_up_again() {
    let (room, run) = begin();
    room.orchestra(&["control", "cancel"]).expect(0);
    room.orchestra(&["wait"]).expect(6);
    room.assert_quiet();
    let again = room.orchestra(&["control", "cancel"]);
    assert!(!again.err.contains("panicked"));
    for name in ["a", "b"] {
        assert_eq!(room.status(&run, name)["status"], "cancelled");
        let file = room.worktree(name).join(name);
        assert_eq!(fs::read_to_string(file).unwrap(), "begun\n");
    }
    assert_eq!(room.git(&["log", "--format=%s", "main"]), "Base");
    room.script(
        &json!({"a": writes("a", "x\n"), "b": writes("b", "x\n"), "c": writes("c", "x\n")}),
    );
    room.orchestra(&["control", "retry"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    for name in ["a", "b", "c"] {
        assert_eq!(room.read(name), "x\n");
    }
    room.assert_tidy();
}

#[test]
fn an_interrupt_cancels_the_run_and_keeps_the_work() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": long("a"), "b": long("b")}));
    let started = room.start_run(&[]);
    let run = room.only_run();
    for name in ["a", "b"] {
        let file = room.worktree(name).join(name);
        wait_for("work", || file.exists().then_some(()));
    }
    signal(started.pid(), Signal::INT);
    let ended = started.end().expect(6);
    assert!(ended.err.contains("cancelling"), "{}", ended.err);
    room.assert_quiet();
    assert_eq!(room.status(&run, "a")["status"], "cancelled");
    assert_eq!(
        fs::read_to_string(room.worktree("a").join("a")).unwrap(),
        "begun\n"
    );
    assert_eq!(room.task_branches(), ["task/a", "task/b"]);
}

#[test]
fn an_integration_can_be_cancelled() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let verify = "if [ -e a.md ] && [ -e b.md ]; then touch \"$ROOM/verifying\"; sleep 600; fi";
    let started = room.start_run(&["--verify", verify]);
    wait_for("verification", || {
        room.path("verifying").exists().then_some(())
    });
    room.orchestra(&["control", "cancel"]).expect(0);
    started.end().expect(6);
    assert_eq!(room.git(&["log", "--format=%s", "main"]), "Base");
    assert_eq!(room.task_branches(), ["task/a", "task/b"]);
    room.assert_quiet();
}

#[test]
fn worktrees_are_made_for_a_plan_and_its_run_goes_on_in_them() {
    let room = Room::new();
    let plan = json!({"tasks": [
        {"name": "a"}, {"name": "b"}, {"name": "c", "dependencies": ["a", "b"]},
    ]});
    let made = room
        .orchestra(&[
            "worktree",
            "--plan",
            &plan.to_string(),
            "--agent",
            "scripted",
        ])
        .expect(0)
        .json();
    let rows = made["worktrees"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let path = PathBuf::from(row["path"].as_str().unwrap());
        assert!(path.join("README.md").exists());
        assert_eq!(row["status"], "created");
        assert_eq!(
            room.git_in(&path, &["branch", "--show-current"]),
            row["branch"].as_str().unwrap()
        );
    }
    assert_eq!(rows[2]["waitsFor"], json!(["a", "b"]));
    room.assert_quiet();
    let run = room.only_run();
    room.orchestra(&["status"]).expect(0);
    room.assert_quiet();
    room.orchestra(&["control", "resume"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    // The dependent was brought up to what it needs.
    let base = room.records(&run).into_iter().rev().find_map(|r| match r {
        Record::Prepared { task, place } if task.as_str() == "c" => Some(place.base),
        _ => None,
    });
    let files = room.git(&["ls-tree", "--name-only", base.unwrap().as_str()]);
    assert!(files.contains("a.md") && files.contains("b.md"), "{files}");
    assert!(room.repo.join("c.md").exists());
    room.assert_tidy();
}

#[test]
fn when_one_worktree_cannot_be_made_none_is_left() {
    let room = Room::new();
    let plan = room.plan(&[("a", &[]), ("b", &[]), ("c", &[])]);
    // What looks like a lock and cannot be taken away.
    let lock = room.repo.join(".git/refs/heads/task/c.lock");
    fs::create_dir_all(&lock).unwrap();
    let before = room.git(&["for-each-ref"]);
    let ended = room
        .orchestra(&[
            "worktree",
            "--plan",
            plan.to_str().unwrap(),
            "--agent",
            "scripted",
        ])
        .expect(4);
    assert!(ended.err.contains("c.lock"), "{}", ended.err);
    assert_eq!(ended.out, "");
    assert_eq!(room.git(&["for-each-ref"]), before);
    assert_eq!(room.runs(), []);
    room.assert_tidy();
    // A lock that a git which was killed left.
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let _ = fs::remove_dir(&lock);
    fs::write(&lock, "").unwrap();
    room.orchestra(&[
        "worktree",
        "--plan",
        plan.to_str().unwrap(),
        "--agent",
        "scripted",
    ])
    .expect(0);
    assert_eq!(room.task_branches(), ["task/a", "task/b", "task/c"]);
}

#[test]
fn an_occupied_folder_or_branch_gets_another_name() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let folder = room.worktree("a");
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    fs::write(&folder, "a file of a person\n").unwrap();
    room.git(&["branch", "task/b"]);
    room.git(&["branch", "task/b-2/below"]);
    room.run(&[]).expect(0);
    assert!(room.repo.join("a.md").exists() && room.repo.join("b.md").exists());
    assert_eq!(fs::read_to_string(&folder).unwrap(), "a file of a person\n");
    assert_eq!(room.task_branches(), ["task/b", "task/b-2/below"]);
    assert_eq!(room.git(&["log", "--format=%s", "task/b"]), "Base");
    room.assert_quiet();
}

#[test]
fn a_retry_that_is_asked_for_while_results_are_merged_comes_after_it() {
    let mut room = Room::new();
    // The verify command of the integration waits for a word; those of the tasks do not.
    room.set(
        "ORCHESTRA_VERIFY",
        "test ! -e \"$ROOM/hold\" || until test -e \"$ROOM/go\" ; do sleep 0.02 ; done",
    );
    room.set("ORCHESTRA_MERGE_EARLY", "false");
    room.plan(&[("good", &[]), ("bad", &["good"])]);
    room.script(&json!({
        "good": writes("good", "x\n"),
        "bad": {"attempts": [
            [{"run": "touch \"$ROOM/hold\""}, {"exit": 1}],
            [{"write": {"path": "bad", "text": "x\n"}}, {"commit": "Better"}],
        ]},
    }));
    room.run(&["--detach", "--max-attempts", "1", "--success-percent", "50"])
        .expect(0);
    let run = room.only_run();
    room.wait_for_record(&run, "integration", |r| {
        matches!(r, Record::IntegrationStarted { .. })
    });
    room.orchestra(&["control", "retry", "bad"]).expect(0);
    fs::write(room.path("go"), "").unwrap();
    wait_for("both results", || room.try_git(&["show", "main:bad"]).ok());
    room.wait_until_closed(&run);
    assert_eq!(room.git(&["show", "main:good"]).trim(), "x");
    room.assert_quiet();
}
