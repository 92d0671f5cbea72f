//! The base branch wherever it is, however it is held, and in every style of delivery.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use orchestra::core::record::{IntegrationEnd, QueueResult, Record};
use serde_json::json;

use super::harness::{Room, writes};
use super::queue::state;

fn tip(room: &Room) -> String {
    room.git(&["rev-parse", "main"])
}

/// Two tasks that write a file each.
fn two() -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "x\n"), "b": writes("b", "x\n")}));
    room
}

fn ends(room: &Room) -> Vec<IntegrationEnd> {
    let records = room.records(&room.only_run()).into_iter();
    records
        .filter_map(|r| match r {
            Record::IntegrationEnded { result } => Some(result),
            _ => None,
        })
        .collect()
}

fn hook(room: &Room, name: &str, script: &str) -> PathBuf {
    let path = room.repo.join(".git/hooks").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// What a person has in the main checkout that is not committed, byte for byte.
fn uncommitted(room: &Room) -> [String; 3] {
    [
        room.git(&["diff", "--binary"]),
        room.git(&["diff", "--binary", "--cached"]),
        room.git(&["status", "--porcelain", "--untracked-files=all"]),
    ]
}

#[test]
fn a_base_that_another_worktree_has_checked_out_is_delivered_there() {
    let room = two();
    let own = room.path("own");
    room.git(&["checkout", "--quiet", "-b", "other"]);
    room.git(&["worktree", "add", "--quiet", own.to_str().unwrap(), "main"]);
    fs::write(own.join("draft"), "mine\n").unwrap();
    let other = room.git(&["rev-parse", "other"]);
    room.run(&["--base-branch", "main", "--verify", "true"])
        .expect(0);
    assert!(own.join("a").exists() && own.join("b").exists());
    assert_eq!(fs::read_to_string(own.join("draft")).unwrap(), "mine\n");
    assert_eq!(room.git_in(&own, &["status", "--porcelain"]), "?? draft");
    assert_eq!(room.git(&["rev-parse", "other"]), other);
    assert!(!room.repo.join("a").exists());
    assert_eq!(room.git(&["status", "--porcelain"]), "");
    assert_eq!(room.task_branches(), Vec::<String>::new());
}

#[test]
fn a_base_that_nobody_has_checked_out_is_moved_alone() {
    let room = two();
    let before = tip(&room);
    room.git(&["checkout", "--quiet", "--detach"]);
    room.run(&["--base-branch", "main", "--verify", "true"])
        .expect(0);
    let files = room.git(&["ls-tree", "--name-only", "main"]);
    assert_eq!(files, ".gitignore\nREADME.md\na\nb");
    assert_eq!(room.git(&["rev-parse", "HEAD"]), before);
    assert!(room.try_git(&["symbolic-ref", "HEAD"]).is_err());
    assert!(!room.repo.join("a").exists());
    room.assert_tidy();
}

#[test]
fn uncommitted_work_that_is_not_in_the_way_stays_as_it_is() {
    let room = two();
    room.commit("mine", "1\n2\n3\n");
    room.write("mine", "1\n2\nchanged\n");
    room.write("staged", "half\n");
    room.git(&["add", "staged"]);
    room.write("staged", "half\nand more\n");
    room.write("untracked/deep", "x\n");
    room.write("ignored", "secret\n");
    let before = uncommitted(&room);
    room.run(&["--verify", "true"]).expect(0);
    assert!(room.repo.join("a").exists() && room.repo.join("b").exists());
    assert_eq!(uncommitted(&room), before);
    assert_eq!(room.read("staged"), "half\nand more\n");
    assert_eq!(room.read("ignored"), "secret\n");
    assert_eq!(room.task_branches(), Vec::<String>::new());
}

#[test]
fn uncommitted_work_in_the_way_is_not_touched_and_one_command_delivers_later() {
    let room = two();
    room.script(&json!({"a": writes("README.md", "of a\n"), "b": writes("b", "x\n")}));
    // One file that is changed by both, and one that is not even known to git.
    room.write("README.md", "of the person\n");
    room.write("b", "of the person\n");
    let before = (uncommitted(&room), tip(&room));
    let ended = room.run(&["--verify", "true"]).expect(8);
    assert_eq!((uncommitted(&room), tip(&room)), before);
    assert_eq!(room.read("b"), "of the person\n");
    let run = room.only_run();
    let all = ends(&room);
    let Some(IntegrationEnd::NotDelivered { commit, detail }) = all.last() else {
        panic!("{all:?}");
    };
    let report = fs::read_to_string(run.failure_report()).unwrap();
    for text in [detail, &ended.out, &report] {
        for part in ["README.md", "b", "orchestra merge automatic"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
    let commit = commit.to_string();
    // The merged and proved commit waits.
    assert_eq!(room.git(&["show", &format!("{commit}:README.md")]), "of a");
    let runs = state(&run).queue().verify_runs();

    room.git(&["stash", "--quiet", "--include-untracked"]);
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert_eq!(tip(&room), commit, "what was proved is delivered");
    assert_eq!(state(&run).queue().verify_runs(), runs, "and proved once");
    assert_eq!(room.read("README.md"), "of a\n");
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
}

#[test]
fn a_base_that_was_deleted_meanwhile_is_told_and_can_be_made_again() {
    let room = two();
    room.git(&["branch", "trunk"]);
    room.script(&json!({
        "a": {"steps": [
            {"run": "git update-ref -d refs/heads/trunk"},
            {"write": {"path": "a", "text": "x\n"}}, {"commit": "Add a"}]},
        "b": writes("b", "x\n"),
    }));
    let ended = room
        .run(&["--base-branch", "trunk", "--verify", "true"])
        .expect(8);
    assert!(ended.out.contains("trunk is gone"), "{}", ended.out);
    assert_eq!(room.task_branches(), ["task/a", "task/b"]);
    room.git(&["branch", "trunk", "main"]);
    room.orchestra(&["merge", "automatic"]).expect(0);
    let files = room.git(&["ls-tree", "--name-only", "trunk"]);
    assert_eq!(files, ".gitignore\nREADME.md\na\nb");
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
}

#[test]
fn a_base_that_a_hook_protects_stays_and_the_refusal_is_told() {
    for checked_out in [true, false] {
        let room = two();
        let hook = hook(
            &room,
            "reference-transaction",
            "[ \"$1\" = prepared ] || exit 0\n\
             while read -r old new ref; do\n\
             if [ \"$ref\" = refs/heads/main ]; then echo main is protected here >&2; exit 1; fi\n\
             done",
        );
        if !checked_out {
            room.git(&["checkout", "--quiet", "--detach"]);
        }
        room.write("draft", "mine\n");
        let before = (uncommitted(&room), tip(&room));
        let ended = room
            .run(&["--base-branch", "main", "--verify", "true"])
            .expect(8);
        assert_eq!((uncommitted(&room), tip(&room)), before);
        for part in ["main is protected here", "orchestra merge automatic"] {
            assert!(ended.out.contains(part), "{part}: {}", ended.out);
        }
        fs::remove_file(hook).unwrap();
        fs::remove_file(room.repo.join("draft")).unwrap();
        room.orchestra(&["merge", "automatic"]).expect(0);
        let files = room.git(&["ls-tree", "--name-only", "main"]);
        assert_eq!(files, ".gitignore\nREADME.md\na\nb");
        room.orchestra(&["cleanup", "success"]).expect(0);
        room.assert_tidy();
    }
}

// ---- Styles.

/// A task of two commits, one that builds on it, and one by itself.
fn styled(style: &str) -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.set("ORCHESTRA_DELIVERY_STYLE", style);
    room.set("ORCHESTRA_MERGE_EARLY", "false");
    room.plan_of(&json!({"tasks": [
        {"name": "a", "description": "The first part"},
        {"name": "b", "description": "The second part", "dependencies": ["a"]},
        {"name": "c", "description": "Something else"},
    ]}));
    room.script(&json!({
        "a": {"steps": [
            {"write": {"path": "a", "text": "1\n"}}, {"commit": "Begin a"},
            {"write": {"path": "a", "text": "1\n2\n"}}, {"commit": "End a"},
            {"say": "Wrote the whole of a."}]},
        "b": {"steps": [
            {"require": {"path": "a", "contains": "2"}},
            {"write": {"path": "a", "text": "1\n2\n3\n"}}, {"commit": "Add to a"},
            {"say": "Went on with a."}]},
        "c": {"steps": [
            {"write": {"path": "c", "text": "x\n"}}, {"commit": "Add c"}, {"say": "Wrote c."}]},
    }));
    room
}

/// The parts that each of the delivered commits says, from the first to the last.
#[track_caller]
fn assert_history(room: &Room, expected: &[&[&str]]) {
    let ids = room.git(&["rev-list", "--reverse", "--first-parent", "main"]);
    let ids: Vec<&str> = ids.lines().skip(1).collect();
    let messages: Vec<String> = ids
        .iter()
        .map(|id| room.git(&["log", "-1", "--format=%B", id]))
        .collect();
    assert_eq!(messages.len(), expected.len(), "{messages:#?}");
    for (message, parts) in messages.iter().zip(expected) {
        for part in *parts {
            assert!(message.contains(part), "{part} is missing in\n{message}");
        }
    }
}

/// Everything is delivered and tidy, and each result can still be found.
#[track_caller]
fn assert_delivered(room: &Room) {
    assert_eq!(room.read("a"), "1\n2\n3\n");
    assert_eq!(room.read("c"), "x\n");
    room.assert_tidy();
    let state = state(&room.only_run());
    for ix in state.indexes() {
        let name = state.name(ix);
        assert!(state.queue().is_delivered(name));
        let orchestra::core::state::TaskState::Done { head, .. } = &state.task(ix).state else {
            panic!("{name} is not done");
        };
        let found = room.git(&["for-each-ref", "--contains", head.as_str()]);
        assert_ne!(found, "", "the commits of {name} are lost");
    }
}

#[test]
fn squashed_results_are_one_commit_each_and_tidied_up() {
    let room = styled("squash");
    room.run(&["--verify", "test -e README.md"]).expect(0);
    assert_history(
        &room,
        &[
            &[
                "Task a: The first part",
                "Wrote the whole of a.",
                "Orchestra-Task: a",
            ],
            &[
                "Task b: The second part",
                "Went on with a.",
                "Orchestra-Task: b",
            ],
            &["Task c: Something else", "Wrote c.", "Orchestra-Task: c"],
        ],
    );
    assert_eq!(room.git(&["rev-list", "--merges", "--count", "main"]), "0");
    assert_delivered(&room);
    // The commits of the tasks themselves are only in backups now.
    assert!(
        room.backups().iter().any(|name| name.contains("/a/")),
        "{:?}",
        room.backups()
    );
}

#[test]
fn rebased_results_keep_their_commits_in_one_line() {
    let room = styled("rebase");
    room.run(&["--verify", "test -e README.md"]).expect(0);
    assert_history(
        &room,
        &[
            &["Begin a", "Orchestra-Task: a"],
            &["End a", "Orchestra-Task: a", "Orchestra-Result:"],
            &["Add to a", "Orchestra-Task: b", "Orchestra-Result:"],
            &["Add c", "Orchestra-Task: c"],
        ],
    );
    assert_eq!(room.git(&["rev-list", "--merges", "--count", "main"]), "0");
    assert_delivered(&room);
}

#[test]
fn merged_results_name_task_and_summary() {
    let room = styled("merge");
    room.run(&["--verify", "test -e README.md"]).expect(0);
    assert_history(
        &room,
        &[
            &["Merge task a: The first part", "Wrote the whole of a."],
            &["Merge task b: The second part", "Went on with a."],
            &["Merge task c: Something else", "Wrote c."],
        ],
    );
    assert_delivered(&room);
}

#[test]
fn delivered_commits_are_signed_as_the_person_configured() {
    let room = styled("merge");
    let key = room.path("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let signers = room.path("signers");
    fs::write(&signers, format!("test@example.invalid {public}")).unwrap();
    for (name, value) in [
        ("gpg.format", "ssh"),
        ("user.signingKey", key.to_str().unwrap()),
        ("gpg.ssh.allowedSignersFile", signers.to_str().unwrap()),
        ("commit.gpgSign", "true"),
    ] {
        room.git(&["config", name, value]);
    }
    room.run(&["--verify", "test -e README.md"]).expect(0);
    let delivered = room.git(&["log", "--first-parent", "-3", "--format=%G?%GS", "main"]);
    assert_eq!(delivered, ["Gtest@example.invalid"; 3].join("\n"));
    assert_delivered(&room);
}

#[test]
fn a_hook_that_refuses_a_delivered_commit_is_told_and_nothing_changes() {
    let mut room = two();
    room.set("ORCHESTRA_COMMIT_HOOKS", "true");
    let hook = hook(
        &room,
        "commit-msg",
        "if grep -q '^Merge task' \"$1\"; then echo every commit names its ticket >&2; exit 1; fi",
    );
    let before = (uncommitted(&room), tip(&room));
    let ended = room.run(&["--verify", "true"]).expect(8);
    assert_eq!((uncommitted(&room), tip(&room)), before);
    for part in ["every commit names its ticket", "commit-msg"] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    assert_eq!(room.task_branches(), ["task/a", "task/b"]);
    let run = room.only_run();
    let report = fs::read_to_string(run.failure_report()).unwrap();
    assert!(report.contains("every commit names its ticket"), "{report}");
    fs::remove_file(hook).unwrap();
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert!(room.repo.join("a").exists() && room.repo.join("b").exists());
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
}

#[test]
fn each_proven_batch_can_be_delivered_at_once() {
    let mut room = two();
    room.set("ORCHESTRA_DELIVER_EACH", "true");
    // The second one ends only after the first one is delivered.
    room.script(&json!({
        "a": writes("a", "x\n"),
        "b": {"steps": [
            {"run": "for n in $(seq 600); do git cat-file -e main:a && echo seen > b && break; \
                     sleep 0.05; done"},
            {"require": {"path": "b"}}, {"commit": "Add b"}]},
    }));
    room.run(&["--verify", "test -e README.md"]).expect(0);
    assert_eq!(room.read("a"), "x\n");
    assert_eq!(room.read("b"), "seen\n");
    let run = room.only_run();
    let records = room.records(&run);
    let delivered = records.iter().filter(|r| {
        matches!(
            r,
            Record::QueueEnded {
                result: QueueResult::Delivered
            }
        )
    });
    assert_eq!(delivered.count(), 2, "{records:#?}");
    let reflog = room.git(&["reflog", "main", "--format=%H"]);
    let state = state(&run);
    for commit in reflog.lines().take(2) {
        let oid = orchestra::core::id::Oid::parse(commit).unwrap();
        assert!(state.queue().verdict(&oid).is_some_and(|v| v.is_green()));
    }
    room.assert_tidy();
}
