//! The provider refuses real instances: storms, usage limits, refused logins and models.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::run::{ORCHESTRA, orchestra, stdout};
use crate::support::client::{Home, program_command};
use crate::support::model_server::{ModelServer, Reply, Script};

fn plan(home: &Home, names: &[&str]) -> PathBuf {
    let tasks: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "prompt": format!("Add {name}.txt.")}))
        .collect();
    let path = home.beside("plan.json");
    fs::write(&path, json!({"tasks": tasks}).to_string()).unwrap();
    path
}

fn workers(script: Script, names: &[&'static str]) -> Script {
    names.iter().fold(script, |script, name| {
        script.worker(format!("Your task: {name}"), move |w| {
            w.write(&format!("{name}.txt"), "x\n")
                .commit(&format!("Add {name}"))
                .say("Done.")
        })
    })
}

/// A run that goes on soon after the provider does.
fn run(home: &Home, server: &ModelServer, repository: &Path, plan: &Path) -> (Output, Value) {
    let results = home.beside("results.json");
    let output = orchestra(home, server, repository)
        .env("CLAUDE_CODE_MAX_RETRIES", "2")
        .env("ORCHESTRA_RATE_LIMIT_PAUSE_MS", "200")
        .env("ORCHESTRA_RATE_LIMIT_QUIET_MS", "300")
        .env("ORCHESTRA_RESET_MARGIN_MS", "200")
        .env("ORCHESTRA_RETRY_BASE_MS", "50")
        .args(["run", "--tasks"])
        .arg(plan)
        .arg("--output")
        .arg(&results)
        .output()
        .unwrap();
    let results = fs::read(&results).unwrap_or_default();
    let results = serde_json::from_slice(&results).unwrap_or_default();
    (output, results)
}

fn log(repository: &Path) -> String {
    let folder = repository.join(".claude/orchestration");
    let runs = fs::read_dir(folder).unwrap().flatten();
    let logs = runs.filter_map(|run| fs::read_to_string(run.path().join("orchestration.log")).ok());
    logs.collect()
}

/// The first few requests are refused so; what comes after that is answered.
fn a_storm_of(status: u16, kind: &str) {
    let home = Home::new();
    let repository = home.repository("repo");
    let names = ["alpha", "beta", "gamma"];
    let reply = Reply::error(status, kind, "busy").header("retry-after", "1");
    let script = Script::new().first(5, |_| true, move |_| reply.clone());
    let server = ModelServer::start(workers(script, &names));
    let (output, results) = run(&home, &server, &repository, &plan(&home, &names));
    assert!(output.status.success(), "{}", stdout(&output));
    assert_eq!(results["totals"]["done"], 3, "{results:#}");
    let log = log(&repository);
    assert!(log.contains("(the provider limits the rate)"), "{log}");
}

#[test]
fn a_storm_of_429_passes() {
    a_storm_of(429, "rate_limit_error");
}

#[test]
fn a_storm_of_529_passes() {
    a_storm_of(529, "overloaded_error");
}

#[test]
fn a_usage_limit_is_waited_for_until_the_reset_that_is_told() {
    let home = Home::new();
    let repository = home.repository("repo");
    let names = ["alpha", "beta"];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let reset = now.as_secs() + 12;
    let is_over = Arc::new(AtomicBool::new(false));
    let words = format!("Claude AI usage limit reached|{reset}");
    let refused = Reply::error(429, "rate_limit_error", words).header("retry-after", "0");
    let over = Arc::clone(&is_over);
    let script = Script::new().rule(move |_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        if now.as_secs() < reset {
            return Some(refused.clone());
        }
        over.store(true, Ordering::SeqCst);
        None
    });
    let server = ModelServer::start(workers(script, &names));
    let (output, results) = run(&home, &server, &repository, &plan(&home, &names));
    let log = log(&repository);
    assert!(output.status.success(), "{}\n{log}", stdout(&output));
    assert_eq!(results["totals"]["done"], 2, "{results:#}");
    assert!(is_over.load(Ordering::SeqCst));
    assert!(log.contains("(usage limit): nothing new starts"), "{log}");
}

#[test]
fn a_refused_login_ends_the_run_and_the_rest_is_not_started() {
    let home = Home::new();
    let repository = home.repository("repo");
    let names = ["alpha", "beta", "gamma"];
    let script = Script::new().on(
        |_| true,
        |_| Reply::error(401, "authentication_error", "invalid x-api-key"),
    );
    let server = ModelServer::start(script);
    let results = home.beside("results.json");
    let output = program_command(ORCHESTRA, &home, &server)
        .current_dir(&repository)
        .env("CLAUDE_CODE_MAX_RETRIES", "1")
        .args(["run", "--max-workers", "1", "--tasks"])
        .arg(plan(&home, &names))
        .arg("--output")
        .arg(&results)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{}", stdout(&output));
    let log = log(&repository);
    assert!(
        log.contains("not started, as it would meet the same"),
        "{log}"
    );
    assert_eq!(server.sessions().len(), 1, "{log}");
}

#[test]
fn a_model_that_is_not_allowed_is_no_refused_login() {
    let home = Home::new();
    let repository = home.repository("repo");
    let names = ["alpha", "beta"];
    let refused = Reply::error(
        403,
        "permission_error",
        "Your account may not use this model.",
    );
    let script = Script::new().on(
        |request| request.mentions("Your task: alpha"),
        move |_| refused.clone(),
    );
    let server = ModelServer::start(workers(script, &["beta"]));
    let (output, results) = run(&home, &server, &repository, &plan(&home, &names));
    let log = log(&repository);
    assert_eq!(results["totals"]["done"], 1, "{}\n{log}", stdout(&output));
    assert!(log.contains("permission"), "{log}");
}
