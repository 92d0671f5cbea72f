//! Owning a whole process tree: finding it, measuring it, ending it.
//!
//! The client's shell commands lead sessions of their own, so neither a process group nor
//! the end of the client reaches them. Ownership rests on three things together:
//!
//! - a supervisor is a *child subreaper*: orphans of its tree become its children;
//! - every process of an instance carries [`Marker`] in its environment, and a seal in a
//!   resource limit ([`seal_children`]);
//! - a process is named by [`ProcessKey`], pid and start time, so that a number which the
//!   system gave to somebody else is never hit.
//!
//! Only processes of the same user are looked at. The process that asks and its ancestors
//! are never part of a tree that it ends.

#[cfg(all(test, target_os = "linux"))]
#[allow(dead_code, reason = "compiled here to be tested")]
mod portable;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod table;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod table;

mod seal;
mod survey;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
pub use seal::{Sealing, seal_children};
pub use survey::{MAIN_CHECKOUT_VARIABLE, Marked, at_work_in, is_open, marked, program_of};

use crate::core::id::{OrchestrationId, TaskName};
use crate::format::processes_file::ProcessesFile;

/// Name of the environment variable that holds the [`Marker`].
pub const MARK_VARIABLE: &str = "ORCHESTRA_MARK";

/// Name of the environment variable by which the processes of one configured command are
/// told from the rest of the instance.
pub const COMMAND_VARIABLE: &str = "ORCHESTRA_COMMAND";

/// Whose a process is: `TOKEN/ORCHESTRATION/TASK` in `ORCHESTRA_MARK`, or `TOKEN/ORCHESTRATION`
/// for what belongs to the run itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    token: String,
    id: OrchestrationId,
    task: Option<TaskName>,
}

impl Marker {
    /// The marker of an instance, or of the run itself when there is no task.
    #[must_use]
    pub fn new(token: &str, id: &OrchestrationId, task: Option<&TaskName>) -> Self {
        Self {
            token: token.to_owned(),
            id: id.clone(),
            task: task.cloned(),
        }
    }

    /// The marker of what the integration of a run starts. No task can have its name, so
    /// ending an instance's processes never meets it, nor the other way round.
    #[must_use]
    pub fn integration(token: &str, id: &OrchestrationId) -> Self {
        Self {
            token: format!("{token}/integration"),
            id: id.clone(),
            task: None,
        }
    }

    /// The value of the variable.
    #[must_use]
    pub fn value(&self) -> OsString {
        match &self.task {
            Some(task) => format!("{}/{}/{task}", self.token, self.id),
            None => format!("{}/{}", self.token, self.id),
        }
        .into()
    }

    /// Whether a process with this value is one of ours. A marker without a task covers the
    /// whole run, its instances included.
    fn covers(&self, value: &[u8]) -> bool {
        let own = self.value();
        let own = own.as_encoded_bytes();
        value == own
            || (self.task.is_none()
                && value
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.starts_with(b"/")))
    }
}

/// One process for as long as it lives: its number and when it started, in clock ticks
/// since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Its number.
    pub pid: i32,
    /// When it started.
    pub start: u64,
}

impl ProcessKey {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let row = table::row(i32::try_from(pid).ok()?)?;
        Some(row.key)
    }

    /// Whether it still runs; one that ended and waits to be reaped does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        table::row(self.pid).is_some_and(|row| row.key == self && !row.ended)
    }
}

/// One line of the process table.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: ProcessKey,
    parent: i32,
    /// Ended, but not reaped.
    ended: bool,
    memory_bytes: u64,
    cpu_ms: u64,
}

/// Which processes are meant: all that match one of these, and all that descend from them.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// These processes.
    pub roots: Vec<ProcessKey>,
    /// Everything below the asking process. Only for a process whose children are all of
    /// one tree, which is what a supervisor is.
    pub below_me: bool,
    /// Everything that carries this marker.
    pub marker: Option<Marker>,
    /// Everything that carries this value of [`COMMAND_VARIABLE`].
    pub command: Option<String>,
}

impl Tree {
    /// Everything that carries a marker.
    #[must_use]
    pub fn marked(marker: Marker) -> Self {
        Self {
            marker: Some(marker),
            ..Self::default()
        }
    }

    /// The living processes of the tree.
    #[must_use]
    pub fn find(&self) -> Vec<ProcessKey> {
        self.scan(&HashSet::new(), &mut HashSet::new())
            .into_iter()
            .filter(|row| !row.ended)
            .map(|row| row.key)
            .collect()
    }

    /// What the tree uses now.
    #[must_use]
    pub fn usage(&self) -> TreeUsage {
        TreeUsage::of(&self.members())
    }

    /// The living processes of the tree with what each of them uses.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let only_below_me = self.below_me
            && self.roots.is_empty()
            && self.marker.is_none()
            && self.command.is_none();
        let below = only_below_me.then(table::rows_below_me).flatten();
        below
            .unwrap_or_else(|| self.scan(&HashSet::new(), &mut HashSet::new()))
            .into_iter()
            .filter(|row| !row.ended)
            .map(|row| Member {
                key: row.key,
                memory_bytes: row.memory_bytes,
                cpu_ms: row.cpu_ms,
                io_bytes: table::io_bytes(row.key.pid).unwrap_or(0),
            })
            .collect()
    }

    /// Rows of the tree, ended ones included. `known` are processes that were part of it
    /// before: they stay part of it, whoever their parent is by now. `strangers` are those
    /// whose environment was looked into before, and stay strangers unless they descend from
    /// the tree: nobody gives them a marker afterwards.
    fn scan(&self, known: &HashSet<ProcessKey>, strangers: &mut HashSet<ProcessKey>) -> Vec<Row> {
        let rows = table::rows();
        let me = table::own_pid();
        let spared = spared(&rows);
        let seal = self.marker.as_ref().and_then(Marker::seal);
        let mut children: HashMap<i32, Vec<Row>> = HashMap::new();
        for row in &rows {
            children.entry(row.parent).or_default().push(*row);
        }
        let mut open: Vec<Row> = rows
            .iter()
            .filter(|row| {
                known.contains(&row.key)
                    || self.roots.contains(&row.key)
                    || (self.below_me && row.parent == me)
                    || (!strangers.contains(&row.key) && {
                        let marked = self.is_marked(row, seal);
                        if !marked {
                            strangers.insert(row.key);
                        }
                        marked
                    })
            })
            .copied()
            .collect();
        let mut seen = HashSet::new();
        let mut tree = Vec::new();
        while let Some(row) = open.pop() {
            if spared.contains(&row.key.pid) || !seen.insert(row.key.pid) {
                continue;
            }
            open.extend(children.get(&row.key.pid).into_iter().flatten());
            tree.push(row);
        }
        tree
    }

    /// `seal`: that of the tree's marker.
    fn is_marked(&self, row: &Row, seal: Option<u64>) -> bool {
        if row.ended || (self.marker.is_none() && self.command.is_none()) {
            return false;
        }
        let Some(environment) = table::environment(row.key.pid) else {
            return false;
        };
        let marked = self.marker.as_ref().is_some_and(|marker| {
            variable(&environment, MARK_VARIABLE).is_some_and(|value| marker.covers(value))
                || seal.is_some_and(|seal| table::seal_of(row.key.pid) == Some(seal))
        });
        let commanded = self.command.as_ref().is_some_and(|command| {
            variable(&environment, COMMAND_VARIABLE) == Some(command.as_bytes())
        });
        marked || commanded
    }
}

/// This process and its ancestors: no tree holds them.
fn spared(rows: &[Row]) -> HashSet<i32> {
    let parents: HashMap<i32, i32> = rows.iter().map(|r| (r.key.pid, r.parent)).collect();
    let mut up = table::own_pid();
    let mut spared = HashSet::from([up]);
    while let Some(parent) = parents.get(&up).filter(|parent| spared.insert(**parent)) {
        up = *parent;
    }
    spared
}

/// The value of a variable in a process's environment, as the system tells it.
fn variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environment
        .split(|byte| *byte == 0)
        .find_map(|var| var.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// A living process of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub key: ProcessKey,
    /// Its resident memory, bytes.
    pub memory_bytes: u64,
    /// CPU time of it and of its reaped children, milliseconds.
    pub cpu_ms: u64,
    /// Bytes that it and its reaped children read and wrote; 0 when that cannot be told.
    pub io_bytes: u64,
}

impl Member {
    /// Its memory with its share of what it shares with others (PSS), bytes; the resident one
    /// where that cannot be told. Takes a moment for a large process.
    #[must_use]
    pub fn share_of_memory(&self) -> u64 {
        table::share_of_memory(self.key.pid).unwrap_or(self.memory_bytes)
    }
}

/// Ends one process at once, and nobody who got its number later.
pub fn kill(key: ProcessKey) {
    table::signal(key, Signal::KILL);
}

/// The command line of a process, for people.
#[must_use]
pub fn command_line(key: ProcessKey) -> Option<String> {
    table::command_line(key.pid)
}

/// Names this run of the system: a [`ProcessKey`] means nothing in another one.
#[must_use]
pub fn boot_id() -> Option<String> {
    table::boot_id()
}

/// How many processes the kernel ended for want of memory since it runs; none where that
/// cannot be told.
#[must_use]
pub fn kernel_kills() -> Option<u64> {
    table::kernel_kills()
}

/// What a tree uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Living processes.
    pub processes: u32,
    /// Resident memory of all together, bytes. Shared pages count once per process.
    pub memory_bytes: u64,
    /// CPU time of all and of their reaped children, milliseconds. May fall when a process
    /// ends that nobody of the tree waited for.
    pub cpu_ms: u64,
    /// Bytes that all and their reaped children read and wrote. May fall as well.
    pub io_bytes: u64,
}

impl TreeUsage {
    /// What these use together.
    #[must_use]
    pub fn of(members: &[Member]) -> Self {
        members.iter().fold(Self::default(), |mut usage, member| {
            usage.processes += 1;
            usage.memory_bytes += member.memory_bytes;
            usage.cpu_ms += member.cpu_ms;
            usage.io_bytes += member.io_bytes;
            usage
        })
    }
}

/// How to end a tree.
#[derive(Debug, Clone, Copy)]
pub struct EndPlan<'a> {
    /// The first signal, to all.
    pub first: Signal,
    /// How long they may take to end by themselves after it; then comes SIGKILL.
    pub grace: Duration,
    /// Children that the caller waits for by itself.
    pub managed: &'a [ProcessKey],
}

impl Default for EndPlan<'_> {
    fn default() -> Self {
        Self {
            first: Signal::TERM,
            grace: Duration::from_secs(3),
            managed: &[],
        }
    }
}

/// What came of ending a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndReport {
    /// Processes that were signalled.
    pub signalled: usize,
    /// Processes that are still there: in an uninterruptible wait, or not ours to signal.
    pub left: Vec<ProcessKey>,
}

/// How long SIGKILL is repeated before what is left is reported as left.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Ends a tree: a signal, a grace, then SIGKILL until nothing of it is left, including what
/// it forks meanwhile. Returns once all are gone or no signal helps.
pub fn end(tree: &Tree, plan: &EndPlan<'_>) -> EndReport {
    let started = Instant::now();
    let mut known: HashSet<ProcessKey> = HashSet::new();
    let mut strangers: HashSet<ProcessKey> = HashSet::new();
    let mut gentle: HashSet<ProcessKey> = HashSet::new();
    let mut empty_scans = 0;
    let mut pause = Duration::from_millis(2);
    loop {
        let rows = tree.scan(&known, &mut strangers);
        known.extend(rows.iter().map(|row| row.key));
        reap(&rows, plan.managed);
        let living: Vec<ProcessKey> = rows.iter().filter(|r| !r.ended).map(|r| r.key).collect();
        if living.is_empty() {
            // One scan may miss a process that was forked behind its back.
            empty_scans += 1;
            if empty_scans >= 2 {
                return EndReport {
                    signalled: gentle.len(),
                    left: Vec::new(),
                };
            }
            continue;
        }
        empty_scans = 0;
        let patience_over = started.elapsed() >= plan.grace;
        if patience_over && started.elapsed() >= plan.grace + KILL_PATIENCE {
            return EndReport {
                signalled: gentle.len(),
                left: living,
            };
        }
        for key in living {
            let first_time = gentle.insert(key);
            if patience_over {
                table::signal(key, Signal::KILL);
            } else if first_time {
                table::signal(key, plan.first);
                // A stopped process acts on no other signal before it goes on.
                table::signal(key, Signal::CONT);
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Ends everything that carries the marker of a run, or of one of its tasks. For whoever
/// finds what a lost supervisor left behind.
pub fn end_marked(token: &str, id: &OrchestrationId, task: Option<&TaskName>) -> EndReport {
    end(
        &Tree::marked(Marker::new(token, id, task)),
        &EndPlan::default(),
    )
}

/// Ends what a lost supervisor left: what carries the marker, and what was last seen of the tree
/// and is still the same process of the same run of the system.
pub fn end_leftovers(marker: Marker, seen: Option<&ProcessesFile>) -> EndReport {
    let boot_id = boot_id();
    let roots = seen
        .filter(|seen| boot_id.as_ref() == Some(&seen.boot_id))
        .into_iter()
        .flat_map(|seen| &seen.processes)
        .map(|seen| ProcessKey {
            pid: seen.pid,
            start: seen.start,
        })
        .collect();
    let tree = Tree {
        roots,
        ..Tree::marked(marker)
    };
    end(&tree, &EndPlan::default())
}

/// Makes orphans of this process's tree its children, for as long as it lives.
///
/// # Errors
/// When the system cannot do it; ownership then rests on the marker alone.
pub fn become_subreaper() -> std::io::Result<()> {
    table::become_subreaper()
}

/// Reaps orphans that became this process's children and ended, but for `managed` ones.
/// Only for a process whose children are all of one tree.
pub fn reap_orphans(managed: &[ProcessKey]) {
    // Those of other parents are passed over.
    reap(&table::rows_below_me().unwrap_or_else(table::rows), managed);
}

fn reap(rows: &[Row], managed: &[ProcessKey]) {
    let me = table::own_pid();
    for row in rows {
        if row.ended && row.parent == me && !managed.contains(&row.key) {
            table::reap(row.key.pid);
        }
    }
}

#[cfg(test)]
mod tests;
