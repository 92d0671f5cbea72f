//! What the state is made of: what is known of a task, where it stands, what was tried.

use crate::core::attempt::{FailureClass, SessionId, StartMode};
use crate::core::budget::{BudgetPolicy, Grant, Limit, Money, Spent};
use crate::core::graph::TaskIx;
use crate::core::id::{Oid, TaskName};
use crate::core::overlap::FilePattern;
use crate::core::plan::{Priority, ValidPlan};
use crate::core::queue::QueuePolicy;
use crate::core::record::{MergeMode, Place, Verdict};
use crate::core::retry::{Approach, RetryPolicy};
use crate::core::time::{Millis, Timestamp};

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
    pub(super) fn now(start: StartMode) -> Self {
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
    pub(super) fn new() -> Self {
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
    pub(super) fn learn(&mut self, attempt: u32, class: FailureClass, detail: &str) {
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
