//! Filling the submodules of a new worktree from what the main checkout has, without
//! the network and without changing the person's configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::Git;
use super::error::GitError;
use super::plumbing::parts;
use super::repo::Repo;
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
