//! A person at the real client hears of their run unasked, and goes on working meanwhile.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::plugin::{analyzer, only_run, staged};
use super::support::client::{Home, claude, program_command};
use super::support::model_server::{ModelServer, Reply, Request, Script};
use super::support::terminal::Terminal;

const PATIENCE: Duration = Duration::from_mins(1);

/// What the session's own model is asked last, when that is no work of an instance.
fn asked(part: &'static str) -> impl Fn(&Request) -> bool + Send + Sync {
    move |r| !r.mentions("Your task: ") && r.last_user_text().contains(part)
}

fn id(r: &Request) -> String {
    let text = r.system_text();
    let (_, rest) = text.split_once("orchestration id: ").expect("an id");
    rest.lines().next().unwrap_or_default().trim().to_owned()
}

/// One conversation: the run is started, the person asks something else, a question arrives,
/// is answered, and the end arrives. Afterwards a session hears of a run that ended while
/// nobody was there.
#[test]
fn a_stuck_task_and_the_end_reach_the_idle_session_once() {
    let home = Home::new();
    let repository = home.repository("repo");
    home.accept_everything(&[&repository]);
    let task = |name: &str| {
        json!({"name": name, "type": "feature", "description": name, "prompt": name,
            "files": [format!("{name}.txt")], "dependencies": [], "success_criteria": [name]})
    };
    let plan = json!({"tasks": [task("docs"), task("api")]});
    let script = analyzer(Script::new(), plan)
        .on(asked("docs is STUCK"), |r| {
            assert!(
                r.last_user_text()
                    .contains("\n> Which theme? <b>Two</b> exist.")
            );
            Reply::text("docs asks which theme, 1. dark or 2. light.")
        })
        .on(asked("is FINISHED"), |_| Reply::text("That one has ended."))
        .on(asked("What is 2+2?"), |_| Reply::text("It is four."))
        .rule(move |r| {
            // The command in the background ended: its report is asked for, then told.
            let reported = r
                .last_tool_result()
                .is_some_and(|last| last.text.contains("Orchestration finished"));
            (asked("completed")(r) && !reported)
                .then(|| Reply::bash(format!("orchestra report --orchestration {}", id(r))))
        })
        .worker("the pale one", |w| {
            w.write("docs.txt", "x")
                .commit("docs")
                .say("Done.")
                .forever()
        })
        .worker("Your task: docs\n", |w| {
            w.say("STUCK: Which theme? <b>Two</b> exist.\n- dark\n- light")
        })
        .worker("Your task: api\n", |w| {
            w.write("api.txt", "x").commit("api").say("Done.").forever()
        })
        .conversation(
            |r| r.mentions("<command-name>/orchestra:parallel-dev</command-name>"),
            |w| {
                w.compute(|r| {
                    Reply::tool(
                        "Bash",
                        json!({"run_in_background": true, "timeout": 600_000,
                        "command": format!("orchestra run --orchestration {}", id(r))}),
                    )
                })
                .say("It is running.")
                .say("All of it is done.")
                .forever()
            },
        );
    let server = ModelServer::start(script);
    let plugin = staged(&home);
    let session = || {
        let mut command = program_command(claude(), &home, &server);
        command
            .arg("--plugin-dir")
            .arg(&plugin)
            .args(["--permission-mode", "default"])
            .current_dir(&repository);
        command
    };
    let mut terminal = Terminal::start(&session(), 80, 50);
    let on = |terminal: &Terminal, text: &'static str| {
        terminal.wait_for(text, PATIENCE, |s| s.contains(text))
    };
    on(&terminal, "for shortcuts");
    let say = |terminal: &mut Terminal, text: &str| {
        terminal.type_text(text);
        terminal.wait_for("what was typed", PATIENCE, |s| {
            s.contains(&text[..20.min(text.len())])
        });
        terminal.type_text("\r");
    };
    say(&mut terminal, "/parallel-dev \"Write docs and api\"");
    on(&terminal, "It is running.");
    say(&mut terminal, "What is 2+2?");
    on(&terminal, "It is four.");
    let screen = on(&terminal, "docs asks which theme");
    assert!(screen.contains("Orchestra has news"), "{screen}");
    say(
        &mut terminal,
        "/orchestra-control answer docs \"the pale one\"",
    );
    on(&terminal, "All of it is done.");
    drop(terminal);

    let told = |server: &ModelServer, part: &str| {
        let mut times = 0;
        for request in server.requests() {
            times +=
                usize::from(asked_by_session(&request) && request.last_user_text().contains(part));
        }
        times
    };
    assert_eq!(told(&server, "docs is STUCK"), 1);
    // The end of the command in the background was the announcement.
    assert_eq!(told(&server, "is FINISHED"), 0);
    let run = only_run(&repository);
    let ledger = fs::read_to_string(run.join("announcements/ledger.jsonl")).unwrap();
    assert!(ledger.contains("\"id\":\"stuck/docs/"), "{ledger}");
    fs::remove_dir_all(&run).unwrap();

    // A run in the background of a terminal that is closed: the next session is told.
    let tasks = home.beside("tasks.json");
    fs::write(&tasks, r#"{"tasks":[{"name":"api","prompt":"again"}]}"#).unwrap();
    let orchestra = |arguments: &[&str]| {
        let output = program_command(env!("CARGO_BIN_EXE_orchestra"), &home, &server)
            .args(arguments)
            .current_dir(&repository)
            .output()
            .expect("run the program");
        assert!(output.status.success(), "{output:?}");
    };
    orchestra(&["run", "--tasks", &tasks.display().to_string(), "--detach"]);
    let closed = || fs::read_to_string(only_run(&repository).join("announcements/ledger.jsonl"));
    let deadline = std::time::Instant::now() + PATIENCE;
    while !closed().is_ok_and(|text| text.contains("\"kind\":\"finished\"")) {
        assert!(std::time::Instant::now() < deadline, "{:?}", closed());
        std::thread::sleep(Duration::from_millis(20));
    }
    for round in 0..2 {
        let mut terminal = Terminal::start(&session(), 160, 40);
        on(&terminal, "for shortcuts");
        if round == 0 {
            on(&terminal, "That one has ended.");
        }
        // It stands in the client's own record, so that nobody is told again.
        say(&mut terminal, "What is 2+2?");
        on(&terminal, "It is four.");
    }
    assert_eq!(told(&server, "is FINISHED"), 1);
    server.assert_all_expected();
}

fn asked_by_session(request: &Request) -> bool {
    !request.mentions("Your task: ")
}
