//! One task's repository, worktree and order, and a real supervisor for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orchestra::agent::tree::{EndPlan, Marker, Tree};
use orchestra::core::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use orchestra::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use orchestra::core::time::Timestamp;
use orchestra::format::SCHEMA_VERSION;
use orchestra::format::instance_limits::InstanceLimits;
use orchestra::format::instance_request::InstanceRequest;
use orchestra::format::launch_file::{AgentChoice, LaunchFile};
use orchestra::format::outcome_file::OutcomeFile;
use orchestra::format::status_file::StatusFile;
use orchestra::store::atomic::{Durability, peek_json, write_json};
use orchestra::store::layout::{Layout, RunDir};
use orchestra::store::{instance_inbox, lock};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

impl Drop for Room {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        let _ = orchestra::agent::tree::end(&self.tree(), &EndPlan::default());
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A repository with one task's worktree, and the order for an attempt at it.
pub(crate) struct Room {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) run: RunDir,
    pub(crate) task: TaskName,
    pub(crate) launch: LaunchFile,
    pub(crate) vars: Vec<(String, String)>,
}

impl Room {
    pub(crate) fn new(steps: &Value) -> Self {
        Self::with_script(&json!({"tasks": {"work": {"steps": steps}}}))
    }

    pub(crate) fn with_script(script: &Value) -> Self {
        let dir = tempfile::tempdir_in(crate::scratch::folder()).unwrap();
        let root = dir.path().join("main");
        let worktree = dir.path().join("trees/work");
        fs::create_dir_all(&root).unwrap();
        let task = TaskName::parse("work").unwrap();
        git(&root, &["init", "--quiet", "-b", "main"]);
        git(&root, &["config", "user.name", "Test"]);
        git(&root, &["config", "user.email", "test@example.invalid"]);
        fs::write(root.join("README"), "base\n").unwrap();
        fs::write(root.join(".gitignore"), "ignored\n").unwrap();
        git(&root, &["add", "-A"]);
        git(&root, &["commit", "--quiet", "-m", "Base"]);
        let base = Oid::parse(&git(&root, &["rev-parse", "HEAD"])).unwrap();
        let tree = worktree.to_str().unwrap();
        git(
            &root,
            &["worktree", "add", "--quiet", "-b", "task/work", tree],
        );
        let id = OrchestrationId::parse("run-1").unwrap();
        let run = Layout::new(&root).run(&id);
        fs::create_dir_all(run.dir()).unwrap();
        let script_file = dir.path().join("script.json");
        fs::write(&script_file, script.to_string()).unwrap();
        let launch = LaunchFile {
            schema_version: SCHEMA_VERSION,
            orchestration_id: id,
            token: uuid::Uuid::new_v4().to_string(),
            branch: BranchName::for_task(&task),
            task: task.clone(),
            attempt: 1,
            session_id: SessionId(uuid::Uuid::new_v4()),
            start: StartMode::Fresh,
            attached: None,
            agent: AgentChoice::Scripted {
                script: Some(script_file),
            },
            worktree,
            main_checkout: root,
            base,
            prompt: "Do the work".into(),
            system_prompt: String::new(),
            permission_mode: "acceptEdits".into(),
            sandbox: orchestra::core::sandbox::Sandbox::Off,
            allowed_tools: Vec::new(),
            disallowed_tools: Vec::new(),
            settings: None,
            model: None,
            env: BTreeMap::new(),
            setup: None,
            verify: None,
            timeout_seconds: 120,
            command_timeout_seconds: 60,
            grant: orchestra::core::budget::Grant::default(),
            breaker: None,
            gate_rounds: 2,
            answer_timeout_seconds: 60,
            permission_requests: orchestra::core::permission::PermissionRequests::Ask,
            permission_timeout_seconds: 60,
            limits: InstanceLimits::default(),
            may_end_without_commits: false,
            merging: None,
            issue_number: Some(12),
            issue_title: Some("Title".into()),
        };
        Self {
            dir,
            run,
            task,
            launch,
            vars: Vec::new(),
        }
    }

    /// Starts a supervisor for the present order.
    pub(crate) fn start(&self) -> Supervisor {
        write_json(
            &self.run.launch(&self.task),
            "an order",
            &self.launch,
            Durability::Volatile,
        )
        .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_orchestra"))
            .arg("supervise")
            .arg("--repo")
            .arg(&self.launch.main_checkout)
            .arg("--slots")
            .arg(self.dir.path().join("slots"))
            .args([self.launch.orchestration_id.as_str(), self.task.as_str()])
            .env_clear()
            .envs(hermetic(self.dir.path()))
            .envs(self.vars.iter().map(|(k, v)| (k, v)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Supervisor { child }
    }

    /// One attempt from its order to its outcome.
    pub(crate) fn attempt(&self) -> AttemptEnd {
        let said = self.start().wait();
        assert_eq!(said, "ready\n");
        self.assert_nothing_left();
        self.outcome().outcome
    }

    pub(crate) fn next_attempt(&mut self, start: StartMode) {
        self.launch.attempt += 1;
        self.launch.start = start;
        if start == StartMode::Fresh {
            self.launch.session_id = SessionId(uuid::Uuid::new_v4());
        }
    }

    pub(crate) fn outcome(&self) -> OutcomeFile {
        peek_json(&self.run.outcome(&self.task)).expect("an outcome")
    }

    pub(crate) fn status(&self) -> Option<StatusFile> {
        peek_json(&self.run.status(&self.task))
    }

    pub(crate) fn wait_for(&self, what: &str, mut condition: impl FnMut(&StatusFile) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.status().is_some_and(|status| condition(&status)) {
            assert!(
                Instant::now() < deadline,
                "in vain waited for {what}: {:?}",
                self.status()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn post(&self, request: &InstanceRequest) -> PathBuf {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let now = Timestamp(i64::try_from(now.as_millis()).unwrap());
        instance_inbox::post(&self.run, &self.task, request, now).unwrap()
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::marked(Marker::new(
            &self.launch.token,
            &self.launch.orchestration_id,
            Some(&self.task),
        ))
    }

    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.tree().find(), [], "processes are left");
        assert!(!lock::is_held(&self.run.lock(&self.task)).unwrap());
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.launch.worktree, args)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.launch.worktree.join(name)
    }
}

pub(crate) struct Supervisor {
    pub(crate) child: Child,
}

impl Supervisor {
    /// Waits for the end; returns what it announced.
    pub(crate) fn wait(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() >= deadline {
                panic!("the supervisor does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stdout.take().unwrap(), &mut said).unwrap();
        said
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

pub(crate) fn hermetic(home: &Path) -> Vec<(String, String)> {
    [
        ("PATH", std::env::var("PATH").unwrap().as_str()),
        ("HOME", home.to_str().unwrap()),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .to_vec()
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(hermetic(dir))
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn failed(end: &AttemptEnd) -> (FailureClass, &str) {
    match end {
        AttemptEnd::Failed { class, detail } => (*class, detail),
        other => panic!("a failure was expected: {other:?}"),
    }
}
