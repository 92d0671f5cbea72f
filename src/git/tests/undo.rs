//! Taking back: the person's work stays, whatever happens.

use super::deliver::{checkout, main_tip, prepare, prepared, state};
use crate::core::id::Oid;
use crate::git::testkit::{Fixture, branch, git_in, read};
use crate::git::{DeliverError, Delivered, Merge, Operation, Repo};

/// A repository whose `main` was delivered from the first id to the second one.
fn delivered() -> (Fixture, Repo, Oid, Oid) {
    delivered_in(prepared())
}

fn delivered_in((f, from, to): (Fixture, Oid, Oid)) -> (Fixture, Repo, Oid, Oid) {
    let repo = f.repo();
    repo.deliver(&branch("main"), &from, &to).unwrap();
    (f, repo, from, to)
}

#[test]
fn a_clean_checkout_goes_back() {
    let mut all: Vec<_> = super::exotic();
    all.push(Fixture::with_init("my répo", &[]));
    for f in all {
        let (f, repo, from, to) = delivered_in(prepare(f));
        let main = branch("main");
        repo.can_rewind(&main, &to, &from).unwrap();
        assert_eq!(main_tip(&repo), to);
        assert_eq!(repo.rewind(&main, &to, &from).unwrap(), checkout(&f.root));
        assert_eq!(main_tip(&repo), from);
        assert_eq!(f.git(&["status", "--porcelain"]), "");
        assert_eq!(read(&f.root, "changed"), "1\n");
        assert_eq!(read(&f.root, "removed"), "1\n");
        assert!(!f.root.join("new").exists());
        let again = repo.rewind(&main, &to, &from).unwrap();
        assert_eq!(again, Delivered::Already);
        // And forward again.
        repo.deliver(&main, &from, &to).unwrap();
        assert_eq!(f.git(&["status", "--porcelain"]), "");
    }
}

#[test]
fn uncommitted_work_elsewhere_stays_as_it_is() {
    let (f, repo, from, to) = delivered();
    f.write("other", "mine\n");
    f.write("untracked/x", "mine\n");
    f.write("staged", "mine\n");
    f.write(".env", "secret\n");
    f.git(&["add", "staged"]);
    let before = f.git(&["status", "--porcelain", "--ignored", "-uall"]);
    repo.rewind(&branch("main"), &to, &from).unwrap();
    assert_eq!(
        f.git(&["status", "--porcelain", "--ignored", "-uall"]),
        before
    );
    assert_eq!(read(&f.root, "other"), "mine\n");
}

#[test]
fn a_file_that_was_only_touched_is_not_in_the_way() {
    let (f, repo, from, to) = delivered();
    let file = std::fs::File::options()
        .write(true)
        .open(f.root.join("changed"))
        .unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    repo.rewind(&branch("main"), &to, &from).unwrap();
    assert_eq!(read(&f.root, "changed"), "1\n");
}

#[test]
fn uncommitted_work_in_the_way_stops_it_and_nothing_changes() {
    type Change = fn(&Fixture);
    let cases: [(&str, Change); 5] = [
        ("changed", |f| f.write("changed", "mine\n")),
        ("changed", |f| {
            f.write("changed", "mine\n");
            f.git(&["add", "changed"]);
        }),
        ("new", |f| f.write("new", "mine\n")),
        ("removed", |f| f.write("removed", "mine\n")),
        ("removed/x", |f| f.write("removed/x", "mine\n")),
    ];
    for (name, change) in cases {
        let (f, repo, from, to) = delivered();
        change(&f);
        let before = state(&f);
        for error in [
            repo.can_rewind(&branch("main"), &to, &from).unwrap_err(),
            repo.rewind(&branch("main"), &to, &from).unwrap_err(),
        ] {
            assert!(
                matches!(&error, DeliverError::Overlap { files, .. } if files == &[name]),
                "{name}: {error}"
            );
        }
        assert_eq!(state(&f), before, "{name}");
    }
}

#[test]
fn an_ignored_file_where_a_removed_one_comes_back_is_kept() {
    let f = Fixture::new();
    f.write("conf/local", "tracked\n");
    let from = f.commit("from");
    f.git(&["switch", "-q", "--detach"]);
    f.git(&["rm", "-q", "conf/local"]);
    f.write(".gitignore", "conf/local\nconf\n");
    let to = f.commit("to");
    f.git(&["switch", "-q", "main"]);
    let (f, repo, from, to) = delivered_in((f, from, to));
    f.write("conf/local", "secret\n");
    let error = repo.rewind(&branch("main"), &to, &from).unwrap_err();
    assert!(
        matches!(&error, DeliverError::Overlap { files, .. } if files == &["conf/local"]),
        "{error}"
    );
    // A link to a folder elsewhere is not written through.
    std::fs::remove_dir_all(f.root.join("conf")).unwrap();
    let outside = f.beside("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, f.root.join("conf")).unwrap();
    let error = repo.rewind(&branch("main"), &to, &from).unwrap_err();
    assert!(matches!(&error, DeliverError::Overlap { files, .. } if files == &["conf"]));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    std::fs::remove_file(f.root.join("conf")).unwrap();
    repo.rewind(&branch("main"), &to, &from).unwrap();
    assert_eq!(read(&f.root, "conf/local"), "tracked\n");
}

#[test]
fn a_branch_that_is_checked_out_elsewhere_or_nowhere_goes_back_there() {
    let (f, repo, from, to) = delivered();
    f.git(&["switch", "-q", "--detach"]);
    let main = branch("main");
    assert_eq!(repo.rewind(&main, &to, &from).unwrap(), Delivered::RefOnly);
    repo.deliver(&main, &from, &to).unwrap();
    let other = f.beside("other tree");
    f.git(&["worktree", "add", "-q", other.to_str().unwrap(), "main"]);
    assert_eq!(repo.rewind(&main, &to, &from).unwrap(), checkout(&other));
    assert_eq!(git_in(&other, &["status", "--porcelain"]), "");
    assert_eq!(read(&other, "changed"), "1\n");
    assert_eq!(read(&f.root, "changed"), "2\n", "detached there");
}

#[test]
fn a_branch_that_moved_or_went_is_told() {
    let (f, repo, from, to) = delivered();
    let main = branch("main");
    let aside = f.commit_on(&from, &[("aside", "x\n")]);
    let error = repo.rewind(&main, &to, &aside).unwrap_err();
    assert!(matches!(error, DeliverError::NotForward { .. }), "{error}");
    f.write("later", "x\n");
    let now = f.commit("later");
    let before = state(&f);
    let error = repo.rewind(&main, &to, &from).unwrap_err();
    assert!(
        matches!(&error, DeliverError::Moved { now: n, .. } if *n == now),
        "{error}"
    );
    let error = repo.rewind(&branch("gone"), &to, &from).unwrap_err();
    assert!(matches!(error, DeliverError::Gone { .. }), "{error}");
    assert_eq!(state(&f), before);
}

#[test]
fn operations_under_way_stop_it() {
    let (f, repo, from, to) = delivered();
    f.git(&["bisect", "start"]);
    let error = repo.rewind(&branch("main"), &to, &from).unwrap_err();
    assert!(
        matches!(
            error,
            DeliverError::Busy {
                operation: Operation::Bisect,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_hook_that_refuses_the_ref_leaves_the_files_as_they_were() {
    let (f, repo, from, to) = delivered();
    f.write("other", "mine\n");
    let before = state(&f);
    f.hook(
        "reference-transaction",
        "grep -q refs/heads/main && [ \"$1\" = prepared ] && exit 1; exit 0",
    );
    let error = repo.rewind(&branch("main"), &to, &from).unwrap_err();
    assert!(matches!(error, DeliverError::HookRefused { .. }), "{error}");
    assert_eq!(state(&f), before);
}

#[test]
fn one_that_was_cut_off_between_files_and_ref_is_completed() {
    let (f, repo, from, to) = delivered();
    f.write("other", "mine\n");
    f.git(&["read-tree", "-m", "-u", to.as_str(), from.as_str()]);
    repo.rewind(&branch("main"), &to, &from).unwrap();
    assert_eq!(f.git(&["status", "--porcelain"]), " M other");
    assert_eq!(main_tip(&repo), from);
}

#[test]
fn the_opposite_of_a_delivery_keeps_what_came_later() {
    for f in [Fixture::new()].into_iter().chain(super::exotic()) {
        let (f, repo, from, to) = delivered_in(prepare(f));
        f.write("later", "x\n");
        f.write("other", "later\n");
        let tip = f.commit("later");
        let Merge::Clean { tree } = repo.reverse(&tip, &from, &to).unwrap() else {
            panic!("it merges");
        };
        let commit = repo.commit(&tree, &[tip], "Revert", None).unwrap();
        let text = |path: &str| repo.read_file(&commit, path).unwrap();
        assert_eq!(text("changed").unwrap(), b"1\n");
        assert_eq!(text("removed").unwrap(), b"1\n");
        assert_eq!(text("new"), None);
        assert_eq!(text("later").unwrap(), b"x\n");
        assert_eq!(text("other").unwrap(), b"later\n");
        f.write("changed", "3\n");
        let tip = f.commit("over it");
        let Merge::Conflict { files, .. } = repo.reverse(&tip, &from, &to).unwrap() else {
            panic!("it does not merge");
        };
        assert_eq!(files[0].path, "changed");
    }
}

#[test]
fn where_it_was_pushed_is_told() {
    let (f, repo, from, to) = delivered();
    f.git(&["update-ref", "refs/remotes/origin/main", from.as_str()]);
    assert_eq!(repo.pushed_to(&to).unwrap(), Vec::<String>::new());
    f.git(&["update-ref", "refs/remotes/origin/main", to.as_str()]);
    assert_eq!(repo.pushed_to(&to).unwrap(), ["origin/main"]);
}
