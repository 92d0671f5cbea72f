//! Points in time as text. All of them in UTC, so that a report reads the same everywhere.

use chrono::{DateTime, Utc};

use crate::core::time::Timestamp;

/// RFC 3339 with seconds, as the JSON files have it: `2026-11-21T09:13:57Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.rfc3339()
}

/// Date and time for people: `2026-11-21 09:13:57 UTC`.
#[must_use]
pub fn date_time(at: Timestamp) -> String {
    format(at, "%Y-%m-%d %H:%M:%S UTC")
}

/// The time of the day only: `09:13:57`.
#[must_use]
pub fn time_of_day(at: Timestamp) -> String {
    format(at, "%H:%M:%S")
}

fn format(at: Timestamp, pattern: &str) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.0)
        .unwrap_or_default()
        .format(pattern)
        .to_string()
}

/// Reads RFC 3339; `None` when it is something else.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|at| Timestamp(at.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_text() {
        let at = Timestamp(1_795_252_437_000);
        assert_eq!(rfc3339(at), "2026-11-21T09:13:57Z");
        assert_eq!(date_time(at), "2026-11-21 09:13:57 UTC");
        assert_eq!(time_of_day(at), "09:13:57");
        assert_eq!(parse(&rfc3339(at)), Some(at));
        assert_eq!(parse("2026-11-21T10:13:57+01:00"), Some(at));
        assert_eq!(parse("yesterday"), None);
    }
}
