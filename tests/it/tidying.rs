//! What goes, what stays, and that nothing is lost.

use std::fs;

use serde_json::{Value, json};

use super::harness::{Room, wait_for, writes};

fn items(said: &Value) -> Vec<(String, Option<String>)> {
    said["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                item["task"].as_str().unwrap_or_default().to_owned(),
                item["kept"].as_str().map(str::to_owned),
            )
        })
        .collect()
}

/// The ref of the last backup of this kind of a task's work.
#[track_caller]
fn backup(room: &Room, task: &str, kind: &str) -> String {
    room.backups()
        .into_iter()
        .rev()
        .find(|name| name.contains(&format!("/{task}/{kind}/")))
        .unwrap_or_else(|| panic!("no {kind} of {task} in {:?}", room.backups()))
}

#[test]
fn work_that_is_nowhere_else_is_kept_when_its_worktree_goes() {
    let room = Room::new();
    let outside = room.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "mine\n").unwrap();
    // What a person made stays.
    room.git(&["branch", "task/mine"]);
    let own = room.path("own");
    room.git(&[
        "worktree",
        "add",
        "--quiet",
        "-b",
        "topic",
        own.to_str().unwrap(),
    ]);
    fs::write(own.join("draft"), "mine\n").unwrap();

    room.plan(&[("fails", &[]), ("works", &[])]);
    room.script(&json!({
        "fails": {"steps": [
            {"write": {"path": "committed", "text": "1\n"}}, {"commit": "Half"},
            {"write": {"path": "README.md", "text": "changed\n"}},
            {"write": {"path": "deep/untracked", "text": "2\n"}},
            {"write": {"path": "ignored", "text": "3\n"}},
            {"run": "ln -s \"$ROOM/outside\" link && ln -s \"$ROOM/outside/precious\" file"},
            {"exit": 3},
        ]},
        "works": writes("works", "x\n"),
    }));
    room.run(&["--max-attempts", "1"]).expect(1);
    let worktree = room.worktree("fails");
    assert!(worktree.join("link/precious").exists());

    // What the attempt left is kept already.
    let kept = room.backups();
    assert!(kept.iter().any(|name| name.contains("/fails/snapshot/1")));
    let said = room
        .orchestra(&["cleanup", "all", "--dry-run", "--json"])
        .expect(0)
        .json();
    assert_eq!(said["dryRun"], true);
    assert_eq!(items(&said).len(), 2, "{said}");
    assert!(worktree.join("deep/untracked").exists());
    assert_eq!(room.backups(), kept);

    // What is done and not delivered is not tidied up as a success.
    let said = room
        .orchestra(&["cleanup", "success", "--json"])
        .expect(0)
        .json();
    let kept = items(&said);
    assert_eq!(kept.len(), 1);
    assert!(
        kept[0].1.as_ref().unwrap().contains("not in main"),
        "{kept:?}"
    );

    room.orchestra(&["cleanup", "failed"]).expect(0);
    assert!(!worktree.exists());
    assert_eq!(room.task_branches(), ["task/mine", "task/works"]);
    let snapshot = backup(&room, "fails", "snapshot");
    let show = |path: &str| room.git(&["show", &format!("{snapshot}:{path}")]);
    assert_eq!(show("README.md"), "changed");
    assert_eq!(show("deep/untracked"), "2");
    assert_eq!(show("committed"), "1");
    let branch = backup(&room, "fails", "branch");
    assert_eq!(room.git(&["show", &format!("{branch}:committed")]), "1");
    // Taken back with plain git.
    let again = room.path("again");
    room.git(&[
        "worktree",
        "add",
        "--quiet",
        "--detach",
        again.to_str().unwrap(),
        &snapshot,
    ]);
    assert_eq!(
        fs::read_to_string(again.join("deep/untracked")).unwrap(),
        "2\n"
    );
    room.git(&["worktree", "remove", again.to_str().unwrap()]);

    room.orchestra(&["cleanup", "all"]).expect(0);
    assert_eq!(room.task_branches(), ["task/mine"]);
    let branch = backup(&room, "works", "branch");
    assert_eq!(room.git(&["show", &format!("{branch}:works")]), "x");
    assert_eq!(
        fs::read_to_string(outside.join("precious")).unwrap(),
        "mine\n"
    );
    assert_eq!(fs::read_to_string(own.join("draft")).unwrap(), "mine\n");
    assert_eq!(room.worktrees(), [room.repo.clone(), own]);
    let said = room.orchestra(&["cleanup", "all"]).expect(0);
    assert!(said.out.contains("nothing"), "{}", said.out);
    room.assert_quiet();
}

#[test]
fn a_running_instance_keeps_what_it_has() {
    let room = Room::new();
    room.plan(&[("runs", &[]), ("fails", &[])]);
    room.script(&json!({
        "runs": {"steps": [
            {"write": {"path": "draft", "text": "x\n"}}, {"sleep_ms": 600_000},
        ]},
        "fails": {"steps": [{"exit": 3}]},
    }));
    room.run(&["--detach", "--max-attempts", "1"]).expect(0);
    let run = room.only_run();
    let draft = room.worktree("runs").join("draft");
    wait_for("work", || draft.exists().then_some(()));
    room.wait_for_record(&run, "the failure", |r| {
        matches!(r, orchestra::core::record::Record::TaskFailed { .. })
    });
    let said = room
        .orchestra(&["cleanup", "all", "--json"])
        .expect(0)
        .json();
    let kept = items(&said);
    let of = |name: &str| {
        kept.iter()
            .find(|(task, _)| task == name)
            .unwrap()
            .1
            .clone()
    };
    assert!(of("runs").unwrap().contains("running"), "{kept:?}");
    assert_eq!(of("fails"), None);
    assert!(draft.exists());
    assert_eq!(room.processes_of("play").len(), 1);
    assert!(!room.worktree("fails").exists());
    room.orchestra(&["control", "cancel"]).expect(0);
    room.orchestra(&["wait"]).expect(6);
    room.orchestra(&["cleanup", "all"]).expect(0);
    let snapshot = backup(&room, "runs", "snapshot");
    assert_eq!(room.git(&["show", &format!("{snapshot}:draft")]), "x");
    room.assert_tidy();
}

#[test]
fn a_place_that_a_person_took_over_is_left_alone() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[]), ("c", &[])]);
    room.run(&["--no-merge"]).expect(0);
    // One is on another branch now, one is locked, the third one's folder was deleted by hand.
    room.git_in(&room.worktree("a"), &["checkout", "--quiet", "-b", "topic"]);
    room.git(&["worktree", "lock", room.worktree("b").to_str().unwrap()]);
    fs::remove_dir_all(room.worktree("c")).unwrap();
    let said = room
        .orchestra(&["cleanup", "all", "--json"])
        .expect(0)
        .json();
    let kept = items(&said);
    assert!(
        kept.iter().any(|(t, why)| t == "a" && why.is_some()),
        "{kept:?}"
    );
    assert!(
        kept.iter().any(|(t, why)| t == "b" && why.is_some()),
        "{kept:?}"
    );
    assert!(room.worktree("a").exists() && room.worktree("b").exists());
    assert_eq!(room.task_branches(), ["task/a", "task/b"]);
    let branch = backup(&room, "c", "branch");
    assert!(
        room.git(&["ls-tree", "--name-only", &branch])
            .contains("c.md")
    );
}

#[test]
fn what_goes_wrong_with_one_task_holds_no_other_up() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.run(&["--no-merge"]).expect(0);
    // Git still lists it, and cannot look into it.
    let link = room.worktree("a").join(".git");
    let good = fs::read(&link).unwrap();
    fs::write(&link, "gitdir: /nonexistent\n").unwrap();
    let said = room
        .orchestra(&["cleanup", "all", "--json"])
        .expect(7)
        .json();
    let found = items(&said);
    assert_eq!(found.len(), 2, "{said}");
    assert!(found[0].0 == "a" && found[0].1.is_some(), "{said}");
    assert_eq!(found[1], ("b".to_owned(), None));
    assert!(room.worktree("a").join("a.md").exists());
    assert!(!room.worktree("b").exists());
    assert_eq!(room.task_branches(), ["task/a"]);

    fs::write(&link, good).unwrap();
    room.orchestra(&["cleanup", "all"]).expect(0);
    assert_eq!(room.task_branches(), Vec::<String>::new());
    room.assert_tidy();
}
