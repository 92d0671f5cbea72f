//! Compare-and-swap of refs, and the refs that keep backups.

use super::error::GitError;
use super::library;
use super::repo::{Backend, Repo};
use crate::core::id::{Oid, OrchestrationId, TaskName};
use crate::core::time::Timestamp;

/// Where every backup lives: `refs/orchestra/backup/ID/TASK/KIND/N`.
pub const BACKUPS: &str = "refs/orchestra/backup";

/// The same as the beginning of a ref's name.
const BACKUP_FOLDER: &str = "refs/orchestra/backup/";

/// What a ref must be for a change of it to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected<'a> {
    /// It must not exist.
    Absent,
    /// It must point at this object.
    At(&'a Oid),
}

impl<'a> Expected<'a> {
    fn oid(self) -> Option<&'a Oid> {
        match self {
            Self::Absent => None,
            Self::At(oid) => Some(oid),
        }
    }
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackupKind {
    /// The tip of a branch before it was moved or deleted.
    Branch,
    /// Uncommitted work of a worktree before it was removed or reset.
    Snapshot,
    /// The base branch before a delivery.
    Base,
    /// A merged tree before it was delivered or given up.
    Merge,
    /// The base branch before a delivery was taken back.
    Undo,
}

impl BackupKind {
    const ALL: [Self; 5] = [
        Self::Branch,
        Self::Snapshot,
        Self::Base,
        Self::Merge,
        Self::Undo,
    ];

    /// The part of the ref name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Snapshot => "snapshot",
            Self::Base => "base",
            Self::Merge => "merge",
            Self::Undo => "undo",
        }
    }
}

/// What a ref's commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headline {
    /// The ref's full name.
    pub name: String,
    /// When the commit was made.
    pub made: Timestamp,
    /// The first line of its message.
    pub subject: String,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The ref's full name.
    pub name: String,
    /// The orchestration that made it.
    pub run: OrchestrationId,
    /// The task whose work it is; `base` and `integration` for the run's own.
    pub task: TaskName,
    /// What it holds.
    pub kind: BackupKind,
    /// Counts the backups of one kind.
    pub number: u64,
    /// The commit.
    pub oid: Oid,
}

impl Backup {
    fn parse(name: String, oid: Oid) -> Option<Self> {
        let mut parts = name.strip_prefix(BACKUP_FOLDER)?.split('/');
        let (run, task, kind, number) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            run: OrchestrationId::parse(run).ok()?,
            task: TaskName::parse(task).ok()?,
            kind: BackupKind::ALL.into_iter().find(|k| k.as_str() == kind)?,
            number: number.parse().ok()?,
            name,
            oid,
        })
    }
}

fn check_name(name: &str) -> Result<(), GitError> {
    if name.starts_with("refs/") && git2::Reference::is_valid_name(name) {
        Ok(())
    } else {
        Err(GitError::BadRefName {
            name: name.to_owned(),
        })
    }
}

impl Repo {
    /// Sets a ref (full name) to an object when it is as expected: compare-and-swap.
    ///
    /// Refs outside `refs/orchestra/` are changed by git itself, so that the person's
    /// `reference-transaction` hook has its say.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] when it is not as expected, [`GitError::RefBlocked`]
    /// when another ref is in the way, [`GitError::HookRefused`].
    pub fn update_ref(
        &self,
        name: &str,
        new: &Oid,
        expected: Expected<'_>,
    ) -> Result<(), GitError> {
        check_name(name)?;
        let expected = expected.oid();
        if self.backend() == Backend::Library && name.starts_with("refs/orchestra/") {
            let swapped = self.library(|r| library::swap_ref(r, name, new, expected, "orchestra"));
            // What the library cannot do (a held lock, a ref in the way) git tries
            // again below: it waits for locks, and its refusals are understood.
            if swapped == Ok(true) {
                return Ok(());
            }
        }
        let line = match expected {
            None => format!("create {name}\0{new}\0"),
            Some(old) => format!("update {name}\0{new}\0{old}\0"),
        };
        self.ref_transaction(name, expected, &line)
    }

    /// Deletes a ref (full name) when it points at the expected object. A ref that is
    /// already gone is an error as well: [`GitError::RefMoved`] with nothing there.
    ///
    /// # Errors
    /// As [`Repo::update_ref`].
    pub fn delete_ref(&self, name: &str, expected: &Oid) -> Result<(), GitError> {
        check_name(name)?;
        let line = format!("delete {name}\0{expected}\0");
        self.ref_transaction(name, Some(expected), &line)
    }

    fn ref_transaction(
        &self,
        name: &str,
        expected: Option<&Oid>,
        line: &str,
    ) -> Result<(), GitError> {
        let output = self
            .git()
            .args(["update-ref", "-m", "orchestra", "--stdin", "-z"])
            .input(line.as_bytes())
            .output()?;
        if output.success() {
            return Ok(());
        }
        if hook_refused(&output.stderr) {
            return Err(GitError::HookRefused {
                name: name.to_owned(),
                detail: output.stderr,
            });
        }
        match self.why_not(name, expected)? {
            Some(error) => Err(error),
            None => Err(output.failed()),
        }
    }

    /// Why a compare-and-swap did not happen, as far as the refs tell.
    fn why_not(&self, name: &str, expected: Option<&Oid>) -> Result<Option<GitError>, GitError> {
        let actual = self.ref_target(name)?;
        if actual.as_ref() != expected {
            return Ok(Some(GitError::RefMoved {
                name: name.to_owned(),
                expected: expected.cloned(),
                actual,
            }));
        }
        if expected.is_none()
            && let Some(by) = self.blocking_ref(name)?
        {
            return Ok(Some(GitError::RefBlocked {
                name: name.to_owned(),
                by,
            }));
        }
        Ok(None)
    }

    /// A ref that makes another one impossible: `refs/heads/task` and
    /// `refs/heads/task/x` cannot both exist.
    pub(crate) fn blocking_ref(&self, name: &str) -> Result<Option<String>, GitError> {
        let ends = name.match_indices('/').map(|(at, _)| at);
        for parent in ends.filter_map(|at| name.get(..at)) {
            // `refs` and `refs/heads` are no refs.
            if parent.matches('/').count() >= 2 && self.ref_target(parent)?.is_some() {
                return Ok(Some(parent.to_owned()));
            }
        }
        Ok(self.refs(name)?.into_iter().next().map(|(below, _)| below))
    }

    /// Keeps an object reachable under `refs/orchestra/backup/ID/TASK/KIND/N` and
    /// returns that name. Backups are only ever added: the number counts up, and an
    /// object that already has a backup of that kind keeps the name it has.
    ///
    /// # Errors
    /// As [`Repo::update_ref`].
    pub fn backup(
        &self,
        id: &OrchestrationId,
        task: &TaskName,
        kind: BackupKind,
        oid: &Oid,
    ) -> Result<String, GitError> {
        let folder = format!("{BACKUPS}/{id}/{task}/{}", kind.as_str());
        loop {
            let known = self.refs(&folder)?;
            if let Some((name, _)) = known.iter().find(|(_, there)| there == oid) {
                return Ok(name.clone());
            }
            let number = known
                .iter()
                .filter_map(|(name, _)| name.rsplit('/').next()?.parse::<u64>().ok())
                .max()
                .map_or(1, |n| n + 1);
            // A process that was killed leaves its lock, and nobody else takes locks here.
            let name = (number..)
                .map(|number| format!("{folder}/{number}"))
                .find(|name| !self.common_dir().join(format!("{name}.lock")).exists())
                .unwrap_or_default();
            match self.update_ref(&name, oid, Expected::Absent) {
                Ok(()) => return Ok(name),
                // Someone else took the number: look again.
                Err(GitError::RefMoved {
                    actual: Some(_), ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes backups that are where they are expected, all or none.
    ///
    /// # Errors
    /// [`GitError::BadRefName`] when one of the names is not that of a backup,
    /// [`GitError::RefMoved`] when one moved or is gone; nothing was deleted then.
    pub fn delete_backups(&self, backups: &[Backup]) -> Result<(), GitError> {
        let mut lines = String::new();
        for Backup { name, oid, .. } in backups {
            check_name(name)?;
            if !name.starts_with(BACKUP_FOLDER) {
                return Err(GitError::BadRefName { name: name.clone() });
            }
            lines.push_str(&format!("delete {name}\0{oid}\0"));
        }
        if lines.is_empty() {
            return Ok(());
        }
        let output = self
            .git()
            .args(["update-ref", "-m", "orchestra", "--stdin", "-z"])
            .input(lines.as_bytes())
            .output()?;
        if output.success() {
            return Ok(());
        }
        for Backup { name, oid, .. } in backups {
            if let Some(error) = self.why_not(name, Some(oid))? {
                return Err(error);
            }
        }
        Err(output.failed())
    }

    /// When the commits of all refs below a folder of refs were made, and the first line of
    /// their messages.
    ///
    /// # Errors
    /// What git says when it cannot read them.
    pub fn headlines(&self, folder: &str) -> Result<Vec<Headline>, GitError> {
        let output = self
            .git()
            .args([
                "for-each-ref",
                "--format=%(refname) %(committerdate:unix) %(contents:subject)",
                folder,
            ])
            .run()?;
        Ok(output
            .text()
            .lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ' ');
                let (name, made) = (parts.next()?, parts.next()?.parse::<i64>().ok()?);
                Some(Headline {
                    name: name.to_owned(),
                    made: Timestamp(made.saturating_mul(1000)),
                    subject: parts.next().unwrap_or_default().to_owned(),
                })
            })
            .collect())
    }

    /// The backups of all orchestrations, ordered by name. What has another form of name is
    /// not one of ours and not in the list.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn all_backups(&self) -> Result<Vec<Backup>, GitError> {
        let refs = self.refs(BACKUPS)?;
        Ok(refs
            .into_iter()
            .filter_map(|(name, oid)| Backup::parse(name, oid))
            .collect())
    }

    /// The backups of one orchestration, ordered by name.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn backups(&self, id: &OrchestrationId) -> Result<Vec<(String, Oid)>, GitError> {
        self.refs(&format!("{BACKUPS}/{id}"))
    }
}

/// Whether git's message says that a `reference-transaction` hook refused.
pub(crate) fn hook_refused(stderr: &str) -> bool {
    stderr.contains("aborted by hook") || stderr.contains("aborted by the reference-transaction")
}
