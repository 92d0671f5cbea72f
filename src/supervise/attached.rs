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

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use serde_json::json;

use super::evidence::Changes;
use super::gate::{self, Rules};
use super::leave_note;
use super::leftovers::{Known, end_leftovers};
use super::life::requests::question;
use super::report::{Report, now, rfc3339};
use super::transcript::Transcript;
use super::work::{Helpers, Workshop};
use super::{Supervision, has_outcome, last_word, life, ports};
use crate::agent::claude::Claude;
use crate::agent::process::{self, InTerminal};
use crate::agent::tree::{self, EndPlan, Marker, ProcessKey, Tree, TreeUsage, seal_children};
use crate::core::attempt::{AttemptEnd, FailureClass};
use crate::core::budget::Money;
use crate::core::claim::Turn;
use crate::core::event::{Request, StopHow};
use crate::core::id::Oid;
use crate::format::SCHEMA_VERSION;
use crate::format::beat_file::{self, BeatLine};
use crate::format::claude_stream::one_line;
use crate::format::instance_request::InstanceRequest;
use crate::format::launch_file::{AgentChoice, LaunchFile};
use crate::format::outcome_file::OutcomeFile;
use crate::format::status_file::{InstanceStatus, Progress, SaidProgress, StatusFile, Tokens};
use crate::format::todo_list::Todos;
use crate::store::atomic::{self, Durability};
use crate::store::lock::Lock;
use crate::store::{inbox, instance_inbox, run_log};

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
/// How long a letter to the conductor may take to be read before the task is given back.
const LETTER_PATIENCE: Duration = Duration::from_secs(5);
/// How long the client may take to end by itself when it is told to.
const LEAVE_GRACE: Duration = Duration::from_secs(5);
/// Longest summary that is kept, characters.
const SUMMARY_LENGTH: usize = 4000;

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
    let before = atomic::read_json(&run.status(task), "an instance's status")
        .ok()
        .flatten();
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

/// What the client says that the session costs: in all its processes together.
#[derive(Debug, Clone, Copy, Default)]
struct Usd {
    /// By earlier attempts at the task.
    earlier: Option<f64>,
    first: Option<f64>,
    last: Option<f64>,
}

impl Usd {
    fn attempt(&self) -> Option<f64> {
        Some((self.last? - self.first?).max(0.0))
    }

    fn task(&self) -> Option<f64> {
        match (self.earlier, self.attempt()) {
            (None, None) => None,
            (earlier, now) => Some(earlier.unwrap_or(0.0) + now.unwrap_or(0.0)),
        }
    }
}

/// Lines that hooks add to a file.
#[derive(Debug)]
struct Beats {
    path: PathBuf,
    read: u64,
}

impl Beats {
    fn new_lines(&mut self) -> Vec<BeatLine> {
        use std::io::{Read, Seek, SeekFrom};
        let Ok(mut file) = std::fs::File::open(&self.path) else {
            return Vec::new();
        };
        if file.metadata().is_ok_and(|m| m.len() < self.read) {
            // It began anew.
            self.read = 0;
        }
        let mut text = String::new();
        let read = file
            .seek(SeekFrom::Start(self.read))
            .and_then(|_| file.read_to_string(&mut text));
        if read.is_err() {
            return Vec::new();
        }
        self.read += text.len() as u64;
        beat_file::lines(&text).collect()
    }
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

    fn start(&mut self) {
        let AgentChoice::Claude { program } = &self.launch.agent else {
            let detail = "the scripted agent has no session that could be opened".to_owned();
            return self.fail(FailureClass::Other, detail);
        };
        let claude = Claude {
            program: program.clone(),
        };
        let settings = self.settings();
        let spec = claude.in_terminal(&self.launch, &self.workshop.env, settings);
        let sealing = seal_children(&self.workshop.marker);
        let spawned = process::spawn_in_terminal(&spec);
        drop(sealing);
        let child = match spawned {
            Ok(child) => child,
            Err(error) => return self.fail(FailureClass::Crash, error.to_string()),
        };
        self.key = ProcessKey::of(child.id());
        let tell = self.tell.clone();
        let told = move |what| {
            let _ = tell.send(Msg::Client(what));
        };
        let followed = process::follow_in_terminal(child.id(), told);
        self.client = Some(child);
        if let Err(error) = followed {
            self.fail(
                FailureClass::Crash,
                format!("cannot start a thread: {error}"),
            );
            self.end_tree();
        }
        self.sample();
    }

    /// The settings to hand over: those of the order, with the status line that says whose
    /// session this is and what it cost.
    fn settings(&self) -> Option<OsString> {
        let kept = self.launch.settings.clone();
        let Some(heartbeat) = &self.visit.heartbeat else {
            return kept.map(Into::into);
        };
        let known: Option<serde_json::Value> = match &kept {
            None => Some(json!({})),
            Some(path) => std::fs::read(path)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        };
        let Some(mut settings) = known.filter(serde_json::Value::is_object) else {
            return kept.map(Into::into);
        };
        // The client hands this line to a shell. Every word of it is quoted.
        let words = [
            heartbeat.display().to_string(),
            "--main".into(),
            self.launch.main_checkout.display().to_string(),
            "--run".into(),
            self.launch.orchestration_id.to_string(),
            "--task".into(),
            self.launch.task.to_string(),
        ];
        let line = words.map(|word| format!("'{}'", word.replace('\'', "'\\''")));
        settings["statusLine"] = json!({ "type": "command", "command": line.join(" ") });
        Some(settings.to_string().into())
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

    fn look_at_session(&mut self) {
        if let Some(path) = self.session_file.clone() {
            self.transcript.look(&path);
        }
        self.report.status.tokens = self.task_tokens();
        self.report.status.cost_usd = self.usd.task();
    }

    /// Of the task so far.
    fn task_tokens(&self) -> Option<Tokens> {
        match (self.earlier_tokens, self.transcript.tokens()) {
            (None, None) => None,
            (earlier, own) => Some(earlier.unwrap_or_default().plus(own.unwrap_or_default())),
        }
    }

    /// The attempt's grant holds for a person as well; what the request under way costs is all
    /// that can come on top.
    fn look_at_budget(&mut self) {
        let granted = self.launch.grant.limit;
        let usd = self.usd.attempt().map(Money::from_dollars);
        let tokens = self.transcript.tokens().map(|tokens| tokens.total());
        let spent = match (usd, granted.usd, tokens, granted.tokens) {
            (Some(used), Some(granted), ..) if used >= granted => {
                format!("{used} of {granted} granted")
            }
            (.., Some(used), Some(granted)) if used >= granted => {
                format!("{used} tokens of {granted} granted")
            }
            _ => return,
        };
        if self.ending.is_none() {
            let detail = format!("the budget is spent: {spent}");
            self.fail(FailureClass::Budget, detail);
            self.end_tree();
        }
    }

    fn read_beats(&mut self) {
        for beat in self.beats.new_lines() {
            self.take(beat);
        }
    }

    fn take(&mut self, beat: BeatLine) {
        self.report.status.last_heartbeat = Some(rfc3339(crate::core::time::Timestamp(beat.at)));
        if !beat.transcript.is_empty() {
            self.session_file = Some(PathBuf::from(&beat.transcript));
        }
        if let Some(usd) = beat.usd {
            self.usd.first.get_or_insert(usd);
            self.usd.last = Some(usd);
        }
        match beat.event.as_str() {
            "UserPromptSubmit" => {
                self.asked = true;
                self.in_turn = true;
                self.said.clear();
                self.report.status.activity = Some("at work on what you said".into());
                self.show_stuck(None);
            }
            "PostToolUse" => {
                self.unmeasured = true;
                self.report.status.activity = Some(match beat.subject.as_str() {
                    "" => beat.tool.clone(),
                    subject => format!("{}: {subject}", beat.tool),
                });
                if let Some(call) = &beat.todo {
                    self.todo(&beat.tool, call);
                }
            }
            "Stop" if !beat.sent_back.is_empty() => {
                self.unmeasured = true;
                self.report.status.activity = Some(format!("sent back: {}", beat.sent_back));
                self.announce(&format!("sent back: {}", beat.sent_back));
            }
            "Stop" => {
                self.unmeasured = true;
                self.in_turn = false;
                self.report.status.activity = Some("waits for what you say".into());
                self.said = beat.said;
            }
            _ => {}
        }
    }

    fn todo(&mut self, tool: &str, call: &beat_file::TodoCall) {
        if self.todos.beat(tool, call) {
            let said = self.report.status.progress.said.take();
            self.report.status.progress = Progress {
                said,
                ..self.todos.progress()
            };
        }
    }

    fn announce(&self, what: &str) {
        let supervision = &self.visit.supervision;
        let line = format!("{}: {what}", supervision.task);
        run_log::append(supervision.run, now(), &[line]);
    }

    fn show_stuck(&mut self, asked: Option<(String, Vec<String>)>) {
        let status = &mut self.report.status;
        match asked {
            Some((reason, options)) => {
                let told = question(self.visit.supervision.task, &reason, &options);
                status.status = InstanceStatus::Stuck;
                status.stuck_reason = Some(reason);
                status.stuck_since = Some(rfc3339(now()));
                status.options = options;
                self.announce(&told);
            }
            None if status.status == InstanceStatus::Stuck => {
                status.status = InstanceStatus::Working;
                status.stuck_reason = None;
                status.stuck_since = None;
                status.options.clear();
            }
            None => return,
        }
        self.report.flush(true);
    }

    /// What others want of the instance. Messages and notices wait for the next attempt without
    /// a person: the person is the one who tells it something now.
    fn look_into_inbox(&mut self) {
        let supervision = &self.visit.supervision;
        let (run, task) = (supervision.run, supervision.task);
        for (path, request) in instance_inbox::pending(&run.instance_inbox(task)) {
            if self.taken.contains(&path) {
                continue;
            }
            let old = |attempt: Option<u32>| attempt.is_some_and(|a| a < self.launch.attempt);
            match request {
                Ok(InstanceRequest::Stop { how, attempt }) => {
                    if how == StopHow::Cancel && !old(attempt) {
                        self.taken.push(path);
                        self.ending = Some(AttemptEnd::Cancelled);
                        self.end_tree();
                    } else {
                        // A pause holds back what comes after the person.
                        let _ = std::fs::remove_file(&path);
                    }
                }
                Ok(InstanceRequest::Stuck {
                    reason,
                    options,
                    attempt,
                }) => {
                    if !old(attempt) {
                        self.show_stuck(Some((reason, options)));
                    }
                    let _ = std::fs::remove_file(&path);
                }
                Ok(InstanceRequest::Progress {
                    text,
                    percent,
                    steps,
                    attempt,
                }) => {
                    if !old(attempt) {
                        self.report.status.progress.said = Some(SaidProgress {
                            text: one_line(&text, 400),
                            percent,
                            done: steps.map(|(done, _)| done),
                            total: steps.map(|(_, total)| total),
                        });
                    }
                    let _ = std::fs::remove_file(&path);
                }
                Ok(InstanceRequest::Note { text }) => {
                    if let Err(error) = leave_note(run, task, &text) {
                        self.report.status.last_error = Some(error.to_string());
                    }
                    let _ = std::fs::remove_file(&path);
                }
                Ok(InstanceRequest::Message { .. } | InstanceRequest::Notice { .. }) => {}
                Err(why) => {
                    self.report.status.last_error = Some(format!("a request means nothing: {why}"));
                }
            }
        }
    }

    /// What the instance says of itself at the end.
    fn turn(&self, head: Option<&Oid>) -> bool {
        let progress = self.todos.progress();
        Turn {
            said: if self.in_turn { "" } else { &self.said },
            todos: progress.done.zip(progress.total),
            worked: head.is_some() && head != self.head.as_ref(),
        }
        .claims_done()
    }

    /// Looks at the evidence, if that is wanted. Returns why the task is not complete.
    fn judge(&mut self, say: &mut dyn FnMut(&str)) -> Result<AttemptEnd, String> {
        let then = self.visit.then;
        if self.terminated {
            return Err("the terminal was closed".into());
        }
        if matches!(then, Then::Resume | Then::Pause) {
            return Err("as you wanted".into());
        }
        let git = self.workshop.look()?;
        if then == Then::Decide && !self.turn(git.head.as_ref()) {
            return Err("the instance did not say that it is done".into());
        }
        if let Some(verify) = &self.launch.verify {
            say(&format!(
                "checking: {} (Ctrl-C leaves that to the instance)",
                one_line(verify, 100)
            ));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let report = std::thread::scope(|scope| {
            let (shop, stopped) = (&self.workshop, &stop);
            let gate = scope.spawn(move || shop.gate(stopped));
            while !gate.is_finished() {
                if let Ok(Msg::Interrupt | Msg::Terminate) = self.told.recv_timeout(TICK) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            gate.join().unwrap_or_else(|_| Err("an inner error".into()))
        })?;
        match report.git.head {
            Some(head) if report.lacks.is_empty() => Ok(AttemptEnd::Complete {
                head,
                summary: self.said.chars().take(SUMMARY_LENGTH).collect(),
            }),
            _ => Err(gate::detail(&report.lacks)),
        }
    }

    /// The last acts, in this order: the tree, the last look, status, marker, outcome.
    fn finish(mut self, code: Option<i32>, say: &mut dyn FnMut(&str)) -> Given {
        self.end_tree();
        let (end, open) = match self.ending.take() {
            Some(end) => (end, None),
            None => match self.judge(say) {
                Ok(end) => (end, None),
                Err(open) => (AttemptEnd::Paused, Some(open)),
            },
        };
        let then = self.visit.then;
        let held = end == AttemptEnd::Paused && matches!(then, Then::Pause | Then::Complete);
        if held {
            self.hold_back();
        }
        if let Ok(changes) = self.workshop.measure() {
            self.changed(changes);
        }
        let at = rfc3339(now());
        let tokens = self.transcript.tokens();
        self.report.status.tokens = self.task_tokens();
        let status = &mut self.report.status;
        status.status = last_word::status_of(&end);
        if let AttemptEnd::Failed { detail, .. } = &end {
            status.last_error = Some(detail.clone());
        }
        status.activity = None;
        status.attached_since = None;
        status.ended_at = Some(at.clone());
        status.cost_usd = self.usd.task();
        status.resources.processes = Some(0);
        status.resources.memory_bytes = Some(0);
        self.report.finish();
        self.known.forget();
        let run = self.visit.supervision.run;
        if let AttemptEnd::Complete { head, .. } = &end {
            // The outcome says the same; the marker is for other tools.
            let _ = last_word::mark_complete(run, &self.launch, head, Some(&at));
        }
        // Where the hooks told of the session and of no prompt, nothing was spent.
        let idle = self.session_file.is_some() && !self.asked;
        let outcome = OutcomeFile {
            schema_version: SCHEMA_VERSION,
            attempt: self.launch.attempt,
            outcome: end.clone(),
            cost_usd: self.usd.attempt().or(idle.then_some(0.0)),
            cost_is_partial: self.in_turn,
            tokens,
            peak_memory_bytes: self.peak,
            // A person's time says nothing of how long the task takes.
            duration_ms: None,
            resets_at: None,
            session_seen: self.session_exists(),
            ended_at: at,
        };
        let path = run.outcome(self.visit.supervision.task);
        let lost = last_word::write_outcome(&path, &outcome).err();
        for path in &self.taken {
            let _ = std::fs::remove_file(path);
        }
        self.slot = None;
        Given {
            end,
            open,
            held,
            code,
            lost,
        }
    }

    /// A session that is resumed was there; a fresh one is once something was said in it.
    fn session_exists(&self) -> bool {
        self.launch.start == crate::core::attempt::StartMode::Resume || self.asked
    }

    /// The conductor reads it before it hears of the end, so that nothing is started between.
    fn hold_back(&self) {
        let supervision = &self.visit.supervision;
        let request = Request::Pause {
            task: Some(supervision.task.clone()),
        };
        let folder = supervision.run.inbox();
        let Ok(id) = inbox::post(&folder, request, now()) else {
            return;
        };
        let letter: &Path = &folder.join(format!("{id}.json"));
        let deadline = Instant::now() + LETTER_PATIENCE;
        while letter.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
