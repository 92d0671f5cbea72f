//! What settling conflicts needs, in all kinds of repositories.

use crate::git::testkit::{Fixture, oid};
use crate::git::{Lean, TreeFile};

#[test]
fn blobs_go_in_and_come_out_as_they_are() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        f.git(&["config", "core.autocrlf", "true"]);
        let repo = f.repo();
        let content = b"a\r\nb\n\0\xff";
        let id = repo.write_blob(content).unwrap();
        assert_eq!(repo.blob(&id, 100).unwrap().unwrap(), content);
        assert_eq!(repo.blob(&id, 3).unwrap(), None, "too long");
        let absent = oid(&"1".repeat(id.as_str().len()));
        assert!(repo.blob(&absent, 100).is_err());
    }
}

#[test]
fn files_are_replaced_in_a_tree_and_nowhere_else() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        f.git(&["config", "core.splitIndex", "true"]);
        f.write("a ü/b\n", "old\n");
        let commit = f.commit("more");
        let repo = f.repo();
        let tree = repo.tree_of(&commit).unwrap();
        let file = |path: &str, mode: &str| TreeFile {
            path: path.to_owned(),
            mode: mode.to_owned(),
            oid: repo.write_blob(b"new\n").unwrap(),
        };
        let files = [file("a ü/b\n", "100644"), file("deep/down", "100755")];
        let new = repo.replace_files(&tree, &files).unwrap();
        let commit = repo.commit(&new, &[], "x", None).unwrap();
        for path in ["a ü/b\n", "deep/down"] {
            let read = repo.read_file(&commit, path).unwrap().unwrap();
            assert_eq!(read, b"new\n");
        }
        assert!(repo.read_file(&commit, "README").unwrap().is_some());
        let listed = f.git(&["ls-tree", new.as_str(), "deep/"]);
        assert!(listed.starts_with("100755"), "{listed}");
        assert_eq!(repo.replace_files(&tree, &[]).unwrap(), tree);
        assert!(repo.status(&f.root).unwrap().is_clean());
    }
}

#[test]
fn single_files_are_merged_the_way_that_is_asked_for() {
    let f = Fixture::new();
    // What the person likes changes nothing.
    f.git(&["config", "merge.conflictStyle", "zdiff3"]);
    let repo = f.repo();
    let merge = |lean| {
        let merged = repo.merge_file(b"a\nb\n", b"a\nours\n", b"a\ntheirs\n", lean);
        String::from_utf8(merged.unwrap().unwrap()).unwrap()
    };
    assert_eq!(merge(Lean::Union), "a\nours\ntheirs\n");
    assert_eq!(merge(Lean::Ours), "a\nours\n");
    assert_eq!(
        merge(Lean::Markers),
        "a\n<<<<<<< ours\nours\n||||||| base\nb\n=======\ntheirs\n>>>>>>> theirs\n"
    );
    let binary = repo.merge_file(b"\0", b"\0a", b"\0b", Lean::Union);
    assert_eq!(binary.unwrap(), None);
}
