//! What looks as if this program had made it, and no journal says so. It is listed with the
//! command that a person can use, and left alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::conduct::context::Context;
use crate::conduct::worktree::default_folder;
use crate::core::state::State;
use crate::git::{GitError, Repo};
use crate::integrate::{integration_branch, scratch_worktree};
use crate::store::claims::{self, Claim};
use crate::store::layout::Layout;

/// Something that is not ours by any journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// What kind of thing.
    pub kind: OrphanKind,
    /// A path or a branch.
    pub what: String,
    /// The branch that is checked out in a worktree.
    pub branch: Option<String>,
    /// What it is.
    pub why: String,
    /// The command that removes it.
    pub command: String,
}

/// What kind of thing looks like ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanKind {
    /// A worktree.
    Worktree,
    /// Git's record of a worktree whose folder is gone.
    Record,
    /// A folder that was a worktree, of which git has no record.
    Folder,
    /// A branch.
    Branch,
}

/// Lists worktrees, folders and branches that look like this program's and are in no journal
/// of `runs`.
///
/// # Errors
/// When git cannot list worktrees or branches.
pub fn orphans(repo: &Repo, runs: &[(Context, State)]) -> Result<Vec<Orphan>, GitError> {
    let known = Known::of(runs);
    let mut folders = known.folders.clone();
    folders.extend(default_folder(repo));
    let mut found = Vec::new();
    let worktrees = repo.worktrees()?;
    for worktree in worktrees.iter().skip(1) {
        let branch = worktree.branch.as_deref().unwrap_or_default();
        let looks_ours =
            is_own_branch(branch) || worktree.path.parent().is_some_and(|p| folders.contains(p));
        if !looks_ours || known.paths.contains(&worktree.path) {
            continue;
        }
        let path = worktree.path.display();
        let (kind, why, command) = if worktree.prunable.is_some() {
            (
                OrphanKind::Record,
                "git's record of a worktree that is gone",
                "git worktree prune".to_owned(),
            )
        } else {
            (
                OrphanKind::Worktree,
                "a worktree that no journal names",
                format!("git worktree remove {path}"),
            )
        };
        found.push(Orphan {
            kind,
            what: path.to_string(),
            branch: branch.strip_prefix("refs/heads/").map(str::to_owned),
            why: why.into(),
            command,
        });
    }
    for folder in &folders {
        for path in loose_worktrees(repo, folder) {
            let listed = worktrees.iter().any(|w| w.path == path);
            if !listed && !known.paths.contains(&path) {
                found.push(Orphan {
                    kind: OrphanKind::Folder,
                    branch: None,
                    why: "what is left of a worktree of this repository, in no journal and \
                          unknown to git"
                        .into(),
                    command: format!("rm -r {}", path.display()),
                    what: path.display().to_string(),
                });
            }
        }
    }
    for below in ["refs/heads/task", "refs/heads/orchestra"] {
        for (name, _) in repo.refs(below)? {
            let short = name.strip_prefix("refs/heads/").unwrap_or(&name);
            if !known.branches.contains(short) {
                found.push(Orphan {
                    kind: OrphanKind::Branch,
                    branch: None,
                    what: short.to_owned(),
                    why: "a branch that no journal names".into(),
                    command: format!("git branch -d {short}"),
                });
            }
        }
    }
    Ok(found)
}

/// Gives the names back that runs hold whose folders are gone: nobody else will.
///
/// # Errors
/// When the folder of claims cannot be written.
pub fn release_orphaned_claims(
    layout: &Layout,
    dry_run: bool,
) -> Result<Vec<Claim>, crate::store::StoreError> {
    let orphaned = claims::orphaned(layout);
    if !dry_run {
        for claim in &orphaned {
            claims::release(layout, &claim.orchestration_id, &claim.name)?;
        }
    }
    Ok(orphaned)
}

fn is_own_branch(full: &str) -> bool {
    full.starts_with("refs/heads/task/") || full.starts_with("refs/heads/orchestra/")
}

/// What the journals name.
#[derive(Default)]
struct Known {
    paths: BTreeSet<PathBuf>,
    branches: BTreeSet<String>,
    folders: BTreeSet<PathBuf>,
}

impl Known {
    fn of(runs: &[(Context, State)]) -> Self {
        let mut known = Self::default();
        for (context, state) in runs {
            let folder = &context.settings.worktree_dir;
            known.folders.insert(folder.clone());
            known
                .paths
                .insert(scratch_worktree(folder, context.run.id()));
            known
                .branches
                .extend(integration_branch(context.run.id()).map(|b| b.to_string()));
            for place in state.every().filter_map(|ix| state.task(ix).place.as_ref()) {
                let given_back = place.claimed_name().is_some_and(|name| {
                    context.layout.claims().is_dir()
                        && claims::holder(&context.layout, &name)
                            .is_none_or(|c| c.orchestration_id != *context.run.id())
                });
                if !given_back {
                    known.paths.insert(place.worktree.clone());
                    known.branches.insert(place.branch.to_string());
                }
            }
        }
        known
    }
}

/// Folders whose link says that they are, or were, worktrees of this repository.
fn loose_worktrees(repo: &Repo, folder: &Path) -> Vec<PathBuf> {
    let records = repo.common_dir().join("worktrees");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| {
            std::fs::read_to_string(path.join(".git")).is_ok_and(|link| {
                link.strip_prefix("gitdir: ")
                    .is_some_and(|to| Path::new(to.trim_end()).starts_with(&records))
            })
        })
        .collect();
    found.sort();
    found
}
