//! What sessions hear of runs unasked: once each, whoever is killed when. The client is
//! played by a process that only lives; what it would write down is written by the test.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use orchestra::conduct::listen;
use orchestra::core::id::TaskName;
use orchestra::core::record::Record;
use orchestra::core::time::Timestamp;
use orchestra::format::announcement_file::{Announcement, Claimant, LedgerEntry};
use orchestra::store::announcements::{self, Book, Ledger, Standing};
use orchestra::store::layout::{Layout, RunDir};
use orchestra::store::{lock, seats};
use serde_json::{Value, json};

use super::harness::{PATIENCE, Room, kill, wait_for, writes};

const ANNOUNCE: &str = env!("CARGO_BIN_EXE_orchestra-announce");

/// A client with a session, for as long as it lives.
struct Client<'a> {
    room: &'a Room,
    process: Child,
    session: &'static str,
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A hook that runs beside the session.
struct Hook(Child);

/// How a hook ended.
#[derive(Debug, PartialEq)]
enum End {
    Silent,
    Woke(String),
}

impl<'a> Client<'a> {
    fn start(room: &'a Room, session: &'static str) -> Self {
        let mut command = Command::new("sleep");
        let surroundings = room.command(&[]);
        command.arg("600").env_clear();
        command.envs(surroundings.get_envs().filter_map(|(k, v)| Some((k, v?))));
        Self {
            room,
            process: command.spawn().unwrap(),
            session,
        }
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn transcript(&self) -> PathBuf {
        self.room.path(&format!("{}.jsonl", self.session))
    }

    fn vars(&self, attended: bool) -> Vec<(&'static str, String)> {
        vec![
            ("CLAUDE_PID", self.process.id().to_string()),
            ("CLAUDE_CODE_SESSION_ID", self.session.to_owned()),
            (
                "CLAUDE_CODE_SESSION_ATTENDED",
                u8::from(attended).to_string(),
            ),
            ("CLAUDE_CODE_ENTRYPOINT", "cli".to_owned()),
        ]
    }

    fn hook_with(&self, event: &Value, attended: bool) -> Hook {
        let mut event = event.clone();
        event["session_id"] = json!(self.session);
        event["transcript_path"] = json!(self.transcript());
        event["cwd"] = json!(self.room.repo);
        let surroundings = self.room.command(&[]);
        let mut child = Command::new(ANNOUNCE)
            .current_dir(&self.room.repo)
            .env_clear()
            .envs(surroundings.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .envs(self.vars(attended))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(event.to_string().as_bytes()).unwrap();
        Hook(child)
    }

    /// The end of a turn.
    fn stop(&self) -> Hook {
        self.hook_with(&json!({"hook_event_name": "Stop"}), true)
    }

    /// The start of the session.
    fn begin(&self, source: &str) -> Hook {
        let event = json!({"hook_event_name": "SessionStart", "source": source});
        self.hook_with(&event, true)
    }

    /// Begins a run in this session, in the background.
    fn run(&self, more: &[&str]) -> RunDir {
        let known = self.room.runs();
        let plan = self.room.path("plan.json").display().to_string();
        let script = self.room.path("script.json").display().to_string();
        let mut args = vec![
            "run", "--tasks", &plan, "--agent", "scripted", "--script", &script,
        ];
        args.extend(more);
        let mut command = self.room.command(&args);
        command.envs(self.vars(true));
        self.room.spawn(command).end().expect(0);
        let mut new = self.room.runs();
        new.retain(|run| !known.contains(run));
        new.remove(0)
    }

    /// What the real client does with a text: it writes down that it has it, and what the
    /// model says.
    fn takes(&self, text: &str, answers: bool) {
        let mut lines = format!(
            "{}\n{}\n",
            json!({"type": "queue-operation", "operation": "enqueue", "content": text}),
            json!({"type": "user", "message": {"role": "user", "content": text}})
        );
        if answers {
            lines.push_str("{\"type\":\"assistant\",\"message\":{}}\n");
        }
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.transcript())
            .unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// A hook of this client waits.
    fn is_attended_to(&self) -> bool {
        let client = listen::process_name(self.process.id()).unwrap();
        let name = format!("{}-{}", client.pid, client.start);
        lock::may_be_held(&seats::watch_lock(&Layout::new(&self.room.repo), &name))
    }

    #[track_caller]
    fn wait_until_attended_to(&self) {
        wait_for("a hook that waits", || self.is_attended_to().then_some(()));
    }
}

impl Hook {
    #[track_caller]
    fn end(mut self) -> End {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.0.kill();
                panic!("a hook does not end");
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let mut text = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        let mut out = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        assert_eq!(out, "");
        match status.code() {
            Some(0) if text.is_empty() => End::Silent,
            Some(2) => End::Woke(text),
            code => panic!("{code:?}: {text}"),
        }
    }

    #[track_caller]
    fn woke(self) -> String {
        match self.end() {
            End::Woke(text) => text,
            End::Silent => panic!("it had nothing to tell"),
        }
    }

    fn kill(mut self) {
        kill(self.0.id());
        self.0.wait().unwrap();
    }
}

fn standings(run: &RunDir) -> Vec<(String, bool)> {
    Book::read(run)
        .unwrap()
        .items
        .into_iter()
        .map(|item| (item.announcement.id, item.standing == Standing::Settled))
        .collect()
}

#[track_caller]
fn announced(run: &RunDir, part: &str) {
    wait_for(part, || {
        let known = standings(run);
        known.iter().any(|(id, _)| id.contains(part)).then_some(())
    });
}

/// A task that asks, and one that does not.
fn room() -> Room {
    let room = Room::new();
    room.plan(&[("docs", &[]), ("api", &[])]);
    room.script(&json!({
        "docs": {"steps": [
            {"stuck": {"reason": "Which theme? Two exist.", "options": ["dark", "light"]}},
            {"write": {"path": "docs.txt", "text": "x"}}, {"commit": "docs"},
        ]},
        "api": writes("api.txt", "x"),
    }));
    room
}

/// The journey of one run through several sessions, with kills at the bad moments.
#[test]
fn a_question_and_the_end_are_told_once_whoever_is_killed() {
    let room = room();
    let mut first = Client::start(&room, "first");
    // A session that hears of nothing is not disturbed.
    assert_eq!(first.begin("startup").end(), End::Silent);
    assert_eq!(first.stop().end(), End::Silent);
    let run = first.run(&["--detach"]);

    // One process waits for each client, and goes with it.
    let waiting = first.stop();
    first.wait_until_attended_to();
    assert_eq!(first.stop().end(), End::Silent);
    let event = json!({"hook_event_name": "Stop"});
    assert_eq!(first.hook_with(&event, false).end(), End::Silent, "with -p");
    let text = waiting.woke();
    for part in [
        "docs is STUCK. It says:\n> Which theme? Two exist.\nIts options:\n> 1. dark\n> 2. light\n",
        "/orchestra-control answer docs \"TEXT\"",
        "Do not answer, choose or act on it",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // Another session is told nothing while the client of the first has it.
    let mut second = Client::start(&room, "second");
    first.takes(&text, false);
    assert_eq!(second.begin("startup").end(), End::Silent);
    // The first dies before its model said anything: the second is told.
    first.kill();
    let again = second.begin("startup").woke();
    assert_eq!(again, text);
    // It dies after that: nobody is told again, but somebody hears of the run.
    second.takes(&again, true);
    second.kill();
    let third = Client::start(&room, "third");
    let waiting = third.begin("startup");
    third.wait_until_attended_to();
    wait_for("the mark", || standings(&run)[0].1.then_some(()));

    // The process that waits is killed, and so is the conductor. The next one is told of the
    // end, and once.
    waiting.kill();
    room.kill_conductor();
    room.orchestra(&["control", "answer", "docs", "light"])
        .expect(0);
    let waiting = third.stop();
    let text = waiting.woke();
    assert!(text.contains("is FINISHED: SUCCESS"), "{text}");
    assert!(!text.contains("STUCK"), "{text}");
    third.takes(&text, true);
    assert_eq!(third.stop().end(), End::Silent);
    assert!(standings(&run).iter().all(|(_, settled)| *settled));
    // Nothing of it is left: neither a seat nor a process.
    let fourth = Client::start(&room, "fourth");
    assert_eq!(fourth.begin("startup").end(), End::Silent);
    assert!(seats::all(&Layout::new(&room.repo)).is_empty());
    drop((third, fourth));
    room.assert_tidy();
}

/// What a killed conductor did not announce, what a killed hook did not hand over, and a
/// client that is cleared, resumed, or gone.
#[test]
fn nothing_is_lost_between_two_writes() {
    let room = Room::new();
    room.plan(&[("api", &[])]);
    room.script(&json!({"api": writes("api.txt", "x")}));
    let mut client = Client::start(&room, "one");
    let run = client.run(&["--detach"]);
    room.wait_until_closed(&run);
    announced(&run, "finished/");

    // As if the conductor had died after its last record.
    wait_for("the conductor's end", || {
        (!lock::may_be_held(&run.conductor_lock())).then_some(())
    });
    let ledger = announcements::ledger(&run);
    let text = fs::read_to_string(&ledger).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.contains("since"), "{text}");
    fs::write(&ledger, format!("{first}\n{{\"v\":1,\"at\":5,\"ent")).unwrap();
    // As if a hook had died between its claim and its exit: the client lives, and never got it.
    announcements::announce(&run, vec![], Timestamp(0)).unwrap();
    let seq = room
        .journal(&run)
        .iter()
        .rfind(|line| line.entry == Record::Closed)
        .unwrap()
        .seq;
    orchestra::conduct::announce::complete(&run).unwrap();
    let by = Claimant {
        session: "one".into(),
        transcript: client.transcript(),
        client: listen::process_name(client.process.id()).unwrap(),
        ..Claimant::default()
    };
    let claimed = LedgerEntry::Claimed {
        ids: vec![format!("finished/{seq}")],
        by,
    };
    let now = orchestra::conduct::now();
    let mut held = Ledger::open(&run).unwrap().unwrap();
    held.append(vec![claimed], Timestamp(now.0 - 60_000))
        .unwrap();
    drop(held);
    let text = client.stop().woke();
    assert!(text.contains("is FINISHED"), "{text}");
    assert_eq!(standings(&run).len(), 1);

    // The client has it, and dies before the answer. Resumed under the same name, it is told.
    client.takes(&text, false);
    client.kill();
    let mut client = Client::start(&room, "one");
    let text = client.begin("resume").woke();
    client.takes(&text, true);

    // Another run, whose session is cleared: its client goes on under another name.
    let next = client.run(&["--detach"]);
    room.wait_until_closed(&next);
    client.session = "two";
    let text = client.begin("clear").woke();
    assert!(text.contains(next.id().as_str()), "{text}");
    client.takes(&text, true);
    assert_eq!(client.stop().end(), End::Silent);

    // A hook whose client is gone ends: the client held the other end of its output.
    room.script(&json!({"api": {"steps": [{"stuck": {"reason": "?"}}]}}));
    let last = client.run(&["--detach"]);
    announced(&last, "stuck/");
    let text = client.stop().woke();
    client.takes(&text, true);
    let mut waiting = client.stop();
    client.wait_until_attended_to();
    drop((waiting.0.stdout.take(), waiting.0.stderr.take()));
    wait_for("the end of an orphan", || waiting.0.try_wait().unwrap());

    // What was answered is not told any more.
    let docs = TaskName::parse("api").unwrap();
    let moot = Announcement::stuck(last.id(), &docs, "stuck-0-0", "old", &[]);
    announcements::announce(&last, vec![moot], orchestra::conduct::now()).unwrap();
    let waiting = client.stop();
    client.wait_until_attended_to();
    wait_for("the mark", || {
        standings(&last).iter().all(|(_, s)| *s).then_some(())
    });
    waiting.kill();
    room.orchestra(&["control", "cancel"]).expect(0);
    room.wait_until_closed(&last);
}

/// A command that follows a run to its end tells it; no session is told besides.
#[test]
fn a_following_command_is_the_announcement() {
    let room = room();
    let client = Client::start(&room, "one");
    let run = client.run(&["--detach"]);
    announced(&run, "stuck/");
    let waits = room.start(&["wait"]);
    wait_for("a follower", || {
        lock::may_be_held(&announcements::follower_lock(&run)).then_some(())
    });
    let text = client.stop().woke();
    client.takes(&text, true);
    let waiting = client.stop();
    client.wait_until_attended_to();
    room.orchestra(&["control", "answer", "docs", "light"])
        .expect(0);
    waits.end().expect(0);
    assert_eq!(waiting.end(), End::Silent);
    assert!(standings(&run).iter().all(|(_, settled)| *settled));
}

/// A command of the person's own is run for each announcement, with the data in variables.
/// One that fails is told of once; one that hangs holds nothing up.
#[test]
fn notifications_are_given_and_hold_nothing_up() {
    let room = room();
    room.script(&json!({
        "docs": {"steps": [
            {"stuck": {"reason": "Which \"theme\"; $(touch $ROOM/evil)?"}},
            {"write": {"path": "docs.txt", "text": "x"}}, {"commit": "docs"},
        ]},
        "api": writes("api.txt", "x"),
    }));
    let command = "echo \"$ORCHESTRA_EVENT|$ORCHESTRA_TASK|$ORCHESTRA_TEXT\" >> \"$ROOM/told\"; \
                   [ $ORCHESTRA_EVENT = stuck ] && exit 3; sleep 600";
    room.write(
        ".claude/orchestra.toml",
        &format!("notify_command = {}\n", json!(command)),
    );
    room.git(&["add", "-A"]);
    room.git(&["commit", "--quiet", "-m", "Configuration"]);
    let run = Client::start(&room, "one").run(&["--detach"]);
    let told = || fs::read_to_string(room.path("told")).unwrap_or_default();
    wait_for("the first", || told().contains('\n').then_some(()));
    let id = run.id();
    let expected =
        format!("stuck|docs|docs is stuck: Which \"theme\"; $(touch $ROOM/evil)? ({id})\n");
    assert_eq!(told(), expected);
    assert!(!room.path("evil").exists());
    room.orchestra(&["control", "answer", "docs", "light"])
        .expect(0);
    room.wait_until_closed(&run);
    wait_for("the second", || {
        told().contains("\nfinished||").then_some(())
    });
    // The command hangs, and the run is free for whatever is asked of it.
    wait_for("the lock", || {
        (!lock::may_be_held(&run.conductor_lock())).then_some(())
    });
    let log = fs::read_to_string(run.log()).unwrap();
    let said = log
        .matches("a notification could not be given: exit code 3")
        .count();
    assert_eq!(said, 1, "{log}");
}
