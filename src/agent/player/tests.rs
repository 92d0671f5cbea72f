use std::io::Cursor;

use super::*;
use crate::format::claude_stream::{Event, parse_line, user_message};

struct Room {
    dir: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let room = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(room.dir.path().join(".git")).unwrap();
        room
    }

    fn play(&self, script: &str, resume: bool, messages: &[&str]) -> (u8, Vec<Event>, String) {
        let path = self.dir.path().join(".git/script.json");
        std::fs::write(&path, script).unwrap();
        let options = PlayOptions {
            script: Some(path),
            task: "a".into(),
            attempt: 1,
            session: "s1".into(),
            resume,
            max_budget_usd: None,
        };
        let input: String = messages.iter().map(|m| user_message(m)).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = play(
            &options,
            Cursor::new(input.into_bytes()),
            &mut out,
            &mut err,
            self.dir.path(),
            &Environment::from_vars([("PATH", "/usr/bin:/bin")]),
        );
        let events = out.split(|b| *b == b'\n').filter_map(parse_line).collect();
        (code, events, String::from_utf8(err).unwrap())
    }
}

fn results(events: &[Event]) -> usize {
    events
        .iter()
        .filter(|e| matches!(e, Event::Result(_)))
        .count()
}

#[test]
fn turns_go_on_with_the_next_message() {
    let room = Room::new();
    let (code, events, err) = room.play(
        r#"{"tasks":{"a":{"steps":[{"write":{"path":"d/x","text":"1"}},"end_turn",
            {"require":{"path":"d/x","contains":"1"}},{"append":{"path":"d/x","text":"2"}}]}}}"#,
        false,
        &["go", "on", "and on"],
    );
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(results(&events), 3);
    let text = std::fs::read_to_string(room.dir.path().join("d/x")).unwrap();
    assert_eq!(text, "12");
}

#[test]
fn a_resumed_session_goes_on_and_is_not_made_twice() {
    let room = Room::new();
    let script = r#"{"tasks":{"a":{"steps":[{"say":"one"},{"exit":3},{"say":"two"}]}}}"#;
    assert!(
        room.play(script, true, &["go"])
            .2
            .contains("No conversation")
    );
    assert_eq!(room.play(script, false, &["go"]).0, 3);
    assert!(
        room.play(script, false, &["go"])
            .2
            .contains("already in use")
    );
    let (code, events, _) = room.play(script, true, &["go"]);
    assert_eq!(code, 0);
    let said: Vec<&str> = events
        .iter()
        .filter_map(|e| match e {
            Event::Assistant(a) => Some(a.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(said, ["two"]);
}

#[test]
fn an_unmet_requirement_ends_with_its_own_code() {
    let (code, _, err) = Room::new().play(
        r#"{"tasks":{"a":{"steps":[{"require":{"path":"absent"}}]}}}"#,
        false,
        &["go"],
    );
    assert_eq!(code, 9);
    assert!(err.contains("absent is needed"), "{err}");
}

#[test]
fn the_command_line_is_read() {
    let parse = |line: &str| PlayOptions::parse(line.split(' ').map(OsString::from));
    let options = parse("--task a --attempt 2 --resume s").unwrap();
    assert!(options.resume && options.attempt == 2 && options.session == "s");
    for wrong in [
        "--task a",
        "--task",
        "--dance a",
        "--task a --attempt x --resume s",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
