//! The status line at the foot of the real client.

use std::fs;
use std::time::Duration;

use super::install::start_scripted;
use super::plugin::{PROGRAMS, said};
use super::support::client::{Home, claude, program_command};
use super::support::model_server::{ModelServer, Script};
use super::support::terminal::Terminal;

const PATIENCE: Duration = Duration::from_secs(120);

/// Beside the person's own, at two widths, while a run is at work and when it has ended.
#[test]
fn the_status_line_follows_a_run() {
    let home = Home::new();
    let repository = home.repository("shop");
    home.accept_everything(&[&repository]);
    let server = ModelServer::start(Script::new());
    let settings = home.path().join(".claude/settings.json");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    let own = r#"{"statusLine": {"type": "command", "command": "echo my own line", "refreshInterval": 1}}"#;
    fs::write(&settings, own).unwrap();
    let output = program_command(PROGRAMS[0].1, &home, &server)
        .args(["statusline", "install", "--yes"])
        .output()
        .expect("run the program");
    assert!(output.status.success(), "{}", said(&output));
    let gate = home.beside("go");
    let tasks = [
        "user-authentication",
        "payment-bugs",
        "documentation-of-the-interface",
    ];
    start_scripted(&home, &server, &repository, &gate, &tasks);
    let session = |columns: u16| {
        let mut command = program_command(claude(), &home, &server);
        command.current_dir(&repository);
        Terminal::start(&command, columns, 30)
    };
    let terminals = [session(80), session(160)];
    let at_work = |screen: &str| screen.contains('♪') && screen.contains("my own line");
    let [narrow, wide] = [0, 1].map(|n: usize| {
        let screen = terminals[n].wait_for("status line", PATIENCE, at_work);
        // Look at them with ORCHESTRA_SHOW_SCREENS=1.
        show(&screen);
        let lines: Vec<&str> = screen.lines().collect();
        let own = lines
            .iter()
            .position(|l| l.contains("my own line"))
            .unwrap();
        let line = lines[own + 1].trim().to_owned();
        assert!(line.starts_with("♪  ✓ 0/3  ▶ "), "{screen}");
        line
    });
    // Names where there is room for them, else their number; nothing is broken or cut.
    assert!(narrow.starts_with("♪  ✓ 0/3  ▶ 3"), "{narrow}");
    assert!(tasks.iter().all(|task| wide.contains(task)), "{wide}");
    fs::write(&gate, "").unwrap();
    for terminal in &terminals {
        let screen = terminal.wait_for("end", PATIENCE, |s| s.contains("✔ 3 of 3 tasks done"));
        show(&screen);
    }
    assert!(server.requests().is_empty());
}

#[allow(clippy::print_stdout, reason = "for whoever wants to see it")]
fn show(screen: &str) {
    if std::env::var_os("ORCHESTRA_SHOW_SCREENS").is_some() {
        println!("{screen}\n----");
    }
}
