//! A person takes tasks over in their terminal and leaves them in every way that there is. The
//! client is a stand-in: headless it plays the script, in a terminal it does what is typed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use orchestra::core::attempt::AttemptEnd;
use orchestra::core::record::Record;
use orchestra::store::layout::RunDir;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::harness::{Room, signal, wait_for};
use super::terminal::Terminal;

const CLIENT: &str = r#"#!/bin/sh
for arg in "$@"; do
  case $before in --session-id|--resume) how=$before; session=$arg ;; esac
  before=$arg
done
if [ "$1" = -p ]; then
  exec "$ORCHESTRA" play --script "$ROOM/script.json" --task "$ORCHESTRA_TASK" $how $session
fi
echo "$how $session, $ORCHESTRA_MARK, $ORCHESTRA_ATTACHED, in $(pwd)"
while read -r line; do
  case $line in
    exit) exit ;;
    cost*) echo "{\"cost\": {\"total_cost_usd\": ${line#cost }}}" |
      "$ORCHESTRA-heartbeat" --main "$ORCHESTRA_MAIN_CHECKOUT" \
        --run "$ORCHESTRA_ORCHESTRATION" --task "$ORCHESTRA_TASK" ;;
    *) sh -c "$line" ;;
  esac
done
"#;

/// Works until the test lets it go on, and ends when it is resumed.
fn long(name: &str) -> Value {
    json!({"steps": [
        {"write": {"path": name, "text": "begun\n"}},
        {"run": format!("while [ ! -e \"$ROOM/go-{name}\" ]; do sleep 0.02; done")},
        {"sleep_ms": 600_000},
        {"append": {"path": name, "text": "ended\n"}},
        {"commit": format!("Add {name}")},
    ]})
}

fn begin(tasks: &[&str], more: &[&str]) -> (Room, RunDir) {
    let mut room = Room::new();
    room.set("ORCHESTRA", env!("CARGO_BIN_EXE_orchestra"));
    let client = room.path("client");
    fs::write(&client, CLIENT).unwrap();
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
    room.set("ORCHESTRA_CLAUDE_PROGRAM", client.display().to_string());
    let plan: Vec<(&str, &[&str])> = tasks.iter().map(|name| (*name, &[][..])).collect();
    let plan = room.plan(&plan).display().to_string();
    let script: Value = tasks.iter().map(|t| ((*t).to_owned(), long(t))).collect();
    room.script(&script);
    let args = ["run", "--tasks", &plan, "--agent", "claude", "--detach"];
    room.orchestra(&[&args, more].concat()).expect(0);
    let run = room.only_run();
    (room, run)
}

fn works(room: &Room, name: &str) {
    let file = room.worktree(name).join(name);
    wait_for("work", || file.exists().then_some(()));
}

/// The attempts at a task: whether a person worked in each, and how it ended.
fn attempts(room: &Room, run: &RunDir, name: &str) -> Vec<(bool, Option<AttemptEnd>)> {
    let mut all = Vec::new();
    for record in room.records(run) {
        match record {
            Record::AttemptStarted { task, attached, .. } if task.as_str() == name => {
                all.push((attached.is_some(), None));
            }
            Record::AttemptEnded { task, end, .. } if task.as_str() == name => {
                all.last_mut().unwrap().1 = Some(end);
            }
            _ => {}
        }
    }
    all
}

fn how(room: &Room, run: &RunDir, name: &str) -> Vec<(bool, &'static str)> {
    let all = attempts(room, run, name).into_iter();
    all.map(|(attached, end)| {
        let end = match end {
            None => "goes on",
            Some(AttemptEnd::Paused) => "paused",
            Some(AttemptEnd::Complete { .. }) => "complete",
            Some(_) => "another",
        };
        (attached, end)
    })
    .collect()
}

#[track_caller]
fn see(terminal: &Terminal, what: &str) {
    terminal.wait_for(what, super::harness::PATIENCE, |screen| {
        // Long lines are broken by the terminal.
        screen.replace('\n', "").contains(what)
    });
}

fn terminal(room: &Room, args: &[&str]) -> Terminal {
    Terminal::start(&room.command(args), 120, 30)
}

/// Lets an instance come to its next step once it knows that it is to stop there.
#[track_caller]
fn let_it_stop(room: &Room, name: &str) {
    let log = room.only_run().log();
    wait_for("the wish to stop", || {
        let log = fs::read_to_string(&log).unwrap();
        log.contains(&format!("{name}: asked to make room"))
            .then_some(())
    });
    fs::write(room.path(&format!("go-{name}")), "").unwrap();
}

/// Takes a task over and returns once its session is open.
#[track_caller]
fn attach(room: &Room, args: &[&str]) -> Terminal {
    let terminal = terminal(room, &[&["attach"], args].concat());
    if !room.path(&format!("go-{}", args[0])).exists() {
        let_it_stop(room, args[0]);
    }
    see(&terminal, "--resume");
    terminal
}

#[test]
fn a_person_leaves_in_every_way_and_nothing_is_lost() {
    let (room, run) = begin(&["a", "b"], &[]);
    works(&room, "a");
    works(&room, "b");

    // Whoever goes away while the instance still works leaves it alone.
    let mut waiting = terminal(&room, &["attach", "a"]);
    see(&waiting, "stops after its present step");
    let second = terminal(&room, &["attach", "a"]);
    see(&second, "in another terminal");
    waiting.type_text("\u{3}");
    wait_for("the end of whoever waits", || {
        room.processes_of("attach").is_empty().then_some(())
    });
    let_it_stop(&room, "a");
    wait_for("the instance to go on", || {
        (how(&room, &run, "a") == [(false, "paused"), (true, "paused"), (false, "complete")])
            .then_some(())
    });

    // It goes on while the conductor is replaced, and is held back afterwards.
    let mut person = attach(&room, &["b", "--then", "pause"]);
    let status = room.status(&run, "b");
    assert!(status["attachedSince"].is_string(), "{status:#}");
    see(&person, "/b, 1, in ");
    let detailed = room.orchestra(&["status", "detailed"]).expect(0).out;
    assert!(detailed.contains("with you, since"), "{detailed}");
    let conductors = room.processes();
    let conductor = conductors.iter().find(|p| p.is("conduct")).unwrap();
    conductor.kill();
    person.type_text("echo more >> b; echo typed\r");
    wait_for("what was typed", || {
        let text = fs::read_to_string(room.worktree("b").join("b")).ok()?;
        text.ends_with("more\n").then_some(())
    });
    let said = room
        .orchestra(&["control", "answer", "b", "Blue."])
        .expect(0)
        .out;
    assert!(
        said.contains("a person works on b in a terminal now"),
        "{said}"
    );
    room.orchestra(&["control", "pause"]).expect(0);
    room.wait_for_record(&run, "the pause", |r| {
        matches!(r, Record::PauseRequested { task: None })
    });
    assert_eq!(
        how(&room, &run, "b"),
        [(false, "paused"), (true, "goes on")]
    );
    person.type_text("exit\r");
    see(&person, "b: held back");
    room.orchestra(&["control", "resume"]).expect(0);
    wait_for("the end of the attempt", || {
        (how(&room, &run, "b")[1].1 == "paused").then_some(())
    });

    // A session that is opened by hand, without this program, is seen by its hooks alone.
    let tree = room.worktree("b");
    let settings = fs::read_to_string(tree.join(".claude/settings.local.json")).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    // As the client would: it is this process.
    let hear = |event: &str, more: Value| {
        let mut input = json!({"hook_event_name": event, "session_id": "s"});
        let more = more.as_object().unwrap().clone();
        input.as_object_mut().unwrap().extend(more);
        let hook = &settings["hooks"][event][0]["hooks"][0];
        let args = hook["args"].as_array().unwrap().iter();
        let mut command = std::process::Command::new(hook["command"].as_str().unwrap());
        command
            .args(args.map(|arg| arg.as_str().unwrap()))
            .current_dir(&tree);
        command
            .env_clear()
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(
            &mut child.stdin.take().unwrap(),
            input.to_string().as_bytes(),
        )
        .unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let edit = json!({"tool_name": "Edit", "tool_input": {"file_path": "b"}});
    assert_eq!(hear("SessionStart", json!({})), "");
    assert_eq!(hear("PostToolUse", edit), "");
    // Once for what the person said, and not again.
    let said = hear("Stop", json!({"last_assistant_message": "Changed."}));
    assert!(
        said.contains("\"decision\":\"block\"") && said.contains("not committed: b"),
        "{said}"
    );
    let said = hear(
        "Stop",
        json!({"last_assistant_message": "You want it like that."}),
    );
    assert_eq!(said, "");
    let detailed = room.orchestra(&["status", "detailed"]).expect(0).out;
    assert!(
        detailed.contains("by hand") && detailed.contains("waits for what you say"),
        "{detailed}"
    );
    room.orchestra_in(&tree, &["report", "stuck", "--reason", "which colour?"])
        .expect(0);
    let detailed = room.orchestra(&["status", "detailed"]).expect(0).out;
    assert!(detailed.contains("STUCK - which colour?"), "{detailed}");

    // Nothing else is begun in that worktree as long as it is open.
    let refused = terminal(&room, &["attach", "b"]);
    see(&refused, "opened by hand works in the worktree of b");
    room.orchestra(&["control", "resume", "b"]).expect(0);
    wait_for("the word", || {
        let log = fs::read_to_string(run.log()).unwrap();
        log.contains("b: waits for the session that somebody opened")
            .then_some(())
    });
    room.orchestra(&["control", "pause", "b"]).expect(0);
    wait_for("the attempt that did not begin", || {
        (how(&room, &run, "b").get(2) == Some(&(false, "paused"))).then_some(())
    });
    assert_eq!(room.status(&run, "b")["attempt"], 2);
    assert_eq!(hear("SessionEnd", json!({"reason": "other"})), "");

    // One that is held back is taken over at once. What is not committed is told.
    let mut person = attach(&room, &["b", "--then", "complete"]);
    person.type_text("exit\r");
    see(
        &person,
        "held back (there are no commits; not committed: b)",
    );
    // The terminal is closed.
    let person = attach(&room, &["b", "--then", "pause"]);
    let pids: Vec<u32> = room
        .processes()
        .iter()
        .filter(|p| p.is("attach"))
        .map(|p| p.pid)
        .collect();
    for pid in pids {
        signal(pid, Signal::HUP);
    }
    see(&person, "held back");
    let mut person = attach(&room, &["b", "--then", "complete"]);
    person.type_text("git add -A; git commit -qm Finished\r");
    person.type_text("exit\r");
    see(&person, "b: complete at");

    room.orchestra(&["wait"]).expect(0);
    assert_eq!(room.read("a"), "begun\nended\n");
    assert_eq!(room.read("b"), "begun\nmore\n");
    let sessions: std::collections::BTreeSet<_> = room
        .records(&run)
        .into_iter()
        .filter_map(|r| match r {
            Record::AttemptStarted { task, session, .. } => Some((task, session)),
            _ => None,
        })
        .collect();
    assert_eq!(sessions.len(), 2, "one session per task: {sessions:?}");
    room.assert_tidy();
}

#[test]
fn what_cannot_be_taken_over_says_why() {
    let (room, run) = begin(
        &["a", "b", "c"],
        &[
            "--max-workers",
            "1",
            "--max-budget-usd",
            "60",
            "--verify",
            "while [ -e \"$ROOM/slow\" ]; do sleep 0.05; done",
        ],
    );
    works(&room, "a");
    let refused = |args: &[&str], why: &str| see(&terminal(&room, args), why);
    refused(&["attach", "b"], "b was not started yet");
    refused(&["attach", "d"], "has no task");
    // Without a terminal nothing is taken over, and a session in work is not to be shared.
    let ended = room.orchestra(&["attach", "a"]).expect(2);
    assert!(
        ended.err.contains("takes it over, in a terminal"),
        "{}",
        ended.err
    );
    let mut person = attach(&room, &["a", "--then", "complete"]);
    // The room that it left is used.
    works(&room, "b");
    person.type_text("git add -A; git commit -qm A\r");
    person.type_text("exit\r");
    see(&person, "a: complete at");
    refused(&["attach", "a"], "a is complete");
    let printed = room.orchestra(&["attach", "a", "--print"]).expect(0).out;
    assert!(printed.contains("claude --resume"), "{printed}");
    // The session has cost a dollar before; a grant is a grant for a person, too.
    let mut person = attach(&room, &["b"]);
    person.type_text("cost 1\r");
    see(&person, "/exit gives it back");
    person.type_text("cost 90\r");
    see(&person, "b: the budget is spent: $89.00 of");
    room.wait_for_record(&run, "the account", |r| {
        matches!(r, Record::AttemptEnded { task, account, end: AttemptEnd::Failed { .. }, .. }
            if task.as_str() == "b" && account.usd.is_some_and(|usd| usd.dollars() == 89.0))
    });
    // While the evidence is looked at, it can be cancelled.
    works(&room, "c");
    let mut person = attach(&room, &["c", "--then", "complete"]);
    fs::write(room.path("slow"), "").unwrap();
    person.type_text("git add -A; git commit -qm C\r");
    person.type_text("exit\r");
    see(&person, "checking:");
    room.orchestra(&["control", "cancel", "c"]).expect(0);
    see(&person, "c: cancelled");
    fs::remove_file(room.path("slow")).unwrap();
    room.wait_for_record(&run, "the end", |r| matches!(r, Record::Finished { .. }));
}
