//! Taking a record in.

use super::{Active, Entry, Next, Phase, RESOLVER_ATTEMPTS, State, TaskFacts, TaskState};
use crate::core::attempt::{AttemptEnd, FailureClass, StartMode};
use crate::core::budget::Limit;
use crate::core::event::Left;
use crate::core::graph::TaskIx;
use crate::core::id::TaskName;
use crate::core::record::{IntegrationEnd, QueueResult, QueueWork, Record, Resolution, UndoHow};
use crate::core::time::Millis;

impl State {
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

    pub(super) fn add_resolver(&mut self, resolution: &Resolution) {
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

    pub(super) fn apply_end(
        &mut self,
        task: &TaskName,
        attempt: u32,
        end: &AttemptEnd,
        left: &Left,
    ) {
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

    pub(super) fn settle(&mut self, task: &TaskName, to: TaskState) {
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
    pub(super) fn revive(&mut self, task: &TaskName) {
        let Some(ix) = self.find(task) else { return };
        if !self.can_be_revived(ix) {
            return;
        }
        // A session that brought a result to its end knows best how to mend it.
        let lesson = self.queue.aside().get(task).map(crate::core::queue::lesson);
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

    pub(super) fn hold(&mut self, task: Option<&TaskName>, held: bool) {
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
    pub(super) fn requeue_if_free(&mut self, ix: TaskIx) {
        if self.task(ix).state != TaskState::Waiting {
            return;
        }
        if self.is_free(ix) {
            self.set(ix, TaskState::Ready(Next::now(StartMode::Fresh)));
        }
    }

    /// Whether everything that it waits for is settled.
    pub(super) fn is_free(&self, ix: TaskIx) -> bool {
        let facts = &self.facts[ix.index()];
        facts
            .needs
            .iter()
            .chain(&facts.after)
            .all(|before| self.task(*before).state.is_settled())
    }
}
