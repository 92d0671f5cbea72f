//! The status line that a person had before ours: their own command, run beside us.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::environment::Environment;

/// What is read of its output, bytes. A status line has a few hundred.
const MAX_OUTPUT: u64 = 64 * 1024;

/// A command that runs while we do something else.
#[derive(Debug)]
pub struct Beside {
    child: Option<Child>,
    output: Receiver<Vec<u8>>,
}

impl Beside {
    /// Starts `sh -c COMMAND` as the client would, with this on its standard input. What goes
    /// wrong shows in [`Beside::output`].
    #[must_use]
    pub fn start(command: &str, env: &Environment, cwd: &Path, input: Vec<u8>) -> Self {
        let (tell, output) = mpsc::channel();
        let started = super::process::command(Path::new("/bin/sh"), env)
            .args(["-c", command])
            .current_dir(cwd)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = started else {
            return Self {
                child: None,
                output,
            };
        };
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // It may end without reading its input, or read it last.
        std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(stdout) = stdout {
                let _ = stdout.take(MAX_OUTPUT).read_to_end(&mut bytes);
            }
            let _ = tell.send(bytes);
        });
        Self {
            child: Some(child),
            output,
        }
    }

    /// What it printed, without the last line's end; none when it printed nothing, failed, or
    /// took longer than this. Then it is ended with what it started.
    #[must_use]
    pub fn output(mut self, patience: Duration) -> Option<String> {
        let bytes = self.output.recv_timeout(patience).ok()?;
        let child = self.child.as_mut()?;
        // Its output is closed. One that goes on without it is ended below.
        let until = std::time::Instant::now() + Duration::from_millis(100);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if std::time::Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => return None,
            }
        };
        self.child = None;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        (status.success() && !text.is_empty()).then(|| text.to_owned())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_ones_are_ended_and_endless_ones_cut() {
        let dir = tempfile::tempdir().unwrap();
        let env = Environment::from_vars([("PATH", "/usr/bin:/bin")]);
        let start = |command: &str| Beside::start(command, &env, dir.path(), vec![b'x'; 100_000]);
        let pid = dir.path().join("pid");
        let slow = start("sleep 600 & echo $! > pid; echo early; wait");
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while std::fs::read(&pid).is_ok_and(|b| b.is_empty()) || !pid.exists() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(slow.output(Duration::from_millis(20)), None);
        let pid: u32 = std::fs::read_to_string(pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        while crate::agent::tree::ProcessKey::of(pid).is_some_and(|key| key.is_alive()) {
            assert!(std::time::Instant::now() < deadline, "{pid} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
        let long = Duration::from_secs(60);
        assert_eq!(start("yes").output(long), None);
        assert_eq!(start("exit 0").output(long), None);
        assert_eq!(
            start("echo one; echo two").output(long),
            Some("one\ntwo".into())
        );
        assert_eq!(
            start("wc -c | tr -d ' '").output(long),
            Some("100000".into())
        );
    }
}
