//! Status, diffs, snapshots and resets of working trees.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::core::id::Oid;
use crate::git::testkit::{Fixture, git_in, oid, read, write_in};
use crate::git::{ChangeKind, GitError, Lines, Operation, StatusEntry, WorktreeSpec};

fn entry(path: &str, kind: ChangeKind) -> StatusEntry {
    StatusEntry {
        path: path.to_owned(),
        kind,
    }
}

#[test]
fn status_tells_everything_apart() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        for name in ["staged", "both", "deleted", "sp ace é", "gone-staged"] {
            f.write(name, "1\n");
        }
        f.write(".gitignore", "*.log\n");
        f.commit("files");
        let repo = f.repo();
        assert!(repo.status(&f.root).unwrap().is_clean());
        f.write("staged", "2\n");
        f.write("both", "2\n");
        f.write("added", "1\n");
        f.git(&["rm", "-q", "gone-staged"]);
        f.git(&["add", "staged", "both", "added"]);
        f.write("both", "3\n");
        std::fs::remove_file(f.root.join("deleted")).unwrap();
        f.write("sp ace é", "2\n");
        f.write("new/a", "x");
        f.write("new/b", "x");
        f.write("x.log", "x");
        let status = repo.status(&f.root).unwrap();
        assert_eq!(
            status.staged,
            vec![
                entry("added", ChangeKind::Added),
                entry("both", ChangeKind::Modified),
                entry("gone-staged", ChangeKind::Deleted),
                entry("staged", ChangeKind::Modified),
            ]
        );
        assert_eq!(
            status.modified,
            vec![
                entry("both", ChangeKind::Modified),
                entry("deleted", ChangeKind::Deleted),
                entry("sp ace é", ChangeKind::Modified),
            ]
        );
        assert_eq!(status.untracked, vec!["new/a", "new/b"]);
        assert_eq!(status.conflicted, Vec::<String>::new());
        assert!(!status.is_clean());
    }
}

#[test]
fn operations_under_way_are_seen() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        let base = oid(&f.git(&["rev-parse", "HEAD"]));
        let other = f.commit_on(&base, &[("README", "theirs\n")]);
        f.write("README", "ours\n");
        f.commit("ours");
        let repo = f.repo();
        let begin = |command: &str| {
            let args = [command, other.as_str()];
            let output = crate::git::command::Git::at(&f.root)
                .args(args)
                .output()
                .unwrap();
            assert_ne!(output.code, Some(0));
            let status = repo.status(&f.root).unwrap();
            assert_eq!(status.conflicted, vec!["README"], "{command}");
            f.git(&[command, "--abort"]);
            assert_eq!(repo.status(&f.root).unwrap().operation, None);
            status.operation
        };
        assert_eq!(begin("merge"), Some(Operation::Merge));
        assert_eq!(begin("rebase"), Some(Operation::Rebase));
        assert_eq!(begin("cherry-pick"), Some(Operation::CherryPick));
        assert_eq!(begin("revert"), Some(Operation::Revert));
        f.git(&["bisect", "start"]);
        let status = repo.status(&f.root).unwrap();
        assert_eq!(status.operation, Some(Operation::Bisect));
    }
}

#[test]
fn a_worktree_is_measured_against_its_base() {
    let f = Fixture::new();
    f.write("edited", "a\nb\n");
    f.write("gone", "a\n");
    f.write(".gitignore", "*.log\n");
    let base = f.commit("base");
    f.write("committed", "1\n2\n");
    f.commit("committed");
    f.write("edited", "a\nB\nc\n");
    std::fs::remove_file(f.root.join("gone")).unwrap();
    f.write("staged", "1");
    f.git(&["add", "staged"]);
    f.write("new é/file", "1\n2\n3");
    f.write("x.log", "ignored");
    std::fs::write(f.root.join("binary"), b"a\0b\n").unwrap();
    symlink("x", f.root.join("link")).unwrap();
    f.write("README", "hello\n");
    let stat = f.repo().worktree_stat(&f.root, &base).unwrap();
    let lines = |added, removed| Some(Lines { added, removed });
    let found: Vec<_> = stat
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.kind, file.lines))
        .collect();
    assert_eq!(
        found,
        vec![
            ("binary", ChangeKind::Added, None),
            ("committed", ChangeKind::Added, lines(2, 0)),
            ("edited", ChangeKind::Modified, lines(2, 1)),
            ("gone", ChangeKind::Deleted, lines(0, 1)),
            ("link", ChangeKind::Added, lines(1, 0)),
            ("new é/file", ChangeKind::Added, lines(3, 0)),
            ("staged", ChangeKind::Added, lines(1, 0)),
        ],
        "touched but equal files do not count"
    );
    assert_eq!(
        stat.lines,
        Lines {
            added: 9,
            removed: 2
        }
    );
}

#[test]
fn measuring_counts_a_conflicted_file_once() {
    let f = Fixture::new();
    let base = oid(&f.git(&["rev-parse", "HEAD"]));
    let other = f.commit_on(&base, &[("README", "theirs\n")]);
    f.write("README", "ours\n");
    f.commit("ours");
    let merge = crate::git::command::Git::at(&f.root)
        .args(["merge", other.as_str()])
        .output()
        .unwrap();
    assert_eq!(merge.code, Some(1));
    let stat = f.repo().worktree_stat(&f.root, &base).unwrap();
    assert_eq!(stat.files.len(), 1, "{stat:?}");
    assert!(stat.files[0].lines.is_some());
}

/// Everything in a folder that a snapshot must not touch.
fn fingerprint(f: &Fixture, worktree: &Path) -> String {
    let git_dir = git_in(worktree, &["rev-parse", "--absolute-git-dir"]);
    let index = std::fs::read(Path::new(&git_dir).join("index")).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(&git_dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    format!(
        "{} {} {names:?} {} {}",
        git_in(worktree, &["status", "--porcelain=v2", "--ignored"]),
        index.len(),
        f.git(&["for-each-ref"]),
        git_in(worktree, &["rev-parse", "HEAD"]),
    ) + &format!("{:?}", index.iter().map(|b| u64::from(*b)).sum::<u64>())
}

#[test]
fn a_snapshot_keeps_everything_and_touches_nothing() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        f.write(".gitignore", "*.log\n");
        for name in ["edited", "deleted", "mode", "staged", "to-link"] {
            f.write(name, "1\n");
        }
        let at = f.commit("files");
        let repo = f.repo();
        let w = f.beside("w");
        repo.worktree_add(&WorktreeSpec {
            path: w.clone(),
            branch: None,
            at: at.clone(),
        })
        .unwrap();
        assert_eq!(repo.snapshot(&w, "none").unwrap(), None);

        write_in(&w, "edited", "2\n");
        std::fs::remove_file(w.join("deleted")).unwrap();
        std::fs::set_permissions(w.join("mode"), std::fs::Permissions::from_mode(0o755)).unwrap();
        write_in(&w, "staged", "2\n");
        git_in(&w, &["add", "staged"]);
        std::fs::remove_file(w.join("to-link")).unwrap();
        symlink("edited", w.join("to-link")).unwrap();
        write_in(&w, "new/ünï code", "new\n");
        write_in(&w, "-dash", "new\n");
        write_in(&w, "x.log", "ignored\n");
        let before = fingerprint(&f, &w);
        // From a folder below it just as from the top.
        let kept = repo.snapshot(&w.join("new"), "kept").unwrap().unwrap();
        assert_eq!(fingerprint(&f, &w), before);

        assert_eq!(f.git(&["rev-parse", &format!("{kept}^")]), at.as_str());
        assert_eq!(f.git(&["log", "-1", "--format=%s", kept.as_str()]), "kept");
        let tree = f.git(&[
            "diff-tree",
            "-r",
            "--no-renames",
            at.as_str(),
            kept.as_str(),
        ]);
        let found: Vec<_> = tree
            .lines()
            .map(|l| {
                let (meta, path) = l.split_once('\t').unwrap();
                let fields: Vec<_> = meta.split(' ').collect();
                format!("{} {} {path}", fields[4], fields[1])
            })
            .collect();
        assert_eq!(
            found,
            vec![
                "A 100644 -dash",
                "D 000000 deleted",
                "M 100644 edited",
                "M 100755 mode",
                "A 100644 \"new/\\303\\274n\\303\\257 code\"",
                "M 100644 staged",
                "T 120000 to-link",
            ]
        );
        assert_eq!(
            repo.snapshot(&w, "again")
                .unwrap()
                .map(|c| repo.tree_of(&c)),
            Some(repo.tree_of(&kept))
        );
    }
}

#[test]
fn snapshots_of_unborn_and_conflicted_worktrees() {
    let f = Fixture::empty("repo", &[]);
    let repo = f.repo();
    assert_eq!(repo.snapshot(&f.root, "x").unwrap(), None);
    f.write("a", "1\n");
    let kept = repo.snapshot(&f.root, "x").unwrap().unwrap();
    assert_eq!(repo.read_file(&kept, "a").unwrap().unwrap(), b"1\n");

    let base = f.commit("base");
    let other = f.commit_on(&base, &[("a", "theirs\n")]);
    f.write("a", "ours\n");
    f.commit("ours");
    let _ = crate::git::command::Git::at(&f.root)
        .args(["merge", other.as_str()])
        .output()
        .unwrap();
    let kept = repo.snapshot(&f.root, "x").unwrap().unwrap();
    let text = repo.read_file(&kept, "a").unwrap().unwrap();
    assert!(String::from_utf8_lossy(&text).contains("<<<<<<<"));
    assert_eq!(
        repo.status(&f.root).unwrap().conflicted,
        vec!["a"],
        "still in conflict"
    );
}

#[test]
fn a_change_within_one_tick_of_the_clock_is_in_the_snapshot() {
    let f = Fixture::new();
    let repo = f.repo();
    for n in 0..20 {
        f.write("same-size", &format!("{n:04}\n"));
        f.commit("x");
        f.write("same-size", &format!("{:04}\n", n + 1000));
        let kept = repo.snapshot(&f.root, "x").unwrap();
        assert!(kept.is_some(), "change {n} was missed");
    }
}

#[test]
fn a_file_that_cannot_be_kept_is_an_error_not_a_gap() {
    let f = Fixture::new();
    f.write("good", "x\n");
    // A nested repository without a commit is something that git cannot add.
    git_in(&f.root, &["init", "-q", "nested"]);
    f.write("nested/file", "x\n");
    let error = f.repo().snapshot(&f.root, "x").unwrap_err();
    assert!(
        matches!(&error, GitError::Failed { stderr, .. } if stderr.contains("nested")),
        "{error}"
    );
}

fn scratch(f: &Fixture, at: &Oid) -> std::path::PathBuf {
    let path = f.beside("scratch");
    f.repo()
        .worktree_add(&WorktreeSpec {
            path: path.clone(),
            branch: None,
            at: at.clone(),
        })
        .unwrap();
    path
}

#[test]
fn a_scratch_worktree_becomes_exactly_a_tree_and_keeps_its_caches() {
    let f = Fixture::new();
    f.write(".gitignore", "cache/\n");
    f.write("a", "1\n");
    f.write("folder", "a file\n");
    let first = f.commit("first");
    std::fs::remove_file(f.root.join("folder")).unwrap();
    f.write("folder/x", "now a folder\n");
    f.write("a", "2\n");
    f.write("b", "2\n");
    let second = f.commit("second");
    let repo = f.repo();
    let w = scratch(&f, &first);
    let dirty = || {
        write_in(&w, "a", "dirty\n");
        write_in(&w, "untracked/deep/x", "x");
        write_in(&w, "b", "in the way\n");
        git_in(&w, &["init", "-q", "nested"]);
        write_in(&w, "cache/built", "keep");
        git_in(&w, &["add", "a"]);
    };
    for at in [&second, &first, &second, &second] {
        dirty();
        repo.checkout_detached(&w, at).unwrap();
        assert_eq!(repo.head_at(&w).unwrap().oid(), Some(at));
        assert!(repo.status(&w).unwrap().is_clean());
        assert_eq!(
            git_in(&w, &["write-tree"]),
            repo.tree_of(at).unwrap().as_str()
        );
        assert!(!w.join("untracked").exists() && !w.join("nested").exists());
        assert_eq!(read(&w, "cache/built"), "keep");
    }
    assert_eq!(read(&w, "folder/x"), "now a folder\n");
}

#[test]
fn a_scratch_worktree_leaves_a_merge_behind() {
    let f = Fixture::new();
    let base = oid(&f.git(&["rev-parse", "HEAD"]));
    let other = f.commit_on(&base, &[("README", "theirs\n")]);
    f.write("README", "ours\n");
    let ours = f.commit("ours");
    let w = scratch(&f, &ours);
    let merge = crate::git::command::Git::at(&w)
        .args(["merge", other.as_str()])
        .output()
        .unwrap();
    assert_eq!(merge.code, Some(1));
    let repo = f.repo();
    repo.checkout_detached(&w, &base).unwrap();
    assert!(repo.status(&w).unwrap().is_clean());
    assert_eq!(read(&w, "README"), "hello\n");
}

#[test]
fn tracked_files_are_told_from_others() {
    let f = Fixture::new();
    f.write("[a]", "x");
    f.commit("x");
    f.write("a", "untracked");
    let repo = f.repo();
    for (path, tracked) in [
        ("[a]", true),
        ("a", false),
        ("README", true),
        ("*", false),
        ("", false),
    ] {
        assert_eq!(repo.is_tracked(&f.root, path).unwrap(), tracked, "{path}");
    }
}
