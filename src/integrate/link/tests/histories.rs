//! Made-up histories: in every style a chain of links holds what git's own merges hold.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::git::Repo;

/// One change of a commit, to one of a few files.
#[derive(Debug, Clone)]
enum Op {
    /// A line of a file gets another word.
    Edit(u8, usize, u8),
    Delete(u8),
    Move(u8, u8),
    Add(u8, u8),
}

/// What a task's work starts from.
#[derive(Debug, Clone, Copy)]
enum From {
    Base,
    /// The person's later work.
    Main,
    /// A commit of an earlier task, perhaps not its last.
    Task(usize, usize),
}

#[derive(Debug, Clone)]
struct Work {
    from: From,
    commits: Vec<Vec<Op>>,
    /// After which of them the person's work was merged in, if at all.
    merges: Option<usize>,
}

#[derive(Debug, Clone)]
struct History {
    main: Vec<Op>,
    tasks: Vec<Work>,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0..4_u8, 0..12_usize, 0..3_u8).prop_map(|(f, l, w)| Op::Edit(f, l, w)),
        1 => (0..4_u8).prop_map(Op::Delete),
        2 => (0..4_u8, 0..6_u8).prop_map(|(a, b)| Op::Move(a, b)),
        2 => (4..8_u8, 0..2_u8).prop_map(|(f, w)| Op::Add(f, w)),
    ];
    proptest::collection::vec(op, 1..3)
}

fn history() -> impl Strategy<Value = History> {
    let from = prop_oneof![
        3 => Just(From::Base),
        1 => Just(From::Main),
        2 => (0..3_usize, 0..3_usize).prop_map(|(t, c)| From::Task(t, c)),
    ];
    let commits = proptest::collection::vec(ops(), 1..4);
    let merges = proptest::option::weighted(0.15, 0..3_usize);
    let work = (from, commits, merges).prop_map(|(from, commits, merges)| Work {
        from,
        commits,
        merges,
    });
    (ops(), proptest::collection::vec(work, 1..4)).prop_map(|(main, tasks)| History { main, tasks })
}

type Files = std::collections::BTreeMap<u8, Vec<String>>;

fn apply(files: &mut Files, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Edit(file, line, word) => {
                if let Some(line) = files.get_mut(file).and_then(|f| f.get_mut(*line)) {
                    *line = format!("{line} {word}");
                }
            }
            Op::Delete(file) => _ = files.remove(file),
            Op::Move(from, to) => {
                if !files.contains_key(to)
                    && let Some(text) = files.remove(from)
                {
                    files.insert(*to, text);
                }
            }
            Op::Add(file, word) => {
                files
                    .entry(*file)
                    .or_insert_with(|| vec![format!("new {word}")]);
            }
        }
    }
}

fn content_of(files: &Files) -> Content {
    let path = |n: &u8| format!("{}/f{n}", if *n < 3 { "src" } else { "lib" }).into_bytes();
    files
        .iter()
        .map(|(n, lines)| (path(n), Node::text(&(lines.join("\n") + "\n"))))
        .collect()
}

/// Makes the commits: the person's tip, and each task's result.
fn make(f: &Fixture, history: &History) -> (Oid, Vec<MergeTask>) {
    let mut import = Import::default();
    let base: Files = (0..4_u8)
        .map(|n| (n, (0..12).map(|l| format!("file {n} line {l}")).collect()))
        .collect();
    let root = import.commit(&[], "base", &content_of(&base));
    let mut of_main = base.clone();
    apply(&mut of_main, &history.main);
    let main = import.commit(&[root], "main", &content_of(&of_main));
    let mut made: Vec<Vec<(usize, Files)>> = Vec::new();
    for work in &history.tasks {
        let (mut at, mut files) = match work.from {
            From::Main => (main, of_main.clone()),
            From::Task(task, commit) if !made.is_empty() => {
                let of_task = &made[task % made.len()];
                of_task[commit % of_task.len()].clone()
            }
            _ => (root, base.clone()),
        };
        let mut commits = Vec::new();
        for (n, ops) in work.commits.iter().enumerate() {
            apply(&mut files, ops);
            at = import.commit(&[at], &format!("change {n}"), &content_of(&files));
            if work.merges == Some(n) {
                // Whoever merged kept their own files: that happens.
                at = import.commit(&[at, main], "merged", &content_of(&files));
            }
            commits.push((at, files.clone()));
        }
        made.push(commits);
    }
    let ids = import.run(f);
    let tasks = made.iter().enumerate().map(|(n, commits)| {
        let (head, _) = commits.last().unwrap();
        task(&format!("t{n}"), &ids[*head])
    });
    (ids[main].clone(), tasks.collect())
}

/// What linking a task came to: the chain's tree, or the versions in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Tree(Oid),
    Conflict(Vec<String>),
}

fn chain(repo: &Repo, main: &Oid, tasks: &[MergeTask], style: DeliveryStyle) -> (Oid, Vec<Step>) {
    let base_branch = branch("main");
    let mut how = LinkHow::new(&base_branch, style);
    let (mut tip, mut steps) = (main.clone(), Vec::new());
    for task in tasks {
        match link(repo, &tip, task, &how).unwrap() {
            Linked::Contained => how.held.push(task.head.clone()),
            Linked::Commit(commit) => {
                assert!(repo.is_ancestor(&tip, &commit).unwrap());
                tip = commit;
            }
            Linked::Conflict { files, .. } => {
                // Whose markers are in a version that was merged before names commits, which
                // differ from style to style.
                let versions = files.iter().flat_map(|file| {
                    let stages = file.stages.iter();
                    stages.map(|s| format!("{} {} {}", s.mode, s.stage, file.path))
                });
                steps.push(Step::Conflict(versions.collect()));
                break;
            }
        }
        let again = link(repo, &tip, task, &how).unwrap();
        assert_eq!(again, Linked::Contained, "{style:?}: linked twice");
        steps.push(Step::Tree(repo.tree_of(&tip).unwrap()));
    }
    (tip, steps)
}

/// The same by `git merge` in the checkout.
fn by_git(f: &Fixture, main: &Oid, tasks: &[MergeTask]) -> Vec<Step> {
    f.git(&["checkout", "-q", "-f", "--detach", main.as_str()]);
    let mut steps = Vec::new();
    for task in tasks {
        let merge = ["merge", "-q", "--no-ff", "-m", "m", task.head.as_str()];
        let script = format!("alias.try=!git {} >/dev/null || true", merge.join(" "));
        f.git(&["-c", &script, "try"]);
        if !f.git(&["ls-files", "-u"]).is_empty() {
            f.git(&["merge", "--abort"]);
            steps.push(Step::Conflict(Vec::new()));
            break;
        }
        steps.push(Step::Tree(oid(&f.git(&["rev-parse", "HEAD^{tree}"]))));
    }
    steps
}

#[test]
fn every_style_gives_what_git_merge_gives() {
    let f = Fixture::new();
    let repo = f.repo();
    let count = std::cell::Cell::new(0_u32);
    let (conflicts, trees) = (std::cell::Cell::new(0_u32), std::cell::Cell::new(0_u32));
    let mut runner = TestRunner::new(Config {
        cases: 120,
        failure_persistence: None,
        ..Config::default()
    });
    let property = |history| {
        let (main, tasks) = make(&f, &history);
        let (_, merged) = chain(&repo, &main, &tasks, DeliveryStyle::Merge);
        for style in [DeliveryStyle::Squash, DeliveryStyle::Rebase] {
            let (tip, steps) = chain(&repo, &main, &tasks, style);
            prop_assert_eq!(&steps, &merged, "{:?}", style);
            let range = format!("{main}..{tip}");
            for commit in repo.commits_between(&main, &tip).unwrap() {
                prop_assert_eq!(commit.parents.len(), 1, "{} is a merge", range);
                prop_assert_eq!(trailer_values(&commit.message, TASK).len(), 1);
            }
        }
        count.set(count.get() + 1);
        if count.get().is_multiple_of(6) {
            let git = by_git(&f, &main, &tasks);
            prop_assert_eq!(git.len(), merged.len(), "git stopped elsewhere");
            for (own, git) in merged.iter().zip(git) {
                match own {
                    Step::Tree(_) => prop_assert_eq!(own, &git),
                    Step::Conflict(_) => prop_assert!(matches!(git, Step::Conflict(_))),
                }
            }
        }
        match merged.last() {
            Some(Step::Conflict(_)) => conflicts.set(conflicts.get() + 1),
            _ => trees.set(trees.get() + 1),
        }
        Ok(())
    };
    runner.run(&history(), property).unwrap();
    let (conflicts, trees) = (conflicts.get(), trees.get());
    assert!(
        conflicts > 10 && trees > 40,
        "{conflicts} conflicts, {trees} not"
    );
}
