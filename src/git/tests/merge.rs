//! Merging in memory.

use crate::git::testkit::{Fixture, git_in, oid};
use crate::git::{GitError, Merge};

#[test]
fn changes_that_do_not_meet_merge_clean_with_renames() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        let text: String = (0..30).map(|n| format!("{n}\n")).collect();
        f.write("old", &text);
        let base = f.commit("base");
        f.git(&["mv", "old", "new"]);
        let ours = f.commit("ours renames");
        let theirs = f.commit_on(&base, &[("old", &format!("{text}more\n")), ("b", "b\n")]);
        let repo = f.repo();
        let Merge::Clean { tree } = repo.merge(&ours, &theirs).unwrap() else {
            panic!("must merge clean");
        };
        let commit = repo
            .commit(&tree, &[ours.clone(), theirs.clone()], "merge", None)
            .unwrap();
        let moved = repo.read_file(&commit, "new").unwrap().unwrap();
        assert!(moved.ends_with(b"more\n"), "the edit follows the rename");
        assert_eq!(repo.read_file(&commit, "old").unwrap(), None);
        assert!(repo.status(&f.root).unwrap().is_clean(), "in memory only");
        assert_eq!(
            repo.merge(&commit, &theirs).unwrap(),
            Merge::Clean { tree },
            "merging again changes nothing"
        );
    }
}

#[test]
fn conflicts_name_files_stages_and_kinds() {
    let f = Fixture::new();
    f.write("both ü", "a\nb\nc\n");
    f.write("deleted", "x\n");
    f.write("fine", "1\n2\n3\n4\n5\n");
    let base = f.commit("base");
    let theirs = f.commit_on(
        &base,
        &[
            ("both ü", "a\nT\nc\n"),
            ("deleted", "y\n"),
            ("added", "t\n"),
            ("fine", "0\n2\n3\n4\n5\n"),
        ],
    );
    f.write("both ü", "a\nO\nc\n");
    f.write("added", "o\n");
    f.write("fine", "1\n2\n3\n4\n6\n");
    f.git(&["rm", "-q", "deleted"]);
    let ours = f.commit("ours");
    let repo = f.repo();
    let Merge::Conflict {
        tree,
        files,
        messages,
    } = repo.merge(&ours, &theirs).unwrap()
    else {
        panic!("must conflict");
    };
    let shape: Vec<_> = files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                file.stages.iter().map(|s| s.stage).collect::<Vec<_>>(),
                file.messages.first().map(|m| m.kind.as_str()),
            )
        })
        .collect();
    assert_eq!(
        shape,
        vec![
            ("added", vec![2, 3], Some("CONFLICT (contents)")),
            ("both ü", vec![1, 2, 3], Some("CONFLICT (contents)")),
            ("deleted", vec![1, 3], Some("CONFLICT (modify/delete)")),
        ]
    );
    assert_eq!(messages, vec![]);
    assert!(
        files[1].messages[0]
            .text
            .contains("Merge conflict in both ü")
    );
    assert_eq!(files[0].stages[0].mode, "100644");
    let marked = f.git(&["cat-file", "blob", &format!("{tree}:both ü")]);
    assert!(
        marked.contains("<<<<<<<") && marked.contains("T\n"),
        "{marked}"
    );
}

#[test]
fn attributes_are_those_of_the_commits_not_of_the_checkout() {
    let version = crate::git::git_version().unwrap();
    if (version.major, version.minor) < (2, 41) {
        return;
    }
    let f = Fixture::new();
    f.write(".gitattributes", "log merge=union\n");
    f.write("log", "a\n");
    let base = f.commit("base");
    let ours = f.commit_on(&base, &[("log", "a\nours\n")]);
    let theirs = f.commit_on(&base, &[("log", "a\ntheirs\n")]);
    f.git(&["checkout", "-q", "--detach", "HEAD~1"]);
    assert!(!f.root.join(".gitattributes").exists());
    let merged = f.repo().merge(&ours, &theirs).unwrap();
    assert!(matches!(merged, Merge::Clean { .. }), "{merged:?}");
}

#[test]
fn without_common_history_there_is_no_merge() {
    let f = Fixture::new();
    let ours = oid(&f.git(&["rev-parse", "HEAD"]));
    f.git(&["checkout", "-q", "--orphan", "other"]);
    f.git(&["commit", "-q", "-m", "unrelated"]);
    let theirs = oid(&f.git(&["rev-parse", "HEAD"]));
    let repo = f.repo();
    assert_eq!(
        repo.merge(&ours, &theirs),
        Err(GitError::Unrelated {
            ours: ours.clone(),
            theirs
        })
    );
    let missing = oid(&"12".repeat(20));
    assert!(matches!(
        repo.merge(&ours, &missing),
        Err(GitError::Missing { .. })
    ));
    assert_eq!(git_in(&f.root, &["branch", "--show-current"]), "other");
}
