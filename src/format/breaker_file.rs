//! `breaker-KEY.json` in the folder of the machine's user: what the provider said to the
//! instances of one account, of all runs. And `breaker-KEY.N.json`: how many instances one
//! live run has and would have.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::core::breaker::{Breaker, BreakerPolicy};

/// What was heard. Written by whoever holds `breaker-KEY.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// What is remembered of it.
    #[serde(default)]
    pub heard: Breaker,
}

/// A live run of the account. Written by the conductor that holds the lock beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberFile {
    /// Version of this shape.
    #[serde(default)]
    pub schema_version: u32,
    /// How many instances run.
    pub running: u32,
    /// How many would run at once, if only its own settings counted.
    pub wants: u32,
}

/// Where a supervisor tells what it hears: part of the launch order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerOrder {
    /// The folder of the machine's user.
    pub folder: PathBuf,
    /// Which account: the KEY of the file's name.
    pub account: String,
    /// How it is reckoned.
    #[serde(default)]
    pub policy: BreakerPolicy,
}
