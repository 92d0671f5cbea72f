//! The state of one orchestration: the fold of its journal.
//!
//! [`State::apply`] is the only way to change it. It knows structure (who waits for whom,
//! who is ready) and no policy; the decisions are made in [`super::step`].

mod apply;
mod entry;
mod lists;

pub use entry::{Active, Entry, Next, Phase, Policy, TaskFacts, TaskState};

use std::collections::{BTreeMap, BTreeSet};

use crate::core::budget::{Limit, Spent};
use crate::core::conditions::Conditions;
use crate::core::delivery::Deliveries;
use crate::core::graph::TaskIx;
use crate::core::id::TaskName;
use crate::core::queue::Queue;
use crate::core::record::{AsideWhy, IntegrationEnd, Record, Resolution};
use crate::core::time::Timestamp;

/// Place of a ready task in the queue: urgent first, then the longest remaining chain, then
/// the order of the plan.
///
/// What needs the whole machine comes last, when nothing else is left to wait for.
type Rank = (bool, u8, std::cmp::Reverse<u64>, TaskIx);

/// How many attempts a resolver has at one conflict.
const RESOLVER_ATTEMPTS: u32 = 2;

/// The state of one orchestration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Those of the plan first, then the resolvers that the merge queue added.
    facts: Vec<TaskFacts>,
    /// How many tasks the plan has.
    planned: usize,
    resolvers: BTreeMap<TaskIx, Resolution>,
    by_name: BTreeMap<TaskName, TaskIx>,
    /// Per task: who waits for it, and whether they need its result.
    dependents: Vec<Vec<(TaskIx, bool)>>,
    pub(super) policy: Policy,
    pub(super) tasks: Vec<Entry>,
    pub(super) phase: Phase,
    pub(super) workers: u32,
    pub(super) paused: bool,
    pub(super) cancelling: bool,
    pub(super) integration: Option<IntegrationEnd>,
    pub(super) queue: Queue,
    deliveries: Deliveries,
    /// What the attempts of all tasks spent.
    spent: Spent,
    /// Why the provider refuses everybody, if it does.
    refused: Option<String>,
    /// What the world outside allows. Not part of the journal.
    pub(super) conditions: Conditions,
    /// Attempts that were asked to make room. Not part of the journal.
    pub(super) yielding: BTreeSet<(TaskIx, u32)>,
    /// How often it ended: the number of its latest end.
    pub(super) ends: u32,
    pub(super) taken: BTreeSet<String>,
    /// Indexes over `tasks`, so that a step's cost does not grow with finished tasks.
    ready: BTreeSet<Rank>,
    delayed: BTreeSet<(Timestamp, TaskIx)>,
    active: BTreeSet<TaskIx>,
    undecided: BTreeSet<TaskIx>,
    /// Those that a person waits to take over.
    wanted: BTreeSet<TaskIx>,
    /// Those that wait or are ready.
    open: BTreeSet<TaskIx>,
    /// Done tasks of the plan whose results the queue has neither proven nor delivered.
    unmerged: BTreeSet<TaskIx>,
    unsettled: usize,
    done: usize,
}

impl State {
    /// The state before the first record.
    #[must_use]
    pub fn new(facts: Vec<TaskFacts>, policy: Policy) -> Self {
        let mut dependents = vec![Vec::new(); facts.len()];
        let mut by_name = BTreeMap::new();
        for (ix, fact) in indexed(&facts) {
            by_name.insert(fact.name.clone(), ix);
            for before in &fact.needs {
                if let Some(list) = dependents.get_mut(before.index()) {
                    list.push((ix, true));
                }
            }
            for before in fact.after.iter().filter(|b| !fact.needs.contains(b)) {
                if let Some(list) = dependents.get_mut(before.index()) {
                    list.push((ix, false));
                }
            }
        }
        let tasks = facts.iter().map(|_| Entry::new()).collect();
        let mut state = Self {
            unsettled: facts.len(),
            by_name,
            dependents,
            workers: policy.workers.max(1),
            policy,
            tasks,
            phase: Phase::Running,
            paused: false,
            cancelling: false,
            integration: None,
            queue: Queue::default(),
            deliveries: Deliveries::default(),
            spent: Spent::default(),
            refused: None,
            conditions: Conditions::default(),
            yielding: BTreeSet::new(),
            ends: 0,
            taken: BTreeSet::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            active: BTreeSet::new(),
            undecided: BTreeSet::new(),
            wanted: BTreeSet::new(),
            open: up_to(facts.len()).collect(),
            unmerged: BTreeSet::new(),
            done: 0,
            planned: facts.len(),
            resolvers: BTreeMap::new(),
            facts,
        };
        for ix in state.indexes().collect::<Vec<_>>() {
            state.requeue_if_free(ix);
        }
        state
    }

    /// Rebuilds the state from a journal. Records of tasks that the plan does not know are
    /// passed over.
    #[must_use]
    pub fn replay<'a>(
        facts: Vec<TaskFacts>,
        policy: Policy,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Self {
        let mut state = Self::new(facts, policy);
        for record in records {
            state.apply(record);
        }
        state
    }

    /// The indexes of the plan's tasks, in its order.
    pub fn indexes(&self) -> impl Iterator<Item = TaskIx> + use<> {
        up_to(self.planned)
    }

    /// The indexes of all tasks, the resolvers after those of the plan.
    pub fn every(&self) -> impl Iterator<Item = TaskIx> + use<> {
        up_to(self.facts.len())
    }

    /// The resolvers that the merge queue added, and the conflict that each is for.
    #[must_use]
    pub fn resolvers(&self) -> &BTreeMap<TaskIx, Resolution> {
        &self.resolvers
    }

    /// The merge queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A task's index by name.
    #[must_use]
    pub fn find(&self, name: &TaskName) -> Option<TaskIx> {
        self.by_name.get(name).copied()
    }

    /// A task's facts.
    #[must_use]
    pub fn facts(&self, ix: TaskIx) -> &TaskFacts {
        &self.facts[ix.index()]
    }

    /// A task's name.
    #[must_use]
    pub fn name(&self, ix: TaskIx) -> &TaskName {
        &self.facts(ix).name
    }

    /// A task and its history.
    #[must_use]
    pub fn task(&self, ix: TaskIx) -> &Entry {
        &self.tasks[ix.index()]
    }

    /// Where the orchestration stands.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether nothing new starts, on request.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the whole run is ending on request.
    #[must_use]
    pub fn is_cancelling(&self) -> bool {
        self.cancelling
    }

    /// How many instances may run at once.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// What was delivered, and what of it was taken back.
    #[must_use]
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// How the last integration ended; none once its delivery was taken back.
    #[must_use]
    pub fn integration(&self) -> Option<&IntegrationEnd> {
        self.integration.as_ref()
    }

    /// What the attempts of all tasks spent; where nobody could tell, what they were granted.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// What the run may cost.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.policy.budget.run
    }

    /// What attempts in work may still spend.
    #[must_use]
    pub fn promised(&self) -> Spent {
        let grants = self.active.iter().filter_map(|ix| {
            let TaskState::Active(active) = &self.task(*ix).state else {
                return None;
            };
            Some(Spent {
                usd: active.grant.limit.usd.unwrap_or_default(),
                tokens: active.grant.limit.tokens.unwrap_or_default(),
            })
        });
        grants.fold(Spent::default(), Spent::plus)
    }

    /// How many tasks will ask for a grant of their own.
    pub(super) fn sharing(&self) -> u32 {
        u32::try_from(self.unsettled.saturating_sub(self.active.len())).unwrap_or(u32::MAX)
    }

    /// Why the provider refuses everybody, when it does: nothing else is tried.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// What the world outside allows at the moment.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Before the first step of a conductor: what it saw of the world outside.
    pub fn surround(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Whether the attempt in work, if any, must be the only one.
    pub(super) fn works_alone(&self) -> bool {
        self.active.iter().any(|ix| {
            matches!(&self.task(*ix).state,
                TaskState::Active(a) if a.approach.alone && a.attached.is_none())
        })
    }

    /// How many attempts are in work that no person works in: those for which there must be
    /// room.
    pub(super) fn headless(&self) -> usize {
        let all = self.active.iter();
        all.filter(|ix| !self.is_attached(**ix)).count()
    }

    /// Whether a person works on the task at this moment, or is about to.
    #[must_use]
    pub fn is_attached(&self, ix: TaskIx) -> bool {
        matches!(&self.task(ix).state, TaskState::Active(active) if active.attached.is_some())
    }

    /// The ready tasks that a person waits to take over.
    pub(super) fn wanted(&self) -> Vec<TaskIx> {
        let ready = |ix: &TaskIx| matches!(self.task(*ix).state, TaskState::Ready(_));
        let wanted = self.wanted.iter().copied().filter(ready);
        wanted.filter(|ix| !self.awaits_the_queue(*ix)).collect()
    }

    /// The attempt in work that is the least advanced, by how long its task has been worked
    /// on, and that was not asked to make room yet. None in which a person works.
    pub(super) fn least_advanced(&self, now: Timestamp) -> Option<(TaskIx, u32)> {
        let candidates = self.active.iter().filter_map(|ix| {
            let entry = self.task(*ix);
            let TaskState::Active(active) = &entry.state else {
                return None;
            };
            let asked = self.yielding.contains(&(*ix, active.attempt)) || active.attached.is_some();
            let since = active.since.map_or(0, |since| now.since(since).0);
            (!asked).then_some((entry.worked.0 + since, *ix, active.attempt))
        });
        // Among equals the one that began last.
        let least = candidates.min_by_key(|(worked, ix, _)| (*worked, std::cmp::Reverse(*ix)));
        least.map(|(_, ix, attempt)| (ix, attempt))
    }

    /// The tasks with an attempt in work.
    #[must_use]
    pub fn active(&self) -> &BTreeSet<TaskIx> {
        &self.active
    }

    /// How many tasks of the plan are done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done
    }

    /// Whether nothing more happens to any task by itself.
    #[must_use]
    pub fn all_settled(&self) -> bool {
        self.unsettled == 0
    }

    /// Whether enough tasks are done for a success or a partial success.
    #[must_use]
    pub fn enough_done(&self) -> bool {
        self.is_enough(self.done)
    }

    /// Whether so many of the plan's tasks make a success or a partial success.
    #[must_use]
    pub fn is_enough(&self, tasks: usize) -> bool {
        let percent = usize::from(self.policy.success_percent.min(100));
        tasks > 0 && tasks * 100 >= percent * self.planned
    }

    /// The tasks that are done, dependencies before dependents, otherwise as in the plan.
    #[must_use]
    pub fn merge_order(&self) -> Vec<TaskIx> {
        let mut waiting: Vec<usize> = self
            .facts
            .iter()
            .take(self.planned)
            .map(|f| f.needs.len() + f.after.iter().filter(|a| !f.needs.contains(a)).count())
            .collect();
        let mut free: BTreeSet<TaskIx> = self
            .indexes()
            .filter(|ix| waiting[ix.index()] == 0)
            .collect();
        let mut order = Vec::with_capacity(self.done);
        while let Some(ix) = free.pop_first() {
            if matches!(self.task(ix).state, TaskState::Done { .. }) {
                order.push(ix);
            }
            for (dependent, _) in &self.dependents[ix.index()] {
                let left = &mut waiting[dependent.index()];
                *left = left.saturating_sub(1);
                if *left == 0 {
                    free.insert(*dependent);
                }
            }
        }
        order
    }

    /// Whether a task is over without a result that was or can be delivered.
    #[must_use]
    pub fn can_be_revived(&self, ix: TaskIx) -> bool {
        match &self.task(ix).state {
            _ if self.resolvers.contains_key(&ix) => false,
            TaskState::Failed { .. } | TaskState::Cancelled | TaskState::Skipped { .. } => true,
            // Done, and of no use like this.
            TaskState::Done { .. } => matches!(
                self.queue.aside().get(self.name(ix)),
                Some(AsideWhy::Red { .. } | AsideWhy::Conflict { .. })
            ),
            TaskState::Waiting
            | TaskState::Ready(_)
            | TaskState::Active(_)
            | TaskState::Undecided { .. } => false,
        }
    }
}

fn up_to(count: usize) -> impl Iterator<Item = TaskIx> + use<> {
    (0..u32::try_from(count).unwrap_or(u32::MAX)).map(TaskIx::new)
}

fn indexed(facts: &[TaskFacts]) -> impl Iterator<Item = (TaskIx, &TaskFacts)> {
    (0..).map(TaskIx::new).zip(facts)
}
