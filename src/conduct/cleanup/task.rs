//! One task's worktree and branch.

use std::fs;
use std::path::Path;

use crate::agent::tree;
use crate::conduct::context::Context;
use crate::core::id::{Oid, TaskName};
use crate::core::record::Place;
use crate::git::{BackupKind, GitError, Repo, WorktreeInfo};
use crate::store::claims;
use crate::store::lock::{self, Lock};

use super::{Item, LOCK_PATIENCE, Room, Which, delete_branch, is_plain_folder, link_in, size};

/// This program's own settings for an instance: made anew with each worktree.
const OWN_SETTINGS: &str = ".claude/settings.local.json";

/// What is there of a task.
struct There<'a> {
    /// Its worktree as git lists it.
    listed: Option<&'a WorktreeInfo>,
    /// A folder at the worktree's place that git does not list.
    loose: bool,
    tip: Option<Oid>,
    judgement: Judgement,
}

/// Where the result of a task is, beside its own branch.
struct Judgement {
    /// The base branch holds the result, in whatever form it was delivered.
    delivered: bool,
    /// The base branch holds the very commits: they need no backup.
    reachable: bool,
}

/// Judges what the base branch has of a task whose branch is at `tip`. The journal alone knows
/// of a result that was delivered in the form of other commits (`written_down`).
fn judge(context: &Context, tip: Option<&Oid>, written_down: bool) -> Result<Judgement, GitError> {
    let repo = &context.repo;
    let reachable = match (tip, repo.branch_tip(&context.settings.base_branch)?) {
        (Some(tip), Some(base)) => repo.is_ancestor(tip, &base)?,
        _ => false,
    };
    Ok(Judgement {
        delivered: reachable || written_down,
        reachable,
    })
}

/// Tidies one task up; false when nothing of it is there.
///
/// - `delivered`: whether the journal says that its result was.
pub(super) fn tidy(
    context: &Context,
    room: &Room,
    task: &TaskName,
    place: &Place,
    delivered: bool,
    item: &mut Item,
) -> Result<bool, GitError> {
    if !is_still_ours(context, place) {
        return Ok(false);
    }
    let repo = &context.repo;
    let listed = room.worktrees.iter().find(|w| w.path == place.worktree);
    let tip = repo.branch_tip(&place.branch)?;
    let there = There {
        listed,
        loose: listed.is_none() && place.worktree.symlink_metadata().is_ok(),
        judgement: judge(context, tip.as_ref(), delivered)?,
        tip,
    };
    if there.listed.is_none() && there.tip.is_none() && !there.loose {
        if !room.dry_run {
            release(context, place);
        }
        return Ok(false);
    }
    item.worktree = (there.listed.is_some() || there.loose).then(|| place.worktree.clone());
    item.branch = there.tip.as_ref().map(|_| place.branch.clone());
    item.bytes = item.worktree.as_ref().map_or(0, |path| size(path));
    // Held until all is gone, so that no instance begins meanwhile.
    let lock_path = context.run.lock(task);
    let lock = if room.dry_run {
        None
    } else {
        Lock::take_within(&lock_path, LOCK_PATIENCE).ok().flatten()
    };
    let is_running = lock.is_none() && (!room.dry_run || lock::may_be_held(&lock_path));
    item.kept = if is_running {
        Some("its instance is running".into())
    } else {
        why_kept(context, room, place, &there)?
    };
    if item.kept.is_none()
        && let Some(worktree) = &item.worktree
        && worktree.is_dir()
        && there.listed.is_some()
    {
        item.ignored = repo.ignored_in(worktree)?;
        item.ignored.retain(|name| !is_own_settings(worktree, name));
    }
    if item.kept.is_some() || room.dry_run {
        return Ok(true);
    }
    if room.has_processes {
        // A lost supervisor may have left some that still write there.
        tree::end_marked(&context.token(), context.run.id(), Some(task));
    }
    back_up(context, task, place, &there, item)?;
    if there.listed.is_some() {
        repo.worktree_remove(&place.worktree, true)?;
    } else if there.loose {
        fs::remove_dir_all(&place.worktree).map_err(|e| GitError::Io {
            doing: "removing the folder",
            path: place.worktree.clone(),
            detail: e.to_string(),
        })?;
    }
    if let Some(tip) = &there.tip {
        delete_branch(repo, &place.branch, tip, item)?;
    }
    if item.kept.is_none() {
        release(context, place);
    }
    Ok(true)
}

/// Whether an ignored entry is the settings file for the instance, or a folder with nothing
/// else in it.
fn is_own_settings(worktree: &Path, name: &str) -> bool {
    let own = worktree.join(OWN_SETTINGS);
    let folder = own.parent().unwrap_or(worktree);
    worktree.join(name) == own
        || (worktree.join(name) == folder
            && fs::read_dir(folder)
                .is_ok_and(|mut all| all.all(|e| e.is_ok_and(|e| e.path() == own))))
}

/// Whether the run still holds the names that it once made something under. It gives them
/// back when that is tidied up; what is there under them afterwards is somebody else's.
fn is_still_ours(context: &Context, place: &Place) -> bool {
    let Some(name) = place.claimed_name() else {
        return true;
    };
    match claims::holder(&context.layout, &name) {
        Some(claim) => claim.orchestration_id == *context.run.id(),
        // A folder of claims that is gone as a whole says nothing.
        None => !context.layout.claims().is_dir(),
    }
}

/// Why a task's things are left alone; none when they go.
fn why_kept(
    context: &Context,
    room: &Room,
    place: &Place,
    there: &There<'_>,
) -> Result<Option<String>, GitError> {
    let repo = &context.repo;
    let full = place.branch.full_ref();
    if let Some(link) = link_in(&place.worktree) {
        return Ok(Some(link));
    }
    if room.which == Which::Success && there.tip.is_some() && !there.judgement.delivered {
        return Ok(Some(format!(
            "its result is not in {} yet",
            context.settings.base_branch
        )));
    }
    let elsewhere = room
        .worktrees
        .iter()
        .any(|w| w.path != place.worktree && w.branch.as_deref() == Some(full.as_str()));
    if elsewhere {
        return Ok(Some("its branch is checked out elsewhere".into()));
    }
    let Some(listed) = there.listed else {
        return Ok((there.loose && !is_plain_folder(&place.worktree)).then(|| {
            format!(
                "{} is no worktree but a repository of its own: move it away first",
                place.worktree.display()
            )
        }));
    };
    // Detached, it holds nothing but its commit, of which there is a backup.
    if listed.branch.as_ref().is_some_and(|b| *b != full) {
        return Ok(Some("its worktree is on another branch now".into()));
    }
    // Git locks a worktree while it makes it: the making of this one was cut off.
    if listed
        .locked
        .as_ref()
        .is_some_and(|why| why != "initializing")
    {
        return Ok(Some(
            "its worktree is locked (`git worktree unlock` frees it)".into(),
        ));
    }
    if listed.path.is_dir() {
        return repository_inside(repo, &listed.path);
    }
    Ok(None)
}

/// Of a repository inside a worktree a backup holds the id of its commit, and nothing else: says
/// which one keeps the worktree from being removed.
///
/// # Errors
/// When git cannot look.
pub fn repository_inside(repo: &Repo, worktree: &Path) -> Result<Option<String>, GitError> {
    let status = repo.status(worktree)?;
    let nested = status.untracked.iter().find(|path| path.ends_with('/'));
    if let Some(path) = nested.or(status.submodules.first()) {
        return Ok(Some(format!(
            "{path} in it is a repository whose work no backup holds: move it away first"
        )));
    }
    let own = repo.own_commits_inside(worktree)?;
    Ok(own.first().map(|name| {
        format!(
            "the submodule {name} in it has commits that are nowhere else: push them, or fetch \
             them into the main checkout's"
        )
    }))
}

/// Keeps all that would be lost: uncommitted work, the commits of the branch, and the commit
/// of a worktree that is on no branch.
fn back_up(
    context: &Context,
    task: &TaskName,
    place: &Place,
    there: &There<'_>,
    item: &mut Item,
) -> Result<(), GitError> {
    let repo = &context.repo;
    let message = format!("Uncommitted work of {task} before its worktree went");
    let work = match there.listed {
        Some(listed) if listed.path.is_dir() => repo.snapshot(&listed.path, &message)?,
        None if there.loose => {
            let parent = there.tip.as_ref().unwrap_or(&place.base);
            repo.snapshot_folder(&place.worktree, parent, &message)?
        }
        _ => None,
    };
    let mut keep = |kind, commit: &Oid| -> Result<(), GitError> {
        let kept = repo.backup(context.run.id(), task, kind, commit)?;
        if !item.backups.contains(&kept) {
            item.backups.push(kept);
        }
        Ok(())
    };
    if let Some(work) = work {
        keep(BackupKind::Snapshot, &work)?;
    }
    if let Some(tip) = &there.tip
        && !there.judgement.reachable
    {
        keep(BackupKind::Branch, tip)?;
    }
    let detached = there
        .listed
        .filter(|w| w.branch.is_none())
        .and_then(|w| w.head.as_ref());
    if let Some(head) = detached {
        let safe = match &there.tip {
            Some(tip) => repo.is_ancestor(head, tip)?,
            None => repo.is_ancestor(head, &place.base)?,
        };
        if !safe {
            keep(BackupKind::Branch, head)?;
        }
    }
    Ok(())
}

fn release(context: &Context, place: &Place) {
    if let Some(name) = place.claimed_name() {
        // A claim that cannot be removed only makes the next task of the name take another.
        let _ = claims::release(&context.layout, context.run.id(), &name);
    }
}
