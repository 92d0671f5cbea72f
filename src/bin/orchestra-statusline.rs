//! See [`orchestra::hook::statusline`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::hook::edge::main("orchestra-statusline", orchestra::hook::statusline::hook)
}
