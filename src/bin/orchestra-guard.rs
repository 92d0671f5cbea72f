//! See [`orchestra::hook::guard`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main_with(
        "orchestra-guard",
        orchestra::hook::guard::MAX_EVENT,
        orchestra::hook::guard::hook,
    )
}
