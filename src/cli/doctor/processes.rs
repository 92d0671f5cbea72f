//! Processes of instances that nobody owns any more.

use std::collections::BTreeMap;

use super::finding::{Finding, Scene};
use crate::agent::tree::{self, EndPlan, Marked, Tree};
use crate::store::lock;
use crate::view::page::plural;

/// Processes that carry the mark of a run of this repository, and have neither a supervisor
/// nor, when they are of the run itself, a conductor.
pub(super) fn find(scene: &Scene) -> Vec<Finding> {
    // The processes first, then the locks: what is seen here under a lock that is free
    // afterwards has no owner; one that starts now owns what comes later.
    let marked = tree::marked();
    let mut lost: BTreeMap<String, Vec<Marked>> = BTreeMap::new();
    for process in marked {
        if let Some(whose) = without_owner(scene, &process) {
            lost.entry(whose).or_default().push(process);
        }
    }
    lost.into_iter()
        .map(|(whose, processes)| {
            let names: Vec<String> = processes
                .iter()
                .map(|p| format!("{} ({})", p.program, p.key.pid))
                .collect();
            let pids: Vec<String> = processes.iter().map(|p| p.key.pid.to_string()).collect();
            Finding::new(
                "processes",
                format!("{whose} left {} running", names.join(", ")),
                "nobody watches them: they use memory and may write into a worktree",
                format!("kill {}", pids.join(" ")),
            )
            .mended_by(move || {
                let tree = Tree {
                    roots: processes.iter().map(|p| p.key).collect(),
                    ..Tree::default()
                };
                let report = tree::end(&tree, &EndPlan::default());
                if report.left.is_empty() {
                    Ok(format!("ended {}", plural(report.signalled, "process")))
                } else {
                    Err(format!(
                        "{} did not end",
                        plural(report.left.len(), "process")
                    ))
                }
            })
        })
        .collect()
}

/// Whose a process was, when its owner is gone for sure.
fn without_owner(scene: &Scene, process: &Marked) -> Option<String> {
    let known = scene
        .known
        .iter()
        .find(|(context, _)| *context.run.id() == process.run);
    let run = scene.layout.run(&process.run);
    let ours = match known {
        Some((context, _)) => context.token() == process.token,
        // Of another repository, perhaps, or of a run that cannot be read.
        None => process.main_checkout.as_deref() == Some(scene.repo.root()) && !run.dir().exists(),
    };
    if !ours {
        return None;
    }
    let free = |path: &std::path::Path| matches!(lock::is_held(path), Ok(false));
    // A live conductor ends what its own dead supervisors left.
    if !free(&run.conductor_lock()) {
        return None;
    }
    match &process.task {
        Some(task) => free(&run.lock(task)).then(|| format!("{task} of {}", process.run)),
        None => Some(format!("the merging of {}", process.run)),
    }
}
