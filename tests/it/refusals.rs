//! Plans and repositories that cannot be used: said clearly, before anything is made. And
//! unusual ones that can.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::harness::{Ended, Room, writes};

/// All that a refused command could have changed.
#[derive(Debug, PartialEq, Eq)]
struct Frozen {
    refs: Option<String>,
    worktrees: Option<String>,
    exclude: Option<Vec<u8>>,
    status: Option<String>,
    claude: bool,
    folder: bool,
    entries: Vec<String>,
}

fn freeze(room: &Room) -> Frozen {
    let mut entries: Vec<String> = fs::read_dir(&room.repo)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    entries.sort();
    let exclude = room.repo.join(".git/info/exclude");
    Frozen {
        refs: room.try_git(&["for-each-ref"]).ok(),
        worktrees: room.try_git(&["worktree", "list"]).ok(),
        exclude: fs::read(exclude).ok(),
        status: room.try_git(&["status", "--porcelain", "-uall"]).ok(),
        claude: room.repo.join(".claude/orchestration").exists(),
        folder: room.worktree("x").parent().unwrap().exists(),
        entries,
    }
}

/// Fails the test unless a run is refused with this code and nothing is made. Returns what
/// was said.
#[track_caller]
fn refused(room: &Room, code: i32, more: &[&str]) -> String {
    let before = freeze(room);
    let ended = room.run(more).expect(code);
    assert_eq!(freeze(room), before);
    sane(&ended);
    room.assert_quiet();
    ended.err
}

/// What is said is short, names no inner matters and holds nothing that a terminal obeys.
#[track_caller]
fn sane(ended: &Ended) {
    let err = &ended.err;
    assert!(err.starts_with("error: "), "{err}");
    assert!(!err.contains("panicked"), "{err}");
    assert!(err.len() < 16_000, "{} bytes", err.len());
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!err.contains(control), "{err:?}");
}

#[test]
fn hostile_plans_are_refused_and_nothing_is_made() {
    let room = Room::new();
    let long = "x".repeat(300);
    let named = |names: &[&str]| {
        let tasks: Vec<_> = names.iter().map(|n| json!({ "name": n })).collect();
        json!({ "tasks": tasks }).to_string().into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("parent", named(&["../x", "b"])),
        ("option", named(&["-rf", "b"])),
        ("git", named(&[".git", "b"])),
        ("slash", named(&["a/b", "b"])),
        ("empty name", named(&["", "b"])),
        ("long", named(&[&long, "b"])),
        ("control", named(&["a\u{7}\u{1b}[2Jb", "b"])),
        ("invisible", named(&["a\u{202e}b", "b"])),
        ("lock", named(&["a.lock", "b"])),
        ("dots", named(&["a..b", "b"])),
        ("one of two", named(&["User-Auth", "user-auth"])),
        (
            "cycle",
            json!({"tasks": [{"name": "a", "dependencies": ["b"]},
            {"name": "b", "dependencies": ["a"]}]})
            .to_string()
            .into_bytes(),
        ),
        (
            "itself",
            json!({"tasks": [{"name": "a", "dependencies": ["a"]}]})
                .to_string()
                .into_bytes(),
        ),
        (
            "dangling",
            json!({"tasks": [{"name": "a", "dependencies": ["c"]}]})
                .to_string()
                .into_bytes(),
        ),
        (
            "unknown field",
            json!({"tasks": [{"name": "a", "prio": 1}]})
                .to_string()
                .into_bytes(),
        ),
        ("no tasks", b"{\"tasks\":[]}".to_vec()),
        ("null", b"null".to_vec()),
        ("number", b"{\"tasks\":[7]}".to_vec()),
        ("nothing", Vec::new()),
        ("no JSON", b"tasks: [a, b]\n".to_vec()),
        (
            "no UTF-8",
            b"{\"tasks\":[{\"name\":\"\xff\xfe\"}]}".to_vec(),
        ),
        ("deep", vec![b'['; 200_000]),
        (
            "10 MB of names",
            named(
                &["a/", "b"]
                    .map(|n| n.repeat(2_500_000))
                    .each_ref()
                    .map(String::as_str),
            ),
        ),
        ("10 MB of nothing", vec![b' '; 10_000_000]),
    ];
    for (what, bytes) in cases {
        fs::write(room.path("plan.json"), bytes).unwrap();
        eprintln!("{what}");
        refused(&room, 3, &[]);
    }
}

#[test]
fn all_faults_of_a_plan_are_told_at_once() {
    let room = Room::new();
    room.plan_of(&json!({"tasks": [
        {"name": "../x"},
        {"name": "api", "dependencies": ["database"], "descripton": "x"},
        {"name": "one", "dependencies": ["two"]},
        {"name": "two", "dependencies": ["one"]},
        {"name": "API"},
        {"name": "late", "timeout_seconds": -3},
    ]}));
    let said = refused(&room, 3, &[]);
    for part in [
        "../x",
        "database",
        "descripton",
        "description",
        "one",
        "two",
        "API",
        "timeout_seconds",
    ] {
        assert!(said.contains(part), "{part} is not named in\n{said}");
    }
}

#[test]
fn places_without_a_usable_repository_are_refused() {
    let room = Room::bare_room("plain");
    fs::create_dir(&room.repo).unwrap();
    room.plan(&[("a", &[]), ("b", &[])]);
    let said = refused(&room, 4, &[]);
    assert!(said.contains("--repo"), "{said}");

    room.git(&["init", "--quiet", "--bare"]);
    let said = refused(&room, 4, &[]);
    assert!(said.contains("bare"), "{said}");

    let empty = Room::bare_room("empty");
    fs::create_dir(&empty.repo).unwrap();
    empty.git(&["init", "--quiet", "-b", "main"]);
    empty.plan(&[("a", &[]), ("b", &[])]);
    let said = refused(&empty, 4, &[]);
    assert!(said.contains("no commit"), "{said}");
}

#[test]
fn a_repository_that_is_in_the_way_of_itself_is_refused() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let said = refused(&room, 4, &["--base-branch", "nowhere"]);
    assert!(said.contains("nowhere"), "{said}");
    refused(&room, 2, &["--base-branch", "-x..y"]);
    let said = refused(&room, 4, &["--worktree-dir", "inside"]);
    assert!(said.contains("--worktree-dir"), "{said}");
    refused(&room, 4, &["--worktree-dir", ".git/trees"]);
    refused(&room, 2, &["--output", "no/such/folder/results.json"]);

    room.git(&["branch", "task"]);
    let said = refused(&room, 4, &[]);
    assert!(said.contains("`task`"), "{said}");
    room.git(&["branch", "-D", "task"]);

    // A file where the run's folder would be.
    room.write(".claude", "mine\n");
    let said = refused(&room, 4, &[]);
    assert!(said.contains(".claude"), "{said}");
    fs::remove_file(room.repo.join(".claude")).unwrap();
    room.write(".claude/orchestration", "mine\n");
    let said = refused(&room, 4, &[]);
    assert!(said.contains(".claude"), "{said}");
    assert_eq!(room.read(".claude/orchestration"), "mine\n");
}

#[test]
fn with_a_detached_head_the_branch_must_be_said() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let base = room.git(&["rev-parse", "HEAD"]);
    room.git(&["checkout", "--quiet", "--detach"]);
    let said = refused(&room, 4, &[]);
    assert!(said.contains("--base-branch"), "{said}");
    room.run(&["--base-branch", "main"]).expect(0);
    assert_eq!(room.git(&["rev-parse", "HEAD"]), base);
    let files = room.git(&["ls-tree", "--name-only", "main"]);
    assert!(files.contains("a.md") && files.contains("b.md"), "{files}");
    assert!(!room.repo.join("a.md").exists());
    room.assert_tidy();
}

#[test]
fn uncommitted_work_is_never_touched() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    room.script(&json!({"a": writes("a", "from a\n"), "b": writes("b", "from b\n")}));
    room.commit("staged", "old\n");
    room.write("README.md", "changed by a person\n");
    room.write("new", "new of a person\n");
    room.write("staged", "staged by a person\n");
    room.git(&["add", "staged"]);
    let before = room.git(&["status", "--porcelain"]);
    let ended = room.run(&[]).expect(0);
    assert!(ended.err.contains("uncommitted"), "{}", ended.err);
    assert_eq!(room.git(&["status", "--porcelain"]), before);
    assert_eq!(room.read("README.md"), "changed by a person\n");
    assert_eq!(room.read("new"), "new of a person\n");
    assert_eq!(room.git(&["show", ":staged"]), "staged by a person");
    assert_eq!(room.read("a"), "from a\n");
    assert_eq!(room.task_branches(), Vec::<String>::new());

    // Now the results and the person's work meet in one file.
    let tip = room.git(&["rev-parse", "main"]);
    room.script(&json!({
        "a": writes("README.md", "changed by a task\n"),
        "b": writes("new", "new of a task\n"),
    }));
    let ended = room.run(&[]).expect(8);
    assert!(ended.out.contains("README.md"), "{}", ended.out);
    assert_eq!(room.git(&["rev-parse", "main"]), tip);
    assert_eq!(room.git(&["status", "--porcelain"]), before);
    assert_eq!(room.read("README.md"), "changed by a person\n");
    assert_eq!(room.read("new"), "new of a person\n");
    assert_eq!(room.task_branches(), ["task/a", "task/b"]);

    // Out of the way, the same results are delivered.
    room.git(&["stash", "--quiet", "--include-untracked"]);
    room.orchestra(&["merge", "automatic"]).expect(0);
    assert_eq!(room.read("README.md"), "changed by a task\n");
    assert_eq!(room.read("new"), "new of a task\n");
    room.orchestra(&["cleanup", "success"]).expect(0);
    room.assert_tidy();
}

/// A run of two tasks, one after the other, in an unusual repository.
#[track_caller]
fn works(room: &Room, from: &Path) {
    let plan = room.plan(&[("a", &[]), ("b", &["a"])]);
    let script = room.script(&json!({
        "a": writes("a", "from a\n"),
        "b": {"steps": [
            {"require": {"path": "a", "contains": "from a"}},
            {"write": {"path": "b", "text": "from b\n"}},
            {"commit": "Add b"},
        ]},
    }));
    room.orchestra_in(
        from,
        &[
            "run",
            "--tasks",
            plan.to_str().unwrap(),
            "--agent",
            "scripted",
            "--script",
            script.to_str().unwrap(),
            "--verify",
            "test -e a",
        ],
    )
    .expect(0);
}

#[test]
fn unusual_paths_serve_as_well() {
    let room = Room::at("dépôt 'x\" $HOME 项目", &[]);
    room.write("deep/er/file", "x\n");
    room.git(&["add", "-A"]);
    room.git(&["commit", "--quiet", "-m", "Deep"]);
    works(&room, &room.repo.join("deep/er"));
    assert_eq!(room.read("b"), "from b\n");
    room.assert_tidy();
}

#[test]
fn a_run_begun_in_a_persons_worktree_delivers_to_its_branch() {
    let room = Room::new();
    let own = room.path("own tree");
    room.git(&[
        "worktree",
        "add",
        "--quiet",
        "-b",
        "topic",
        own.to_str().unwrap(),
    ]);
    let main = room.git(&["rev-parse", "main"]);
    works(&room, &own);
    assert_eq!(room.git(&["rev-parse", "main"]), main);
    assert_eq!(fs::read_to_string(own.join("b")).unwrap(), "from b\n");
    assert_eq!(room.git_in(&own, &["status", "--porcelain"]), "");
    assert!(!room.repo.join("b").exists());
    assert_eq!(room.worktrees(), [room.repo.clone(), own]);
    assert_eq!(room.task_branches(), Vec::<String>::new());
    assert_eq!(room.runs().len(), 1, "the run is in the main checkout");
    room.assert_quiet();
}

#[test]
fn reftable_and_sha256_serve_as_well() {
    for init in [["--ref-format=reftable"], ["--object-format=sha256"]] {
        let room = Room::at("repo", &init);
        works(&room, &room.repo);
        assert_eq!(room.read("b"), "from b\n", "{init:?}");
        room.assert_tidy();
    }
}

#[test]
fn submodules_serve_as_well() {
    let mut room = Room::new();
    room.set("GIT_CONFIG_COUNT", "1");
    room.set("GIT_CONFIG_KEY_0", "protocol.file.allow");
    room.set("GIT_CONFIG_VALUE_0", "always");
    let library = room.path("library");
    fs::create_dir(&library).unwrap();
    room.git_in(&library, &["init", "--quiet", "-b", "main"]);
    room.configure(&library);
    fs::write(library.join("lib"), "of the library\n").unwrap();
    room.git_in(&library, &["add", "-A"]);
    room.git_in(&library, &["commit", "--quiet", "-m", "Library"]);
    room.git(&[
        "submodule",
        "--quiet",
        "add",
        library.to_str().unwrap(),
        "lib",
    ]);
    room.git(&["commit", "--quiet", "-m", "Use the library"]);
    works(&room, &room.repo);
    assert_eq!(room.read("lib/lib"), "of the library\n");
    assert_eq!(room.read("b"), "from b\n");
    room.assert_tidy();
}
