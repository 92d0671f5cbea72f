//! What people see: text out of values. No I/O.

pub mod plan;
