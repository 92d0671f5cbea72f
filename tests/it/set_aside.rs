//! What people see of results that are not delivered with the others.

use std::fs;

use orchestra::core::record::Record;
use serde_json::{Value, json};

use super::harness::{Room, writes};

const GOOD: [&str; 8] = ["g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8"];

/// A room where nobody resolves conflicts, and `one` and `clash` do not go together.
fn room() -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.set("COLUMNS", "80");
    room.commit(
        "check.sh",
        "if [ -e g1 ] && [ -e clash ]; then echo 'orders and payments clash'; exit 4; fi\n",
    );
    room
}

/// Asserts that a text has these parts, in this order.
#[track_caller]
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{part:?} is not where it belongs in\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn what_is_set_aside_is_told_with_what_can_be_done() {
    let room = room();
    let mut script: serde_json::Map<String, Value> = GOOD
        .iter()
        .map(|name| ((*name).to_owned(), writes(name, "x\n")))
        .collect();
    script.insert("g2".to_owned(), writes("README.md", "of g2\n"));
    script.insert("other".to_owned(), writes("README.md", "of other\n"));
    script.insert("red".to_owned(), writes("clash", "x\n"));
    // The two come last, so that it is they who are set aside.
    let mut tasks: Vec<Value> = GOOD
        .iter()
        .map(|name| json!({"name": name, "description": format!("Write {name}\nand more")}))
        .collect();
    for (name, after) in [("red", "g1"), ("other", "g2")] {
        let text = format!("Do what {name} is to do");
        tasks.push(json!({"name": name, "description": text, "dependencies": []}));
        let wait = format!(
            "for n in $(seq 600); do grep -q '{after}: done' \
             \"$ROOM\"/repo/.claude/orchestration/*/orchestration.log && break; sleep 0.05; done"
        );
        let own = script[name]["steps"].as_array_mut().unwrap();
        own.insert(0, json!({"run": wait}));
    }
    room.script(&json!(script));
    room.plan_of(&json!({"tasks": tasks}));

    let ended = room
        .run(&["--verify", "sh check.sh", "--max-workers", "10"])
        .expect(5);
    let run = room.only_run();
    let id = run.id().to_string();
    let last_words = [
        "8 of 10 delivered as ",
        " (verified), 2 set aside\nset aside:\n",
        "  red    the tree is red with it and g1 together\n",
        "  other  it conflicts with g2 in README.md\n",
        "orchestra status issues --orchestration ",
    ];
    assert_in_order(&ended.out, &last_words);
    assert_in_order(&room.orchestra(&["wait"]).expect(5).out, &last_words);

    let issues = room.orchestra(&["status", "issues"]).expect(0).out;
    let retry = |name: &str| format!("-> orchestra control retry {name} --orchestration {id}\n");
    assert_in_order(
        &issues,
        &[
            "red - SET ASIDE",
            "passes with it alone and fails",
            "with it and g1 together",
            "| orders and payments clash",
            &retry("red"),
            "other - SET ASIDE",
            "it conflicts with g2 in README.md",
            "other: task/other at ",
            "asked: Do what other is to do",
            "g2: task/g2 at ",
            "asked: Write g2\n",
            &retry("other"),
            "orchestra merge manual",
        ],
    );
    // Nobody resolves conflicts here by themselves; who says how has it resolved.
    assert!(issues.contains("control answer"), "{issues}");
    let summary = room.orchestra(&["status"]).expect(0).out;
    assert_in_order(
        &summary,
        &[
            "results    8 of 10 delivered as",
            "[+] g1 - DONE",
            ", delivered - Write g1",
            "[!] red - DONE",
            ", SET ASIDE - ",
        ],
    );

    let status = room.orchestra(&["status", "--json"]).expect(0).json();
    let results: Value = serde_json::from_slice(&fs::read(run.results()).unwrap()).unwrap();
    for file in [&status, &results] {
        let task = |name: &str| {
            let tasks = file["tasks"].as_array().unwrap();
            let task = tasks.iter().find(|t| t["name"] == name).unwrap();
            task["integration"].clone()
        };
        assert_eq!(task("g8")["state"], "delivered");
        let red = task("red");
        assert_eq!(
            (&red["state"], &red["setAside"]["why"]),
            (&json!("set-aside"), &json!("red"))
        );
        assert_eq!(red["setAside"]["with"], json!(["g1"]));
        let evidence = red["setAside"]["evidence"].as_str().unwrap();
        assert!(evidence.contains("orders and payments clash"), "{evidence}");
        let commit = red["setAside"]["commit"].as_str().unwrap();
        assert!(!room.git(&["show", &format!("{commit}:clash")]).is_empty());
        let conflict = &task("other")["setAside"];
        assert_eq!(conflict["why"], "conflict");
        assert_eq!(conflict["files"], json!(["README.md"]));
        assert_eq!(conflict["with"], json!(["g2"]));
        assert!(file["verifyRuns"].as_u64().unwrap() > 1);
        assert_eq!(file["flaky"], json!([]));
    }
    let report = fs::read_to_string(run.success_report()).unwrap();
    assert_in_order(
        &report,
        &[
            "**Integration**: 8 of 10 delivered as",
            "## Set aside",
            "orders and payments clash",
            "asked: Do what other is to do",
            "## Next steps",
            "control retry red",
            "control retry other",
        ],
    );

    // What was named can be done.
    room.orchestra(&["control", "retry", "red"]).expect(0);
    room.wait_for_record(
        &run,
        "a new chance for red",
        |record| matches!(record, Record::TaskRevived { task } if task.as_str() == "red"),
    );
    room.orchestra(&["control", "cancel"]).expect(0);
    let _ = room.orchestra(&["wait"]);
}

#[test]
fn too_little_to_deliver_waits_on_a_branch_until_it_is_asked_for() {
    let room = room();
    room.plan(&[("one", &[]), ("two", &[]), ("three", &[])]);
    room.script(&json!({
        "one": writes("README.md", "of one\n"),
        "two": writes("README.md", "of two\n"),
        "three": writes("three", "x\n"),
    }));
    let ended = room.run(&["--verify", "sh check.sh"]).expect(8);
    let run = room.only_run();
    let id = run.id().to_string();
    let branch = format!("orchestra/{id}");
    assert_in_order(
        &ended.out,
        &[
            "nothing was delivered: only 2 of 3 results can be (80% are needed)\nset aside:\n",
            "in README.md\n",
            &format!(
                "orchestra merge automatic --orchestration {id} - delivers the others; they wait on {branch}\n"
            ),
        ],
    );
    assert_eq!(room.git(&["show", &format!("{branch}:three")]), "x");
    let report = fs::read_to_string(run.failure_report()).unwrap();
    assert!(report.contains(&branch), "{report}");
    let results: Value = serde_json::from_slice(&fs::read(run.results()).unwrap()).unwrap();
    assert_eq!(results["integration"]["branch"], branch.as_str());

    let merged = room.orchestra(&["merge", "automatic"]).expect(5);
    assert_in_order(
        &merged.out,
        &["2 of 3 delivered as ", "set aside:\n", "README.md\n"],
    );
    assert_eq!(room.read("three"), "x\n");
}
