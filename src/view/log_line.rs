//! Lines of the log for people.

use crate::core::record::Record;
use crate::core::time::Timestamp;

/// One line for a record.
#[must_use]
pub fn render(record: &Record, at: Timestamp) -> Option<String> {
    Some(stamped(at, &format!("{record:?}")))
}

/// A line with its time.
#[must_use]
pub fn stamped(at: Timestamp, line: &str) -> String {
    format!("{} {line}", at.0)
}
