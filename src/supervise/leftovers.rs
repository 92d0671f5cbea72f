//! The processes of an instance in a file, so that whoever finds its supervisor lost can end
//! those that cleaned their environment, too.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::agent::tree::{self, EndReport, Marker, Member, ProcessKey};
use crate::core::id::TaskName;
use crate::format::SCHEMA_VERSION;
use crate::format::processes_file::{ProcessesFile, SeenProcess};
use crate::store::atomic::{Durability, peek_json, write_json};
use crate::store::layout::RunDir;

/// The file, kept by the supervisor.
#[derive(Debug)]
pub(crate) struct Known {
    path: PathBuf,
    boot_id: Option<String>,
    written: BTreeSet<ProcessKey>,
}

impl Known {
    /// The file of a task; nothing is written yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            boot_id: tree::boot_id(),
            written: BTreeSet::new(),
        }
    }

    /// Writes what is there now, when it is not what was there before.
    pub(crate) fn see(&mut self, members: &[Member]) {
        let Some(boot_id) = &self.boot_id else { return };
        let now: BTreeSet<ProcessKey> = members.iter().map(|member| member.key).collect();
        if now == self.written {
            return;
        }
        let file = ProcessesFile {
            schema_version: SCHEMA_VERSION,
            boot_id: boot_id.clone(),
            processes: now
                .iter()
                .map(|key| SeenProcess {
                    pid: key.pid,
                    start: key.start,
                })
                .collect(),
        };
        // It is for the case of two faults at once; the work does not hang on it.
        if write_json(&self.path, "processes", &file, Durability::Volatile).is_ok() {
            self.written = now;
        }
    }

    /// All of them are ended.
    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Ends what a lost supervisor of this task left: what carries the task's marker, and what was
/// last seen of its tree.
pub fn end_leftovers(run: &RunDir, token: &str, task: &TaskName) -> EndReport {
    let path = run.processes(task);
    let seen: Option<ProcessesFile> = peek_json(&path);
    let marker = Marker::new(token, run.id(), Some(task));
    let report = tree::end_leftovers(marker, seen.as_ref());
    if report.left.is_empty() {
        let _ = std::fs::remove_file(path);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("processes.json");
        let mut known = Known::new(path.clone());
        let member = |pid| Member {
            key: ProcessKey { pid, start: 1 },
            memory_bytes: 0,
            cpu_ms: 0,
            io_bytes: 0,
        };
        known.see(&[member(1), member(2)]);
        let pids = || -> Vec<i32> {
            let file: ProcessesFile = peek_json(&path).unwrap();
            file.processes.iter().map(|p| p.pid).collect()
        };
        assert_eq!(pids(), [1, 2]);
        known.see(&[member(2)]);
        assert_eq!(pids(), [2]);
        known.forget();
        assert!(!path.exists());
    }
}
