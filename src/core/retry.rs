//! What to do about an attempt that failed: the policy, as a plain function.
//!
//! | class | answer |
//! |---|---|
//! | transient API, overload | the same session, after a pause; not the task's fault |
//! | usage limit | the same session, once the limit is reset; not the task's fault |
//! | crash, supervisor lost | the same session at once; then a fresh one; then alone |
//! | hang | the same session after a pause; then a fresh one |
//! | out of memory | the same session, alone |
//! | bad result, gate not passed, timeout, other | a fresh session that is told what failed; then a stronger model as well |
//! | worktree | a fresh session after a pause |
//! | budget | the same session, while there is anything left to be granted |
//! | authentication, permission, set-up, dependency conflict | none: it cannot succeed |

use serde::{Deserialize, Serialize};

use super::attempt::{FailureClass, StartMode};
use super::time::{Millis, Timestamp};

/// How failures are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// First pause before a retry; doubled for each further one.
    pub base_delay: Millis,
    /// Longest pause before a retry, but for that until a usage limit is reset.
    pub max_delay: Millis,
    /// How often in a row the provider may fail a task.
    pub outages: u32,
    /// The longest time for which a usage limit is waited for.
    pub longest_wait: Millis,
    /// So much later than a usage limit's reset, so that clocks may differ, and up to as much
    /// again so that not all begin at once.
    pub after_reset: Millis,
    /// Whether there is a stronger model to go over to.
    pub stronger: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base_delay: Millis::from_secs(2),
            max_delay: Millis::from_secs(120),
            outages: 10,
            longest_wait: Millis::from_secs(6 * 3600),
            after_reset: Millis::from_secs(15),
            stronger: false,
        }
    }
}

/// What an attempt does differently from the plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Approach {
    /// No other instance runs beside it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// It uses the stronger model.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stronger: bool,
}

impl Approach {
    /// Whether it is the plain one.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// A failed attempt, and what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// How it failed.
    pub class: FailureClass,
    /// Before which time another try is of no use.
    pub until: Option<Timestamp>,
    /// How many attempts failed, this one included, not counting those that the provider
    /// failed.
    pub failures: u32,
    /// How many attempts the provider failed since the last one that it did not, this one
    /// included.
    pub outages: u32,
    /// How many failures there may be.
    pub max_attempts: u32,
    /// Whether the session is known to exist, so that it can be resumed.
    pub session_seen: bool,
    /// What the failed attempt did differently.
    pub approach: Approach,
    /// Random number of this decision, for the jitter.
    pub seed: u64,
    /// Now.
    pub now: Timestamp,
}

/// The answer to a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Try again after a pause.
    Retry {
        /// Whether the same session goes on.
        start: StartMode,
        /// The pause.
        delay: Millis,
        /// What it does differently.
        approach: Approach,
    },
    /// Another attempt cannot help, or enough have been made.
    GiveUp,
}

/// The pause of a usage limit whose reset nobody told; doubled up to an hour.
const UNKNOWN_RESET: Millis = Millis::from_secs(15 * 60);

/// Decides what follows a failed attempt.
#[must_use]
pub fn decide(policy: RetryPolicy, case: &Case) -> Answer {
    use FailureClass as F;
    let innocent = case.class.is_outage();
    let enough = if innocent {
        case.outages >= policy.outages
    } else {
        case.failures >= case.max_attempts
    };
    if enough {
        return Answer::GiveUp;
    }
    let nth = if innocent {
        case.outages
    } else {
        case.failures
    };
    let doubled = |base: Millis, most: Millis| {
        let shift = nth.saturating_sub(1).min(16);
        Millis(base.0.saturating_mul(1 << shift).min(most.0))
    };
    let backoff = jittered(doubled(policy.base_delay, policy.max_delay), case.seed);
    let resume = if case.session_seen {
        StartMode::Resume
    } else {
        StartMode::Fresh
    };
    let retry = |start, delay| Answer::Retry {
        start,
        delay,
        approach: case.approach,
    };
    let differently = |start, delay, alone: bool, stronger: bool| Answer::Retry {
        start,
        delay,
        approach: Approach {
            alone: alone || case.approach.alone,
            stronger: case.approach.stronger || (stronger && policy.stronger),
        },
    };
    match case.class {
        // What the same conditions will refuse again.
        F::Authentication | F::Permission | F::Setup | F::DependencyConflict => Answer::GiveUp,
        F::UsageLimit => match case.until {
            Some(until) => {
                let wait = until.since(case.now);
                if wait > policy.longest_wait {
                    return Answer::GiveUp;
                }
                let after = policy.after_reset.0;
                retry(resume, Millis(wait.0 + after + case.seed % after.max(1)))
            }
            None => {
                let most = policy.longest_wait.min(Millis::from_secs(3600));
                retry(resume, doubled(UNKNOWN_RESET.min(most), most))
            }
        },
        F::TransientApi | F::Overload => retry(resume, backoff),
        // Whether there is anything left is decided when it is granted.
        F::Budget => retry(resume, Millis(0)),
        // The instance did nothing wrong: it goes on where it was, at once. When that does not
        // help, the session may be what crashes; then the company that it keeps.
        F::SupervisorLost | F::Crash => {
            let delay = Millis(backoff.0 / 4);
            match nth {
                ..=1 => retry(resume, delay),
                2 => retry(StartMode::Fresh, delay),
                _ => differently(StartMode::Fresh, delay, true, false),
            }
        }
        F::Hang => match nth {
            ..=1 => retry(resume, backoff),
            _ => retry(StartMode::Fresh, backoff),
        },
        F::OutOfMemory => differently(resume, backoff, true, false),
        // The same session already had its chances: a new one, told what went wrong.
        F::GateNotPassed | F::BadResult | F::Timeout | F::Other => {
            differently(StartMode::Fresh, Millis(0), false, nth >= 2)
        }
        F::Worktree => retry(StartMode::Fresh, backoff),
    }
}

/// From half of a pause to the whole of it: those that failed together do not come back
/// together.
fn jittered(pause: Millis, seed: u64) -> Millis {
    let half = pause.0 / 2;
    Millis(half + seed % (pause.0 - half + 1))
}

#[cfg(test)]
mod tests;
