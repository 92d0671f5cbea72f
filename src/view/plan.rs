//! A plan, and what is wrong with one, as text.

use crate::core::plan::{Faults, Note, ValidPlan};

/// How to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether to use colours and bold letters.
    pub color: bool,
    /// The width of the page in columns.
    pub width: usize,
    /// How many tasks may run at once, for the estimate.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            color: false,
            width: 100,
            workers: 5,
        }
    }
}

/// A plan as text: phases, tasks, who waits for whom and why.
#[must_use]
pub fn render(plan: &ValidPlan, notes: &[Note], options: &Options) -> String {
    let _ = (plan, notes, options);
    String::new()
}

/// Faults as text.
#[must_use]
pub fn render_faults(faults: &Faults, options: &Options) -> String {
    let _ = options;
    faults.to_string()
}
