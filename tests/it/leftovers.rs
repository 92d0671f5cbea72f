//! What crashes and people leave behind: what is ours goes, with its work kept; what only
//! looks like it stays.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::harness::{KillingGit, Room, writes};

/// A room whose run ended without delivering: `a` and `b` are done, in their worktrees.
fn unmerged() -> Room {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "1\n"), "b": writes("b", "1\n")}));
    room.run(&["--no-merge"]).expect(0);
    room
}

fn cleanup(room: &Room) -> Value {
    room.orchestra(&["cleanup", "all", "--json"])
        .expect(0)
        .json()
}

/// Why a task's things were kept.
#[track_caller]
fn kept(said: &Value, task: &str) -> Option<String> {
    let items = said["items"].as_array().unwrap();
    let item = items.iter().find(|i| i["task"] == task);
    let item = item.unwrap_or_else(|| panic!("no {task} in {said}"));
    item["kept"].as_str().map(str::to_owned)
}

fn not_ours(said: &Value) -> Vec<&str> {
    let list = said["notOurs"].as_array().unwrap();
    list.iter().map(|o| o["what"].as_str().unwrap()).collect()
}

/// Whether some backup holds this file with this text.
fn is_kept(room: &Room, path: &str, text: &str) -> bool {
    room.backups().iter().any(|name| {
        room.try_git(&["show", &format!("{name}:{path}")])
            .is_ok_and(|there| there == text)
    })
}

#[test]
fn links_are_not_followed() {
    let room = unmerged();
    let outside = room.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "mine\n").unwrap();
    // The worktree moved away, a link in its place: to it, then to something else.
    let place = room.worktree("a");
    let moved = room.path("moved");
    fs::rename(&place, &moved).unwrap();
    symlink(&moved, &place).unwrap();
    let said = cleanup(&room);
    assert!(
        kept(&said, "a").unwrap().contains("symbolic link"),
        "{said}"
    );
    assert_eq!(kept(&said, "b"), None);
    assert_eq!(fs::read_to_string(moved.join("a")).unwrap(), "1\n");
    fs::remove_file(&place).unwrap();
    symlink(&outside, &place).unwrap();
    let said = cleanup(&room);
    assert!(
        kept(&said, "a").unwrap().contains("symbolic link"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(outside.join("precious")).unwrap(),
        "mine\n"
    );
    assert_eq!(room.task_branches(), ["task/a"]);

    // The folder of all worktrees is a link.
    fs::remove_file(&place).unwrap();
    let folder = place.parent().unwrap();
    fs::rename(folder, room.path("elsewhere")).unwrap_or_default();
    fs::create_dir_all(room.path("elsewhere")).unwrap();
    fs::rename(&moved, room.path("elsewhere").join("a")).unwrap();
    symlink(room.path("elsewhere"), folder).unwrap();
    let said = cleanup(&room);
    assert!(
        kept(&said, "a").unwrap().contains("symbolic link"),
        "{said}"
    );
    assert!(room.path("elsewhere").join("a/a").exists());
    fs::remove_file(folder).unwrap();
    fs::rename(room.path("elsewhere"), folder).unwrap();
    cleanup(&room);
    assert!(is_kept(&room, "a", "1"));
    room.assert_tidy();
}

#[test]
fn a_folder_for_worktrees_that_is_a_link_from_the_start_is_resolved_once() {
    let room = Room::new();
    fs::create_dir(room.path("big-disk")).unwrap();
    symlink(room.path("big-disk"), room.path("trees")).unwrap();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "1\n"), "b": writes("b", "1\n")}));
    let dir = room.path("trees/of this").display().to_string();
    room.run(&["--worktree-dir", &dir, "--no-merge"]).expect(0);
    assert!(room.path("big-disk/of this/a/a").exists());
    cleanup(&room);
    assert!(room.path("big-disk").exists() && !room.path("big-disk/of this").exists());
    room.assert_tidy();
}

#[test]
fn work_on_no_branch_is_kept_and_stashes_stay() {
    let room = unmerged();
    let a = room.worktree("a");
    room.git_in(&a, &["switch", "--quiet", "--detach"]);
    fs::write(a.join("detached"), "1\n").unwrap();
    room.git_in(&a, &["add", "detached"]);
    room.git_in(&a, &["commit", "--quiet", "-m", "On no branch"]);
    fs::write(a.join("draft"), "1\n").unwrap();
    fs::write(a.join("ignored"), "secret\n").unwrap();
    let b = room.worktree("b");
    fs::write(b.join("b"), "stashed\n").unwrap();
    room.git_in(&b, &["stash"]);
    let stash = room.git(&["stash", "list"]);
    let said = room.orchestra(&["cleanup", "all", "--dry-run"]).expect(0);
    assert!(said.out.contains("git ignores it: ignored"), "{}", said.out);
    assert!(said.out.contains("2 worktrees, 2 branches"), "{}", said.out);
    let said = cleanup(&room);
    assert_eq!(said["items"][0]["ignored"], json!(["ignored"]), "{said}");
    assert_eq!(said["totals"]["worktrees"], 2);
    assert!(is_kept(&room, "detached", "1") && is_kept(&room, "draft", "1"));
    assert!(is_kept(&room, "a", "1") && is_kept(&room, "b", "1"));
    assert!(!is_kept(&room, "ignored", "secret"));
    assert_eq!(room.git(&["stash", "list"]), stash);
    room.assert_tidy();
}

#[test]
fn commits_of_a_submodule_that_are_nowhere_else_keep_its_worktree() {
    let mut room = Room::new();
    for (n, (key, value)) in [
        ("protocol.file.allow", "always"),
        ("user.name", "Test"),
        ("user.email", "test@example.invalid"),
    ]
    .into_iter()
    .enumerate()
    {
        room.set(&format!("GIT_CONFIG_KEY_{n}"), key);
        room.set(&format!("GIT_CONFIG_VALUE_{n}"), value);
    }
    room.set("GIT_CONFIG_COUNT", "3");
    let library = room.path("library");
    fs::create_dir(&library).unwrap();
    room.git_in(&library, &["init", "--quiet", "-b", "main"]);
    fs::write(library.join("code"), "1\n").unwrap();
    room.git_in(&library, &["add", "-A"]);
    room.git_in(&library, &["commit", "--quiet", "-m", "Library"]);
    room.git(&[
        "submodule",
        "--quiet",
        "add",
        library.to_str().unwrap(),
        "sub",
    ]);
    room.git(&["commit", "--quiet", "-m", "Use it"]);
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({
        "a": {"steps": [
            {"run": "cd sub && echo 2 > code && git commit --quiet -am Better \
                && cd .. && git add sub && git commit --quiet -m 'Use the better one'"},
        ]},
        "b": writes("b", "1\n"),
    }));
    room.run(&["--no-merge"]).expect(0);
    let inner = room.worktree("a").join("sub");
    assert_eq!(room.git_in(&inner, &["status", "--porcelain"]), "");
    let said = cleanup(&room);
    assert!(
        kept(&said, "a").unwrap().contains("submodule sub"),
        "{said}"
    );
    assert_eq!(kept(&said, "b"), None);
    assert!(inner.join("code").exists());
    // Where the main checkout has them, they are not lost.
    let own = room.repo.join("sub");
    room.git_in(&own, &["fetch", "--quiet", inner.to_str().unwrap(), "HEAD"]);
    assert_eq!(kept(&cleanup(&room), "a"), None);
    assert_eq!(room.task_branches(), Vec::<String>::new());
}

/// A repository that was added as it lay there is declared nowhere: only the commit names it.
#[test]
fn commits_of_a_repository_that_was_made_in_place_outlive_the_end_of_a_run() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let inner = "git init --quiet -b main inner && cd inner && echo 1 > code && git add -A \
                 && git -c user.name=T -c user.email=t@example.invalid commit --quiet -m Inner";
    room.script(&json!({
        "a": {"steps": [{"run": inner}, {"commit": "Take a repository in"}]},
        "b": writes("b", "1\n"),
    }));
    room.run(&[]).expect(0);
    let modes = room.git(&["ls-tree", "main", "inner"]);
    assert!(modes.starts_with("160000 "), "{modes}");
    assert!(!room.repo.join(".gitmodules").exists());
    let inner = room.worktree("a").join("inner");
    assert_eq!(fs::read_to_string(inner.join("code")).unwrap(), "1\n");
    let log = fs::read_to_string(room.only_run().log()).unwrap();
    assert!(
        log.contains("a was not tidied up: the submodule inner"),
        "{log}"
    );
    assert!(!room.worktree("b").exists());
    // The next time its own commit is no news.
    assert!(kept(&cleanup(&room), "a").unwrap().contains("inner"));
    fs::remove_dir_all(inner.join(".git")).unwrap();
    assert_eq!(kept(&cleanup(&room), "a"), None);
}

#[test]
fn a_folder_that_git_forgot_is_kept_in_a_backup_before_it_goes() {
    let room = unmerged();
    fs::write(room.worktree("a").join("draft"), "1\n").unwrap();
    fs::remove_dir_all(room.repo.join(".git/worktrees/a")).unwrap();
    // Of the other one nothing but an empty folder is left.
    fs::remove_dir_all(room.worktree("b")).unwrap();
    room.git(&["worktree", "prune"]);
    fs::create_dir(room.worktree("b")).unwrap();
    // And the scratch worktree was never finished.
    let run = room.only_run();
    let scratch = room.worktree(&format!("_verify-{}", run.id()));
    fs::create_dir(&scratch).unwrap();
    fs::write(scratch.join(".git"), "gitdir: /nowhere\n").unwrap();
    cleanup(&room);
    assert!(is_kept(&room, "draft", "1") && is_kept(&room, "a", "1") && is_kept(&room, "b", "1"));
    room.assert_tidy();

    // A repository of its own is somebody's.
    let room = unmerged();
    room.git(&["worktree", "remove", room.worktree("a").to_str().unwrap()]);
    fs::create_dir(room.worktree("a")).unwrap();
    room.git_in(&room.worktree("a"), &["init", "--quiet"]);
    let said = cleanup(&room);
    assert!(
        kept(&said, "a").unwrap().contains("repository of its own"),
        "{said}"
    );
    assert!(room.worktree("a").join(".git").exists());
}

#[test]
fn what_no_journal_names_is_listed_and_left() {
    let room = unmerged();
    let first = room.only_run();
    cleanup(&room);
    room.assert_tidy();
    // The names are free again: what is there under them now is a person's.
    let place = room.worktree("a");
    let path = place.to_str().unwrap();
    room.git(&["worktree", "add", "--quiet", "-b", "task/a", path]);
    room.git(&["branch", "task/mine"]);
    room.git(&["branch", "orchestra/mine"]);
    let lost = room.worktree("lost");
    fs::create_dir(&lost).unwrap();
    fs::write(
        lost.join(".git"),
        format!(
            "gitdir: {}\n",
            room.repo.join(".git/worktrees/lost").display()
        ),
    )
    .unwrap();
    fs::create_dir(room.worktree("something else")).unwrap();
    let said = cleanup(&room);
    assert_eq!(said["items"], json!([]), "{said}");
    assert_eq!(
        not_ours(&said),
        [
            path,
            lost.to_str().unwrap(),
            "task/a",
            "task/mine",
            "orchestra/mine"
        ]
    );
    let said = room.orchestra(&["cleanup", "all"]).expect(0);
    assert!(
        said.out.contains(&format!("git worktree remove {path}")),
        "{}",
        said.out
    );
    assert!(place.join("README.md").exists() && lost.exists());
    assert_eq!(room.task_branches(), ["task/a", "task/mine"]);
    room.git(&["worktree", "remove", path]);
    room.git(&["branch", "-D", "--quiet", "task/a", "task/mine"]);

    // Of a run whose folder is gone only the claims are ours for sure.
    room.run(&["--no-merge"]).expect(0);
    let second = room
        .runs()
        .into_iter()
        .find(|r| r.id() != first.id())
        .unwrap();
    fs::write(place.join("draft"), "1\n").unwrap();
    fs::remove_dir_all(second.dir()).unwrap();
    let said = room
        .orchestra(&["cleanup", "all", "--dry-run", "--json"])
        .expect(0)
        .json();
    assert_eq!(said["claims"].as_array().unwrap().len(), 2, "{said}");
    let said = cleanup(&room);
    assert_eq!(said["claims"].as_array().unwrap().len(), 2, "{said}");
    assert!(not_ours(&said).contains(&path), "{said}");
    assert!(not_ours(&said).contains(&"task/b"), "{said}");
    assert!(place.join("draft").exists());
    assert_eq!(cleanup(&room)["claims"], json!([]));
}

#[test]
fn one_run_that_cannot_be_read_holds_no_other_up() {
    let room = unmerged();
    let broken = room.path("repo/.claude/orchestration/20260101-000000-000001");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("settings.json"), "rubbish").unwrap();
    let said = room
        .orchestra(&["cleanup", "all", "--json"])
        .expect(7)
        .json();
    assert_eq!(said["items"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(said["unreadable"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(room.worktrees(), std::slice::from_ref(&room.repo));
}

#[test]
fn a_lock_that_a_killed_git_left_is_told() {
    let room = Room::new();
    let lock = room.repo.join(".git/packed-refs.lock");
    let file = fs::File::create(&lock).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(7200))
        .unwrap();
    let said = room.orchestra(&["doctor", "--json"]).json();
    let checks = said["checks"].as_array().unwrap();
    let told = checks.iter().find(|c| c["name"] == "git lock").unwrap();
    assert!(
        told["what"]
            .as_str()
            .unwrap()
            .contains("packed-refs.lock has been there for 2h"),
        "{told}"
    );
    assert!(lock.exists());
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(done.success());
}

#[test]
fn killed_at_any_moment_tidying_up_loses_nothing() {
    let mut room = unmerged();
    let a = room.worktree("a");
    fs::write(a.join("draft"), "1\n").unwrap();
    room.git_in(&room.worktree("b"), &["switch", "--quiet", "--detach"]);
    fs::write(room.worktree("b").join("b"), "changed\n").unwrap();
    let folder = a.parent().unwrap().to_owned();
    let saved = room.path("saved");
    fs::create_dir(&saved).unwrap();
    copy(&room.repo, &saved.join("repo"));
    copy(&folder, &saved.join("trees"));
    let git = KillingGit::install(&mut room);
    for after in [false, true] {
        for call in 1.. {
            git.arm(after, call);
            let code = room.orchestra(&["cleanup", "all"]).code;
            let reached = git.disarm();
            assert!(reached || code == 0, "call {call}");
            // A git that it had started goes on without it.
            room.assert_quiet();
            let said = room
                .orchestra(&["cleanup", "all", "--json"])
                .expect(0)
                .json();
            assert_eq!(said["notOurs"], json!([]), "call {call}: {said}");
            for (path, text) in [("a", "1"), ("draft", "1"), ("b", "1"), ("b", "changed")] {
                assert!(is_kept(&room, path, text), "call {call}: {path} {text}");
            }
            room.assert_tidy();
            let said = room.orchestra(&["cleanup", "all"]).expect(0);
            assert!(said.out.contains("nothing"), "{}", said.out);
            fs::remove_dir_all(&room.repo).unwrap();
            copy(&saved.join("repo"), &room.repo);
            copy(&saved.join("trees"), &folder);
            if !reached {
                assert!(call > 8, "only {call} calls");
                break;
            }
        }
    }
}
