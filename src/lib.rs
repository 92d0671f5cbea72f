//! Orchestra: parallel development with Claude Code.
//!
//! `ARCHITECTURE.md` is the map of the rooms below; dependencies point one way:
//! `cli, hook → conduct, supervise, integrate, view → store, git, agent → format → core`.

pub mod agent;
pub mod cli;
pub mod conduct;
pub mod core;
pub mod format;
pub mod git;
pub mod github;
pub mod hook;
pub mod integrate;
pub mod store;
pub mod supervise;
pub mod view;
