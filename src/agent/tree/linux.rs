//! The process table of Linux: `/proc`, pidfds, the subreaper.

use std::io::Read;
use std::os::unix::fs::MetadataExt;

use procfs::FromRead;
use procfs::process::Stat;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, getpid, getrlimit, getuid,
    kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper, setrlimit, waitpid,
};

use super::{ProcessKey, Row};

/// Whether it can be told which files a process has open.
pub(super) const KNOWS_OPEN_FILES: bool = true;

pub(super) fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// All processes of this user.
pub(super) fn rows() -> Vec<Row> {
    let user = getuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let owner = entry.metadata().ok()?.uid();
            (owner == user).then(|| row(pid))?
        })
        .collect()
}

/// The processes below this one, ended ones included; none where the kernel does not list
/// children.
pub(super) fn rows_below_me() -> Option<Vec<Row>> {
    let mut open = children(own_pid())?;
    let mut rows = Vec::new();
    while let Some(pid) = open.pop() {
        // One that ended meanwhile has no children any more: they are our own by now, or
        // the next look's.
        open.extend(children(pid).unwrap_or_default());
        rows.extend(row(pid));
    }
    Some(rows)
}

/// The children of all threads of a process.
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
    {
        let text = std::fs::read_to_string(thread.path().join("children")).ok()?;
        found.extend(text.split_ascii_whitespace().flat_map(str::parse::<i32>));
    }
    Some(found)
}

/// `PF_KTHREAD`: of no user's and without an environment.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// One process; none when it is gone.
pub(super) fn row(pid: i32) -> Option<Row> {
    // The line is short and comes in one piece.
    let mut line = [0; 2048];
    let length = std::fs::File::open(format!("/proc/{pid}/stat"))
        .and_then(|mut file| file.read(&mut line))
        .ok()?;
    let stat = Stat::from_read(line.get(..length)?).ok()?;
    if stat.flags & KERNEL_THREAD != 0 {
        return None;
    }
    Some(Row {
        key: ProcessKey {
            pid: stat.pid,
            start: stat.starttime,
        },
        parent: stat.ppid,
        ended: matches!(stat.state, 'Z' | 'X' | 'x'),
        memory_bytes: stat.rss.saturating_mul(procfs::page_size()),
        cpu_ms: cpu_ms(&stat),
    })
}

fn cpu_ms(stat: &Stat) -> u64 {
    let children = u64::try_from(stat.cutime.saturating_add(stat.cstime)).unwrap_or(0);
    let ticks = stat.utime + stat.stime + children;
    ticks.saturating_mul(1000) / procfs::ticks_per_second().max(1)
}

/// Bytes that a process and its reaped children read and wrote so far, by whatever way; none
/// when it cannot be told.
pub(super) fn io_bytes(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let value = |name: &str| -> Option<u64> {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?
            .trim()
            .parse()
            .ok()
    };
    Some(value("rchar")?.saturating_add(value("wchar")?))
}

/// Memory of a process with its share of what it shares with others (PSS), bytes.
pub(super) fn share_of_memory(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// The command line of a process, its words parted by blanks.
pub(super) fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Names this run of the system: process numbers and start times mean nothing in another.
pub(super) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// How many processes the kernel ended for want of memory since it runs.
pub(super) fn kernel_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .trim()
        .parse()
        .ok()
}

/// The environment that a process was started with: `NAME=VALUE` with a zero after each.
pub(super) fn environment(pid: i32) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/environ")).ok()
}

/// Signals exactly this process: never one that got its number later.
pub(super) fn signal(key: ProcessKey, signal: Signal) {
    let Some(pid) = Pid::from_raw(key.pid) else {
        return;
    };
    let is_it = || row(key.pid).is_some_and(|row| row.key == key);
    match pidfd_open(pid, PidfdFlags::empty()) {
        // The descriptor names one process for good; looking after opening makes it exact.
        Ok(descriptor) if is_it() => {
            let _ = pidfd_send_signal(descriptor, signal);
        }
        Ok(_) => {}
        // Kernels and sandboxes without pidfds: the remaining gap is some microseconds.
        Err(e) if e == rustix::io::Errno::NOSYS || e == rustix::io::Errno::PERM => {
            if is_it() {
                let _ = kill_process(pid, signal);
            }
        }
        Err(_) => {}
    }
}

/// A resource limit as it was before.
pub(super) type Limit = Rlimit;

/// What this process starts from now on carries this seal; returns what is to be put back.
pub(super) fn wear_seal(seal: u64) -> Option<Limit> {
    let before = getrlimit(Resource::Rttime);
    let sealed = Rlimit {
        current: Some(seal),
        maximum: before.maximum,
    };
    setrlimit(Resource::Rttime, sealed).ok().map(|()| before)
}

pub(super) fn take_seal_off(before: Limit) {
    let _ = setrlimit(Resource::Rttime, before);
}

/// The seal that a process carries.
pub(super) fn seal_of(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

pub(super) fn reap(pid: i32) {
    let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
}

pub(super) fn become_subreaper() -> std::io::Result<()> {
    set_child_subreaper(Some(getpid())).map_err(Into::into)
}

/// The name of a process's program, at most 15 bytes of it.
pub(super) fn program(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The folder in which a process works.
pub(super) fn folder(pid: i32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Whether a process has a file open.
pub(super) fn has_open(pid: i32, file: &std::path::Path) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == file))
}
