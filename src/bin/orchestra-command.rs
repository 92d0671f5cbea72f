//! See [`orchestra::hook::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main("orchestra-command", orchestra::hook::command::hook)
}
