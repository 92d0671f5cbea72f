//! What happens because time goes by: deadlines, measuring, the heartbeat.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Life, Phase, TICK};
use crate::agent::tree::{ProcessKey, Tree, TreeUsage, reap_orphans};
use crate::core::attempt::FailureClass;
use crate::core::time::Millis;
use crate::supervise::evidence::Changes;
use crate::supervise::report::rfc3339;
use crate::supervise::watch::Msg;

/// How often processes are measured.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// The same when their memory is limited: it can grow fast.
const SAMPLE_CAPPED_EVERY: Duration = Duration::from_millis(500);
/// When they are first measured, so that short lives are seen too.
const FIRST_SAMPLE: Duration = Duration::from_millis(300);
/// How often the worktree is measured, at most; and never more than a tenth of the time.
const MEASURE_EVERY: Duration = Duration::from_secs(3);
/// How often the inbox is looked at when it is watched, in case the watch fails.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long an interrupted turn may take to end.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

/// When what is due.
#[derive(Debug)]
pub(super) struct Timetable {
    /// The end of the task's time.
    deadline: Instant,
    /// When the attempt began, without the time in which it waited for a person.
    began: Instant,
    next_look: Instant,
    next_sample: Instant,
    next_measure: Instant,
    /// When the measuring that is under way began.
    measuring: Option<Instant>,
    /// Whether something happened since the worktree was last measured.
    unmeasured: bool,
}

impl Timetable {
    /// All is due now but a look at the worktree, in which nothing is done yet; the task has
    /// `time`.
    pub(super) fn begin(time: Duration) -> Self {
        let begin = Instant::now();
        Self {
            deadline: begin + time,
            began: begin,
            next_look: begin,
            next_sample: begin,
            next_measure: begin + MEASURE_EVERY,
            measuring: None,
            unmeasured: true,
        }
    }

    /// Gives the task more time.
    pub(super) fn add(&mut self, time: Duration) {
        self.deadline += time;
        self.began += time;
    }

    /// How long the attempt took so far, milliseconds.
    pub(super) fn spent(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The inbox was looked at; one that is not watched is looked at often.
    pub(super) fn looked(&mut self, is_watched: bool) {
        self.next_look = Instant::now() + if is_watched { LOOK_EVERY } else { TICK };
    }

    /// There is a process to measure.
    pub(super) fn agent_started(&mut self) {
        self.next_sample = Instant::now() + FIRST_SAMPLE;
    }

    /// Something happened that may have changed the worktree.
    pub(super) fn something_happened(&mut self) {
        self.unmeasured = true;
    }
}

impl Life<'_> {
    /// Does what is due.
    pub(super) fn tick(&mut self) {
        let at = Instant::now();
        if let Some(agent) = &mut self.agent {
            agent.look_for_exit();
        }
        self.look_at_deadlines(at);
        self.look_for_life();
        if at >= self.times.next_look {
            self.look_into_inbox();
        }
        if at >= self.times.next_sample {
            let watched = self.launch.limits.max_memory().is_some();
            self.times.next_sample = at
                + if watched {
                    SAMPLE_CAPPED_EVERY
                } else {
                    SAMPLE_EVERY
                };
            self.sample();
        }
        if at >= self.times.next_measure && self.times.unmeasured && self.works == 0 {
            self.measure();
        }
        self.beat();
        self.report.flush(false);
    }

    fn look_at_deadlines(&mut self, at: Instant) {
        match self.phase {
            Phase::Stopping(since) if at >= since + INTERRUPT_GRACE => self.close(),
            _ => {}
        }
        self.look_at_yielding(at);
        self.look_for_lost_stream(at);
        if let Phase::Waiting(since) = self.phase
            && at >= since + Duration::from_secs(self.launch.answer_timeout_seconds)
            && self.ending.is_none()
        {
            let reason = self.report.status.stuck_reason.clone().unwrap_or_default();
            self.nobody_answered(&reason);
        }
        self.look_at_questions(at);
        let waits = self.waits_for_person();
        if at >= self.times.deadline && !waits && self.ending.is_none() {
            if self.candidate.is_none() {
                let detail = format!(
                    "not done within {}",
                    Millis::from_secs(self.launch.timeout_seconds)
                );
                self.stop_work.store(true, Ordering::Relaxed);
                self.fail(FailureClass::Timeout, detail);
            }
            // One that is done, and whose client talks on, would never end by itself.
            if self.ending.is_some() || self.agent_runs() {
                self.end_tree();
            }
        }
    }

    fn sample(&mut self) {
        let helpers = self.workshop.helpers.clone();
        let Some(alone) = helpers.try_hold() else {
            return;
        };
        let Some(agent) = &self.agent else {
            return;
        };
        let managed: Vec<ProcessKey> = agent.key.into_iter().collect();
        reap_orphans(&managed);
        let client = agent.key;
        let members = Tree {
            below_me: true,
            ..Tree::default()
        }
        .members();
        let usage = TreeUsage::of(&members);
        self.signs
            .worked(usage.cpu_ms, usage.io_bytes, self.clock.now());
        let resources = &mut self.report.status.resources;
        resources.processes = Some(usage.processes);
        resources.memory_bytes = Some(usage.memory_bytes);
        resources.cpu_ms = Some(resources.cpu_ms.unwrap_or(0).max(usage.cpu_ms));
        self.known.see(&members);
        drop(alone);
        self.look_at_memory(client, &members);
    }

    fn measure(&mut self) {
        self.times.unmeasured = false;
        self.times.measuring = Some(Instant::now());
        let sent = self
            .workshop
            .send("measure", &self.tell, |shop| Msg::Measured(shop.measure()));
        match sent {
            Ok(()) => self.works += 1,
            Err(_) => self.times.measuring = None,
        }
    }

    /// The measuring of the worktree ended.
    pub(super) fn on_measured(&mut self, changes: Result<Changes, String>) {
        if let (Some(begun), Ok(changes)) = (self.times.measuring.take(), changes) {
            self.times.next_measure = Instant::now() + MEASURE_EVERY.max(begun.elapsed() * 10);
            self.changed(changes);
        }
    }

    /// Takes over the figures of the worktree.
    pub(super) fn changed(&mut self, changes: Changes) {
        if self.signs.files(changes, self.clock.now()) {
            let (files, added, removed) = changes;
            self.report.status.files_changed = Some(files);
            self.report.status.lines_added = Some(added);
            self.report.status.lines_removed = Some(removed);
        }
    }

    /// The last sign of life is what the status tells.
    pub(super) fn beat(&mut self) {
        self.report.status.last_heartbeat = Some(rfc3339(self.signs.last()));
    }
}
