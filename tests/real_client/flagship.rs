//! The main job as people meet it: installed by `install.sh`, one sentence in the real
//! client, merged and verified results on the base branch, nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::plugin::{analyzer, conductor_session, only_run, said};
use super::run::{assert_tidy, flagship_plan, flagship_workers};
use super::support::client::{Home, claude, program_command};
use super::support::model_server::{ModelServer, Script};
use super::support::terminal::Terminal;

const REQUEST: &str = "Implement user auth, fix payment bugs, update docs";

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A project with the plugin installed for its person, and a verify command configured.
struct Stage {
    home: Home,
    server: ModelServer,
    repository: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let home = Home::new();
        let repository = home.repository("shop");
        fs::create_dir_all(repository.join(".claude")).expect("make a folder");
        fs::write(
            repository.join(".claude/orchestra.toml"),
            "verify = \"test ! -e docs.txt || grep -q 'paid once' docs.txt\"\n",
        )
        .expect("configure");
        home.git(&repository, &["add", "--all"]);
        home.git(
            &repository,
            &["commit", "--quiet", "--message", "configure"],
        );
        let script = flagship_workers(analyzer(conductor_session(Script::new()), flagship_plan()));
        let server = ModelServer::start(script);
        let stage = Self {
            home,
            server,
            repository,
        };
        let output = stage
            .command(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"))
            .arg("--from")
            .arg(super::install::programs())
            .output()
            .expect("run install.sh");
        assert!(output.status.success(), "{}", said(&output));
        stage
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = program_command(program, &self.home, &self.server);
        command.current_dir(&self.repository);
        command
    }

    /// Everything that must hold when the run is over.
    fn assert_delivered(&self, context: &str) {
        let run = only_run(&self.repository);
        let log = fs::read_to_string(run.join("orchestration.log")).unwrap_or_default();
        let context = format!("{context}\n{log}\n{:?}", self.server.unexpected());
        assert_eq!(
            fs::read_to_string(run.join("request.txt")).expect(&context),
            REQUEST
        );
        for (file, text) in [
            ("auth.txt", "log in here"),
            ("payment.txt", "paid once"),
            ("docs.txt", "log in here\npaid once"),
        ] {
            let delivered = self
                .home
                .git(&self.repository, &["show", &format!("main:{file}")]);
            assert_eq!(delivered, text, "{context}");
            assert!(self.repository.join(file).exists(), "{context}");
        }
        let results: Value =
            serde_json::from_slice(&fs::read(run.join("results.json")).expect(&context))
                .expect("JSON");
        assert_eq!(results["verdict"], "success", "{context}");
        assert_eq!(results["verified"], true, "{context}");
        let report =
            fs::read_to_string(run.join("ORCHESTRATION_SUCCESS.md")).expect("a success report");
        assert!(report.contains("docs.txt"), "{report}");
        assert_two_at_once(&run);
        assert_tidy(&self.home, &self.repository);
        self.server.assert_all_expected();
    }
}

/// Both independent tasks were at work at the same time, and the third only after both.
fn assert_two_at_once(run: &Path) {
    let journal = fs::read_to_string(run.join("journal.jsonl")).expect("the journal");
    let lines: Vec<Value> = journal
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect();
    let place = |kind: &str, task: &str| {
        lines
            .iter()
            .position(|l| l["entry"]["kind"] == kind && l["entry"]["task"] == task)
            .unwrap_or_else(|| panic!("no {kind} of {task}: {journal}"))
    };
    for (one, other) in [("user-auth", "payment-bugs"), ("payment-bugs", "user-auth")] {
        assert!(place("attempt-running", one) < place("attempt-ended", other));
        assert!(place("attempt-ended", one) < place("attempt-started", "docs"));
    }
}

#[test]
fn one_sentence_headless() {
    let stage = Stage::new();
    let output = stage
        .command(claude())
        .args(["-p", &format!("/parallel-dev \"{REQUEST}\"")])
        .output()
        .expect("run the client");
    assert!(output.status.success(), "{}", said(&output));
    stage.assert_delivered(&said(&output));
}

#[test]
fn one_sentence_in_an_interactive_session() {
    let stage = Stage::new();
    stage.home.accept_everything(&[&stage.repository]);
    let mut terminal = Terminal::start(&stage.command(claude()), 100, 40);
    terminal.wait_for("prompt", PATIENCE, |s| s.contains('❯') || s.contains("> "));
    terminal.type_text(&format!("/parallel-dev \"{REQUEST}\""));
    terminal.wait_for("typed command", PATIENCE, |s| s.contains("update docs\""));
    terminal.type_text("\r");
    // The session is free while the run goes on, and is told when it has ended.
    let screen = terminal.wait_for("end of the run", PATIENCE, |s| s.contains("All done."));
    assert!(screen.contains("It is running."), "{screen}");
    if std::env::var_os("ORCHESTRA_SHOW_SCREENS").is_some() {
        println!("{screen}");
    }
    terminal.type_text("/orchestra-status\r");
    let screen = terminal.wait_for("status", PATIENCE, |s| s.contains("3 of 3 tasks done"));
    if std::env::var_os("ORCHESTRA_SHOW_SCREENS").is_some() {
        println!("{screen}");
    }
    stage.assert_delivered(&screen);
}
