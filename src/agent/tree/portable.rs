//! The process table of systems other than Linux, as the library `sysinfo` reads it. Meant for
//! macOS; tested on Linux, against the table that is used there.
//!
//! Less is known here, and what is not known is said so: there is no child subreaper and no seal,
//! so that an orphan is found by the mark in its environment alone; ended processes, open files
//! and shares of memory are not told; start times are whole seconds, so that in theory a process
//! of the same number that began within the same second is taken for the other.

use std::ffi::OsString;

use rustix::process::{Pid as OwnPid, Signal, WaitOptions, getpid, getuid, kill_process, waitpid};
use sysinfo::{
    Pid, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind,
};

use super::{ProcessKey, Row};

/// Whether it can be told which files a process has open.
pub(super) const KNOWS_OPEN_FILES: bool = false;

pub(super) fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// The processes asked for, with what is asked for of them.
fn look(which: ProcessesToUpdate<'_>, what: ProcessRefreshKind) -> Option<System> {
    let mut system = System::new().ok()?;
    system.refresh_processes_specifics(which, true, what);
    Some(system)
}

/// One process with what is asked for of it.
fn look_at<T>(pid: i32, what: ProcessRefreshKind, of: impl FnOnce(&Process) -> T) -> Option<T> {
    let pid = Pid::from_u32(u32::try_from(pid).ok()?);
    look(ProcessesToUpdate::Some(&[pid]), what)?
        .process(pid)
        .map(of)
}

fn figures() -> ProcessRefreshKind {
    ProcessRefreshKind::nothing()
        .with_memory()
        .with_cpu()
        .with_user(UpdateKind::Always)
}

/// All processes of this user.
pub(super) fn rows() -> Vec<Row> {
    let Some(system) = look(ProcessesToUpdate::All, figures()) else {
        return Vec::new();
    };
    let user = getuid().as_raw();
    system
        .processes()
        .values()
        .filter(|process| process.user_id().is_some_and(|id| **id == user))
        .filter(|process| process.thread_kind().is_none())
        .filter_map(row_of)
        .collect()
}

fn row_of(process: &Process) -> Option<Row> {
    let number = |pid: Pid| i32::try_from(pid.as_u32()).ok();
    Some(Row {
        key: ProcessKey {
            pid: number(process.pid())?,
            start: process.start_time(),
        },
        parent: process.parent().and_then(number).unwrap_or(0),
        ended: matches!(
            process.status(),
            ProcessStatus::Zombie | ProcessStatus::Dead
        ),
        memory_bytes: process.memory(),
        cpu_ms: process.accumulated_cpu_time(),
    })
}

/// Nobody lists children here; the whole table is looked through instead.
pub(super) fn rows_below_me() -> Option<Vec<Row>> {
    None
}

/// One process; none when it is gone.
pub(super) fn row(pid: i32) -> Option<Row> {
    look_at(pid, figures(), row_of)?
}

/// The environment that a process was started with: `NAME=VALUE` with a zero after each.
pub(super) fn environment(pid: i32) -> Option<Vec<u8>> {
    let what = ProcessRefreshKind::nothing().with_environ(UpdateKind::Always);
    let all = look_at(pid, what, |process| {
        process
            .environ()
            .iter()
            .flat_map(|var| [var.as_encoded_bytes(), b"\0"].concat())
            .collect::<Vec<u8>>()
    })?;
    // One that may not be looked into shows as an empty one.
    (!all.is_empty()).then_some(all)
}

/// Bytes that a process read from and wrote to disks.
pub(super) fn io_bytes(pid: i32) -> Option<u64> {
    let what = ProcessRefreshKind::nothing().with_disk_usage();
    look_at(pid, what, |process| {
        let usage = process.disk_usage();
        usage
            .total_read_bytes
            .saturating_add(usage.total_written_bytes)
    })
}

pub(super) fn share_of_memory(_pid: i32) -> Option<u64> {
    None
}

/// The command line of a process, its words parted by blanks.
pub(super) fn command_line(pid: i32) -> Option<String> {
    let what = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always);
    let words = look_at(pid, what, |process| process.cmd().to_vec())?;
    let line = words.join(&OsString::from(" "));
    Some(line.to_string_lossy().trim().to_owned()).filter(|line| !line.is_empty())
}

/// Names this run of the system.
pub(super) fn boot_id() -> Option<String> {
    System::boot_time().ok().map(|at| format!("boot-{at}"))
}

pub(super) fn kernel_kills() -> Option<u64> {
    None
}

/// Signals this process. One that got its number since is spared but for the moment between
/// the look and the signal.
pub(super) fn signal(key: ProcessKey, signal: Signal) {
    if let Some(pid) = OwnPid::from_raw(key.pid)
        && row(key.pid).is_some_and(|row| row.key == key)
    {
        let _ = kill_process(pid, signal);
    }
}

pub(super) fn reap(pid: i32) {
    let _ = waitpid(OwnPid::from_raw(pid), WaitOptions::NOHANG);
}

pub(super) fn become_subreaper() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

pub(super) type Limit = ();

pub(super) fn wear_seal(_seal: u64) -> Option<Limit> {
    None
}

pub(super) fn take_seal_off((): Limit) {}

pub(super) fn seal_of(_pid: i32) -> Option<u64> {
    None
}

/// The name of a process's program.
pub(super) fn program(pid: i32) -> Option<String> {
    look_at(pid, ProcessRefreshKind::nothing(), |process| {
        process.name().to_string_lossy().into_owned()
    })
}

/// The folder in which a process works.
pub(super) fn folder(pid: i32) -> Option<std::path::PathBuf> {
    let what = ProcessRefreshKind::nothing().with_cwd(UpdateKind::Always);
    look_at(pid, what, |process| process.cwd().map(ToOwned::to_owned))?
}

pub(super) fn has_open(_pid: i32, _file: &std::path::Path) -> bool {
    false
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test needs a process")]
mod tests {
    use super::*;
    use crate::agent::tree::table;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::{Duration, Instant};

    /// What this table tells of a process is what the other one tells.
    #[test]
    fn it_tells_what_the_table_of_linux_tells() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let mut child = Command::new("/bin/sleep")
            .arg("600")
            .current_dir(&dir)
            .env_clear()
            .env("ORCHESTRA_MARK", "t/r/x")
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while program(pid).as_deref() != Some("sleep") {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        let (ours, theirs) = (row(pid).unwrap(), table::row(pid).unwrap());
        assert_eq!((ours.key.pid, ours.parent), (theirs.key.pid, theirs.parent));
        assert_eq!(ours.parent, own_pid());
        assert!(!ours.ended && ours.memory_bytes > 0);
        assert_eq!(environment(pid), table::environment(pid));
        assert_eq!(environment(pid).unwrap(), b"ORCHESTRA_MARK=t/r/x\0");
        assert_eq!(command_line(pid), table::command_line(pid));
        assert_eq!(folder(pid), Some(dir));
        assert_eq!(boot_id(), boot_id());
        let pids = |rows: Vec<Row>| {
            let mut pids: Vec<i32> = rows.iter().map(|row| row.key.pid).collect();
            pids.sort_unstable();
            pids
        };
        // Of what lives through both looks, both see the same; no thread is a process.
        let (before, ours, after) = (pids(table::rows()), pids(rows()), pids(table::rows()));
        for pid in &ours {
            assert!(
                before.contains(pid) || after.contains(pid) || row(*pid).is_none(),
                "{pid}"
            );
        }
        for pid in before.iter().filter(|pid| after.contains(pid)) {
            assert!(ours.contains(pid), "{pid}");
        }
        // Somebody else's number is spared.
        let stranger = ProcessKey { pid, start: 1 };
        signal(stranger, Signal::KILL);
        assert!(child.try_wait().unwrap().is_none());
        signal(row(pid).unwrap().key, Signal::KILL);
        child.wait().unwrap();
        assert!(row(pid).is_none());
        assert_eq!(
            (program(-1), row(i32::MAX).map(|row| row.key)),
            (None, None)
        );
    }
}
