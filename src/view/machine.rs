//! What the machine has left, and what worktrees take up on its disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::{Current, CurrentSI};

use super::snapshot::Snapshot;

/// Measured once. What cannot be measured here is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    /// Memory of the machine, bytes.
    pub memory_total: Option<u64>,
    /// Memory that programs could still get, bytes.
    pub memory_available: Option<u64>,
    /// Mean number of processes that wanted a CPU in the last minute.
    pub load: Option<f32>,
    /// CPUs of the machine.
    pub cpus: Option<usize>,
    /// Room left on the disk that holds the worktrees, bytes.
    pub disk_free: Option<u64>,
    /// Disk used by each task's worktree, bytes; a task is missing when its worktree is, or
    /// when it is too big to be measured in time.
    pub worktrees: BTreeMap<String, u64>,
}

impl Machine {
    /// Measures. The worktrees together get at most `patience`.
    #[must_use]
    pub fn measure(snapshot: &Snapshot, patience: Duration) -> Self {
        let memory = procfs::Meminfo::current().ok();
        let deadline = Instant::now() + patience;
        let mut worktrees = BTreeMap::new();
        for task in snapshot.rows() {
            if let Some(place) = task.place.as_ref().filter(|_| task.worktree_exists)
                && let Some(size) = folder_size(&place.worktree, deadline)
            {
                worktrees.insert(task.name.to_string(), size);
            }
        }
        let place = snapshot
            .settings
            .as_ref()
            .map_or(snapshot.dir.as_path(), |s| s.worktree_dir.as_path());
        Self {
            memory_total: memory.as_ref().map(|m| m.mem_total),
            memory_available: memory.as_ref().and_then(|m| m.mem_available),
            load: procfs::LoadAverage::current().ok().map(|l| l.one),
            cpus: procfs::KernelStats::current()
                .ok()
                .map(|s| s.cpu_time.len()),
            disk_free: disk_free(place),
            worktrees,
        }
    }
}

/// Room left on the disk of a folder, or of the nearest one above it that exists, in bytes.
#[must_use]
pub fn disk_free(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes that the files of a folder take up on disk. Links are not followed, other disks are
/// not entered; `None` when it cannot be read or the deadline passes.
#[must_use]
pub fn folder_size(folder: &Path, deadline: Instant) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let device = folder.symlink_metadata().ok()?.dev();
    let mut total = 0;
    let mut open: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        if Instant::now() > deadline {
            return None;
        }
        // Files come and go while an instance works; what is gone takes up nothing.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            total += meta.blocks() * 512;
            if meta.is_dir() && meta.dev() == device {
                open.push(entry.path());
            }
        }
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_as_big_as_its_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        let size = folder_size(dir.path(), later).unwrap();
        assert!((100_000..200_000).contains(&size), "{size}");
        assert_eq!(folder_size(&dir.path().join("none"), later), None);
        assert!(disk_free(&dir.path().join("not/there/yet")).unwrap() > 0);
    }
}
