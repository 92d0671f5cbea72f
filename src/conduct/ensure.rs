//! Whoever finds a live run without a conductor starts one.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::agent::detach::{Readiness, spawn_detached};
use crate::agent::environment::Environment;
use crate::agent::tree::MARK_VARIABLE;
use crate::core::event::Request;
use crate::core::record::Record;
use crate::store::layout::RunDir;
use crate::store::{inbox, journal, lock};

use super::shortage::is_shortage;
use super::surroundings;

/// How long a conductor may take to say that it holds its lock.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was found, or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// The run needs no conductor: it was not started, or has ended, and nobody asks for
    /// anything.
    NotNeeded,
    /// One runs.
    Running,
    /// There was none; now one runs.
    Started,
    /// There is none, and none could be started.
    Failed(String),
}

/// Whether a run has something to do and nobody does it.
#[must_use]
pub fn is_orphaned(run: &RunDir) -> bool {
    needs_one(run) && !lock::may_be_held(&run.conductor_lock())
}

/// Makes sure that a run which has something to do has a conductor.
///
/// - `main_checkout`: the repository, handed to the new conductor.
/// - `exe`, `env`: this program and the environment of this process. A run that keeps an
///   environment of its own is conducted with that one.
#[must_use]
pub fn ensure(run: &RunDir, main_checkout: &Path, exe: &Path, env: &Environment) -> Ensured {
    if !needs_one(run) {
        return Ensured::NotNeeded;
    }
    match lock::is_held(&run.conductor_lock()) {
        Ok(true) => return Ensured::Running,
        Ok(false) => {}
        Err(error) => return Ensured::Failed(error.to_string()),
    }
    if env.get(MARK_VARIABLE).is_some() && run.journal().exists() {
        // It would end with the instance that this process belongs to, and take all other
        // instances with it.
        return Ensured::Failed(format!(
            "an instance does not conduct; `orchestra status` outside of it goes on with {}",
            run.id()
        ));
    }
    let args: [OsString; 4] = [
        "conduct".into(),
        "--repo".into(),
        main_checkout.into(),
        run.id().as_str().into(),
    ];
    let started = spawn_detached(
        exe,
        &args,
        main_checkout,
        &surroundings::of_run(run, env),
        &run.conductor_stderr(),
        PATIENCE,
    );
    match started {
        Err(error) => Ensured::Failed(error.to_string()),
        Ok(started) => {
            let readiness = started.readiness.clone();
            started.reap_in_background();
            match readiness {
                Readiness::Ready => Ensured::Started,
                Readiness::Late => Ensured::Running,
                // Another one was faster; that one serves as well, even if it is through.
                Readiness::Refused(_) if lock::may_be_held(&run.conductor_lock()) => {
                    Ensured::Running
                }
                Readiness::Refused(_) if !needs_one(run) => Ensured::NotNeeded,
                Readiness::Refused(why) => Ensured::Failed(why),
                Readiness::Silent => Ensured::Failed(format!(
                    "the conductor ended before it began; see {}",
                    run.conductor_stderr().display()
                )),
            }
        }
    }
}

/// A run that was started and is not closed, or has unread letters.
pub(super) fn needs_one(run: &RunDir) -> bool {
    if !run.settings().is_file() {
        return false;
    }
    if inbox::letters_waiting(&run.inbox()) {
        return true;
    }
    match journal::read(&run.journal()) {
        Ok(lines) => !is_over(&lines),
        // Too many open files, say, pass: nobody must take the run for one that is over.
        Err(error) => is_shortage(&error.to_string()),
    }
}

/// Whether a run goes on by no means of its own: closed and not taken up again, or at rest.
#[must_use]
pub fn is_over(lines: &[journal::Line]) -> bool {
    let closed = lines
        .iter()
        .rev()
        .find_map(|line| match &line.entry {
            Record::Closed => Some(true),
            Record::TaskRevived { .. }
            | Record::IntegrationStarted { .. }
            | Record::Finished { .. }
            | Record::AttemptStarted { .. }
            | Record::Begun => Some(false),
            _ => None,
        })
        .unwrap_or(false);
    closed || is_at_rest(lines)
}

/// Paused with nothing in work: it waits for a person, not for a conductor. A pause that
/// comes while the results are merged, or later, holds nothing back.
fn is_at_rest(lines: &[journal::Line]) -> bool {
    let mut paused = false;
    let mut concluding = false;
    let mut merging = false;
    let mut active = std::collections::HashSet::new();
    for line in lines {
        match &line.entry {
            Record::PauseRequested { task: None } => paused = true,
            Record::ResumeRequested { task: None } => paused = false,
            Record::TaskRevived { .. } => {
                paused = false;
                concluding = false;
            }
            Record::Closed => concluding = false,
            Record::IntegrationStarted { .. } | Record::Finished { .. } => concluding = true,
            Record::QueueStarted { .. } => merging = true,
            Record::QueueEnded { .. } => merging = false,
            Record::AttemptStarted { task, .. } => {
                active.insert(task.clone());
            }
            Record::AttemptEnded { task, .. } => {
                active.remove(task);
            }
            _ => {}
        }
    }
    paused && !concluding && !merging && active.is_empty()
}

/// Posts a request to a run's conductor and makes sure that one reads it.
///
/// # Errors
/// When the inbox cannot be written, or no conductor can be started.
pub fn ask(
    run: &RunDir,
    request: Request,
    main_checkout: &Path,
    exe: &Path,
    env: &Environment,
) -> Result<(), String> {
    // First the letter, then the look at the lock: see `conduct::conduct`.
    inbox::post(&run.inbox(), request, super::now()).map_err(|e| e.to_string())?;
    match ensure(run, main_checkout, exe, env) {
        Ensured::Failed(why) => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::{MergeMode, Verdict};
    use crate::core::time::Timestamp;

    #[test]
    fn an_instance_takes_no_run_up() {
        let dir = tempfile::tempdir().unwrap();
        let layout = crate::store::layout::Layout::new(dir.path());
        let run = layout.run(&crate::core::id::OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        std::fs::write(run.settings(), "{}").unwrap();
        let exe = Path::new("/nonexistent/orchestra");
        let line = r#"{"v":1,"seq":1,"at":0,"entry":{"kind":"begun"}}"#;
        std::fs::write(run.journal(), format!("{line}\n")).unwrap();
        let inside = Environment::from_vars([(MARK_VARIABLE, "t/r/a")]);
        for (env, why) in [(inside, "an instance"), (Environment::default(), "start")] {
            match ensure(&run, dir.path(), exe, &env) {
                Ensured::Failed(said) => assert!(said.contains(why), "{said}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_pause_leaves_nobody_to_end_what_is_being_merged_unless_somebody_does() {
        let pause = Record::PauseRequested { task: None };
        let merging = Record::IntegrationStarted {
            mode: MergeMode::Automatic,
            only: None,
            asked: false,
        };
        let finished = Record::Finished {
            verdict: Verdict::Success,
        };
        for (records, rests) in [
            (vec![Record::Begun, pause.clone()], true),
            (vec![Record::Begun, pause.clone(), merging.clone()], false),
            (vec![Record::Begun, merging, pause.clone()], false),
            (vec![Record::Begun, pause.clone(), finished.clone()], false),
            (vec![pause, finished, Record::Closed], true),
        ] {
            let lines: Vec<journal::Line> = records
                .into_iter()
                .map(|entry| journal::Line {
                    v: 1,
                    seq: 1,
                    at: Timestamp(0),
                    entry,
                })
                .collect();
            assert_eq!(is_at_rest(&lines), rests, "{lines:?}");
        }
    }
}
