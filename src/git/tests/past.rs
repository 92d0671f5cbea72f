//! What the history tells.

use super::super::testkit::Fixture;

#[test]
fn subjects_changes_and_folders_of_the_past() {
    let f = Fixture::new();
    f.write("src/api/v1.rs", "a");
    f.write("src/api/deep/x.rs", "a");
    f.write("README.md", "a");
    f.commit("first: \"quoted\" ünï");
    f.write("src/api/v1.rs", "b");
    f.commit("second");
    let past = f.repo().past().unwrap();
    assert_eq!(past.subjects[0], "second");
    assert_eq!(past.subjects[1], "first: \"quoted\" ünï");
    assert_eq!(past.changes[0], ["src/api/v1.rs"]);
    assert_eq!(past.changes[1].len(), 3);
    assert_eq!(past.folders["src/"], 2);
    assert_eq!(past.folders["src/api/"], 2);
    assert_eq!(past.folders.len(), 2);
}
