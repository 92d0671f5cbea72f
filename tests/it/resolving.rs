//! Conflicts that instances resolve.

use orchestra::core::record::{IntegrationEnd, Record};
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::Room;

/// A file with a middle on which two tasks disagree.
const BEFORE: &str = "top\none\ntwo\nthree\nmiddle\nfour\nfive\nsix\nbottom\n";

/// The file with this middle.
fn file(middle: &str) -> String {
    BEFORE.replace("middle", middle)
}

/// The steps of a task that changes the middle.
fn changes(middle: &str) -> Value {
    json!({"steps": [
        {"write": {"path": "file", "text": file(middle)}},
        {"commit": format!("Make it {middle}")},
        {"say": format!("The middle is {middle} now.")},
    ]})
}

/// The steps of a resolver that writes the file and ends the merge.
fn ends_merge(text: &str) -> Vec<Value> {
    vec![
        json!({"require": {"path": "file", "contains": "<<<<<<< "}}),
        json!({"write": {"path": "file", "text": text}}),
        json!({"run": "git add -A && git commit --quiet --no-edit"}),
    ]
}

/// Two tasks that conflict, and what their resolvers do, by name.
fn room(resolvers: &[(&str, Value)]) -> Room {
    let room = Room::new();
    room.commit("file", BEFORE);
    room.plan_of(&json!({"tasks": [
        {"name": "loud", "prompt": "Make the middle loud"},
        {"name": "polite", "prompt": "Make the middle polite"},
    ]}));
    let mut tasks = json!({"loud": changes("MIDDLE"), "polite": changes("middle, please")});
    for (name, part) in resolvers {
        tasks[*name] = part.clone();
    }
    room.script(&tasks);
    room
}

const VERIFY: &str = "grep -q . file && ! grep -q '^<<<<' file";

fn resolvers(room: &Room, run: &RunDir) -> Vec<String> {
    let records = room.records(run);
    let names = records.iter().filter_map(|r| match r {
        Record::ResolverAdded { resolution } => Some(resolution.resolver.to_string()),
        _ => None,
    });
    names.collect()
}

fn integration(room: &Room, run: &RunDir) -> Option<IntegrationEnd> {
    room.records(run).into_iter().rev().find_map(|r| match r {
        Record::IntegrationEnded { result } => Some(result),
        _ => None,
    })
}

fn prompt(run: &RunDir, task: &str) -> Value {
    let path = run.launch(&orchestra::core::id::TaskName::parse(task).unwrap());
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_conflict_is_resolved_verified_delivered_and_tidied_up() {
    let both = file("MIDDLE, PLEASE");
    let room = room(&[("resolve-polite", json!({"steps": ends_merge(&both)}))]);
    room.run(&["--verify", VERIFY]).expect(0);
    let run = room.only_run();
    assert_eq!(resolvers(&room, &run), ["resolve-polite"]);
    assert_eq!(room.read("file"), both);
    assert!(matches!(
        integration(&room, &run),
        Some(IntegrationEnd::Delivered { verified: true, .. })
    ));
    // Everybody's work is in the history.
    let log = room.git(&["log", "--format=%s", "main"]);
    for subject in [
        "Make it MIDDLE",
        "Make it middle, please",
        "Merge polite with loud",
    ] {
        assert!(log.contains(subject), "{subject}\n{log}");
    }
    let order = prompt(&run, "resolve-polite");
    let told = order["prompt"].as_str().unwrap();
    for words in [
        "Make the middle loud",
        "Make the middle polite",
        "The middle is MIDDLE now.",
        "+middle, please",
        "CONFLICT (content)",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    assert_eq!(order["merging"]["files"], json!(["file"]));
    assert!(order["systemPrompt"].as_str().unwrap().contains("worktree"));
    room.assert_tidy();
}
