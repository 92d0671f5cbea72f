//! Runs: live ones without a conductor or a keeper, damaged ones, what ended ones left.

use std::time::{Duration, Instant};

use super::Checks;
use super::finding::{Finding, Scene};
use crate::conduct::cleanup::{Manner, Which, cleanup};
use crate::conduct::ensure::{self, Ensured, is_orphaned};
use crate::conduct::{self, keep};
use crate::core::record::Verdict;
use crate::core::state::State;
use crate::format::settings_file::CleanupWhen;
use crate::store::layout::RunDir;
use crate::store::{lock, modified};
use crate::view::page::plural;
use crate::view::snapshot::{Snapshot, Standing};

/// A run that nobody touched for this long is not taken up unasked, milliseconds: its
/// instances cost money.
const FRESH: i64 = 24 * 60 * 60 * 1000;

/// How long a conductor may take to bring a new keeper.
const KEEPER_PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn find(scene: &Scene) -> Vec<Finding> {
    let mut found = Vec::new();
    for run in &scene.runs {
        if let Ok(snapshot) = Snapshot::load(run, scene.now) {
            damage(run, &snapshot, &mut found);
            ended(scene, &snapshot, &mut found);
        }
        found.extend(conductor(scene, run));
        found.extend(keeper(scene, run));
    }
    found
}

/// What there is, in a line.
pub(super) fn count(checks: &mut Checks, scene: &Scene) {
    let (mut held, mut live) = (0, 0);
    for run in &scene.runs {
        let Ok(snapshot) = Snapshot::load(run, scene.now) else {
            continue;
        };
        live += usize::from(snapshot.is_live());
        held += usize::from(snapshot.conductor_alive);
        held += snapshot.tasks.iter().filter(|t| t.supervisor_alive).count();
    }
    checks.good(
        "runs",
        format!(
            "{}, {live} live, {}",
            plural(scene.runs.len(), "run"),
            plural(held, "held lock")
        ),
    );
    let starting = |run: &&RunDir| lock::may_be_held(&run.start_lock());
    let start = scene.runs.iter().filter(starting).count();
    if start > 0 {
        checks.warn(
            "runs",
            format!("{} being started right now", plural(start, "run")),
            "wait a moment",
        );
    }
}

fn damage(run: &RunDir, snapshot: &Snapshot, found: &mut Vec<Finding>) {
    let something = [run.settings(), run.plan(), run.journal()];
    if !something.iter().any(|path| path.exists()) {
        // Being made, or half made: the files tell.
        return;
    }
    for problem in &snapshot.problems {
        let remedy = if matches!(snapshot.standing, Standing::Planned) {
            format!(
                "an unfinished plan; remove {} if you do not need it",
                run.dir().display()
            )
        } else {
            format!(
                "repair it by hand, or remove {} once its branches are safe",
                run.dir().display()
            )
        };
        found.push(Finding::new(
            "damage",
            format!("{}: {problem}", snapshot.id),
            "nothing was changed; what cannot be read is never overwritten",
            remedy,
        ));
    }
}

fn conductor(scene: &Scene, run: &RunDir) -> Option<Finding> {
    if !is_orphaned(run) {
        return None;
    }
    let id = run.id();
    let finding = Finding::new(
        "conductor",
        format!("{id} has something to do, and no conductor"),
        "nothing of it goes on: results are not taken, letters not read",
        format!("orchestra status --orchestration {id}"),
    );
    let touched = modified(&run.journal()).map_or(scene.now.0, |at| at.0);
    if scene.now.0.saturating_sub(touched) > FRESH {
        return Some(Finding {
            remedy: format!(
                "`orchestra status --orchestration {id}` goes on with it, `orchestra control \
                 cancel --orchestration {id}` ends it (nobody touched it for over a day)"
            ),
            ..finding
        });
    }
    let (run, exe, env) = (run.clone(), scene.exe.clone(), scene.env.clone());
    Some(finding.mended_by(
        move || match ensure::ensure(&run, run.main_checkout(), &exe, &env) {
            Ensured::Started => Ok("started one".into()),
            Ensured::Running => Ok("somebody started one".into()),
            Ensured::NotNeeded => Ok("it needs none any more".into()),
            Ensured::Failed(why) => Err(why),
        },
    ))
}

fn keeper(scene: &Scene, run: &RunDir) -> Option<Finding> {
    let kept = || lock::may_be_held(&run.keeper_lock());
    let conducted = || matches!(lock::is_held(&run.conductor_lock()), Ok(true));
    let deadline = Instant::now() + KEEPER_PATIENCE;
    // A conductor that has just begun, or just lost its keeper, is about to bring one.
    while !kept() {
        if !conducted() {
            return None;
        }
        if Instant::now() >= deadline {
            let (run, exe, env) = (run.clone(), scene.exe.clone(), scene.env.clone());
            return Some(
                Finding::new(
                    "keeper",
                    format!("{} has a conductor, and nobody watches over it", run.id()),
                    "were it killed, nobody would start another one before the next command",
                    "orchestra doctor --fix",
                )
                .mended_by(move || keep::start(&run, &exe, &env).map(|()| "started one".into())),
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

fn ended(scene: &Scene, snapshot: &Snapshot, found: &mut Vec<Finding>) {
    let Standing::Finished {
        verdict,
        closed: true,
    } = &snapshot.standing
    else {
        return;
    };
    let id = &snapshot.id;
    let left: Vec<&str> = snapshot
        .tasks
        .iter()
        .filter(|t| t.worktree_exists)
        .map(|t| t.name.as_str())
        .collect();
    let known = scene.known.iter().find(|(c, _)| c.run.id() == id);
    if !left.is_empty() && !snapshot.conductor_alive {
        let finding = Finding::new(
            "leftovers",
            format!(
                "{id} has ended, and {} of it are there: {}",
                plural(left.len(), "worktree"),
                left.join(", ")
            ),
            "they use the disk, and the names of their branches are taken",
            format!("orchestra cleanup all --orchestration {id} (work is kept in backup refs)"),
        );
        // What the run was to tidy up by itself, and did not; the rest waits for a person.
        let due = known.and_then(|(context, state)| {
            let good = matches!(verdict, Verdict::Success | Verdict::Partial);
            let which = match context.settings.cleanup {
                CleanupWhen::Success if good => Which::Success,
                CleanupWhen::All if good => Which::All,
                _ => return None,
            };
            let items = cleanup(context, state, which, Manner::DryRun).ok()?;
            let goes = items.iter().any(|item| item.kept.is_none());
            goes.then(|| (context.clone(), state.clone(), which))
        });
        found.push(match due {
            Some((context, state, which)) => {
                finding.mended_by(move || tidy(&context, &state, which))
            }
            None => finding,
        });
    }
    let alive: Vec<&str> = snapshot
        .tasks
        .iter()
        .filter(|t| t.supervisor_alive)
        .map(|t| t.name.as_str())
        .collect();
    if !alive.is_empty() {
        found.push(Finding::new(
            "instances",
            format!(
                "{id} has ended, but instances still run: {}",
                alive.join(", ")
            ),
            "they cost money, and nobody waits for what they do",
            format!("orchestra control cancel --orchestration {id}"),
        ));
    }
}

fn tidy(context: &conduct::Context, state: &State, which: Which) -> Result<String, String> {
    let items = cleanup(context, state, which, Manner::Quiet).map_err(|e| e.to_string())?;
    let gone: Vec<&str> = items
        .iter()
        .filter(|item| item.kept.is_none())
        .map(|item| item.task.as_ref().map_or("its own", |task| task.as_str()))
        .collect();
    let failed: Vec<String> = items
        .iter()
        .filter(|item| item.failed)
        .filter_map(|item| item.kept.clone())
        .collect();
    if failed.is_empty() {
        Ok(format!("tidied up {}", gone.join(", ")))
    } else {
        Err(failed.join("; "))
    }
}
