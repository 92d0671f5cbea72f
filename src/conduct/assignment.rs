//! What an attempt is about: a task of the plan, or a conflict that is to be resolved.

use std::path::PathBuf;

use crate::core::graph::TaskIx;
use crate::core::id::{Oid, TaskName};
use crate::core::plan::{AgentName, Task, TaskKind};
use crate::core::record::{Place, Resolution};
use crate::core::state::State;
use crate::format::launch_file::Merging;
use crate::git::{Merge, MergeBegun};
use crate::integrate::MergeTask;

use super::context::Context;
use super::launch;
use super::prepare::StartError;
use super::resolution;

/// The role of those that resolve conflicts.
const RESOLVER_ROLE: &str = "result-integrator";

/// What is to be worked on.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    /// The task: the plan's, or one made for a conflict.
    pub(super) task: Task,
    /// The conflict, when it is about one.
    pub(super) conflict: Option<Conflict>,
}

/// A conflict that an instance is to resolve.
#[derive(Debug, Clone)]
pub(super) struct Conflict {
    /// As the merge queue froze it.
    pub(super) resolution: Resolution,
    /// The finished tasks that meet in it: first the one that is to be merged.
    pub(super) sides: Vec<MergeTask>,
}

impl Assignment {
    /// Of a task of the plan.
    pub(super) fn planned(context: &Context, ix: TaskIx) -> Self {
        Self {
            task: context.plan.task(ix).clone(),
            conflict: None,
        }
    }

    /// Of any task of a state.
    pub(super) fn of(context: &Context, state: &State, ix: TaskIx) -> Self {
        let Some(resolution) = state.resolvers().get(&ix) else {
            return Self::planned(context, ix);
        };
        let sides = std::iter::once(&resolution.task)
            .chain(&resolution.with)
            .filter_map(|name| context.merge_task(state, state.find(name)?))
            .collect();
        Self {
            task: resolver_task(context, resolution),
            conflict: Some(Conflict {
                resolution: resolution.clone(),
                sides,
            }),
        }
    }

    pub(super) fn name(&self) -> &TaskName {
        &self.task.name
    }
}

/// The task of a resolver. It may use what the run's instances may use, whatever the plan
/// says of the task whose result is in conflict.
fn resolver_task(context: &Context, resolution: &Resolution) -> Task {
    let planned = context.plan.ix(&resolution.task);
    let planned = planned.map(|ix| context.plan.task(ix));
    Task {
        name: resolution.resolver.clone(),
        description: Some(resolution::title(resolution)),
        prompt: None,
        kind: TaskKind::Other("resolution".into()),
        subagent: AgentName::parse(RESOLVER_ROLE).ok(),
        priority: planned.map_or_else(Default::default, |task| task.priority),
        files: Vec::new(),
        success_criteria: Vec::new(),
        allowed_tools: None,
        base_branch: None,
        model: planned.and_then(|task| task.model.clone()),
        timeout_seconds: None,
        max_budget_usd: None,
        max_attempts: None,
        estimated_minutes: None,
        issue_number: None,
    }
}

/// What an attempt finds when it begins.
pub(super) struct Ready {
    /// The settings file to hand to the agent.
    pub(super) settings: Option<PathBuf>,
    /// The merge that it is to bring to its end.
    pub(super) merge: Option<Begun>,
}

/// A merge with conflicts, as git sees it.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    /// What the gate needs to know of it.
    pub(super) merging: Merging,
    /// What git says of each conflict, a line each.
    pub(super) kinds: Vec<String>,
}

/// Makes the worktree ready, and begins the merge in that of a resolver. Both are done once:
/// what an earlier attempt did there is left as it is.
///
/// # Errors
/// As [`launch::make_ready`], or when git cannot merge at all.
pub(super) fn make_ready(
    context: &Context,
    assignment: &Assignment,
    place: &Place,
) -> Result<Ready, StartError> {
    let task = &assignment.task;
    let settings = launch::make_ready(context, task, place)?;
    let Some(conflict) = &assignment.conflict else {
        return Ok(Ready {
            settings,
            merge: None,
        });
    };
    let resolution = &conflict.resolution;
    let begin = || {
        let message = resolution::commit_message(resolution);
        context
            .repo
            .begin_merge_in(&place.worktree, &resolution.theirs, &message)
    };
    let mut settings = settings;
    let mut begun = begin()?;
    if matches!(begun, MergeBegun::Refused { .. }) && !context.run.launch(&task.name).exists() {
        // A merge that was killed left files without saying that it is under way. Nobody has
        // worked there yet, so that the worktree is made anew.
        let ready = context.run.worktree_ready(&task.name);
        std::fs::remove_file(&ready).map_err(|source| StartError::Io {
            action: "remove",
            path: ready.display().to_string(),
            source,
        })?;
        settings = launch::make_ready(context, task, place)?;
        // Should it be refused again, the instance is told how to begin it.
        begun = begin()?;
    }
    let (merge, mut settled) = look_at(context, resolution, &place.base)?;
    match begun {
        MergeBegun::Now => {}
        MergeBegun::UnderWay => {
            // Whoever began it may have been killed before all of them were taken.
            let open = context.repo.status(&place.worktree)?.conflicted;
            settled.retain(|path| open.contains(path));
        }
        MergeBegun::Contained | MergeBegun::Refused { .. } => settled.clear(),
    }
    let tree = &merge.merging.tree;
    context
        .repo
        .take_resolved(&place.worktree, tree, &settled)?;
    Ok(Ready {
        settings,
        merge: Some(merge),
    })
}

/// The same merge in memory, where the branch begins: what git makes of it and was settled
/// mechanically. Also the files that were in conflict and are settled.
fn look_at(
    context: &Context,
    resolution: &Resolution,
    base: &Oid,
) -> Result<(Begun, Vec<String>), StartError> {
    let merge = context.repo.merge(base, &resolution.theirs)?;
    let theirs = resolution.theirs.clone();
    Ok(match merge {
        Merge::Clean { tree } => {
            let merging = Merging {
                theirs,
                tree,
                files: Vec::new(),
                generated: Vec::new(),
                moves: false,
            };
            let kinds = Vec::new();
            (Begun { merging, kinds }, Vec::new())
        }
        Merge::Conflict {
            tree,
            files,
            messages,
        } => {
            let (settled, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| {
                resolution.partly.is_some() && !resolution.files.contains(&file.path)
            });
            let settled: Vec<String> = settled.into_iter().map(|file| file.path).collect();
            let said = || files.iter().flat_map(|f| &f.messages).chain(&messages);
            let mut kinds: Vec<String> = said()
                .map(|m| m.text.clone())
                .filter(|text| text.starts_with("CONFLICT"))
                .collect();
            kinds.dedup();
            let moves = said().any(|m| resolution::is_about_places(&m.kind));
            let mut paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
            paths.extend(said().flat_map(|m| m.paths.iter().cloned()));
            paths.sort();
            paths.dedup();
            let both: Vec<String> = paths.iter().chain(&settled).cloned().collect();
            let configured: Vec<&str> = context
                .settings
                .lockfiles
                .keys()
                .map(String::as_str)
                .collect();
            let merging = Merging {
                theirs,
                tree: resolution.partly.clone().unwrap_or(tree),
                generated: resolution::generated_beside(&both, &configured),
                files: paths,
                moves,
            };
            (Begun { merging, kinds }, settled)
        }
    })
}
