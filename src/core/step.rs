//! The state machine: an event comes in, records and effects come out.
//!
//! [`step`] decides; each decision is a [`Record`] which is applied at once. The caller
//! appends the records to the journal *before* it carries out the effects, so whatever is
//! in work can be found again after a crash. [`Event::Adopted`] asks for every effect that
//! the state says is due: a restart is nothing but that.

use uuid::Uuid;

use super::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use super::budget::{self, Account, Ask, Granted};
use super::conditions::Conditions;
use super::event::{Effect, Event, Left, Request, StopHow};
use super::graph::TaskIx;
use super::id::TaskName;
use super::overlap::Touched;
use super::queue::decide::{Decision, decide, with_contained};
use super::record::{AsideWhy, IntegrationEnd, MergeMode, Place, QueueResult, Record, Verdict};
use super::retry::{self, Answer, Approach, Case};
use super::state::{Phase, State, TaskState};
use super::time::Timestamp;

/// What one event led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// To be journaled first; already applied to the state.
    pub records: Vec<Record>,
    /// To be carried out then.
    pub effects: Vec<Effect>,
}

/// Takes one event in.
///
/// Deterministic: the same state, event and time give the same step. The cost does not
/// depend on how many tasks are finished (but for [`Event::Adopted`], which looks at all).
pub fn step(state: &mut State, event: &Event, now: Timestamp) -> Step {
    let mut stepper = Stepper {
        state,
        now,
        out: Step::default(),
    };
    stepper.take(event);
    stepper.advance();
    stepper.out
}

/// The session of an attempt: derived, so that it is known before the instance exists and
/// the same after a replay.
#[must_use]
pub fn session_for(token: Uuid, task: &TaskName, attempt: u32) -> SessionId {
    let name = format!("{task}/{attempt}");
    SessionId(Uuid::new_v5(&token, name.as_bytes()))
}

/// Random number of one decision about a task: the same in a replay.
fn seed(token: Uuid, task: &TaskName, attempt: u32) -> u64 {
    let name = format!("{task}/{attempt}/pause");
    Uuid::new_v5(&token, name.as_bytes()).as_u64_pair().0
}

/// Of an attempt that never ran.
const NOTHING_LEFT: Left = Left {
    session_seen: false,
    until: None,
    account: Account::of_nothing(),
};

/// What became of a task that was to be started.
enum Started {
    Yes,
    /// It has to wait, and all that come after it as well.
    Waits,
    /// It was given up.
    Never,
}

struct Stepper<'a> {
    state: &'a mut State,
    now: Timestamp,
    out: Step,
}

impl Stepper<'_> {
    fn record(&mut self, record: Record) {
        self.state.apply(&record);
        self.out.records.push(record);
    }

    fn effect(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }

    fn name(&self, ix: TaskIx) -> TaskName {
        self.state.name(ix).clone()
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Tick => {}
            Event::Adopted => self.adopt(),
            Event::Prepared { task, place } => self.prepared(*task, place),
            Event::NotStarted {
                task,
                class,
                detail,
            } => self.not_started(*task, *class, detail),
            Event::Launched { task, attempt } => self.launched(*task, *attempt),
            Event::Ended {
                task,
                attempt,
                end,
                left,
            } => self.ended(*task, *attempt, end, *left),
            Event::Conditions(conditions) => self.conditions_changed(conditions),
            Event::Asked { id, request } => {
                if !self.state.taken.contains(id) {
                    self.record(Record::RequestTaken { id: id.clone() });
                    self.asked(request);
                }
            }
            Event::Touched { task, files } => self.touched(*task, files),
            Event::Queue(result) => self.queue_ended(result),
            Event::Closed { number } => {
                // A slow one may be about an end after which the run went on.
                if *number == self.state.ends
                    && matches!(self.state.phase, Phase::Finished { closed: false, .. })
                {
                    self.record(Record::Closed);
                }
            }
        }
    }

    /// Every effect that is due according to the state.
    fn adopt(&mut self) {
        let active: Vec<TaskIx> = self.state.active().iter().copied().collect();
        for ix in active {
            self.start_or_watch(ix);
            self.stop_if_asked(ix);
        }
        // A crash may have come between the end of a task and what follows from it.
        for ix in self.state.every().collect::<Vec<_>>() {
            if self.state.task(ix).state.is_settled() {
                self.skip_those_that_need(ix);
            }
        }
        if let Some(work) = self.state.queue.work() {
            let work = work.clone();
            self.effect(Effect::Queue(work));
            if self.state.cancelling {
                self.effect(Effect::StopQueue);
            }
        }
        if let Phase::Finished {
            verdict,
            closed: false,
        } = self.state.phase
        {
            self.effect_close(verdict);
        }
    }

    fn prepared(&mut self, ix: TaskIx, place: &Place) {
        if !matches!(self.state.task(ix).state, TaskState::Active(_)) {
            return;
        }
        if self.state.task(ix).place.is_none() || self.state.task(ix).early {
            let task = self.name(ix);
            let place = place.clone();
            self.record(Record::Prepared { task, place });
        }
        if self.ending(ix) {
            // Asked to stop meanwhile: the attempt ends before it began.
            self.end_unborn(ix);
        } else {
            self.start_or_watch(ix);
        }
    }

    fn not_started(&mut self, ix: TaskIx, class: FailureClass, detail: &str) {
        if let TaskState::Active(active) = &self.state.task(ix).state {
            let attempt = active.attempt;
            let end = AttemptEnd::Failed {
                class,
                detail: detail.to_owned(),
            };
            self.ended(ix, attempt, &end, NOTHING_LEFT);
        }
    }

    /// What machine and provider allow changed. What runs goes on with it, but for want of
    /// memory: then one after the other goes, and the last one stays.
    fn conditions_changed(&mut self, conditions: &Conditions) {
        self.state.conditions = conditions.clone();
        let goes_already = !self.state.yielding.is_empty();
        if conditions.pressed && !goes_already && self.state.headless() > 1 {
            self.make_room();
        }
    }

    /// The least advanced instance stops, and its task is queued again.
    fn make_room(&mut self) {
        if let Some((ix, attempt)) = self.state.least_advanced(self.now) {
            self.state.yielding.insert((ix, attempt));
            self.stop(ix, StopHow::Yield);
        }
    }

    fn launched(&mut self, ix: TaskIx, attempt: u32) {
        let TaskState::Active(active) = &self.state.task(ix).state else {
            return;
        };
        if active.attempt != attempt {
            return;
        }
        if !active.running {
            let task = self.name(ix);
            self.record(Record::AttemptRunning { task, attempt });
        }
        self.stop_if_asked(ix);
    }

    fn ended(&mut self, ix: TaskIx, attempt: u32, end: &AttemptEnd, left: Left) {
        let TaskState::Active(active) = &self.state.task(ix).state else {
            return;
        };
        if active.attempt != attempt {
            return;
        }
        let task = self.name(ix);
        let end = end.clone();
        self.record(Record::AttemptEnded {
            task,
            attempt,
            end,
            session_seen: left.session_seen,
            until: left.until,
            account: left.account,
        });
        if self.state.task(ix).cancelling && !self.state.task(ix).state.is_settled() {
            // However the attempt ended, it is not tried again.
            self.settle_as_cancelled(ix);
        } else if self.state.task(ix).state.is_settled() {
            self.skip_those_that_need(ix);
        }
    }

    /// A task in work changed files, whatever the plan said. Those that were not started yet
    /// and expect to touch them go after it, and build on what it did. Among tasks that run
    /// already nothing can be put in order any more.
    fn touched(&mut self, ix: TaskIx, files: &[String]) {
        if !matches!(self.state.task(ix).state, TaskState::Active(_)) || files.is_empty() {
            return;
        }
        let waiting: Vec<TaskIx> = self
            .state
            .open()
            .filter(|other| !self.state.facts(*other).files.is_empty())
            .filter(|other| self.state.can_go_after(*other, ix))
            .collect();
        if waiting.is_empty() {
            return;
        }
        let mut touched = Touched::of(files);
        for other in waiting {
            let files = touched.covered_by(&self.state.facts(other).files);
            // An edge that was just added may order the two already.
            if files.is_empty() || !self.state.can_go_after(other, ix) {
                continue;
            }
            let (task, after) = (self.name(other), self.name(ix));
            self.record(Record::PutAfter { task, after, files });
        }
    }

    fn asked(&mut self, request: &Request) {
        match request {
            Request::Pause { task } => self.asked_pause(task.as_ref()),
            Request::Resume { task } => self.asked_resume(task.as_ref()),
            Request::Cancel { task: None } => {
                let over = matches!(self.state.phase, Phase::Finished { .. });
                if !self.state.cancelling && !over {
                    self.record(Record::CancelRequested { task: None });
                    for ix in self.state.active().clone() {
                        self.stop(ix, StopHow::Cancel);
                    }
                    if self.state.queue.work().is_some() {
                        self.effect(Effect::StopQueue);
                    }
                }
            }
            Request::Cancel { task: Some(name) } => self.asked_cancel_one(name),
            Request::Scale { by } => {
                let workers = self.state.workers.saturating_add_signed(*by).max(1);
                if workers != self.state.workers {
                    self.record(Record::WorkersChanged { workers });
                    let active = u32::try_from(self.state.headless()).unwrap_or(u32::MAX);
                    let going = u32::try_from(self.state.yielding.len()).unwrap_or(u32::MAX);
                    for _ in workers..active.saturating_sub(going) {
                        self.make_room();
                    }
                }
            }
            Request::Retry { task } => self.asked_retry(task.as_ref()),
            Request::Merge { mode, only } => self.asked_merge(*mode, only.as_deref()),
            Request::Answer { task } => self.asked_answer(task),
            Request::Attach { task, ticket } => self.asked_attach(task, ticket),
            Request::Resolve { task, text } => self.asked_resolve(task, text),
        }
    }

    fn asked_merge(&mut self, mode: MergeMode, only: Option<&[TaskName]>) {
        if self.can_integrate() && self.state.done() > 0 {
            let only = only.map(|tasks| with_contained(self.state, tasks));
            self.start_integration(mode, only, true);
        }
    }

    /// Whether integration may begin on request.
    fn can_integrate(&self) -> bool {
        match self.state.phase {
            Phase::Running => self.state.all_settled() && self.state.queue.work().is_none(),
            Phase::Integrating(_) => false,
            Phase::Finished { .. } => true,
        }
    }

    fn asked_resolve(&mut self, task: &TaskName, text: &str) {
        let conflict = matches!(
            self.state.queue.aside().get(task),
            Some(AsideWhy::Conflict { .. })
        );
        if !conflict {
            return;
        }
        let (task, text) = (task.clone(), text.to_owned());
        self.record(Record::ConflictAnswered { task, text });
        if matches!(self.state.phase, Phase::Finished { .. }) {
            let mode = self.state.policy.merge.unwrap_or(MergeMode::Automatic);
            self.start_integration(mode, None, false);
        }
    }

    fn asked_pause(&mut self, task: Option<&TaskName>) {
        let already = match task {
            None => self.state.paused,
            Some(name) => match self.state.find(name) {
                Some(ix) => self.state.task(ix).held || self.state.task(ix).state.is_settled(),
                None => true,
            },
        };
        if already || matches!(self.state.phase, Phase::Finished { .. }) {
            return;
        }
        self.record(Record::PauseRequested {
            task: task.cloned(),
        });
        let active = self.state.active().clone();
        for ix in active {
            // A person who works there goes on; what comes after them is held back.
            let meant = task.is_none_or(|name| self.state.name(ix) == name);
            if meant && !self.state.is_attached(ix) {
                self.stop(ix, StopHow::Pause);
            }
        }
    }

    fn asked_resume(&mut self, task: Option<&TaskName>) {
        let held = match task {
            None => self.state.paused,
            Some(name) => self
                .state
                .find(name)
                .is_some_and(|ix| self.state.task(ix).held),
        };
        if held {
            self.record(Record::ResumeRequested {
                task: task.cloned(),
            });
        }
    }

    fn asked_cancel_one(&mut self, name: &TaskName) {
        let Some(ix) = self.state.find(name) else {
            return;
        };
        match &self.state.task(ix).state {
            TaskState::Active(_) => {
                // Written down: an attempt that is not born yet hears of it once it is.
                if !self.state.task(ix).cancelling {
                    let task = Some(name.clone());
                    self.record(Record::CancelRequested { task });
                }
                self.stop(ix, StopHow::Cancel);
            }
            state if state.is_settled() => {}
            _ => self.settle_as_cancelled(ix),
        }
    }

    fn asked_retry(&mut self, task: Option<&TaskName>) {
        if matches!(self.state.phase, Phase::Integrating(_)) {
            return;
        }
        let chosen: Vec<TaskIx> = match task {
            Some(name) => self.state.find(name).into_iter().collect(),
            None => self.state.indexes().collect(),
        };
        let mut revived = Vec::new();
        for ix in chosen {
            self.revive(ix, &mut revived);
        }
    }

    /// A person said something to a task that ended: it gets a new chance, in the session that
    /// asked or failed, if there is one.
    fn asked_answer(&mut self, task: &TaskName) {
        let ended =
            |state: &TaskState| matches!(state, TaskState::Failed { .. } | TaskState::Cancelled);
        let Some(ix) = self.state.find(task) else {
            return;
        };
        if !ended(&self.state.task(ix).state) {
            return;
        }
        self.asked_retry(Some(task));
        let entry = self.state.task(ix);
        if entry.session_seen && matches!(entry.state, TaskState::Ready(_)) {
            self.record(Record::Requeued {
                task: task.clone(),
                start: StartMode::Resume,
                not_before: Timestamp(0),
                delay: None,
                approach: Approach::default(),
            });
        }
    }

    /// A person takes over a task that was begun: after the instance that works on it, else at
    /// once, and in any case before a pause, a limit of instances or a hold is looked at.
    fn asked_attach(&mut self, name: &TaskName, ticket: &str) {
        let Some(ix) = self.state.find(name) else {
            return;
        };
        if self.state.task(ix).attempts == 0 || self.state.cancelling {
            return;
        }
        self.asked_answer(name);
        let works = match self.state.task(ix).state {
            TaskState::Active(_) => !self.state.is_attached(ix),
            TaskState::Ready(_) | TaskState::Undecided { .. } => false,
            _ => return,
        };
        let (task, ticket) = (name.clone(), ticket.to_owned());
        self.record(Record::AttachAsked { task, ticket });
        if works {
            self.stop_if_asked(ix);
        }
    }

    /// Revives a task, what it needs, and what was skipped because of it.
    fn revive(&mut self, ix: TaskIx, revived: &mut Vec<TaskIx>) {
        let mut todo = vec![ix];
        while let Some(ix) = todo.pop() {
            if !self.state.can_be_revived(ix) || revived.contains(&ix) {
                continue;
            }
            revived.push(ix);
            let task = self.name(ix);
            self.record(Record::TaskRevived { task });
            todo.extend(self.state.facts(ix).needs.iter().copied());
            let skipped = self.state.needing(ix);
            todo.extend(
                skipped
                    .into_iter()
                    .filter(|d| matches!(self.state.task(*d).state, TaskState::Skipped { .. })),
            );
        }
    }

    fn queue_ended(&mut self, result: &QueueResult) {
        // One that was started by a conductor that is gone may end after its successor's.
        if self.state.queue.work().is_some() {
            self.record(Record::QueueEnded {
                result: result.clone(),
            });
        }
    }

    /// Lets the merge queue decide as far as it can.
    fn advance_queue(&mut self) {
        while let Some(decision) = decide(self.state) {
            match decision {
                Decision::Start(work) => {
                    self.record(Record::QueueStarted { work: work.clone() });
                    self.effect(Effect::Queue(work));
                }
                Decision::Prove { commit, verified } => {
                    self.record(Record::Proven { commit, verified });
                }
                Decision::SetAside { proven, task, why } => {
                    if let Some(commit) = proven {
                        self.record(Record::Proven {
                            commit,
                            verified: true,
                        });
                    }
                    self.record(Record::SetAside { task, why });
                }
                Decision::Resolve(resolution) => {
                    self.record(Record::ResolverAdded {
                        resolution: *resolution,
                    });
                }
                Decision::End(result) => self.integrated(result),
            }
        }
    }

    fn integrated(&mut self, result: IntegrationEnd) {
        let Phase::Integrating(mode) = self.state.phase else {
            return;
        };
        let delivered = self.state.queue.delivered().len() == self.state.indexes().count();
        let verdict = match (&result, mode) {
            (IntegrationEnd::Delivered { .. }, _) if delivered => Verdict::Success,
            (IntegrationEnd::Delivered { .. }, _) => Verdict::Partial,
            (IntegrationEnd::Reviewable { .. }, _) => Verdict::Unmerged,
            _ if self.state.cancelling => Verdict::Cancelled,
            _ => Verdict::Failed,
        };
        self.record(Record::IntegrationEnded { result });
        self.finish(verdict);
    }

    /// Decides all that can be decided now.
    fn advance(&mut self) {
        // A task that cannot be started after all may have been what others waited for.
        while self.advance_once() {}
    }

    /// Returns whether a task was given up instead of being started.
    fn advance_once(&mut self) -> bool {
        if matches!(self.state.phase, Phase::Finished { .. }) {
            return false;
        }
        for ix in self.state.undecided() {
            self.decide_retry(ix);
        }
        if self.state.cancelling && self.state.has_idle() {
            for ix in self.state.every().collect::<Vec<_>>() {
                let idle = matches!(
                    self.state.task(ix).state,
                    TaskState::Waiting | TaskState::Ready(_) | TaskState::Undecided { .. }
                );
                if idle {
                    let task = self.name(ix);
                    self.record(Record::TaskCancelled { task });
                }
            }
        }
        for ix in self.state.wanted() {
            if matches!(self.start(ix), Started::Never) {
                return true;
            }
        }
        self.advance_queue();
        let running = matches!(self.state.phase, Phase::Running);
        if running && self.state.all_settled() && self.state.queue.work().is_none() {
            self.conclude();
            self.advance_queue();
        }
        if self.state.paused || matches!(self.state.phase, Phase::Finished { .. }) {
            return false;
        }
        let mut wake = self.state.wake_delayed(self.now);
        if let Some(detail) = self.state.refused() {
            let detail = format!("not started, as it would meet the same: {detail}");
            if self.fail_those_that_are_ready(&detail) {
                return true;
            }
        }
        if let Some(hold) = &self.state.conditions.hold
            && hold.until > self.now
        {
            wake = Some(wake.map_or(hold.until, |at| at.min(hold.until)));
        }
        while self.has_room() {
            let Some(ix) = self.state.next_ready() else {
                break;
            };
            match self.start(ix) {
                Started::Yes => {}
                Started::Waits => break,
                Started::Never => return true,
            }
        }
        if let Some(at) = wake {
            self.effect(Effect::WakeAt(at));
        }
        false
    }

    fn has_room(&self) -> bool {
        let conditions = &self.state.conditions;
        let held = conditions.hold.as_ref();
        if held.is_some_and(|hold| hold.until > self.now) || self.state.works_alone() {
            return false;
        }
        let slots = conditions.slots.map_or(u32::MAX, |slots| slots.max(1));
        let room = self.state.workers.min(slots);
        u32::try_from(self.state.headless()).unwrap_or(u32::MAX) < room
    }

    /// Gives up what may start now and would not get anywhere; returns whether there was any.
    fn fail_those_that_are_ready(&mut self, detail: &str) -> bool {
        let mut any = false;
        while let Some(ix) = self.state.next_ready() {
            let task = self.name(ix);
            self.record(Record::TaskFailed {
                task,
                class: FailureClass::Authentication,
                detail: detail.to_owned(),
            });
            self.skip_those_that_need(ix);
            any = true;
        }
        any
    }

    fn decide_retry(&mut self, ix: TaskIx) {
        let entry = self.state.task(ix);
        let TaskState::Undecided {
            class,
            detail,
            until,
            approach,
        } = &entry.state
        else {
            return;
        };
        let (class, until, approach, detail) = (*class, *until, *approach, detail.clone());
        let task = self.name(ix);
        if class == FailureClass::DependencyConflict && self.state.may_come_together(ix) {
            self.record(Record::Requeued {
                task,
                start: StartMode::Fresh,
                not_before: Timestamp(0),
                delay: None,
                approach,
            });
            return;
        }
        let case = Case {
            class,
            until,
            failures: entry.failures,
            outages: entry.outages,
            max_attempts: self.state.facts(ix).max_attempts,
            session_seen: entry.session_seen,
            approach,
            seed: seed(self.state.policy.token, &task, entry.attempts),
            now: self.now,
        };
        let answer = match retry::decide(self.state.policy.retry, &case) {
            // The session had its ending already.
            _ if entry.used_up.is_some_and(|grant| grant.last) => Answer::GiveUp,
            answer => answer,
        };
        match answer {
            Answer::Retry {
                start,
                delay,
                approach,
            } => self.record(Record::Requeued {
                task,
                start,
                not_before: self.now.plus(delay),
                delay: Some(delay),
                approach,
            }),
            Answer::GiveUp => {
                self.record(Record::TaskFailed {
                    task,
                    class,
                    detail,
                });
                self.skip_those_that_need(ix);
            }
        }
    }

    /// Whether an attempt of the task should not go on. A pause is nothing to a person.
    fn ending(&self, ix: TaskIx) -> bool {
        let paused = self.state.paused || self.state.task(ix).held;
        self.is_cancelled(ix) || (paused && !self.state.is_attached(ix))
    }

    fn is_cancelled(&self, ix: TaskIx) -> bool {
        self.state.cancelling || self.state.task(ix).cancelling
    }

    /// Tells a running attempt to stop when that was asked for.
    fn stop_if_asked(&mut self, ix: TaskIx) {
        if self.is_cancelled(ix) {
            self.stop(ix, StopHow::Cancel);
        } else if self.ending(ix) {
            self.stop(ix, StopHow::Pause);
        } else if self.state.task(ix).attach.is_some() && !self.state.is_attached(ix) {
            self.stop(ix, StopHow::Yield);
        }
    }

    /// Ends an attempt whose supervisor was never started.
    fn end_unborn(&mut self, ix: TaskIx) {
        let TaskState::Active(active) = &self.state.task(ix).state else {
            return;
        };
        let attempt = active.attempt;
        let end = if self.is_cancelled(ix) {
            AttemptEnd::Cancelled
        } else {
            AttemptEnd::Paused
        };
        self.ended(ix, attempt, &end, NOTHING_LEFT);
    }

    /// Starts a ready task, if it may.
    fn start(&mut self, ix: TaskIx) -> Started {
        let entry = self.state.task(ix);
        let TaskState::Ready(next) = &entry.state else {
            return Started::Waits;
        };
        let attached = entry.attach.clone();
        let approach = next.approach;
        // A person waits for nobody, and keeps nobody from working.
        if approach.alone && attached.is_none() && self.state.headless() > 0 {
            return Started::Waits;
        }
        let grant = match self.grant(ix) {
            Granted::Grant(grant) => grant,
            Granted::Wait => return Started::Waits,
            Granted::Spent(detail) => {
                let task = self.name(ix);
                self.record(Record::TaskFailed {
                    task,
                    class: FailureClass::Budget,
                    detail,
                });
                self.skip_those_that_need(ix);
                return Started::Never;
            }
        };
        let attempt = entry.attempts + 1;
        let known = entry.session.filter(|_| entry.session_seen);
        let (start, session) = match (next.start, known) {
            (StartMode::Resume, Some(session)) => (StartMode::Resume, session),
            _ => {
                let token = self.state.policy.token;
                let session = session_for(token, self.state.name(ix), attempt);
                (StartMode::Fresh, session)
            }
        };
        let task = self.name(ix);
        self.record(Record::AttemptStarted {
            task,
            attempt,
            session,
            start,
            approach,
            grant,
            at: Some(self.now),
            attached,
        });
        self.start_or_watch(ix);
        Started::Yes
    }

    /// What a task may spend now.
    fn grant(&self, ix: TaskIx) -> Granted {
        let entry = self.state.task(ix);
        let ask = Ask {
            task: self.state.facts(ix).limit,
            task_spent: entry.spent,
            run_spent: self.state.spent(),
            promised: self.state.promised(),
            sharing: self.state.sharing(),
            for_merging: self.state.resolvers().contains_key(&ix),
            used_up: entry.used_up.map(|grant| grant.limit),
        };
        budget::grant(self.state.policy.budget, &ask)
    }

    fn start_or_watch(&mut self, ix: TaskIx) {
        let entry = self.state.task(ix);
        let TaskState::Active(active) = &entry.state else {
            return;
        };
        let effect = if entry.place.is_none() || entry.early {
            Effect::Prepare { task: ix }
        } else {
            Effect::Launch {
                task: ix,
                attempt: active.attempt,
                session: active.session,
                start: active.start,
                approach: active.approach,
                grant: active.grant,
                lesson: entry.lesson.clone(),
                attached: active.attached.clone(),
            }
        };
        self.effect(effect);
    }

    fn stop(&mut self, ix: TaskIx, how: StopHow) {
        self.effect(Effect::Stop { task: ix, how });
    }

    fn settle_as_cancelled(&mut self, ix: TaskIx) {
        let task = self.name(ix);
        self.record(Record::TaskCancelled { task });
        self.skip_those_that_need(ix);
    }

    /// All tasks that need a result which will not come are skipped, however far away.
    fn skip_those_that_need(&mut self, ix: TaskIx) {
        if matches!(self.state.task(ix).state, TaskState::Done { .. }) {
            return;
        }
        let mut lost = vec![ix];
        while let Some(ix) = lost.pop() {
            for dependent in self.state.needing(ix) {
                if self.state.task(dependent).state.is_settled() {
                    continue;
                }
                let (task, because) = (self.name(dependent), self.name(ix));
                self.record(Record::TaskSkipped { task, because });
                lost.push(dependent);
            }
        }
    }

    fn conclude(&mut self) {
        if self.state.cancelling {
            self.finish(Verdict::Cancelled);
        } else if !self.state.enough_done() {
            self.finish(Verdict::Failed);
        } else {
            match self.state.policy.merge {
                Some(mode) => self.start_integration(mode, None, false),
                None => self.finish(Verdict::Unmerged),
            }
        }
    }

    fn start_integration(&mut self, mode: MergeMode, only: Option<Vec<TaskName>>, asked: bool) {
        self.record(Record::IntegrationStarted { mode, only, asked });
    }

    fn finish(&mut self, verdict: Verdict) {
        self.record(Record::Finished { verdict });
        self.effect_close(verdict);
    }

    fn effect_close(&mut self, verdict: Verdict) {
        let number = self.state.ends;
        self.effect(Effect::Close { number, verdict });
    }
}
