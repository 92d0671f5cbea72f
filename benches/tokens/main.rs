//! What the plugin costs in tokens: `cargo bench --profile dev --bench tokens -- --into README.md`.
//!
//! The real client talks to a loopback model, which sees every request whole. So the figures are
//! bytes of request bodies, with tokens as a quarter of them; a tokenizer's own count differs by
//! some percent, and what the provider has in its cache costs a tenth. The client is installed as
//! for the tests (`ORCHESTRA_CLIENT_DIR` names one that is there).
//!
//! ```text
//! cargo bench --profile dev --bench tokens                      # half a minute
//! cargo bench --profile dev --bench tokens -- --into README.md  # between the tokens:begin and tokens:end marks
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    reason = "a benchmark starts processes, prints, and fails loudly; the support serves tests too"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use support::client::{Home, Live, VERSION, claude, program_command};
use support::model_server::{ModelServer, Reply, Request, Script};

const PATIENCE: Duration = Duration::from_secs(120);

const PROGRAMS: &[(&str, &str)] = &[
    ("orchestra", env!("CARGO_BIN_EXE_orchestra")),
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

fn main() {
    let mut into = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--into" => into = Some(PathBuf::from(args.next().expect("a file"))),
            other => panic!("{other} is no option; see the head of benches/tokens/main.rs"),
        }
    }
    let mut rows: Vec<[String; 4]> = Vec::new();
    let mut row = |what: &str, requests: &str, bytes: i64, note: &str| {
        eprintln!("{what}: {requests} requests, {bytes} bytes ({note})");
        let size = format!("{bytes} B ≈ {} tokens", (bytes + 2) / 4);
        rows.push([what.to_owned(), requests.to_owned(), size, note.to_owned()]);
    };
    session_overhead(&mut row);
    commands(&mut row);
    request_to_report(&mut row);
    let mut text =
        String::from("| what | model requests | added to the context | |\n|---|---|---|---|\n");
    for cells in &rows {
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text.push_str(&format!(
        "\nCounted with `cargo bench --profile dev --bench tokens` and Claude Code {VERSION}.\n"
    ));
    println!("{text}");
    if let Some(file) = into {
        put_between_marks(&file, &text);
    }
}

fn put_between_marks(file: &Path, text: &str) {
    const BEGIN: &str = "<!-- tokens:begin -->";
    const END: &str = "<!-- tokens:end -->";
    let old = fs::read_to_string(file).unwrap();
    let (head, rest) = old.split_once(BEGIN).expect("the mark tokens:begin");
    let (_, tail) = rest.split_once(END).expect("the mark tokens:end");
    fs::write(file, format!("{head}{BEGIN}\n\n{text}\n{END}{tail}")).unwrap();
}

/// The plugin with the programs of this build; `change` may rewrite each file of its texts.
fn staged(home: &Home, name: &str, change: impl Fn(&str, String) -> String) -> PathBuf {
    let plugin = home.beside(name);
    for folder in [".claude-plugin", "hooks", "commands", "agents"] {
        fs::create_dir_all(plugin.join(folder)).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap();
            let text = change(folder, fs::read_to_string(&path).unwrap());
            fs::write(plugin.join(folder).join(file), text).unwrap();
        }
    }
    fs::create_dir_all(plugin.join("bin")).unwrap();
    for (name, path) in PROGRAMS {
        std::os::unix::fs::symlink(path, plugin.join("bin").join(name)).unwrap();
    }
    plugin
}

fn session(home: &Home, server: &ModelServer, repository: &Path, plugin: Option<&Path>) -> Command {
    let mut command = program_command(claude(), home, server);
    if let Some(plugin) = plugin {
        command.arg("--plugin-dir").arg(plugin);
    }
    command.current_dir(repository);
    command
}

/// The size of a request as it came.
fn size(request: &Request) -> i64 {
    i64::try_from(request.body.to_string().len()).unwrap()
}

/// The size of the first request of a session in which somebody says hello.
fn first_request(home: &Home, repository: &Path, plugin: Option<&Path>) -> i64 {
    let server = ModelServer::start(Script::new().on(|_| true, |_| Reply::text("Hello.")));
    let output = session(home, &server, repository, plugin)
        .args(["-p", "hello"])
        .output()
        .expect("run the client");
    assert!(output.status.success());
    size(server.requests().first().expect("a request"))
}

type Row<'a> = &'a mut dyn FnMut(&str, &str, i64, &str);

fn session_overhead(row: Row<'_>) {
    let home = Home::new();
    let repository = home.repository("repo");
    let whole = staged(&home, "plugin", |_, text| text);
    let offered = staged(&home, "offered", |_, text| {
        text.replace("disable-model-invocation: true\n", "")
    });
    let without = first_request(&home, &repository, None);
    let with = first_request(&home, &repository, Some(&whole));
    let with_offered = first_request(&home, &repository, Some(&offered));
    row(
        "any session, by the plugin being there",
        "0",
        with - without,
        &format!(
            "to a first request of {without} B; names and purposes of eleven agents, once per session"
        ),
    );
    row(
        "the same, were the commands offered to the model",
        "0",
        with_offered - without,
        "why each has `disable-model-invocation`",
    );
}

/// Commands that are answered without a model, in a repository with a run that is over.
fn commands(row: Row<'_>) {
    let home = Home::new();
    let repository = home.repository("repo");
    let plugin = staged(&home, "plugin", |_, text| text);
    let server = ModelServer::start(Script::new().on(|_| true, |_| Reply::text("Hello.")));
    let tasks = home.beside("tasks.json");
    fs::write(
        &tasks,
        r#"{"tasks":[{"name":"user-auth"},{"name":"payment-bugs"},{"name":"docs","dependencies":["user-auth"]}]}"#,
    )
    .unwrap();
    let output = program_command(PROGRAMS[0].1, &home, &server)
        .args(["run", "--agent", "scripted", "--tasks"])
        .arg(&tasks)
        .current_dir(&repository)
        .output()
        .expect("run the program");
    assert!(output.status.success(), "{output:?}");
    // What the next prompt's request holds more than it would without the command before it.
    let next = |typed: Option<&str>| {
        let mut live = Live::start(session(&home, &server, &repository, Some(&plugin)));
        let before = server.requests().len();
        if let Some(typed) = typed {
            live.say(typed);
            live.result(PATIENCE).expect("a result");
            assert_eq!(server.requests().len(), before, "{typed} asked a model");
        }
        live.say("hello");
        live.result(PATIENCE).expect("a result");
        size(server.requests().last().expect("a request"))
    };
    let plain = next(None);
    for typed in [
        "/orchestra-status",
        "/orchestra-status detailed",
        "/orchestra-status issues",
        "/orchestra-control pause",
        "/merge-results manual",
        "/cleanup-orchestra all",
        "/prune",
        "/orchestra-status detaild",
    ] {
        let note = match typed {
            "/orchestra-status detaild" => "the nearest word and the list",
            _ => "its answer, for the next prompt to refer to; a run of three tasks that is over",
        };
        row(&format!("`{typed}`"), "0", next(Some(typed)) - plain, note);
    }
}

fn told_id(request: &Request) -> String {
    let text = request.system_text();
    let (_, rest) = text.split_once("orchestration id: ").expect("an id");
    rest.lines().next().unwrap().trim().to_owned()
}

/// The main command from the sentence to the report, with the shortest possible model.
fn request_to_report(row: Row<'_>) {
    let home = Home::new();
    let repository = home.repository("repo");
    fs::create_dir_all(repository.join(".claude")).unwrap();
    fs::write(
        repository.join(".claude/orchestra.toml"),
        "agent = \"scripted\"\n",
    )
    .unwrap();
    let plugin = staged(&home, "plugin", |_, text| text);
    let task = |name: &str, needs: &[&str]| {
        json!({"name": name, "type": "feature", "description": format!("Do {name}"),
            "prompt": format!("Do {name}, and test it."), "files": [format!("{name}/**")],
            "dependencies": needs})
    };
    let plan = json!({"tasks": [task("user-auth", &[]), task("payment-bugs", &[]),
        task("docs", &["user-auth"])]});
    let bash = |command: &str, r: &Request| Reply::bash(command.replace("ID", &told_id(r)));
    let script = Script::new()
        .on(
            |r| r.first_user_text().starts_with("Plan this request."),
            move |_| Reply::tool("StructuredOutput", plan.clone()),
        )
        .conversation(
            |r| r.mentions("<command-name>/orchestra:parallel-dev</command-name>"),
            move |w| {
                w.compute(move |r| bash("orchestra plan --orchestration ID", r))
                    .compute(|r| {
                        let run = format!("orchestra run --orchestration {}", told_id(r));
                        Reply::tool(
                            "Bash",
                            json!({"command": run, "run_in_background": true,
                                "timeout": 7_200_000}),
                        )
                    })
                    .say("It is running.")
                    .compute(move |r| bash("orchestra report --orchestration ID", r))
                    .say("All done.")
            },
        )
        .on(|_| true, |_| Reply::text("Hello."));
    let server = ModelServer::start(script);
    let plain = first_request(&home, &repository, Some(&plugin));
    let output = session(&home, &server, &repository, Some(&plugin))
        .args([
            "-p",
            "/parallel-dev \"Implement user auth, fix payment bugs, update docs\"",
        ])
        .output()
        .expect("run the client");
    assert!(output.status.success(), "{output:?}");
    server.assert_all_expected();
    let (analysis, own): (Vec<_>, Vec<_>) = server
        .requests()
        .into_iter()
        .partition(|r| r.first_user_text().starts_with("Plan this request."));
    let first = own.first().expect("a request");
    row(
        "`/parallel-dev \"…\"`, its text and the hook's word",
        "1",
        size(first) - plain,
        "beyond what any first request holds",
    );
    row(
        "`/parallel-dev \"…\"`, from the sentence to the report",
        &own.len().to_string(),
        size(own.last().unwrap()) - plain,
        "three tasks: plan, run in the background, report; nothing while it runs",
    );
    row(
        "the analysis of a request",
        &analysis.len().to_string(),
        size(analysis.first().expect("an analysis")),
        "a session of its own, the whole request; and what it reads of the repository",
    );
}
