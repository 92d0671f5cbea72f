//! The edges of a hook: what it reads of its process, and how it ends.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::Outcome;
use crate::agent::environment::Environment;
use crate::agent::tree::MARK_VARIABLE;
use crate::format::hook_json::MAX_DOCUMENT;

/// What a hook knows of the world.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Standard input; of too much, a byte more than is read at all.
    pub input: Vec<u8>,
    /// The environment.
    pub env: Environment,
    /// Where it was started.
    pub cwd: PathBuf,
    /// The folder of this program, where its siblings are.
    pub programs: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

impl World {
    /// That of this process. At most `limit` bytes of standard input are read.
    #[must_use]
    pub fn of_process(limit: usize) -> Self {
        let mut input = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        // What cannot be read is missing, and is reported as such.
        let _ = std::io::stdin().lock().take(limit).read_to_end(&mut input);
        Self {
            input,
            env: environment(),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            programs: std::env::current_exe()
                .ok()
                .and_then(|exe| Some(exe.canonicalize().unwrap_or(exe).parent()?.to_owned()))
                .unwrap_or_default(),
            args: std::env::args_os()
                .skip(1)
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect(),
        }
    }

    /// Another program of this plugin.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Whether this runs inside an instance, or inside an analysis.
    #[must_use]
    pub fn in_instance(&self) -> bool {
        self.env
            .get(MARK_VARIABLE)
            .is_some_and(|mark| !mark.is_empty())
    }

    /// A folder that an event named, else where this was started.
    #[must_use]
    pub fn folder(&self, named: &str) -> PathBuf {
        let named = PathBuf::from(named);
        if named.is_absolute() && named.is_dir() {
            named
        } else {
            self.cwd.clone()
        }
    }

    /// A variable as text.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name)?.to_str().filter(|text| !text.is_empty())
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the hooks read the environment"
)]
fn environment() -> Environment {
    Environment::from_vars(std::env::vars_os())
}

/// A whole hook: reads the process, decides, prints.
#[must_use]
pub fn main(name: &str, hook: impl FnOnce(&World) -> Outcome) -> ExitCode {
    main_with(name, MAX_DOCUMENT, hook)
}

/// The same, reading up to `limit` bytes.
#[must_use]
pub fn main_with(name: &str, limit: usize, hook: impl FnOnce(&World) -> Outcome) -> ExitCode {
    let outcome = hook(&World::of_process(limit));
    let mut out = std::io::stdout().lock();
    // A reader that is gone is no reason to fail.
    match outcome {
        Outcome::Silent => {}
        Outcome::Answer(value) => {
            let _ = writeln!(out, "{value}");
        }
        Outcome::Line(line) => {
            let _ = writeln!(out, "{line}");
        }
        Outcome::Wake(text) => {
            // Heard by nobody: then whoever looks next finds that it was not told.
            let _ = writeln!(std::io::stderr(), "{text}");
            return ExitCode::from(2);
        }
        Outcome::Fault(why) => {
            let line: String = why
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            let _ = writeln!(std::io::stderr(), "{name}: {line}");
            return ExitCode::from(1);
        }
    }
    ExitCode::SUCCESS
}
