//! The command line program; everything is in [`orchestra::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    orchestra::cli::main()
}
