//! The policies about failures, money and the world outside, over whole runs.

use super::*;
use crate::core::budget::{Money, Spent};
use crate::core::conditions::{Conditions, Hold};

fn independent(n: usize) -> Vec<TaskFacts> {
    let none = vec![Vec::new(); n];
    facts(&none, &none)
}

fn failing(class: FailureClass) -> (Fate, u64) {
    (Fate::Fail(class), 100)
}

/// How attempts of a task were started, in order.
fn approaches(world: &World, task: usize) -> Vec<(StartMode, bool, bool)> {
    let own = world.starts.iter().filter(|start| start.task == ix(task));
    own.map(|s| (s.how, s.approach.alone, s.approach.stronger))
        .collect()
}

fn failure(world: &World, task: usize) -> (FailureClass, String) {
    match &world.state.task(ix(task)).state {
        TaskState::Failed { class, detail } => (*class, detail.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_login_stops_the_fan_out() {
    let mut world = World::new(independent(20), policy(3), |task, _| {
        if task == ix(0) {
            (Fate::Fail(FailureClass::Authentication), 10)
        } else {
            (Fate::Complete, 500)
        }
    });
    world.run();
    world.assert_ended();
    // Those that ran already went on; nothing new met the same wall.
    assert_eq!(world.starts.len(), 3);
    assert_eq!(world.state.done(), 2);
    let (class, detail) = failure(&world, 19);
    assert_eq!(class, FailureClass::Authentication);
    assert!(detail.starts_with("not started"), "{detail}");
    // A person logged in and asks for it again.
    world.fates = Box::new(|_, _| (Fate::Complete, 10));
    world.ask(1, Request::Retry { task: None });
    world.run();
    world.assert_ended();
    assert_eq!(world.state.done(), 20);
    assert_eq!(world.closed, Some(Verdict::Success));
}

#[test]
fn a_crashing_session_is_resumed_then_begun_anew_and_then_left_alone() {
    let mut policy = policy(4);
    policy.retry.stronger = true;
    let mut facts = independent(4);
    facts[1].max_attempts = 4;
    facts[2].max_attempts = 4;
    let mut world = World::new(facts, policy, |task, attempt| {
        match (task.index(), attempt) {
            (1, ..=3) => failing(FailureClass::Crash),
            (2, ..=3) => failing(FailureClass::GateNotPassed),
            (3, ..=1) => failing(FailureClass::OutOfMemory),
            _ => (Fate::Complete, 2_000),
        }
    });
    world.run();
    world.assert_ended();
    assert_eq!(world.closed, Some(Verdict::Success));
    use StartMode::{Fresh, Resume};
    assert_eq!(
        approaches(&world, 1),
        [
            (Fresh, false, false),
            (Resume, false, false),
            (Fresh, false, false),
            (Fresh, true, false)
        ]
    );
    assert_eq!(
        approaches(&world, 2),
        [
            (Fresh, false, false),
            (Fresh, false, false),
            (Fresh, false, true),
            (Fresh, false, true)
        ]
    );
    assert_eq!(
        approaches(&world, 3),
        [(Fresh, false, false), (Resume, true, false)]
    );
    // Alone means alone, and what was tried is told.
    for start in world.starts.iter().filter(|s| s.approach.alone) {
        let beside = world.starts.iter().filter(|other| {
            let last = Timestamp(other.at.0 + 2_000);
            other.task != start.task && other.at <= start.at && start.at < last
        });
        let complete: Vec<_> = beside
            .filter(|s| s.attempt == 1 && s.task == ix(0))
            .collect();
        assert!(complete.is_empty(), "{start:?} beside {complete:?}");
    }
    let lesson = world.state.task(ix(1)).lesson.clone().unwrap();
    assert!(
        lesson.starts_with("Attempt 1 (crash): simulated\n\nAttempt 2 (crash)"),
        "{lesson}"
    );
}

#[test]
fn a_person_keeps_nobody_from_working_alone_and_gives_such_a_task_back_as_it_was() {
    let mut world = World::new(independent(3), policy(3), |task, attempt| {
        match (task.index(), attempt) {
            (0, 2) => (Fate::Complete, 500_000),
            (1, 1) => failing(FailureClass::OutOfMemory),
            (2, 1) => failing(FailureClass::Setup),
            _ => (Fate::Complete, 5_000),
        }
    });
    world.ask(10, attach("t0"));
    while approaches(&world, 1).len() < 2 {
        assert!(world.turn());
    }
    assert!(approaches(&world, 1)[1].1, "it works alone");
    assert!(world.state.is_attached(ix(0)), "beside a person");
    // Another one that is there now waits for it, and not for the person.
    let task = TaskName::parse("t2").ok();
    world.ask(1, Request::Retry { task });
    while matches!(world.state.task(ix(1)).state, TaskState::Active(_)) {
        assert_eq!(world.state.headless(), 1);
        assert!(world.turn());
    }
    while approaches(&world, 2).len() < 2 {
        assert!(world.turn());
    }
    assert!(world.state.is_attached(ix(0)));
    world.run();
    world.assert_ended();

    let mut world = World::new(independent(1), policy(1), |_, attempt| match attempt {
        1 => failing(FailureClass::OutOfMemory),
        _ => (Fate::Complete, 5_000),
    });
    while approaches(&world, 0).len() < 2 {
        assert!(world.turn());
    }
    world.ask(1, attach("t0"));
    world.run();
    assert_eq!(
        approaches(&world, 0)[1..],
        [(StartMode::Resume, true, false); 2]
    );
}

#[test]
fn the_provider_may_fail_a_task_more_often_than_it_may_fail_itself() {
    let mut world = World::new(independent(1), policy(1), |_, attempt| match attempt {
        ..=6 => failing(FailureClass::Overload),
        _ => (Fate::Complete, 10),
    });
    world.run();
    assert_eq!(world.closed, Some(Verdict::Success));
    assert_eq!(world.starts.len(), 7);
    assert!(world.starts[1..].iter().all(|s| s.how == StartMode::Resume));
    // It ends, too.
    let mut world = World::new(independent(1), policy(1), |_, _| {
        failing(FailureClass::Overload)
    });
    world.run();
    world.assert_ended();
    assert_eq!(world.starts.len(), 10);
    assert_eq!(failure(&world, 0).0, FailureClass::Overload);
}

#[test]
fn a_usage_limit_is_slept_through_and_the_same_session_goes_on() {
    let reset = Timestamp(3_600_000);
    let mut world = World::new(independent(1), policy(1), |_, attempt| match attempt {
        1 => failing(FailureClass::UsageLimit),
        _ => (Fate::Complete, 10),
    });
    world.leaves = Box::new(move |_, _| Left {
        until: Some(reset),
        ..SEEN
    });
    world.run();
    assert_eq!(world.closed, Some(Verdict::Success));
    let second = world.starts[1];
    assert_eq!(second.how, StartMode::Resume);
    assert!(second.at >= reset && second.at.since(reset).0 < 60_000);
}

#[test]
fn a_clock_that_goes_back_does_not_make_a_pause_longer_than_it_was() {
    let mut state = begun(&[vec![]], 1);
    let end = Event::Ended {
        task: ix(0),
        attempt: 1,
        end: AttemptEnd::Failed {
            class: FailureClass::Overload,
            detail: String::new(),
        },
        left: SEEN,
    };
    let out = step(&mut state, &end, Timestamp(10_000_000));
    assert!(
        matches!(out.effects[..], [Effect::WakeAt(at)] if at > Timestamp(10_000_000)),
        "{:?}",
        out.effects
    );
    // An hour back: the pause would seem to last an hour.
    let out = step(&mut state, &Event::Tick, Timestamp(6_400_000));
    assert!(
        matches!(
            out.effects[..],
            [Effect::Launch { attempt: 2, .. } | Effect::Prepare { .. }]
        ),
        "{:?}",
        out.effects
    );
}

#[test]
fn a_hold_stops_starts_until_it_ends_and_slots_bound_them() {
    let mut world = World::new(independent(12), policy(8), |_, _| (Fate::Complete, 100));
    world.send(
        0,
        Event::Conditions(Conditions {
            slots: Some(2),
            hold: None,
            pressed: false,
        }),
    );
    world
        .events
        .retain(|_, e| matches!(e, Event::Conditions(_)));
    world.send(1, Event::Adopted);
    let until = Timestamp(5_000);
    world.send(
        150,
        Event::Conditions(Conditions {
            slots: Some(0),
            hold: Some(Hold {
                until,
                why: "usage limit".into(),
            }),
            pressed: false,
        }),
    );
    while world.turn() {
        assert!(world.state.active().len() <= 2);
    }
    world.assert_ended();
    let held = Timestamp(1_000 + 150);
    let during = |s: &&Start| s.at > held.plus(Millis(10)) && s.at < until;
    assert_eq!(world.starts.iter().filter(during).count(), 0);
    // Behind it one at a time: none is no number to work with.
    assert_eq!(world.closed, Some(Verdict::Success));
    let after: Vec<_> = world.starts.iter().filter(|s| s.at >= until).collect();
    assert!(after.windows(2).all(|w| w[1].at.since(w[0].at).0 >= 100));
}

#[test]
fn under_pressure_the_least_advanced_makes_room_and_its_session_goes_on() {
    let mut world = World::new(independent(3), policy(3), |_, _| (Fate::Complete, 1_000));
    let pressed = Conditions {
        slots: Some(2),
        hold: None,
        pressed: true,
    };
    world.send(300, Event::Conditions(pressed.clone()));
    // Said twice, it is still one that goes.
    world.send(300, Event::Conditions(pressed.clone()));
    world.send(
        600,
        Event::Conditions(Conditions {
            pressed: false,
            ..pressed
        }),
    );
    world.run();
    world.assert_ended();
    assert_eq!(world.closed, Some(Verdict::Success));
    assert_eq!(world.starts.len(), 4);
    let again = world.starts[3];
    assert_eq!((again.task, again.how), (ix(2), StartMode::Resume));
    assert_eq!(world.state.task(ix(2)).failures, 0);
    // The only one stays.
    let mut world = World::new(independent(1), policy(3), |_, _| (Fate::Complete, 1_000));
    world.send(
        300,
        Event::Conditions(Conditions {
            slots: Some(1),
            hold: None,
            pressed: true,
        }),
    );
    world.run();
    assert_eq!(world.starts.len(), 1);
}

#[test]
fn scaling_down_takes_the_least_advanced_back_into_the_queue() {
    let mut world = World::new(independent(4), policy(4), |_, _| (Fate::Complete, 1_000));
    world.ask(300, Request::Scale { by: -3 });
    world.run();
    world.assert_ended();
    assert_eq!(world.closed, Some(Verdict::Success));
    // The first goes on; the other three stop, and come one after the other.
    assert_eq!(world.starts.len(), 7);
    assert!(approaches(&world, 0).len() == 1);
    let again = &world.starts[4..];
    assert!(again.iter().all(|s| s.how == StartMode::Resume));
    assert!(again.windows(2).all(|w| w[1].at.since(w[0].at).0 >= 1_000));
}

fn money(policy: Policy, run: u64) -> Policy {
    Policy {
        budget: BudgetPolicy {
            run: Limit {
                usd: Some(Money(run)),
                tokens: None,
            },
            reserve_percent: 10,
        },
        ..policy
    }
}

#[test]
fn a_task_that_needs_more_gets_what_others_did_not_need() {
    // Four tasks share a dollar; one of them needs half of it.
    let mut world = World::new(
        independent(4),
        money(policy(4), 1_000_000),
        |task, attempt| match (task.index(), attempt) {
            (0, ..=2) => (Fate::Fail(FailureClass::Budget), 2_000),
            _ => (Fate::Complete, 1_000),
        },
    );
    world.leaves = Box::new(|start, end| Left {
        account: Account {
            usd: match end {
                AttemptEnd::Failed { .. } => start.grant.limit.usd,
                _ => Some(Money(20_000)),
            },
            ..Account::default()
        },
        ..SEEN
    });
    world.run();
    world.assert_ended();
    assert_eq!(world.closed, Some(Verdict::Success));
    let grants: Vec<_> = world.starts.iter().filter(|s| s.task == ix(0)).collect();
    assert_eq!(grants.len(), 3);
    assert!(
        grants
            .iter()
            .all(|s| s.attempt == 1 || s.how == StartMode::Resume)
    );
    // The second share is larger than the first, the third is the rest.
    assert!(grants[1].grant.limit.usd > grants[0].grant.limit.usd);
    assert!(!grants[1].grant.last && grants[2].grant.last);
    assert!(world.state.spent().usd <= Money(900_000));
    assert_eq!(world.state.task(ix(0)).failures, 0);
}

#[test]
fn a_budget_that_is_said_to_be_spent_at_once_is_not_tried_for_ever() {
    let mut limited = money(policy(1), 1_000_000);
    limited.budget.run.tokens = Some(1_000_000);
    for policy in [policy(1), limited] {
        let mut world = World::new(independent(1), policy, |_, _| {
            (Fate::Fail(FailureClass::Budget), 10)
        });
        world.leaves = Box::new(|_, _| Left {
            account: Account::of_nothing(),
            ..SEEN
        });
        world.run();
        world.assert_ended();
        let starts = world.starts.len();
        assert!((2..10).contains(&starts), "{starts} attempts");
    }
}

#[test]
fn a_spent_budget_ends_the_run_with_what_is_done() {
    let mut world = World::new(independent(6), money(policy(2), 100_000), |_, _| {
        (Fate::Complete, 100)
    });
    // Each overshoots what it was granted, and takes from the others.
    world.leaves = Box::new(|start, _| Left {
        account: Account {
            usd: start.grant.limit.usd.map(|m| Money(m.0 * 3)),
            ..Account::default()
        },
        ..SEEN
    });
    world.run();
    world.assert_ended();
    let failed = world.state.indexes().find(|i| {
        matches!(&world.state.task(*i).state, TaskState::Failed { class: FailureClass::Budget, detail }
            if detail.contains("the run's budget of $0.10"))
    });
    assert!(failed.is_some());
    assert!(world.state.done() >= 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever attempts cost, however they end, and however often the conductor crashes: at
    /// every moment what was spent and what running attempts may still spend stays within the
    /// ceiling, but for what each attempt overshot.
    #[test]
    fn the_ceiling_holds(
        n in 1usize..10,
        workers in 1u32..5,
        ceiling in 20_000u64..3_000_000,
        request in 0u64..20_000,
        seed in any::<u64>(),
        crashes in proptest::collection::vec(0usize..80, 0..3),
    ) {
        let mix = move |task: TaskIx, attempt: u32| {
            let mut x = seed ^ ((task.index() as u64) << 20) ^ u64::from(attempt);
            x = (x ^ (x >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 29)
        };
        let mut world = World::new(independent(n), money(policy(workers), ceiling), move |t, a| {
            match mix(t, a) % 7 {
                0 => failing(FailureClass::Budget),
                1 => failing(FailureClass::Crash),
                2 => failing(FailureClass::SupervisorLost),
                3 => failing(FailureClass::Overload),
                _ => (Fate::Complete, 50 + mix(t, a) % 100),
            }
        });
        world.leaves = Box::new(move |start, end| {
            let granted = start.grant.limit.usd.unwrap().0;
            let part = mix(start.task, start.attempt) / 7 % 101;
            let usd = match end {
                AttemptEnd::Failed { class: FailureClass::SupervisorLost, .. } => None,
                AttemptEnd::Failed { class: FailureClass::Budget, .. } => {
                    Some(Money(granted + request))
                }
                _ => Some(Money(granted * part / 100)),
            };
            Left { account: Account { usd, ..Account::default() }, ..SEEN }
        });
        let mut turns = 0;
        loop {
            turns += 1;
            if !world.turn() {
                break;
            }
            prop_assert!(turns < 20_000);
            let over = u64::try_from(world.starts.len()).unwrap() * request;
            let total = world.state.spent().plus(world.state.promised());
            prop_assert!(total.usd.0 <= ceiling + over, "{total:?}");
            let running = u64::try_from(world.state.active().len()).unwrap();
            prop_assert!(running <= u64::from(workers));
            if crashes.contains(&turns) {
                world.crash();
            }
        }
        world.assert_ended();
        prop_assert_eq!(world.state.promised(), Spent::default());
    }
}
