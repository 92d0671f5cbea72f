//! One task's worktree and branch.

use std::fs;
use std::path::Path;

use crate::agent::tree;
use crate::conduct::checkpoint;
use crate::conduct::context::Context;
use crate::conduct::worktree;
use crate::core::id::{Oid, TaskName};
use crate::core::record::Place;
use crate::git::{BackupKind, GitError, TreeStatus, WorktreeInfo};
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
    room: &Room<'_>,
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
        if !room.manner.is_dry_run() {
            release(context, place);
        }
        return Ok(false);
    }
    item.worktree = (there.listed.is_some() || there.loose).then(|| place.worktree.clone());
    item.branch = there.tip.as_ref().map(|_| place.branch.clone());
    if let Some(path) = item.worktree.as_ref().filter(|_| room.manner.measures()) {
        item.bytes = size(path);
    }
    // Held until all is gone, so that no instance begins meanwhile.
    let lock_path = context.run.lock(task);
    let lock = if room.manner.is_dry_run() {
        None
    } else {
        Lock::take_within(&lock_path, LOCK_PATIENCE).ok().flatten()
    };
    let is_running = lock.is_none() && (!room.manner.is_dry_run() || lock::may_be_held(&lock_path));
    let mut looked = None;
    if is_running {
        item.kept = Some("its instance is running".into());
    } else {
        match look(context, room, place, &there)? {
            Ok(status) => looked = status,
            Err(why) => item.kept = Some(why),
        }
    }
    if item.kept.is_none()
        && room.manner.measures()
        && let Some(worktree) = &item.worktree
        && worktree.is_dir()
        && there.listed.is_some()
    {
        item.ignored = repo.ignored_in(worktree)?;
        item.ignored.retain(|name| !is_own_settings(worktree, name));
    }
    if item.kept.is_some() || room.manner.is_dry_run() {
        return Ok(true);
    }
    if room.has_processes {
        // A lost supervisor may have left some that still write there.
        tree::end_marked(&context.token(), context.run.id(), Some(task));
        looked = None;
    }
    back_up(context, task, place, &there, looked, item)?;
    if there.listed.is_some() {
        repo.worktree_remove(&place.worktree, true)?;
    } else if there.loose {
        fs::remove_dir_all(&place.worktree).map_err(|e| GitError::Io {
            doing: "removing the folder",
            path: place.worktree.clone(),
            detail: e.to_string(),
        })?;
    }
    worktree::remove_scratch(&place.worktree);
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
#[must_use]
pub fn is_own_settings(worktree: &Path, name: &str) -> bool {
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

/// Looks whether a task's things go: then the state of the worktree, if there is one. Else why
/// they are left alone, as the inner error.
fn look(
    context: &Context,
    room: &Room<'_>,
    place: &Place,
    there: &There<'_>,
) -> Result<Result<Option<TreeStatus>, String>, GitError> {
    let repo = &context.repo;
    let full = place.branch.full_ref();
    if let Some(link) = link_in(&place.worktree) {
        return Ok(Err(link));
    }
    if room.which == Which::Success && there.tip.is_some() && !there.judgement.delivered {
        return Ok(Err(format!(
            "its result is not in {} yet",
            context.settings.base_branch
        )));
    }
    if let Some(stays) = room.stays {
        let why = match &there.tip {
            Some(tip) => stays(&place.branch, tip),
            None => Some("its branch is gone, so that nothing tells what was merged".into()),
        };
        if let Some(why) = why {
            return Ok(Err(why));
        }
    }
    let elsewhere = room
        .worktrees
        .iter()
        .any(|w| w.path != place.worktree && w.branch.as_deref() == Some(full.as_str()));
    if elsewhere {
        return Ok(Err("its branch is checked out elsewhere".into()));
    }
    let Some(listed) = there.listed else {
        if there.loose && !is_plain_folder(&place.worktree) {
            return Ok(Err(format!(
                "{} is no worktree but a repository of its own: move it away first",
                place.worktree.display()
            )));
        }
        return Ok(Ok(None));
    };
    // Detached, it holds nothing but its commit, of which there is a backup.
    if listed.branch.as_ref().is_some_and(|b| *b != full) {
        return Ok(Err("its worktree is on another branch now".into()));
    }
    // Git locks a worktree while it makes it: the making of this one was cut off.
    if listed
        .locked
        .as_ref()
        .is_some_and(|why| why != "initializing")
    {
        return Ok(Err(
            "its worktree is locked (`git worktree unlock` frees it)".into(),
        ));
    }
    if !listed.path.is_dir() {
        return Ok(Ok(None));
    }
    let status = repo.status(&listed.path)?;
    Ok(
        match repository_inside(context, room, &listed.path, &status)? {
            Some(why) => Err(why),
            None => Ok(Some(status)),
        },
    )
}

/// Of a repository inside a worktree a backup holds the id of its commit, and nothing else.
fn repository_inside(
    context: &Context,
    room: &Room<'_>,
    worktree: &Path,
    status: &TreeStatus,
) -> Result<Option<String>, GitError> {
    let nested = status.untracked.iter().find(|path| path.ends_with('/'));
    if let Some(path) = nested.or(status.submodules.first()) {
        return Ok(Some(format!(
            "{path} in it is a repository whose work no backup holds: move it away first"
        )));
    }
    let gitlinks = may_hold_gitlinks(context, room, worktree, status);
    let own = context.repo.own_commits_inside(worktree, gitlinks)?;
    Ok(own.first().map(|name| {
        format!(
            "the submodule {name} in it has commits that are nowhere else: push them, or fetch \
             them into the main checkout's"
        )
    }))
}

/// Whether repositories may be tracked in a worktree: those of the commit on which the run
/// stands, looked for once, and those that came since. Without certainty, yes.
fn may_hold_gitlinks(
    context: &Context,
    room: &Room<'_>,
    worktree: &Path,
    status: &TreeStatus,
) -> bool {
    let (repo, base) = (&context.repo, &context.settings.base_commit);
    if !status.is_index_as_committed() {
        return true;
    }
    let in_base = || repo.has_gitlinks(base).unwrap_or(true);
    if *room.gitlinks.get_or_init(in_base) {
        return true;
    }
    match repo.head_at(worktree).map(|head| head.oid().cloned()) {
        Ok(Some(head)) => repo.adds_gitlinks(base, &head).unwrap_or(true),
        _ => true,
    }
}

/// Keeps all that would be lost: uncommitted work, the commits of the branch, and the commit
/// of a worktree that is on no branch. The state of the worktree is looked at anew unless it
/// was `looked` at since anything last wrote there.
fn back_up(
    context: &Context,
    task: &TaskName,
    place: &Place,
    there: &There<'_>,
    looked: Option<TreeStatus>,
    item: &mut Item,
) -> Result<(), GitError> {
    let repo = &context.repo;
    let message = format!("Uncommitted work of {task} before its worktree went");
    let work = match there.listed {
        Some(listed) if listed.path.is_dir() => {
            let status = looked.map_or_else(|| repo.status(&listed.path), Ok)?;
            repo.snapshot_of(&listed.path, &status, &message)?
        }
        None if there.loose => {
            let parent = there.tip.as_ref().unwrap_or(&place.base);
            repo.snapshot_folder(&place.worktree, parent, &message)?
        }
        _ => None,
    };
    let mut keep = |kind, commit: &Oid| -> Result<(), GitError> {
        let kept = match kind {
            BackupKind::Snapshot => checkpoint::keep_snapshot(context, task, commit)?,
            kind => repo.backup(context.run.id(), task, kind, commit)?,
        };
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
