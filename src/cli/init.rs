//! `orchestra init`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Context, Exit, Failure};
use crate::format::plan_file;
use crate::store::atomic::{self, Durability};

/// Write a commented sample task file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra init\n  \
    orchestra init my-tasks.json\n  \
    orchestra init - | less")]
pub struct Args {
    /// The file; `-` is standard output
    #[arg(default_value = "tasks.json")]
    file: PathBuf,
    /// Replace the file when there is one
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    if args.file == Path::new("-") {
        cx.print(plan_file::sample())?;
        return Ok(Exit::Success);
    }
    let path = cx.start().join(&args.file);
    let bytes = plan_file::sample().as_bytes();
    if args.force {
        if path.is_dir() {
            return Err(Failure::usage("this is a folder, not a file").in_path(&path));
        }
        atomic::write(&path, bytes, Durability::Durable).map_err(|e| unwritable(&path, &e))?;
    } else if path.symlink_metadata().is_ok()
        || !atomic::create_new(&path, bytes).map_err(|e| unwritable(&path, &e))?
    {
        return Err(
            Failure::usage("the file exists already; nothing was changed")
                .in_path(&path)
                .next("replace it with --force, or name another file"),
        );
    }
    let name = args.file.display();
    cx.print(&format!(
        "Wrote {name}. Change it, then:\n  \
           orchestra plan --tasks {name} --dry-run   # check it and see the plan\n  \
           orchestra run --tasks {name}              # carry it out\n"
    ))?;
    Ok(Exit::Success)
}

fn unwritable(path: &Path, error: &crate::store::StoreError) -> Failure {
    let failure = Failure::internal(error.to_string());
    match error {
        crate::store::StoreError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            failure.next(format!(
                "make the folder first: mkdir -p {}",
                path.parent().unwrap_or(path).display()
            ))
        }
        _ => failure,
    }
}
