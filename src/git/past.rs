//! What the history of a repository tells of its parts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::GitError;
use super::plumbing::parts;
use super::repo::Repo;

/// Most commits that are looked at.
const COMMITS: &str = "200";

/// Longest time for it; more is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What recent commits changed, and what is tracked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// First lines of the newest commits, newest first.
    pub subjects: Vec<String>,
    /// The paths that each of the newest commits changed, newest first; merges are left out.
    pub changes: Vec<Vec<String>>,
    /// Folders with the number of tracked files in them, two levels deep.
    pub folders: BTreeMap<String, usize>,
}

impl Repo {
    /// The recent past of the commit that is checked out.
    ///
    /// # Errors
    /// When git fails, as in a repository without commits, or takes too long.
    pub fn past(&self) -> Result<Past, GitError> {
        let output = self
            .git()
            .args(["log", "-n", COMMITS, "--no-merges", "--no-renames"])
            .args(["--format=%x01%s", "--name-only", "-z"])
            .timeout(PATIENCE)
            .run()?;
        let mut past = Past::default();
        // `-z` ends the subject and each path with NUL; paths begin after a line break.
        for part in parts(&output.stdout) {
            let text = String::from_utf8_lossy(part);
            let text = text.trim_start_matches('\n');
            if let Some(subject) = text.strip_prefix('\u{1}') {
                past.subjects.push(subject.to_owned());
                past.changes.push(Vec::new());
            } else if let Some(last) = past.changes.last_mut().filter(|_| !text.is_empty()) {
                last.push(text.to_owned());
            }
        }
        let output = self
            .git()
            .args(["ls-tree", "-r", "-z", "--name-only", "--full-tree", "HEAD"])
            .timeout(PATIENCE)
            .run()?;
        for path in parts(&output.stdout) {
            let path = String::from_utf8_lossy(path);
            let mut folder = String::new();
            let mut names = path.split('/').peekable();
            for _ in 0..2 {
                let Some(name) = names.next() else { break };
                if names.peek().is_none() {
                    break;
                }
                folder.push_str(name);
                folder.push('/');
                *past.folders.entry(folder.clone()).or_default() += 1;
            }
        }
        Ok(past)
    }
}
