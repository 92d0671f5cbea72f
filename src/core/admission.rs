//! How many instances the machine bears at once, by what it has left.
//!
//! [`room`] is the plain reckoning of one look, [`Gate`] makes of many looks what the run
//! goes by: less at once, more only when it lasts, and after a press a while of rest.
//! Nothing here stops an instance; it only keeps further ones from beginning, but for
//! [`Admission::pressed`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::time::Millis;

/// What the machine has, as far as it can be measured; within a container, what that may use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Machine {
    /// All memory, bytes.
    pub memory_total: Option<u64>,
    /// Memory that programs could still get, bytes.
    pub memory_available: Option<u64>,
    /// The whole disk that holds the worktrees, bytes.
    pub disk_total: Option<u64>,
    /// What is left on it, bytes.
    pub disk_free: Option<u64>,
    /// Mean number of processes that wanted a CPU in the last minute. Unknown in a container
    /// with a share of the CPUs: the figure is about the whole machine.
    pub load1: Option<f64>,
    /// How many CPUs it has.
    pub cpus: Option<f64>,
    /// Percent of the last ten seconds in which something waited for a CPU; only asked for
    /// where `load1` is of no use.
    pub cpu_waits: Option<f64>,
    /// Percent of the last ten seconds in which everything at once waited for memory.
    pub memory_stall: Option<f64>,
}

/// What one more instance will need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Memory of its processes at the peak, bytes.
    pub memory: u64,
    /// Its worktree with what is built there, bytes.
    pub disk: u64,
}

impl Default for Footprint {
    /// Before anything was measured.
    fn default() -> Self {
        Self {
            memory: 400_000_000,
            disk: 100_000_000,
        }
    }
}

/// What an instance in work uses now; unknown counts as nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Disk, bytes.
    pub disk: Option<u64>,
}

/// What is left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Memory that stays free, bytes; a tenth of all if that is more.
    pub min_free_memory: u64,
    /// Disk that stays free, bytes; a twentieth of all if that is more.
    pub min_free_disk: u64,
    /// From which load for each CPU on nothing more begins; 0: the load does not matter.
    pub max_load_per_cpu: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            min_free_memory: 512_000_000,
            min_free_disk: 1_000_000_000,
            max_load_per_cpu: 2.0,
        }
    }
}

impl Thresholds {
    fn memory_reserve(&self, machine: &Machine) -> u64 {
        self.min_free_memory
            .max(machine.memory_total.unwrap_or(0) / 10)
    }

    fn disk_reserve(&self, machine: &Machine) -> u64 {
        self.min_free_disk.max(machine.disk_total.unwrap_or(0) / 20)
    }
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// Memory.
    Memory,
    /// Room on the disk of the worktrees.
    Disk,
    /// CPUs.
    Load,
    /// Worktrees could not be made at the same time.
    Worktrees,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Load => "load",
            Self::Worktrees => "worktrees fail",
        })
    }
}

/// What one look allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// How many instances may run, at least one; unknown when nothing could be measured.
    pub slots: Option<u32>,
    /// What there is too little of for one more than that.
    pub shortage: Option<Shortage>,
    /// Whether an instance should go, so that the others can work.
    pub pressed: bool,
}

/// Percent of the time in which everything waits for memory that counts as a standstill.
const STANDSTILL: f64 = 50.0;

/// Percent of the time in which something waits for a CPU that counts as too much load.
const CROWDED: f64 = 90.0;

/// Reckons what the machine allows beside what runs already. Instances that run may still
/// grow to the footprint; room for that is kept.
#[must_use]
pub fn room(
    machine: &Machine,
    footprint: Footprint,
    running: &[Usage],
    thresholds: &Thresholds,
) -> Room {
    let grown = |used: fn(&Usage) -> Option<u64>, full: u64| {
        let still = running.iter().map(|usage| used(usage).unwrap_or(0));
        still
            .map(|used| full.saturating_sub(used))
            .fold(0, u64::saturating_add)
    };
    let count = u32::try_from(running.len()).unwrap_or(u32::MAX);
    let beside = |left: u64, reserve: u64, growth: u64, one: u64| {
        let fit = left.saturating_sub(reserve).saturating_sub(growth) / one.max(1);
        count.saturating_add(u32::try_from(fit).unwrap_or(u32::MAX))
    };
    let reserve = thresholds.memory_reserve(machine);
    let by_memory = machine.memory_available.map(|left| {
        let growth = grown(|u| u.memory, footprint.memory);
        (
            beside(left, reserve, growth, footprint.memory),
            Shortage::Memory,
        )
    });
    let by_disk = machine.disk_free.map(|left| {
        let growth = grown(|u| u.disk, footprint.disk);
        let reserve = thresholds.disk_reserve(machine);
        (
            beside(left, reserve, growth, footprint.disk),
            Shortage::Disk,
        )
    });
    let by_load = is_crowded(machine, thresholds).then_some((count, Shortage::Load));
    // Of equals the first: what names a figure that a person can do something about.
    let least = [by_memory, by_disk, by_load]
        .into_iter()
        .flatten()
        .min_by_key(|(slots, _)| *slots);
    let short = machine
        .memory_available
        .is_some_and(|left| left < reserve / 2);
    let stands_still = machine.memory_stall.is_some_and(|part| part >= STANDSTILL);
    Room {
        slots: least.map(|(slots, _)| slots.max(1)),
        shortage: least.map(|(_, shortage)| shortage),
        pressed: count >= 2 && (short || stands_still),
    }
}

fn is_crowded(machine: &Machine, thresholds: &Thresholds) -> bool {
    if thresholds.max_load_per_cpu <= 0.0 {
        return false;
    }
    match (machine.load1, machine.cpus) {
        (Some(load), Some(cpus)) => load > thresholds.max_load_per_cpu * cpus.max(1.0),
        _ => machine.cpu_waits.is_some_and(|part| part >= CROWDED),
    }
}

/// What the run goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Admission {
    /// How many instances may run, at least one; unknown when nothing could be measured.
    pub slots: Option<u32>,
    /// What there is too little of for one more than that.
    pub shortage: Option<Shortage>,
    /// Whether one instance has to go now. True for one look only.
    pub pressed: bool,
}

impl Admission {
    /// The same for the state machine.
    #[must_use]
    pub fn conditions(self) -> Conditions {
        Conditions {
            slots: self.slots,
            hold: None,
            pressed: self.pressed,
        }
    }
}

/// How long there must be room for more before more is allowed.
const STEADY: Millis = Millis::from_secs(6);

/// How long a machine that was pressed is left in peace; twice as long after each time.
const REST: Millis = Millis::from_secs(30);

/// The longest of these times.
const LONGEST_REST: Millis = Millis::from_secs(300);

/// How long an instance that is to go gets before the next one is asked.
const LEAVING: Millis = Millis::from_secs(45);

/// How long what an instance held may take to be given back once it is gone.
const SETTLING: Millis = Millis::from_secs(6);

/// How long worktrees are made one at a time after they failed.
const ONE_BY_ONE: Millis = Millis::from_secs(60);

/// How many worktrees must fail in a row for that.
const FAILED_IN_A_ROW: u32 = 2;

/// The memory of admission: one per conductor, asked at each look.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    allowed: Option<u32>,
    /// Since when there seems to be room for more.
    more_since: Option<Millis>,
    press: Option<Press>,
    presses: u32,
    worktrees_failed: u32,
    one_by_one_until: Option<Millis>,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    at: Millis,
    /// How many ran when it began.
    running: u32,
    /// When one of them was seen to be gone.
    left: Option<Millis>,
    /// How long after that nothing begins in its place.
    rest: Millis,
}

impl Gate {
    /// Takes one look in. `at` is read from a clock that only goes forward.
    pub fn look(
        &mut self,
        at: Millis,
        machine: &Machine,
        footprint: Footprint,
        running: &[Usage],
        thresholds: &Thresholds,
    ) -> Admission {
        let now = room(machine, footprint, running, thresholds);
        let count = u32::try_from(running.len()).unwrap_or(u32::MAX);
        let more = || {
            // For one more there must be more than just enough.
            let footprint = Footprint {
                memory: footprint.memory.saturating_add(footprint.memory / 4),
                disk: footprint.disk.saturating_add(footprint.disk / 4),
            };
            let thresholds = Thresholds {
                max_load_per_cpu: thresholds.max_load_per_cpu * 0.9,
                ..*thresholds
            };
            room(machine, footprint, running, &thresholds).slots
        };
        self.allowed = match (self.allowed, now.slots) {
            (Some(before), Some(slots)) if slots > before => {
                let since = *self.more_since.get_or_insert(at);
                let sure = more().unwrap_or(slots);
                if sure <= before {
                    self.more_since = None;
                }
                let steady = at.0.saturating_sub(since.0) >= STEADY.0;
                Some(if steady { sure.max(before) } else { before })
            }
            (_, slots) => {
                self.more_since = None;
                slots
            }
        };
        let mut admission = Admission {
            slots: self.allowed,
            shortage: now.shortage,
            pressed: self.press(at, now.pressed, count),
        };
        if let Some(press) = self.press {
            admission.cap(press.running - 1, Shortage::Memory);
            if now.pressed {
                admission.cap(count.saturating_sub(1), Shortage::Memory);
            }
        }
        if self.one_by_one_until.is_some_and(|until| at < until) {
            admission.cap(1, Shortage::Worktrees);
        }
        admission
    }

    /// Whether one instance has to go at this look: not while another one is about to, nor
    /// before it is seen what that helped.
    fn press(&mut self, at: Millis, pressed: bool, running: u32) -> bool {
        if let Some(press) = &mut self.press {
            if running < press.running {
                press.left.get_or_insert(at);
            }
            let waits = match press.left {
                Some(left) => at.0 < left.0 + SETTLING.0,
                None => at.0 < press.at.0 + LEAVING.0,
            };
            if waits {
                return false;
            }
            if !pressed {
                if at.0 >= press.left.unwrap_or(press.at).0 + press.rest.0 {
                    self.press = None;
                }
                return false;
            }
        }
        if !pressed || running < 2 {
            return false;
        }
        let rest = REST.0.saturating_mul(1 << self.presses.min(8));
        self.presses += 1;
        self.press = Some(Press {
            at,
            running,
            left: None,
            rest: Millis(rest.min(LONGEST_REST.0)),
        });
        true
    }

    /// A worktree could not be made. Two in a row: for a while one task at a time.
    pub fn worktree_failed(&mut self, at: Millis) {
        self.worktrees_failed = self.worktrees_failed.saturating_add(1);
        if self.worktrees_failed >= FAILED_IN_A_ROW {
            self.one_by_one_until = Some(Millis(at.0 + ONE_BY_ONE.0));
        }
    }

    /// A worktree was made.
    pub fn worktree_made(&mut self) {
        self.worktrees_failed = 0;
    }
}

impl Admission {
    fn cap(&mut self, most: u32, shortage: Shortage) {
        let most = most.max(1);
        if self.slots.is_none_or(|slots| slots > most) {
            self.slots = Some(most);
            self.shortage = Some(shortage);
        }
    }
}

#[cfg(test)]
mod tests;
