//! Background processes of this program: how they are started, and how they say that they
//! are ready.
//!
//! The child gets an empty standard input, a file as standard error and a pipe as standard
//! output, on which it writes exactly one line: `ready`, or `refused: WHY`. It leaves the
//! session of its parent by itself, with [`leave_session`].

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::SpawnError;
use super::environment::Environment;

/// What the child said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It holds its lock and works.
    Ready,
    /// It will not work, and says why; mostly because another one already does.
    Refused(String),
    /// It ended, or closed its output, without a word. Its standard error may tell more.
    Silent,
    /// It said nothing in time. It may still become ready.
    Late,
}

/// A started background process.
#[derive(Debug)]
pub struct Detached {
    /// The process. A parent that lives on should wait for it at its end, or it stays in
    /// the process table: [`Detached::reap_in_background`].
    pub child: Child,
    /// What it said.
    pub readiness: Readiness,
}

impl Detached {
    /// Waits for the end of the process on a small thread of its own.
    pub fn reap_in_background(mut self) {
        // Without the thread the process only stays in the table until this one ends.
        let _ = std::thread::Builder::new()
            .name("reap".into())
            .stack_size(64 * 1024)
            .spawn(move || self.child.wait());
    }
}

/// Starts `exe` with `args` as a background process, and waits until it says that it is
/// ready, but no longer than `patience`.
///
/// # Errors
/// When it cannot be started or its standard error file cannot be opened.
pub fn spawn_detached(
    exe: &Path,
    args: &[OsString],
    cwd: &Path,
    env: &Environment,
    stderr_file: &Path,
    patience: Duration,
) -> Result<Detached, SpawnError> {
    let prepare = |action| {
        let program = exe.to_owned();
        move |source| SpawnError::Prepare {
            action,
            program,
            source,
        }
    };
    let stderr = OpenOptions::new()
        .create(true)
        .append(true)
        .open(stderr_file)
        .map_err(prepare("open the standard error file"))?;
    let mut child = super::process::command(exe, env)
        .args(args)
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(|source| SpawnError::Start {
            program: exe.to_owned(),
            cwd: cwd.to_owned(),
            source,
        })?;
    let readiness = match child.stdout.take() {
        Some(out) => hear(out, patience).map_err(prepare("listen to its first line"))?,
        None => Readiness::Silent,
    };
    Ok(Detached { child, readiness })
}

/// Reads the one line, on a thread because a pipe has no deadline.
fn hear(out: impl Read + Send + 'static, patience: Duration) -> std::io::Result<Readiness> {
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("ready".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let mut line = String::new();
            // A child that prints without end must not fill the memory.
            let _ = BufReader::with_capacity(256, out.take(4096)).read_line(&mut line);
            let _ = tell.send(line);
        })?;
    Ok(match told.recv_timeout(patience) {
        Ok(line) => parse(line.trim_end()),
        Err(mpsc::RecvTimeoutError::Timeout) => Readiness::Late,
        Err(mpsc::RecvTimeoutError::Disconnected) => Readiness::Silent,
    })
}

fn parse(line: &str) -> Readiness {
    match line.strip_prefix("refused: ") {
        Some(why) => Readiness::Refused(why.to_owned()),
        None if line == "ready" => Readiness::Ready,
        None => Readiness::Silent,
    }
}

/// The child's side: says that it is ready. A parent that is gone is no error.
pub fn announce_ready(out: &mut dyn Write) {
    let _ = out.write_all(b"ready\n").and_then(|()| out.flush());
}

/// The child's side: says why it will not work.
pub fn announce_refused(out: &mut dyn Write, why: &str) {
    let line = format!("refused: {}\n", why.replace('\n', " "));
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// The child's side, at its very start: leaves the session of its parent, so that closing a
/// terminal does not end it. Already leading a session is no error.
pub fn leave_session() {
    // Fails only for the leader of a process group, which a shell with job control makes
    // of what it starts by hand; such a one stays where it is.
    let _ = rustix::process::setsid();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn start(script: &str, patience: Duration) -> Detached {
        let dir = tempfile::tempdir().unwrap();
        spawn_detached(
            Path::new("/bin/sh"),
            &["-c".into(), script.into()],
            dir.path(),
            &Environment::from_vars([("PATH", "/usr/bin:/bin")]),
            &dir.path().join("stderr"),
            patience,
        )
        .unwrap()
    }

    #[test]
    fn the_first_line_tells_readiness() {
        let long = Duration::from_secs(20);
        for (script, readiness) in [
            ("echo ready", Readiness::Ready),
            ("echo refused: held", Readiness::Refused("held".into())),
            ("exit 3", Readiness::Silent),
            ("echo nonsense", Readiness::Silent),
        ] {
            let mut started = start(script, long);
            assert_eq!(started.readiness, readiness, "{script}");
            started.child.wait().unwrap();
        }
    }

    #[test]
    fn a_late_child_does_not_block_its_parent() {
        let before = Instant::now();
        let mut started = start("exec sleep 30", Duration::from_millis(30));
        assert_eq!(started.readiness, Readiness::Late);
        assert!(before.elapsed() < Duration::from_secs(20));
        started.child.kill().unwrap();
        started.child.wait().unwrap();
    }

    #[test]
    fn both_ends_agree() {
        let mut out = Vec::new();
        announce_ready(&mut out);
        assert_eq!(
            parse(String::from_utf8(out).unwrap().trim()),
            Readiness::Ready
        );
        let mut out = Vec::new();
        announce_refused(&mut out, "two\nlines");
        assert_eq!(
            parse(String::from_utf8(out).unwrap().trim()),
            Readiness::Refused("two lines".into())
        );
    }
}
