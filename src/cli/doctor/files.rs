//! Files of the runs' folders: set aside, half written, of runs that never began, open to
//! others, of a newer version.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::finding::{Finding, MOMENT, Scene, age, quoted, remove_file};
use crate::core::record::Record;
use crate::store::journal;
use crate::store::layout::RunDir;
use crate::store::lock::{self, Lock};

/// A folder without a plan that is younger may be about to get one.
const HALF_MADE: Duration = Duration::from_secs(60 * 60);

/// How deep files of a run's folder are looked for: inboxes are folders in it.
const DEPTH: usize = 2;

pub(super) fn find(scene: &Scene) -> Vec<Finding> {
    let mut found = Vec::new();
    let root = scene.layout.root();
    half_written(root, 0, &mut found);
    half_written(&scene.layout.claims(), 0, &mut found);
    set_aside(root, 0, &mut found);
    set_aside(&scene.layout.claims(), 0, &mut found);
    for run in &scene.runs {
        half_written(run.dir(), DEPTH, &mut found);
        set_aside(run.dir(), DEPTH, &mut found);
        found.extend(open_to_others(
            run.dir(),
            0o007,
            0o700,
            "requests and raw streams",
        ));
        let environment = run.environment();
        if is_closed(run) && environment.exists() {
            found.push(old_environment(run));
        } else {
            found.extend(open_to_others(&environment, 0o077, 0o600, "the keys"));
        }
        found.extend(half_made(run));
    }
    found
}

/// The files of a folder and of those below it, as deep as that.
fn files(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                if entry.file_name().to_string_lossy().contains(".unreadable-") {
                    found.push(entry.path());
                } else if depth > 0 {
                    found.extend(files(&entry.path(), depth - 1));
                }
            }
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Temporary files of writes that were cut off. Nobody ever reads one.
fn half_written(folder: &Path, depth: usize, found: &mut Vec<Finding>) {
    let left: Vec<PathBuf> = files(folder, depth)
        .into_iter()
        .filter(|path| name(path).starts_with(".tmp-") && age(path).is_some_and(|a| a > MOMENT))
        .collect();
    for path in left {
        let finding = Finding::new(
            "half written",
            format!("{} was not written to its end", path.display()),
            "a process was killed while it wrote; the file that it was to replace is whole, and \
             this one only takes room",
            format!("rm {}", quoted(&path)),
        );
        found.push(finding.mended_by(move || {
            remove_file(&path)?;
            Ok("removed it".into())
        }));
    }
}

/// Files that could not be read and were set aside.
fn set_aside(folder: &Path, depth: usize, found: &mut Vec<Finding>) {
    for path in files(folder, depth) {
        let name = name(&path);
        let Some((original, _)) = name.split_once(".unreadable-") else {
            continue;
        };
        let bytes = path.symlink_metadata().map_or(0, |about| about.len());
        found.push(Finding::new(
            "set aside",
            format!(
                "{} could not be read when it was needed: {}, {bytes} bytes",
                path.display(),
                what_it_was(original)
            ),
            "it was put out of the way rather than overwritten; nothing reads it any more",
            format!("look at it; then rm -r {}", quoted(&path)),
        ));
    }
}

/// What a file of a run's folder is for, by its name.
fn what_it_was(name: &str) -> String {
    let of_task = |end: &str| {
        name.strip_prefix("instance-")
            .and_then(|rest| rest.strip_suffix(end))
    };
    if name == "journal.jsonl" {
        return "the last line of the journal, which was not written to its end".into();
    }
    if name == "environment.json" {
        return "the environment of the run".into();
    }
    for (end, what) in [
        (".status.json", "where it stands"),
        (".outcome.json", "how its last attempt ended"),
        (".launch.json", "the order for an attempt"),
        (".worktree.json", "that its worktree is complete"),
    ] {
        if let Some(task) = of_task(end) {
            return format!("of {task}, {what}");
        }
    }
    if name.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
        return "a request to a conductor or an instance".into();
    }
    format!("was {name}")
}

/// A folder or file that others may enter or read, or its owner may not use.
fn open_to_others(path: &Path, not: u32, needed: u32, what: &str) -> Option<Finding> {
    let mode = path.symlink_metadata().ok()?.permissions().mode() & 0o777;
    let right = (mode | needed) & !not;
    if mode == right {
        return None;
    }
    let why = if mode & not == 0 {
        "the run cannot go on where it cannot write".to_owned()
    } else {
        format!("whoever has an account here can read {what} in it")
    };
    let finding = Finding::new(
        "permissions",
        format!("{} has mode {mode:03o}", path.display()),
        why,
        format!("chmod {right:03o} {}", quoted(path)),
    );
    let path = path.to_owned();
    Some(finding.mended_by(move || {
        fs::set_permissions(&path, Permissions::from_mode(right)).map_err(|e| e.to_string())?;
        Ok(format!("it has mode {right:03o} now"))
    }))
}

fn is_closed(run: &RunDir) -> bool {
    journal::read(&run.journal())
        .is_ok_and(|lines| lines.last().is_some_and(|l| l.entry == Record::Closed))
}

/// The environment of a run that is closed, and whose conductor was killed just then.
fn old_environment(run: &RunDir) -> Finding {
    let path = run.environment();
    let finding = Finding::new(
        "environment",
        format!("{} is there, and the run is closed", path.display()),
        "it may hold keys, and nobody needs it any more",
        format!("rm {}", quoted(&path)),
    );
    let run = run.clone();
    finding.mended_by(move || {
        // Somebody may take the run up just now.
        let lock = Lock::try_take(&run.conductor_lock()).map_err(|e| e.to_string())?;
        if lock.is_none() || !is_closed(&run) {
            return Ok("the run goes on, and needs it".into());
        }
        remove_file(&run.environment())?;
        Ok("removed it".into())
    })
}

/// A run's folder in which nothing ever came to be.
fn half_made(run: &RunDir) -> Option<Finding> {
    let is_empty = |run: &RunDir| {
        let something = [run.settings(), run.plan(), run.journal()];
        !something.iter().any(|path| path.symlink_metadata().is_ok())
    };
    let locks = |run: &RunDir| [run.start_lock(), run.analysis_lock(), run.conductor_lock()];
    let is_busy = locks(run).iter().any(|path| lock::may_be_held(path));
    if is_busy || !is_empty(run) || age(run.dir()).is_none_or(|age| age < HALF_MADE) {
        return None;
    }
    let finding = Finding::new(
        "half made",
        format!("{} holds neither a plan nor a run", run.dir().display()),
        "what was to make it was killed; it only stands in the list of runs",
        format!("rm -r {}", quoted(run.dir())),
    );
    if run.request().symlink_metadata().is_ok() {
        // What a person wrote is a person's to throw away.
        return Some(Finding {
            remedy: format!(
                "orchestra plan --orchestration {} plans the request in it; or {}",
                run.id(),
                finding.remedy
            ),
            ..finding
        });
    }
    let run = run.clone();
    Some(finding.mended_by(move || {
        // Held until it is gone, so that nobody begins in it meanwhile.
        let mut held = Vec::new();
        for path in locks(&run) {
            held.extend(Lock::try_take(&path).map_err(|e| e.to_string())?);
        }
        if held.len() < locks(&run).len() || !is_empty(&run) {
            return Ok("it became a run meanwhile".into());
        }
        fs::remove_dir_all(run.dir()).map_err(|e| e.to_string())?;
        Ok("removed it".into())
    }))
}
