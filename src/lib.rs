//! Orchestra.
