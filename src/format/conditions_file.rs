//! `conditions.json`: what machine and provider allow a run at the moment, for those who look
//! at it. Its only writer is the conductor, which writes it when something changed; without a
//! conductor it says nothing.

use serde::{Deserialize, Serialize};

use crate::core::conditions::Hold;
use crate::core::time::Timestamp;

/// The file itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionsFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// When it was seen, milliseconds of the epoch.
    pub seen_at: Timestamp,
    /// How many instances of the run may work at once; not limited when null.
    #[serde(default)]
    pub slots: Option<u32>,
    /// Until when nothing starts.
    #[serde(default)]
    pub hold: Option<HoldEntry>,
    /// Whether memory is short.
    #[serde(default)]
    pub pressed: bool,
    /// What each source says.
    #[serde(default)]
    pub sources: Vec<SourceEntry>,
}

/// Nothing starts until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldEntry {
    /// When it may go on, milliseconds of the epoch.
    pub until: Timestamp,
    /// Why, for people.
    pub why: String,
}

impl From<Hold> for HoldEntry {
    fn from(hold: Hold) -> Self {
        Self {
            until: hold.until,
            why: hold.why,
        }
    }
}

/// What one source says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceEntry {
    /// Which: `provider`, ….
    pub source: String,
    /// How many instances of the run it allows at once.
    #[serde(default)]
    pub slots: Option<u32>,
    /// Until when it lets nothing start.
    #[serde(default)]
    pub hold: Option<HoldEntry>,
    /// Whether it sees that memory is short.
    #[serde(default)]
    pub pressed: bool,
    /// Why, for people.
    #[serde(default)]
    pub why: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_kept() {
        let text = r#"{"schemaVersion":1,"seenAt":5,"slots":2,
            "hold":{"until":9,"why":"usage limit"},"pressed":false,
            "sources":[{"source":"provider","slots":2,
                "hold":{"until":9,"why":"usage limit"},"pressed":false,"why":null}]}"#;
        let file: ConditionsFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.slots, Some(2));
        let read: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&file).unwrap(), read);
        let bare: ConditionsFile =
            serde_json::from_str(r#"{"schemaVersion":1,"seenAt":5,"newer":1}"#).unwrap();
        assert_eq!((bare.slots, bare.hold), (None, None));
    }
}
