//! `orchestra man`: the manual pages, for whoever installs or packs the program.

use std::path::PathBuf;

use clap::CommandFactory;

use super::{Cli, Context, Exit, Failure};

/// Write the manual pages into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra man ~/.local/share/man/man1")]
pub struct Args {
    /// The folder; it must exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let folder = cx.cwd.join(&args.folder);
    // Hidden commands get no page.
    clap_mangen::generate_to(Cli::command(), &folder).map_err(|e| {
        Failure::internal(format!("the manual pages cannot be written: {e}")).in_path(&folder)
    })?;
    Ok(Exit::Success)
}
