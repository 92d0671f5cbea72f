//! The rate-limit breaker: how many instances of one account may run at once, and until when
//! nothing new starts, after what the provider said to any of them.
//!
//! | sign | answer |
//! |---|---|
//! | 429, 529, overloaded | half of those that run may run, at least one; nothing starts for a pause that doubles with each further storm |
//! | quiet | one more may run per quiet interval; once that is more than ever ran, any number |
//! | usage limit | nothing starts until its reset and a margin; untold: 15 minutes, doubled up to an hour |
//! | reset is past | one at a time, until one gets an answer or a quiet interval is over |
//!
//! Signs within two seconds are one storm: several instances tell of it at once. All is kept
//! as points in time, so that time alone brings it back to normal and nobody has to write for
//! that. When the clock was set back, everything is moved back with it: no hold grows longer
//! than it was meant to be.

use serde::{Deserialize, Serialize};

use super::time::{Millis, Timestamp};

/// Signs within this time of the first one belong to one storm.
const STORM: Millis = Millis::from_secs(2);
/// The longest pause, however many storms came in a row.
const LONGEST_PAUSE: Millis = Millis::from_secs(60);
/// The longest pause that is believed of a provider that says how long to wait.
const LONGEST_TOLD_PAUSE: Millis = Millis::from_secs(15 * 60);
/// How long a usage limit holds whose reset nobody told; doubled each time.
const UNKNOWN_RESET: Millis = Millis::from_secs(15 * 60);
/// The longest that it is doubled to.
const LONGEST_UNKNOWN: Millis = Millis::from_secs(3600);
/// A reset that is told for later than this is not believed: no limit is longer than a week.
const LONGEST_LIMIT: Millis = Millis::from_secs(8 * 24 * 3600);
/// A reset that lies so little in the past is one that comes now, by another clock.
const JUST_NOW: Millis = Millis::from_secs(10 * 60);

/// How it reckons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BreakerPolicy {
    /// The first pause after a storm, milliseconds.
    pub pause_ms: Millis,
    /// Without a sign for so long, one more may run; milliseconds.
    pub quiet_ms: Millis,
    /// So long after a usage limit's reset it goes on, as clocks may differ; milliseconds.
    pub margin_ms: Millis,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            pause_ms: Millis::from_secs(5),
            quiet_ms: Millis::from_secs(60),
            margin_ms: Millis::from_secs(15),
        }
    }
}

/// What the provider said to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It is overloaded, or limits the rate.
    Throttled {
        /// How many instances of the account run.
        running: u32,
        /// How long it asks to wait.
        retry_after: Option<Millis>,
    },
    /// The account's usage limit is reached.
    Limited {
        /// When it is reset.
        resets_at: Option<Timestamp>,
    },
    /// It answered.
    Well,
}

/// Everything that is remembered of the signs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Breaker {
    /// When something was last heard; all other times but ends of holds are not after it.
    heard_at: Timestamp,
    storm: Option<Storm>,
    limit: Option<UsageLimit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storm {
    /// How many may run at once, before it grows.
    slots: u32,
    /// The most that were ever seen to run.
    demand: u32,
    /// Storms without a quiet interval between them.
    in_a_row: u32,
    /// The first sign of the last storm.
    struck_at: Timestamp,
    /// The last sign of all.
    last_at: Timestamp,
    /// Nothing starts before this.
    until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageLimit {
    since: Timestamp,
    /// Nothing starts before this.
    until: Timestamp,
    /// Whether the provider said when it is reset.
    told: bool,
    /// Limits without an answer between them.
    in_a_row: u32,
}

/// Why nothing starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldWhy {
    /// The rate is limited or the provider overloaded.
    Throttled,
    /// The usage limit is reached.
    UsageLimit {
        /// Whether it is known when it is reset.
        told: bool,
    },
}

impl std::fmt::Display for HoldWhy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Throttled => THROTTLED,
            Self::UsageLimit { told: true } => "usage limit",
            Self::UsageLimit { told: false } => "usage limit, its reset is not known",
        })
    }
}

/// What a storm is called to people.
pub const THROTTLED: &str = "the provider limits the rate";

/// What is allowed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// How many instances of the account may run at once; any number when absent. Never 0.
    pub slots: Option<u32>,
    /// Nothing new starts before then.
    pub hold: Option<(Timestamp, HoldWhy)>,
    /// Whether the reset of a usage limit is past, but nothing was answered since.
    pub probing: bool,
}

impl Breaker {
    /// Takes a sign in; returns whether that changed anything. `seed` spreads the pauses.
    pub fn hear(&mut self, policy: &BreakerPolicy, sign: Sign, now: Timestamp, seed: u64) -> bool {
        let before = self.clone();
        *self = self.rebased(now);
        match sign {
            Sign::Throttled {
                running,
                retry_after,
            } => self.throttled(policy, running, retry_after, now, seed),
            Sign::Limited { resets_at } => self.limited(policy, resets_at, now),
            Sign::Well => self.limit = self.limit.filter(|limit| now < limit.until),
        }
        let changed = *self != before;
        if changed {
            self.heard_at = now;
        }
        changed
    }

    /// What is allowed at the time `now`.
    #[must_use]
    pub fn allowance(&self, policy: &BreakerPolicy, now: Timestamp) -> Allowance {
        let this = self.rebased(now);
        let mut all = Allowance::default();
        if let Some(storm) = &this.storm {
            all.slots = storm.slots_at(policy, now);
            if now < storm.until {
                all.hold = Some((storm.until, HoldWhy::Throttled));
            }
        }
        if let Some(limit) = &this.limit {
            if now < limit.until {
                if all.hold.is_none_or(|(until, _)| until < limit.until) {
                    let why = HoldWhy::UsageLimit { told: limit.told };
                    all.hold = Some((limit.until, why));
                }
            } else if now.since(limit.until) < policy.quiet_ms {
                all.slots = Some(1);
                all.probing = true;
            }
        }
        all
    }

    /// Whether it holds anything back at the time `now`.
    #[must_use]
    pub fn is_calm(&self, policy: &BreakerPolicy, now: Timestamp) -> bool {
        self.allowance(policy, now) == Allowance::default()
    }

    fn throttled(
        &mut self,
        policy: &BreakerPolicy,
        running: u32,
        retry_after: Option<Millis>,
        now: Timestamp,
        seed: u64,
    ) {
        let told = retry_after.map_or(Millis(0), |after| after.min(LONGEST_TOLD_PAUSE));
        let known = self
            .storm
            .filter(|storm| storm.slots_at(policy, now).is_some() || now < storm.until);
        let mut storm = match known {
            Some(storm) if now.since(storm.struck_at) < STORM => storm,
            known => {
                let half = (running / 2).max(1);
                let in_a_row = known
                    .filter(|storm| now.since(storm.last_at) < policy.quiet_ms)
                    .map_or(1, |storm| storm.in_a_row.saturating_add(1));
                let slots = known.and_then(|storm| storm.slots_at(policy, now));
                let pause = doubled(policy.pause_ms, in_a_row, LONGEST_PAUSE);
                let until = known.map_or(now, |storm| storm.until.max(now));
                Storm {
                    // Those that run go on running: only once they are fewer, so many were
                    // still too many.
                    slots: slots.map_or(half, |slots| slots.min(half)),
                    demand: known.map_or(running, |storm| storm.demand),
                    in_a_row,
                    struck_at: now,
                    last_at: now,
                    until: until.max(now.plus(jittered(pause, seed))),
                }
            }
        };
        storm.demand = storm.demand.max(running);
        storm.last_at = now;
        storm.until = storm.until.max(now.plus(told));
        self.storm = Some(storm);
    }

    fn limited(&mut self, policy: &BreakerPolicy, resets_at: Option<Timestamp>, now: Timestamp) {
        let known = self
            .limit
            .filter(|limit| now.since(limit.until) < LONGEST_UNKNOWN);
        let told = resets_at
            .filter(|at| at.since(now) <= LONGEST_LIMIT && now.since(*at) < JUST_NOW && at.0 > 0);
        let lasts = known.filter(|limit| now < limit.until);
        let until = match (told, lasts) {
            (Some(at), _) => {
                let until = at.max(now).plus(policy.margin_ms);
                // The limit of a week beside that of some hours: the longer one counts.
                lasts
                    .filter(|limit| limit.told)
                    .map_or(until, |limit| limit.until.max(until))
            }
            (None, Some(limit)) => limit.until,
            (None, None) => {
                let nth = known.map_or(0, |limit| limit.in_a_row).saturating_add(1);
                now.plus(doubled(UNKNOWN_RESET, nth, LONGEST_UNKNOWN))
            }
        };
        self.limit = Some(UsageLimit {
            since: lasts.map_or(now, |limit| limit.since),
            until,
            told: told.is_some() || lasts.is_some_and(|limit| limit.told),
            in_a_row: match (lasts, known) {
                (Some(limit), _) => limit.in_a_row,
                (None, Some(limit)) => limit.in_a_row.saturating_add(1),
                (None, None) => 1,
            },
        });
    }

    /// Whether a usage limit was reached, and nothing was answered since it was to be reset.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether it was written by a clock that is ahead of `now`.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        self.heard_at > now
    }

    /// The same by a clock that was set back to `now`: all of it moved back.
    #[must_use]
    pub fn rebased(&self, now: Timestamp) -> Self {
        let back = self.heard_at.since(now);
        if back == Millis(0) {
            return self.clone();
        }
        let moved = |at: Timestamp| {
            Timestamp(at.0.saturating_sub(i64::try_from(back.0).unwrap_or(i64::MAX)))
        };
        Self {
            heard_at: now,
            storm: self.storm.map(|storm| Storm {
                struck_at: moved(storm.struck_at),
                last_at: moved(storm.last_at),
                until: moved(storm.until),
                ..storm
            }),
            limit: self.limit.map(|limit| UsageLimit {
                since: moved(limit.since),
                until: moved(limit.until),
                ..limit
            }),
        }
    }
}

impl Storm {
    /// How many may run by now; none when that is any number.
    fn slots_at(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<u32> {
        let quiet = now.since(self.last_at.max(self.until));
        let grown = quiet.0 / policy.quiet_ms.0.max(1);
        let slots = self
            .slots
            .max(1)
            .saturating_add(u32::try_from(grown).unwrap_or(u32::MAX));
        (slots <= self.demand).then_some(slots).or_else(|| {
            // One that ran alone may still have no company for a while.
            (grown == 0).then_some(slots)
        })
    }
}

/// A length doubled for the `nth` time, from 1.
fn doubled(base: Millis, nth: u32, most: Millis) -> Millis {
    let shift = nth.saturating_sub(1).min(16);
    Millis(base.0.saturating_mul(1 << shift).min(most.0.max(base.0)))
}

/// From half of a pause to the whole of it.
fn jittered(pause: Millis, seed: u64) -> Millis {
    let half = pause.0 / 2;
    Millis(half + seed % (pause.0 - half + 1))
}

/// What one run gets of what the account may run at once: each in turn gets one more, as long
/// as it wants more, and what is left over is for all. Never 0: each may find out for itself.
/// `wants` is how many instances each run would have at once, `mine` the run that asks.
#[must_use]
pub fn share(allowed: u32, wants: &[u32], mine: usize) -> u32 {
    let mut given = vec![0_u32; wants.len()];
    let mut left = allowed;
    loop {
        let before = left;
        for (given, wants) in given.iter_mut().zip(wants) {
            if left > 0 && *given < *wants {
                *given += 1;
                left -= 1;
            }
        }
        if left == 0 || left == before {
            break;
        }
    }
    let mine = given.get(mine).copied().unwrap_or(0);
    mine.saturating_add(left).max(1)
}

#[cfg(test)]
mod tests;
