//! submodule
