//! Filling the submodules of a new worktree from what the main checkout has, without
//! the network and without changing the person's configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::Git;
use super::error::GitError;
use super::library;
use super::plumbing::parts;
use super::repo::{Backend, Repo};
use super::worktree::git_dir_of;
use crate::core::id::Oid;

const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What became of the submodules of a worktree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmoduleReport {
    /// Paths of the submodules that are filled.
    pub filled: Vec<String>,
    /// Paths of those that are not, each with the reason.
    pub left_empty: Vec<(String, String)>,
}

struct Module {
    name: String,
    path: String,
}

impl Repo {
    /// Whether a commit declares submodules.
    ///
    /// # Errors
    /// [`GitError::Missing`] when it is not a commit here.
    pub fn has_submodules(&self, commit: &Oid) -> Result<bool, GitError> {
        Ok(self.read_file(commit, ".gitmodules")?.is_some())
    }

    /// Fills the submodules of a worktree, nested ones too, from the copies that the
    /// main checkout has. Those that the main checkout does not have stay empty, as
    /// they are there. Best effort: the report says what was not possible.
    ///
    /// # Errors
    /// When the list of submodules cannot be read.
    pub fn init_submodules(&self, worktree: &Path) -> Result<SubmoduleReport, GitError> {
        let mut report = SubmoduleReport::default();
        let modules = self.common_dir().join("modules");
        fill(worktree, "", &modules, &mut report)?;
        Ok(report)
    }
}

impl Repo {
    /// Repositories inside a worktree that go with it and hold commits which exist nowhere
    /// else: neither at a remote, as far as they know, nor in the copy that the main checkout
    /// has. Named by the paths or names of the submodules.
    ///
    /// Those that git neither tracks nor ignores are in [`Repo::status`]; those in ignored
    /// folders are not looked for. The index is asked only when it may hold `gitlinks`.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn own_commits_inside(
        &self,
        worktree: &Path,
        gitlinks: bool,
    ) -> Result<Vec<String>, GitError> {
        let mut found = Vec::new();
        // Submodules keep their repositories in the worktree's own git folder.
        let modules = git_dir_of(worktree)?.join("modules");
        let mut todo = vec![PathBuf::new()];
        while let Some(below) = todo.pop() {
            let folder = modules.join(&below);
            if folder.join("HEAD").is_file() {
                let copy = self.common_dir().join("modules").join(&below);
                if has_own_commits(&folder, Some(&copy))? {
                    found.push(below.display().to_string());
                }
                todo.push(below.join("modules"));
                continue;
            }
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    todo.push(below.join(entry.file_name()));
                }
            }
        }
        if gitlinks {
            self.made_in_place(worktree, &mut found)?;
        }
        found.sort();
        Ok(found)
    }

    /// One that was made in place has its repository in itself.
    fn made_in_place(&self, worktree: &Path, found: &mut Vec<String>) -> Result<(), GitError> {
        let index = Git::at(worktree)
            .args(["ls-files", "-z", "--stage", "--full-name", "--", ":/"])
            .run()?;
        for entry in parts(&index.stdout).filter(|entry| entry.starts_with(b"160000 ")) {
            let Some(tab) = entry.iter().position(|b| *b == b'\t') else {
                continue;
            };
            let name = super::repo::path(entry.get(tab + 1..).unwrap_or_default());
            let inner = worktree.join(&name).join(".git");
            let in_place = inner.symlink_metadata().is_ok_and(|about| about.is_dir());
            if in_place && has_own_commits(&inner, None)? {
                found.push(name.display().to_string());
            }
        }
        Ok(())
    }

    /// Whether a commit holds repositories as git tracks them, declared as submodules or not.
    /// Yes as well when that cannot be told without asking git.
    ///
    /// # Errors
    /// [`GitError::Missing`] when it is not a commit here.
    pub fn has_gitlinks(&self, commit: &Oid) -> Result<bool, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::has_gitlinks(r, commit)),
            Backend::Command => Ok(true),
        }
    }

    /// Whether a commit holds repositories that another one does not hold just so. Yes as
    /// well when that cannot be told without asking git.
    ///
    /// # Errors
    /// [`GitError::Missing`] when one of them is not a commit here.
    pub fn adds_gitlinks(&self, from: &Oid, to: &Oid) -> Result<bool, GitError> {
        match self.backend() {
            Backend::Library => self.library(|r| library::adds_gitlinks(r, from, to)),
            Backend::Command => Ok(true),
        }
    }
}

/// Whether a repository has commits, stashed ones too, that no remote has as far as it knows,
/// and that the copy does not have either.
fn has_own_commits(git_dir: &Path, copy: Option<&Path>) -> Result<bool, GitError> {
    let inside = |folder: &Path| Git::at(folder).arg("--git-dir=.");
    let born = inside(git_dir)
        .args(["rev-parse", "-q", "--verify", "HEAD^{commit}"])
        .output()?
        .success();
    let own = inside(git_dir)
        .args(["rev-list", "--all"])
        .args(born.then_some("HEAD"))
        // Its own `HEAD` is a file here as well.
        .args(["--not", "--remotes", "--"])
        .run()?;
    if own.stdout.is_empty() {
        return Ok(false);
    }
    let Some(copy) = copy.filter(|copy| copy.join("HEAD").is_file()) else {
        return Ok(true);
    };
    let known = inside(copy)
        .args(["cat-file", "--batch-check"])
        .input(own.stdout)
        .run()?;
    Ok(known.text().lines().any(|line| line.ends_with(" missing")))
}

fn fill(
    checkout: &Path,
    prefix: &str,
    modules: &Path,
    report: &mut SubmoduleReport,
) -> Result<(), GitError> {
    for module in declared(checkout)? {
        let shown = format!("{prefix}{}", module.path);
        let copy = modules.join(&module.name);
        if !copy.join("HEAD").exists() {
            let reason = "the main checkout does not have it either".to_owned();
            report.left_empty.push((shown, reason));
            continue;
        }
        match fill_one(checkout, &module, &copy) {
            Ok(()) => {
                report.filled.push(shown.clone());
                let inner = checkout.join(&module.path);
                fill(&inner, &format!("{shown}/"), &copy.join("modules"), report)?;
            }
            Err(error) => report.left_empty.push((shown, error.to_string())),
        }
    }
    Ok(())
}

fn fill_one(checkout: &Path, module: &Module, copy: &Path) -> Result<(), GitError> {
    let origin = Git::at(copy)
        .arg("--git-dir=.")
        .args(["config", "--get", "remote.origin.url"])
        .output()?;
    // Given on the command line, neither the address nor "active" is written into the
    // configuration that all worktrees share.
    let mut address = std::ffi::OsString::from(format!("submodule.{}.url=", module.name));
    address.push(copy);
    Git::at(checkout)
        .timeout(TIMEOUT)
        .arg("-c")
        .arg(address)
        .args([
            "-c",
            "submodule.active=.",
            "-c",
            "protocol.file.allow=always",
        ])
        .args([
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--checkout",
            "--",
        ])
        .arg(&module.path)
        .run()?;
    // A push from in there must not go to the person's copy.
    let inner = checkout.join(&module.path);
    if origin.success() && git_dir_of(&inner)? != git_dir_of(checkout)? {
        Git::at(&inner)
            .args(["config", "remote.origin.url", &origin.text()])
            .run()?;
    }
    Ok(())
}

/// The submodules that `.gitmodules` of a checkout declares.
fn declared(checkout: &Path) -> Result<Vec<Module>, GitError> {
    if !checkout.join(".gitmodules").is_file() {
        return Ok(Vec::new());
    }
    let output = Git::at(checkout)
        .args(["config", "--file", ".gitmodules", "-z"])
        .args(["--get-regexp", r"^submodule\..*\.path$"])
        .output()?;
    let mut modules = Vec::new();
    for entry in parts(&output.stdout) {
        let entry = String::from_utf8_lossy(entry);
        let Some((key, path)) = entry.split_once('\n') else {
            continue;
        };
        let name = key
            .strip_prefix("submodule.")
            .and_then(|rest| rest.strip_suffix(".path"));
        if let Some(name) = name.filter(|n| is_plain(n) && is_plain(path)) {
            modules.push(Module {
                name: name.to_owned(),
                path: path.to_owned(),
            });
        }
    }
    Ok(modules)
}

/// Names come from a commit: none leads out of the folder that it is joined to.
fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && PathBuf::from(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
}
