//! Integration that is cut off at each of its journaled steps ends as if it had not been.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use orchestra::core::id::TaskName;
use orchestra::core::record::{AsideWhy, QueueResult, QueueWork, Record, Verdict};
use orchestra::core::state::TaskState;
use orchestra::store::layout::RunDir;
use serde_json::json;

use super::harness::{Room, writes};
use super::queue::{set_aside, state};
use super::scratch;

/// Each walks its share of the steps in a room of its own.
const THREADS: usize = 3;

/// A run that was not disturbed, and what it came to.
struct Undisturbed {
    room: Room,
    run: RunDir,
    /// A copy of all files of its end.
    kept: tempfile::TempDir,
    /// Lines of its journal.
    lines: Vec<String>,
    records: Vec<Record>,
    /// The number of records before the queue's first.
    first: usize,
    /// Where the base branch was, and is.
    from: String,
    to: String,
    tree: String,
    aside: BTreeSet<(String, &'static str)>,
}

fn kind(why: &AsideWhy) -> &'static str {
    match why {
        AsideWhy::Red { .. } => "red",
        AsideWhy::Conflict { .. } => "conflict",
        AsideWhy::Because { .. } => "because",
    }
}

const TASKS: [&str; 6] = ["good", "left", "right", "bad", "later", "last"];

/// Good results, two that conflict, one that is red, and one that builds on another.
fn undisturbed() -> Undisturbed {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.set("ORCHESTRA_MERGE_EARLY", "false");
    room.set("ORCHESTRA_SUCCESS_PERCENT", "50");
    room.plan(&[
        ("good", &[]),
        ("left", &[]),
        ("right", &[]),
        ("bad", &[]),
        ("later", &["good"]),
        ("last", &[]),
    ]);
    room.script(&json!({
        "good": writes("good", "x\n"),
        "left": writes("README.md", "of left\n"),
        "right": writes("README.md", "of right\n"),
        "bad": writes("bad", "x\n"),
        "later": writes("good", "x\ny\n"),
        "last": writes("last", "x\n"),
    }));
    let from = room.git(&["rev-parse", "main"]);
    let verify = "case \"$PWD\" in *_verify-*) test ! -e bad;; esac";
    room.run(&["--cleanup=never", "--max-workers=6", "--verify", verify])
        .expect(5);
    room.assert_quiet();
    let run = room.only_run();
    let text = fs::read_to_string(run.journal()).unwrap();
    let records = room.records(&run);
    let first = records
        .iter()
        .position(|r| matches!(r, Record::QueueStarted { .. }))
        .unwrap();
    let kept = tempfile::tempdir_in(scratch::folder()).unwrap();
    for folder in ["repo", "repo.worktrees"] {
        copy(&room.path(folder), &kept.path().join(folder));
    }
    let attempts = |r: &&Record| matches!(r, Record::AttemptStarted { .. });
    let attempts = records.iter().filter(attempts).count();
    assert_eq!(attempts, TASKS.len(), "{records:#?}");
    let aside = aside(&room, &run);
    let expected = [("bad".to_owned(), "red"), ("right".to_owned(), "conflict")];
    assert_eq!(aside, BTreeSet::from(expected));
    Undisturbed {
        lines: text.lines().map(str::to_owned).collect(),
        first,
        from,
        to: room.git(&["rev-parse", "main"]),
        tree: room.git(&["rev-parse", "main^{tree}"]),
        aside,
        records,
        kept,
        run,
        room,
    }
}

fn aside(room: &Room, run: &RunDir) -> BTreeSet<(String, &'static str)> {
    let all = set_aside(room, run);
    all.into_iter().map(|(t, why)| (t, kind(&why))).collect()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

impl Undisturbed {
    /// Puts everything to where it was after this many records, with the base branch at a
    /// commit.
    fn put_back(&self, records: usize, base: &str) {
        let room = &self.room;
        for folder in ["repo", "repo.worktrees"] {
            let _ = fs::remove_dir_all(room.path(folder));
            copy(&self.kept.path().join(folder), &room.path(folder));
        }
        let mut journal = self.lines[..records].join("\n");
        journal.push('\n');
        fs::write(self.run.journal(), journal).unwrap();
        for file in [
            self.run.results(),
            self.run.success_report(),
            self.run.failure_report(),
        ] {
            let _ = fs::remove_file(file);
        }
        let own = room.git(&[
            "for-each-ref",
            "--format=%(refname)",
            "refs/orchestra",
            "refs/heads/orchestra",
        ]);
        for name in own.lines() {
            room.git(&["update-ref", "-d", name]);
        }
        room.git(&["reset", "--quiet", "--hard", base]);
        room.git(&["reflog", "expire", "--expire=now", "--all"]);
        if records % 2 == 1 {
            let scratch = room.worktree(&format!("_verify-{}", self.run.id()));
            let _ = fs::remove_dir_all(&scratch);
        }
    }

    /// The places of the base branch that a cut after so many records leaves possible.
    fn bases(&self, records: usize) -> Vec<&str> {
        let before = &self.records[..records];
        let delivered = before.iter().any(|r| {
            matches!(
                r,
                Record::QueueEnded {
                    result: QueueResult::Delivered
                }
            )
        });
        let delivering = matches!(
            before.last(),
            Some(Record::QueueStarted {
                work: QueueWork::Deliver { .. }
            })
        );
        match (delivered, delivering) {
            (true, _) => vec![&self.to],
            (false, true) => vec![&self.from, &self.to],
            (false, false) => vec![&self.from],
        }
    }

    /// After the restart: the same result as without any cut.
    #[track_caller]
    fn assert_same(&self, what: &str) {
        let Self { room, run, .. } = self;
        let log = fs::read_to_string(run.log()).unwrap();
        let records = room.records(run);
        let count = |is: fn(&Record) -> bool| records.iter().filter(|r| is(r)).count();
        assert_eq!(
            room.git(&["rev-parse", "main^{tree}"]),
            self.tree,
            "{what}\n{log}"
        );
        assert_eq!(aside(room, run), self.aside, "{what}\n{log}");
        assert_eq!(count(|r| matches!(r, Record::Finished { .. })), 1, "{what}");
        assert!(
            records.contains(&Record::Finished {
                verdict: Verdict::Partial
            }),
            "{what}"
        );
        assert_eq!(
            count(|r| matches!(r, Record::IntegrationStarted { .. })),
            1,
            "{what}"
        );
        assert_eq!(
            count(|r| matches!(r, Record::AttemptStarted { .. })),
            TASKS.len(),
            "{what}: no task was worked on again"
        );
        assert!(run.results().exists() && run.success_report().exists());
        assert_eq!(room.git(&["status", "--porcelain"]), "", "{what}");

        // The base branch never was anywhere but where it began or where it was green.
        let state = state(run);
        let reflog = room.git(&["reflog", "main", "--format=%H"]);
        for commit in reflog
            .lines()
            .chain([room.git(&["rev-parse", "main"]).as_str()])
        {
            let oid = orchestra::core::id::Oid::parse(commit).unwrap();
            let green = state.queue().verdict(&oid).is_some_and(|v| v.is_green());
            assert!(green || commit == self.from, "{what}: {commit}\n{reflog}");
        }
        // The delivered history holds each task once.
        let subjects = room.git(&["log", "--format=%s", "--first-parent", "main"]);
        assert_eq!(subjects.lines().count(), 5, "{what}: {subjects}");

        // Not even tidying everything up loses a commit of anybody.
        room.orchestra(&["cleanup", "all"]).expect(0);
        assert_eq!(room.task_branches(), Vec::<String>::new(), "{what}");
        for name in TASKS {
            let ix = state.find(&TaskName::parse(name).unwrap()).unwrap();
            let TaskState::Done { head, .. } = &state.task(ix).state else {
                panic!("{what}: {name} is not done");
            };
            let kept = room.git(&[
                "for-each-ref",
                "--contains",
                head.as_str(),
                "refs/heads/main",
                "refs/orchestra/backup",
            ]);
            assert_ne!(kept, "", "{what}: {name}");
        }
        room.assert_quiet();
    }
}

/// Walks in several rooms at once; each gets the numbers of its steps.
fn in_rooms(walk: impl Fn(&Undisturbed, &dyn Fn(usize) -> bool) + Sync) {
    std::thread::scope(|scope| {
        for own in 0..THREADS {
            let walk = &walk;
            scope.spawn(move || walk(&undisturbed(), &|step| step % THREADS == own));
        }
    });
}

#[test]
fn a_journal_that_ends_after_any_step_of_integration_goes_on_to_the_same_end() {
    in_rooms(|u, mine| {
        for records in (u.first..u.lines.len()).filter(|n| mine(*n)) {
            for base in u.bases(records) {
                u.put_back(records, base);
                let what = format!(
                    "after {records} of {}: {:?}, base at {base}",
                    u.lines.len(),
                    u.records[records - 1]
                );
                let ended = u.room.orchestra(&["wait"]);
                assert_eq!(ended.code, 5, "{what}\n{}{}", ended.out, ended.err);
                u.assert_same(&what);
            }
        }
    });
}

#[test]
fn a_conductor_that_is_killed_at_any_step_of_integration_changes_nothing() {
    in_rooms(|u, mine| {
        for records in (u.first + 1..=u.lines.len()).filter(|n| mine(*n)) {
            u.put_back(u.first, &u.from);
            let what = format!("killed at {records} of {}", u.lines.len());
            let waiting = u.room.start(&["wait"]);
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let journal = fs::read(u.run.journal()).unwrap();
                if journal.iter().filter(|b| **b == b'\n').count() >= records {
                    break;
                }
                assert!(Instant::now() < deadline, "{what}: it stands still");
                std::thread::sleep(Duration::from_micros(300));
            }
            for conductor in u.room.processes_of("conduct") {
                conductor.kill();
            }
            // Whoever waits for the run brings another one.
            let ended = waiting.end();
            assert_eq!(ended.code, 5, "{what}\n{}{}", ended.out, ended.err);
            u.assert_same(&what);
        }
    });
}
