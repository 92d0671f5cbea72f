//! One instance's life: launch, watch, gate ("is it really done?"), guide, finish.
//!
//! A supervisor is a process of its own per instance. It outlives the conductor, owns the
//! agent's whole process tree, and is the only writer of the instance's status file while it
//! holds the instance's lock. Its last act is the outcome file: a free lock without an
//! outcome of the attempt means that the supervisor was lost.
//!
//! | file | what |
//! |---|---|
//! | `life` | the loop: messages in, what follows from each, up to the outcome |
//! | `attached` | the same for an attempt in which a person works, in their terminal |
//! | `stop` | what an interactive session is told when a turn ends without evidence |
//! | `transcript` | what the session's file tells, where there is no stream |
//! | `last_word` | the outcome and the marker |
//! | `watch` | the threads that feed the loop |
//! | `work` | looking at the worktree and running commands, off the loop |
//! | `gate` | the evidence that a task is done, and what is missing |
//! | `classify` | why an attempt failed |
//! | `leftovers` | what a lost supervisor left |
//! | `costs`, `liveness` | what the stream and the processes tell |
//! | `stream_log` | the kept copy of the stream |
//! | `report` | the status file |
//! | `ports` | the instance's own ports |

pub mod attached;
mod classify;
mod costs;
mod evidence;
mod gate;
mod last_word;
mod leftovers;
mod life;
mod limits;
mod liveness;
mod merging;
mod ports;
mod report;
pub mod stop;
mod stream_log;
mod transcript;
mod watch;
mod work;

pub use leftovers::end_leftovers;
pub use life::requests::leave_note;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::agent::detach::{announce_ready, announce_refused};
use crate::agent::environment::Environment;
use crate::agent::tree;
use crate::core::attempt::AttemptEnd;
use crate::core::id::TaskName;
use crate::format::launch_file::LaunchFile;
use crate::format::outcome_file::OutcomeFile;
use crate::format::status_file::StatusFile;
use crate::store::StoreError;
use crate::store::atomic::{peek_json, read_json};
use crate::store::layout::RunDir;
use crate::store::lock::Lock;

/// How long a starting supervisor waits for its lock: others probe it for microseconds.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

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
    /// The attempt ended, but the outcome file could not be written.
    OutcomeLost(AttemptEnd, String),
}

/// Supervises one attempt from its order to its outcome. Announces `ready` or `refused: why`
/// on `announce` once that is known.
///
/// Only for a process that does nothing else: it becomes a child subreaper, listens to
/// signals, and takes all of its children for the instance's.
pub fn run(supervision: &Supervision<'_>, announce: &mut dyn Write) -> SupervisorExit {
    let (lock, launch, before) = match begin(supervision) {
        Ok(begun) => begun,
        Err(why) => {
            announce_refused(announce, &why);
            return SupervisorExit::Refused(why);
        }
    };
    announce_ready(announce);
    let exit = if has_outcome(supervision, launch.attempt) {
        SupervisorExit::NothingToDo
    } else {
        if launch.attempt > 1 {
            // What an earlier attempt left goes first: it would work in the same worktree.
            end_leftovers(supervision.run, &launch.token, &launch.task);
        }
        let (end, written) = life::Life::new(supervision, launch, before).live();
        match written {
            Ok(()) => SupervisorExit::Ended(end),
            Err(why) => SupervisorExit::OutcomeLost(end, why),
        }
    };
    drop(lock);
    exit
}

type Begun = (Lock, LaunchFile, Option<StatusFile>);

fn begin(supervision: &Supervision<'_>) -> Result<Begun, String> {
    let (run, task) = (supervision.run, supervision.task);
    // Without it orphans of the tree are still found by the marker.
    let _ = tree::become_subreaper();
    let text = |error: StoreError| error.to_string();
    let lock = Lock::take_within(&run.lock(task), LOCK_PATIENCE)
        .map_err(text)?
        .ok_or_else(|| format!("another supervisor works on {task}"))?;
    let launch: LaunchFile = read_json(&run.launch(task), "the order for an attempt")
        .map_err(text)?
        .ok_or_else(|| format!("there is no order {}", run.launch(task).display()))?;
    if launch.task != *task || launch.orchestration_id != *run.id() {
        return Err(format!(
            "{} is an order for {}/{}, not for {}/{task}",
            run.launch(task).display(),
            launch.orchestration_id,
            launch.task,
            run.id()
        ));
    }
    let before = status_before(run, task)?;
    Ok((lock, launch, before))
}

/// What earlier attempts at a task left in its status file.
fn status_before(run: &RunDir, task: &TaskName) -> Result<Option<StatusFile>, String> {
    match read_json(&run.status(task), "an instance's status") {
        Ok(before) => Ok(before),
        // Not overwritten: this program is the old one.
        Err(error @ StoreError::Newer { .. }) => Err(error.to_string()),
        // Set aside, or not there to be read; its figures begin anew.
        Err(_) => Ok(None),
    }
}

fn has_outcome(supervision: &Supervision<'_>, attempt: u32) -> bool {
    peek_json::<OutcomeFile>(&supervision.run.outcome(supervision.task))
        .is_some_and(|outcome| outcome.attempt == attempt)
}
