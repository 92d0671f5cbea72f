//! The person's hooks that have a say in commits which are made without a checkout.

use super::error::GitError;
use super::repo::Repo;
use crate::core::id::Oid;

impl Repo {
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

fn refused(hook: &'static str, message: &str, detail: String) -> GitError {
    GitError::CommitRefused {
        hook,
        subject: message.lines().next().unwrap_or_default().to_owned(),
        detail,
    }
}
