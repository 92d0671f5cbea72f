//! Each leftover made for real: found, explained, mended, and nothing else touched.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use orchestra::store::layout::RunDir;
use orchestra::store::lock::{self, Lock};
use serde_json::{Value, json};

use super::harness::{Room, wait_for, writes};

/// A room in which nothing is wrong: the doctor has no warning.
fn healthy() -> Room {
    let room = Room::new();
    room.commit(
        ".claude/orchestra.toml",
        "agent = \"scripted\"\nverify = \"true\"\n",
    );
    room
}

/// Two finished tasks with all their worktrees, branches and claims.
fn unmerged(room: &Room) -> RunDir {
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "1\n"), "b": writes("b", "1\n")}));
    room.run(&["--no-merge"]).expect(0);
    let run = room.only_run();
    room.assert_quiet();
    run
}

/// All that is not good.
fn warnings(room: &Room, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["doctor", "--json"];
    all.extend(args);
    let said = room.orchestra(&all).json();
    let mut checks = said["checks"].as_array().unwrap().clone();
    checks.retain(|c| c["state"] != "good" || !c["mended"].is_null());
    checks
}

/// Files (and what is in small ones), refs, and the processes that run.
fn picture(room: &Room) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let folder = room.worktree("x").parent().unwrap().to_owned();
    look(&room.repo, &mut seen);
    look(&folder, &mut seen);
    for line in room.git(&["for-each-ref"]).lines() {
        let (what, name) = line.split_once('\t').unwrap();
        if !name.starts_with("refs/orchestra/backup/") {
            seen.insert(name.to_owned(), what.to_owned());
        }
    }
    seen
}

fn look(folder: &Path, seen: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.display().to_string();
        // What git keeps beside refs: objects, logs and caches come and go with any command.
        let volatile = [
            "/.git/objects",
            "/.git/logs",
            "/.git/refs",
            "/.git/orchestra.lock",
        ];
        if volatile.iter().any(|end| name.contains(end)) || name.ends_with("/index") {
            continue;
        }
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            seen.insert(name, format!("{:o}", about.permissions().mode()));
            look(&path, seen);
        } else {
            let text = fs::read(&path).unwrap_or_default();
            seen.insert(name, String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// Fails the test with the differences alone.
#[track_caller]
fn assert_same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, what: &str) {
    let lacks = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| -> Vec<String> {
        let differs = a.iter().filter(|(path, text)| b.get(*path) != Some(*text));
        differs
            .map(|(path, text)| format!("{path}: {text}"))
            .collect()
    };
    let (more, less) = (lacks(one, other), lacks(other, one));
    assert!(
        more.is_empty() && less.is_empty(),
        "{what}: {more:#?} instead of {less:#?}"
    );
}

fn make_old(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(then).unwrap();
}

fn old_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    make_old(path, 7200);
}

/// Makes one leftover in a room; returns a part of what is told about it.
type Make = fn(&Room, &RunDir) -> String;

/// Leftovers without which the room is as before: their kind, and how they come to be.
const GO: [(&str, Make); 12] = [
    ("git lock", |room, _| {
        old_file(&room.repo.join(".git/packed-refs.lock"), "");
        "packed-refs.lock has been there for 2h".into()
    }),
    ("git lock", |room, _| {
        old_file(&room.repo.join(".git/worktrees/a/HEAD.lock"), "");
        "worktrees/a/HEAD.lock".into()
    }),
    ("half written", |_, run| {
        old_file(&run.dir().join(".tmp-Ab12"), "{\"half");
        ".tmp-Ab12".into()
    }),
    ("half written", |_, run| {
        old_file(&run.inbox().join(".tmp-Cd34"), "");
        ".tmp-Cd34".into()
    }),
    ("permissions", |_, run| {
        fs::set_permissions(run.dir(), Permissions::from_mode(0o705)).unwrap();
        "has mode 705".into()
    }),
    ("environment", |_, run| {
        fs::write(run.environment(), "{\"schemaVersion\":1,\"variables\":{}}").unwrap();
        "environment.json".into()
    }),
    ("half made", |_, run| {
        let folder = run.dir().with_file_name("20260101-000000-000001");
        fs::create_dir_all(folder.join("inbox")).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        make_old(&folder, 7200);
        "20260101-000000-000001".into()
    }),
    ("claims", |_, run| {
        claim(run, "20260101-000000-000002", "gone", "gone");
        "names gone".into()
    }),
    ("worktrees", |room, _| {
        // A run whose folder is gone, and with it all claims: its worktree holds our settings.
        add_worktree(room, "lost", "task/lost");
        let text = fs::read_to_string(room.worktree("a").join(".claude/settings.local.json"));
        let settings = room.worktree("lost").join(".claude/settings.local.json");
        fs::create_dir_all(settings.parent().unwrap()).unwrap();
        fs::write(settings, text.unwrap()).unwrap();
        fs::write(room.worktree("lost").join("draft"), "precious\n").unwrap();
        "lost: a worktree that no journal names".into()
    }),
    ("worktrees", |room, run| {
        claim(run, "20260101-000000-000003", "claimed", "claimed");
        add_worktree(room, "claimed", "task/claimed");
        fs::write(room.worktree("claimed").join("draft"), "precious\n").unwrap();
        fs::write(room.worktree("claimed").join(".gitignore"), "built\n").unwrap();
        fs::write(room.worktree("claimed").join("built"), "made of it\n").unwrap();
        "claimed: a worktree that no journal names".into()
    }),
    ("worktrees", |room, _| {
        // Git forgot it; its files are there.
        add_worktree(room, "loose", "task/loose");
        fs::write(room.worktree("loose").join("draft"), "precious\n").unwrap();
        room.git(&["branch", "-m", "task/loose", "elsewhere"]);
        room.git_in(&room.worktree("loose"), &["switch", "--quiet", "--detach"]);
        room.git(&["branch", "-D", "--quiet", "elsewhere"]);
        fs::remove_dir_all(room.repo.join(".git/worktrees/loose")).unwrap();
        "loose: what is left of a worktree".into()
    }),
    ("worktrees", |room, _| {
        add_worktree(room, "prunable", "task/prunable");
        room.git_in(
            &room.worktree("prunable"),
            &["switch", "--quiet", "--detach"],
        );
        room.git(&["branch", "-D", "--quiet", "task/prunable"]);
        fs::remove_dir_all(room.worktree("prunable")).unwrap();
        "prunable: git's record of a worktree that is gone".into()
    }),
];

fn add_worktree(room: &Room, name: &str, branch: &str) {
    let path = room.worktree(name).display().to_string();
    room.git(&["worktree", "add", "--quiet", "-b", branch, &path]);
}

fn claim(run: &RunDir, id: &str, task: &str, name: &str) {
    let folder = run.dir().parent().unwrap().join(".claims");
    let text = json!({
        "schemaVersion": 1, "orchestrationId": id, "task": task, "name": name,
    });
    fs::write(folder.join(format!("{name}.json")), text.to_string()).unwrap();
}

fn is_kept(room: &Room, path: &str, text: &str) -> bool {
    room.backups().iter().any(|name| {
        room.try_git(&["show", &format!("{name}:{path}")])
            .is_ok_and(|there| there == text)
    })
}

#[test]
fn each_leftover_is_found_explained_mended_and_nothing_else_is_touched() {
    let room = healthy();
    let run = unmerged(&room);
    // The run's own worktrees wait for a person: they are told, and stay.
    let before = warnings(&room, &[]);
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(before[0]["name"], "leftovers");
    assert_eq!(before[0]["mendable"], false);
    assert_eq!(warnings(&room, &["--fix"]), before, "nothing to mend");
    for (name, make) in GO {
        let clean = picture(&room);
        let told = make(&room, &run);
        let dirty = picture(&room);
        assert!(clean != dirty, "{told}");

        let found = warnings(&room, &[]);
        let new: Vec<&Value> = found.iter().filter(|c| !before.contains(c)).collect();
        let main = new
            .iter()
            .find(|c| c["name"] == name && c["what"].as_str().unwrap().contains(&told));
        let main = main.unwrap_or_else(|| panic!("{told}: {new:#?}"));
        assert!(main["why"].as_str().is_some_and(|w| w.len() > 10), "{main}");
        assert!(
            main["remedy"].as_str().is_some_and(|r| r.len() > 5),
            "{main}"
        );
        assert!(new.iter().all(|c| c["mendable"] == true), "{new:#?}");
        assert_same(&picture(&room), &dirty, "looking changes nothing");

        let mended = warnings(&room, &["--fix"]);
        for check in mended.iter().filter(|c| !before.contains(c)) {
            let done = check["mended"].as_str().expect("what was done");
            let ignored = done.contains("ignored files went with it: built");
            assert_eq!(ignored, done.contains("/claimed;"), "{done}");
        }
        assert_same(&picture(&room), &clean, &told);
        assert_eq!(warnings(&room, &["--fix"]), before, "{told}");
        if dirty.keys().any(|path| path.ends_with("/draft")) {
            assert!(is_kept(&room, "draft", "precious"), "{told}");
            for backup in room.backups() {
                room.git(&["update-ref", "-d", &backup]);
            }
        }
    }
}

#[test]
fn what_may_be_a_persons_is_told_and_left() {
    let room = healthy();
    let run = unmerged(&room);
    let before = warnings(&room, &[]);
    // Under our names, and without any sign that we made it.
    add_worktree(&room, "mine", "task/mine");
    room.git(&["branch", "task/other"]);
    room.git(&["branch", "orchestra/mine"]);
    // Of a run that was tidied up the names are free.
    let aside = run.dir().join("journal.jsonl.unreadable-1");
    fs::write(&aside, "{\"v\":1,").unwrap();
    // A git is at work.
    let lock = room.repo.join(".git/config.lock");
    old_file(&lock, "");
    let mut git = Command::new("git")
        .args(["cat-file", "--batch"])
        .current_dir(&room.repo)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Somebody plans something just now.
    let request = run.dir().with_file_name("20260101-000000-000009");
    fs::create_dir(&request).unwrap();
    fs::set_permissions(&request, Permissions::from_mode(0o700)).unwrap();
    fs::write(request.join("request.txt"), "Do it").unwrap();
    make_old(&request, 7200);
    let there = picture(&room);
    for args in [&[][..], &["--fix"]] {
        let found = warnings(&room, args);
        let told: Vec<String> = found
            .iter()
            .filter(|c| !before.contains(c))
            .map(|c| format!("{} {}", c["name"].as_str().unwrap(), c["what"]))
            .collect();
        for part in [
            "mine: a worktree that no journal names",
            "branch \"task/other",
            "orchestra/mine",
            "set aside",
            "a git is at work here",
            "half made",
        ] {
            assert!(told.iter().any(|t| t.contains(part)), "{part}: {told:#?}");
        }
        assert!(found.iter().all(|c| c["mendable"] == false), "{found:#?}");
        assert_same(&picture(&room), &there, "looking changes nothing");
    }
    git.kill().unwrap();
    git.wait().unwrap();
    assert!(aside.exists());
    let said = warnings(&room, &["--fix"]);
    assert!(said.iter().any(|c| c["mended"].is_string()), "{said:#?}");
    assert!(!lock.exists(), "the git that was at work is gone");
}

/// A process that carries a mark, as one that an instance left.
fn marked(room: &Room, mark: &str, main: Option<&Path>) -> Child {
    let mut command = Command::new("sleep");
    command
        .arg("600")
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("ORCHESTRA_TEST_ROOM", room.path("").display().to_string())
        .env("ORCHESTRA_MARK", mark);
    if let Some(main) = main {
        command.env("ORCHESTRA_MAIN_CHECKOUT", main);
    }
    command.spawn().unwrap()
}

#[test]
fn processes_that_nobody_owns_are_ended_and_no_others() {
    let room = healthy();
    let run = unmerged(&room);
    let settings: Value = serde_json::from_slice(&fs::read(run.settings()).unwrap()).unwrap();
    let token = settings["token"].as_str().unwrap().replace('-', "");
    let id = run.id().as_str();
    let gone = "20260101-000000-000005";
    let mut lost = [
        marked(&room, &format!("{token}/{id}/a"), None),
        marked(&room, &format!("{token}/integration/{id}"), None),
        marked(&room, &format!("t/{gone}/x"), Some(&room.repo)),
    ];
    let mut others = [
        // Another run's token under this run's id; another repository's; none.
        marked(&room, &format!("t/{id}/a"), None),
        marked(&room, &format!("t/{gone}/x"), Some(&room.path("elsewhere"))),
        marked(&room, "", None),
    ];
    // One whose supervisor lives.
    let task = orchestra::core::id::TaskName::parse("b").unwrap();
    let supervised = Lock::try_take(&run.lock(&task)).unwrap().unwrap();
    let mut owned = marked(&room, &format!("{token}/{id}/b"), None);
    let found = warnings(&room, &[]);
    let count = found.iter().filter(|c| c["name"] == "processes").count();
    assert_eq!(count, 3, "{found:#?}");
    warnings(&room, &["--fix"]);
    for child in &mut lost {
        assert!(
            wait_for("its end", || child.try_wait().unwrap())
                .code()
                .is_none()
        );
    }
    for child in others.iter_mut().chain([&mut owned]) {
        assert!(child.try_wait().unwrap().is_none());
    }
    drop(supervised);
    warnings(&room, &["--fix"]);
    wait_for("its end", || owned.try_wait().unwrap());
    for child in &mut others {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let again = warnings(&room, &["--fix"]);
    assert!(again.iter().all(|c| c["mended"].is_null()), "{again:#?}");
}

/// A run at work.
fn working(room: &Room) -> RunDir {
    room.plan(&[("a", &[]), ("b", &["a"])]);
    room.script(&json!({
        "a": {"attempts": [
            [{"write": {"path": "half", "text": "x"}}, {"sleep_ms": 600_000}],
            [{"write": {"path": "a", "text": "from a\n"}}, {"commit": "Add a"}],
        ]},
        "b": writes("b", "from b\n"),
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    wait_for("a first turn", || {
        (!room.inits(&run, "a").is_empty()).then_some(())
    });
    room.keeper();
    run
}

#[test]
fn a_live_run_is_left_alone_and_one_without_a_conductor_gets_one() {
    let room = healthy();
    let run = working(&room);
    old_file(&run.dir().join(".tmp-Ab12"), "");
    let pids = |room: &Room| -> Vec<(u32, String)> {
        let all = room.processes().into_iter();
        let mut all: Vec<_> = all
            .filter(|p| !p.is("doctor"))
            .map(|p| (p.pid, p.args[1..].join(" ")))
            .collect();
        all.sort();
        all
    };
    let before = pids(&room);
    let found = warnings(&room, &["--fix"]);
    assert_eq!(found.len(), 1, "the half written file alone: {found:#?}");
    assert_eq!(pids(&room), before);
    assert_eq!(warnings(&room, &["--fix"]), Vec::<Value>::new());

    room.kill_all();
    let found = warnings(&room, &[]);
    let names: Vec<&str> = found.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["conductor"], "{found:#?}");
    let found = warnings(&room, &["--fix"]);
    assert_eq!(found[0]["mended"], "started one");
    room.wait_until_closed(&run);
    assert_eq!(room.read("b"), "from b\n");
    room.assert_tidy();
    assert_eq!(warnings(&room, &["--fix"]), Vec::<Value>::new());
}

#[test]
fn a_run_that_nobody_touched_for_long_is_not_taken_up_unasked() {
    let room = healthy();
    let run = working(&room);
    room.kill_all();
    make_old(&run.journal(), 3 * 24 * 60 * 60);
    let found = warnings(&room, &["--fix"]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["name"], "conductor");
    assert_eq!(found[0]["mendable"], false);
    assert!(!lock::is_held(&run.conductor_lock()).unwrap());
}

#[test]
fn a_conductor_that_nobody_watches_over_gets_a_keeper() {
    let room = healthy();
    let run = unmerged(&room);
    // A conductor of a version that brought none.
    let held = Lock::try_take(&run.conductor_lock()).unwrap().unwrap();
    let found = warnings(&room, &[]);
    assert!(
        found
            .iter()
            .any(|c| c["name"] == "keeper" && c["mendable"] == true)
    );
    warnings(&room, &["--fix"]);
    room.keeper();
    assert!(!warnings(&room, &[]).iter().any(|c| c["name"] == "keeper"));
    drop(held);
    room.assert_quiet();
}

#[test]
fn what_a_killed_end_did_not_tidy_up_is_tidied_up() {
    let room = healthy();
    let run = unmerged(&room);
    room.orchestra(&["merge", "automatic"]).expect(0);
    room.assert_quiet();
    // As if the worktree of a delivered task had stayed.
    let place: PathBuf = room.worktree("a");
    if !place.exists() {
        claim(&run, run.id().as_str(), "a", "a");
        add_worktree(&room, "a", "task/a");
    }
    let found = warnings(&room, &[]);
    assert!(
        found
            .iter()
            .any(|c| c["name"] == "leftovers" && c["mendable"] == true),
        "{found:#?}"
    );
    warnings(&room, &["--fix"]);
    assert_eq!(warnings(&room, &["--fix"]), Vec::<Value>::new());
    room.assert_tidy();
}
