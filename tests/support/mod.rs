//! What the tests share: a loopback model server that plays scripted
//! conversations, and the real client that is pointed at it.
//!
//! Every test file that says `mod support;` compiles its own copy and uses a
//! part of it, hence the allowance for what the others use.
#![allow(dead_code, unused_imports)]

pub mod client;
pub mod model_server;
pub mod scratch;
pub mod terminal;
