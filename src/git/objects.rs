//! Commits, trees and diffs: what the rest of the program asks, whichever backend
//! answers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::error::GitError;
use super::repo::{Backend, Repo};
use super::{library, plumbing};
use crate::core::id::{BranchName, Oid};

/// One commit, as far as people and summaries need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its id.
    pub oid: Oid,
    /// Its parents, first parent first.
    pub parents: Vec<Oid>,
    /// The first paragraph of the message on one line.
    pub summary: String,
    /// The whole message without trailing blank lines.
    pub message: String,
    /// Who wrote it.
    pub author: Identity,
    /// When it was written: seconds since 1970, UTC.
    pub time: i64,
    /// What the author's clock showed beside UTC then: minutes east of it.
    pub offset: i32,
}

/// A name and an e-mail address, as in commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

impl Identity {
    /// Who commits when the person has told git no name: clearly not a person.
    #[must_use]
    pub fn orchestra() -> Self {
        Self {
            name: "Orchestra".to_owned(),
            email: "orchestra@localhost".to_owned(),
        }
    }
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content or mode changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name, perhaps other content too.
    Renamed,
    /// It became something else: a link, a file, a submodule.
    TypeChanged,
    /// It has unresolved conflicts (only in a working tree).
    Conflicted,
}

/// Numbers of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Its path from the top folder, as it is called now. Bytes that are no UTF-8 are
    /// shown as U+FFFD.
    pub path: String,
    /// What it was called before, when it was renamed.
    pub old_path: Option<String>,
    /// What happened.
    pub kind: ChangeKind,
    /// Lines added and removed; none for binary files and those too large to count.
    pub lines: Option<Lines>,
}

/// All files that differ between two states, ordered by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiffStat {
    /// The files.
    pub files: Vec<FileStat>,
    /// The sum over all files whose lines could be counted.
    pub lines: Lines,
}

impl DiffStat {
    pub(crate) fn new(mut files: Vec<FileStat>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut lines = Lines::default();
        for file in files.iter().filter_map(|f| f.lines) {
            lines.added += file.added;
            lines.removed += file.removed;
        }
        Self { files, lines }
    }
}

/// Who makes a commit and when, ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) author: Identity,
    /// When the author wrote it.
    pub(crate) written: Moment,
    pub(crate) committer: Identity,
    /// When it is committed.
    pub(crate) committed: Moment,
}

/// A time as commits hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// Minutes east of UTC.
    pub(crate) offset: i32,
}

/// Who makes commits at a time, and whether they are signed.
#[derive(Debug, Clone)]
pub struct Author {
    stamp: Stamp,
    sign: bool,
}

impl Author {
    /// The same committer for a commit that somebody else wrote before: who and when stay
    /// as they were. A name that git would not take back (old tools wrote empty ones) is
    /// replaced.
    #[must_use]
    pub fn for_work_of(&self, commit: &CommitInfo) -> Self {
        let who = &commit.author;
        let author = if who.name.trim().is_empty() || who.email.trim().is_empty() {
            Identity::orchestra()
        } else {
            who.clone()
        };
        Self {
            stamp: Stamp {
                author,
                written: Moment {
                    time: commit.time,
                    offset: commit.offset,
                },
                ..self.stamp.clone()
            },
            sign: self.sign,
        }
    }

    /// The same for commits that are made now.
    fn at_present(mut self) -> Self {
        let time = seconds_now();
        self.stamp.written.time = time;
        self.stamp.committed.time = time;
        self
    }

    /// Whether its commits are signed, as the person's `commit.gpgSign` asks for.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.sign
    }
}

/// How long what git said of the person is taken for true.
const AUTHOR_KEPT: Duration = Duration::from_secs(10 * 60);

/// Who makes commits, kept for a while: for whoever makes some every now and then. A person
/// who tells git another name is heard soon enough.
#[derive(Debug, Default)]
pub struct KeptAuthor(Mutex<Option<(Instant, Author)>>);

impl KeptAuthor {
    /// As [`Repo::author`] without an identity, for commits that are made now.
    ///
    /// # Errors
    /// As [`Repo::author`].
    pub fn get(&self, repo: &Repo) -> Result<Author, GitError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, author)) = &*kept
            && since.elapsed() < AUTHOR_KEPT
        {
            return Ok(author.clone().at_present());
        }
        let author = repo.author(None)?;
        *kept = Some((Instant::now(), author.clone()));
        Ok(author)
    }
}

fn seconds_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

impl Repo {
    /// The commit at the tip of a local branch; none when there is no such branch.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn branch_tip(&self, branch: &BranchName) -> Result<Option<Oid>, GitError> {
        self.ref_target(&branch.full_ref())
    }

    /// The object that a ref (full name) points at; none when it does not exist.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn ref_target(&self, name: &str) -> Result<Option<Oid>, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::ref_target(r, name)),
            Backend::Command => plumbing::ref_target(self, name),
        }
    }

    /// The commit that a revision (branch, tag, `HEAD~2`, abbreviated id...) means;
    /// none when it means nothing. Always read by git, whose grammar it is.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn resolve(&self, rev: &str) -> Result<Option<Oid>, GitError> {
        plumbing::resolve(self, rev)
    }

    /// Whether `a` is `b` or one of its ancestors.
    ///
    /// # Errors
    /// [`GitError::Missing`] when one of them is not a commit here.
    pub fn is_ancestor(&self, a: &Oid, b: &Oid) -> Result<bool, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::is_ancestor(r, a, b)),
            Backend::Command => plumbing::is_ancestor(self, a, b),
        }
    }

    /// The commits of `tip` that are not in `base`, oldest first: parents always come
    /// before their children.
    ///
    /// # Errors
    /// [`GitError::Missing`] when one of them is not a commit here.
    pub fn commits_between(&self, base: &Oid, tip: &Oid) -> Result<Vec<CommitInfo>, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::commits_between(r, base, tip)),
            Backend::Command => plumbing::commits_between(self, base, tip),
        }
    }

    /// What changed from one commit to another, with renames found.
    ///
    /// # Errors
    /// [`GitError::Missing`] when one of them is not a commit here.
    pub fn diff_stat(&self, from: &Oid, to: &Oid) -> Result<DiffStat, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::diff_stat(r, from, to)),
            Backend::Command => plumbing::diff_stat(self, from, to),
        }
    }

    /// The paths that differ between two commits, without renames: a moved file is
    /// both its old and its new path.
    ///
    /// # Errors
    /// [`GitError::Missing`] when one of them is not a commit here.
    pub fn changed_paths(&self, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::changed_paths(r, from, to)),
            Backend::Command => plumbing::changed_paths(self, from, to),
        }
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// [`GitError::Missing`] when it is not a commit here.
    pub fn tree_of(&self, commit: &Oid) -> Result<Oid, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::tree_of(r, commit)),
            Backend::Command => plumbing::tree_of(self, commit),
        }
    }

    /// The content of a file in a commit; for a symbolic link its target. None when
    /// there is no such file (a folder or a submodule is none).
    ///
    /// # Errors
    /// [`GitError::Missing`] when it is not a commit here.
    pub fn read_file(&self, commit: &Oid, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let inside = path
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
        if !inside {
            self.tree_of(commit)?;
            return Ok(None);
        }
        match self.backend() {
            Backend::Library => self.library(|r| library::read_file(r, commit, path)),
            Backend::Command => plumbing::read_file(self, commit, path),
        }
    }

    /// All refs below a folder of refs (`refs/orchestra/backup/`), ordered by name.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, GitError> {
        let folder = prefix.trim_end_matches('/');
        let mut refs = match self.backend() {
            Backend::Library => self.library(|r| library::refs(r, folder))?,
            Backend::Command => plumbing::refs(self, folder)?,
        };
        refs.sort();
        Ok(refs)
    }

    /// Writes a commit. Nothing points at it yet. It is signed when the person's
    /// `commit.gpgsign` asks for it.
    ///
    /// Without an identity it is the person's own (author and committer as git would
    /// have them), or [`Identity::orchestra`] when they have told git none.
    ///
    /// # Errors
    /// [`GitError::Missing`] for a tree or parent that is not here,
    /// [`GitError::Signing`] when the signing program refuses.
    pub fn commit(
        &self,
        tree: &Oid,
        parents: &[Oid],
        message: &str,
        identity: Option<&Identity>,
    ) -> Result<Oid, GitError> {
        let author = self.author(identity)?;
        self.commit_by(&author, tree, parents, message)
    }

    /// Who makes commits now, and whether these are signed: asked once for a series of
    /// commits. As for [`Repo::commit`].
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn author(&self, identity: Option<&Identity>) -> Result<Author, GitError> {
        let stamp = self.stamp(identity)?;
        let signed = self
            .git()
            .args(["config", "--type=bool", "--get", "commit.gpgsign"])
            .output()?;
        let sign = signed.success() && signed.text() == "true";
        Ok(Author { stamp, sign })
    }

    /// As [`Repo::commit`], by an author that was asked for before.
    ///
    /// # Errors
    /// As [`Repo::commit`].
    pub fn commit_by(
        &self,
        author: &Author,
        tree: &Oid,
        parents: &[Oid],
        message: &str,
    ) -> Result<Oid, GitError> {
        self.commit_with(tree, parents, message, &author.stamp, author.sign)
    }

    pub(crate) fn commit_with(
        &self,
        tree: &Oid,
        parents: &[Oid],
        message: &str,
        stamp: &Stamp,
        sign: bool,
    ) -> Result<Oid, GitError> {
        let mut message = message.replace('\0', "\u{fffd}");
        if !message.ends_with('\n') {
            message.push('\n');
        }
        match self.backend() {
            Backend::Library if !sign => {
                self.library(|r| library::commit(r, tree, parents, &message, stamp))
            }
            _ => plumbing::commit(self, tree, parents, &message, stamp, sign),
        }
    }

    /// The person as git knows them, author of new commits; none when they told git
    /// no name or address (guesses from the machine's name do not count).
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn person(&self) -> Result<Option<Identity>, GitError> {
        Ok(plumbing::ident(self, "GIT_AUTHOR_IDENT")?.map(|(identity, _, _)| identity))
    }

    pub(crate) fn stamp(&self, identity: Option<&Identity>) -> Result<Stamp, GitError> {
        let now = seconds_now();
        let author = plumbing::ident(self, "GIT_AUTHOR_IDENT")?;
        let (time, offset) = author.as_ref().map_or((now, 0), |(_, t, o)| (*t, *o));
        let now = Moment { time, offset };
        if let Some(identity) = identity {
            return Ok(Stamp {
                author: identity.clone(),
                written: now,
                committer: identity.clone(),
                committed: now,
            });
        }
        let committer = plumbing::ident(self, "GIT_COMMITTER_IDENT")?;
        let named = |found: Option<(Identity, i64, i32)>| {
            found.map_or_else(Identity::orchestra, |(identity, _, _)| identity)
        };
        Ok(Stamp {
            author: named(author),
            written: now,
            committer: named(committer),
            committed: now,
        })
    }
}
