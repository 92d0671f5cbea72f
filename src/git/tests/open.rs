//! Finding repositories.

use crate::git::testkit::{Fixture, branch, git_in, oid};
use crate::git::{Backend, GitError, Head, Repo};

#[test]
fn every_folder_of_a_repository_leads_to_its_main_checkout() {
    let f = Fixture::with_init("my répo ü", &[]);
    f.write("a b/ç/x", "x\n");
    f.commit("deeper");
    let linked = f.beside("wörk tree");
    f.git(&[
        "worktree",
        "add",
        "-q",
        "--detach",
        linked.to_str().unwrap(),
    ]);
    for start in [
        f.root.clone(),
        f.root.join("a b/ç"),
        f.root.join(".git"),
        linked.clone(),
        linked.join("a b/ç"),
    ] {
        let repo = Repo::discover(&start).unwrap();
        assert_eq!(repo.root(), f.root, "from {start:?}");
        assert_eq!(repo.common_dir(), f.root.join(".git"), "from {start:?}");
        assert_eq!(repo.backend(), Backend::Library);
    }
}

#[test]
fn a_symbolic_link_to_a_checkout_leads_to_it() {
    let f = Fixture::new();
    let link = f.beside("link");
    std::os::unix::fs::symlink(&f.root, &link).unwrap();
    assert_eq!(Repo::discover(&link).unwrap().root(), f.root);
}

#[test]
fn what_is_no_repository_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for start in [folder.path().to_owned(), folder.path().join("missing")] {
        let error = Repo::discover(&start).unwrap_err();
        assert!(matches!(error, GitError::NotARepository { .. }), "{error}");
    }
}

#[test]
fn a_bare_repository_is_refused_unless_its_default_branch_has_a_worktree() {
    let f = Fixture::new();
    let bare = f.beside("bare.git");
    f.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let error = Repo::discover(&bare).unwrap_err();
    assert!(matches!(error, GitError::Bare { .. }), "{error}");

    let (main, other) = (f.beside("main"), f.beside("other"));
    git_in(&bare, &["worktree", "add", "-q", other.to_str().unwrap()]);
    assert!(matches!(Repo::discover(&other), Err(GitError::Bare { .. })));
    git_in(
        &bare,
        &["worktree", "add", "-q", main.to_str().unwrap(), "main"],
    );
    for start in [&bare, &other, &main] {
        let repo = Repo::discover(start).unwrap();
        assert_eq!(repo.root(), main, "from {start:?}");
        assert_eq!(repo.common_dir(), bare);
        assert_eq!(repo.head().unwrap().branch(), Some(&branch("main")));
    }
    let repo = Repo::discover(&other).unwrap();
    assert!(
        repo.worktree_remove(&main, true).is_err(),
        "it stands for the main one"
    );
    repo.worktree_remove(&other, true).unwrap();
}

#[test]
fn git_folders_elsewhere_and_submodules_have_their_own_main_checkout() {
    let f = Fixture::new();
    let (checkout, git_dir) = (f.beside("checkout"), f.beside("store"));
    f.git(&[
        "clone",
        "-q",
        "--separate-git-dir",
        git_dir.to_str().unwrap(),
        ".",
        checkout.to_str().unwrap(),
    ]);
    let repo = Repo::discover(&checkout).unwrap();
    assert_eq!(repo.root(), checkout);
    assert_eq!(repo.common_dir(), git_dir);

    f.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        checkout.to_str().unwrap(),
        "sub",
    ]);
    let sub = Repo::discover(&f.root.join("sub")).unwrap();
    assert_eq!(sub.root(), f.root.join("sub"));
    let linked = f.beside("sub-linked");
    git_in(
        &f.root.join("sub"),
        &["worktree", "add", "-q", linked.to_str().unwrap()],
    );
    assert_eq!(
        Repo::discover(&linked).unwrap().root(),
        f.root.join("sub"),
        "the worktree of a submodule belongs to the submodule"
    );
}

#[test]
fn head_tells_branch_unborn_and_detached() {
    let f = Fixture::empty("repo", &[]);
    let repo = f.repo();
    assert_eq!(
        repo.head().unwrap(),
        Head::Unborn {
            name: branch("main")
        }
    );
    assert_eq!(repo.branch_tip(&branch("main")).unwrap(), None);
    f.write("x", "x\n");
    let first = f.commit("first");
    assert_eq!(
        repo.head().unwrap(),
        Head::Branch {
            name: branch("main"),
            oid: first.clone()
        }
    );
    let linked = f.beside("linked");
    f.git(&[
        "worktree",
        "add",
        "-q",
        "--detach",
        linked.to_str().unwrap(),
    ]);
    assert_eq!(
        repo.head_at(&linked).unwrap(),
        Head::Detached { oid: first }
    );
    assert!(repo.head().unwrap().branch().is_some());
}

#[test]
fn the_backend_follows_what_libgit2_can_serve() {
    for f in super::exotic() {
        let repo = f.repo();
        assert_eq!(repo.backend(), Backend::Command, "{:?}", f.root);
        assert!(repo.head().unwrap().branch().is_some());
    }

    let f = Fixture::new();
    f.write("x", "x\n");
    f.commit("second");
    let url = format!("file://{}", f.root.display());
    for (name, option) in [("shallow", "--depth=1"), ("partial", "--filter=blob:none")] {
        f.git(&["config", "uploadpack.allowFilter", "true"]);
        let clone = f.beside(name);
        f.git(&["clone", "-q", option, &url, clone.to_str().unwrap()]);
        assert_eq!(
            Repo::discover(&clone).unwrap().backend(),
            Backend::Command,
            "{name}"
        );
    }

    f.git(&["replace", "--graft", "HEAD"]);
    assert_eq!(f.repo().backend(), Backend::Command);
}

#[test]
fn revisions_are_resolved_and_nonsense_is_none() {
    let f = Fixture::new();
    let first = oid(&f.git(&["rev-parse", "HEAD"]));
    f.git(&["tag", "-a", "v1", "-m", "one"]);
    f.write("x", "x\n");
    let second = f.commit("second");
    let repo = f.repo();
    for (rev, expected) in [
        ("HEAD", Some(&second)),
        ("HEAD~1", Some(&first)),
        ("v1", Some(&first)),
        (second.short(), Some(&second)),
        ("main", Some(&second)),
        ("nope", None),
        ("", None),
        ("--all", None),
        ("HEAD:README", None),
        ("HEAD~1..HEAD", None),
        ("0123456789012345678901234567890123456789", None),
    ] {
        assert_eq!(repo.resolve(rev).unwrap().as_ref(), expected, "{rev:?}");
    }
}

#[test]
fn exclude_adds_only_what_is_missing_and_keeps_the_rest() {
    let f = Fixture::new();
    let file = f.root.join(".git/info/exclude");
    std::fs::write(&file, b"# mine\r\n*.log\r\n\xff\xfe no utf-8").unwrap();
    let repo = f.repo();
    repo.exclude(&["*.log", "/.claude/orchestration/", "/a", "/a"])
        .unwrap();
    let expected = b"# mine\r\n*.log\r\n\xff\xfe no utf-8\n/.claude/orchestration/\n/a\n";
    assert_eq!(std::fs::read(&file).unwrap(), expected);
    repo.exclude(&["/a"]).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), expected);

    f.write(".claude/orchestration/x/log", "x");
    assert!(repo.status(&f.root).unwrap().is_clean());

    std::fs::remove_dir_all(f.root.join(".git/info")).unwrap();
    repo.exclude(&["/b"]).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"/b\n");
}

#[test]
fn many_threads_exclude_without_losing_a_line() {
    let f = Fixture::new();
    let repo = f.repo();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let repo = &repo;
            scope.spawn(move || repo.exclude(&[&format!("/line-{n}")]).unwrap());
        }
    });
    let text = std::fs::read_to_string(f.root.join(".git/info/exclude")).unwrap();
    for n in 0..8 {
        assert_eq!(text.matches(&format!("/line-{n}\n")).count(), 1);
    }
}
