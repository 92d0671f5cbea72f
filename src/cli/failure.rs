//! Why a command could not do what was asked: one block on standard error that says what
//! happened, where, and what to do next.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use super::exit::Exit;
use crate::git::GitError;
use crate::store::StoreError;
use crate::view::page::{Page, Tone};
use crate::view::snapshot::SnapshotError;

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened.
    pub what: String,
    /// Where: a file, a folder, a task. None when `what` says it.
    pub place: Option<String>,
    /// What to do next, one thing per entry.
    pub next: Vec<String>,
    /// Nothing is to be printed: the reader of our output is gone, or all was said.
    pub silent: bool,
}

impl Failure {
    /// A failure with an exit code and what happened.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            place: None,
            next: Vec::new(),
            silent: false,
        }
    }

    /// The command was not understood.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Repository or environment cannot be used.
    pub fn environment(what: impl Into<String>) -> Self {
        Self::new(Exit::Environment, what)
    }

    /// Input or output failed.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::new(Exit::Internal, what)
    }

    /// Everything was said already; only the exit code is left.
    #[must_use]
    pub fn said(exit: Exit) -> Self {
        Self {
            silent: true,
            ..Self::new(exit, "")
        }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// The same, in a file or folder.
    #[must_use]
    pub fn in_path(self, path: &Path) -> Self {
        self.at(path.display())
    }

    /// The same, with something to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    /// The block for standard error, with a line end.
    #[must_use]
    pub fn render(&self, page: &Page) -> String {
        if self.silent {
            return String::new();
        }
        let mut text = format!(
            "{} {}\n",
            page.paint(Tone::Bad, "error:"),
            self.what.trim_end()
        );
        if let Some(place) = &self.place {
            text.push_str(&format!("  where: {place}\n"));
        }
        for (n, next) in self.next.iter().enumerate() {
            let label = if n == 0 { "next:" } else { "     " };
            text.push_str(&format!("  {label}  {next}\n"));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(&Page::default()).trim_end())
    }
}

impl std::error::Error for Failure {}

/// Writing the output failed. A reader that has seen enough (`| head`) is no failure.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            return Self::said(Exit::Success);
        }
        Self::internal(format!("the output could not be written: {error}"))
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        Self::environment(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Self::usage(error.to_string()).next("`orchestra list` shows the runs that there are")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_where_and_what_next() {
        let failure = Failure::environment("no repository here")
            .in_path(Path::new("/tmp/x"))
            .next("go to your project")
            .next("or run `git init`");
        insta::assert_snapshot!(failure.render(&Page::default()), @r"
        error: no repository here
          where: /tmp/x
          next:  go to your project
                 or run `git init`
        ");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::from(std::io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.silent), (Exit::Success, true));
        assert_eq!(failure.render(&Page::default()), "");
    }
}
