//! What instances learnt: the notes of a run and those of the repository.

use std::path::Path;
use std::time::Duration;

use super::atomic::{self, Durability};
use super::layout::{Layout, RunDir};
use super::lock::Lock;
use super::{StoreError, lock};
use crate::format::note_file::{NoteLine, parse, render};

/// The most notes of one run that are kept; the oldest go.
const MOST_OF_RUN: usize = 1000;
/// The same of a repository.
const MOST_OF_REPOSITORY: usize = 200;
/// How long a writer waits for another one: a write takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps a note of a run for the run and for the repository. Returns false when the run has it
/// already.
///
/// # Errors
/// When a file cannot be written.
pub fn keep(run: &RunDir, note: &NoteLine) -> Result<bool, StoreError> {
    let is_new = add(&run.notes(), note, MOST_OF_RUN)?;
    add(
        &Layout::new(run.main_checkout()).notes(),
        note,
        MOST_OF_REPOSITORY,
    )?;
    Ok(is_new)
}

/// The notes of a file, oldest first; none when it cannot be read.
#[must_use]
pub fn read(path: &Path) -> Vec<NoteLine> {
    std::fs::read(path)
        .map(|bytes| parse(&String::from_utf8_lossy(&bytes)))
        .unwrap_or_default()
}

/// Whether a note of this run has this text already is a matter of the text alone: what two
/// instances learnt is told once.
fn add(path: &Path, note: &NoteLine, most: usize) -> Result<bool, StoreError> {
    let lock_path = path.with_extension("lock");
    let Some(_lock) = Lock::take_within(&lock_path, PATIENCE)? else {
        let busy = std::io::Error::other("another process holds its lock");
        return Err(StoreError::io("add to", path)(busy));
    };
    let mut notes = read(path);
    let known = notes.iter().position(|known| known.text == note.text);
    if let Some(at) = known {
        if notes[at].orchestration_id == note.orchestration_id {
            return Ok(false);
        }
        // Learnt again: it is as good as new.
        notes.remove(at);
    }
    notes.push(note.clone());
    let surplus = notes.len().saturating_sub(most);
    atomic::write(
        path,
        render(&notes[surplus..]).as_bytes(),
        Durability::Durable,
    )?;
    Ok(true)
}

/// The tasks of a run whose supervisors live.
#[must_use]
pub fn running(run: &RunDir) -> Vec<crate::core::id::TaskName> {
    let mut tasks: Vec<_> = std::fs::read_dir(run.dir())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let task = name
                .to_str()?
                .strip_prefix("instance-")?
                .strip_suffix(".launch.json")?;
            crate::core::id::TaskName::parse(task).ok()
        })
        .filter(|task| lock::may_be_held(&run.lock(task)))
        .collect();
    tasks.sort();
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{OrchestrationId, TaskName};

    fn note(run: &RunDir, task: &str, text: &str) -> NoteLine {
        let task = TaskName::parse(task).unwrap();
        NoteLine::new(run.id(), &task, "2026-11-21T10:00:00Z".into(), text)
    }

    fn texts(path: &Path) -> Vec<String> {
        read(path).into_iter().map(|n| n.text).collect()
    }

    #[test]
    fn notes_are_kept_once_for_the_run_and_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let [one, two] = ["r1", "r2"].map(|id| layout.run(&OrchestrationId::parse(id).unwrap()));
        for run in [&one, &two] {
            std::fs::create_dir_all(run.dir()).unwrap();
        }
        assert!(keep(&one, &note(&one, "a", "tabs")).unwrap());
        assert!(keep(&one, &note(&one, "b", "no network")).unwrap());
        assert!(!keep(&one, &note(&one, "b", " tabs\n")).unwrap());
        assert_eq!(texts(&one.notes()), ["tabs", "no network"]);
        assert_eq!(texts(&layout.notes()), ["tabs", "no network"]);
        assert!(keep(&two, &note(&two, "a", "tabs")).unwrap());
        assert_eq!(texts(&two.notes()), ["tabs"]);
        assert_eq!(texts(&layout.notes()), ["no network", "tabs"]);
    }

    #[test]
    fn only_the_newest_are_kept_and_torn_lines_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        let path = Layout::new(dir.path()).notes();
        std::fs::write(&path, b"{\"schemaVersion\":1,\xff").unwrap();
        for n in 0..MOST_OF_REPOSITORY + 5 {
            add(&path, &note(&run, "a", &n.to_string()), MOST_OF_REPOSITORY).unwrap();
        }
        let texts = texts(&path);
        assert_eq!(texts.len(), MOST_OF_REPOSITORY);
        assert_eq!((texts[0].as_str(), texts[199].as_str()), ("5", "204"));
    }

    #[test]
    fn many_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.jsonl");
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("r").unwrap());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (path, run) = (&path, &run);
                scope.spawn(move || {
                    for n in 0..10 {
                        let text = format!("{writer}/{n}");
                        assert!(add(path, &note(run, "a", &text), 100).unwrap());
                    }
                });
            }
        });
        assert_eq!(texts(&path).len(), 40);
    }
}
