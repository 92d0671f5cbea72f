//! The conductor: events in, step, records to the journal, effects out.
//!
//! One conductor per run, proved by a held lock. It can be killed at any instruction: what
//! it decided is in the journal, what it started has a life of its own, and the next one
//! asks the state machine what is due.

pub mod announce;
mod assignment;
mod attend;
pub mod by_hand;
mod checkpoint;
pub mod cleanup;
mod close;
mod conditions;
mod context;
pub mod create;
mod early;
pub mod ensure;
pub mod expire;
mod history;
pub mod keep;
mod launch;
pub mod listen;
mod machine;
mod notes;
pub mod notifier;
pub mod planning;
mod prepare;
mod prompt;
mod radar;
mod resolution;
pub mod restore;
mod shortage;
pub mod surroundings;
pub mod undo;
mod work;
pub mod worktree;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::Watcher;

pub use context::Context;
pub use early::make_all;
pub use prepare::StartError;

use crate::agent::environment::Environment;
use crate::core::conditions::Conditions;
use crate::core::event::{Effect, Event, Request};
use crate::core::id::Oid;
use crate::core::queue::Verdict;
use crate::core::record::{QueueWork, Record};
use crate::core::state::{Phase, State};
use crate::core::step::step;
use crate::core::time::Timestamp;
use crate::format::plan_file;
use crate::format::settings_file::SettingsFile;
use crate::git::{GitError, Repo};
use crate::store::journal::{self, Journal};
use crate::store::layout::{Layout, RunDir};
use crate::store::lock::Lock;
use crate::store::{StoreError, atomic, inbox, run_log};
use crate::view::log_line;

/// A starting conductor waits this long for the lock: whoever asks whether it is held holds
/// it for an instant.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How often the inbox is looked at even when nothing is heard of it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What can go wrong with a conductor as a whole.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ConductError {
    #[error("another conductor of {0} is running")]
    Held(String),
    #[error("{0} has no settings: it was not started. `orchestra run --orchestration {0}` does")]
    NotStarted(String),
    #[error("the plan of {id} cannot be used: {detail}")]
    Plan { id: String, detail: String },
    #[error("{0}. Nothing is lost: it is tried again, and goes on once there is room")]
    Short(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Git(#[from] GitError),
}

impl ConductError {
    /// Whether another try would find the same: what cannot be read stays so, a full disk or
    /// too many open files do not.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NotStarted(_)
            | Self::Plan { .. }
            | Self::Store(
                StoreError::Unreadable { .. }
                | StoreError::Newer { .. }
                | StoreError::Journal { .. },
            )
            | Self::Git(GitError::NotARepository { .. }) => true,
            Self::Held(_) | Self::Short(_) | Self::Store(_) | Self::Git(_) => false,
        }
    }
}

/// The present time. The conductor is where the clock is read for the state machine.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Loads a run that was started.
///
/// # Errors
/// When it was not started, or a file of it cannot be read.
pub fn load(run: &RunDir, exe: &Path, env: Environment) -> Result<Context, ConductError> {
    let settings: SettingsFile = atomic::read_json_in_place(&run.settings(), "the run's settings")?
        .ok_or_else(|| ConductError::NotStarted(run.id().to_string()))?;
    let repo = Repo::of_main_checkout(&settings.main_checkout)?;
    let bytes = std::fs::read(run.plan()).map_err(StoreError::io("read", run.plan()))?;
    let plan = plan_file::parse(&bytes, &plan_limits()).map_err(|faults| ConductError::Plan {
        id: run.id().to_string(),
        detail: faults.to_string(),
    })?;
    Ok(Context {
        layout: Layout::new(&settings.main_checkout),
        run: run.clone(),
        plan: plan.plan,
        settings,
        repo,
        exe: exe.to_owned(),
        env,
        author: Arc::default(),
    })
}

/// A stored plan was validated when it was made; it is read with the widest limits.
fn plan_limits() -> crate::core::plan::Limits {
    crate::core::plan::Limits {
        max_tasks: usize::MAX,
        ..crate::core::plan::Limits::default()
    }
}

/// The state of a run as its journal tells it.
///
/// # Errors
/// When the journal is damaged.
pub fn read_state(context: &Context) -> Result<State, StoreError> {
    let lines = journal::read(&context.run.journal())?;
    Ok(replay(context, lines.iter().map(|l| &l.entry)))
}

fn replay<'a>(context: &Context, records: impl IntoIterator<Item = &'a Record>) -> State {
    let facts = context.settings.facts(&context.plan);
    State::replay(facts, context.settings.policy(), records)
}

/// Conducts a run until nothing is left to do. `ready` is called once the lock is held.
///
/// # Errors
/// When another conductor runs, or the run's own files cannot be read or written.
pub fn conduct(context: &Context, ready: impl FnOnce()) -> Result<(), ConductError> {
    let lock = Lock::take_within(&context.run.conductor_lock(), LOCK_PATIENCE)?
        .ok_or_else(|| ConductError::Held(context.run.id().to_string()))?;
    ready();
    let mut lock = Some(lock);
    let keepers = keep::Keepers::start(context);
    let mut notifier = notifier::Notifier::start(context);
    loop {
        surroundings::remember(&context.run, &context.env);
        Conductor::new(context.clone())?.run(&mut notifier)?;
        // A letter that was posted after the last look: whoever posted it may have seen the
        // lock held. So the lock is given back first, and the inbox looked at after that.
        keepers.rest(true);
        drop(lock.take());
        if !inbox::letters_waiting(&context.run.inbox()) {
            // Nobody waits for this: the lock is free.
            notifier.finish(context);
            return Ok(());
        }
        lock = Lock::take_within(&context.run.conductor_lock(), LOCK_PATIENCE)?;
        if lock.is_none() {
            return Ok(());
        }
        keepers.rest(false);
    }
}

/// Whether an event says that what was begun found what it needs of the machine.
const fn tells_of_room(event: &Event) -> bool {
    matches!(
        event,
        Event::Prepared { .. }
            | Event::Launched { .. }
            | Event::Ended { .. }
            | Event::Queue(_)
            | Event::Closed { .. }
    )
}

/// What reaches the loop.
#[derive(Debug, Clone)]
enum Signal {
    Event(Event),
    /// An attempt that was to be started or watched is not watched.
    Unwatched(Box<work::Unwatched>),
    /// The machine ran short of something: what was begun is to be begun again later.
    Short(String),
    /// Something happened to the inbox.
    Inbox,
}

struct Conductor {
    context: Context,
    journal: Journal,
    state: State,
    begun: bool,
    signals: Receiver<Signal>,
    work: work::Workshop,
    surroundings: conditions::Surroundings,
    history: history::Historian,
    announcer: announce::Announcer,
    radar: Option<radar::Radar>,
    /// The conductor before this one met a shortage, and nothing was seen of its end yet.
    short: bool,
    /// When the state machine wants to be woken. Kept by the clock that nobody can set.
    wake: Option<Instant>,
    // Dropping it ends the watching.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Conductor {
    fn new(context: Context) -> Result<Self, ConductError> {
        let (journal, lines) = Journal::open(&context.run.journal())?;
        let state = replay(&context, lines.iter().map(|l| &l.entry));
        let history = history::Historian::new(&context, &state, &lines);
        let announcer = announce::Announcer::new(&context.run, &lines);
        let (tell, signals) = mpsc::channel();
        let folder = context.run.inbox();
        std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        let watcher = watch(&folder, tell.clone());
        let short = context.run.shortage().exists();
        Ok(Self {
            surroundings: conditions::Surroundings::of(&context),
            history,
            announcer,
            radar: radar::Radar::start(&context, tell.clone()),
            work: work::Workshop::new(context.clone(), tell),
            context,
            journal,
            state,
            begun: !lines.is_empty(),
            signals,
            wake: None,
            short,
            _watcher: watcher,
        })
    }

    fn run(mut self, notifier: &mut notifier::Notifier) -> Result<(), ConductError> {
        if !self.begun {
            self.commit(&[Record::Begun])?;
            self.work.register_all(&self.state);
        }
        // Before anything starts.
        if let Some(conditions) = self.look_around() {
            self.state.surround(conditions);
        }
        self.take(&Event::Adopted)?;
        self.read_inbox()?;
        while !self.is_over() {
            match self.signals.recv_timeout(self.patience()) {
                Ok(Signal::Event(event)) => {
                    if matches!(event, Event::Ended { .. }) {
                        // Why it ended may be why nothing else should start.
                        self.surroundings.look_again();
                        self.heed_surroundings()?;
                    }
                    if self.short && tells_of_room(&event) {
                        self.short = false;
                        shortage::ends(&self.context.run);
                    }
                    self.take(&event)?;
                }
                Ok(Signal::Unwatched(unwatched)) => {
                    if let Some(event) = self.work.judge(*unwatched) {
                        self.take(&event)?;
                    }
                }
                Ok(Signal::Short(what)) => {
                    shortage::begins(&self.context.run, &what, now());
                    let error = ConductError::Short(what);
                    run_log::append(&self.context.run, now(), &[error.to_string()]);
                    return Err(error);
                }
                Ok(Signal::Inbox) | Err(RecvTimeoutError::Timeout) => {}
                // The watcher and the workshop hold senders, so this cannot come.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.work.watch_again();
            notifier.look(&self.context);
            // However much is heard meanwhile.
            if self.wake.is_some_and(|at| at <= Instant::now()) {
                self.wake = None;
                self.take(&Event::Tick)?;
            }
            self.heed_surroundings()?;
            self.read_inbox()?;
        }
        if matches!(self.state.phase(), Phase::Finished { closed: true, .. }) {
            surroundings::forget(&self.context.run);
        }
        Ok(())
    }

    fn heed_surroundings(&mut self) -> Result<(), ConductError> {
        match self.look_around() {
            Some(conditions) => self.take(&Event::Conditions(conditions)),
            None => Ok(()),
        }
    }

    /// What the world outside allows, when that changed.
    fn look_around(&mut self) -> Option<Conditions> {
        self.surroundings.look(&self.context, &self.state, now())
    }

    /// Nothing is in work and nothing will happen by itself.
    fn is_over(&self) -> bool {
        match self.state.phase() {
            Phase::Finished { closed, .. } => *closed,
            Phase::Running => {
                self.state.is_paused() && self.state.active().is_empty() && self.work.is_idle()
            }
            Phase::Integrating(_) => false,
        }
    }

    fn patience(&self) -> Duration {
        self.wake.map_or(LOOK_AGAIN, |at| {
            at.saturating_duration_since(Instant::now()).min(LOOK_AGAIN)
        })
    }

    /// One event: decide, write down, then act.
    fn take(&mut self, event: &Event) -> Result<(), ConductError> {
        let verifying = self.verifying();
        let out = step(&mut self.state, event, now());
        self.commit(&out.records)?;
        if !out.records.is_empty() {
            self.surroundings.sized(&self.state);
        }
        if let Some(commit) = verifying {
            self.tell_if_flaky(&commit);
        }
        for record in &out.records {
            self.work.follow(&self.state, record);
            self.surroundings.follow(record);
        }
        self.history
            .follow(&self.context, &self.state, &out.records);
        self.announcer
            .follow(&self.context.run, self.journal.seq(), &out.records);
        if !out.records.is_empty() || *event == Event::Adopted {
            self.show_radar();
        }
        for effect in out.effects {
            match effect {
                Effect::WakeAt(at) => {
                    let at = Instant::now() + at.since(now()).duration();
                    self.wake = Some(self.wake.map_or(at, |known| known.min(at)));
                }
                effect => self.work.carry_out(&self.state, effect),
            }
        }
        Ok(())
    }

    /// The commit that the verify command looks at, unless it is known to give both answers.
    fn verifying(&self) -> Option<Oid> {
        let queue = self.state.queue();
        match queue.work() {
            Some(QueueWork::Verify { commit })
                if !queue.verdict(commit).is_some_and(Verdict::is_flaky) =>
            {
                Some(commit.clone())
            }
            _ => None,
        }
    }

    /// A check that gives both answers for one commit says nothing against it, but is worth a
    /// person's look.
    fn tell_if_flaky(&self, commit: &Oid) {
        if let Some(verdict) = self.state.queue().verdict(commit).filter(|v| v.is_flaky()) {
            let last = verdict.tail.trim_end().lines().rev().take(2);
            let last: Vec<&str> = last.collect();
            let line = format!(
                "the verify command is flaky: it was both red and green on {}; when red: {}",
                commit.short(),
                last.into_iter().rev().collect::<Vec<_>>().join(" ")
            );
            run_log::append(&self.context.run, now(), &[line]);
        }
    }

    fn show_radar(&self) {
        if let Some(radar) = &self.radar {
            radar.show(&self.context, &self.state);
        }
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), ConductError> {
        let at = now();
        self.journal.append(records, at)?;
        let lines: Vec<String> = records
            .iter()
            .filter_map(|record| Some(log_line::text(record)?.0))
            .collect();
        run_log::append(&self.context.run, at, &lines);
        Ok(())
    }

    fn read_inbox(&mut self) -> Result<(), ConductError> {
        let folder = self.context.run.inbox();
        let (letters, bad) = inbox::letters::<Request>(&folder)?;
        for error in bad {
            run_log::append(&self.context.run, now(), &[error.to_string()]);
        }
        for letter in letters {
            if matches!(self.state.phase(), Phase::Integrating(_)) && letter.body.is_about_tasks() {
                // It lies there until the results that there are have been brought home.
                continue;
            }
            self.take(&Event::Asked {
                id: letter.id.clone(),
                request: letter.body,
            })?;
            inbox::discard(&folder, &letter.id)?;
        }
        Ok(())
    }
}

/// Tells the loop when the inbox changes. Without it (a file system that cannot be watched,
/// too many watches) the loop still looks twice a second.
fn watch(folder: &Path, tell: Sender<Signal>) -> Option<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Looking into the folder is an event as well; it must not cause the next look.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = tell.send(Signal::Inbox);
        }
    })
    .ok()?;
    watcher
        .watch(folder, notify::RecursiveMode::NonRecursive)
        .ok()?;
    Some(watcher)
}
