//! A run from its start to a clean workspace.

use std::collections::BTreeMap;
use std::fs;

use orchestra::core::record::{Place, Record};
use orchestra::core::time::Timestamp;
use serde_json::{Value, json};

use super::harness::{Room, writes};

/// Two tasks meet: each goes on only when the other one is at work too.
fn meets(own: &str, other: &str) -> Value {
    json!({"run": format!(
        "touch \"$ROOM/{own}\"; for n in $(seq 600); do \
         [ -e \"$ROOM/{other}\" ] && echo met > met-{own} && break; sleep 0.05; done"
    )})
}

const GRAPH: &[(&str, &[&str])] = &[
    ("database-schema", &[]),
    ("api-endpoints", &["database-schema"]),
    ("frontend-components", &["api-endpoints"]),
    ("documentation", &["api-endpoints", "frontend-components"]),
    ("testing", &["api-endpoints", "frontend-components"]),
];

#[test]
fn the_five_task_graph_runs_in_four_phases_and_leaves_a_clean_workspace() {
    let room = Room::new();
    room.plan(GRAPH);
    let mut script = serde_json::Map::new();
    for (name, needs) in GRAPH {
        let mut steps: Vec<Value> = needs
            .iter()
            .map(|need| json!({"require": {"path": format!("src/{need}"), "contains": need}}))
            .collect();
        steps.push(json!({"write": {"path": format!("src/{name}"), "text": format!("{name}\n")}}));
        match *name {
            "documentation" => {
                steps.push(meets("documentation", "testing"));
                steps.push(json!({"require": {"path": "met-documentation"}}));
            }
            "testing" => {
                steps.push(meets("testing", "documentation"));
                steps.push(json!({"require": {"path": "met-testing"}}));
            }
            _ => {}
        }
        steps.push(json!({"commit": format!("Add {name}")}));
        script.insert((*name).into(), json!({ "steps": steps }));
    }
    room.script(&Value::Object(script));
    let output = room.path("results.json");
    room.run(&[
        "--verify",
        "test -e src/database-schema",
        "--output",
        output.to_str().unwrap(),
    ])
    .expect(0);

    let run = room.only_run();
    let mut starts: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut ends: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for line in room.journal(&run) {
        match line.entry {
            Record::AttemptStarted { task, attempt, .. } => {
                assert_eq!(attempt, 1, "{task} needed one attempt");
                starts.insert(task.to_string(), line.at);
            }
            Record::AttemptEnded { task, .. } => {
                ends.insert(task.to_string(), line.at);
            }
            Record::Prepared { task, place } => {
                places.insert(task.to_string(), place);
            }
            _ => {}
        }
    }
    for (name, needs) in GRAPH {
        for need in *needs {
            assert!(
                starts[*name] >= ends[*need],
                "{name} began before {need} ended"
            );
            let base = &places[*name].base;
            assert_eq!(room.git(&["show", &format!("{base}:src/{need}")]), *need);
        }
        assert_eq!(room.read(&format!("src/{name}")), format!("{name}\n"));
    }
    // That the last two were at work at the same time, they found out themselves.
    assert!(starts["documentation"] < ends["testing"]);
    assert!(starts["testing"] < ends["documentation"]);
    assert_eq!(room.read("met-documentation"), "met\n");
    room.assert_tidy();

    let own: Value = serde_json::from_slice(&fs::read(run.results()).unwrap()).unwrap();
    let copy: Value = serde_json::from_slice(&fs::read(&output).unwrap()).unwrap();
    assert_eq!(own, copy);
    assert_eq!(own["tasks"].as_array().unwrap().len(), 5);
    assert!(run.success_report().exists());
    assert!(!run.failure_report().exists());
}

#[test]
fn a_sample_task_file_can_be_run_from_anywhere() {
    let room = Room::new();
    let elsewhere = room.path("home");
    room.orchestra_in(&elsewhere, &["init", "tasks.json"])
        .expect(0);
    let repo = room.repo.display().to_string();
    room.orchestra_in(
        &elsewhere,
        &[
            "run",
            "--tasks",
            "tasks.json",
            "--repo",
            &repo,
            "--output",
            "results.json",
            "--agent",
            "scripted",
        ],
    )
    .expect(0);
    let results: Value =
        serde_json::from_slice(&fs::read(elsewhere.join("results.json")).unwrap()).unwrap();
    assert!(!results["tasks"].as_array().unwrap().is_empty());
    room.assert_tidy();
}

#[test]
fn nothing_of_what_is_said_is_executed_or_changed() {
    let room = Room::new();
    let nasty = "\"quoted\" 'single' $(touch \"$ROOM/pwned\") `touch $ROOM/pwned`\n\
                 ; touch pwned & | > pwned\r\n\\ \u{1f980} %s {{x}} --flag\n";
    let long = format!("{nasty}{}", "0123456789".repeat(10_000));
    room.plan_of(&json!({
        "request": long,
        "tasks": [
            {"name": "one", "description": nasty, "prompt": nasty,
             "success_criteria": [nasty.trim()]},
            {"name": "two", "description": long, "dependencies": ["one"]},
        ],
    }));
    room.script(&json!({
        "one": {"steps": [
            {"write": {"path": "one", "text": nasty}},
            {"write_prompt": "prompt"},
            {"commit": nasty},
            {"say": nasty},
        ]},
        "two": {"steps": [{"write_prompt": "prompt-2"}, {"commit": nasty}, {"say": long}]},
    }));
    let ended = room.run(&["--verify", "test -e one"]).expect(0);
    assert!(!ended.err.contains('\u{1b}'));
    let run = room.only_run();
    assert_eq!(fs::read_to_string(run.request()).unwrap(), long);
    assert_eq!(room.read("one"), nasty);
    assert!(room.read("prompt").contains(nasty.trim()));
    assert!(room.read("prompt-2").contains(long.trim()));
    assert!(!room.path("pwned").exists());
    assert_eq!(room.git(&["ls-files", "*pwned*"]), "");
    let message = room.git(&["log", "-1", "--format=%B", "HEAD^2"]);
    assert_eq!(
        message.trim(),
        nasty.replace("\r\n", "\n").trim().to_owned()
    );
    room.assert_tidy();
}

#[test]
fn two_instances_never_share_ports_and_their_settings_are_not_committed() {
    let room = Room::new();
    room.write(".worktreeinclude", "ignored\n");
    room.git(&["add", "-A"]);
    room.git(&["commit", "--quiet", "-m", "Include"]);
    room.write("ignored", "a secret of this checkout\n");
    room.plan(&[("left", &[]), ("right", &[])]);
    let steps = |own: &str, other: &str| {
        json!({"steps": [
            meets(own, other),
            {"require": {"path": "ignored", "contains": "a secret of this checkout"}},
            {"require": {"path": ".claude/settings.local.json"}},
            {"require": {"path": "set-up", "contains": "yes"}},
            {"run": format!(
                "echo $ORCHESTRA_PORT_BASE > {own}.port; \
                 echo $COMPOSE_PROJECT_NAME > {own}.compose; git rm --quiet --cached set-up"
            )},
            {"run": "git add -A && git reset --quiet set-up met-* && rm -f set-up met-* && git commit -qm Work"},
        ]})
    };
    room.script(&json!({
        "left": steps("left", "right"),
        "right": steps("right", "left"),
    }));
    room.run(&["--setup", "echo yes > set-up"]).expect(0);
    let left = room.read("left.port");
    let right = room.read("right.port");
    assert!(!left.trim().is_empty());
    assert_ne!(left, right);
    assert_ne!(room.read("left.compose"), room.read("right.compose"));
    let files = room.git(&["ls-tree", "-r", "--name-only", "HEAD"]);
    assert!(!files.contains("settings.local"), "{files}");
    assert!(!files.contains("ignored\n") || files.contains(".gitignore"));
    assert_eq!(room.read("ignored"), "a secret of this checkout\n");
    room.assert_tidy();
}

#[test]
fn a_set_up_command_that_fails_is_told_and_not_tried_again() {
    let room = Room::new();
    room.plan(&[("only", &[]), ("more", &[])]);
    let ended = room
        .run(&["--setup", "echo no such tool >&2; exit 7"])
        .expect(1);
    assert!(ended.out.contains("no such tool"), "{}", ended.out);
    let run = room.only_run();
    let starts = room
        .records(&run)
        .iter()
        .filter(|r| matches!(r, Record::AttemptStarted { .. }))
        .count();
    assert_eq!(starts, 2);
    assert_eq!(room.status(&run, "only")["status"], "failed");
    room.assert_quiet();
}

#[test]
fn two_runs_at_once_with_the_same_names_do_not_meet() {
    let room = Room::new();
    room.plan(&[("api", &[]), ("docs", &["api"])]);
    let script = |n: u32| {
        let path = room.path(&format!("script-{n}.json"));
        let tasks = json!({"tasks": {
            "api": {"steps": [
                {"run": format!("touch \"$ROOM/run-{n}\"; for n in $(seq 600); do \
                    [ -e \"$ROOM/run-1\" ] && [ -e \"$ROOM/run-2\" ] && break; sleep 0.05; done")},
                {"write": {"path": format!("api-{n}"), "text": "x\n"}}, {"commit": "Api"}]},
            "docs": writes(&format!("docs-{n}"), "y\n"),
        }});
        fs::write(&path, tasks.to_string()).unwrap();
        path.display().to_string()
    };
    let plan = room.path("plan.json").display().to_string();
    let begin = |script: &str| {
        room.start(&[
            "run", "--tasks", &plan, "--agent", "scripted", "--verify", "true", "--script", script,
        ])
    };
    let (one, two) = (script(1), script(2));
    let first = begin(&one);
    let second = begin(&two);
    first.end().expect(0);
    second.end().expect(0);
    for file in ["api-1", "docs-1", "api-2", "docs-2"] {
        assert!(room.repo.join(file).exists(), "{file}");
    }
    assert_eq!(room.runs().len(), 2);
    room.assert_tidy();
}
