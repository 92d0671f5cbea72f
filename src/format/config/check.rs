//! What types cannot say of a value.

use super::{ConfigFault, Layer, file_glob};

/// What is allowed for a key, and whether a layer keeps to it.
struct Range {
    key: &'static str,
    good: bool,
    /// For people: follows "it must be".
    allowed: &'static str,
}

impl Layer {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self, place: String) -> Result<(), ConfigFault> {
        match self.ranges().into_iter().find(|range| !range.good) {
            None => Ok(()),
            Some(Range { key, allowed, .. }) => Err(ConfigFault {
                place,
                problem: format!("the value of `{key}` is out of range"),
                remedy: format!("It must be {allowed}"),
            }),
        }
    }

    /// What the value of a key must be beyond its type, for people.
    #[must_use]
    pub fn range(key: &str) -> Option<&'static str> {
        let ranges = Self::default().ranges();
        let own = ranges.into_iter().find(|range| range.key == key)?;
        Some(own.allowed)
    }

    fn ranges(&self) -> Vec<Range> {
        let range = |key, good, allowed| Range { key, good, allowed };
        vec![
            range(
                "max_workers",
                self.max_workers.is_none_or(|n| (1..=1000).contains(&n)),
                "from 1 to 1000",
            ),
            range(
                "max_load_per_cpu",
                self.max_load_per_cpu
                    .is_none_or(|x| x.is_finite() && x >= 0.0),
                "0 or more",
            ),
            range(
                "timeout_seconds",
                self.timeout_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            range(
                "command_timeout_seconds",
                self.command_timeout_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            range(
                "max_attempts",
                self.max_attempts.is_none_or(|n| (1..=100).contains(&n)),
                "from 1 to 100",
            ),
            range(
                "max_tokens",
                self.max_tokens.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            range(
                "run_budget_usd",
                self.run_budget_usd.is_none_or(|x| x.is_finite() && x > 0.0),
                "more than 0",
            ),
            range(
                "run_tokens",
                self.run_tokens.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            range(
                "reserve_percent",
                self.reserve_percent.is_none_or(|n| n <= 90),
                "at most 90",
            ),
            range(
                "retry_base_ms",
                self.retry_base_ms
                    .is_none_or(|n| (1..=120_000).contains(&n)),
                "from 1 to 120000",
            ),
            range(
                "outages",
                self.outages.is_none_or(|n| (1..=1000).contains(&n)),
                "from 1 to 1000",
            ),
            range(
                "usage_limit_wait_seconds",
                self.usage_limit_wait_seconds
                    .is_none_or(|n| n <= 31 * 86_400),
                "at most 2678400",
            ),
            range(
                "reset_margin_ms",
                self.reset_margin_ms.is_none_or(|n| n <= 3_600_000),
                "at most 3600000",
            ),
            range(
                "rate_limit_pause_ms",
                self.rate_limit_pause_ms.is_none_or(|n| n <= 3_600_000),
                "at most 3600000",
            ),
            range(
                "rate_limit_quiet_ms",
                self.rate_limit_quiet_ms
                    .is_none_or(|n| (1..=86_400_000).contains(&n)),
                "from 1 to 86400000",
            ),
            range(
                "gate_rounds",
                self.gate_rounds.is_none_or(|n| n <= 100),
                "at most 100",
            ),
            range(
                "resolvers",
                self.resolvers.is_none_or(|n| n <= 10),
                "at most 10",
            ),
            range(
                "answer_timeout_seconds",
                self.answer_timeout_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            range(
                "permission_timeout_seconds",
                self.permission_timeout_seconds
                    .is_none_or(|n| (1..=31_536_000).contains(&n)),
                "from 1 to 31536000",
            ),
            range(
                "closing_silence_seconds",
                self.closing_silence_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            range(
                "max_memory_mb",
                self.max_memory_mb.is_none_or(|n| n == 0 || n >= 64),
                "0, or at least 64",
            ),
            range(
                "radar_seconds",
                self.radar_seconds.is_none_or(|n| n <= 86_400),
                "at most 86400",
            ),
            range(
                "success_percent",
                self.success_percent.is_none_or(|n| (1..=100).contains(&n)),
                "from 1 to 100",
            ),
            range(
                "max_budget_usd",
                self.max_budget_usd.is_none_or(|x| x.is_finite() && x > 0.0),
                "more than 0",
            ),
            range(
                "permission_mode",
                self.permission_mode
                    .as_ref()
                    .is_none_or(|m| !m.is_empty() && m.chars().all(char::is_alphanumeric)),
                "a word such as acceptEdits",
            ),
            range(
                "union_files",
                self.union_files
                    .iter()
                    .flatten()
                    .all(|g| file_glob(g).is_ok()),
                "a list of globs such as \"CHANGELOG.md\"",
            ),
            range(
                "lockfiles",
                self.lockfiles
                    .iter()
                    .flatten()
                    .all(|(g, _)| file_glob(g).is_ok()),
                "a table of commands by globs such as \"tools/*.lock\"",
            ),
        ]
    }
}
