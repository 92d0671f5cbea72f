//! What is to be done: a [`Plan`] as somebody wrote it, and the [`ValidPlan`] that is
//! carried out. Only [`Plan::validate`] makes one of the other, and it reports every fault
//! at once.

use std::collections::HashMap;

pub use crate::core::graph::{Graph, TaskIx};
use crate::core::id::{BranchName, TaskName};
pub use crate::core::overlap::{FilePattern, Sequenced};

mod fault;
mod text;
mod urgency;
mod validate;
mod words;

pub use fault::{Fault, Faults, Note};
pub use text::{nearest, suggest_name};
pub use urgency::Emergency;
pub(crate) use validate::{many_tasks_hint, one_task_hint};
pub use words::{AgentName, ModelName, Priority, TaskKind, ToolRule, WordFault};

/// What sense allows. [`Limits::default`] is right unless the person raised one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest input that is read at all, in bytes.
    pub max_input_bytes: usize,
    /// More tasks than this are a fault.
    pub max_tasks: usize,
    /// More tasks than this get a hint.
    pub many_tasks: usize,
    /// Longest request, prompt and description, each in bytes.
    pub max_text_bytes: usize,
    /// What becomes of tasks that may run at the same time and touch the same files.
    pub overlap: OverlapPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_input_bytes: 8 * 1024 * 1024,
            max_tasks: 100,
            many_tasks: 20,
            max_text_bytes: 200_000,
            overlap: OverlapPolicy::Sequence,
        }
    }
}

/// What becomes of tasks that may run at the same time and touch the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlapPolicy {
    /// One waits for the other.
    Sequence,
    /// They are a fault (`--strict`).
    Refuse,
}

/// A plan as it was written: typed, but nothing is checked yet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// What the person asked for, in their words.
    pub request: Option<String>,
    /// The tasks in input order.
    pub tasks: Vec<TaskDraft>,
    /// Edges that an earlier validation added because of overlapping files.
    pub sequenced: Vec<SequenceDraft>,
}

/// One task as it was written. Numbers are what JSON has, so that a wrong one can be
/// reported together with the other faults.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskDraft {
    /// The name, before it is normalised.
    pub name: String,
    /// What is to be done, in a sentence or two.
    pub description: Option<String>,
    /// The whole instruction for the instance.
    pub prompt: Option<String>,
    /// What kind of work it is: `feature`, `bugfix`, …
    pub kind: Option<String>,
    /// The subagent that does it, when not the kind's own.
    pub subagent: Option<String>,
    /// Names of the tasks whose results it needs.
    pub dependencies: Vec<String>,
    /// `critical`, `high`, `normal` or `low`.
    pub priority: Option<String>,
    /// Globs of the files it expects to touch.
    pub files: Vec<String>,
    /// How one sees that it is done.
    pub success_criteria: Vec<String>,
    /// The tools it may use; not given means the usual ones.
    pub allowed_tools: Option<Vec<String>>,
    /// The branch it starts from.
    pub base_branch: Option<String>,
    /// The model that works on it.
    pub model: Option<String>,
    /// Longest run, in seconds.
    pub timeout_seconds: Option<f64>,
    /// Most money it may cost, in US dollars.
    pub max_budget_usd: Option<f64>,
    /// How often it may be tried.
    pub max_attempts: Option<f64>,
    /// How long it probably takes, in minutes.
    pub estimated_minutes: Option<f64>,
    /// The GitHub issue it comes from.
    pub issue_number: Option<f64>,
}

impl TaskDraft {
    /// A task of which only the name is known.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The same task, waiting for `dependencies` too.
    #[must_use]
    pub fn after<S: Into<String>>(mut self, dependencies: impl IntoIterator<Item = S>) -> Self {
        self.dependencies
            .extend(dependencies.into_iter().map(Into::into));
        self
    }

    /// The same task, expecting to touch `files` too.
    #[must_use]
    pub fn touching<S: Into<String>>(mut self, files: impl IntoIterator<Item = S>) -> Self {
        self.files.extend(files.into_iter().map(Into::into));
        self
    }
}

/// An edge that an earlier validation added, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SequenceDraft {
    /// Name of the task that goes first.
    pub before: String,
    /// Name of the task that waits.
    pub after: String,
    /// The overlapping globs, `before`'s and `after`'s.
    pub because: Vec<(String, String)>,
}

/// One task of a [`ValidPlan`]. Every name in it is safe as a path part, ref or argument.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The name: unique in the plan, also when case is ignored.
    pub name: TaskName,
    /// What is to be done, in a sentence or two.
    pub description: Option<String>,
    /// The whole instruction, when one was given; see [`Task::instruction`].
    pub prompt: Option<String>,
    /// What kind of work it is.
    pub kind: TaskKind,
    /// The subagent that was asked for; see [`Task::role`].
    pub subagent: Option<AgentName>,
    /// How urgent it is.
    pub priority: Priority,
    /// The files it expects to touch.
    pub files: Vec<FilePattern>,
    /// How one sees that it is done.
    pub success_criteria: Vec<String>,
    /// The tools it may use; `None` means the usual ones. Never empty.
    pub allowed_tools: Option<Vec<ToolRule>>,
    /// The branch it starts from, when not the run's.
    pub base_branch: Option<BranchName>,
    /// The model that works on it, when not the run's.
    pub model: Option<ModelName>,
    /// Longest run, in seconds; at least 1.
    pub timeout_seconds: Option<u32>,
    /// Most money it may cost, in US dollars; finite and above 0.
    pub max_budget_usd: Option<f64>,
    /// How often it may be tried; at least 1.
    pub max_attempts: Option<u32>,
    /// How long it probably takes, in minutes rounded up; at least 1.
    pub estimated_minutes: Option<u32>,
    /// The GitHub issue it comes from; at least 1.
    pub issue_number: Option<u64>,
}

impl Task {
    /// What the instance is told to do: the prompt, else the description, else the name.
    #[must_use]
    pub fn instruction(&self) -> &str {
        self.prompt
            .as_deref()
            .or(self.description.as_deref())
            .unwrap_or(self.name.as_str())
    }

    /// The subagent that does the work: the one that was asked for, else the kind's own.
    #[must_use]
    pub fn role(&self) -> &str {
        self.subagent
            .as_ref()
            .map_or(self.kind.default_role(), AgentName::as_str)
    }
}

/// A plan that can be carried out: names are safe and unique, every dependency exists,
/// nothing waits for itself, and no two tasks that may run at the same time expect to
/// touch the same files.
///
/// A [`TaskIx`] is meaningful only with the plan that it came from; giving another one to
/// these methods may panic.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidPlan {
    request: Option<String>,
    tasks: Vec<Task>,
    declared: Graph,
    graph: Graph,
    sequenced: Vec<Sequenced>,
    by_name: HashMap<String, TaskIx>,
    phases: Vec<Vec<TaskIx>>,
    order: Vec<TaskIx>,
    chains: Vec<u64>,
    emergency: Option<Emergency>,
}

impl ValidPlan {
    /// What the person asked for, in their words.
    #[must_use]
    pub fn request(&self) -> Option<&str> {
        self.request.as_deref()
    }

    /// The tasks in input order; never empty.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The number of tasks; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a valid plan is never empty")]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The positions of all tasks, in input order.
    pub fn ixs(&self) -> impl DoubleEndedIterator<Item = TaskIx> + use<> {
        self.graph.tasks()
    }

    /// One task.
    #[must_use]
    pub fn task(&self, ix: TaskIx) -> &Task {
        &self.tasks[ix.index()]
    }

    /// The name of one task.
    #[must_use]
    pub fn name(&self, ix: TaskIx) -> &TaskName {
        &self.tasks[ix.index()].name
    }

    /// The task of that name; case is ignored, as two names that differ in case only
    /// cannot be in one plan.
    #[must_use]
    pub fn ix(&self, name: &TaskName) -> Option<TaskIx> {
        self.by_name.get(&name.folded()).copied()
    }

    /// What `ix` waits for directly, in input order: its declared dependencies and the
    /// tasks that were put before it because they touch the same files.
    #[must_use]
    pub fn deps(&self, ix: TaskIx) -> &[TaskIx] {
        self.graph.deps(ix)
    }

    /// What waits for `ix` directly, in input order; the counterpart of [`ValidPlan::deps`].
    #[must_use]
    pub fn dependents(&self, ix: TaskIx) -> &[TaskIx] {
        self.graph.dependents(ix)
    }

    /// The dependencies that the plan itself names, in input order. These need each
    /// other's results, while [`ValidPlan::sequenced`] ones only must not run at once.
    #[must_use]
    pub fn declared_deps(&self, ix: TaskIx) -> &[TaskIx] {
        self.declared.deps(ix)
    }

    /// The whole graph, with the added edges.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The edges that were added because of overlapping files.
    #[must_use]
    pub fn sequenced(&self) -> &[Sequenced] {
        &self.sequenced
    }

    /// The tasks by phase: those of a phase wait only for earlier phases.
    #[must_use]
    pub fn phases(&self) -> &[Vec<TaskIx>] {
        &self.phases
    }

    /// All tasks so that each comes after what it waits for; otherwise in input order.
    #[must_use]
    pub fn order(&self) -> &[TaskIx] {
        &self.order
    }

    /// The weight of the heaviest chain that starts with `ix`, itself included. The unit is
    /// minutes when the plan gives estimates (a task without one counts as their mean),
    /// otherwise tasks. For choosing what to start first, not for showing.
    #[must_use]
    pub fn remaining_chain(&self, ix: TaskIx) -> u64 {
        self.chains[ix.index()]
    }

    /// The heaviest chain from first to last.
    #[must_use]
    pub fn critical_path(&self) -> Vec<TaskIx> {
        self.graph.critical_path(&self.chains)
    }

    /// Why this is an emergency run, when it is one.
    #[must_use]
    pub fn emergency(&self) -> Option<&Emergency> {
        self.emergency.as_ref()
    }

    /// The order in which ready tasks are started: priority, then the longest remaining
    /// chain, then input order. Smaller comes first.
    #[must_use]
    pub fn start_order(&self, ix: TaskIx) -> impl Ord + use<> {
        use std::cmp::Reverse;
        (
            Reverse(self.task(ix).priority),
            Reverse(self.remaining_chain(ix)),
            ix,
        )
    }
}

/// The way back, for changing a plan and validating it again.
impl From<&ValidPlan> for Plan {
    fn from(plan: &ValidPlan) -> Self {
        let name = |ix: &TaskIx| plan.name(*ix).to_string();
        Self {
            request: plan.request.clone(),
            tasks: plan
                .ixs()
                .map(|ix| {
                    let task = plan.task(ix);
                    let texts = |list: &[ToolRule]| list.iter().map(|t| t.to_string()).collect();
                    TaskDraft {
                        name: task.name.to_string(),
                        description: task.description.clone(),
                        prompt: task.prompt.clone(),
                        kind: Some(task.kind.to_string()),
                        subagent: task.subagent.as_ref().map(ToString::to_string),
                        dependencies: plan.declared_deps(ix).iter().map(name).collect(),
                        priority: Some(task.priority.to_string()),
                        files: task.files.iter().map(|f| f.as_str().to_owned()).collect(),
                        success_criteria: task.success_criteria.clone(),
                        allowed_tools: task.allowed_tools.as_deref().map(texts),
                        base_branch: task.base_branch.as_ref().map(ToString::to_string),
                        model: task.model.as_ref().map(ToString::to_string),
                        timeout_seconds: task.timeout_seconds.map(f64::from),
                        max_budget_usd: task.max_budget_usd,
                        max_attempts: task.max_attempts.map(f64::from),
                        estimated_minutes: task.estimated_minutes.map(f64::from),
                        #[expect(
                            clippy::cast_precision_loss,
                            reason = "validation keeps issue numbers below 2^53"
                        )]
                        issue_number: task.issue_number.map(|n| n as f64),
                    }
                })
                .collect(),
            sequenced: plan
                .sequenced
                .iter()
                .map(|edge| SequenceDraft {
                    before: name(&edge.before),
                    after: name(&edge.after),
                    because: edge.because.clone(),
                })
                .collect(),
        }
    }
}
