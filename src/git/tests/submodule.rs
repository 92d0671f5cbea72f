//! Submodules in new worktrees.

use crate::git::WorktreeSpec;
use crate::git::testkit::{Fixture, git_in, oid, read, write_in};

const LOCAL: [&str; 2] = ["-c", "protocol.file.allow=always"];

/// A repository with the submodule `libs/outer`, which has the submodule `inner`, and
/// `never`, which the main checkout has not filled.
fn nested() -> (Fixture, Fixture, Fixture) {
    let (inner, outer, f) = (Fixture::new(), Fixture::new(), Fixture::new());
    let add = |f: &Fixture, what: &Fixture, path: &str| {
        let args = [
            "submodule",
            "--quiet",
            "add",
            what.root.to_str().unwrap(),
            path,
        ];
        f.git(&[LOCAL.as_slice(), &args].concat());
    };
    add(&outer, &inner, "inner");
    outer.commit("with inner");
    add(&f, &outer, "libs/outer");
    add(&f, &inner, "never");
    f.commit("with outer");
    let args = ["submodule", "--quiet", "update", "--init", "--recursive"];
    f.git(&[LOCAL.as_slice(), &args].concat());
    f.git(&["submodule", "--quiet", "deinit", "never"]);
    std::fs::remove_dir_all(f.root.join(".git/modules/never")).unwrap();
    (f, outer, inner)
}

#[test]
fn submodules_are_filled_from_the_main_checkout() {
    let (f, outer, inner) = nested();
    let outer_url = outer.root.display().to_string();
    // Nothing may be fetched from where they came.
    drop((outer, inner));
    let repo = f.repo();
    let at = oid(&f.git(&["rev-parse", "HEAD"]));
    assert!(repo.has_submodules(&at).unwrap());
    assert!(
        !repo
            .has_submodules(&oid(&f.git(&["rev-parse", "HEAD~1"])))
            .unwrap()
    );
    let config = read(&f.root, ".git/config");
    let path = f.beside("w");
    let spec = WorktreeSpec {
        path: path.clone(),
        branch: None,
        at,
    };
    repo.worktree_add(&spec).unwrap();
    let report = repo.init_submodules(&path).unwrap();
    assert_eq!(report.filled, vec!["libs/outer", "libs/outer/inner"]);
    assert_eq!(report.left_empty.len(), 1);
    assert_eq!(report.left_empty[0].0, "never");
    assert_eq!(read(&path, "libs/outer/inner/README"), "hello\n");
    assert!(repo.status(&path).unwrap().is_clean());
    assert_eq!(read(&f.root, ".git/config"), config, "shared configuration");
    assert_eq!(
        git_in(&path.join("libs/outer"), &["remote", "get-url", "origin"]),
        outer_url
    );
    assert!(repo.status(&f.root).unwrap().is_clean());

    write_in(&path, "libs/outer/README", "changed\n");
    assert_eq!(repo.status(&path).unwrap().submodules, vec!["libs/outer"]);
    assert!(repo.worktree_remove(&path, false).is_err());
    git_in(&path.join("libs/outer"), &["checkout", "-q", "."]);
    repo.worktree_remove(&path, false).unwrap();
    assert!(!path.exists());
}

#[test]
fn without_submodules_there_is_nothing_to_do() {
    let f = Fixture::new();
    let report = f.repo().init_submodules(&f.root).unwrap();
    assert!(report.filled.is_empty() && report.left_empty.is_empty());
}
