//! Work that takes its time, on threads of its own: git, set-up, verify.
//!
//! These start processes that are children of the supervisor without being the instance's.
//! [`Helpers`] is held while any of them may run, so that nobody ends or reaps them.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use super::evidence::{self, Changes};
use super::gate::{GitEvidence, Lack, Rules, lacks_in_git};
use super::watch::{GateReport, Msg};
use crate::agent::environment::Environment;
use crate::agent::shell::{CommandReport, run_configured};
use crate::agent::tree::Marker;
use crate::core::id::Oid;
use crate::git::Repo;

/// Stack of the threads that use libgit2.
const WORK_STACK: usize = 1024 * 1024;

/// Held while processes run that are the supervisor's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Helpers(Arc<Mutex<()>>);

impl Helpers {
    /// Waits until none runs.
    fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it if none runs.
    pub(crate) fn try_hold(&self) -> Option<MutexGuard<'_, ()>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits until none runs, but no longer than `patience`.
    pub(crate) fn hold_within(&self, patience: Duration) -> Option<MutexGuard<'_, ()>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(guard) = self.try_hold() {
                return Some(guard);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The worktree and what may be done in it; cheap to clone for a thread.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) worktree: PathBuf,
    pub(crate) main_checkout: PathBuf,
    pub(crate) rules: Rules,
    pub(crate) env: Environment,
    pub(crate) marker: Marker,
    pub(crate) commands_log: PathBuf,
    pub(crate) command_timeout: Duration,
    pub(crate) helpers: Helpers,
    pub(crate) repo: Arc<OnceLock<Repo>>,
}

impl Workshop {
    /// Does something on a thread and tells the loop what came of it.
    pub(crate) fn send(
        &self,
        name: &str,
        tell: &SyncSender<Msg>,
        work: impl FnOnce(&Self) -> Msg + Send + 'static,
    ) -> Result<(), String> {
        let (own, tell) = (self.clone(), tell.clone());
        thread::Builder::new()
            .name(name.into())
            .stack_size(WORK_STACK)
            .spawn(move || {
                let said = work(&own);
                let _ = tell.send(said);
            })
            .map(drop)
            .map_err(|e| format!("cannot start a thread: {e}"))
    }

    /// Runs a configured command in the worktree.
    pub(crate) fn run(&self, cmd: &str, stop: &AtomicBool) -> CommandReport {
        let _held = self.helpers.hold();
        run_configured(
            cmd,
            &self.worktree,
            &self.env,
            &self.commands_log,
            self.command_timeout,
            &self.marker,
            stop,
        )
    }

    /// Gathers the evidence of the gate: git first, the verify command only when that shows
    /// nothing missing.
    pub(crate) fn gate(&self, stop: &AtomicBool) -> Result<GateReport, String> {
        let git = self.look()?;
        let mut lacks = lacks_in_git(&self.rules, &git);
        let mut left_by_verify = git.uncommitted.clone();
        if lacks.is_empty()
            && let Some(cmd) = self.rules.verify.clone()
        {
            let report = self.run(&cmd, stop);
            if !report.is_green() {
                lacks.push(Lack::Verify {
                    ending: report.ending(),
                    tail: report.tail,
                });
            }
            left_by_verify = self.look()?.uncommitted;
        }
        Ok(GateReport {
            git,
            lacks,
            left_by_verify,
        })
    }

    /// What git says now.
    pub(crate) fn look(&self) -> Result<GitEvidence, String> {
        let _held = self.helpers.hold();
        evidence::look(self.repo()?, &self.worktree, &self.rules).map_err(|e| e.to_string())
    }

    /// The changes since the base.
    pub(crate) fn measure(&self) -> Result<Changes, String> {
        let _held = self.helpers.hold();
        evidence::measure(self.repo()?, &self.worktree, &self.rules).map_err(|e| e.to_string())
    }

    /// The changes that a commit holds since the base.
    pub(crate) fn measure_commit(&self, head: &Oid) -> Result<Changes, String> {
        evidence::measure_commit(self.repo()?, &self.rules, head).map_err(|e| e.to_string())
    }

    fn repo(&self) -> Result<&Repo, String> {
        if let Some(repo) = self.repo.get() {
            return Ok(repo);
        }
        let repo = Repo::of_main_checkout(&self.main_checkout).map_err(|e| e.to_string())?;
        Ok(self.repo.get_or_init(|| repo))
    }
}
