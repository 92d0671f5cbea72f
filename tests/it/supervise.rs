//! The life of a supervisor, with the scripted agent.

use std::fs;
use std::process::Command;
use std::time::Duration;

use orchestra::core::attempt::{AttemptEnd, FailureClass, StartMode};
use orchestra::core::event::StopHow;
use orchestra::core::id::Oid;
use orchestra::core::time::Timestamp;
use orchestra::format::instance_request::InstanceRequest;
use orchestra::format::launch_file::AgentChoice;
use orchestra::format::status_file::InstanceStatus;
use orchestra::store::atomic::peek_json;
use orchestra::store::instance_inbox;
use serde_json::{Value, json};

use crate::instance::{Room, failed};

fn write(path: &str, text: &str) -> Value {
    json!({"write": {"path": path, "text": text}})
}

/// The lines of the run's log for people, without their times.
fn announced(room: &Room) -> Vec<String> {
    let log = fs::read_to_string(room.run.log()).unwrap();
    log.lines()
        .map(|line| line.split_once("Z ").unwrap().1.to_owned())
        .collect()
}

#[test]
fn a_task_is_done_with_evidence() {
    let mut room = Room::new(&json!([
        {"todo": {"items": [{"text": "Write it", "state": "in_progress"},
                            {"text": "Commit it", "state": "pending"}]}},
        write("a.txt", "one\ntwo\n"),
        {"usage": {"cost_usd": 0.25, "input_tokens": 100, "output_tokens": 20}},
        {"commit": "Add a.txt"},
        {"todo": {"items": [{"text": "Write it", "state": "completed"},
                            {"text": "Commit it", "state": "completed"}]}},
        {"say": "All done."},
    ]));
    room.launch.verify = Some("grep -q two a.txt && test -n \"$PORT\"".into());
    let end = room.attempt();
    let head = Oid::parse(&room.git(&["rev-parse", "task/work"])).unwrap();
    let summary = "All done.".to_owned();
    assert_eq!(
        end,
        AttemptEnd::Complete {
            head: head.clone(),
            summary
        }
    );
    let outcome = room.outcome();
    assert_eq!(outcome.cost_usd, Some(0.25));
    assert!(outcome.session_seen);
    let status = room.status().unwrap();
    assert_eq!(status.status, InstanceStatus::Complete);
    assert_eq!(status.progress.percent, Some(100));
    assert_eq!(
        (
            status.files_changed,
            status.lines_added,
            status.lines_removed
        ),
        (Some(1), Some(2), Some(0))
    );
    assert_eq!(status.tokens.unwrap().input, 100);
    assert_eq!(status.issue_number, Some(12));
    assert_eq!(status.last_error, None);
    assert!(status.ended_at.is_some() && status.started_at.is_some());
    let marker: Value = peek_json(&room.run.complete_marker(&room.task)).unwrap();
    assert_eq!(marker["commit"], head.as_str());
    let log = fs::read_to_string(room.run.stream_log(&room.task)).unwrap();
    assert!(log.lines().count() > 8, "{log}");
    // A second supervisor for the same attempt has nothing to do.
    assert_eq!(room.start().wait(), "ready\n");
    assert_eq!(room.outcome(), outcome);
}

#[test]
fn an_instance_without_evidence_is_sent_back_with_what_is_missing() {
    let mut room = Room::new(&json!([
        {"say": "done, believe me"}, "end_turn",
        {"write_prompt": "feedback-1"}, write("a.txt", "red\n"), "end_turn",
        {"write_prompt": "feedback-2"}, {"commit": "Add a.txt"}, "end_turn",
        {"write_prompt": "feedback-3"}, write("a.txt", "green\n"), {"commit": "Repair"},
    ]));
    room.launch.gate_rounds = 3;
    room.launch.verify = Some("grep green a.txt || { echo no green here; exit 4; }".into());
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let told = |n| fs::read_to_string(room.file(&format!("feedback-{n}"))).unwrap();
    assert!(told(1).contains("There is no commit on task/work"));
    assert!(told(2).contains("a.txt, feedback-1"), "{}", told(2));
    assert!(told(3).contains("no green here") && told(3).contains("exit code 4"));
    assert_eq!(
        announced(&room),
        [
            "work: sent back: no commits",
            "work: sent back: no commits, 2 files not committed",
            "work: sent back: the verify command is not green (exit code 4)",
        ]
    );
}

#[test]
fn an_instance_that_never_brings_evidence_fails_and_keeps_its_work() {
    let room = Room::new(&json!([write("a.txt", "x")]));
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::GateNotPassed);
    assert!(detail.contains("not committed: a.txt"), "{detail}");
    assert!(room.file("a.txt").exists());
    assert_eq!(room.status().unwrap().status, InstanceStatus::Failed);
    assert!(!room.run.complete_marker(&room.task).exists());
}

#[test]
fn a_denied_commit_is_a_question_of_permission() {
    let room = Room::new(&json!([write("a.txt", "x"),
        {"deny": {"tool": "Bash", "what": "git commit -m x"}}]));
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Permission);
    assert!(detail.contains("denied: Bash: git commit -m x"), "{detail}");
}

#[test]
fn an_investigation_may_end_without_commits() {
    let mut room = Room::new(&json!([{"say": "It is the cache."}]));
    room.launch.may_end_without_commits = true;
    let head = room.launch.base.clone();
    let summary = "It is the cache.".into();
    assert_eq!(room.attempt(), AttemptEnd::Complete { head, summary });
}

#[test]
fn failures_are_told_apart() {
    let result = |subtype: &str, reason: &str, status: Option<u64>| {
        json!([{"result": {"subtype": subtype, "is_error": true, "text": "why",
                "terminal_reason": reason, "api_error_status": status}}])
    };
    let cases = [
        (
            result("success", "api_error", Some(401)),
            FailureClass::Authentication,
        ),
        (
            result("success", "api_error", Some(529)),
            FailureClass::Overload,
        ),
        (
            result("error_max_budget_usd", "budget_exhausted", None),
            FailureClass::Budget,
        ),
        (
            json!([{"complain": "out of luck"}, {"exit": 7}]),
            FailureClass::Crash,
        ),
        (json!([{"signal": 9}]), FailureClass::Crash),
        (
            json!([{"require": {"path": "absent"}}]),
            FailureClass::Crash,
        ),
    ];
    for (steps, class) in cases {
        let room = Room::new(&steps);
        let end = room.attempt();
        assert_eq!(failed(&end).0, class, "{steps}: {end:?}");
        assert!(room.status().unwrap().last_error.is_some());
    }
    let room = Room::new(&json!([{"complain": "out of luck"}, {"exit": 7}]));
    let end = room.attempt();
    let (_, detail) = failed(&end);
    assert!(detail.contains("exit code 7") && detail.contains("out of luck"));
}

#[test]
fn a_program_that_is_not_there_is_a_failure_that_says_so() {
    let mut room = Room::new(&json!([]));
    room.launch.agent = AgentChoice::Claude {
        program: "/nonexistent/claude".into(),
    };
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Crash);
    assert!(detail.contains("/nonexistent/claude"), "{detail}");
    assert!(!room.outcome().session_seen);
}

#[test]
fn an_attempt_goes_on_in_the_same_session_and_adds_up() {
    let mut room = Room::new(&json!([
        {"usage": {"cost_usd": 0.5}}, {"say": "half"}, "end_turn",
        write("a.txt", "1"), {"exit": 1},
        {"require": {"path": "a.txt"}}, {"usage": {"cost_usd": 0.25}}, {"commit": "a"},
    ]));
    let first = room.attempt();
    assert_eq!(failed(&first).0, FailureClass::Crash);
    let began = room.status().unwrap().started_at;
    room.next_attempt(StartMode::Resume);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let status = room.status().unwrap();
    assert_eq!(status.cost_usd, Some(0.75));
    assert_eq!((status.attempt, status.started_at), (2, began));
    assert_eq!(room.outcome().cost_usd, Some(0.25));
}

#[test]
fn every_process_ends_with_the_instance() {
    for step in [
        json!({"detach": {"seconds": 600}}),
        json!({"detach": {"seconds": 600, "clear_env": true}}),
        json!({"run": "exec >/dev/null 2>&1; sleep 600 & setsid sleep 600 & (setsid sleep 600 &) ; true"}),
    ] {
        // The length of the sleep names the processes of this test that forget their marker.
        let unique = format!("6{}", std::process::id());
        let step: Value = serde_json::from_str(&step.to_string().replace("600", &unique)).unwrap();
        let room = Room::new(&json!([step, write("a", "x"), {"commit": "a"}]));
        assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
        let listed = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(!listed.contains(&format!("sleep {unique}")), "{step}");
    }
}

#[test]
fn a_client_that_hangs_after_its_result_is_still_done() {
    let room = Room::new(&json!([write("a", "x"), {"commit": "a"}, "end_turn_and_hang"]));
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
}

#[test]
fn time_that_is_over_ends_even_a_deaf_agent() {
    let mut room = Room::new(&json!([write("a", "x"), {"hang": {"deaf": true}}]));
    room.launch.timeout_seconds = 1;
    let end = room.attempt();
    assert_eq!(failed(&end).0, FailureClass::Timeout);
    assert!(room.file("a").exists());
}

#[test]
fn messages_reach_the_session_and_are_forwarded_in_order() {
    let room = Room::new(&json!([
        {"stuck": {"reason": "which colour?", "options": ["red", "blue"]}},
        {"write_prompt": "answer"}, {"commit": "a"},
    ]));
    let supervisor = room.start();
    room.wait_for("a question", |s| s.status == InstanceStatus::Stuck);
    let status = room.status().unwrap();
    assert_eq!(status.stuck_reason.as_deref(), Some("which colour?"));
    assert_eq!(status.options, ["red", "blue"]);
    let request = room.post(&InstanceRequest::Message {
        text: "blue".into(),
        question: None,
    });
    supervisor.wait();
    assert!(matches!(
        room.outcome().outcome,
        AttemptEnd::Complete { .. }
    ));
    assert_eq!(fs::read_to_string(room.file("answer")).unwrap(), "blue\n");
    let status = room.status().unwrap();
    assert_eq!(status.forwarded_message.as_deref(), Some("blue"));
    assert_eq!(status.stuck_reason, None);
    assert!(!request.exists());
    assert_eq!(
        announced(&room),
        [
            "work: STUCK - which colour? (options: red | blue); \
             answer with: orchestra control answer work \"…\"",
            "work: told: blue",
        ]
    );
}

#[test]
fn a_pause_interrupts_and_the_same_session_goes_on_later() {
    let mut room = Room::new(&json!([
        write("a", "x"), {"sleep_ms": 600_000}, {"commit": "a"},
    ]));
    let supervisor = room.start();
    room.wait_for("work", |_| room.file("a").exists());
    let request = room.post(&InstanceRequest::Stop {
        how: StopHow::Pause,
        attempt: Some(1),
    });
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Paused);
    assert_eq!(room.status().unwrap().status, InstanceStatus::Paused);
    assert!(room.file("a").exists() && !request.exists());
    room.assert_nothing_left();
    room.next_attempt(StartMode::Resume);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
}

#[test]
fn a_cancelled_instance_ends_at_once() {
    let room = Room::new(&json!([write("a", "x"), {"hang": {"deaf": true}}]));
    let supervisor = room.start();
    room.wait_for("work", |_| room.file("a").exists());
    room.post(&InstanceRequest::Stop {
        how: StopHow::Cancel,
        attempt: Some(1),
    });
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Cancelled);
    assert_eq!(room.status().unwrap().status, InstanceStatus::Cancelled);
    room.assert_nothing_left();
}

#[test]
fn a_supervisor_that_is_asked_to_end_pauses() {
    let room = Room::new(&json!([write("a", "x"), {"sleep_ms": 600_000}]));
    let supervisor = room.start();
    room.wait_for("work", |_| room.file("a").exists());
    supervisor.signal("-TERM");
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Paused);
    room.assert_nothing_left();
}

#[test]
fn what_a_killed_supervisor_left_is_ended_by_the_next() {
    let mut room = Room::new(&json!([
        write("a", "x"), {"detach": {"seconds": 600}}, {"hang": {"deaf": true}}, {"commit": "a"},
    ]));
    let supervisor = room.start();
    room.wait_for("work", |_| room.tree().find().len() == 2);
    supervisor.signal("-KILL");
    supervisor.wait();
    assert!(!room.run.outcome(&room.task).exists());
    assert_eq!(room.tree().find().len(), 2, "they live on without it");
    room.next_attempt(StartMode::Resume);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
}

#[test]
fn two_supervisors_do_not_work_on_one_task() {
    let room = Room::new(&json!([write("a", "x"), {"sleep_ms": 600_000}]));
    let first = room.start();
    room.wait_for("work", |_| room.file("a").exists());
    let said = room.start().wait();
    assert!(said.starts_with("refused: another supervisor"), "{said}");
    first.signal("-TERM");
    first.wait();
}

#[test]
fn the_set_up_command_runs_once_per_worktree() {
    let mut room = Room::new(&json!([{"exit": 1}, write("a", "x"), {"commit": "a"}]));
    room.launch.setup = Some("echo again >> ../set-up; touch ignored".into());
    room.attempt();
    room.next_attempt(StartMode::Resume);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let runs = fs::read_to_string(room.file("../set-up")).unwrap();
    assert_eq!(runs, "again\n");
}

#[test]
fn a_set_up_command_that_fails_is_the_failure() {
    let mut room = Room::new(&json!([]));
    room.launch.setup = Some("echo no compiler; exit 3".into());
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Setup);
    assert!(detail.contains("no compiler") && detail.contains("exit code 3"));
    let log = fs::read_to_string(room.run.commands_log(&room.task)).unwrap();
    assert!(log.contains("no compiler"));
}

#[test]
fn rubbish_in_the_stream_does_no_harm() {
    let room = Room::new(&json!([
        {"raw": "not json"}, {"raw": "{\"type\":\"from_next_year\"}"}, "invalid_utf8",
        {"huge_line": 20_000_000}, {"api_retry": {"status": 529}},
        write("a", "x"), {"commit": "a"},
    ]));
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let log = fs::metadata(room.run.stream_log(&room.task)).unwrap();
    assert!(log.len() > 20_000_000, "the raw copy is whole");
}

#[test]
fn instances_have_ports_of_their_own_and_no_outer_session() {
    let mut room = Room::new(&json!([
        {"run": "env > ignored"}, write("a", "x"), {"commit": "a"},
    ]));
    room.launch.env.insert("EXTRA".into(), "1".into());
    room.vars = [
        ("CLAUDECODE", "1"),
        ("GIT_DIR", "/nowhere"),
        ("ORCHESTRA_MARK", "x/y/z"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .to_vec();
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let env = fs::read_to_string(room.file("ignored")).unwrap();
    for line in [
        "ORCHESTRA_PORT_BASE=20000",
        "ORCHESTRA_PORT_COUNT=20",
        "PORT=20000",
        "COMPOSE_PROJECT_NAME=orchestra-run-1-work",
        "EXTRA=1",
        &format!("ORCHESTRA_MARK={}/run-1/work", room.launch.token),
    ] {
        assert!(env.lines().any(|l| l == line), "{line} is missing in {env}");
    }
    assert!(!env.contains("CLAUDECODE") && !env.contains("GIT_DIR="));
}

#[test]
fn a_session_that_does_not_exist_or_exists_already_is_told() {
    let mut room = Room::new(&json!([{"exit": 1}]));
    room.launch.start = StartMode::Resume;
    let end = room.attempt();
    assert!(failed(&end).1.contains("No conversation found"), "{end:?}");
    assert!(!room.outcome().session_seen);
    room.launch.start = StartMode::Fresh;
    for attempt in [2, 3] {
        room.launch.attempt = attempt;
        let end = room.attempt();
        assert_eq!(failed(&end).0, FailureClass::Crash);
        assert!(room.outcome().session_seen, "{end:?}");
    }
    assert!(format!("{:?}", room.outcome()).contains("already in use"));
}

#[test]
fn a_wish_to_stop_an_earlier_attempt_is_not_about_a_later_one() {
    let mut room = Room::new(&json!([write("a", "x"), {"commit": "a"}]));
    room.next_attempt(StartMode::Fresh);
    let stop = |attempt| InstanceRequest::Stop {
        how: StopHow::Cancel,
        attempt,
    };
    // Whatever the clock said when it was posted.
    let late = Timestamp(i64::MAX / 2);
    let old = instance_inbox::post(&room.run, &room.task, &stop(Some(1)), late).unwrap();
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    assert!(!old.exists());
    // One that names none is about whichever runs, and so is one for this attempt, even when
    // the clock went back since the order.
    for attempt in [None, Some(3)] {
        let mut room = Room::new(&json!([write("a", "x"), {"sleep_ms": 600_000}]));
        room.next_attempt(StartMode::Fresh);
        room.next_attempt(StartMode::Fresh);
        instance_inbox::post(&room.run, &room.task, &stop(attempt), Timestamp(1)).unwrap();
        assert_eq!(room.attempt(), AttemptEnd::Cancelled);
    }
}

#[test]
fn a_message_that_comes_before_the_start_is_not_lost() {
    let room = Room::new(&json!([
        write("a", "x"), {"commit": "a"}, "end_turn", {"write_prompt": "b"}, {"commit": "b"},
    ]));
    let request = room.post(&InstanceRequest::Message {
        text: "mind the gap".into(),
        question: None,
    });
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    assert!(!request.exists());
    let told = fs::read_to_string(room.file("b")).unwrap();
    assert_eq!(told, "mind the gap\n");
}

#[test]
fn work_after_the_check_is_seen() {
    let mut room = Room::new(&json!([
        write("a", "x"), {"commit": "a"},
        {"run": "(while [ ! -e ../verified ]; do sleep 0.02; done; sleep 0.5; echo late > late) \
                 >/dev/null 2>&1 &"},
        "end_turn_and_hang",
    ]));
    room.launch.verify = Some("touch ../verified".into());
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::GateNotPassed);
    assert!(detail.contains("after it was checked") && detail.contains("late"));
    assert!(room.file("late").exists());
}

#[test]
fn files_that_cannot_be_written_do_not_cost_the_work() {
    let room = Room::new(&json!([write("a", "x"), {"commit": "a"}]));
    // A folder in the place of each file: what a full disk does, without one.
    for path in [
        room.run.status(&room.task),
        room.run.stream_log(&room.task),
        room.run.complete_marker(&room.task),
        room.run.commands_log(&room.task),
        room.run.log(),
    ] {
        fs::create_dir_all(path.join("full")).unwrap();
    }
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
}

#[test]
fn unreadable_state_is_set_aside_and_newer_state_is_left_alone() {
    let mut room = Room::new(&json!([write("a", "x"), {"commit": "a"}]));
    let status = room.run.status(&room.task);
    fs::write(&status, "{\"half\":").unwrap();
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let aside = status.with_file_name("instance-work.status.json.unreadable-1");
    assert_eq!(fs::read_to_string(aside).unwrap(), "{\"half\":");
    let newer = "{\"schemaVersion\":99}";
    fs::write(&status, newer).unwrap();
    room.next_attempt(StartMode::Fresh);
    let said = room.start().wait();
    assert!(
        said.starts_with("refused: ") && said.contains("newer"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&status).unwrap(), newer);
}

#[test]
fn an_idle_supervisor_is_small_and_quiet() {
    let room = Room::new(&json!([write("a", "x"), {"sleep_ms": 600_000}]));
    let supervisor = room.start();
    room.wait_for("work", |_| room.file("a").exists());
    let pid = supervisor.child.id();
    let cpu_ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .filter_map(|f| f.parse().ok())
            .collect();
        // utime and stime; the state letter in front of them is no number.
        fields[10] + fields[11]
    };
    let before = cpu_ticks();
    // A length of time is what is measured here, not waited for.
    std::thread::sleep(Duration::from_secs(4));
    let used = cpu_ticks() - before;
    assert!(used < 60, "{used} hundredths of a second in four seconds");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    // Its own memory; the pages of the program itself are shared by all supervisors.
    let line = status.lines().find(|l| l.starts_with("RssAnon")).unwrap();
    let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kb < 6_000, "{line}");
    supervisor.signal("-TERM");
    supervisor.wait();
}

#[test]
fn a_worktree_that_is_gone_is_reported() {
    let room = Room::new(&json!([]));
    fs::remove_dir_all(&room.launch.worktree).unwrap();
    let end = room.attempt();
    assert_eq!(failed(&end).0, FailureClass::Worktree);
}

#[test]
fn work_on_another_branch_is_sent_back() {
    let room = Room::new(&json!([
        {"run": "git checkout -q -b elsewhere"}, write("a", "x"), {"commit": "a"}, "end_turn",
        {"run": "git checkout -q task/work && git merge -q elsewhere"},
    ]));
    let end = room.attempt();
    assert!(matches!(end, AttemptEnd::Complete { .. }), "{end:?}");
    assert_eq!(
        room.git(&["rev-parse", "elsewhere"]),
        room.git(&["rev-parse", "HEAD"])
    );
}
