//! Where a hook is, found without starting git: hooks run often, and mostly for nothing.

use std::path::{Path, PathBuf};

use crate::core::id::{OrchestrationId, TaskName};
use crate::store::layout::{Layout, RunDir};

/// The main checkout of the repository that a folder is in, as far as plain files tell. None
/// where there is no repository, or a rare kind of one; then git has to be asked.
#[must_use]
pub fn main_checkout(start: &Path) -> Option<PathBuf> {
    let top = start.ancestors().find(|dir| dir.join(".git").exists())?;
    let dot_git = top.join(".git");
    if dot_git.is_dir() {
        return Some(top.to_owned());
    }
    let text = std::fs::read_to_string(&dot_git).ok()?;
    let folder = top.join(
        text.strip_prefix("gitdir: ")?
            .trim_end_matches(['\n', '\r']),
    );
    // A linked worktree says where the shared folder is; a submodule does not.
    let Ok(common) = std::fs::read_to_string(folder.join("commondir")) else {
        return Some(top.to_owned());
    };
    let common = folder.join(common.trim_end()).canonicalize().ok()?;
    (common.file_name()? == ".git").then(|| common.parent().map(Path::to_owned))?
}

/// The orchestrations of the repository that a folder is in, if there are any.
#[must_use]
pub fn layout(start: &Path) -> Option<(PathBuf, Layout)> {
    let main = main_checkout(start)?;
    let layout = Layout::new(&main);
    layout.root().is_dir().then_some((main, layout))
}

/// Which instance a process belongs to, by the marker in its environment
/// (`TOKEN/ORCHESTRATION/TASK`).
#[must_use]
pub fn instance(mark: &str) -> Option<(OrchestrationId, TaskName)> {
    let mut parts = mark.splitn(3, '/').skip(1);
    let id = OrchestrationId::parse(parts.next()?).ok()?;
    let task = TaskName::parse(parts.next()?).ok()?;
    Some((id, task))
}

/// The folder of an orchestration that exists.
#[must_use]
pub fn run(start: &Path, id: &OrchestrationId) -> Option<(PathBuf, RunDir)> {
    let (main, layout) = layout(start)?;
    let run = layout.run(id);
    run.dir().is_dir().then_some((main, run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_checkout_is_found_from_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let git = root.join("main/.git");
        std::fs::create_dir_all(git.join("worktrees/x")).unwrap();
        std::fs::create_dir_all(root.join("main/a/b")).unwrap();
        std::fs::create_dir_all(root.join("trees/x/deep")).unwrap();
        std::fs::write(git.join("worktrees/x/commondir"), "../..\n").unwrap();
        let link = format!("gitdir: {}\n", git.join("worktrees/x").display());
        std::fs::write(root.join("trees/x/.git"), link).unwrap();
        let main = root.join("main");
        for folder in ["main", "main/a/b", "trees/x", "trees/x/deep"] {
            assert_eq!(
                main_checkout(&root.join(folder)),
                Some(main.clone()),
                "{folder}"
            );
        }
        assert_eq!(main_checkout(Path::new("/")), None);
        assert!(layout(&main).is_none());
    }

    #[test]
    fn markers_name_the_instance() {
        let (id, task) = instance("token/run-1/user-auth").unwrap();
        assert_eq!((id.as_str(), task.as_str()), ("run-1", "user-auth"));
        for mark in ["", "token", "token/run-1", "token/../x", "t/a/../b"] {
            assert!(instance(mark).is_none(), "{mark}");
        }
    }
}
