//! The real client against the model server: that both work together as the
//! other tests suppose.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    dead_code,
    reason = "tests start processes and fail loudly; the support serves other programs too"
)]

#[path = "../support/mod.rs"]
mod support;
use support::scratch;

mod announcing;
mod attach;
mod commands;
#[path = "../support/fault_rows.rs"]
mod fault_rows;
mod fault_table;
mod flagship;
#[path = "../support/guard_rows.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the other tests")]
mod guard_rows;
mod install;
#[path = "../support/instance.rs"]
mod instance;
mod isolation;
mod killed;
mod model_server_itself;
mod plugin;
mod provider;
mod resolving;
mod run;
mod session;
mod statusline;
mod supervised;

use std::time::Duration;

use serde_json::json;
use support::client::{Home, Live, claude_command, events};
use support::model_server::{ModelServer, Reply, Script};

const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn one_turn() {
    let home = Home::new();
    let repository = home.repository("repo");
    let script = Script::new().worker("Say hello", |w| {
        w.reply(Reply::text("Hello.").tokens(123, 45))
    });
    let server = ModelServer::start(script);
    let output = claude_command(&home, &server)
        .args([
            "-p",
            "Say hello",
            "--output-format",
            "stream-json",
            "--verbose",
        ])
        .current_dir(&repository)
        .output()
        .expect("run the client");
    let events = events(&output);
    let result = events
        .iter()
        .find(|e| e["type"] == "result")
        .expect("a result line");
    assert_eq!(result["result"], "Hello.");
    assert_eq!(result["usage"]["input_tokens"], 123);
    assert_eq!(result["usage"]["output_tokens"], 45);
    assert!(output.status.success());
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].cwd().as_deref(), repository.to_str());
    assert_eq!(json!(requests[0].session), result["session_id"]);
    server.assert_all_expected();
}

#[test]
fn a_worker_writes_and_commits() {
    let home = Home::new();
    let repository = home.repository("repo");
    let script = Script::new().worker("Add the file", |w| {
        w.write("new.txt", "content\n")
            .commit("add new.txt")
            .say("Committed.")
    });
    let server = ModelServer::start(script);
    let output = claude_command(&home, &server)
        .args([
            "-p",
            "Add the file",
            "--output-format",
            "stream-json",
            "--verbose",
        ])
        .args(["--permission-mode", "acceptEdits"])
        .args(["--allowedTools", "Bash(git add *)", "Bash(git commit *)"])
        .current_dir(&repository)
        .output()
        .expect("run the client");
    server.assert_all_expected();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(home.git(&repository, &["show", "HEAD:new.txt"]), "content");
    assert_eq!(
        home.git(&repository, &["log", "-1", "--format=%s"]),
        "add new.txt"
    );
    let results = server.requests().last().expect("a request").tool_results();
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|r| !r.is_error), "{results:?}");
}

#[test]
fn several_clients_share_a_server() {
    let home = Home::new();
    let mut script = Script::new();
    for name in ["alpha", "beta", "gamma"] {
        script = script.worker(format!("task {name}"), |w| {
            w.write(&format!("{name}.txt"), name)
                .say(&format!("{name} done"))
        });
    }
    let server = ModelServer::start(script);
    std::thread::scope(|scope| {
        for name in ["alpha", "beta", "gamma"] {
            let (home, server) = (&home, &server);
            scope.spawn(move || {
                let repository = home.repository(name);
                let output = claude_command(home, server)
                    .args([
                        "-p",
                        &format!("Do task {name}"),
                        "--permission-mode",
                        "acceptEdits",
                    ])
                    .current_dir(&repository)
                    .output()
                    .expect("run the client");
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert_eq!(said.trim(), format!("{name} done"));
                assert!(repository.join(format!("{name}.txt")).exists());
            });
        }
    });
    assert_eq!(server.sessions().len(), 3);
    server.assert_all_expected();
}

#[test]
fn a_live_client_takes_a_second_message_and_ends_with_its_input() {
    let home = Home::new();
    let repository = home.repository("repo");
    let server = ModelServer::start(Script::new().worker("First", |w| w.say("one").say("two")));
    let mut command = claude_command(&home, &server);
    command.current_dir(&repository);
    let mut client = Live::start(command);
    client.say("First message");
    assert_eq!(client.result(PATIENCE).expect("a result")["result"], "one");
    client.say("and a second");
    assert_eq!(
        client.result(PATIENCE).expect("another result")["result"],
        "two"
    );
    assert_eq!(client.finish(), Some(0));
    server.assert_all_expected();
}

#[test]
fn a_killed_client_resumes_where_it_was() {
    let home = Home::new();
    let repository = home.repository("repo");
    let script = Script::new().worker("Long work", |w| {
        w.write("a.txt", "a").reply(Reply::Hang).say("resumed")
    });
    // The second time, the step that hung is answered.
    let script = Script::new()
        .on(
            |r| r.last_user_text() == "Go on." && r.steps_done() == 1,
            |_| Reply::bash("echo here again"),
        )
        .rule(move |request| script.answer(request));
    let server = ModelServer::start(script);
    let session = "0d9e4d0c-5f3a-4d0e-9a50-3d6a8a1f7f01";
    let mut command = claude_command(&home, &server);
    command
        .args(["--session-id", session, "--permission-mode", "acceptEdits"])
        .current_dir(&repository);
    let mut client = Live::start(command);
    client.say("Long work");
    server
        .wait_for(PATIENCE, |all| all.len() == 2)
        .expect("the request that hangs");
    client.kill();
    let mut command = claude_command(&home, &server);
    command
        .args(["--resume", session, "--permission-mode", "acceptEdits"])
        .current_dir(&repository);
    let mut client = Live::start(command);
    client.say("Go on.");
    assert_eq!(
        client.result(PATIENCE).expect("a result")["result"],
        "resumed"
    );
    assert_eq!(client.finish(), Some(0));
    assert_eq!(server.sessions(), [session]);
    server.assert_all_expected();
}

#[test]
fn overload_is_retried_by_the_client() {
    let home = Home::new();
    let repository = home.repository("repo");
    let script = Script::new()
        .first(
            1,
            |_| true,
            |_| Reply::overloaded().header("retry-after", "0"),
        )
        .on(|_| true, |_| Reply::text("after all"));
    let server = ModelServer::start(script);
    let output = claude_command(&home, &server)
        .args(["-p", "x", "--output-format", "stream-json", "--verbose"])
        .current_dir(&repository)
        .output()
        .expect("run the client");
    let events = events(&output);
    assert!(
        events.iter().any(|e| e["subtype"] == "api_retry"),
        "{events:?}"
    );
    assert_eq!(events.last().expect("events")["result"], "after all");
}
