//! The loop: one message at a time, and what follows from it.

use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};

use super::Supervision;
use super::classify::{self, Exit};
use super::costs::Costs;
use super::gate::{self, Lack, Rules};
use super::liveness::Liveness;
use super::ports;
use super::progress::Todos;
use super::report::{Report, now, rfc3339};
use super::watch::{self, GateReport, Msg};
use super::work::{Helpers, Workshop};
use crate::agent::environment::Environment;
use crate::agent::shell::CommandReport;
use crate::agent::tree::{MARK_VARIABLE, Marker, ProcessKey, Tree, reap_orphans};
use crate::agent::{choose, process, worktree_git_folder};
use crate::core::attempt::{AttemptEnd, FailureClass, StartMode};
use crate::core::event::StopHow;
use crate::core::id::Oid;
use crate::format::claude_stream::{
    ApiRetry, Assistant, Event, TurnResult, User, interrupt, one_line, tool_subject, user_message,
};
use crate::format::instance_request::InstanceRequest;
use crate::format::launch_file::LaunchFile;
use crate::format::status_file::{InstanceStatus, StatusFile};
use crate::store::instance_inbox;

/// Longest sleep of the loop.
const TICK: Duration = Duration::from_millis(250);
/// How often processes are measured.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// When they are first measured, so that short lives are seen too.
const FIRST_SAMPLE: Duration = Duration::from_millis(300);
/// How often the worktree is measured, at most; and never more than a tenth of the time.
const MEASURE_EVERY: Duration = Duration::from_secs(3);
/// How often the inbox is looked at when it is watched, in case the watch fails.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long an interrupted turn may take to end.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);
/// How long a client with closed input may be silent before it is ended.
const CLOSE_GRACE: Duration = Duration::from_secs(10);
/// How long output may still come after the process ended.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// How much of the standard error is kept, bytes.
const STDERR_TAIL: usize = 4000;
/// How many denied calls are named.
const NAMED_DENIALS: usize = 5;
/// Messages that may wait; a full channel holds the reader back, not the memory.
const WAITING_MESSAGES: usize = 32;

/// What the loop is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
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
    Closing(Instant),
}

/// The agent's process.
#[derive(Debug)]
pub(super) struct AgentProcess {
    pub(super) child: Child,
    pub(super) key: Option<ProcessKey>,
    pub(super) stdin: Option<Sender<String>>,
    pub(super) stream_over: bool,
    pub(super) exit: Option<(Exit, Instant)>,
}

/// A commit for which the evidence was seen.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) head: Oid,
    pub(super) uncommitted: Vec<String>,
}

/// The life of one attempt.
pub(super) struct Life<'a> {
    pub(super) supervision: &'a Supervision<'a>,
    pub(super) launch: LaunchFile,
    pub(super) report: Report,
    pub(super) workshop: Workshop,
    pub(super) agent: Option<AgentProcess>,
    pub(super) phase: Phase,
    pub(super) candidate: Option<Candidate>,
    pub(super) ending: Option<AttemptEnd>,
    pub(super) costs: Costs,
    pub(super) last_result: Option<TurnResult>,
    pub(super) stderr_tail: String,
    pub(super) denials: Vec<String>,
    pub(super) session_seen: bool,
    pub(super) stop_work: Arc<AtomicBool>,
    /// Requests that take effect with the end.
    pub(super) taken: Vec<PathBuf>,
    pub(super) log_fault: Option<String>,
    /// When the order was written; a wish to stop from before is not about this attempt.
    ordered_at: Option<std::time::SystemTime>,
    tell: SyncSender<Msg>,
    told: Receiver<Msg>,
    todos: Todos,
    life: Liveness,
    /// How often the instance was sent back.
    rounds: u32,
    /// Which look of the gate is awaited; an older one is out of date.
    look: u64,
    works: u32,
    deadline: Instant,
    slot: Option<ports::Slot>,
    watcher: Option<notify::RecommendedWatcher>,
    measuring: Option<Instant>,
    next_measure: Instant,
    next_sample: Instant,
    next_look: Instant,
    /// Whether something happened since the worktree was last measured.
    unmeasured: bool,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        supervision: &'a Supervision<'a>,
        launch: LaunchFile,
        before: Option<StatusFile>,
    ) -> Self {
        let (run, task) = (supervision.run, supervision.task);
        let report = Report::begin(run.status(task), before, &launch, now());
        let resumed = launch.start == StartMode::Resume;
        let todos = if resumed {
            Todos::resumed(&report.status.progress.items)
        } else {
            Todos::default()
        };
        let costs = Costs::after(report.status.cost_usd, report.status.tokens);
        let marker = Marker::new(&launch.token, &launch.orchestration_id, Some(task));
        let slot = ports::take(supervision.slots);
        let env = environment(supervision, &launch, &marker, slot.as_ref());
        let workshop = Workshop {
            worktree: launch.worktree.clone(),
            rules: Rules {
                branch: launch.branch.clone(),
                base: launch.base.clone(),
                may_end_without_commits: launch.may_end_without_commits,
                verify: launch.verify.clone(),
            },
            env,
            marker,
            commands_log: run.commands_log(task),
            command_timeout: Duration::from_secs(launch.command_timeout_seconds),
            helpers: Helpers::default(),
            repo: Arc::default(),
        };
        let (tell, told) = mpsc::sync_channel(WAITING_MESSAGES);
        let begin = Instant::now();
        Self {
            supervision,
            report,
            workshop,
            agent: None,
            phase: Phase::Setup,
            candidate: None,
            ending: None,
            costs,
            last_result: None,
            stderr_tail: String::new(),
            denials: Vec::new(),
            session_seen: resumed,
            stop_work: Arc::default(),
            taken: Vec::new(),
            log_fault: None,
            ordered_at: std::fs::metadata(run.launch(task))
                .and_then(|m| m.modified())
                .ok(),
            tell,
            told,
            todos,
            life: Liveness::new(now()),
            rounds: 0,
            look: 0,
            works: 0,
            deadline: begin + Duration::from_secs(launch.timeout_seconds),
            slot,
            watcher: None,
            measuring: None,
            next_measure: begin,
            next_sample: begin,
            next_look: begin,
            unmeasured: true,
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
        self.report.status.progress = self.todos.progress();
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
            Some(agent) => agent
                .exit
                .is_some_and(|(_, at)| agent.stream_over || at.elapsed() >= DRAIN_GRACE),
        }
    }

    // ---- what happens

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
                    agent.stream_over = true;
                }
            }
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
                if let (Some(begun), Ok(changes)) = (self.measuring.take(), changes) {
                    self.next_measure = Instant::now() + MEASURE_EVERY.max(begun.elapsed() * 10);
                    self.on_measured(changes);
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        self.life.event(now());
        self.unmeasured = true;
        if let Phase::Closing(since) = &mut self.phase
            && self.candidate.is_some()
        {
            *since = Instant::now();
        }
        match event {
            Event::Init { session, .. } => {
                self.session_seen = true;
                let seen = self.report.status.session_id.replace(session);
                self.turn_began();
                if seen != self.report.status.session_id {
                    // At once: should this process be killed, the next one resumes the session
                    // only when it knows that there is one.
                    self.report.flush(true);
                }
            }
            Event::Assistant(said) => self.on_assistant(&said),
            Event::User(user) => self.on_user(&user),
            Event::Result(result) => self.on_result(*result),
            Event::ApiRetry(retry) => self.on_retry(&retry),
            Event::PermissionDenied { tool, reason } => {
                self.note(&format!("denied: {tool}: {}", one_line(&reason, 200)));
            }
            Event::ControlResponse { .. } | Event::Other(_) => {}
        }
    }

    /// A turn that begins by itself (a message that was queued, the end of a background
    /// command) makes a look of the gate out of date.
    fn turn_began(&mut self) {
        if self.phase == Phase::Gating {
            self.abandon_gate();
            self.phase = Phase::Working;
        }
    }

    fn on_assistant(&mut self, said: &Assistant) {
        if !said.from_subagent {
            self.turn_began();
        }
        self.costs.said(said);
        for call in &said.tool_uses {
            if !said.from_subagent {
                self.todos.called(call);
            }
            let subject = tool_subject(&call.input);
            self.report.status.activity = Some(if subject.is_empty() {
                call.name.clone()
            } else {
                format!("{}: {subject}", call.name)
            });
        }
        let text = one_line(&said.text, 160);
        if said.tool_uses.is_empty() && !text.is_empty() {
            self.report.status.activity = Some(text);
        }
        self.report.status.tokens = self.costs.task_tokens();
    }

    fn on_user(&mut self, user: &User) {
        for result in &user.results {
            if self.todos.answered(result) {
                self.report.status.progress = self.todos.progress();
            }
        }
    }

    fn on_retry(&mut self, retry: &ApiRetry) {
        let status = retry.status.map_or(String::new(), |s| format!(" {s}"));
        let text = format!(
            "the provider answers{status} {}: try {} of {}",
            one_line(&retry.error, 80),
            retry.attempt,
            retry.max_retries
        );
        self.report.status.activity = Some(text.clone());
        self.note(&text);
    }

    fn on_result(&mut self, result: TurnResult) {
        self.costs.turn_ended(&result);
        self.report.status.cost_usd = self.costs.task_usd();
        self.report.status.tokens = self.costs.task_tokens();
        for denial in &result.permission_denials {
            if !self.denials.contains(denial) && self.denials.len() < NAMED_DENIALS {
                self.denials.push(denial.clone());
            }
        }
        if !result.permission_denials.is_empty() {
            self.note(&format!("denied: {}", self.denials.join("; ")));
        }
        let well = classify::ended_well(&result);
        let more = result.queued_turns > 0;
        self.last_result = Some(result);
        match self.phase {
            Phase::Stopping(_) => self.close(),
            Phase::Working | Phase::Gating if !well => {
                if let Some(result) = &self.last_result {
                    let (class, detail) = classify::of_result(result);
                    self.fail(class, detail);
                }
            }
            Phase::Working if more => {}
            Phase::Working => self.turn_ended_well(),
            Phase::Setup | Phase::Gating | Phase::Waiting(_) | Phase::Closing(_) => {}
        }
    }

    fn turn_ended_well(&mut self) {
        let text = self.last_result.as_ref().map(|r| r.text.clone());
        if let Some((reason, options)) = text.as_deref().and_then(says_stuck) {
            self.is_stuck(reason, options);
        }
        if self.report.status.status == InstanceStatus::Stuck {
            self.phase = Phase::Waiting(Instant::now());
        } else {
            self.start_gate();
        }
    }

    fn is_stuck(&mut self, reason: String, options: Vec<String>) {
        self.report.status.status = InstanceStatus::Stuck;
        self.report.status.stuck_reason = Some(reason);
        self.report.status.options = options;
        self.report.flush(true);
    }

    fn on_stderr(&mut self, text: &str) {
        // Kept for people as well, where this process would complain.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        self.stderr_tail.push_str(text);
        if self.stderr_tail.len() > STDERR_TAIL {
            let mut cut = self.stderr_tail.len() - STDERR_TAIL;
            while !self.stderr_tail.is_char_boundary(cut) {
                cut += 1;
            }
            self.stderr_tail.drain(..cut);
        }
    }

    pub(super) fn on_measured(&mut self, changes: (u32, u64, u64)) {
        if self.life.files(changes, now()) {
            let (files, added, removed) = changes;
            self.report.status.files_changed = Some(files);
            self.report.status.lines_added = Some(added);
            self.report.status.lines_removed = Some(removed);
        }
    }

    // ---- set-up and start

    /// Where it is kept that a worktree is set up: with the worktree, and not in it.
    fn set_up_mark(&self) -> Option<PathBuf> {
        Some(worktree_git_folder(&self.launch.worktree)?.join("orchestra-set-up"))
    }

    fn is_set_up(&self, cmd: &str) -> bool {
        self.set_up_mark()
            .is_some_and(|mark| std::fs::read_to_string(mark).is_ok_and(|done| done == cmd))
    }

    fn set_up(&mut self, cmd: String) {
        self.report.status.activity = Some(format!("set-up: {}", one_line(&cmd, 120)));
        let stop = Arc::clone(&self.stop_work);
        let sent = self.workshop.send("set-up", &self.tell, move |shop| {
            Msg::Setup(shop.run(&cmd, &stop))
        });
        match sent {
            Ok(()) => self.works += 1,
            Err(why) => self.fail(FailureClass::Crash, why),
        }
    }

    fn on_set_up(&mut self, report: &CommandReport) {
        if self.ending.is_some() {
            return;
        }
        if report.is_green() {
            if let (Some(mark), Some(cmd)) = (self.set_up_mark(), &self.launch.setup) {
                // Unmarked, it is only done once more by the next attempt.
                let _ = std::fs::write(mark, cmd);
            }
            self.start_agent();
        } else {
            let detail = format!(
                "the set-up command failed ({}): {}",
                report.ending(),
                one_line(report.tail.lines().last().unwrap_or_default(), 300)
            );
            self.fail(FailureClass::Setup, detail);
        }
    }

    fn start_agent(&mut self) {
        let agent = choose(&self.launch.agent, self.supervision.exe);
        let spec = agent.command(&self.launch, &self.workshop.env);
        match process::spawn(&spec) {
            Ok(running) => {
                if let Err(why) = self.attend(running) {
                    self.fail(FailureClass::Crash, why);
                    return;
                }
                self.report.status.status = InstanceStatus::Working;
                self.report.status.activity = Some("started".into());
                self.phase = Phase::Working;
                self.next_sample = Instant::now() + FIRST_SAMPLE;
                let prompt = self.launch.prompt.clone();
                self.say(&prompt);
                // Messages that waited for a session.
                self.look_into_inbox();
            }
            Err(error) => self.fail(FailureClass::Crash, error.to_string()),
        }
    }

    fn attend(&mut self, running: process::Running) -> Result<(), String> {
        let path = self.supervision.run.stream_log(self.supervision.task);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| {
                let why = format!("{}: {e}", path.display());
                self.note(&format!("the stream is not kept: {why}"));
                self.log_fault = Some(why);
            })
            .ok();
        let process::Running {
            child,
            key,
            stdin,
            stdout,
            stderr,
        } = running;
        // The process is known from here on, so that it is ended whatever fails.
        let agent = self.agent.insert(AgentProcess {
            child,
            key,
            stdin: None,
            stream_over: false,
            exit: None,
        });
        let text = |e: std::io::Error| format!("cannot start a thread: {e}");
        agent.stdin = Some(watch::write_stdin(stdin).map_err(text)?);
        watch::read_stream(stdout, log, self.tell.clone()).map_err(text)?;
        watch::read_stderr(stderr, self.tell.clone()).map_err(text)
    }

    // ---- the gate

    fn start_gate(&mut self) {
        self.phase = Phase::Gating;
        self.look += 1;
        self.stop_work = Arc::default();
        self.report.status.activity = Some("checking whether it is done".into());
        let (look, stop) = (self.look, Arc::clone(&self.stop_work));
        let sent = self.workshop.send("gate", &self.tell, move |shop| {
            Msg::Gate(look, shop.gate(&stop))
        });
        match sent {
            Ok(()) => self.works += 1,
            Err(why) => self.fail(FailureClass::Crash, why),
        }
    }

    fn abandon_gate(&mut self) {
        self.look += 1;
        self.stop_work.store(true, Ordering::Relaxed);
    }

    fn on_gate(&mut self, look: u64, report: Result<GateReport, String>) {
        if look != self.look || self.phase != Phase::Gating {
            return;
        }
        let report = match report {
            Ok(report) => report,
            Err(why) => {
                let detail = format!("the worktree cannot be looked at: {why}");
                self.fail(FailureClass::Worktree, detail);
                return;
            }
        };
        match (&report.git.head, report.lacks.is_empty()) {
            (Some(head), true) => {
                // The last chance for a message: behind this the session ends.
                self.look_into_inbox();
                if self.phase != Phase::Gating {
                    return;
                }
                self.candidate = Some(Candidate {
                    head: head.clone(),
                    uncommitted: report.left_by_verify,
                });
                self.report.status.activity = Some("done; ending the session".into());
                self.close();
            }
            _ => self.send_back(&report.lacks),
        }
    }

    fn send_back(&mut self, lacks: &[Lack]) {
        let detail = gate::detail(lacks);
        if self.rounds >= self.launch.gate_rounds || !self.agent_lives() {
            let (class, detail) = self.gate_failure(lacks, detail);
            self.fail(class, detail);
            return;
        }
        self.rounds += 1;
        self.report.status.activity = Some(format!(
            "sent back ({} of {}): {}",
            self.rounds,
            self.launch.gate_rounds,
            one_line(&detail, 200)
        ));
        self.note(&detail);
        self.phase = Phase::Working;
        let message = gate::message(&self.workshop.rules, lacks);
        self.say(&message);
    }

    /// Why the gate is not passed: a denied commit is a question of permission.
    pub(super) fn gate_failure(
        &self,
        lacks: &[Lack],
        mut detail: String,
    ) -> (FailureClass, String) {
        let commit_denied = self
            .denials
            .iter()
            .any(|denial| denial.contains("git commit") || denial.contains("git add"));
        let uncommitted = lacks
            .iter()
            .any(|lack| matches!(lack, Lack::NoCommits | Lack::Uncommitted(_)));
        if !self.denials.is_empty() {
            detail.push_str("; denied: ");
            detail.push_str(&self.denials.join("; "));
        }
        if commit_denied && uncommitted {
            (FailureClass::Permission, detail)
        } else {
            (FailureClass::GateNotPassed, detail)
        }
    }

    // ---- requests

    fn look_into_inbox(&mut self) {
        let every = if self.watcher.is_some() {
            LOOK_EVERY
        } else {
            TICK
        };
        self.next_look = Instant::now() + every;
        let folder = self.supervision.run.instance_inbox(self.supervision.task);
        for (path, request) in instance_inbox::pending(&folder) {
            if self.taken.contains(&path) {
                continue;
            }
            match request {
                Ok(InstanceRequest::Stop { how }) => {
                    if self.is_stale(&path) {
                        let _ = std::fs::remove_file(&path);
                    } else {
                        self.taken.push(path);
                        self.stop(how);
                    }
                }
                Ok(InstanceRequest::Message { text }) => {
                    // Kept for the next attempt when this one cannot take it any more, and
                    // until there is a session to take it.
                    let takes = matches!(
                        self.phase,
                        Phase::Working | Phase::Gating | Phase::Waiting(_)
                    );
                    if takes && self.agent_lives() {
                        self.forward(&text);
                        let _ = std::fs::remove_file(&path);
                    }
                }
                Ok(InstanceRequest::Stuck { reason, options }) => {
                    self.is_stuck(reason, options);
                    let _ = std::fs::remove_file(&path);
                }
                Err(why) => self.note(&format!("a request means nothing: {why}")),
            }
        }
    }

    /// Whether a wish to stop is from before the order for this attempt.
    fn is_stale(&self, path: &std::path::Path) -> bool {
        let ordered = self
            .ordered_at
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_millis()).ok());
        match (ordered, instance_inbox::posted_at(path)) {
            (Some(ordered), Some(posted)) => posted.0 < ordered,
            _ => false,
        }
    }

    fn forward(&mut self, text: &str) {
        if let Phase::Waiting(since) = self.phase {
            // Waiting for a person does not use up the task's time.
            self.deadline += since.elapsed();
        }
        self.turn_began();
        self.phase = Phase::Working;
        self.report.status.status = InstanceStatus::Working;
        self.report.status.stuck_reason = None;
        self.report.status.options.clear();
        self.report.status.forwarded_message = Some(text.to_owned());
        self.say(text);
        self.report.flush(true);
    }

    fn stop(&mut self, how: StopHow) {
        match how {
            StopHow::Cancel => {
                self.ending = Some(AttemptEnd::Cancelled);
                self.candidate = None;
                self.stop_work.store(true, Ordering::Relaxed);
                self.close();
                self.end_tree();
            }
            // Done is done: a pause that comes this late changes nothing.
            StopHow::Pause if self.ending.is_some() || self.candidate.is_some() => {}
            StopHow::Pause => {
                self.ending = Some(AttemptEnd::Paused);
                self.stop_work.store(true, Ordering::Relaxed);
                if self.phase == Phase::Working && self.agent_lives() {
                    self.phase = Phase::Stopping(Instant::now());
                    self.report.status.activity = Some("pausing".into());
                    self.send(interrupt("pause"));
                } else {
                    self.close();
                }
            }
        }
    }

    // ---- the agent

    pub(super) fn agent_lives(&self) -> bool {
        self.agent
            .as_ref()
            .is_some_and(|a| a.exit.is_none() && a.stdin.is_some())
    }

    fn say(&mut self, text: &str) {
        self.send(user_message(text));
    }

    fn send(&mut self, line: String) {
        if let Some(stdin) = self.agent.as_ref().and_then(|a| a.stdin.as_ref()) {
            // A writer that is gone belongs to a process that is gone; its exit tells.
            let _ = stdin.send(line);
        }
    }

    /// Closes the agent's input, after which the client ends by itself.
    fn close(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.stdin = None;
        }
        self.phase = Phase::Closing(Instant::now());
    }

    fn fail(&mut self, class: FailureClass, detail: String) {
        if self.ending.is_none() {
            self.note(&detail);
            self.ending = Some(AttemptEnd::Failed { class, detail });
        }
        self.candidate = None;
        self.close();
    }

    fn note(&mut self, what: &str) {
        self.report.status.last_error = Some(one_line(what, 1000));
    }

    // ---- time

    fn tick(&mut self) {
        let at = Instant::now();
        self.look_for_exit();
        self.look_at_deadlines(at);
        if at >= self.next_look {
            self.look_into_inbox();
        }
        if at >= self.next_sample {
            self.next_sample = at + SAMPLE_EVERY;
            self.sample();
        }
        if at >= self.next_measure && self.unmeasured && self.works == 0 {
            self.measure();
        }
        self.beat();
        self.report.flush(false);
    }

    fn look_for_exit(&mut self) {
        let Some(agent) = &mut self.agent else {
            return;
        };
        if agent.exit.is_some() {
            return;
        }
        if let Ok(Some(status)) = agent.child.try_wait() {
            use std::os::unix::process::ExitStatusExt;
            let exit = Exit {
                code: status.code(),
                signal: status.signal(),
            };
            agent.exit = Some((exit, Instant::now()));
            agent.stdin = None;
        }
    }

    fn look_at_deadlines(&mut self, at: Instant) {
        match self.phase {
            Phase::Stopping(since) if at >= since + INTERRUPT_GRACE => self.close(),
            Phase::Closing(since) if at >= since + CLOSE_GRACE && self.is_running() => {
                self.end_tree();
            }
            _ => {}
        }
        let waits = matches!(self.phase, Phase::Waiting(_));
        if at >= self.deadline && !waits && self.ending.is_none() && self.candidate.is_none() {
            let detail = format!(
                "not done within {}",
                crate::core::time::Millis::from_secs(self.launch.timeout_seconds)
            );
            self.stop_work.store(true, Ordering::Relaxed);
            self.fail(FailureClass::Timeout, detail);
            self.end_tree();
        }
    }

    fn is_running(&self) -> bool {
        self.agent.as_ref().is_some_and(|a| a.exit.is_none())
    }

    fn sample(&mut self) {
        let helpers = self.workshop.helpers.clone();
        let Some(_alone) = helpers.try_hold() else {
            return;
        };
        let Some(agent) = &self.agent else {
            return;
        };
        let managed: Vec<ProcessKey> = agent.key.into_iter().collect();
        reap_orphans(&managed);
        let usage = Tree {
            below_me: true,
            ..Tree::default()
        }
        .usage();
        self.life.cpu(usage.cpu_ms, now());
        let resources = &mut self.report.status.resources;
        resources.processes = Some(usage.processes);
        resources.memory_bytes = Some(usage.memory_bytes);
        resources.cpu_ms = Some(resources.cpu_ms.unwrap_or(0).max(usage.cpu_ms));
    }

    fn measure(&mut self) {
        self.unmeasured = false;
        self.measuring = Some(Instant::now());
        let sent = self
            .workshop
            .send("measure", &self.tell, |shop| Msg::Measured(shop.measure()));
        match sent {
            Ok(()) => self.works += 1,
            Err(_) => self.measuring = None,
        }
    }

    fn beat(&mut self) {
        self.report.status.last_heartbeat = Some(rfc3339(self.life.last()));
    }

    /// Gives the port range back; others may take it from now on.
    pub(super) fn release_ports(&mut self) {
        self.slot = None;
    }
}

/// The environment of the instance: inherited, its ports, what the order adds, its marker.
fn environment(
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
    env
}

/// A last text in which a line begins with `STUCK:`: the reason, and the options in the list
/// behind it.
fn says_stuck(text: &str) -> Option<(String, Vec<String>)> {
    let mut lines = text.lines().map(str::trim);
    let reason = lines.find_map(|line| line.strip_prefix("STUCK:"))?;
    let options = lines
        .filter_map(|line| line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")))
        .map(|option| one_line(option, 300))
        .collect();
    Some((one_line(reason, 1000), options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_instance_says_why_and_what_it_considered() {
        assert_eq!(says_stuck("All done. Not STUCK: at all"), None);
        assert_eq!(
            says_stuck("I tried.\nSTUCK: no key for the service\n- ask for one\n* use a fake"),
            Some((
                "no key for the service".into(),
                vec!["ask for one".into(), "use a fake".into()]
            ))
        );
    }
}
