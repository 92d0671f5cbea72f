//! Compare-and-swap of refs, and backups.

use crate::core::id::{OrchestrationId, TaskName};
use crate::git::testkit::{Fixture, branch, oid};
use crate::git::{Backend, BackupKind, Expected, GitError, Repo};

fn all_kinds() -> Vec<(Fixture, Repo)> {
    let mut found = Vec::new();
    for backend in [Backend::Library, Backend::Command] {
        let f = Fixture::new();
        let repo = f.repo().with_backend(backend);
        found.push((f, repo));
    }
    for f in super::exotic() {
        let repo = f.repo();
        found.push((f, repo));
    }
    found
}

#[test]
fn refs_change_only_when_they_are_as_expected() {
    for (f, repo) in all_kinds() {
        let a = repo.resolve("HEAD").unwrap().unwrap();
        let b = f.commit_on(&a, &[("b", "b\n")]);
        for name in ["refs/heads/x", "refs/orchestra/x"] {
            let moved = |expected: Option<&_>, actual: Option<&_>| GitError::RefMoved {
                name: name.to_owned(),
                expected: expected.cloned(),
                actual: actual.cloned(),
            };
            assert_eq!(
                repo.update_ref(name, &b, Expected::At(&a)),
                Err(moved(Some(&a), None))
            );
            repo.update_ref(name, &a, Expected::Absent).unwrap();
            assert_eq!(
                repo.update_ref(name, &b, Expected::Absent),
                Err(moved(None, Some(&a)))
            );
            repo.update_ref(name, &b, Expected::At(&a)).unwrap();
            assert_eq!(repo.ref_target(name).unwrap(), Some(b.clone()));
            assert_eq!(
                repo.update_ref(name, &a, Expected::At(&a)),
                Err(moved(Some(&a), Some(&b)))
            );
            assert_eq!(repo.delete_ref(name, &a), Err(moved(Some(&a), Some(&b))));
            repo.delete_ref(name, &b).unwrap();
            assert_eq!(repo.delete_ref(name, &b), Err(moved(Some(&b), None)));
        }
    }
}

#[test]
fn a_ref_in_the_way_is_named() {
    for (_f, repo) in all_kinds() {
        let a = repo.resolve("HEAD").unwrap().unwrap();
        for folder in ["refs/heads/task", "refs/orchestra/task"] {
            let below = format!("{folder}/x");
            repo.update_ref(folder, &a, Expected::Absent).unwrap();
            let error = repo.update_ref(&below, &a, Expected::Absent).unwrap_err();
            assert_eq!(
                error,
                GitError::RefBlocked {
                    name: below.clone(),
                    by: folder.to_owned()
                }
            );
            repo.delete_ref(folder, &a).unwrap();
            repo.update_ref(&below, &a, Expected::Absent).unwrap();
            let error = repo.update_ref(folder, &a, Expected::Absent).unwrap_err();
            assert_eq!(
                error,
                GitError::RefBlocked {
                    name: folder.to_owned(),
                    by: below
                }
            );
        }
    }
}

#[test]
fn names_that_are_no_refs_are_refused() {
    let f = Fixture::new();
    let repo = f.repo();
    let a = repo.resolve("HEAD").unwrap().unwrap();
    for name in [
        "HEAD",
        "-d",
        "refs/heads/a b",
        "refs/../x",
        "main",
        "refs/heads/x.lock",
    ] {
        let error = repo.update_ref(name, &a, Expected::Absent).unwrap_err();
        assert!(
            matches!(error, GitError::BadRefName { .. }),
            "{name}: {error}"
        );
        assert!(repo.delete_ref(name, &a).is_err());
    }
}

#[test]
fn the_persons_hook_may_refuse_a_branch_but_backups_go_on() {
    let f = Fixture::new();
    let repo = f.repo();
    let a = repo.resolve("HEAD").unwrap().unwrap();
    f.hook(
        "reference-transaction",
        "test \"$1\" = prepared || exit 0; ! grep -q refs/heads/frozen",
    );
    let error = repo
        .update_ref("refs/heads/frozen", &a, Expected::Absent)
        .unwrap_err();
    assert!(matches!(error, GitError::HookRefused { .. }), "{error}");
    repo.update_ref("refs/heads/other", &a, Expected::Absent)
        .unwrap();
}

#[test]
fn one_of_many_wins_a_swap() {
    for (f, repo) in all_kinds() {
        let a = repo.resolve("HEAD").unwrap().unwrap();
        for name in ["refs/heads/race", "refs/orchestra/race"] {
            repo.update_ref(name, &a, Expected::Absent).unwrap();
            let wins: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|n| {
                        let (repo, a) = (&repo, &a);
                        let new = f.commit_on(a, &[("n", &format!("{n}\n"))]);
                        scope.spawn(move || repo.update_ref(name, &new, Expected::At(a)))
                    })
                    .collect();
                let results = threads.into_iter().map(|t| t.join().unwrap());
                results.filter(Result::is_ok).count()
            });
            assert_eq!(wins, 1, "{name}");
        }
    }
}

#[test]
fn refs_are_listed_by_folder() {
    for (_f, repo) in all_kinds() {
        let a = repo.resolve("HEAD").unwrap().unwrap();
        for name in [
            "refs/orchestra/a/2",
            "refs/orchestra/a/1",
            "refs/orchestra/ab/1",
        ] {
            repo.update_ref(name, &a, Expected::Absent).unwrap();
        }
        let expected = vec![
            ("refs/orchestra/a/1".to_owned(), a.clone()),
            ("refs/orchestra/a/2".to_owned(), a.clone()),
        ];
        assert_eq!(repo.refs("refs/orchestra/a").unwrap(), expected);
        assert_eq!(repo.refs("refs/orchestra/a/").unwrap(), expected);
        assert!(repo.refs("refs/none").unwrap().is_empty());
        assert_eq!(
            repo.branch_tip(&branch("main")).unwrap(),
            Some(a),
            "branches read by both"
        );
    }
}

#[test]
fn backups_are_only_added() {
    for (f, repo) in all_kinds() {
        let a = repo.resolve("HEAD").unwrap().unwrap();
        let b = f.commit_on(&a, &[("b", "b\n")]);
        let id = OrchestrationId::parse("run-1").unwrap();
        let task = TaskName::parse("user-auth").unwrap();
        let first = repo.backup(&id, &task, BackupKind::Branch, &a).unwrap();
        assert_eq!(first, "refs/orchestra/backup/run-1/user-auth/branch/1");
        assert_eq!(
            repo.backup(&id, &task, BackupKind::Branch, &a).unwrap(),
            first
        );
        let second = repo.backup(&id, &task, BackupKind::Branch, &b).unwrap();
        assert_eq!(second, "refs/orchestra/backup/run-1/user-auth/branch/2");
        assert_eq!(repo.backups(&id).unwrap(), vec![(first, a), (second, b)]);
    }
}

#[test]
fn a_lock_that_a_killed_process_left_stops_no_backup() {
    let f = Fixture::new();
    let repo = f.repo();
    let a = repo.resolve("HEAD").unwrap().unwrap();
    let id = OrchestrationId::parse("run-1").unwrap();
    let task = TaskName::parse("t").unwrap();
    let folder = f.root.join(".git/refs/orchestra/backup/run-1/t/branch");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("1.lock"), "").unwrap();
    let name = repo.backup(&id, &task, BackupKind::Branch, &a).unwrap();
    assert_eq!(name, "refs/orchestra/backup/run-1/t/branch/2");
    assert_eq!(
        repo.backup(&id, &task, BackupKind::Branch, &a).unwrap(),
        name
    );
}

#[test]
fn threads_that_back_up_at_once_lose_nothing() {
    let f = Fixture::new();
    let (library, command) = (
        f.repo().with_backend(Backend::Library),
        f.repo().with_backend(Backend::Command),
    );
    let repo = f.repo();
    let a = repo.resolve("HEAD").unwrap().unwrap();
    let id = OrchestrationId::parse("run-1").unwrap();
    let task = TaskName::parse("t").unwrap();
    let commits: Vec<_> = (0..12)
        .map(|n| f.commit_on(&a, &[("n", &format!("{n}\n"))]))
        .collect();
    std::thread::scope(|scope| {
        for (n, commit) in commits.iter().enumerate() {
            let repo = if n % 4 == 0 { &command } else { &library };
            let (id, task) = (&id, &task);
            scope.spawn(move || {
                repo.backup(id, task, BackupKind::Snapshot, commit).unwrap();
            });
        }
    });
    let mut kept: Vec<_> = repo
        .backups(&id)
        .unwrap()
        .into_iter()
        .map(|b| b.1)
        .collect();
    let mut expected = commits;
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected);
    assert_eq!(oid(a.as_str()), a);
}

#[test]
fn backups_are_deleted_all_or_none_and_nothing_else_is() {
    for (f, repo) in all_kinds() {
        let a = repo.resolve("HEAD").unwrap().unwrap();
        let b = f.commit_on(&a, &[("b", "b\n")]);
        let id = OrchestrationId::parse("run-1").unwrap();
        let task = TaskName::parse("user-auth").unwrap();
        repo.backup(&id, &task, BackupKind::Branch, &a).unwrap();
        repo.backup(&id, &task, BackupKind::Undo, &b).unwrap();
        f.git(&["update-ref", "refs/orchestra/backup/odd", a.as_str()]);
        let all = repo.all_backups().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].kind, all[1].number), (BackupKind::Undo, 1));
        let mut wrong = all.clone();
        wrong[1].oid = a.clone();
        let error = repo.delete_backups(&wrong).unwrap_err();
        assert!(matches!(error, GitError::RefMoved { .. }), "{error}");
        let mut foreign = all.clone();
        foreign[0].name = "refs/heads/main".into();
        foreign[0].oid = a.clone();
        let error = repo.delete_backups(&foreign).unwrap_err();
        assert!(matches!(error, GitError::BadRefName { .. }), "{error}");
        assert_eq!(repo.all_backups().unwrap(), all);
        repo.delete_backups(&all).unwrap();
        assert_eq!(repo.all_backups().unwrap(), []);
        assert!(
            repo.ref_target("refs/orchestra/backup/odd")
                .unwrap()
                .is_some()
        );
        repo.delete_backups(&[]).unwrap();
    }
}

#[test]
fn lock_files_that_git_left_are_found() {
    let f = Fixture::new();
    let tree = f.beside("tree");
    f.git(&[
        "worktree",
        "add",
        "-q",
        "-b",
        "topic/x",
        tree.to_str().unwrap(),
    ]);
    let repo = f.repo();
    let a = repo.resolve("HEAD").unwrap().unwrap();
    repo.deliver(&branch("topic/x"), &a, &a).unwrap();
    assert_eq!(repo.lock_files(), []);
    let names = [
        "index.lock",
        "packed-refs.lock",
        "refs/heads/topic/x.lock",
        "worktrees/tree/index.lock",
    ];
    for name in names {
        f.write(&format!(".git/{name}"), "");
    }
    let found = repo.lock_files();
    let found: Vec<_> = found
        .iter()
        .map(|lock| lock.path.strip_prefix(f.root.join(".git")).unwrap())
        .collect();
    assert_eq!(found, names.map(std::path::Path::new));
}
