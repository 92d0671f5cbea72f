//! `instance-TASK.permissions.json`: what a person allowed for good in one task.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The file itself. Its writer is whoever holds `instance-TASK.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionsFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The rules, as `TOOL(CONTENT)`.
    pub allowed: BTreeSet<String>,
}
