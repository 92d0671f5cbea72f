//! When a run is an emergency.

use crate::core::graph::TaskIx;

/// Why a run is shown, and hurried, as an emergency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// The tasks of critical priority, in input order.
    pub critical: Vec<TaskIx>,
    /// The words of the request that tell of an incident, as they were written.
    pub words: Vec<String>,
}

/// Phrases that tell of an incident, in lower case, words separated by one blank.
const PHRASES: &[&str] = &[
    "incident",
    "outage",
    "hotfix",
    "hot fix",
    "emergency",
    "urgent",
    "urgently",
    "asap",
    "immediately",
    "sev1",
    "sev 1",
    "sev0",
    "sev 0",
    "p0",
    "production down",
    "production is down",
    "prod down",
    "prod is down",
    "site is down",
    "site down",
    "service is down",
    "security breach",
    "data loss",
    "data leak",
    "zero day",
    "0 day",
];

/// What makes "critical" tell of an incident rather than of a critical path.
const TROUBLE: &[&str] = &[
    "bug",
    "bugs",
    "issue",
    "issues",
    "error",
    "errors",
    "failure",
    "failures",
    "problem",
    "problems",
    "defect",
    "defects",
    "vulnerability",
    "vulnerabilities",
    "crash",
    "crashes",
    "security",
    "fix",
    "production",
];

const DENIALS: &[&str] = &["no", "not", "non", "without", "isn", "never"];

/// The words of `request` that tell of an incident.
pub(super) fn incident_words(request: &str) -> Vec<String> {
    let words: Vec<&str> = request
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let folded: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let mut found = Vec::new();
    for at in 0..folded.len() {
        let denied = |back: usize| {
            at.checked_sub(back)
                .is_some_and(|before| DENIALS.contains(&folded[before].as_str()))
        };
        if denied(1) {
            continue;
        }
        for phrase in PHRASES {
            let length = phrase.split(' ').count();
            let matches = folded.len() >= at + length
                && phrase.split(' ').zip(&folded[at..]).all(|(a, b)| a == b);
            if matches {
                found.push(words[at..at + length].join(" "));
            }
        }
        if folded[at] == "critical" {
            let near = &folded[at.saturating_sub(1)..folded.len().min(at + 4)];
            if near.iter().any(|word| TROUBLE.contains(&word.as_str())) {
                found.push(words[at].to_owned());
            }
        }
    }
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_told_from_ordinary_wishes() {
        for (request, words) in [
            (
                "Fix critical payment bug, add user profiles",
                vec!["critical"],
            ),
            (
                "URGENT: production is down!",
                vec!["URGENT", "production is down"],
            ),
            ("Hot-fix the login", vec!["Hot fix"]),
            ("Improve the critical rendering path", vec![]),
            ("A non-urgent tidy-up, not critical bug", vec![]),
            ("Create frontend, build backend, setup database", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(incident_words(request), words, "{request}");
        }
    }
}
