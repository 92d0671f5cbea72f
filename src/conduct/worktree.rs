//! Making a task's worktree ready, so that an interrupted making is noticed and done anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::core::id::{BranchName, Oid, TaskName};
use crate::core::record::Place;
use crate::format::SCHEMA_VERSION;
use crate::git::{BackupKind, GitError, Repo, WorktreeSpec};
use crate::store::atomic::{self, Durability};
use crate::store::layout::{Layout, RunDir};

use super::prepare::StartError;

/// From this age on a lock on a task's branch is taken for left behind.
const LEFT_LOCK_AGE: Duration = Duration::from_secs(4);

/// How long a git that nobody waits for any more may go on filling a worktree's folder.
const LEFT_FOLDER_PATIENCE: Duration = Duration::from_secs(10);

/// The tools that the guard is asked about: those that write, or that run something.
const GUARDED: &str = "Bash|PowerShell|Monitor|REPL|Edit|Write|MultiEdit|NotebookEdit|\
                       EnterWorktree|ExitWorktree|Agent|Task|mcp__.*";

/// The client's own settings file in a worktree.
const LOCAL_SETTINGS: &str = ".claude/settings.local.json";

/// Lines for `info/exclude` that keep this program's files out of every commit.
pub const EXCLUDED: [&str; 2] = ["/.claude/orchestration/", "/.claude/settings.local.json"];

/// The folder beside the worktrees that holds the instances' folders for temporary files.
const SCRATCH: &str = ".scratch";

/// The folder for temporary files of the instance that works in a worktree: beside it, so that
/// it is on the same disk and goes by no name that another instance could use.
#[must_use]
pub fn scratch_folder(worktree: &Path) -> PathBuf {
    let name = worktree.file_name().unwrap_or_default();
    worktree.with_file_name(SCRATCH).join(name)
}

/// Makes that folder.
///
/// # Errors
/// When the disk refuses.
pub fn make_scratch(worktree: &Path) -> Result<PathBuf, StartError> {
    let folder = scratch_folder(worktree);
    match fs::create_dir_all(&folder) {
        Ok(()) => Ok(folder),
        Err(source) => Err(StartError::Io {
            action: "create",
            path: folder.display().to_string(),
            source,
        }),
    }
}

/// Takes that folder away, once its worktree is gone.
pub fn remove_scratch(worktree: &Path) {
    let folder = scratch_folder(worktree);
    if worktree.symlink_metadata().is_err() && fs::remove_dir_all(&folder).is_ok() {
        // The last one takes the folder of all of them along.
        let _ = folder.parent().map(fs::remove_dir);
    }
}

/// `instance-TASK.worktree.json`: written once a worktree is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadyFile {
    schema_version: u32,
    place: Place,
    /// The settings file to hand to the agent, when the worktree cannot hold its own.
    settings: Option<PathBuf>,
}

/// What an instance may do, for its settings file.
#[derive(Debug, Clone)]
pub struct Rights<'a> {
    /// Rules of what it may do without asking.
    pub allow: &'a [String],
    /// Rules of what it may not do.
    pub deny: &'a [String],
    /// The guard's program, when it is installed beside this one.
    pub guard: Option<PathBuf>,
    /// The heartbeat's program, when it is installed beside this one.
    pub heartbeat: Option<PathBuf>,
    /// How long the verify command may take, seconds: the end of a person's turn may run it.
    pub command_timeout_seconds: u64,
    /// The person's main checkout.
    pub main: &'a Path,
}

/// Makes the worktree of a task, or takes the one that is there. Returns the settings file to
/// hand to the agent, if it needs one.
///
/// A worktree is complete once its ready file is written. One without it was interrupted in
/// the making: nobody has worked in it, and it is made anew. Should it hold changes all the
/// same, they are kept in a backup ref; should it hold commits, it is left alone and reported.
///
/// # Errors
/// When git fails, or something that is not ours is in the way.
pub fn make_ready(
    repo: &Repo,
    run: &RunDir,
    task: &TaskName,
    place: &Place,
    rights: &Rights<'_>,
) -> Result<Option<PathBuf>, StartError> {
    make_scratch(&place.worktree)?;
    let ready = run.worktree_ready(task);
    let known: Option<ReadyFile> = atomic::read_json(&ready, "a worktree's ready file")?;
    if let Some(file) = known
        && file.place == *place
        && place.worktree.join(".git").exists()
    {
        return Ok(file.settings);
    }
    let commit = match make(repo, run, task, place) {
        Err(StartError::Git(_))
            if clear_left_lock(repo, &place.branch) || clear_left_folder(repo, place) =>
        {
            make(repo, run, task, place)?
        }
        other => other?,
    };
    if repo.has_submodules(&place.base)? {
        // Best effort: what could not be filled without the network stays empty, as it would
        // in a worktree made by hand.
        repo.init_submodules(&place.worktree)?;
    }
    repo.copy_included(&place.worktree)?;
    // What the index of the new worktree holds is what its commit holds.
    let tracked = repo.read_file(&commit, LOCAL_SETTINGS)?.is_some();
    let settings = write_settings(run, task, &place.worktree, tracked, rights)?;
    let file = ReadyFile {
        schema_version: SCHEMA_VERSION,
        place: place.clone(),
        settings: settings.clone(),
    };
    atomic::write_json(
        &ready,
        "a worktree's ready file",
        &file,
        Durability::Durable,
    )?;
    Ok(settings)
}

/// The task of which a folder is the worktree, as the runs say that made one.
#[must_use]
pub fn owner(layout: &Layout, folder: &Path) -> Option<(RunDir, TaskName)> {
    let real = folder.canonicalize().ok()?;
    layout.runs().into_iter().rev().find_map(|run| {
        let files = fs::read_dir(run.dir()).ok()?;
        let task = files.flatten().find_map(|entry| {
            let name = entry.file_name();
            let task = name
                .to_str()?
                .strip_prefix("instance-")?
                .strip_suffix(".worktree.json")?;
            let known: ReadyFile = atomic::peek_json(&entry.path())?;
            let own = known.place.worktree.canonicalize().ok()?;
            (own == real).then(|| TaskName::parse(task).ok())?
        })?;
        Some((run, task))
    })
}

/// Makes the worktree and its branch, after what an interrupted making left is cleared. Returns
/// the commit that it is at.
fn make(repo: &Repo, run: &RunDir, task: &TaskName, place: &Place) -> Result<Oid, StartError> {
    clear_unfinished(repo, run, task, place)?;
    let tip = repo.branch_tip(&place.branch)?;
    if let Some(folder) = place.worktree.parent() {
        fs::create_dir_all(folder).map_err(|source| StartError::Io {
            action: "create",
            path: folder.display().to_string(),
            source,
        })?;
    }
    if tip.is_some() {
        repo.worktree_attach(&place.worktree, &place.branch)?;
    } else {
        repo.worktree_add(&WorktreeSpec {
            path: place.worktree.clone(),
            branch: Some(place.branch.clone()),
            at: place.base.clone(),
        })?;
    }
    Ok(tip.unwrap_or_else(|| place.base.clone()))
}

/// Waits for the lock on the task's own branch to go, and removes it when a git that was killed
/// left it; false when there is none, or it stays. Git holds such a lock for milliseconds, and
/// this branch is claimed by this run: one that is older has nobody who will ever remove it.
fn clear_left_lock(repo: &Repo, branch: &BranchName) -> bool {
    let lock = repo
        .common_dir()
        .join(format!("{}.lock", branch.full_ref()));
    if lock.symlink_metadata().is_err() {
        return false;
    }
    let deadline = Instant::now() + LEFT_LOCK_AGE;
    while Instant::now() < deadline {
        let Ok(about) = lock.symlink_metadata() else {
            return true;
        };
        let age = about.modified().ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age >= LEFT_LOCK_AGE) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::remove_file(&lock).is_ok()
}

/// Takes away the folder of a worktree that is none (any more); false when there is none, or it
/// holds what is not of the commit. A git that a killed conductor started goes on checking out
/// for a while, also after its worktree was removed.
fn clear_left_folder(repo: &Repo, place: &Place) -> bool {
    let folder = &place.worktree;
    if folder.symlink_metadata().is_err() {
        return false;
    }
    let registered = || {
        let worktrees = repo.worktrees().unwrap_or_default();
        worktrees.iter().any(|w| w.path == *folder)
    };
    let deadline = Instant::now() + LEFT_FOLDER_PATIENCE;
    while Instant::now() < deadline {
        if folder.symlink_metadata().is_err() || registered() {
            return true;
        }
        if holds_only(repo, &place.base, folder, Path::new(""))
            && fs::remove_dir_all(folder).is_ok()
        {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Whether a folder holds nothing but (some of) the files of a commit.
fn holds_only(repo: &Repo, commit: &Oid, top: &Path, below: &Path) -> bool {
    let Ok(entries) = fs::read_dir(top.join(below)) else {
        return false;
    };
    entries.flatten().all(|entry| {
        let path = below.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => holds_only(repo, commit, top, &path),
            // The link to the records of a worktree.
            Ok(_) if path == Path::new(".git") => true,
            Ok(kind) => {
                let there = if kind.is_symlink() {
                    fs::read_link(entry.path())
                        .map(|target| target.into_os_string().into_encoded_bytes())
                } else {
                    fs::read(entry.path())
                };
                let known = path
                    .to_str()
                    .and_then(|path| repo.read_file(commit, path).ok().flatten());
                matches!((there, known), (Ok(there), Some(known)) if there == known)
            }
            Err(_) => false,
        }
    })
}

/// Takes away what an interrupted making left: a worktree without work, a branch that is
/// still at its base. A branch with commits stays and is attached again.
fn clear_unfinished(
    repo: &Repo,
    run: &RunDir,
    task: &TaskName,
    place: &Place,
) -> Result<(), StartError> {
    let registered = if repo.may_be_registered(&place.worktree) {
        repo.worktrees()?
            .into_iter()
            .find(|w| w.path == place.worktree)
    } else {
        None
    };
    let tip = repo.branch_tip(&place.branch)?;
    // A worktree that was made before its dependencies were done is still at an older base.
    let untouched = match &tip {
        Some(tip) => repo.is_ancestor(tip, &place.base)?,
        None => true,
    };
    if let Some(registered) = registered {
        // Gone: somebody deleted it. What was committed is on the branch, which is attached again.
        let gone = is_gone(&registered.path);
        if !gone && (!untouched || !is_kept(repo, run, task, place, tip.as_ref())) {
            return Err(StartError::Other(format!(
                "the worktree {} was not made ready by this run, but its branch {} holds work; \
                 look at it, and remove it with `git worktree remove` when it is not needed",
                place.worktree.display(),
                place.branch
            )));
        }
        repo.worktree_remove(&place.worktree, true)?;
    }
    if let Some(tip) = tip
        && untouched
    {
        repo.delete_ref(&place.branch.full_ref(), &tip)?;
    }
    Ok(())
}

/// Makes sure that nothing is lost with an unfinished worktree; false when that cannot be told.
///
/// In an interrupted checkout files are missing, and with them perhaps the index, so that all
/// that are there look new. Only what differs from the commit is: that goes into a backup ref.
fn is_kept(repo: &Repo, run: &RunDir, task: &TaskName, place: &Place, tip: Option<&Oid>) -> bool {
    let message = format!("What the unfinished worktree of {task} held");
    let keep = || -> Result<(), GitError> {
        let Some(work) = repo.snapshot(&place.worktree, &message)? else {
            return Ok(());
        };
        let changed = repo.changed_paths(tip.unwrap_or(&place.base), &work)?;
        let is_there = |path: &String| place.worktree.join(path).symlink_metadata().is_ok();
        if changed.iter().any(is_there) {
            repo.backup(run.id(), task, BackupKind::Snapshot, &work)?;
        }
        Ok(())
    };
    keep().is_ok()
}

/// Whether nothing is left of a worktree but perhaps its folder and the link in it.
fn is_gone(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().all(|entry| entry.file_name() == ".git"),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The worktree's own settings: what the instance may do, and the guard in front of it.
fn write_settings(
    run: &RunDir,
    task: &TaskName,
    worktree: &Path,
    tracked: bool,
    rights: &Rights<'_>,
) -> Result<Option<PathBuf>, StartError> {
    let scratch = scratch_folder(worktree);
    let mut settings = json!({
        "permissions": {
            "allow": rights.allow,
            "deny": rights.deny,
            // Else the client asks about every file there.
            "additionalDirectories": [&scratch],
        },
    });
    if let Some(guard) = &rights.guard {
        settings["hooks"] = json!({
            "PreToolUse": [{
                "matcher": GUARDED,
                "hooks": [{
                    "type": "command",
                    "command": guard,
                    "args": [
                        "--worktree", worktree, "--main", rights.main, "--scratch", &scratch,
                    ],
                    "timeout": 10,
                    "onFailure": "block",
                }],
            }],
        });
    }
    if let Some(heartbeat) = &rights.heartbeat {
        for (event, hook) in watching(run, task, heartbeat, rights) {
            settings["hooks"][event] = json!([{ "hooks": [hook] }]);
        }
    }
    let own = worktree.join(LOCAL_SETTINGS);
    // A settings file that the repository tracks is part of the work and stays as it is; a
    // linked folder is somewhere else, and not ours to write in.
    let linked = own
        .parent()
        .is_some_and(|folder| folder.symlink_metadata().is_ok_and(|m| m.is_symlink()));
    let (path, hand_over) = if linked || tracked || own.exists() {
        let path = run.instance_settings(task);
        (path.clone(), Some(path))
    } else {
        (own, None)
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| StartError::Io {
            action: "create",
            path: folder.display().to_string(),
            source,
        })?;
    }
    atomic::write_json(
        &path,
        "the instance's settings",
        &settings,
        Durability::Volatile,
    )?;
    Ok(hand_over)
}

/// What tells of a session that a person talks to. In a headless instance each leaves at once.
/// Only events that every version of the client knows: one that is unknown may void them all.
fn watching(
    run: &RunDir,
    task: &TaskName,
    heartbeat: &Path,
    rights: &Rights<'_>,
) -> Vec<(&'static str, serde_json::Value)> {
    let hook = |timeout: u64| {
        json!({
            "type": "command",
            "command": heartbeat,
            "args": ["--main", rights.main, "--run", run.id(), "--task", task],
            "timeout": timeout,
        })
    };
    let mut stop = hook(rights.command_timeout_seconds.saturating_add(30));
    stop["statusMessage"] = json!("Orchestra looks at the evidence");
    vec![
        ("SessionStart", hook(10)),
        ("UserPromptSubmit", hook(10)),
        ("PostToolUse", hook(10)),
        ("Stop", stop),
        ("SessionEnd", hook(10)),
    ]
}

/// Whether a folder can hold worktrees: outside the main checkout, so that the person's
/// tools do not scan them and rules that protect the checkout do not catch them.
///
/// # Errors
/// A sentence that says why not.
pub fn check_folder(repo: &Repo, folder: &Path) -> Result<(), String> {
    if !folder.is_absolute() {
        return Err(format!("{} is not an absolute path", folder.display()));
    }
    let resolved = resolve_existing(folder);
    for (inside, what) in [
        (repo.root().to_owned(), "the main checkout"),
        (repo.common_dir().to_owned(), "the repository's own folder"),
    ] {
        let inside = inside.canonicalize().unwrap_or(inside);
        if resolved.starts_with(&inside) {
            return Err(format!(
                "the worktree folder {} is inside {what} ({}); choose one outside with --worktree-dir",
                folder.display(),
                inside.display()
            ));
        }
    }
    Ok(())
}

/// The path with its existing part resolved.
#[must_use]
pub fn resolve_existing(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut there = path;
    loop {
        if let Ok(real) = there.canonicalize() {
            return rest
                .iter()
                .rev()
                .fold(real, |p: PathBuf, part| p.join(part));
        }
        match (there.parent(), there.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name.to_owned());
                there = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// The default folder for worktrees: beside the main checkout.
///
/// # Errors
/// When the checkout is the root of the file system.
pub fn default_folder(repo: &Repo) -> Result<PathBuf, GitError> {
    let root = repo.root();
    let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else {
        return Err(GitError::NotAbsolute {
            path: root.to_owned(),
        });
    };
    let mut folder = name.to_owned();
    folder.push(".worktrees");
    Ok(parent.join(folder))
}
