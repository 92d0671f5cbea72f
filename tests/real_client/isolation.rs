//! The guard and the deny rules as the real client asks them: see [`crate::guard_rows`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::guard_rows::{CLASSES, ORDINARY};
use crate::run::{orchestra, stdout};
use crate::support::client::{Home, program_command};
use crate::support::model_server::{ModelServer, Reply, Script};

/// Every file below a folder with its content.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                found.push((path.clone(), fs::read(&path).expect("read")));
            }
        }
    }
    found.sort();
    found
}

struct Ground {
    home: Home,
    repository: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let home = Home::new();
        let repository = home.repository("main");
        std::os::unix::fs::symlink(&repository, repository.join("link")).expect("a link");
        std::os::unix::fs::symlink(repository.join("made"), repository.join("dangling"))
            .expect("a link");
        home.git(&repository, &["add", "-A"]);
        home.git(&repository, &["commit", "-qm", "links"]);
        fs::create_dir_all(home.beside("out")).expect("a folder");
        let plan = json!({"request": "x", "tasks": [
            {"name": "mine", "type": "feature", "description": "x", "prompt": "Do it."}]});
        fs::write(home.beside("plan.json"), plan.to_string()).expect("write the plan");
        Self { home, repository }
    }

    fn trees(&self) -> PathBuf {
        self.repository.with_file_name("main.worktrees")
    }

    fn put(&self, text: &str) -> String {
        let trees = self.trees();
        text.replace("MAIN", &self.repository.display().to_string())
            .replace("OTHER", &trees.join("other").display().to_string())
            .replace("MINE", &trees.join("mine").display().to_string())
            .replace(
                "SCRATCH",
                &trees.join(".scratch/mine").display().to_string(),
            )
            .replace("OUT", &self.home.beside("out").display().to_string())
    }

    /// Files that the lines of the table name.
    fn dressing(&self) -> String {
        self.put(
            "mkdir -p src sub && echo a > src/a.rs && echo '{}' > sub/a.json && \
             git add -A && git commit -qm a",
        )
    }

    fn run(&self, program: &str, server: &ModelServer) -> Output {
        let mut command = if program.is_empty() {
            orchestra(&self.home, server, &self.repository)
        } else {
            let mut command = program_command(program, &self.home, server);
            command.current_dir(&self.repository);
            command
        };
        command
            .env("ORCHESTRA_ALLOWED_TOOLS", "Bash,Edit,Write")
            .env("ORCHESTRA_PERMISSION_REQUESTS", "deny")
            .args(["run", "--no-merge", "--tasks"])
            .arg(self.home.beside("plan.json"))
            .output()
            .expect("run orchestra")
    }
}

/// All calls of one answer, so that one turn of the client tries them one after the other.
fn all_at_once(calls: &[String]) -> Reply {
    let mut reply = Reply::bash(&calls[0]);
    for call in &calls[1..] {
        reply = reply.and_tool("Bash", json!({"command": call, "description": "x"}));
    }
    reply
}

#[test]
fn one_attempt_of_each_kind_is_denied_by_the_guard_and_work_goes_on() {
    let ground = Ground::new();
    let attempts: Vec<String> = CLASSES
        .iter()
        .flat_map(|class| class.attempts.iter().take(2))
        .map(|attempt| ground.put(attempt))
        .collect();
    let ordinary: Vec<String> = ORDINARY
        .iter()
        .filter(|line| {
            [
                "git ", "echo ", "cat > ", "mkdir", "for ", "T=", "d=", "find src", "grep",
            ]
            .iter()
            .any(|start| line.starts_with(start))
                && ![
                    "fetch",
                    "rebase",
                    "merge",
                    "cherry",
                    "reset",
                    "submodule",
                    "clone",
                ]
                .iter()
                .any(|no| line.contains(no))
        })
        .take(40)
        .map(|line| ground.put(line))
        .collect();
    let count = attempts.len();
    let (tried, worked) = (attempts.clone(), ordinary.clone());
    let dressing = ground.dressing();
    let end = ground.put("cd MINE && git add -A && git commit -qm done --allow-empty");
    let mut files = vec![
        (
            "Write",
            json!({"file_path": ground.put("MAIN/made"), "content": "x"}),
        ),
        (
            "Write",
            json!({"file_path": "/tmp/orchestra-made", "content": "x"}),
        ),
        (
            "Write",
            json!({"file_path": ground.put("MINE/.git"), "content": "x"}),
        ),
    ];
    let mut tools = all_at_once(&attempts);
    for (tool, input) in files.drain(..) {
        tools = tools.and_tool(tool, input);
    }
    let script = Script::new().worker("Your task: mine", move |w| {
        w.bash(&dressing)
            .reply(tools)
            .reply(all_at_once(&ordinary))
            .bash(&end)
            .say("Done.")
    });
    let server = ModelServer::start(script);
    // What is seen of the main checkout: all but what the run itself keeps there.
    let seen = |ground: &Ground| -> Vec<(PathBuf, Vec<u8>)> {
        let git = ground.repository.join(".git");
        content(&ground.repository)
            .into_iter()
            .filter(|(path, _)| {
                !path.starts_with(ground.repository.join(".claude"))
                    && (!path.starts_with(&git)
                        || ["HEAD", "config", "index", "hooks", "packed-refs"]
                            .iter()
                            .any(|name| path.starts_with(git.join(name))))
            })
            .collect()
    };
    let before = seen(&ground);
    let tip = ground.home.git(&ground.repository, &["rev-parse", "main"]);
    let output = ground.run("", &server);
    let requests = server.requests_where(|r| r.mentions("Your task: mine"));
    let last = requests.last().expect("a request");
    let results = last.tool_results();
    let denied = &results[1..=count + 3];
    for (at, result) in denied.iter().enumerate() {
        let what = tried.get(at).map_or("a file tool", String::as_str);
        assert!(result.is_error, "{what}: {}", result.text);
        let ours = [
            "worktree",
            "instance",
            "checked",
            "branch",
            "configuration",
            "denied by your permission settings",
        ];
        assert!(
            ours.iter().any(|word| result.text.contains(word)),
            "{what}: {}",
            result.text
        );
    }
    for (at, result) in results[count + 4..].iter().enumerate() {
        let what = worked.get(at).map_or("the end", String::as_str);
        assert!(
            !result.text.contains("Work only inside")
                && !result.text.contains("not for an instance"),
            "{what}: {}",
            result.text
        );
    }
    server.assert_all_expected();
    assert!(output.status.success(), "{}", stdout(&output));
    assert_eq!(seen(&ground), before);
    assert_eq!(
        ground.home.git(&ground.repository, &["rev-parse", "main"]),
        tip
    );
    assert!(!Path::new("/tmp/orchestra-made").exists());
    assert_eq!(content(&ground.home.beside("out")), []);
}

/// Without the guard's program beside it, only the client's own rules are left.
#[test]
fn the_deny_rules_hold_without_the_guard() {
    let ground = Ground::new();
    let programs = ground.home.beside("programs");
    fs::create_dir_all(&programs).expect("a folder");
    let alone = programs.join("orchestra");
    fs::copy(crate::run::ORCHESTRA, &alone).expect("copy");
    let attempts: Vec<String> = CLASSES
        .iter()
        .filter(|class| class.rules)
        .map(|class| ground.put(class.attempts[0]))
        .collect();
    let tried = attempts.clone();
    let made = ground.put("MAIN/made");
    let dressing = ground.dressing();
    let script = Script::new().worker("Your task: mine", move |w| {
        w.bash(&dressing)
            .reply(
                all_at_once(&attempts)
                    .and_tool("Write", json!({"file_path": made, "content": "x"})),
            )
            .say("Done.")
    });
    let server = ModelServer::start(script);
    let output = ground.run(alone.to_str().expect("UTF-8"), &server);
    let requests = server.requests_where(|r| r.mentions("Your task: mine"));
    let results = requests.last().expect("a request").tool_results();
    assert_eq!(results.len(), tried.len() + 2, "{}", stdout(&output));
    for (at, result) in results[1..].iter().enumerate() {
        let what = tried.get(at).map_or("Write", String::as_str);
        assert!(result.is_error, "{what}: {}", result.text);
        assert!(result.text.contains("denied"), "{what}: {}", result.text);
    }
    assert!(!ground.repository.join("made").exists());
}
