//! `info/exclude`: keeping this program's files out of git without touching the
//! person's `.gitignore`.

use std::io::Write;

use super::error::GitError;
use super::lock::{AdminLock, Purpose};
use super::repo::Repo;

impl Repo {
    /// Adds the lines that are missing to `info/exclude` of the repository. What is
    /// there stays byte for byte; calling it again changes nothing.
    ///
    /// # Errors
    /// When the file cannot be read or replaced.
    pub fn exclude(&self, patterns: &[&str]) -> Result<(), GitError> {
        let _lock = AdminLock::acquire(self.common_dir(), Purpose::Records)?;
        let folder = self.common_dir().join("info");
        let given = folder.join("exclude");
        std::fs::create_dir_all(&folder).map_err(|e| GitError::io("making", &folder, &e))?;
        // The person may keep it as a link into their dotfiles: replace its target.
        let file = std::fs::canonicalize(&given).unwrap_or(given);
        let (mut content, permissions) = match std::fs::read(&file) {
            Ok(content) => (content, std::fs::metadata(&file).ok()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => (Vec::new(), None),
            Err(e) => return Err(GitError::io("reading", &file, &e)),
        };
        let mut missing: Vec<&str> = Vec::new();
        for pattern in patterns {
            let there = content
                .split(|b| *b == b'\n')
                .any(|line| line.strip_suffix(b"\r").unwrap_or(line) == pattern.as_bytes());
            if !there && !missing.contains(pattern) {
                missing.push(pattern);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if content.last().is_some_and(|b| *b != b'\n') {
            content.push(b'\n');
        }
        for pattern in missing {
            content.extend_from_slice(pattern.as_bytes());
            content.push(b'\n');
        }
        let replace = || -> std::io::Result<()> {
            let parent = file.parent().unwrap_or(&folder);
            let mut temporary = tempfile::Builder::new()
                .prefix("exclude.")
                .tempfile_in(parent)?;
            temporary.write_all(&content)?;
            let permissions = permissions.map_or_else(
                || std::os::unix::fs::PermissionsExt::from_mode(0o644),
                |m| m.permissions(),
            );
            temporary.as_file().set_permissions(permissions)?;
            temporary.persist(&file)?;
            Ok(())
        };
        replace().map_err(|e| GitError::io("writing", &file, &e))
    }
}
