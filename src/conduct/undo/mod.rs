//! Taking deliveries back.
//!
//! All of it is rehearsed in memory before anything moves. Then it is written down, done and
//! written down as done, so that whoever finds it cut off in between can tell how far it came:
//! the base branch itself says so.

mod rehearse;

use std::path::Path;
use std::sync::atomic::AtomicBool;

pub use rehearse::{Obstacle, Rehearsal, Step, rehearse};

use crate::agent::environment::Environment;
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName, listed};
use crate::core::record::{QueueResult, Record, UndoHow};
use crate::core::state::State;
use crate::git::{BackupKind, Delivered, GitError};
use crate::integrate;
use crate::store::journal::{self, Journal};
use crate::store::layout::{Layout, RunDir};
use crate::store::lock::Lock;
use crate::store::{StoreError, run_log};
use crate::view::log_line;

use super::context::Context;
use super::{ConductError, LOCK_PATIENCE, close, ensure, load, now, replay};

/// How deliveries are to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// With a commit on top that does the opposite, instead of moving the base branch back.
    pub revert: bool,
    /// Together with what later runs delivered on top.
    pub chain: bool,
}

/// A run with what its journal says.
#[derive(Debug)]
pub struct Known {
    /// The run.
    pub context: Context,
    /// Its state.
    pub state: State,
    /// Whether nothing of it goes on by itself.
    pub over: bool,
    /// When it began; none for an empty journal.
    pub begun: Option<crate::core::time::Timestamp>,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// It was taken back now.
    Done {
        /// What was rehearsed, and done.
        rehearsal: Box<Rehearsal>,
        /// How.
        how: UndoHow,
        /// What happened to the base branch.
        delivered: Delivered,
        /// The ref that keeps the base branch as it was.
        backup: String,
        /// Whether the result was proved; none when there was nothing to prove.
        verified: Option<bool>,
    },
    /// There was nothing left to do.
    Already {
        /// Whether an earlier call had done it and was cut off before it could say so.
        mended: bool,
        /// Deliveries that the base branch does not hold, although nobody took them back
        /// with this program.
        absent: Vec<Oid>,
    },
}

/// Why nothing was taken back. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum UndoError {
    #[error("{0} delivered nothing: there is nothing to take back")]
    Nothing(OrchestrationId),
    #[error(
        "{0} is at work: a conductor holds its lock; `orchestra wait` waits for its end, \
         `orchestra control cancel` ends it"
    )]
    Conducted(OrchestrationId),
    #[error(
        "{0} is not over, and would go on with what it delivered; `orchestra wait` waits for \
         its end, `orchestra control cancel` ends it"
    )]
    NotOver(OrchestrationId),
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    #[error(
        "without the delivery the verify command is red ({}), so nothing was changed; look at \
         it: `git diff {backup}^ {backup}`\n{tail}",
        commit.short()
    )]
    Red {
        commit: Oid,
        backup: String,
        tail: String,
    },
    #[error("the commit {} could not be proved, so nothing was changed: {detail}", commit.short())]
    Unproved { commit: Oid, detail: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// All runs of a repository that can be read, oldest first.
#[must_use]
pub fn known(layout: &Layout, exe: &Path, env: &Environment) -> Vec<Known> {
    layout
        .runs()
        .iter()
        .filter(|run| run.settings().is_file())
        .filter_map(|run| look(run, exe, env).ok())
        .collect()
}

/// Reads one run.
///
/// # Errors
/// When it was not started, or a file of it cannot be read.
pub fn look(run: &RunDir, exe: &Path, env: &Environment) -> Result<Known, ConductError> {
    let context = load(run, exe, env.clone())?;
    let lines = journal::read(&run.journal())?;
    Ok(Known {
        state: replay(&context, lines.iter().map(|l| &l.entry)),
        over: ensure::is_over(&lines),
        begun: lines.first().map(|l| l.at),
        context,
    })
}

impl Known {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &OrchestrationId {
        self.context.run.id()
    }
}

/// Takes back what a run delivered. `tell` is called with a line for people at each step.
///
/// - `target`: the run, one of those that [`known`] finds.
///
/// # Errors
/// See [`UndoError`]; nothing was changed then.
pub fn undo(
    layout: &Layout,
    target: &OrchestrationId,
    wish: Wish,
    exe: &Path,
    env: &Environment,
    tell: &dyn Fn(&str),
) -> Result<Outcome, UndoError> {
    // Held to the end: no conductor delivers or merges meanwhile.
    let first = known(layout, exe, env);
    let concerned: Vec<&Known> = first
        .iter()
        .filter(|k| k.id() == target || (wish.chain && k.state.deliveries().any_stands()))
        .collect();
    let mut locks = Vec::new();
    for known in &concerned {
        let lock = Lock::take_within(&known.context.run.conductor_lock(), LOCK_PATIENCE)?;
        locks.push(lock.ok_or_else(|| UndoError::Conducted(known.id().clone()))?);
    }
    // What is true under the locks.
    let runs = known(layout, exe, env);
    let target = runs
        .iter()
        .find(|k| k.id() == target)
        .ok_or_else(|| UndoError::Nothing(target.clone()))?;
    let rehearsal = rehearse(&runs, target, wish)?;
    for (run, records) in &rehearsal.mends {
        write_down(run, records)?;
    }
    if rehearsal.steps.is_empty() {
        let mended = !rehearsal.mends.is_empty();
        if mended {
            close::write_reports(&target.context);
        }
        return Ok(Outcome::Already {
            mended,
            absent: rehearsal.absent,
        });
    }
    if let Some(run) = runs
        .iter()
        .find(|k| !k.over && rehearsal.steps.iter().any(|step| step.run == *k.id()))
    {
        return Err(UndoError::NotOver(run.id().clone()));
    }
    if let Some(obstacle) = rehearsal.obstacle {
        return Err(obstacle.into());
    }
    let hands = Hands {
        runs: &runs,
        target,
        tell,
    };
    let outcome = hands.carry_out(rehearsal, wish)?;
    drop(locks);
    Ok(outcome)
}

struct Hands<'a> {
    runs: &'a [Known],
    target: &'a Known,
    tell: &'a dyn Fn(&str),
}

impl Hands<'_> {
    fn carry_out(&self, rehearsal: Rehearsal, wish: Wish) -> Result<Outcome, UndoError> {
        let context = &self.target.context;
        let repo = &context.repo;
        let branch = &context.settings.base_branch;
        let tip = &rehearsal.tip;
        let (how, verified) = if wish.revert {
            let message = message(&rehearsal, branch);
            let commit = repo.commit(&rehearsal.tree, std::slice::from_ref(tip), &message, None)?;
            let verified = self.prove(&commit)?;
            (UndoHow::Revert { commit }, Some(verified))
        } else {
            (UndoHow::Rewind, None)
        };
        let backup = self.backup(tip)?;
        for known in self.concerned(&rehearsal) {
            let records = rehearsal.of(known.id()).map(|step| Record::UndoStarted {
                from: step.from.clone(),
                to: step.to.clone(),
                tip: tip.clone(),
                how: how.clone(),
            });
            write_down(&known.context.run, &records.collect::<Vec<_>>())?;
        }
        let delivered = match &how {
            UndoHow::Rewind => repo.rewind(branch, tip, &rehearsal.end),
            UndoHow::Revert { commit } => repo.deliver(branch, tip, commit),
        };
        let delivered = delivered.map_err(Obstacle::from)?;
        for known in self.concerned(&rehearsal) {
            let records = rehearsal.of(known.id()).map(|step| Record::Undone {
                from: step.from.clone(),
                to: step.to.clone(),
                how: how.clone(),
            });
            write_down(&known.context.run, &records.collect::<Vec<_>>())?;
            close::write_reports(&known.context);
        }
        Ok(Outcome::Done {
            rehearsal: Box::new(rehearsal),
            how,
            delivered,
            backup,
            verified,
        })
    }

    /// The runs of which something is taken back.
    fn concerned(&self, rehearsal: &Rehearsal) -> impl Iterator<Item = &Known> {
        self.runs
            .iter()
            .filter(|known| rehearsal.of(known.id()).next().is_some())
    }

    fn backup(&self, commit: &Oid) -> Result<String, UndoError> {
        let context = &self.target.context;
        let name = TaskName::parse("base").map_err(|e| GitError::BadRefName {
            name: e.to_string(),
        })?;
        Ok(context
            .repo
            .backup(context.run.id(), &name, BackupKind::Undo, commit)?)
    }

    /// Runs the verify command on the commit; false when none is configured.
    fn prove(&self, commit: &Oid) -> Result<bool, UndoError> {
        let context = &self.target.context;
        let settings = &context.settings;
        if settings.verify.is_none() {
            return Ok(false);
        }
        let scratch = integrate::scratch_worktree(&settings.worktree_dir, context.run.id());
        let stop = AtomicBool::new(false);
        let result = context.bench(&stop, self.tell).verify(commit);
        if context.repo.may_be_registered(&scratch) {
            // Tidying up removes it as well.
            let _ = context.repo.worktree_remove(&scratch, true);
            let _ = std::fs::remove_dir(&settings.worktree_dir);
        }
        match result {
            QueueResult::Verified { green: true, .. } => Ok(true),
            QueueResult::Verified { tail, .. } => Err(UndoError::Red {
                backup: self.backup(commit)?,
                commit: commit.clone(),
                tail,
            }),
            QueueResult::Failed { detail } => Err(UndoError::Unproved {
                commit: commit.clone(),
                detail,
            }),
            _ => Err(UndoError::Unproved {
                commit: commit.clone(),
                detail: "the verify command was stopped".into(),
            }),
        }
    }
}

/// Writes records into the journal of a run whose conductor lock is held here.
fn write_down(run: &RunDir, records: &[Record]) -> Result<(), StoreError> {
    let (mut journal, _) = Journal::open(&run.journal())?;
    let at = now();
    journal.append(records, at)?;
    let lines: Vec<String> = records
        .iter()
        .filter_map(|record| Some(log_line::text(record)?.0))
        .collect();
    run_log::append(run, at, &lines);
    Ok(())
}

/// The message of the commit that does the opposite.
fn message(rehearsal: &Rehearsal, branch: &BranchName) -> String {
    let mut runs: Vec<&OrchestrationId> = rehearsal.steps.iter().map(|s| &s.run).collect();
    runs.dedup();
    let names: Vec<&str> = runs.iter().map(|id| id.as_str()).collect();
    let mut text = format!(
        "Revert what {} delivered to {branch}\n\nTaken back:\n",
        names.join(", ")
    );
    for step in &rehearsal.steps {
        text.push_str(&format!("- {} ({})\n", step.to, listed(&step.tasks)));
    }
    text.push('\n');
    for id in runs {
        text.push_str(&format!("Orchestra-Undo: {id}\n"));
    }
    text
}
