//! A machine that has no room for all instances at once.

use std::collections::BTreeSet;
use std::fs;

use orchestra::core::attempt::{AttemptEnd, StartMode};
use orchestra::core::record::Record;
use serde_json::{Value, json};

use super::harness::{Room, wait_for};

/// Reserve and half of it: 1000 and 500 MB. An instance counts for 400 MB.
fn memory(room: &Room, available_mb: u64) {
    let machine = json!({
        "memoryTotal": 10_000_000_000_u64, "memoryAvailable": available_mb * 1_000_000,
        "diskTotal": 100_000_000_000_u64, "diskFree": 90_000_000_000_u64,
        "load1": 0.5, "cpus": 4.0, "memoryStall": 0.0,
    });
    let path = room.path("machine.json");
    let new = room.path("machine.new");
    fs::write(&new, machine.to_string()).unwrap();
    fs::rename(new, path).unwrap();
}

fn small_room(available_mb: u64) -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_ADMISSION", "auto");
    let file = room.path("machine.json").display().to_string();
    room.set("ORCHESTRA_MACHINE", file);
    memory(&room, available_mb);
    room
}

/// Works until a file of the room is there, in many short calls of a tool.
fn until(name: &str, file: &str) -> Value {
    let call = json!({"run": format!("[ -e \"$ROOM/{file}\" ] || sleep 0.1")});
    let mut steps = vec![json!({"write": {"path": name, "text": "begun\n"}})];
    steps.extend(std::iter::repeat_n(call, 600));
    steps.push(json!({"append": {"path": name, "text": "ended\n"}}));
    steps.push(json!({"commit": format!("Add {name}")}));
    json!({"steps": steps})
}

/// How many were in work at most.
fn most_at_once(records: &[Record]) -> usize {
    let mut working = BTreeSet::new();
    let mut most = 0;
    for record in records {
        match record {
            Record::AttemptStarted { task, .. } => working.insert(task),
            Record::AttemptEnded { task, .. } => working.remove(task),
            _ => false,
        };
        most = most.max(working.len());
    }
    most
}

fn begun(room: &Room, name: &str) {
    let file = room.worktree(name).join(name);
    wait_for("work", || file.exists().then_some(()));
}

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

fn plan(room: &Room, names: &[&str]) {
    let tasks: Vec<(&str, &[&str])> = names.iter().map(|name| (*name, &[][..])).collect();
    room.plan(&tasks);
    let play = names
        .iter()
        .map(|name| ((*name).to_owned(), until(name, "go")));
    room.script(&Value::Object(play.collect()));
}

fn go(room: &Room) {
    fs::write(room.path("go"), "").unwrap();
}

#[test]
fn with_memory_for_two_of_five_never_more_than_two_run() {
    let room = small_room(1900);
    plan(&room, &FIVE);
    room.run(&["--detach", "--max-workers", "5"]).expect(0);
    let run = room.only_run();
    begun(&room, "a");
    begun(&room, "b");
    let shown = room.orchestra(&["status", "resources"]).expect(0).out;
    assert!(shown.contains("2 of 5: memory"), "{shown}");
    assert!(shown.contains("1.9 GB free of 10 GB"), "{shown}");
    go(&room);
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(most_at_once(&room.records(&run)), 2);
    let log = fs::read_to_string(run.log()).unwrap();
    assert!(log.contains("at most 2 at once: memory"), "{log}");
    room.assert_tidy();
}

#[test]
fn without_any_memory_one_runs_after_the_other() {
    let room = small_room(0);
    plan(&room, &["a", "b", "c"]);
    go(&room);
    room.run(&[]).expect(0);
    assert_eq!(most_at_once(&room.records(&room.only_run())), 1);
    room.assert_tidy();
}

#[test]
fn what_is_not_to_be_heeded_is_not() {
    let mut room = small_room(0);
    room.set("ORCHESTRA_ADMISSION", "off");
    plan(&room, &["a", "b", "c"]);
    room.run(&["--detach"]).expect(0);
    for name in ["a", "b", "c"] {
        begun(&room, name);
    }
    go(&room);
    room.orchestra(&["wait"]).expect(0);
}

#[test]
fn when_memory_gets_short_one_makes_room_and_its_session_goes_on_later() {
    let room = small_room(9000);
    plan(&room, &["a", "b"]);
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    begun(&room, "a");
    begun(&room, "b");
    memory(&room, 300);
    room.wait_for_record(&run, "a pause", |record| {
        matches!(
            record,
            Record::AttemptEnded {
                end: AttemptEnd::Paused,
                ..
            }
        )
    });
    // There is room again, and yet it is not taken at once.
    memory(&room, 9000);
    go(&room);
    room.orchestra(&["wait"]).expect(0);
    let records = room.records(&run);
    let paused: Vec<&str> = records
        .iter()
        .filter_map(|record| match record {
            Record::AttemptEnded {
                task,
                end: AttemptEnd::Paused,
                ..
            } => Some(task.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(paused.len(), 1, "one was enough");
    let sessions = room.starts(&run, paused[0]);
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0].0, sessions[1].0);
    assert_eq!(sessions[1].1, StartMode::Resume);
    for name in ["a", "b"] {
        assert_eq!(room.read(name), "begun\nended\n");
    }
    // It began again only when the other one was done.
    let at = |wanted: &dyn Fn(&Record) -> bool| records.iter().rposition(wanted).unwrap();
    let again = at(&|r| matches!(r, Record::AttemptStarted { .. }));
    let done = records.iter().position(|r| {
        matches!(
            r,
            Record::AttemptEnded {
                end: AttemptEnd::Complete { .. },
                ..
            }
        )
    });
    assert!(done.unwrap() < again);
    room.assert_tidy();
}
