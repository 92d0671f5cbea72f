//! Taking back what was delivered.

use std::fs;

use orchestra::core::record::Record;
use serde_json::json;

use super::harness::{KillingGit, Room, wait_for, writes};

/// A room in which `a` and `b` were delivered to `main`; the commit before.
fn delivered(more: &[&str]) -> (Room, String) {
    let room = Room::new();
    let before = tip(&room);
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "1\n"), "b": writes("b", "1\n")}));
    room.run(more).expect(0);
    assert!(room.repo.join("a").exists() && room.repo.join("b").exists());
    room.assert_tidy();
    (room, before)
}

fn tip(room: &Room) -> String {
    room.git(&["rev-parse", "main"])
}

/// All that a refused undo must leave as it is.
fn state(room: &Room) -> String {
    let mut text = room.git(&["for-each-ref"]);
    text.push_str(&room.git(&["status", "--porcelain=v2", "-uall"]));
    for run in room.runs() {
        text.push_str(&fs::read_to_string(run.journal()).unwrap());
    }
    text
}

#[test]
fn a_delivery_goes_back_and_can_be_made_again() {
    let (room, before) = delivered(&[]);
    let after = tip(&room);
    let run = room.only_run();
    room.write("README.md", "mine\n");
    room.write("draft", "mine\n");
    room.git(&["add", "draft"]);
    let untouched = state(&room);
    let said = room
        .orchestra(&["undo", "--dry-run", "--json"])
        .expect(0)
        .json();
    assert_eq!(said["deliveries"][0]["tasks"], json!(["a", "b"]));
    assert_eq!(said["deliveries"][0]["files"], json!(["a", "b"]));
    assert_eq!(said["end"], before);
    assert_eq!(said["inTheWay"], json!(null));
    let said = room.orchestra(&["undo", "--dry-run"]).expect(0);
    assert!(said.out.contains("tasks: a, b"), "{}", said.out);
    assert_eq!(state(&room), untouched);

    let said = room.orchestra(&["undo"]).expect(0);
    assert!(said.out.contains("merge automatic"), "{}", said.out);
    assert_eq!(tip(&room), before);
    assert!(!room.repo.join("a").exists() && !room.repo.join("b").exists());
    assert_eq!(
        room.git(&["status", "--porcelain"]),
        " M README.md\nA  draft"
    );
    let kept = room.backups();
    let backup = kept.iter().find(|name| name.contains("/undo/")).unwrap();
    assert_eq!(room.git(&["rev-parse", backup]), after);
    let results: serde_json::Value =
        serde_json::from_slice(&fs::read(run.results()).unwrap()).unwrap();
    assert_eq!(results["integration"], json!(null), "{results}");
    let said = room.orchestra(&["status"]).expect(0);
    assert!(said.out.contains("taken back"), "{}", said.out);

    let journal = fs::read(run.journal()).unwrap();
    let said = room.orchestra(&["undo", run.id().as_str()]).expect(0);
    assert!(said.out.contains("already"), "{}", said.out);
    assert_eq!(fs::read(run.journal()).unwrap(), journal);
    let said = room
        .orchestra(&["undo", "--dry-run", "--json"])
        .expect(0)
        .json();
    assert_eq!(said["deliveries"], json!([]));

    room.git(&["rm", "--cached", "--quiet", "draft"]);
    fs::remove_file(room.repo.join("draft")).unwrap();
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert_eq!(room.read("a"), "1\n");
    assert_eq!(room.read("README.md"), "mine\n");
    room.orchestra(&["undo"]).expect(0);
    assert_eq!(tip(&room), before);
    room.assert_quiet();
}

#[test]
fn what_is_in_the_way_is_told_and_nothing_changes() {
    let (room, before) = delivered(&[]);
    let clean = state(&room);
    room.write("a", "mine\n");
    let untouched = state(&room);
    let said = room.orchestra(&["undo"]).expect(8);
    assert!(said.err.contains("in the way: a"), "{}", said.err);
    assert!(said.err.contains("then: orchestra undo"), "{}", said.err);
    let said = room.orchestra(&["undo", "--dry-run"]).expect(8);
    assert!(said.out.contains("in the way: a"), "{}", said.out);
    // The attempt is in the journal only once it begins.
    assert_eq!(state(&room), untouched);
    room.git(&["checkout", "--quiet", "a"]);
    room.git(&["bisect", "start"]);
    let said = room.orchestra(&["undo"]).expect(8);
    assert!(said.err.contains("bisect"), "{}", said.err);
    room.git(&["bisect", "reset"]);

    room.git(&["update-ref", "refs/remotes/origin/main", "main"]);
    let said = room.orchestra(&["undo"]).expect(8);
    assert!(said.err.contains("origin/main"), "{}", said.err);
    assert!(said.err.contains("--revert"), "{}", said.err);
    room.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    assert_eq!(state(&room), clean);

    // In another worktree it goes back there.
    let other = room.path("other");
    room.git(&["switch", "--quiet", "--detach"]);
    room.git(&[
        "worktree",
        "add",
        "--quiet",
        other.to_str().unwrap(),
        "main",
    ]);
    room.orchestra(&["undo"]).expect(0);
    assert_eq!(room.git_in(&other, &["rev-parse", "HEAD"]), before);
    assert_eq!(room.git_in(&other, &["status", "--porcelain"]), "");
    assert!(room.repo.join("a").exists(), "detached there");
}

#[test]
fn what_people_built_on_stays_and_a_commit_on_top_does_the_opposite() {
    let (room, _) = delivered(&["--verify", "true"]);
    let run = room.only_run();
    room.commit("later", "x\n");
    let top = tip(&room);
    let untouched = state(&room);
    let said = room.orchestra(&["undo"]).expect(8);
    assert!(said.err.contains("Change later (Test)"), "{}", said.err);
    assert!(said.err.contains("--revert"), "{}", said.err);
    assert_eq!(state(&room), untouched);

    let said = room.orchestra(&["undo", "--revert", "--dry-run"]).expect(0);
    assert!(said.out.contains("on top"), "{}", said.out);
    let said = room
        .orchestra(&["undo", "--revert", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&said["how"], &said["verified"]),
        (&json!("revert"), &json!(true))
    );
    assert_eq!(room.git(&["rev-parse", "main^"]), top);
    let message = room.git(&["log", "-1", "--format=%B", "main"]);
    assert!(
        message.contains(run.id().as_str()) && message.contains("(a, b)"),
        "{message}"
    );
    assert_eq!(
        room.git(&["ls-tree", "--name-only", "main"]),
        ".gitignore\nREADME.md\nlater"
    );
    assert!(!room.repo.join("a").exists());
    room.assert_tidy();
    let said = room.orchestra(&["undo"]).expect(0);
    assert!(said.out.contains("already"), "{}", said.out);
    // Merging would find nothing to do, and say that it is delivered.
    let said = room.orchestra(&["merge", "automatic"]).expect(2);
    assert!(said.err.contains("git revert"), "{}", said.err);
    room.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(room.read("a"), "1\n");
}

#[test]
fn the_opposite_is_not_delivered_when_it_is_red_or_conflicts() {
    let (room, _) = delivered(&["--verify", "test ! -e needs-a -o -e a"]);
    room.commit("needs-a", "x\n");
    let top = tip(&room);
    let said = room.orchestra(&["undo", "--revert"]).expect(8);
    assert!(said.err.contains("red"), "{}", said.err);
    assert_eq!(tip(&room), top);
    assert_eq!(room.worktrees(), std::slice::from_ref(&room.repo));

    room.commit("a", "changed since\n");
    let top = tip(&room);
    let said = room.orchestra(&["undo", "--revert"]).expect(8);
    assert!(said.err.contains("conflicts in a"), "{}", said.err);
    assert_eq!(tip(&room), top);
    assert_eq!(room.read("a"), "changed since\n");
}

#[test]
fn later_runs_go_first_or_with_it() {
    let (room, before) = delivered(&[]);
    let first = room.only_run();
    room.plan(&[("c", &[]), ("d", &[])]);
    room.script(&json!({"c": writes("c", "1\n"), "d": writes("d", "1\n")}));
    room.run(&[]).expect(0);
    let second = room
        .runs()
        .into_iter()
        .find(|r| r.id() != first.id())
        .unwrap();
    let top = tip(&room);
    let id = first.id().as_str();
    let said = room.orchestra(&["undo", id]).expect(8);
    assert!(
        said.err
            .contains(&format!("what {} delivered", second.id())),
        "{}",
        said.err
    );
    assert!(said.err.contains("--chain"), "{}", said.err);
    assert_eq!(tip(&room), top);

    // All or nothing: the newest step works, the older one does not.
    room.write("a", "mine\n");
    let untouched = state(&room);
    let said = room.orchestra(&["undo", id, "--chain"]).expect(8);
    assert!(said.err.contains("in the way: a"), "{}", said.err);
    assert_eq!(state(&room), untouched);
    room.git(&["checkout", "--quiet", "a"]);

    // Only the older one, with a commit on top.
    room.orchestra(&["undo", id, "--revert"]).expect(0);
    assert!(room.repo.join("c").exists() && !room.repo.join("a").exists());
    room.git(&["reset", "--quiet", "--hard", &top]);
    let said = room.orchestra(&["undo", id, "--dry-run"]).expect(0);
    assert!(
        said.out.contains("already"),
        "the journal knows: {}",
        said.out
    );
    room.orchestra(&["undo"]).expect(0);
    assert!(!room.repo.join("c").exists() && room.repo.join("a").exists());

    room.orchestra(&[
        "merge",
        "automatic",
        "--orchestration",
        second.id().as_str(),
    ])
    .expect(0);
    assert!(room.repo.join("c").exists());
    assert_ne!(tip(&room), before);
}

#[test]
fn a_chain_of_runs_goes_back_at_once() {
    let (room, before) = delivered(&[]);
    let first = room.only_run();
    room.plan(&[("c", &[]), ("d", &[])]);
    room.script(&json!({"c": writes("c", "1\n"), "d": writes("d", "1\n")}));
    room.run(&[]).expect(0);
    let said = room
        .orchestra(&["undo", first.id().as_str(), "--chain", "--json"])
        .expect(0)
        .json();
    assert_eq!(said["deliveries"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(
        said["deliveries"][1]["orchestrationId"],
        first.id().as_str()
    );
    assert_eq!(tip(&room), before);
    for run in room.runs() {
        let said = room.orchestra(&["undo", run.id().as_str()]).expect(0);
        assert!(said.out.contains("already"), "{}", said.out);
    }
}

#[test]
fn all_deliveries_of_a_run_go_back_and_no_commit_of_anybody_else() {
    let room = Room::new();
    let before = tip(&room);
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "1\n"), "b": {"steps": [{"exit": 3}]}}));
    room.run(&["--max-attempts", "1", "--success-percent", "50"])
        .expect(5);
    let run = room.only_run();
    let between = tip(&room);
    room.script(&json!({"a": writes("a", "1\n"), "b": writes("b", "1\n")}));
    room.orchestra(&["control", "retry"]).expect(0);
    room.orchestra(&["wait"]).expect(0);
    assert!(room.repo.join("b").exists());
    let said = room
        .orchestra(&["undo", "--dry-run", "--json"])
        .expect(0)
        .json();
    assert_eq!(said["deliveries"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(said["deliveries"][0]["from"], between);
    assert_eq!(said["deliveries"][0]["tasks"], json!(["b"]));

    // Merging again delivers nothing new, whatever the journal calls it.
    room.commit("mine", "x\n");
    let mine = tip(&room);
    room.orchestra(&["merge", "automatic"]).expect(0);
    let said = room.orchestra(&["undo"]).expect(8);
    assert!(said.err.contains("Change mine"), "{}", said.err);
    assert_eq!(tip(&room), mine);
    room.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    room.orchestra(&["undo"]).expect(0);
    assert_eq!(tip(&room), before);
    let undone = room.records(&run);
    let undone = undone.iter().filter(|r| matches!(r, Record::Undone { .. }));
    assert_eq!(undone.count(), 2);
}

#[test]
fn a_delivery_that_was_written_down_too_late_takes_no_commit_of_a_person() {
    let (room, _) = delivered(&[]);
    let run = room.only_run();
    room.commit("mine", "x\n");
    // As a conductor writes it that finds the work of one that was killed.
    let text = fs::read_to_string(run.journal()).unwrap();
    let to = room.git(&["rev-parse", "main^"]);
    fs::write(run.journal(), text.replace(&to, &tip(&room))).unwrap();
    let mine = tip(&room);
    for more in [&[][..], &["--revert"]] {
        let said = room.orchestra(&[&["undo"], more].concat()).expect(8);
        assert!(said.err.contains("did not make"), "{}", said.err);
        assert!(said.err.contains("Change mine"), "{}", said.err);
    }
    assert_eq!(tip(&room), mine);
}

#[test]
fn without_a_delivery_or_while_it_runs_there_is_nothing_to_take_back() {
    let room = Room::new();
    let said = room.orchestra(&["undo"]).expect(2);
    assert!(said.err.contains("no orchestration"), "{}", said.err);
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "1\n"), "b": {"steps": [{"exit": 3}]}}));
    room.run(&["--max-attempts", "1", "--no-merge"]).expect(1);
    let run = room.only_run();
    room.orchestra(&["undo"]).expect(2);
    let said = room.orchestra(&["undo", run.id().as_str()]).expect(2);
    assert!(said.err.contains("delivered nothing"), "{}", said.err);

    room.orchestra(&["merge", "automatic"]).expect(5);
    room.script(&json!({"b": {"steps": [
        {"write": {"path": "w", "text": "x"}}, {"sleep_ms": 600_000},
    ]}}));
    room.orchestra(&["control", "retry"]).expect(0);
    let file = room.worktree("b").join("w");
    wait_for("work", || file.exists().then_some(()));
    let top = tip(&room);
    for more in [&[][..], &["--revert"]] {
        let said = room.orchestra(&[&["undo"], more].concat()).expect(2);
        assert!(said.err.contains("at work"), "{}", said.err);
    }
    room.kill_conductor();
    let said = room.orchestra(&["undo"]).expect(2);
    assert!(said.err.contains("not over"), "{}", said.err);
    assert_eq!(tip(&room), top);
}

/// Kills the program at each of its calls of git; the next call does the rest.
fn killed_everywhere(room: &mut Room, undo: &[&str]) {
    let run = room.only_run();
    let git = KillingGit::install(room);
    let journal = fs::read(run.journal()).unwrap();
    let start = tip(room);
    room.orchestra(undo).expect(0);
    let tree = room.git(&["rev-parse", "main^{tree}"]);
    let back = |room: &Room| {
        fs::write(run.journal(), &journal).unwrap();
        room.git(&["reset", "--quiet", "--hard", &start]);
    };
    for after in [false, true] {
        let mut reached = true;
        for call in 1.. {
            back(room);
            room.write("README.md", "mine\n");
            git.arm(after, call);
            let code = room.orchestra(undo).code;
            reached = git.disarm();
            assert_eq!(code != 0, reached, "call {call}");
            if !reached {
                assert!(call > 5, "only {call} calls");
                break;
            }
            let said = room.orchestra(undo).expect(0);
            assert_eq!(
                room.git(&["rev-parse", "main^{tree}"]),
                tree,
                "{call}: {}",
                said.out
            );
            assert_eq!(
                room.git(&["status", "--porcelain"]),
                " M README.md",
                "{call}"
            );
            let records = room.records(&run);
            assert!(
                matches!(records.last(), Some(Record::Undone { .. })),
                "{records:?}"
            );
            let said = room.orchestra(undo).expect(0);
            assert!(said.out.contains("already"), "{call}: {}", said.out);
            assert_eq!(room.git(&["rev-parse", "main^{tree}"]), tree);
        }
        assert!(!reached);
    }
    // Nothing of it is lost.
    assert!(room.backups().iter().any(|name| name.contains("/undo/")));
}

#[test]
fn killed_at_any_moment_a_rewind_is_done_once() {
    let (mut room, before) = delivered(&[]);
    killed_everywhere(&mut room, &["undo"]);
    assert_eq!(tip(&room), before);
}

#[test]
fn killed_at_any_moment_a_revert_is_done_once() {
    let (mut room, _) = delivered(&["--verify", "true"]);
    room.commit("later", "x\n");
    killed_everywhere(&mut room, &["undo", "--revert"]);
    assert_eq!(room.git(&["rev-list", "--count", "main^..main"]), "1");
}

#[test]
fn results_that_were_delivered_as_other_commits_go_back_as_well() {
    for style in ["squash", "rebase"] {
        let mut room = Room::new();
        let before = tip(&room);
        room.set("ORCHESTRA_DELIVERY_STYLE", style);
        room.plan(&[("a", &[]), ("b", &["a"])]);
        room.script(&json!({"a": writes("a", "1\n"), "b": writes("b", "1\n")}));
        room.run(&[]).expect(0);
        room.assert_tidy();
        let said = room.orchestra(&["undo", "--json"]).expect(0).json();
        assert_eq!(
            said["deliveries"][0]["tasks"],
            json!(["a", "b"]),
            "{style}: {said}"
        );
        assert_eq!(tip(&room), before, "{style}");
        room.orchestra(&["merge", "automatic"]).expect(0);
        assert_eq!(room.read("b"), "1\n");
        room.commit("later", "x\n");
        room.orchestra(&["undo", "--revert"]).expect(0);
        assert!(!room.repo.join("b").exists() && room.repo.join("later").exists());
    }
}
