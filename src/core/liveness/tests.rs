//! In virtual time.

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000;

fn limits() -> Limits {
    Limits {
        startup: Millis::from_secs(120),
        provider: Millis::from_secs(300),
        tool: Millis::from_secs(900),
        closing: Millis::from_secs(10),
    }
}

/// A story of one instance: looks four times a second, signs when the story says so.
struct Story {
    watch: Watch,
    now: u64,
    signs: Signs,
}

impl Story {
    fn begin() -> Self {
        Self {
            watch: Watch::new(limits()),
            now: 1000,
            signs: Signs::default(),
        }
    }

    /// Lives on for `length`, with a sign every so often; returns the first remedy and when
    /// it came, from the beginning of this part.
    fn live(
        &mut self,
        doing: Doing,
        length: u64,
        mut sign: impl FnMut(&mut Signs, Tick),
    ) -> Option<(Remedy, u64)> {
        let began = self.now;
        while self.now < began + length {
            self.now += 250;
            sign(&mut self.signs, Tick(self.now));
            let look = self.watch.look(Tick(self.now), doing, &self.signs);
            if look.remedy != Remedy::Wait {
                assert!(look.silence.is_some());
                return Some((look.remedy, self.now - began));
            }
        }
        None
    }

    fn silent(&mut self, doing: Doing, length: u64) -> Option<(Remedy, u64)> {
        self.live(doing, length, |_, _| {})
    }
}

#[test]
fn each_kind_of_silence_has_its_limit_and_its_first_remedy() {
    for (doing, limit, remedy) in [
        (Doing::StartingUp, 120, Some(Remedy::End)),
        (Doing::AwaitingProvider, 300, Some(Remedy::Nudge)),
        (Doing::InTools, 900, Some(Remedy::Nudge)),
        (Doing::Closing, 10, Some(Remedy::End)),
        (Doing::Nothing, 0, None),
    ] {
        let seen = Story::begin().silent(doing, 10 * 60 * MINUTE);
        // The first look is where silence begins.
        let expected = remedy.map(|r| (r, limit * 1000 + 250));
        assert_eq!(seen, expected, "{doing:?}");
    }
}

#[test]
fn a_tool_call_of_ten_minutes_is_waited_for_when_it_is_busy_or_changes_files() {
    type Sign = fn(&mut Signs, Tick);
    let busy: Sign = |signs, now| signs.worked = now;
    let writes: Sign = |signs, now| {
        if now.0 % (5 * MINUTE) < 250 {
            signs.changed = now;
        }
    };
    for sign in [busy, writes] {
        let mut story = Story::begin();
        assert_eq!(story.live(Doing::InTools, 600 * MINUTE, sign), None);
        // Once it stops, the whole limit begins there.
        let (remedy, after) = story.silent(Doing::InTools, 60 * MINUTE).unwrap();
        assert_eq!(remedy, Remedy::Nudge);
        assert!((10 * MINUTE..=15 * MINUTE).contains(&after), "{after}");
    }
    // Ten idle minutes are below the limit, and a result is a sign.
    let mut story = Story::begin();
    assert_eq!(story.silent(Doing::InTools, 10 * MINUTE), None);
    story.signs.heard = Tick(story.now);
    assert_eq!(story.silent(Doing::AwaitingProvider, 4 * MINUTE), None);
}

#[test]
fn a_nudge_that_helps_is_followed_by_others_but_not_for_ever() {
    let mut story = Story::begin();
    for _ in 0..MAX_NUDGES {
        let seen = story.silent(Doing::InTools, 20 * MINUTE);
        assert_eq!(seen.unwrap().0, Remedy::Nudge);
        story.watch.turn_ended();
        story.watch.progressed();
        story.signs.heard = Tick(story.now);
    }
    let seen = story.silent(Doing::InTools, 20 * MINUTE);
    assert_eq!(seen.unwrap().0, Remedy::End);
}

#[test]
fn a_nudge_that_does_not_help_is_the_last() {
    let mut story = Story::begin();
    let seen = story.silent(Doing::AwaitingProvider, 6 * MINUTE);
    assert_eq!(seen.unwrap().0, Remedy::Nudge);
    story.watch.turn_ended();
    story.signs.heard = Tick(story.now);
    let seen = story.silent(Doing::AwaitingProvider, 6 * MINUTE);
    assert_eq!(seen, Some((Remedy::End, 5 * MINUTE)));
}

#[test]
fn an_interrupt_that_is_not_answered_ends_it() {
    let mut story = Story::begin();
    let seen = story.silent(Doing::InTools, 20 * MINUTE);
    assert_eq!(seen.unwrap().0, Remedy::Nudge);
    assert_eq!(
        story.silent(Doing::InTools, MINUTE),
        Some((Remedy::End, INTERRUPT_AT_MOST))
    );
    // Only a result ends the turn; other lines are signs that it is about to.
    let mut story = Story::begin();
    story.silent(Doing::InTools, 20 * MINUTE);
    let talks = |signs: &mut Signs, now: Tick| signs.heard = now;
    assert_eq!(story.live(Doing::InTools, 5 * MINUTE, talks), None);
}

#[test]
fn a_suspended_machine_was_not_silent() {
    for doing in [
        Doing::StartingUp,
        Doing::AwaitingProvider,
        Doing::InTools,
        Doing::Closing,
    ] {
        let mut story = Story::begin();
        assert_eq!(story.silent(doing, 5_000), None);
        story.now += 8 * 60 * MINUTE;
        let look = story.watch.look(Tick(story.now), doing, &Signs::default());
        assert_eq!(
            look,
            Look {
                remedy: Remedy::Wait,
                silence: None
            }
        );
        let limit = limits().of(doing).unwrap().0;
        assert_eq!(story.silent(doing, limit - 250), None, "{doing:?}");
        assert!(story.silent(doing, 250).is_some(), "{doing:?}");
    }
    // Nor is the time to answer an interrupt over.
    let mut story = Story::begin();
    assert!(story.silent(Doing::InTools, 20 * MINUTE).is_some());
    story.now += 8 * 60 * MINUTE;
    assert_eq!(story.silent(Doing::InTools, 29_000), None);
}

#[test]
fn while_the_client_waits_to_try_again_silence_is_expected() {
    let mut story = Story::begin();
    let mut said = false;
    let seen = story.live(Doing::AwaitingProvider, 60 * MINUTE, |signs, now| {
        if !std::mem::replace(&mut said, true) {
            signs.heard = now;
            signs.waits_until = now.plus(Millis::from_secs(1800));
        }
    });
    assert_eq!(seen, Some((Remedy::Nudge, 35 * MINUTE + 250)));
}

#[test]
fn what_was_before_the_present_doing_does_not_count() {
    let mut story = Story::begin();
    assert_eq!(story.silent(Doing::Nothing, 60 * MINUTE), None);
    assert_eq!(story.silent(Doing::AwaitingProvider, 5 * MINUTE), None);
    assert!(story.silent(Doing::AwaitingProvider, 250).is_some());
}

#[test]
fn work_of_the_processes_does_not_put_off_the_end_of_what_is_over() {
    let works = |signs: &mut Signs, now: Tick| signs.worked = now;
    let seen = Story::begin().live(Doing::Closing, MINUTE, works);
    assert_eq!(seen, Some((Remedy::End, 10_250)));
}

#[test]
fn a_limit_of_zero_is_none() {
    let mut watch = Watch::new(Limits {
        startup: Millis(0),
        provider: Millis(0),
        tool: Millis(0),
        closing: Millis(0),
    });
    for n in 0..100_000 {
        for doing in [Doing::StartingUp, Doing::AwaitingProvider, Doing::InTools] {
            let look = watch.look(Tick(n * 1000), doing, &Signs::default());
            assert_eq!((look.remedy, look.silence), (Remedy::Wait, None));
        }
    }
}

#[test]
fn silence_is_told_from_half_of_its_limit_on() {
    let mut story = Story::begin();
    assert_eq!(story.silent(Doing::InTools, 450_000), None);
    let mut look = || {
        story.now += 250;
        story
            .watch
            .look(Tick(story.now), Doing::InTools, &Signs::default())
            .silence
    };
    assert_eq!(look(), None);
    let silence = look().unwrap();
    let tools = ["Bash: cargo test"];
    assert_eq!(
        silence.activity(&tools),
        "silent for 7m inside Bash: cargo test"
    );
    assert_eq!(
        silence.detail(&tools),
        "no sign of life for 7m30s inside Bash: cargo test"
    );
    let text = silence.nudge(&tools);
    assert!(text.starts_with("The call `Bash: cargo test` gave no sign of life for 7m30s"));
    let text = silence.nudge(&["Bash: a", "Bash: b"]);
    assert!(
        text.starts_with("The calls `Bash: a` and `Bash: b` gave"),
        "{text}"
    );
    for doing in [Doing::StartingUp, Doing::AwaitingProvider, Doing::Closing] {
        let silence = Silence {
            doing,
            length: Millis(47_900),
        };
        assert!(silence.activity(&[]).starts_with("silent for 40s "));
        assert!(silence.nudge(&[]).contains("for 47s"));
    }
}

fn any_doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        Just(Doing::StartingUp),
        Just(Doing::AwaitingProvider),
        Just(Doing::InTools),
        Just(Doing::Closing),
        Just(Doing::Nothing),
    ]
}

proptest! {
    #[test]
    fn no_remedy_within_the_limit_after_a_sign(
        parts in proptest::collection::vec(
            (any_doing(), 1u64..400, 50u64..60_000, 0u8..8, any::<bool>()), 1..40)
    ) {
        let mut watch = Watch::new(limits());
        let mut signs = Signs::default();
        let mut now = 0;
        let mut nudged_at = None;
        let mut began = (Doing::Nothing, 0);
        for (doing, looks, pause, kind, ends) in parts {
            if began.0 != doing {
                began = (doing, now + pause);
            }
            for n in 0..looks {
                if pause > GAP.0 {
                    began.1 = now + pause;
                }
                now += pause;
                if n % 7 == 0 {
                    match kind {
                        0 => signs.heard = Tick(now),
                        1 => signs.worked = Tick(now),
                        2 => signs.changed = Tick(now),
                        3 => signs.waits_until = Tick(now + 100_000),
                        _ => {}
                    }
                }
                let look = watch.look(Tick(now), doing, &signs);
                let last = signs.last(doing).max(Tick(began.1));
                let quiet = Tick(now).since(last).0;
                let limit = limits().of(doing).map_or(u64::MAX, |l| l.0);
                match look.remedy {
                    Remedy::Wait => {}
                    Remedy::Nudge => {
                        prop_assert!(quiet >= limit, "{doing:?}: {quiet}");
                        nudged_at = Some(now);
                    }
                    Remedy::End => {
                        let unanswered = nudged_at
                            .is_some_and(|at| Tick(now).since(signs.heard.max(Tick(at))).0 >= 5000);
                        prop_assert!(quiet >= limit || unanswered, "{doing:?}: {quiet}");
                        return Ok(());
                    }
                }
            }
            if ends {
                watch.turn_ended();
                watch.progressed();
                nudged_at = None;
            }
        }
    }
}
