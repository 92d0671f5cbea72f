//! Claims: which run and task holds which name for a branch and a worktree folder.
//!
//! Two runs may have tasks of the same name. A claim is a file that appears whole or not at
//! all, so of two runs exactly one gets a name; and a run that claims again after a crash
//! finds its own claim. Claims are made before anything is made in git.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::{StoreError, atomic};
use crate::core::id::{OrchestrationId, TaskName};
use crate::format::SCHEMA_VERSION;

/// Who holds a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Version of this shape.
    pub schema_version: u32,
    /// The run.
    pub orchestration_id: OrchestrationId,
    /// Its task.
    pub task: TaskName,
    /// The name that it holds.
    pub name: TaskName,
}

/// Claims the first of `NAME`, `NAME-2`, `NAME-3`, … that is free or already this task's own.
///
/// `taken` says of a name whether something else (a branch, a folder) already has it; it is
/// not asked for a name that this task holds already.
///
/// # Errors
/// When the claims folder cannot be written, or a thousand names are taken.
pub fn claim(
    layout: &Layout,
    id: &OrchestrationId,
    task: &TaskName,
    taken: impl FnMut(&TaskName) -> bool,
) -> Result<TaskName, StoreError> {
    claim_like(layout, id, task, task, taken)
}

/// The same under another name than the task's.
///
/// # Errors
/// As [`claim`].
pub fn claim_like(
    layout: &Layout,
    id: &OrchestrationId,
    task: &TaskName,
    wanted: &TaskName,
    mut taken: impl FnMut(&TaskName) -> bool,
) -> Result<TaskName, StoreError> {
    let folder = layout.claims();
    fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    for n in 1..1000 {
        let name = match n {
            1 => wanted.clone(),
            n => match TaskName::parse(&format!("{wanted}-{n}")) {
                Ok(name) => name,
                Err(_) => break,
            },
        };
        let path = path(layout, &name);
        let mine = Claim {
            schema_version: SCHEMA_VERSION,
            orchestration_id: id.clone(),
            task: task.clone(),
            name: name.clone(),
        };
        if let Some(holder) = atomic::read_json::<Claim>(&path, "a claim")? {
            if holder == mine {
                return Ok(name);
            }
            continue;
        }
        if taken(&name) {
            continue;
        }
        if write_new(&path, &mine)? {
            return Ok(name);
        }
    }
    Err(StoreError::io("claim a name in", folder)(
        std::io::Error::other(format!(
            "no free name for {wanted}; `orchestra cleanup all` removes old branches"
        )),
    ))
}

/// Makes sure that a name which was given back meanwhile is this task's again. Returns who
/// holds it when it is another's.
///
/// # Errors
/// When the claims folder cannot be written.
pub fn renew(
    layout: &Layout,
    id: &OrchestrationId,
    task: &TaskName,
    name: &TaskName,
) -> Result<Option<Claim>, StoreError> {
    let folder = layout.claims();
    fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    let path = path(layout, name);
    let mine = Claim {
        schema_version: SCHEMA_VERSION,
        orchestration_id: id.clone(),
        task: task.clone(),
        name: name.clone(),
    };
    write_new(&path, &mine)?;
    Ok(atomic::peek_json::<Claim>(&path)
        .filter(|there| there.orchestration_id != *id || there.task != *task))
}

fn write_new(path: &Path, claim: &Claim) -> Result<bool, StoreError> {
    let mut bytes = serde_json::to_vec(claim).map_err(|source| StoreError::Encode {
        what: "a claim",
        source,
    })?;
    bytes.push(b'\n');
    atomic::create_new(path, &bytes)
}

/// Gives a name back. Another holder's claim is left alone. Idempotent.
///
/// # Errors
/// When the claims folder cannot be written.
pub fn release(layout: &Layout, id: &OrchestrationId, name: &TaskName) -> Result<(), StoreError> {
    let path = path(layout, name);
    let Some(claim) = atomic::peek_json::<Claim>(&path) else {
        return Ok(());
    };
    if claim.orchestration_id != *id {
        return Ok(());
    }
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(StoreError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Who holds a name; none when nobody does.
#[must_use]
pub fn holder(layout: &Layout, name: &TaskName) -> Option<Claim> {
    atomic::peek_json(&path(layout, name))
}

/// All claims of runs whose folder is gone.
#[must_use]
pub fn orphaned(layout: &Layout) -> Vec<Claim> {
    let mut claims: Vec<Claim> = fs::read_dir(layout.claims())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| atomic::peek_json::<Claim>(&e.path()))
        .filter(|c| {
            let folder = layout.run(&c.orchestration_id);
            matches!(folder.dir().symlink_metadata(), Err(e) if e.kind() == ErrorKind::NotFound)
        })
        .collect();
    claims.sort_by(|a, b| a.name.cmp(&b.name));
    claims
}

/// All claims of one run.
#[must_use]
pub fn of_run(layout: &Layout, id: &OrchestrationId) -> Vec<Claim> {
    let mut claims: Vec<Claim> = fs::read_dir(layout.claims())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| atomic::peek_json::<Claim>(&e.path()))
        .filter(|c| c.orchestration_id == *id)
        .collect();
    claims.sort_by(|a, b| a.name.cmp(&b.name));
    claims
}

/// Folded, since some file systems cannot tell `A` from `a`.
fn path(layout: &Layout, name: &TaskName) -> PathBuf {
    layout.claims().join(format!("{}.json", name.folded()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_to_one_run_and_stays_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let (one, two) = (
            OrchestrationId::parse("one").unwrap(),
            OrchestrationId::parse("two").unwrap(),
        );
        let task = TaskName::parse("docs").unwrap();
        let free = |_: &TaskName| false;
        let first = claim(&layout, &one, &task, free).unwrap();
        assert_eq!(first.as_str(), "docs");
        assert_eq!(claim(&layout, &one, &task, |_| true).unwrap(), first);
        assert_eq!(
            claim(&layout, &two, &task, free).unwrap().as_str(),
            "docs-2"
        );
        release(&layout, &two, &first).unwrap();
        assert_eq!(of_run(&layout, &one).len(), 1);
        assert_eq!(renew(&layout, &one, &task, &first).unwrap(), None);
        release(&layout, &one, &first).unwrap();
        assert_eq!(renew(&layout, &two, &task, &first).unwrap(), None);
        let holder = renew(&layout, &one, &task, &first).unwrap().unwrap();
        assert_eq!(holder.orchestration_id, two);
        assert_eq!(
            claim(&layout, &one, &task, |n| n.as_str() == "docs")
                .unwrap()
                .as_str(),
            "docs-3"
        );
    }
}
