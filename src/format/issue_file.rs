//! `issue.json` in a run's folder: the GitHub issue that the run works on, as it was when it was
//! read.

use serde::{Deserialize, Serialize};

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssueFile {
    /// Version of the shape.
    pub schema_version: u32,
    /// Its number; at least 1.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text, Markdown.
    pub body: String,
    /// Where it is to be read.
    pub url: String,
    /// Whether it is open.
    pub open: bool,
    /// Owner and name of the repository: `octocat/hello`.
    pub repository: String,
}
