//! `instance-TASK.outcome.json`: how an attempt ended, the supervisor's last word.
//!
//! A supervisor whose lock is free and whose attempt has no outcome file was lost.

use serde::{Deserialize, Serialize};

use super::status_file::Tokens;
use crate::core::attempt::AttemptEnd;
use crate::core::budget::{Account, Money};
use crate::core::event::Left;
use crate::core::time::Timestamp;

/// The file itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The attempt that ended.
    pub attempt: u32,
    /// How it ended.
    pub outcome: AttemptEnd,
    /// Money spent by this attempt, US dollars.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// Whether it was cut off within a turn, whose money is not part of that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cost_is_partial: bool,
    /// Tokens used by this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Most memory of the process tree that was seen, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// How long the attempt took, milliseconds; the time in which it waited for a person is
    /// not part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// When the usage limit that ended it is reset, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// Whether the session is known to exist, so that it can be resumed.
    #[serde(default)]
    pub session_seen: bool,
    /// When it ended, RFC 3339.
    pub ended_at: String,
}

impl OutcomeFile {
    /// What the state machine must know beside how it ended.
    #[must_use]
    pub fn left(&self) -> Left {
        Left {
            session_seen: self.session_seen,
            until: self.resets_at,
            account: Account {
                usd: self.cost_usd.map(Money::from_dollars),
                tokens: self.tokens.map(Tokens::total),
                usd_is_partial: self.cost_is_partial,
                worked_ms: self.duration_ms,
            },
        }
    }
}
