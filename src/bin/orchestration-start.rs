//! See [`orchestra::hook::start`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main("orchestration-start", orchestra::hook::start::hook)
}
