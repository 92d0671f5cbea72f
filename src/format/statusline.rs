//! What the status line is made of, as it is configured: the signs and the parts.

use serde::{Deserialize, Serialize};

/// The signs of the status line. Written as `unicode`, `ascii`, or `NAME=SIGN,…` over the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Symbols {
    /// A run is conducted.
    pub conducting: String,
    /// An instance works.
    pub active: String,
    /// An instance is done.
    pub complete: String,
    /// Results are being merged.
    pub integration: String,
    /// The workspace is being tidied.
    pub cleanup: String,
    /// A good end.
    pub success: String,
    /// A bad end, or something that needs a person.
    pub error: String,
}

const NAMES: [&str; 7] = [
    "conducting",
    "active",
    "complete",
    "integration",
    "cleanup",
    "success",
    "error",
];

impl Symbols {
    /// For terminals that can.
    #[must_use]
    pub fn unicode() -> Self {
        Self::of(["♪", "▶", "✓", "⇄", "⌫", "✔", "✗"])
    }

    /// For all others.
    #[must_use]
    pub fn ascii() -> Self {
        Self::of(["~", ">", "+", "=", "-", "+", "!"])
    }

    fn of(signs: [&str; 7]) -> Self {
        let [
            conducting,
            active,
            complete,
            integration,
            cleanup,
            success,
            error,
        ] = signs.map(str::to_owned);
        Self {
            conducting,
            active,
            complete,
            integration,
            cleanup,
            success,
            error,
        }
    }

    /// `unicode`, `ascii`, or `NAME=SIGN,…` over the first.
    ///
    /// # Errors
    /// What is not understood, and what would be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "unicode, ascii, or NAME=SIGN,… with the names {}",
                NAMES.join(", ")
            )
        };
        match text {
            "unicode" => return Ok(Self::unicode()),
            "ascii" => return Ok(Self::ascii()),
            _ => {}
        }
        let mut symbols = Self::unicode();
        for pair in text.split(',') {
            let (name, sign) = pair.split_once('=').ok_or_else(fault)?;
            if sign.chars().count() > 12 || sign.chars().any(char::is_control) {
                return Err(format!("the sign of {} is no short text", name.trim()));
            }
            *symbols.sign(name.trim()).ok_or_else(fault)? = sign.trim().to_owned();
        }
        Ok(symbols)
    }

    fn sign(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "conducting" => &mut self.conducting,
            "active" => &mut self.active,
            "complete" => &mut self.complete,
            "integration" => &mut self.integration,
            "cleanup" => &mut self.cleanup,
            "success" => &mut self.success,
            "error" => &mut self.error,
            _ => return None,
        })
    }
}

impl TryFrom<String> for Symbols {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Symbols> for String {
    fn from(mut symbols: Symbols) -> Self {
        if symbols == Symbols::unicode() {
            return "unicode".to_owned();
        }
        if symbols == Symbols::ascii() {
            return "ascii".to_owned();
        }
        let pairs = NAMES.map(|name| {
            let sign = symbols.sign(name).cloned().unwrap_or_default();
            format!("{name}={sign}")
        });
        pairs.join(",")
    }
}

/// A part of the status line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Tasks done of all.
    Count,
    /// How many instances work.
    Instances,
    /// Names of the tasks in work; where there is no room for them, how many there are.
    Tasks,
    /// Percent.
    Progress,
    /// Time left.
    Time,
    /// Money.
    Cost,
    /// Memory of the instances.
    Resources,
}

impl Part {
    /// What is shown when nothing else is configured, the most important first.
    pub const DEFAULT: [Self; 5] = [
        Self::Count,
        Self::Tasks,
        Self::Progress,
        Self::Time,
        Self::Cost,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_and_written() {
        for text in ["unicode", "ascii"] {
            assert_eq!(String::from(Symbols::parse(text).unwrap()), text);
        }
        let own = Symbols::parse("active=*, error=X").unwrap();
        assert_eq!((own.active.as_str(), own.error.as_str()), ("*", "X"));
        assert_eq!(own.success, Symbols::unicode().success);
        assert_eq!(Symbols::parse(&String::from(own.clone())).unwrap(), own);
        for bad in [
            "",
            "pretty",
            "nothing=x",
            "active",
            "active=\u{1b}[1m",
            "active=much too long a sign",
        ] {
            assert!(Symbols::parse(bad).is_err(), "{bad}");
        }
    }
}
