//! What an attempt left unfinished is put into backup refs before anything follows from its
//! end: whatever happens to the worktree afterwards, nothing of it is lost.

use crate::core::attempt::AttemptEnd;
use crate::core::id::{Oid, TaskName};
use crate::core::record::Place;
use crate::git::{BackupKind, GitError};
use crate::store::run_log;

use super::context::Context;
use super::launch::Over;

/// Keeps the commits and the uncommitted work of an attempt that is not complete. That it
/// cannot be done is told, and no reason for anything else.
pub(super) fn keep(context: &Context, task: &TaskName, place: &Place, over: &Over) {
    if matches!(over.end, AttemptEnd::Complete { .. }) {
        return;
    }
    if let Err(error) = try_keep(context, task, place) {
        let line = format!("{task}: what it left could not be put into a backup: {error}");
        run_log::append(&context.run, super::now(), &[line]);
    }
}

fn try_keep(context: &Context, task: &TaskName, place: &Place) -> Result<(), GitError> {
    let (repo, run) = (&context.repo, &context.run);
    let tip = repo.branch_tip(&place.branch)?;
    if let Some(tip) = &tip
        && *tip != place.base
    {
        // The same commit has the same backup.
        repo.backup(run.id(), task, BackupKind::Branch, tip)?;
    }
    if !place.worktree.join(".git").exists() {
        return Ok(());
    }
    let message = format!("What {task} had not committed when its attempt ended");
    let Some(work) = repo.snapshot(&place.worktree, &message)? else {
        return Ok(());
    };
    keep_snapshot(context, task, &work)?;
    Ok(())
}

/// Keeps a snapshot of a worktree, unless a backup of the task holds the same files already: a
/// snapshot is a commit of its own each time. Returns the name of the backup.
///
/// # Errors
/// When git fails.
pub(super) fn keep_snapshot(
    context: &Context,
    task: &TaskName,
    work: &Oid,
) -> Result<String, GitError> {
    let (repo, run) = (&context.repo, &context.run);
    let tree = repo.tree_of(work)?;
    let folder = format!("/{task}/{}/", BackupKind::Snapshot.as_str());
    for (name, oid) in repo.backups(run.id())? {
        if name.contains(&folder) && repo.tree_of(&oid)? == tree {
            return Ok(name);
        }
    }
    repo.backup(run.id(), task, BackupKind::Snapshot, work)
}
