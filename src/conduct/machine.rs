//! The machine as a source of conditions: how many instances it has room for.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::agent::machine::{self, Probe};
use crate::core::admission::{Footprint, Gate, Thresholds, Usage};
use crate::core::attempt::{AttemptEnd, FailureClass};
use crate::core::conditions::Conditions;
use crate::core::graph::TaskIx;
use crate::core::id::TaskName;
use crate::core::record::Record;
use crate::core::state::State;
use crate::core::time::{Millis, Timestamp};
use crate::format::status_file::StatusFile;
use crate::store::atomic;
use crate::store::layout::RunDir;

use super::conditions::{Sight, Source};
use super::context::Context;

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often the sizes of worktrees are measured, and how many times as long as that took is
/// rested at least.
const MEASURE_EVERY: Duration = Duration::from_secs(30);
const MEASURE_SHARE: u32 = 50;

/// How long the size of one worktree may take to be measured.
const MEASURE_PATIENCE: Duration = Duration::from_secs(2);

/// Looks at the machine.
#[derive(Debug)]
pub(super) struct MachineSource {
    run: RunDir,
    probe: Probe,
    folder: PathBuf,
    thresholds: Thresholds,
    footprint: Footprint,
    gate: Gate,
    disks: Disks,
    begun: Instant,
    next: Instant,
    sight: Sight,
}

impl MachineSource {
    /// The source of a run; none when the machine does not matter to it.
    pub(super) fn of(context: &Context) -> Option<Self> {
        let settings = &context.settings;
        let begun = Instant::now();
        Some(Self {
            run: context.run.clone(),
            probe: Probe::of(&context.env),
            folder: settings.worktree_dir.clone(),
            thresholds: settings.admission.thresholds()?,
            footprint: Footprint {
                memory: settings
                    .learned
                    .memory
                    .unwrap_or(Footprint::default().memory),
                ..Footprint::default()
            },
            gate: Gate::default(),
            disks: Disks::default(),
            begun,
            next: begun,
            sight: Sight::default(),
        })
    }

    fn at(&self) -> Millis {
        let passed = self.begun.elapsed().as_millis();
        Millis(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// What each instance in work uses.
    fn usages(&self, state: &State) -> Vec<Usage> {
        let usage = |ix: &TaskIx| {
            let name = state.name(*ix);
            let status: Option<StatusFile> = atomic::peek_json(&self.run.status(name));
            let attempt = state.task(*ix).attempts;
            let status = status.filter(|status| status.attempt == attempt);
            Usage {
                memory: status.and_then(|status| status.resources.memory_bytes),
                disk: self.disks.size(name),
            }
        };
        state.active().iter().map(usage).collect()
    }
}

impl Source for MachineSource {
    fn name(&self) -> &'static str {
        "machine"
    }

    fn look(&mut self, state: &State, _now: Timestamp) -> Sight {
        // Whoever was asked to go is asked once.
        self.sight.conditions.pressed = false;
        if Instant::now() < self.next || state.all_settled() {
            return self.sight.clone();
        }
        self.next = Instant::now() + LOOK_EVERY;
        self.disks.follow(state);
        let footprint = Footprint {
            memory: self.footprint.memory,
            disk: self.disks.largest().unwrap_or(self.footprint.disk),
        };
        let admission = self.gate.look(
            self.at(),
            &self.probe.read(&self.folder),
            footprint,
            &self.usages(state),
            &self.thresholds,
        );
        // More than are wanted is of no interest; it would only change all the time.
        let wanted = state.workers();
        self.sight = Sight {
            conditions: Conditions {
                slots: admission.slots.map(|slots| slots.min(wanted)),
                ..admission.conditions()
            },
            why: admission
                .shortage
                .filter(|_| admission.slots.is_some_and(|slots| slots < wanted))
                .map(|shortage| shortage.to_string()),
        };
        self.sight.clone()
    }

    fn follow(&mut self, record: &Record) {
        match record {
            Record::AttemptRunning { .. } => self.gate.worktree_made(),
            Record::AttemptEnded {
                end:
                    AttemptEnd::Failed {
                        class: FailureClass::Worktree,
                        ..
                    },
                ..
            } => {
                self.gate.worktree_failed(self.at());
                self.next = Instant::now();
            }
            _ => {}
        }
    }
}

/// The sizes of worktrees, measured on a thread of their own now and then.
#[derive(Debug, Default)]
struct Disks {
    sizes: HashMap<TaskName, u64>,
    measuring: Option<Receiver<BTreeMap<TaskName, u64>>>,
    /// When the present measuring began.
    begun: Option<Instant>,
    next: Option<Instant>,
}

impl Disks {
    fn size(&self, task: &TaskName) -> Option<u64> {
        self.sizes.get(task).copied()
    }

    fn largest(&self) -> Option<u64> {
        self.sizes.values().max().copied()
    }

    /// Takes in what was measured, and measures again when it is time.
    fn follow(&mut self, state: &State) {
        let now = Instant::now();
        if let Some(result) = &self.measuring {
            match result.try_recv() {
                Ok(sizes) => self.sizes.extend(sizes),
                Err(mpsc::TryRecvError::Empty) => return,
                Err(mpsc::TryRecvError::Disconnected) => {}
            }
            self.measuring = None;
            let taken = self.begun.map_or(Duration::ZERO, |begun| now - begun);
            self.next = Some(now + MEASURE_EVERY.max(taken * MEASURE_SHARE));
        }
        let worktrees: Vec<(TaskName, PathBuf)> = state
            .active()
            .iter()
            .filter_map(|ix| {
                let place = state.task(*ix).place.as_ref()?;
                Some((state.name(*ix).clone(), place.worktree.clone()))
            })
            .collect();
        if worktrees.is_empty() || self.next.is_some_and(|next| now < next) {
            return;
        }
        let (tell, result) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("sizes".to_owned())
            .spawn(move || {
                let sizes = worktrees.into_iter().filter_map(|(task, folder)| {
                    let deadline = Instant::now() + MEASURE_PATIENCE;
                    Some((task, machine::folder_size(&folder, deadline)?))
                });
                let _ = tell.send(sizes.collect());
            });
        self.begun = Some(now);
        self.next = Some(now + MEASURE_EVERY);
        self.measuring = thread.is_ok().then_some(result);
    }
}
