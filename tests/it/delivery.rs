//! From finished tasks to the base branch, or not.

use std::fs;

use orchestra::core::record::{AsideWhy, IntegrationEnd, Record};
use orchestra::store::layout::RunDir;
use serde_json::json;

use super::harness::{Room, wait_for, writes};

fn tip(room: &Room) -> String {
    room.git(&["rev-parse", "main"])
}

fn integration(room: &Room, run: &RunDir) -> Option<IntegrationEnd> {
    room.records(run).into_iter().rev().find_map(|r| match r {
        Record::IntegrationEnded { result } => Some(result),
        _ => None,
    })
}

fn set_aside(room: &Room, run: &RunDir, name: &str) -> Option<AsideWhy> {
    room.records(run).into_iter().rev().find_map(|r| match r {
        Record::SetAside { task, why } if task.as_str() == name => Some(why),
        _ => None,
    })
}

#[test]
fn a_conflict_delivers_nothing_and_keeps_everything() {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.plan(&[("one", &[]), ("two", &[]), ("three", &[])]);
    room.script(&json!({
        "one": writes("README.md", "of one\n"),
        "two": writes("README.md", "of two\n"),
        "three": writes("three", "x\n"),
    }));
    let before = tip(&room);
    let ended = room.run(&["--verify", "true"]).expect(8);
    assert!(ended.out.contains("README.md"), "{}", ended.out);
    let run = room.only_run();
    assert_eq!(tip(&room), before);
    assert_eq!(room.git(&["status", "--porcelain"]), "");
    assert_eq!(room.task_branches(), ["task/one", "task/three", "task/two"]);
    let end = integration(&room, &run).unwrap();
    assert!(
        matches!(&end, IntegrationEnd::Conflict { files, .. } if files == &["README.md"]),
        "{end:?}"
    );
    let report = fs::read_to_string(run.failure_report()).unwrap();
    assert!(report.contains("README.md"), "{report}");

    let manual = room
        .orchestra(&["merge", "manual", "--json"])
        .expect(0)
        .json();
    let row = |name: &str| {
        let rows = manual["tasks"].as_array().unwrap();
        rows.iter().find(|row| row["task"] == name).unwrap().clone()
    };
    assert_eq!(row("three")["clean"], true);
    assert_eq!(row("one")["conflictsWith"][0]["task"], "two");
    assert_eq!(
        row("one")["conflictsWith"][0]["files"],
        json!(["README.md"])
    );
    assert_eq!(tip(&room), before, "looking changes nothing");

    // A person merges by hand what does not merge by itself.
    room.git(&["merge", "--quiet", "--no-ff", "-m", "One", "task/one"]);
    room.git(&["merge", "--quiet", "-s", "ours", "-m", "Two", "task/two"]);
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert_eq!(room.read("README.md"), "of one\n");
    assert!(room.repo.join("three").exists());
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
}

#[test]
fn what_is_green_alone_and_red_together_is_not_delivered() {
    let room = Room::new();
    room.commit(
        "check.sh",
        "if [ -e one ] && [ -e two ]; then echo they clash; exit 4; fi\n",
    );
    room.plan(&[("one", &[]), ("two", &[])]);
    room.script(&json!({"one": writes("one", "x\n"), "two": writes("two", "x\n")}));
    let before = tip(&room);
    let ended = room.run(&["--verify", "sh check.sh"]).expect(8);
    assert!(ended.out.contains("red"), "{}", ended.out);
    let run = room.only_run();
    assert_eq!(tip(&room), before);
    assert!(!room.repo.join("one").exists());
    let end = integration(&room, &run).unwrap();
    assert!(
        matches!(&end, IntegrationEnd::Red { tail, .. } if tail.contains("they clash")),
        "{end:?}"
    );
    assert!(
        fs::read_to_string(run.failure_report())
            .unwrap()
            .contains("they clash")
    );
    assert_eq!(room.task_branches(), ["task/one", "task/two"]);
    room.assert_quiet();

    // The one that clashed is named, and what it clashes with.
    let names = ["one", "two"];
    let found = names.map(|name| set_aside(&room, &run, name));
    let (aside, with) = match &found {
        [Some(aside), None] => (aside, "two"),
        [None, Some(aside)] => (aside, "one"),
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(aside, AsideWhy::Red { with: found, tail, .. }
            if found.len() == 1 && found[0].as_str() == with && tail.contains("they clash")),
        "{aside:?}"
    );
    // When the check is mended, both are delivered.
    room.commit("check.sh", "true\n");
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert!(room.repo.join("one").exists() && room.repo.join("two").exists());
    assert_eq!(room.read("check.sh"), "true\n");
    assert!(run.success_report().exists());
    assert!(!run.failure_report().exists());
    assert_eq!(room.orchestra(&["wait"]).code, 0);
    room.assert_tidy();
}

#[test]
fn a_base_branch_that_moved_meanwhile_is_kept() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [
            {"run": "for n in $(seq 600); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done"},
            {"write": {"path": "a", "text": "x\n"}}, {"commit": "Add a"}]},
        "b": writes("b", "x\n"),
    }));
    let started = room.start_run(&["--verify", "test -e of-a-person"]);
    // The tasks' own trees do not have the file that is checked for.
    let run = room.only_run();
    room.wait_until_running(&run, "a");
    room.commit("of-a-person", "x\n");
    fs::write(room.path("go"), "").unwrap();
    // Alone they are red; only on top of the moved base they are green.
    let ended = started.end();
    assert_eq!(ended.code, 1, "{}", ended.out);
    assert_eq!(
        room.git(&["log", "--format=%s", "main", "-1"]),
        "Change of-a-person"
    );

    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [
            {"run": "for n in $(seq 600); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done"},
            {"write": {"path": "a", "text": "x\n"}}, {"commit": "Add a"}]},
        "b": writes("b", "x\n"),
    }));
    // While the merged tree is verified, the base moves once more.
    let verify = "if [ -e a ] && [ -e b ] && [ ! -e \"$ROOM/verified\" ]; then \
                  touch \"$ROOM/verified\"; \
                  for n in $(seq 600); do [ -e \"$ROOM/moved\" ] && break; sleep 0.05; done; fi";
    let started = room.start_run(&["--verify", verify]);
    let run = room.only_run();
    room.wait_until_running(&run, "a");
    room.commit("before", "x\n");
    fs::write(room.path("go"), "").unwrap();
    wait_for("verification", || {
        room.path("verified").exists().then_some(())
    });
    room.commit("during", "x\n");
    fs::write(room.path("moved"), "").unwrap();
    started.end().expect(0);
    for file in ["a", "b", "before", "during"] {
        assert!(room.repo.join(file).exists(), "{file}");
    }
    room.assert_tidy();
}

#[test]
fn a_review_waits_on_a_branch() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"])]);
    let before = tip(&room);
    room.run(&["--merge=review", "--verify", "true"]).expect(0);
    let run = room.only_run();
    assert_eq!(tip(&room), before);
    let branch = format!("orchestra/{}", run.id());
    assert!(!room.git(&["show", &format!("{branch}:a.md")]).is_empty());
    assert!(
        room.git(&["log", "--format=%s", &branch])
            .contains("Merge task b")
    );
    let reviewed = room.git(&["rev-parse", &branch]);

    room.orchestra(&["merge", "automatic"]).expect(0);
    assert_eq!(
        room.git(&["rev-parse", "main^{tree}"]),
        room.git(&["rev-parse", &format!("{reviewed}^{{tree}}")])
    );
    assert!(room.repo.join("b.md").exists());
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
}

#[test]
fn results_that_are_left_unmerged_can_be_merged_later() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let before = tip(&room);
    room.run(&["--no-merge"]).expect(0);
    assert_eq!(tip(&room), before);
    assert_eq!(room.task_branches(), ["task/a", "task/b"]);
    room.orchestra(&["merge", "review"]).expect(0);
    assert_eq!(tip(&room), before);
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert!(room.repo.join("a.md").exists() && room.repo.join("b.md").exists());
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
    // Again is no harm.
    let delivered = tip(&room);
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert_eq!(tip(&room), delivered);
}

#[test]
fn dependencies_that_do_not_merge_with_each_other_are_told() {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.plan(&[("one", &[]), ("two", &[]), ("both", &["one", "two"])]);
    room.script(&json!({
        "one": writes("README.md", "of one\n"),
        "two": writes("README.md", "of two\n"),
    }));
    let before = tip(&room);
    let ended = room.run(&[]);
    assert!([1, 8].contains(&ended.code), "{}", ended.code);
    assert!(ended.out.contains("README.md"), "{}", ended.out);
    let run = room.only_run();
    assert_eq!(room.status(&run, "both")["status"], "failed");
    assert!(
        room.status(&run, "both")["lastError"]
            .to_string()
            .contains("README.md")
    );
    assert_eq!(tip(&room), before);
    room.assert_quiet();
}
