//! What processes use: of all that descend from this one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procfs::process::{Process, all_processes};

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What one run of a program and of everything that it started came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    /// From its start to its end, seconds.
    pub(crate) wall: f64,
    /// CPU time of all processes, seconds.
    pub(crate) cpu: f64,
    /// Highest sum of the proportional memory of all its processes, bytes.
    pub(crate) memory: u64,
    /// Highest proportional and private memory of one process, by its role; bytes.
    pub(crate) memory_of: BTreeMap<String, (u64, u64)>,
    /// How many processes had the role, at most at the same time.
    pub(crate) instances: BTreeMap<String, usize>,
}

/// Runs a command to its end and waits for all that it left in the background.
///
/// `program` tells its own processes from those of git and others.
pub(crate) fn run(command: &mut Command, program: &Path) -> Usage {
    let before = children_cpu();
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let sampler = std::thread::spawn({
        let (over, program) = (Arc::clone(&over), program.to_owned());
        move || {
            let mut usage = Usage::default();
            while !over.load(Ordering::Relaxed) {
                look(&program, &mut usage);
                std::thread::sleep(LOOK_EVERY);
            }
            usage
        }
    });
    let status = child.wait().unwrap();
    let wall = started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut usage = sampler.join().unwrap();
    assert!(status.success(), "{command:?} ended with {status}");
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
    usage.wall = wall;
    usage.cpu = children_cpu() - before;
    usage
}

/// CPU time of all children that ended and were waited for, with theirs; seconds.
fn children_cpu() -> f64 {
    let stat = Process::myself().and_then(|me| me.stat()).unwrap();
    let ticks = stat.cutime + stat.cstime;
    ticks as f64 / procfs::ticks_per_second() as f64
}

fn look(program: &Path, usage: &mut Usage) {
    let mut parents = HashMap::new();
    let mut processes = HashMap::new();
    for process in all_processes().into_iter().flatten().flatten() {
        if let Ok(stat) = process.stat() {
            parents.insert(process.pid, stat.ppid);
            processes.insert(process.pid, process);
        }
    }
    let me = Process::myself().unwrap().pid;
    let is_ours = |pid: i32| {
        let mut up = parents.get(&pid).copied();
        while let Some(parent) = up {
            if parent == me {
                return true;
            }
            up = parents.get(&parent).copied();
        }
        false
    };
    let mut all = 0;
    let mut instances: BTreeMap<String, usize> = BTreeMap::new();
    for (pid, process) in processes {
        if !is_ours(pid) || process.exe().ok().as_deref() != Some(program) {
            continue;
        }
        let Some((pss, private)) = memory_of(&process) else {
            continue;
        };
        all += pss;
        let args = process.cmdline().unwrap_or_default();
        let role = args.into_iter().nth(1).unwrap_or_default();
        *instances.entry(role.clone()).or_default() += 1;
        let most = usage.memory_of.entry(role).or_default();
        *most = (pss.max(most.0), private.max(most.1));
    }
    usage.memory = usage.memory.max(all);
    for (role, count) in instances {
        let most = usage.instances.entry(role).or_default();
        *most = count.max(*most);
    }
}

/// Proportional and private memory of a process, bytes.
fn memory_of(process: &Process) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).ok()?;
    let kib = |name: &str| -> u64 {
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_suffix("kB"))
            .filter_map(|value| value.trim_start_matches(':').trim().parse::<u64>().ok())
            .sum()
    };
    let private = kib("Private_Clean") + kib("Private_Dirty");
    Some((kib("Pss") * 1024, private * 1024))
}
