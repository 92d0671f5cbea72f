//! What is written to disk and read from outside: versioned shapes, separate from the
//! types of `core`, with the conversions beside them.

pub mod plan_file;
