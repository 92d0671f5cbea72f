//! A supervisor with the real client: what the scripted agent imitates is true.

use std::fs;
use std::time::Duration;

use orchestra::core::attempt::{AttemptEnd, FailureClass, StartMode};
use orchestra::core::event::StopHow;
use orchestra::format::instance_request::InstanceRequest;
use orchestra::format::launch_file::AgentChoice;
use orchestra::format::status_file::InstanceStatus;
use serde_json::json;

use crate::instance::{Room, failed};
use crate::support::client::{DUMMY_KEY, claude};
use crate::support::model_server::{ModelServer, Reply, Script, Worker};

/// A room whose agent is the real client, pointed at the server.
fn room(server: &ModelServer) -> Room {
    let mut room = Room::new(&json!([]));
    room.launch.agent = AgentChoice::Claude {
        program: claude().to_owned(),
    };
    room.launch.prompt = "Build the backend".into();
    room.launch.system_prompt = "Stay in your worktree.".into();
    room.launch.allowed_tools = vec!["Bash".into(), "Edit".into(), "Write".into()];
    let url = server.url();
    let vars = [
        ("ANTHROPIC_BASE_URL", url.as_str()),
        ("ANTHROPIC_API_KEY", DUMMY_KEY),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("CLAUDE_CODE_MAX_RETRIES", "1"),
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("IS_SANDBOX", "1"),
        // Of a session round the supervisor: must not reach the client.
        ("CLAUDECODE", "1"),
        ("CLAUDE_CODE_ENTRYPOINT", "cli"),
    ];
    room.vars = vars.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    room
}

fn worker(course: impl FnOnce(Worker) -> Worker) -> Script {
    Script::new().worker("Build the backend", course)
}

#[test]
fn a_task_is_done_with_todos_and_a_commit() {
    let todo = |tool: &str, input| Reply::tool(tool, input);
    let server = ModelServer::start(worker(|w| {
        w.reply(todo(
            "TaskCreate",
            json!({"subject": "Write it", "description": "Write it"}),
        ))
        .reply(todo(
            "TaskCreate",
            json!({"subject": "Check it", "description": "Check it"}),
        ))
        .write("new.txt", "hello\n")
        .reply(todo(
            "TaskUpdate",
            json!({"taskId": "1", "status": "completed"}),
        ))
        .commit("add new.txt")
        .say("All done.")
    }));
    let mut room = room(&server);
    room.launch.verify = Some("test -f new.txt".into());
    let AttemptEnd::Complete { head, summary } = room.attempt() else {
        panic!("{:?}", room.outcome());
    };
    assert_eq!(head.as_str(), room.git(&["rev-parse", "task/work"]));
    assert_eq!(summary, "All done.");
    let status = room.status().unwrap();
    assert_eq!(
        (status.progress.done, status.progress.total),
        (Some(1), Some(2))
    );
    assert_eq!(status.files_changed, Some(1));
    assert!(status.cost_usd.is_some_and(|usd| usd > 0.0));
    assert_eq!(status.session_id, Some(room.launch.session_id.to_string()));
    server.assert_all_expected();
}

#[test]
fn an_instance_without_a_commit_is_sent_back_in_the_same_session() {
    let script = Script::new().worker("There is no commit", |w| {
        w.commit("after feedback").say("Now it is.")
    });
    let rest = worker(|w| w.write("new.txt", "hello\n").say("All done."));
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let room = room(&server);
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    assert_eq!(server.sessions().len(), 1);
    server.assert_all_expected();
}

#[test]
fn a_refused_key_is_a_question_of_login() {
    let server = ModelServer::start(Script::new().on(|_| true, |_| Reply::unauthorized()));
    let room = room(&server);
    let end = room.attempt();
    assert_eq!(failed(&end).0, FailureClass::Authentication, "{end:?}");
}

#[test]
fn an_overloaded_provider_is_told_as_such() {
    let overloaded = |_: &_| Reply::overloaded().header("retry-after", "0");
    let server = ModelServer::start(Script::new().on(|_| true, overloaded));
    let room = room(&server);
    let end = room.attempt();
    assert_eq!(failed(&end).0, FailureClass::Overload, "{end:?}");
}

#[test]
fn a_pause_in_a_command_ends_everything_and_the_session_goes_on_at_its_own_cost() {
    let script = Script::new().worker("Go on now", |w| w.commit("a").say("Resumed and done."));
    let rest = worker(|w| {
        w.write("a.txt", "a").reply(Reply::bash(
            "setsid tail -f /dev/null & touch ../runs; tail -f /dev/null",
        ))
    });
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    let supervisor = room.start();
    room.wait_for("the command", |_| room.file("../runs").exists());
    room.post(&InstanceRequest::Stop {
        how: StopHow::Pause,
        attempt: Some(1),
    });
    supervisor.wait();
    assert_eq!(room.outcome().outcome, AttemptEnd::Paused);
    room.assert_nothing_left();
    let first = room.outcome().cost_usd.unwrap();
    room.next_attempt(StartMode::Resume);
    room.launch.prompt = "Go on now".into();
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let second = room.outcome().cost_usd.unwrap();
    let both = room.status().unwrap().cost_usd.unwrap();
    assert!(first > 0.0 && second > 0.0);
    assert!(
        (both - first - second).abs() < 1e-9,
        "{first} {second} {both}"
    );
    // Every request costs the same; the second attempt does not count the first one's again.
    let price = first / 2.0;
    assert_eq!(server.requests().len(), 5);
    assert!((both - 5.0 * price).abs() < 1e-9, "{first} {second}");
}

#[test]
fn a_stuck_instance_gets_its_answer() {
    let script = Script::new().worker("take blue", |w| {
        w.write("blue.txt", "blue")
            .commit("blue")
            .say("Blue it is.")
    });
    let rest = worker(|w| w.say("STUCK: which colour?\n- red\n- blue"));
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let room = room(&server);
    let supervisor = room.start();
    room.wait_for("a question", |s| s.status == InstanceStatus::Stuck);
    assert_eq!(room.status().unwrap().options, ["red", "blue"]);
    room.post(&InstanceRequest::Message {
        text: "take blue".into(),
    });
    supervisor.wait();
    assert!(matches!(
        room.outcome().outcome,
        AttemptEnd::Complete { .. }
    ));
}

#[test]
fn a_commit_that_is_denied_is_a_question_of_permission() {
    let script = Script::new().worker("not done yet", |w| w.say("I cannot.").forever());
    let rest = worker(|w| w.write("a.txt", "a").commit("a").say("It is denied."));
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    room.launch.allowed_tools = vec!["Edit".into()];
    let end = room.attempt();
    let (class, detail) = failed(&end);
    assert_eq!(class, FailureClass::Permission, "{detail}");
    assert!(fs::exists(room.file("a.txt")).unwrap());
}

#[test]
fn a_provider_that_is_silent_costs_a_nudge_and_not_the_session() {
    let script = Script::new().worker("Nothing came from you for", |w| {
        w.write("a.txt", "a").commit("a").say("Done at last.")
    });
    let rest = worker(|w| w.reply(Reply::Hang));
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    room.launch.limits.provider_silence_seconds = 6;
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let log = fs::read_to_string(room.run.log()).unwrap();
    assert!(
        log.contains("while it waited for the provider; interrupted"),
        "{log}"
    );
    assert_eq!(server.sessions().len(), 1);
}

#[test]
fn a_command_that_hangs_is_interrupted_and_the_session_goes_on() {
    let script = Script::new().worker("gave no sign of life", |w| {
        w.write("a.txt", "a").commit("a").say("Done without it.")
    });
    let rest = worker(|w| w.reply(Reply::bash("touch ../begun; tail -f /dev/null")));
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    room.launch.limits.tool_silence_seconds = 6;
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    assert!(room.file("../begun").exists());
    let log = fs::read_to_string(room.run.log()).unwrap();
    assert!(log.contains("inside Bash: touch ../begun; tail"), "{log}");
    assert_eq!(server.sessions().len(), 1);
}

#[test]
fn an_answer_that_comes_slowly_is_no_silence() {
    let slow = "word ".repeat(120);
    let server = ModelServer::start(worker(|w| {
        w.write("a.txt", "a")
            .commit("a")
            .reply(Reply::text(slow).dribble(Duration::from_millis(100)))
    }));
    let mut room = room(&server);
    room.launch.limits.provider_silence_seconds = 5;
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    let log = fs::read_to_string(room.run.log()).unwrap_or_default();
    assert!(!log.contains("no sign of life"), "{log}");
}
