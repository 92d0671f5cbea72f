//! See [`orchestra::hook::integration`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main("integration-complete", orchestra::hook::integration::hook)
}
