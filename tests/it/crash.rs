//! Everything gone at once, as after a restart of the machine; files that somebody else wrote to;
//! files of the first version.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use orchestra::core::record::Record;
use orchestra::format::launch_file::LaunchFile;
use orchestra::format::outcome_file::OutcomeFile;
use orchestra::format::settings_file::SettingsFile;
use orchestra::format::status_file::{InstanceStatus, StatusFile};
use orchestra::store::atomic::read_json_in_place;
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Room, wait_for, writes};

/// Two tasks that each began, and would go on in their second attempt; one that needs both.
fn begun() -> (Room, RunDir) {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
    let twice = |name: &str| {
        json!({"attempts": [
            [{"write": {"path": name, "text": format!("from {name}\n")}}, {"sleep_ms": 600_000}],
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
    room.keeper();
    (room, run)
}

/// The run ends as if nothing had happened, each task in the session that it began in.
#[track_caller]
fn assert_same_sessions(room: &Room, run: &RunDir) {
    room.orchestra(&["wait"]).expect(0);
    for name in ["a", "b"] {
        let sessions = room.inits(run, name);
        assert_eq!(sessions.len(), 2, "{name}");
        assert_eq!(sessions[0], sessions[1], "{name}");
        assert_eq!(room.read(name), format!("from {name}\n"));
    }
    assert_eq!(room.inits(run, "c").len(), 1);
    assert_eq!(room.read("c"), "from c\n");
    room.assert_tidy();
}

/// When a process started, in clock ticks since boot.
fn started(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    fields[20].parse().unwrap()
}

#[test]
fn after_a_restart_of_the_machine_numbers_of_processes_mean_nothing() {
    let (room, run) = begun();
    room.kill_all();
    // Processes of ours that got the numbers of those that were: one with all that a record
    // holds but from another start of the machine, one of this start that began at another time.
    let mut innocent: Vec<_> = (0..2)
        .map(|_| {
            Command::new("sleep")
                .arg("600")
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .spawn()
        })
        .map(Result::unwrap)
        .collect();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let record = |n: usize, boot: &str, later: u64| {
        let pid = innocent[n].id();
        let file = json!({
            "schemaVersion": 1, "bootId": boot,
            "processes": [{"pid": pid, "start": started(pid) - later}],
        });
        let name = ["instance-a.processes.json", "instance-b.processes.json"][n];
        fs::write(run.dir().join(name), file.to_string()).unwrap();
    };
    record(0, "00000000-0000-0000-0000-000000000000", 0);
    record(1, boot.trim(), 1);
    assert_same_sessions(&room, &run);
    for child in &mut innocent {
        assert!(child.try_wait().unwrap().is_none(), "it was ended");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn paused_killed_and_resumed_the_same_sessions_go_on() {
    let (room, run) = begun();
    room.orchestra(&["control", "pause"]).expect(0);
    // At any moment of the pausing.
    room.wait_for_record(&run, "the pause", |r| {
        matches!(r, Record::PauseRequested { .. })
    });
    room.kill_all();
    let told = room.orchestra(&["status"]).expect(0);
    assert!(told.out.contains("paused"), "{}", told.out);
    room.orchestra(&["control", "resume"]).expect(0);
    assert_same_sessions(&room, &run);
}

#[test]
fn paused_at_rest_killed_and_resumed_the_same_sessions_go_on() {
    let (room, run) = begun();
    room.orchestra(&["control", "pause"]).expect(0);
    room.assert_quiet();
    let before: Vec<String> = ["a", "b"]
        .iter()
        .flat_map(|n| room.inits(&run, n))
        .collect();
    room.kill_all();
    room.orchestra(&["control", "resume"]).expect(0);
    assert_same_sessions(&room, &run);
    let after: Vec<String> = ["a", "b"]
        .iter()
        .map(|n| room.inits(&run, n)[1].clone())
        .collect();
    assert_eq!(before, after);
}

#[test]
fn what_somebody_else_wrote_into_is_set_aside_and_told_and_the_run_goes_on() {
    let (room, run) = begun();
    room.kill_all();
    let spoilt = [
        (
            "instance-a.status.json",
            "{\"schemaVersion\": 1, \"id\": \"x",
        ),
        ("instance-b.outcome.json", "\0\0\0\0"),
        ("instance-b.processes.json", "[1, 2"),
        ("inbox/000000000000001-zz.json", "rubbish"),
        ("instance-a.inbox/000000000000001-zz.json", "{}"),
        ("radar.json", "half"),
    ];
    for (name, text) in spoilt {
        let path = run.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut journal = fs::read(run.journal()).unwrap();
    journal.extend(b"{\"v\":1,\"seq\":99");
    fs::write(run.journal(), &journal).unwrap();
    // Looking changes nothing, and says what is known.
    room.orchestra(&["wait"]).expect(0);
    for name in ["a", "b", "c"] {
        assert_eq!(room.read(name), format!("from {name}\n"));
        assert_eq!(room.status(&run, name)["status"], "complete");
    }
    for (name, text) in spoilt.iter().take(2).chain(&spoilt[3..4]) {
        let aside = run.dir().join(format!("{name}.unreadable-1"));
        assert_eq!(fs::read_to_string(&aside).unwrap(), *text, "{name}");
    }
    let torn = run.dir().join("journal.jsonl.unreadable-1");
    assert_eq!(fs::read(torn).unwrap(), b"{\"v\":1,\"seq\":99");
    let said = room.orchestra(&["doctor", "--json"]).json();
    let told: Vec<&str> = said["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["name"] == "set aside")
        .map(|c| c["what"].as_str().unwrap())
        .collect();
    for part in [
        "of a, where it stands",
        "of b, how its last attempt ended",
        "a request to a conductor",
        "the last line of the journal",
    ] {
        assert!(told.iter().any(|t| t.contains(part)), "{part}: {told:#?}");
    }
    room.assert_tidy();
}

#[test]
fn a_garbled_order_is_written_anew() {
    let (room, run) = begun();
    room.kill_all();
    fs::write(run.dir().join("instance-a.launch.json"), "{\"half").unwrap();
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("a"), "from a\n");
    assert_eq!(room.read("c"), "from c\n");
    room.assert_tidy();
}

#[test]
fn files_of_a_newer_version_are_refused_and_left() {
    let (room, run) = begun();
    room.kill_all();
    for name in [
        "settings.json",
        "instance-a.status.json",
        "environment.json",
    ] {
        let path = run.dir().join(name);
        let good = fs::read_to_string(&path).unwrap();
        let mut value: Value = serde_json::from_str(&good).unwrap();
        value["schemaVersion"] = json!(999);
        let newer = value.to_string();
        fs::write(&path, &newer).unwrap();
        if name == "settings.json" {
            let ended = room.orchestra(&["wait", "--timeout", "20"]);
            assert_ne!(ended.code, 0);
            assert!(ended.err.contains("update orchestra"), "{}", ended.err);
        }
        room.orchestra(&["status"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), newer, "{name}");
        room.kill_all();
        fs::write(&path, good).unwrap();
    }
    room.orchestra(&["wait"]).expect(0);
    room.assert_tidy();
}

/// As the first version wrote them. They are never to be changed.
fn first_version(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/run-v1")
        .join(name)
}

#[test]
fn files_of_the_first_version_are_read() {
    let settings: SettingsFile = read_json_in_place(&first_version("settings.json"), "x")
        .unwrap()
        .unwrap();
    assert_eq!(settings.max_workers, 5);
    assert_eq!(settings.base_branch.as_str(), "main");
    let _ = settings.policy();
    let status: StatusFile = read_json_in_place(&first_version("instance-a.status.json"), "x")
        .unwrap()
        .unwrap();
    assert_eq!(status.status, InstanceStatus::Complete);
    let outcome: OutcomeFile = read_json_in_place(&first_version("instance-a.outcome.json"), "x")
        .unwrap()
        .unwrap();
    assert_eq!(outcome.attempt, 1);
    let launch: LaunchFile = read_json_in_place(&first_version("instance-a.launch.json"), "x")
        .unwrap()
        .unwrap();
    assert_eq!(launch.task.as_str(), "a");
    let plan = fs::read(first_version("orchestration-plan.json")).unwrap();
    let limits = orchestra::core::plan::Limits::default();
    let plan = orchestra::format::plan_file::parse(&plan, &limits).unwrap();
    assert_eq!(plan.plan.tasks().len(), 2);
}
