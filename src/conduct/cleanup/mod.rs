//! Tidying up: worktrees, branches and claims of a run, never work that is nowhere else.
//!
//! | file | what |
//! |---|---|
//! | `task` | one task's worktree and branch |
//! | `own` | the run's own: scratch worktree, branch with merged results |
//! | `orphans` | what looks like ours and is in no journal: listed, and left |

mod orphans;
mod own;
mod task;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

pub use orphans::{Orphan, OrphanKind, orphans, release_orphaned_claims};
pub use task::is_own_settings;

use crate::agent::tree;
use crate::core::id::{BranchName, Oid, TaskName};
use crate::core::state::{Phase, State, TaskState};
use crate::git::{GitError, Repo, WorktreeInfo};

use super::context::Context;

/// Whoever only looks whether a lock is held holds it for an instant.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// Which tasks are tidied up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Those that are done and whose result the base branch holds.
    #[value(help = "What done tasks left")]
    Success,
    /// Those that failed, were cancelled or never ran.
    #[value(help = "What failed, skipped and cancelled tasks left")]
    Failed,
    /// All of them.
    #[value(help = "Both")]
    All,
}

/// Whether things are tidied up, and what is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// What would happen is told, and nothing is done.
    DryRun,
    /// It is done, and all of it is told.
    Told,
    /// It is done. What goes is not measured: nobody is told of more than what stays, and of
    /// the backups.
    Quiet,
}

impl Manner {
    fn is_dry_run(self) -> bool {
        self == Self::DryRun
    }

    /// Whether somebody is told how large things are, and what is lost with them.
    fn measures(self) -> bool {
        self != Self::Quiet
    }
}

/// What happens, or would happen, to one task's things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The task; none for what belongs to the run itself.
    pub task: Option<TaskName>,
    /// Its worktree, if it is there.
    pub worktree: Option<PathBuf>,
    /// Its branch, if it is there.
    pub branch: Option<BranchName>,
    /// Bytes on disk of the worktree; 0 in [`Manner::Quiet`].
    pub bytes: u64,
    /// Why it is left alone; none when it goes.
    pub kept: Option<String>,
    /// Whether it is left because of an error, perhaps with a part of it gone.
    pub failed: bool,
    /// The refs under which its work is kept.
    pub backups: Vec<String>,
    /// What git ignores in the worktree: it goes with it, and no backup holds it. Empty in
    /// [`Manner::Quiet`].
    pub ignored: Vec<String>,
}

/// Lists what there is to tidy up, and does it unless that is a dry run.
///
/// Only what the journal says this run made, and what the run still holds a claim on, is
/// looked at. Before a worktree goes, its uncommitted work is in a backup ref; before a branch
/// goes, its commits are in the base branch or in a backup ref. An instance that runs keeps
/// all that it has. Links are never followed. May be done again after a crash at any point.
/// What goes wrong with one task's things is told in its item, and holds the others up in
/// nothing.
///
/// # Errors
/// When git cannot list the worktrees; nothing was done then.
pub fn cleanup(
    context: &Context,
    state: &State,
    which: Which,
    manner: Manner,
) -> Result<Vec<Item>, GitError> {
    tidy_up(context, state, which, manner, None)
}

/// Why a task whose branch is at this commit stays; nothing when it goes.
pub type StaysBecause<'a> = &'a (dyn Fn(&BranchName, &Oid) -> Option<String> + Sync);

/// The same for tasks of which somebody else says whether they are merged. Tasks that still go
/// on, and what belongs to the run itself, are left alone.
///
/// # Errors
/// As [`cleanup`].
pub fn prune(
    context: &Context,
    state: &State,
    manner: Manner,
    stays: StaysBecause<'_>,
) -> Result<Vec<Item>, GitError> {
    tidy_up(context, state, Which::All, manner, Some(stays))
}

fn tidy_up(
    context: &Context,
    state: &State,
    which: Which,
    manner: Manner,
    stays: Option<StaysBecause<'_>>,
) -> Result<Vec<Item>, GitError> {
    let room = Room {
        stays,
        worktrees: context.repo.worktrees()?,
        // Looked once for all tasks: as a rule there is nothing to be ended.
        has_processes: !manner.is_dry_run()
            && !tree::Tree::marked(run_marker(context)).find().is_empty(),
        which,
        manner,
        gitlinks: OnceLock::new(),
    };
    let mut wanted_tasks = Vec::new();
    for ix in state.every() {
        let entry = state.task(ix);
        let Some(place) = &entry.place else { continue };
        let done = matches!(entry.state, TaskState::Done { .. });
        let resolution = state.resolvers().get(&ix);
        let result = resolution.map_or(state.name(ix), |resolution| &resolution.task);
        let delivered = state.queue().is_delivered(result);
        // What a resolver left is of no use any more once that result is delivered.
        let over = resolution.is_some() && delivered && entry.state.is_settled();
        let wanted = match which {
            Which::Success => done || over,
            // A task that goes on after a pause still needs what it did.
            Which::Failed => !done && entry.state.is_settled(),
            Which::All => stays.is_none() || entry.state.is_settled(),
        };
        if wanted {
            wanted_tasks.push((state.name(ix), place, delivered));
        }
    }
    let found = in_parallel(&wanted_tasks, |(task, place, delivered)| {
        let mut item = Item::of(Some(task));
        let done = task::tidy(context, &room, task, place, *delivered, &mut item);
        item.after(done)
    });
    let mut items: Vec<Item> = found.into_iter().flatten().collect();
    // Results that are being merged are proved in the scratch worktree.
    if stays.is_none() && !matches!(state.phase(), Phase::Integrating(_)) {
        let mut item = Item::of(None);
        let done = own::tidy(context, &room, &mut item);
        items.extend(item.after(done));
    }
    if !manner.is_dry_run() {
        // Succeeds only when nothing of anybody is left in it.
        let _ = fs::remove_dir(&context.settings.worktree_dir);
    }
    Ok(items)
}

impl Item {
    /// Before anything of it was looked at.
    fn of(task: Option<&TaskName>) -> Self {
        Self {
            task: task.cloned(),
            worktree: None,
            branch: None,
            bytes: 0,
            kept: None,
            failed: false,
            backups: Vec::new(),
            ignored: Vec::new(),
        }
    }

    /// What is to be told of it: nothing when nothing was there.
    fn after(mut self, done: Result<bool, GitError>) -> Option<Self> {
        match done {
            Ok(true) => Some(self),
            Ok(false) => None,
            Err(error) => {
                self.kept = Some(error.to_string());
                self.failed = true;
                Some(self)
            }
        }
    }
}

/// What is the same for all tasks of one tidying up.
struct Room<'a> {
    worktrees: Vec<WorktreeInfo>,
    /// Whether there are processes of the run's instances.
    has_processes: bool,
    which: Which,
    manner: Manner,
    /// Who else says what stays.
    stays: Option<StaysBecause<'a>>,
    /// Whether the commit on which the run stands may hold repositories, once asked.
    gitlinks: OnceLock<bool>,
}

fn run_marker(context: &Context) -> tree::Marker {
    tree::Marker::new(&context.token(), context.run.id(), None)
}

/// Does the same with all things, as many at a time as there are processors; the results are
/// in the order of the things.
fn in_parallel<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = things.len().div_ceil(threads).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let parts: Vec<_> = things
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<R>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| match part.join() {
                Ok(results) => results,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// Why nothing may be removed at a path; none when it may. It was real when it was made: a
/// link in it now leads to what somebody else made.
#[must_use]
pub fn link_in(path: &Path) -> Option<String> {
    if path
        .symlink_metadata()
        .is_ok_and(|about| about.is_symlink())
    {
        return Some(format!(
            "{} is a symbolic link now: what it leads to is not this run's",
            path.display()
        ));
    }
    let folder = path.parent()?;
    match folder.canonicalize() {
        Ok(real) if real != folder => Some(format!(
            "the way to it leads through a symbolic link ({} is {}): remove the link, or the \
             worktree with `git worktree remove`",
            folder.display(),
            real.display()
        )),
        _ => None,
    }
}

/// Whether a folder looks like a worktree whose files nobody made yet, or like none at all: it
/// holds no repository of its own.
fn is_plain_folder(path: &Path) -> bool {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|about| about.is_dir());
    is_folder(path) && !is_folder(&path.join(".git"))
}

/// A branch that moved after its backup was made stays.
fn delete_branch(
    repo: &Repo,
    branch: &BranchName,
    tip: &Oid,
    item: &mut Item,
) -> Result<(), GitError> {
    match repo.delete_ref(&branch.full_ref(), tip) {
        Err(GitError::RefMoved { .. }) => {
            item.kept = Some("its branch moved meanwhile".into());
            Ok(())
        }
        other => other,
    }
}

/// Bytes below a folder, links not followed.
fn size(folder: &Path) -> u64 {
    let mut todo = vec![folder.to_owned()];
    let mut bytes = 0;
    if folder
        .symlink_metadata()
        .is_ok_and(|about| about.is_symlink())
    {
        return 0;
    }
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(_) => bytes += entry.metadata().map_or(0, |m| m.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}
