//! The plugin in the real client: commands, hooks, permissions, from the sentence that a
//! person types to the merged result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::client::{Home, claude, events, program_command};
use super::support::model_server::{ModelServer, Reply, Request, Script};

/// The programs of the plugin, as they were built for this test.
pub(crate) const PROGRAMS: &[(&str, &str)] = &[
    ("orchestra", env!("CARGO_BIN_EXE_orchestra")),
    (
        "orchestra-announce",
        env!("CARGO_BIN_EXE_orchestra-announce"),
    ),
    ("orchestra-command", env!("CARGO_BIN_EXE_orchestra-command")),
    ("orchestra-guard", env!("CARGO_BIN_EXE_orchestra-guard")),
    (
        "orchestra-heartbeat",
        env!("CARGO_BIN_EXE_orchestra-heartbeat"),
    ),
    (
        "orchestra-statusline",
        env!("CARGO_BIN_EXE_orchestra-statusline"),
    ),
    (
        "orchestration-start",
        env!("CARGO_BIN_EXE_orchestration-start"),
    ),
    ("instance-complete", env!("CARGO_BIN_EXE_instance-complete")),
    (
        "integration-complete",
        env!("CARGO_BIN_EXE_integration-complete"),
    ),
];

pub(crate) fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The plugin as it is installed, with the programs of this build.
pub fn staged(home: &Home) -> PathBuf {
    let plugin = home.beside("plugin");
    for folder in [".claude-plugin", "hooks", "commands", "agents"] {
        copy(&source().join(folder), &plugin.join(folder));
    }
    fs::create_dir_all(plugin.join("bin")).unwrap();
    for (name, path) in PROGRAMS {
        std::os::unix::fs::symlink(path, plugin.join("bin").join(name)).unwrap();
    }
    plugin
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A session with the plugin, not started yet.
fn session(home: &Home, server: &ModelServer, repository: &Path) -> Command {
    let plugin = staged(home);
    let mut command = program_command(claude(), home, server);
    command
        .arg("--plugin-dir")
        .arg(plugin)
        .args(["--output-format", "stream-json", "--verbose"])
        .current_dir(repository);
    command
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn only_run(repository: &Path) -> PathBuf {
    let folder = repository.join(".claude/orchestration");
    let mut runs: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|e| e.unwrap().path())
        // Beside the runs lies what is kept of all of them.
        .filter(|p| p.is_dir() && !p.file_name().unwrap().to_string_lossy().starts_with('.'))
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

/// The id that the hook told the session.
fn told_id(request: &Request) -> Option<String> {
    let text = request.system_text();
    let (_, rest) = text.split_once("orchestration id: ")?;
    rest.lines().next().map(|l| l.trim().to_owned())
}

fn plan(names: &[(&str, &[&str])]) -> Value {
    let tasks: Vec<Value> = names
        .iter()
        .map(|(name, needs)| {
            json!({"name": name, "type": "feature", "description": format!("Do {name}"),
                "prompt": format!("Write {name}.txt"), "files": [format!("{name}.txt")],
                "dependencies": needs, "success_criteria": [format!("{name}.txt exists")]})
        })
        .collect();
    json!({ "tasks": tasks })
}

/// The analyzer answers with a plan.
pub(crate) fn analyzer(script: Script, plan: Value) -> Script {
    script.on(
        |r| r.first_user_text().starts_with("Plan this request."),
        move |_| Reply::tool("StructuredOutput", plan.clone()),
    )
}

/// Each task writes its file and commits it.
fn workers(mut script: Script, names: &[&str]) -> Script {
    for name in names {
        script = script.worker(format!("Your task: {name}\n"), |w| {
            w.write(&format!("{name}.txt"), &format!("{name}\n"))
                .commit(&format!("add {name}"))
                .say(&format!("{name} is done."))
                .forever()
        });
    }
    script
}

/// The model of the session follows the command's text.
pub(crate) fn conductor_session(script: Script) -> Script {
    let with_id = |r: &Request, command: &str| {
        Reply::bash(command.replace("ID", &told_id(r).expect("the hook told an id")))
    };
    script.conversation(
        |r| r.mentions("<command-name>/orchestra:parallel-dev</command-name>"),
        move |w| {
            w.compute(move |r| with_id(r, "orchestra plan --orchestration ID"))
                .compute(move |r| {
                    let id = told_id(r).expect("the hook told an id");
                    Reply::tool(
                        "Bash",
                        json!({"command": format!("orchestra run --orchestration {id}"),
                            "run_in_background": true, "timeout": 7_200_000}),
                    )
                })
                .say("It is running.")
                .compute(move |r| with_id(r, "orchestra report --orchestration ID"))
                .say("All done.")
        },
    )
}

#[test]
fn from_a_sentence_to_merged_results() {
    sentence_to_results("default");
}

/// Interactive sessions are in this mode by default; what no hook allows is denied in it here.
#[test]
fn from_a_sentence_to_merged_results_in_auto_mode() {
    sentence_to_results("auto");
}

fn sentence_to_results(mode: &str) {
    let home = Home::new();
    let repository = home.repository("repo");
    let request = "Create \"frontend\", build back`end`, set $(up) it's <db>";
    let names = ["frontend", "backend"];
    let script = workers(
        analyzer(
            conductor_session(Script::new()),
            plan(&[("frontend", &[]), ("backend", &[])]),
        ),
        &names,
    );
    let server = ModelServer::start(script);
    let output = session(&home, &server, &repository)
        .args(["--permission-mode", mode])
        .args(["-p", &format!("/parallel-dev \"{request}\"")])
        .output()
        .expect("run the client");
    let run = only_run(&repository);
    let log = fs::read_to_string(run.join("orchestration.log")).unwrap_or_default();
    let context = format!("{}\n{log}\n{:?}", said(&output), server.unexpected());
    assert!(output.status.success(), "{context}");
    // The request arrived as it was typed, and nothing in it was carried out.
    assert_eq!(
        fs::read_to_string(run.join("request.txt")).unwrap(),
        request
    );
    for name in names {
        assert_eq!(
            home.git(&repository, &["show", &format!("main:{name}.txt")]),
            name,
            "{context}"
        );
        assert!(repository.join(format!("{name}.txt")).exists(), "{context}");
    }
    assert_eq!(
        home.git(&repository, &["status", "--porcelain"]),
        "",
        "{context}"
    );
    // No call of the command was denied.
    let denied: Vec<Value> = events(&output)
        .into_iter()
        .filter(|e| e["subtype"] == "permission_denied")
        .collect();
    assert!(denied.is_empty(), "{denied:?}");
    server.assert_all_expected();
}

#[test]
fn outside_a_repository_nothing_is_made_and_the_reason_is_told() {
    let home = Home::new();
    let folder = home.beside("plain");
    fs::create_dir_all(&folder).unwrap();
    let script = Script::new().conversation(
        |r| r.mentions("Orchestra did not start"),
        |w| w.say("Not a repository."),
    );
    let server = ModelServer::start(script);
    let output = session(&home, &server, &folder)
        .args(["-p", "/parallel-dev \"Add x\""])
        .output()
        .expect("run the client");
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        server.requests()[0]
            .system_text()
            .contains("not inside a git repository")
    );
    assert!(!folder.join(".claude").exists());
    server.assert_all_expected();
}

#[test]
fn an_empty_request_makes_nothing() {
    let home = Home::new();
    let repository = home.repository("repo");
    let server = ModelServer::start(Script::new().conversation(
        |r| r.mentions("there is no request"),
        |w| w.say("Say what you want."),
    ));
    let output = session(&home, &server, &repository)
        .args(["-p", "/parallel-dev"])
        .output()
        .expect("run the client");
    assert!(output.status.success(), "{}", said(&output));
    assert!(!repository.join(".claude").exists());
    server.assert_all_expected();
}

#[test]
fn status_is_answered_without_a_model() {
    let home = Home::new();
    let repository = home.repository("repo");
    let server = ModelServer::start(Script::new());
    let output = session(&home, &server, &repository)
        .args(["-p", "/orchestra-status detailed; rm -rf /"])
        .output()
        .expect("run the client");
    assert!(
        said(&output).contains("Usage: /orchestra-status"),
        "{}",
        said(&output)
    );
    let output = session_again(&home, &server, &repository)
        .args(["-p", "/orchestra-status"])
        .output()
        .expect("run the client");
    assert!(
        said(&output).contains("no orchestration"),
        "{}",
        said(&output)
    );
    assert!(
        !said(&output).contains("Original prompt"),
        "{}",
        said(&output)
    );
    assert!(server.requests().is_empty());
}

fn session_again(home: &Home, server: &ModelServer, repository: &Path) -> Command {
    let mut command = program_command(claude(), home, server);
    command
        .arg("--plugin-dir")
        .arg(home.beside("plugin"))
        .args(["--output-format", "stream-json", "--verbose"])
        .current_dir(repository);
    command
}

/// The guard lets this program's own commands pass, in any turn and mode, and no others.
#[test]
fn only_own_commands_pass_without_a_question() {
    let home = Home::new();
    let repository = home.repository("repo");
    let commands = [
        ("orchestra --version", true),
        ("orchestra --version; touch evil", false),
        ("touch evil && orchestra --version", false),
        ("orchestra run --tasks x.json --verify 'touch evil'", false),
    ];
    for mode in ["default", "auto"] {
        let script = Script::new().conversation(
            |r| r.mentions("Try the commands"),
            |mut w| {
                for (command, _) in commands {
                    w = w.bash(command);
                }
                w.say("Tried.")
            },
        );
        let server = ModelServer::start(script);
        let command = if mode == "default" {
            session(&home, &server, &repository)
        } else {
            session_again(&home, &server, &repository)
        };
        let mut command = command;
        let output = command
            .args(["--permission-mode", mode, "-p", "Try the commands"])
            .output()
            .expect("run the client");
        let requests = server.requests();
        let results = requests.last().expect("a request").tool_results();
        assert_eq!(results.len(), commands.len(), "{}", said(&output));
        for ((command, good), result) in commands.iter().zip(&results) {
            assert_eq!(result.is_error, !good, "{mode}: {command}: {}", result.text);
        }
        assert!(
            results[0].text.starts_with("orchestra "),
            "{}",
            results[0].text
        );
        assert!(!repository.join("evil").exists());
    }
}

#[test]
fn the_plugin_is_valid() {
    let home = Home::new();
    let mut command = Command::new(claude());
    command.env_clear();
    home.environment(&mut command);
    let output = command
        .args(["plugin", "validate", "--strict"])
        .arg(source())
        .output()
        .expect("run the client");
    assert!(output.status.success(), "{}", said(&output));
    // What the client does not look at: that every program of the hooks is there.
    let hooks: Value =
        serde_json::from_str(&fs::read_to_string(source().join("hooks/hooks.json")).unwrap())
            .unwrap();
    let mut programs = Vec::new();
    for entries in hooks["hooks"].as_object().unwrap().values() {
        for entry in entries.as_array().unwrap() {
            for hook in entry["hooks"].as_array().unwrap() {
                let keys: Vec<&String> = hook.as_object().unwrap().keys().collect();
                let known = [
                    "type",
                    "command",
                    "args",
                    "timeout",
                    "if",
                    "statusMessage",
                    "asyncRewake",
                    "rewakeSummary",
                    "rewakeMessage",
                ];
                assert!(keys.iter().all(|k| known.contains(&k.as_str())), "{keys:?}");
                programs.push(hook["command"].as_str().unwrap().to_owned());
            }
        }
    }
    assert!(programs.len() >= 4);
    for program in programs {
        let name = program
            .strip_prefix("${CLAUDE_PLUGIN_ROOT}/bin/")
            .expect("in bin/");
        assert!(PROGRAMS.iter().any(|(known, _)| *known == name), "{name}");
        assert!(source().join("bin").join(name).exists(), "{name}");
    }
}

const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn the_analyzer_may_only_read_and_repairs_its_plan() {
    let home = Home::new();
    let repository = home.repository("repo");
    let script = Script::new().conversation(
        |r| r.first_user_text().starts_with("Plan this request."),
        |w| {
            w.tool("Read", json!({"file_path": "{cwd}/README.md"}))
                .tool("Write", json!({"file_path": "{cwd}/evil", "content": "x"}))
                .tool("StructuredOutput", plan(&[("a", &["gone"]), ("b", &[])]))
                .tool("StructuredOutput", plan(&[("a", &[]), ("b", &["a"])]))
        },
    );
    let server = ModelServer::start(script);
    let output = program_command(PROGRAMS[0].1, &home, &server)
        .args(["plan", "/fix it, then $(touch evil) test it", "--json"])
        .current_dir(&repository)
        .output()
        .expect("run the program");
    assert!(
        output.status.success(),
        "{}{:?}",
        said(&output),
        server.unexpected()
    );
    let plan: Value = serde_json::from_slice(&output.stdout).expect("a plan");
    assert_eq!(
        plan["plan"]["tasks"][1]["dependencies"],
        json!(["a"]),
        "{plan}"
    );
    assert!(!repository.join("evil").exists());
    server
        .wait_for(PATIENCE, |all| all.len() == 4)
        .expect("four requests");
    let requests = server.requests();
    assert!(
        requests[0].offers("Read") && !requests[0].offers("Bash") && !requests[0].offers("Write")
    );
    assert!(
        requests[0]
            .system_text()
            .contains("You split one request into tasks")
    );
    assert!(
        requests[3].last_user_text().contains("gone"),
        "{}",
        requests[3].last_user_text()
    );
    server.assert_all_expected();
}

/// The requests of daily life, from the sentence to the phases in which they run.
#[test]
fn requests_become_plans() {
    let home = Home::new();
    let repository = home.repository("repo");
    type Graph = &'static [(&'static str, &'static [&'static str])];
    let cases: [(&str, Graph, &[usize]); 4] = [
        (
            "Create frontend, build backend, setup database",
            &[("frontend", &[]), ("backend", &[]), ("database", &[])],
            &[3],
        ),
        (
            "Implement user management, add authentication, create user dashboard, update docs",
            &[
                ("user-management", &[]),
                ("authentication", &[]),
                ("user-dashboard", &["user-management", "authentication"]),
                (
                    "docs",
                    &["user-management", "authentication", "user-dashboard"],
                ),
            ],
            &[2, 1, 1],
        ),
        (
            "Fix critical payment bug, add user profiles, optimize performance, update API docs",
            &[
                ("fix-payment", &[]),
                ("user-profiles", &[]),
                ("performance", &[]),
                ("api-docs", &["user-profiles"]),
            ],
            &[3, 1],
        ),
        (
            "Finalize features, run comprehensive tests, update documentation, prepare deployment",
            &[
                ("finalize", &[]),
                ("tests", &["finalize"]),
                ("documentation", &["tests"]),
                ("deployment", &["documentation"]),
            ],
            &[1, 1, 1, 1],
        ),
    ];
    for (request, graph, phases) in cases {
        let server = ModelServer::start(analyzer(Script::new(), plan(graph)));
        let output = program_command(PROGRAMS[0].1, &home, &server)
            .args(["plan", request, "--json", "--dry-run"])
            .current_dir(&repository)
            .output()
            .expect("run the program");
        assert!(output.status.success(), "{}", said(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let sizes: Vec<usize> = answer["phases"]
            .as_array()
            .expect("phases")
            .iter()
            .map(|phase| phase.as_array().expect("a phase").len())
            .collect();
        assert_eq!(sizes, phases, "{request}");
        assert_eq!(answer["plan"]["request"], request);
        assert!(server.requests()[0].first_user_text().contains(request));
        server.assert_all_expected();
    }
}
