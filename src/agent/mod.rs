//! Agents and processes: with `git/` the only room that starts any.
//!
//! An [`Agent`] turns the order for one attempt into a command line. [`process`] starts it
//! with pipes, [`tree`] owns everything that it starts in turn, [`shell`] runs the commands
//! that a person configured, [`detach`] starts the background processes of this program.

pub mod account;
pub mod analyzer;
pub mod beside;
pub mod cgroup;
pub mod claude;
pub mod detach;
pub mod environment;
pub mod machine;
pub mod player;
pub mod process;
pub mod roles;
pub mod sandbox;
pub mod scripted;
pub mod shell;
pub mod tree;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::format::launch_file::{AgentChoice, LaunchFile};
use environment::Environment;

/// A program, fully described: nothing is inherited that is not in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program: a path, or a name that is looked up in PATH of `env`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Environment,
    /// Where it runs.
    pub cwd: PathBuf,
}

/// Something that works on a task and speaks the client's stream-json on its standard
/// input and output.
pub trait Agent {
    /// The command for one attempt. `env` is the instance's environment, already free of
    /// the variables of an outer session and with the process marker in it.
    fn command(&self, launch: &LaunchFile, env: &Environment) -> CommandSpec;
}

/// The agent of an order. `own_exe` is this program, which is also the scripted player.
#[must_use]
pub fn choose(choice: &AgentChoice, own_exe: &Path) -> Box<dyn Agent> {
    match choice {
        AgentChoice::Claude { program } => Box::new(claude::Claude {
            program: program.clone(),
        }),
        AgentChoice::Scripted { script } => Box::new(scripted::Scripted {
            exe: own_exe.to_owned(),
            script: script.clone(),
        }),
    }
}

/// What can go wrong with starting a process.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SpawnError {
    #[error(
        "cannot start {} in {}: {source}. Is it installed, and in PATH?",
        program.display(), cwd.display()
    )]
    Start {
        program: PathBuf,
        cwd: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot {action} for {}: {source}", program.display())]
    Prepare {
        action: &'static str,
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The folder in which git keeps what belongs to one worktree only. What is put there is no
/// part of the work, and goes with the worktree. Read from the worktree's `.git`, without git.
pub(crate) fn worktree_git_folder(worktree: &Path) -> Option<PathBuf> {
    let dot_git = worktree.join(".git");
    if dot_git.is_dir() {
        return Some(dot_git);
    }
    let text = std::fs::read_to_string(&dot_git).ok()?;
    let folder = worktree.join(
        text.strip_prefix("gitdir: ")?
            .trim_end_matches(['\n', '\r']),
    );
    folder.is_dir().then_some(folder)
}
