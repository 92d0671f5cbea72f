//! Deliveries: the person's work stays, whatever happens.

use std::path::Path;

use crate::core::id::Oid;
use crate::git::command::Git;
use crate::git::testkit::{Fixture, branch, git_in, oid, read, write_executable, write_in};
use crate::git::{DeliverError, Delivered, Operation, Repo};

/// A repository whose `main` is at the first id; the second one adds `new`, changes
/// `changed` and removes `removed`.
pub(super) fn prepared() -> (Fixture, Oid, Oid) {
    prepare(Fixture::new())
}

pub(super) fn prepare(f: Fixture) -> (Fixture, Oid, Oid) {
    f.write("changed", "1\n");
    f.write("removed", "1\n");
    f.write("other", "1\n");
    f.write(".gitignore", ".env\n");
    let from = f.commit("from");
    f.git(&["switch", "-q", "--detach"]);
    f.write("changed", "2\n");
    f.write("new", "2\n");
    std::fs::remove_file(f.root.join("removed")).unwrap();
    let to = f.commit("to");
    f.git(&["switch", "-q", "main"]);
    (f, from, to)
}

pub(super) fn checkout(path: &Path) -> Delivered {
    Delivered::Checkout {
        path: path.to_owned(),
        warning: None,
    }
}

pub(super) fn main_tip(repo: &Repo) -> Oid {
    repo.branch_tip(&branch("main")).unwrap().unwrap()
}

/// What must be the same after a refused delivery.
pub(super) fn state(f: &Fixture) -> String {
    [
        git_in(
            &f.root,
            &["status", "--porcelain=v2", "--ignored", "-uall", "--branch"],
        ),
        git_in(&f.root, &["for-each-ref"]),
        git_in(&f.root, &["stash", "list"]),
        git_in(&f.root, &["ls-files", "--stage"]),
        git_in(&f.root, &["diff", "--binary", "HEAD"]),
    ]
    .join("\n--\n")
}

#[test]
fn a_clean_checkout_goes_forward() {
    let mut fixtures: Vec<_> = super::exotic();
    fixtures.push(Fixture::with_init("my répo", &[]));
    for f in fixtures {
        let (f, from, to) = prepare(f);
        let repo = f.repo();
        let main = branch("main");
        assert_eq!(repo.deliver(&main, &from, &to).unwrap(), checkout(&f.root));
        assert_eq!(main_tip(&repo), to);
        assert!(repo.status(&f.root).unwrap().is_clean());
        assert_eq!(read(&f.root, "changed"), "2\n");
        assert!(!f.root.join("removed").exists());
        assert_eq!(repo.deliver(&main, &from, &to).unwrap(), Delivered::Already);
        let log = f.git(&["reflog", "-1", "--format=%gs", "main"]);
        assert!(log.starts_with("orchestra deliver"), "{log}");
    }
}

#[test]
fn uncommitted_work_elsewhere_stays_as_it_is() {
    let (f, from, to) = prepared();
    f.write("other", "mine\n");
    f.write("staged", "mine\n");
    f.git(&["add", "staged"]);
    f.write("untracked", "mine\n");
    f.write(".env", "mine\n");
    let before = f.git(&["status", "--porcelain=v2", "--ignored", "-uall"]);
    let repo = f.repo();
    let delivered = repo.deliver(&branch("main"), &from, &to).unwrap();
    assert_eq!(delivered, checkout(&f.root));
    assert_eq!(main_tip(&repo), to);
    let after = f.git(&["status", "--porcelain=v2", "--ignored", "-uall"]);
    assert_eq!(before, after);
    assert_eq!(read(&f.root, "changed"), "2\n");
    for name in ["other", "staged", "untracked", ".env"] {
        assert_eq!(read(&f.root, name), "mine\n");
    }
}

#[test]
fn uncommitted_work_in_the_way_stops_it_and_nothing_changes() {
    type Case = (&'static str, fn(&Fixture), &'static [&'static str]);
    let cases: &[Case] = &[
        ("modified", |f| f.write("changed", "mine\n"), &["changed"]),
        (
            "staged",
            |f| {
                f.write("changed", "mine\n");
                f.git(&["add", "changed"]);
            },
            &["changed"],
        ),
        ("untracked", |f| f.write("new", "mine\n"), &["new"]),
        (
            "staged as new",
            |f| {
                f.write("new", "mine\n");
                f.git(&["add", "new"]);
            },
            &["new"],
        ),
        (
            "edited, removed there",
            |f| f.write("removed", "mine\n"),
            &["removed"],
        ),
        (
            "a folder in place of a file",
            |f| f.write("new/x", "mine\n"),
            &["new/x"],
        ),
        (
            "several",
            |f| {
                f.write("changed", "mine\n");
                f.write("new", "mine\n");
                f.write("other", "mine\n");
            },
            &["changed", "new"],
        ),
    ];
    for (name, make, expected) in cases {
        let (f, from, to) = prepared();
        make(&f);
        let before = state(&f);
        let error = f.repo().deliver(&branch("main"), &from, &to).unwrap_err();
        assert_eq!(
            error,
            DeliverError::Overlap {
                path: f.root.clone(),
                files: expected.iter().map(|p| (*p).to_owned()).collect()
            },
            "{name}"
        );
        assert_eq!(state(&f), before, "{name}");
    }
}

#[test]
fn ignored_files_are_the_persons_too() {
    let (f, from, _) = prepared();
    let to = f.commit_on(&from, &[(".env", "theirs\n")]);
    f.write(".env", "secret\n");
    let before = state(&f);
    let error = f.repo().deliver(&branch("main"), &from, &to).unwrap_err();
    assert_eq!(
        error,
        DeliverError::Overlap {
            path: f.root.clone(),
            files: vec![".env".to_owned()]
        }
    );
    assert_eq!(state(&f), before);
    assert_eq!(read(&f.root, ".env"), "secret\n");
}

#[test]
fn a_branch_that_is_checked_out_in_another_worktree_goes_forward_there() {
    let (f, from, to) = prepared();
    f.git(&["switch", "-q", "-c", "mine"]);
    let other = f.beside("other wörk");
    f.git(&["worktree", "add", "-q", other.to_str().unwrap(), "main"]);
    write_in(&other, "other", "mine\n");
    let repo = f.repo();
    let delivered = repo.deliver(&branch("main"), &from, &to).unwrap();
    assert_eq!(delivered, checkout(&other));
    assert_eq!(read(&other, "changed"), "2\n");
    assert_eq!(read(&other, "other"), "mine\n");
    assert_eq!(
        read(&f.root, "changed"),
        "1\n",
        "the main checkout is on another branch"
    );
    assert_eq!(repo.head().unwrap().oid(), Some(&from));
}

#[test]
fn a_branch_that_is_checked_out_nowhere_moves_by_itself() {
    let mut fixtures: Vec<_> = super::exotic();
    fixtures.push(Fixture::new());
    for f in fixtures {
        let (f, from, to) = prepare(f);
        f.git(&["switch", "-q", "-c", "mine"]);
        f.write("changed", "dirty\n");
        let repo = f.repo();
        let delivered = repo.deliver(&branch("main"), &from, &to).unwrap();
        assert_eq!(delivered, Delivered::RefOnly);
        assert_eq!(main_tip(&repo), to);
        assert_eq!(read(&f.root, "changed"), "dirty\n");
    }
}

#[test]
fn a_worktree_whose_folder_is_gone_is_not_in_the_way_unless_locked() {
    let (f, from, to) = prepared();
    f.git(&["switch", "-q", "-c", "mine"]);
    let other = f.beside("other");
    f.git(&["worktree", "add", "-q", other.to_str().unwrap(), "main"]);
    f.git(&["worktree", "lock", other.to_str().unwrap()]);
    let away = f.beside("unmounted");
    std::fs::rename(&other, &away).unwrap();
    let repo = f.repo();
    let main = branch("main");
    assert!(matches!(
        repo.deliver(&main, &from, &to),
        Err(DeliverError::Unreachable { .. })
    ));
    f.git(&["worktree", "unlock", other.to_str().unwrap()]);
    assert_eq!(repo.deliver(&main, &from, &to).unwrap(), Delivered::RefOnly);
}

#[test]
fn a_branch_that_moved_or_went_is_told() {
    let (f, from, to) = prepared();
    let main = branch("main");
    f.write("other", "2\n");
    let now = f.commit("meanwhile");
    let before = state(&f);
    let repo = f.repo();
    let moved = DeliverError::Moved {
        branch: main.clone(),
        expected: from.clone(),
        now: now.clone(),
    };
    assert_eq!(repo.deliver(&main, &from, &to), Err(moved.clone()));
    f.git(&["switch", "-q", "-c", "mine"]);
    assert_eq!(repo.deliver(&main, &from, &to), Err(moved));
    assert_eq!(
        repo.deliver(&branch("gone"), &from, &to),
        Err(DeliverError::Gone {
            branch: branch("gone")
        })
    );
    assert_eq!(
        repo.deliver(&main, &now, &to),
        Err(DeliverError::NotForward { from: now, to })
    );
    f.git(&["switch", "-q", "main"]);
    f.git(&["branch", "-D", "mine"]);
    assert_eq!(state(&f), before);
}

#[test]
fn operations_under_way_stop_it() {
    let (f, from, to) = prepared();
    let main = branch("main");
    let other = f.commit_on(&from, &[("other", "theirs\n")]);
    let repo = f.repo();
    let busy = |operation| DeliverError::Busy {
        branch: main.clone(),
        path: f.root.clone(),
        operation,
    };

    f.git(&["merge", "-q", "--no-ff", "--no-commit", other.as_str()]);
    let before = state(&f);
    assert_eq!(repo.deliver(&main, &from, &to), Err(busy(Operation::Merge)));
    assert_eq!(state(&f), before);
    f.git(&["merge", "--abort"]);

    // A rebase of main detaches HEAD: main is checked out nowhere, yet not free.
    let conflicting = f.commit_on(&oid(&f.git(&["rev-parse", "main~1"])), &[("other", "x\n")]);
    let rebase = Git::at(&f.root)
        .args(["rebase", conflicting.as_str()])
        .output()
        .unwrap();
    assert_eq!(rebase.code, Some(1), "{}", rebase.stderr);
    assert_eq!(repo.head().unwrap().branch(), None);
    let before = state(&f);
    assert_eq!(
        repo.deliver(&main, &from, &to),
        Err(busy(Operation::Rebase))
    );
    assert_eq!(state(&f), before);
    f.git(&["rebase", "--abort"]);

    assert_eq!(repo.deliver(&main, &from, &to).unwrap(), checkout(&f.root));
}

#[test]
fn a_failing_hook_after_the_move_is_a_warning_at_most() {
    let (f, from, to) = prepared();
    let hooks = f.beside("hooks");
    write_executable(&hooks.join("post-merge"), "echo broken >&2; exit 1");
    f.git(&["config", "core.hooksPath", hooks.to_str().unwrap()]);
    let repo = f.repo();
    let delivered = repo.deliver(&branch("main"), &from, &to).unwrap();
    assert!(matches!(delivered, Delivered::Checkout { .. }));
    assert_eq!(main_tip(&repo), to);
    assert!(repo.status(&f.root).unwrap().is_clean());
}

#[test]
fn a_hook_that_refuses_the_ref_leaves_the_files_as_they_were() {
    for dirty in [false, true] {
        let (f, from, to) = prepared();
        f.hook(
            "reference-transaction",
            "test \"$1\" = prepared || exit 0\n! grep -q refs/heads/main",
        );
        if dirty {
            f.write("other", "mine\n");
            f.write("staged", "mine\n");
            f.git(&["add", "staged"]);
            f.write("untracked", "mine\n");
        }
        let before = state(&f);
        let repo = f.repo();
        let main = branch("main");
        let error = repo.deliver(&main, &from, &to).unwrap_err();
        assert!(
            matches!(error, DeliverError::HookRefused { .. }),
            "{error:?}"
        );
        assert_eq!(state(&f), before);

        std::fs::remove_file(f.root.join(".git/hooks/reference-transaction")).unwrap();
        f.git(&["stash", "-q", "-u"]);
        f.git(&["switch", "-q", "-c", "mine"]);
        f.hook(
            "reference-transaction",
            "test \"$1\" = prepared || exit 0\n! grep -q refs/heads/main",
        );
        let error = repo.deliver(&main, &from, &to).unwrap_err();
        assert!(
            matches!(error, DeliverError::HookRefused { .. }),
            "{error:?}"
        );
        assert_eq!(main_tip(&repo), from);
    }
}

#[test]
fn the_persons_merge_options_and_missing_name_do_not_matter() {
    let (f, from, to) = prepared();
    for (key, value) in [
        ("branch.main.mergeOptions", "--squash --no-commit"),
        ("merge.ff", "false"),
        ("merge.autoStash", "true"),
        ("merge.verifySignatures", "true"),
        ("user.useConfigOnly", "true"),
    ] {
        f.git(&["config", key, value]);
    }
    f.git(&["config", "--unset", "user.name"]);
    f.git(&["config", "--unset", "user.email"]);
    f.write("other", "mine\n");
    let repo = f.repo();
    let delivered = repo.deliver(&branch("main"), &from, &to).unwrap();
    assert_eq!(delivered, checkout(&f.root));
    assert_eq!(main_tip(&repo), to);
    assert_eq!(f.git(&["status", "--porcelain"]), " M other");
}

#[test]
fn one_that_was_cut_off_between_files_and_ref_is_completed() {
    let (f, from, to) = prepared();
    f.git(&["read-tree", "-m", "-u", from.as_str(), to.as_str()]);
    assert!(!f.repo().status(&f.root).unwrap().is_clean());
    let repo = f.repo();
    let delivered = repo.deliver(&branch("main"), &from, &to).unwrap();
    assert_eq!(delivered, checkout(&f.root));
    assert!(repo.status(&f.root).unwrap().is_clean());
}

#[test]
fn a_branch_checked_out_twice_is_refused() {
    let (f, from, to) = prepared();
    let other = f.beside("other");
    f.git(&[
        "worktree",
        "add",
        "-q",
        "--force",
        other.to_str().unwrap(),
        "main",
    ]);
    let error = f.repo().deliver(&branch("main"), &from, &to).unwrap_err();
    assert!(
        matches!(&error, DeliverError::CheckedOutTwice { paths, .. } if paths.len() == 2),
        "{error:?}"
    );
}

#[test]
fn of_two_deliveries_at_once_one_wins_and_the_other_is_told() {
    let (f, from, a) = prepared();
    let b = f.commit_on(&from, &[("b", "b\n")]);
    let repo = f.repo();
    let main = branch("main");
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = [&a, &b]
            .into_iter()
            .map(|to| {
                let (repo, main, from) = (&repo, &main, &from);
                scope.spawn(move || repo.deliver(main, from, to))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let won: Vec<_> = results.iter().filter(|r| r.is_ok()).collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert!(
        results
            .iter()
            .any(|r| matches!(r, Err(DeliverError::Moved { .. }))),
        "{results:?}"
    );
    assert!(repo.status(&f.root).unwrap().is_clean());
    assert!([a, b].contains(&main_tip(&repo)));
}

#[test]
fn a_person_who_commits_in_the_same_moment_finds_their_files_as_they_left_them() {
    // What git leaves when the branch moves between its files and its ref: the commit
    // of the person is there, the delivered changes are in the index above it.
    let (f, from, to) = prepared();
    f.write("other", "committed meanwhile\n");
    f.write("new", "2\n");
    let now = f.commit("meanwhile, with one change that is delivered too");
    f.git(&["read-tree", "-m", "-u", from.as_str(), to.as_str()]);
    assert!(!f.repo().status(&f.root).unwrap().is_clean());
    let repo = f.repo();
    let back = repo.put_back(&branch("main"), &from, &to, &f.root).unwrap();
    assert_eq!(back, Ok(()));
    assert!(repo.status(&f.root).unwrap().is_clean());
    assert_eq!(main_tip(&repo), now);
}

#[test]
fn a_repository_in_a_bare_layout_delivers_to_its_worktree() {
    let (f, from, to) = prepared();
    let bare = f.beside("bare.git");
    f.git(&["branch", "keep", to.as_str()]);
    f.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let main = f.beside("main");
    git_in(
        &bare,
        &["worktree", "add", "-q", main.to_str().unwrap(), "main"],
    );
    let repo = Repo::discover(&main).unwrap();
    assert_eq!(
        repo.deliver(&branch("main"), &from, &to).unwrap(),
        checkout(&main)
    );
    assert_eq!(read(&main, "changed"), "2\n");
}

#[test]
fn a_file_that_the_person_deleted_does_not_come_back() {
    let f = Fixture::new();
    f.write("mine", "1\n");
    let from = f.commit("second");
    let to = f.commit_on(&from, &[("README", "delivered\n")]);
    let other = f.commit_on(&from, &[("other", "delivered\n")]);
    std::fs::remove_file(f.root.join("README")).unwrap();
    let main = branch("main");
    let error = f.repo().deliver(&main, &from, &to).unwrap_err();
    assert!(
        matches!(&error, DeliverError::Overlap { files, .. } if files == &["README"]),
        "{error}"
    );
    assert!(!f.root.join("README").exists());
    assert_eq!(f.git(&["rev-parse", "main"]), from.as_str());
    // One that is not in the way stays deleted.
    f.repo().deliver(&main, &from, &other).unwrap();
    assert!(!f.root.join("README").exists() && f.root.join("other").exists());
}
