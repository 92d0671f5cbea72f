//! What a shell line is made of, as far as the guard needs it.
//!
//! Read by hand ([`read()`]) rather than by a kept crate. Of those that there are, one has had
//! no release since 2019, one is under a licence that this program cannot be given out with,
//! one is a C library that guesses where it does not understand, and the best one brings sixty
//! crates and a minute of compiling. The guard needs few things of a line, and needs to know
//! for certain when it has not understood one: everything that is not in the grammar here is
//! an error, and an error is a denial. What the shell itself makes of random lines is compared
//! with what is read here in the tests.

mod brace;
mod read;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::rc::Rc;

pub use read::read;

/// A part of a word.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text that stays as it is; `quoted` text is not looked at for patterns or `~`.
    Text {
        /// The text, without its quotes.
        text: String,
        /// Whether it stood in quotes, or behind a backslash.
        quoted: bool,
    },
    /// `*`, `?` or `[…]`: a pattern for file names.
    Glob(String),
    /// An unquoted `{`, `,` or `}`; none is left once braces are expanded.
    Mark(char),
    /// A variable.
    Var {
        /// Its name: a name, a digit, or one of `@*#?-$!`.
        name: String,
        /// What is done to its value.
        change: Change,
        /// Whether it is not split into several words.
        quoted: bool,
    },
    /// `$(…)` or backquotes.
    Command {
        /// What is run.
        script: Rc<Script>,
        /// Whether what it prints is not split into several words.
        quoted: bool,
    },
    /// `<(…)` or `>(…)`.
    Process(Rc<Script>),
    /// Text without a slash that is not known: a number, one letter of a range.
    Atom,
    /// Text of which nothing is known, and the commands that are run to get it.
    Opaque(Vec<Rc<Script>>),
}

/// What `${…}` does to a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// `:-`, `-`, `:=`, `=`: another word stands in for it; with `=` it is kept.
    Default {
        /// The other word.
        word: Vec<Piece>,
        /// Whether it becomes the variable's value.
        keep: bool,
    },
    /// `:+`, `+`: the word is put if there is a value.
    Alternative(Vec<Piece>),
    /// `%`, `%%`, `#`, `##`: what matches is taken from the end or the beginning.
    Trim {
        /// From the end.
        end: bool,
        /// As much as possible.
        longest: bool,
        /// What is taken away.
        pattern: Vec<Piece>,
    },
    /// `${#x}`.
    Length,
    /// Something else; the words in it may run commands.
    Other(Vec<Piece>),
}

/// A word.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Word {
    /// Its parts, one after the other.
    pub pieces: Vec<Piece>,
}

impl Word {
    /// A word that stands for itself.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self {
            pieces: vec![Piece::Text {
                text: text.to_owned(),
                quoted: true,
            }],
        }
    }

    /// Its text, when nothing in it depends on anything.
    #[must_use]
    pub fn fixed(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

/// The scripts that are run to make a word.
pub fn scripts_in(pieces: &[Piece], found: &mut Vec<Rc<Script>>) {
    for piece in pieces {
        match piece {
            Piece::Command { script, .. } | Piece::Process(script) => found.push(script.clone()),
            Piece::Opaque(scripts) => found.extend(scripts.iter().cloned()),
            Piece::Var { change, .. } => match change {
                Change::Default { word, .. }
                | Change::Alternative(word)
                | Change::Trim { pattern: word, .. }
                | Change::Other(word) => scripts_in(word, found),
                Change::None | Change::Length => {}
            },
            Piece::Text { .. } | Piece::Glob(_) | Piece::Mark(_) | Piece::Atom => {}
        }
    }
}

/// A list of commands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    /// Its chains, in order.
    pub chains: Vec<Chain>,
}

/// Pipelines held together by `&&` and `||`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chain {
    /// The pipelines.
    pub links: Vec<Link>,
    /// Whether it runs in the background, in a shell of its own.
    pub background: bool,
}

/// A pipeline of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// What has to be true of the one before it.
    pub after: After,
    /// Its commands.
    pub commands: Vec<Command>,
}

/// When a pipeline of a chain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is the first.
    First,
    /// `&&`.
    Success,
    /// `||`.
    Failure,
}

/// A command with its redirections.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What it is.
    pub kind: Kind,
    /// Where its input comes from and its output goes.
    pub redirects: Vec<Redirect>,
}

/// The kinds of commands.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A program, a builtin or a function, or assignments alone.
    Simple(Simple),
    /// `{ …; }`.
    Group(Rc<Script>),
    /// `( … )`.
    Subshell(Rc<Script>),
    /// `if`.
    If {
        /// Conditions, and what is done when they hold.
        arms: Vec<(Rc<Script>, Rc<Script>)>,
        /// What is done when none holds.
        otherwise: Option<Rc<Script>>,
    },
    /// `case`.
    Case {
        /// What is looked at, and the patterns.
        subject: Vec<Word>,
        /// What is done for each.
        arms: Vec<Rc<Script>>,
    },
    /// `for`, `select`, `while`, `until`.
    Loop {
        /// The variable and its words; no words: those of the function.
        variable: Option<(String, Option<Vec<Word>>)>,
        /// Condition and body.
        parts: Vec<Rc<Script>>,
    },
    /// A function is defined.
    Function {
        /// Its name.
        name: String,
        /// What it does.
        body: Rc<Command>,
    },
    /// `[[ … ]]`, `(( … ))`: nothing is written, but words may run commands.
    Test(Vec<Word>),
}

/// A program and its arguments.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Simple {
    /// `NAME=value` in front of it.
    pub assignments: Vec<Assignment>,
    /// The program and its arguments.
    pub words: Vec<Word>,
}

/// `NAME=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The name.
    pub name: String,
    /// The values: one, or those of an array.
    pub values: Vec<Word>,
    /// Whether it is more than a plain one: `+=`, an array, an element of one.
    pub odd: bool,
}

/// A redirection.
#[derive(Debug, Clone, PartialEq)]
pub enum Redirect {
    /// `< file`.
    Read(Word),
    /// `> file` and all of its kind.
    Write(Word),
    /// A here-document or a here-string: its text.
    Text(Rc<OnceCell<Word>>),
    /// `>&2`: a descriptor is copied.
    Copy,
}

/// Why a line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellFault {
    /// It does not end, or something is not where it belongs.
    Syntax(&'static str),
    /// It is nested more deeply than anybody would write.
    TooDeep,
}
