//! The provider limits the rate or the usage: everything slows down or waits, nothing is lost.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orchestra::core::attempt::{FailureClass, StartMode};
use orchestra::core::breaker::{Breaker, BreakerPolicy};
use orchestra::core::record::Record;
use orchestra::core::time::{Millis, Timestamp};
use orchestra::format::breaker_file::BreakerFile;
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Room, wait_for, writes};

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

/// A room whose provider is quick to forgive.
fn room(quiet: Duration) -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_RATE_LIMIT_PAUSE_MS", "100");
    room.set(
        "ORCHESTRA_RATE_LIMIT_QUIET_MS",
        quiet.as_millis().to_string(),
    );
    room.set("ORCHESTRA_RESET_MARGIN_MS", "300");
    room.set("ORCHESTRA_RETRY_BASE_MS", "1");
    room
}

/// Waits until a file is in the room.
fn waits_for(file: &str) -> Value {
    json!({"run": format!("while [ ! -e \"$ROOM/{file}\" ]; do sleep 0.02; done")})
}

fn report(room: &Room, run: &RunDir) -> Value {
    let id = run.id().as_str();
    let ended = room.orchestra(&["status", "--json", "--orchestration", id]);
    ended.json()
}

fn log(run: &RunDir) -> String {
    std::fs::read_to_string(run.log()).unwrap_or_default()
}

/// When the attempts at tasks started.
fn starts(room: &Room, run: &RunDir) -> Vec<(String, StartMode, Timestamp)> {
    let started = room
        .records(run)
        .into_iter()
        .filter_map(|record| match record {
            Record::AttemptStarted {
                task, start, at, ..
            } => Some((task.to_string(), start, at.unwrap())),
            _ => None,
        });
    started.collect()
}

fn heard(room: &Room) -> Option<Breaker> {
    let folder = room.path("state").join("orchestra");
    let names = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path());
    let path = names
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            // Not those of the members: `breaker-KEY.N.json`.
            name.starts_with("breaker-") && name.matches('.').count() == 1 && name.ends_with("json")
        })
        .max()?;
    let file: BreakerFile = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(file.heard)
}

#[test]
fn after_a_storm_fewer_run_at_once_and_then_more_again() {
    let room = room(Duration::from_secs(4));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    room.plan(&names.map(|name| (name, &[][..])));
    let part = |name: &str, storm: bool, gate: &str| {
        let mut steps = vec![
            waits_for(gate),
            json!({"write": {"path": name, "text": "x"}}),
        ];
        if storm {
            steps.insert(0, json!({"api_retry": {"status": 429, "delay_ms": 50}}));
            steps.insert(0, waits_for("storm"));
        }
        steps.push(json!({"commit": name}));
        (name.to_owned(), json!({"steps": steps}))
    };
    let parts = names.map(|name| {
        part(
            name,
            name < "e",
            if name < "e" { "first" } else { "second" },
        )
    });
    room.script(&Value::Object(parts.into_iter().collect()));
    let run_of = room.start_run(&["--max-workers", "4"]);
    let run = room.only_run();
    for name in ["a", "b", "c", "d"] {
        room.wait_until_running(&run, name);
    }
    std::fs::write(room.path("storm"), "").unwrap();
    wait_for("a smaller allowance", || {
        log(&run).contains("at most 2 at once").then_some(())
    });
    assert!(report(&room, &run)["allowedInstances"].is_u64());
    std::fs::write(room.path("first"), "").unwrap();
    let ended = |records: &[Record]| {
        let ends = records
            .iter()
            .filter(|r| matches!(r, Record::AttemptEnded { .. }));
        ends.count()
    };
    let active = |records: &[Record]| {
        let begun = records
            .iter()
            .filter(|r| matches!(r, Record::AttemptStarted { .. }));
        begun.count() - ended(records)
    };
    for (count, line) in [
        (2, "at most 2 at once"),
        (3, "at most 3 at once"),
        (4, "at most 4 at once"),
    ] {
        wait_for("room for one more", || {
            let records = room.records(&run);
            (ended(&records) >= 4 && active(&records) == count).then_some(())
        });
        assert!(log(&run).contains(line), "{count} run: {}", log(&run));
    }
    std::fs::write(room.path("second"), "").unwrap();
    run_of.end().expect(0);
    let records = room.records(&run);
    let failed = records
        .iter()
        .any(|r| matches!(r, Record::TaskFailed { .. }));
    assert!(!failed);
    assert!(
        log(&run).contains("the provider limits the rate"),
        "{}",
        log(&run)
    );
}

#[test]
fn a_usage_limit_is_waited_for_and_the_sessions_go_on() {
    let room = room(Duration::from_secs(1));
    room.plan(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let reset = now().0 / 1000 + 6;
    let limit = json!({"result": {
        "subtype": "success", "is_error": true, "terminal_reason": "api_error",
        "api_error_status": 429, "text": format!("Claude AI usage limit reached|{reset}"),
    }});
    let twice = |name: &str| json!({"attempts": [[limit], [{"write": {"path": name, "text": "x"}}, {"commit": name}]]});
    room.script(&json!({"a": twice("a"), "b": twice("b"), "c": writes("c", "c\n")}));
    let begun = room.start_run(&["--max-workers", "2"]);
    let run = room.only_run();
    let seen = wait_for("the hold", || {
        let seen = report(&room, &run);
        (!seen["held"].is_null()).then_some(seen)
    });
    let held_at = now();
    assert_eq!(seen["held"]["why"], "usage limit", "{seen}");
    let until = seen["held"]["until"].as_str().unwrap();
    assert_eq!(until, Timestamp(reset * 1000 + 300).rfc3339());
    let id = run.id().as_str().to_owned();
    let text = room
        .orchestra(&["status", "summary", "--orchestration", &id])
        .out;
    assert!(
        text.contains("HELD") && text.contains("(usage limit): nothing new starts"),
        "{text}"
    );
    let text = room
        .orchestra(&["status", "issues", "--orchestration", &id])
        .out;
    assert!(text.contains("held until"), "{text}");
    begun.end().expect(0);
    assert!(log(&run).contains("held until"), "{}", log(&run));
    let starts = starts(&room, &run);
    let meanwhile = starts
        .iter()
        .filter(|(_, _, at)| *at > held_at && at.0 < reset * 1000);
    assert_eq!(meanwhile.count(), 0, "{starts:?}");
    let resumed = starts
        .iter()
        .filter(|(_, start, _)| *start == StartMode::Resume);
    assert!(resumed.count() >= 1, "{starts:?}");
    for name in ["a", "b"] {
        let mut sessions = room.inits(&run, name);
        sessions.dedup();
        assert_eq!(sessions.len(), 1, "{name}: {sessions:?}");
    }
    let told = room
        .records(&run)
        .into_iter()
        .find_map(|record| match record {
            Record::AttemptEnded { until, .. } => until,
            _ => None,
        });
    assert_eq!(told, Some(Timestamp(reset * 1000)));
}

#[test]
fn runs_of_one_account_hold_each_other_back_and_others_do_not() {
    let mut room = room(Duration::from_millis(500));
    room.set("ORCHESTRA_BREAKER", "shared");
    room.script(&json!({
        "one": {"steps": [{"api_retry": {"status": 529, "delay_ms": 4000}}, waits_for("go"),
                          {"write": {"path": "one", "text": "x"}}, {"commit": "one"}]},
        "two": writes("two", "x"),
    }));
    room.plan(&[("one", &[])]);
    let first = room.start_run(&[]);
    let run = room.only_run();
    let policy = BreakerPolicy::default();
    let until = wait_for("the storm", || heard(&room)?.allowance(&policy, now()).hold).0;
    room.plan(&[("two", &[])]);
    room.start_run(&["--merge", "none"]).end().expect(0);
    let other = room
        .runs()
        .into_iter()
        .find(|other| other.id() != run.id())
        .unwrap();
    let at = starts(&room, &other)[0].2;
    assert!(at.plus(Millis(50)) >= until, "{at:?} is before {until:?}");
    assert!(log(&other).contains("held until"), "{}", log(&other));
    std::fs::write(room.path("go"), "").unwrap();
    first.end().expect(0);
    // A run of its own has nothing to do with it.
    let lonely = self::room(Duration::from_millis(500));
    lonely.plan(&[("x", &[])]);
    lonely.run(&[]).expect(0);
    assert_eq!(heard(&lonely), None);
}

#[test]
fn what_an_attempt_left_is_in_a_backup_once() {
    let room = room(Duration::from_secs(1));
    room.plan(&[("a", &[])]);
    room.script(&json!({"a": {"attempts": [
        [{"write": {"path": "kept", "text": "committed\n"}}, {"commit": "kept"},
         {"write": {"path": "loose", "text": "not committed\n"}}, {"exit": 1}],
        [{"exit": 1}],
        [{"write": {"path": "a", "text": "a\n"}}, {"commit": "a"}],
    ]}}));
    room.run(&[]).expect(0);
    let backups: Vec<String> = room.backups();
    let of = |kind: &str| -> Vec<&String> {
        let part = format!("/a/{kind}/");
        backups.iter().filter(|name| name.contains(&part)).collect()
    };
    let snapshots = of("snapshot");
    assert_eq!(snapshots.len(), 1, "{backups:?}");
    let show = |what: &str| room.git(&["show", &format!("{}:{what}", snapshots[0])]);
    assert_eq!(show("loose"), "not committed");
    assert_eq!(show("kept"), "committed");
    assert!(!of("branch").is_empty(), "{backups:?}");
    let crashed = room.records(&room.only_run()).into_iter().any(|record| {
        matches!(
            record,
            Record::AttemptEnded {
                end: orchestra::core::attempt::AttemptEnd::Failed {
                    class: FailureClass::Crash,
                    ..
                },
                ..
            }
        )
    });
    assert!(crashed);
}
