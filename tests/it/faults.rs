//! Processes that are killed at any moment, and files that cannot be read.

use std::fs::{self, OpenOptions};
use std::io::Write;

use orchestra::core::attempt::{AttemptEnd, FailureClass};
use orchestra::core::record::{Record, Verdict};
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Room, wait_for, writes};

/// When something is killed: as soon as such a record is there.
type Moment = (&'static str, fn(&Record) -> bool);

/// A room with two tasks, one after the other.
fn chain() -> Room {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"])]);
    room.script(&json!({
        "a": {"steps": [
            {"write": {"path": "a", "text": "from a\n"}},
            {"sleep_ms": 150},
            {"commit": "Add a"},
        ]},
        "b": {"steps": [
            {"require": {"path": "a", "contains": "from a"}},
            {"write": {"path": "b", "text": "from b\n"}},
            {"commit": "Add b"},
        ]},
    }));
    room
}

#[track_caller]
fn begin(room: &Room) -> RunDir {
    room.run(&["--detach", "--verify", "test -e a"]).expect(0);
    room.only_run()
}

/// The run ended as it does undisturbed: every task one attempt in one session.
#[track_caller]
fn assert_undisturbed(room: &Room, run: &RunDir) {
    assert_eq!(room.read("a"), "from a\n");
    assert_eq!(room.read("b"), "from b\n");
    let subjects = room.git(&["log", "--format=%s", "--first-parent"]);
    assert_eq!(
        subjects.lines().collect::<Vec<_>>(),
        ["Merge task b into main", "Merge task a into main", "Base"]
    );
    let records = room.records(run);
    for name in ["a", "b"] {
        assert_eq!(room.inits(run, name).len(), 1, "{name} was started once");
        let count = |is: fn(&Record) -> Option<&str>| {
            records.iter().filter(|r| is(r) == Some(name)).count()
        };
        let starts = count(|r| match r {
            Record::AttemptStarted { task, .. } => Some(task.as_str()),
            _ => None,
        });
        let ends = count(|r| match r {
            Record::AttemptEnded { task, .. } => Some(task.as_str()),
            _ => None,
        });
        assert_eq!((starts, ends), (1, 1), "{name}: {records:#?}");
    }
    let finished = Record::Finished {
        verdict: Verdict::Success,
    };
    assert_eq!(records.iter().filter(|r| **r == finished).count(), 1);
    assert!(run.results().exists());
    assert!(run.success_report().exists());
    room.assert_tidy();
}

fn kill_the_conductor_at(moments: &[Moment]) {
    for (what, is) in moments {
        let room = chain();
        let run = begin(&room);
        room.wait_for_record(&run, what, is);
        for conductor in room.processes_of("conduct") {
            conductor.kill();
        }
        let ended = room.orchestra(&["wait"]).expect(0);
        assert!(!ended.err.contains("error"), "{what}: {}", ended.err);
        assert_undisturbed(&room, &run);
    }
}

#[test]
fn a_conductor_killed_early_changes_nothing() {
    kill_the_conductor_at(&[
        ("begun", |r| matches!(r, Record::Begun)),
        ("attempt-started", |r| {
            matches!(r, Record::AttemptStarted { .. })
        }),
        ("prepared", |r| matches!(r, Record::Prepared { .. })),
        ("attempt-running", |r| {
            matches!(r, Record::AttemptRunning { .. })
        }),
    ]);
}

#[test]
fn a_conductor_killed_late_changes_nothing() {
    kill_the_conductor_at(&[
        ("attempt-ended", |r| {
            matches!(r, Record::AttemptEnded { .. })
        }),
        ("integration-started", |r| {
            matches!(r, Record::IntegrationStarted { .. })
        }),
        ("integration-ended", |r| {
            matches!(r, Record::IntegrationEnded { .. })
        }),
        ("finished", |r| matches!(r, Record::Finished { .. })),
    ]);
}

#[test]
fn conductors_killed_again_and_again_change_nothing() {
    let room = chain();
    let run = begin(&room);
    let waiting = room.start(&["wait"]);
    let mut killed = 0;
    let mut pause = 20;
    wait_for("the end of the run", || {
        if matches!(room.records(&run).last(), Some(Record::Closed)) {
            return Some(());
        }
        for conductor in room.processes_of("conduct") {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            conductor.kill();
            killed += 1;
            // Every conductor lives a little longer, so that one of them comes to the end.
            pause += 15;
        }
        None
    });
    waiting.end().expect(0);
    assert!(killed > 0, "{killed}");
    assert_undisturbed(&room, &run);
}

#[test]
fn status_brings_a_new_conductor() {
    let room = chain();
    let run = begin(&room);
    room.wait_until_running(&run, "a");
    room.kill_conductor();
    let ended = room.orchestra(&["status"]).expect(0);
    assert!(ended.err.contains("new one"), "{}", ended.err);
    room.wait_until_closed(&run);
    assert_undisturbed(&room, &run);
}

#[test]
fn a_killed_supervisor_takes_its_whole_tree_along_and_the_task_goes_on() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"attempts": [
            [{"detach": {"seconds": 600}}, {"write": {"path": "half", "text": "x"}},
             {"sleep_ms": 600_000}],
            [{"write": {"path": "a", "text": "from a\n"}}, {"commit": "Add a"}],
        ]},
        "b": writes("b", "from b\n"),
    }));
    let started = room.start_run(&[]);
    let run = room.only_run();
    let agent = room.process("play", "a");
    let mark = agent.mark.clone().expect("the agent is marked");
    let worktree = room.worktree("a");
    wait_for("work", || worktree.join("half").exists().then_some(()));
    let sleeper = wait_for("the grandchild", || {
        let own = room.processes();
        own.into_iter()
            .find(|p| p.args.first().is_some_and(|a| a == "sleep"))
    });
    assert_eq!(sleeper.mark.as_ref(), Some(&mark));
    room.process("supervise", "a").kill();
    wait_for("the end of the tree", || {
        let left = room.processes();
        left.iter()
            .all(|p| p.pid != agent.pid && p.pid != sleeper.pid)
            .then_some(())
    });
    started.end().expect(0);
    let lost = room.records(&run).into_iter().any(|r| {
        matches!(
            r,
            Record::AttemptEnded {
                end: AttemptEnd::Failed {
                    class: FailureClass::SupervisorLost,
                    ..
                },
                ..
            }
        )
    });
    assert!(lost);
    assert_eq!(room.read("a"), "from a\n");
    assert_eq!(room.read("b"), "from b\n");
    room.assert_tidy();
}

#[test]
fn a_killed_agent_is_resumed_in_its_session() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"attempts": [
            [{"detach": {"seconds": 600}}, {"sleep_ms": 600_000}],
            [{"write": {"path": "a", "text": "from a\n"}}, {"commit": "Add a"}],
        ]},
        "b": writes("b", "from b\n"),
    }));
    let started = room.start_run(&[]);
    let run = room.only_run();
    wait_for("a first turn", || {
        (!room.inits(&run, "a").is_empty()).then_some(())
    });
    room.process("play", "a").kill();
    started.end().expect(0);
    let sessions = room.inits(&run, "a");
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0], sessions[1]);
    assert_eq!(room.read("a"), "from a\n");
    room.assert_tidy();
}

#[test]
fn everything_killed_at_once_goes_on_in_the_same_sessions() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
    let twice = |name: &str| {
        json!({"attempts": [
            [{"detach": {"seconds": 600}},
             {"write": {"path": name, "text": format!("from {name}\n")}}, {"sleep_ms": 600_000}],
            [{"require": {"path": name}}, {"commit": "Add it"}],
        ]})
    };
    room.script(&json!({"a": twice("a"), "b": twice("b"), "c": writes("c", "from c\n")}));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    for name in ["a", "b"] {
        let file = room.worktree(name).join(name);
        let written = || fs::metadata(&file).is_ok_and(|m| m.len() > 0);
        wait_for("work", || written().then_some(()));
    }
    room.kill_all();
    room.orchestra(&["wait"]).expect(0);
    for name in ["a", "b"] {
        let sessions = room.inits(&run, name);
        assert_eq!(sessions.len(), 2, "{name}");
        assert_eq!(sessions[0], sessions[1], "{name}");
        assert_eq!(room.read(name), format!("from {name}\n"));
    }
    assert_eq!(room.read("c"), "from c\n");
    room.assert_tidy();
}

#[test]
fn a_second_conductor_refuses() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": {"steps": [{"sleep_ms": 600_000}]}}));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    room.wait_until_running(&run, "a");
    let ended = room.orchestra(&["conduct", run.id().as_str()]).expect(9);
    assert!(ended.out.starts_with("refused: "), "{}", ended.out);
    assert_eq!(room.processes_of("conduct").len(), 1);
    room.orchestra(&["control", "cancel"]).expect(0);
    room.orchestra(&["wait"]).expect(6);
    room.assert_quiet();
}

/// A run of which everything was killed in the middle.
fn interrupted() -> (Room, RunDir) {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"])]);
    room.script(&json!({
        "a": {"attempts": [
            [{"sleep_ms": 600_000}],
            [{"write": {"path": "a", "text": "from a\n"}}, {"commit": "Add a"}],
        ]},
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    wait_for("a first turn", || {
        (!room.inits(&run, "a").is_empty()).then_some(())
    });
    room.kill_all();
    (room, run)
}

#[test]
fn a_torn_journal_goes_on() {
    let (room, run) = interrupted();
    let mut journal = OpenOptions::new().append(true).open(run.journal()).unwrap();
    journal.write_all(b"{\"v\":1,\"seq\":99,\"at\":17").unwrap();
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("a"), "from a\n");
    let aside = run.dir().join("journal.jsonl.unreadable-1");
    assert!(fs::read_to_string(aside).unwrap().contains("\"seq\":99"));
    room.assert_tidy();
}

#[test]
fn a_damaged_state_is_told_and_never_overwritten() {
    let (room, run) = interrupted();
    let journal = fs::read_to_string(run.journal()).unwrap();
    let settings = fs::read_to_string(run.settings()).unwrap();
    let newer = |text: &str| {
        let mut value: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        value["v"] = json!(999);
        format!("{value}\n{}", text.split_once('\n').unwrap().1)
    };
    let newer_settings = {
        let mut value: Value = serde_json::from_str(&settings).unwrap();
        value["schemaVersion"] = json!(999);
        value.to_string()
    };
    let damaged = journal.replacen("{\"v\":", "{\"v#", 2);
    for (file, text, said) in [
        (run.journal(), damaged, "line 1"),
        (run.journal(), newer(&journal), "newer"),
        (run.settings(), "not JSON".to_owned(), "settings"),
        (run.settings(), newer_settings, "newer"),
    ] {
        let good = fs::read_to_string(&file).unwrap();
        fs::write(&file, &text).unwrap();
        for command in [
            ["wait", "--timeout=20"],
            ["control", "retry"],
            ["cleanup", "all"],
        ] {
            let ended = room.orchestra(&command);
            assert_ne!(ended.code, 0, "{command:?} {}", ended.out);
            assert!(!ended.err.contains("panicked"), "{}", ended.err);
            assert!(
                ended.err.contains(said),
                "{command:?}: {said}: {}",
                ended.err
            );
            let file_name = file.file_name().unwrap().to_str().unwrap();
            assert!(ended.err.contains(file_name), "{command:?}: {}", ended.err);
        }
        room.orchestra(&["status"]);
        room.assert_quiet();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert!(room.worktree("a").is_dir());
        fs::write(&file, good).unwrap();
    }
    // Letters that were posted meanwhile are taken in now.
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("a"), "from a\n");
    room.assert_quiet();
}

#[test]
fn logs_that_cannot_be_written_stop_nothing() {
    let room = Room::new();
    let plan = room.plan(&[("a", &[]), ("b", &[])]);
    room.orchestra(&[
        "worktree",
        "--plan",
        plan.to_str().unwrap(),
        "--agent",
        "scripted",
    ])
    .expect(0);
    let run = room.only_run();
    for log in ["orchestration.log", "instance-a.log", "instance-a.commands"] {
        let _ = fs::remove_file(run.dir().join(log));
        std::os::unix::fs::symlink("/dev/full", run.dir().join(log)).unwrap();
    }
    room.orchestra(&["control", "resume"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    assert!(room.repo.join("a.md").exists());
    assert!(room.repo.join("b.md").exists());
    room.assert_tidy();
}

#[test]
fn everything_killed_at_any_moment_ends_in_the_same_result() {
    let moments: [Moment; 5] = [
        ("attempt-started", |r| {
            matches!(r, Record::AttemptStarted { .. })
        }),
        ("prepared", |r| matches!(r, Record::Prepared { .. })),
        ("attempt-ended", |r| {
            matches!(r, Record::AttemptEnded { .. })
        }),
        ("integration-started", |r| {
            matches!(r, Record::IntegrationStarted { .. })
        }),
        ("finished", |r| matches!(r, Record::Finished { .. })),
    ];
    for (what, is) in moments {
        let room = chain();
        let run = begin(&room);
        room.wait_for_record(&run, what, is);
        room.kill_all();
        let ended = room.orchestra(&["wait"]);
        let log = fs::read_to_string(run.log()).unwrap();
        assert_eq!(ended.code, 0, "killed at {what}:\n{log}");
        assert_eq!(room.read("a"), "from a\n", "{what}");
        assert_eq!(room.read("b"), "from b\n", "{what}");
        let subjects = room.git(&["log", "--format=%s", "--first-parent"]);
        assert_eq!(subjects.lines().count(), 3, "{what}: {subjects}");
        room.assert_tidy();
    }
}

#[test]
fn a_verify_command_of_a_killed_conductor_ends_with_the_next_one() {
    let room = chain();
    // Only where the merged tree is verified, and only the first time.
    let verify = "case \"$PWD\" in *_verify-*) if [ ! -e \"$ROOM/second\" ]; then \
                  setsid sleep 600 & touch \"$ROOM/second\"; sleep 600; fi;; esac";
    room.run(&["--detach", "--verify", verify]).expect(0);
    let run = room.only_run();
    wait_for("verification", || {
        room.path("second").exists().then_some(())
    });
    room.kill_conductor();
    room.orchestra(&["wait"]).expect(0);
    assert_undisturbed(&room, &run);
}

#[test]
fn a_half_made_worktree_is_made_anew_and_loses_nothing() {
    let room = chain();
    let plan = room.path("plan.json");
    room.orchestra(&[
        "worktree",
        "--plan",
        plan.to_str().unwrap(),
        "--agent",
        "scripted",
    ])
    .expect(0);
    let run = room.only_run();
    // As a checkout that was killed leaves it: files without an index. In the second one a
    // person has written something since.
    for name in ["a", "b"] {
        fs::remove_file(run.dir().join(format!("instance-{name}.worktree.json"))).unwrap();
        let own = room.repo.join(format!(".git/worktrees/{name}"));
        fs::rename(own.join("index"), own.join("index.lock")).unwrap();
        fs::remove_file(room.worktree(name).join("README.md")).unwrap();
    }
    fs::write(room.worktree("b").join("note"), "of a person\n").unwrap();
    room.orchestra(&["control", "resume"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("README.md"), "base\n");
    assert!(room.repo.join("a.md").exists() && room.repo.join("b.md").exists());
    let snapshots: Vec<String> = room
        .backups()
        .into_iter()
        .filter(|name| name.contains("/snapshot/"))
        .collect();
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
    let note = room.git(&["show", &format!("{}:note", snapshots[0])]);
    assert_eq!(note, "of a person");
    room.assert_tidy();
}

#[test]
fn a_daemon_of_a_killed_supervisor_is_ended_and_the_session_goes_on() {
    let seconds = 800_000_000 + u64::from(std::process::id());
    let room = Room::new();
    room.plan(&[("a", &[])]);
    room.script(&json!({"a": {"steps": [
        {"detach": {"seconds": seconds, "clear_env": true}},
        {"write": {"path": "a", "text": "from a\n"}}, {"hang": {}}, {"commit": "Add a"},
    ]}}));
    let run = begin(&room);
    let task = orchestra::core::id::TaskName::parse("a").unwrap();
    wait_for("the processes to be seen", || {
        let text = fs::read_to_string(run.processes(&task)).ok()?;
        let seen: Value = serde_json::from_str(&text).ok()?;
        let wrote = room.worktree("a").join("a").exists();
        (seen["processes"].as_array()?.len() >= 2 && wrote).then_some(())
    });
    room.process("supervise", "a").kill();
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("a"), "from a\n");
    let listed = std::process::Command::new("ps")
        .args(["-eo", "args"])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(!listed.contains(&format!("sleep {seconds}")));
    assert!(!run.processes(&task).exists());
}
