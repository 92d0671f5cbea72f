//! Where a sentence becomes a plan. The deterministic part of the program only asks for it.

use std::path::Path;

use super::failure::Failure;

/// Makes a plan out of what a person said.
///
/// What it returns is JSON that is read and validated like any other plan: nothing that an
/// analyzer says is believed.
pub trait Analyzer {
    /// The plan for a request in the person's words. `repo` is the main checkout.
    ///
    /// # Errors
    /// When no plan could be had.
    fn of_request(&self, repo: &Path, request: &str) -> Result<Vec<u8>, Failure>;

    /// The plan for a GitHub issue.
    ///
    /// # Errors
    /// When the issue cannot be read, or no plan could be had.
    fn of_issue(&self, repo: &Path, number: u64) -> Result<Vec<u8>, Failure>;
}
