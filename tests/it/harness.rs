//! A repository of its own, a home of its own, and the real program in it.
//!
//! Everything that a room starts inherits [`ROOM_VARIABLE`], so that every process of it can
//! be found in `/proc` — background ones too — and none outlives the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orchestra::core::attempt::{SessionId, StartMode};
use orchestra::core::id::TaskName;
use orchestra::core::record::Record;
use orchestra::store::journal::{self, Line};
use orchestra::store::layout::{Layout, RunDir};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The longest that anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Names the room that a process belongs to.
const ROOM_VARIABLE: &str = "ORCHESTRA_TEST_ROOM";

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Fails the test unless the exit code is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code\n--- stdout\n{}\n--- stderr\n{}",
            self.out, self.err
        );
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("JSON on standard output")
    }
}

/// A command that runs.
pub(crate) struct Started {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub(crate) fn out(&self) -> String {
        text(&self.out)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "it does not end\n--- stdout\n{}\n--- stderr\n{}",
                    text(&self.out),
                    text(&self.err)
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ended {
            code: status.code().unwrap_or(-1),
            out: text(&self.out),
            err: text(&self.err),
        }
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A process of a room.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) args: Vec<String>,
    /// The value of `ORCHESTRA_MARK`.
    pub(crate) mark: Option<String>,
}

impl Process {
    /// Whether it is this subcommand of the program.
    pub(crate) fn is(&self, subcommand: &str) -> bool {
        self.args.get(1).is_some_and(|arg| arg == subcommand)
    }

    /// Ends it at once; when this returns, its locks are free.
    #[track_caller]
    pub(crate) fn kill(&self) {
        kill(self.pid);
        wait_for("the end of a killed process", || {
            // Its files are closed by the last of its threads; then it only waits to be reaped.
            let folder = PathBuf::from(format!("/proc/{}", self.pid));
            let threads = fs::read_dir(folder.join("task")).map_or(0, Iterator::count);
            let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            (threads <= 1 && matches!(state, None | Some('Z' | 'X'))).then_some(())
        });
    }
}

/// Ends a process at once.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = kill_process(pid, signal);
}

/// Waits until something is the case.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a test happens.
pub(crate) struct Room {
    dir: tempfile::TempDir,
    pub(crate) repo: PathBuf,
    vars: Vec<(String, String)>,
}

impl Drop for Room {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        for _ in 0..50 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for process in left {
                process.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Room {
    /// A repository with one commit.
    pub(crate) fn new() -> Self {
        Self::at("repo", &[])
    }

    /// The same under another name, with other arguments for `git init`.
    pub(crate) fn at(name: &str, init: &[&str]) -> Self {
        let room = Self::bare_room(name);
        fs::create_dir_all(&room.repo).unwrap();
        room.git(&[&["init", "--quiet", "-b", "main"], init].concat());
        room.configure(&room.repo);
        room.write("README.md", "base\n");
        room.write(".gitignore", "ignored\n");
        room.git(&["add", "-A"]);
        room.git(&["commit", "--quiet", "-m", "Base"]);
        room
    }

    /// A room without a repository.
    pub(crate) fn bare_room(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("orchestra-it-")
            .tempdir_in(crate::scratch::folder())
            .unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["home", "state", "config", "outputs"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        Self {
            repo: root.join(name),
            dir,
            vars: Vec::new(),
        }
    }

    pub(crate) fn configure(&self, repo: &Path) {
        self.git_in(repo, &["config", "user.name", "Test"]);
        self.git_in(repo, &["config", "user.email", "test@example.invalid"]);
    }

    /// Sets a variable for all that follows.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.vars.push((name.into(), value.into()));
    }

    /// A path in the room, outside the repository.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut vars = vec![
            ("PATH".into(), std::env::var("PATH").unwrap()),
            ("HOME".into(), path("home")),
            ("XDG_STATE_HOME".into(), path("state")),
            ("XDG_CONFIG_HOME".into(), path("config")),
            ("GIT_CONFIG_GLOBAL".into(), "/dev/null".into()),
            ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
            ("LC_ALL".into(), "C.UTF-8".into()),
            // How busy the machine is must not matter.
            ("ORCHESTRA_ADMISSION".into(), "off".into()),
            ("ROOM".into(), path("")),
            (ROOM_VARIABLE.into(), path("")),
        ];
        vars.extend(self.vars.iter().cloned());
        vars
    }

    // ---- git and files

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.repo, args)
    }

    #[track_caller]
    pub(crate) fn git_in(&self, folder: &Path, args: &[&str]) -> String {
        self.try_git_in(folder, args)
            .unwrap_or_else(|err| panic!("git {args:?}: {err}"))
    }

    pub(crate) fn try_git(&self, args: &[&str]) -> Result<String, String> {
        self.try_git_in(&self.repo, args)
    }

    fn try_git_in(&self, folder: &Path, args: &[&str]) -> Result<String, String> {
        let output = Command::new("git")
            .args(args)
            .current_dir(folder)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Writes a file of the repository's main checkout.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let full = self.repo.join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.repo.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub(crate) fn commit(&self, path: &str, text: &str) {
        self.write(path, text);
        self.git(&["add", "-A"]);
        self.git(&["commit", "--quiet", "-m", &format!("Change {path}")]);
    }

    /// Names of the task branches that there are.
    pub(crate) fn task_branches(&self) -> Vec<String> {
        let text = self.git(&[
            "for-each-ref",
            "--format=%(refname:short)",
            "refs/heads/task",
        ]);
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn backups(&self) -> Vec<String> {
        let text = self.git(&[
            "for-each-ref",
            "--format=%(refname)",
            "refs/orchestra/backup",
        ]);
        text.lines().map(str::to_owned).collect()
    }

    /// Paths of the worktrees, the main checkout first.
    pub(crate) fn worktrees(&self) -> Vec<PathBuf> {
        let text = self.git(&["worktree", "list", "--porcelain"]);
        text.lines()
            .filter_map(|line| line.strip_prefix("worktree "))
            .map(PathBuf::from)
            .collect()
    }

    /// The folder of a task's worktree, at its default place.
    pub(crate) fn worktree(&self, task: &str) -> PathBuf {
        let mut name = self.repo.file_name().unwrap().to_owned();
        name.push(".worktrees");
        self.repo.with_file_name(name).join(task)
    }

    /// Fails the test when a run left anything but results and backups.
    #[track_caller]
    pub(crate) fn assert_tidy(&self) {
        assert_eq!(self.worktrees(), std::slice::from_ref(&self.repo));
        assert_eq!(self.task_branches(), Vec::<String>::new());
        let own = self.git(&[
            "for-each-ref",
            "--format=%(refname)",
            "refs/heads/orchestra",
        ]);
        assert_eq!(own, "");
        assert_eq!(self.git(&["status", "--porcelain"]), "");
        let folder = self.worktree("x").parent().unwrap().to_owned();
        assert!(!folder.exists(), "{} is left", folder.display());
        self.assert_quiet();
    }

    // ---- plans and scripts

    /// Writes a plan of tasks with their dependencies.
    pub(crate) fn plan(&self, tasks: &[(&str, &[&str])]) -> PathBuf {
        let tasks: Vec<Value> = tasks
            .iter()
            .map(|(name, needs)| json!({"name": name, "dependencies": needs}))
            .collect();
        self.plan_of(&json!({"tasks": tasks}))
    }

    pub(crate) fn plan_of(&self, plan: &Value) -> PathBuf {
        let path = self.path("plan.json");
        fs::write(&path, plan.to_string()).unwrap();
        path
    }

    /// Writes the script that the agents play.
    pub(crate) fn script(&self, tasks: &Value) -> PathBuf {
        let path = self.path("script.json");
        fs::write(&path, json!({"tasks": tasks}).to_string()).unwrap();
        path
    }

    // ---- the program

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orchestra"));
        command
            .args(args)
            .current_dir(&self.repo)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Started {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let out = self.path("outputs").join(format!("{name}.out"));
        let err = self.path("outputs").join(format!("{name}.err"));
        let child = command
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Started { child, out, err }
    }

    /// Starts the program in the repository.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        self.spawn(self.command(args))
    }

    /// Runs the program in the repository to its end.
    #[track_caller]
    pub(crate) fn orchestra(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    /// The program in another folder.
    #[track_caller]
    pub(crate) fn orchestra_in(&self, folder: &Path, args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.current_dir(folder);
        self.spawn(command).end()
    }

    /// Begins `orchestra run` of the written plan and script.
    pub(crate) fn start_run(&self, more: &[&str]) -> Started {
        let plan = self.path("plan.json").display().to_string();
        let script = self.path("script.json").display().to_string();
        let mut args = vec!["run", "--tasks", &plan, "--agent", "scripted"];
        if Path::new(&script).exists() {
            args.extend(["--script", &script]);
        }
        args.extend(more);
        self.start(&args)
    }

    /// `orchestra run` of the written plan and script, to its end.
    #[track_caller]
    pub(crate) fn run(&self, more: &[&str]) -> Ended {
        self.start_run(more).end()
    }

    // ---- runs

    pub(crate) fn runs(&self) -> Vec<RunDir> {
        Layout::new(&self.repo).runs()
    }

    /// The only run of the room, once it is there.
    #[track_caller]
    pub(crate) fn only_run(&self) -> RunDir {
        wait_for("a run", || {
            let mut runs = self.runs();
            assert!(runs.len() < 2, "{runs:?}");
            runs.pop().filter(|run| run.settings().exists())
        })
    }

    pub(crate) fn records(&self, run: &RunDir) -> Vec<Record> {
        self.journal(run).into_iter().map(|l| l.entry).collect()
    }

    pub(crate) fn journal(&self, run: &RunDir) -> Vec<Line> {
        journal::read(&run.journal()).unwrap()
    }

    /// Waits until a record is in the journal.
    #[track_caller]
    pub(crate) fn wait_for_record(
        &self,
        run: &RunDir,
        what: &str,
        mut is: impl FnMut(&Record) -> bool,
    ) {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, || self.records(run).iter().any(&mut is).then_some(()));
        }));
        assert!(
            found.is_ok(),
            "in vain waited for {what} in {:#?}",
            self.records(run)
        );
    }

    /// The sessions in which the attempts at a task began, and how, in order.
    pub(crate) fn starts(&self, run: &RunDir, name: &str) -> Vec<(SessionId, StartMode)> {
        let records = self.records(run).into_iter();
        let own = records.filter_map(|record| match record {
            Record::AttemptStarted {
                task,
                session,
                start,
                ..
            } if task.as_str() == name => Some((session, start)),
            _ => None,
        });
        own.collect()
    }

    /// Waits until a task's instance is at work.
    #[track_caller]
    pub(crate) fn wait_until_running(&self, run: &RunDir, name: &str) {
        self.wait_for_record(
            run,
            name,
            |r| matches!(r, Record::AttemptRunning { task, .. } if task.as_str() == name),
        );
    }

    /// Waits until a run is closed.
    #[track_caller]
    pub(crate) fn wait_until_closed(&self, run: &RunDir) {
        wait_for("the end of the run", || {
            matches!(self.records(run).last(), Some(Record::Closed)).then_some(())
        });
    }

    pub(crate) fn status(&self, run: &RunDir, task: &str) -> Value {
        let path = run.status(&TaskName::parse(task).unwrap());
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// How often an instance was brought to life for each session, by the stream of the task.
    pub(crate) fn inits(&self, run: &RunDir, task: &str) -> Vec<String> {
        let log = fs::read(run.stream_log(&TaskName::parse(task).unwrap())).unwrap_or_default();
        String::from_utf8_lossy(&log)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|v| v["type"] == "system" && v["subtype"] == "init")
            .map(|v| v["session_id"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    // ---- processes

    /// All processes of the room but the test's own.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let own = format!("{ROOM_VARIABLE}={}", self.path("").display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let Ok(environ) = fs::read(entry.path().join("environ")) else {
                continue;
            };
            let vars: Vec<&[u8]> = environ.split(|b| *b == 0).collect();
            if !vars.contains(&own.as_bytes()) {
                continue;
            }
            let mark = vars
                .iter()
                .find_map(|v| v.strip_prefix(b"ORCHESTRA_MARK="))
                .map(|v| String::from_utf8_lossy(v).into_owned());
            let args = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let args = String::from_utf8_lossy(&args);
            found.push(Process {
                pid,
                mark,
                args: args.split('\0').map(str::to_owned).collect(),
            });
        }
        found
    }

    /// The processes of a subcommand: `conduct`, `supervise` or `play`.
    pub(crate) fn processes_of(&self, subcommand: &str) -> Vec<Process> {
        let mut all = self.processes();
        all.retain(|p| p.is(subcommand));
        all
    }

    /// The supervisor or agent of a task, once there is one.
    #[track_caller]
    pub(crate) fn process(&self, subcommand: &str, task: &str) -> Process {
        wait_for(&format!("{subcommand} of {task}"), || {
            self.processes_of(subcommand)
                .into_iter()
                .find(|p| p.args.iter().any(|arg| arg == task))
        })
    }

    #[track_caller]
    pub(crate) fn conductor(&self) -> Process {
        wait_for("a conductor", || self.processes_of("conduct").pop())
    }

    #[track_caller]
    pub(crate) fn keeper(&self) -> Process {
        wait_for("a keeper", || self.processes_of("keep").pop())
    }

    /// Ends every process of the room at once.
    #[track_caller]
    pub(crate) fn kill_all(&self) {
        self.kill_at_once(|_| true);
    }

    /// Ends conductors and keepers at once, so that nobody brings new ones.
    #[track_caller]
    pub(crate) fn kill_conductor(&self) {
        self.conductor();
        self.kill_at_once(|p| p.is("conduct") || p.is("keep"));
    }

    /// Ends these processes of the room, by their numbers. Nobody sees another one end: all are
    /// stopped before the first is ended.
    #[track_caller]
    pub(crate) fn kill_at_once(&self, which: impl Fn(&Process) -> bool) {
        let mut stopped = std::collections::BTreeSet::new();
        let all = wait_for("that no more come", || {
            let mut all = self.processes();
            all.retain(&which);
            let mut fresh = false;
            for process in &all {
                if stopped.insert(process.pid) {
                    fresh = true;
                    signal(process.pid, Signal::STOP);
                }
            }
            (!fresh).then_some(all)
        });
        for process in &all {
            stopped.remove(&process.pid);
            kill(process.pid);
        }
        // Became another program between the look and the signal: not meant.
        for pid in stopped {
            signal(pid, Signal::CONT);
        }
        for process in &all {
            process.kill();
        }
        if !self.processes().iter().all(|p| !which(p)) {
            // Started by one that was not yet seen to be ours.
            self.kill_at_once(which);
        }
    }

    /// Fails the test unless soon no process of the room is left.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left running: {left:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A `git` before the real one that ends the program that calls it, once, at a chosen call.
pub(crate) struct KillingGit {
    room: PathBuf,
}

impl KillingGit {
    /// Everything that the room starts from now on calls it.
    pub(crate) fn install(room: &mut Room) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::var("PATH").unwrap();
        let real = std::env::split_paths(&path)
            .map(|folder| folder.join("git"))
            .find(|program| program.is_file())
            .unwrap();
        let folder = room.path("killing");
        fs::create_dir(&folder).unwrap();
        // Several calls at once are counted one after the other.
        let script = format!(
            r#"#!/bin/sh
[ -e "$ROOM/kill-at" ] || exec {real} "$@"
until mkdir "$ROOM/kill-lock" 2> /dev/null; do :; done
# Standard error may be a pipe that nobody reads any more.
{{
    read how left < "$ROOM/kill-at" || how=never
    left=$((${{left:-0}} - 1))
    if [ $left -eq 0 ]; then rm "$ROOM/kill-at"; fi
    if [ $left -gt 0 ]; then echo $how $left > "$ROOM/kill-at"; fi
    rmdir "$ROOM/kill-lock"
}} 2> /dev/null
[ $left -eq 0 ] || exec {real} "$@"
if [ $how = after ]; then {real} "$@" > /dev/null; fi
kill -9 $PPID
"#,
            real = real.display()
        );
        let program = folder.join("git");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        room.set("PATH", format!("{}:{path}", folder.display()));
        Self {
            room: room.path(""),
        }
    }

    /// The next program is ended at its `call`th call of git, before or after git did it.
    pub(crate) fn arm(&self, after: bool, call: u32) {
        let how = if after { "after" } else { "before" };
        fs::write(self.room.join("kill-at"), format!("{how} {call}\n")).unwrap();
    }

    /// Whether the call was reached; nothing is ended from now on.
    pub(crate) fn disarm(&self) -> bool {
        fs::remove_file(self.room.join("kill-at")).is_err()
    }
}

/// The steps of a task that writes one file and commits it.
pub(crate) fn writes(path: &str, text: &str) -> Value {
    json!({"steps": [
        {"write": {"path": path, "text": text}},
        {"commit": format!("Add {path}")},
    ]})
}
