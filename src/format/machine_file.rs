//! The file that the variable `ORCHESTRA_MACHINE` may name: figures that stand for those of
//! the machine, so that tests can make it small.

use serde::Deserialize;

use crate::core::admission::Machine;

/// The file itself. What it does not give is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MachineFile {
    /// All memory, bytes.
    pub memory_total: Option<u64>,
    /// Memory that programs could still get, bytes.
    pub memory_available: Option<u64>,
    /// The whole disk, bytes.
    pub disk_total: Option<u64>,
    /// What is left on it, bytes.
    pub disk_free: Option<u64>,
    /// Load of the last minute.
    pub load1: Option<f64>,
    /// How many CPUs it has.
    pub cpus: Option<f64>,
    /// Percent of the time in which everything waits for memory.
    pub memory_stall: Option<f64>,
}

impl From<MachineFile> for Machine {
    fn from(file: MachineFile) -> Self {
        Self {
            memory_total: file.memory_total,
            memory_available: file.memory_available,
            disk_total: file.disk_total,
            disk_free: file.disk_free,
            load1: file.load1,
            cpus: file.cpus,
            cpu_waits: None,
            memory_stall: file.memory_stall,
        }
    }
}
