//! Which tasks are likely to touch the same files, and who goes first.

mod pattern;

pub use pattern::{FilePattern, PatternFault};
