//! Creating a run: everything is checked before anything is made.

use std::fs;
use std::path::{Path, PathBuf};

use crate::core::id::{BranchName, Oid, OrchestrationId};
use crate::core::plan::ValidPlan;
use crate::core::time::Timestamp;
use crate::format::plan_file;
use crate::format::settings_file::SettingsFile;
use crate::git::{GitError, Head, Repo};
use crate::store::atomic::{self, Durability};
use crate::store::layout::{Layout, RunDir};
use crate::store::{StoreError, lock};

use super::worktree::{self, EXCLUDED};

/// Why a run cannot be created. Nothing was made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CreateError {
    #[error(
        "the repository has no commit yet: commit something first (`git add -A && git commit`), \
         since tasks start from a commit"
    )]
    Unborn,
    #[error(
        "HEAD is detached at {}: say with --base-branch which branch the results go to",
        .0.short()
    )]
    Detached(Oid),
    #[error("there is no branch {0}: `git branch` lists those there are")]
    NoBranch(BranchName),
    #[error(
        "the tasks {one} and {other} name different base branches; results are delivered to one: \
         run them as separate orchestrations, or say which with --base-branch"
    )]
    TwoBases { one: String, other: String },
    #[error("{0}")]
    Folder(String),
    #[error("the branch `task` exists, so that no branch task/NAME can be made: rename it first")]
    TaskBranch,
    #[error("the orchestration {0} was started already; `orchestra status` shows it")]
    Started(OrchestrationId),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a run's results go and where its tasks start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The branch.
    pub branch: BranchName,
    /// Its tip.
    pub commit: Oid,
}

/// Finds the base: the branch that was asked for, else the one that all tasks name, else the
/// one that is checked out where the person stands.
///
/// # Errors
/// When there is none, or the repository has no commit.
pub fn base(
    repo: &Repo,
    start: &Path,
    wanted: Option<&BranchName>,
    plan: &ValidPlan,
) -> Result<Base, CreateError> {
    let named = plan_base(plan)?;
    let branch = match wanted.cloned().or(named) {
        Some(branch) => branch,
        None => match repo.head_at(start)? {
            Head::Branch { name, .. } => name,
            Head::Unborn { .. } => return Err(CreateError::Unborn),
            Head::Detached { oid } => return Err(CreateError::Detached(oid)),
        },
    };
    match repo.branch_tip(&branch)? {
        Some(commit) => Ok(Base { branch, commit }),
        None if matches!(repo.head()?, Head::Unborn { .. }) => Err(CreateError::Unborn),
        None => Err(CreateError::NoBranch(branch)),
    }
}

fn plan_base(plan: &ValidPlan) -> Result<Option<BranchName>, CreateError> {
    let mut found: Option<(&str, &BranchName)> = None;
    for task in plan.tasks() {
        let Some(branch) = &task.base_branch else {
            continue;
        };
        match found {
            Some((one, known)) if known != branch => {
                return Err(CreateError::TwoBases {
                    one: one.to_owned(),
                    other: task.name.to_string(),
                });
            }
            _ => found = Some((task.name.as_str(), branch)),
        }
    }
    Ok(found.map(|(_, branch)| branch.clone()))
}

/// Checks that worktrees and branches can be made at all.
///
/// # Errors
/// What is in the way.
pub fn check_room(repo: &Repo, worktree_dir: &Path) -> Result<(), CreateError> {
    worktree::check_folder(repo, worktree_dir).map_err(CreateError::Folder)?;
    check_place(Layout::new(repo.root()).root()).map_err(CreateError::Folder)?;
    check_place(worktree_dir).map_err(CreateError::Folder)?;
    if let Ok(task) = BranchName::parse("task")
        && repo.branch_tip(&task)?.is_some()
    {
        return Err(CreateError::TaskBranch);
    }
    Ok(())
}

/// Whether a folder is there or can be made, and files in it.
fn check_place(folder: &Path) -> Result<(), String> {
    use rustix::fs::{Access, access};
    if folder.to_str().is_none() {
        return Err(format!(
            "the path {} is not UTF-8 text, so that plans and status files could not name it; \
             rename the folder",
            folder.display()
        ));
    }
    let there = folder
        .ancestors()
        .find(|place| place.symlink_metadata().is_ok())
        .unwrap_or(folder);
    let why = if !there.is_dir() {
        "it is not a folder".to_owned()
    } else if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
        error.to_string()
    } else {
        return Ok(());
    };
    Err(format!(
        "{} is needed and cannot be used: {}: {why}",
        folder.display(),
        there.display()
    ))
}

/// A new id: the time, and a random end so that two runs started in one second differ.
#[must_use]
pub fn new_id(now: Timestamp) -> OrchestrationId {
    let (random, ..) = uuid::Uuid::new_v4().as_fields();
    OrchestrationId::of_time(now, random)
}

/// Makes a run's folder, or takes the one that a hook made with the request. Idempotent.
///
/// # Errors
/// When it cannot be made, or `info/exclude` cannot be written.
pub fn open_workspace(
    repo: &Repo,
    id: &OrchestrationId,
    request: Option<&str>,
) -> Result<RunDir, CreateError> {
    let layout = Layout::new(repo.root());
    let run = layout.run(id);
    // First: a folder that shows up in `git status` for an instant could be committed.
    repo.exclude(&EXCLUDED)?;
    private_folder(layout.root())?;
    private_folder(run.dir())?;
    fs::create_dir_all(run.inbox()).map_err(StoreError::io("create", run.inbox()))?;
    fs::create_dir_all(layout.claims()).map_err(StoreError::io("create", layout.claims()))?;
    if let Some(request) = request
        && !run.request().exists()
    {
        atomic::write(&run.request(), request.as_bytes(), Durability::Durable)?;
    }
    Ok(run)
}

/// Makes a folder that nobody but its owner may enter: requests and raw streams in it may hold
/// secrets. One that is there keeps the mode that it has.
fn private_folder(folder: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above).map_err(StoreError::io("create", above))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if !folder.is_dir() => Err(StoreError::io("create", folder)(error)),
        _ => Ok(()),
    }
}

/// Stores the plan of a run that is not started yet.
///
/// # Errors
/// When it was started already, or the file cannot be written.
pub fn store_plan(run: &RunDir, plan: &ValidPlan) -> Result<(), CreateError> {
    if run.settings().exists() {
        return Err(CreateError::Started(run.id().clone()));
    }
    let text = plan_file::write(plan);
    atomic::write(&run.plan(), text.as_bytes(), Durability::Durable)?;
    Ok(())
}

/// Makes the run startable: its settings are the last thing to be written, and a run with
/// settings is a started one.
///
/// # Errors
/// When it was started already, or the files cannot be written.
pub fn start(run: &RunDir, plan: &ValidPlan, settings: &SettingsFile) -> Result<(), CreateError> {
    // Of two processes that start the same run, one does.
    let _lock = lock::Lock::take(&run.start_lock())?;
    store_plan(run, plan)?;
    atomic::write_json(
        &run.settings(),
        "the run's settings",
        settings,
        Durability::Durable,
    )?;
    Ok(())
}

/// The folder of the machine's user for what is shared between runs: `XDG_STATE_HOME` or
/// `~/.local/state`, below it `orchestra`; the temporary folder when there is neither.
#[must_use]
pub fn state_dir(env: &crate::agent::environment::Environment) -> PathBuf {
    let absolute = |name: &str| {
        env.get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("orchestra")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_enter_a_private_folder_and_those_above_stay_open() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let above = dir.path().join(".claude");
        let folder = above.join("orchestration");
        private_folder(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        let plain = dir.path().join("plain");
        fs::create_dir(&plain).unwrap();
        assert_eq!(mode(&above), mode(&plain), "it is not ours alone");
        // A person's choice stays.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        private_folder(&folder).unwrap();
        assert_eq!(mode(&folder), 0o750);
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(private_folder(&dir.path().join("file")).is_err());
    }
}
