//! See [`orchestra::hook::heartbeat`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main("orchestra-heartbeat", orchestra::hook::heartbeat::hook)
}
