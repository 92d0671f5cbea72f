//! What the world outside allows a run: gathered from its sources, told to the state machine
//! when it changes, and written down for those who look at the run.
//!
//! A source looks at one thing (the provider, the machine) and says what that allows; the
//! strictest counts. Looking happens in the conductor's loop, twice a second at most, so a
//! source has to be quick: what takes longer belongs on a thread of its own.

mod provider;

use std::time::{Duration, Instant};

use crate::core::conditions::Conditions;
use crate::core::record::Record;
use crate::core::state::State;
use crate::core::time::Timestamp;
use crate::format::SCHEMA_VERSION;
use crate::format::conditions_file::{ConditionsFile, HoldEntry, SourceEntry};
use crate::store::atomic::{self, Durability};
use crate::store::run_log;
use crate::view::outside;

use super::context::Context;
use super::machine::MachineSource;

/// How long a look holds good.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Something outside of the run that may hold it back.
pub(super) trait Source: std::fmt::Debug {
    /// A word for it in files and sentences: `provider`.
    fn name(&self) -> &'static str;

    /// The number of instances is about to change: for whom that matters at once.
    fn sized(&mut self, _state: &State) {}

    /// Looks, quickly.
    fn look(&mut self, state: &State, now: Timestamp) -> Sight;

    /// Hears of everything that was decided.
    fn follow(&mut self, _record: &Record) {}
}

/// What one source sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sight {
    /// What it allows.
    pub(super) conditions: Conditions,
    /// Why the slots are few or memory is short, for people; a hold has its own reason.
    pub(super) why: Option<String>,
}

impl Sight {
    /// What it means for the run, if anything. Slots without a reason are as many as wanted.
    fn sentence(&self, now: Timestamp) -> Option<String> {
        let Conditions {
            slots,
            hold,
            pressed,
        } = &self.conditions;
        let hold = hold.as_ref().map(|hold| (hold.until, hold.why.as_str()));
        let slots = slots.filter(|_| self.why.is_some());
        outside::sentence(slots, hold, *pressed, self.why.as_deref(), now)
    }
}

/// All sources together.
#[derive(Debug)]
pub(super) struct Surroundings {
    sources: Vec<Box<dyn Source>>,
    seen: Vec<Sight>,
    next: Instant,
}

impl Surroundings {
    /// The sources of a run.
    pub(super) fn of(context: &Context) -> Self {
        let mut sources: Vec<Box<dyn Source>> = vec![Box::new(provider::Provider::of(context))];
        if let Some(machine) = MachineSource::of(context) {
            sources.push(Box::new(machine));
        }
        Self::with(sources)
    }

    fn with(sources: Vec<Box<dyn Source>>) -> Self {
        Self {
            seen: vec![Sight::default(); sources.len()],
            sources,
            next: Instant::now(),
        }
    }

    /// Hears of everything that was decided.
    pub(super) fn follow(&mut self, record: &Record) {
        for source in &mut self.sources {
            source.follow(record);
        }
    }

    /// What was decided changes the number of instances, before it is carried out.
    pub(super) fn sized(&mut self, state: &State) {
        for source in &mut self.sources {
            source.sized(state);
        }
    }

    /// The next look is due at once.
    pub(super) fn look_again(&mut self) {
        self.next = Instant::now();
    }

    /// Looks if it is time; the conditions when they changed.
    pub(super) fn look(
        &mut self,
        context: &Context,
        state: &State,
        now: Timestamp,
    ) -> Option<Conditions> {
        if Instant::now() < self.next {
            return None;
        }
        self.next = Instant::now() + LOOK_EVERY;
        let seen: Vec<Sight> = self
            .sources
            .iter_mut()
            .map(|source| source.look(state, now))
            .collect();
        if seen == self.seen {
            return None;
        }
        let before = std::mem::replace(&mut self.seen, seen);
        self.write(context, now);
        let lines = self.lines(&before, now);
        if !lines.is_empty() {
            run_log::append(&context.run, now, &lines);
        }
        Some(combined(&self.seen))
    }

    /// One line per source of which there is something else to say than before.
    fn lines(&self, before: &[Sight], now: Timestamp) -> Vec<String> {
        let seen = self.sources.iter().zip(&self.seen).zip(before);
        seen.filter_map(|((source, new), old)| {
            let said = new.sentence(now);
            match said == old.sentence(now) {
                true => None,
                false => Some(said.unwrap_or_else(|| {
                    format!("the {} no longer holds the run back", source.name())
                })),
            }
        })
        .collect()
    }

    fn write(&self, context: &Context, now: Timestamp) {
        let all = combined(&self.seen);
        let named = self.sources.iter().zip(&self.seen);
        let file = ConditionsFile {
            schema_version: SCHEMA_VERSION,
            seen_at: now,
            slots: all.slots,
            hold: all.hold.map(HoldEntry::from),
            pressed: all.pressed,
            sources: named
                .map(|(source, sight)| SourceEntry {
                    source: source.name().to_owned(),
                    slots: sight.conditions.slots,
                    hold: sight.conditions.hold.clone().map(HoldEntry::from),
                    pressed: sight.conditions.pressed,
                    why: sight.why.clone(),
                })
                .collect(),
        };
        let path = context.run.conditions();
        let what = "the conditions of the run";
        if let Err(error) = atomic::write_json(&path, what, &file, Durability::Volatile) {
            run_log::append(&context.run, now, &[error.to_string()]);
        }
    }
}

fn combined(seen: &[Sight]) -> Conditions {
    seen.iter()
        .map(|sight| sight.conditions.clone())
        .fold(Conditions::default(), Conditions::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::conditions::Hold;

    #[derive(Debug)]
    struct Fixed(&'static str);

    impl Source for Fixed {
        fn name(&self) -> &'static str {
            self.0
        }

        fn look(&mut self, _: &State, _: Timestamp) -> Sight {
            Sight::default()
        }
    }

    #[test]
    fn each_source_speaks_once_about_each_change() {
        let now = Timestamp(1_795_252_437_000);
        let until = |ms: i64| Sight {
            conditions: Conditions {
                hold: Some(Hold {
                    until: Timestamp(now.0 + ms),
                    why: "usage limit".into(),
                }),
                ..Conditions::default()
            },
            why: None,
        };
        let few = Sight {
            conditions: Conditions {
                slots: Some(2),
                ..Conditions::default()
            },
            why: Some("memory".into()),
        };
        let mut all = Surroundings::with(vec![
            Box::new(Fixed("provider")),
            Box::new(Fixed("machine")),
        ]);
        let mut said = |provider: &Sight, machine: &Sight| {
            let seen = vec![provider.clone(), machine.clone()];
            let before = std::mem::replace(&mut all.seen, seen);
            all.lines(&before, now)
        };
        let none = Sight::default();
        let held = "held until 09:15:37 UTC (usage limit): nothing new starts";
        assert_eq!(said(&until(100_000), &none), [held]);
        // The same to the second.
        assert_eq!(said(&until(100_100), &few), ["at most 2 at once: memory"]);
        assert_eq!(
            said(&none, &few),
            ["the provider no longer holds the run back"]
        );
        assert_eq!(
            said(&none, &none),
            ["the machine no longer holds the run back"]
        );
        let both = combined(&[until(5), few]);
        assert_eq!((both.slots, both.hold.is_some()), (Some(2), true));
    }
}
