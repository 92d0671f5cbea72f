//! One instance's life: launch, watch, gate ("is it really done?"), guide, finish.
//!
//! A supervisor is a process of its own per instance. It outlives the conductor, owns the
//! agent's whole process tree, and is the only writer of the instance's status file while it
//! holds the instance's lock. Its last act is the outcome file: a free lock without an
//! outcome of the attempt means that the supervisor was lost.

use std::io::Write;
use std::path::Path;

use crate::agent::environment::Environment;
use crate::core::attempt::AttemptEnd;
use crate::core::id::TaskName;
use crate::store::layout::RunDir;

/// What a supervisor is told at its start.
#[derive(Debug, Clone, Copy)]
pub struct Supervision<'a> {
    /// The folder of the orchestration; its files are as in [`RunDir`].
    pub run: &'a RunDir,
    /// The task; its order is the launch file.
    pub task: &'a TaskName,
    /// A folder of the user, shared by all repositories, in which port ranges are taken.
    pub slots: &'a Path,
    /// This program, which is also the scripted agent.
    pub exe: &'a Path,
    /// The environment that this process was started with.
    pub inherited: &'a Environment,
}

/// How a supervisor's own life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisorExit {
    /// The attempt ended; the outcome file says the same.
    Ended(AttemptEnd),
    /// The attempt had an outcome already: nothing was done.
    NothingToDo,
    /// Another supervisor holds the lock, or the order cannot be read: nothing was done.
    Refused(String),
}

/// Supervises one attempt from its order to its outcome. Announces `ready` or `refused: why`
/// on `announce` once that is known.
pub fn run(supervision: &Supervision<'_>, announce: &mut dyn Write) -> SupervisorExit {
    let _ = supervision;
    crate::agent::detach::announce_refused(announce, "not built yet");
    SupervisorExit::Refused("not built yet".into())
}
