//! One look at one orchestration: everything that its files say, at one moment.
//!
//! [`Snapshot::load`] only reads. It never waits for a lock, sets nothing aside, and takes a
//! half-made run for what it is: what is missing is `None`, what is damaged is named in
//! [`Snapshot::problems`].

use std::path::PathBuf;

use crate::core::attempt::{AttemptEnd, SessionId};
use crate::core::budget::Limit;
use crate::core::history::Learned;
use crate::core::id::{OrchestrationId, TaskName, listed};
use crate::core::plan::{Limits, OverlapPolicy, Priority, ValidPlan};
use crate::core::record::{IntegrationEnd, MergeMode, Place, Record, Resolution, Verdict};
use crate::core::state::{Active, Phase, State, TaskFacts, TaskState};
use crate::core::time::{Millis, Timestamp};
use crate::format::conditions_file::{ConditionsFile, HoldEntry};
use crate::format::note_file::NoteLine;
use crate::format::plan_file;
use crate::format::radar_file::{PredictedConflict, RadarFile};
use crate::format::settings_file::SettingsFile;
use crate::format::shortage_file::ShortageFile;
use crate::format::status_file::{InstanceStatus, StatusFile};
use crate::store::journal::{self, Line};
use crate::store::layout::RunDir;
use crate::store::{atomic, lock, notes};

use super::budget::BudgetView;
use super::by_hand::{self, ByHand};
use super::merging::Merging;
use super::{clock, outside};

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SnapshotError {
    #[error("there is no orchestration {id} in {}", folder.display())]
    Missing {
        id: OrchestrationId,
        folder: PathBuf,
    },
}

/// Where the run as a whole stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is a plan, but nothing was begun.
    Planned,
    /// The files do not say; [`Snapshot::problems`] tells why.
    Unknown,
    /// Tasks are worked on.
    Running,
    /// The results are being merged.
    Integrating(MergeMode),
    /// Ended.
    Finished {
        /// How.
        verdict: Verdict,
        /// Whether reports are written and the workspace is tidy.
        closed: bool,
    },
}

/// Why a run is an emergency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmergencyView {
    /// Names of the tasks of critical priority.
    pub critical: Vec<String>,
    /// The words of the request that tell of an incident.
    pub words: Vec<String>,
}

/// One task at that moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// Its name.
    pub name: TaskName,
    /// What is to be done, as the plan says it.
    pub description: Option<String>,
    /// The first line of what its instance is told to do, when the plan says it.
    pub prompt: Option<String>,
    /// The subagent that does the work.
    pub role: String,
    /// How urgent it is.
    pub priority: Priority,
    /// The GitHub issue that it comes from.
    pub issue_number: Option<u64>,
    /// How long the plan says that it takes, in minutes.
    pub estimated_minutes: Option<u32>,
    /// Whether that is what past tasks took rather than what the plan says.
    pub estimate_is_learned: bool,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// Positions of the tasks whose results it needs.
    pub needs: Vec<usize>,
    /// Positions of the tasks that only go before it, as they touch the same files.
    pub after: Vec<usize>,
    /// Where it stands.
    pub state: TaskState,
    /// Whether it is held back on request.
    pub held: bool,
    /// Number of the last attempt; 0 before the first.
    pub attempts: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// The session of the last attempt.
    pub session: Option<SessionId>,
    /// Its branch and worktree.
    pub place: Option<Place>,
    /// Whether that worktree is there.
    pub worktree_exists: bool,
    /// When its first attempt started.
    pub started_at: Option<Timestamp>,
    /// When its last attempt started.
    pub attempt_started_at: Option<Timestamp>,
    /// When it came to its end; none while it has not.
    pub ended_at: Option<Timestamp>,
    /// How long its attempts took together, the present one so far included.
    pub worked: Millis,
    /// Whether a supervisor holds the instance's lock.
    pub supervisor_alive: bool,
    /// What the supervisor wrote last.
    pub status: Option<StatusFile>,
    /// A session that a person opened by hand in its worktree.
    pub by_hand: Option<ByHand>,
}

/// The word for where a task stands; one per symbol of the line form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// Other tasks must end first.
    Waiting,
    /// It may start as soon as there is room.
    Ready,
    /// It is tried again after a pause.
    Retry,
    /// Held back, or its instance stopped, on request.
    Paused,
    /// Its worktree or session is being made ready.
    Starting,
    /// An instance works on it.
    Working,
    /// Its instance waits for an answer.
    Stuck,
    /// Its supervisor is gone, and no conductor has seen to it yet.
    Lost,
    /// Done.
    Done,
    /// Done, and its pull request is open.
    PrReady,
    /// Given up.
    Failed,
    /// Not tried, as a task that it needs did not get done.
    Skipped,
    /// Taken out on request.
    Cancelled,
}

impl Word {
    /// In capitals, as the line form has it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Ready => "READY",
            Self::Retry => "RETRY",
            Self::Paused => "PAUSED",
            Self::Starting => "STARTING",
            Self::Working => "WORKING",
            Self::Stuck => "STUCK",
            Self::Lost => "LOST",
            Self::Done => "DONE",
            Self::PrReady => "PR READY",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl TaskView {
    /// One to which nothing happened yet.
    fn waiting(name: TaskName, role: &str) -> Self {
        Self {
            name,
            description: None,
            prompt: None,
            role: role.to_owned(),
            priority: Priority::default(),
            issue_number: None,
            estimated_minutes: None,
            estimate_is_learned: false,
            max_attempts: 1,
            needs: Vec::new(),
            after: Vec::new(),
            state: TaskState::Waiting,
            held: false,
            attempts: 0,
            failures: 0,
            session: None,
            place: None,
            worktree_exists: false,
            started_at: None,
            attempt_started_at: None,
            ended_at: None,
            worked: Millis(0),
            supervisor_alive: false,
            status: None,
            by_hand: None,
        }
    }

    /// An instance that resolves a conflict.
    fn resolver(resolution: &Resolution) -> Self {
        let mut what = format!("Resolving the conflict of {}", resolution.task);
        if !resolution.with.is_empty() {
            what.push_str(&format!(" with {}", listed(&resolution.with)));
        }
        Self {
            description: Some(what),
            ..Self::waiting(resolution.resolver.clone(), "result-integrator")
        }
    }

    /// Where it stands, in a word.
    #[must_use]
    pub fn word(&self) -> Word {
        match &self.state {
            TaskState::Waiting if self.held => Word::Paused,
            TaskState::Waiting => Word::Waiting,
            TaskState::Ready(_) if self.held => Word::Paused,
            TaskState::Ready(_) if self.failures > 0 => Word::Retry,
            TaskState::Ready(_) => Word::Ready,
            TaskState::Undecided { .. } => Word::Retry,
            TaskState::Active(active) => self.active_word(active),
            TaskState::Done { .. } if self.pull_request().is_some() => Word::PrReady,
            TaskState::Done { .. } => Word::Done,
            TaskState::Failed { .. } => Word::Failed,
            TaskState::Skipped { .. } => Word::Skipped,
            TaskState::Cancelled => Word::Cancelled,
        }
    }

    fn active_word(&self, active: &Active) -> Word {
        if !active.running {
            return Word::Starting;
        }
        if !self.supervisor_alive {
            return Word::Lost;
        }
        match self.instance().map(|s| s.status) {
            Some(InstanceStatus::Stuck) => Word::Stuck,
            Some(InstanceStatus::Paused) => Word::Paused,
            Some(InstanceStatus::Planning | InstanceStatus::Registered) => Word::Starting,
            _ => Word::Working,
        }
    }

    /// Whether an attempt is in work.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.state, TaskState::Active(_))
    }

    /// The status file, when it is about the present attempt.
    #[must_use]
    pub fn instance(&self) -> Option<&StatusFile> {
        self.status
            .as_ref()
            .filter(|s| s.attempt == self.attempts || s.attempt == 0)
    }

    /// The address of its pull request.
    #[must_use]
    pub fn pull_request(&self) -> Option<&str> {
        self.status.as_ref()?.pull_request_url.as_deref()
    }

    /// Measured progress in percent: 100 when done, what the instance's own list says while
    /// it works, unknown otherwise.
    #[must_use]
    pub fn percent(&self) -> Option<u8> {
        match &self.state {
            TaskState::Done { .. } => Some(100),
            TaskState::Active(_) => {
                let progress = &self.instance()?.progress;
                progress.percent.map(|p| p.min(100)).or_else(|| {
                    let (done, total) = (progress.done?, progress.total?);
                    let percent = u64::from(done) * 100 / u64::from(total.max(1));
                    u8::try_from(percent.min(100)).ok()
                })
            }
            _ => None,
        }
    }

    /// Since when it stands where it stands, as far as is known.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        match self.word() {
            Word::Stuck => {
                let status = self.instance()?;
                // An older writer does not say it; nothing was seen of it since then.
                let told = status.stuck_since.as_deref();
                told.or(status.last_heartbeat.as_deref())
                    .and_then(clock::parse)
            }
            _ if self.is_active() => self.attempt_started_at,
            _ => self.ended_at,
        }
    }

    /// Time since something was last seen of its instance.
    #[must_use]
    pub fn heartbeat_age(&self, now: Timestamp) -> Option<Millis> {
        let at = self.instance()?.last_heartbeat.as_deref()?;
        Some(now.since(clock::parse(at)?))
    }

    /// What it is, for a person: the issue's title, the description, or nothing beyond its name.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        // Of parts of one issue all have that issue's in their status.
        self.status
            .as_ref()
            .filter(|_| self.issue_number.is_some())
            .and_then(|s| s.issue_title.as_deref())
            .or(self.description.as_deref())
    }
}

/// One look at one orchestration.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The run.
    pub id: OrchestrationId,
    /// Its folder.
    pub dir: PathBuf,
    /// When the look was taken.
    pub taken_at: Timestamp,
    /// How the run was configured when it began.
    pub settings: Option<SettingsFile>,
    /// What the person asked for.
    pub request: Option<String>,
    /// Why it is an emergency run, when it is one.
    pub emergency: Option<EmergencyView>,
    /// The tasks, in the order of the plan.
    pub tasks: Vec<TaskView>,
    /// The instances that resolve, or resolved, conflicts between results, in the order in
    /// which they were asked for. They are no tasks of the plan: nothing counts them as such.
    pub resolvers: Vec<TaskView>,
    /// Positions of the tasks by phase.
    pub phases: Vec<Vec<usize>>,
    /// Where the run stands.
    pub standing: Standing,
    /// Instances at once, as last changed.
    pub workers: Option<u32>,
    /// Whether nothing new starts, on request.
    pub paused: bool,
    /// Whether the run is ending on request.
    pub cancelling: bool,
    /// How the last integration ended.
    pub integration: Option<IntegrationEnd>,
    /// Whether all that was delivered was taken back.
    pub taken_back: bool,
    /// What became of the results, and what is being done with them.
    pub merging: Merging,
    /// Whether a conductor holds the run's lock.
    pub conductor_alive: bool,
    /// When the run began.
    pub begun_at: Option<Timestamp>,
    /// When its verdict fell.
    pub ended_at: Option<Timestamp>,
    /// Records in the journal.
    pub records: usize,
    /// Results that would not merge if their tasks ended now.
    pub conflicts: Vec<PredictedConflict>,
    /// What machine and provider allow, as the conductor saw it last; none without one.
    pub conditions: Option<ConditionsFile>,
    /// What the machine is short of; the run waits for it and goes on by itself.
    pub shortage: Option<ShortageFile>,
    /// What the run may cost; none when nothing is limited.
    pub budget: Option<BudgetView>,
    /// What its instances learnt, oldest first.
    pub notes: Vec<NoteLine>,
    /// What could not be read, for people.
    pub problems: Vec<String>,
}

impl Snapshot {
    /// Takes a look at a run at the time `now`.
    ///
    /// # Errors
    /// Only when there is no such run. Damage is reported in [`Snapshot::problems`].
    pub fn load(run: &RunDir, now: Timestamp) -> Result<Self, SnapshotError> {
        if !run.dir().is_dir() {
            return Err(SnapshotError::Missing {
                id: run.id().clone(),
                folder: run.dir().parent().unwrap_or(run.dir()).to_owned(),
            });
        }
        let mut problems = Vec::new();
        let settings: Option<SettingsFile> =
            atomic::read_json_in_place(&run.settings(), "the run's settings").unwrap_or_else(
                |error| {
                    problems.push(error.to_string());
                    None
                },
            );
        let plan = read_plan(run, &mut problems);
        let read = journal::read(&run.journal());
        let journal_is_readable = read.is_ok();
        let lines = read.unwrap_or_else(|error| {
            problems.push(error.to_string());
            Vec::new()
        });
        let request = std::fs::read_to_string(run.request())
            .ok()
            .or_else(|| plan.as_ref().and_then(|p| p.request().map(str::to_owned)));
        let mut snapshot = Self {
            id: run.id().clone(),
            dir: run.dir().to_owned(),
            taken_at: now,
            settings,
            request,
            emergency: None,
            tasks: Vec::new(),
            resolvers: Vec::new(),
            phases: Vec::new(),
            standing: Standing::Unknown,
            workers: None,
            paused: false,
            cancelling: false,
            integration: None,
            taken_back: false,
            merging: Merging::default(),
            conductor_alive: lock::may_be_held(&run.conductor_lock()),
            begun_at: None,
            ended_at: None,
            records: 0,
            conflicts: Vec::new(),
            conditions: None,
            shortage: None,
            budget: None,
            notes: notes::read(&run.notes()),
            problems,
        };
        if let Some(plan) = &plan {
            snapshot.take_plan(plan);
            snapshot.take_journal(&lines, plan);
            for task in snapshot.tasks.iter_mut().chain(&mut snapshot.resolvers) {
                task.status = atomic::peek_json(&run.status(&task.name));
                task.supervisor_alive = lock::may_be_held(&run.lock(&task.name));
                task.by_hand = by_hand(run, task, now);
                task.worktree_exists = task.place.as_ref().is_some_and(|p| p.worktree.is_dir());
            }
        } else if lines.is_empty() && snapshot.settings.is_none() {
            snapshot.standing = Standing::Planned;
        } else {
            snapshot.take_times(&lines);
            snapshot.standing = standing_without_plan(&lines);
        }
        snapshot.take_radar(run);
        snapshot.take_conditions(run);
        if !journal_is_readable {
            snapshot.standing = Standing::Unknown;
        }
        Ok(snapshot)
    }

    /// Fills in what holds the run back. Without a conductor nobody keeps conditions true; one
    /// that met a shortage is gone, and its keeper brings the next after a pause.
    fn take_conditions(&mut self, run: &RunDir) {
        if self.is_live() {
            self.shortage = atomic::peek_json(&run.shortage());
        }
        if self.conductor_alive && self.is_live() {
            self.conditions = atomic::peek_json(&run.conditions());
        }
    }

    /// Whether nothing starts at the moment, because of machine or provider.
    #[must_use]
    pub fn hold(&self) -> Option<&HoldEntry> {
        let hold = self.conditions.as_ref()?.hold.as_ref();
        hold.filter(|hold| hold.until > self.taken_at)
    }

    /// What holds the run back, in sentences.
    #[must_use]
    pub fn held_back(&self) -> Vec<String> {
        let mut said = self.allowed();
        said.extend(self.waits_for_room());
        said
    }

    /// What machine and provider allow, in sentences: one per source that holds the run back.
    #[must_use]
    pub fn allowed(&self) -> Vec<String> {
        let sources = self.conditions.iter().flat_map(|file| &file.sources);
        sources
            .filter_map(|source| outside::told_by(source, self.taken_at))
            .collect()
    }

    /// That the run waits for what the machine is short of, in a sentence.
    #[must_use]
    pub fn waits_for_room(&self) -> Option<String> {
        let short = self.shortage.as_ref()?;
        let since = outside::moment(short.since, self.taken_at);
        let times = match short.tries {
            1 => "tried once".to_owned(),
            tries => format!("tried {tries} times"),
        };
        Some(format!("waits since {since}, {times}: {}", short.what))
    }

    /// Fills in what the radar predicts. Without a conductor nobody keeps that true.
    fn take_radar(&mut self, run: &RunDir) {
        if !self.conductor_alive || self.standing != Standing::Running {
            return;
        }
        let Some(file) = atomic::peek_json::<RadarFile>(&run.radar()) else {
            return;
        };
        let is_active = |name: &TaskName| self.task(name).is_some_and(TaskView::is_active);
        let mut conflicts = file.conflicts;
        conflicts.retain(|c| is_active(&c.tasks.0) || is_active(&c.tasks.1));
        self.conflicts = conflicts;
    }

    /// Fills in what the plan says; every task waits.
    fn take_plan(&mut self, plan: &ValidPlan) {
        let facts = match &self.settings {
            Some(settings) => settings.facts(plan),
            None => TaskFacts::of(plan, 1, Limit::default()),
        };
        let nothing = Learned::default();
        let learned = self.settings.as_ref().map_or(&nothing, |s| &s.learned);
        let positions =
            |list: &[crate::core::graph::TaskIx]| list.iter().map(|i| i.index()).collect();
        self.tasks = plan
            .tasks()
            .iter()
            .zip(&facts)
            .map(|(task, facts)| TaskView {
                description: task.description.clone(),
                prompt: task
                    .prompt
                    .as_deref()
                    .and_then(|prompt| prompt.trim().lines().next())
                    .map(str::to_owned),
                priority: task.priority,
                issue_number: task.issue_number,
                estimated_minutes: task.estimated_minutes.or_else(|| {
                    let guess = learned.durations.get(&task.name)?;
                    Some(guess.minutes)
                }),
                estimate_is_learned: task.estimated_minutes.is_none()
                    && learned.durations.contains_key(&task.name),
                max_attempts: facts.max_attempts,
                needs: positions(&facts.needs),
                after: positions(&facts.after),
                ..TaskView::waiting(task.name.clone(), task.role())
            })
            .collect();
        self.phases = plan.phases().iter().map(|p| positions(p)).collect();
        self.emergency = plan.emergency().map(|e| EmergencyView {
            critical: e
                .critical
                .iter()
                .map(|ix| plan.name(*ix).to_string())
                .collect(),
            words: e.words.clone(),
        });
    }

    /// Fills in what the journal says.
    fn take_journal(&mut self, lines: &[Line], plan: &ValidPlan) {
        self.take_times(lines);
        let Some(settings) = &self.settings else {
            self.standing = if lines.is_empty() {
                Standing::Planned
            } else {
                Standing::Unknown
            };
            return;
        };
        let settings_verify = settings.verify.is_some();
        let facts = settings.facts(plan);
        let records = lines.iter().map(|l| &l.entry);
        let state = State::replay(facts, settings.policy(), records);
        self.take_state(&state);
        self.merging = Merging::of(&state, lines);
        self.merging.verifies = settings_verify;
    }

    /// Fills in a state; times come from [`Snapshot::take_times`].
    pub(crate) fn take_state(&mut self, state: &State) {
        self.budget = BudgetView::of(state);
        let resolvers = self.resolvers.iter_mut().zip(state.resolvers().keys());
        for (task, ix) in resolvers {
            task.max_attempts = state.facts(*ix).max_attempts;
        }
        let rows = self.tasks.iter_mut().chain(&mut self.resolvers);
        for (task, ix) in rows.zip(state.every()) {
            let entry = state.task(ix);
            task.state = entry.state.clone();
            task.held = entry.held;
            task.attempts = entry.attempts;
            task.failures = entry.failures;
            task.session = entry.session;
            task.place = entry.place.clone();
            // What the plan did not know, and turned out while it ran.
            for before in &state.facts(ix).after {
                if !task.after.contains(&before.index()) {
                    task.after.push(before.index());
                }
            }
            if !entry.state.is_settled() {
                task.ended_at = None;
            }
        }
        self.workers = Some(state.workers());
        self.paused = state.is_paused();
        self.cancelling = state.is_cancelling();
        self.integration = state.integration().cloned();
        self.taken_back = state.deliveries().all_taken_back();
        self.standing = match state.phase() {
            Phase::Running => Standing::Running,
            Phase::Integrating(mode) => Standing::Integrating(*mode),
            Phase::Finished { verdict, closed } => Standing::Finished {
                verdict: *verdict,
                closed: *closed,
            },
        };
        if !matches!(self.standing, Standing::Finished { .. }) {
            self.ended_at = None;
        }
    }

    /// Fills in when what happened.
    pub(crate) fn take_times(&mut self, lines: &[Line]) {
        self.records = lines.len();
        self.begun_at = lines.first().map(|l| l.at);
        let now = self.taken_at;
        for Line { at, entry, .. } in lines {
            match entry {
                Record::ResolverAdded { resolution }
                    if self.task_mut(&resolution.resolver).is_none() =>
                {
                    self.resolvers.push(TaskView::resolver(resolution));
                }
                Record::AttemptStarted { task, .. } => {
                    if let Some(task) = self.task_mut(task) {
                        task.started_at.get_or_insert(*at);
                        task.attempt_started_at = Some(*at);
                        task.ended_at = None;
                    }
                }
                Record::AttemptEnded { task, end, .. } => {
                    if let Some(task) = self.task_mut(task) {
                        if let Some(start) = task.attempt_started_at.take() {
                            task.worked.0 += at.since(start).0;
                        }
                        if matches!(end, AttemptEnd::Complete { .. } | AttemptEnd::Cancelled) {
                            task.ended_at = Some(*at);
                        }
                    }
                }
                Record::TaskFailed { task, .. }
                | Record::TaskSkipped { task, .. }
                | Record::TaskCancelled { task } => {
                    if let Some(task) = self.task_mut(task) {
                        task.ended_at = Some(*at);
                    }
                }
                Record::Finished { .. } => self.ended_at = Some(*at),
                _ => {}
            }
        }
        for task in self.tasks.iter_mut().chain(&mut self.resolvers) {
            if let Some(start) = task.attempt_started_at {
                task.worked.0 += now.since(start).0;
            }
        }
    }

    fn task_mut(&mut self, name: &TaskName) -> Option<&mut TaskView> {
        let mut rows = self.tasks.iter_mut().chain(&mut self.resolvers);
        rows.find(|t| t.name == *name)
    }

    /// All that is worked on: the tasks of the plan, then the resolvers.
    pub fn rows(&self) -> impl Iterator<Item = &TaskView> {
        self.tasks.iter().chain(&self.resolvers)
    }

    /// The task or resolver of that name; case is ignored.
    #[must_use]
    pub fn task(&self, name: &TaskName) -> Option<&TaskView> {
        self.rows().find(|t| t.name.folded() == name.folded())
    }

    /// Whether something is still to happen: it was begun and is not closed.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(
            self.standing,
            Standing::Running | Standing::Integrating(_) | Standing::Finished { closed: false, .. }
        )
    }

    /// The verdict, once there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        match self.standing {
            Standing::Finished { verdict, .. } => Some(verdict),
            _ => None,
        }
    }

    /// Time from the beginning to the end, or to now.
    #[must_use]
    pub fn elapsed(&self) -> Option<Millis> {
        Some(self.ended_at.unwrap_or(self.taken_at).since(self.begun_at?))
    }

    /// How many tasks are done.
    #[must_use]
    pub fn done(&self) -> usize {
        let is_done = |t: &&TaskView| matches!(t.state, TaskState::Done { .. });
        self.tasks.iter().filter(is_done).count()
    }

    /// The tasks and resolvers with an attempt in work.
    pub fn active(&self) -> impl Iterator<Item = &TaskView> {
        self.rows().filter(|t| t.is_active())
    }

    /// How many tasks of the plan stand at one of these words.
    #[must_use]
    pub fn count(&self, words: &[Word]) -> usize {
        self.tasks
            .iter()
            .filter(|t| words.contains(&t.word()))
            .count()
    }
}

/// A session that a person opened by hand, where nobody supervises one.
fn by_hand(run: &RunDir, task: &TaskView, now: Timestamp) -> Option<ByHand> {
    if task.supervisor_alive || task.attempts == 0 {
        return None;
    }
    let text = std::fs::read_to_string(run.beat(&task.name)).ok()?;
    by_hand::read(&text, task.status.as_ref(), now)
}

/// What the stored plan says. It was validated when it was stored; limits on its size are
/// not the looker's business.
fn read_plan(run: &RunDir, problems: &mut Vec<String>) -> Option<ValidPlan> {
    let path = run.plan();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            problems.push(format!("cannot read {}: {error}", path.display()));
            return None;
        }
    };
    let limits = Limits {
        max_input_bytes: usize::MAX,
        max_tasks: usize::MAX,
        max_text_bytes: usize::MAX,
        overlap: OverlapPolicy::Sequence,
        ..Limits::default()
    };
    match plan_file::parse(&bytes, &limits) {
        Ok(parsed) => Some(parsed.plan),
        Err(faults) => {
            problems.push(format!("{}: {faults}", path.display()));
            None
        }
    }
}

/// Whether a run whose plan cannot be read has ended is still told by its journal.
fn standing_without_plan(lines: &[Line]) -> Standing {
    let mut standing = Standing::Unknown;
    for line in lines {
        match &line.entry {
            Record::Finished { verdict } => {
                standing = Standing::Finished {
                    verdict: *verdict,
                    closed: false,
                };
            }
            Record::Closed => {
                if let Standing::Finished { closed, .. } = &mut standing {
                    *closed = true;
                }
            }
            Record::TaskRevived { .. } => standing = Standing::Unknown,
            _ => {}
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::Oid;
    use crate::store::journal::Journal;
    use crate::store::layout::Layout;
    use crate::store::lock::Lock;
    use crate::view::testkit::{Sample, T0, settings};

    const PLAN: &str =
        r#"{"request":"Do it","tasks":[{"name":"t1"},{"name":"t2","dependencies":["t1"]}]}"#;

    fn run_dir() -> (tempfile::TempDir, RunDir) {
        let dir = tempfile::tempdir().unwrap();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("run-1").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        (dir, run)
    }

    #[test]
    fn a_run_grows_file_by_file_and_is_always_readable() {
        let (_dir, run) = run_dir();
        let look = || Snapshot::load(&run, T0.plus(Millis::from_secs(100))).unwrap();
        assert_eq!(look().standing, Standing::Planned);
        assert!(!look().is_live());

        std::fs::write(run.plan(), PLAN).unwrap();
        let planned = look();
        assert_eq!(planned.standing, Standing::Planned);
        assert_eq!(planned.tasks[1].needs, [0]);
        assert_eq!(planned.request.as_deref(), Some("Do it"));

        let text = serde_json::to_string(&settings("run-1")).unwrap();
        std::fs::write(run.settings(), text).unwrap();
        assert_eq!(look().standing, Standing::Running);
        assert!(look().is_live());

        let sample = Sample::chain(2).done("t1", 60).working("t2", 20, Some(50));
        let (mut journal, _) = Journal::open(&run.journal()).unwrap();
        for line in sample.lines() {
            journal.append(&[line.entry], line.at).unwrap();
        }
        let status = sample.build().tasks[1].status.clone().unwrap();
        let task = status.task.clone();
        let name = TaskName::parse(&task).unwrap();
        let text = serde_json::to_string(&status).unwrap();
        std::fs::write(run.status(&name), text).unwrap();
        let lost = look();
        assert!(!lost.conductor_alive);
        assert_eq!(lost.tasks[1].word(), Word::Lost);

        let _conductor = Lock::try_take(&run.conductor_lock()).unwrap().unwrap();
        let _supervisor = Lock::try_take(&run.lock(&name)).unwrap().unwrap();
        let working = look();
        assert!(working.conductor_alive);
        assert_eq!(working.tasks[0].word(), Word::Done);
        assert_eq!(working.tasks[0].worked, Millis::from_secs(60));
        assert_eq!(working.tasks[1].word(), Word::Working);
        assert_eq!(working.tasks[1].worked, Millis::from_secs(40));
        assert_eq!(working.tasks[1].percent(), Some(50));
        assert_eq!(working.problems, [] as [&str; 0]);
    }

    #[test]
    fn an_older_attempts_status_says_nothing_of_the_present_one() {
        let mut snapshot = Sample::flat(1).working("t1", 30, Some(50)).build();
        snapshot.tasks[0].attempts = 2;
        assert_eq!(snapshot.tasks[0].percent(), None);
        assert_eq!(snapshot.tasks[0].word(), Word::Working);
    }

    #[test]
    fn resolvers_are_shown_beside_the_tasks_and_counted_nowhere() {
        let name = |text: &str| TaskName::parse(text).unwrap();
        let oid = Oid::parse(&"a".repeat(40)).unwrap();
        let resolver = name("resolve-t2");
        let resolution = Resolution {
            resolver: resolver.clone(),
            task: name("t2"),
            onto: oid.clone(),
            theirs: oid,
            merged: vec![name("t1")],
            files: vec!["f".into()],
            with: vec![name("t1")],
            partly: None,
            guidance: None,
        };
        let session = SessionId(uuid::Uuid::nil());
        let (task, attempt) = (resolver.clone(), 1);
        let snapshot = Sample::flat(2)
            .done("t1", 60)
            .done("t2", 60)
            .record(Record::ResolverAdded { resolution })
            .record(Record::AttemptStarted {
                task: task.clone(),
                attempt,
                session,
                start: crate::core::attempt::StartMode::Fresh,
                approach: crate::core::retry::Approach::default(),
                grant: crate::core::budget::Grant::default(),
                at: None,
                attached: None,
            })
            .record(Record::AttemptRunning { task, attempt })
            .build();
        assert_eq!((snapshot.tasks.len(), snapshot.done()), (2, 2));
        let row = snapshot.task(&resolver).unwrap();
        assert!(row.is_active() && row.max_attempts > 1);
        assert_eq!(row.title(), Some("Resolving the conflict of t2 with t1"));
        assert_eq!(snapshot.active().count(), 1);
        let overall = crate::view::figures::overall(&snapshot).unwrap();
        assert_eq!(
            (overall.percent, overall.total, overall.unmeasured),
            (100, 2, 0)
        );
        let page = crate::view::page::Page::new(80, false);
        for text in [
            crate::view::summary::render(&snapshot, &page),
            crate::view::detailed::render(&snapshot, &page),
            crate::view::live::region(&snapshot, &page, 20).join("\n"),
        ] {
            assert!(text.contains("resolve-t2"), "{text}");
        }
        let report = crate::view::report_json::status_report(&snapshot);
        assert_eq!((report.tasks.len(), report.resolvers.len()), (2, 1));
        assert_eq!(report.resolvers[0].role, "result-integrator");
    }

    #[test]
    fn a_missing_run_is_an_error() {
        let (dir, _) = run_dir();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("none").unwrap());
        let error = Snapshot::load(&run, T0).unwrap_err().to_string();
        assert!(error.contains("no orchestration none"), "{error}");
    }
}
