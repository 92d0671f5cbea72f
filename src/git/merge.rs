//! Merging two commits in memory, by git's own merge: no working tree is involved.

use super::error::GitError;
use super::plumbing::parts;
use super::repo::{Repo, parse_oid};
use crate::core::id::Oid;

/// What merging two commits gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// Git merged everything.
    Clean {
        /// The merged tree.
        tree: Oid,
    },
    /// Somebody has to decide.
    Conflict {
        /// The tree as far as it goes, with conflict markers in the files.
        tree: Oid,
        /// The files in conflict, ordered by path.
        files: Vec<ConflictFile>,
        /// Everything that git says about this merge that concerns no single file in
        /// conflict.
        messages: Vec<ConflictMessage>,
    },
}

/// One file in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictFile {
    /// Its path from the top folder.
    pub path: String,
    /// The versions that meet; empty when only the place is disputed.
    pub stages: Vec<ConflictStage>,
    /// What git says about it.
    pub messages: Vec<ConflictMessage>,
}

/// One version of a file in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictStage {
    /// 1: the common ancestor's, 2: ours, 3: theirs.
    pub stage: u8,
    /// The file mode, as `100644`.
    pub mode: String,
    /// The blob.
    pub oid: Oid,
}

/// A remark of git about a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictMessage {
    /// A stable short type: `CONFLICT (contents)`, `CONFLICT (modify/delete)`,
    /// `CONFLICT (rename/delete)`, `CONFLICT (file location)`, ...
    pub kind: String,
    /// The sentence for people.
    pub text: String,
    /// The paths it is about.
    pub paths: Vec<String>,
}

impl Repo {
    /// Merges `theirs` into `ours` in memory, as `git merge` would in a checkout of `ours`.
    ///
    /// It does not matter what is checked out: attributes (merge drivers, `union`) are
    /// those of `ours`, together with those of the person and the repository
    /// (`core.attributesFile`, `info/attributes`). Configuration counts (`merge.*`, drivers),
    /// but not what is meant for the command alone: `branch.*.mergeOptions` and recorded
    /// resolutions (`rerere.autoUpdate`). Which of two commits of a submodule is newer is
    /// only known where the main checkout has it filled.
    ///
    /// What has to be put aside to make room is called after its side, `file~` and the
    /// commit's id.
    ///
    /// # Errors
    /// [`GitError::Unrelated`] without a common ancestor, [`GitError::Missing`] for a
    /// commit that is not here.
    pub fn merge(&self, ours: &Oid, theirs: &Oid) -> Result<Merge, GitError> {
        let output = self
            .git()
            // Git before 2.41 does not know it and reads the checked-out attributes.
            .env("GIT_ATTR_SOURCE", ours.as_str())
            .args(["merge-tree", "--write-tree", "-z", "--messages"])
            .args([ours.as_str(), theirs.as_str()])
            .output()?;
        let clean = match output.code {
            Some(0) => true,
            // A commit that is not there ends with 1 as well, but without a tree.
            Some(1) if !output.stdout.is_empty() => false,
            _ => {
                if output.stderr.contains("unrelated histories") {
                    return Err(GitError::Unrelated {
                        ours: ours.clone(),
                        theirs: theirs.clone(),
                    });
                }
                for id in [ours, theirs] {
                    if self.resolve(id.as_str())?.is_none() {
                        return Err(super::library::missing_commit(id));
                    }
                }
                return Err(output.failed());
            }
        };
        let mut fields = parts(&output.stdout).map(|f| String::from_utf8_lossy(f).into_owned());
        let tree = fields.next().unwrap_or_default();
        let tree = parse_oid(&output, &tree)?;
        if clean {
            return Ok(Merge::Clean { tree });
        }
        let cut_off = || output.unreadable("the list of conflicts is cut off");
        let mut files: Vec<ConflictFile> = Vec::new();
        // `MODE OID STAGE\tPATH`, then an empty field before the messages.
        for field in fields.by_ref() {
            if field.is_empty() {
                break;
            }
            let (meta, path) = field.split_once('\t').ok_or_else(cut_off)?;
            let mut meta = meta.split(' ');
            let (Some(mode), Some(id), Some(stage)) = (meta.next(), meta.next(), meta.next())
            else {
                return Err(cut_off());
            };
            let stage = ConflictStage {
                stage: stage.parse().map_err(|_| cut_off())?,
                mode: mode.to_owned(),
                oid: parse_oid(&output, id)?,
            };
            match files.iter_mut().find(|f| f.path == path) {
                Some(file) => file.stages.push(stage),
                None => files.push(ConflictFile {
                    path: path.to_owned(),
                    stages: vec![stage],
                    messages: Vec::new(),
                }),
            }
        }
        let mut messages = Vec::new();
        while let Some(count) = fields.next() {
            let count: usize = count.parse().map_err(|_| cut_off())?;
            let paths: Vec<String> = fields.by_ref().take(count).collect();
            let (Some(kind), Some(text)) = (fields.next(), fields.next()) else {
                return Err(cut_off());
            };
            let message = ConflictMessage {
                kind,
                text: text.trim_end().to_owned(),
                paths,
            };
            if !message.kind.starts_with("CONFLICT") {
                continue;
            }
            let file = message
                .paths
                .iter()
                .find_map(|path| files.iter().position(|f| f.path == *path));
            match file.and_then(|at| files.get_mut(at)) {
                Some(file) => file.messages.push(message),
                None => messages.push(message),
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Merge::Conflict {
            tree,
            files,
            messages,
        })
    }
}
