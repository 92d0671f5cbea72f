//! `orchestra completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Context, Exit, Failure};

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra completions bash > ~/.local/share/bash-completion/completions/orchestra\n  \
    orchestra completions zsh > ~/.zfunc/_orchestra\n  \
    orchestra completions fish > ~/.config/fish/completions/orchestra.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    // clap_complete panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "orchestra", &mut script);
    cx.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}
