//! What a run costs while it waits, and what tidying up leaves alone.

use std::fs;
use std::time::Duration;

use orchestra::core::attempt::AttemptEnd;
use orchestra::core::record::Record;
use serde_json::json;

use super::harness::{Room, wait_for, writes};

/// CPU time of a process so far, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
}

#[test]
fn a_conductor_that_waits_uses_no_processor() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let wait = json!({"steps": [{"write": {"path": "w", "text": "x"}}, {"sleep_ms": 600_000}]});
    room.script(&json!({"a": wait, "b": wait}));
    room.run(&["--detach"]).expect(0);
    for name in ["a", "b"] {
        let file = room.worktree(name).join("w");
        wait_for("work", || file.exists().then_some(()));
    }
    let conductor = room.processes_of("conduct").pop().unwrap();
    let before = ticks(conductor.pid);
    std::thread::sleep(Duration::from_secs(3));
    let used = ticks(conductor.pid) - before;
    assert!(used < 20, "{used} ticks in three seconds");
}

#[test]
fn tidying_up_what_failed_leaves_what_is_paused() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let part = json!({"steps": [
        {"write": {"path": "part", "text": "begun\n"}},
        {"commit": "Begin"},
        {"sleep_ms": 600_000},
    ]});
    room.script(&json!({"a": part, "b": writes("b", "x\n")}));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    let file = room.worktree("a").join("part");
    wait_for("work", || file.exists().then_some(()));
    room.orchestra(&["control", "pause"]).expect(0);
    room.wait_for_record(&run, "a pause", |r| {
        matches!(r, Record::AttemptEnded { task, end: AttemptEnd::Paused, .. }
            if task.as_str() == "a")
    });
    room.assert_quiet();
    room.orchestra(&["cleanup", "failed"]).expect(0);
    assert!(file.exists());
}

#[test]
fn a_repository_inside_a_worktree_is_not_removed_with_it() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [
            {"run": "git init -q inner && cd inner && echo x > y && git add y \
                && git -c user.name=x -c user.email=x commit -qm x"},
            {"write": {"path": "a", "text": "x"}},
            {"sleep_ms": 600_000},
        ]},
        "b": writes("b", "x\n"),
    }));
    room.run(&["--detach"]).expect(0);
    let file = room.worktree("a").join("a");
    wait_for("work", || file.exists().then_some(()));
    room.orchestra(&["control", "cancel"]).expect(0);
    room.orchestra(&["wait"]).expect(6);
    let said = room.orchestra(&["cleanup", "all"]).expect(0);
    assert!(said.out.contains("inner/"), "{}", said.out);
    assert!(room.worktree("a").join("inner/.git").exists());
    fs::remove_dir_all(room.worktree("a").join("inner")).unwrap();
    room.orchestra(&["cleanup", "all"]).expect(0);
    assert!(!room.worktree("a").exists());
}

#[test]
fn a_task_whose_names_another_run_took_meanwhile_stays_out_of_its_worktree() {
    let room = Room::new();
    let long = json!({"steps": [
        {"write": {"path": "mine", "text": "x"}}, {"sleep_ms": 600_000},
    ]});
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": long, "b": long}));
    let begin = || {
        room.run(&["--detach"]).expect(0);
        for name in ["a", "b"] {
            let file = room.worktree(name).join("mine");
            wait_for("work", || file.exists().then_some(()));
        }
    };
    begin();
    let first = room.only_run();
    let id = first.id().as_str();
    room.orchestra(&["control", "cancel"]).expect(0);
    room.orchestra(&["wait"]).expect(6);
    room.orchestra(&["cleanup", "all"]).expect(0);
    assert!(!room.worktree("a").exists());
    begin();
    room.orchestra(&["control", "retry", "--orchestration", id])
        .expect(0);
    room.orchestra(&["wait", "--orchestration", id]).expect(1);
    assert_eq!(
        room.processes_of("play").len(),
        2,
        "the other run's go on alone"
    );
    let why = room.status(&first, "a")["lastError"].to_string();
    assert!(why.contains("belongs to the orchestration"), "{why}");
}

#[test]
fn a_review_branch_that_a_person_works_on_stays_theirs() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "x\n"), "b": writes("b", "x\n")}));
    room.run(&["--merge", "review"]);
    let branch = format!("orchestra/{}", room.only_run().id());
    room.git(&["switch", "--quiet", &branch]);
    room.commit("mine", "reviewed\n");
    let mine = room.git(&["rev-parse", "HEAD"]);
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert_eq!(room.git(&["rev-parse", "HEAD"]), mine);
    assert_eq!(room.git(&["status", "--porcelain"]), "");
    assert!(room.git(&["ls-tree", "--name-only", "main"]).contains('a'));
    room.orchestra(&["cleanup", "all"]).expect(0);
    assert_eq!(room.git(&["rev-parse", &branch]), mine);
}

#[test]
fn a_linked_settings_folder_is_not_written_to() {
    let room = Room::new();
    let outside = room.path("dotfiles");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, room.repo.join(".claude")).unwrap();
    room.git(&["add", "-A"]);
    room.git(&["commit", "--quiet", "-m", "Link"]);
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "x\n"), "b": writes("b", "x\n")}));
    room.run(&[]).expect(0);
    assert!(!outside.join("settings.local.json").exists());
}
