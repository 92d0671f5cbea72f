//! See [`orchestra::hook::instance`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main("instance-complete", orchestra::hook::instance::hook)
}
