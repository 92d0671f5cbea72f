//! Validated names. A value of these types that exists is safe as a path part,
//! as part of a git ref and as a command-line argument.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::time::Timestamp;

/// Longest name that is accepted, in bytes. Leaves room for `instance-…-complete.tmp`
/// inside the 255 bytes that common file systems allow.
pub const MAX_NAME_LEN: usize = 80;

/// Why a text from outside is not usable as a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NameFault {
    #[error("it is empty")]
    Empty,
    #[error("it is {0} bytes long; at most {MAX_NAME_LEN} are allowed")]
    TooLong(usize),
    #[error("it holds a control character")]
    Control,
    #[error("it holds {0:?}; use letters a-z, digits, '-', '_' and '.'")]
    Character(char),
    #[error("it starts with {0:?}; start with a letter or a digit")]
    Start(char),
    #[error("it ends with {0:?}; end with a letter or a digit")]
    End(char),
    #[error("it holds '..', which git and file systems give a meaning of its own")]
    DotDot,
    #[error("it ends with '.lock', which git keeps for itself")]
    DotLock,
}

/// Checks the grammar shared by all names: `[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?`,
/// without `..` and without the ending `.lock`.
fn check_name(text: &str) -> Result<(), NameFault> {
    if text.chars().any(char::is_control) {
        return Err(NameFault::Control);
    }
    let first = text.chars().next().ok_or(NameFault::Empty)?;
    if text.len() > MAX_NAME_LEN {
        return Err(NameFault::TooLong(text.len()));
    }
    if let Some(c) = text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
    {
        return Err(NameFault::Character(c));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameFault::Start(first));
    }
    let last = text.chars().next_back().unwrap_or(first);
    if !last.is_ascii_alphanumeric() {
        return Err(NameFault::End(last));
    }
    if text.contains("..") {
        return Err(NameFault::DotDot);
    }
    if text.to_ascii_lowercase().ends_with(".lock") {
        return Err(NameFault::DotLock);
    }
    Ok(())
}

macro_rules! text_newtype {
    ($name:ident, $fault:ty) => {
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
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = $fault;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text)
                    .map_err(|e| serde::de::Error::custom(format!("{text:?} is not usable: {e}")))
            }
        }
    };
}

/// The name of a task: what people call it, and part of its branch, worktree and files.
///
/// Runs of blanks become one `-`, the rest is kept as it was written. Two names that
/// differ in case only are one name on some file systems: see [`TaskName::folded`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName(String);
text_newtype!(TaskName, NameFault);

impl TaskName {
    /// Normalises and validates a name from outside.
    ///
    /// # Errors
    /// The first reason why the text cannot be a path part, a ref part and an argument.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        if text.chars().any(|c| c.is_control()) {
            return Err(NameFault::Control);
        }
        let name = text.split_whitespace().collect::<Vec<_>>().join("-");
        check_name(&name)?;
        Ok(Self(name))
    }

    /// The form in which two names that some file system cannot tell apart are equal.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Names of tasks as they stand in a sentence, with commas between them.
#[must_use]
pub fn listed<'a>(tasks: impl IntoIterator<Item = &'a TaskName>) -> String {
    let names: Vec<&str> = tasks.into_iter().map(TaskName::as_str).collect();
    names.join(", ")
}

/// The name of one orchestration; its folder under `.claude/orchestration/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrchestrationId(String);
text_newtype!(OrchestrationId, NameFault);

impl OrchestrationId {
    /// Validates an id from outside. Nothing is normalised: an id is exact.
    ///
    /// # Errors
    /// The first reason why the text cannot be a path part.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        check_name(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The id of a run that begins at `time`: `YYYYMMDD-HHMMSS-RRRRRR` in UTC, so that ids
    /// sort by time. The last 24 bits of `random` tell apart what begins in one second. Times
    /// outside the years 1970 to 9999 count as the nearest inside.
    #[must_use]
    pub fn of_time(time: Timestamp, random: u32) -> Self {
        let time = Timestamp(time.0.clamp(0, LAST_OF_9999));
        let time: String = time
            .rfc3339()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        let (day, moment) = time.split_at_checked(8).unwrap_or_default();
        // Digits, dashes and hexadecimal digits: always a name.
        let random = random & 0x00ff_ffff;
        Self(format!("{day}-{moment}-{random:06x}"))
    }
}

impl OrchestrationId {
    /// When its run began, as [`OrchestrationId::of_time`] wrote it; none for an id of another
    /// form, or with a date that does not exist.
    #[must_use]
    pub fn begun(&self) -> Option<Timestamp> {
        let mut parts = self.0.split('-');
        let (day, moment, random) = (parts.next()?, parts.next()?, parts.next()?);
        let own = (day.len(), moment.len(), random.len()) == (8, 6, 6) && parts.next().is_none();
        if !own {
            return None;
        }
        let time = chrono::NaiveDateTime::parse_from_str(&format!("{day}{moment}"), "%Y%m%d%H%M%S")
            .ok()?;
        Some(Timestamp(time.and_utc().timestamp_millis()))
    }
}

/// The last millisecond whose year has four digits.
const LAST_OF_9999: i64 = 253_402_300_799_999;

/// Why a text is not a branch name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a branch name that git accepts: {why}")]
pub struct BranchFault {
    /// The refused text.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

/// A short branch name (`main`, `task/user-auth`) that git accepts and that cannot be
/// taken for an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchName(String);
text_newtype!(BranchName, BranchFault);

impl BranchName {
    /// Validates a branch name by the rules of `git check-ref-format --branch`.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, BranchFault> {
        let fault = |why| {
            Err(BranchFault {
                text: text.chars().take(80).collect(),
                why,
            })
        };
        if text.is_empty() {
            return fault("it is empty");
        }
        if text.len() > 200 {
            return fault("it is longer than 200 bytes");
        }
        if text.starts_with('-') {
            return fault("it starts with '-'");
        }
        if text == "@" || text == "HEAD" {
            return fault("git keeps that name for itself");
        }
        if text.contains("..") || text.contains("@{") || text.contains("//") {
            return fault("it holds '..', '@{' or '//'");
        }
        if text
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\\u{7f}".contains(c))
        {
            return fault("it holds a blank, a control character or one of ~^:?*[\\");
        }
        if text.ends_with('/') || text.starts_with('/') || text.ends_with('.') {
            return fault("it starts or ends with '/' or ends with '.'");
        }
        if text
            .split('/')
            .any(|part| part.starts_with('.') || part.ends_with(".lock"))
        {
            return fault("a part starts with '.' or ends with '.lock'");
        }
        Ok(Self(text.to_owned()))
    }

    /// The branch on which a task is worked: `task/NAME`.
    #[must_use]
    pub fn for_task(task: &TaskName) -> Self {
        Self(format!("task/{task}"))
    }

    /// The branch on which an issue is worked: `issue-N`, or what was claimed for it.
    #[must_use]
    pub fn for_issue(claimed: &TaskName) -> Self {
        Self(claimed.to_string())
    }

    /// `refs/heads/…`
    #[must_use]
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

/// Why a text is not an object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a git object id (40 or 64 hexadecimal digits)")]
pub struct OidFault(pub String);

/// A git object id, SHA-1 or SHA-256, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(String);
text_newtype!(Oid, OidFault);

impl Oid {
    /// Validates an object id.
    ///
    /// # Errors
    /// When the text is not 40 or 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, OidFault> {
        let right_length = matches!(text.len(), 40 | 64);
        if right_length && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(OidFault(text.chars().take(80).collect()))
        }
    }

    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the clock says, the id is one that is accepted from outside, and its form
        /// is the same.
        #[test]
        fn an_id_of_any_time_is_an_id(
            time in prop_oneof![any::<i64>(), -1i64..2, LAST_OF_9999 - 1..=LAST_OF_9999 + 1],
            random in any::<u32>(),
        ) {
            let id = OrchestrationId::of_time(Timestamp(time), random);
            prop_assert_eq!(OrchestrationId::parse(id.as_str()), Ok(id.clone()));
            prop_assert_eq!(id.as_str().len(), 22);
            let parts: Vec<usize> = id.as_str().split('-').map(str::len).collect();
            prop_assert_eq!(parts, [8, 6, 6]);
        }
    }

    #[test]
    fn an_id_tells_when_its_run_began() {
        let id = OrchestrationId::of_time(Timestamp(1_795_252_437_999), 0xff00_002a);
        assert_eq!(id.as_str(), "20261121-091357-00002a");
        assert_eq!(id.begun(), Some(Timestamp(1_795_252_437_000)));
        for other in [
            "20261121-091357",
            "mine",
            "20261321-091357-00002a",
            "20261121-091357-00002a-x",
        ] {
            assert_eq!(
                OrchestrationId::parse(other).unwrap().begun(),
                None,
                "{other}"
            );
        }
    }

    #[test]
    fn usable_names_are_kept_and_blanks_become_dashes() {
        for (raw, name) in [
            ("user-auth", "user-auth"),
            ("User Auth", "User-Auth"),
            ("  a \u{2003} b ", "a-b"),
            ("v1.2_x", "v1.2_x"),
        ] {
            assert_eq!(TaskName::parse(raw).map(|n| n.to_string()), Ok(name.into()));
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(300);
        for raw in [
            "",
            " ",
            "../x",
            "-rf",
            ".git",
            "a/b",
            "a\\b",
            "a\0b",
            "a\nb",
            "\u{1b}[31m",
            "a..b",
            "x.lock",
            "X.LOCK",
            "a.",
            "é",
            "$(x)",
            "a;b",
            "a:b",
            "CON|",
            "~",
            "@{",
            &long,
        ] {
            assert!(TaskName::parse(raw).is_err(), "{raw:?} must be refused");
            assert!(
                OrchestrationId::parse(raw).is_err(),
                "{raw:?} must be refused"
            );
        }
    }

    #[test]
    fn branch_names_follow_git() {
        for good in ["main", "task/user-auth", "feature/ünï", "issue-12"] {
            assert!(BranchName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "-x", "a..b", "a b", "a~", "/a", "a/", "a/.b", "a.lock", "@", "HEAD", "a@{b",
        ] {
            assert!(BranchName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn object_ids() {
        assert!(Oid::parse(&"a".repeat(40)).is_ok());
        assert!(Oid::parse(&"A1".repeat(32)).is_ok());
        for bad in ["", "abc", "HEAD", &"g".repeat(40)] {
            assert!(Oid::parse(bad).is_err());
        }
    }

    #[test]
    fn unusable_names_do_not_deserialize() {
        assert!(serde_json::from_str::<TaskName>("\"../x\"").is_err());
        assert!(serde_json::from_str::<OrchestrationId>("\"a b\"").is_err());
        assert_eq!(
            serde_json::from_str::<TaskName>("\"a b\"")
                .unwrap()
                .as_str(),
            "a-b"
        );
    }
}
