//! A person takes tasks over in their terminal, with the real client, and gives them back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::killed::processes;
use super::run::{assert_tidy, orchestra, stdout};
use super::support::client::{Home, claude, program_command};
use super::support::model_server::{ModelServer, Reply, Request, Script};
use super::support::terminal::Terminal;

const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Stage {
    home: Home,
    repository: PathBuf,
    server: ModelServer,
    run: PathBuf,
}

impl Stage {
    fn status(&self, task: &str) -> Value {
        let path = self.run.join(format!("instance-{task}.status.json"));
        fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.run.join("journal.jsonl")).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.map(|line: Value| line["entry"].clone()).collect()
    }

    /// Of each attempt at a task: its session, whether a person worked in it, how it ended.
    fn attempts(&self, task: &str) -> Vec<(String, bool, String)> {
        let mut all = Vec::new();
        for entry in self.journal().iter().filter(|e| e["task"] == task) {
            match entry["kind"].as_str() {
                Some("attempt-started") => all.push((
                    entry["session"].as_str().unwrap().to_owned(),
                    entry["attached"].is_string(),
                    String::new(),
                )),
                Some("attempt-ended") => {
                    all.last_mut().unwrap().2 = entry["end"]["end"].as_str().unwrap().to_owned();
                }
                _ => {}
            }
        }
        all
    }

    fn attach(&self, task: &str) -> Terminal {
        let mut command = orchestra(&self.home, &self.server, &self.repository);
        command.args(["attach", task]);
        let terminal = Terminal::start(&command, 100, 30);
        terminal.wait_for("session", PATIENCE, |s| s.contains("/exit gives it back"));
        terminal
    }

    fn keep(&self, name: &str, screen: &str) {
        if let Some(folder) = std::env::var_os("ORCHESTRA_SCREENS") {
            fs::write(Path::new(&folder).join(format!("{name}.txt")), screen).unwrap();
        }
    }
}

/// Types a line and sends it: the client takes a pasted end of line for a part of the text.
fn say(terminal: &mut Terminal, text: &str) {
    terminal.type_text(text);
    terminal.wait_for("the text", PATIENCE, |s| s.contains(text));
    std::thread::sleep(Duration::from_millis(300));
    terminal.type_text("\r");
}

#[test]
fn a_person_takes_tasks_over_and_gives_them_back() {
    let home = Home::new();
    let repository = home.repository("shop");
    home.accept_everything(&[&repository]);
    let plan = home.beside("plan.json");
    let tasks = json!({"tasks": [
        {"name": "one", "prompt": "Add one.txt."},
        {"name": "two", "prompt": "Add two.txt."},
        {"name": "three", "prompt": "Add three.txt."},
    ]});
    fs::write(&plan, tasks.to_string()).unwrap();
    let list = |state: &str| json!({"taskId": "1", "status": state});
    // What a person says comes first, then what they are followed by, then the beginning.
    let mut script = Script::new()
        .worker("A person worked with you", |w| w.say("All is there."))
        .worker("Please add uno.txt", |w| {
            w.write("uno.txt", "uno\n")
                .commit("Add uno")
                .say("It is there. Anything else?")
        })
        .worker("Please think of due.txt", |w| {
            w.write("due.txt", "due\n")
                .commit("Add due")
                .reply(Reply::Hang)
        })
        .worker("Please finish with tre.txt", |w| {
            w.write("tre.txt", "tre\n")
                .tool("TaskUpdate", list("completed"))
                .say("All done.")
                .commit("Add tre")
                .say("Now it is committed.")
        });
    for name in ["one", "two", "three"] {
        script = script.worker(format!("Your task: {name}"), |w| {
            w.tool(
                "TaskCreate",
                json!({"subject": "Write it", "description": "x", "activeForm": "Writing"}),
            )
            .write(&format!("{name}.txt"), "1\n")
            .commit("Begin")
            .bash("sleep 0.3")
            .forever()
        });
    }
    let server = ModelServer::start(script);
    let output = orchestra(&home, &server, &repository)
        .args([
            "run",
            "--detach",
            "--verify",
            "test -e README.md",
            "--tasks",
        ])
        .arg(&plan)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
    let run = wait_for("the run", || {
        let runs = fs::read_dir(repository.join(".claude/orchestration")).ok()?;
        let mut runs = runs.flatten().map(|entry| entry.path());
        started(&mut runs)
    });
    let stage = Stage {
        home,
        repository,
        server,
        run,
    };
    for task in ["one", "two", "three"] {
        wait_for("work", || {
            let activity = stage.status(task)["activity"].as_str()?.to_owned();
            activity.contains("sleep").then_some(())
        });
    }

    // The person leaves with the work unfinished: it goes on in the same session.
    let mut terminal = stage.attach("one");
    let status = stage.status("one");
    assert!(status["attachedSince"].is_string(), "{status:#}");
    let look = |mode: &str| {
        let output = orchestra(&stage.home, &stage.server, &stage.repository)
            .args(["status", mode])
            .output()
            .unwrap();
        stdout(&output)
    };
    assert!(
        look("detailed").contains("with you"),
        "{}",
        look("detailed")
    );
    // Nobody else gets in.
    let mut second = orchestra(&stage.home, &stage.server, &stage.repository);
    second.args(["attach", "one"]);
    let second = Terminal::start(&second, 100, 10);
    second.wait_for("refusal", PATIENCE, |s| s.contains("in another terminal"));
    say(&mut terminal, "Please add uno.txt");
    let screen = terminal.wait_for("the answer", PATIENCE, |s| s.contains("Anything else?"));
    stage.keep("attached", &screen);
    stage.keep("status", &look("detailed"));
    wait_for("the end of the turn", || {
        (stage.status("one")["activity"] == "waits for what you say").then_some(())
    });
    say(&mut terminal, "/exit");
    let screen = terminal.wait_for("the word", PATIENCE, |s| s.contains("goes on without you"));
    stage.keep("left", &screen);

    // The terminal is killed in the middle of a turn: nothing is lost.
    let mut terminal = stage.attach("two");
    say(&mut terminal, "Please think of due.txt");
    stage
        .server
        .wait_for(PATIENCE, |all| {
            all.iter()
                .any(|r| r.mentions("think of due.txt") && r.steps_since("think of due.txt") == 3)
        })
        .expect("the request that hangs");
    let attached = processes(&stage.home).into_iter().find(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains("orchestra attach two") && !line.starts_with("setsid")
        })
    });
    let attached = Pid::from_raw(attached.expect("the terminal's process")).unwrap();
    kill_process(attached, Signal::KILL).unwrap();

    // Nobody takes over what somebody works on in a session that they opened by hand.
    let order = fs::read(stage.run.join("instance-three.launch.json")).unwrap();
    let order: Value = serde_json::from_slice(&order).unwrap();
    let mut by_hand = program_command(claude(), &stage.home, &stage.server);
    by_hand.current_dir(order["worktree"].as_str().unwrap());
    let mut by_hand = Terminal::start(&by_hand, 100, 30);
    wait_for("its hook", || {
        let beats = fs::read_to_string(stage.run.join("instance-three.beat")).ok()?;
        beats.contains("SessionStart").then_some(())
    });
    let mut command = orchestra(&stage.home, &stage.server, &stage.repository);
    command.args(["attach", "three"]);
    let refused = Terminal::start(&command, 100, 10);
    refused.wait_for("refusal", PATIENCE, |s| s.contains("opened by hand"));
    say(&mut by_hand, "/exit");
    wait_for("its end", || {
        let beats = fs::read_to_string(stage.run.join("instance-three.beat")).ok()?;
        beats.contains("SessionEnd").then_some(())
    });

    // What the instance takes for done is held to the evidence, and is complete at the end.
    let mut terminal = stage.attach("three");
    say(&mut terminal, "Please finish with tre.txt");
    let screen = terminal.wait_for("the second answer", PATIENCE, |s| {
        s.contains("Now it is committed.")
    });
    stage.keep("sent-back", &screen);
    wait_for("the end of the turn", || {
        (stage.status("three")["activity"] == "waits for what you say").then_some(())
    });
    say(&mut terminal, "/exit");
    let screen = terminal.wait_for("the word", PATIENCE, |s| s.contains("complete at"));
    stage.keep("complete", &screen);

    let output = orchestra(&stage.home, &stage.server, &stage.repository)
        .arg("wait")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
    stage.server.assert_all_expected();
    for task in ["one", "two", "three"] {
        let attempts = stage.attempts(task);
        let sessions = attempts.iter().all(|a| a.0 == attempts[0].0);
        assert!(sessions, "{task}: {attempts:?}");
        let how: Vec<(bool, &str)> = attempts.iter().map(|a| (a.1, a.2.as_str())).collect();
        let expected: &[(bool, &str)] = match task {
            "three" => &[(false, "paused"), (true, "complete")],
            _ => &[(false, "paused"), (true, "paused"), (false, "complete")],
        };
        assert_eq!(how, expected, "{task}");
    }
    // The rules of an instance hold in front of a person, too.
    let rules = |r: &Request| r.mentions("You are one of several instances");
    let requests = stage.server.requests();
    for said in ["Please add uno.txt", "Please finish with tre.txt"] {
        let asked = requests.iter().find(|r| r.last_user_text().contains(said));
        assert!(asked.is_some_and(|r| rules(r)), "{said}");
    }
    // The last word to each session came after all that was said in it.
    for (said, task) in [("add uno.txt", "one"), ("think of due.txt", "two")] {
        let requests = stage.server.requests();
        let last = requests
            .iter()
            .rfind(|r| r.mentions(&format!("Your task: {task}")))
            .unwrap();
        assert!(last.mentions(said), "{:?}", last.prompts());
        assert!(last.mentions("A person worked with you"));
    }
    for file in [
        "one.txt",
        "uno.txt",
        "two.txt",
        "due.txt",
        "three.txt",
        "tre.txt",
    ] {
        let name = format!("HEAD:{file}");
        assert!(
            !stage
                .home
                .git(&stage.repository, &["show", &name])
                .is_empty()
        );
    }
    // What the person's turns cost is known, and counted.
    let ended: Vec<Value> = stage.journal();
    let ended = ended.iter().find(|e| {
        e["kind"] == "attempt-ended" && e["task"] == "three" && e["end"]["end"] == "complete"
    });
    let account = &ended.unwrap()["account"];
    assert!(account["tokens"].as_u64().unwrap() > 0, "{account}");
    assert!(account["usd"].is_number(), "{account}");
    assert_tidy(&stage.home, &stage.repository);
}

fn started(runs: &mut impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    runs.find(|path| path.join("settings.json").exists())
}
