//! Submodules in new worktrees.

use crate::git::testkit::{Fixture, commit_in, git_in, oid, read, write_in};
use crate::git::{Backend, WorktreeSpec};

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
fn gitlinks_are_seen_declared_or_not() {
    let f = Fixture::new();
    let bare = oid(&f.git(&["rev-parse", "HEAD"]));
    f.write("deep/below/file", "x\n");
    let plain = f.commit("files");
    f.write("deep/own/code", "x\n");
    let own = f.root.join("deep/own");
    git_in(&own, &["init", "-q"]);
    git_in(&own, &["config", "user.name", "T"]);
    git_in(&own, &["config", "user.email", "t@example.invalid"]);
    commit_in(&own, "inner");
    let linked = f.commit("a repository in a folder");
    f.write("file", "x\n");
    let after = f.commit("another file");
    let repo = f.repo();
    for (commit, has) in [
        (&bare, false),
        (&plain, false),
        (&linked, true),
        (&after, true),
    ] {
        assert_eq!(repo.has_gitlinks(commit).unwrap(), has, "{commit}");
    }
    assert!(!repo.adds_gitlinks(&bare, &plain).unwrap());
    assert!(repo.adds_gitlinks(&bare, &after).unwrap());
    assert!(!repo.adds_gitlinks(&linked, &after).unwrap());
    assert!(!repo.adds_gitlinks(&linked, &bare).unwrap());
    write_in(&own, "code", "y\n");
    commit_in(&own, "inner again");
    let moved = f.commit("the repository moved on");
    assert!(repo.adds_gitlinks(&after, &moved).unwrap());
    let named = repo.own_commits_inside(&f.root, true).unwrap();
    assert_eq!(named, ["deep/own"]);
    // What the library cannot tell counts as yes.
    let slow = repo.with_backend(Backend::Command);
    assert!(slow.has_gitlinks(&bare).unwrap() && slow.adds_gitlinks(&bare, &bare).unwrap());
}

#[test]
fn an_index_is_as_committed_or_is_asked() {
    let f = Fixture::new();
    let repo = f.repo();
    let known = || repo.status(&f.root).unwrap().is_index_as_committed();
    f.write("new", "x\n");
    assert!(known(), "untracked files are not in it");
    f.git(&["add", "-N", "new"]);
    assert!(!known());
    f.git(&["add", "new"]);
    assert!(!known());
    f.commit("new");
    assert!(known());
    f.git(&["rm", "-q", "--cached", "new"]);
    assert!(!known());
}

#[test]
fn without_submodules_there_is_nothing_to_do() {
    let f = Fixture::new();
    let report = f.repo().init_submodules(&f.root).unwrap();
    assert!(report.filled.is_empty() && report.left_empty.is_empty());
}
