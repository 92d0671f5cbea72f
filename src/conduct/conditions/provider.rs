//! What the provider allows: the breaker that all runs of the account share.

use std::time::Instant;

use super::{Sight, Source};
use crate::conduct::context::Context;
use crate::core::breaker::{Allowance, THROTTLED};
use crate::core::conditions::{Conditions, Hold};
use crate::core::state::State;
use crate::core::time::{Millis, Timestamp};
use crate::store::breaker::{BreakerStore, BreakerView, Membership};

/// The provider as a source of conditions.
#[derive(Debug)]
pub(super) struct Provider {
    store: BreakerStore,
    view: BreakerView,
    /// None when the folder cannot be used: then what is allowed is not shared.
    member: Option<Membership>,
    /// A usage limit that lasts longer is not waited for.
    longest_wait: Millis,
    /// The hold that is known, and when it ends by the clock that nobody can set.
    hold: Option<(Timestamp, Instant)>,
}

impl Provider {
    pub(super) fn of(context: &Context) -> Self {
        let store = BreakerStore::new(context.breaker_order());
        Self {
            view: BreakerView::new(store.clone()),
            member: store.join(),
            store,
            longest_wait: Millis::from_secs(context.settings.retries.usage_limit_wait_seconds),
            hold: None,
        }
    }

    /// Whether the hold until then goes on, by the clock that nobody can set.
    fn goes_on(&mut self, until: Timestamp, now: Timestamp) -> bool {
        match self.hold {
            Some((known, over)) if known == until => Instant::now() < over,
            _ => {
                let over = Instant::now() + until.since(now).duration();
                self.hold = Some((until, over));
                true
            }
        }
    }

    fn sight(&mut self, allowance: Allowance, now: Timestamp) -> Sight {
        let mut sight = Sight {
            conditions: Conditions {
                slots: allowance.slots.map(|slots| match &self.member {
                    Some(member) => member.share(slots),
                    None => slots.max(1),
                }),
                ..Conditions::default()
            },
            why: allowance.slots.map(|_| match allowance.probing {
                true => "one finds out whether the usage limit is reset".to_owned(),
                false => THROTTLED.to_owned(),
            }),
        };
        match allowance.hold {
            None => self.hold = None,
            // Each task meets it and gives up, one after the other; the others would wait for
            // longer than anybody wants to.
            Some((until, why)) if until.since(now) > self.longest_wait => {
                sight.conditions.slots = Some(1);
                sight.why = Some(format!(
                    "{why} until {}",
                    crate::view::outside::moment(until, now)
                ));
            }
            Some((until, why)) => {
                if self.goes_on(until, now) {
                    sight.conditions.hold = Some(Hold {
                        until,
                        why: why.to_string(),
                    });
                }
            }
        }
        sight
    }
}

impl Source for Provider {
    fn name(&self) -> &'static str {
        "provider"
    }

    /// An instance may be refused as soon as it starts: it counts before that.
    fn sized(&mut self, state: &State) {
        let running = u32::try_from(state.active().len()).unwrap_or(u32::MAX);
        if let Some(member) = &mut self.member {
            let unsettled = state
                .every()
                .filter(|ix| !state.task(*ix).state.is_settled());
            let wants = u32::try_from(unsettled.count()).unwrap_or(u32::MAX);
            // Without it the others count this run as one without instances.
            let _ = member.tell(running, wants.min(state.workers()));
        }
    }

    fn look(&mut self, state: &State, now: Timestamp) -> Sight {
        self.sized(state);
        let heard = self.view.look();
        if heard.is_ahead(now) {
            // By a clock that was set back since; written, so that it goes on from here.
            let _ = self.store.settle(now);
        }
        let allowance = heard.allowance(self.store.policy(), now);
        self.sight(allowance, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::breaker::BreakerPolicy;
    use crate::format::breaker_file::BreakerOrder;
    use crate::store::breaker::Heard;

    const NOW: Timestamp = Timestamp(1_760_000_000_000);

    fn provider(folder: &std::path::Path) -> Provider {
        let store = BreakerStore::new(BreakerOrder {
            folder: folder.to_owned(),
            account: "a".into(),
            policy: BreakerPolicy::default(),
        });
        Provider {
            view: BreakerView::new(store.clone()),
            member: store.join(),
            store,
            longest_wait: Millis::from_secs(3600),
            hold: None,
        }
    }

    fn state() -> State {
        State::new(Vec::new(), crate::view::testkit::settings("r").policy())
    }

    #[test]
    fn a_usage_limit_holds_unless_nobody_would_wait_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut provider = provider(dir.path());
        assert_eq!(provider.look(&state(), NOW), Sight::default());
        let reset = NOW.plus(Millis::from_secs(600));
        let report = |at| provider.store.report(Heard::Limited(Some(at)), NOW, 0);
        report(reset).unwrap();
        let seen = provider.look(&state(), NOW);
        let hold = seen.conditions.hold.unwrap();
        assert_eq!(hold.until, reset.plus(Millis::from_secs(15)));
        assert_eq!(hold.why, "usage limit");
        let later = provider.look(&state(), hold.until);
        assert_eq!(
            (later.conditions.slots, later.conditions.hold),
            (Some(1), None)
        );
        let far = NOW.plus(Millis::from_secs(86_400));
        provider
            .store
            .report(Heard::Limited(Some(far)), NOW, 0)
            .unwrap();
        let seen = provider.look(&state(), NOW);
        assert_eq!(
            (seen.conditions.slots, seen.conditions.hold),
            (Some(1), None)
        );
        assert!(
            seen.why
                .unwrap()
                .starts_with("usage limit until 2025-10-10")
        );
    }

    #[test]
    fn a_clock_that_was_set_back_is_settled_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut provider = provider(dir.path());
        provider
            .store
            .report(Heard::Throttled(None), NOW, 0)
            .unwrap();
        let early = Timestamp(NOW.0 - 3_600_000);
        let until = |sight: Sight| sight.conditions.hold.unwrap().until;
        let first = until(provider.look(&state(), early));
        assert!(first.since(early) <= Millis::from_secs(5));
        let next = provider.look(&state(), early.plus(Millis(100)));
        assert_eq!(until(next), first, "it comes nearer");
    }

    #[test]
    fn a_hold_ends_by_the_clock_that_nobody_can_set() {
        let dir = tempfile::tempdir().unwrap();
        let mut provider = provider(dir.path());
        let until = NOW.plus(Millis(50));
        assert!(provider.goes_on(until, NOW));
        let deadline = Instant::now() + std::time::Duration::from_secs(10);
        while provider.goes_on(until, NOW) {
            assert!(Instant::now() < deadline, "it does not end");
        }
        assert!(
            provider.goes_on(until.plus(Millis(60_000)), NOW),
            "another one"
        );
    }
}
