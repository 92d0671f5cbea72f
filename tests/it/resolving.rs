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
    // Results are merged in the plan's order, so that it is known whose conflict it is.
    room.write(".claude/orchestra.toml", "merge_early = false\n");
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
fn what_builds_on_both_sides_begins_with_what_the_resolver_made_of_them() {
    let room = Room::new();
    room.commit("file", BEFORE);
    room.plan_of(&json!({"tasks": [
        {"name": "loud"}, {"name": "polite"},
        {"name": "both", "dependencies": ["loud", "polite"]},
    ]}));
    let resolver = json!({"steps": ends_merge(&file("MIDDLE, PLEASE"))});
    room.script(&json!({
        "loud": changes("MIDDLE"), "polite": changes("middle, please"),
        "resolve-loud": resolver, "resolve-polite": resolver,
        "both": {"steps": [
            {"require": {"path": "file", "contains": "MIDDLE, PLEASE"}},
            {"write": {"path": "both", "text": "x\n"}}, {"commit": "Both"}]},
    }));
    room.run(&["--verify", VERIFY]).expect(0);
    assert!(room.repo.join("both").exists());
    assert_eq!(room.read("file"), file("MIDDLE, PLEASE"));
    assert_eq!(resolvers(&room, &room.only_run()).len(), 1);
    room.assert_tidy();
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

#[test]
fn one_that_leaves_markers_is_sent_back() {
    let both = file("MIDDLE, PLEASE");
    let mut steps = vec![
        json!({"run": "git add -A && git commit --quiet --no-edit"}),
        json!("end_turn"),
        json!({"run": "cp file \"$ROOM/seen\""}),
        json!({"write_prompt": "../told"}),
    ];
    steps.push(json!({"write": {"path": "file", "text": both}}));
    steps.push(json!({"commit": "Remove the markers"}));
    let room = room(&[("resolve-polite", json!({"steps": steps}))]);
    room.run(&["--verify", "true"]).expect(0);
    let run = room.only_run();
    assert_eq!(room.read("file"), both);
    let log = std::fs::read_to_string(run.log()).unwrap();
    assert!(
        log.contains("resolve-polite: sent back: conflict markers in file\n"),
        "{log}"
    );
    let told = std::fs::read_to_string(room.worktree("told")).unwrap();
    for words in ["`<<<<<<< HEAD`", "`=======`", "line 5"] {
        assert!(told.contains(words), "{told}");
    }
    let seen = std::fs::read_to_string(room.path("seen")).unwrap();
    assert!(
        seen.contains(">>>>>>> "),
        "it began with the markers: {seen}"
    );
    assert_eq!(resolvers(&room, &run), ["resolve-polite"]);
}

#[test]
fn one_that_edits_elsewhere_is_sent_back() {
    let both = file("MIDDLE, PLEASE");
    let mut steps = ends_merge(&both.replace("top", "better top"));
    steps.insert(
        1,
        json!({"append": {"path": "README.md", "text": "also\n"}}),
    );
    steps.extend([
        json!("end_turn"),
        json!({"write_prompt": "../told"}),
        json!({"run": "git checkout --quiet HEAD^1 -- README.md"}),
        json!({"write": {"path": "file", "text": both}}),
        json!({"commit": "Only the conflict"}),
    ]);
    let room = room(&[("resolve-polite", json!({"steps": steps}))]);
    room.run(&["--verify", "true"]).expect(0);
    let run = room.only_run();
    assert_eq!(room.read("file"), both);
    assert_eq!(room.read("README.md"), "base\n");
    let log = std::fs::read_to_string(run.log()).unwrap();
    assert!(
        log.contains(
            "resolve-polite: sent back: 1 file changed that was not in conflict, file changed \
             outside of the conflict\n"
        ),
        "{log}"
    );
    let told = std::fs::read_to_string(room.worktree("told")).unwrap();
    assert!(told.contains("README.md"), "{told}");
    assert!(told.contains("the line `top` (line 1 of"), "{told}");
}

#[test]
fn one_that_throws_the_merge_away_is_sent_back() {
    let both = file("MIDDLE, PLEASE");
    let mut steps = vec![
        json!({"run": "git merge --abort"}),
        json!({"write": {"path": "file", "text": both}}),
        json!({"commit": "By hand"}),
        json!("end_turn"),
        json!({"write_prompt": "../told"}),
        json!({"run": "git merge --quiet --no-commit --no-ff $(sed -n 's/.*--no-ff \\([0-9a-f]*\\)`.*/\\1/p' ../told | head -1)"}),
    ];
    steps.extend(ends_merge(&both));
    let room = room(&[("resolve-polite", json!({"steps": steps}))]);
    room.run(&["--verify", "true"]).expect(0);
    let run = room.only_run();
    assert_eq!(room.read("file"), both);
    let log = std::fs::read_to_string(run.log()).unwrap();
    assert!(
        log.contains("resolve-polite: sent back: not merged\n"),
        "{log}"
    );
}

/// The steps of a resolver that cannot do it and does not wait.
fn gives_up() -> Value {
    json!({"attempts": [[
        {"stuck": {"reason": "Loud or polite?", "options": ["loud", "polite"]}},
        {"exit": 1},
    ]]})
}

#[test]
fn a_conflict_that_no_instance_resolves_waits_for_a_person_and_is_delivered_then() {
    let both = file("MIDDLE, PLEASE");
    let mut steps = vec![json!({"write_prompt": "../told"})];
    steps.extend(ends_merge(&both));
    let room = room(&[
        ("resolve-polite", gives_up()),
        ("resolve-polite-2", json!({"steps": steps})),
    ]);
    room.commit(
        ".claude/orchestra.toml",
        "merge_early = false\nanswer_timeout_seconds = 1\n",
    );
    room.run(&["--verify", VERIFY]).expect(8);
    let issues = room.orchestra(&["status", "issues"]).expect(0).out;
    for part in [
        "asked: Make the middle polite",
        "did: The middle is MIDDLE now.",
        "orchestra control answer polite",
    ] {
        assert!(issues.contains(part), "{part}: {issues}");
    }
    let run = room.only_run();
    let end = integration(&room, &run);
    assert!(
        matches!(&end, Some(IntegrationEnd::Conflict { task, .. }) if task.as_str() == "polite"),
        "{end:?}"
    );
    assert_eq!(room.read("file"), BEFORE);
    let log = std::fs::read_to_string(run.log()).unwrap();
    assert!(log.contains("polite: SET ASIDE"), "{log}");

    // What needs no answer says so.
    let refused = room.orchestra(&["control", "answer", "loud", "Hello"]);
    assert_ne!(refused.code, 0);
    assert!(
        refused.err.contains("no instance that could be told"),
        "{}",
        refused.err
    );

    let said = room
        .orchestra(&[
            "control",
            "answer",
            "polite",
            "Both: loud and polite",
            "--json",
        ])
        .expect(0)
        .json();
    assert_eq!(said["request"]["request"], "resolve");
    room.orchestra(&["wait"]).expect(0);
    assert_eq!(
        resolvers(&room, &run),
        ["resolve-polite", "resolve-polite-2"]
    );
    assert_eq!(room.read("file"), both);
    let told = std::fs::read_to_string(room.worktree("told")).unwrap();
    assert!(told.contains("Both: loud and polite"), "{told}");
    std::fs::remove_file(room.worktree("told")).unwrap();
    let _ = std::fs::remove_dir(room.worktree("told").parent().unwrap());
    room.assert_tidy();
}

#[test]
fn a_conductor_that_is_killed_while_a_resolver_works_is_followed_by_another() {
    let both = file("MIDDLE, PLEASE");
    let mut steps = vec![json!({
        "run": "for n in $(seq 600); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done"
    })];
    steps.extend(ends_merge(&both));
    let room = room(&[("resolve-polite", json!({"steps": steps}))]);
    let started = room.start_run(&["--verify", VERIFY]);
    let run = room.only_run();
    room.wait_until_running(&run, "resolve-polite");
    // It is seen among those at work, and counts as no task.
    let status = room.orchestra(&["status", "--json"]).expect(0).json();
    assert_eq!(status["tasksTotal"], 2);
    assert_eq!(status["tasksDone"], 2);
    assert_eq!(status["activeInstances"], 1);
    assert_eq!(status["resolvers"][0]["name"], "resolve-polite");
    for view in ["summary", "detailed"] {
        let shown = room.orchestra(&["status", view]).expect(0).out;
        assert!(
            shown.contains("resolve-polite - ")
                && shown.contains("Resolving the conflict of polite with loud"),
            "{shown}"
        );
    }
    room.kill_conductor();
    std::fs::write(room.path("go"), "").unwrap();
    room.orchestra(&["status"]).expect(0);
    room.wait_until_closed(&run);
    drop(started);
    assert_eq!(room.read("file"), both);
    assert_eq!(resolvers(&room, &run), ["resolve-polite"]);
    assert_eq!(room.inits(&run, "resolve-polite").len(), 1);
    room.assert_tidy();
}

#[test]
fn a_resolver_that_is_stuck_is_answered_by_its_name() {
    let both = file("MIDDLE, PLEASE");
    let mut steps = vec![
        json!({"stuck": {"reason": "Loud or polite?", "options": ["loud", "polite"]}}),
        json!({"write_prompt": "../told"}),
    ];
    steps.extend(ends_merge(&both));
    let room = room(&[("resolve-polite", json!({"steps": steps}))]);
    let started = room.start_run(&["--verify", VERIFY]);
    let run = room.only_run();
    super::harness::wait_for("a question", || {
        let issues = room.orchestra(&["status", "issues"]).out;
        issues
            .contains("orchestra control answer resolve-polite")
            .then_some(())
    });
    let refused = room.orchestra(&["control", "answer", "polite", "Both"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("resolve-polite"), "{}", refused.err);
    room.orchestra(&["control", "answer", "resolve-polite", "Both"])
        .expect(0);
    started.end().expect(0);
    assert_eq!(room.read("file"), both);
    let told = std::fs::read_to_string(room.worktree("told")).unwrap();
    assert!(told.contains("Both"), "{told}");
    assert_eq!(resolvers(&room, &run), ["resolve-polite"]);
}

#[test]
fn a_set_up_command_that_stumbles_over_the_markers_is_run_again_at_the_end() {
    let both = file("MIDDLE, PLEASE");
    let room = room(&[("resolve-polite", json!({"steps": ends_merge(&both)}))]);
    let set_up = "! grep '^<<<<' file && touch ignored # ready";
    room.run(&["--setup", set_up, "--verify", "test -e ignored # good"])
        .expect(0);
    assert_eq!(room.read("file"), both);
    room.assert_tidy();
}

#[test]
fn every_style_of_delivery_takes_a_resolved_result() {
    for style in ["squash", "rebase"] {
        let both = file("MIDDLE, PLEASE");
        let room = room(&[("resolve-polite", json!({"steps": ends_merge(&both)}))]);
        let configuration = format!("merge_early = false\ndelivery_style = \"{style}\"\n");
        room.commit(".claude/orchestra.toml", &configuration);
        room.run(&["--verify", VERIFY]).expect(0);
        assert_eq!(room.read("file"), both, "{style}");
        let log = room.git(&["log", "--format=%P|%B", "HEAD~2..HEAD"]);
        assert!(!log.contains("Merge commit"), "{log}");
        room.assert_tidy();
    }
}

#[test]
fn a_machine_that_goes_down_while_a_resolver_works_costs_nothing() {
    let both = file("MIDDLE, PLEASE");
    let half = "half done\n";
    let room = room(&[(
        "resolve-polite",
        json!({"attempts": [
            [{"write": {"path": "file", "text": half}}, {"hang": {}}],
            [
                {"require": {"path": "file", "contains": half}},
                {"write": {"path": "file", "text": both}},
                {"run": "git add -A && git commit --quiet --no-edit"},
            ],
        ]}),
    )]);
    let started = room.start_run(&["--verify", VERIFY]);
    let run = room.only_run();
    room.wait_until_running(&run, "resolve-polite");
    super::harness::wait_for("half of the work", || {
        let path = room.worktree("resolve-polite").join("file");
        (std::fs::read_to_string(path).ok()? == half).then_some(())
    });
    room.kill_all();
    drop(started);
    room.orchestra(&["status"]).expect(0);
    room.wait_until_closed(&run);
    assert_eq!(room.read("file"), both);
    assert_eq!(resolvers(&room, &run), ["resolve-polite"]);
    room.assert_tidy();
}

#[test]
fn a_conflict_is_resolved_while_other_tasks_are_worked_on() {
    let both = file("MIDDLE, PLEASE");
    let resolver = json!({"steps": ends_merge(&both)});
    let room = room(&[
        ("resolve-polite", resolver.clone()),
        ("resolve-loud", resolver),
        (
            "slow",
            json!({"steps": [
                {"run": "for n in $(seq 600); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done"},
                {"write": {"path": "slow", "text": "x\n"}},
                {"commit": "Add slow"},
            ]}),
        ),
    ]);
    room.plan_of(&json!({"tasks": [{"name": "loud"}, {"name": "polite"}, {"name": "slow"}]}));
    room.commit(".claude/orchestra.toml", "merge_early = true\n");
    let started = room.start_run(&["--verify", VERIFY]);
    let run = room.only_run();
    room.wait_for_record(
        &run,
        "a resolution",
        |r| matches!(r, Record::AttemptEnded { task, .. } if task.as_str().starts_with("resolve-")),
    );
    assert!(
        !room
            .records(&run)
            .iter()
            .any(|r| matches!(r, Record::AttemptEnded { task, .. } if task.as_str() == "slow"))
    );
    std::fs::write(room.path("go"), "").unwrap();
    started.end().expect(0);
    assert_eq!(room.read("file"), both);
    assert_eq!(room.read("slow"), "x\n");
    room.assert_tidy();
}

#[test]
fn a_resolver_that_is_cancelled_leaves_the_conflict_to_a_person() {
    let room = room(&[("resolve-polite", json!({"steps": [{"hang": {}}]}))]);
    let started = room.start_run(&["--verify", VERIFY]);
    let run = room.only_run();
    room.wait_until_running(&run, "resolve-polite");
    room.orchestra(&["control", "cancel", "resolve-polite"])
        .expect(0);
    started.end().expect(8);
    assert!(matches!(
        integration(&room, &run),
        Some(IntegrationEnd::Conflict { .. })
    ));
    let refused = room.orchestra(&["control", "retry", "resolve-polite"]);
    assert_ne!(refused.code, 0);
    assert!(
        refused.err.contains("control answer polite"),
        "{}",
        refused.err
    );
    room.assert_quiet();
}

#[test]
fn what_one_task_changed_of_another_is_no_conflict_for_a_resolver() {
    for style in ["merge", "squash", "rebase"] {
        let both = file("MIDDLE, PLEASE");
        let room = Room::new();
        let configuration = format!("merge_early = false\ndelivery_style = \"{style}\"\n");
        room.write(".claude/orchestra.toml", &configuration);
        room.write("list", "one\ntwo\nthree\n");
        room.commit("file", BEFORE);
        room.plan_of(&json!({"tasks": [
            {"name": "ground", "prompt": "Add to the list"},
            {"name": "loud", "prompt": "Make the middle loud", "dependencies": ["ground"]},
            {"name": "polite", "prompt": "Make the middle polite", "dependencies": ["ground"]},
        ]}));
        let mut loud = changes("MIDDLE");
        let take_back = json!({"write": {"path": "list", "text": "one\ntwo\nchanged\nthree\n"}});
        loud["steps"].as_array_mut().unwrap().insert(0, take_back);
        room.script(&json!({
            "ground": {"steps": [
                {"write": {"path": "list", "text": "one\ntwo\nadded\nthree\n"}},
                {"commit": "Add"},
            ]},
            "loud": loud,
            "polite": changes("middle, please"),
            "resolve-polite": {"steps": ends_merge(&both)},
        }));
        room.run(&["--verify", "true"]).expect(0);
        assert_eq!(room.read("file"), both, "{style}");
        assert_eq!(room.read("list"), "one\ntwo\nchanged\nthree\n", "{style}");
        let run = room.only_run();
        assert_eq!(
            prompt(&run, "resolve-polite")["merging"]["files"],
            json!(["file"]),
            "{style}"
        );
    }
}

#[test]
fn what_is_settled_mechanically_is_not_left_to_the_resolver() {
    let both = file("MIDDLE, PLEASE");
    let with_note = |middle: &str| {
        let mut part = changes(middle);
        let note = json!({"write": {"path": "NOTES", "text": format!("start\n{middle}\n")}});
        part["steps"].as_array_mut().unwrap().insert(0, note);
        part
    };
    let mut steps = vec![
        json!({"require": {"path": "NOTES", "contains": "start\nMIDDLE\nmiddle, please\n"}}),
        json!({"run": "git status --porcelain=v1 > ../seen"}),
    ];
    steps.extend(ends_merge(&both));
    let room = room(&[
        ("loud", with_note("MIDDLE")),
        ("polite", with_note("middle, please")),
        // The first one leaves a merge that was just begun, as does whoever is killed then.
        (
            "resolve-polite",
            json!({"attempts": [
                [{"run": "git merge --abort; git merge --no-commit --no-ff task/polite; test $? = 1 && grep '^<<<<' NOTES"}, {"exit": 1}],
                steps,
            ]}),
        ),
    ]);
    let configuration = "merge_early = false\nunion_files = [\"NOTES\"]\n";
    room.write("NOTES", "start\n");
    room.commit(".claude/orchestra.toml", configuration);
    room.run(&["--verify", VERIFY]).expect(0);
    assert_eq!(room.read("NOTES"), "start\nMIDDLE\nmiddle, please\n");
    assert_eq!(room.read("file"), both);
    let seen = std::fs::read_to_string(room.worktree("seen")).unwrap();
    assert!(
        seen.contains("UU file\n") && !seen.contains("UU NOTES"),
        "{seen}"
    );
    let run = room.only_run();
    assert_eq!(
        prompt(&run, "resolve-polite")["merging"]["files"],
        json!(["file"])
    );
}
