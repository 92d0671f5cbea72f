//! Looks over all processes of the person: whose they are by their mark, and what they use.

use std::path::{Path, PathBuf};

use super::{MARK_VARIABLE, ProcessKey, table};
use crate::core::id::{OrchestrationId, TaskName};

/// Name of the environment variable by which an instance knows the main checkout.
pub const MAIN_CHECKOUT_VARIABLE: &str = "ORCHESTRA_MAIN_CHECKOUT";

/// A process that carries a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Which process.
    pub key: ProcessKey,
    /// Its program, as the system names it.
    pub program: String,
    /// The token of the run.
    pub token: String,
    /// The run.
    pub run: OrchestrationId,
    /// The task; none for what integration started.
    pub task: Option<TaskName>,
    /// The main checkout of the run, when the process was told.
    pub main_checkout: Option<PathBuf>,
}

/// All living processes of this user that carry a mark, but for this one and its ancestors.
#[must_use]
pub fn marked() -> Vec<Marked> {
    let rows = table::rows();
    let spared = super::spared(&rows);
    rows.iter()
        .filter(|row| !row.ended && !spared.contains(&row.key.pid))
        .filter_map(|row| {
            let environment = table::environment(row.key.pid)?;
            let text = |name: &str| {
                let value = super::variable(&environment, name)?;
                String::from_utf8(value.to_vec()).ok()
            };
            let (token, run, task) = parse(&text(MARK_VARIABLE)?)?;
            Some(Marked {
                key: row.key,
                program: table::program(row.key.pid).unwrap_or_default(),
                token,
                run,
                task,
                main_checkout: text(MAIN_CHECKOUT_VARIABLE).map(PathBuf::from),
            })
        })
        .collect()
}

/// The program of a process, as the system names it; none when it is gone.
#[must_use]
pub fn program_of(key: ProcessKey) -> Option<String> {
    let name = table::program(key.pid)?;
    key.is_alive().then_some(name)
}

/// Takes the value of a mark apart, as [`super::Marker`] writes it.
fn parse(value: &str) -> Option<(String, OrchestrationId, Option<TaskName>)> {
    let parts: Vec<&str> = value.split('/').collect();
    let (token, run, task) = match parts.as_slice() {
        [token, "integration", run] | [token, run] => (token, run, None),
        [token, run, task] => (token, run, Some(TaskName::parse(task).ok()?)),
        _ => return None,
    };
    Some(((*token).to_owned(), OrchestrationId::parse(run).ok()?, task))
}

/// The programs (of this user) that work in a folder or below it; none where that cannot be
/// told.
#[must_use]
pub fn at_work_in(folder: &Path) -> Option<Vec<String>> {
    let rows = known_rows()?;
    let there = rows
        .iter()
        .filter(|row| !row.ended && row.key.pid != table::own_pid())
        .filter(|row| table::folder(row.key.pid).is_some_and(|at| at.starts_with(folder)))
        .map(|row| table::program(row.key.pid).unwrap_or_default());
    Some(there.collect())
}

/// Whether some process of this user has a file open; none where that cannot be told.
#[must_use]
pub fn is_open(file: &Path) -> Option<bool> {
    if !table::KNOWS_OPEN_FILES {
        return None;
    }
    let rows = known_rows()?;
    Some(rows.iter().any(|row| table::has_open(row.key.pid, file)))
}

/// The process table; none where it cannot be read: this process is always in it.
fn known_rows() -> Option<Vec<super::Row>> {
    let rows = table::rows();
    (!rows.is_empty()).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tree::Marker;

    #[test]
    fn a_mark_is_taken_apart_as_it_was_written() {
        let run = OrchestrationId::parse("20261121-091357-3fa2").unwrap();
        let task = TaskName::parse("docs").unwrap();
        for (marker, expected) in [
            (Marker::new("t", &run, Some(&task)), Some(task.clone())),
            (Marker::new("t", &run, None), None),
            (Marker::integration("t", &run), None),
        ] {
            let value = marker.value().into_string().unwrap();
            assert_eq!(parse(&value), Some(("t".into(), run.clone(), expected)));
        }
        for odd in ["", "t", "a/b/c/d", "t/../x", "t/r/.."] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_open_and_who_works_where_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let path = dir.join("x.lock");
        let file = std::fs::File::create(&path).unwrap();
        assert_eq!(is_open(&path), Some(true));
        drop(file);
        assert_eq!(is_open(&path), Some(false));
        assert_eq!(at_work_in(&dir), Some(Vec::new()));
    }
}
