//! Processes of instances that nobody owns any more.

use std::collections::BTreeMap;

use super::finding::{Finding, Scene};
use crate::agent::tree::{self, EndPlan, Marked, ProcessKey, Tree};
use crate::format::processes_file::ProcessesFile;
use crate::store::atomic::peek_json;
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
    for (whose, process) in seen_last(scene) {
        let group = lost.entry(whose).or_default();
        if group.iter().all(|known| known.key != process.key) {
            group.push(process);
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

/// What dead supervisors saw of their trees last, and is still the same process of the same
/// start of the machine: it may have cleaned its environment.
fn seen_last(scene: &Scene) -> Vec<(String, Marked)> {
    let mut found = Vec::new();
    let boot = tree::boot_id();
    for (context, state) in &scene.known {
        let run = &context.run;
        for ix in state.every() {
            let task = state.name(ix);
            let Some(file) = peek_json::<ProcessesFile>(&run.processes(task)) else {
                continue;
            };
            if boot.as_ref() != Some(&file.boot_id) {
                continue;
            }
            for seen in file.processes {
                let key = ProcessKey {
                    pid: seen.pid,
                    start: seen.start,
                };
                let process = Marked {
                    key,
                    program: tree::program_of(key).unwrap_or_default(),
                    token: context.token(),
                    run: run.id().clone(),
                    task: Some(task.clone()),
                    main_checkout: None,
                };
                if key.is_alive()
                    && let Some(whose) = without_owner(scene, &process)
                {
                    found.push((whose, process));
                }
            }
        }
    }
    found
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
