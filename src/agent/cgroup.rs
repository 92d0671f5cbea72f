//! A control group of an instance's own, where the system lets this user make one: the kernel
//! then bounds its memory, counts its peak, says for certain when a process was ended for want
//! of memory, and ends all of it at once.
//!
//! Only version 2, by its files. Mostly it is not to be had (no delegation, another version, no
//! memory controller); then the tree is watched instead, see [`super::tree`].

use std::fs;
use std::path::{Path, PathBuf};

use super::tree::ProcessKey;

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A group; removed when it is dropped and empty.
#[derive(Debug)]
pub struct Group {
    dir: PathBuf,
}

/// The control group of this process, when version 2 is there.
#[must_use]
pub fn own_group() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    MOUNTS
        .iter()
        .map(Path::new)
        .find(|mount| mount.join("cgroup.controllers").is_file())
        .map(|mount| mount.join(path))
}

/// Makes a group below this process's own, or beside it, whose processes may together use
/// `max_memory` bytes. `name` tells it from others; what is not allowed in a file name must not
/// be in it. None when it cannot be had.
#[must_use]
pub fn make(name: &str, max_memory: u64) -> Option<Group> {
    let own = own_group()?;
    let beside = own
        .parent()
        .filter(|parent| parent.join("cgroup.procs").is_file());
    [Some(own.as_path()), beside]
        .into_iter()
        .flatten()
        .find_map(|parent| Group::make_in(parent, name, max_memory))
}

impl Group {
    /// As [`make`], in this group.
    fn make_in(parent: &Path, name: &str, max_memory: u64) -> Option<Self> {
        let offered = fs::read_to_string(parent.join("cgroup.subtree_control")).ok()?;
        if !offered.split_whitespace().any(|c| c == "memory") {
            return None;
        }
        let dir = parent.join(name);
        if let Err(error) = fs::create_dir(&dir)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return None;
        }
        let group = Self { dir };
        // Together with swap: without it the limit would only move memory to the disk.
        let _ = group.write("memory.swap.max", "0");
        // One that outgrows it is ended as a whole only by this program, not by the kernel.
        group.write("memory.max", &max_memory.to_string()).ok()?;
        Some(group)
    }

    /// Takes a process in, with what it starts from now on.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn add(&self, process: ProcessKey) -> std::io::Result<()> {
        self.write("cgroup.procs", &process.pid.to_string())
    }

    /// How many of its processes the kernel ended for want of memory.
    #[must_use]
    pub fn kernel_kills(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join("memory.events")).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?
            .trim()
            .parse()
            .ok()
    }

    /// The most memory that it used at once, bytes.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join("memory.peak")).ok()?;
        text.trim().parse().ok()
    }

    /// Ends all of its processes at once. Systems that cannot do this need
    /// [`super::tree::end`] as well, which is needed anyway for what left the group.
    pub fn kill(&self) {
        let _ = self.write("cgroup.kill", "1");
    }

    /// Writes to a file that is there: outside of tests the kernel made it.
    fn write(&self, file: &str, text: &str) -> std::io::Result<()> {
        use std::io::Write;
        fs::OpenOptions::new()
            .write(true)
            .open(self.dir.join(file))?
            .write_all(text.as_bytes())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel's own files do not count; a group with processes in it stays.
        let _ = fs::remove_dir(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a group whose parent offers these controllers.
    fn parent(offered: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), offered).unwrap();
        let own = dir.path().join("i");
        fs::create_dir(&own).unwrap();
        for file in [
            "memory.max",
            "memory.swap.max",
            "cgroup.procs",
            "cgroup.kill",
        ] {
            fs::write(own.join(file), "").unwrap();
        }
        dir
    }

    #[test]
    fn the_files_of_a_group_are_written_and_read() {
        let dir = parent("cpu memory pids\n");
        let group = Group::make_in(dir.path(), "i", 4096).unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join("i").join(file)).unwrap();
        assert_eq!(read("memory.max"), "4096");
        assert_eq!(group.kernel_kills(), None);
        let events = "low 0\noom 3\noom_kill 2\noom_group_kill 0\n";
        fs::write(dir.path().join("i/memory.events"), events).unwrap();
        fs::write(dir.path().join("i/memory.peak"), "123\n").unwrap();
        assert_eq!(
            (group.kernel_kills(), group.peak_memory()),
            (Some(2), Some(123))
        );
        group.add(ProcessKey { pid: 77, start: 1 }).unwrap();
        group.kill();
        assert_eq!(
            (read("cgroup.procs"), read("cgroup.kill")),
            ("77".into(), "1".into())
        );
    }

    #[test]
    fn without_the_memory_controller_or_the_right_to_use_it_there_is_none() {
        assert!(Group::make_in(parent("cpu\n").path(), "i", 1).is_none());
        let dir = parent("memory\n");
        fs::remove_file(dir.path().join("i/memory.max")).unwrap();
        assert!(Group::make_in(dir.path(), "i", 1).is_none());
        assert!(Group::make_in(Path::new("/nowhere"), "i", 1).is_none());
    }
}
