use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::attempt::{AttemptEnd, FailureClass};
use super::super::budget::{BudgetPolicy, Limit};
use super::super::event::{Effect, Event, Left, Request};
use super::super::graph::TaskIx;
use super::super::id::{BranchName, Oid, TaskName};
use super::super::record::{AsideWhy, IntegrationEnd, MergeMode, Place, Record, Verdict};
use super::super::retry::RetryPolicy;
use super::super::state::{Phase, Policy, State, TaskFacts, TaskState};
use super::super::step::step;
use super::super::time::{Millis, Timestamp};
use super::QueuePolicy;
use super::world::{Content, World};

/// A run whose instances end at once, in a repository of sets.
struct Run {
    facts: Vec<TaskFacts>,
    policy: Policy,
    state: State,
    journal: Vec<Record>,
    world: World,
    todo: Vec<Event>,
    /// What resolvers do: come to a result, or fail.
    resolver_succeeds: bool,
    verdict: Option<Verdict>,
    now: i64,
}

fn name(n: usize) -> TaskName {
    TaskName::parse(&format!("t{n}")).unwrap()
}

fn ix(n: usize) -> TaskIx {
    TaskIx::new(u32::try_from(n).unwrap())
}

fn oid(n: usize) -> Oid {
    Oid::parse(&format!("{n:040x}")).unwrap()
}

impl Run {
    fn new(needs: &[Vec<usize>], queue: QueuePolicy) -> Self {
        let facts: Vec<TaskFacts> = needs
            .iter()
            .enumerate()
            .map(|(n, needs)| TaskFacts {
                name: name(n),
                needs: needs.iter().map(|d| ix(*d)).collect(),
                files: vec![],
                after: Vec::new(),
                urgency: 2,
                chain: 1,
                max_attempts: 1,
                limit: Limit::default(),
            })
            .collect();
        let policy = Policy {
            workers: 100,
            success_percent: 50,
            merge: Some(MergeMode::Automatic),
            queue,
            retry: RetryPolicy {
                base_delay: Millis(1),
                max_delay: Millis(1),
                ..RetryPolicy::default()
            },
            budget: BudgetPolicy::default(),
            token: Uuid::from_u128(1),
        };
        Self {
            state: State::new(facts.clone(), policy),
            facts,
            policy,
            journal: Vec::new(),
            world: World::new(),
            todo: vec![Event::Adopted],
            resolver_succeeds: true,
            verdict: None,
            now: 1,
        }
    }

    fn ask(&mut self, request: Request) {
        let id = format!("r{}", self.journal.len());
        self.todo.push(Event::Asked { id, request });
        self.run();
    }

    /// One event; false when there is none.
    fn turn(&mut self) -> bool {
        if self.todo.is_empty() {
            return false;
        }
        let event = self.todo.remove(0);
        self.now += 1;
        let out = step(&mut self.state, &event, Timestamp(self.now));
        self.journal.extend(out.records);
        for effect in out.effects {
            let event = match effect {
                Effect::Prepare { task } if self.apart(task) => Event::NotStarted {
                    task,
                    class: FailureClass::DependencyConflict,
                    detail: "apart".into(),
                },
                Effect::Prepare { task } => Event::Prepared {
                    task,
                    place: Place {
                        branch: BranchName::for_task(self.state.name(task)),
                        worktree: "/w".into(),
                        base: oid(1),
                    },
                },
                Effect::Launch { task, attempt, .. } => {
                    let resolution = self.state.resolvers().get(&task).cloned();
                    let end = match resolution {
                        Some(r) if self.resolver_succeeds => {
                            let mut content = self.world.content(&r.onto);
                            content.insert(r.task.to_string());
                            let head = self.world.commit(content);
                            self.world.resolved.insert(head.clone());
                            AttemptEnd::Complete {
                                head,
                                summary: String::new(),
                            }
                        }
                        Some(_) => AttemptEnd::Failed {
                            class: FailureClass::Permission,
                            detail: "cannot".into(),
                        },
                        None => AttemptEnd::Complete {
                            head: oid(100 + task.index()),
                            summary: String::new(),
                        },
                    };
                    Event::Ended {
                        task,
                        attempt,
                        end,
                        left: Left {
                            session_seen: true,
                            ..Left::default()
                        },
                    }
                }
                Effect::Queue(work) => Event::Queue(self.world.carry_out(&work)),
                Effect::Close { number, verdict } => {
                    self.verdict = Some(verdict);
                    Event::Closed { number }
                }
                Effect::Stop { .. } | Effect::StopQueue | Effect::WakeAt(_) => continue,
            };
            self.todo.push(event);
        }
        true
    }

    /// Whether the results that a task builds on do not merge with each other.
    fn apart(&self, task: TaskIx) -> bool {
        let needs: Vec<&TaskName> = self.facts.get(task.index()).map_or_else(Vec::new, |facts| {
            facts.needs.iter().map(|n| self.state.name(*n)).collect()
        });
        let both = |(a, b): &(String, String)| {
            let holds = |name: &String| needs.iter().any(|n| n.as_str() == name);
            holds(a) && holds(b)
        };
        self.world.conflicts.iter().any(both)
            && !needs.iter().any(|n| self.state.queue().is_resolved(n))
    }

    /// The conductor dies: what it had not taken in yet is lost.
    fn crash(&mut self) {
        self.todo = vec![Event::Adopted];
        self.state = State::replay(self.facts.clone(), self.policy, &self.journal);
    }

    fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.turn() {
                assert!(
                    matches!(self.state.phase(), Phase::Finished { closed: true, .. }),
                    "it stands still in {:?}: {:?}",
                    self.state.phase(),
                    self.state.queue()
                );
                let replayed = State::replay(self.facts.clone(), self.policy, &self.journal);
                assert_eq!(replayed.queue(), self.state.queue());
                return;
            }
        }
        panic!("it does not end");
    }

    fn delivered(&self) -> Content {
        self.world.content(&self.world.tip)
    }

    fn aside(&self, n: usize) -> Option<&AsideWhy> {
        self.state.queue().aside().get(&name(n))
    }
}

const QUEUE: QueuePolicy = QueuePolicy {
    verify: true,
    early: false,
    deliver_each: false,
    resolvers: 2,
};

fn independent(n: usize) -> Vec<Vec<usize>> {
    vec![Vec::new(); n]
}

fn has(content: &Content, n: usize) -> bool {
    content.contains(name(n).as_str())
}

fn names(range: impl Iterator<Item = usize>) -> Content {
    range.map(|n| name(n).to_string()).collect()
}

#[test]
fn what_is_green_together_costs_one_run() {
    let mut run = Run::new(&independent(20), QUEUE);
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Success));
    assert_eq!(run.delivered(), names(0..20));
    assert_eq!(run.world.runs, 1);
}

/// Wherever the culprits are: the delivered base holds all that can be held, each culprit
/// is named with its evidence, and the number of verify runs stays within
/// 2·log2(20)·culprits + 2.
#[test]
fn two_that_are_red_alone_and_two_only_together_are_found_among_twenty() {
    // 2·log2(20)·4 + 2 is 36.6.
    let limit = 36;
    let mut most = 0;
    for shift in 0..20 {
        for (a, b, c, d) in [
            (3, 11, 7, 16),
            (0, 1, 2, 3),
            (16, 17, 18, 19),
            (0, 19, 1, 18),
            (5, 6, 0, 19),
            (12, 13, 0, 1),
        ] {
            let [a, b, c, d] = [a, b, c, d].map(|n| (n + shift) % 20);
            let (c, d) = (c.min(d), c.max(d));
            let mut run = Run::new(&independent(20), QUEUE);
            run.world.is_red =
                Box::new(move |t, _| has(t, a) || has(t, b) || (has(t, c) && has(t, d)));
            run.run();
            assert_eq!(run.verdict, Some(Verdict::Partial));
            let held = names((0..20).filter(|n| ![a, b, d].contains(n)));
            assert_eq!(run.delivered(), held);
            for n in [a, b] {
                let why = run.aside(n);
                assert!(
                    matches!(why, Some(AsideWhy::Red { with, tail, .. })
                        if with.is_empty() && tail == "red"),
                    "{n}: {why:?}"
                );
            }
            let why = run.aside(d);
            assert!(
                matches!(why, Some(AsideWhy::Red { with, .. }) if *with == [name(c)]),
                "{d}: {why:?}"
            );
            assert_eq!(run.state.queue().verify_runs(), run.world.runs);
            most = most.max(run.world.runs);
        }
    }
    assert!(most <= limit, "{most} runs, at most {limit}");
}

#[test]
fn a_check_that_changes_its_answer_is_told_and_blames_nobody() {
    let mut run = Run::new(&independent(4), QUEUE);
    run.world.is_red = Box::new(|_, asked| asked == 1);
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Success));
    assert_eq!(run.world.runs, 2);
    assert_eq!(run.state.queue().flaky().count(), 1);
}

#[test]
fn a_base_that_is_red_itself_is_not_blamed_on_the_tasks() {
    let mut run = Run::new(&independent(5), QUEUE);
    run.world.is_red = Box::new(|_, _| true);
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Failed));
    assert!(run.state.queue().aside().is_empty());
    let Some(IntegrationEnd::Red { commit, tail }) = run.state.integration() else {
        panic!("{:?}", run.state.integration());
    };
    assert_eq!(*commit, run.world.tip);
    assert!(tail.contains("base branch itself is red"), "{tail}");
    // Results that mend it are delivered all the same.
    let mut run = Run::new(&independent(3), QUEUE);
    run.world.is_red = Box::new(|t, _| !has(t, 2));
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Success));
}

#[test]
fn what_builds_on_a_culprit_is_left_out_with_it() {
    let needs = [vec![], vec![0], vec![1], vec![], vec![]];
    let mut run = Run::new(&needs, QUEUE);
    run.world.is_red = Box::new(|t, _| has(t, 1));
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Partial));
    assert_eq!(run.delivered(), names([0, 3, 4].into_iter()));
    assert!(matches!(run.aside(1), Some(AsideWhy::Red { .. })));
    assert_eq!(run.aside(2), Some(&AsideWhy::Because { task: name(1) }));
}

#[test]
fn too_little_is_not_delivered_unless_it_is_asked_for() {
    let mut run = Run::new(&independent(4), QUEUE);
    run.world.is_red = Box::new(|t, _| has(t, 0) || has(t, 1) || has(t, 2));
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Failed));
    assert!(run.delivered().is_empty());
    assert!(matches!(
        run.state.integration(),
        Some(IntegrationEnd::Red { .. })
    ));
    run.ask(Request::Merge {
        mode: MergeMode::Automatic,
        only: None,
    });
    assert_eq!(run.verdict, Some(Verdict::Partial));
    assert_eq!(run.delivered(), names([3].into_iter()));
}

#[test]
fn a_conflict_is_resolved_by_an_instance_and_proved_again() {
    let mut run = Run::new(&independent(4), QUEUE);
    run.world.conflicts = vec![("t0".into(), "t2".into())];
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Success));
    assert_eq!(run.delivered(), names(0..4));
    let resolution = run.journal.iter().find_map(|r| match r {
        Record::ResolverAdded { resolution } => Some(resolution.clone()),
        _ => None,
    });
    let resolution = resolution.unwrap();
    assert_eq!(resolution.resolver.as_str(), "resolve-t2");
    assert_eq!(resolution.theirs, oid(102));
    assert_eq!(resolution.merged, [name(0), name(1), name(3)]);
    // One run for those that merge, one with the resolved one.
    assert_eq!(run.world.runs, 2);
}

#[test]
fn a_conflict_that_no_resolver_settles_waits_for_a_person_and_holds_nobody_up() {
    let mut run = Run::new(&independent(4), QUEUE);
    run.world.conflicts = vec![("t0".into(), "t2".into())];
    run.resolver_succeeds = false;
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Partial));
    assert_eq!(run.delivered(), names([0, 1, 3].into_iter()));
    let why = run.aside(2);
    assert!(
        matches!(why, Some(AsideWhy::Conflict { files, detail: Some(detail), .. })
            if files == &["file"] && detail == "cannot"),
        "{why:?}"
    );
    run.resolver_succeeds = true;
    run.ask(Request::Resolve {
        task: name(2),
        text: "keep both".into(),
    });
    assert_eq!(run.verdict, Some(Verdict::Success));
    assert_eq!(run.delivered(), names(0..4));
    let guidance = run.journal.iter().rev().find_map(|r| match r {
        Record::ResolverAdded { resolution } => Some(resolution.guidance.clone()),
        _ => None,
    });
    assert_eq!(guidance.flatten().as_deref(), Some("keep both"));
}

#[test]
fn without_resolvers_a_conflict_is_told_at_once() {
    let queue = QueuePolicy {
        resolvers: 0,
        ..QUEUE
    };
    let mut run = Run::new(&independent(3), queue);
    run.world.conflicts = vec![("t0".into(), "t1".into())];
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Partial));
    assert_eq!(run.delivered(), names([0, 2].into_iter()));
}

/// Two tasks in conflict, and a third that builds on both: it cannot begin before a resolver
/// brought the two together.
#[test]
fn what_builds_on_two_in_conflict_waits_for_them_to_come_together() {
    let queue = QueuePolicy {
        early: true,
        ..QUEUE
    };
    for succeeds in [true, false] {
        let mut run = Run::new(&[vec![], vec![], vec![0, 1]], queue);
        run.world.conflicts = vec![("t0".into(), "t1".into())];
        run.resolver_succeeds = succeeds;
        run.run();
        let tries = run
            .journal
            .iter()
            .filter(|r| matches!(r, Record::AttemptStarted { task, .. } if *task == name(2)))
            .count();
        assert_eq!(tries, 2);
        if succeeds {
            assert_eq!(run.verdict, Some(Verdict::Success));
            assert_eq!(run.delivered(), names(0..3));
        } else {
            assert!(matches!(
                run.state.task(ix(2)).state,
                TaskState::Failed { .. }
            ));
        }
    }
}

#[test]
fn a_culprit_frees_what_conflicted_with_it() {
    let mut run = Run::new(&independent(3), QUEUE);
    run.world.conflicts = vec![("t0".into(), "t2".into())];
    run.world.is_red = Box::new(|t, _| has(t, 0));
    run.run();
    assert_eq!(run.delivered(), names([1, 2].into_iter()));
    assert!(run.state.resolvers().is_empty());
}

#[test]
fn a_review_delivers_nothing_and_what_was_reviewed_is_delivered_as_it_is() {
    let mut run = Run::new(&independent(3), QUEUE);
    run.policy.merge = Some(MergeMode::Review);
    run.state = State::new(run.facts.clone(), run.policy);
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Unmerged));
    assert!(run.delivered().is_empty());
    let Some(IntegrationEnd::Reviewable { commit, .. }) = run.state.integration().cloned() else {
        panic!("{:?}", run.state.integration());
    };
    run.ask(Request::Merge {
        mode: MergeMode::Automatic,
        only: None,
    });
    assert_eq!(run.world.tip, commit);
    assert_eq!(run.world.runs, 1);
    assert_eq!(run.verdict, Some(Verdict::Success));
}

#[test]
fn one_task_can_be_taken_with_what_it_builds_on() {
    let needs = [vec![], vec![0], vec![]];
    let mut run = Run::new(&needs, QUEUE);
    run.policy.merge = Some(MergeMode::Review);
    run.state = State::new(run.facts.clone(), run.policy);
    run.run();
    let one = |n| Request::Merge {
        mode: MergeMode::Automatic,
        only: Some(vec![name(n)]),
    };
    run.ask(one(1));
    assert_eq!(run.delivered(), names([0, 1].into_iter()));
    assert_eq!(run.verdict, Some(Verdict::Partial));
    run.ask(one(2));
    assert_eq!(run.delivered(), names(0..3));
    assert_eq!(run.verdict, Some(Verdict::Success));
}

#[test]
fn a_set_aside_result_is_worked_on_again_on_request() {
    let mut run = Run::new(&independent(3), QUEUE);
    run.world.is_red = Box::new(|t, asked| has(t, 1) && asked < 9);
    run.run();
    assert_eq!(run.verdict, Some(Verdict::Partial));
    run.world.is_red = Box::new(|_, _| false);
    run.ask(Request::Retry { task: None });
    assert_eq!(run.verdict, Some(Verdict::Success));
    let resumed = run.journal.iter().any(|r| {
        matches!(r, Record::AttemptStarted { task, attempt: 2, start, .. }
            if *task == name(1) && *start == super::super::attempt::StartMode::Resume)
    });
    assert!(resumed);
    assert!(
        run.state
            .task(ix(1))
            .lesson
            .as_ref()
            .unwrap()
            .contains("is red with it")
    );
}

fn graph() -> impl Strategy<Value = Vec<Vec<usize>>> {
    (1usize..14).prop_flat_map(|n| {
        proptest::collection::vec(proptest::collection::vec(0..n, 0..3), n).prop_map(|rows| {
            let row = |(i, row): (usize, Vec<usize>)| {
                let set: BTreeSet<usize> = row.into_iter().filter(|d| *d < i).collect();
                set.into_iter().collect()
            };
            rows.into_iter().enumerate().map(row).collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever conflicts, is red, moves or crashes: only green trees are delivered, every
    /// done task is delivered or set aside with a reason, and what is set aside as red by
    /// itself is.
    #[test]
    fn nothing_unproven_is_delivered_and_nothing_is_forgotten(
        needs in graph(),
        red in proptest::collection::btree_set(0usize..14, 0..3),
        pairs in proptest::collection::vec((0usize..14, 0usize..14), 0..3),
        conflicts in proptest::collection::vec((0usize..14, 0usize..14), 0..3),
        flaky in any::<bool>(),
        early in any::<bool>(),
        deliver_each in any::<bool>(),
        verify in proptest::bool::weighted(0.9),
        resolver_succeeds in any::<bool>(),
        moves in proptest::collection::btree_set(0usize..60, 0..4),
        crashes in proptest::collection::btree_set(0usize..60, 0..4),
    ) {
        let queue = QueuePolicy { verify, early, deliver_each, resolvers: 1 };
        let n = needs.len();
        let mut run = Run::new(&needs, queue);
        run.policy.success_percent = 1;
        run.state = State::new(run.facts.clone(), run.policy);
        run.resolver_succeeds = resolver_succeeds;
        run.world.needs_proof = verify;
        // A task that another one contains cannot conflict with it.
        run.world.conflicts = conflicts
            .into_iter()
            .filter(|(a, b)| a != b && *a < n && *b < n)
            .filter(|(a, b)| needs[*a].is_empty() && needs[*b].is_empty())
            .map(|(a, b)| (name(a).to_string(), name(b).to_string()))
            .collect();
        let (bad, bad_pairs) = (red.clone(), pairs.clone());
        run.world.is_red = Box::new(move |t, asked| {
            (flaky && asked == 1)
                || bad.iter().any(|n| has(t, *n))
                || bad_pairs.iter().any(|(a, b)| a != b && has(t, *a) && has(t, *b))
        });
        let mut turns = 0;
        while run.turn() {
            turns += 1;
            prop_assert!(turns < 20_000);
            if moves.contains(&turns) {
                run.world.move_base();
            }
            if crashes.contains(&turns) {
                run.crash();
            }
        }
        run.run();
        let delivered = run.delivered();
        for t in 0..n {
            let state = &run.state.task(ix(t)).state;
            if !matches!(state, TaskState::Done { .. }) {
                // It never had what it builds on.
                let lost = matches!(state, TaskState::Failed { .. } | TaskState::Skipped { .. });
                prop_assert!(lost);
                continue;
            }
            let aside = run.aside(t);
            let there = has(&delivered, t);
            prop_assert!(there != aside.is_some(), "t{} {} {:?}", t, there, aside);
            prop_assert_eq!(run.state.queue().is_delivered(&name(t)), there);
            if let Some(AsideWhy::Red { with, .. }) = aside && with.is_empty() && !flaky {
                let own = |d: &usize| red.contains(d);
                let mut closure = vec![t];
                let mut at = 0;
                while at < closure.len() {
                    closure.extend(needs[closure[at]].clone());
                    at += 1;
                }
                // What was delivered before belongs to the base on which it is judged.
                let there =
                    |d: &usize| closure.contains(d) || deliver_each && has(&delivered, *d);
                let inner = pairs.iter().any(|(a, b)| {
                    (closure.contains(a) || closure.contains(b)) && there(a) && there(b)
                });
                prop_assert!(closure.iter().any(own) || inner, "t{} is blamed wrongly", t);
            }
        }
        if verify && !flaky {
            prop_assert!(run.world.deliveries.iter().all(|t| !red.iter().any(|n| has(t, *n))));
        }
    }
}
