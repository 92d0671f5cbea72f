//! The mechanical rung: settling a conflict without asking anybody who thinks.
//!
//! When two commits do not merge, each file in conflict is tried in this order:
//!
//! 1. *by structure*: manifests whose meaning is known (`Cargo.toml`, `package.json`,
//!    `pyproject.toml`, `go.sum`) are merged as trees of values;
//! 2. *by union*: files that the person named for it keep the lines of both sides;
//! 3. *by their tool*: lock files are written anew, after the manifests that they are made
//!    from are settled;
//! 4. *by memory*: what the person's git remembers of an earlier resolution (rerere).
//!
//! Nothing is guessed: whatever is not certain stays in conflict, with its markers. Only the
//! scratch worktree is ever written to, and only when a rung needs files on disk. Links,
//! submodules, binary files, and conflicts about more than content are left alone.

mod json_text;
mod lockfile;
mod manifest;
mod pins;
mod rules;
mod toml_text;
mod tree;
mod workbench;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::lockfile::{MAX_LOCKFILE, Meeting, mend};
use self::manifest::{MAX_MANIFEST, Manifest};
use self::rules::Mender;
pub use self::rules::Rules;
pub use self::workbench::Workbench;
use crate::core::id::Oid;
use crate::git::{
    ConflictFile, ConflictMessage, ConflictStage, GitError, Lean, Merge, Repo, TreeFile,
};

/// Files longer than this are not united. Bytes.
const MAX_UNION: u64 = 64 * 1024 * 1024;

/// What settled a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Rung {
    /// Its structure.
    Structural,
    /// Keeping the lines of both sides.
    Union,
    /// The tool it belongs to.
    Lockfile {
        /// The command that wrote it.
        command: String,
    },
    /// An earlier resolution that git remembered.
    Rerere,
}

impl Rung {
    /// It in a word, for files.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Structural => "structural",
            Self::Union => "union",
            Self::Lockfile { .. } => "lockfile",
            Self::Rerere => "rerere",
        }
    }
}

/// It in a few words, for people.
impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structural => f.write_str("merged by structure"),
            Self::Union => f.write_str("lines of both sides kept"),
            Self::Lockfile { command } => write!(f, "written by `{command}`"),
            Self::Rerere => f.write_str("resolved as before"),
        }
    }
}

/// How far it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Every file is settled.
    All {
        /// The merged tree.
        tree: Oid,
        /// What settled each file in conflict, ordered by path.
        how: Vec<(String, Rung)>,
    },
    /// Something is left, perhaps everything.
    Some {
        /// The tree as far as it goes, with markers in the files that are left.
        tree: Oid,
        /// What settled each file that is, ordered by path.
        settled: Vec<(String, Rung)>,
        /// The files still in conflict, ordered by path. Empty when only what git said
        /// about no file in particular is left.
        left: Vec<ConflictFile>,
    },
}

/// A merge that ended in conflicts, as [`Repo::merge`] tells it.
#[derive(Debug, Clone, Copy)]
pub struct Conflict<'a> {
    /// The tree with markers.
    pub tree: &'a Oid,
    /// The files in conflict.
    pub files: &'a [ConflictFile],
    /// What concerns no single file: with any of it, not everything can be settled.
    pub messages: &'a [ConflictMessage],
}

/// Settles what can be settled of the conflicts of merging `theirs` into `ours`. Ends early,
/// with what was settled until then, when the workbench is told to stop.
///
/// # Errors
/// When git fails. A tool or command that fails leaves its file in conflict.
pub fn settle(
    repo: &Repo,
    ours: &Oid,
    theirs: &Oid,
    conflict: Conflict<'_>,
    rules: &Rules,
    bench: &Workbench<'_>,
) -> Result<Settled, GitError> {
    let mut work = Work {
        repo,
        ours,
        theirs,
        rules,
        bench,
        tree: conflict.tree.clone(),
        settled: Vec::new(),
        left: conflict.files.to_vec(),
        remembered: None,
    };
    work.pass(|work, file, versions| work.by_structure(file, versions))?;
    work.pass(|work, file, versions| work.by_union(file, versions))?;
    // Before the lock files, which need their manifests settled.
    work.pass(|work, file, _| match work.rules.mender(&file.path) {
        None => work.by_memory(file),
        Some(_) => Ok(None),
    })?;
    work.pass(|work, file, versions| work.by_tool(file, versions))?;
    work.pass(|work, file, _| work.by_memory(file))?;
    work.settled.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(if work.left.is_empty() && conflict.messages.is_empty() {
        Settled::All {
            tree: work.tree,
            how: work.settled,
        }
    } else {
        Settled::Some {
            tree: work.tree,
            settled: work.settled,
            left: work.left,
        }
    })
}

/// Teaches the person's git, when it remembers resolutions, how the conflicts of merging
/// `theirs` into `onto` were resolved (a commit or tree): the next [`settle`], and their own
/// next merge, finds it. Returns for how many files.
///
/// # Errors
/// When git fails.
pub fn remember(
    repo: &Repo,
    onto: &Oid,
    theirs: &Oid,
    resolved: &Oid,
    bench: &Workbench<'_>,
) -> Result<usize, GitError> {
    if !repo.remembers()? {
        return Ok(0);
    }
    let Merge::Conflict { files, .. } = repo.merge(onto, theirs)? else {
        return Ok(0);
    };
    bench.check_out(repo, onto)?;
    let known = repo.record_resolution(bench.scratch, theirs, resolved, &files);
    // Out of the middle of the merge, whatever came of it.
    bench.check_out(repo, onto)?;
    known
}

/// The versions of a file that differ in nothing but content.
struct Versions {
    mode: String,
    base: Option<Oid>,
    ours: Oid,
    theirs: Oid,
}

impl Versions {
    /// None for a conflict about more than the content of a regular file.
    fn of(file: &ConflictFile) -> Option<Self> {
        let about_content = !file.messages.is_empty()
            && file
                .messages
                .iter()
                .all(|m| m.kind == "CONFLICT (contents)");
        // A path that is not UTF-8 was made readable, and names another file now.
        if !about_content || file.path.contains('\u{fffd}') {
            return None;
        }
        let stage = |number| file.stages.iter().find(|s| s.stage == number);
        let regular = |s: &ConflictStage| matches!(s.mode.as_str(), "100644" | "100755");
        let (base, ours, theirs) = (stage(1), stage(2)?, stage(3)?);
        if !file.stages.iter().all(regular) {
            return None;
        }
        let mode = if ours.mode == theirs.mode || base.is_some_and(|b| b.mode == theirs.mode) {
            &ours.mode
        } else if base.is_some_and(|b| b.mode == ours.mode) {
            &theirs.mode
        } else {
            return None;
        };
        Some(Self {
            mode: mode.clone(),
            base: base.map(|b| b.oid.clone()),
            ours: ours.oid.clone(),
            theirs: theirs.oid.clone(),
        })
    }
}

/// What is in them.
struct Contents {
    base: Option<Vec<u8>>,
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

/// What a rung makes of a file.
type Outcome = Result<Option<(TreeFile, Rung)>, GitError>;

struct Work<'a> {
    repo: &'a Repo,
    ours: &'a Oid,
    theirs: &'a Oid,
    rules: &'a Rules,
    bench: &'a Workbench<'a>,
    tree: Oid,
    settled: Vec<(String, Rung)>,
    left: Vec<ConflictFile>,
    /// What git remembers of this merge; none before it was asked.
    remembered: Option<Vec<TreeFile>>,
}

impl Work<'_> {
    /// Tries one rung on every file that is left.
    fn pass(
        &mut self,
        rung: impl Fn(&mut Self, &ConflictFile, &Versions) -> Outcome,
    ) -> Result<(), GitError> {
        let candidates = self.left.clone();
        for file in &candidates {
            if self.bench.is_stopped() {
                return Ok(());
            }
            let Some(versions) = Versions::of(file) else {
                continue;
            };
            if let Some((new, how)) = rung(self, file, &versions)? {
                self.tree = self.repo.replace_files(&self.tree, &[new])?;
                self.left.retain(|f| f.path != file.path);
                self.settled.push((file.path.clone(), how));
            }
        }
        Ok(())
    }

    /// The three versions, when none is longer than `most` bytes.
    fn read(&self, versions: &Versions, most: u64) -> Result<Option<Contents>, GitError> {
        let base = match &versions.base {
            Some(base) => match self.repo.blob(base, most)? {
                Some(base) => Some(base),
                None => return Ok(None),
            },
            None => None,
        };
        let ours = self.repo.blob(&versions.ours, most)?;
        let theirs = self.repo.blob(&versions.theirs, most)?;
        Ok(ours
            .zip(theirs)
            .map(|(ours, theirs)| Contents { base, ours, theirs }))
    }

    fn write(&self, file: &ConflictFile, mode: &str, content: &[u8]) -> Result<TreeFile, GitError> {
        Ok(TreeFile {
            path: file.path.clone(),
            mode: mode.to_owned(),
            oid: self.repo.write_blob(content)?,
        })
    }

    fn by_structure(&self, file: &ConflictFile, versions: &Versions) -> Outcome {
        let name = name_of(&file.path);
        let manifest = Manifest::of(name);
        let is_sums = name == "go.sum" && !self.rules.is_configured(&file.path);
        if manifest.is_none() && !is_sums {
            return Ok(None);
        }
        let Some(Contents { base, ours, theirs }) = self.read(versions, MAX_MANIFEST)? else {
            return Ok(None);
        };
        let merged = match manifest {
            Some(manifest) => {
                let empty = base.as_deref().unwrap_or_default();
                let start = self.repo.merge_file(empty, &ours, &theirs, Lean::Ours)?;
                manifest.merge(base.as_deref(), &ours, &theirs, start.as_deref())
            }
            None => go_sum(base.as_deref(), &ours, &theirs),
        };
        let Some(merged) = merged else {
            return Ok(None);
        };
        let new = self.write(file, &versions.mode, &merged)?;
        Ok(Some((new, Rung::Structural)))
    }

    fn by_union(&self, file: &ConflictFile, versions: &Versions) -> Outcome {
        if !self.rules.unites(&file.path) {
            return Ok(None);
        }
        let Some(Contents { base, ours, theirs }) = self.read(versions, MAX_UNION)? else {
            return Ok(None);
        };
        let base = base.unwrap_or_default();
        let united = self.repo.merge_file(&base, &ours, &theirs, Lean::Union)?;
        let Some(united) = united else {
            return Ok(None);
        };
        let new = self.write(file, &versions.mode, &united)?;
        Ok(Some((new, Rung::Union)))
    }

    fn by_tool(&self, file: &ConflictFile, versions: &Versions) -> Outcome {
        let Some(mender) = self.rules.mender(&file.path) else {
            return Ok(None);
        };
        if self.manifest_is_left(file, mender) {
            return Ok(None);
        }
        let Some(Contents { base, ours, theirs }) = self.read(versions, MAX_LOCKFILE)? else {
            return Ok(None);
        };
        let parents = [self.ours.clone(), self.theirs.clone()];
        self.bench.check_out_tree(self.repo, &self.tree, &parents)?;
        let meeting = Meeting {
            path: &file.path,
            base: base.as_deref(),
            ours: &ours,
            theirs: &theirs,
        };
        let made = mend(self.repo, self.bench, &meeting, mender)?;
        Ok(made.map(|(oid, command)| {
            let new = TreeFile {
                path: file.path.clone(),
                mode: versions.mode.clone(),
                oid,
            };
            (new, Rung::Lockfile { command })
        }))
    }

    /// Whether something that a lock file is made from is still in conflict: such a file in
    /// its folder or beneath. For a command of the person that is every known manifest, and
    /// whatever else is left in the folder itself.
    fn manifest_is_left(&self, lock: &ConflictFile, mender: Mender<'_>) -> bool {
        let folder = lock.path.strip_suffix(name_of(&lock.path)).unwrap_or("");
        self.left.iter().any(|other| {
            let Some(below) = other.path.strip_prefix(folder) else {
                return false;
            };
            let name = name_of(below);
            match mender {
                Mender::Tool(tool) => tool.manifests.contains(&name),
                Mender::Command(_) => {
                    let known = lockfile::BUILT_IN.iter();
                    known.flat_map(|tool| tool.manifests).any(|m| *m == name)
                        || (!below.contains('/')
                            && other.path != lock.path
                            && self.rules.mender(&other.path).is_none())
                }
            }
        })
    }

    fn by_memory(&mut self, file: &ConflictFile) -> Outcome {
        if self.remembered.is_none() {
            self.remembered = Some(self.recall()?);
        }
        let known = self.remembered.iter().flatten();
        let known = known.filter(|known| known.path == file.path).cloned();
        Ok(known.map(|known| (known, Rung::Rerere)).next())
    }

    fn recall(&self) -> Result<Vec<TreeFile>, GitError> {
        if !self.repo.remembers()? {
            return Ok(Vec::new());
        }
        self.bench.check_out(self.repo, self.ours)?;
        let known = self
            .repo
            .replay(self.bench.scratch, self.theirs, &self.left);
        // Out of the middle of the merge, whatever came of it.
        self.bench.check_out(self.repo, self.ours)?;
        known
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn go_sum(base: Option<&[u8]>, ours: &[u8], theirs: &[u8]) -> Option<Vec<u8>> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let base = match base {
        Some(base) => Some(text(base)?),
        None => None,
    };
    pins::go_sum(base, text(ours)?, text(theirs)?).map(String::into_bytes)
}
