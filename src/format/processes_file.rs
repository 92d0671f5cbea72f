//! `instance-TASK.processes.json`: the processes of an instance as its supervisor last saw them.
//!
//! A supervisor that is killed cannot end them; whoever finds it lost does, with this. Most of
//! them are found without it, by the marker in their environment. This is for those that
//! cleaned theirs.

use serde::{Deserialize, Serialize};

/// The file itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessesFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The run of the system in which these are: after the next boot the numbers are others'.
    pub boot_id: String,
    /// The processes.
    pub processes: Vec<SeenProcess>,
}

/// A process that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenProcess {
    /// Its number.
    pub pid: i32,
    /// When it started, clock ticks since boot. A number that was given to another process has
    /// another start.
    pub start: u64,
}
