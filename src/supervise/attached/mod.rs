//! An attempt in which a person works: the client runs in their terminal, and this process is
//! its supervisor.
//!
//! It is an attempt like any other: it has an order, a grant, the instance's lock, a status file
//! and an outcome. So the conductor knows that somebody works on the task, starts no other
//! attempt meanwhile, and takes in the end as it does any other end. Two things differ. There is
//! no stream: what happens is told by hooks in lines of `instance-TASK.beat`, by the processes,
//! the worktree and the session's own file. And nobody judges silence, time or questions: the
//! person is there.
//!
//! This process may have other children (a conductor that it brought), so it is no subreaper and
//! takes only those for the instance's that descend from the client or carry its marks.

mod beats;
mod client;
mod ending;
mod letters;

use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::evidence::Changes;
use super::gate::Rules;
use super::leftovers::{Known, end_leftovers};
use super::report::{Report, now, rfc3339};
use super::transcript::Transcript;
use super::work::{Helpers, Workshop};
use super::{Supervision, has_outcome, life, ports, status_before};
use crate::agent::process::{self, InTerminal};
use crate::agent::tree::{self, EndPlan, Marker, ProcessKey, Tree, TreeUsage};
use crate::core::attempt::{AttemptEnd, FailureClass};
use crate::core::id::Oid;
use crate::format::claude_stream::one_line;
use crate::format::launch_file::LaunchFile;
use crate::format::status_file::{InstanceStatus, StatusFile, Tokens};
use crate::format::todo_list::Todos;
use crate::store::atomic::{self, Durability};
use crate::store::lock::Lock;
use crate::store::run_log;
use beats::{Beats, Usd};

/// Set in the environment of a session in which a person works, beside the process marker: the
/// hooks tell it from a headless instance by this.
pub const ATTACHED_VARIABLE: &str = "ORCHESTRA_ATTACHED";

/// Longest sleep of the loop.
const TICK: Duration = Duration::from_millis(250);
/// How often processes and the session's file are looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// How often the worktree is measured, at most; and never more than a tenth of the time.
const MEASURE_EVERY: Duration = Duration::from_secs(3);
/// How long the lock is waited for: the conductor holds it while it writes the status file.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the client may take to end by itself when it is told to.
const LEAVE_GRACE: Duration = Duration::from_secs(5);

/// What is to become of the task when the person leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// Complete when the instance takes it for done and the evidence is there, else it goes on.
    #[default]
    Decide,
    /// Complete when the evidence is there, else it is held back.
    Complete,
    /// It goes on without the person.
    Resume,
    /// It is held back.
    Pause,
}

/// How a person's attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// As the outcome file says it.
    pub end: AttemptEnd,
    /// Why it is not complete, for people: what is missing, or that nobody says that it is done.
    pub open: Option<String>,
    /// Whether it is held back.
    pub held: bool,
    /// The exit code of the client.
    pub code: Option<i32>,
    /// Why the outcome could not be written.
    pub lost: Option<String>,
}

/// What the terminal is told at its start.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The task and where it is.
    pub supervision: Supervision<'a>,
    /// The ticket of the person's request.
    pub ticket: &'a str,
    /// What is to become of the task afterwards.
    pub then: Then,
    /// The heartbeat's program, for the status line; none when it is not installed.
    pub heartbeat: Option<PathBuf>,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Msg {
    Client(InTerminal),
    /// Ctrl-C, while it is not the client's.
    Interrupt,
    /// The terminal is gone, or somebody wants this process to end.
    Terminate,
}

/// Whether the order for the person's attempt is there, with its lock free to be taken.
#[must_use]
pub fn is_ordered(supervision: &Supervision<'_>, ticket: &str) -> bool {
    atomic::peek_json::<LaunchFile>(&supervision.run.launch(supervision.task))
        .is_some_and(|launch| launch.attached.as_deref() == Some(ticket))
        && !has_outcome_of_order(supervision)
}

fn has_outcome_of_order(supervision: &Supervision<'_>) -> bool {
    atomic::peek_json::<LaunchFile>(&supervision.run.launch(supervision.task))
        .is_some_and(|launch| has_outcome(supervision, launch.attempt))
}

/// Opens the session of the order in the terminal, and supervises it to its outcome. `say` is
/// for lines to the person, before the client has the terminal and after.
///
/// # Errors
/// A sentence that says why nothing was begun.
pub fn attend(visit: &Visit<'_>, say: &mut dyn FnMut(&str)) -> Result<Given, String> {
    let (run, task) = (visit.supervision.run, visit.supervision.task);
    let text = |error: crate::store::StoreError| error.to_string();
    let lock = Lock::take_within(&run.lock(task), LOCK_PATIENCE)
        .map_err(text)?
        .ok_or_else(|| format!("another process works on {task}"))?;
    let launch: LaunchFile = atomic::read_json(&run.launch(task), "the order for an attempt")
        .map_err(text)?
        .filter(|launch: &LaunchFile| launch.attached.as_deref() == Some(visit.ticket))
        .ok_or_else(|| format!("{task} was not handed over"))?;
    if has_outcome(&visit.supervision, launch.attempt) {
        return Err(format!("{task} was taken back before it could be opened"));
    }
    let before = status_before(run, task)?;
    end_leftovers(run, &launch.token, &launch.task);
    let given = Attached::new(visit, launch, before).live(say);
    drop(lock);
    Ok(given)
}

struct Attached<'a> {
    visit: &'a Visit<'a>,
    launch: LaunchFile,
    report: Report,
    workshop: Workshop,
    slot: Option<ports::Slot>,
    known: Known,
    client: Option<Child>,
    key: Option<ProcessKey>,
    told: Receiver<Msg>,
    tell: SyncSender<Msg>,
    todos: Todos,
    beats: Beats,
    transcript: Transcript,
    /// The session's file, once a hook has named it.
    session_file: Option<PathBuf>,
    /// The commit at which the person found the worktree.
    head: Option<Oid>,
    usd: Usd,
    earlier_tokens: Option<Tokens>,
    /// What the last turn that ended said; empty while one goes on.
    said: String,
    /// Whether the model was asked anything.
    asked: bool,
    in_turn: bool,
    peak: Option<u64>,
    ending: Option<AttemptEnd>,
    terminated: bool,
    next_sample: Instant,
    next_measure: Instant,
    unmeasured: bool,
    changes: Option<Changes>,
    taken: Vec<PathBuf>,
}

impl<'a> Attached<'a> {
    fn new(visit: &'a Visit<'a>, launch: LaunchFile, before: Option<StatusFile>) -> Self {
        let supervision = &visit.supervision;
        let (run, task) = (supervision.run, supervision.task);
        let begun = now();
        let report = Report::begin(run.status(task), before, &launch, begun);
        let marker = Marker::new(&launch.token, &launch.orchestration_id, Some(task));
        let slot = ports::take(supervision.slots);
        let mut env = life::environment(supervision, &launch, &marker, slot.as_ref());
        env.set(ATTACHED_VARIABLE, "1");
        let workshop = Workshop {
            worktree: launch.worktree.clone(),
            main_checkout: launch.main_checkout.clone(),
            rules: Rules {
                branch: launch.branch.clone(),
                base: launch.base.clone(),
                may_end_without_commits: launch.may_end_without_commits,
                verify: launch.verify.clone(),
                merging: launch.merging.clone(),
            },
            env,
            marker,
            commands_log: run.commands_log(task),
            command_timeout: Duration::from_secs(launch.command_timeout_seconds),
            helpers: Helpers::default(),
            repo: Arc::default(),
        };
        let (tell, told) = mpsc::sync_channel(16);
        Self {
            todos: Todos::resumed(&report.status.progress.items),
            earlier_tokens: report.status.tokens,
            usd: Usd {
                earlier: report.status.cost_usd,
                ..Usd::default()
            },
            beats: Beats {
                path: run.beat(task),
                read: 0,
            },
            known: Known::new(run.processes(task)),
            transcript: Transcript::since(begun),
            report,
            workshop,
            slot,
            client: None,
            key: None,
            told,
            tell,
            session_file: None,
            head: None,
            said: String::new(),
            asked: false,
            in_turn: false,
            peak: None,
            ending: None,
            terminated: false,
            next_sample: Instant::now(),
            next_measure: Instant::now(),
            unmeasured: true,
            changes: None,
            taken: Vec::new(),
            visit,
            launch,
        }
    }

    fn live(mut self, say: &mut dyn FnMut(&str)) -> Given {
        let terminal = rustix::termios::tcgetattr(std::io::stdin()).ok();
        self.begin();
        let code = if self.ending.is_none() {
            let code = self.with_client();
            if let Some(modes) = &terminal {
                // One that was killed has left the terminal as it had it.
                let now = rustix::termios::OptionalActions::Now;
                let _ = rustix::termios::tcsetattr(std::io::stdin(), now, modes);
            }
            code
        } else {
            None
        };
        self.finish(code, say)
    }

    fn begin(&mut self) {
        let begun = rfc3339(now());
        let status = &mut self.report.status;
        status.status = InstanceStatus::Working;
        status.attached_since = Some(begun.clone());
        status.last_heartbeat = Some(begun);
        status.activity = None;
        status.session_id = Some(self.launch.session_id.to_string());
        self.report.flush(true);
        // Old lines are of old sessions.
        let _ = atomic::write(&self.beats.path, b"", Durability::Volatile);
        self.head = self.workshop.look().ok().and_then(|git| git.head);
        if let Err(why) = self.hear_signals() {
            self.fail(FailureClass::Crash, why);
        }
        // A wish to cancel that waits already.
        self.look_into_inbox();
        if self.ending.is_none() {
            self.start();
        }
    }

    fn fail(&mut self, class: FailureClass, detail: String) {
        self.report.status.last_error = Some(one_line(&detail, 1000));
        self.ending
            .get_or_insert(AttemptEnd::Failed { class, detail });
    }

    fn hear_signals(&self) -> Result<(), String> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        let wrong = |e: std::io::Error| format!("signals cannot be heard: {e}");
        let all = [SIGINT, SIGQUIT, SIGTERM, SIGHUP];
        let mut signals = signal_hook::iterator::Signals::new(all).map_err(wrong)?;
        let tell = self.tell.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    let msg = match signal {
                        SIGINT | SIGQUIT => Msg::Interrupt,
                        _ => Msg::Terminate,
                    };
                    if tell.send(msg).is_err() {
                        return;
                    }
                }
            })
            .map(drop)
            .map_err(wrong)
    }

    /// The person has the terminal. Returns the exit code of the client.
    fn with_client(&mut self) -> Option<i32> {
        loop {
            match self.told.recv_timeout(TICK) {
                Ok(Msg::Client(InTerminal::Ended)) => break,
                Ok(Msg::Client(InTerminal::Stopped)) => {
                    // The shell gets the terminal; with `fg` both go on.
                    if let Some(client) = &self.client {
                        process::stop_with(client.id());
                    }
                }
                // The client has heard it, too, or it was meant for the client.
                Ok(Msg::Interrupt) => {}
                Ok(Msg::Terminate) => {
                    self.terminated = true;
                    self.end_tree();
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.tick();
        }
        let status = self.client.as_mut().and_then(|client| client.wait().ok());
        self.read_beats();
        self.look_at_session();
        status.and_then(|status| status.code())
    }

    fn tick(&mut self) {
        let at = Instant::now();
        self.read_beats();
        self.look_into_inbox();
        if at >= self.next_sample {
            self.next_sample = at + SAMPLE_EVERY;
            self.sample();
            self.look_at_session();
            self.look_at_budget();
        }
        if at >= self.next_measure && self.unmeasured {
            self.unmeasured = false;
            if let Ok(changes) = self.workshop.measure() {
                self.changed(changes);
            }
            self.next_measure = Instant::now() + MEASURE_EVERY.max(at.elapsed() * 10);
        }
        self.report.flush(false);
    }

    fn changed(&mut self, changes: Changes) {
        let (files, added, removed) = changes;
        self.changes = Some(changes);
        self.report.status.files_changed = Some(files);
        self.report.status.lines_added = Some(added);
        self.report.status.lines_removed = Some(removed);
    }

    fn members_tree(&self) -> Tree {
        Tree {
            roots: self.key.into_iter().collect(),
            marker: Some(self.workshop.marker.clone()),
            ..Tree::default()
        }
    }

    fn sample(&mut self) {
        let members = self.members_tree().members();
        let usage = TreeUsage::of(&members);
        let resources = &mut self.report.status.resources;
        if usage.cpu_ms > resources.cpu_ms.unwrap_or(0) + 50 {
            // At work, whatever it says.
            self.unmeasured = true;
        }
        resources.processes = Some(usage.processes);
        resources.memory_bytes = Some(usage.memory_bytes);
        resources.cpu_ms = Some(resources.cpu_ms.unwrap_or(0).max(usage.cpu_ms));
        self.peak = Some(self.peak.unwrap_or(0).max(usage.memory_bytes));
        resources.peak_memory_bytes = self.peak;
        self.known.see(&members);
    }

    fn end_tree(&mut self) {
        let managed: Vec<ProcessKey> = self.key.into_iter().collect();
        let plan = EndPlan {
            managed: &managed,
            grace: LEAVE_GRACE,
            ..EndPlan::default()
        };
        let report = tree::end(&self.members_tree(), &plan);
        if !report.left.is_empty() {
            let pids: Vec<String> = report.left.iter().map(|k| k.pid.to_string()).collect();
            let left = pids.join(", ");
            self.report.status.last_error =
                Some(format!("processes that cannot be ended are left: {left}"));
        }
    }

    fn announce(&self, what: &str) {
        let supervision = &self.visit.supervision;
        let line = format!("{}: {what}", supervision.task);
        run_log::append(supervision.run, now(), &[line]);
    }
}
