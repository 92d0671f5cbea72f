//! The words of a plan that end up in command lines, each validated where it is made.

use std::fmt;

use crate::core::id::{NameFault, TaskName};

/// Why a text is not usable as one of the words of a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum WordFault {
    #[error("it is empty")]
    Empty,
    #[error("it is {0} bytes long; at most {1} are allowed")]
    TooLong(usize, usize),
    #[error("it holds a control character")]
    Control,
    #[error("it holds {0:?}")]
    Character(char),
    #[error("it starts with {0:?}")]
    Start(char),
    #[error("its parentheses do not match")]
    Parentheses,
}

fn check_word(
    text: &str,
    longest: usize,
    start: fn(char) -> bool,
    inside: fn(char) -> bool,
) -> Result<(), WordFault> {
    let first = text.chars().next().ok_or(WordFault::Empty)?;
    if text.len() > longest {
        return Err(WordFault::TooLong(text.len(), longest));
    }
    if text.chars().any(char::is_control) {
        return Err(WordFault::Control);
    }
    if !start(first) {
        return Err(WordFault::Start(first));
    }
    match text.chars().find(|c| !inside(*c)) {
        Some(c) => Err(WordFault::Character(c)),
        None => Ok(()),
    }
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The validated text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

word! {
    /// The name of a subagent, with its plugin's where it has one:
    /// `bugfix`, `orchestra:bugfix`.
    AgentName
}

impl AgentName {
    /// Validates the name of a subagent.
    ///
    /// # Errors
    /// When it is empty, longer than 100 bytes, or holds more than letters, digits and
    /// `-_.:`.
    pub fn parse(text: &str) -> Result<Self, WordFault> {
        check_word(
            text,
            100,
            |c| c.is_ascii_alphanumeric(),
            |c| c.is_ascii_alphanumeric() || "-_.:".contains(c),
        )?;
        Ok(Self(text.to_owned()))
    }
}

word! {
    /// The name of a model: an alias (`sonnet`), a full name, or a provider's address of
    /// one (`us.anthropic.…-v1:0`, `arn:aws:bedrock:…`, `opus[1m]`).
    ModelName
}

impl ModelName {
    /// Validates the name of a model.
    ///
    /// # Errors
    /// When it is empty, longer than 200 bytes, or holds more than letters, digits and
    /// `-_.:/@[]`.
    pub fn parse(text: &str) -> Result<Self, WordFault> {
        check_word(
            text,
            200,
            |c| c.is_ascii_alphanumeric(),
            |c| c.is_ascii_alphanumeric() || "-_.:/@[]".contains(c),
        )?;
        Ok(Self(text.to_owned()))
    }
}

word! {
    /// A tool that a task may use, in the client's own form: `Edit`, `Bash(git add *)`,
    /// `mcp__server__tool`. One rule each, so that none can smuggle in a second one.
    ToolRule
}

impl ToolRule {
    /// Validates one tool rule.
    ///
    /// # Errors
    /// When it is empty, longer than 500 bytes, does not start with a letter, holds a
    /// blank or a comma outside parentheses, or when its parentheses do not match.
    pub fn parse(text: &str) -> Result<Self, WordFault> {
        check_word(text, 500, |c| c.is_ascii_alphabetic(), |_| true)?;
        let (name, rest) = match text.find('(') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        if let Some(c) = name
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "-_*.:".contains(*c)))
        {
            return Err(WordFault::Character(c));
        }
        let mut depth = 0_usize;
        for (at, c) in rest.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1).ok_or(WordFault::Parentheses)?,
                _ => {}
            }
            if depth == 0 && at + 1 != rest.len() {
                return Err(WordFault::Parentheses);
            }
        }
        if depth != 0 {
            return Err(WordFault::Parentheses);
        }
        Ok(Self(text.to_owned()))
    }
}

/// How urgent a task is; the more urgent is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// When nothing else is to be done.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before the usual.
    High,
    /// Before everything else; makes the run an emergency run.
    Critical,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// The word for it in a plan.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// The priority of that word; case does not matter.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim();
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What kind of work a task is. Decides which subagent does it when none is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TaskKind {
    /// Something new.
    #[default]
    Feature,
    /// Something is broken.
    Bugfix,
    /// Text for people.
    Documentation,
    /// Tests.
    Testing,
    /// Better inside, the same outside.
    Refactoring,
    /// Finding out.
    Investigation,
    /// A word that has no subagent of its own: lower case, a safe name.
    Other(String),
}

impl TaskKind {
    /// The kinds that have a subagent of their own.
    pub const KNOWN: [Self; 6] = [
        Self::Feature,
        Self::Bugfix,
        Self::Documentation,
        Self::Testing,
        Self::Refactoring,
        Self::Investigation,
    ];

    /// Reads the word of a plan. Case does not matter, and the usual variants (`docs`,
    /// `bug-fix`, `tests`, the names of the subagents) are understood.
    ///
    /// # Errors
    /// When the word is not a safe name.
    pub fn parse(word: &str) -> Result<Self, NameFault> {
        let word = TaskName::parse(word)?.folded().replace('_', "-");
        Ok(Self::understood(&word).unwrap_or(Self::Other(word)))
    }

    fn understood(word: &str) -> Option<Self> {
        Some(match word {
            "feature" | "feat" | "features" | "feature-development" => Self::Feature,
            "bugfix" | "bug" | "bug-fix" | "fix" | "hotfix" => Self::Bugfix,
            "documentation" | "docs" | "doc" => Self::Documentation,
            "testing" | "test" | "tests" => Self::Testing,
            "refactoring" | "refactor" => Self::Refactoring,
            "investigation" | "investigate" | "research" => Self::Investigation,
            _ => return None,
        })
    }

    /// The kind that a task's name tells, when the plan does not say: by its first word,
    /// else its last (`fix-login`, `update-docs`, `testing`).
    #[must_use]
    pub fn told_by(name: &TaskName) -> Self {
        let name = name.folded();
        let mut words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
        let first = words.next();
        let last = words.next_back();
        first
            .and_then(Self::understood)
            .or_else(|| last.and_then(Self::understood))
            .unwrap_or_default()
    }

    /// The word for it in a plan.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Feature => "feature",
            Self::Bugfix => "bugfix",
            Self::Documentation => "documentation",
            Self::Testing => "testing",
            Self::Refactoring => "refactoring",
            Self::Investigation => "investigation",
            Self::Other(word) => word,
        }
    }

    /// The subagent that does this kind of work. A kind without one of its own is
    /// developed like a feature.
    #[must_use]
    pub fn default_role(&self) -> &'static str {
        match self {
            Self::Feature | Self::Other(_) => "feature-development",
            Self::Bugfix => "bugfix",
            Self::Documentation => "documentation",
            Self::Testing => "testing",
            Self::Refactoring => "refactoring",
            Self::Investigation => "investigation",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_understood_and_have_roles() {
        for (word, kind, role) in [
            ("feature", "feature", "feature-development"),
            ("Bug_Fix", "bugfix", "bugfix"),
            ("docs", "documentation", "documentation"),
            ("Testing", "testing", "testing"),
            ("refactor", "refactoring", "refactoring"),
            ("investigation", "investigation", "investigation"),
            ("deployment", "deployment", "feature-development"),
            ("Data Base", "data-base", "feature-development"),
        ] {
            let parsed = TaskKind::parse(word).unwrap();
            assert_eq!((parsed.as_str(), parsed.default_role()), (kind, role));
            assert_eq!(TaskKind::parse(parsed.as_str()), Ok(parsed), "stable");
        }
        assert!(TaskKind::parse("../x").is_err());
    }

    #[test]
    fn a_name_tells_its_kind() {
        for (name, kind) in [
            ("documentation", TaskKind::Documentation),
            ("update-docs", TaskKind::Documentation),
            ("fix-payment", TaskKind::Bugfix),
            ("fix-docs", TaskKind::Bugfix),
            ("integration-tests", TaskKind::Testing),
            ("database-schema", TaskKind::Feature),
        ] {
            assert_eq!(TaskKind::told_by(&TaskName::parse(name).unwrap()), kind);
        }
    }

    #[test]
    fn priorities_are_ordered() {
        assert!(Priority::Critical > Priority::High && Priority::Normal > Priority::Low);
        assert_eq!(Priority::parse(" HIGH "), Some(Priority::High));
        assert_eq!(Priority::parse("urgent"), None);
    }

    #[test]
    fn words_that_become_arguments() {
        for good in [
            "Edit",
            "Bash(git add *)",
            "mcp__a__b",
            "Bash(f(x), y)",
            "mcp__a__*",
        ] {
            assert!(ToolRule::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--x",
            "Edit,Write",
            "Edit Write",
            "Bash(",
            "Bash)",
            "A(b)c(d)",
        ] {
            assert!(ToolRule::parse(bad).is_err(), "{bad}");
        }
        for good in ["sonnet", "opus[1m]", "us.anthropic.claude-v1:0"] {
            assert!(ModelName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-p", "a b", "a;b", "\u{1b}x"] {
            assert!(ModelName::parse(bad).is_err(), "{bad}");
            assert!(AgentName::parse(bad).is_err(), "{bad}");
        }
    }
}
