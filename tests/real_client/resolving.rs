//! Results in conflict: a real instance resolves it with its own tools, or says that it cannot
//! and is told by a person.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::run::{assert_tidy, orchestra, stdout};
use crate::support::client::Home;
use crate::support::model_server::{ModelServer, Reply, Request, Script, Worker};

const GREET: &str = "def greet(name):\n    \"\"\"Greets somebody.\"\"\"\n    \
                     text = \"hello \" + name\n    return text\n";
const PLAIN: &str = "text = \"hello \" + name";
const LOUD: &str = "text = \"HELLO \" + name.upper()";
const POLITE: &str = "text = \"hello, dear \" + name";
const BOTH: &str = "text = \"HELLO, DEAR \" + name.upper()";

/// Every result must be a function without markers.
const VERIFY: &str = "grep -q '^    return text' greet.py && ! grep -q '^<<<<<<<' greet.py";

/// A repository with one function, and a plan with two tasks that both change it.
fn world(home: &Home, configuration: &str) -> (PathBuf, PathBuf) {
    let repository = home.repository("greetings");
    fs::write(repository.join("greet.py"), GREET).expect("write the function");
    fs::create_dir_all(repository.join(".claude")).expect("make a folder");
    // In the plan's order, so that it is known whose result meets the other.
    let configuration = format!("merge_early = false\n{configuration}");
    fs::write(repository.join(".claude/orchestra.toml"), configuration).expect("configure");
    home.git(&repository, &["add", "--all"]);
    home.git(&repository, &["commit", "--quiet", "--message", "Greet"]);
    let plan = home.beside("plan.json");
    let tasks = json!({"tasks": [
        {"name": "loud", "prompt": "Greet loudly in greet.py."},
        {"name": "polite", "prompt": "Greet politely in greet.py."},
    ]});
    fs::write(&plan, tasks.to_string()).expect("write the plan");
    (repository, plan)
}

fn edit(old: &str, new: &str) -> Reply {
    Reply::tool(
        "Edit",
        json!({"file_path": "{cwd}/greet.py", "old_string": old, "new_string": new}),
    )
}

fn read() -> Reply {
    Reply::tool("Read", json!({"file_path": "{cwd}/greet.py"}))
}

/// The two tasks, each good by itself.
fn tasks(script: Script) -> Script {
    let change = |line: &'static str, said: &'static str| {
        move |w: Worker| {
            w.reply(read())
                .reply(edit(PLAIN, line))
                .commit(said)
                .say(said)
        }
    };
    script
        .worker("Your task: loud", change(LOUD, "Greets loudly now."))
        .worker("Your task: polite", change(POLITE, "Greets politely now."))
}

/// The id of the commit that the instance was told to merge.
fn theirs(request: &Request) -> String {
    let text = request.user_text();
    let after = text.split("(commit ").nth(1).unwrap_or_default();
    after.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// Reads the file, replaces the place in conflict as a whole, ends the merge.
fn resolves(w: Worker) -> Worker {
    w.bash("git status --short")
        .reply(read())
        .compute(|request| {
            let place = format!(
                "<<<<<<< HEAD\n    {LOUD}\n=======\n    {POLITE}\n>>>>>>> {}",
                theirs(request)
            );
            edit(&place, &format!("    {BOTH}"))
        })
        .bash("git add greet.py")
        .bash("git commit --no-edit")
        .say("Loud and polite: both are kept.")
}

fn run(home: &Home, server: &ModelServer, repository: &Path, plan: &Path) -> (Option<i32>, Value) {
    let results = home.beside("results.json");
    let output = orchestra(home, server, repository)
        .args(["run", "--verify", VERIFY, "--tasks"])
        .arg(plan)
        .arg("--output")
        .arg(&results)
        .output()
        .expect("run orchestra");
    let text = fs::read(&results).unwrap_or_else(|e| panic!("{e}: {}", stdout(&output)));
    (
        output.status.code(),
        serde_json::from_slice(&text).expect("JSON"),
    )
}

fn delivered(home: &Home, repository: &Path) {
    assert_eq!(
        home.git(repository, &["show", "HEAD:greet.py"]),
        GREET.replace(PLAIN, BOTH).trim_end()
    );
    assert_tidy(home, repository);
}

/// Nothing that the instance did was refused to it.
fn assert_allowed(server: &ModelServer) {
    for request in server.requests() {
        for result in request.tool_results() {
            assert!(!result.is_error, "{}", result.text);
        }
    }
}

#[test]
fn an_instance_resolves_a_conflict_with_its_tools() {
    let home = Home::new();
    let (repository, plan) = world(&home, "");
    let script = Script::new().worker("Your task: resolve-polite", resolves);
    let server = ModelServer::start(tasks(script));
    let (code, results) = run(&home, &server, &repository, &plan);
    server.assert_all_expected();
    assert_allowed(&server);
    assert_eq!(code, Some(0), "{results:#}");
    assert_eq!(results["verdict"], "success", "{results:#}");
    assert_eq!(results["verified"], true);
    assert_eq!(results["totals"]["tasks"], 2);
    delivered(&home, &repository);
    // It was told what both wanted and did.
    let resolver = server
        .requests()
        .into_iter()
        .find(|r| r.mentions("Your task: resolve-polite"))
        .expect("a request of the resolver");
    let told = resolver.user_text();
    for words in [
        "Greet loudly in greet.py.",
        "Greet politely in greet.py.",
        "Greets loudly now.",
        "name.upper()",
        "Merge conflict in greet.py",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
}

#[test]
fn a_conflict_that_an_instance_cannot_resolve_is_answered_by_a_person() {
    let home = Home::new();
    let (repository, plan) = world(&home, "answer_timeout_seconds = 1\n");
    let script = Script::new()
        .worker("Your task: resolve-polite-2", resolves)
        .worker("Your task: resolve-polite\n", |w| {
            w.say("STUCK: loud and polite contradict each other.\n- loud\n- polite")
                .forever()
        });
    let server = ModelServer::start(tasks(script));
    let (code, results) = run(&home, &server, &repository, &plan);
    assert_eq!(code, Some(8), "{results:#}");
    assert_eq!(
        home.git(&repository, &["show", "HEAD:greet.py"]),
        GREET.trim_end()
    );
    let log = orchestra(&home, &server, &repository)
        .args(["logs"])
        .output()
        .expect("logs");
    let log = stdout(&log);
    assert!(log.contains("polite: SET ASIDE"), "{log}");
    assert!(log.contains("contradict each other"), "{log}");

    let answer = "Loud and polite: in capitals, and with `dear`";
    let said = orchestra(&home, &server, &repository)
        .args(["control", "answer", "polite", answer])
        .output()
        .expect("answer");
    assert!(said.status.success(), "{}", stdout(&said));
    let waited = orchestra(&home, &server, &repository)
        .arg("wait")
        .output()
        .expect("wait");
    assert!(waited.status.success(), "{}", stdout(&waited));
    server.assert_all_expected();
    assert_allowed(&server);
    delivered(&home, &repository);
    let told = server
        .requests()
        .into_iter()
        .find(|r| r.mentions("Your task: resolve-polite-2"))
        .expect("a request of the second resolver");
    assert!(told.user_text().contains(answer));
}
