//! Running a command that a person configured: verify, set-up.
//!
//! `sh -c` runs such commands and nothing else; no data ever becomes part of one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::environment::Environment;
use super::tree::{self, COMMAND_VARIABLE, EndPlan, MARK_VARIABLE, Marker, ProcessKey, Tree};

/// How much of the end of the output is handed on, bytes.
pub const TAIL_BYTES: u64 = 6000;

/// A command whose output grows beyond this is ended: it would fill the disk. Bytes.
const MAX_OUTPUT: u64 = 256 * 1024 * 1024;

/// How often time, size and the wish to stop are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandReport {
    /// Its exit code; none when it did not end by itself, or could not be started.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its time was over.
    pub timed_out: bool,
    /// It was ended because the caller wanted to stop.
    pub stopped: bool,
    /// The end of what it printed, on both streams; or why it could not be started.
    pub tail: String,
    /// How long it took.
    pub duration: Duration,
}

impl CommandReport {
    /// Whether it ended by itself with code 0.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.exit == Some(0) && !self.timed_out && !self.stopped
    }

    /// How it ended, for people: `exit code 2`, `no end within 10m`.
    #[must_use]
    pub fn ending(&self) -> String {
        if self.stopped {
            "it was stopped".into()
        } else if self.timed_out {
            let ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
            format!("no end within {}", crate::core::time::Millis(ms))
        } else if let Some(code) = self.exit {
            format!("exit code {code}")
        } else if let Some(signal) = self.signal {
            format!("ended by signal {signal}")
        } else {
            "it could not be started".into()
        }
    }
}

/// Runs `cmd` with `sh -c` in `cwd`, with exactly the environment `env` and the marker.
///
/// Both output streams are appended to `log`. The whole tree of the command is ended with
/// it: at its end, after `timeout`, or soon after `stop` became true. Never fails: what went
/// wrong is in the report.
pub fn run_configured(
    cmd: &str,
    cwd: &Path,
    env: &Environment,
    log: &Path,
    timeout: Duration,
    marker: &Marker,
    stop: &AtomicBool,
) -> CommandReport {
    let started = Instant::now();
    let failed = |what: &str, error: &std::io::Error| CommandReport {
        exit: None,
        signal: None,
        timed_out: false,
        stopped: false,
        tail: format!("{what}: {error}"),
        duration: started.elapsed(),
    };
    let (mut output, from) = match open_log(log, cmd) {
        Ok(opened) => opened,
        Err(e) => return failed(&format!("cannot write {}", log.display()), &e),
    };
    let (out, err) = match (output.try_clone(), output.try_clone()) {
        (Ok(out), Ok(err)) => (out, err),
        (Err(e), _) | (_, Err(e)) => return failed("cannot use the log twice", &e),
    };
    let name = uuid::Uuid::new_v4().to_string();
    let mut env = env.clone();
    env.set(MARK_VARIABLE, marker.value());
    env.set(COMMAND_VARIABLE, &name);
    let mut child = match super::process::command(Path::new("/bin/sh"), &env)
        .args(["-c", cmd])
        .current_dir(cwd)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
    {
        Ok(child) => child,
        Err(e) => return failed(&format!("cannot start sh in {}", cwd.display()), &e),
    };
    let root = ProcessKey::of(child.id());
    let own = Tree {
        roots: root.into_iter().collect(),
        command: Some(name),
        ..Tree::default()
    };
    let managed: Vec<ProcessKey> = root.into_iter().collect();
    let plan = EndPlan {
        managed: &managed,
        ..EndPlan::default()
    };
    let (tell, ended) = mpsc::channel::<()>();
    // Its end is heard at once; without the thread it is seen at the next look.
    let _ = super::process::on_end(child.id(), move || drop(tell));
    let mut hears = true;
    let (status, timed_out, stopped) = loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => break (Some(status), false, false),
            Err(_) => break (None, false, false),
        }
        let too_much = output.metadata().is_ok_and(|m| m.len() > from + MAX_OUTPUT);
        let late = started.elapsed() >= timeout;
        let unwanted = stop.load(Ordering::Relaxed);
        if late || unwanted || too_much {
            tree::end(&own, &plan);
            let _ = child.wait();
            break (None, late, unwanted);
        }
        if hears {
            hears = ended.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Disconnected);
        } else {
            std::thread::sleep(LOOK_EVERY);
        }
    };
    // What it left in the background ends with it.
    tree::end(&own, &plan);
    let duration = started.elapsed();
    let tail = read_tail(&mut output, from).unwrap_or_default();
    CommandReport {
        exit: status.and_then(|s| s.code()),
        signal: status.and_then(|s| s.signal()),
        timed_out,
        stopped,
        tail,
        duration,
    }
}

/// Opens the log for appending, with a heading; returns it and where the output begins.
fn open_log(log: &Path, cmd: &str) -> std::io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(log)?;
    writeln!(file, "$ {cmd}")?;
    let from = file.metadata()?.len();
    Ok((file, from))
}

/// The last bytes after `from`, cut at a line where that is possible.
fn read_tail(file: &mut File, from: u64) -> std::io::Result<String> {
    let end = file.metadata()?.len();
    let start = from.max(end.saturating_sub(TAIL_BYTES));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = match text.split_once('\n') {
        Some((_, rest)) if start > from && !rest.is_empty() => rest,
        _ => &text,
    };
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::OrchestrationId;

    struct Room {
        dir: tempfile::TempDir,
        marker: Marker,
        stop: AtomicBool,
    }

    impl Room {
        fn new() -> Self {
            let token = uuid::Uuid::new_v4().to_string();
            Self {
                dir: tempfile::tempdir().unwrap(),
                marker: Marker::new(&token, &OrchestrationId::parse("r").unwrap(), None),
                stop: AtomicBool::new(false),
            }
        }

        fn run(&self, cmd: &str, timeout: Duration) -> CommandReport {
            run_configured(
                cmd,
                self.dir.path(),
                &Environment::from_vars([("PATH", "/usr/bin:/bin"), ("X", "y")]),
                &self.dir.path().join("log"),
                timeout,
                &self.marker,
                &self.stop,
            )
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn exit_code_and_output_are_reported() {
        let room = Room::new();
        let report = room.run("echo out; echo err >&2; echo $X; exit 3", LONG);
        assert_eq!(report.exit, Some(3));
        assert!(!report.is_green());
        assert_eq!(report.tail, "out\nerr\ny");
        assert_eq!(report.ending(), "exit code 3");
        // The next one's tail holds only its own output; the log holds both.
        let report = room.run("echo again", LONG);
        assert!(report.is_green());
        assert_eq!(report.tail, "again");
        let log = std::fs::read_to_string(room.dir.path().join("log")).unwrap();
        assert!(log.contains("out\n") && log.contains("$ echo again\nagain\n"));
    }

    #[test]
    fn the_tail_of_long_output_is_bounded() {
        let report = Room::new().run("seq 1 100000", LONG);
        assert!(report.tail.len() <= usize::try_from(TAIL_BYTES).unwrap());
        assert!(report.tail.ends_with("99999\n100000"));
        assert!(
            report
                .tail
                .lines()
                .next()
                .unwrap()
                .parse::<u32>()
                .is_ok_and(|n| n > 90_000)
        );
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_its_children() {
        let room = Room::new();
        let report = room.run(
            "(setsid sleep 600 &); sleep 600",
            Duration::from_millis(300),
        );
        assert!(report.timed_out, "{report:?}");
        assert_eq!(report.exit, None);
        assert_eq!(Tree::marked(room.marker).find(), []);
    }

    #[test]
    fn what_a_command_leaves_behind_ends_with_it() {
        let room = Room::new();
        let report = room.run("(setsid sleep 600 >/dev/null 2>&1 &); exit 0", LONG);
        assert!(report.is_green(), "{report:?}");
        assert_eq!(Tree::marked(room.marker).find(), []);
    }

    #[test]
    fn a_wish_to_stop_is_heard() {
        let room = Room::new();
        room.stop.store(true, Ordering::Relaxed);
        let report = room.run("sleep 600", LONG);
        assert!(report.stopped && !report.is_green());
    }

    #[test]
    fn a_missing_folder_is_a_red_report() {
        let room = Room::new();
        let report = run_configured(
            "true",
            &room.dir.path().join("absent"),
            &Environment::default(),
            &room.dir.path().join("log"),
            LONG,
            &room.marker,
            &room.stop,
        );
        assert!(!report.is_green());
        assert!(report.tail.contains("absent"), "{report:?}");
    }
}
