use super::*;
use proptest::prelude::*;

const PLAIN: Approach = Approach {
    alone: false,
    stronger: false,
};

fn case(class: FailureClass) -> Case {
    Case {
        class,
        until: None,
        failures: 1,
        outages: 1,
        max_attempts: 3,
        session_seen: true,
        approach: PLAIN,
        seed: 0,
        now: Timestamp(1_000_000),
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        stronger: true,
        ..RetryPolicy::default()
    }
}

/// How the session starts, whether alone, whether with the stronger model; none when given up.
fn how(case: &Case) -> Option<(StartMode, bool, bool)> {
    match decide(policy(), case) {
        Answer::Retry {
            start, approach, ..
        } => Some((start, approach.alone, approach.stronger)),
        Answer::GiveUp => None,
    }
}

#[test]
fn each_class_has_its_own_strategy() {
    use FailureClass as F;
    use StartMode::{Fresh, Resume};
    let resumed = Some((Resume, false, false));
    let fresh = Some((Fresh, false, false));
    for (class, first, second, third) in [
        (F::TransientApi, resumed, resumed, resumed),
        (F::Overload, resumed, resumed, resumed),
        (F::UsageLimit, resumed, resumed, resumed),
        (F::Budget, resumed, resumed, resumed),
        (F::Crash, resumed, fresh, Some((Fresh, true, false))),
        (
            F::SupervisorLost,
            resumed,
            fresh,
            Some((Fresh, true, false)),
        ),
        (F::Hang, resumed, fresh, fresh),
        (
            F::OutOfMemory,
            Some((Resume, true, false)),
            Some((Resume, true, false)),
            Some((Resume, true, false)),
        ),
        (
            F::GateNotPassed,
            fresh,
            Some((Fresh, false, true)),
            Some((Fresh, false, true)),
        ),
        (
            F::BadResult,
            fresh,
            Some((Fresh, false, true)),
            Some((Fresh, false, true)),
        ),
        (
            F::Timeout,
            fresh,
            Some((Fresh, false, true)),
            Some((Fresh, false, true)),
        ),
        (F::Worktree, fresh, fresh, fresh),
        (F::Authentication, None, None, None),
        (F::Permission, None, None, None),
        (F::Setup, None, None, None),
        (F::DependencyConflict, None, None, None),
    ] {
        for (n, expected) in [(1, first), (2, second), (3, third)] {
            let case = Case {
                failures: n,
                outages: n,
                max_attempts: 9,
                ..case(class)
            };
            assert_eq!(how(&case), expected, "{class:?}, number {n}");
        }
    }
}

#[test]
fn a_session_that_nobody_saw_cannot_be_resumed() {
    let unseen = Case {
        session_seen: false,
        ..case(FailureClass::Crash)
    };
    assert_eq!(how(&unseen), Some((StartMode::Fresh, false, false)));
}

#[test]
fn without_a_stronger_model_there_is_none() {
    let twice = Case {
        failures: 2,
        ..case(FailureClass::GateNotPassed)
    };
    let Answer::Retry { approach, .. } = decide(RetryPolicy::default(), &twice) else {
        panic!("it is tried again");
    };
    assert_eq!(approach, PLAIN);
}

#[test]
fn what_was_tried_once_is_kept() {
    let alone = Case {
        approach: Approach {
            alone: true,
            stronger: true,
        },
        ..case(FailureClass::TransientApi)
    };
    assert_eq!(how(&alone), Some((StartMode::Resume, true, true)));
}

#[test]
fn the_providers_failures_do_not_use_up_the_tasks_attempts_and_end_as_well() {
    let often = Case {
        failures: 0,
        outages: 9,
        ..case(FailureClass::Overload)
    };
    assert!(how(&often).is_some());
    let too_often = Case {
        outages: 10,
        ..often
    };
    assert_eq!(how(&too_often), None);
    let own = Case {
        failures: 3,
        outages: 0,
        ..case(FailureClass::Crash)
    };
    assert_eq!(how(&own), None);
}

fn delay(case: &Case) -> Option<u64> {
    match decide(policy(), case) {
        Answer::Retry { delay, .. } => Some(delay.0),
        Answer::GiveUp => None,
    }
}

#[test]
fn a_usage_limit_is_waited_for_until_its_reset_but_not_for_ever() {
    let hour = 3_600_000;
    let at = |hours: i64| Case {
        until: Some(Timestamp(1_000_000 + hours * hour)),
        ..case(FailureClass::UsageLimit)
    };
    assert_eq!(delay(&at(5)), Some(5 * hour.unsigned_abs() + 15_000));
    assert_eq!(delay(&at(7)), None, "longer than anybody wants to wait");
    assert_eq!(delay(&at(-1)), Some(15_000), "it is over already");
    let unknown = |outages| Case {
        outages,
        ..case(FailureClass::UsageLimit)
    };
    let quarter = 900_000;
    let waits: Vec<_> = (1..5).map(|n| delay(&unknown(n))).collect();
    assert_eq!(waits, [1, 2, 4, 4].map(|quarters| Some(quarters * quarter)));
}

proptest! {
    /// Pauses grow up to the limit; jitter takes at most half of one away.
    #[test]
    fn pauses_double_within_their_limits(seed in any::<u64>(), outages in 1u32..40) {
        let policy = RetryPolicy {
            base_delay: Millis(100),
            max_delay: Millis(3_000),
            outages: 50,
            ..RetryPolicy::default()
        };
        let case = Case { seed, outages, ..case(FailureClass::Overload) };
        let Answer::Retry { delay, .. } = decide(policy, &case) else {
            return Err(TestCaseError::fail("it is tried again"));
        };
        let whole = (100u64 << (outages - 1).min(16)).min(3_000);
        prop_assert!(delay.0 >= whole / 2 && delay.0 <= whole, "{delay:?} of {whole}");
    }
}
