//! What to do about an attempt that failed: the policy, as a plain function.

use super::attempt::{FailureClass, StartMode};
use super::time::Millis;

/// How failures are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// First pause before a retry; doubled for each further one.
    pub base_delay: Millis,
    /// Longest pause before a retry.
    pub max_delay: Millis,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base_delay: Millis::from_secs(2),
            max_delay: Millis::from_secs(120),
        }
    }
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
    },
    /// Another attempt cannot help, or enough have been made.
    GiveUp,
}

/// Decides what follows a failed attempt.
///
/// - `class`: how it failed.
/// - `attempts`: how many attempts failed, this one included.
/// - `max_attempts`: how many may be made.
/// - `session_seen`: whether the session is known to exist, so that it can be resumed.
#[must_use]
pub fn decide(
    policy: RetryPolicy,
    class: FailureClass,
    attempts: u32,
    max_attempts: u32,
    session_seen: bool,
) -> Answer {
    use FailureClass as F;
    if attempts >= max_attempts {
        return Answer::GiveUp;
    }
    let doubled = policy
        .base_delay
        .0
        .saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let backoff = Millis(doubled.min(policy.max_delay.0));
    let resume = if session_seen {
        StartMode::Resume
    } else {
        StartMode::Fresh
    };
    match class {
        // What the same conditions will refuse again.
        F::Authentication
        | F::Budget
        | F::UsageLimit
        | F::Permission
        | F::Setup
        | F::DependencyConflict => Answer::GiveUp,
        // The instance did nothing wrong: it goes on where it was, at once.
        F::SupervisorLost | F::Crash | F::OutOfMemory => Answer::Retry {
            start: resume,
            delay: Millis(policy.base_delay.0.min(backoff.0) / 4),
        },
        F::TransientApi | F::Overload | F::Hang => Answer::Retry {
            start: resume,
            delay: backoff,
        },
        // The same session already had its chances: a new one, told what went wrong.
        F::GateNotPassed | F::BadResult | F::Timeout | F::Other => Answer::Retry {
            start: StartMode::Fresh,
            delay: Millis(0),
        },
        F::Worktree => Answer::Retry {
            start: StartMode::Fresh,
            delay: backoff,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(class: FailureClass, attempts: u32, seen: bool) -> Answer {
        decide(RetryPolicy::default(), class, attempts, 3, seen)
    }

    #[test]
    fn what_cannot_succeed_is_never_retried() {
        for class in [
            FailureClass::Authentication,
            FailureClass::Budget,
            FailureClass::UsageLimit,
            FailureClass::Permission,
            FailureClass::Setup,
            FailureClass::DependencyConflict,
        ] {
            assert_eq!(answer(class, 1, true), Answer::GiveUp, "{class:?}");
        }
    }

    #[test]
    fn interrupted_sessions_go_on_and_disappointing_ones_do_not() {
        let start = |class, seen| match answer(class, 1, seen) {
            Answer::Retry { start, .. } => Some(start),
            Answer::GiveUp => None,
        };
        assert_eq!(start(FailureClass::Crash, true), Some(StartMode::Resume));
        assert_eq!(start(FailureClass::Crash, false), Some(StartMode::Fresh));
        assert_eq!(
            start(FailureClass::GateNotPassed, true),
            Some(StartMode::Fresh)
        );
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_attempts_end() {
        let policy = RetryPolicy {
            base_delay: Millis(100),
            max_delay: Millis(300),
        };
        let delays: Vec<u64> = (1..5)
            .filter_map(
                |n| match decide(policy, FailureClass::Overload, n, 5, true) {
                    Answer::Retry { delay, .. } => Some(delay.0),
                    Answer::GiveUp => None,
                },
            )
            .collect();
        assert_eq!(delays, [100, 200, 300, 300]);
        assert_eq!(
            decide(policy, FailureClass::Overload, 5, 5, true),
            Answer::GiveUp
        );
    }
}
