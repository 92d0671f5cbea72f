//! Merges that are begun and left to somebody else.

use std::path::PathBuf;

use super::super::testkit::{Fixture, branch, git_in, read, write_in};
use super::super::{MergeBegun, Repo, WorktreeSpec};
use super::exotic;
use crate::core::id::Oid;

/// A worktree on `ours`, which conflicts with `theirs` in `README`.
fn meeting(f: &Fixture) -> (Repo, PathBuf, Oid, Oid) {
    let repo = f.repo();
    let base = repo.head().unwrap().oid().unwrap().clone();
    let ours = f.commit_on(&base, &[("README", "ours\n")]);
    let theirs = f.commit_on(&base, &[("README", "theirs\n"), ("more", "x\n")]);
    let path = f.beside("resolver");
    repo.worktree_add(&WorktreeSpec {
        path: path.clone(),
        branch: Some(branch("task/resolve")),
        at: ours.clone(),
    })
    .unwrap();
    (repo, path, ours, theirs)
}

#[test]
fn a_conflict_is_left_in_the_worktree_and_begun_once() {
    let mut fixtures = exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        let (repo, path, ours, theirs) = meeting(&f);
        for hook in ["pre-merge-commit", "post-merge", "prepare-commit-msg"] {
            f.hook(hook, "echo ran >> \"$GIT_DIR/../../../ran\"; exit 1");
        }
        let begin = || {
            repo.begin_merge_in(&path, &theirs, "Merge both\n\nBecause.")
                .unwrap()
        };
        assert_eq!(begin(), MergeBegun::Now);
        let text = read(&path, "README");
        assert!(text.contains("<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> "));
        assert_eq!(read(&path, "more"), "x\n");
        assert_eq!(git_in(&path, &["rev-parse", "MERGE_HEAD"]), theirs.as_str());
        assert!(!f.root.join("ran").exists(), "no hook has a say");

        // What was resolved meanwhile stays.
        write_in(&path, "README", "both\n");
        assert_eq!(begin(), MergeBegun::UnderWay);
        assert_eq!(read(&path, "README"), "both\n");
        for hook in ["pre-merge-commit", "post-merge", "prepare-commit-msg"] {
            std::fs::remove_file(f.root.join(".git/hooks").join(hook)).unwrap();
        }
        git_in(&path, &["add", "README"]);
        git_in(&path, &["commit", "--quiet", "--no-edit"]);
        assert_eq!(
            git_in(&path, &["log", "-1", "--format=%B"]),
            "Merge both\n\nBecause."
        );
        let parents = git_in(&path, &["log", "-1", "--format=%P"]);
        assert_eq!(parents, format!("{ours} {theirs}"));
        assert_eq!(begin(), MergeBegun::Contained);
    }
}

#[test]
fn nobody_need_be_known_to_git() {
    let f = Fixture::new();
    let (repo, path, _, theirs) = meeting(&f);
    f.git(&["config", "--unset", "user.name"]);
    f.git(&["config", "--unset", "user.email"]);
    f.git(&["config", "user.useConfigOnly", "true"]);
    let begun = repo.begin_merge_in(&path, &theirs, "Merge").unwrap();
    assert_eq!(begun, MergeBegun::Now);
}

#[test]
fn a_merge_without_conflict_is_left_to_be_committed_too() {
    let f = Fixture::new();
    let (repo, path, ours, _) = meeting(&f);
    let theirs = f.commit_on(
        &repo.head().unwrap().oid().unwrap().clone(),
        &[("n", "x\n")],
    );
    let begun = repo.begin_merge_in(&path, &theirs, "Merge").unwrap();
    assert_eq!(begun, MergeBegun::Now);
    assert_eq!(repo.head_at(&path).unwrap().oid(), Some(&ours));
}

#[test]
fn a_merge_that_would_overwrite_something_is_refused_and_changes_nothing() {
    let f = Fixture::new();
    let (repo, path, ours, theirs) = meeting(&f);
    write_in(&path, "README", "half done\n");
    let begun = repo.begin_merge_in(&path, &theirs, "Merge").unwrap();
    assert!(
        matches!(&begun, MergeBegun::Refused { detail } if detail.contains("README")),
        "{begun:?}"
    );
    assert_eq!(read(&path, "README"), "half done\n");
    assert_eq!(repo.head_at(&path).unwrap().oid(), Some(&ours));
}

#[test]
fn the_difference_in_some_files_is_told_whatever_the_person_configured() {
    let f = Fixture::new();
    f.git(&["config", "diff.external", "false"]);
    f.git(&["config", "color.ui", "always"]);
    f.git(&["config", "diff.noprefix", "true"]);
    let repo = f.repo();
    let base = repo.head().unwrap().oid().unwrap().clone();
    let tip = f.commit_on(
        &base,
        &[("README", "more\n"), ("näme", "x\n"), ("o*", "y\n")],
    );
    let of = |files: &[&str]| {
        let files: Vec<String> = files.iter().map(|f| (*f).to_owned()).collect();
        repo.diff_of_files(&base, &tip, &files).unwrap()
    };
    let text = of(&["README", "näme"]);
    assert!(text.contains("-hello\n+more\n"), "{text}");
    assert!(text.contains("näme"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("+y"), "{text}");
    assert_eq!(of(&[]), "");
    assert_eq!(of(&["*"]), "", "a name is a name");
}

#[test]
fn files_in_conflict_are_taken_as_a_tree_holds_them() {
    let f = Fixture::new();
    let repo = f.repo();
    let base = f.commit_on(
        &repo.head().unwrap().oid().unwrap().clone(),
        &[("*", "1\n"), ("a b", "1\n"), ("gone", "1\n")],
    );
    let side = |text: &str| f.commit_on(&base, &[("*", text), ("a b", text), ("gone", text)]);
    let (ours, theirs) = (side("ours\n"), side("theirs\n"));
    let path = f.beside("resolver");
    repo.worktree_add(&WorktreeSpec {
        path: path.clone(),
        branch: Some(branch("task/resolve")),
        at: ours,
    })
    .unwrap();
    repo.begin_merge_in(&path, &theirs, "Merge").unwrap();
    let resolved = repo.head().unwrap().oid().unwrap().clone();
    let resolved = f.commit_on(&resolved, &[("*", "both\n"), ("a b", "other\n")]);
    let tree = repo.tree_of(&resolved).unwrap();
    let files = ["*".to_owned(), "gone".to_owned()];
    repo.take_resolved(&path, &tree, &files).unwrap();
    assert_eq!(read(&path, "*"), "both\n");
    assert!(!path.join("gone").exists());
    assert_eq!(repo.status(&path).unwrap().conflicted, ["a b"]);
}
