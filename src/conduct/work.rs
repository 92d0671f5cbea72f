//! Carrying out effects: each on a thread of its own, each ending in an event.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::core::attempt::FailureClass;
use crate::core::event::{Effect, Event, StopHow};
use crate::core::graph::TaskIx;
use crate::core::id::TaskName;
use crate::core::record::{QueueResult, QueueWork, Record, Verdict};
use crate::core::state::{State, TaskState};
use crate::format::instance_request::InstanceRequest;
use crate::format::status_file::{InstanceStatus, StatusFile};
use crate::integrate::MergeTask;
use crate::store::atomic::{self, Durability};
use crate::store::lock::Lock;
use crate::store::{StoreError, instance_inbox, run_log};

use super::assignment::Assignment;
use super::attend::{self, Standing};
use super::context::Context;
use super::launch::{self, Launch, Order, Over};
use super::prepare::StartError;
use super::shortage::is_shortage;
use super::{Signal, checkpoint, close, prepare};

/// Enough for libgit2 and for encoding deep plans.
const STACK: usize = 512 * 1024;

/// A status file is written when no supervisor holds its lock; a prober holds it for an
/// instant.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

/// When an attempt that lives and could not be watched is tried to be watched again.
const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// An attempt that is not watched, and why.
#[derive(Debug, Clone)]
pub(super) struct Unwatched {
    order: Order,
    class: FailureClass,
    detail: String,
}

/// The hands of a conductor.
pub(super) struct Workshop {
    context: Arc<Context>,
    tell: Sender<Signal>,
    busy: Arc<AtomicUsize>,
    stop_queue: Arc<AtomicBool>,
    /// Attempts that a thread already watches: adopting again must not watch them twice.
    watched: HashSet<(TaskIx, u32)>,
    /// Attempts to watch again, and when.
    again: Vec<(Instant, Order)>,
}

impl Workshop {
    pub(super) fn new(context: Context, tell: Sender<Signal>) -> Self {
        Self {
            context: Arc::new(context),
            tell,
            busy: Arc::new(AtomicUsize::new(0)),
            stop_queue: Arc::new(AtomicBool::new(false)),
            watched: HashSet::new(),
            again: Vec::new(),
        }
    }

    /// Whether no effect is being carried out.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == 0 && self.again.is_empty()
    }

    /// A line for people about what could not be done.
    fn log(&self, line: &str) {
        run_log::append(&self.context.run, super::now(), &[line]);
    }

    /// Every task gets its status file at once, so that all of the plan can be seen.
    pub(super) fn register_all(&self, state: &State) {
        for ix in state.every() {
            self.write_status(state.name(ix), |_| {});
        }
    }

    /// Keeps the status files of tasks without a supervisor true.
    pub(super) fn follow(&self, state: &State, record: &Record) {
        let set = |task: &TaskName, status, error: Option<&str>| {
            let error = error.map(str::to_owned);
            self.write_status(task, |file| {
                file.status = status;
                if error.is_some() {
                    file.last_error = error;
                }
            });
        };
        match record {
            Record::Prepared { task, place } => self.write_status(task, |file| {
                file.status = InstanceStatus::Planning;
                file.branch = Some(place.branch.to_string());
                file.worktree_path = Some(place.worktree.display().to_string());
            }),
            Record::TaskFailed { task, detail, .. } => {
                set(task, InstanceStatus::Failed, Some(detail));
            }
            Record::TaskSkipped { task, because } => set(
                task,
                InstanceStatus::Cancelled,
                Some(&format!("not started: {because} did not get done")),
            ),
            Record::TaskCancelled { task } => set(task, InstanceStatus::Cancelled, None),
            Record::TaskRevived { task } => set(task, InstanceStatus::Registered, None),
            Record::Requeued { task, .. } => set(task, InstanceStatus::Registered, None),
            Record::ResolverAdded { resolution } => {
                self.write_status(&resolution.resolver, |_| {});
            }
            Record::PauseRequested { .. } => {
                for ix in state.every() {
                    let waits = matches!(state.task(ix).state, TaskState::Ready(_));
                    if waits && state.task(ix).attempts > 0 {
                        set(state.name(ix), InstanceStatus::Paused, None);
                    }
                }
            }
            _ => {}
        }
    }

    /// Changes the status file of a task, if no supervisor holds it.
    fn write_status(&self, task: &TaskName, change: impl FnOnce(&mut StatusFile)) {
        let run = &self.context.run;
        let Ok(Some(_lock)) = Lock::take_within(&run.lock(task), STATUS_PATIENCE) else {
            return;
        };
        let path = run.status(task);
        let known = atomic::read_json::<StatusFile>(&path, "an instance's status");
        let mut file = match known {
            Ok(Some(file)) => file,
            // Not overwritten: this program is the old one.
            Err(error @ StoreError::Newer { .. }) => {
                self.log(&error.to_string());
                return;
            }
            Ok(None) | Err(_) => self.registered(task),
        };
        change(&mut file);
        if let Err(error) =
            atomic::write_json(&path, "an instance's status", &file, Durability::Volatile)
        {
            self.log(&error.to_string());
        }
    }

    fn registered(&self, task: &TaskName) -> StatusFile {
        let mut file = StatusFile::registered(self.context.run.id(), task);
        if let Some(ix) = self.context.plan.ix(task) {
            let task = self.context.plan.task(ix);
            (file.issue_number, file.issue_title) =
                launch::issue_of(self.context.issue().as_ref(), task);
        }
        file
    }

    /// Begins an effect. It ends in an event, whatever happens to it.
    pub(super) fn carry_out(&mut self, state: &State, effect: Effect) {
        match effect {
            Effect::Prepare { task } => self.prepare(state, task),
            Effect::Launch {
                task,
                attempt,
                session,
                start,
                approach,
                grant,
                lesson,
                attached,
            } => {
                let Some(place) = state.task(task).place.clone() else {
                    return;
                };
                let finished = self.context.finished_in(state, task, &place);
                self.launch(Order {
                    ix: task,
                    assignment: Assignment::of(&self.context, state, task),
                    attempt,
                    session,
                    start,
                    approach,
                    grant,
                    lesson,
                    attached,
                    place,
                    finished,
                    others: self.context.others(state, task),
                });
            }
            Effect::Stop { task, how } => {
                self.stop(state.name(task), state.task(task).attempts, how);
            }
            Effect::Queue(work) => self.queue(state, work),
            Effect::StopQueue => self.stop_queue.store(true, Ordering::SeqCst),
            Effect::Close { number, verdict } => self.close(state, number, verdict),
            // The loop keeps its own time.
            Effect::WakeAt(_) => {}
        }
    }

    fn prepare(&self, state: &State, task: TaskIx) {
        let name = state.name(task).clone();
        let dependencies = self.context.finished_before(state, task);
        let resolved = state.resolvers().get(&task).map(|resolution| {
            let merged = resolution.merged.iter().filter_map(|name| state.find(name));
            let held = merged.filter_map(|ix| match &state.task(ix).state {
                TaskState::Done { head, .. } => Some(head.clone()),
                _ => None,
            });
            (resolution.clone(), held.collect())
        });
        let planned = self.context.planned_before(state, task);
        let failed = Signal::Event(Event::NotStarted {
            task,
            class: FailureClass::Other,
            detail: INNER_ERROR.into(),
        });
        self.spawn("prepare", failed, move |context| {
            let mut prepared = match resolved {
                Some((resolution, held)) => prepare::prepare_resolver(context, &resolution, held),
                None => prepare::prepare(context, &name, &dependencies),
            };
            if matches!(prepared, Err(StartError::DependencyConflict { .. }))
                && planned.len() < dependencies.len()
            {
                // It can do without what the plan did not know of.
                prepared = prepare::prepare(context, &name, &planned);
            }
            match prepared {
                Ok(place) => Signal::Event(Event::Prepared { task, place }),
                Err(error) => short_or(error.to_string(), |detail| {
                    Signal::Event(Event::NotStarted {
                        task,
                        class: error.class(),
                        detail,
                    })
                }),
            }
        });
    }

    fn launch(&mut self, order: Order) {
        if self.watched.insert((order.ix, order.attempt)) {
            self.attend(order);
        }
    }

    /// Starts the attempt if need be, and watches it.
    fn attend(&self, order: Order) {
        let (task, attempt) = (order.ix, order.attempt);
        let tell = self.tell.clone();
        let unwatched = |order, class, detail| {
            Signal::Unwatched(Box::new(Unwatched {
                order,
                class,
                detail,
            }))
        };
        let failed = unwatched(order.clone(), FailureClass::Other, INNER_ERROR.into());
        self.spawn("instance", failed, move |context| {
            let name = order.assignment.name().clone();
            let over = match launch::launch(context, &order) {
                Ok(Launch::Over(over)) => Ok(over),
                Ok(Launch::Running) => {
                    let _ = tell.send(Signal::Event(Event::Launched { task, attempt }));
                    attend::watch(context, &name, attempt)
                }
                Err(error) => Err(error),
            };
            match over {
                Ok(over) => {
                    checkpoint::keep(context, &name, &order.place, &over);
                    Signal::Event(ended(task, attempt, over))
                }
                Err(error) => short_or(error.to_string(), |detail| {
                    unwatched(order, error.class(), detail)
                }),
            }
        });
    }

    /// What became of an attempt that is not watched; nothing when it lives, and is to be
    /// watched again: a second attempt beside it would work in the same worktree.
    pub(super) fn judge(&mut self, unwatched: Unwatched) -> Option<Event> {
        let Unwatched {
            order,
            class,
            detail,
        } = unwatched;
        let (task, attempt) = (order.ix, order.attempt);
        let name = order.assignment.name();
        match attend::standing(&self.context.run, name, attempt) {
            Standing::Lives => {
                self.again.push((Instant::now() + WATCH_AGAIN, order));
                None
            }
            Standing::Over(over) => Some(ended(task, attempt, over)),
            Standing::Absent => Some(Event::NotStarted {
                task,
                class,
                detail,
            }),
        }
    }

    /// Watches those again whose time has come.
    pub(super) fn watch_again(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.again.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, order) in due {
            self.attend(order);
        }
    }

    fn stop(&self, task: &TaskName, attempt: u32, how: StopHow) {
        let request = InstanceRequest::Stop {
            how,
            attempt: Some(attempt),
        };
        let posted = instance_inbox::post(&self.context.run, task, &request, super::now());
        if let Err(error) = posted {
            self.log(&format!("{task} could not be told to stop: {error}"));
        }
    }

    /// Begins a piece of work of the merge queue.
    fn queue(&self, state: &State, work: QueueWork) {
        self.stop_queue.store(false, Ordering::SeqCst);
        let stop = Arc::clone(&self.stop_queue);
        let failed = Signal::Event(Event::Queue(QueueResult::Failed {
            detail: "integration broke off; the conductor's standard error says more".into(),
        }));
        let (before, tasks): (Vec<MergeTask>, Vec<MergeTask>) = match &work {
            QueueWork::Merge { items, trial, .. } => {
                let under = state.queue().under(*trial).iter();
                let before = under.filter_map(|link| state.find(&link.task));
                let tasks = items.iter();
                (
                    before
                        .filter_map(|ix| self.context.merge_task(state, ix))
                        .collect(),
                    tasks
                        .filter_map(|item| self.context.queued(state, item))
                        .collect(),
                )
            }
            _ => (Vec::new(), Vec::new()),
        };
        self.spawn("merge queue", failed, move |context| {
            let tell = |line: &str| run_log::append(&context.run, super::now(), &[line]);
            let bench = context.bench(&stop, &tell);
            let result = match &work {
                QueueWork::Merge { onto, trial, .. } => {
                    bench.merge(onto.as_ref(), &before, &tasks, *trial)
                }
                QueueWork::Verify { commit } => bench.verify(commit),
                QueueWork::Deliver { from, to } => bench.deliver(from, to),
                QueueWork::Present { from, commit } => bench.present(from, commit),
            };
            let told = |result| Signal::Event(Event::Queue(result));
            match result {
                QueueResult::Failed { detail } => {
                    short_or(detail, |detail| told(QueueResult::Failed { detail }))
                }
                result => told(result),
            }
        });
    }

    fn close(&self, state: &State, number: u32, verdict: Verdict) {
        let state = state.clone();
        let closed = Signal::Event(Event::Closed { number });
        self.spawn("close", closed.clone(), move |context| {
            let closing = close::close(context, &state, verdict);
            run_log::append(&context.run, super::now(), &closing.lines);
            run_log::append(&context.run, super::now(), &closing.faults);
            // A run whose results could not be written is not closed. What only could not be
            // tidied up can be later.
            match closing.faults.into_iter().find(|line| is_shortage(line)) {
                Some(line) => Signal::Short(line),
                None => closed,
            }
        });
    }

    /// Runs `work` on a thread and sends the signal that it returns; `failed` when it panics
    /// or no thread can be had.
    fn spawn(
        &self,
        name: &str,
        failed: Signal,
        work: impl FnOnce(&Context) -> Signal + Send + 'static,
    ) {
        let context = Arc::clone(&self.context);
        let tell = self.tell.clone();
        let busy = Arc::clone(&self.busy);
        let broken = failed.clone();
        busy.fetch_add(1, Ordering::SeqCst);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let signal = catch_unwind(AssertUnwindSafe(|| work(&context))).unwrap_or(broken);
                let _ = tell.send(signal);
                busy.fetch_sub(1, Ordering::SeqCst);
            });
        if thread.is_err() {
            self.busy.fetch_sub(1, Ordering::SeqCst);
            let _ = self.tell.send(failed);
        }
    }
}

/// What follows from a fault; of one that is the machine's, that the machine is short of
/// something.
fn short_or(detail: String, follows: impl FnOnce(String) -> Signal) -> Signal {
    if is_shortage(&detail) {
        Signal::Short(detail)
    } else {
        follows(detail)
    }
}

const INNER_ERROR: &str = "an inner error; the conductor's standard error says more";

fn ended(task: TaskIx, attempt: u32, over: Over) -> Event {
    Event::Ended {
        task,
        attempt,
        end: over.end,
        left: over.left,
    }
}
