//! The person's hooks: where they may be, and those that have a say in commits which are made
//! without a checkout.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use super::error::GitError;
use super::repo::Repo;
use crate::core::id::Oid;

/// How long what git said of the person's configuration is taken for true, unless the
/// repository's own changes.
const CONFIGURATION_KEPT: Duration = Duration::from_secs(10 * 60);

/// Whether hooks may be somewhere else than in the repository's folder for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HooksElsewhere {
    asked: Instant,
    /// Of the repository's configuration when that was asked.
    stamps: [Option<(SystemTime, u64)>; 2],
    elsewhere: bool,
}

impl Repo {
    /// Whether git may find a hook of this name. A hook that is certainly not there need not
    /// be asked for by a process each time.
    pub(crate) fn may_have_hook(&self, name: &str) -> bool {
        let own = self.common_dir().join("hooks").join(name);
        own.symlink_metadata().is_ok() || self.hooks_elsewhere()
    }

    fn hooks_elsewhere(&self) -> bool {
        let stamps = ["config", "config.worktree"].map(|name| stamp(&self.common_dir().join(name)));
        let mut known = self
            .hooks_known()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known
            && known.stamps == stamps
            && known.asked.elapsed() < CONFIGURATION_KEPT
        {
            return known.elsewhere;
        }
        let asked = Instant::now();
        let configured = self
            .git()
            .args(["config", "--get-regexp", r"^(core\.hookspath|hook\..*)$"])
            .output();
        // Exit code 1: there is nothing of the kind.
        let elsewhere = !configured.is_ok_and(|o| o.code == Some(1) && o.stdout.is_empty());
        *known = Some(HooksElsewhere {
            asked,
            stamps,
            elsewhere,
        });
        elsewhere
    }

    /// Asks the person's `commit-msg` hook about a commit that is to be made, and before it
    /// `pre-merge-commit` when it is a merge. The message as the hook leaves it.
    ///
    /// The hooks run in the main checkout with an index of their own that holds the
    /// commit's tree: what they stage is not kept, and the files that they see are those of
    /// the checkout, not those of the commit.
    ///
    /// # Errors
    /// [`GitError::CommitRefused`] when a hook refuses or leaves no message.
    pub fn ask_hooks(&self, tree: &Oid, merge: bool, message: &str) -> Result<String, GitError> {
        let folder = tempfile::Builder::new()
            .prefix("orchestra-hooks-")
            .tempdir()
            .map_err(|e| GitError::io("making a folder in", &std::env::temp_dir(), &e))?;
        let index = folder.path().join("index");
        let file = folder.path().join("COMMIT_EDITMSG");
        std::fs::write(&file, message).map_err(|e| GitError::io("writing", &file, &e))?;
        self.git()
            .env("GIT_INDEX_FILE", &index)
            .args(["read-tree", tree.as_str()])
            .run()?;
        let run = |hook: &'static str, arg: Option<&std::path::Path>| {
            let mut git = self.git().once().env("GIT_INDEX_FILE", &index).args([
                "hook",
                "run",
                "--ignore-missing",
                hook,
            ]);
            if let Some(arg) = arg {
                git = git.arg("--").arg(arg);
            }
            let output = git.output()?;
            if output.success() {
                return Ok(());
            }
            let detail = if output.stderr.is_empty() {
                output
                    .code
                    .map_or_else(|| "it was ended".to_owned(), |c| format!("exit code {c}"))
            } else {
                output.stderr
            };
            Err(refused(hook, message, detail))
        };
        if merge {
            run("pre-merge-commit", None)?;
        }
        run("commit-msg", Some(&file))?;
        let left = std::fs::read(&file).map_err(|e| GitError::io("reading", &file, &e))?;
        let left = String::from_utf8_lossy(&left).trim().to_owned();
        if left.is_empty() {
            return Err(refused(
                "commit-msg",
                message,
                "it left no message".to_owned(),
            ));
        }
        Ok(left + "\n")
    }
}

fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let about = file.metadata().ok()?;
    Some((about.modified().ok()?, about.len()))
}

fn refused(hook: &'static str, message: &str, detail: String) -> GitError {
    GitError::CommitRefused {
        hook,
        subject: message.lines().next().unwrap_or_default().to_owned(),
        detail,
    }
}
