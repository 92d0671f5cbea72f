//! Tidying up: worktrees, branches and claims of a run, never work that is nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::tree;
use crate::core::id::{BranchName, Oid, TaskName};
use crate::core::record::Place;
use crate::core::state::{Phase, State, TaskState};
use crate::git::{BackupKind, GitError, Repo, WorktreeInfo};
use crate::integrate::{integration_branch, is_checked_out, scratch_worktree};
use crate::store::claims;
use crate::store::lock::{self, Lock};

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

/// What happens, or would happen, to one task's things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The task; none for what belongs to the run itself.
    pub task: Option<TaskName>,
    /// Its worktree, if it is there.
    pub worktree: Option<PathBuf>,
    /// Its branch, if it is there.
    pub branch: Option<BranchName>,
    /// Bytes on disk of the worktree.
    pub bytes: u64,
    /// Why it is left alone; none when it goes.
    pub kept: Option<String>,
    /// Whether it is left because of an error, perhaps with a part of it gone.
    pub failed: bool,
    /// The refs under which its work is kept.
    pub backups: Vec<String>,
}

/// Lists what there is to tidy up, and does it unless `dry_run`.
///
/// Only what the journal says this run made is looked at. Before a worktree goes, its
/// uncommitted work is in a backup ref; before a branch goes, its commits are in the base
/// branch or in a backup ref. An instance that runs keeps all that it has. May be done again
/// after a crash at any point. What goes wrong with one task's things is told in its item, and
/// holds the others up in nothing.
///
/// # Errors
/// When git cannot list the worktrees; nothing was done then.
pub fn cleanup(
    context: &Context,
    state: &State,
    which: Which,
    dry_run: bool,
) -> Result<Vec<Item>, GitError> {
    let room = Room {
        worktrees: context.repo.worktrees()?,
        // Looked once for all tasks: as a rule there is nothing to be ended.
        has_processes: !dry_run && !tree::Tree::marked(run_marker(context)).find().is_empty(),
        which,
        dry_run,
    };
    let mut wanted_tasks = Vec::new();
    for ix in state.every() {
        let entry = state.task(ix);
        let Some(place) = &entry.place else { continue };
        let done = matches!(entry.state, TaskState::Done { .. });
        // What a resolver left is of no use any more once its task's result is delivered.
        let over = state.resolvers().get(&ix);
        let over = over.is_some_and(|r| state.queue().is_delivered(&r.task));
        let wanted = match which {
            Which::Success => done || (over && entry.state.is_settled()),
            // A task that goes on after a pause still needs what it did.
            Which::Failed => !done && entry.state.is_settled(),
            Which::All => true,
        };
        if wanted {
            wanted_tasks.push((state.name(ix), place));
        }
    }
    let found = in_parallel(&wanted_tasks, |(task, place)| {
        let mut item = Item::of(Some(task));
        let done = one(context, &room, task, place, &mut item);
        item.after(done)
    });
    let mut items: Vec<Item> = found.into_iter().flatten().collect();
    // Results that are being merged are proved in the scratch worktree.
    if !matches!(state.phase(), Phase::Integrating(_)) {
        let mut item = Item::of(None);
        let done = scratch(context, dry_run, &mut item);
        items.extend(item.after(done));
    }
    if !dry_run {
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
struct Room {
    worktrees: Vec<WorktreeInfo>,
    /// Whether there are processes of the run's instances.
    has_processes: bool,
    which: Which,
    dry_run: bool,
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

/// Tidies one task up; false when nothing of it is there.
fn one(
    context: &Context,
    room: &Room,
    task: &TaskName,
    place: &Place,
    item: &mut Item,
) -> Result<bool, GitError> {
    let Room {
        worktrees,
        has_processes,
        which,
        dry_run,
    } = room;
    let (which, dry_run) = (*which, *dry_run);
    let repo = &context.repo;
    let own = worktrees.iter().find(|w| w.path == place.worktree);
    item.worktree = own.map(|w| w.path.clone());
    let tip = repo.branch_tip(&place.branch)?;
    if own.is_none() && tip.is_none() {
        release(context, place);
        return Ok(false);
    }
    let full = place.branch.full_ref();
    item.branch = tip.as_ref().map(|_| place.branch.clone());
    item.bytes = own.map_or(0, |w| size(&w.path));
    let delivered = match (&tip, repo.branch_tip(&context.settings.base_branch)?) {
        (Some(tip), Some(base)) => repo.is_ancestor(tip, &base)?,
        _ => false,
    };
    // Held until all is gone, so that no instance begins meanwhile.
    let lock_path = context.run.lock(task);
    let lock = if dry_run {
        None
    } else {
        Lock::take_within(&lock_path, LOCK_PATIENCE).ok().flatten()
    };
    item.kept = if lock.is_none() && (!dry_run || lock::is_held(&lock_path)) {
        Some("its instance is running".into())
    } else if which == Which::Success && tip.is_some() && !delivered {
        Some(format!(
            "its result is not in {} yet",
            context.settings.base_branch
        ))
    } else if own.is_some_and(|w| w.branch.as_deref() != Some(full.as_str())) {
        Some("its worktree is on another branch now".into())
    } else if own.is_some_and(|w| w.locked.is_some()) {
        Some("its worktree is locked (`git worktree unlock` frees it)".into())
    } else if worktrees
        .iter()
        .any(|w| w.path != place.worktree && w.branch.as_deref() == Some(full.as_str()))
    {
        Some("its branch is checked out elsewhere".into())
    } else {
        match own {
            Some(own) if own.path.is_dir() => repository_inside(repo, &own.path)?,
            _ => None,
        }
    };
    if item.kept.is_some() || dry_run {
        return Ok(true);
    }
    if *has_processes {
        // A lost supervisor may have left some that still write there.
        tree::end_marked(&context.token(), context.run.id(), Some(task));
    }
    if let Some(worktree) = &item.worktree
        && worktree.is_dir()
    {
        let message = format!("Uncommitted work of {task} before its worktree went");
        if let Some(work) = repo.snapshot(worktree, &message)? {
            let kept = repo.backup(context.run.id(), task, BackupKind::Snapshot, &work)?;
            item.backups.push(kept);
        }
    }
    if let Some(tip) = &tip
        && !delivered
    {
        let kept = repo.backup(context.run.id(), task, BackupKind::Branch, tip)?;
        item.backups.push(kept);
    }
    if let Some(worktree) = &item.worktree {
        repo.worktree_remove(worktree, true)?;
    }
    if let Some(tip) = &tip {
        delete_branch(context, &place.branch, tip, item)?;
    }
    release(context, place);
    Ok(true)
}

/// Of a repository inside a worktree a backup holds the id of its commit, and nothing else.
fn repository_inside(repo: &Repo, worktree: &Path) -> Result<Option<String>, GitError> {
    let status = repo.status(worktree)?;
    let nested = status.untracked.iter().find(|path| path.ends_with('/'));
    Ok(nested.or(status.submodules.first()).map(|path| {
        format!("{path} in it is a repository whose work no backup holds: move it away first")
    }))
}

/// A branch that moved after its backup was made stays.
fn delete_branch(
    context: &Context,
    branch: &BranchName,
    tip: &Oid,
    item: &mut Item,
) -> Result<(), GitError> {
    match context.repo.delete_ref(&branch.full_ref(), tip) {
        Err(GitError::RefMoved { .. }) => {
            item.kept = Some("its branch moved meanwhile".into());
            Ok(())
        }
        other => other,
    }
}

fn release(context: &Context, place: &Place) {
    if let Some(name) = place.claimed_name() {
        // A claim that cannot be removed only makes the next task of the name take another.
        let _ = claims::release(&context.layout, context.run.id(), &name);
    }
}

/// The scratch worktree and the integration branch of the run; false when there is neither.
fn scratch(context: &Context, dry_run: bool, item: &mut Item) -> Result<bool, GitError> {
    let repo = &context.repo;
    let path = scratch_worktree(&context.settings.worktree_dir, context.run.id());
    let known = repo.worktrees()?.into_iter().any(|w| w.path == path);
    let branch = integration_branch(context.run.id());
    let tip = match &branch {
        Some(branch) => repo.branch_tip(branch)?,
        None => None,
    };
    let base = repo.branch_tip(&context.settings.base_branch)?;
    let delivered = match (&tip, &base) {
        (Some(tip), Some(base)) => repo.is_ancestor(tip, base)?,
        _ => false,
    };
    // What is merged and not delivered waits for a person.
    let mut branch = branch.filter(|_| delivered);
    if let Some(there) = &branch
        && is_checked_out(repo, there)?
    {
        branch = None;
    }
    if !known && branch.is_none() {
        return Ok(false);
    }
    item.worktree = known.then(|| path.clone());
    item.branch.clone_from(&branch);
    item.bytes = if known { size(&path) } else { 0 };
    if !dry_run {
        if known {
            repo.worktree_remove(&path, true)?;
        }
        if let (Some(branch), Some(tip)) = (&branch, &tip) {
            repo.delete_ref(&branch.full_ref(), tip)?;
        }
    }
    Ok(true)
}

/// Bytes below a folder, links not followed.
fn size(folder: &Path) -> u64 {
    let mut todo = vec![folder.to_owned()];
    let mut bytes = 0;
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
