//! The hooks as processes: what they take, what they leave, how they end.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use orchestra::store::lock;
use serde_json::{Value, json};

use super::harness::{Room, wait_for};
use super::scratch;

const START: &str = env!("CARGO_BIN_EXE_orchestration-start");
const INSTANCE: &str = env!("CARGO_BIN_EXE_instance-complete");
const INTEGRATION: &str = env!("CARGO_BIN_EXE_integration-complete");
const STATUSLINE: &str = env!("CARGO_BIN_EXE_orchestra-statusline");
const ANNOUNCE: &str = env!("CARGO_BIN_EXE_orchestra-announce");
const COMMAND: &str = env!("CARGO_BIN_EXE_orchestra-command");
const GUARD: &str = env!("CARGO_BIN_EXE_orchestra-guard");

struct World {
    _dir: tempfile::TempDir,
    root: PathBuf,
    repo: PathBuf,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(scratch::folder()).unwrap();
        let root = dir.path().canonicalize().unwrap();
        let repo = root.join("repo");
        fs::create_dir_all(repo.join("sub/deep")).unwrap();
        let world = Self {
            _dir: dir,
            root,
            repo,
        };
        world.git(&["init", "-q", "-b", "main"]);
        world.git(&["commit", "-q", "--allow-empty", "-m", "start"]);
        world
    }

    fn command(&self, program: &str, cwd: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            // No client: an analysis fails at once and says so.
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.root)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "t")
            .env("GIT_AUTHOR_EMAIL", "t@example.invalid")
            .env("GIT_COMMITTER_NAME", "t")
            .env("GIT_COMMITTER_EMAIL", "t@example.invalid")
            .current_dir(cwd);
        command
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self
            .command("git", &self.repo)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn hook_in(&self, program: &str, cwd: &Path, input: &[u8]) -> Output {
        let mut child = self
            .command(program, cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading all of it.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    fn hook(&self, program: &str, input: &Value) -> Output {
        self.hook_in(program, &self.repo, input.to_string().as_bytes())
    }

    fn run(&self, id: &str) -> PathBuf {
        self.repo.join(".claude/orchestration").join(id)
    }

    fn log(&self, id: &str) -> String {
        fs::read_to_string(self.run(id).join("orchestration.log")).unwrap_or_default()
    }

    fn started(&self, id: &str) {
        let output = self.hook(
            START,
            &json!({"user_request": "Add x", "orchestration_id": id}),
        );
        assert!(output.status.success(), "{output:?}");
    }
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Ends with 1 and one line, and nothing else.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

fn silent(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn start_makes_workspace_and_log_and_git_sees_nothing() {
    let world = World::new();
    let request = "Add \"x\"; $(touch evil)\n`y` – ünï 🎼";
    let input = json!({"user_request": request, "orchestration_id": "orch-1"}).to_string();
    let output = world.hook_in(START, &world.repo.join("sub/deep"), input.as_bytes());
    let said = answer(&output);
    assert_eq!(said["orchestration_id"], "orch-1");
    let run = world.run("orch-1");
    assert_eq!(said["workspace"], json!(run));
    assert_eq!(
        fs::read_to_string(run.join("request.txt")).unwrap(),
        request
    );
    let log = world.log("orch-1");
    for part in [
        "orchestration started",
        "request: Add",
        "id: orch-1",
        "status: ",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(world.git(&["status", "--porcelain", "-uall"]), "");
    assert!(!world.repo.join("evil").exists());
    // Once more is the same; another request under the same id is not.
    assert!(
        world
            .hook_in(START, &world.repo, input.as_bytes())
            .status
            .success()
    );
    let other = world.hook(
        START,
        &json!({"user_request": "else", "orchestration_id": "orch-1"}),
    );
    assert!(refused(&other).contains("already"));
    assert_eq!(
        fs::read_to_string(run.join("request.txt")).unwrap(),
        request
    );
}

#[test]
fn start_finds_the_main_checkout_from_a_linked_worktree() {
    let world = World::new();
    let tree = world.root.join("tree");
    world.git(&[
        "worktree",
        "add",
        "-q",
        tree.to_str().unwrap(),
        "-b",
        "side",
    ]);
    let input = json!({"user_request": "Add x", "orchestration_id": "o"}).to_string();
    answer(&world.hook_in(START, &tree, input.as_bytes()));
    assert!(world.run("o").is_dir());
    assert!(!tree.join(".claude").exists());
}

#[test]
fn bad_input_makes_nothing() {
    let world = World::new();
    let huge = format!(
        "{{\"user_request\":\"{}\",\"orchestration_id\":\"a\"}}",
        "x".repeat(10 << 20)
    );
    let inputs: Vec<Vec<u8>> = [
        "",
        "nonsense",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        r#"{"user_request":"x"}"#,
        r#"{"orchestration_id":"x"}"#,
        r#"{"user_request":{},"orchestration_id":"x"}"#,
        r#"{"user_request":"x","orchestration_id":["x"]}"#,
        r#"{"user_request":"x","orchestration_id":"../x"}"#,
        r#"{"user_request":"x","orchestration_id":"/etc/x"}"#,
        r#"{"user_request":"x","orchestration_id":"a\u0000b"}"#,
        r#"{"user_request":"x","orchestration_id":"-rf"}"#,
        r#"{"user_request":"x","orchestration_id":".claims"}"#,
        r#"{"user_request":"x","orchestration_id":""}"#,
        r#"{"user_request":" ","orchestration_id":"x"}"#,
        &huge,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([b"\xff\xfe{".to_vec()])
    .collect();
    for input in &inputs {
        for program in [START, INSTANCE, INTEGRATION] {
            let output = world.hook_in(program, &world.repo, input);
            refused(&output);
        }
    }
    assert!(!world.repo.join(".claude").exists());
    for (program, input) in [
        (
            INSTANCE,
            json!({"orchestration_id": "none", "instance_id": "a", "worktree_path": "/x", "result": "ok"}),
        ),
        (
            INTEGRATION,
            json!({"orchestration_id": "none", "integration_result": "ok", "success": true}),
        ),
    ] {
        assert!(refused(&world.hook(program, &input)).contains("no orchestration none"));
    }
    assert!(!world.repo.join(".claude").exists());
    // Where there is no repository there is nothing either.
    let input = json!({"user_request": "x", "orchestration_id": "x"}).to_string();
    let plain = world.root.join("plain");
    fs::create_dir(&plain).unwrap();
    let output = world.hook_in(START, &plain, input.as_bytes());
    assert!(refused(&output).contains("not inside a git repository"));
    assert!(!plain.join(".claude").exists());
}

#[test]
fn events_of_ordinary_sessions_are_passed_over() {
    let world = World::new();
    for event in [
        json!({"hook_event_name": "Stop", "session_id": "s", "stop_hook_active": false}),
        json!({"hook_event_name": "SessionStart", "source": "startup"}),
        json!({"hook_event_name": "UserPromptExpansion", "command_name": "review", "command_args": "x"}),
        json!({"hook_event_name": "UserPromptExpansion", "command_name": "else:parallel-dev", "command_args": "x"}),
        json!({"hook_event_name": "Brand/New", "cwd": 7}),
        json!({"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}}),
    ] {
        for program in [START, ANNOUNCE, INSTANCE, INTEGRATION, GUARD, COMMAND] {
            silent(&world.hook(program, &event));
        }
    }
    assert!(!world.repo.join(".claude").exists());
}

#[test]
fn instances_are_marked_and_the_last_one_is_noticed() {
    let world = World::new();
    world.started("o");
    let plan = json!({"tasks": [{"name": "a"}, {"name": "b"}]});
    fs::write(
        world.run("o").join("orchestration-plan.json"),
        plan.to_string(),
    )
    .unwrap();
    let done = |task: &str, result: Value| {
        world.hook(
            INSTANCE,
            &json!({"orchestration_id": "o", "instance_id": task,
            "worktree_path": world.repo, "result": result}),
        )
    };
    let stranger = done("c", json!("success"));
    assert!(refused(&stranger).contains("no task c"));
    let said = answer(&done(
        "a",
        json!({"status": "success", "summary": "all\ngood"}),
    ));
    assert_eq!(
        (&said["status"], &said["all_complete"]),
        (&json!("complete"), &json!(false))
    );
    assert!(world.run("o").join("instance-a-complete").is_file());
    let said = answer(&done("b", json!("failed: tests are red")));
    assert_eq!(said["status"], "failed");
    assert!(!world.run("o").join("instance-b-complete").exists());
    let said = answer(&done("o/b", json!("success")));
    assert_eq!(said["all_complete"], true);
    let log = world.log("o");
    assert!(log.contains("1 of 2 instances are complete"), "{log}");
    assert!(log.contains("all instances are complete"), "{log}");
}

#[test]
fn the_end_of_an_integration_is_reported() {
    let world = World::new();
    world.started("good");
    world.started("bad");
    let said = answer(&world.hook(INTEGRATION, &json!({"orchestration_id": "good",
        "integration_result": {"summary": "merged 2\n# no heading", "files_modified": ["src/a.rs"], "next_steps": ["push"]},
        "success": true})));
    assert_eq!(said["status"], "success");
    let report = fs::read_to_string(world.run("good").join("ORCHESTRATION_SUCCESS.md")).unwrap();
    for part in [
        "`good`",
        "Time: 2",
        "success",
        "> merged 2",
        "> # no heading",
        "- `src/a.rs`",
        "## Next steps",
        "- push",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let said = answer(&world.hook(
        INTEGRATION,
        &json!({"orchestration_id": "bad",
        "integration_result": "conflict in src/a.rs", "success": false}),
    ));
    assert_eq!(said["status"], "failure");
    let report = fs::read_to_string(world.run("bad").join("ORCHESTRATION_FAILURE.md")).unwrap();
    for part in [
        "`bad`",
        "conflict in src/a.rs",
        "## Issues",
        "## Debugging steps",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!world.run("bad").join("ORCHESTRATION_SUCCESS.md").exists());
}

#[test]
fn the_guard_answers_in_an_instance_and_fails_closed() {
    let world = World::new();
    let guard = |arguments: &[&str], input: &str| {
        let mut child = world
            .command(GUARD, &world.repo)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    let tree = world.root.join("trees/a");
    fs::create_dir_all(&tree).unwrap();
    let (tree, main) = (tree.to_str().unwrap(), world.repo.to_str().unwrap());
    let places = ["--worktree", tree, "--main", main];
    let write = |path: &str| {
        json!({"hook_event_name": "PreToolUse", "cwd": tree, "tool_name": "Write",
            "tool_input": {"file_path": path, "content": "x".repeat(5 << 20)}})
        .to_string()
    };
    silent(&guard(&places, &write("x.txt")));
    for input in [
        write(&format!("{main}/x.txt")),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let said = answer(&guard(&places, &input));
        assert_eq!(said["hookSpecificOutput"]["permissionDecision"], "deny");
    }
    refused(&guard(&["--worktree", tree], &write("x")));
    refused(&guard(&["--what"], &write("x")));
}

/// A hook on every tool call costs no more than a small program does.
#[test]
fn hooks_come_up_quickly() {
    let world = World::new();
    let event = json!({"hook_event_name": "PreToolUse", "tool_name": "Bash",
        "tool_input": {"command": "ls"}, "cwd": world.repo});
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let begun = Instant::now();
        silent(&world.hook(GUARD, &event));
        best = best.min(begun.elapsed());
    }
    assert!(best < Duration::from_millis(100), "{best:?}");
}

/// A session that begins takes up a run whose conductor is gone; while it runs, the status
/// line shows it.
#[test]
fn a_session_takes_up_an_orphaned_run() {
    let room = Room::new();
    room.plan(&[("left", &[]), ("right", &[])]);
    let waits = |name: &str| {
        let wait = "for n in $(seq 1200); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done";
        json!({"steps": [
            {"run": wait},
            {"write": {"path": format!("{name}.txt"), "text": name}},
            {"commit": "Work"},
        ]})
    };
    room.script(&json!({"left": waits("left"), "right": waits("right")}));
    let hook = |program: &str, input: &Value| {
        let surroundings = room.command(&[]);
        let mut child = Command::new(program)
            .current_dir(&room.repo)
            .env_clear()
            .envs(surroundings.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child
            .stdin
            .take()
            .unwrap()
            .write_all(input.to_string().as_bytes());
        child.wait_with_output().unwrap()
    };
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    room.wait_until_running(&run, "right");
    let event = json!({"hook_event_name": "SessionStart", "source": "startup", "cwd": room.repo});
    silent(&hook(ANNOUNCE, &event));
    let line = hook(
        STATUSLINE,
        &json!({"workspace": {"current_dir": room.repo}}),
    );
    let text = String::from_utf8(line.stdout).unwrap();
    assert!(text.contains("0/2") && text.contains("right"), "{text}");
    assert_eq!(text.lines().count(), 1);

    room.kill_conductor();
    // A killed process lets go of its lock a little after it is no longer to be seen.
    wait_for("the conductor's end", || {
        (!lock::may_be_held(&run.conductor_lock())).then_some(())
    });
    let said = answer(&hook(ANNOUNCE, &event));
    assert!(
        said["systemMessage"]
            .as_str()
            .unwrap()
            .contains("goes on now"),
        "{said}"
    );
    fs::write(room.path("go"), "").unwrap();
    room.wait_until_closed(&run);
    room.assert_tidy();
    silent(&hook(ANNOUNCE, &event));
}
