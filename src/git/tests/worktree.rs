//! Adding, removing and listing worktrees.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::core::id::Oid;
use crate::git::testkit::{Fixture, branch, git_in, oid, read, write_executable, write_in};
use crate::git::{Backend, GitError, Head, Repo, WorktreeSpec};

fn spec(path: &Path, name: &str, at: &Oid) -> WorktreeSpec {
    WorktreeSpec {
        path: path.to_owned(),
        branch: (!name.is_empty()).then(|| branch(name)),
        at: at.clone(),
    }
}

fn head(f: &Fixture) -> Oid {
    oid(&f.git(&["rev-parse", "HEAD"]))
}

/// Paths and branches as git lists them, but for the main checkout.
fn listed(repo: &Repo) -> Vec<(String, Option<String>)> {
    let mut found: Vec<_> = repo
        .worktrees()
        .unwrap()
        .into_iter()
        .skip(1)
        .map(|w| {
            let name = w.path.file_name().unwrap().to_string_lossy().into_owned();
            (name, w.branch)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_worktree_on_a_new_branch_and_a_detached_one() {
    let mut fixtures = super::exotic();
    fixtures.push(Fixture::with_init("my répo", &[]));
    for f in fixtures {
        let repo = f.repo();
        let first = head(&f);
        f.write("later", "x\n");
        f.commit("second");
        let (a, b) = (f.beside("wörk trees/a b"), f.beside("wörk trees/detached"));
        repo.worktree_add(&spec(&a, "task/a", &first)).unwrap();
        let added = repo.worktree_add(&spec(&b, "", &first)).unwrap();
        assert_eq!(added.hook_failure, None);
        assert_eq!(
            repo.head_at(&a).unwrap(),
            Head::Branch {
                name: branch("task/a"),
                oid: first.clone()
            }
        );
        assert_eq!(repo.head_at(&b).unwrap(), Head::Detached { oid: first });
        for worktree in [&a, &b] {
            assert_eq!(read(worktree, "README"), "hello\n");
            assert!(!worktree.join("later").exists());
            assert!(repo.status(worktree).unwrap().is_clean());
        }
        let config = std::fs::read_to_string(f.root.join(".git/config")).unwrap();
        assert!(!config.contains("task/a"), "no configuration: {config}");
        let main = repo.worktrees().unwrap().remove(0);
        assert_eq!(
            (main.path, main.branch.as_deref()),
            (f.root.clone(), Some("refs/heads/main"))
        );
    }
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_left() {
    let f = Fixture::new();
    let repo = f.repo();
    let at = head(&f);
    f.git(&["branch", "taken"]);
    f.git(&["branch", "task"]);
    let (occupied, empty) = (f.beside("occupied"), f.beside("empty"));
    write_in(&occupied, "x", "x");
    std::fs::create_dir(&empty).unwrap();
    let before = f.git(&["for-each-ref"]);

    let add =
        |path: &Path, name: &str, at: &Oid| repo.worktree_add(&spec(path, name, at)).unwrap_err();
    let free = f.beside("free");
    assert_eq!(
        add(&free, "taken", &at),
        GitError::BranchExists {
            branch: branch("taken")
        }
    );
    assert_eq!(
        add(&empty, "taken", &at),
        GitError::BranchExists {
            branch: branch("taken")
        }
    );
    assert_eq!(
        add(&free, "task/x", &at),
        GitError::RefBlocked {
            name: "refs/heads/task/x".to_owned(),
            by: "refs/heads/task".to_owned()
        }
    );
    assert_eq!(
        add(&occupied, "new", &at),
        GitError::PathOccupied {
            path: occupied.clone()
        }
    );
    assert!(matches!(
        add(Path::new("relative"), "new", &at),
        GitError::NotAbsolute { .. }
    ));
    assert!(matches!(
        add(&free, "new", &oid(&"12".repeat(20))),
        GitError::Missing { .. }
    ));
    assert!(matches!(
        add(&occupied.join("x/below"), "new", &at),
        GitError::PathOccupied { .. } | GitError::Failed { .. }
    ));
    assert_eq!(f.git(&["for-each-ref"]), before);
    assert_eq!(listed(&repo), vec![]);
    assert!(!free.exists());

    repo.worktree_add(&spec(&empty, "new", &at)).unwrap();
    assert_eq!(read(&empty, "README"), "hello\n");
}

#[test]
fn when_one_of_many_fails_all_go() {
    let f = Fixture::new();
    let repo = f.repo();
    let at = head(&f);
    f.git(&["branch", "task/c"]);
    let before = f.git(&["for-each-ref"]);
    let specs: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|n| spec(&f.beside(n), &format!("task/{n}"), &at))
        .collect();
    let error = repo.worktrees_add(&specs).unwrap_err();
    assert_eq!(
        error,
        GitError::BranchExists {
            branch: branch("task/c")
        }
    );
    assert_eq!(f.git(&["for-each-ref"]), before);
    assert_eq!(listed(&repo), vec![]);
    for spec in &specs {
        assert!(!spec.path.exists(), "{:?}", spec.path);
    }
    let twice = [specs[0].clone(), specs[0].clone()];
    assert!(matches!(
        repo.worktrees_add(&twice),
        Err(GitError::PathOccupied { .. })
    ));
}

#[test]
fn a_checkout_that_fails_takes_all_back() {
    let f = Fixture::new();
    f.write(".gitattributes", "bad filter=broken\n");
    f.write("bad", "x\n");
    let bad = f.commit("needs a filter");
    f.git(&["config", "filter.broken.smudge", "false"]);
    f.git(&["config", "filter.broken.required", "true"]);
    let repo = f.repo();
    let good = oid(&f.git(&["rev-parse", "HEAD~1"]));
    let specs = [
        spec(&f.beside("good"), "task/good", &good),
        spec(&f.beside("bad"), "task/bad", &bad),
    ];
    let error = repo.worktrees_add(&specs).unwrap_err();
    assert!(error.to_string().contains("smudge filter"), "{error}");
    assert_eq!(listed(&repo), vec![]);
    assert_eq!(repo.branch_tip(&branch("task/good")).unwrap(), None);
    assert!(!f.beside("good").exists() && !f.beside("bad").exists());
}

#[test]
fn the_persons_hook_runs_as_with_git_itself() {
    let f = Fixture::new();
    let repo = f.repo();
    let at = head(&f);
    let log = f.beside("log");
    f.hook(
        "post-checkout",
        &format!("echo \"$(pwd -P) $1 $2 $3\" >> '{}'", log.display()),
    );
    let (ours, gits) = (f.beside("ours"), f.beside("gits"));
    repo.worktree_add(&spec(&ours, "task/ours", &at)).unwrap();
    f.git(&["worktree", "add", "-q", "--detach", gits.to_str().unwrap()]);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(
        lines[0].replace(ours.to_str().unwrap(), "HERE"),
        lines[1].replace(gits.to_str().unwrap(), "HERE")
    );
}

#[test]
fn a_failing_hook_is_told_and_the_worktree_stays() {
    let f = Fixture::new();
    let hooks = f.beside("my hooks");
    write_executable(&hooks.join("post-checkout"), "echo no git-lfs >&2; exit 2");
    f.git(&["config", "core.hooksPath", hooks.to_str().unwrap()]);
    let repo = f.repo();
    let at = head(&f);
    let specs = ["a", "b", "c"].map(|n| spec(&f.beside(n), &format!("task/{n}"), &at));
    let added = repo.worktrees_add(&specs).unwrap();
    assert_eq!(added.len(), 3);
    for one in &added {
        assert_eq!(one.hook_failure.as_deref(), Some("no git-lfs"));
        assert_eq!(read(&one.path, "README"), "hello\n");
    }
    repo.checkout_detached(&specs[0].path, &at).unwrap();
}

#[test]
fn many_processes_worth_of_threads_add_at_once() {
    let f = Fixture::new();
    let at = head(&f);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (f, at) = (&f, &at);
            scope.spawn(move || {
                // A value of its own, as another process would have.
                let repo = Repo::discover(&f.root).unwrap();
                // The same folder name each time: git numbers its records.
                let specs = [
                    spec(&f.beside(&format!("{n}/same")), &format!("task/{n}a"), at),
                    spec(&f.beside(&format!("{n}/other")), &format!("task/{n}b"), at),
                ];
                repo.worktrees_add(&specs).unwrap();
            });
        }
    });
    let repo = f.repo();
    let worktrees = repo.worktrees().unwrap();
    assert_eq!(worktrees.len(), 17);
    for worktree in &worktrees {
        assert!(worktree.prunable.is_none());
        assert_eq!(worktree.head.as_ref(), Some(&at));
        assert!(repo.status(&worktree.path).unwrap().is_clean());
    }
    f.git(&["fsck", "--strict"]);
    std::thread::scope(|scope| {
        for worktree in worktrees.iter().skip(1) {
            let repo = &repo;
            scope.spawn(move || repo.worktree_remove(&worktree.path, false).unwrap());
        }
    });
    assert_eq!(listed(&repo), vec![]);
}

#[test]
fn removing_keeps_what_is_in_no_commit() {
    let f = Fixture::new();
    f.write(".gitignore", "cache/\n");
    let at = f.commit("ignore");
    let repo = f.repo();
    let path = f.beside("w");
    let name = branch("task/w");
    let add = || repo.worktree_add(&spec(&path, "task/w", &at)).unwrap();
    let dirty = GitError::WorktreeDirty { path: path.clone() };

    add();
    write_in(&path, "new", "x");
    assert_eq!(repo.worktree_remove(&path, false), Err(dirty.clone()));
    std::fs::remove_file(path.join("new")).unwrap();
    write_in(&path, "README", "changed");
    assert_eq!(repo.worktree_remove(&path, false), Err(dirty));
    repo.worktree_remove(&path, true).unwrap();
    assert!(!path.exists());
    assert_eq!(
        repo.branch_tip(&name).unwrap(),
        Some(at.clone()),
        "the branch stays"
    );
    repo.delete_ref(&name.full_ref(), &at).unwrap();

    add();
    write_in(&path, "cache/x", "ignored files do not count");
    repo.worktree_remove(&path, false).unwrap();
    assert!(!path.exists());
    repo.delete_ref(&name.full_ref(), &at).unwrap();

    add();
    std::fs::remove_dir_all(&path).unwrap();
    let other = f.beside("other");
    f.git(&["worktree", "add", "-q", "--detach", other.to_str().unwrap()]);
    std::fs::remove_dir_all(&other).unwrap();
    repo.worktree_remove(&path, false).unwrap();
    assert_eq!(
        listed(&repo),
        vec![("other".to_owned(), None)],
        "the record of another tool stays, gone folder or not"
    );

    let none = GitError::NotAWorktree { path: path.clone() };
    assert_eq!(repo.worktree_remove(&path, true), Err(none));
    assert!(
        repo.worktree_remove(&f.root, true).is_err(),
        "never the main checkout"
    );
    assert!(f.root.join("README").exists());
}

#[test]
fn locked_worktrees_stay_and_say_why() {
    let f = Fixture::new();
    let repo = f.repo();
    let path = f.beside("w");
    repo.worktree_add(&spec(&path, "task/w", &head(&f)))
        .unwrap();
    f.git(&[
        "worktree",
        "lock",
        "--reason",
        "on a stick",
        path.to_str().unwrap(),
    ]);
    assert_eq!(
        repo.worktree_remove(&path, true),
        Err(GitError::WorktreeLocked {
            path: path.clone(),
            reason: "on a stick".to_owned()
        })
    );
}

#[test]
fn a_worktree_whose_making_was_cut_off_can_be_removed() {
    let f = Fixture::new();
    let repo = f.repo();
    let path = f.beside("w");
    repo.worktree_add(&spec(&path, "task/w", &head(&f)))
        .unwrap();
    // As git leaves it when it is killed.
    let lock = ["--reason", "initializing", path.to_str().unwrap()];
    f.git(&[&["worktree", "lock"], &lock[..]].concat());
    assert!(repo.worktree_remove(&path, false).is_err());
    repo.worktree_remove(&path, true).unwrap();
    assert!(!path.exists());
    assert_eq!(listed(&repo), vec![]);
}

#[test]
fn a_worktree_whose_record_is_not_whole_can_be_removed() {
    // What git has written, in this order, when it is killed while it makes one.
    for missing in [
        &["HEAD"][..],
        &["HEAD", "commondir"],
        &["HEAD", "commondir", "link"],
        &["HEAD", "commondir", "link", "folder"],
    ] {
        let f = Fixture::new();
        let repo = f.repo();
        let path = f.beside("w");
        repo.worktree_add(&spec(&path, "task/w", &head(&f)))
            .unwrap();
        let record = repo.common_dir().join("worktrees/w");
        std::fs::write(record.join("locked"), "initializing").unwrap();
        for entry in std::fs::read_dir(&path).unwrap().flatten() {
            if entry.file_name() != ".git" {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        for what in missing {
            match *what {
                "link" => std::fs::remove_file(path.join(".git")).unwrap(),
                "folder" => std::fs::remove_dir(&path).unwrap(),
                file => std::fs::remove_file(record.join(file)).unwrap(),
            }
        }
        repo.worktree_remove(&path, true)
            .unwrap_or_else(|e| panic!("without {missing:?}: {e}"));
        assert!(!path.exists(), "without {missing:?}");
        assert_eq!(listed(&repo), vec![], "without {missing:?}");
    }
}

#[test]
fn read_only_folders_in_a_worktree_do_not_keep_it() {
    let f = Fixture::new();
    f.write(".gitignore", "cache/\n");
    let at = f.commit("ignore");
    let repo = f.repo();
    let path = f.beside("w");
    repo.worktree_add(&spec(&path, "task/w", &at)).unwrap();
    write_in(&path, "cache/mod/x", "x");
    for folder in ["cache/mod", "cache"] {
        let folder = path.join(folder);
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    // A privileged user is not stopped by permissions; then this is the usual case.
    repo.worktree_remove(&path, true).unwrap();
    assert!(!path.exists());
    assert_eq!(listed(&repo), vec![]);
}

#[test]
fn a_worktree_from_inside_another_lands_in_the_same_repository() {
    let f = Fixture::new();
    let at = head(&f);
    let (a, b) = (f.beside("a"), f.beside("b"));
    f.repo().worktree_add(&spec(&a, "task/a", &at)).unwrap();
    let repo = Repo::discover(&a).unwrap();
    repo.worktree_add(&spec(&b, "task/b", &at)).unwrap();
    assert_eq!(git_in(&b, &["branch", "--show-current"]), "task/b");
    assert_eq!(listed(&f.repo()).len(), 2);
}

#[test]
fn a_worktree_for_a_branch_that_is_there() {
    let f = Fixture::new();
    let repo = f.repo();
    let name = branch("task/kept");
    let (path, second) = (f.beside("w"), f.beside("second"));
    assert!(matches!(
        repo.worktree_attach(&path, &name),
        Err(GitError::Missing { .. })
    ));
    f.git(&["branch", name.as_str()]);
    f.hook("post-checkout", "exit 1");
    let added = repo.worktree_attach(&path, &name).unwrap();
    assert!(added.hook_failure.is_some(), "told, not an error");
    assert_eq!(repo.head_at(&path).unwrap().branch(), Some(&name));
    assert!(repo.status(&path).unwrap().is_clean());
    assert!(repo.worktree_attach(&second, &name).is_err());
    assert!(!second.exists());
    assert!(matches!(
        repo.worktree_attach(&path, &name),
        Err(GitError::PathOccupied { .. })
    ));
}

#[test]
fn a_record_that_another_git_is_writing_is_waited_for() {
    let f = Fixture::new();
    let worktree = f.beside("w");
    f.git(&[
        "worktree",
        "add",
        "-q",
        "--detach",
        worktree.to_str().unwrap(),
    ]);
    let file = f.root.join(".git/worktrees/w/commondir");
    let content = std::fs::read(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    // What git makes of it is why there is something to wait for.
    let refused = crate::git::command::Git::at(&f.root)
        .once()
        .args(["worktree", "list"])
        .output()
        .unwrap();
    assert_eq!(refused.code, Some(128), "{}", refused.stderr);
    let repo = f.repo();
    std::thread::scope(|scope| {
        let listing = scope.spawn(|| repo.worktrees());
        std::fs::write(&file, &content).unwrap();
        assert_eq!(listing.join().unwrap().unwrap().len(), 2);
    });
}

#[test]
fn what_is_read_without_a_process_is_what_git_says() {
    let f = Fixture::new();
    let repo = f.repo();
    let slow = repo.with_backend(Backend::Command);
    let at = head(&f);
    let (on, off) = (f.beside("on"), f.beside("off"));
    repo.worktree_add(&spec(&on, "task/on", &at)).unwrap();
    repo.worktree_add(&spec(&off, "", &at)).unwrap();
    f.git(&["branch", "task/free"]);
    let agree = |name: &str, there: bool| {
        let name = branch(name);
        assert_eq!(repo.is_checked_out(&name).unwrap(), there, "{name}");
        assert_eq!(slow.is_checked_out(&name).unwrap(), there, "{name}");
    };
    agree("main", true);
    agree("task/on", true);
    agree("task/free", false);
    agree("task", false);
    git_in(&off, &["checkout", "-q", "task/free"]);
    agree("task/free", true);
    git_in(&off, &["checkout", "-q", "--orphan", "task/unborn"]);
    agree("task/unborn", true);
    agree("task/free", false);
    git_in(&off, &["checkout", "-q", "--force", "--detach", "main"]);
    let detached = Head::Detached { oid: at };
    assert_eq!(repo.head_at(&off).unwrap(), detached);
    assert_eq!(slow.head_at(&off).unwrap(), detached);
    // A branch as very old versions of git wrote it down, which is no commit.
    let file = f.root.join(".git/HEAD");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("refs/heads/main", &file).unwrap();
    assert_eq!(repo.head().unwrap().branch(), Some(&branch("main")));
    agree("main", true);

    let registered = |path: &Path| repo.is_registered(path).unwrap();
    assert!(registered(&on) && registered(&off));
    assert!(!registered(&f.beside("none")) && !registered(&f.root));
    std::fs::remove_dir_all(&on).unwrap();
    assert!(registered(&on), "a record without a folder");
    f.git(&["worktree", "prune"]);
    assert!(!registered(&on));
    // By another way to the same folder.
    let link = f.beside("link");
    std::os::unix::fs::symlink(off.parent().unwrap(), &link).unwrap();
    assert!(registered(&link.join("off")));
    repo.worktree_remove(&link.join("off"), false).unwrap();
    assert!(!off.exists() && !registered(&off));
}

#[test]
fn hooks_are_found_wherever_they_come_from() {
    let f = Fixture::new();
    let repo = f.repo();
    let name = "post-checkout";
    assert!(!repo.may_have_hook(name));
    f.hook(name, "exit 0");
    assert!(repo.may_have_hook(name));
    std::fs::remove_file(f.root.join(".git/hooks").join(name)).unwrap();
    assert!(!repo.may_have_hook(name));
    // What was heard before is void when the configuration changes.
    f.git(&["config", "core.hooksPath", "hooks"]);
    assert!(repo.may_have_hook(name));
    f.git(&["config", "--unset", "core.hooksPath"]);
    assert!(!repo.may_have_hook(name));
    f.git(&["config", "hook.mine.command", "true"]);
    assert!(repo.may_have_hook(name));
}
