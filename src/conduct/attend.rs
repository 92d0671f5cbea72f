//! Waiting for supervisors: for one that is slow to begin, and for the end of one that works.
//!
//! An attempt counts as not started only when that is known. As long as its supervisor may
//! live, another attempt would work in the same worktree.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::agent::detach::Readiness;
use crate::core::id::TaskName;
use crate::format::launch_file::LaunchFile;
use crate::store::layout::RunDir;
use crate::store::{StoreError, atomic, lock, run_log};

use super::context::Context;
use super::launch::{self, Over};
use super::prepare::StartError;

/// How often a slow beginning is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long to wait before waiting again for a lock that could not be waited for.
const AGAIN: Duration = Duration::from_millis(500);

/// What is known of an attempt that nobody watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its supervisor works.
    Lives,
    /// It ended and left this.
    Over(Over),
    /// Nothing of it is there.
    Absent,
}

/// Looks where an attempt stands, without waiting.
pub(super) fn standing(run: &RunDir, task: &TaskName, attempt: u32) -> Standing {
    // The lock first: an outcome is written before it is given back.
    let held = lock::may_be_held(&run.lock(task));
    let order: Result<Option<LaunchFile>, _> =
        atomic::read_json_in_place(&run.launch(task), "the order for an attempt");
    match launch::over(run, task, attempt) {
        // What it works on cannot be told: it is waited for.
        _ if held && order.is_err() => Standing::Lives,
        _ if !order.is_ok_and(|o| o.is_some_and(|o| o.attempt == attempt)) => Standing::Absent,
        _ if held => Standing::Lives,
        Ok(Some(over)) => Standing::Over(over),
        Ok(None) | Err(_) => Standing::Absent,
    }
}

/// Blocks until the attempt's supervisor is gone, then tells what it left.
///
/// # Errors
/// When the outcome file cannot be read.
pub(super) fn watch(context: &Context, task: &TaskName, attempt: u32) -> Result<Over, StartError> {
    let path = context.run.lock(task);
    let tell = |error: &StoreError| {
        let line = format!("{task} cannot be watched, which is tried again: {error}");
        run_log::append(&context.run, super::now(), &[line]);
    };
    wait_through(|| lock::wait_until_free(&path), tell, AGAIN);
    Ok(launch::over(&context.run, task, attempt)?.unwrap_or_else(|| launch::lost(context, task)))
}

/// Waits however often the waiting itself fails: that says nothing of the supervisor. The
/// first fault is told.
fn wait_through(
    mut wait: impl FnMut() -> Result<(), StoreError>,
    tell: impl FnOnce(&StoreError),
    pause: Duration,
) {
    let mut tell = Some(tell);
    while let Err(error) = wait() {
        if let Some(tell) = tell.take() {
            tell(&error);
        }
        std::thread::sleep(pause);
    }
}

/// Waits for a supervisor that did not say in time that it is ready. One that has not begun
/// after `patience` is ended, since it would meet the next attempt.
pub(super) fn await_late(
    child: &mut Child,
    mut began: impl FnMut() -> bool,
    patience: Duration,
) -> Readiness {
    let deadline = Instant::now() + patience;
    let gone = loop {
        if began() {
            return Readiness::Ready;
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            break Readiness::Silent;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            break Readiness::Refused("it did not begin in time and was ended".into());
        }
        std::thread::sleep(LOOK);
    };
    // It may have begun between the two looks; whoever watches it sees how it ended.
    if began() { Readiness::Ready } else { gone }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::detach::{Detached, spawn_detached};
    use crate::agent::environment::Environment;
    use crate::agent::scripted::tests::launch as order;
    use crate::core::attempt::AttemptEnd;
    use crate::core::event::Left;
    use crate::core::id::OrchestrationId;
    use crate::format::outcome_file::OutcomeFile;
    use crate::store::atomic::{Durability, write_json};
    use crate::store::layout::Layout;
    use crate::store::lock::Lock;
    use std::path::Path;

    const LONG: Duration = Duration::from_secs(60);

    fn late(script: &str) -> Detached {
        let dir = tempfile::tempdir().unwrap();
        let started = spawn_detached(
            Path::new("/bin/sh"),
            &["-c".into(), script.into()],
            dir.path(),
            &Environment::from_vars([("PATH", "/usr/bin:/bin")]),
            &dir.path().join("stderr"),
            Duration::ZERO,
        )
        .unwrap();
        assert_eq!(started.readiness, Readiness::Late);
        started
    }

    #[test]
    fn a_late_supervisor_is_waited_for_until_it_begins() {
        let mut child = late("exec sleep 600").child;
        let mut looks = 0;
        let began = || {
            looks += 1;
            looks == 3
        };
        assert_eq!(await_late(&mut child, began, LONG), Readiness::Ready);
        assert_eq!(child.try_wait().unwrap(), None, "it works on");
        // One that ends before it begins.
        child.kill().unwrap();
        assert_eq!(await_late(&mut child, || false, LONG), Readiness::Silent);
    }

    #[test]
    fn a_supervisor_that_never_begins_is_ended() {
        let mut child = late("exec sleep 600").child;
        let said = await_late(&mut child, || false, Duration::ZERO);
        assert!(matches!(said, Readiness::Refused(_)), "{said:?}");
        assert!(child.try_wait().unwrap().is_some());
    }

    #[test]
    fn a_supervisor_that_begins_just_before_its_end_did_begin() {
        let mut child = late("exec sleep 600").child;
        let mut looks = 0;
        let began = || {
            looks += 1;
            looks > 1
        };
        assert_eq!(
            await_late(&mut child, began, Duration::ZERO),
            Readiness::Ready
        );
    }

    #[test]
    fn an_attempt_whose_supervisor_lives_or_left_an_outcome_is_not_taken_for_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        let task = TaskName::parse("a").unwrap();
        assert_eq!(standing(&run, &task, 1), Standing::Absent);
        let order = order("a");
        assert_eq!(order.attempt, 1);
        write_json(&run.launch(&task), "x", &order, Durability::Volatile).unwrap();
        assert_eq!(standing(&run, &task, 1), Standing::Absent);
        let lock = Lock::try_take(&run.lock(&task)).unwrap();
        assert_eq!(standing(&run, &task, 1), Standing::Lives);
        assert_eq!(standing(&run, &task, 2), Standing::Absent, "not this one");
        let outcome = OutcomeFile {
            schema_version: 1,
            attempt: 1,
            outcome: AttemptEnd::Paused,
            cost_usd: None,
            cost_is_partial: false,
            tokens: None,
            peak_memory_bytes: None,
            duration_ms: None,
            resets_at: None,
            session_seen: true,
            ended_at: String::new(),
        };
        write_json(&run.outcome(&task), "x", &outcome, Durability::Volatile).unwrap();
        assert_eq!(standing(&run, &task, 1), Standing::Lives, "not gone yet");
        drop(lock);
        let over = Over {
            end: AttemptEnd::Paused,
            left: Left {
                session_seen: true,
                ..Left::default()
            },
        };
        assert_eq!(standing(&run, &task, 1), Standing::Over(over));
    }

    #[test]
    fn a_fault_of_the_waiting_is_no_end() {
        let mut tries = 0;
        let mut told = 0;
        let wait = || {
            tries += 1;
            match tries {
                4 => Ok(()),
                _ => Err(StoreError::io("wait for", "x")(std::io::Error::other(
                    "too many open files",
                ))),
            }
        };
        wait_through(wait, |_| told += 1, Duration::ZERO);
        assert_eq!((tries, told), (4, 1));
    }
}
