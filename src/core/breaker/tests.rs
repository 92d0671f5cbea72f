use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp(1_760_000_000_000);

fn at(seconds: u64) -> Timestamp {
    START.plus(Millis::from_secs(seconds))
}

fn throttled(running: u32) -> Sign {
    Sign::Throttled {
        running,
        retry_after: None,
    }
}

fn limited(resets_at: Option<Timestamp>) -> Sign {
    Sign::Limited { resets_at }
}

/// Seed 0 gives the shortest pause: half of it.
fn hear(breaker: &mut Breaker, sign: Sign, seconds: u64) -> bool {
    breaker.hear(&BreakerPolicy::default(), sign, at(seconds), 0)
}

fn allowed(breaker: &Breaker, seconds: u64) -> Allowance {
    breaker.allowance(&BreakerPolicy::default(), at(seconds))
}

fn slots(breaker: &Breaker, seconds: u64) -> Option<u32> {
    allowed(breaker, seconds).slots
}

fn held(breaker: &Breaker, seconds: u64) -> bool {
    allowed(breaker, seconds).hold.is_some()
}

#[test]
fn nothing_heard_is_nothing_held() {
    assert_eq!(allowed(&Breaker::default(), 0), Allowance::default());
    let mut breaker = Breaker::default();
    assert!(!hear(&mut breaker, Sign::Well, 0));
}

#[test]
fn a_storm_halves_and_quiet_gives_one_more_at_a_time() {
    let mut breaker = Breaker::default();
    assert!(hear(&mut breaker, throttled(8), 0));
    // The pause of 5 s, at its shortest.
    for (seconds, hold, slot) in [
        (0, true, Some(4)),
        (2, true, Some(4)),
        (3, false, Some(4)),
        (62, false, Some(4)),
        (63, false, Some(5)),
        (63 + 60, false, Some(6)),
        (63 + 3 * 60, false, Some(8)),
        (63 + 4 * 60, false, None),
    ] {
        assert_eq!(
            (held(&breaker, seconds), slots(&breaker, seconds)),
            (hold, slot),
            "after {seconds} s"
        );
    }
}

#[test]
fn many_signs_of_one_storm_count_once() {
    let mut one = Breaker::default();
    hear(&mut one, throttled(8), 0);
    let mut many = one.clone();
    for _ in 0..10 {
        hear(&mut many, throttled(8), 1);
    }
    assert_eq!(slots(&one, 2), slots(&many, 2));
    assert_eq!(held(&one, 3), held(&many, 3));
    // The next one counts: half of the 5 that still run, and a longer pause.
    hear(&mut many, throttled(5), 4);
    assert_eq!(slots(&many, 4), Some(2));
    assert!(held(&many, 8));
    assert!(!held(&many, 9), "half of 10 s");
}

#[test]
fn those_that_run_on_are_not_counted_against_it_again() {
    let mut breaker = Breaker::default();
    for n in 0..10 {
        hear(&mut breaker, throttled(8), 3 * n);
    }
    assert_eq!(slots(&breaker, 30), Some(4));
    hear(&mut breaker, throttled(1), 40);
    assert_eq!(slots(&breaker, 40), Some(1));
    // No pause is longer than a minute.
    assert!(!held(&breaker, 40 + 60));
}

#[test]
fn what_the_provider_asks_for_is_honoured_within_reason() {
    for (asked, seconds, hold) in [(30, 29, true), (30, 31, false), (86_400, 901, false)] {
        let mut breaker = Breaker::default();
        let sign = Sign::Throttled {
            running: 2,
            retry_after: Some(Millis::from_secs(asked)),
        };
        hear(&mut breaker, sign, 0);
        assert_eq!(held(&breaker, seconds), hold, "{asked} s, after {seconds}");
    }
}

#[test]
fn a_usage_limit_holds_until_its_reset_and_then_one_finds_out() {
    let mut breaker = Breaker::default();
    hear(&mut breaker, limited(Some(at(600))), 0);
    let why = HoldWhy::UsageLimit { told: true };
    assert_eq!(allowed(&breaker, 0).hold, Some((at(615), why)));
    // An answer before the reset was on its way, or is about another model.
    assert!(!hear(&mut breaker, Sign::Well, 300));
    assert!(held(&breaker, 614));
    let after = allowed(&breaker, 615);
    assert_eq!((after.slots, after.hold), (Some(1), None));
    let mut answered = breaker.clone();
    assert!(hear(&mut answered, Sign::Well, 616));
    assert_eq!(allowed(&answered, 616), Allowance::default());
    // Nobody asked.
    assert_eq!(allowed(&breaker, 615 + 60), Allowance::default());
}

#[test]
fn an_untold_reset_is_waited_for_longer_each_time() {
    let mut breaker = Breaker::default();
    let mut now = 0;
    for minutes in [15, 30, 60, 60] {
        hear(&mut breaker, limited(None), now);
        // Others say the same.
        hear(&mut breaker, limited(None), now + 100);
        let until = at(now + minutes * 60);
        let why = HoldWhy::UsageLimit { told: false };
        assert_eq!(allowed(&breaker, now + 100).hold, Some((until, why)));
        now += minutes * 60 + 1;
    }
    // Told at last: that counts, also when it is sooner.
    hear(&mut breaker, limited(None), now);
    hear(&mut breaker, limited(Some(at(now + 60))), now + 1);
    assert!(!held(&breaker, now + 75));
    hear(&mut breaker, Sign::Well, now + 76);
    hear(&mut breaker, limited(None), now + 100);
    assert!(!held(&breaker, now + 100 + 15 * 60), "it begins anew");
}

#[test]
fn resets_that_cannot_be_are_not_believed() {
    for (resets, untold) in [
        (at(9 * 24 * 3600), true),
        (Timestamp(0), true),
        (Timestamp(-5), true),
        (Timestamp(START.0 - 3_600_000), true),
        (Timestamp(START.0 - 1_000), false),
        (at(7 * 24 * 3600), false),
    ] {
        let mut breaker = Breaker::default();
        hear(&mut breaker, limited(Some(resets)), 0);
        let hold = allowed(&breaker, 0).hold.unwrap();
        let told = HoldWhy::UsageLimit { told: !untold };
        assert_eq!(hold.1, told, "{resets:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_a_hold() {
    let mut breaker = Breaker::default();
    hear(&mut breaker, throttled(4), 7200);
    hear(&mut breaker, limited(Some(at(7200 + 600))), 7200);
    let hold = breaker
        .allowance(&BreakerPolicy::default(), START)
        .hold
        .unwrap();
    assert_eq!(hold.0, at(615));
    hear(&mut breaker, throttled(4), 0);
    assert_eq!(allowed(&breaker, 0).hold.unwrap().0, at(615));
    assert_eq!(allowed(&breaker, 7200), Allowance::default());
}

#[test]
fn it_survives_being_written() {
    let mut breaker = Breaker::default();
    hear(&mut breaker, throttled(4), 0);
    hear(&mut breaker, limited(None), 1);
    let text = serde_json::to_string(&breaker).unwrap();
    assert_eq!(serde_json::from_str::<Breaker>(&text).unwrap(), breaker);
    assert_eq!(
        serde_json::from_str::<Breaker>("{}").unwrap(),
        Breaker::default()
    );
}

#[test]
fn shares_are_fair() {
    for (allowed, wants, shares) in [
        (4, &[4, 4][..], &[2, 2][..]),
        (5, &[4, 4], &[3, 2]),
        (1, &[4, 4], &[1, 1]),
        (4, &[1, 8], &[1, 3]),
        (4, &[0, 8], &[1, 4]),
        (9, &[2, 3], &[6, 7]),
        (3, &[5], &[3]),
        (3, &[], &[]),
    ] {
        for (mine, expected) in shares.iter().enumerate() {
            assert_eq!(
                share(allowed, wants, mine),
                *expected,
                "{allowed} {wants:?}"
            );
        }
    }
    assert_eq!(share(0, &[], 0), 1);
}

#[derive(Debug, Clone)]
struct Heard {
    sign: Sign,
    /// Milliseconds since the one before; the clock may be set back.
    later: i64,
    seed: u64,
}

fn heard() -> impl Strategy<Value = Heard> {
    let sign = prop_oneof![
        4 => (0_u32..40, proptest::option::of(0_u64..10_000_000)).prop_map(|(running, after)| {
            Sign::Throttled { running, retry_after: after.map(Millis) }
        }),
        2 => proptest::option::of(-1_000_000_000_i64..1_000_000_000)
            .prop_map(|at| Sign::Limited { resets_at: at.map(|at| Timestamp(START.0 + at)) }),
        1 => Just(Sign::Well),
    ];
    let later = prop_oneof![6 => 0_i64..5_000, 2 => 0_i64..2_000_000, 1 => -5_000_000_i64..0];
    (sign, later, any::<u64>()).prop_map(|(sign, later, seed)| Heard { sign, later, seed })
}

proptest! {
    #[test]
    fn whatever_is_heard_it_never_stops_for_good(signs in prop::collection::vec(heard(), 1..60)) {
        let policy = BreakerPolicy::default();
        let play = || {
            let mut breaker = Breaker::default();
            let mut now = START;
            for heard in &signs {
                now = Timestamp(now.0 + heard.later);
                breaker.hear(&policy, heard.sign, now, heard.seed);
                let seen = breaker.allowance(&policy, now);
                prop_assert_ne!(seen.slots, Some(0));
                if let Some((until, _)) = seen.hold {
                    prop_assert!(until > now);
                    let most = LONGEST_LIMIT.0 + policy.margin_ms.0;
                    prop_assert!(until.since(now).0 <= most);
                    let over = breaker.allowance(&policy, until).hold;
                    prop_assert!(over.is_none_or(|(next, _)| next > until));
                }
            }
            Ok((breaker, now))
        };
        let (breaker, now) = play()?;
        prop_assert_eq!(&play()?.0, &breaker, "the same again");
        // The longest limit, then an interval for each of those that ran.
        let quiet = LONGEST_LIMIT.0 + policy.margin_ms.0 + 41 * policy.quiet_ms.0;
        let then = now.plus(Millis(quiet));
        prop_assert_eq!(breaker.allowance(&policy, then), Allowance::default());
        prop_assert!(breaker.is_calm(&policy, then));
        // It only ever grows with time, once nothing is held and nothing is being found out.
        let mut last = 0;
        for n in 0..50 {
            let seen = breaker.allowance(&policy, now.plus(Millis(n * 30_000)));
            let slots = seen.slots.unwrap_or(u32::MAX);
            if !seen.probing {
                prop_assert!(slots >= last);
                last = slots;
            }
        }
        // Set back by any length, a clock prolongs nothing beyond what it was meant to be.
        let early = Timestamp(breaker.heard_at.0 - 50_000_000);
        let meant = breaker.allowance(&policy, breaker.heard_at).hold;
        let seen = breaker.allowance(&policy, early).hold;
        prop_assert_eq!(
            seen.map(|(until, why)| (until.since(early), why)),
            meant.map(|(until, why)| (until.since(breaker.heard_at), why))
        );
    }

    #[test]
    fn shares_are_never_zero_and_fit_when_there_are_enough(
        allowed in 0_u32..50, wants in prop::collection::vec(0_u32..20, 1..6),
    ) {
        let shares: Vec<u32> = (0..wants.len()).map(|n| share(allowed, &wants, n)).collect();
        prop_assert!(shares.iter().all(|share| *share >= 1));
        let used: u32 = shares.iter().zip(&wants).map(|(share, wants)| (*share).min(*wants)).sum();
        prop_assert!(used <= allowed.max(u32::try_from(wants.len()).unwrap()));
    }
}
