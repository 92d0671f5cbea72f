//! What a run made for itself: the scratch worktree in which results are proved, and the
//! branch that keeps them until they are delivered.

use std::fs;
use std::path::Path;

use crate::conduct::context::Context;
use crate::git::GitError;
use crate::integrate::{integration_branch, scratch_worktree};

use super::{Item, Room, Which, delete_branch, is_plain_folder, link_in, size};

/// Tidies up what belongs to the run itself; false when there is nothing.
pub(super) fn tidy(context: &Context, room: &Room<'_>, item: &mut Item) -> Result<bool, GitError> {
    let repo = &context.repo;
    let path = scratch_worktree(&context.settings.worktree_dir, context.run.id());
    let known = room.worktrees.iter().any(|w| w.path == path);
    // No task can have this name: it is ours, and holds nobody's work.
    let loose = !known && is_plain_folder(&path);
    if !room.manner.is_dry_run() {
        remove_joining(context, room, &path);
    }
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
    let mut waits = None;
    let mut branch = branch.filter(|_| tip.is_some());
    if let Some(there) = &branch {
        // A person looks at it then: it is not deleted under them.
        if repo.is_checked_out(there)? {
            waits = Some(format!("{there} is checked out"));
        } else if !delivered {
            // What is merged and not delivered waits for a person.
            waits = Some(format!(
                "{there} holds merged results that {} does not: `orchestra merge automatic` \
                 delivers them, `git branch -D {there}` drops them",
                context.settings.base_branch
            ));
        }
    }
    let there = known || loose;
    if waits.is_some() && (there || room.which != Which::All) {
        // The worktree goes alone.
        branch = None;
        waits = None;
    }
    if !there && branch.is_none() {
        return Ok(false);
    }
    item.worktree = there.then(|| path.clone());
    item.branch.clone_from(&branch);
    if there && room.manner.measures() {
        item.bytes = size(&path);
    }
    item.kept = if there { link_in(&path) } else { waits };
    if item.kept.is_some() || room.manner.is_dry_run() {
        return Ok(true);
    }
    if known {
        repo.worktree_remove(&path, true)?;
    } else if loose {
        fs::remove_dir_all(&path).map_err(|e| GitError::Io {
            doing: "removing the folder",
            path: path.clone(),
            detail: e.to_string(),
        })?;
    }
    if let (Some(branch), Some(tip)) = (&branch, &tip) {
        delete_branch(repo, branch, tip, item)?;
    }
    Ok(true)
}

/// What is left of the worktrees in which the bases of tasks were put together: they are gone
/// in moments, unless a conductor is killed just then.
fn remove_joining(context: &Context, room: &Room<'_>, scratch: &Path) {
    let mut beginning = scratch.as_os_str().to_owned();
    beginning.push("-");
    for worktree in &room.worktrees {
        let bytes = worktree.path.as_os_str().as_encoded_bytes();
        if bytes.starts_with(beginning.as_encoded_bytes()) {
            // Nobody's work is in it; the next time is as good.
            let _ = context.repo.worktree_remove(&worktree.path, true);
        }
    }
}
