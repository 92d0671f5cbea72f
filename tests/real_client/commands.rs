//! The slash commands as people type them: bare, with words of all sorts, in one session; what
//! is asked before a doubtful plan starts; and an issue.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::plugin::{analyzer, staged};
use super::support::client::{Home, Live, claude, program_command};
use super::support::model_server::{ModelServer, Reply, Request, Script};
use super::support::terminal::Terminal;

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

fn session(home: &Home, server: &ModelServer, repository: &Path) -> Command {
    let mut command = program_command(claude(), home, server);
    command
        .arg("--plugin-dir")
        .arg(staged(home))
        .current_dir(repository);
    command
}

/// Every command is there under its bare name, answers without a model, and takes what was
/// typed as words and text, whatever is in it.
#[test]
fn commands_are_bare_and_their_words_are_only_words() {
    let home = Home::new();
    let repository = home.repository("repo");
    // No analysis: this is about what is taken in.
    fs::create_dir_all(repository.join(".claude")).unwrap();
    fs::write(
        repository.join(".claude/orchestra.toml"),
        "claude_program = \"/nowhere/claude\"\n",
    )
    .unwrap();
    let server = ModelServer::start(Script::new().on(
        |r| r.mentions("orchestration id: "),
        |_| Reply::text("Taken in."),
    ));
    let mut live = Live::start(session(&home, &server, &repository));
    let mut ask = |typed: &str| -> String {
        live.say(typed);
        let result = live.result(PATIENCE).expect("a result");
        result["result"].as_str().unwrap_or_default().to_owned()
    };
    for (typed, answer) in [
        ("/orchestra-status", "no orchestration"),
        ("/orchestra-status detaild", "Did you mean detailed?"),
        ("/orchestra-status $(touch evil)", "does not know"),
        ("/orchestra-status help", "Usage: /orchestra-status"),
        ("/orchestra-control", "Usage: /orchestra-control"),
        (
            "/orchestra-control broadcast `touch evil`",
            "no orchestration",
        ),
        ("/merge-results automatic", "no orchestration"),
        ("/merge-results reviw", "Did you mean review?"),
        ("/cleanup-orchestra", "nothing to tidy up"),
        (
            "/cleanup-orchestra success; touch evil",
            "Did you mean success?",
        ),
        ("/prune", "nothing to tidy up"),
        ("/prune --all", "Usage: /prune"),
        ("/parallel-orchestrate", "Usage: /parallel-orchestrate"),
        ("/parallel-orchestrate 1;touch evil", "does not know"),
        ("/orchestra:orchestra-status", "no orchestration"),
    ] {
        let said = ask(typed);
        assert!(said.contains(answer), "{typed}: {said}");
        assert!(!said.contains("Original prompt"), "{said}");
    }
    assert!(server.requests().is_empty(), "no model was asked");
    let long = "long ".repeat(20_000);
    let texts = [
        "--orchestration x --yes; $(touch evil)",
        "-rf `touch evil` ${HOME} && touch evil | tee evil > evil",
        "it's \"half quoted\nand two lines\r\nwith <tags> & 'more",
        "ünï – 🎼 \\n %s \u{202e}abc",
        long.trim(),
    ];
    for text in texts {
        assert_eq!(ask(&format!("/parallel-dev {text}")), "Taken in.");
    }
    drop(live);
    let mut taken: Vec<String> = fs::read_dir(repository.join(".claude/orchestration"))
        .unwrap()
        .filter_map(|run| fs::read_to_string(run.unwrap().path().join("request.txt")).ok())
        .collect();
    let mut wanted: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    taken.sort();
    wanted.sort();
    assert_eq!(taken, wanted);
    assert!(!repository.join("evil").exists());
    server.assert_all_expected();
}

fn told_id(request: &Request) -> String {
    let text = request.system_text();
    let (_, rest) = text.split_once("orchestration id: ").expect("an id");
    rest.lines().next().unwrap().trim().to_owned()
}

/// Two tasks that both touch one file: the plan is doubtful, the session asks, and the person's
/// yes starts it. Afterwards the answers of the other commands leave the input empty.
#[test]
fn a_doubtful_plan_starts_with_the_persons_yes() {
    let home = Home::new();
    let repository = home.repository("repo");
    let plan = json!({"tasks": [
        {"name": "one", "prompt": "Write one.txt", "files": ["*.txt"]},
        {"name": "two", "prompt": "Write two.txt", "files": ["two.txt"]},
    ]});
    let mut script = analyzer(
        Script::new().conversation(
            |r| r.mentions("<command-name>/orchestra:parallel-dev</command-name>"),
            |w| {
                w.compute(|r| {
                    Reply::bash(format!("orchestra plan --orchestration {}", told_id(r)))
                })
                .say("Both touch the same files. Shall I go on?")
                .compute(|r| {
                    let id = told_id(r);
                    let run = format!("orchestra run --orchestration {id} --yes");
                    Reply::tool(
                        "Bash",
                        json!({"command": run, "run_in_background": true, "timeout": 7_200_000}),
                    )
                })
                .say("It is running.")
                .compute(|r| {
                    Reply::bash(format!("orchestra report --orchestration {}", told_id(r)))
                })
                .say("All done.")
            },
        ),
        plan,
    );
    for name in ["one", "two"] {
        script = script.worker(format!("Your task: {name}\n"), |w| {
            w.write(&format!("{name}.txt"), name)
                .commit(&format!("add {name}"))
                .say("Done.")
                .forever()
        });
    }
    let server = ModelServer::start(script);
    home.accept_everything(&[&repository]);
    let mut terminal = Terminal::start(&session(&home, &server, &repository), 80, 45);
    let show = |screen: &str| {
        if std::env::var_os("ORCHESTRA_SHOW_SCREENS").is_some() {
            println!("{screen}\n{}", "=".repeat(80));
        }
    };
    terminal.wait_for("prompt", PATIENCE, |s| s.contains('❯'));
    terminal.type_text("/parallel-dev \"Write one and two\"");
    terminal.wait_for("typed command", PATIENCE, |s| s.contains("one and two\""));
    terminal.type_text("\r");
    let screen = terminal.wait_for("question", PATIENCE, |s| s.contains("Shall I go on?"));
    show(&screen);
    let folder = repository.join(".claude/orchestration");
    let run = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("request.txt").exists())
        .expect("a run");
    assert!(!run.join("settings.json").exists(), "it waits for the yes");
    // What the session was told of it.
    let told = server
        .requests()
        .iter()
        .flat_map(|request| request.tool_results())
        .map(|result| result.text)
        .find(|text| text.contains("Doubtful"))
        .expect("the plan says what is doubtful");
    assert!(told.contains("two waits for one"), "{told}");
    assert!(told.contains("--yes"), "{told}");
    terminal.type_text("yes\r");
    terminal.wait_for("end of the run", PATIENCE, |s| s.contains("All done."));
    terminal.type_text("/orchestra-status\r");
    let screen = terminal.wait_for("status", PATIENCE, |s| s.contains("2 of 2 tasks done"));
    let emptied = |s: &str| {
        let input = s.lines().rev().find(|line| line.starts_with('❯'));
        input.is_some_and(|line| line.trim_start_matches('❯').trim().is_empty())
    };
    terminal.wait_for("an empty input", PATIENCE, emptied);
    show(&screen);
    terminal.type_text("/cleanup-orchestra al\r");
    let screen = terminal.wait_for("help", PATIENCE, |s| s.contains("Did you mean all?"));
    terminal.wait_for("an empty input", PATIENCE, emptied);
    show(&screen);
    assert_eq!(home.git(&repository, &["show", "main:two.txt"]), "two");
    server.assert_all_expected();
}

/// A look at an issue: the hook names the command, the model runs it, nothing is made.
#[test]
fn an_issue_is_planned_by_its_command() {
    let home = Home::new();
    let repository = home.repository("repo");
    let bin = home.beside("gh-bin");
    fs::create_dir_all(&bin).unwrap();
    let issue = json!({"number": 7, "title": "Shop", "state": "OPEN", "body": "- [ ] Cart\n- [ ] Till\n",
        "url": "https://github.com/octo/shop/issues/7"});
    fs::write(
        bin.join("gh"),
        format!(
            "#!/bin/sh\ncase \"$1\" in issue) printf '%s' '{}' ;; \
             repo) echo '{{\"nameWithOwner\":\"octo/shop\"}}' ;; esac\n",
            issue
                .to_string()
                .replace("\\n", "\\\\n")
                .replace("\\\\n", "\\n")
        ),
    )
    .unwrap();
    fs::set_permissions(bin.join("gh"), fs::Permissions::from_mode(0o755)).unwrap();
    let server = ModelServer::start(Script::new().conversation(
        |r| r.mentions("Orchestra is to work on issue #7."),
        |w| {
            w.bash("orchestra plan --issue 7 --dry-run")
                .say("Two tasks.")
        },
    ));
    let mut command = session(&home, &server, &repository);
    let path = command
        .get_envs()
        .find_map(|(name, value)| (name == "PATH").then(|| value.unwrap().to_owned()))
        .unwrap();
    let mut with_gh = bin.into_os_string();
    with_gh.push(":");
    with_gh.push(path);
    let output = command
        .env("PATH", with_gh)
        .args(["-p", "/parallel-orchestrate #7 --dry-run"])
        .output()
        .expect("run the client");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Two tasks."), "{said}");
    let results: Vec<Value> = server
        .requests()
        .last()
        .unwrap()
        .tool_results()
        .into_iter()
        .map(|result| json!([result.is_error, result.text]))
        .collect();
    let text = results[0][1].as_str().unwrap();
    assert_eq!(results[0][0], false, "{text}");
    assert!(text.contains("cart") && text.contains("till"), "{text}");
    assert!(text.contains("2 tasks in 1 phase"), "{text}");
    assert!(!repository.join(".claude").exists());
    server.assert_all_expected();
}
