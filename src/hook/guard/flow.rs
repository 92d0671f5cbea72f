//! What a command prints, as far as it matters where that goes.

use super::value::{self, Field, Seg};

/// What is printed, or piped into a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// Nothing is piped in.
    None,
    /// This text.
    Text(String),
    /// Words without a slash.
    Atoms,
    /// Paths of files below the folder, or of temporary files.
    Below,
    /// Anything.
    Unknown,
}

impl Flow {
    /// As the value of `$(…)`.
    #[must_use]
    pub fn field(&self) -> Field {
        match self {
            Self::None => value::text(""),
            Self::Text(text) => value::text(text.trim_end_matches('\n')),
            Self::Atoms => vec![Seg::Atom],
            Self::Below => vec![Seg::Below],
            Self::Unknown => vec![Seg::Unknown],
        }
    }

    /// The other way round.
    #[must_use]
    pub fn of_field(field: &[Seg]) -> Self {
        match field {
            [Seg::Atom] => Self::Atoms,
            [Seg::Below] => Self::Below,
            _ => value::known(field).map_or(Self::Unknown, Self::Text),
        }
    }

    /// The words of it, one after the other, as `xargs` takes them.
    #[must_use]
    pub fn words(&self) -> Vec<Field> {
        match self {
            Self::Text(text) => text.split_whitespace().map(value::text).collect(),
            Self::None => Vec::new(),
            other => vec![other.field()],
        }
    }
}

/// One after the other.
#[must_use]
pub fn after(first: Flow, second: Flow) -> Flow {
    match (first, second) {
        (Flow::Text(a), Flow::Text(b)) => Flow::Text(a + &b),
        (Flow::Text(a), other) | (other, Flow::Text(a)) if a.is_empty() => other,
        (Flow::None, other) | (other, Flow::None) => other,
        (Flow::Atoms, Flow::Atoms) => Flow::Atoms,
        (Flow::Below | Flow::Atoms, Flow::Below | Flow::Atoms) => Flow::Below,
        _ => Flow::Unknown,
    }
}
