//! The life of one attempt: one loop, one message at a time, and what follows from it.
//!
//! | file | what |
//! |---|---|
//! | `mod` | the loop and its phases |
//! | `start` | set-up, and the start of the agent |
//! | `client` | the agent's process: talking to it, whether it lives |
//! | `stream` | what follows from the events of its stream |
//! | `budget` | the attempt's grant of money and tokens |
//! | `rounds` | the gate: looking, sending back, confirming |
//! | `requests` | what others want of the instance; stuck, and the answer |
//! | `asking` | permissions and questions in the middle of a turn |
//! | `mail` | messages that stay in the inbox until they have arrived |
//! | `silence` | what is done about an instance that gives no sign of life |
//! | `memory` | what is done about one that uses too much memory |
//! | `time` | what happens because time goes by: deadlines, measuring |
//! | `provider` | what the provider says, told to all runs of the account |
//! | `ending` | the last acts and the outcome |
//!
//! A [`Phase`] says what the loop waits for. `Setup` leads to `Working`; the end of a turn
//! leads to `Gating`, or to `Waiting` when the instance is stuck; the gate leads back to
//! `Working` or on to `Closing`; `Stopping` is an interrupted turn on its way to `Closing`.
//! Everything ends in `Closing`, and nothing leads back from there.

mod asking;
mod budget;
mod client;
mod ending;
mod mail;
mod memory;
mod provider;
pub(super) mod requests;
mod rounds;
mod silence;
mod start;
mod stream;
mod time;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use super::Supervision;
use super::gate::Rules;
use super::leftovers::Known;
use super::liveness::{Clock, Liveness};
use super::ports;
use super::report::{Report, now};
use super::watch::{self, Msg};
use super::work::{Helpers, Workshop};
use crate::agent::environment::Environment;
use crate::agent::tree::{MARK_VARIABLE, Marker};
use crate::core::attempt::{AttemptEnd, FailureClass, StartMode};
use crate::core::event::StopHow;
use crate::core::permission::Permissions;
use crate::format::claude_stream::one_line;
use crate::format::launch_file::LaunchFile;
use crate::format::status_file::{InstanceStatus, StatusFile};
use crate::store::run_log;

use asking::{Desk, Shown};
use client::Client;
use mail::Mail;
use rounds::Candidate;
use stream::Heard;
use time::Timetable;

/// Longest sleep of the loop.
const TICK: Duration = Duration::from_millis(250);
/// Messages that may wait; a full channel holds the reader back, not the memory.
const WAITING_MESSAGES: usize = 32;

/// What the loop is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The set-up command.
    Setup,
    /// The end of the agent's turn.
    Working,
    /// The evidence that it is done.
    Gating,
    /// An answer to a stuck instance.
    Waiting(Instant),
    /// The end of an interrupted turn.
    Stopping(Instant),
    /// The end of the process, whose input is closed.
    Closing,
}

/// The life of one attempt.
pub(super) struct Life<'a> {
    supervision: &'a Supervision<'a>,
    launch: LaunchFile,
    report: Report,
    workshop: Workshop,
    slot: Option<ports::Slot>,

    phase: Phase,
    agent: Option<Client>,
    heard: Heard,
    clock: Clock,
    signs: Liveness,
    /// What the session is told once the interrupt that was sent has ended its turn.
    nudging: Option<String>,
    /// Silence as the status tells it.
    silence: Option<silence::Told>,
    memory: memory::Memory,
    provider: provider::Provider,
    /// Its processes, for whoever finds this supervisor lost.
    known: Known,
    /// Since when it is to stop at the next boundary between two tool calls.
    yielding: Option<Instant>,
    times: Timetable,
    /// What it asks in the middle of a turn.
    desk: Desk,
    /// Why it said that it cannot go on.
    stuck: Option<Shown>,
    /// How often it said so.
    stuck_count: u32,
    mail: Mail,
    /// How it ends, once that is decided.
    ending: Option<AttemptEnd>,
    /// What is to be confirmed as the result, once the gate is passed.
    candidate: Option<Candidate>,
    /// How often the instance was sent back.
    rounds: u32,
    /// Which look of the gate is awaited; an older one is out of date.
    look: u64,

    tell: SyncSender<Msg>,
    told: Receiver<Msg>,
    watcher: Option<notify::RecommendedWatcher>,
    /// Threads that work for this attempt.
    works: u32,
    /// Ends the command that such a thread runs.
    stop_work: Arc<AtomicBool>,
    /// Requests that take effect with the end.
    taken: Vec<PathBuf>,
    log_fault: Option<String>,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        supervision: &'a Supervision<'a>,
        launch: LaunchFile,
        before: Option<StatusFile>,
    ) -> Self {
        let (run, task) = (supervision.run, supervision.task);
        let report = Report::begin(run.status(task), before, &launch, now());
        let heard = Heard::begin(&report.status, launch.start == StartMode::Resume);
        let marker = Marker::new(&launch.token, &launch.orchestration_id, Some(task));
        let slot = ports::take(supervision.slots);
        let env = environment(supervision, &launch, &marker, slot.as_ref());
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
        let allowed = asking::allowed_before(run, task).allowed;
        let permissions = Permissions::new(launch.permission_requests, allowed);
        let (tell, told) = mpsc::sync_channel(WAITING_MESSAGES);
        Self {
            supervision,
            report,
            workshop,
            slot,
            phase: Phase::Setup,
            agent: None,
            heard,
            clock: Clock::begin(),
            signs: Liveness::new(launch.limits.silence(), now()),
            nudging: None,
            silence: None,
            memory: memory::Memory::new(launch.limits.max_memory()),
            provider: provider::Provider::new(launch.breaker.as_ref()),
            known: Known::new(run.processes(task)),
            yielding: None,
            times: Timetable::begin(Duration::from_secs(launch.timeout_seconds)),
            desk: Desk::begin(permissions),
            stuck: None,
            stuck_count: 0,
            mail: Mail::default(),
            ending: None,
            candidate: None,
            rounds: 0,
            look: 0,
            tell,
            told,
            watcher: None,
            works: 0,
            stop_work: Arc::default(),
            taken: Vec::new(),
            log_fault: None,
            launch,
        }
    }

    /// Lives until the attempt has ended; returns how, and whether the outcome is written.
    pub(super) fn live(mut self) -> (AttemptEnd, Result<(), String>) {
        self.begin();
        while !self.is_over() {
            if let Ok(msg) = self.told.recv_timeout(TICK) {
                self.on(msg);
            }
            self.tick();
        }
        self.finish()
    }

    fn begin(&mut self) {
        self.report.status.status = InstanceStatus::Planning;
        self.show_progress();
        self.report.status.activity = Some("getting ready".into());
        self.beat();
        self.report.flush(true);
        if let Err(e) = watch::watch_signals(self.tell.clone()) {
            self.note(&format!("signals are not heard: {e}"));
        }
        let inbox = self.supervision.run.instance_inbox(self.supervision.task);
        if std::fs::create_dir_all(&inbox).is_ok() {
            self.watcher = watch::watch_inbox(&inbox, self.tell.clone());
        }
        // A wish to stop that waits already is heard before anything is started.
        self.look_into_inbox();
        if self.ending.is_some() {
            return;
        }
        if !self.launch.worktree.is_dir() {
            let detail = format!("{} is not there", self.launch.worktree.display());
            self.fail(FailureClass::Worktree, detail);
            return;
        }
        match self.launch.setup.clone() {
            Some(cmd) if !self.is_set_up(&cmd) => self.set_up(cmd),
            _ => self.start_agent(),
        }
    }

    fn is_over(&self) -> bool {
        if self.works > 0 {
            return false;
        }
        match &self.agent {
            None => self.ending.is_some(),
            Some(agent) => agent.is_over(),
        }
    }

    fn on(&mut self, msg: Msg) {
        match msg {
            Msg::Event(event) => self.on_event(event),
            Msg::TooLong(count) => {
                self.note(&format!(
                    "{count} lines of the stream were too long to read"
                ));
            }
            Msg::Stderr(text) => self.on_stderr(&text),
            Msg::StreamEnd => {
                if let Some(agent) = &mut self.agent {
                    agent.drained.stream = true;
                    agent.stream_ended = Some(Instant::now());
                }
            }
            Msg::StderrEnd => {
                if let Some(agent) = &mut self.agent {
                    agent.drained.stderr = true;
                }
            }
            // The look at it follows every message.
            Msg::Exit => {}
            Msg::LogFault(why) => {
                self.note(&format!("the stream is no longer kept: {why}"));
                self.log_fault = Some(why);
            }
            Msg::Inbox => self.look_into_inbox(),
            Msg::Terminate => self.stop(StopHow::Pause),
            Msg::Setup(report) => {
                self.works -= 1;
                self.on_set_up(&report);
            }
            Msg::Gate(look, report) => {
                self.works -= 1;
                self.on_gate(look, report);
            }
            Msg::Measured(changes) => {
                self.works -= 1;
                self.on_measured(changes);
            }
        }
    }

    /// Closes the agent's input and waits for its end.
    fn close(&mut self) {
        self.withdraw_all();
        if let Some(agent) = &mut self.agent {
            agent.close();
        }
        self.phase = Phase::Closing;
    }

    /// Ends the attempt as failed, unless it is decided already how it ends.
    fn fail(&mut self, class: FailureClass, detail: String) {
        if self.ending.is_none() {
            self.note(&detail);
            self.ending = Some(AttemptEnd::Failed { class, detail });
        }
        self.candidate = None;
        self.close();
    }

    /// Keeps what went wrong for whoever reads the status.
    fn note(&mut self, what: &str) {
        self.report.status.last_error = Some(one_line(what, 1000));
    }

    /// Tells those who follow the run's log.
    fn announce(&self, what: &str) {
        let line = format!("{}: {what}", self.supervision.task);
        run_log::append(self.supervision.run, now(), &[line]);
    }
}

/// The environment of the instance: inherited, its ports, what the order adds, its marker.
pub(super) fn environment(
    supervision: &Supervision<'_>,
    launch: &LaunchFile,
    marker: &Marker,
    slot: Option<&ports::Slot>,
) -> Environment {
    let mut env = supervision.inherited.for_instance();
    if let Some(slot) = slot {
        slot.announce(&mut env);
    }
    env.set(
        "COMPOSE_PROJECT_NAME",
        ports::compose_project(&launch.orchestration_id, &launch.task),
    );
    for (name, value) in &launch.env {
        env.set(name, value);
    }
    env.set(MARK_VARIABLE, marker.value());
    if let Some(path) = path_with_program(env.get("PATH"), supervision.exe) {
        env.set("PATH", path);
    }
    env
}

/// PATH with this program's folder at its end, so that the instance finds it by its name; none
/// when it is found there anyway, or cannot be.
fn path_with_program(path: Option<&OsStr>, exe: &Path) -> Option<OsString> {
    let folder = exe.parent()?;
    let folders: Vec<PathBuf> = path.map(|p| std::env::split_paths(p).collect())?;
    let is_found = |folder: &PathBuf| folder.is_absolute() && folder.join("orchestra").is_file();
    if folders.iter().any(is_found) || exe.file_name()? != "orchestra" {
        return None;
    }
    std::env::join_paths(folders.iter().map(PathBuf::as_path).chain([folder])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_finds_the_program_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("bin/orchestra");
        let path = OsString::from("/usr/bin:/bin");
        let found = path_with_program(Some(&path), &exe).unwrap();
        let last = std::env::split_paths(&found).last();
        assert_eq!(last.as_deref(), exe.parent());
        // One that is there already is the one that the person uses.
        let other = dir.path().join("other");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("orchestra"), "").unwrap();
        let path = std::env::join_paths([Path::new("/bin"), &other]).unwrap();
        assert_eq!(path_with_program(Some(&path), &exe), None);
        assert_eq!(path_with_program(None, &exe), None);
        assert_eq!(path_with_program(Some(&path), Path::new("/x/play")), None);
    }
}
