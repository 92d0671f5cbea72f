//! What is answered to an instance that asks for permission, and what a person's words mean.
//!
//! The client has put its own rules to work before it asks: what reaches this policy is what
//! neither the person's allowed nor their denied tools decide.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::time::Millis;

/// What is done about calls that no rule decides.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PermissionRequests {
    /// The person is asked, for a limited time.
    #[default]
    Ask,
    /// They are denied at once.
    Deny,
}

/// How long a person has to answer a request for permission, seconds, when nothing else is
/// configured.
pub const DEFAULT_PERMISSION_TIMEOUT: u64 = 600;

/// The shortest time that a person is given, however often nobody answered.
const LEAST_TIME: Millis = Millis(10_000);

/// One call for which permission is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The tool.
    pub tool: String,
    /// What it is about, on one line: its command, its file, ….
    pub subject: String,
    /// Its shape: the rules that would allow it, as `TOOL(CONTENT)`. Two calls whose shapes are
    /// the same are the same to whoever allowed one of them for good. Never empty.
    pub shape: BTreeSet<String>,
    /// The shape is the call itself: no rule would allow others like it.
    pub alone: bool,
}

impl Call {
    /// For people: `Bash: git push`.
    #[must_use]
    pub fn text(&self) -> String {
        if self.subject.is_empty() {
            self.tool.clone()
        } else {
            format!("{}: {}", self.tool, self.subject)
        }
    }

    /// For people: the rules that would allow the call and others like it,
    /// `Bash(git commit *) and Bash(make)`; none when only the call itself would be allowed.
    #[must_use]
    pub fn rules(&self) -> Option<String> {
        let rules: Vec<&str> = self.shape.iter().map(String::as_str).collect();
        (!self.alone).then(|| rules.join(" and "))
    }
}

/// What is done about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allow,
    /// It may not; what the instance is told.
    Deny(String),
    /// The person decides.
    Ask,
}

/// What the person answered about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This once.
    Allow,
    /// This one, and all of the same shape in this task.
    AllowAlways,
    /// No, and perhaps why.
    Deny(Option<String>),
}

impl Reply {
    /// The options that a person is shown, in their order; they may also answer by number.
    pub const OPTIONS: [&'static str; 3] = ["allow", "allow always", "deny"];

    /// Reads an answer. Whatever is not one of the known words is a denial with these words
    /// as the reason: nothing is ever allowed by accident.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        let lower = text.to_lowercase();
        match lower.trim_end_matches(['.', '!', ':']) {
            "allow" | "yes" | "y" | "1" => Self::Allow,
            "allow always" | "always" | "2" => Self::AllowAlways,
            "deny" | "no" | "n" | "3" | "" => Self::Deny(None),
            _ => {
                let rest = lower
                    .starts_with("deny:")
                    .then(|| text.get("deny:".len()..))
                    .flatten()
                    .map_or(text, str::trim);
                Self::Deny((!rest.is_empty()).then(|| rest.to_owned()))
            }
        }
    }

    /// What the instance is told when it is denied.
    #[must_use]
    pub fn denial(reason: Option<&str>) -> String {
        match reason {
            Some(reason) => format!("The person denied this: {reason}"),
            None => "The person denied this. Do it in another way, or do without it.".to_owned(),
        }
    }
}

/// What was decided before about the calls of one task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// How calls are treated that nothing decides.
    pub requests: PermissionRequests,
    /// Rules that a person allowed for good.
    pub allowed: BTreeSet<String>,
    /// Shapes about which nobody answered.
    unanswered: BTreeSet<BTreeSet<String>>,
    /// How often in a row nobody answered.
    misses: u32,
}

impl Permissions {
    /// With what was allowed for good in earlier attempts.
    #[must_use]
    pub fn new(requests: PermissionRequests, allowed: BTreeSet<String>) -> Self {
        Self {
            requests,
            allowed,
            ..Self::default()
        }
    }

    /// What is done about a call.
    #[must_use]
    pub fn decide(&self, call: &Call) -> Decision {
        if !call.shape.is_empty() && call.shape.is_subset(&self.allowed) {
            return Decision::Allow;
        }
        match self.requests {
            PermissionRequests::Deny => Decision::Deny(
                "This is not allowed here, and nobody is asked in this run. Do it in another \
                 way, or do without it."
                    .to_owned(),
            ),
            PermissionRequests::Ask if self.unanswered.contains(&call.shape) => {
                Decision::Deny(Self::nobody())
            }
            PermissionRequests::Ask => Decision::Ask,
        }
    }

    /// A person answered.
    pub fn answered(&mut self, call: &Call, reply: &Reply) {
        self.somebody_is_there();
        if *reply == Reply::AllowAlways {
            self.allowed.extend(call.shape.iter().cloned());
        }
    }

    /// A person gave a sign: what nobody answered may be asked again.
    pub fn somebody_is_there(&mut self) {
        self.misses = 0;
        self.unanswered.clear();
    }

    /// Nobody answered in time; what the instance is told.
    pub fn missed(&mut self, call: &Call) -> String {
        self.misses = self.misses.saturating_add(1);
        self.unanswered.insert(call.shape.clone());
        Self::nobody()
    }

    /// How long a person has to answer. Half as long after each time that nobody did, so that
    /// an instance with many wishes and nobody there does not wait for ever.
    #[must_use]
    pub fn time(&self, configured: Millis) -> Millis {
        let halved = configured.0.checked_shr(self.misses).unwrap_or(0);
        Millis(halved.max(LEAST_TIME.0.min(configured.0)))
    }

    fn nobody() -> String {
        "Nobody was there to allow this. Do it in another way, or do without it; if the task \
         cannot be done without it, say that you are stuck."
            .to_owned()
    }
}

/// One question of an instance with options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The question.
    pub text: String,
    /// Its options: the label, and what it means.
    pub options: Vec<(String, String)>,
    /// Whether several options may be chosen.
    pub several: bool,
}

impl Question {
    /// The question for people, with what its options mean.
    #[must_use]
    pub fn shown(&self) -> String {
        let meant: Vec<String> = self
            .options
            .iter()
            .filter(|(label, meaning)| !meaning.is_empty() && label != meaning)
            .map(|(label, meaning)| format!("{label}: {meaning}"))
            .collect();
        if meant.is_empty() {
            self.text.clone()
        } else {
            format!("{} ({})", self.text, meant.join("; "))
        }
    }

    /// What a person's words answer: an option by its number or its label, several of them
    /// separated by commas where that is allowed, or their own words.
    #[must_use]
    pub fn answer(&self, text: &str) -> String {
        let text = text.trim();
        if let Some(label) = self.option(text) {
            return label.to_owned();
        }
        if self.several {
            let chosen: Option<Vec<&str>> = text
                .split(',')
                .map(|part| self.option(part.trim()))
                .collect();
            if let Some(chosen) = chosen {
                return chosen.join(", ");
            }
        }
        text.to_owned()
    }

    fn option(&self, text: &str) -> Option<&str> {
        let by_label = || {
            self.options
                .iter()
                .find(|(label, _)| label.to_lowercase() == text.to_lowercase())
        };
        let by_number = || {
            let number: usize = text.parse().ok()?;
            self.options.get(number.checked_sub(1)?)
        };
        by_label()
            .or_else(by_number)
            .map(|(label, _)| label.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(command: &str) -> Call {
        Call {
            tool: "Bash".into(),
            subject: command.into(),
            shape: [format!("Bash({command})")].into(),
            alone: false,
        }
    }

    #[test]
    fn only_known_words_allow() {
        for (text, reply) in [
            ("allow", Reply::Allow),
            (" Yes. ", Reply::Allow),
            ("1", Reply::Allow),
            ("Allow always", Reply::AllowAlways),
            ("2", Reply::AllowAlways),
            ("deny", Reply::Deny(None)),
            ("3", Reply::Deny(None)),
            (
                "Deny: use the mirror",
                Reply::Deny(Some("use the mirror".into())),
            ),
            ("deny:", Reply::Deny(None)),
            (
                "allow it only on Mondays",
                Reply::Deny(Some("allow it only on Mondays".into())),
            ),
            ("4", Reply::Deny(Some("4".into()))),
            ("ДА", Reply::Deny(Some("ДА".into()))),
        ] {
            assert_eq!(Reply::read(text), reply, "{text:?}");
        }
        for (n, option) in Reply::OPTIONS.iter().enumerate() {
            assert_eq!(Reply::read(option), Reply::read(&(n + 1).to_string()));
        }
    }

    #[test]
    fn allowed_for_good_is_the_same_shape_and_nothing_else() {
        let mut permissions = Permissions::default();
        assert_eq!(permissions.decide(&call("a")), Decision::Ask);
        permissions.answered(&call("a"), &Reply::Allow);
        assert_eq!(permissions.decide(&call("a")), Decision::Ask);
        permissions.answered(&call("a"), &Reply::AllowAlways);
        assert_eq!(permissions.decide(&call("a")), Decision::Allow);
        assert_eq!(permissions.decide(&call("b")), Decision::Ask);
        let mut both = call("a");
        both.shape.insert("Bash(b)".into());
        assert_eq!(
            permissions.decide(&both),
            Decision::Ask,
            "a part is not all"
        );
        let nothing = Call {
            shape: BTreeSet::new(),
            ..call("x")
        };
        assert_eq!(permissions.decide(&nothing), Decision::Ask);
    }

    #[test]
    fn a_run_in_which_nobody_is_asked_denies_what_was_not_allowed_before() {
        let kept = ["Bash(a)".to_owned()].into();
        let permissions = Permissions::new(PermissionRequests::Deny, kept);
        assert_eq!(permissions.decide(&call("a")), Decision::Allow);
        assert!(matches!(permissions.decide(&call("b")), Decision::Deny(_)));
    }

    #[test]
    fn with_nobody_there_the_waiting_has_an_end() {
        let mut permissions = Permissions::default();
        let limit = Millis(600_000);
        let mut waited = 0;
        for n in 0..8 {
            waited += permissions.time(limit).0;
            permissions.missed(&call(&n.to_string()));
        }
        assert!(waited < 2 * limit.0 + 8 * LEAST_TIME.0, "{waited}");
        assert_eq!(permissions.time(limit), LEAST_TIME);
        assert_eq!(permissions.time(Millis(50)), Millis(50));
        assert!(matches!(permissions.decide(&call("0")), Decision::Deny(_)));
        permissions.somebody_is_there();
        assert_eq!(permissions.decide(&call("0")), Decision::Ask);
        assert_eq!(permissions.time(limit), limit);
    }

    #[test]
    fn an_answer_chooses_by_number_or_label_or_is_taken_as_it_is() {
        let mut question = Question {
            text: "Which colour?".into(),
            options: vec![
                ("Red".into(), "warm".into()),
                ("blue".into(), "cold".into()),
            ],
            several: false,
        };
        assert_eq!(question.answer("1"), "Red");
        assert_eq!(question.answer("BLUE "), "blue");
        assert_eq!(question.answer("1, 2"), "1, 2");
        assert_eq!(question.answer("3"), "3");
        assert_eq!(question.answer("neither, green"), "neither, green");
        question.several = true;
        assert_eq!(question.answer("2,red"), "blue, Red");
        assert_eq!(question.answer("2, green"), "2, green");
        assert_eq!(question.shown(), "Which colour? (Red: warm; blue: cold)");
        // A label that looks like a number is the label.
        question.options = vec![("2".into(), String::new()), ("1".into(), String::new())];
        assert_eq!(question.answer("2"), "2");
        assert_eq!(question.shown(), "Which colour?");
    }
}
