//! Whole runs of the state machine with thousands of tasks, in virtual time: where nothing
//! fails and everything but the tasks themselves takes no time. What is measured is the order
//! in which tasks start, and what the state machine looks at.
//!
//! Only the public face of the core is used, so that the benchmarks can play the same runs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::core::attempt::AttemptEnd;
use crate::core::budget::{BudgetPolicy, Limit};
use crate::core::event::{Effect, Event, Left};
use crate::core::graph::{Graph, TaskIx};
use crate::core::id::{BranchName, Oid, TaskName};
use crate::core::queue::QueuePolicy;
use crate::core::record::{MergeMode, Place, QueueLink, QueueResult, QueueWork, Record, Verdict};
use crate::core::retry::RetryPolicy;
use crate::core::state::{Phase, Policy, State, TaskFacts, TaskState};
use crate::core::step::Step;
use crate::core::time::{Millis, Timestamp};

/// A small generator of random numbers: the same for the same seed, everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap_or(0)
    }
}

/// Tasks, whom each needs, and how long each takes.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) needs: Vec<Vec<usize>>,
    pub(crate) lengths: Vec<u64>,
}

/// The kinds of graphs.
pub(crate) const SHAPES: [&str; 5] = ["layered", "fork-join", "sparse", "chains", "free"];

impl Job {
    /// A random graph of a shape. Lengths are from 1 to 60 minutes, short ones more often.
    pub(crate) fn random(shape: &str, tasks: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let needs = (0..tasks)
            .map(|at| {
                let mut needs = BTreeSet::new();
                match shape {
                    "layered" => {
                        let width = (tasks / 20).max(1);
                        let layer = at / width * width;
                        if layer > 0 {
                            for _ in 0..3 {
                                needs.insert(layer - width + random.below(width));
                            }
                        }
                    }
                    "fork-join" => {
                        // Sixteen at once, then one that needs them all.
                        let place = at % 17;
                        let join = (at / 17 * 17).checked_sub(1);
                        if place == 16 {
                            needs.extend(at - 16..at);
                        } else {
                            needs.extend(join);
                        }
                    }
                    "sparse" => {
                        for _ in 0..random.below(3) {
                            needs.extend((at > 0).then(|| random.below(at)));
                        }
                    }
                    "chains" => {
                        let chains = (tasks / 50).max(4);
                        needs.extend(at.checked_sub(chains));
                    }
                    _ => {}
                }
                needs.into_iter().collect()
            })
            .collect();
        let lengths = (0..tasks)
            .map(|_| {
                let most = 60 / (1 + random.below(6));
                60_000 * (1 + random.below(most) as u64)
            })
            .collect();
        Self { needs, lengths }
    }

    fn graph(&self) -> Graph {
        let edges = self
            .needs
            .iter()
            .enumerate()
            .flat_map(|(at, needs)| needs.iter().map(move |before| (ix(*before), ix(at))));
        Graph::new(self.needs.len(), edges)
    }

    /// What no order can be faster than: the heaviest chain, and the work shared by all.
    pub(crate) fn bound(&self, workers: usize) -> u64 {
        let chains = self.graph().remaining_chains(|ix| self.lengths[ix.index()]);
        let work = self.lengths.iter().sum::<u64>();
        chains
            .into_iter()
            .max()
            .unwrap_or(0)
            .max(work.div_ceil(workers as u64))
    }

    /// What the state machine is told of the tasks, when each is expected to take this long.
    pub(crate) fn facts(&self, expected: impl Fn(usize) -> u64) -> Vec<TaskFacts> {
        let chains = self.graph().remaining_chains(|ix| expected(ix.index()));
        let facts = self.needs.iter().zip(chains).enumerate();
        facts
            .map(|(at, (needs, chain))| TaskFacts {
                name: name(at),
                needs: needs.iter().map(|before| ix(*before)).collect(),
                after: Vec::new(),
                files: Vec::new(),
                urgency: 2,
                chain,
                max_attempts: 3,
                limit: Limit::default(),
            })
            .collect()
    }
}

fn name(at: usize) -> TaskName {
    TaskName::parse(&format!("t{at}")).expect("a name")
}

fn ix(at: usize) -> TaskIx {
    TaskIx::new(u32::try_from(at).expect("few tasks"))
}

fn oid(number: usize) -> Oid {
    Oid::parse(&format!("{number:040x}")).expect("an id")
}

fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        success_percent: 100,
        merge: Some(MergeMode::Automatic),
        queue: QueuePolicy {
            verify: true,
            early: true,
            deliver_each: false,
            resolvers: 1,
        },
        retry: RetryPolicy::default(),
        budget: BudgetPolicy::default(),
        token: uuid::Uuid::from_u128(7),
    }
}

/// How a run went.
#[derive(Debug, Default)]
pub(crate) struct Went {
    /// From the first start to the end of the last task, milliseconds.
    pub(crate) makespan: u64,
    pub(crate) events: usize,
    /// Records of the journal that name more than some tasks, counted by the tasks in them.
    pub(crate) named: usize,
}

/// Plays a run to its end and checks it on the way. `step` takes each event in.
pub(crate) fn play(
    job: &Job,
    facts: Vec<TaskFacts>,
    workers: u32,
    mut step: impl FnMut(&mut State, &Event, Timestamp) -> Step,
) -> Went {
    let mut state = State::new(facts, policy(workers));
    let mut went = Went::default();
    let mut agenda = Agenda::default();
    let mut launched = BTreeSet::new();
    let mut commits = 1;
    agenda.put(Timestamp(0), Event::Adopted);
    while let Some((now, event)) = agenda.next() {
        if let Event::Ended { .. } = event {
            went.makespan = u64::try_from(now.0).unwrap_or(0);
        }
        let out = step(&mut state, &event, now);
        went.events += 1;
        assert!(state.active().len() <= workers as usize, "too many at once");
        for record in &out.records {
            if let Record::QueueStarted {
                work: QueueWork::Merge { items, .. },
            } = record
            {
                went.named += items.iter().map(|item| 1 + item.needs.len()).sum::<usize>();
            }
        }
        for effect in out.effects {
            match effect {
                Effect::Prepare { task } => {
                    for before in &job.needs[task.index()] {
                        let before = &state.task(ix(*before)).state;
                        assert!(matches!(before, TaskState::Done { .. }), "too early");
                    }
                    let place = Place {
                        branch: BranchName::for_task(state.name(task)),
                        worktree: "/w".into(),
                        base: oid(0),
                    };
                    agenda.put(now, Event::Prepared { task, place });
                }
                Effect::Launch { task, attempt, .. } => {
                    assert!(launched.insert(task), "nothing fails here");
                    agenda.put(now, Event::Launched { task, attempt });
                    let end = AttemptEnd::Complete {
                        head: oid(1 << 40 | task.index()),
                        summary: String::new(),
                    };
                    let left = Left {
                        session_seen: true,
                        ..Left::default()
                    };
                    let at = now.plus(Millis(job.lengths[task.index()]));
                    let event = Event::Ended {
                        task,
                        attempt,
                        end,
                        left,
                    };
                    agenda.put(at, event);
                }
                Effect::Queue(work) => {
                    let result = merge(&work, &mut commits);
                    agenda.put(now.plus(Millis(1)), Event::Queue(result));
                }
                Effect::Close { number, verdict } => {
                    assert_eq!(verdict, Verdict::Success);
                    agenda.put(now, Event::Closed { number });
                }
                Effect::WakeAt(at) => agenda.put(at, Event::Tick),
                Effect::Stop { .. } | Effect::StopQueue => panic!("nobody asked for that"),
            }
        }
    }
    assert!(matches!(
        state.phase(),
        Phase::Finished { closed: true, .. }
    ));
    assert_eq!(state.done(), job.needs.len());
    assert_eq!(state.queue().delivered().len(), job.needs.len());
    went
}

fn merge(work: &QueueWork, commits: &mut usize) -> QueueResult {
    match work {
        QueueWork::Merge { onto, items, .. } => QueueResult::Merged {
            base: onto.clone().unwrap_or_else(|| oid(0)),
            links: items
                .iter()
                .map(|item| {
                    *commits += 1;
                    QueueLink {
                        task: item.task.clone(),
                        commit: oid(*commits),
                        settled: Vec::new(),
                    }
                })
                .collect(),
            conflicts: Vec::new(),
        },
        QueueWork::Verify { .. } => QueueResult::Verified {
            green: true,
            tail: String::new(),
        },
        QueueWork::Deliver { .. } => QueueResult::Delivered,
        QueueWork::Present { .. } => panic!("all is delivered"),
    }
}

/// What will happen, in order.
#[derive(Default)]
struct Agenda {
    order: BinaryHeap<Reverse<(Timestamp, usize)>>,
    events: BTreeMap<usize, Event>,
    put: usize,
}

impl Agenda {
    fn put(&mut self, at: Timestamp, event: Event) {
        self.put += 1;
        self.order.push(Reverse((at, self.put)));
        self.events.insert(self.put, event);
    }

    fn next(&mut self) -> Option<(Timestamp, Event)> {
        let Reverse((at, number)) = self.order.pop()?;
        Some((at, self.events.remove(&number)?))
    }
}
