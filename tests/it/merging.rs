//! `orchestra merge` and `orchestra retry` as people use them.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::harness::{PATIENCE, Room, writes};
use super::terminal::Terminal;

/// Three tasks that were done and not merged: `one` and `two` write the same line.
fn unmerged() -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.plan(&[("one", &[]), ("two", &[]), ("three", &[])]);
    room.script(&json!({
        "one": writes("README.md", "of one\n"),
        "two": writes("README.md", "of two\n"),
        "three": writes("three", "x\n"),
    }));
    room.run(&["--no-merge", "--verify", "true"]).expect(0);
    room
}

fn tip(room: &Room) -> String {
    room.git(&["rev-parse", "main"])
}

fn refs(room: &Room) -> String {
    room.git(&["for-each-ref"])
}

fn terminal(room: &Room, args: &[&str]) -> Terminal {
    Terminal::start(&room.command(args), 80, 40)
}

#[test]
fn a_dry_run_shows_what_would_be_and_changes_nothing() {
    let room = unmerged();
    let before = refs(&room);
    for mode in ["automatic", "review", "manual"] {
        let said = room.orchestra(&["merge", mode, "--dry-run"]).expect(0).out;
        assert!(
            said.contains("+ one: merges cleanly (1 commit, 1 file, +1"),
            "{said}"
        );
        assert!(
            said.contains("! two: conflicts with what comes before it in README.md"),
            "{said}"
        );
        assert!(said.contains("Nothing was changed"), "{said}");
        let json = room
            .orchestra(&["merge", mode, "--dry-run", "--json"])
            .expect(0)
            .json();
        assert_eq!(json["tasks"][1]["conflictsInOrder"], json!(["README.md"]));
        assert_eq!(json["tasks"][2]["linesAdded"], 1);
    }
    assert_eq!(refs(&room), before);
    let diff = room
        .orchestra(&["merge", "review", "--diff", "two"])
        .expect(0)
        .out;
    assert!(diff.contains("+of two"), "{diff}");
    assert!(!diff.contains('\u{1b}'));
    let missing = room
        .orchestra(&["merge", "review", "--diff", "four"])
        .expect(2)
        .err;
    assert!(missing.contains("one, two, three"), "{missing}");
    let near = room
        .orchestra(&["merge", "automatic", "--dry-run", "--task", "tree"])
        .expect(2)
        .err;
    assert!(near.contains("did you mean three?"), "{near}");
}

#[test]
fn one_task_is_taken_and_the_others_wait() {
    let room = unmerged();
    room.orchestra(&["merge", "automatic", "--task", "three"])
        .expect(5);
    assert!(room.repo.join("three").exists());
    assert_ne!(room.read("README.md"), "of one\n");
    room.orchestra(&["merge", "automatic"]).expect(5);
    assert_eq!(room.read("README.md"), "of one\n");
    assert_eq!(room.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_person_goes_through_the_results_one_at_a_time() {
    let room = unmerged();
    let before = tip(&room);
    let mut screen = terminal(&room, &["merge", "manual"]);
    let ask = |screen: &Terminal, what: &str| {
        let what = what.to_owned();
        screen.wait_for(&what.clone(), PATIENCE, move |s| {
            s.rsplit('\n')
                .find(|l| !l.trim().is_empty())
                .is_some_and(|l| l.contains("[q]uit?"))
                && s.contains(&what)
        })
    };
    ask(&screen, "one: merges cleanly");
    screen.type_text("d\n");
    ask(&screen, "+of one");
    screen.type_text("s\n");
    ask(&screen, "two: merges cleanly");
    assert_eq!(tip(&room), before);
    screen.type_text("t\n");
    ask(&screen, "three: merges cleanly");
    assert_eq!(room.read("README.md"), "of two\n");
    screen.type_text("q\n");
    screen.wait_for("the end", PATIENCE, |s| {
        s.contains("not delivered: one, three")
    });
    // Once more: what was skipped conflicts now, and is not offered to be taken.
    let mut screen = terminal(&room, &["merge", "manual"]);
    let text = ask(&screen, "one: conflicts in README.md");
    assert!(text.contains("[r]esolve by an instance"), "{text}");
    screen.type_text("s\nt\n");
    screen.wait_for("the end", PATIENCE, |s| s.contains("not delivered: one."));
    assert!(room.repo.join("three").exists());
}

#[test]
fn nothing_is_delivered_before_a_review_is_confirmed() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.run(&["--no-merge", "--verify", "true"]).expect(0);
    let before = tip(&room);
    let mut screen = terminal(&room, &["merge", "review"]);
    let text = screen.wait_for("the question", PATIENCE, |s| {
        s.contains("Deliver it to main?")
    });
    assert!(text.contains("a: 1 commit, 1 file, +"), "{text}");
    assert_eq!(tip(&room), before);
    screen.type_text("d a\n");
    screen.wait_for("the difference", Duration::from_secs(20), |s| {
        s.contains("+++ b/a.md")
    });
    screen.type_text("y\n");
    screen.wait_for("the end", PATIENCE, |s| s.contains("delivered as"));
    assert_ne!(tip(&room), before);
    assert!(room.repo.join("b.md").exists());
}

#[test]
fn what_was_set_aside_goes_on_on_top_of_what_was_delivered() {
    let room = Room::new();
    let names = ["a", "b", "c", "d", "e"];
    room.plan(&names.map(|name| (name, &[] as &[&str])));
    // Its own tree is green: what it clashes with comes with the others.
    room.commit("check.sh", "! { [ -e bad ] && [ -e a.md ]; }\n");
    room.script(&json!({
        "b": {"attempts": [
            [{"write": {"path": "bad", "text": "x\n"}}, {"commit": "Bad"}],
            [{"write_prompt": "told"}, {"run": "git merge -q --no-edit main && cp told \"$ROOM/told\""},
             {"delete": "told"}, {"delete": "bad"},
             {"write": {"path": "good", "text": "x\n"}}, {"commit": "Good"}],
        ]},
    }));
    let ended = room
        .run(&["--verify", "sh check.sh", "--max-workers", "1"])
        .expect(5);
    assert!(ended.out.contains("b: SET ASIDE"), "{}", ended.out);
    assert!(room.repo.join("a.md").exists() && room.repo.join("e.md").exists());
    assert!(!room.repo.join("bad").exists());
    let nothing = room.orchestra(&["retry", "a"]).expect(2).err;
    assert!(nothing.contains("nothing to try again"), "{nothing}");

    room.orchestra(&["retry"]).expect(0);
    assert!(room.repo.join("good").exists() && !room.repo.join("bad").exists());
    let told = fs::read_to_string(room.path("told")).unwrap();
    assert!(told.contains("the merged tree"), "{told}");
    assert!(told.contains("Merge the base branch"), "{told}");
    room.assert_tidy();
    room.orchestra(&["retry"]).expect(2);
}
