//! Starting a process: the one place where a [`CommandSpec`] becomes a child.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{CommandSpec, SpawnError};
use crate::agent::tree::{self, EndPlan, ProcessKey, Tree};

/// A started agent with its three pipes.
#[derive(Debug)]
pub struct Running {
    /// The process itself.
    pub child: Child,
    /// Who it is; stays true when its number is used again.
    pub key: Option<ProcessKey>,
    /// Its standard input.
    pub stdin: ChildStdin,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
}

/// Calls `ended` on a thread of its own once the process with this number has ended. It stays
/// to be waited for by its [`Child`].
///
/// # Errors
/// When there is no thread to be had.
pub fn on_end(pid: u32, ended: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("end".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            if let Some(pid) = pid {
                while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
            }
            ended();
        })
        .map(drop)
}

/// A command with nothing but the given environment.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place of this room that starts processes"
)]
pub(crate) fn command(program: &Path, env: &super::environment::Environment) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(env.iter());
    command
}

/// Starts an agent with pipes on all three standard streams.
///
/// # Errors
/// When the program is not there or cannot run, or the folder is missing.
pub fn spawn(spec: &CommandSpec) -> Result<Running, SpawnError> {
    let mut child = command(&spec.program, &spec.env)
        .args(&spec.args)
        .current_dir(&spec.cwd)
        // A group of its own, so that keys pressed in a terminal do not reach it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| SpawnError::Start {
            program: spec.program.clone(),
            cwd: spec.cwd.clone(),
            source,
        })?;
    let key = ProcessKey::of(child.id());
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Running {
            child,
            key,
            stdin,
            stdout,
            stderr,
        }),
        _ => Err(SpawnError::Prepare {
            action: "get the pipes",
            program: spec.program.clone(),
            source: std::io::Error::other("a pipe is missing"),
        }),
    }
}

/// Starts a client in the terminal of this process: it gets the standard streams, and stays in
/// this process's group, so that what is typed reaches it.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_in_terminal(spec: &CommandSpec) -> Result<Child, SpawnError> {
    command(&spec.program, &spec.env)
        .args(&spec.args)
        .current_dir(&spec.cwd)
        .spawn()
        .map_err(|source| SpawnError::Start {
            program: spec.program.clone(),
            cwd: spec.cwd.clone(),
            source,
        })
}

/// What a child in the terminal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTerminal {
    /// It was stopped, as by Ctrl-Z.
    Stopped,
    /// It ended, and stays to be waited for by its [`Child`].
    Ended,
}

/// Tells each stop and then the end of the process with this number, from a thread of its own.
///
/// # Errors
/// When there is no thread to be had.
pub fn follow_in_terminal(
    pid: u32,
    mut tell: impl FnMut(InTerminal) + Send + 'static,
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("client".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
                return tell(InTerminal::Ended);
            };
            let both = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
            loop {
                match waitid(WaitId::Pid(pid), both) {
                    Err(Errno::INTR) => {}
                    Ok(Some(status)) if status.stopped() => {
                        // Taken note of, so that the next wait is for the next one.
                        let stops = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
                        let _ = waitid(WaitId::Pid(pid), stops);
                        tell(InTerminal::Stopped);
                    }
                    _ => return tell(InTerminal::Ended),
                }
            }
        })
        .map(drop)
}

/// Stops this process with a child in the terminal that is stopped, until somebody lets both go
/// on. Nothing when the child goes on already: the terminal may have stopped and continued both.
pub fn stop_with(pid: u32) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    if state.starts_with('T') {
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::STOP);
    }
}

/// Whether some process of this machine is the program of this name; none where that cannot
/// be told.
#[must_use]
pub fn is_running(program: &str) -> Option<bool> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let mut names = processes
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok())
        .peekable();
    names.peek()?;
    Some(names.any(|name| name.trim_end() == program))
}

/// What a process printed, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: Vec<u8>,
    /// Its exit code, when it ended by itself.
    pub exit: Option<i32>,
    /// Whether that was 0.
    pub success: bool,
}

/// Most of each pipe that [`output_within`] keeps, bytes. What goes on printing hears that nobody
/// reads.
const MAX_PRINTED: u64 = 64 << 20;

/// Reads both pipes of a process to their ends and waits for it; nothing when that takes longer
/// than `patience`: then its tree is ended.
#[must_use]
pub fn output_within(child: &mut Child, patience: Duration) -> Option<Printed> {
    let key = ProcessKey::of(child.id());
    let deadline = Instant::now() + patience;
    let (tell, told) = mpsc::channel();
    let mut reading = 0;
    let out = child
        .stdout
        .take()
        .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let err = child
        .stderr
        .take()
        .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    for (at, pipe) in [out, err].into_iter().enumerate() {
        let Some(pipe) = pipe else { continue };
        let tell = tell.clone();
        reading += 1;
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.take(MAX_PRINTED).read_to_end(&mut text);
            let _ = tell.send((at, text));
        });
    }
    let give_up = |child: &mut Child| {
        let tree = Tree {
            roots: key.iter().cloned().collect(),
            ..Tree::default()
        };
        tree::end(&tree, &EndPlan::default());
        let _ = child.wait();
    };
    let mut texts = [Vec::new(), Vec::new()];
    for _ in 0..reading {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((at, text)) = told.recv_timeout(left) else {
            give_up(child);
            return None;
        };
        if let Some(place) = texts.get_mut(at) {
            *place = text;
        }
    }
    // Its pipes are closed; it may go on all the same.
    let status = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(None) => {
                give_up(child);
                return None;
            }
            Ok(status) => break status,
            Err(_) => break None,
        }
    };
    let [out, err] = texts;
    Some(Printed {
        out,
        err,
        exit: status.and_then(|status| status.code()),
        success: status.is_some_and(|status| status.success()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::environment::Environment;

    #[test]
    fn what_closes_its_output_and_stays_is_ended_as_well() {
        let env = Environment::from_vars([("PATH", "/usr/bin:/bin")]);
        let printed = |script: &str, patience: u64| {
            let mut child = command(Path::new("/bin/sh"), &env)
                .args(["-c", script])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            output_within(&mut child, Duration::from_millis(patience))
        };
        let said = printed("echo out; echo err >&2; exit 3", 60_000).unwrap();
        assert_eq!((said.out, said.err), (b"out\n".to_vec(), b"err\n".to_vec()));
        assert_eq!((said.exit, said.success), (Some(3), false));
        assert_eq!(printed("exec >&- 2>&-; exec sleep 600", 100), None);
        assert_eq!(printed("exec sleep 600", 100), None);
    }
}
