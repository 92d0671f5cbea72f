//! What the machine has left: memory, disk, load; within a container, what that may use.
//!
//! Some small files of `/proc` and of the control groups are read, no process is started.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::environment::Environment;
use crate::core::admission::Machine;
use crate::format::machine_file::MachineFile;

/// Names a file with figures that stand for those of the machine.
pub const MACHINE_VARIABLE: &str = "ORCHESTRA_MACHINE";

/// A limit of memory from which on it is none.
const NO_LIMIT: u64 = 1 << 60;

/// Reads the machine's figures again and again.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The file that stands for the machine.
    stand_in: Option<PathBuf>,
    proc: PathBuf,
    groups: Vec<Group>,
    cpus: Option<f64>,
    /// The control group with a share of the CPUs, if there is one.
    share: Option<PathBuf>,
}

/// A control group with a limit of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    folder: PathBuf,
    kind: Kind,
}

/// The two generations of control groups name things differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Second,
}

impl Kind {
    fn limit(self) -> &'static str {
        match self {
            Self::First => "memory.limit_in_bytes",
            Self::Second => "memory.max",
        }
    }

    fn used(self) -> &'static str {
        match self {
            Self::First => "memory.usage_in_bytes",
            Self::Second => "memory.current",
        }
    }

    /// What of the files in memory is counted, of the group and of those below it.
    fn files(self) -> [&'static str; 2] {
        match self {
            Self::First => ["total_inactive_file", "total_active_file"],
            Self::Second => ["inactive_file", "active_file"],
        }
    }
}

impl Probe {
    /// The probe of this machine, or of the file that the environment says stands for it.
    #[must_use]
    pub fn of(env: &Environment) -> Self {
        let stand_in = env.get(MACHINE_VARIABLE).filter(|value| !value.is_empty());
        Self {
            stand_in: stand_in.map(PathBuf::from),
            ..Self::at(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
        }
    }

    fn at(proc: &Path, mounted: &Path) -> Self {
        let own = std::fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        let groups = memory_groups(&own, mounted);
        let (share, quota) = share_of_cpus(&own, mounted).unzip();
        let all = std::thread::available_parallelism().ok();
        let all = all.and_then(|n| u32::try_from(n.get()).ok()).map(f64::from);
        Self {
            stand_in: None,
            proc: proc.to_owned(),
            groups,
            cpus: match (all, quota) {
                (Some(all), Some(quota)) => Some(all.min(quota)),
                (all, quota) => all.or(quota),
            },
            share,
        }
    }

    /// Reads the figures; the disk is the one of `folder`, or of the nearest folder above it
    /// that exists.
    #[must_use]
    pub fn read(&self, folder: &Path) -> Machine {
        if let Some(path) = &self.stand_in {
            let bytes = std::fs::read(path).unwrap_or_default();
            let file: Option<MachineFile> = serde_json::from_slice(&bytes).ok();
            return file.unwrap_or_default().into();
        }
        let (mut total, mut available) = figures::memory(&self.proc);
        let mut tightest = None;
        for group in &self.groups {
            if let Some((limit, left)) = group.memory() {
                if available.is_none_or(|known| left < known) {
                    tightest = Some(group);
                }
                total = Some(total.map_or(limit, |known| known.min(limit)));
                available = Some(available.map_or(left, |known| known.min(left)));
            }
        }
        let stall = tightest
            .and_then(|group| figures::memory_stall(&group.folder.join("memory.pressure")))
            .or_else(|| figures::memory_stall(&self.proc.join("pressure/memory")));
        let load = figures::load(&self.proc);
        let disk = disk(folder);
        Machine {
            memory_total: total,
            memory_available: available,
            disk_total: disk.map(|(total, _)| total),
            disk_free: disk.map(|(_, free)| free),
            load1: load.filter(|_| self.share.is_none()),
            cpus: self.cpus,
            cpu_waits: self
                .share
                .as_ref()
                .and_then(|group| figures::cpu_waits(&group.join("cpu.pressure"))),
            memory_stall: stall,
        }
    }
}

/// What the kernel's files say.
#[cfg(target_os = "linux")]
mod figures {
    use std::path::Path;

    use procfs::{CpuPressure, FromRead, LoadAverage, Meminfo, MemoryPressure};

    /// All memory and what is left of it, bytes.
    pub(super) fn memory(proc: &Path) -> (Option<u64>, Option<u64>) {
        let memory = Meminfo::from_file(proc.join("meminfo")).ok();
        let available = memory.as_ref().and_then(|m| m.mem_available);
        (memory.map(|m| m.mem_total), available)
    }

    /// The load of the last minute.
    pub(super) fn load(proc: &Path) -> Option<f64> {
        let load = LoadAverage::from_file(proc.join("loadavg")).ok()?;
        Some(f64::from(load.one))
    }

    /// Percent of the time in which everything waited for memory.
    pub(super) fn memory_stall(file: &Path) -> Option<f64> {
        let pressure = MemoryPressure::from_file(file).ok()?;
        Some(f64::from(pressure.full.avg10))
    }

    /// Percent of the time in which something waited for a CPU.
    pub(super) fn cpu_waits(file: &Path) -> Option<f64> {
        let pressure = CpuPressure::from_file(file).ok()?;
        Some(f64::from(pressure.some.avg10))
    }
}

/// What the system's library says; pressure is not told.
#[cfg(not(target_os = "linux"))]
mod figures {
    use std::path::Path;

    use sysinfo::System;

    pub(super) fn memory(_proc: &Path) -> (Option<u64>, Option<u64>) {
        let Ok(mut system) = System::new() else {
            return (None, None);
        };
        system.refresh_memory();
        let known = |bytes: u64| (bytes > 0).then_some(bytes);
        (
            known(system.total_memory()),
            known(system.available_memory()),
        )
    }

    pub(super) fn load(_proc: &Path) -> Option<f64> {
        System::load_average().ok().map(|load| load.one)
    }

    pub(super) fn memory_stall(_file: &Path) -> Option<f64> {
        None
    }

    pub(super) fn cpu_waits(_file: &Path) -> Option<f64> {
        None
    }
}

/// Size of the disk that holds a folder, or the nearest one above it that exists, and what
/// is left on it for this user, bytes.
#[must_use]
pub fn disk(folder: &Path) -> Option<(u64, u64)> {
    let existing = folder.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some((
        stat.f_blocks.saturating_mul(stat.f_frsize),
        stat.f_bavail.saturating_mul(stat.f_frsize),
    ))
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

impl Group {
    /// Its limit and what is left of it. Files in memory can be dropped: those not used
    /// lately all, half of the others, as the kernel reckons for the whole machine.
    fn memory(&self) -> Option<(u64, u64)> {
        let limit = number(&self.folder.join(self.kind.limit()))?;
        let used = number(&self.folder.join(self.kind.used()))?;
        let stat = std::fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let [inactive, active] = self.kind.files().map(|key| {
            let line = stat
                .lines()
                .filter_map(|line| line.split_once(' '))
                .find(|(name, _)| *name == key);
            line.and_then(|(_, value)| value.trim().parse::<u64>().ok())
                .unwrap_or(0)
        });
        let held = used.saturating_sub(inactive.saturating_add(active / 2));
        (limit < NO_LIMIT).then(|| (limit, limit.saturating_sub(held)))
    }
}

/// A file that holds a number; none when it says `max`.
fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The control groups of a controller that a process is in, the innermost first. Where the
/// mount shows the container's own group as the root, only that one exists.
fn chain(own: &str, mounted: &Path, controller: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, kind) = if controllers.is_empty() {
            (mounted.to_owned(), Kind::Second)
        } else if controllers.split(',').any(|name| name == controller) {
            (mounted.join(controller), Kind::First)
        } else {
            continue;
        };
        let path = Path::new(path.trim_start_matches('/'));
        for below in path.ancestors() {
            let folder = root.join(below);
            if folder.is_dir() {
                found.push(Group { folder, kind });
            }
        }
    }
    found
}

/// Those that have a limit of memory.
fn memory_groups(own: &str, mounted: &Path) -> Vec<Group> {
    let mut groups = chain(own, mounted, "memory");
    groups.retain(|group| group.memory().is_some());
    groups
}

/// The tightest share of the CPUs that a group around this process has, as a number of CPUs.
fn share_of_cpus(own: &str, mounted: &Path) -> Option<(PathBuf, f64)> {
    let share = |group: &Group| -> Option<f64> {
        let read = |name: &str| std::fs::read_to_string(group.folder.join(name)).ok();
        let (quota, period) = match group.kind {
            Kind::Second => {
                let text = read("cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
            Kind::First => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
        };
        let quota: f64 = quota.trim().parse().ok()?;
        let period: f64 = period.trim().parse().ok()?;
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    };
    chain(own, mounted, "cpu")
        .into_iter()
        .filter_map(|group| Some((share(&group)?, group.folder)))
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(share, folder)| (folder, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of files.
    struct Sample(tempfile::TempDir);

    impl Sample {
        fn new(own: &str) -> Self {
            let sample = Self(tempfile::tempdir().unwrap());
            sample.write("proc/self/cgroup", own);
            sample.write(
                "proc/meminfo",
                "MemTotal: 16000 kB\nMemFree: 100 kB\nMemAvailable: 12000 kB\nBuffers: 0 kB\n\
                 Cached: 0 kB\nSwapCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSwapTotal: 0 kB\n\
                 SwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\n\
                 Committed_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n",
            );
            sample.write("proc/loadavg", "3.50 2.00 1.00 1/100 42\n");
            sample.write("proc/pressure/memory", &pressure(7.25));
            sample
        }

        fn write(&self, path: &str, text: &str) -> &Self {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            self
        }

        fn read(&self) -> Machine {
            let root = self.0.path();
            Probe::at(&root.join("proc"), &root.join("cg")).read(root)
        }
    }

    fn pressure(full: f64) -> String {
        let rest = "avg60=0.00 avg300=0.00 total=1";
        format!("some avg10=9.00 {rest}\nfull avg10={full} {rest}\n")
    }

    #[test]
    fn a_folder_is_as_big_as_its_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        let later = Instant::now() + std::time::Duration::from_secs(60);
        let size = folder_size(dir.path(), later).unwrap();
        assert!((100_000..200_000).contains(&size), "{size}");
        assert_eq!(folder_size(&dir.path().join("none"), later), None);
        assert!(disk(&dir.path().join("not/there/yet")).unwrap().1 > 0);
    }

    #[test]
    fn a_bare_machine() {
        let machine = Sample::new("0::/user.slice/session\n").read();
        assert_eq!(machine.memory_total, Some(16_384_000));
        assert_eq!(machine.memory_available, Some(12_288_000));
        assert_eq!(machine.load1, Some(3.5));
        assert_eq!(machine.memory_stall, Some(7.25));
        assert_eq!(machine.cpu_waits, None);
        assert!(machine.cpus.unwrap() >= 1.0);
        assert!(machine.disk_total > machine.disk_free);
    }

    #[test]
    fn the_limits_of_a_container_count() {
        let sample = Sample::new("0::/box/inner\n");
        sample
            .write("cg/box/memory.max", "8000000\n")
            .write("cg/box/memory.current", "7000000\n")
            .write(
                "cg/box/memory.stat",
                "anon 1\ninactive_file 3000000\nactive_file 1000000\n",
            )
            .write("cg/box/memory.pressure", &pressure(61.5))
            .write("cg/box/inner/memory.max", "max\n")
            .write("cg/box/inner/memory.current", "100\n")
            .write("cg/box/cpu.max", "50000 100000\n")
            .write("cg/box/inner/cpu.max", "max 100000\n")
            .write("cg/box/cpu.pressure", &pressure(1.0));
        let machine = sample.read();
        assert_eq!(machine.memory_total, Some(8_000_000));
        assert_eq!(machine.memory_available, Some(4_500_000));
        assert_eq!(machine.memory_stall, Some(61.5));
        assert_eq!(machine.cpus, Some(0.5));
        assert_eq!((machine.load1, machine.cpu_waits), (None, Some(9.0)));
        // What is wider than the machine limits nothing.
        sample.write("cg/box/memory.max", "8000000000\n");
        let machine = sample.read();
        assert_eq!(machine.memory_available, Some(12_288_000));
        assert_eq!(machine.memory_stall, Some(7.25));
    }

    #[test]
    fn the_older_control_groups_count_as_well() {
        let sample = Sample::new("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n");
        // Seen from inside, the container's own group is the root.
        sample
            .write("cg/memory/memory.limit_in_bytes", "8000000\n")
            .write("cg/memory/memory.usage_in_bytes", "7000000\n")
            .write(
                "cg/memory/memory.stat",
                "inactive_file 9\ntotal_inactive_file 3000000\ntotal_active_file 0\n",
            )
            .write("cg/cpu/cpu.cfs_quota_us", "25000\n")
            .write("cg/cpu/cpu.cfs_period_us", "100000\n");
        let machine = sample.read();
        assert_eq!(machine.memory_available, Some(4_000_000));
        assert_eq!((machine.cpus, machine.load1), (Some(0.25), None));
        sample
            .write("cg/memory/memory.limit_in_bytes", "9223372036854771712\n")
            .write("cg/cpu/cpu.cfs_quota_us", "-1\n");
        let machine = sample.read();
        assert_eq!(machine.memory_available, Some(12_288_000));
        assert_eq!(machine.load1, Some(3.5));
    }

    #[test]
    fn a_file_stands_for_the_machine_only_when_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine.json");
        std::fs::write(&path, r#"{"memoryAvailable": 5, "load1": 0.5}"#).unwrap();
        let env = Environment::from_vars([(MACHINE_VARIABLE, &path)]);
        let machine = Probe::of(&env).read(dir.path());
        assert_eq!(machine.memory_available, Some(5));
        assert_eq!(machine.memory_total, None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Probe::of(&env).read(dir.path()), Machine::default());
        let real = Probe::of(&Environment::default()).read(dir.path());
        assert!(real.memory_available.unwrap() > 1_000_000);
    }
}
