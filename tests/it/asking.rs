//! Permissions and questions in the middle of a turn, with the scripted agent.

use std::fs;

use orchestra::core::attempt::{AttemptEnd, FailureClass, StartMode};
use orchestra::core::event::StopHow;
use orchestra::core::permission::PermissionRequests;
use orchestra::format::instance_request::InstanceRequest;
use orchestra::format::status_file::{InstanceStatus, StatusFile};
use serde_json::{Value, json};

use crate::instance::{Room, failed};

fn ask(command: &str, rule: &str) -> Value {
    json!({"ask": {"tool": "Bash", "input": {"command": command}, "rule": rule}})
}

fn questions() -> Value {
    json!({"ask": {"tool": "AskUserQuestion", "answer": "../answer", "input": {"questions": [
        {"question": "Which colour?", "options": [
            {"label": "red", "description": "warm"}, {"label": "blue", "description": "cold"}]},
        {"question": "Which parts?", "multiSelect": true,
         "options": [{"label": "a"}, {"label": "b"}, {"label": "c"}]}]}}})
}

fn answer(room: &Room, text: &str, question: Option<&str>) {
    room.post(&InstanceRequest::Message {
        text: text.into(),
        question: question.map(str::to_owned),
    });
}

/// Waits until something is asked whose text holds this.
#[track_caller]
fn asked(room: &Room, part: &str) -> StatusFile {
    room.wait_for(part, |s| {
        s.status == InstanceStatus::Stuck
            && s.stuck_reason.as_ref().is_some_and(|r| r.contains(part))
    });
    room.status().unwrap()
}

fn runs(room: &Room) -> String {
    fs::read_to_string(room.file("../runs")).unwrap_or_default()
}

#[track_caller]
fn assert_done(room: &Room) {
    let end = room.outcome().outcome;
    assert!(matches!(end, AttemptEnd::Complete { .. }), "{end:?}");
    let status = room.status().unwrap();
    assert_eq!((status.stuck_reason, status.question), (None, None));
    let folder = room.run.instance_inbox(&room.task);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn a_permission_is_asked_of_the_person_and_the_turn_goes_on() {
    let mut room = Room::new(&json!([
        ask("echo one >> ../runs", "echo *"),
        ask("echo two >> ../runs", "echo *"),
        ask("echo three >> ../runs", "echo *"),
        ask("echo four >> ../runs", "echo *"),
        {"write": {"path": "a", "text": "x"}}, {"commit": "a"},
    ]));
    // Waiting for a person does not use this up.
    room.launch.timeout_seconds = 60;
    let supervisor = room.start();
    let first = asked(&room, "echo one");
    assert_eq!(
        first.stuck_reason.as_deref(),
        Some(
            "may it do this? Bash: echo one >> ../runs (This command requires approval); \
             \"allow always\" is about Bash(echo *)"
        )
    );
    assert_eq!(first.options, ["allow", "allow always", "deny"]);
    assert!(first.stuck_since.is_some());
    answer(&room, "allow", first.question.as_deref());
    let second = asked(&room, "echo two");
    assert_eq!(runs(&room), "one\n");
    // The same answer again is about something else.
    answer(&room, "allow", first.question.as_deref());
    answer(&room, "deny: not this one", second.question.as_deref());
    let third = asked(&room, "echo three");
    assert_eq!(runs(&room), "one\n");
    // Who names no question has not seen one.
    answer(&room, "allow", None);
    room.wait_for("a message", |s| {
        s.forwarded_message.as_deref() == Some("allow") && s.question == third.question
    });
    assert_eq!(runs(&room), "one\n");
    answer(&room, "Allow always", third.question.as_deref());
    supervisor.wait();
    assert_done(&room);
    assert_eq!(runs(&room), "one\nthree\nfour\n");
    let log = fs::read_to_string(room.run.log()).unwrap();
    assert!(log.contains("an answer came too late"), "{log}");
    assert!(log.contains("denied: Bash: echo two"), "{log}");
    assert!(log.contains("allowed, as before: Bash: echo four"), "{log}");
}

#[test]
fn what_was_allowed_for_good_holds_in_later_attempts() {
    let mut room = Room::with_script(&json!({"tasks": {"work": {"attempts": [
        [ask("echo one >> ../runs", "echo *"), {"sleep_ms": 600_000}],
        [ask("echo two >> ../runs", "echo *"), {"write": {"path": "a", "text": "x"}},
         {"commit": "a"}],
    ]}}}));
    let supervisor = room.start();
    let status = asked(&room, "echo one");
    answer(&room, "2", status.question.as_deref());
    room.wait_for("the command", |_| runs(&room) == "one\n");
    room.post(&InstanceRequest::Stop {
        how: StopHow::Pause,
        attempt: Some(1),
    });
    supervisor.wait();
    room.next_attempt(StartMode::Resume);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    assert_eq!(runs(&room), "one\ntwo\n");
}

#[test]
fn with_nobody_there_it_is_denied_and_the_instance_goes_on() {
    let mut room = Room::new(&json!([
        ask("echo one >> ../runs", "echo *"),
        ask("echo two >> ../runs", "echo *"),
        {"write": {"path": "a", "text": "x"}}, {"commit": "a"},
    ]));
    room.launch.permission_timeout_seconds = 1;
    let supervisor = room.start();
    asked(&room, "echo one");
    supervisor.wait();
    assert_done(&room);
    assert_eq!(runs(&room), "");
    let log = fs::read_to_string(room.run.log()).unwrap();
    assert_eq!(
        log.matches("STUCK").count(),
        1,
        "the same is asked once: {log}"
    );
    let stream = fs::read_to_string(room.run.stream_log(&room.task)).unwrap();
    assert_eq!(stream.matches("Nobody was there").count(), 2, "{stream}");
}

#[test]
fn a_denied_commit_is_why_a_task_is_not_done() {
    let mut room = Room::new(&json!([
        {"write": {"path": "a", "text": "x"}}, ask("git commit -m a", "git commit *"),
    ]));
    room.launch.permission_requests = PermissionRequests::Deny;
    room.launch.gate_rounds = 0;
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Permission, "{detail}");
    assert!(detail.contains("denied: Bash: git commit -m a"), "{detail}");
}

#[test]
fn questions_are_answered_one_after_the_other() {
    let room = Room::new(&json!([
        questions(), {"write": {"path": "a", "text": "x"}}, {"commit": "a"},
    ]));
    let supervisor = room.start();
    let first = asked(&room, "Which colour?");
    assert_eq!(
        first.stuck_reason.as_deref(),
        Some("Which colour? (red: warm; blue: cold)")
    );
    assert_eq!(first.options, ["red", "blue"]);
    answer(&room, "2", first.question.as_deref());
    let second = asked(&room, "Which parts?");
    // A second time the same answer is not the answer to the next question.
    answer(&room, "2", first.question.as_deref());
    answer(&room, "1, C", second.question.as_deref());
    supervisor.wait();
    assert_done(&room);
    let said: Value =
        serde_json::from_str(&fs::read_to_string(room.file("../answer")).unwrap()).unwrap();
    assert_eq!(said["behavior"], "allow");
    assert_eq!(
        said["updatedInput"]["answers"],
        json!({"Which colour?": "blue", "Which parts?": "a, c"})
    );
}

#[test]
fn a_question_that_nobody_answers_ends_the_attempt_and_an_answer_reaches_the_next() {
    let mut room = Room::with_script(&json!({"tasks": {"work": {"attempts": [
        [questions()],
        [{"write_prompt": "answer"}, {"commit": "a"}],
    ]}}}));
    room.launch.answer_timeout_seconds = 1;
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Permission);
    assert!(detail.contains("nobody answered within 1s"), "{detail}");
    assert!(detail.contains("Which colour?"), "{detail}");
    answer(&room, "blue", None);
    room.next_attempt(StartMode::Resume);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    assert_eq!(
        fs::read_to_string(room.file("answer")).unwrap(),
        "Do the work\n\nA person told you meanwhile:\nblue\n"
    );
    assert_done(&room);
}

#[test]
fn a_request_that_is_taken_back_is_shown_no_more() {
    let room = Room::new(&json!([
        {"ask": {"tool": "Bash", "input": {"command": "touch ../runs"}, "withdraw_ms": 300}},
        {"write": {"path": "a", "text": "x"}}, {"sleep_ms": 600_000}, {"commit": "a"},
    ]));
    let supervisor = room.start();
    asked(&room, "touch");
    room.wait_for("the end of it", |s| s.status == InstanceStatus::Working);
    let status = room.status().unwrap();
    assert!(status.options.is_empty() && status.question.is_none());
    room.post(&InstanceRequest::Stop {
        how: StopHow::Pause,
        attempt: None,
    });
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Paused);
}

#[test]
fn a_pause_while_it_asks_is_a_pause() {
    let room = Room::new(&json!([ask("touch ../runs", "touch *")]));
    let supervisor = room.start();
    asked(&room, "touch");
    room.post(&InstanceRequest::Stop {
        how: StopHow::Pause,
        attempt: None,
    });
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Paused);
    assert!(!room.file("../runs").exists());
    room.assert_nothing_left();
}

#[test]
fn a_message_that_a_client_did_not_live_to_take_is_told_again() {
    let mut room = Room::with_script(&json!({"tasks": {"work": {"attempts": [
        // It takes the message only at the end of its turn, and dies before.
        [{"write": {"path": "a", "text": "x"}}, {"sleep_ms": 1500}, {"exit": 1}],
        [{"write_prompt": "told"}, {"commit": "told"}],
    ]}}}));
    let supervisor = room.start();
    room.wait_for("work", |_| room.file("a").exists());
    let request = room.post(&InstanceRequest::Message {
        text: "use tabs".into(),
        question: None,
    });
    supervisor.wait();
    assert!(matches!(room.outcome().outcome, AttemptEnd::Failed { .. }));
    assert_eq!(
        room.status().unwrap().forwarded_message.as_deref(),
        Some("use tabs")
    );
    assert!(request.exists());
    room.next_attempt(StartMode::Resume);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let told = fs::read_to_string(room.file("told")).unwrap();
    assert!(told.ends_with("\nuse tabs\n"), "{told}");
    assert!(!request.exists());
}
