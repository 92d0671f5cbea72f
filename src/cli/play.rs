//! `orchestra play`: the built-in scripted agent.

use std::ffi::OsString;
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::context::Env;
use super::exit::Exit;
use crate::agent::player::{PlayOptions, play};

/// Play a script in the place of Claude Code (started by a supervisor)
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:\n  orchestra run --tasks plan.json --agent scripted"
)]
pub struct Args {
    /// What a supervisor hands to an agent.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// The whole process is the player's: its input is read by a thread of its own, and its exit
/// code is what the script says.
pub(super) fn main(args: &Args, env: &Env) -> ExitCode {
    let options = match PlayOptions::parse(args.args.iter().cloned()) {
        Ok(options) => options,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            return Exit::Usage.into();
        }
    };
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let code = play(
        &options,
        BufReader::new(std::io::stdin()),
        &mut std::io::stdout(),
        &mut std::io::stderr(),
        &cwd,
        env.all(),
    );
    ExitCode::from(code)
}
