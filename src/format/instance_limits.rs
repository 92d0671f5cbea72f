//! What bounds an instance: how long it may be silent, and what it may use. Part of the
//! settings of a run and of the order for an attempt.

use serde::{Deserialize, Serialize};

use crate::core::liveness::Limits;
use crate::core::time::Millis;

/// The bounds; a bound of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceLimits {
    /// Silence from the start of the process to its first word, seconds.
    pub startup_silence_seconds: u64,
    /// Silence while the provider is to say something, seconds.
    pub provider_silence_seconds: u64,
    /// Silence inside tool calls in which nothing happens, seconds.
    pub tool_silence_seconds: u64,
    /// Silence after the result until the process is ended, seconds.
    pub closing_silence_seconds: u64,
    /// Memory of the whole process tree, MiB.
    pub max_memory_mb: u64,
    /// Size of the kept stream of a task, MiB.
    pub max_log_mb: u64,
}

impl Default for InstanceLimits {
    fn default() -> Self {
        Self {
            startup_silence_seconds: 120,
            provider_silence_seconds: 300,
            tool_silence_seconds: 900,
            closing_silence_seconds: 10,
            max_memory_mb: 0,
            max_log_mb: 200,
        }
    }
}

/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;

impl InstanceLimits {
    /// How long silence is borne, for the policy.
    #[must_use]
    pub fn silence(&self) -> Limits {
        Limits {
            startup: Millis::from_secs(self.startup_silence_seconds),
            provider: Millis::from_secs(self.provider_silence_seconds),
            tool: Millis::from_secs(self.tool_silence_seconds),
            // Its end is always awaited, so it needs a bound.
            closing: Millis::from_secs(self.closing_silence_seconds.max(1)),
        }
    }

    /// The most memory, bytes.
    #[must_use]
    pub fn max_memory(&self) -> Option<u64> {
        (self.max_memory_mb > 0).then(|| self.max_memory_mb.saturating_mul(MIB))
    }

    /// The most of the stream that is kept, bytes.
    #[must_use]
    pub fn max_log(&self) -> Option<u64> {
        (self.max_log_mb > 0).then(|| self.max_log_mb.saturating_mul(MIB))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_file_does_not_say_is_as_built_in() {
        let limits: InstanceLimits = serde_json::from_str(r#"{"maxMemoryMb":3}"#).unwrap();
        assert_eq!(limits.max_memory(), Some(3 * MIB));
        assert_eq!(limits.max_log(), Some(200 * MIB));
        assert_eq!(limits.silence().tool, Millis::from_secs(900));
        assert_eq!(InstanceLimits::default().max_memory(), None);
    }
}
