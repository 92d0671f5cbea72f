//! `orchestration-plan.json`, and every other text that is read as a plan: a task file, or
//! what a model wrote.
//!
//! Strict about meaning (unknown fields, wrong types, anything that cannot be carried out),
//! lenient about dress: a byte order mark, comments, a Markdown fence, a bare list of
//! tasks, field names in camelCase.

use serde_json::Value;

use crate::core::plan::{Fault, Faults, Limits, Note, ValidPlan};

mod json;
mod read;
mod shape;
#[cfg(test)]
mod tests;

/// The version that this program writes. It reads this one and texts without one.
pub const SCHEMA_VERSION: u32 = 1;

/// A plan that was read and found good.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The plan.
    pub plan: ValidPlan,
    /// What is worth knowing about it.
    pub notes: Vec<Note>,
}

/// Reads and validates a plan.
///
/// # Errors
/// Every fault at once, each with its place and a remedy. Where the text is not JSON that
/// is the only one, with line and column.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Parsed, Faults> {
    if bytes.len() > limits.max_input_bytes {
        return Err(Fault::new(
            "plan",
            format!(
                "The text is {} bytes long; more than {} are not read",
                bytes.len(),
                limits.max_input_bytes
            ),
            "Look whether this is the right file; long material belongs into files of the \
             repository that the prompts name",
        )
        .into());
    }
    let json = json::parse(bytes)?;
    let mut faults = Faults::default();
    let Some(plan) = read::plan(json, limits, &mut faults) else {
        return Err(faults);
    };
    let (plan, notes) = plan.validate(limits, faults)?;
    Ok(Parsed { plan, notes })
}

/// Writes a plan so that [`parse`] gives the same one, whatever its [`Limits::overlap`]:
/// the edges that overlapping files asked for are written too. The same plan always gives
/// the same text.
#[must_use]
pub fn write(plan: &ValidPlan) -> String {
    let shape = shape::PlanShape::from(plan);
    // Texts, numbers that were checked to be finite, lists: nothing that can fail.
    let mut text = serde_json::to_string_pretty(&shape).unwrap_or_default();
    text.push('\n');
    text
}

/// The JSON Schema (draft 2020-12) of a plan file. Everything that it admits is read;
/// what is read beyond it is dress (comments, camelCase, null for "not given").
#[must_use]
pub fn json_schema() -> Value {
    shape::json_schema()
}

/// The smaller JSON Schema for a plan that a model writes (`claude --json-schema`): only
/// what a model can know.
#[must_use]
pub fn analyzer_schema() -> Value {
    shape::analyzer_schema()
}

/// The sample that `orchestra init` writes: JSON with `//` comments, which [`parse`] accepts.
#[must_use]
pub fn sample() -> &'static str {
    include_str!("plan_file/sample.jsonc")
}
