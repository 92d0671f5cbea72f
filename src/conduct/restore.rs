//! Backups: what there is, and bringing it back as a new branch.

use std::path::{Path, PathBuf};

use crate::core::id::{BranchName, OrchestrationId};
use crate::core::plan::nearest;
use crate::core::time::{Millis, Timestamp};
use crate::format::settings_file::SettingsFile;
use crate::git::{Backup, BackupKind, Expected, GitError, Repo};
use crate::store::atomic;
use crate::store::layout::Layout;

/// One backup with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The backup.
    pub backup: Backup,
    /// First line of its commit's message.
    pub subject: String,
    /// When its commit was made; none when git does not tell.
    pub made: Option<Timestamp>,
    /// How many of its commits the base branch does not hold; none when that cannot be told.
    pub commits: Option<usize>,
    /// The files that these change.
    pub files: Option<usize>,
}

impl Kept {
    /// `RUN/TASK/KIND/N`
    #[must_use]
    pub fn short_name(&self) -> String {
        short_name(&self.backup)
    }

    /// How long ago its commit was made.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<Millis> {
        Some(now.since(self.made?))
    }
}

fn short_name(backup: &Backup) -> String {
    format!(
        "{}/{}/{}/{}",
        backup.run,
        backup.task,
        backup.kind.as_str(),
        backup.number
    )
}

/// Why nothing was brought back. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RestoreError {
    #[error("no backup is called {name:?}{}", near.as_ref().map_or_else(String::new, |n| format!("; did you mean {n}?")))]
    NoSuch { name: String, near: Option<String> },
    #[error("{name:?} may be one of: {}", candidates.join(", "))]
    Ambiguous {
        name: String,
        candidates: Vec<String>,
    },
    #[error("{text:?} is not a branch name: {why}")]
    BadBranch { text: String, why: String },
    #[error(transparent)]
    Git(#[from] GitError),
}

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub backup: Backup,
    /// The new branch.
    pub branch: BranchName,
    /// The worktree that was made for it, if one was asked for.
    pub worktree: Option<PathBuf>,
}

/// All backups with what is in them, ordered by run, task and number.
///
/// # Errors
/// When the repository cannot be read.
pub fn list(repo: &Repo, layout: &Layout) -> Result<Vec<Kept>, GitError> {
    let headlines = repo.headlines(crate::git::BACKUPS)?;
    let fallback = repo.head().ok().and_then(|head| head.oid().cloned());
    let mut base: Option<(OrchestrationId, Option<crate::core::id::Oid>)> = None;
    let mut kept = Vec::new();
    for backup in repo.all_backups()? {
        // In order of the runs: each one's base is looked up once.
        if base.as_ref().is_none_or(|(run, _)| *run != backup.run) {
            let settings: Option<SettingsFile> =
                atomic::peek_json(&layout.run(&backup.run).settings());
            let tip = match settings {
                Some(settings) => repo.branch_tip(&settings.base_branch)?,
                None => None,
            };
            base = Some((backup.run.clone(), tip.or_else(|| fallback.clone())));
        }
        let base = base.as_ref().and_then(|(_, tip)| tip.as_ref());
        let beyond = base.and_then(|base| repo.commits_between(base, &backup.oid).ok());
        let files = beyond.as_ref().and_then(|commits| {
            let Some(first) = commits.first() else {
                return Some(0);
            };
            let fork = first.parents.first()?;
            Some(repo.changed_paths(fork, &backup.oid).ok()?.len())
        });
        let headline = headlines.iter().find(|h| h.name == backup.name);
        kept.push(Kept {
            subject: headline.map_or_else(String::new, |h| h.subject.clone()),
            made: headline.map(|h| h.made),
            commits: beyond.map(|commits| commits.len()),
            files,
            backup,
        });
    }
    Ok(kept)
}

/// Finds the backup that is meant: a ref, `RUN/TASK[/KIND[/N]]` (the beginning of the run's
/// id is enough), or a task's name. Of several the one that holds all the others is meant.
///
/// # Errors
/// [`RestoreError::NoSuch`], [`RestoreError::Ambiguous`].
pub fn find(repo: &Repo, name: &str) -> Result<Backup, RestoreError> {
    let all = repo.all_backups()?;
    let fitting: Vec<&Backup> = all.iter().filter(|b| fits(b, name)).collect();
    if fitting.is_empty() {
        let names = all
            .iter()
            .flat_map(|b| [b.task.to_string(), short_name(b)])
            .collect::<Vec<_>>();
        return Err(RestoreError::NoSuch {
            name: name.to_owned(),
            near: nearest(name, names.iter().map(String::as_str)).map(str::to_owned),
        });
    }
    for whole in &fitting {
        let holds_all = fitting.iter().try_fold(true, |so_far, other| {
            Ok::<_, GitError>(so_far && repo.is_ancestor(&other.oid, &whole.oid)?)
        })?;
        if holds_all {
            return Ok((*whole).clone());
        }
    }
    Err(RestoreError::Ambiguous {
        name: name.to_owned(),
        candidates: fitting.into_iter().map(short_name).collect(),
    })
}

fn fits(backup: &Backup, name: &str) -> bool {
    if name.starts_with("refs/") {
        return backup.name == name;
    }
    let mut parts = name.trim_end_matches('/').split('/');
    let (Some(first), second) = (parts.next(), parts.next()) else {
        return false;
    };
    let same_task = |text: &str| backup.task.folded() == text.to_ascii_lowercase();
    let Some(task) = second else {
        return same_task(first);
    };
    !first.is_empty()
        && backup.run.as_str().starts_with(first)
        && same_task(task)
        && parts.next().is_none_or(|kind| kind == backup.kind.as_str())
        && parts
            .next()
            .is_none_or(|number| number.parse() == Ok(backup.number))
        && parts.next().is_none()
}

/// Brings a backup back as a new branch; nothing that is there is changed.
///
/// - `branch`: its name; without one `restored/TASK`, numbered when that is taken.
/// - `worktree`: where to check it out, an absolute path; nowhere without one.
///
/// # Errors
/// When the branch exists or cannot be made, or the worktree cannot.
pub fn restore(
    repo: &Repo,
    backup: Backup,
    branch: Option<&str>,
    worktree: Option<&Path>,
) -> Result<Restored, RestoreError> {
    let branch = match branch {
        Some(text) => named(repo, text, &backup)?,
        None => numbered(repo, &backup)?,
    };
    if let Some(path) = worktree
        && let Err(error) = repo.worktree_attach(path, &branch)
    {
        let _ = repo.delete_ref(&branch.full_ref(), &backup.oid);
        return Err(error.into());
    }
    Ok(Restored {
        backup,
        branch,
        worktree: worktree.map(Path::to_owned),
    })
}

fn parse(text: &str) -> Result<BranchName, RestoreError> {
    BranchName::parse(text).map_err(|fault| RestoreError::BadBranch {
        text: fault.text,
        why: fault.why.to_owned(),
    })
}

fn named(repo: &Repo, text: &str, backup: &Backup) -> Result<BranchName, RestoreError> {
    let branch = parse(text)?;
    match repo.update_ref(&branch.full_ref(), &backup.oid, Expected::Absent) {
        Ok(()) => Ok(branch),
        Err(GitError::RefMoved { .. }) => Err(GitError::BranchExists { branch }.into()),
        Err(error) => Err(error.into()),
    }
}

fn numbered(repo: &Repo, backup: &Backup) -> Result<BranchName, RestoreError> {
    let mut number = 1;
    loop {
        let text = match number {
            1 => format!("restored/{}", backup.task),
            n => format!("restored/{}-{n}", backup.task),
        };
        match named(repo, &text, backup) {
            Err(RestoreError::Git(GitError::BranchExists { .. })) => number += 1,
            other => return other,
        }
    }
}

impl Restored {
    /// Whether the last commit holds what was in no commit when it was backed up.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.backup.kind == BackupKind::Snapshot
    }
}
