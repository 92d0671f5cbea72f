//! What a command has to do with: its output, its surroundings, the repository it is about.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use super::Global;
use super::failure::Failure;
use crate::agent::environment::Environment;
use crate::core::time::Timestamp;
use crate::git::{GitError, Repo};
use crate::store::layout::Layout;
use crate::view::page::Page;

/// The environment of this process, read once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env(Environment);

impl Env {
    /// The real one.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where the command line reads the environment"
    )]
    #[must_use]
    pub fn of_process() -> Self {
        Self(Environment::from_vars(std::env::vars_os()))
    }

    /// One of these variables, for tests.
    pub fn of<K: Into<OsString>, V: Into<OsString>>(
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self(Environment::from_vars(vars))
    }

    /// A variable that is set, not empty and readable as text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.to_str()?;
        (!value.is_empty()).then_some(value)
    }

    /// All of it, for processes that inherit it.
    #[must_use]
    pub fn all(&self) -> &Environment {
        &self.0
    }

    /// The person's home folder.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// `$XDG_CONFIG_HOME`, or what it stands for when it is not set.
    #[must_use]
    pub fn config_home(&self) -> Option<PathBuf> {
        self.get("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
            .or_else(|| Some(self.home()?.join(".config")))
    }
}

/// What a command has to do with.
pub struct Context<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Standard input.
    pub stdin: &'a mut dyn Read,
    /// The environment.
    pub env: Env,
    /// The folder that `--repo` is relative to.
    pub cwd: PathBuf,
    /// How standard output is laid out.
    pub page: Page,
    /// How standard error is laid out.
    pub err_page: Page,
    /// Whether standard output is a terminal, which can be repainted.
    pub terminal: bool,
    /// How much to say beyond what was asked.
    pub verbose: u8,
    /// The folder that was asked for with `--repo`.
    pub repo: Option<PathBuf>,
}

impl Context<'_> {
    /// The environment that background processes and instances inherit.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.env.all().clone()
    }

    /// This program, for starting its background processes.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn own_exe(&self) -> Result<PathBuf, Failure> {
        std::env::current_exe()
            .map_err(|e| Failure::internal(format!("the path of this program is not known: {e}")))
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// The folder that the command is about.
    #[must_use]
    pub fn start(&self) -> PathBuf {
        match &self.repo {
            Some(repo) => self.cwd.join(repo),
            None => self.cwd.clone(),
        }
    }

    /// The repository that the command is about.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn repository(&self) -> Result<Repo, Failure> {
        let start = self.start();
        Repo::discover(&start).map_err(|error| {
            let failure = Failure::from(error.clone());
            match error {
                GitError::NotARepository { .. } if self.repo.is_none() => {
                    failure.next("or name one with --repo DIR")
                }
                _ => failure,
            }
        })
    }

    /// The orchestrations of the repository.
    ///
    /// # Errors
    /// As [`Context::repository`].
    pub fn layout(&self) -> Result<Layout, Failure> {
        Ok(Layout::new(self.repository()?.root()))
    }

    /// Prints text and makes sure that it is out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Prints a value as indented JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print_json(&mut self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Failure::internal(format!("the output cannot be encoded: {e}")))?;
        self.print(&format!("{text}\n"))
    }

    /// Says something beside the output, on standard error.
    pub fn remark(&mut self, text: &str) {
        // Whoever closed standard error does not want to know.
        let _ = writeln!(self.err, "{text}");
    }

    /// Says something only when asked for with `-v`.
    pub fn detail(&mut self, text: &str) {
        if self.verbose > 0 {
            self.remark(text);
        }
    }

    /// All of a file, or of standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than 64 MiB.
    pub fn read_input(&mut self, path: &Path) -> Result<Vec<u8>, Failure> {
        const MOST: u64 = 64 * 1024 * 1024;
        let mut bytes = Vec::new();
        let (name, result) = if path == Path::new("-") {
            let read = (&mut *self.stdin).take(MOST + 1).read_to_end(&mut bytes);
            ("standard input".to_owned(), read)
        } else {
            let path = self.cwd.join(path);
            let read = std::fs::File::open(&path)
                .and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
            (path.display().to_string(), read)
        };
        match result {
            Ok(n) if n as u64 > MOST => {
                Err(Failure::usage("the input is longer than 64 MiB").at(name))
            }
            Ok(_) => Ok(bytes),
            Err(error) => {
                Err(Failure::usage(format!("the input cannot be read: {error}")).at(name))
            }
        }
    }
}

pub use crate::conduct::now;

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Even into a file or a pipe.
    Always,
    /// Not at all.
    Never,
}

/// Layout of standard output and standard error, as the surroundings ask for.
pub(super) fn pages(global: &Global, env: &Env) -> (Page, Page) {
    let width = terminal_width(env);
    let choose = |auto: anstream::ColorChoice| match global.color {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => auto != anstream::ColorChoice::Never,
    };
    let out = choose(anstream::AutoStream::choice(&std::io::stdout()));
    let err = choose(anstream::AutoStream::choice(&std::io::stderr()));
    (Page::new(width, out), Page::new(width, err))
}

/// The width of the terminal: what `COLUMNS` says, what the terminal says, else 80.
pub(super) fn terminal_width(env: &Env) -> usize {
    if let Some(columns) = env.get("COLUMNS").and_then(|c| c.parse::<usize>().ok())
        && columns > 0
    {
        return columns;
    }
    let size = rustix::termios::tcgetwinsize(std::io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stderr()));
    match size {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}

/// Whether standard output is a terminal that can be repainted.
pub(super) fn is_repaintable(env: &Env) -> bool {
    std::io::stdout().is_terminal() && env.get("TERM").is_none_or(|t| t != "dumb")
}
