//! Unusual surroundings, and things that change while a run goes on.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use orchestra::core::record::Record;
use serde_json::json;

use super::harness::{Room, wait_for, writes};

const WAITS: &str = "for n in $(seq 600); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done";

#[test]
fn without_an_identity_of_the_person_the_work_is_delivered_all_the_same() {
    let room = Room::new();
    room.git(&["config", "--unset", "user.name"]);
    room.git(&["config", "--unset", "user.email"]);
    room.plan(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
    room.run(&["--verify", "true"]).expect(0);
    assert!(room.repo.join("c.md").exists());
    room.assert_tidy();
}

#[test]
fn variables_of_an_outer_git_or_session_do_not_mislead() {
    let mut room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"])]);
    let own = room.repo.clone();
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
    ] {
        room.set(name, "/nonexistent");
    }
    room.set("CLAUDECODE", "1");
    room.set("GIT_PREFIX", "deep/");
    room.run(&["--verify", "git status > /dev/null"]).expect(0);
    let files = std::process::Command::new("git")
        .args(["-C", own.to_str().unwrap(), "ls-files"])
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .output()
        .unwrap();
    let files = String::from_utf8(files.stdout).unwrap();
    assert!(files.contains("a.md") && files.contains("b.md"), "{files}");
}

#[test]
fn neither_a_home_nor_a_terminal_is_needed() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let mut command = room.command(&["run", "--agent", "scripted", "--tasks"]);
    command.arg(room.path("plan.json"));
    for name in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "LC_ALL"] {
        command.env_remove(name);
    }
    command.env("TMPDIR", room.path("state"));
    room.spawn(command).end().expect(0);
    room.assert_tidy();
}

#[test]
fn a_path_that_is_no_text_is_refused_before_anything_is_made() {
    let mut room = Room::new();
    let odd = room
        .path("x")
        .with_file_name(std::ffi::OsStr::from_bytes(b"od\xffd"));
    fs::rename(&room.repo, &odd).unwrap();
    room.repo.clone_from(&odd);
    room.plan(&[("a", &[]), ("b", &[])]);
    let ended = room.run(&[]);
    if ended.code != 0 {
        let ended = ended.expect(4);
        assert!(ended.err.contains("UTF-8"), "{}", ended.err);
        assert!(!odd.join(".claude").exists());
    } else {
        assert!(odd.join("a.md").exists() && odd.join("b.md").exists());
    }
    assert_eq!(room.task_branches(), Vec::<String>::new());
    room.assert_quiet();
}

#[test]
fn a_worktree_that_vanishes_is_made_anew() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"attempts": [
            [{"write": {"path": "first", "text": "x\n"}}, {"commit": "First"},
             {"run": "d=$PWD; cd /; rm -rf \"$d\""}, {"exit": 1}],
            [{"require": {"path": "first"}}, {"write": {"path": "a", "text": "x\n"}},
             {"commit": "Add a"}],
        ]},
        "b": writes("b", "x\n"),
    }));
    room.run(&[]).expect(0);
    assert!(room.repo.join("first").exists() && room.repo.join("a").exists());
    room.assert_tidy();
}

#[test]
fn an_instance_that_leaves_its_branch_is_sent_back() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [
            {"run": "git checkout --quiet -b mine"},
            {"write": {"path": "a", "text": "x\n"}}, {"commit": "Add a"}, "end_turn",
            {"run": "git checkout --quiet task/a && git merge --quiet mine && git branch -D mine"},
        ]},
        "b": writes("b", "x\n"),
    }));
    room.run(&["--max-attempts", "1"]).expect(0);
    assert!(room.repo.join("a").exists());
    assert_eq!(room.git(&["branch", "--list", "mine"]), "");
    room.assert_tidy();
}

#[test]
fn no_more_instances_run_than_are_allowed() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &["a"])]);
    room.run(&["--max-workers", "1"]).expect(0);
    let run = room.only_run();
    let mut active = 0;
    for record in room.records(&run) {
        match record {
            Record::AttemptStarted { .. } => active += 1,
            Record::AttemptEnded { .. } => active -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&active), "{active}");
    }
    room.assert_tidy();
}

#[test]
fn a_task_has_its_time_and_no_more() {
    let room = Room::new();
    room.plan(&[("slow", &[]), ("quick", &[])]);
    room.script(&json!({
        "slow": {"steps": [
            {"detach": {"seconds": 600}}, {"write": {"path": "half", "text": "x\n"}},
            {"hang": {"deaf": true}},
        ]},
        "quick": writes("quick", "x\n"),
    }));
    room.run(&["--max-attempts", "1", "--timeout", "1"])
        .expect(1);
    let run = room.only_run();
    let said = room.status(&run, "slow")["lastError"].to_string();
    assert!(said.contains("within 1s"), "{said}");
    assert!(room.worktree("slow").join("half").exists());
    room.assert_quiet();
}

#[test]
fn a_base_branch_that_is_gone_is_told_and_can_come_back() {
    let room = Room::new();
    room.git(&["branch", "release"]);
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [{"run": WAITS}, {"write": {"path": "a", "text": "x\n"}}, {"commit": "A"}]},
        "b": writes("b", "x\n"),
    }));
    let started = room.start_run(&["--base-branch", "release"]);
    let run = room.only_run();
    room.wait_until_running(&run, "a");
    room.git(&["branch", "-D", "release"]);
    fs::write(room.path("go"), "").unwrap();
    let ended = started.end().expect(8);
    assert!(ended.out.contains("release"), "{}", ended.out);
    room.git(&["branch", "release", "main"]);
    room.orchestra(&["merge", "automatic"]).expect(0);
    let files = room.git(&["ls-tree", "--name-only", "release"]);
    assert!(files.ends_with("a\nb"), "{files}");
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
}

#[test]
fn a_pause_while_results_are_merged_holds_nothing_back() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let verify =
        format!("if [ -e a.md ] && [ -e b.md ]; then touch \"$ROOM/verifying\"; {WAITS}; fi");
    let started = room.start_run(&["--verify", &verify]);
    let run = room.only_run();
    wait_for("verification", || {
        room.path("verifying").exists().then_some(())
    });
    room.orchestra(&["control", "pause"]);
    room.kill_conductor();
    fs::write(room.path("go"), "").unwrap();
    started.end().expect(0);
    room.wait_until_closed(&run);
    room.assert_tidy();
}

#[test]
fn a_run_in_the_foreground_that_is_paused_says_how_it_goes_on() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [
            {"write": {"path": "a", "text": "x\n"}}, {"sleep_ms": 600_000}, {"commit": "A"}]},
        "b": writes("b", "x\n"),
    }));
    let started = room.start_run(&[]);
    let file = room.worktree("a").join("a");
    wait_for("work", || file.exists().then_some(()));
    room.orchestra(&["control", "pause"]).expect(0);
    let ended = started.end().expect(9);
    let said = format!("{}{}", ended.out, ended.err);
    assert!(said.contains("orchestra control resume"), "{said}");
    room.assert_quiet();
    room.orchestra(&["control", "cancel"]).expect(0);
    room.orchestra(&["wait"]).expect(6);
    assert_eq!(fs::read_to_string(file).unwrap(), "x\n");
    room.assert_quiet();
}
