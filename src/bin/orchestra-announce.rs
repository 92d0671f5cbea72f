//! See [`orchestra::hook::announce`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main("orchestra-announce", orchestra::hook::announce::hook)
}
