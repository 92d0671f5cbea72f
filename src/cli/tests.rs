//! The command line as a whole: its definition, its help, and commands in small repositories.

use clap::CommandFactory;

use super::*;
use crate::git::testkit::Fixture;
use crate::store::layout::Layout;
use crate::view::page::Page;

/// What a command line printed, and its exit code.
struct Said {
    exit: Exit,
    out: String,
    err: String,
}

fn run_in(folder: &std::path::Path, args: &[&str], input: &str, width: usize) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stdin = input.as_bytes();
    let mut context = Context {
        out: &mut out,
        err: &mut err,
        stdin: &mut stdin,
        env: Env::of([("HOME", "/nonexistent"), ("PATH", "/usr/bin:/bin")]),
        cwd: folder.to_owned(),
        page: Page::new(width, false),
        err_page: Page::new(width, false),
        terminal: false,
        verbose: 0,
        repo: None,
    };
    let exit = run_args(
        std::iter::once("orchestra").chain(args.iter().copied()),
        &mut context,
    );
    Said {
        exit,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

fn run(folder: &std::path::Path, args: &[&str]) -> Said {
    run_in(folder, args, "", 80)
}

const TASKS: &str = r#"{"tasks":[{"name":"frontend","dependencies":["backend"]},{"name":"backend"},{"name":"docs"}]}"#;

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_with_examples() {
    fn check(command: &mut clap::Command, path: &str) {
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("Examples:"),
            "{path} has no examples:\n{help}"
        );
        assert!(
            command.get_about().is_some(),
            "{path} does not say what it does"
        );
        for argument in command.get_arguments() {
            assert!(
                argument.is_hide_set() || argument.get_help().is_some(),
                "{path}: {} is not explained",
                argument.get_id()
            );
        }
        for sub in command.get_subcommands_mut() {
            if sub.get_name() != "help" && !sub.is_hide_set() {
                let path = format!("{path} {}", sub.get_name());
                check(sub, &path);
            }
        }
    }
    let mut command = Cli::command();
    command.build();
    check(&mut command, "orchestra");
}

#[test]
fn the_help_shows_every_exit_code() {
    let help = Cli::command().render_help().to_string();
    for exit in Exit::ALL {
        let line = format!("  {}  {}", exit.code(), exit.meaning());
        assert!(help.contains(&line), "{line}");
    }
}

#[test]
fn outside_of_a_repository_there_is_help_or_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let bare = run(folder.path(), &[]);
    assert_eq!(bare.exit, Exit::Success);
    assert!(bare.out.contains("Usage: orchestra"), "{}", bare.out);
    for args in [
        &["status"][..],
        &["list"],
        &["wait"],
        &["logs"],
        &["control", "pause"],
    ] {
        let said = run(folder.path(), args);
        assert_eq!(said.exit, Exit::Environment, "{args:?}");
        assert!(said.err.starts_with("error: "), "{args:?}: {}", said.err);
        assert!(said.err.contains("next:"), "{args:?}: {}", said.err);
        assert_eq!(said.out, "");
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        &["dance"][..],
        &["status", "nothing"],
        &["plan"],
        &["plan", "a request", "--tasks", "x"],
        &["logs", "--raw"],
        &["control", "scale-up", "--by", "0"],
    ] {
        let said = run(folder.path(), args);
        assert_eq!(said.exit, Exit::Usage, "{args:?}");
        assert!(!said.err.is_empty(), "{args:?}");
    }
}

#[test]
fn a_repository_without_runs_is_told_how_to_start_one() {
    let fixture = Fixture::new();
    let bare = run(&fixture.root, &[]);
    assert_eq!(bare.exit, Exit::Success);
    assert!(bare.out.contains("orchestra run"), "{}", bare.out);
    let list = run(&fixture.root, &["list", "--json"]);
    assert!(list.out.contains("\"orchestrations\": []"), "{}", list.out);
    for args in [
        &["status", "--json"][..],
        &["report"],
        &["logs", "x"],
        &["control", "pause"],
    ] {
        let said = run(&fixture.root, args);
        assert_eq!(said.exit, Exit::Usage, "{args:?}");
        assert!(
            said.err.contains("no orchestration"),
            "{args:?}: {}",
            said.err
        );
    }
    assert!(
        !fixture.root.join(".claude").exists(),
        "looking made something"
    );
}

#[test]
fn init_writes_a_plan_that_is_accepted_and_never_overwrites() {
    let fixture = Fixture::new();
    let said = run(&fixture.root, &["init"]);
    assert_eq!(said.exit, Exit::Success, "{}", said.err);
    let again = run(&fixture.root, &["init"]);
    assert_eq!(again.exit, Exit::Usage);
    assert!(again.err.contains("--force"), "{}", again.err);
    assert_eq!(run(&fixture.root, &["init", "--force"]).exit, Exit::Success);
    let plan = run(
        &fixture.root,
        &["plan", "--tasks", "tasks.json", "--dry-run"],
    );
    assert_eq!(plan.exit, Exit::Success, "{}", plan.err);
    assert!(
        !fixture.root.join(".claude").exists(),
        "a dry run made something"
    );
}

#[test]
fn a_plan_is_shown_stored_and_listed() {
    let fixture = Fixture::new();
    let said = run_in(
        &fixture.root,
        &["plan", "--tasks", "-", "--json"],
        TASKS,
        80,
    );
    assert_eq!(said.exit, Exit::Success, "{}", said.err);
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(value["phases"][1][0], "frontend");
    let id = value["orchestrationId"].as_str().unwrap();
    assert_eq!(Layout::new(&fixture.root).runs().len(), 1);
    assert_eq!(
        fixture.git(&["status", "--porcelain"]),
        "",
        "it shows up in git status"
    );

    let status = run(&fixture.root, &["status", "--orchestration", &id[..12]]);
    assert!(
        status.out.contains("PLANNED, not started"),
        "{}",
        status.out
    );
    let list = run(&fixture.root, &["list"]);
    assert!(
        list.out.contains(id) && list.out.contains("0/3"),
        "{}",
        list.out
    );
    let control = run(&fixture.root, &["control", "pause"]);
    assert_eq!(control.exit, Exit::Usage);
    assert!(control.err.contains("not started"), "{}", control.err);
    let wait = run(&fixture.root, &["wait", "--timeout", "0"]);
    assert_eq!(wait.exit, Exit::Usage, "{}", wait.err);
    let nearly = run(&fixture.root, &["logs", "fronted"]);
    assert!(
        nearly.err.contains("did you mean frontend?"),
        "{}",
        nearly.err
    );
    let wrong = run(&fixture.root, &["status", "--orchestration", "none"]);
    assert_eq!(wrong.exit, Exit::Usage);
    assert!(wrong.err.contains("orchestra list"), "{}", wrong.err);
}

#[test]
fn a_faulty_plan_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new();
    let bad = r#"{"tasks":[{"name":"a","dependencies":["b"]}]}"#;
    let said = run_in(&fixture.root, &["plan", "--tasks", "-"], bad, 80);
    assert_eq!(said.exit, Exit::PlanInvalid, "{}", said.err);
    assert!(
        said.err.contains("tasks[0].dependencies[0]"),
        "{}",
        said.err
    );
    assert!(!fixture.root.join(".claude").exists());
    let missing = run(&fixture.root, &["plan", "--tasks", "none.json"]);
    assert_eq!(missing.exit, Exit::Usage);
    assert!(missing.err.contains("none.json"), "{}", missing.err);
}

#[test]
fn a_half_made_run_can_be_looked_at() {
    let fixture = Fixture::new();
    let layout = Layout::new(&fixture.root);
    let folder = layout.root().join("half");
    std::fs::create_dir_all(&folder).unwrap();
    for (file, content) in [
        ("none", ""),
        ("journal.jsonl", "rubbish\nrubbish\n"),
        ("settings.json", "{\"schemaVersion\":1"),
        ("orchestration-plan.json", "{\"tasks\":[]}"),
    ] {
        std::fs::write(folder.join(file), content).unwrap();
        for args in [
            &["status"][..],
            &["status", "detailed"],
            &["status", "resources"],
            &["status", "issues"],
            &["status", "--json"],
            &["list"],
            &["report"],
            &["report", "--json"],
        ] {
            let said = run(&fixture.root, args);
            assert_eq!(said.exit, Exit::Success, "{file} {args:?}: {}", said.err);
            assert!(said.out.contains("half"), "{file} {args:?}: {}", said.out);
        }
    }
    // Looking sets nothing aside.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
}

#[test]
fn the_configuration_says_where_each_value_comes_from() {
    let fixture = Fixture::new();
    fixture.write(
        ".claude/orchestra.toml",
        "verify = \"make test\"\nmax_workers = 3\n",
    );
    let said = run(&fixture.root, &["config"]);
    insta::assert_snapshot!(
        said.out.lines().take(6).collect::<Vec<_>>().join("\n"), @r"
    max_workers              3                                           project
    timeout_seconds          3600                                        default
    command_timeout_seconds  900                                         default
    permission_mode          acceptEdits                                 default
    sandbox                  off                                         default
    verify                   make test                                   project
    "
    );
    let json: serde_json::Value =
        serde_json::from_str(&run(&fixture.root, &["config", "--json"]).out).unwrap();
    assert_eq!(json["settings"][0]["source"], "project");
    fixture.write(".claude/orchestra.toml", "\nmax_worker = 3\n");
    let said = run(&fixture.root, &["config"]);
    assert_eq!(said.exit, Exit::Environment);
    assert!(said.err.contains("orchestra.toml:2"), "{}", said.err);
    assert!(said.err.contains("`max_workers`"), "{}", said.err);
}

#[test]
fn schemas_and_completions_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    for what in ["plan", "status", "results", "config"] {
        let said = run(folder.path(), &["schema", what]);
        let schema: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert!(
            schema["properties"].is_object()
                || schema["$ref"].is_string()
                || schema["oneOf"].is_array()
                || schema["anyOf"].is_array(),
            "{what}"
        );
        jsonschema::validator_for(&schema).unwrap();
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = run(folder.path(), &["completions", shell]);
        assert!(said.out.contains("orchestra"), "{shell}");
    }
}

/// A reader that has gone.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let fixture = Fixture::new();
    for args in [
        &["schema", "plan"][..],
        &["list"],
        &["config"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut err = Vec::new();
        let mut context = Context {
            out: &mut Gone,
            err: &mut err,
            stdin: &mut std::io::empty(),
            env: Env::default(),
            cwd: fixture.root.clone(),
            page: Page::default(),
            err_page: Page::default(),
            terminal: false,
            verbose: 0,
            repo: None,
        };
        let exit = run_args(
            std::iter::once("orchestra").chain(args.iter().copied()),
            &mut context,
        );
        assert_eq!(exit, Exit::Success, "{args:?}");
        assert!(err.is_empty(), "{args:?}");
    }
}
