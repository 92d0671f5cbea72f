//! Lock files that git holds for moments, and that have been there for long.

use std::path::Path;

use super::finding::{Finding, MOMENT, Scene, quoted, remove_file};
use crate::agent::tree::{at_work_in, is_open};
use crate::core::time::Millis;
use crate::git::{LockFile, Repo};

const WHY: &str = "git takes it for a sign that another git is at work, and refuses to";

pub(super) fn find(scene: &Scene) -> Vec<Finding> {
    let repo = &scene.repo;
    let locks: Vec<LockFile> = repo
        .lock_files()
        .into_iter()
        .filter(|lock| lock.age > MOMENT)
        .collect();
    if locks.is_empty() {
        return Vec::new();
    }
    let working = git_is_at_work(repo);
    locks
        .into_iter()
        .map(|lock| {
            let age = Millis::from_secs(lock.age.as_secs());
            let what = format!("{} has been there for {age}", lock.path.display());
            let remedy = format!("rm {}", quoted(&lock.path));
            match (working, is_open(&lock.path)) {
                (Some(false), Some(false)) => Finding::new(
                    "git lock",
                    format!("{what}, and no git is at work here"),
                    format!("{WHY}; a git that was killed left it"),
                    remedy,
                )
                .mended_by({
                    let (repo, path) = (repo.clone(), lock.path);
                    move || mend(&repo, &path)
                }),
                (None, _) | (_, None) => Finding::new(
                    "git lock",
                    what,
                    WHY,
                    format!("when no git is at work here: {remedy}"),
                ),
                _ => Finding::new(
                    "git lock",
                    format!("{what}, and a git is at work here"),
                    WHY,
                    format!("wait for that git; if the file stays: {remedy}"),
                ),
            }
        })
        .collect()
}

/// Whether a git works in the repository or in one of its worktrees.
fn git_is_at_work(repo: &Repo) -> Option<bool> {
    let worktrees = repo.worktrees().ok()?;
    let folders = worktrees
        .iter()
        .map(|w| w.path.as_path())
        .chain([repo.root(), repo.common_dir()]);
    for folder in folders {
        let programs = at_work_in(folder)?;
        if programs.iter().any(|p| p == "git" || p.starts_with("git-")) {
            return Some(true);
        }
    }
    Some(false)
}

/// Looked at again just before: the file may be another git's by now.
fn mend(repo: &Repo, path: &Path) -> Result<String, String> {
    let still = repo
        .lock_files()
        .into_iter()
        .any(|lock| lock.path == path && lock.age > MOMENT);
    if still && is_open(path) == Some(false) {
        remove_file(path)?;
        return Ok(format!("removed {}", path.display()));
    }
    Ok("it is gone".into())
}
