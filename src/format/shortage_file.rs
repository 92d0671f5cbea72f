//! `shortage.json`: what the machine is short of, for those who look at a run that waits for it.
//! Written by the conductor that met it before it ends; gone when an effect ends otherwise.

use serde::{Deserialize, Serialize};

use crate::core::time::Timestamp;

/// The file itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShortageFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// What was tried, and the system's own words.
    pub what: String,
    /// When it was met first, milliseconds of the epoch.
    pub since: Timestamp,
    /// How often it was met in a row.
    pub tries: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_kept() {
        let text = r#"{"schemaVersion":1,"what":"No space left","since":5,"tries":2}"#;
        let file: ShortageFile = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&file).unwrap(), text);
    }
}
