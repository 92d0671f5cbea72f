//! Instances that hang, run away, or leave something behind.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use orchestra::core::attempt::{AttemptEnd, FailureClass, StartMode};
use orchestra::core::event::StopHow;
use orchestra::format::instance_request::InstanceRequest;
use orchestra::format::status_file::StatusFile;
use orchestra::store::atomic::peek_json;
use serde_json::{Value, json};

use crate::instance::{Room, Supervisor, failed};

fn room(steps: &Value) -> Room {
    let mut room = Room::new(steps);
    let limits = &mut room.launch.limits;
    limits.startup_silence_seconds = 2;
    limits.provider_silence_seconds = 2;
    limits.tool_silence_seconds = 3;
    limits.closing_silence_seconds = 1;
    room
}

fn write(path: &str, text: &str) -> Value {
    json!({"write": {"path": path, "text": text}})
}

fn log(room: &Room) -> String {
    fs::read_to_string(room.run.log()).unwrap_or_default()
}

fn is_complete(end: &AttemptEnd) -> bool {
    matches!(end, AttemptEnd::Complete { .. })
}

/// Whether a process with these words in its command line runs.
fn runs(words: &str) -> bool {
    let listed = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).contains(words)
}

/// The most memory that a supervisor used up to its end, KiB.
fn peak_until_end(mut supervisor: Supervisor) -> u64 {
    let status = format!("/proc/{}/status", supervisor.child.id());
    let mut peak = 0;
    while supervisor.child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with("VmHWM"));
        let now = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    supervisor.wait();
    peak
}

#[test]
fn a_client_that_never_says_a_word_is_ended() {
    let mut room = room(&json!(["hang_at_start", write("a", "x"), {"commit": "a"}]));
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Hang);
    assert!(
        detail.starts_with("no sign of life for 2s since its start"),
        "{detail}"
    );
    assert!(!room.outcome().session_seen);
    room.next_attempt(StartMode::Resume);
    assert!(is_complete(&room.attempt()));
}

#[test]
fn a_silent_provider_is_interrupted_and_the_same_session_goes_on() {
    let room = room(&json!([
        write("a", "x"), {"hang": {}}, {"write_prompt": "told"}, {"commit": "a"},
    ]));
    assert!(is_complete(&room.attempt()));
    let told = fs::read_to_string(room.file("told")).unwrap();
    assert!(told.starts_with("Nothing came from you for 2s"), "{told}");
    let log = log(&room);
    let line = "no sign of life for 2s while it waited for the provider; interrupted";
    assert!(log.contains(line), "{log}");
}

#[test]
fn a_command_that_hangs_is_interrupted_and_named() {
    let room = room(&json!([
        {"run": "tail -f /dev/null"}, {"write_prompt": "told"}, {"commit": "a"},
    ]));
    let supervisor = room.start();
    let silent = |s: &StatusFile| {
        let activity = s.activity.as_deref().unwrap_or_default();
        activity.starts_with("silent for ")
            && activity.ends_with("s inside Bash: tail -f /dev/null")
    };
    room.wait_for("silence in the status", silent);
    supervisor.wait();
    assert!(is_complete(&room.outcome().outcome));
    let told = fs::read_to_string(room.file("told")).unwrap();
    assert!(
        told.starts_with("The call `Bash: tail -f /dev/null` gave no sign of life for 3s"),
        "{told}"
    );
}

#[test]
fn a_command_that_works_is_waited_for() {
    for work in [
        // CPU; input and output; files.
        "i=0; while [ $i -lt 400 ]; do i=$((i+1)); : $(echo); sleep 0.01; done",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 20000 /dev/zero >/dev/null; sleep 0.5; done",
        "for i in 1 2 3 4 5 6 7; do echo $i >> changed; sleep 0.9; done",
    ] {
        let room = room(&json!([{"run": work}, write("a", "x"), {"commit": "a"}]));
        assert!(is_complete(&room.attempt()), "{work}: {:?}", room.outcome());
        assert!(!log(&room).contains("no sign of life"), "{work}");
    }
}

#[test]
fn a_command_during_which_files_change_is_waited_for() {
    let mut room = room(&json!([
        {"run": "tail -f /dev/null"}, write("b", "x"), {"commit": "a"},
    ]));
    room.launch.limits.tool_silence_seconds = 6;
    let supervisor = room.start();
    room.wait_for("the command", |s| {
        s.activity.as_deref() == Some("Bash: tail -f /dev/null")
    });
    let begun = Instant::now();
    let mut text = String::new();
    // A length of time is what is tested here.
    while begun.elapsed() < Duration::from_secs(15) {
        text.push_str("line\n");
        fs::write(room.file("a"), &text).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!log(&room).contains("no sign of life"), "{}", log(&room));
    supervisor.wait();
    assert!(log(&room).contains("no sign of life"));
    assert!(is_complete(&room.outcome().outcome));
}

#[test]
fn one_that_does_not_hear_is_ended_as_hanging_and_its_session_goes_on() {
    let mut room = room(&json!([
        write("a", "x"), {"hang": {"deaf": true}}, {"commit": "a"},
    ]));
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Hang);
    assert!(
        detail.contains("while it waited for the provider"),
        "{detail}"
    );
    assert!(room.outcome().session_seen);
    room.next_attempt(StartMode::Resume);
    assert!(is_complete(&room.attempt()));
}

#[test]
fn a_client_that_waits_to_try_again_is_not_silent() {
    let room = room(&json!([
        {"api_retry": {"status": 529, "delay_ms": 4000}}, {"sleep_ms": 4500},
        write("a", "x"), {"commit": "a"},
    ]));
    assert!(is_complete(&room.attempt()));
    assert!(!log(&room).contains("no sign of life"));
}

#[test]
fn a_stream_that_stops_while_the_process_lives_is_ended() {
    let mut room = room(&json!([write("a", "x"), "close_output", {"commit": "a"}]));
    room.launch.limits.provider_silence_seconds = 0;
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Crash);
    assert!(
        detail.starts_with("its output ended without a result"),
        "{detail}"
    );
    room.next_attempt(StartMode::Resume);
    assert!(is_complete(&room.attempt()));
}

#[test]
fn an_end_without_anything_done_is_a_bad_result() {
    for (steps, words) in [
        (json!([{"exit": 0}]), "exit code 0"),
        (
            json!([{"refuse_prompt": "blocked by a hook: no"}]),
            "the client did not take the prompt: blocked by a hook: no",
        ),
    ] {
        let end = room(&steps).attempt();
        let (class, detail) = failed(&end);
        assert_eq!(class, FailureClass::BadResult);
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn output_without_end_fills_neither_memory_nor_disk_and_ends_with_the_time() {
    let mut room = room(&json!([{"endless": "noise ".repeat(100)}]));
    room.launch.timeout_seconds = 3;
    room.launch.limits.max_log_mb = 1;
    let peak = peak_until_end(room.start());
    let end = room.outcome().outcome;
    assert_eq!(failed(&end).0, FailureClass::Timeout);
    assert!(peak < 40_000, "{peak} KiB");
    let log = fs::read_to_string(room.run.stream_log(&room.task)).unwrap();
    assert!(log.len() < 1_100_000, "{}", log.len());
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["subtype"], "log_full");
    room.assert_nothing_left();
}

#[test]
fn a_line_of_a_hundred_megabytes_is_passed_over() {
    let mut room = room(&json!([
        {"huge_line": 100_000_000}, write("a", "x"), {"commit": "a"},
    ]));
    room.launch.limits.max_log_mb = 10;
    let peak = peak_until_end(room.start());
    assert!(is_complete(&room.outcome().outcome));
    assert!(peak < 64_000, "{peak} KiB");
}

#[test]
fn one_that_makes_room_stops_between_two_calls_and_goes_on_later() {
    let mut room = room(&json!([
        {"run": "touch ../begun; while [ ! -e ../go ]; do sleep 0.02; done; echo done > a"},
        {"sleep_ms": 600_000}, {"commit": "a"},
    ]));
    room.launch.limits.tool_silence_seconds = 60;
    let supervisor = room.start();
    room.wait_for("the command", |_| room.file("../begun").exists());
    room.post(&InstanceRequest::Stop {
        how: StopHow::Yield,
        attempt: Some(1),
    });
    room.wait_for("the request", |_| log(&room).contains("make room"));
    fs::write(room.file("../go"), "").unwrap();
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Paused);
    assert!(room.file("a").exists(), "the call ended by itself");
    room.assert_nothing_left();
    room.next_attempt(StartMode::Resume);
    assert!(is_complete(&room.attempt()));
}

#[test]
fn one_that_makes_room_when_it_is_done_is_done() {
    let mut room = room(&json!([write("a", "x"), {"commit": "a"}]));
    room.launch.verify = Some("touch ../begun; while [ ! -e ../go ]; do sleep 0.02; done".into());
    let supervisor = room.start();
    room.wait_for("the gate", |_| room.file("../begun").exists());
    let request = room.post(&InstanceRequest::Stop {
        how: StopHow::Yield,
        attempt: Some(1),
    });
    room.wait_for("the request", |_| log(&room).contains("make room"));
    fs::write(room.file("../go"), "").unwrap();
    supervisor.wait();
    assert!(is_complete(&room.outcome().outcome));
    assert!(!request.exists());
}

#[test]
fn a_process_that_uses_too_much_memory_is_ended_and_the_instance_goes_on() {
    let mut room = room(&json!([
        {"run": "x=$(head -c 200000000 /dev/zero | tr '\\0' x); sleep 600"},
        write("a", "x"), {"commit": "a"}, "end_turn",
        {"write_prompt": "told"}, {"commit": "told"},
    ]));
    room.launch.limits.max_memory_mb = 150;
    room.launch.limits.tool_silence_seconds = 60;
    assert!(is_complete(&room.attempt()));
    let told = fs::read_to_string(room.file("told")).unwrap();
    assert!(told.contains("150 MiB of memory that you have"), "{told}");
    let peak = room.outcome().peak_memory_bytes.unwrap();
    assert!(peak > 150 * 1024 * 1024, "{peak}");
    let resources = room.status().unwrap().resources;
    assert_eq!(resources.peak_memory_bytes, Some(peak));
    let outcome = room.outcome();
    assert!(outcome.duration_ms.is_some() && outcome.tokens.is_some());
}

#[test]
fn a_client_that_uses_too_much_memory_ends_the_attempt() {
    let mut room = room(&json!([{"allocate": {"mb": 300, "ms": 600_000}}]));
    room.launch.limits.max_memory_mb = 150;
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::OutOfMemory);
    assert!(detail.ends_with("150 MiB are allowed"), "{detail}");
}

#[test]
fn a_crash_is_told_with_its_signal() {
    for (signal, words) in [(11, "signal 11"), (9, "SIGKILL")] {
        let end = room(&json!([{"signal": signal}])).attempt();
        let (class, detail) = failed(&end);
        assert_eq!(class, FailureClass::Crash);
        assert!(detail.contains(words), "{detail}");
    }
}

/// Seconds that no other test sleeps, to know a process without a marker by.
fn unique(number: u32) -> u64 {
    u64::from(700_000_000 + std::process::id() * 100 + number)
}

#[test]
fn a_daemon_that_cleaned_its_environment_ends_on_failure_and_on_request() {
    let seconds = unique(1);
    let daemon = json!({"detach": {"seconds": seconds, "clear_env": true}});
    let end = room(&json!([daemon, {"exit": 3}])).attempt();
    assert_eq!(failed(&end).0, FailureClass::Crash);
    assert!(!runs(&format!("sleep {seconds}")));

    let room = room(&json!([daemon, write("a", "x"), {"sleep_ms": 600_000}]));
    let supervisor = room.start();
    room.wait_for("work", |_| room.file("a").exists());
    assert!(runs(&format!("sleep {seconds}")));
    room.post(&InstanceRequest::Stop {
        how: StopHow::Cancel,
        attempt: Some(1),
    });
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Cancelled);
    assert!(!runs(&format!("sleep {seconds}")));
}

#[test]
fn a_daemon_of_a_killed_supervisor_is_ended_by_whoever_finds_it_lost() {
    let seconds = unique(2);
    let words = format!("sleep {seconds}");
    let mut room = room(&json!([
        {"detach": {"seconds": seconds, "clear_env": true}}, write("a", "x"),
        {"hang": {}}, {"commit": "a"},
    ]));
    room.launch.limits.provider_silence_seconds = 0;
    let file = room.run.processes(&room.task);
    let supervisor = room.start();
    room.wait_for("the processes to be seen", |_| {
        let seen: Option<Value> = peek_json(&file);
        // The player, and the daemon.
        seen.is_some_and(|seen| seen["processes"].as_array().unwrap().len() >= 2)
            && room.file("a").exists()
    });
    supervisor.signal("-KILL");
    supervisor.wait();
    assert!(runs(&words), "it lives on without its supervisor");
    let token = &room.launch.token;
    let report = orchestra::supervise::end_leftovers(&room.run, token, &room.task);
    assert!(
        report.signalled >= 2 && report.left.is_empty(),
        "{report:?}"
    );
    assert!(!runs(&words));
    assert!(!file.exists());
    room.next_attempt(StartMode::Resume);
    assert!(is_complete(&room.attempt()));
    assert!(!file.exists(), "nothing is left to be ended");
}
