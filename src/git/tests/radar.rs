//! Pictures of worktrees at work, and merging pairs of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::core::id::{Oid, TaskName};
use crate::git::testkit::{Fixture, commit_in, git_in, write_in};
use crate::git::{GitError, Look, MergePair, Operation, Scanner, WorktreeSpec};

fn task(name: &str) -> TaskName {
    TaskName::parse(name).unwrap()
}

fn scanner(f: &Fixture) -> Scanner {
    Scanner::open(f.repo(), &f.beside("radar"), Arc::default()).unwrap()
}

fn head(f: &Fixture) -> Oid {
    Oid::parse(&f.git(&["rev-parse", "HEAD"])).unwrap()
}

fn worktree(f: &Fixture, name: &str, at: &Oid) -> PathBuf {
    let path = f.beside(name);
    f.repo()
        .worktree_add(&WorktreeSpec {
            path: path.clone(),
            branch: None,
            at: at.clone(),
        })
        .unwrap();
    path
}

fn taken(scanner: &mut Scanner, name: &str, path: &Path) -> (Oid, bool) {
    match scanner.look(&task(name), path).unwrap() {
        Look::Taken { picture, is_new } => (picture.commit, is_new),
        other => panic!("{other:?}"),
    }
}

fn merged(scanner: &Scanner, base: &Oid, a: &Oid, b: &Oid) -> Option<Vec<String>> {
    let pair = MergePair {
        ours: a.clone(),
        theirs: b.clone(),
        attributes: base.clone(),
    };
    scanner.merge_all(&[pair]).unwrap().remove(0)
}

fn changed(scanner: &Scanner, from: &Oid, to: &Oid) -> Vec<String> {
    let changes = scanner.changes(&[(from.clone(), to.clone())]).unwrap();
    let show = |c: &crate::git::RadarChange| format!("{} {}", c.kind, c.path);
    changes.concat().iter().map(show).collect()
}

/// All loose and packed objects of the repository, and every file of a worktree's git folder.
fn fingerprint(f: &Fixture, worktree: &Path) -> String {
    let git_dir = git_in(worktree, &["rev-parse", "--absolute-git-dir"]);
    let mut names: Vec<_> = std::fs::read_dir(&git_dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    let index = std::fs::read(Path::new(&git_dir).join("index")).unwrap();
    format!(
        "{} {names:?} {:?} {}",
        f.git(&["count-objects", "-v"]),
        index.iter().map(|b| u64::from(*b)).sum::<u64>(),
        f.git(&["for-each-ref"]),
    )
}

#[test]
fn everything_uncommitted_is_seen_and_nothing_is_left_in_the_repository() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        f.write(".gitignore", "*.log\n");
        for name in ["edited", "deleted", "old", "staged"] {
            f.write(name, &format!("{name}\n1\n2\n3\n"));
        }
        let base = f.commit("files");
        let (a, b) = (worktree(&f, "a", &base), worktree(&f, "b", &base));
        let mut scanner = scanner(&f);
        // Nothing done: the picture is the commit itself.
        assert_eq!(taken(&mut scanner, "a", &a), (base.clone(), true));
        assert_eq!(taken(&mut scanner, "a", &a), (base.clone(), false));

        write_in(&a, "edited", "a\n");
        std::fs::remove_file(a.join("deleted")).unwrap();
        std::fs::rename(a.join("old"), a.join("renamed")).unwrap();
        write_in(&a, "staged", "a\n");
        git_in(&a, &["add", "staged"]);
        write_in(&a, "new/ünï code", "a\n");
        std::fs::write(a.join("binary"), [0, 159, 1, 0]).unwrap();
        write_in(&a, "x.log", "ignored\n");
        let before = fingerprint(&f, &a);
        let (of_a, is_new) = taken(&mut scanner, "a", &a);
        assert!(is_new);
        assert_eq!(taken(&mut scanner, "a", &a), (of_a.clone(), false));
        assert_eq!(
            changed(&scanner, &base, &of_a),
            [
                "A binary",
                "D deleted",
                "M edited",
                "A new/ünï code",
                "D old",
                "A renamed",
                "M staged"
            ]
        );

        // The other does something in the same places, committed this time.
        write_in(&b, "edited", "b\n");
        write_in(&b, "deleted", "deleted\n1\n2\nb\n");
        write_in(&b, "old", "old\n1\n2\nb\n");
        write_in(&b, "new/ünï code", "b\n");
        std::fs::write(b.join("binary"), [0, 159, 2, 0]).unwrap();
        commit_in(&b, "b");
        let mut objects = fingerprint(&f, &a);
        let (of_b, _) = taken(&mut scanner, "b", &b);
        assert_eq!(of_b.as_str(), git_in(&b, &["rev-parse", "HEAD"]));
        // The rename is followed; the rest is in conflict.
        assert_eq!(
            merged(&scanner, &base, &of_a, &of_b).unwrap(),
            ["binary", "deleted", "edited", "new/ünï code"]
        );
        assert_eq!(merged(&scanner, &base, &of_a, &base), Some(vec![]));
        assert_eq!(fingerprint(&f, &a), objects);
        assert_ne!(before, objects, "the commit of b");

        // The conflict goes when its reason goes.
        git_in(&a, &["checkout", "--quiet", "HEAD", "--", "edited"]);
        objects = fingerprint(&f, &a);
        let (of_a, is_new) = taken(&mut scanner, "a", &a);
        assert!(is_new);
        let files = merged(&scanner, &base, &of_a, &of_b).unwrap();
        assert_eq!(files, ["binary", "deleted", "new/ünï code"]);
        assert_eq!(fingerprint(&f, &a), objects);

        // The same content has the same id, also after all was forgotten.
        scanner.forget(&task("a"));
        assert_eq!(taken(&mut scanner, "a", &a), (of_a.clone(), true));
        let folder = f.beside("radar");
        assert!(folder.exists() && scanner.bytes() > 0);
        drop(scanner);
        assert!(!folder.exists());
        assert!(f.repo().resolve(of_a.as_str()).unwrap().is_none());
    }
}

#[test]
fn a_change_within_one_tick_of_the_clock_is_seen() {
    let f = Fixture::new();
    f.write("file", "0000\n");
    let base = f.commit("file");
    let a = worktree(&f, "a", &base);
    let mut scanner = scanner(&f);
    let mut seen = vec![taken(&mut scanner, "a", &a).0];
    for n in 1..40 {
        // Always of the same size.
        write_in(&a, "file", &format!("{n:04}\n"));
        let (now, is_new) = taken(&mut scanner, "a", &a);
        assert!(is_new && !seen.contains(&now), "change {n} was not seen");
        seen.push(now);
    }
}

#[test]
fn half_of_a_rebase_is_not_looked_at() {
    let f = Fixture::new();
    f.write("file", "base\n");
    let base = f.commit("file");
    let a = worktree(&f, "a", &base);
    write_in(&a, "file", "a\n");
    commit_in(&a, "a");
    f.write("file", "main\n");
    f.commit("main");
    let mut scanner = scanner(&f);
    let (before, _) = taken(&mut scanner, "a", &a);
    let rebase = super::super::command::Git::at(&a)
        .args(["rebase", "main"])
        .output()
        .unwrap();
    assert!(!rebase.success());
    let look = scanner.look(&task("a"), &a).unwrap();
    assert_eq!(look, Look::Busy(Operation::Rebase));
    git_in(&a, &["rebase", "--abort"]);
    assert_eq!(taken(&mut scanner, "a", &a), (before, false));
}

#[test]
fn submodules_and_nested_repositories_count_by_their_commit() {
    let f = Fixture::new();
    let base = head(&f);
    let a = worktree(&f, "a", &base);
    let mut scanner = scanner(&f);
    taken(&mut scanner, "a", &a);
    let nested = a.join("nested");
    std::fs::create_dir(&nested).unwrap();
    git_in(&nested, &["init", "-q"]);
    git_in(&nested, &["config", "user.name", "N"]);
    git_in(&nested, &["config", "user.email", "n@example.org"]);
    write_in(&nested, "inside", "1\n");
    commit_in(&nested, "inside");
    let (with, _) = taken(&mut scanner, "a", &a);
    assert_eq!(changed(&scanner, &base, &with), ["A nested"]);
    let b = worktree(&f, "b", &base);
    write_in(&b, "nested", "a file\n");
    let (of_b, _) = taken(&mut scanner, "b", &b);
    let files = merged(&scanner, &base, &with, &of_b).unwrap();
    assert!(files.iter().any(|f| f.starts_with("nested")), "{files:?}");
}

#[test]
fn a_worktree_that_is_gone_or_hidden_is_an_error_and_an_unreadable_file_is_none() {
    let f = Fixture::new();
    let base = head(&f);
    let (a, b) = (worktree(&f, "a", &base), worktree(&f, "b", &base));
    let mut scanner = scanner(&f);
    taken(&mut scanner, "a", &a);
    std::fs::remove_dir_all(&a).unwrap();
    assert!(scanner.look(&task("a"), &a).is_err());
    // What root can read anyway is no test of it.
    write_in(&b, "secret", "x\n");
    write_in(&b, "open", "x\n");
    std::fs::set_permissions(b.join("secret"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let readable = std::fs::read(b.join("secret")).is_ok();
    let (of_b, _) = taken(&mut scanner, "b", &b);
    let seen = changed(&scanner, &base, &of_b);
    assert!(seen.contains(&"A open".to_owned()), "{seen:?}");
    assert_eq!(seen.contains(&"A secret".to_owned()), readable);
}

#[test]
fn what_cannot_be_merged_holds_the_other_pairs_up_in_nothing() {
    let f = Fixture::new();
    f.write("file", "base\n");
    let base = f.commit("file");
    let one = f.commit_on(&base, &[("file", "one\n")]);
    let two = f.commit_on(&base, &[("file", "two\n")]);
    let empty = f.git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let alone = Oid::parse(&f.git(&["commit-tree", "-m", "alone", &empty])).unwrap();
    let none = Oid::parse(&"1".repeat(40)).unwrap();
    let scanner = scanner(&f);
    let pair = |a: &Oid, b: &Oid| MergePair {
        ours: a.clone(),
        theirs: b.clone(),
        attributes: base.clone(),
    };
    let conflict = Some(vec!["file".to_owned()]);
    assert_eq!(
        scanner
            .merge_all(&[
                pair(&one, &alone),
                pair(&one, &two),
                pair(&none, &two),
                pair(&two, &one),
                pair(&base, &one),
            ])
            .unwrap(),
        [None, conflict.clone(), None, conflict, Some(vec![])]
    );
    assert_eq!(scanner.merge_all(&[]).unwrap(), []);
}

#[test]
fn attributes_are_those_of_the_given_commit() {
    let f = Fixture::new();
    f.write("list", "base\n");
    let base = f.commit("list");
    let union = f.commit_on(&base, &[(".gitattributes", "list merge=union\n")]);
    let one = f.commit_on(&base, &[("list", "base\none\n")]);
    let two = f.commit_on(&base, &[("list", "base\ntwo\n")]);
    let scanner = scanner(&f);
    let version = crate::git::git_version().unwrap();
    assert_eq!(
        merged(&scanner, &base, &one, &two),
        Some(vec!["list".to_owned()])
    );
    if (version.major, version.minor) >= (2, 41) {
        assert_eq!(merged(&scanner, &union, &one, &two), Some(vec![]));
    }
}

#[test]
fn it_ends_when_it_is_told_to() {
    let f = Fixture::new();
    let base = head(&f);
    let a = worktree(&f, "a", &base);
    // A filter that never ends.
    f.git(&["config", "filter.slow.clean", "sleep 600"]);
    write_in(&a, ".gitattributes", "* filter=slow\n");
    write_in(&a, "file", "x\n");
    let stop = Arc::new(AtomicBool::new(false));
    let mut scanner = Scanner::open(f.repo(), &f.beside("radar"), Arc::clone(&stop)).unwrap();
    let looking = std::thread::spawn(move || scanner.look(&task("a"), &a));
    stop.store(true, Ordering::Relaxed);
    let begin = std::time::Instant::now();
    let error = looking.join().unwrap().unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error}");
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn a_lock_that_was_left_is_taken_away() {
    let f = Fixture::new();
    let base = head(&f);
    let a = worktree(&f, "a", &base);
    let mut scanner = scanner(&f);
    taken(&mut scanner, "a", &a);
    write_in(&f.beside("radar"), "a.index.lock", "");
    // One in the worktree is the instance's business, and in nobody's way.
    let git_dir = git_in(&a, &["rev-parse", "--absolute-git-dir"]);
    write_in(Path::new(&git_dir), "index.lock", "");
    write_in(&a, "new", "x\n");
    assert!(taken(&mut scanner, "a", &a).1);
}
