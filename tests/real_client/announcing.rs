//! Whoever was not there hears of a run's end when they come. (That the session which started it
//! hears unasked is in [`super::session`].)

use std::fs;
use std::time::Duration;

use super::plugin::{only_run, staged};
use super::session::asked;
use super::support::client::{Home, claude, program_command};
use super::support::model_server::{ModelServer, Reply, Script};
use super::support::terminal::Terminal;

const PATIENCE: Duration = Duration::from_mins(1);

/// A run that ended while nobody was there is told to the first session after it, and to no other.
#[test]
fn the_next_session_hears_of_what_ended_meanwhile_once() {
    let home = Home::new();
    let repository = home.repository("repo");
    home.accept_everything(&[&repository]);
    let script = Script::new()
        .on(asked("is FINISHED"), |_| Reply::text("That one has ended."))
        .on(asked("What is 2+2?"), |_| Reply::text("It is four."))
        .worker("Your task: api\n", |w| {
            w.write("api.txt", "x").commit("api").say("Done.").forever()
        });
    let server = ModelServer::start(script);
    let plugin = staged(&home);
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
        let mut command = program_command(claude(), &home, &server);
        command
            .arg("--plugin-dir")
            .arg(&plugin)
            .args(["--permission-mode", "default"])
            .current_dir(&repository);
        let mut terminal = Terminal::start(&command, 160, 40);
        let on = |terminal: &Terminal, text: &'static str| {
            terminal.wait_for(text, PATIENCE, |s| s.contains(text))
        };
        on(&terminal, "for shortcuts");
        if round == 0 {
            on(&terminal, "That one has ended.");
        }
        // It stands in the client's own record, so that nobody is told again.
        terminal.type_text("What is 2+2?");
        on(&terminal, "What is 2+2?");
        terminal.type_text("\r");
        on(&terminal, "It is four.");
    }
    let told = server.requests_where(|r| asked("is FINISHED")(r)).len();
    assert_eq!(told, 1);
    server.assert_all_expected();
}
