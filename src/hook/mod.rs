//! The hooks: what Claude Code tells this program on the way, and what it answers.
//!
//! Every hook is a pure decision with thin edges. A hook that is not concerned prints nothing
//! and exits 0; bad input ends with exit code 1 and one line on standard error. None ever
//! exits with 2, which would block the session, and none panics.

pub mod guard;
