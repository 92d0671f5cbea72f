//! Whether instances run inside a sandbox of the operating system.

use serde::{Deserialize, Serialize};

/// What stands round an instance's client besides the guard and the client's own rules.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Nothing.
    #[default]
    Off,
    /// The best that is to be had; nothing, with a word about it, when there is none.
    Auto,
    /// bubblewrap round the whole client: only the instance's own places can be written.
    Bubblewrap,
}
