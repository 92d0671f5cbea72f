//! `orchestra run` with real instances: the real client in each worktree, a scripted model.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Home, program_command};
use crate::support::model_server::{ModelServer, Reply, Script};

/// The program under test.
pub(crate) const ORCHESTRA: &str = env!("CARGO_BIN_EXE_orchestra");

/// The plan of the flagship request: two tasks at once, and one that builds on both.
pub(crate) fn flagship_plan() -> Value {
    json!({
        "request": "Implement user auth, fix payment bugs, update docs",
        "tasks": [
            {"name": "user-auth", "type": "feature", "description": "Log in",
             "prompt": "Add auth.txt.", "files": ["auth.txt"]},
            {"name": "payment-bugs", "type": "bugfix", "description": "Fix payments",
             "prompt": "Add payment.txt.", "files": ["payment.txt"]},
            {"name": "docs", "type": "documentation", "description": "Update the docs",
             "prompt": "Describe both.", "dependencies": ["user-auth", "payment-bugs"],
             "files": ["docs.txt"]}
        ]
    })
}

/// What the model does in the three instances: real edits and commits by the client's tools.
/// The documentation is made out of what the other two left in its worktree.
pub(crate) fn flagship_workers(script: Script) -> Script {
    script
        .worker("Your task: user-auth", |w| {
            w.tool(
                "TaskCreate",
                json!({"subject": "Write it", "description": "Write auth.txt", "activeForm": "Writing"}),
            )
            .write("auth.txt", "log in here\n")
            .commit("Add auth")
            .say("Added auth.txt.")
        })
        .worker("Your task: payment-bugs", |w| {
            w.write("payment.txt", "paid once\n")
                .commit("Fix payment")
                .say("Fixed payment.txt.")
        })
        .worker("Your task: docs", |w| {
            w.bash("cat auth.txt payment.txt > docs.txt")
                .commit("Update docs")
                .say("The docs name both.")
        })
}

pub(crate) fn stdout(output: &Output) -> String {
    format!(
        "{}\n--- stderr\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn orchestra(home: &Home, server: &ModelServer, repository: &Path) -> Command {
    let mut command = program_command(ORCHESTRA, home, server);
    command.current_dir(repository);
    command
}

/// Nothing of a run is left but its results: no worktree, no branch, no process.
pub(crate) fn assert_tidy(home: &Home, repository: &Path) {
    assert_eq!(home.git(repository, &["status", "--porcelain"]), "");
    assert_eq!(
        home.git(repository, &["worktree", "list", "--porcelain"])
            .matches("worktree ")
            .count(),
        1
    );
    let branches = home.git(
        repository,
        &["branch", "--list", "--format=%(refname:short)"],
    );
    assert_eq!(branches.lines().count(), 1, "{branches}");
    let left = marked_processes(repository);
    assert!(left.is_empty(), "processes are left: {left:?}");
}

/// Command lines of the processes that belong to runs of a repository.
fn marked_processes(repository: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let needle = format!("ORCHESTRA_MAIN_CHECKOUT={}", repository.display());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ
            .split(|b| *b == 0)
            .any(|line| line == needle.as_bytes())
        {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

#[test]
fn three_tasks_are_worked_on_merged_verified_and_delivered() {
    let home = Home::new();
    let repository = home.repository("shop");
    let plan = home.beside("plan.json");
    fs::write(&plan, flagship_plan().to_string()).expect("write the plan");
    let server = ModelServer::start(flagship_workers(Script::new()));
    let results = home.beside("results.json");
    let output = orchestra(&home, &server, &repository)
        .args(["run", "--tasks"])
        .arg(&plan)
        .args([
            "--verify",
            "test ! -e docs.txt || grep -q 'paid once' docs.txt",
        ])
        .arg("--output")
        .arg(&results)
        .output()
        .expect("run orchestra");
    server.assert_all_expected();
    assert!(output.status.success(), "{}", stdout(&output));
    assert_eq!(
        home.git(&repository, &["show", "HEAD:docs.txt"]),
        "log in here\npaid once"
    );
    let results: Value =
        serde_json::from_slice(&fs::read(&results).expect("read the results")).expect("JSON");
    assert_eq!(results["verdict"], "success", "{results:#}");
    assert_eq!(results["verified"], true);
    assert_eq!(results["totals"]["done"], 3);
    assert_tidy(&home, &repository);
    // Both independent tasks had asked the model before either of them was answered to its end.
    let first_of = |name: &str| {
        server
            .wait_for_request(Duration::from_secs(1), |r| {
                r.mentions(&format!("Your task: {name}"))
            })
            .expect("a request")
    };
    let docs = first_of("docs");
    assert!(docs.ordinal > first_of("user-auth").ordinal);
    assert!(docs.user_text().contains("Added auth.txt."));
}

/// A limit of tokens ends a turn that goes on and on: what each answer wrote counts when that
/// answer ends, not when the turn does.
#[test]
fn tokens_are_counted_while_a_turn_goes_on() {
    let home = Home::new();
    let repository = home.repository("shop");
    let plan = home.beside("plan.json");
    fs::write(
        &plan,
        r#"{"tasks":[{"name":"talker","prompt":"Talk."},{"name":"other","prompt":"Do it."}]}"#,
    )
    .expect("write the plan");
    let script = Script::new()
        .worker("Your task: other", |w| {
            w.write("other.txt", "x\n").commit("Add other").say("Done.")
        })
        .rule(|request| {
            let own = request.mentions("Your task: talker") && !request.tools().is_empty();
            own.then(|| Reply::bash("true").tokens(10, 5_000))
        });
    let server = ModelServer::start(script);
    let output = orchestra(&home, &server, &repository)
        .args([
            "run",
            "--max-tokens",
            "24000",
            "--max-attempts",
            "1",
            "--tasks",
        ])
        .arg(&plan)
        .output()
        .expect("run orchestra");
    let said = stdout(&output);
    assert!(said.contains("the budget is spent: 25"), "{said}");
    let asked = server
        .requests()
        .iter()
        .filter(|r| r.mentions("Your task: talker"))
        .count();
    // Five answers are the limit; one request more may be under way when it is seen.
    assert!((5..=7).contains(&asked), "{asked} requests\n{said}");
}
