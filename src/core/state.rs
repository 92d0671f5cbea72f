//! The state of one orchestration: the fold of its journal.
//!
//! [`State::apply`] is the only way to change it. It knows structure (who waits for whom,
//! who is ready) and no policy; the decisions are made in [`super::step`].

use std::collections::{BTreeMap, BTreeSet};

use super::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use super::budget::{BudgetPolicy, Grant, Limit, Money, Spent};
use super::conditions::Conditions;
use super::delivery::Deliveries;
use super::event::Left;
use super::graph::TaskIx;
use super::id::{Oid, TaskName};
use super::overlap::FilePattern;
use super::plan::{Priority, ValidPlan};
use super::queue::{Queue, QueuePolicy};
use super::record::{
    AsideWhy, IntegrationEnd, MergeMode, Place, QueueResult, QueueWork, Record, Resolution,
    UndoHow, Verdict,
};
use super::retry::{Approach, RetryPolicy};
use super::time::{Millis, Timestamp};

/// What the state machine must know of a task; nothing else of the plan matters to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFacts {
    /// Its name.
    pub name: TaskName,
    /// Tasks whose results it needs: when one of them fails, this one is skipped.
    pub needs: Vec<TaskIx>,
    /// Tasks that only go before it (they touch the same files): it waits for their end,
    /// however they end, and builds on what they did.
    pub after: Vec<TaskIx>,
    /// The files that it expects to touch.
    pub files: Vec<FilePattern>,
    /// 0 is the most urgent.
    pub urgency: u8,
    /// Weight of the longest chain of tasks that starts with this one.
    pub chain: u64,
    /// How many attempts may be made.
    pub max_attempts: u32,
    /// What it may cost.
    pub limit: Limit,
}

impl TaskFacts {
    /// The facts of all tasks of a plan, in its order.
    ///
    /// `max_attempts` and `limit` apply to tasks that say nothing of it.
    #[must_use]
    pub fn of(plan: &ValidPlan, max_attempts: u32, limit: Limit) -> Vec<Self> {
        plan.ixs()
            .map(|ix| {
                let task = plan.task(ix);
                let needs = plan.declared_deps(ix).to_vec();
                let after = plan
                    .deps(ix)
                    .iter()
                    .copied()
                    .filter(|before| !needs.contains(before))
                    .collect();
                Self {
                    name: task.name.clone(),
                    needs,
                    after,
                    files: task.files.clone(),
                    urgency: match task.priority {
                        Priority::Critical => 0,
                        Priority::High => 1,
                        Priority::Normal => 2,
                        Priority::Low => 3,
                    },
                    chain: plan.remaining_chain(ix),
                    max_attempts: task.max_attempts.unwrap_or(max_attempts).max(1),
                    limit: Limit {
                        usd: task.max_budget_usd.map(Money::from_dollars).or(limit.usd),
                        ..limit
                    },
                }
            })
            .collect()
    }
}

/// The rules of one orchestration, frozen when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Instances at once.
    pub workers: u32,
    /// From how many percent of tasks done a run counts as a (partial) success.
    pub success_percent: u8,
    /// What to do with the results; nothing when absent.
    pub merge: Option<MergeMode>,
    /// How results are merged and proved.
    pub queue: QueuePolicy,
    /// What is done about failed attempts.
    pub retry: RetryPolicy,
    /// What the run may cost.
    pub budget: BudgetPolicy,
    /// Random number of this orchestration: name space of its session ids.
    pub token: uuid::Uuid,
}

/// The attempt that a ready task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Fresh or resumed.
    pub start: StartMode,
    /// Not before.
    pub not_before: Timestamp,
    /// How long that was when it was decided; unknown in old journals.
    pub delay: Option<Millis>,
    /// What it does differently.
    pub approach: Approach,
}

impl Next {
    /// The plain attempt, at once.
    fn now(start: StartMode) -> Self {
        Self {
            start,
            not_before: Timestamp(0),
            delay: None,
            approach: Approach::default(),
        }
    }
}

/// An attempt in work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Its session.
    pub session: SessionId,
    /// Fresh or resumed.
    pub start: StartMode,
    /// What it does differently.
    pub approach: Approach,
    /// What it may spend.
    pub grant: Grant,
    /// When it was decided; unknown in old journals.
    pub since: Option<Timestamp>,
    /// Whether its supervisor is known to run.
    pub running: bool,
    /// The request of the person who works in it, if one does.
    pub attached: Option<String>,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Other tasks must end first.
    Waiting,
    /// It may start as soon as there is room.
    Ready(Next),
    /// An attempt is in work.
    Active(Active),
    /// An attempt ended badly and what follows is not yet decided.
    Undecided {
        /// Why.
        class: FailureClass,
        /// What happened.
        detail: String,
        /// Before which time another try is of no use.
        until: Option<Timestamp>,
        /// What the attempt did differently.
        approach: Approach,
    },
    /// Done.
    Done {
        /// The frozen tip of its branch.
        head: Oid,
        /// What the instance said at the end.
        summary: String,
    },
    /// Given up.
    Failed {
        /// Why.
        class: FailureClass,
        /// What happened.
        detail: String,
    },
    /// Never tried, since a task that it needs did not get done.
    Skipped {
        /// That task.
        because: TaskIx,
    },
    /// Taken out on request.
    Cancelled,
}

impl TaskState {
    /// Whether nothing more happens to the task by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Done { .. } | Self::Failed { .. } | Self::Skipped { .. } | Self::Cancelled
        )
    }
}

/// A task and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub state: TaskState,
    /// Its branch and worktree, once claimed.
    pub place: Option<Place>,
    /// The place was claimed before the tasks that it builds on were settled: its base does
    /// not hold their results yet.
    pub early: bool,
    /// Number of the last attempt; grows with every start, so that no two are mixed up.
    pub attempts: u32,
    /// Attempts that failed since the task was planned or revived: what the limit counts.
    pub failures: u32,
    /// Attempts that the provider failed since the last one that it did not.
    pub outages: u32,
    /// What all attempts together spent.
    pub spent: Spent,
    /// The grant of the last attempt, when it ended by having used that up.
    pub used_up: Option<Grant>,
    /// How long all ended attempts together worked.
    pub worked: Millis,
    /// The session of the last attempt.
    pub session: Option<SessionId>,
    /// Whether that session is known to exist.
    pub session_seen: bool,
    /// Whether the results that it builds on did not merge with each other when it was last
    /// to begin.
    pub apart: bool,
    /// How the last failed attempts ended.
    pub lesson: Option<String>,
    /// Whether it is held back on request.
    pub held: bool,
    /// Whether it is being taken out on request.
    pub cancelling: bool,
    /// The request of a person who waits to take it over.
    pub attach: Option<String>,
}

impl Entry {
    /// Of a task that nothing happened to.
    fn new() -> Self {
        Self {
            state: TaskState::Waiting,
            place: None,
            early: false,
            attempts: 0,
            failures: 0,
            outages: 0,
            spent: Spent::default(),
            used_up: None,
            worked: Millis(0),
            session: None,
            session_seen: false,
            apart: false,
            lesson: None,
            held: false,
            cancelling: false,
            attach: None,
        }
    }

    /// Remembers how an attempt failed, with the ones before.
    fn learn(&mut self, attempt: u32, class: FailureClass, detail: &str) {
        let new = format!("Attempt {attempt} ({class}): {detail}");
        let known = self.lesson.take().unwrap_or_default();
        let known: Vec<&str> = known.split("\n\n").filter(|l| !l.is_empty()).collect();
        let kept = known.len().saturating_sub(LESSONS - 1);
        let mut lessons: Vec<&str> = known.into_iter().skip(kept).collect();
        lessons.push(&new);
        self.lesson = Some(lessons.join("\n\n"));
    }
}

/// How many failed attempts are remembered for those that follow.
const LESSONS: usize = 3;

/// Where the orchestration as a whole stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Tasks are worked on.
    Running,
    /// The results are being merged.
    Integrating(MergeMode),
    /// Ended; `closed` when reports are written and the workspace is tidy.
    Finished {
        /// How.
        verdict: Verdict,
        /// Whether nothing is left to do.
        closed: bool,
    },
}

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

    /// The done tasks whose results are neither proven nor delivered, dependencies before
    /// dependents, otherwise as in the plan. Its cost does not depend on the others.
    pub(super) fn unmerged(&self) -> Vec<TaskIx> {
        let mut waiting: BTreeMap<TaskIx, usize> = BTreeMap::new();
        let mut followers: BTreeMap<TaskIx, Vec<TaskIx>> = BTreeMap::new();
        for ix in &self.unmerged {
            let before: BTreeSet<TaskIx> = self.before(*ix).collect();
            let before = before.intersection(&self.unmerged);
            let mut count = 0;
            for before in before {
                followers.entry(*before).or_default().push(*ix);
                count += 1;
            }
            waiting.insert(*ix, count);
        }
        let free = waiting.iter().filter(|(_, count)| **count == 0);
        let mut free: BTreeSet<TaskIx> = free.map(|(ix, _)| *ix).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(ix) = free.pop_first() {
            order.push(ix);
            for follower in followers.get(&ix).into_iter().flatten() {
                if let Some(left) = waiting.get_mut(follower) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        free.insert(*follower);
                    }
                }
            }
        }
        order
    }

    /// Takes out of the unmerged ones what was proven since `known` links were.
    fn merged_since(&mut self, known: usize) {
        let new = self.queue.proven().get(known..).unwrap_or_default();
        let merged: Vec<TaskIx> = new.iter().filter_map(|l| self.find(&l.task)).collect();
        for ix in merged {
            self.unmerged.remove(&ix);
        }
    }

    /// Finds the unmerged ones anew: a chain was given up, or a delivery taken back.
    fn find_unmerged(&mut self) {
        let done = |ix: &TaskIx| matches!(self.task(*ix).state, TaskState::Done { .. });
        let unmerged = self
            .indexes()
            .filter(done)
            .filter(|ix| !self.queue.is_settled(self.name(*ix)));
        self.unmerged = unmerged.collect();
    }

    /// The tasks of the plan that wait or are ready.
    pub(super) fn open(&self) -> impl Iterator<Item = TaskIx> {
        let planned = self.planned;
        let open = self.open.iter().copied();
        open.filter(move |ix| ix.index() < planned)
    }

    /// Whether some task is neither settled nor in work.
    pub(super) fn has_idle(&self) -> bool {
        self.unsettled > self.active.len()
    }

    /// The ready task that should start next at `now`, if any is due and not held.
    #[must_use]
    pub(super) fn next_ready(&self) -> Option<TaskIx> {
        self.ready
            .iter()
            .map(|(_, _, _, ix)| *ix)
            .find(|ix| !self.awaits_the_queue(*ix))
    }

    /// Whether a task's predecessors did not merge with each other, and the merge queue is
    /// about to find out how they do.
    fn awaits_the_queue(&self, ix: TaskIx) -> bool {
        self.task(ix).apart
            && self
                .before(ix)
                .any(|before| self.queue.is_deciding(self.name(before)))
    }

    /// Whether it is worth while to begin a task once more whose predecessors did not merge
    /// with each other.
    pub(super) fn may_come_together(&self, ix: TaskIx) -> bool {
        self.awaits_the_queue(ix)
            || (self.task(ix).failures == 1
                && self
                    .before(ix)
                    .any(|before| self.queue.is_resolved(self.name(before))))
    }

    fn before(&self, ix: TaskIx) -> impl Iterator<Item = TaskIx> {
        let facts = self.facts(ix);
        facts.needs.iter().chain(&facts.after).copied()
    }

    /// Moves the tasks whose pause is over to the ready queue; returns when the next one is.
    pub(super) fn wake_delayed(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((at, ix)) = self.delayed.first().copied() {
            if !self.is_due(ix, now) {
                return Some(at);
            }
            self.delayed.pop_first();
            self.ready.insert(self.rank(ix));
        }
        None
    }

    /// Whether the pause of a task is over. When more of it seems to be left than it was to
    /// last, the clock went back.
    fn is_due(&self, ix: TaskIx, now: Timestamp) -> bool {
        let TaskState::Ready(next) = &self.task(ix).state else {
            return true;
        };
        let longest = next.delay.unwrap_or(self.policy.retry.max_delay);
        next.not_before <= now || next.not_before.since(now) > longest
    }

    /// The tasks whose ended attempt awaits a decision.
    pub(super) fn undecided(&self) -> Vec<TaskIx> {
        self.undecided.iter().copied().collect()
    }

    /// The tasks that need this one's result.
    pub(super) fn needing(&self, ix: TaskIx) -> Vec<TaskIx> {
        self.dependents[ix.index()]
            .iter()
            .filter(|(_, needs)| *needs)
            .map(|(d, _)| *d)
            .collect()
    }

    /// Takes one record in. Records that do not fit the state (of a task that is unknown,
    /// or already settled) change nothing: a journal can be replayed from any prefix.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Begun => {}
            Record::Prepared { task, place } => {
                if let Some(ix) = self.find(task) {
                    let early = !self.is_free(ix);
                    let entry = &mut self.tasks[ix.index()];
                    entry.place = Some(place.clone());
                    entry.apart = false;
                    entry.early = early;
                }
            }
            Record::AttemptStarted {
                task,
                attempt,
                session,
                start,
                approach,
                grant,
                at,
                attached,
            } => {
                if let Some(ix) = self.find(task) {
                    self.set(
                        ix,
                        TaskState::Active(Active {
                            attempt: *attempt,
                            session: *session,
                            start: *start,
                            approach: *approach,
                            grant: *grant,
                            since: *at,
                            running: false,
                            attached: attached.clone(),
                        }),
                    );
                    if attached.is_some() {
                        self.want(ix, None);
                    }
                    let entry = &mut self.tasks[ix.index()];
                    entry.used_up = None;
                    entry.attempts = *attempt;
                    entry.session = Some(*session);
                    entry.session_seen = *start == StartMode::Resume;
                }
            }
            Record::AttemptRunning { task, attempt } => {
                if let Some(ix) = self.find(task)
                    && let TaskState::Active(active) = &mut self.tasks[ix.index()].state
                    && active.attempt == *attempt
                {
                    active.running = true;
                }
            }
            Record::AttemptEnded {
                task,
                attempt,
                end,
                session_seen,
                until,
                account,
            } => {
                let left = Left {
                    session_seen: *session_seen,
                    until: *until,
                    account: *account,
                };
                self.apply_end(task, *attempt, end, &left);
            }
            Record::Requeued {
                task,
                start,
                not_before,
                delay,
                approach,
            } => {
                if let Some(ix) = self.find(task) {
                    self.set(
                        ix,
                        TaskState::Ready(Next {
                            start: *start,
                            not_before: *not_before,
                            delay: *delay,
                            approach: *approach,
                        }),
                    );
                }
            }
            Record::TaskFailed {
                task,
                class,
                detail,
            } => {
                let (class, detail) = (*class, detail.clone());
                if class == FailureClass::Authentication {
                    self.refused = Some(detail.clone());
                }
                self.settle(task, TaskState::Failed { class, detail });
            }
            Record::TaskSkipped { task, because } => {
                if let Some(because) = self.find(because) {
                    self.settle(task, TaskState::Skipped { because });
                }
            }
            Record::TaskCancelled { task } => self.settle(task, TaskState::Cancelled),
            Record::PutAfter { task, after, .. } => {
                if let (Some(ix), Some(before)) = (self.find(task), self.find(after))
                    && self.can_go_after(ix, before)
                {
                    self.put_after(ix, before);
                }
            }
            Record::AttachAsked { task, ticket } => {
                if let Some(ix) = self.find(task)
                    && !self.task(ix).state.is_settled()
                {
                    self.want(ix, Some(ticket.clone()));
                }
            }
            Record::TaskRevived { task } => self.revive(task),
            Record::PauseRequested { task } => self.hold(task.as_ref(), true),
            Record::ResumeRequested { task } => {
                self.refused = None;
                self.hold(task.as_ref(), false);
            }
            Record::CancelRequested { task: None } => self.cancelling = true,
            Record::CancelRequested { task: Some(name) } => {
                if let Some(ix) = self.find(name) {
                    self.tasks[ix.index()].cancelling = true;
                }
            }
            Record::WorkersChanged { workers } => self.workers = (*workers).max(1),
            Record::IntegrationStarted { mode, only, asked } => {
                let again = matches!(self.phase, Phase::Finished { .. });
                self.queue
                    .integration_started(again, only.as_deref(), *asked);
                self.find_unmerged();
                self.phase = Phase::Integrating(*mode);
                if *asked {
                    self.refused = None;
                }
                // A run that is ending is not integrated, unless it is asked for afterwards.
                self.cancelling = false;
            }
            Record::IntegrationEnded { result } => {
                let done = self
                    .facts
                    .iter()
                    .zip(&self.tasks)
                    .filter_map(|(facts, task)| {
                        matches!(task.state, TaskState::Done { .. }).then_some(&facts.name)
                    });
                if let IntegrationEnd::Delivered { from, to, verified } = result {
                    self.deliveries
                        .integration_ended(from, to, *verified, done.clone());
                }
                self.queue.integration_ended(result, done);
                self.integration = Some(result.clone());
                // The end of the run follows. A journal that was cut off between the two ends
                // this integration once more, in the mode that was asked for, and begins no
                // other.
            }
            Record::QueueStarted { work } => self.queue.started(work),
            Record::QueueEnded { result } => {
                let delivers = matches!(self.queue.work(), Some(QueueWork::Deliver { .. }))
                    && *result == QueueResult::Delivered;
                // Only then: the chain is as long as the run has results.
                let links = self.queue.proven().get(..).filter(|_| delivers);
                let links = links.unwrap_or_default().iter();
                let tasks = links.map(|link| link.task.clone()).collect();
                self.queue.ended(result);
                if matches!(result, QueueResult::BaseMoved { .. }) {
                    self.find_unmerged();
                }
                if delivers && let Some(last) = self.queue.last_delivery() {
                    self.deliveries
                        .delivered(&last.from, &last.to, last.verified, tasks);
                }
            }
            Record::Proven { commit, verified } => {
                let known = self.queue.proven().len();
                self.queue.prove(commit, *verified);
                self.merged_since(known);
            }
            Record::SetAside { task, why } => self.queue.set_aside(task, why),
            Record::ResolverAdded { resolution } => self.add_resolver(resolution),
            Record::ConflictAnswered { task, text } => {
                self.refused = None;
                self.queue.conflict_answered(task, text);
            }
            Record::UndoStarted { from, to, tip, how } => {
                self.deliveries.undo_begun(from, to, tip, how);
            }
            Record::Undone { from, to, how } => {
                let tasks = self.deliveries.undone(from, to, how);
                // After a commit on top the base branch still holds the results' commits:
                // merging these again would change nothing.
                if *how == UndoHow::Rewind {
                    self.queue.taken_back(to, &tasks);
                    self.find_unmerged();
                }
                if self.deliveries.all_taken_back()
                    && matches!(self.integration, Some(IntegrationEnd::Delivered { .. }))
                {
                    self.integration = None;
                }
            }
            Record::Finished { verdict } => {
                self.ends = self.ends.saturating_add(1);
                self.phase = Phase::Finished {
                    verdict: *verdict,
                    closed: false,
                };
            }
            Record::RequestTaken { id } => {
                self.taken.insert(id.clone());
            }
            Record::Closed => {
                if let Phase::Finished { closed, .. } = &mut self.phase {
                    *closed = true;
                }
            }
        }
    }

    fn add_resolver(&mut self, resolution: &Resolution) {
        if self.find(&resolution.resolver).is_some() {
            return;
        }
        let ix = TaskIx::new(u32::try_from(self.facts.len()).unwrap_or(u32::MAX));
        self.queue.resolver_added(resolution);
        self.facts.push(TaskFacts {
            name: resolution.resolver.clone(),
            needs: Vec::new(),
            after: Vec::new(),
            files: Vec::new(),
            // Everything that is finished waits for it.
            urgency: 0,
            chain: u64::MAX,
            max_attempts: RESOLVER_ATTEMPTS,
            limit: Limit::default(),
        });
        self.tasks.push(Entry::new());
        self.open.insert(ix);
        self.dependents.push(Vec::new());
        self.by_name.insert(resolution.resolver.clone(), ix);
        self.resolvers.insert(ix, resolution.clone());
        self.unsettled += 1;
        self.requeue_if_free(ix);
    }

    fn apply_end(&mut self, task: &TaskName, attempt: u32, end: &AttemptEnd, left: &Left) {
        let Left {
            session_seen,
            until,
            account,
        } = *left;
        let Some(ix) = self.find(task) else { return };
        let TaskState::Active(active) = &self.task(ix).state else {
            return;
        };
        if active.attempt != attempt {
            return;
        }
        // Whoever ran knows; an attempt that never ran says nothing of the session.
        let ran = active.running;
        let (grant, approach) = (active.grant, active.approach);
        let class = match end {
            AttemptEnd::Failed { class, .. } => Some(*class),
            _ => None,
        };
        // A client that speaks of a budget which nobody gave it has failed in another way.
        let by_budget = class == Some(FailureClass::Budget) && !grant.is_unlimited();
        let spent = account.counted(grant, by_budget);
        self.spent = self.spent.plus(spent);
        self.yielding.remove(&(ix, attempt));
        let entry = &mut self.tasks[ix.index()];
        entry.spent = entry.spent.plus(spent);
        entry.used_up = by_budget.then_some(grant);
        let worked = account.worked_ms.unwrap_or(0);
        entry.worked = Millis(entry.worked.0.saturating_add(worked));
        entry.outages = match class {
            Some(class) if class.is_outage() => entry.outages + 1,
            _ => 0,
        };
        entry.session_seen = session_seen || (entry.session_seen && !ran);
        match end {
            AttemptEnd::Complete { head, summary } => self.settle(
                task,
                TaskState::Done {
                    head: head.clone(),
                    summary: summary.clone(),
                },
            ),
            AttemptEnd::Failed { class, detail } => {
                let entry = &mut self.tasks[ix.index()];
                entry.apart = *class == FailureClass::DependencyConflict;
                if !entry.apart {
                    entry.learn(attempt, *class, detail);
                }
                if !class.is_outage() && !by_budget {
                    entry.failures += 1;
                }
                self.set(
                    ix,
                    TaskState::Undecided {
                        class: *class,
                        detail: detail.clone(),
                        until,
                        approach,
                    },
                );
            }
            AttemptEnd::Paused => {
                let entry = &mut self.tasks[ix.index()];
                let start = if entry.session_seen {
                    StartMode::Resume
                } else {
                    StartMode::Fresh
                };
                self.set(
                    ix,
                    TaskState::Ready(Next {
                        approach,
                        ..Next::now(start)
                    }),
                );
            }
            AttemptEnd::Cancelled => self.settle(task, TaskState::Cancelled),
        }
    }

    fn settle(&mut self, task: &TaskName, to: TaskState) {
        let Some(ix) = self.find(task) else { return };
        if self.task(ix).state.is_settled() {
            return;
        }
        if self.resolvers.contains_key(&ix) {
            let result = match &to {
                TaskState::Done { head, .. } => Ok(head),
                TaskState::Failed { detail, .. } => Err(detail.clone()),
                _ => Err("it was cancelled".to_owned()),
            };
            self.queue.resolver_ended(task, result);
        }
        self.want(ix, None);
        self.set(ix, to);
        for (dependent, _) in self.dependents[ix.index()].clone() {
            self.requeue_if_free(dependent);
        }
    }

    /// Back from settled: it and those that waited for it count anew.
    fn revive(&mut self, task: &TaskName) {
        let Some(ix) = self.find(task) else { return };
        if !self.can_be_revived(ix) {
            return;
        }
        // A session that brought a result to its end knows best how to mend it.
        let lesson = self.queue.aside().get(task).map(super::queue::lesson);
        let resume = lesson.is_some() && self.task(ix).session_seen;
        if lesson.is_some() {
            self.tasks[ix.index()].lesson = lesson;
        }
        let known = self.queue.proven().len();
        self.queue.forget(task);
        if self.queue.proven().len() < known {
            self.find_unmerged();
        }
        let entry = &mut self.tasks[ix.index()];
        entry.failures = 0;
        entry.outages = 0;
        entry.held = false;
        entry.cancelling = false;
        self.cancelling = false;
        self.paused = false;
        self.refused = None;
        self.phase = Phase::Running;
        self.set(ix, TaskState::Waiting);
        self.requeue_if_free(ix);
        if resume && matches!(self.task(ix).state, TaskState::Ready(_)) {
            self.set(ix, TaskState::Ready(Next::now(StartMode::Resume)));
        }
        for (dependent, _) in self.dependents[ix.index()].clone() {
            if matches!(self.task(dependent).state, TaskState::Ready(_))
                && self.task(dependent).attempts == 0
            {
                self.set(dependent, TaskState::Waiting);
                self.requeue_if_free(dependent);
            }
        }
    }

    /// A person waits to take it over, or does not any more.
    fn want(&mut self, ix: TaskIx, ticket: Option<String>) {
        if ticket.is_some() {
            self.wanted.insert(ix);
        } else {
            self.wanted.remove(&ix);
        }
        self.tasks[ix.index()].attach = ticket;
    }

    /// Whether a task may still be made to wait for another one: it was never started, does
    /// not wait for that one anyway, and that one does not wait for it.
    pub(super) fn can_go_after(&self, ix: TaskIx, before: TaskIx) -> bool {
        let entry = self.task(ix);
        matches!(entry.state, TaskState::Waiting | TaskState::Ready(_))
            && entry.attempts == 0
            && ix != before
            && !self.comes_before(before, ix)
            && !self.comes_before(ix, before)
    }

    /// Whether `later` waits for `earlier`, directly or not.
    fn comes_before(&self, earlier: TaskIx, later: TaskIx) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = vec![later];
        while let Some(ix) = todo.pop() {
            let facts = self.facts(ix);
            for before in facts.needs.iter().chain(&facts.after) {
                if *before == earlier {
                    return true;
                }
                if seen.insert(*before) {
                    todo.push(*before);
                }
            }
        }
        false
    }

    fn put_after(&mut self, ix: TaskIx, before: TaskIx) {
        self.facts[ix.index()].after.push(before);
        self.dependents[before.index()].push((ix, false));
        let entry = &mut self.tasks[ix.index()];
        // A place that is there does not hold what the other one will have done.
        entry.early = entry.place.is_some();
        if !self.is_free(ix) {
            self.set(ix, TaskState::Waiting);
        }
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

    fn hold(&mut self, task: Option<&TaskName>, held: bool) {
        match task {
            None => self.paused = held,
            Some(name) => {
                if let Some(ix) = self.find(name) {
                    self.leave_queues(ix);
                    self.tasks[ix.index()].held = held;
                    self.enter_queues(ix);
                }
            }
        }
    }

    /// A waiting task all of whose predecessors are settled becomes ready.
    fn requeue_if_free(&mut self, ix: TaskIx) {
        if self.task(ix).state != TaskState::Waiting {
            return;
        }
        if self.is_free(ix) {
            self.set(ix, TaskState::Ready(Next::now(StartMode::Fresh)));
        }
    }

    /// Whether everything that it waits for is settled.
    fn is_free(&self, ix: TaskIx) -> bool {
        let facts = &self.facts[ix.index()];
        facts
            .needs
            .iter()
            .chain(&facts.after)
            .all(|before| self.task(*before).state.is_settled())
    }

    fn rank(&self, ix: TaskIx) -> Rank {
        let facts = self.facts(ix);
        let alone = matches!(&self.task(ix).state, TaskState::Ready(next) if next.approach.alone);
        (alone, facts.urgency, std::cmp::Reverse(facts.chain), ix)
    }

    /// The one place where a task's state changes, so that the indexes stay true.
    fn set(&mut self, ix: TaskIx, to: TaskState) {
        self.leave_queues(ix);
        let entry = &mut self.tasks[ix.index()];
        let planned = ix.index() < self.planned;
        if planned && matches!(entry.state, TaskState::Done { .. }) {
            self.done -= 1;
            self.unmerged.remove(&ix);
        }
        if !entry.state.is_settled() {
            self.unsettled -= 1;
        }
        entry.state = to;
        if planned && matches!(entry.state, TaskState::Done { .. }) {
            self.done += 1;
            self.unmerged.insert(ix);
        }
        if !entry.state.is_settled() {
            self.unsettled += 1;
        }
        self.enter_queues(ix);
    }

    fn leave_queues(&mut self, ix: TaskIx) {
        let rank = self.rank(ix);
        self.open.remove(&ix);
        match &self.tasks[ix.index()].state {
            TaskState::Ready(next) => {
                self.delayed.remove(&(next.not_before, ix));
                self.ready.remove(&rank);
            }
            TaskState::Active(_) => {
                self.active.remove(&ix);
            }
            TaskState::Undecided { .. } => {
                self.undecided.remove(&ix);
            }
            _ => {}
        }
    }

    fn enter_queues(&mut self, ix: TaskIx) {
        let rank = self.rank(ix);
        let entry = &self.tasks[ix.index()];
        if matches!(entry.state, TaskState::Waiting | TaskState::Ready(_)) {
            self.open.insert(ix);
        }
        match &entry.state {
            TaskState::Ready(_) if entry.held => {}
            TaskState::Ready(next) if next.not_before > Timestamp(0) => {
                self.delayed.insert((next.not_before, ix));
            }
            TaskState::Ready(_) => {
                self.ready.insert(rank);
            }
            TaskState::Active(_) => {
                self.active.insert(ix);
            }
            TaskState::Undecided { .. } => {
                self.undecided.insert(ix);
            }
            _ => {}
        }
    }
}

fn up_to(count: usize) -> impl Iterator<Item = TaskIx> + use<> {
    (0..u32::try_from(count).unwrap_or(u32::MAX)).map(TaskIx::new)
}

fn indexed(facts: &[TaskFacts]) -> impl Iterator<Item = (TaskIx, &TaskFacts)> {
    (0..).map(TaskIx::new).zip(facts)
}
