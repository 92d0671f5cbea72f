//! Made-up runs in real repositories: the state machine decides, [`Bench`] carries out, tasks
//! conflict and are red, the base branch moves, conductors die, and a person has uncommitted
//! work lying about.
//!
//! `ORCHESTRA_HISTORIES=3000 TMPDIR=/dev/shm cargo test --lib integrate::tests` makes up that
//! many; otherwise it is a few dozen.

mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use world::{Case, Dirty, Op, Work, World};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        10 => (0..4_u8, 0..8_usize, 0..3_u8).prop_map(|(f, l, w)| Op::Edit(f, l, w)),
        1 => (0..4_u8).prop_map(Op::Delete),
        2 => (0..4_u8, 4..7_u8).prop_map(|(a, b)| Op::Move(a, b)),
        3 => (4..8_u8, 0..2_u8).prop_map(|(f, w)| Op::Add(f, w)),
    ];
    proptest::collection::vec(op, 1..3)
}

fn work() -> impl Strategy<Value = Work> {
    (
        proptest::collection::vec(0..6_usize, 0..2),
        proptest::collection::vec(ops(), 1..3),
        proptest::bool::weighted(0.1),
        proptest::option::weighted(0.3, 1..3_u8),
    )
        .prop_map(|(needs, commits, red, half)| Work {
            needs,
            commits,
            red,
            half,
        })
}

fn dirty() -> impl Strategy<Value = Dirty> {
    prop_oneof![
        (0..4_u8).prop_map(Dirty::Edited),
        (0..4_u8).prop_map(Dirty::Staged),
        (0..4_u8).prop_map(Dirty::Deleted),
        (4..9_u8).prop_map(Dirty::Untracked),
        Just(Dirty::Ignored),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let works = proptest::collection::vec(work(), 2..7);
    let dirt = prop_oneof![
        1 => Just(Vec::new()),
        2 => proptest::collection::vec(dirty(), 1..4),
    ];
    (
        works,
        dirt,
        proptest::bool::weighted(0.25),
        any::<(bool, bool)>(),
        proptest::collection::vec(any::<u8>(), 40),
        proptest::collection::vec((0..40_usize, 0..4_u8), 0..3),
        proptest::collection::vec(0..40_usize, 0..3),
    )
        .prop_map(
            |(mut works, dirty, detached, (early, each), choices, moves, crashes)| {
                // Only on earlier ones.
                for (n, work) in works.iter_mut().enumerate() {
                    work.needs.retain(|d| *d < n);
                }
                Case {
                    works,
                    dirty,
                    detached,
                    early,
                    each,
                    choices,
                    moves,
                    crashes,
                }
            },
        )
}

#[allow(
    clippy::disallowed_methods,
    reason = "the number of cases is the wish of whoever runs the tests"
)]
fn cases() -> u32 {
    let wish = std::env::var("ORCHESTRA_HISTORIES").ok();
    wish.and_then(|n| n.parse().ok()).unwrap_or(36) / 3
}

fn made_up_runs(style: DeliveryStyle) {
    let world = std::cell::RefCell::new(World::new(style));
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 12,
        ..Config::default()
    });
    let done = runner.run(&case(), |case| world.borrow_mut().play(&case));
    if let Err(error) = done {
        panic!("{error}");
    }
    let seen = world.borrow().seen.clone();
    println!("{style:?}: {seen:?}");
    if cases() >= 100 {
        // All kinds of ends were among them.
        assert!(seen.delivered * 3 > cases(), "{seen:?}");
        let kinds = [seen.overlaps, seen.aside, seen.moved, seen.nothing];
        assert!(kinds.iter().all(|count| *count > 0), "{seen:?}");
    }
}

#[test]
fn made_up_runs_that_are_merged() {
    made_up_runs(DeliveryStyle::Merge);
}

#[test]
fn made_up_runs_that_are_squashed() {
    made_up_runs(DeliveryStyle::Squash);
}

#[test]
fn made_up_runs_that_are_rebased() {
    made_up_runs(DeliveryStyle::Rebase);
}
