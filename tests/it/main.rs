//! Tests of the whole program with the scripted agent, and of its architecture.

mod architecture;
