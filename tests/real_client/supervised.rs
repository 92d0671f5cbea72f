//! A supervisor with the real client: what the scripted agent imitates is true.

use std::fs;
use std::time::Duration;

use orchestra::core::attempt::{AttemptEnd, FailureClass, StartMode};
use orchestra::core::event::StopHow;
use orchestra::core::permission::PermissionRequests;
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
        question: None,
    });
    supervisor.wait();
    assert!(matches!(
        room.outcome().outcome,
        AttemptEnd::Complete { .. }
    ));
}

/// Asks for what no rule allows, twice, and for an answer.
fn wishes() -> Script {
    worker(|w| {
        w.tool(
            "Bash",
            json!({"command": "touch ../runs-1", "description": "first"}),
        )
        .tool(
            "Bash",
            json!({"command": "touch ../runs-2", "description": "second"}),
        )
        .write("new.txt", "{last_result}")
        .say("That is all.")
    })
}

#[test]
fn an_instance_reports_that_it_is_stuck_and_what_it_learnt() {
    let script = Script::new().worker("take blue", |w| {
        w.write("blue.txt", "blue")
            .commit("blue")
            .say("Blue it is.")
    });
    let rest = worker(|w| {
        w.bash("orchestra report note \"The tests need TZ=UTC\"")
            .bash("orchestra report progress \"Reading\" --done 1 --of 4")
            .bash(
                "orchestra report stuck --reason \"which colour? (not \\`git push\\`)\" \\\n  \
                 --option red --option 'blue'",
            )
            .say("{last_result}")
    });
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    // Not even Bash: only what every instance may do, and git.
    room.launch.allowed_tools = vec![
        "Write".into(),
        "Bash(orchestra report *)".into(),
        "Bash(git add *)".into(),
        "Bash(git commit *)".into(),
    ];
    room.launch.env = [
        ("ORCHESTRA_ORCHESTRATION", room.run.id().to_string()),
        ("ORCHESTRA_TASK", room.task.to_string()),
        (
            "ORCHESTRA_MAIN_CHECKOUT",
            room.launch.main_checkout.display().to_string(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let supervisor = room.start();
    room.wait_for("a question", |s| s.status == InstanceStatus::Stuck);
    let status = room.status().unwrap();
    assert_eq!(
        status.stuck_reason.as_deref(),
        Some("which colour? (not `git push`)")
    );
    assert_eq!(status.options, ["red", "blue"]);
    let said = status.progress.said.unwrap();
    assert_eq!((said.done, said.total), (Some(1), Some(4)));
    assert_eq!(status.progress.total, None, "never taken for measured");
    // Before its turn is over the answer would be a part of that turn.
    room.wait_for("the end of the turn", |_| {
        fs::read_to_string(room.run.stream_log(&room.task))
            .is_ok_and(|stream| stream.contains("\"type\":\"result\""))
    });
    room.post(&InstanceRequest::Message {
        text: "take blue".into(),
        question: status.question,
    });
    supervisor.wait();
    let end = room.outcome().outcome;
    server.assert_all_expected();
    assert!(matches!(end, AttemptEnd::Complete { .. }), "{end:?}");
    assert_eq!(server.sessions().len(), 1);
    let notes = orchestra::store::notes::read(&room.run.notes());
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].text, "The tests need TZ=UTC");
    server.assert_all_expected();
}

#[test]
fn a_permission_is_asked_and_the_same_turn_goes_on() {
    let script = Script::new().worker("There is no commit", |w| w.say("No.").forever());
    let rest = wishes();
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    room.launch.allowed_tools = vec!["Edit".into(), "Write".into()];
    room.launch.gate_rounds = 0;
    let supervisor = room.start();
    room.wait_for("a request", |s| {
        s.stuck_reason
            .as_ref()
            .is_some_and(|r| r.contains("touch ../runs-1"))
    });
    let status = room.status().unwrap();
    assert_eq!(status.status, InstanceStatus::Stuck);
    assert_eq!(status.options, ["allow", "allow always", "deny"]);
    room.post(&InstanceRequest::Message {
        text: "allow".into(),
        question: status.question,
    });
    room.wait_for("the second request", |s| {
        s.stuck_reason
            .as_ref()
            .is_some_and(|r| r.contains("touch ../runs-2"))
    });
    room.post(&InstanceRequest::Message {
        text: "deny: keep to your worktree".into(),
        question: room.status().unwrap().question,
    });
    supervisor.wait();
    assert!(room.file("../runs-1").exists() && !room.file("../runs-2").exists());
    assert_eq!(
        fs::read_to_string(room.file("new.txt")).unwrap(),
        "The person denied this: keep to your worktree",
        "the model reads why"
    );
    assert_eq!(server.sessions().len(), 1);
    let end = room.outcome().outcome;
    assert!(failed(&end).1.contains("denied: Bash: touch ../runs-2"));
}

#[test]
fn with_nobody_there_a_permission_is_denied_and_the_client_goes_on() {
    let server = ModelServer::start(worker(|w| {
        w.tool(
            "Bash",
            json!({"command": "touch ../runs", "description": "first"}),
        )
        .write("new.txt", "x")
        .tool(
            "Bash",
            json!({"command": "git add -A && git commit -q -m x", "description": "commit"}),
        )
        .say("Done without it.")
    }));
    let mut room = room(&server);
    room.launch.allowed_tools = vec![
        "Edit".into(),
        "Write".into(),
        "Bash(git add *)".into(),
        "Bash(git commit *)".into(),
    ];
    room.launch.permission_timeout_seconds = 1;
    assert!(matches!(room.attempt(), AttemptEnd::Complete { .. }));
    assert!(!room.file("../runs").exists());
    server.assert_all_expected();
}

#[test]
fn a_question_with_options_is_answered_in_the_same_turn() {
    let server = ModelServer::start(worker(|w| {
        w.tool(
            "AskUserQuestion",
            json!({"questions": [
                {"question": "Which colour?", "header": "Colour", "multiSelect": false,
                 "options": [{"label": "red", "description": "warm"},
                             {"label": "blue", "description": "cold"}]},
                {"question": "Which parts?", "header": "Parts", "multiSelect": true,
                 "options": [{"label": "a", "description": "first"},
                             {"label": "b", "description": "second"}]}]}),
        )
        .write("answer.txt", "{last_result}")
        .commit("answer")
        .say("Done.")
    }));
    let room = room(&server);
    let supervisor = room.start();
    for (part, text) in [("Which colour?", "2"), ("Which parts?", "a, neither")] {
        room.wait_for(part, |s| {
            s.stuck_reason.as_ref().is_some_and(|r| r.contains(part))
        });
        room.post(&InstanceRequest::Message {
            text: text.into(),
            question: room.status().unwrap().question,
        });
    }
    supervisor.wait();
    let end = room.outcome().outcome;
    assert!(matches!(end, AttemptEnd::Complete { .. }), "{end:?}");
    let answer = fs::read_to_string(room.file("answer.txt")).unwrap();
    assert!(
        answer.contains("\"Which colour?\"=\"blue\"")
            && answer.contains("\"Which parts?\"=\"a, neither\""),
        "{answer}"
    );
    server.assert_all_expected();
}

#[test]
fn a_message_that_the_client_did_not_live_to_take_is_told_again() {
    let script = Script::new().worker("use tabs", |w| {
        w.write("tabs.txt", "x").commit("tabs").say("Tabs it is.")
    });
    let rest = worker(|w| {
        w.reply(Reply::bash("touch ../runs; tail -f /dev/null"))
            .say("Going on.")
            .forever()
    });
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    let supervisor = room.start();
    room.wait_for("the command", |_| room.file("../runs").exists());
    let request = room.post(&InstanceRequest::Message {
        text: "use tabs".into(),
        question: None,
    });
    room.wait_for("the message", |s| s.forwarded_message.is_some());
    // Its command still runs, so the client has the message and has not taken it.
    let client = room
        .tree()
        .find()
        .into_iter()
        .find(|key| {
            fs::read(format!("/proc/{}/cmdline", key.pid))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains("stream-json"))
        })
        .unwrap();
    let pid = rustix::process::Pid::from_raw(client.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    supervisor.wait();
    assert!(matches!(room.outcome().outcome, AttemptEnd::Failed { .. }));
    assert!(request.exists());
    room.next_attempt(StartMode::Resume);
    room.launch.prompt = "You were interrupted; go on.".into();
    let end = room.attempt();
    assert!(matches!(end, AttemptEnd::Complete { .. }), "{end:?}");
    assert!(room.file("tabs.txt").exists() && !request.exists());
}

#[test]
fn a_commit_that_is_denied_is_a_question_of_permission() {
    let script = Script::new().worker("not done yet", |w| w.say("I cannot.").forever());
    let rest = worker(|w| w.write("a.txt", "a").commit("a").say("It is denied."));
    let server = ModelServer::start(script.rule(move |request| rest.answer(request)));
    let mut room = room(&server);
    room.launch.allowed_tools = vec!["Edit".into()];
    room.launch.permission_requests = PermissionRequests::Deny;
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
    let end = room.attempt();
    server.assert_all_expected();
    assert!(matches!(end, AttemptEnd::Complete { .. }), "{end:?}");
    let log = fs::read_to_string(room.run.log()).unwrap_or_default();
    assert!(!log.contains("no sign of life"), "{log}");
}
