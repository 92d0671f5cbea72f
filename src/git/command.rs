//! The one function that starts `git`.
//!
//! Every process gets a clean environment, no shell, no terminal, no editor and a
//! deadline. What the person's own environment says about *who* they are and how
//! git is configured (`GIT_AUTHOR_NAME`, `GIT_CONFIG_*`, `GIT_SSH_COMMAND`, ...)
//! stays; what says *which repository* is meant goes, because that is always given.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::error::GitError;

/// Variables that would point git at another repository, index or attribute source
/// than the one named, or change how it reads paths and the history.
const REMOVED: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_ATTR_SOURCE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_AUTHOR_DATE",
    "GIT_COMMITTER_DATE",
    "GIT_REFLOG_ACTION",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_DEFAULT_HASH",
    "GIT_DEFAULT_REF_FORMAT",
];

/// How long an ordinary command may take before it is stopped.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long contention on one of git's lock files is waited out.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How long output is awaited from pipes that outlive the process, because a hook
/// left something running in the background that holds them open. Long enough for a reader
/// that is not scheduled at once on a busy machine.
const PIPE_GRACE: Duration = Duration::from_secs(1);

/// One call of git, not yet started.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    dir: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    input: Option<Vec<u8>>,
    timeout: Duration,
    retry: bool,
    stop: Option<Arc<AtomicBool>>,
}

/// What one call of git answered.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// The exit code; none when a signal ended the process.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    /// Trimmed.
    pub(crate) stderr: String,
    command: String,
    dir: PathBuf,
}

impl Output {
    pub(crate) fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output as text without the final line break.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout)
            .trim_end_matches(['\n', '\r'])
            .to_owned()
    }

    /// This output as an error, whatever the exit code was.
    pub(crate) fn failed(&self) -> GitError {
        let mut stderr = self.stderr.clone();
        if stderr.is_empty() {
            stderr = String::from_utf8_lossy(&self.stdout).trim().to_owned();
        }
        if stderr.is_empty() {
            "it said nothing".clone_into(&mut stderr);
        }
        GitError::Failed {
            command: self.command.clone(),
            dir: self.dir.clone(),
            code: self.code,
            stderr,
        }
    }

    /// An error that says that this output was not understood.
    pub(crate) fn unreadable(&self, detail: impl Into<String>) -> GitError {
        GitError::Unreadable {
            command: self.command.clone(),
            detail: detail.into(),
        }
    }
}

impl Git {
    /// A call of git in a folder. The folder need not exist for this to be built.
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            input: None,
            timeout: DEFAULT_TIMEOUT,
            retry: true,
            stop: None,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Bytes for standard input; without them it is empty.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends it soon after this is set, as if its time were over.
    pub(crate) fn until(mut self, stop: &Arc<AtomicBool>) -> Self {
        self.stop = Some(Arc::clone(stop));
        self
    }

    /// Do not try again when a lock file of git is held: for calls that may have done
    /// a part of their work before they meet it.
    pub(crate) fn once(mut self) -> Self {
        self.retry = false;
        self
    }

    /// Runs it; an exit code other than 0 is an error.
    pub(crate) fn run(self) -> Result<Output, GitError> {
        let output = self.output()?;
        if output.success() {
            Ok(output)
        } else {
            Err(output.failed())
        }
    }

    /// Runs it; every exit code is an answer. Contention on a lock file of git is
    /// waited out and, when it does not end, an error. So is meeting another git just while
    /// it writes the record of a new worktree, which git takes for a fault.
    pub(crate) fn output(self) -> Result<Output, GitError> {
        if self.is_told_to_stop() {
            return Err(self.stopped());
        }
        let deadline = Instant::now() + LOCK_PATIENCE;
        let mut pause = Duration::from_millis(10);
        loop {
            let output = self.start_once()?;
            let lock = held_lock(&output);
            if !self.retry || (lock.is_none() && !met_half_a_record(&output)) {
                return Ok(output);
            }
            if Instant::now() + pause > deadline {
                let Some(lock) = lock else {
                    return Ok(output);
                };
                return Err(GitError::Locked {
                    lock,
                    detail: output.stderr,
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    fn rendered(&self) -> String {
        let mut text = String::from("git");
        for arg in &self.args {
            let arg = arg.to_string_lossy();
            text.push(' ');
            if arg.is_empty() || arg.contains(char::is_whitespace) {
                text.push_str(&format!("'{arg}'"));
            } else {
                text.push_str(&arg);
            }
        }
        text
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that starts git processes"
    )]
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        for name in REMOVED {
            command.env_remove(name);
        }
        command
            .arg("-C")
            .arg(&self.dir)
            .args(&self.args)
            .env("LC_ALL", "C")
            .env("LANGUAGE", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_EDITOR", ":")
            .env("GIT_SEQUENCE_EDITOR", ":")
            .env("GIT_PAGER", "cat")
            .env("GIT_MERGE_AUTOEDIT", "no");
        // Unit tests run inside this process and cannot set its environment.
        #[cfg(test)]
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", "/nonexistent")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("EMAIL");
        for (key, value) in &self.env {
            command.env(key, value);
        }
        command
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own: an interrupt typed at the terminal does not cut git off
        // half-way, and a call that must be stopped is stopped with its hooks.
        command.process_group(0);
        command
    }

    fn start_once(&self) -> Result<Output, GitError> {
        let mut child = self.command().spawn().map_err(|e| {
            if e.kind() == std::io::ErrorKind::NotFound {
                GitError::NoGit
            } else {
                GitError::Spawn {
                    command: self.rendered(),
                    dir: self.dir.clone(),
                    detail: e.to_string(),
                }
            }
        })?;
        if let (Some(input), Some(mut stdin)) = (self.input.clone(), child.stdin.take()) {
            // A process that does not read all of its input closes the pipe: its exit
            // code and message tell the story, not this write.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&input);
            });
        }
        let (done, finished) = mpsc::channel();
        let stdout = drain(child.stdout.take(), done.clone());
        let stderr = drain(child.stderr.take(), done);
        let code = self.wait(&mut child, &finished)?;
        Ok(Output {
            code,
            stdout: take(&stdout),
            stderr: String::from_utf8_lossy(&take(&stderr)).trim().to_owned(),
            command: self.rendered(),
            dir: self.dir.clone(),
        })
    }

    /// Waits for the end of the process and of its output, whichever way they come.
    fn wait(
        &self,
        child: &mut Child,
        finished: &mpsc::Receiver<()>,
    ) -> Result<Option<i32>, GitError> {
        let failed = |e: std::io::Error| GitError::Spawn {
            command: self.rendered(),
            dir: self.dir.clone(),
            detail: e.to_string(),
        };
        let deadline = Instant::now() + self.timeout;
        let mut open = 2;
        // The usual end: both pipes close, then the process is reaped at once.
        while open > 0 {
            match finished.recv_timeout(Duration::from_millis(50)) {
                Ok(()) => open -= 1,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(status) = child.try_wait().map_err(failed)? {
                        await_pipes(finished, open, PIPE_GRACE);
                        return Ok(status.code());
                    }
                    if self.is_over(deadline) {
                        return Err(self.stop(child));
                    }
                }
            }
        }
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status.code());
            }
            if self.is_over(deadline) {
                return Err(self.stop(child));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn is_over(&self, deadline: Instant) -> bool {
        self.is_told_to_stop() || Instant::now() > deadline
    }

    fn is_told_to_stop(&self) -> bool {
        let told = self.stop.as_ref();
        told.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn stopped(&self) -> GitError {
        GitError::TimedOut {
            command: self.rendered(),
            dir: self.dir.clone(),
            seconds: self.timeout.as_secs(),
        }
    }

    /// Ends the process: first in the way that lets git remove its lock files.
    fn stop(&self, child: &mut Child) -> GitError {
        if let Some(pid) = i32::try_from(child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
        }
        let patience = Instant::now() + Duration::from_secs(2);
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stopped()
    }
}

/// Waits until `open` pipes have been read to their end, but no longer than `patience` in
/// all. One of them is not enough: on a busy machine the other may not have been read yet,
/// and its text would be missing.
fn await_pipes(finished: &mpsc::Receiver<()>, open: u32, patience: Duration) {
    let deadline = Instant::now() + patience;
    for _ in 0..open {
        let left = deadline.saturating_duration_since(Instant::now());
        if finished.recv_timeout(left).is_err() {
            return;
        }
    }
}

type Shared = Arc<Mutex<Vec<u8>>>;

/// Reads a pipe to its end in a thread; what has come so far is always readable.
fn drain(pipe: Option<impl Read + Send + 'static>, done: mpsc::Sender<()>) -> Shared {
    let buffer = Shared::default();
    let writer = Arc::clone(&buffer);
    std::thread::spawn(move || {
        if let Some(mut pipe) = pipe {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                match pipe.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(n) => writer
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend_from_slice(chunk.get(..n).unwrap_or_default()),
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
        let _ = done.send(());
    });
    buffer
}

fn take(buffer: &Shared) -> Vec<u8> {
    std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether git met the record of a worktree that another git is writing: it is made file by
/// file, and a reader finds one that is still empty.
fn met_half_a_record(output: &Output) -> bool {
    output.code == Some(128)
        && output.stderr.contains("failed to read worktrees/")
        && output.stderr.contains("/commondir")
}

/// The lock file over which this call failed, if it failed over one.
fn held_lock(output: &Output) -> Option<String> {
    if output.success() {
        return None;
    }
    let text = &output.stderr;
    if let Some((before, _)) = text.split_once(".lock': File exists") {
        let start = before.rfind('\'').map_or(0, |at| at + 1);
        return before.get(start..).map(|path| format!("{path}.lock"));
    }
    text.split_once("could not lock config file ")
        .filter(|(_, rest)| rest.contains("File exists"))
        .map(|(_, rest)| {
            let file = rest.split(": ").next().unwrap_or(rest);
            format!("{file}.lock")
        })
}

/// A version of git, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitVersion {
    /// The 2 in 2.47.3.
    pub major: u32,
    /// The 47 in 2.47.3.
    pub minor: u32,
    /// The 3 in 2.47.3; 0 when it is not told.
    pub patch: u32,
}

impl std::fmt::Display for GitVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The oldest git that offers everything that is used here.
pub const MINIMUM_GIT: GitVersion = GitVersion {
    major: 2,
    minor: 38,
    patch: 0,
};

fn parse_version(text: &str) -> Option<GitVersion> {
    let number = text.trim().strip_prefix("git version ")?;
    let number = number.split_whitespace().next()?;
    let mut parts = number.split('.');
    Some(GitVersion {
        major: parts.next()?.parse().ok()?,
        minor: parts.next()?.parse().ok()?,
        patch: parts.next().and_then(|p| p.parse().ok()).unwrap_or(0),
    })
}

/// The version of the `git` command on PATH; asked once per process.
///
/// # Errors
/// [`GitError::NoGit`], [`GitError::TooOld`], or what the command said.
pub fn git_version() -> Result<GitVersion, GitError> {
    static VERSION: OnceLock<GitVersion> = OnceLock::new();
    if let Some(version) = VERSION.get() {
        return Ok(*version);
    }
    let output = Git::at(Path::new("/")).arg("version").run()?;
    let text = output.text();
    let version = parse_version(&text).ok_or_else(|| output.unreadable(text.clone()))?;
    if version < MINIMUM_GIT {
        return Err(GitError::TooOld {
            found: version.to_string(),
        });
    }
    Ok(*VERSION.get_or_init(|| version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stderr: &str) -> Output {
        Output {
            code: Some(128),
            stdout: Vec::new(),
            stderr: stderr.to_owned(),
            command: "git x".to_owned(),
            dir: PathBuf::from("/"),
        }
    }

    #[test]
    fn versions_of_many_vendors_are_read() {
        for (text, version) in [
            ("git version 2.47.3\n", (2, 47, 3)),
            ("git version 2.39.5 (Apple Git-154)", (2, 39, 5)),
            ("git version 2.51.0.windows.1", (2, 51, 0)),
            ("git version 2.38.rc1", (2, 38, 0)),
        ] {
            let v = parse_version(text).unwrap();
            assert_eq!((v.major, v.minor, v.patch), version, "{text}");
        }
        assert_eq!(parse_version("gitk"), None);
        assert!(parse_version("git version 2.37.9").unwrap() < MINIMUM_GIT);
        assert!(git_version().unwrap() >= MINIMUM_GIT);
    }

    #[test]
    fn both_pipes_are_awaited_and_neither_for_ever() {
        let (done, finished) = mpsc::channel();
        let slow = done.clone();
        done.send(()).unwrap();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            slow.send(()).unwrap();
        });
        await_pipes(&finished, 2, Duration::from_secs(60));
        assert!(finished.try_recv().is_err(), "the slow one was not awaited");
        reader.join().unwrap();
        await_pipes(&finished, 2, Duration::from_millis(1));
    }

    #[test]
    fn held_locks_are_recognised() {
        let text = "fatal: Unable to create '/a b/.git/index.lock': File exists.\n\nAnother git";
        assert_eq!(
            held_lock(&answer(text)).as_deref(),
            Some("/a b/.git/index.lock")
        );
        let text = "error: could not lock config file .git/config: File exists";
        assert_eq!(
            held_lock(&answer(text)).as_deref(),
            Some(".git/config.lock")
        );
        assert_eq!(held_lock(&answer("fatal: not a git repository")), None);
    }

    #[test]
    fn a_held_lock_is_tried_again_unless_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let script = "alias.busy=!test -e tried && exit 0; touch tried; \
            echo \"fatal: Unable to create '/x/index.lock': File exists.\" >&2; exit 128";
        let call = || Git::at(dir.path()).args(["-c", script, "busy"]);
        assert_eq!(call().once().output().unwrap().code, Some(128));
        std::fs::remove_file(dir.path().join("tried")).unwrap();
        assert_eq!(call().output().unwrap().code, Some(0));
    }

    #[test]
    fn a_command_that_hangs_is_stopped_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Git::at(dir.path())
            .args(["-c", "alias.hang=!exec sleep 60", "hang"])
            .timeout(Duration::from_millis(100))
            .run()
            .unwrap_err();
        assert!(
            matches!(&error, GitError::TimedOut { command, .. } if command.contains("hang")),
            "{error}"
        );
    }

    #[test]
    fn a_background_child_that_keeps_the_pipes_open_is_not_awaited() {
        let dir = tempfile::tempdir().unwrap();
        let begin = Instant::now();
        let output = Git::at(dir.path())
            .args(["-c", "alias.bg=!sleep 20 & echo started", "bg"])
            .run()
            .unwrap();
        assert_eq!(output.text(), "started");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn input_and_output_larger_than_a_pipe_pass() {
        let dir = tempfile::tempdir().unwrap();
        let big = vec![b'x'; 1 << 20];
        let output = Git::at(dir.path())
            .args(["-c", "alias.cat=!cat", "cat"])
            .input(big.clone())
            .run()
            .unwrap();
        assert_eq!(output.stdout, big);
    }

    #[test]
    fn a_failure_tells_the_whole_story() {
        let dir = tempfile::tempdir().unwrap();
        let error = Git::at(dir.path())
            .args(["rev-parse", "--git-dir"])
            .run()
            .unwrap_err()
            .to_string();
        for part in [
            "git rev-parse --git-dir",
            &dir.path().display().to_string(),
            "128",
            "not a git repository",
        ] {
            assert!(error.contains(part), "{part} missing in {error}");
        }
    }
}
