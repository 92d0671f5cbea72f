//! What people see: text out of values.
//!
//! [`snapshot`] and [`machine`] read what is to be shown, without ever waiting for a lock or
//! changing a file; [`live`] repaints lines of a terminal. Everything else is a pure function
//! from values to text, with the width and the use of colours as parameters.

pub mod budget;
pub mod by_hand;
pub mod clock;
pub mod detailed;
pub mod figures;
pub mod issues;
pub mod lines;
pub mod live;
pub mod log_line;
pub mod machine;
pub mod merging;
pub mod outside;
pub mod page;
pub mod plan;
pub mod report;
pub mod report_json;
pub mod resources;
pub mod snapshot;
pub mod stream;
pub mod summary;

#[cfg(test)]
pub(crate) mod testkit;
