//! Worktrees, folders, branches and names of runs that are gone.
//!
//! A name alone proves nothing: `task/x` may be a person's. What goes is what a claim of a run
//! whose folder is gone names, what holds the settings that this program makes for an instance
//! of this repository, and what links into the records of this repository's worktrees. What
//! would be lost with it is in a backup ref first. The rest is listed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Scene, quoted};
use crate::agent::tree::at_work_in;
use crate::conduct::cleanup::{
    Orphan, OrphanKind, is_own_settings, link_in, orphans, release_orphaned_claims,
};
use crate::conduct::worktree::default_folder;
use crate::conduct::{self, create};
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use crate::git::{BackupKind, GitError, Repo};
use crate::store::claims::{self, Claim};

pub(super) fn find(scene: &Scene) -> Vec<Finding> {
    let mut found = Vec::new();
    let claims = claims::orphaned(&scene.layout);
    match orphans(&scene.repo, &scene.known) {
        Ok(all) => {
            let keeper = Archive::new(scene, &claims);
            let with_worktree: BTreeSet<String> =
                all.iter().filter_map(|o| o.branch.clone()).collect();
            for orphan in all {
                // It goes with its worktree, or stays with it.
                if orphan.kind == OrphanKind::Branch && with_worktree.contains(&orphan.what) {
                    continue;
                }
                found.push(keeper.judge(scene, orphan));
            }
        }
        Err(error) => found.push(Finding::new(
            "worktrees",
            error.to_string(),
            "what is left of runs that are gone is not known",
            "git worktree list",
        )),
    }
    found.extend(prunable(scene));
    // After what they name.
    if !claims.is_empty() {
        let names: Vec<&str> = claims.iter().map(|c| c.name.as_str()).collect();
        let layout = scene.layout.clone();
        found.push(
            Finding::new(
                "claims",
                format!(
                    "runs whose folders are gone hold the names {}",
                    names.join(", ")
                ),
                "tasks of these names get other branches and folders as long as that is so",
                "orchestra cleanup all",
            )
            .mended_by(move || {
                let gone = release_orphaned_claims(&layout, false).map_err(|e| e.to_string())?;
                let names: Vec<&str> = gone.iter().map(|c| c.name.as_str()).collect();
                Ok(format!("gave back {}", names.join(", ")))
            }),
        );
    }
    found
}

/// Records of worktrees that are gone. Those in folders of ours are told as orphans, too.
fn prunable(scene: &Scene) -> Option<Finding> {
    let worktrees = scene.repo.worktrees().ok()?;
    let told: BTreeSet<String> = orphans(&scene.repo, &scene.known)
        .ok()?
        .into_iter()
        .map(|o| o.what)
        .collect();
    let gone: Vec<String> = worktrees
        .iter()
        .filter(|w| w.prunable.is_some())
        .map(|w| w.path.display().to_string())
        .filter(|path| !told.contains(path))
        .collect();
    (!gone.is_empty()).then(|| {
        Finding::new(
            "worktrees",
            format!("git knows worktrees that are gone: {}", gone.join(", ")),
            "their branches count as checked out; but the disk that they are on may only be \
             unplugged",
            "git worktree prune",
        )
    })
}

/// What became of the work of something that went.
#[derive(Debug, Default)]
struct Kept {
    /// The backup refs that hold it.
    refs: Vec<String>,
    /// What git ignored of it, and no backup holds.
    ignored: Vec<String>,
}

/// What is needed to keep the work of something before it goes.
#[derive(Clone)]
struct Archive {
    repo: Repo,
    claims: Vec<Claim>,
    /// Of what no claim names: the moment of this look, so that it is kept as long as others.
    unknown: OrchestrationId,
}

impl Archive {
    fn new(scene: &Scene, claims: &[Claim]) -> Self {
        Self {
            repo: scene.repo.clone(),
            claims: claims.to_vec(),
            unknown: create::new_id(scene.now),
        }
    }

    fn claim(&self, name: &str) -> Option<&Claim> {
        self.claims.iter().find(|c| c.name.as_str() == name)
    }

    /// Under which run and task the work of something with this name is kept.
    fn shelf(&self, name: &str) -> Option<(OrchestrationId, TaskName)> {
        match self.claim(name) {
            Some(claim) => Some((claim.orchestration_id.clone(), claim.task.clone())),
            None => Some((self.unknown.clone(), TaskName::parse(name).ok()?)),
        }
    }

    fn judge(&self, scene: &Scene, orphan: Orphan) -> Finding {
        let path = PathBuf::from(&orphan.what);
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let why = match orphan.kind {
            OrphanKind::Branch => "it takes a name that a task may want",
            OrphanKind::Record => "its branch counts as checked out",
            OrphanKind::Worktree | OrphanKind::Folder => {
                "it uses the disk and takes a name that a task may want"
            }
        };
        let kind = match orphan.kind {
            OrphanKind::Branch => "branch",
            _ => "worktrees",
        };
        let finding = Finding::new(
            kind,
            format!("{}: {}", orphan.what, orphan.why),
            why,
            orphan.command.clone(),
        );
        // A run that is begun just now, or cannot be read, may be about to use it.
        let taken = TaskName::parse(&name)
            .ok()
            .and_then(|name| claims::holder(&scene.layout, &name))
            .is_some_and(|holder| self.claim(holder.name.as_str()).is_none());
        let claimed = self.claim(&name).is_some();
        let in_our_folder = path.parent().is_some_and(|parent| {
            let known =
                |(context, _): &(conduct::Context, _)| context.settings.worktree_dir == parent;
            default_folder(&scene.repo).is_ok_and(|own| own == parent)
                || scene.known.iter().any(known)
        });
        let ours = match orphan.kind {
            OrphanKind::Worktree => {
                claimed
                    || (in_our_folder && is_scratch(&name))
                    || has_our_settings(&path, scene.repo.root())
            }
            OrphanKind::Record | OrphanKind::Folder => claimed || in_our_folder,
            OrphanKind::Branch => claimed && orphan.what == format!("task/{name}"),
        };
        if scene.unread || taken || !ours {
            return finding;
        }
        let archive = self.clone();
        finding.mended_by(move || archive.mend(&orphan, &path, &name))
    }

    fn mend(&self, orphan: &Orphan, path: &Path, name: &str) -> Result<String, String> {
        let mut kept = Kept::default();
        match orphan.kind {
            OrphanKind::Branch => self.drop_branch(&orphan.what, name, &mut kept)?,
            OrphanKind::Worktree => self.drop_worktree(path, name, true, &mut kept)?,
            OrphanKind::Record => {
                let ours = self.claim(name).is_some();
                self.drop_worktree(path, name, ours, &mut kept)?;
            }
            OrphanKind::Folder => self.drop_folder(path, name, &mut kept)?,
        }
        let mut done = format!("removed {}", orphan.what);
        if !kept.refs.is_empty() {
            done.push_str(&format!("; its work is kept as {}", kept.refs.join(", ")));
        }
        if !kept.ignored.is_empty() {
            done.push_str(&format!(
                "; ignored files went with it: {}",
                kept.ignored.join(", ")
            ));
        }
        Ok(done)
    }

    fn keep(
        &self,
        name: &str,
        kind: BackupKind,
        commit: &Oid,
        kept: &mut Kept,
    ) -> Result<(), String> {
        let (run, task) = self
            .shelf(name)
            .ok_or_else(|| format!("{name} is no name under which work can be kept"))?;
        let made = self.repo.backup(&run, &task, kind, commit);
        kept.refs.push(made.map_err(|e| e.to_string())?);
        Ok(())
    }

    /// Deletes a branch whose commits are in a backup ref. One that is checked out stays.
    fn drop_branch(&self, branch: &str, name: &str, kept: &mut Kept) -> Result<(), String> {
        let branch = BranchName::parse(branch).map_err(|e| e.to_string())?;
        let text = |e: GitError| e.to_string();
        let Some(tip) = self.repo.branch_tip(&branch).map_err(text)? else {
            return Ok(());
        };
        let full = branch.full_ref();
        let worktrees = self.repo.worktrees().map_err(text)?;
        if worktrees.iter().any(|w| w.branch.as_ref() == Some(&full)) {
            return Err(format!("{branch} is checked out"));
        }
        self.keep(name, BackupKind::Branch, &tip, kept)?;
        self.repo.delete_ref(&full, &tip).map_err(text)
    }

    /// With its branch, when that is ours, too.
    fn drop_worktree(
        &self,
        path: &Path,
        name: &str,
        ours: bool,
        kept: &mut Kept,
    ) -> Result<(), String> {
        let text = |e: GitError| e.to_string();
        nobody_works_in(path)?;
        let worktrees = self.repo.worktrees().map_err(text)?;
        let Some(listed) = worktrees.into_iter().find(|w| w.path == path) else {
            return Ok(());
        };
        let is_scratch = is_scratch(name);
        if path.is_dir() && !is_scratch {
            if let Some(inner) = repository_inside(&self.repo, path).map_err(text)? {
                return Err(format!(
                    "{inner} in it is a repository whose work no backup holds: move it away first"
                ));
            }
            let message = format!("Uncommitted work of {name} before its worktree went");
            if let Some(work) = self.repo.snapshot(path, &message).map_err(text)? {
                self.keep(name, BackupKind::Snapshot, &work, kept)?;
            }
            kept.ignored = self.repo.ignored_in(path).map_err(text)?;
            kept.ignored.retain(|name| !is_own_settings(path, name));
        }
        if let (None, Some(head), false) = (&listed.branch, &listed.head, is_scratch) {
            self.keep(name, BackupKind::Branch, head, kept)?;
        }
        self.repo.worktree_remove(path, true).map_err(text)?;
        crate::conduct::worktree::remove_scratch(path);
        let branch = listed
            .branch
            .as_deref()
            .and_then(|full| full.strip_prefix("refs/heads/"));
        match branch {
            Some(branch) if ours && branch == format!("task/{name}") => {
                self.drop_branch(branch, name, kept)
            }
            _ => Ok(()),
        }
    }

    /// A folder that was a worktree, of which git has no record any more.
    fn drop_folder(&self, path: &Path, name: &str, kept: &mut Kept) -> Result<(), String> {
        let text = |e: GitError| e.to_string();
        nobody_works_in(path)?;
        if let Some(inner) = git_below(path) {
            return Err(format!(
                "{} is a repository whose work no backup holds: move it away first",
                quoted(&inner)
            ));
        }
        let own = BranchName::parse(&format!("task/{name}")).ok();
        let tip = match &own {
            Some(own) => self.repo.branch_tip(own).map_err(text)?,
            None => None,
        };
        let head = self.repo.head().map_err(text)?;
        let parent = tip.as_ref().or(head.oid());
        let parent = parent.ok_or("the repository has no commit to keep its work on")?;
        let message = format!("Files of {name} before its folder went");
        let work = self.repo.snapshot_folder(path, parent, &message);
        if let Some(work) = work.map_err(text)? {
            self.keep(name, BackupKind::Snapshot, &work, kept)?;
        }
        std::fs::remove_dir_all(path).map_err(|e| e.to_string())?;
        if self.claim(name).is_some() {
            self.drop_branch(&format!("task/{name}"), name, kept)?;
        }
        Ok(())
    }
}

/// A repository inside a worktree that holds what is nowhere else, or may: of it a backup holds
/// the id of its commit, and nothing else.
fn repository_inside(repo: &Repo, worktree: &Path) -> Result<Option<String>, GitError> {
    let status = repo.status(worktree)?;
    let nested = status.untracked.iter().find(|path| path.ends_with('/'));
    if let Some(path) = nested.or(status.submodules.first()) {
        return Ok(Some(path.clone()));
    }
    Ok(repo.own_commits_inside(worktree, true)?.into_iter().next())
}

/// A repository below a folder, by its `.git`; the folder's own does not count. One that cannot
/// be looked into may hold one.
fn git_below(folder: &Path) -> Option<PathBuf> {
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            return Some(next);
        };
        for entry in entries.flatten() {
            if entry.file_name() == ".git" {
                if next != folder {
                    return Some(next);
                }
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path());
            }
        }
    }
    None
}

/// Whether a folder's name is that of a scratch worktree, in which nobody works: no task can
/// have it.
fn is_scratch(name: &str) -> bool {
    name.starts_with("_verify-") && TaskName::parse(name).is_err()
}

/// Nothing is removed below the feet of somebody, or behind a link.
fn nobody_works_in(path: &Path) -> Result<(), String> {
    if let Some(link) = link_in(path) {
        return Err(link);
    }
    match at_work_in(path).as_deref() {
        Some([]) | None => Ok(()),
        Some(programs) => Err(format!(
            "{} is at work in {}",
            programs.join(", "),
            quoted(path)
        )),
    }
}

/// Whether a worktree holds the settings that this program makes for an instance: they forbid
/// it to write into the main checkout.
fn has_our_settings(worktree: &Path, main: &Path) -> bool {
    let rule = format!("Edit(/{}/**)", main.display());
    std::fs::read(worktree.join(".claude/settings.local.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|value| Some(value.get("permissions")?.get("deny")?.as_array()?.clone()))
        .is_some_and(|deny| deny.iter().any(|there| there.as_str() == Some(&rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_below_a_folder_is_found_and_its_own_link_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        std::fs::write(at(".git"), "gitdir: /gone").unwrap();
        std::fs::create_dir_all(at("a/b")).unwrap();
        assert_eq!(git_below(dir.path()), None);
        std::fs::create_dir(at("a/b/.git")).unwrap();
        assert_eq!(git_below(dir.path()), Some(at("a/b")));
        std::fs::remove_dir(at("a/b/.git")).unwrap();
        std::fs::write(at("a/.git"), "gitdir: x").unwrap();
        assert_eq!(git_below(dir.path()), Some(at("a")));
    }
}
