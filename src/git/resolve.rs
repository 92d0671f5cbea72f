//! What settling a conflict needs: the contents that meet, three-way merges of single files,
//! trees with some files replaced, and git's own memory of resolutions (rerere).

use std::path::Path;

use super::command::Git;
use super::error::GitError;
use super::merge::ConflictFile;
use super::merging::beginning;
use super::objects::Identity;
use super::plumbing::parts;
use super::repo::{Backend, Repo, parse_oid};
use crate::core::id::Oid;

/// What `git merge-file` does with lines that both sides changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lean {
    /// The lines of both, ours first.
    Union,
    /// Our lines.
    Ours,
    /// Markers round both, with the common ancestor's lines between them.
    Markers,
}

/// A file as a tree holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Its path from the top folder.
    pub path: String,
    /// The file mode, as `100644`.
    pub mode: String,
    /// The blob.
    pub oid: Oid,
}

impl Repo {
    /// The content of a blob; none when it is longer than `most` bytes.
    ///
    /// # Errors
    /// When there is no such blob.
    pub fn blob(&self, id: &Oid, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        let size = self.git().args(["cat-file", "-s", id.as_str()]).run()?;
        let size: u64 = size
            .text()
            .parse()
            .map_err(|_| size.unreadable("the size of a blob is a number"))?;
        if size > most {
            return Ok(None);
        }
        if self.backend() == Backend::Library {
            let found = self.library(|library| {
                let blob = git2::Oid::from_str(id.as_str()).and_then(|id| library.find_blob(id));
                Ok(blob.ok().map(|blob| blob.content().to_vec()))
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let blob = self.git().args(["cat-file", "blob", id.as_str()]).run()?;
        Ok(Some(blob.stdout))
    }

    /// Writes a blob as it stands: no filters, no line ends changed.
    ///
    /// # Errors
    /// When the object store cannot be written.
    pub fn write_blob(&self, content: &[u8]) -> Result<Oid, GitError> {
        let output = self
            .git()
            .args(["hash-object", "-w", "--stdin", "--no-filters"])
            .input(content)
            .run()?;
        parse_oid(&output, &output.text())
    }

    /// Writes the blob that `git add` would make of a file of a worktree.
    ///
    /// # Errors
    /// When it cannot be read, or a filter fails.
    pub fn write_file(&self, worktree: &Path, path: &str) -> Result<Oid, GitError> {
        let output = Git::at(worktree)
            .args(["hash-object", "-w", "--", path])
            .run()?;
        parse_oid(&output, &output.text())
    }

    /// The tree with these files put in the place of what is there.
    ///
    /// # Errors
    /// When the tree is missing or the object store cannot be written.
    pub fn replace_files(&self, tree: &Oid, files: &[TreeFile]) -> Result<Oid, GitError> {
        if files.is_empty() {
            return Ok(tree.clone());
        }
        let scratch = scratch_folder(self.common_dir())?;
        let index = scratch.path().join("index");
        let git = || {
            self.git().env("GIT_INDEX_FILE", &index).args([
                "-c",
                "core.splitIndex=false",
                "-c",
                "core.fsmonitor=false",
            ])
        };
        git().args(["read-tree", tree.as_str()]).run()?;
        let mut lines = Vec::new();
        for file in files {
            lines.extend_from_slice(format!("{} {}\t", file.mode, file.oid).as_bytes());
            lines.extend_from_slice(file.path.as_bytes());
            lines.push(0);
        }
        git()
            .args(["update-index", "-z", "--index-info"])
            .input(lines)
            .run()?;
        let output = git().arg("write-tree").run()?;
        parse_oid(&output, &output.text())
    }

    /// Merges one file; none when git takes it for binary.
    ///
    /// # Errors
    /// When git fails.
    pub fn merge_file(
        &self,
        base: &[u8],
        ours: &[u8],
        theirs: &[u8],
        lean: Lean,
    ) -> Result<Option<Vec<u8>>, GitError> {
        let scratch = scratch_folder(self.common_dir())?;
        let put = |name: &str, content: &[u8]| {
            let path = scratch.path().join(name);
            std::fs::write(&path, content)
                .map_err(|e| GitError::io("writing", &path, &e))
                .map(|()| path)
        };
        let (ours, base, theirs) = (
            put("ours", ours)?,
            put("base", base)?,
            put("theirs", theirs)?,
        );
        let output = self
            .git()
            .args(["merge-file", "--stdout", "--quiet"])
            .args(match lean {
                Lean::Union => &["--union"][..],
                Lean::Ours => &["--ours"],
                Lean::Markers => &[
                    "--diff3",
                    "--marker-size=7",
                    "-L",
                    "ours",
                    "-L",
                    "base",
                    "-L",
                    "theirs",
                ],
            })
            .arg("--")
            .args([&ours, &base, &theirs])
            .output()?;
        match output.code {
            // The number of conflicts, cut at 127.
            Some(0..=127) => Ok(Some(output.stdout)),
            Some(_) if output.stdout.is_empty() => Ok(None),
            _ => Err(output.failed()),
        }
    }

    /// Whether the person's git remembers resolutions: `rerere.enabled`, or without it
    /// whether it has a memory already.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn remembers(&self) -> Result<bool, GitError> {
        let output = self
            .git()
            .args(["config", "--type=bool", "--get", "rerere.enabled"])
            .output()?;
        Ok(match output.text().as_str() {
            "true" => true,
            "false" => false,
            _ => self.common_dir().join("rr-cache").is_dir(),
        })
    }

    /// Does a merge for real in a worktree of this program's own that stands on `ours`, and
    /// tells which of these files in conflict git settled as they were settled before. The
    /// worktree is left in the middle of the merge: check out something.
    ///
    /// # Errors
    /// When git cannot be run. A merge that git refuses settles nothing.
    pub fn replay(
        &self,
        worktree: &Path,
        theirs: &Oid,
        conflicts: &[ConflictFile],
    ) -> Result<Vec<TreeFile>, GitError> {
        if !self.begin_merge(worktree, theirs)? {
            return Ok(Vec::new());
        }
        let unmerged = self.unmerged(worktree)?;
        let output = Git::at(worktree)
            .args(["ls-files", "-z", "--stage", "--full-name"])
            .run()?;
        let mut files = Vec::new();
        for entry in parts(&output.stdout) {
            // `MODE OID STAGE\tPATH`
            let Ok(entry) = std::str::from_utf8(entry) else {
                continue;
            };
            let Some((meta, path)) = entry.split_once('\t') else {
                continue;
            };
            let mut meta = meta.split(' ');
            let (Some(mode), Some(id)) = (meta.next(), meta.next()) else {
                continue;
            };
            if conflicts.iter().any(|f| f.path == path) && unmerged.iter().all(|p| p != path) {
                files.push(TreeFile {
                    path: path.to_owned(),
                    mode: mode.to_owned(),
                    oid: parse_oid(&output, id)?,
                });
            }
        }
        self.forget_preimages(worktree)?;
        Ok(files)
    }

    /// Teaches git how a merge was resolved, in a worktree of this program's own that stands
    /// on the commit that `theirs` was merged into: the files in conflict become those of
    /// `resolved` (a commit or tree). Returns for how many files that is now remembered. The
    /// worktree is left in the middle of the merge: check out something.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn record_resolution(
        &self,
        worktree: &Path,
        theirs: &Oid,
        resolved: &Oid,
        files: &[ConflictFile],
    ) -> Result<usize, GitError> {
        if !self.begin_merge(worktree, theirs)? {
            return Ok(0);
        }
        let unmerged = self.unmerged(worktree)?;
        let mut known = 0;
        for path in files.iter().map(|f| &f.path) {
            if !unmerged.contains(path) {
                continue;
            }
            let output = Git::at(worktree)
                .env("GIT_LITERAL_PATHSPECS", "1")
                .args(["-c", "core.hooksPath=/dev/null"])
                .args(["checkout", "--quiet", resolved.as_str(), "--", path])
                .output()?;
            known += usize::from(output.success());
        }
        if known > 0 {
            Git::at(worktree).args(["rerere"]).output()?;
        }
        self.forget_preimages(worktree)?;
        Ok(known)
    }

    /// Whether git got as far as a merge with conflicts.
    fn begin_merge(&self, worktree: &Path, theirs: &Oid) -> Result<bool, GitError> {
        let output = beginning(worktree, Some(&Identity::orchestra()))
            .args(["--rerere-autoupdate", theirs.as_str()])
            .output()?;
        Ok(output.code == Some(1))
    }

    fn unmerged(&self, worktree: &Path) -> Result<Vec<String>, GitError> {
        let output = Git::at(worktree)
            .args([
                "diff",
                "--name-only",
                "-z",
                "--diff-filter=U",
                "--no-relative",
            ])
            .run()?;
        Ok(parts(&output.stdout)
            .map(|p| String::from_utf8_lossy(p).into_owned())
            .collect())
    }

    /// Takes the conflicts of this merge that nobody resolved out of git's memory again. What
    /// another merge of the same conflict wrote there has a number of its own and stays.
    fn forget_preimages(&self, worktree: &Path) -> Result<(), GitError> {
        Git::at(worktree).args(["rerere", "clear"]).output()?;
        Ok(())
    }
}

/// Beside the objects, so that what is written there is on a disk that git may fill.
fn scratch_folder(common_dir: &Path) -> Result<tempfile::TempDir, GitError> {
    tempfile::Builder::new()
        .prefix("orchestra-resolve.")
        .tempdir_in(common_dir)
        .map_err(|e| GitError::io("making a folder in", common_dir, &e))
}
