//! The whole of it as a person lives it, at one terminal: from `install.sh` to a clean workspace.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::install::install;
use super::plugin::{analyzer, only_run};
use super::support::client::{Home, claude, program_command};
use super::support::model_server::{ModelServer, Reply, Request, Script};
use super::support::terminal::Terminal;

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the session's own model is asked last, when that is no work of an instance.
pub(crate) fn asked(part: &'static str) -> impl Fn(&Request) -> bool + Send + Sync {
    move |r| !r.mentions("Your task: ") && r.last_user_text().contains(part)
}

fn id(request: &Request) -> String {
    let text = request.system_text();
    let (_, rest) = text.split_once("orchestration id: ").expect("an id");
    rest.lines().next().unwrap_or_default().trim().to_owned()
}

/// Two tasks that touch one file, so that the plan is doubtful; the second one has a question.
fn script() -> Script {
    let plan = json!({"tasks": [
        {"name": "api", "prompt": "Write api.txt", "files": ["*.txt"]},
        {"name": "docs", "prompt": "Write docs.txt", "files": ["docs.txt"]},
    ]});
    let script = Script::new()
        .on(asked("docs is STUCK"), |r| {
            assert!(r.last_user_text().contains("\n> Which <b>theme</b>?"));
            Reply::text("docs asks which theme: dark, or light?")
        })
        .on(asked("What is 2+2?"), |_| Reply::text("It is four."))
        .rule(|r| {
            // The command in the background ended: its report is asked for, then told.
            let reported = r
                .last_tool_result()
                .is_some_and(|last| last.text.contains("Orchestration finished"));
            (asked("completed")(r) && !reported)
                .then(|| Reply::bash(format!("orchestra report --orchestration {}", id(r))))
        });
    analyzer(script, plan)
        .worker("the pale one", |w| {
            w.write("docs.txt", "pale").commit("docs").say("Done.").forever()
        })
        .worker("Your task: docs\n", |w| w.say("STUCK: Which <b>theme</b>?\n- dark\n- light"))
        .worker("Your task: api\n", |w| {
            w.write("api.txt", "api").commit("api").say("Done.").forever()
        })
        .conversation(
            |r| r.mentions("<command-name>/orchestra:parallel-dev</command-name>"),
            |w| {
                w.compute(|r| Reply::bash(format!("orchestra plan --orchestration {}", id(r))))
                    .say("Both touch the same files. Shall I go on?")
                    .compute(|r| {
                        let run = format!("orchestra run --orchestration {} --yes", id(r));
                        Reply::tool(
                            "Bash",
                            json!({"command": run, "run_in_background": true, "timeout": 7_200_000}),
                        )
                    })
                    .say("It is running.")
                    .say("All of it is done.")
                    .forever()
            },
        )
}

#[allow(
    clippy::print_stdout,
    reason = "the screens, for whoever asks for them"
)]
fn lives(columns: u16) {
    let home = Home::new();
    let repository = home.repository("repo");
    home.accept_everything(&[&repository]);
    fs::create_dir_all(repository.join(".claude")).unwrap();
    // So that there is something left to tidy up.
    fs::write(
        repository.join(".claude/orchestra.toml"),
        "cleanup = \"never\"\n",
    )
    .unwrap();
    let server = ModelServer::start(script());
    install(&home, &server, &["--statusline", "--yes"]);

    let mut command = program_command(claude(), &home, &server);
    command
        .args(["--permission-mode", "default"])
        .current_dir(&repository);
    let mut terminal = Terminal::start(&command, columns, 50);
    let seen = |terminal: &Terminal, text: &'static str| {
        let screen = terminal.wait_for(text, PATIENCE, |s| s.contains(text));
        if std::env::var_os("ORCHESTRA_SHOW_SCREENS").is_some() {
            println!("{screen}\n{}", "=".repeat(usize::from(columns)));
        }
        screen
    };
    let say = |terminal: &mut Terminal, text: &str| {
        terminal.type_text(text);
        terminal.wait_for("what was typed", PATIENCE, |s| {
            s.contains(&text[..20.min(text.len())])
        });
        terminal.type_text("\r");
    };
    terminal.wait_for("prompt", PATIENCE, |s| s.contains('❯'));
    say(&mut terminal, "/parallel-dev \"Write api and docs\"");
    seen(&terminal, "Shall I go on?");
    say(&mut terminal, "yes");
    seen(&terminal, "It is running.");
    // The session is the person's meanwhile.
    say(&mut terminal, "What is 2+2?");
    seen(&terminal, "It is four.");
    let screen = seen(&terminal, "docs asks which theme");
    assert!(screen.contains("Orchestra has news"), "{screen}");
    say(
        &mut terminal,
        "/orchestra-control answer docs \"the pale one\"",
    );
    seen(&terminal, "All of it is done.");
    say(&mut terminal, "/cleanup-orchestra success");
    let screen = seen(&terminal, "freed: 2 worktrees");
    drop(terminal);

    for line in screen.lines() {
        assert!(line.chars().count() <= usize::from(columns), "{line}");
    }
    assert_eq!(home.git(&repository, &["show", "main:docs.txt"]), "pale");
    assert_eq!(home.git(&repository, &["show", "main:api.txt"]), "api");
    let trees = home.git(&repository, &["worktree", "list"]);
    assert_eq!(trees.lines().count(), 1, "{trees}");
    assert_eq!(home.git(&repository, &["branch", "--list", "task/*"]), "");
    // What was announced came once, and unasked. The end of the command in the background was
    // the announcement of the end.
    let told = |part| server.requests_where(|r| asked(part)(r)).len();
    assert_eq!((told("docs is STUCK"), told("is FINISHED")), (1, 0));
    let ledger = only_run(&repository).join("announcements/ledger.jsonl");
    let ledger = fs::read_to_string(ledger).unwrap();
    for kind in ["\"id\":\"stuck/docs/", "\"kind\":\"finished\""] {
        assert!(ledger.contains(kind), "{ledger}");
    }
    server.assert_all_expected();
}

#[test]
fn from_install_to_a_clean_workspace_at_80_columns() {
    lives(80);
}

#[test]
fn from_install_to_a_clean_workspace_at_160_columns() {
    lives(160);
}
