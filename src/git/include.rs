//! Ignored files that a new worktree needs all the same: `.worktreeinclude`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::error::GitError;
use super::plumbing::parts;
use super::repo::{Repo, path};

/// The file in the main checkout that names them, in the syntax of `.gitignore`.
pub const INCLUDE_FILE: &str = ".worktreeinclude";

impl Repo {
    /// Copies the files of the main checkout that git ignores *and* `.worktreeinclude` names
    /// into a worktree. Links are copied as links; what is there already is left alone.
    /// Returns what was copied, relative to the top folder.
    ///
    /// # Errors
    /// When git cannot list them, or one cannot be copied.
    pub fn copy_included(&self, worktree: &Path) -> Result<Vec<PathBuf>, GitError> {
        let list = self.root().join(INCLUDE_FILE);
        if !list.is_file() {
            return Ok(Vec::new());
        }
        let named = self.ignored(&[format!("--exclude-from={}", list.display())])?;
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let ignored: std::collections::HashSet<PathBuf> = self
            .ignored(&["--exclude-standard".to_owned()])?
            .into_iter()
            .collect();
        let mut copied = Vec::new();
        for file in named.into_iter().filter(|f| ignored.contains(f)) {
            // This program's own files are never handed on.
            if file.starts_with(".claude/orchestration") {
                continue;
            }
            if copy(&self.root().join(&file), &worktree.join(&file))? {
                copied.push(file);
            }
        }
        Ok(copied)
    }

    fn ignored(&self, which: &[String]) -> Result<Vec<PathBuf>, GitError> {
        let output = self
            .git()
            .args(["ls-files", "--others", "--ignored", "-z"])
            .args(which)
            .run()?;
        Ok(parts(&output.stdout).map(path).collect())
    }
}

fn copy(from: &Path, to: &Path) -> Result<bool, GitError> {
    let failed = |e: std::io::Error| GitError::io("copying", from, &e);
    if fs::symlink_metadata(to).is_ok() {
        return Ok(false);
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let kind = fs::symlink_metadata(from).map_err(failed)?.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(failed)?;
        symlink(target, to).map_err(failed)?;
    } else if kind.is_file() {
        fs::copy(from, to).map_err(failed)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_and_ignored_files_are_copied_and_no_others() {
        let kit = crate::git::testkit::Fixture::new();
        let root = kit.root.clone();
        fs::write(root.join(".gitignore"), ".env*\nnode_modules/\n/secret\n").unwrap();
        fs::write(root.join(INCLUDE_FILE), ".env\nnode_modules/\nplain.txt\n").unwrap();
        kit.git(&["add", "."]);
        kit.git(&["commit", "-qm", "ignore"]);
        fs::write(root.join(".env"), "A=1").unwrap();
        fs::write(root.join(".env.local"), "B=1").unwrap();
        fs::write(root.join("secret"), "s").unwrap();
        fs::write(root.join("plain.txt"), "untracked, not ignored").unwrap();
        fs::create_dir_all(root.join("node_modules/x")).unwrap();
        fs::write(root.join("node_modules/x/i.js"), "1").unwrap();
        symlink("i.js", root.join("node_modules/x/l.js")).unwrap();
        let repo = kit.repo();
        let to = tempfile::tempdir().unwrap();
        let mut copied = repo.copy_included(to.path()).unwrap();
        copied.sort();
        let names: Vec<String> = copied.iter().map(|p| p.display().to_string()).collect();
        assert_eq!(
            names,
            [".env", "node_modules/x/i.js", "node_modules/x/l.js"]
        );
        assert_eq!(fs::read_to_string(to.path().join(".env")).unwrap(), "A=1");
        assert_eq!(
            fs::read_link(to.path().join("node_modules/x/l.js")).unwrap(),
            Path::new("i.js")
        );
        // Again: nothing is overwritten.
        assert!(repo.copy_included(to.path()).unwrap().is_empty());
    }
}
