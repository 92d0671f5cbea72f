//! Runs of the state machine in virtual time against a simulated world: random graphs,
//! random ends, random requests, and a crash of the conductor after any event.

mod large;
mod policies;
mod scale;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use proptest::prelude::*;
use uuid::Uuid;

use crate::core::attempt::{AttemptEnd, FailureClass, StartMode};
use crate::core::budget::{Account, BudgetPolicy, Grant, Limit};
use crate::core::event::{Effect, Event, Left, Request, StopHow};
use crate::core::graph::TaskIx;
use crate::core::id::{BranchName, Oid, TaskName};
use crate::core::overlap::FilePattern;
use crate::core::queue::{self, QueuePolicy};
use crate::core::record::{MergeMode, Place, QueueResult, Record, Verdict};
use crate::core::retry::{Approach, RetryPolicy};
use crate::core::state::{Phase, Policy, State, TaskFacts, TaskState};
use crate::core::step::step;
use crate::core::time::{Millis, Timestamp};

fn ix(n: usize) -> TaskIx {
    TaskIx::new(u32::try_from(n).unwrap())
}

fn oid(n: usize) -> Oid {
    Oid::parse(&format!("{n:040x}")).unwrap()
}

fn facts(needs: &[Vec<usize>], after: &[Vec<usize>]) -> Vec<TaskFacts> {
    needs
        .iter()
        .zip(after)
        .enumerate()
        .map(|(n, (needs, after))| TaskFacts {
            name: TaskName::parse(&format!("t{n}")).unwrap(),
            needs: needs.iter().map(|d| ix(*d)).collect(),
            after: after
                .iter()
                .filter(|d| !needs.contains(d))
                .map(|d| ix(*d))
                .collect(),
            // Every third of them touches the same.
            files: vec![FilePattern::parse(&format!("part-{}/**", n % 3)).unwrap()],
            urgency: 2,
            chain: 1,
            max_attempts: 3,
            limit: Limit::default(),
        })
        .collect()
}

fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        success_percent: 80,
        merge: Some(MergeMode::Automatic),
        queue: QueuePolicy {
            verify: true,
            early: true,
            deliver_each: false,
            resolvers: 1,
        },
        retry: RetryPolicy {
            base_delay: Millis(100),
            max_delay: Millis(1000),
            ..RetryPolicy::default()
        },
        budget: BudgetPolicy::default(),
        token: Uuid::from_u128(7),
    }
}

/// What is known after an ordinary attempt.
const SEEN: Left = Left {
    session_seen: true,
    until: None,
    account: Account {
        usd: None,
        tokens: None,
        usd_is_partial: false,
        worked_ms: None,
    },
};

/// What one attempt will do in the simulated world.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Complete,
    Fail(FailureClass),
}

/// A supervisor and its instance.
#[derive(Debug, Clone)]
struct Live {
    attempt: u32,
    until: Timestamp,
    end: AttemptEnd,
    left: Left,
}

/// What an attempt was started with.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Start {
    task: TaskIx,
    attempt: u32,
    at: Timestamp,
    how: StartMode,
    approach: Approach,
    grant: Grant,
}

/// What an attempt leaves beside its end.
type Leaves = Box<dyn Fn(&Start, &AttemptEnd) -> Left>;

struct World {
    state: State,
    facts: Vec<TaskFacts>,
    policy: Policy,
    journal: Vec<Record>,
    /// Live supervisors: the attempt, when it will end, and how.
    live: BTreeMap<TaskIx, Live>,
    /// Attempts that have ended, as their outcome files would say.
    outcomes: BTreeMap<(TaskIx, u32), (AttemptEnd, Left)>,
    queue: BinaryHeap<std::cmp::Reverse<(Timestamp, u64)>>,
    events: BTreeMap<u64, Event>,
    seq: u64,
    now: Timestamp,
    limit: usize,
    trace: Vec<String>,
    launches: BTreeSet<(TaskIx, u32)>,
    starts: Vec<Start>,
    leaves: Leaves,
    fates: Box<dyn Fn(TaskIx, u32) -> (Fate, u64)>,
    closed: Option<Verdict>,
    repository: queue::world::World,
}

impl World {
    fn new(
        facts: Vec<TaskFacts>,
        policy: Policy,
        fates: impl Fn(TaskIx, u32) -> (Fate, u64) + 'static,
    ) -> Self {
        let mut world = Self {
            state: State::new(facts.clone(), policy),
            facts,
            policy,
            journal: Vec::new(),
            live: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            seq: 0,
            now: Timestamp(1_000),
            limit: policy.workers as usize,
            trace: Vec::new(),
            launches: BTreeSet::new(),
            starts: Vec::new(),
            leaves: Box::new(|_, _| SEEN),
            fates: Box::new(fates),
            closed: None,
            repository: queue::world::World::new(),
        };
        world.send(0, Event::Adopted);
        world
    }

    fn ask(&mut self, delay: u64, request: Request) {
        let id = format!("r{}", self.seq);
        self.send(delay, Event::Asked { id, request });
    }

    fn send(&mut self, delay: u64, event: Event) {
        self.seq += 1;
        self.queue
            .push(std::cmp::Reverse((self.now.plus(Millis(delay)), self.seq)));
        self.events.insert(self.seq, event);
    }

    /// Handles the next event; false when none is left.
    fn turn(&mut self) -> bool {
        let Some(std::cmp::Reverse((at, seq))) = self.queue.pop() else {
            return false;
        };
        let Some(event) = self.events.remove(&seq) else {
            return true;
        };
        self.now = self.now.max(at);
        self.supervisor_gone(&event);
        let out = step(&mut self.state, &event, self.now);
        self.journal.extend(out.records);
        for effect in out.effects {
            self.carry_out(effect);
        }
        self.check();
        true
    }

    /// The conductor dies and another one takes over: all events that were only in its
    /// memory are gone, supervisors live on.
    fn crash(&mut self) {
        self.events.retain(|_, e| matches!(e, Event::Asked { .. }));
        self.state = State::replay(self.facts.clone(), self.policy, &self.journal);
        self.send(1, Event::Adopted);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Prepare { task } => {
                for before in self.facts[task.index()].needs.clone() {
                    assert!(
                        matches!(self.state.task(before).state, TaskState::Done { .. }),
                        "a task was prepared before its dependency was done"
                    );
                }
                for before in self.state.facts(task).after.clone() {
                    assert!(self.state.task(before).state.is_settled());
                }
                let place = Place {
                    branch: BranchName::for_task(self.state.name(task)),
                    worktree: "/w".into(),
                    base: oid(0),
                };
                self.send(3, Event::Prepared { task, place });
            }
            Effect::Launch {
                task,
                attempt,
                start,
                approach,
                grant,
                ..
            } => {
                if let Some((end, left)) = self.outcomes.get(&(task, attempt)) {
                    let (end, left) = (end.clone(), *left);
                    self.send_end(1, task, attempt, end, left);
                    return;
                }
                if !self.live.contains_key(&task) {
                    assert!(
                        self.launches.insert((task, attempt)),
                        "an attempt was launched twice"
                    );
                    let name = self.state.name(task).clone();
                    self.trace.push(format!("{} start {name}", self.now.0));
                    self.begin(Start {
                        task,
                        attempt,
                        at: self.now,
                        how: start,
                        approach,
                        grant,
                    });
                }
                self.send(1, Event::Launched { task, attempt });
                let live = self.live[&task].clone();
                let delay = live.until.since(self.now).0;
                self.send_end(delay, task, live.attempt, live.end, live.left);
            }
            Effect::Stop { task, how } => {
                if let Some(live) = self.live.get_mut(&task) {
                    live.end = match how {
                        StopHow::Pause | StopHow::Yield => AttemptEnd::Paused,
                        StopHow::Cancel => AttemptEnd::Cancelled,
                    };
                    live.until = self.now;
                    let live = live.clone();
                    self.send_end(1, task, live.attempt, live.end, live.left);
                }
            }
            Effect::Queue(work) => {
                let result = self.repository.carry_out(&work);
                self.send(5, Event::Queue(result));
            }
            Effect::StopQueue => {}
            Effect::Close { number, verdict } => {
                self.closed = Some(verdict);
                self.send(1, Event::Closed { number });
            }
            Effect::WakeAt(at) => self.send(at.since(self.now).0, Event::Tick),
        }
    }

    fn begin(&mut self, start: Start) {
        let (task, attempt) = (start.task, start.attempt);
        self.starts.push(start);
        let (fate, length) = (self.fates)(task, attempt);
        let end = match fate {
            Fate::Complete => AttemptEnd::Complete {
                head: oid(task.index() + 100),
                summary: String::new(),
            },
            Fate::Fail(class) => AttemptEnd::Failed {
                class,
                detail: "simulated".into(),
            },
        };
        let live = Live {
            attempt,
            until: self.now.plus(Millis(length)),
            left: (self.leaves)(&start, &end),
            end,
        };
        self.live.insert(task, live);
    }

    fn send_end(&mut self, delay: u64, task: TaskIx, attempt: u32, end: AttemptEnd, left: Left) {
        self.send(
            delay,
            Event::Ended {
                task,
                attempt,
                end,
                left,
            },
        );
    }

    /// The world's side of an end: the supervisor is gone, its outcome file is there.
    fn supervisor_gone(&mut self, event: &Event) {
        if let Event::Ended {
            task,
            attempt,
            end,
            left,
        } = event
            && self.live.get(task).is_some_and(|l| l.attempt == *attempt)
        {
            self.live.remove(task);
            self.outcomes
                .insert((*task, *attempt), (end.clone(), *left));
        }
    }

    fn check(&mut self) {
        let active = self.state.active().clone();
        // Scaling down lets those that run finish; until then the old limit holds.
        self.limit = self.limit.max(self.state.workers() as usize);
        let headless = active.iter().filter(|ix| !self.state.is_attached(**ix));
        assert!(headless.count() <= self.limit);
        let counted = self
            .state
            .indexes()
            .filter(|i| matches!(self.state.task(*i).state, TaskState::Done { .. }))
            .count();
        assert_eq!(counted, self.state.done());
        let replayed = State::replay(self.facts.clone(), self.policy, &self.journal);
        if self.journal.len() < 400 {
            // Queues that time has moved are the only thing that a replay need not know.
            for i in self.state.indexes() {
                assert_eq!(replayed.task(i), self.state.task(i));
                assert_eq!(replayed.facts(i), self.state.facts(i));
            }
            assert_eq!(replayed.phase(), self.state.phase());
        }
    }

    fn run(&mut self) {
        for _ in 0..200_000 {
            if !self.turn() {
                return;
            }
        }
        panic!("the run does not end");
    }

    fn assert_ended(&self) {
        assert!(
            matches!(self.state.phase(), Phase::Finished { closed: true, .. }),
            "ended in {:?} paused={} tasks={:?}",
            self.state.phase(),
            self.state.is_paused(),
            self.state
                .indexes()
                .map(|i| &self.state.task(i).state)
                .collect::<Vec<_>>()
        );
        assert!(self.state.all_settled());
    }
}

#[test]
fn the_five_task_graph_starts_in_four_phases() {
    // database-schema → api-endpoints → frontend-components → {documentation, testing}
    let needs = [vec![], vec![0], vec![1], vec![1, 2], vec![1, 2]];
    let none = vec![Vec::new(); 5];
    let mut world = World::new(facts(&needs, &none), policy(5), |_, _| {
        (Fate::Complete, 100)
    });
    world.run();
    world.assert_ended();
    assert_eq!(world.closed, Some(Verdict::Success));
    let starts: Vec<&str> = world
        .trace
        .iter()
        .filter_map(|l| l.split(' ').next())
        .collect();
    let phases: BTreeSet<&&str> = starts.iter().collect();
    assert_eq!(phases.len(), 4, "{:?}", world.trace);
}

#[test]
fn a_failed_task_skips_those_that_need_it_and_only_those() {
    let needs = [vec![], vec![0], vec![1], vec![]];
    let after = [vec![], vec![], vec![], vec![0]];
    let mut world = World::new(facts(&needs, &after), policy(5), |task, _| {
        if task == ix(0) {
            (Fate::Fail(FailureClass::Permission), 10)
        } else {
            (Fate::Complete, 10)
        }
    });
    world.run();
    world.assert_ended();
    assert!(
        matches!(world.state.task(ix(2)).state, TaskState::Skipped { because } if because == ix(1))
    );
    assert!(matches!(
        world.state.task(ix(3)).state,
        TaskState::Done { .. }
    ));
    assert_eq!(world.closed, Some(Verdict::Failed));
}

#[test]
fn a_crashed_attempt_is_resumed_with_the_same_session() {
    let mut world = World::new(facts(&[vec![]], &[vec![]]), policy(1), |_, attempt| {
        if attempt == 1 {
            (Fate::Fail(FailureClass::Crash), 10)
        } else {
            (Fate::Complete, 10)
        }
    });
    world.run();
    world.assert_ended();
    let sessions: Vec<_> = world
        .journal
        .iter()
        .filter_map(|r| match r {
            Record::AttemptStarted { session, start, .. } => Some((*session, *start)),
            _ => None,
        })
        .collect();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0].0, sessions[1].0);
    assert_eq!(sessions[1].1, StartMode::Resume);
}

#[test]
fn a_task_that_is_cancelled_before_its_supervisor_lives_is_cancelled_all_the_same() {
    let mut world = World::new(
        facts(&[vec![], vec![]], &[vec![], vec![]]),
        policy(2),
        |_, _| (Fate::Complete, 100),
    );
    // At the time of the request the place is being prepared: nobody hears a stop.
    world.ask(
        1,
        Request::Cancel {
            task: TaskName::parse("t0").ok(),
        },
    );
    world.run();
    world.assert_ended();
    assert_eq!(world.state.task(ix(0)).state, TaskState::Cancelled);
    assert!(matches!(
        world.state.task(ix(1)).state,
        TaskState::Done { .. }
    ));
    assert!(world.launches.iter().all(|(task, _)| *task != ix(0)));
}

#[test]
fn an_integration_that_was_to_stop_is_stopped_by_the_next_conductor_as_well() {
    let mut world = World::new(facts(&[vec![]], &[vec![]]), policy(1), |_, _| {
        (Fate::Complete, 10)
    });
    while world.state.queue().work().is_none() {
        assert!(world.turn());
    }
    let ask = |state: &mut State, id: &str, request| {
        let id = id.to_owned();
        step(state, &Event::Asked { id, request }, Timestamp(5_000))
    };
    let cancel = Request::Cancel { task: None };
    let out = ask(&mut world.state, "x", cancel.clone());
    assert_eq!(out.effects, [Effect::StopQueue]);
    let out = step(&mut world.state, &Event::Adopted, Timestamp(5_001));
    assert!(matches!(
        out.effects[..],
        [Effect::Queue(_), Effect::StopQueue]
    ));
    let stopped = Event::Queue(QueueResult::Stopped);
    step(&mut world.state, &stopped, Timestamp(5_002));
    assert!(matches!(
        world.state.phase(),
        Phase::Finished {
            verdict: Verdict::Cancelled,
            ..
        }
    ));
    // Merging that is asked for afterwards goes on after a crash, and can be stopped too.
    let mode = MergeMode::Automatic;
    ask(&mut world.state, "y", Request::Merge { mode, only: None });
    let out = step(&mut world.state, &Event::Adopted, Timestamp(5_003));
    assert!(matches!(out.effects[..], [Effect::Queue(_)]));
    let out = ask(&mut world.state, "z", cancel);
    assert_eq!(out.effects, [Effect::StopQueue]);
}

#[test]
fn a_clock_that_goes_back_does_not_make_a_pause_longer() {
    let policy = policy(1);
    let mut state = State::new(facts(&[vec![]], &[vec![]]), policy);
    let far = Timestamp(1_000_000_000);
    step(&mut state, &Event::Adopted, far);
    let failed = Event::NotStarted {
        task: ix(0),
        class: FailureClass::Overload,
        detail: "x".into(),
    };
    let out = step(&mut state, &failed, far);
    assert!(out.effects.iter().any(|e| matches!(e, Effect::WakeAt(_))));
    let out = step(&mut state, &Event::Tick, Timestamp(1_000));
    assert!(
        out.effects
            .iter()
            .any(|e| matches!(e, Effect::Prepare { .. })),
        "{out:?}"
    );
}

/// The attempts of a task: whether each was resumed, and whether a person worked in it.
fn attempts(world: &World, name: &str) -> Vec<(StartMode, bool)> {
    let started = world.journal.iter().filter_map(|r| match r {
        Record::AttemptStarted {
            task,
            start,
            attached,
            ..
        } if task.as_str() == name => Some((*start, attached.is_some())),
        _ => None,
    });
    started.collect()
}

fn attach(task: &str) -> Request {
    Request::Attach {
        task: TaskName::parse(task).unwrap(),
        ticket: "ticket".into(),
    }
}

#[test]
fn a_person_takes_over_at_once_and_uses_no_room_of_the_others() {
    let three = [vec![], vec![], vec![]];
    let mut world = World::new(facts(&three, &three), policy(1), |_, _| {
        (Fate::Complete, 1_000)
    });
    world.ask(100, attach("t0"));
    while !world.state.is_attached(ix(0)) {
        assert!(world.turn());
    }
    // The next one has begun in the room that the instance left.
    assert_eq!(world.state.headless(), 1);
    assert_eq!(world.state.task(ix(0)).attach, None);
    // A pause holds back what comes after the person, and not the person.
    world.ask(1, Request::Pause { task: None });
    while !world.state.is_paused() {
        assert!(world.turn());
    }
    assert!(world.state.is_attached(ix(0)));
    world.run();
    assert!(matches!(
        world.state.task(ix(0)).state,
        TaskState::Done { .. }
    ));
    assert_eq!(
        attempts(&world, "t0"),
        [(StartMode::Fresh, false), (StartMode::Resume, true)]
    );
    // Nobody is taken over who was never started, nor who is done.
    for task in ["t2", "t0"] {
        let before = world.journal.len();
        world.ask(1, attach(task));
        world.run();
        let new = &world.journal[before..];
        assert!(matches!(new, [Record::RequestTaken { .. }]), "{new:?}");
    }
    world.ask(1, Request::Resume { task: None });
    world.run();
    world.assert_ended();
}

#[test]
fn a_task_that_is_held_back_or_was_given_up_can_be_taken_over() {
    let mut world = World::new(
        facts(&[vec![]], &[vec![]]),
        policy(1),
        |_, attempt| match attempt {
            1 => (Fate::Fail(FailureClass::Setup), 10),
            _ => (Fate::Complete, 10),
        },
    );
    world.run();
    assert_eq!(world.closed, Some(Verdict::Failed));
    world.ask(5, attach("t0"));
    world.run();
    world.assert_ended();
    assert_eq!(world.closed, Some(Verdict::Success));
    assert_eq!(attempts(&world, "t0").len(), 2);
    assert!(attempts(&world, "t0")[1].1);

    let mut world = World::new(facts(&[vec![]], &[vec![]]), policy(1), |_, _| {
        (Fate::Complete, 1_000)
    });
    let task = TaskName::parse("t0").ok();
    world.ask(50, Request::Pause { task });
    world.run();
    world.ask(50, attach("t0"));
    while !world.state.is_attached(ix(0)) {
        assert!(world.turn());
    }
    // A crash of the conductor does not ask them to leave, and starts no other attempt.
    world.crash();
    world.run();
    world.assert_ended();
    assert_eq!(
        attempts(&world, "t0"),
        [(StartMode::Fresh, false), (StartMode::Resume, true)]
    );
}

#[test]
fn retry_after_the_end_revives_what_was_lost_and_delivers_again() {
    let needs = [vec![], vec![0]];
    let mut world = World::new(
        facts(&needs, &[vec![], vec![]]),
        policy(2),
        |task, attempt| {
            if task == ix(0) && attempt <= 1 {
                (Fate::Fail(FailureClass::Setup), 10)
            } else {
                (Fate::Complete, 10)
            }
        },
    );
    world.run();
    assert_eq!(world.closed, Some(Verdict::Failed));
    world.ask(5, Request::Retry { task: None });
    world.run();
    world.assert_ended();
    assert_eq!(world.closed, Some(Verdict::Success));
}

#[test]
fn a_slow_close_says_nothing_of_a_later_end() {
    let mut world = World::new(facts(&[vec![]], &[vec![]]), policy(1), |_, _| {
        (Fate::Complete, 10)
    });
    world.run();
    let ask = |id: &str| Event::Asked {
        id: id.into(),
        request: Request::Merge {
            mode: MergeMode::Automatic,
            only: None,
        },
    };
    let mut state = world.state.clone();
    let now = world.now;
    let mut again = |id: &str| {
        // All is delivered: asking for it again ends at once.
        let out = step(&mut state, &ask(id), now);
        let number = out.effects.iter().find_map(|e| match e {
            Effect::Close { number, .. } => Some(*number),
            _ => None,
        });
        number.unwrap()
    };
    let (slow, latest) = (again("one"), again("two"));
    assert_ne!(slow, latest);
    // A conductor that takes the run up gives the same end the same number.
    let adopted = step(&mut state, &Event::Adopted, now);
    assert!(
        adopted
            .effects
            .iter()
            .any(|e| matches!(e, Effect::Close { number, .. } if *number == latest)),
        "{adopted:?}"
    );
    let out = step(&mut state, &Event::Closed { number: slow }, now);
    assert_eq!(out.records, []);
    let out = step(&mut state, &Event::Closed { number: latest }, now);
    assert_eq!(out.records, [Record::Closed]);
}

/// A state in which the first `active` tasks are in work.
fn begun(needs: &[Vec<usize>], active: u32) -> State {
    let none = vec![Vec::new(); needs.len()];
    let mut state = State::new(facts(needs, &none), policy(active));
    step(&mut state, &Event::Adopted, Timestamp(1));
    assert_eq!(state.active().len(), active as usize);
    state
}

fn touch(state: &mut State, task: usize, file: &str) -> Vec<Record> {
    let event = Event::Touched {
        task: ix(task),
        files: vec![file.to_owned()],
    };
    step(state, &event, Timestamp(2)).records
}

fn put(task: &str, after: &str, file: &str) -> Record {
    Record::PutAfter {
        task: TaskName::parse(task).unwrap(),
        after: TaskName::parse(after).unwrap(),
        files: vec![file.to_owned()],
    }
}

#[test]
fn a_task_that_has_not_begun_goes_after_the_one_that_changed_its_files() {
    // t0 and t3 expect the same files, t1 and t4 as well; t0 and t1 run.
    let mut state = begun(&vec![vec![]; 5], 2);
    let file = "part-1/x.rs";
    assert_eq!(
        touch(&mut state, 0, file),
        [put("t4", "t0", file)],
        "t1 runs"
    );
    assert_eq!(touch(&mut state, 0, file), [], "once is enough");
    assert_eq!(touch(&mut state, 2, file), [], "it does not run itself");
    assert_eq!(touch(&mut state, 0, "other"), []);
    // Another one as well: it waits for both.
    assert_eq!(touch(&mut state, 1, file), [put("t4", "t1", file)]);
    assert_eq!(state.task(ix(4)).state, TaskState::Waiting);
    assert_eq!(state.facts(ix(4)).after, [ix(0), ix(1)]);
    let end = |task: usize, end: AttemptEnd| Event::Ended {
        task: ix(task),
        attempt: 1,
        end,
        left: SEEN,
    };
    let done = AttemptEnd::Complete {
        head: oid(1),
        summary: String::new(),
    };
    step(&mut state, &end(0, done), Timestamp(3));
    assert_eq!(state.task(ix(4)).state, TaskState::Waiting);
    // However the other one ends.
    step(&mut state, &end(1, AttemptEnd::Cancelled), Timestamp(4));
    assert_ne!(state.task(ix(4)).state, TaskState::Waiting);
    assert_eq!(touch(&mut state, 1, file), [], "it is over");
}

#[test]
fn a_place_that_was_claimed_early_is_claimed_again_on_top_of_the_other_task() {
    let mut state = begun(&[vec![], vec![], vec![], vec![]], 1);
    let name = TaskName::parse("t3").unwrap();
    let prepared = Record::Prepared {
        place: Place {
            branch: BranchName::for_task(&name),
            worktree: "/w".into(),
            base: oid(0),
        },
        task: name,
    };
    state.apply(&prepared);
    assert!(!state.task(ix(3)).early);
    touch(&mut state, 0, "part-0/x");
    assert!(state.task(ix(3)).early);
}

#[test]
fn no_circle_comes_of_what_was_seen() {
    // t1 needs t0, and t0 runs: t3 (which touches the same as t0) goes after it, and so t0
    // can never go after t3.
    let mut state = begun(&[vec![], vec![0], vec![], vec![1]], 1);
    // t3 waits for t0 through t1 already.
    assert_eq!(touch(&mut state, 0, "part-0/x"), []);
    for (task, after) in [("t0", "t3"), ("t1", "t3"), ("t1", "t1"), ("t3", "t0")] {
        let before = state.clone();
        state.apply(&put(task, after, "x"));
        assert_eq!(state, before, "{task} after {after}");
    }
    state.apply(&put("t2", "t3", "x"));
    assert_eq!(state.facts(ix(2)).after, [ix(3)]);
    let before = state.clone();
    state.apply(&put("t3", "t2", "x"));
    assert_eq!(state, before);
}

fn graph() -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<Vec<usize>>)> {
    (1usize..12).prop_flat_map(|n| {
        let row = |n: usize| proptest::collection::vec(proptest::collection::vec(0..n, 0..3), n);
        (row(n), row(n)).prop_map(|(a, b)| {
            let backwards = |rows: Vec<Vec<usize>>| {
                rows.into_iter()
                    .enumerate()
                    .map(|(i, row)| {
                        let set: BTreeSet<usize> = row.into_iter().filter(|d| *d < i).collect();
                        set.into_iter().collect()
                    })
                    .collect::<Vec<Vec<usize>>>()
            };
            (backwards(a), backwards(b))
        })
    })
}

const CLASSES: [FailureClass; 6] = [
    FailureClass::Crash,
    FailureClass::TransientApi,
    FailureClass::GateNotPassed,
    FailureClass::Authentication,
    FailureClass::SupervisorLost,
    FailureClass::Timeout,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the graph, the failures, the requests and the crashes: limits hold, no
    /// dependency is broken, nothing is launched twice, and the run ends.
    #[test]
    fn every_run_ends_and_breaks_nothing(
        (needs, after) in graph(),
        workers in 1u32..5,
        seed in any::<u64>(),
        crashes in proptest::collection::vec(0usize..120, 0..4),
        requests in proptest::collection::vec((0u64..400, 0u8..10, 0usize..12), 0..5),
        touched in proptest::collection::vec((0u64..400, 0usize..12, 0usize..3), 0..8),
    ) {
        let n = needs.len();
        let fates = move |task: TaskIx, attempt: u32| {
            let mut x = seed ^ (task.index() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ u64::from(attempt).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x ^= x >> 31;
            x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^= x >> 29;
            let length = 5 + x % 200;
            if x.is_multiple_of(5) {
                let class = CLASSES[usize::try_from(x / 5 % 6).unwrap()];
                (Fate::Fail(class), length)
            } else {
                (Fate::Complete, length)
            }
        };
        let mut world = World::new(facts(&needs, &after), policy(workers), fates);
        for (at, kind, task) in requests {
            let task = TaskName::parse(&format!("t{}", task % n)).ok();
            let attached = task.clone().unwrap();
            let request = match kind {
                0 => Request::Pause { task: None },
                1 => Request::Pause { task },
                2 => Request::Cancel { task },
                3 => Request::Scale { by: -1 },
                4 => Request::Scale { by: 2 },
                5 => Request::Retry { task },
                6 => Request::Cancel { task: None },
                7 | 8 => Request::Attach { task: attached, ticket: format!("at {at}") },
                _ => Request::Merge { mode: MergeMode::Automatic, only: None },
            };
            world.ask(at, request);
        }
        for (at, task, part) in touched {
            let files = vec![format!("part-{part}/file.rs")];
            world.send(at, Event::Touched { task: ix(task % n), files });
        }
        let mut turns = 0;
        while world.turn() {
            turns += 1;
            if crashes.contains(&turns) {
                world.crash();
            }
            prop_assert!(turns < 50_000);
        }
        // Whatever was paused goes on when it is asked to.
        world.ask(1, Request::Resume { task: None });
        for t in 0..n {
            let task = TaskName::parse(&format!("t{t}")).ok();
            world.ask(2, Request::Resume { task });
        }
        world.run();
        world.assert_ended();
    }

    /// A crash at any single point leads to the same verdict and the same tasks done.
    #[test]
    fn a_crash_changes_nothing((needs, after) in graph(), at in 0usize..150) {
        let fates = |task: TaskIx, attempt: u32| {
            if task.index() % 4 == 1 && attempt == 1 {
                (Fate::Fail(FailureClass::Crash), 20)
            } else {
                (Fate::Complete, 20 + 7 * task.index() as u64)
            }
        };
        let mut calm = World::new(facts(&needs, &after), policy(3), fates);
        calm.run();
        let mut shaken = World::new(facts(&needs, &after), policy(3), fates);
        let mut turns = 0;
        while shaken.turn() {
            turns += 1;
            if turns == at {
                shaken.crash();
            }
        }
        shaken.assert_ended();
        prop_assert_eq!(calm.closed, shaken.closed);
        prop_assert_eq!(calm.state.done(), shaken.state.done());
    }
}
