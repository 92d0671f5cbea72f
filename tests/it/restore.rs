//! Bringing work back from backups, and letting backups go that are old.

use std::fs;

use serde_json::{Value, json};

use super::harness::{Room, writes};

/// A room whose run left `fails` with a commit and uncommitted work, all of it in backups.
fn tidied() -> Room {
    let room = Room::new();
    room.plan(&[("fails", &[]), ("works", &[])]);
    room.script(&json!({
        "fails": {"steps": [
            {"write": {"path": "committed", "text": "1\n"}}, {"commit": "Half"},
            {"write": {"path": "draft", "text": "2\n"}}, {"exit": 3},
        ]},
        "works": writes("works", "x\n"),
    }));
    room.run(&["--max-attempts", "1"]).expect(1);
    room.orchestra(&["cleanup", "all"]).expect(0);
    room.assert_tidy();
    room
}

fn listed(room: &Room) -> Vec<Value> {
    let said = room.orchestra(&["restore", "--json"]).expect(0).json();
    said["backups"].as_array().unwrap().clone()
}

#[test]
fn what_was_tidied_up_comes_back_as_a_branch() {
    let room = tidied();
    let run = room.only_run();
    let backups = listed(&room);
    let names: Vec<&str> = backups
        .iter()
        .map(|b| b["name"].as_str().unwrap())
        .collect();
    let name = |rest: &str| format!("{}/{rest}", run.id());
    assert_eq!(
        names,
        [
            name("fails/branch/1"),
            name("fails/snapshot/1"),
            // What was merged before it was clear that it would not be delivered.
            name("integration/merge/1"),
            name("works/branch/1")
        ]
    );
    assert_eq!(
        (&backups[0]["commits"], &backups[0]["files"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&backups[1]["commits"], &backups[1]["files"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(backups[3]["subject"], "Add works");
    let said = room.orchestra(&["restore"]).expect(0);
    assert!(
        said.out.contains("fails/snapshot/1") && said.out.contains("2 commits"),
        "{}",
        said.out
    );

    // The snapshot holds the branch as well.
    let said = room
        .orchestra(&["restore", "fails", "--json"])
        .expect(0)
        .json();
    assert_eq!(said["branch"], "restored/fails");
    assert_eq!(room.git(&["show", "restored/fails:draft"]), "2");
    assert_eq!(room.git(&["show", "restored/fails^:committed"]), "1");
    room.orchestra(&["restore", &name("fails/branch")])
        .expect(0);
    assert_eq!(
        room.git(&["log", "-1", "--format=%s", "restored/fails-2"]),
        "Half"
    );

    let refs = room.git(&["for-each-ref"]);
    for (args, why) in [
        (&["restore", "nothing"][..], "no backup is called"),
        (&["restore", "wroks"], "did you mean works"),
        (&["restore", "refs/heads/main"], "no backup is called"),
        (&["restore", "works", "--branch", "main"], "already exists"),
        (
            &["restore", "works", "--branch", "a b"],
            "not a branch name",
        ),
        (
            &["restore", "works", "--branch", "restored"],
            "cannot exist beside",
        ),
        (
            &["restore", "works", "--worktree", "."],
            "not an empty folder",
        ),
    ] {
        let said = room.orchestra(args);
        assert_ne!(said.code, 0, "{args:?}");
        assert!(said.err.contains(why), "{args:?}: {}", said.err);
    }
    assert_eq!(room.git(&["for-each-ref"]), refs, "nothing was made");

    let folder = room.path("again");
    let id = run.id().as_str().get(..15).unwrap();
    let whole = format!("{id}/works/branch/1");
    room.orchestra(&[
        "restore",
        &whole,
        "--branch",
        "mine",
        "--worktree",
        "../again",
    ])
    .expect(0);
    assert_eq!(fs::read_to_string(folder.join("works")).unwrap(), "x\n");
    assert_eq!(room.git_in(&folder, &["branch", "--show-current"]), "mine");
}

#[test]
fn of_several_that_are_meant_none_is_guessed() {
    let room = tidied();
    room.script(&json!({"fails": {"steps": [{"exit": 3}]}, "works": writes("works", "y\n")}));
    room.run(&["--max-attempts", "1"]).expect(1);
    room.orchestra(&["cleanup", "all"]).expect(0);
    let said = room.orchestra(&["restore", "works"]).expect(2);
    for run in room.runs() {
        let name = format!("orchestra restore {}/works/branch/1", run.id());
        assert!(said.err.contains(&name), "{}", said.err);
    }
    assert_eq!(room.git(&["for-each-ref", "refs/heads/restored"]), "");
}

#[test]
fn backups_expire_and_nothing_else_does() {
    let mut room = tidied();
    let run = room.only_run();
    let main = room.git(&["rev-parse", "main"]);
    for name in [
        // Its folder is gone: its name tells its age.
        "refs/orchestra/backup/20200101-000000-000001/old/branch/1",
        // Nothing tells its age.
        "refs/orchestra/backup/mine/old/branch/1",
        // Not a backup.
        "refs/orchestra/other/20200101-000000-000001/old/branch/1",
        "refs/heads/20200101-000000-000001",
    ] {
        room.git(&["update-ref", name, &main]);
    }
    let before = room.backups();
    let expired = |said: &Value| said["expiredBackups"].as_array().unwrap().len();
    let cleanup = |room: &Room, more: &[&str]| {
        let args = [&["cleanup", "success", "--json"], more].concat();
        room.orchestra(&args).expect(0).json()
    };
    room.set("ORCHESTRA_BACKUP_DAYS", "0");
    assert_eq!(expired(&cleanup(&room, &[])), 0);
    room.set("ORCHESTRA_BACKUP_DAYS", "30");
    assert_eq!(expired(&cleanup(&room, &["--dry-run"])), 1);
    assert_eq!(room.backups(), before);
    assert_eq!(expired(&cleanup(&room, &[])), 1);
    assert_eq!(room.backups().len(), before.len() - 1);

    // As if the run had been a month ago.
    let aged: String = fs::read_to_string(run.journal())
        .unwrap()
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line["at"] = json!(line["at"].as_i64().unwrap() - 31 * 24 * 60 * 60 * 1000);
            format!("{line}\n")
        })
        .collect();
    fs::write(run.journal(), aged).unwrap();
    let said = room
        .orchestra(&["cleanup", "success", "--dry-run"])
        .expect(0);
    assert!(said.out.contains("4 backups"), "{}", said.out);

    // The end of another run is where they go by themselves.
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "x\n"), "b": writes("b", "x\n")}));
    room.run(&[]).expect(0);
    let newest = room
        .runs()
        .into_iter()
        .find(|r| r.id() != run.id())
        .unwrap();
    let log = fs::read_to_string(newest.log()).unwrap();
    assert!(
        log.contains("4 backups of runs that nobody used for 30 days went"),
        "{log}"
    );
    let left = room.backups();
    assert!(
        left.iter().all(|name| !name.contains(run.id().as_str())),
        "{left:?}"
    );
    assert!(
        left.iter().any(|name| name.contains(newest.id().as_str())),
        "{left:?}"
    );
    assert!(left.iter().any(|name| name.contains("/mine/")), "{left:?}");
    let other = "refs/orchestra/other/20200101-000000-000001/old/branch/1";
    assert_eq!(room.git(&["rev-parse", other]), main);
    assert_eq!(
        room.git(&["rev-parse", "refs/heads/20200101-000000-000001"]),
        main
    );
}
