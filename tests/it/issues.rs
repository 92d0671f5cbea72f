//! GitHub issues and merged pull requests, with a `gh` that answers in the shapes that the
//! manual of the real one documents; and doubts, which a person is asked about.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use orchestra::core::record::Record;
use serde_json::{Value, json};

use super::harness::{PATIENCE, Room, writes};
use super::terminal::Terminal;

/// Answers with the files of the room's folder `gh`, and notes what it was asked.
const GH: &str = r#"#!/bin/sh
echo "$*" >> "$ROOM/gh.calls"
case "$1 $2" in
"issue view")
    cat "$ROOM/gh/issue-$3.json" 2>/dev/null && exit 0
    echo "GraphQL: Could not resolve to an issue or pull request with the number of $3. (repository.issue)" >&2
    exit 1 ;;
"repo view") echo '{"nameWithOwner":"octo/shop"}' ;;
"pr list")
    name=$(echo "$6" | tr / -)
    cat "$ROOM/gh/pr-$name.json" 2>/dev/null || echo '[]' ;;
*) exit 9 ;;
esac
"#;

fn room() -> Room {
    let mut room = Room::new();
    let bin = room.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(room.path("gh")).unwrap();
    fs::write(bin.join("gh"), GH).unwrap();
    fs::set_permissions(bin.join("gh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    room.set("PATH", path);
    room
}

fn issue(room: &Room, number: u64, title: &str, body: &str) {
    let text = json!({"number": number, "title": title, "body": body, "state": "OPEN",
        "url": format!("https://github.com/octo/shop/issues/{number}")});
    fs::write(
        room.path(&format!("gh/issue-{number}.json")),
        text.to_string(),
    )
    .unwrap();
}

fn pull(room: &Room, branch: &str, number: u64, head: &str) {
    let text = json!([{"number": number, "headRefOid": head, "mergedAt": "2026-11-20T10:00:00Z",
        "url": format!("https://github.com/octo/shop/pull/{number}")}]);
    let name = format!("gh/pr-{}.json", branch.replace('/', "-"));
    fs::write(room.path(&name), text.to_string()).unwrap();
}

const BODY: &str = "What we want.\n\n1. Add the schema\n2. #8 (depends on 1)\n\
                    3. [x] Old things\n4. Write docs, after #8\n\n\
                    ## Acceptance criteria\n- [ ] it is fast\n";

#[test]
fn an_issue_becomes_tasks_and_what_failed_is_tried_again() {
    let room = room();
    issue(&room, 7, "Better shop", BODY);
    issue(&room, 8, "Fix the API; $(touch evil)", "It is slow.");
    // Only a look makes nothing.
    let said = room.orchestra(&["plan", "--issue", "7", "--dry-run", "--json"]);
    let plan = said.expect(0).json();
    assert_eq!(
        plan["phases"],
        json!([
            ["add-the-schema"],
            ["fix-the-api-touch-evil"],
            ["write-docs"]
        ])
    );
    assert!(room.runs().is_empty());

    room.script(&json!({
        "add-the-schema": writes("schema", "1\n"),
        "fix-the-api-touch-evil": {"steps": [{"exit": 3}]},
        "write-docs": writes("docs", "3\n"),
    }));
    let script = room.path("script.json").display().to_string();
    let run_it = [
        "run", "--issue", "7", "--agent", "scripted", "--script", &script,
    ];
    let ended = room.orchestra(&[&run_it[..], &["--max-attempts", "1"]].concat());
    assert_eq!(ended.code, 1, "{}\n{}", ended.out, ended.err);
    let run = room.only_run();
    let branch = |task: &str| {
        room.records(&run)
            .into_iter()
            .find_map(|record| match record {
                Record::Prepared { task: name, place } if name.as_str() == task => {
                    Some(place.branch.to_string())
                }
                _ => None,
            })
    };
    assert_eq!(branch("add-the-schema").unwrap(), "task/add-the-schema");
    assert_eq!(branch("fix-the-api-touch-evil").unwrap(), "issue-8");
    let status = room.status(&run, "add-the-schema");
    assert_eq!(status["issueNumber"], 7, "{status}");
    assert_eq!(status["issueTitle"], "Better shop");
    let status = room.status(&run, "fix-the-api-touch-evil");
    assert_eq!(status["issueNumber"], 8);
    assert_eq!(status["issueTitle"], "Fix the API; $(touch evil)");
    let launch = fs::read_to_string(run.dir().join("instance-add-the-schema.launch.json")).unwrap();
    let launch: Value = serde_json::from_str(&launch).unwrap();
    let prompt = launch["prompt"].as_str().unwrap();
    for part in [
        "#7 \"Better shop\" of octo/shop",
        "What we want.",
        "it is fast",
    ] {
        assert!(prompt.contains(part), "{part}: {prompt}");
    }

    // The next try takes what failed and what waited for it.
    room.script(&json!({
        "fix-the-api-touch-evil": writes("api", "2\n"),
        "write-docs": writes("docs", "3\n"),
    }));
    let said = room
        .orchestra(&["plan", "--issue", "7", "--retry"])
        .expect(0);
    assert!(!said.out.contains("add-the-schema"), "{}", said.out);
    assert!(said.out.contains("write-docs"), "{}", said.out);
    room.orchestra(&["run", "--issue", "7", "--retry"])
        .expect(0);
    for (file, text) in [("schema", "1\n"), ("api", "2\n"), ("docs", "3\n")] {
        assert_eq!(room.read(file), text);
    }
    assert_eq!(room.runs().len(), 1);
    assert!(!room.repo.join("evil").exists());
    // GitHub was only read.
    let calls = fs::read_to_string(room.path("gh.calls")).unwrap();
    for call in calls.lines() {
        assert!(call.contains(" view "), "{call}");
    }
}

#[test]
fn what_is_wrong_with_an_issue_is_said_and_nothing_is_made() {
    let mut room = room();
    issue(
        &room,
        5,
        "Cycle",
        "1. A (depends on 2)\n2. B (depends on 1)\n",
    );
    for (number, code, words) in [
        ("99", 4, "there is no issue #99"),
        ("5", 3, "in a circle: a → b → a"),
        ("0", 2, "not the number of an issue"),
    ] {
        let said = room.orchestra(&["run", "--issue", number, "--agent", "scripted"]);
        assert_eq!(said.code, code, "{number}: {}", said.err);
        assert!(said.err.to_lowercase().contains(words), "{}", said.err);
        assert!(said.err.contains("next:"), "{}", said.err);
    }
    let said = room
        .orchestra(&["run", "--issue", "5", "--retry"])
        .expect(2);
    assert!(said.err.contains("not worked on here yet"), "{}", said.err);
    let refuses = "#!/bin/sh\necho 'To get started with GitHub CLI, please run:  gh auth login' >&2\nexit 4\n";
    fs::write(room.path("bin/gh"), refuses).unwrap();
    let said = room.orchestra(&["plan", "--issue", "5"]).expect(4);
    assert!(said.err.contains("gh auth login"), "{}", said.err);
    // A PATH with git, and without gh.
    fs::create_dir(room.path("few")).unwrap();
    let git = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("git"))
        .find(|path| path.is_file())
        .unwrap();
    std::os::unix::fs::symlink(git, room.path("few/git")).unwrap();
    let few = room.path("few").display().to_string();
    room.set("PATH", few);
    let said = room.orchestra(&["plan", "--issue", "5"]).expect(4);
    assert!(said.err.contains("cli.github.com"), "{}", said.err);
    assert!(!room.repo.join(".claude").exists());
}

#[test]
fn prune_takes_what_a_merged_pull_request_holds_and_nothing_else() {
    let room = room();
    room.plan(&[("merged", &[]), ("more", &[]), ("open", &[])]);
    room.script(
        &json!({"merged": writes("a", "a\n"), "more": writes("b", "b\n"),
        "open": writes("c", "c\n")}),
    );
    room.run(&["--no-merge"]).expect(0);
    let tip = |branch: &str| room.git(&["rev-parse", branch]);
    pull(&room, "task/merged", 1, &tip("task/merged"));
    pull(&room, "task/more", 2, &tip("task/more~1"));
    let before = room.worktrees();
    let said = room.orchestra(&["prune", "--dry-run"]).expect(0);
    assert!(said.out.contains("would go"), "{}", said.out);
    assert_eq!(room.worktrees(), before);
    let said = room.orchestra(&["prune", "--json"]).expect(0).json();
    let kept: Vec<(&str, Option<&str>)> = said["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["task"].as_str().unwrap(), item["kept"].as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            ("merged", None),
            (
                "more",
                Some(
                    "its pull request #2 is merged, but its branch has commits that were not in it"
                )
            ),
            ("open", Some("no pull request from its branch is merged")),
        ]
    );
    assert_eq!(room.task_branches(), ["task/more", "task/open"]);
    assert_eq!(room.worktrees().len(), before.len() - 1);
    // What git cannot find in the base branch is kept all the same.
    assert_eq!(room.backups().len(), 1, "{:?}", room.backups());
    // GitHub that says nothing removes nothing.
    fs::write(room.path("bin/gh"), "#!/bin/sh\necho broken >&2\nexit 1\n").unwrap();
    let said = room.orchestra(&["prune"]).expect(4);
    assert!(said.err.contains("broken"), "{}", said.err);
    assert_eq!(room.task_branches(), ["task/more", "task/open"]);
}

#[test]
fn doubts_are_asked_where_somebody_is_and_said_where_nobody_is() {
    let mut room = Room::new();
    room.plan_of(&json!({"tasks": [{"name": "a", "files": ["src/**"]},
        {"name": "b", "files": ["src/x.rs"]}]}));
    room.script(&json!({"a": writes("a", "a\n"), "b": writes("b", "b\n")}));
    room.commit("staged", "old\n");
    room.write("staged", "new\n");
    let tasks = room.path("plan.json").display().to_string();
    let plan = room
        .orchestra(&["plan", "--tasks", &tasks, "--json"])
        .expect(0)
        .json();
    let kinds: Vec<(&str, bool)> = plan["doubts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["kind"].as_str().unwrap(), d["asks"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("overlap", true),
            ("uncommitted", true),
            ("unverified", false)
        ]
    );
    let id = plan["orchestrationId"].as_str().unwrap().to_owned();
    let started = || room.runs().iter().any(|run| run.settings().exists());

    // A person at a terminal is asked.
    let script = room.path("script.json").display().to_string();
    let run_it = [
        "run",
        "--orchestration",
        &id,
        "--agent",
        "scripted",
        "--script",
        &script,
    ];
    let patience = PATIENCE.max(Duration::from_secs(60));
    let mut screen = Terminal::start(&room.command(&run_it), 80, 40);
    screen.wait_for("question", patience, |s| s.contains("Go on? [y/N]"));
    screen.type_text("n\r");
    screen.wait_for("refusal", patience, |s| s.contains("nothing was started"));
    assert!(!started());

    // Without anybody, strictly: no.
    let said = room.orchestra(&[&run_it[..], &["--strict"]].concat());
    // The stored plan is in sequence already, so that the policy of the plan refuses nothing.
    assert_eq!(said.code, 10, "{}{}", said.out, said.err);
    // In a session with somebody in front of it: they are to be asked first.
    room.set("CLAUDECODE", "1");
    room.set("CLAUDE_CODE_SESSION_ATTENDED", "1");
    let again = format!("orchestra run --orchestration {id} --yes");
    let said = room.orchestra(&["plan", "--orchestration", &id]).expect(0);
    assert!(
        said.out.contains("Doubtful") && said.out.contains(&again),
        "{}",
        said.out
    );
    let said = room.orchestra(&run_it).expect(10);
    assert!(said.err.contains(&again), "{}", said.err);
    assert!(!room.runs().iter().any(|run| run.settings().exists()));
    // Nobody there: it goes on and says so; and so it does when they have agreed.
    room.set("CLAUDE_CODE_SESSION_ATTENDED", "0");
    let said = room.orchestra(&run_it).expect(0);
    assert!(
        said.err.contains("nobody is there to be asked"),
        "{}",
        said.err
    );
    room.set("CLAUDE_CODE_SESSION_ATTENDED", "1");
    room.script(&json!({"a": writes("a", "2\n"), "b": writes("b", "2\n")}));
    room.run(&["--yes"]).expect(0);
}
