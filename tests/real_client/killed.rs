//! Real instances paused, everything killed, and resumed from another shell: the same sessions
//! go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::run::{assert_tidy, orchestra, stdout};
use crate::support::client::Home;
use crate::support::model_server::{ModelServer, Reply, Script};

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The processes that live in this home: all that the test started, by whatever way.
pub(crate) fn processes(home: &Home) -> Vec<i32> {
    let own = format!("HOME={}", home.path().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|b| *b == 0).any(|v| v == own.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Ends them all, and none sees another one end.
fn kill_all(home: &Home) {
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in processes(home) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
        }
    }
    wait_for("the end of all", || {
        let left = processes(home);
        for pid in &left {
            let _ = kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
        }
        left.is_empty().then_some(())
    });
}

fn run_dir(repository: &Path) -> PathBuf {
    let folder = repository.join(".claude/orchestration");
    wait_for("the run", || {
        let runs = fs::read_dir(&folder).ok()?.flatten().map(|e| e.path());
        let mut runs = runs.filter(|path| path.join("settings.json").exists());
        runs.next()
    })
}

fn journal(run: &Path) -> String {
    fs::read_to_string(run.join("journal.jsonl")).unwrap_or_default()
}

/// The sessions in which a task's client began, as its stream says.
fn sessions(run: &Path, task: &str) -> Vec<String> {
    let log = fs::read_to_string(run.join(format!("instance-{task}.log"))).unwrap_or_default();
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|v| v["type"] == "system" && v["subtype"] == "init")
        .map(|v| v["session_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn paused_killed_and_resumed_from_another_shell_the_same_sessions_go_on() {
    let home = Home::new();
    let repository = home.repository("shop");
    let plan = home.beside("plan.json");
    let tasks = json!({"tasks": [
        {"name": "one", "prompt": "Add one.txt."},
        {"name": "two", "prompt": "Add two.txt."},
    ]});
    fs::write(&plan, tasks.to_string()).unwrap();
    let begin = Script::new()
        .worker("Your task: one", |w| {
            w.write("one.txt", "1")
                .reply(Reply::bash("tail -f /dev/null"))
        })
        .worker("Your task: two", |w| {
            w.write("two.txt", "2")
                .reply(Reply::bash("tail -f /dev/null"))
        });
    let script = Script::new().worker("You were interrupted", |w| {
        w.commit("Add it").say("Went on, and done.")
    });
    let server = ModelServer::start(script.rule(move |request| begin.answer(request)));
    let output = orchestra(&home, &server, &repository)
        .args(["run", "--detach", "--tasks"])
        .arg(&plan)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
    let run = run_dir(&repository);
    wait_for("both commands", || {
        let tails = processes(&home).into_iter().filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"tail\0"))
        });
        (tails.count() == 2).then_some(())
    });
    let before: BTreeMap<&str, Vec<String>> = ["one", "two"]
        .map(|task| (task, sessions(&run, task)))
        .into();

    let output = orchestra(&home, &server, &repository)
        .args(["control", "pause"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
    wait_for("the pause", || {
        journal(&run).contains("pause-requested").then_some(())
    });
    kill_all(&home);

    // This shell knows neither the server nor a key.
    let output = orchestra(&home, &server, &repository)
        .env_remove("ANTHROPIC_API_KEY")
        .env_remove("ANTHROPIC_BASE_URL")
        .args(["control", "resume"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
    let output = orchestra(&home, &server, &repository)
        .env_remove("ANTHROPIC_API_KEY")
        .env_remove("ANTHROPIC_BASE_URL")
        .arg("wait")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
    server.assert_all_expected();
    for (task, began) in before {
        assert_eq!(began.len(), 1, "{task}");
        let all = sessions(&run, task);
        assert!(all.len() >= 2, "{task} went on: {all:?}");
        assert!(all.iter().all(|s| *s == began[0]), "{task}: {all:?}");
    }
    assert_eq!(home.git(&repository, &["show", "HEAD:one.txt"]), "1");
    assert_eq!(home.git(&repository, &["show", "HEAD:two.txt"]), "2");
    assert!(!run.join("environment.json").exists(), "the key is gone");
    assert_tidy(&home, &repository);
}
