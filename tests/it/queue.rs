//! The merge queue with the real program: who is held, who is named, and with what evidence.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use orchestra::agent::environment::Environment;
use orchestra::conduct;
use orchestra::core::record::{AsideWhy, QueueWork, Record, Verdict};
use orchestra::core::state::State;
use orchestra::store::layout::RunDir;
use serde_json::{Map, Value, json};

use super::harness::{Room, writes};

/// Runs a check on merged trees only, and writes each run down outside of the repository.
const COUNTED: &str =
    "case \"$PWD\" in *_verify-*) echo x >> \"$ROOM/verified\"; sh check.sh;; esac";

/// The state that the journal of a run tells.
pub(crate) fn state(run: &RunDir) -> State {
    let context = conduct::load(run, Path::new("orchestra"), Environment::default()).unwrap();
    conduct::read_state(&context).unwrap()
}

pub(crate) fn set_aside(room: &Room, run: &RunDir) -> Vec<(String, AsideWhy)> {
    let records = room.records(run).into_iter();
    records
        .filter_map(|r| match r {
            Record::SetAside { task, why } => Some((task.to_string(), why)),
            _ => None,
        })
        .collect()
}

fn verify_works(room: &Room, run: &RunDir) -> usize {
    let records = room.records(run);
    let is = |r: &&Record| {
        matches!(
            r,
            Record::QueueStarted {
                work: QueueWork::Verify { .. }
            }
        )
    };
    records.iter().filter(is).count()
}

/// How often the check ran on merged trees, by its own count.
fn counted(room: &Room) -> usize {
    fs::read_to_string(room.path("verified")).map_or(0, |text| text.lines().count())
}

fn verdict(room: &Room, run: &RunDir) -> Option<Verdict> {
    room.records(run).into_iter().rev().find_map(|r| match r {
        Record::Finished { verdict } => Some(verdict),
        _ => None,
    })
}

// ---- Twenty tasks.

fn twenty() -> Vec<String> {
    (1..=20).map(|n| format!("t{n:02}")).collect()
}

/// Twenty tasks that write a file each. The tree is red with `t04`, with `t12`, and with both
/// `t08` and `t17`.
fn room_of_twenty(early: bool) -> Room {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.set("ORCHESTRA_MERGE_EARLY", early.to_string());
    room.commit(
        "check.sh",
        "if [ -e t04 ]; then echo t04 is bad; exit 3; fi\n\
         if [ -e t12 ]; then echo t12 is bad; exit 3; fi\n\
         if [ -e t08 ] && [ -e t17 ]; then echo they clash; exit 4; fi\n",
    );
    let names = twenty();
    let tasks: Vec<(&str, &[&str])> = names.iter().map(|n| (n.as_str(), &[] as _)).collect();
    room.plan(&tasks);
    let script: Map<String, Value> = names
        .iter()
        .map(|n| (n.clone(), writes(n, &format!("{n}\n"))))
        .collect();
    room.script(&Value::Object(script));
    room
}

/// What holds however the results came together.
#[track_caller]
fn assert_seventeen(room: &Room, out: &str) {
    let run = room.only_run();
    let log = fs::read_to_string(run.log()).unwrap();
    let clone = room.path("clone");
    room.git(&["clone", "--quiet", ".", clone.to_str().unwrap()]);
    let checked = std::process::Command::new("sh")
        .arg("check.sh")
        .current_dir(&clone)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}\n{log}");

    let aside = set_aside(room, &run);
    let held: BTreeSet<String> = twenty()
        .into_iter()
        .filter(|n| clone.join(n).exists())
        .collect();
    assert_eq!(held.len(), 17, "{held:?}\n{log}");
    assert_eq!(aside.len(), 3, "{aside:?}");
    let whole = state(&run);
    for name in twenty() {
        let task = orchestra::core::id::TaskName::parse(&name).unwrap();
        assert_eq!(whole.queue().is_delivered(&task), held.contains(&name));
        let entry = aside.iter().find(|(task, _)| *task == name);
        assert_eq!(entry.is_none(), held.contains(&name), "{name}: {entry:?}");
        let Some((_, AsideWhy::Red { commit, tail, with })) = entry else {
            continue;
        };
        let with: Vec<&str> = with.iter().map(|t| t.as_str()).collect();
        // The evidence: what the check said, and the very commit that it said it of.
        let (said, partner) = match name.as_str() {
            "t04" => ("t04 is bad", None),
            "t12" => ("t12 is bad", None),
            "t08" => ("they clash", Some("t17")),
            "t17" => ("they clash", Some("t08")),
            other => panic!("{other} is blamed: {entry:?}"),
        };
        assert!(tail.contains(said), "{name}: {tail}");
        assert_eq!(with, partner.into_iter().collect::<Vec<_>>(), "{name}");
        let tree = room.git(&["ls-tree", "--name-only", commit.as_str()]);
        assert!(tree.lines().any(|file| file == name), "{name}: {tree}");
        for text in [out, log.as_str()] {
            let line = text
                .lines()
                .find(|line| line.contains("SET ASIDE") && line.contains(&name))
                .unwrap_or_else(|| panic!("{name} is not named in\n{text}"));
            if let Some(name) = partner {
                assert!(line.contains(name), "{line}");
            }
        }
        // Nobody's work is gone.
        let branch = format!("task/{name}");
        assert!(room.task_branches().contains(&branch), "{branch}");
    }
    assert_eq!(verdict(room, &run), Some(Verdict::Partial));
    assert_eq!(room.git(&["status", "--porcelain"]), "");
    assert_eq!(counted(room), verify_works(room, &run));
    assert_eq!(
        u32::try_from(counted(room)).unwrap(),
        whole.queue().verify_runs()
    );
    room.assert_quiet();
}

#[test]
fn seventeen_of_twenty_are_delivered_and_the_four_are_named() {
    let room = room_of_twenty(false);
    let ended = room
        .run(&["--max-workers", "20", "--verify", COUNTED])
        .expect(5);
    assert_seventeen(&room, &ended.out);
    // 2·log2(20) for each of the four, and 2.
    let runs = counted(&room);
    assert!(runs <= 36, "{runs} runs of the verify command");
}

#[test]
fn results_that_are_merged_early_come_to_the_same_end() {
    let room = room_of_twenty(true);
    let ended = room
        .run(&["--max-workers", "5", "--verify", COUNTED])
        .expect(5);
    assert_seventeen(&room, &ended.out);
}

/// Squashed results leave no trace of their commits: what the chain holds is no reason to
/// leave them out of a trial, which stands on the base branch.
#[test]
fn the_partner_of_a_squashed_result_is_named() {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.set("ORCHESTRA_MERGE_EARLY", "true");
    room.set("ORCHESTRA_DELIVERY_STYLE", "squash");
    room.set("ORCHESTRA_SUCCESS_PERCENT", "75");
    room.commit(
        "check.sh",
        "if [ -e first ] && [ -e last ]; then echo they clash; exit 4; fi\n\
         if [ -e third ]; then touch \"$ROOM/proven\"; fi\n",
    );
    room.plan(&[
        ("first", &[]),
        ("second", &[]),
        ("third", &[]),
        ("last", &[]),
    ]);
    let mut last = writes("last", "x\n");
    let wait = "until [ -e \"$ROOM/proven\" ]; do sleep 0.01; done";
    let steps = last["steps"].as_array_mut().unwrap();
    steps.insert(0, json!({ "run": wait }));
    room.script(&json!({
        "first": writes("first", "x\n"),
        "second": writes("second", "x\n"),
        "third": writes("third", "x\n"),
        "last": last,
    }));
    room.run(&["--max-workers", "1", "--verify", COUNTED])
        .expect(5);
    let run = room.only_run();
    let aside = set_aside(&room, &run);
    let [(task, AsideWhy::Red { tail, with, .. })] = &aside[..] else {
        panic!("{aside:?}");
    };
    assert_eq!(task, "last");
    assert!(tail.contains("they clash"), "{tail}");
    let with: Vec<&str> = with.iter().map(|task| task.as_str()).collect();
    assert_eq!(with, ["first"]);
    for (file, there) in [
        ("first", true),
        ("second", true),
        ("third", true),
        ("last", false),
    ] {
        assert_eq!(room.repo.join(file).exists(), there, "{file}");
    }
    room.assert_quiet();
}

// ---- A check that changes its answer.

#[test]
fn a_check_that_fails_at_times_blocks_nothing_and_is_told() {
    let mut room = Room::new();
    room.set("ORCHESTRA_MERGE_EARLY", "false");
    room.plan(&[("a", &[]), ("b", &[]), ("c", &[])]);
    // Red when a commit is looked at for the first time.
    let verify = "case \"$PWD\" in *_verify-*) seen=\"$ROOM/seen-$(git rev-parse HEAD)\"; \
                  [ -e \"$seen\" ] || { touch \"$seen\"; echo not today; exit 1; };; esac";
    let ended = room.run(&["--verify", verify]).expect(0);
    let run = room.only_run();
    for file in ["a.md", "b.md", "c.md"] {
        assert!(room.repo.join(file).exists(), "{file}");
    }
    let state = state(&run);
    let flaky: Vec<_> = state.queue().flaky().collect();
    assert_eq!(flaky.len(), 1, "{flaky:?}");
    let (commit, verdict) = flaky[0];
    assert_eq!(commit.as_str(), room.git(&["rev-parse", "main"]));
    assert_eq!((verdict.green, verdict.red), (1, 1));
    assert!(verdict.tail.contains("not today"), "{verdict:?}");
    assert!(state.queue().aside().is_empty());
    let log = fs::read_to_string(run.log()).unwrap();
    for text in [&ended.out, &log] {
        let line = text
            .lines()
            .find(|line| line.contains("flaky"))
            .unwrap_or_else(|| panic!("nobody is told:\n{text}"));
        assert!(line.contains(commit.short()), "{line}");
    }
    room.assert_tidy();
}
