//! A new repository for demonstrations.

use std::fs;
use std::path::Path;

use super::command::Git;
use super::error::GitError;
use super::objects::Identity;
use super::repo::Repo;

impl Repo {
    /// Makes a repository with one commit on `main` that holds these files (path and text) in
    /// a folder that is empty or missing. A file whose text starts with `#!` is executable.
    ///
    /// # Errors
    /// When the folder is occupied or cannot be written, or git fails.
    pub fn create(folder: &Path, files: &[(&str, &str)], message: &str) -> Result<Self, GitError> {
        let failed = |e: std::io::Error| GitError::io("creating", folder, &e);
        fs::create_dir_all(folder).map_err(failed)?;
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            return Err(GitError::PathOccupied {
                path: folder.to_owned(),
            });
        }
        for (path, text) in files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            fs::write(&path, text).map_err(failed)?;
            if text.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
            }
        }
        let git = |args: &[&str]| Git::at(folder).args(args).run();
        git(&["init", "--quiet", "--initial-branch=main"])?;
        let repo = Self::discover(folder)?;
        if repo.person()?.is_none() {
            // Only in this new repository: the person has told git no name.
            let identity = Identity::orchestra();
            git(&["config", "user.name", &identity.name])?;
            git(&["config", "user.email", &identity.email])?;
        }
        git(&["add", "--all"])?;
        git(&["commit", "--quiet", "--no-verify", "-m", message])?;
        Ok(repo)
    }
}
