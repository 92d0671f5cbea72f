//! Why an attempt failed, from what the client said and how its process ended.
//!
//! | end | exit | subtype | is_error | terminal_reason |
//! |---|---|---|---|---|
//! | done | 0 | success | false | completed |
//! | budget | 1 | error_max_budget_usd | true | budget_exhausted |
//! | max turns | 1 | error_max_turns | true | max_turns |
//! | API error | 1 | success | true | api_error |
//! | interrupted | 0 | error_during_execution | true | aborted_… |
//! | SIGTERM, SIGHUP, SIGKILL | 143, 129, 137 | no result line | | |

use crate::core::attempt::FailureClass;
use crate::format::claude_stream::{TurnResult, one_line};

/// How a process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (_, Some(9)) => f.pad("killed by SIGKILL"),
            (_, Some(signal)) => write!(f, "ended by signal {signal}"),
            (Some(code @ (129 | 137 | 143)), None) => {
                write!(f, "exit code {code} (signal {})", code - 128)
            }
            (Some(code), None) => write!(f, "exit code {code}"),
            (None, None) => f.pad("ended in an unknown way"),
        }
    }
}

/// Whether the turn ended well as far as the client knows. That is no evidence that the task
/// is done.
pub(crate) fn ended_well(result: &TurnResult) -> bool {
    result.subtype == "success" && !result.is_error
}

/// The failure that a result line tells.
pub(crate) fn of_result(result: &TurnResult) -> (FailureClass, String) {
    let said = words(result);
    let reason = result.terminal_reason.as_deref().unwrap_or_default();
    if result.subtype == "error_max_budget_usd" || reason == "budget_exhausted" {
        return (FailureClass::Budget, format!("the budget is spent: {said}"));
    }
    if result.subtype == "error_max_turns" {
        return (FailureClass::Other, format!("too many turns: {said}"));
    }
    if reason == "api_error" || result.api_error_status.is_some() || result.subtype == "success" {
        let class = of_api(result.api_error_status, &said);
        let detail = match result.api_error_status {
            Some(status) => format!("the provider answered {status}: {said}"),
            None => format!("the provider could not be used: {said}"),
        };
        return (class, detail);
    }
    if reason.starts_with("aborted") {
        let detail = format!("the turn was interrupted from outside ({reason}): {said}");
        return (FailureClass::Crash, detail);
    }
    if session_is_unknown(&said) {
        return (FailureClass::Crash, said);
    }
    let detail = format!("the client ended its turn with {}: {said}", result.subtype);
    (FailureClass::Crash, detail)
}

/// The failure of a turn that ended well and in which the model was never asked: the prompt
/// was blocked, or was a command of the client.
pub(crate) fn of_refused_prompt(result: &TurnResult) -> (FailureClass, String) {
    let detail = format!("the client did not take the prompt: {}", words(result));
    (FailureClass::BadResult, detail)
}

/// The failure of a process that ended without a result line. `ran_out`: the kernel ended it
/// for want of memory.
pub(crate) fn of_exit(exit: Exit, stderr: &str, ran_out: bool) -> (FailureClass, String) {
    let said = one_line(stderr, 600);
    let class = if ran_out {
        FailureClass::OutOfMemory
    } else if exit.signal.is_none() && is_about_login(&said) {
        FailureClass::Authentication
    } else if exit.code == Some(0) {
        FailureClass::BadResult
    } else {
        FailureClass::Crash
    };
    let exit = if ran_out {
        "ended by the system for want of memory".to_owned()
    } else {
        exit.to_string()
    };
    let detail = if said.is_empty() {
        format!("the agent ended without a result: {exit}")
    } else {
        format!("the agent ended without a result: {exit}; it said: {said}")
    };
    (class, detail)
}

/// Whether the client refused to make the session because it exists: then it can be resumed.
pub(crate) fn session_exists_already(stderr: &str) -> bool {
    stderr.contains("Session ID") && stderr.contains("already in use")
}

/// Whether the client says that there is no such session: then a new one is needed.
pub(crate) fn session_is_unknown(said: &str) -> bool {
    said.contains("No conversation found")
}

fn of_api(status: Option<u64>, said: &str) -> FailureClass {
    if is_about_usage_limit(said) {
        return FailureClass::UsageLimit;
    }
    match status {
        Some(401) => FailureClass::Authentication,
        Some(403) if is_about_login(said) => FailureClass::Authentication,
        // One model or feature that the account may not use.
        Some(403) => FailureClass::Permission,
        Some(402) => FailureClass::UsageLimit,
        Some(429 | 503 | 529) => FailureClass::Overload,
        Some(408 | 409 | 500..) => FailureClass::TransientApi,
        Some(_) => FailureClass::Other,
        None if is_about_login(said) => FailureClass::Authentication,
        None if said.to_ascii_lowercase().contains("overloaded") => FailureClass::Overload,
        None if said.to_ascii_lowercase().contains("prompt is too long") => FailureClass::Other,
        None => FailureClass::TransientApi,
    }
}

fn is_about_usage_limit(said: &str) -> bool {
    let said = said.to_ascii_lowercase().replace('\u{2019}', "'");
    // "You've hit your session limit", "… your weekly limit", "… your limit".
    let hit = said.split("hit your ").skip(1).any(|after| {
        let words = after.split_whitespace().take(4);
        words
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
            .any(|w| w == "limit")
    });
    // The rate is not the usage: that one passes within a minute.
    let reached = said.replace("rate limit reached", "");
    hit || [
        "usage limit",
        "limit reached",
        "credit balance is too low",
        "out of extra usage",
        "out of usage credits",
    ]
    .iter()
    .any(|words| reached.contains(words))
}

fn is_about_login(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    [
        "invalid api key",
        "/login",
        "not logged in",
        "oauth token",
        "oauth authentication",
        "disabled claude subscription",
        "authentication_error",
    ]
    .iter()
    .any(|words| said.contains(words))
}

fn words(result: &TurnResult) -> String {
    let mut said = one_line(&result.text, 600);
    for error in &result.errors {
        if !said.is_empty() {
            said.push_str("; ");
        }
        said.push_str(&one_line(error, 300));
    }
    if said.is_empty() {
        "it gave no reason".into()
    } else {
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(subtype: &str, reason: &str, status: Option<u64>, text: &str) -> TurnResult {
        TurnResult {
            subtype: subtype.into(),
            is_error: true,
            text: text.into(),
            terminal_reason: (!reason.is_empty()).then(|| reason.to_owned()),
            api_error_status: status,
            ..TurnResult::default()
        }
    }

    #[test]
    fn results_are_told_apart() {
        use FailureClass as F;
        for (subtype, reason, status, text, class) in [
            (
                "success",
                "api_error",
                Some(401),
                "Invalid",
                F::Authentication,
            ),
            ("success", "api_error", Some(403), "", F::Permission),
            (
                "success",
                "api_error",
                Some(403),
                "API Error: 403 permission_error: your account may not use this model",
                F::Permission,
            ),
            (
                "success",
                "api_error",
                Some(403),
                "OAuth authentication is currently not allowed for this organization.",
                F::Authentication,
            ),
            (
                "success",
                "api_error",
                Some(403),
                "Please run /login · API Error: 403 Request not allowed",
                F::Authentication,
            ),
            (
                "success",
                "api_error",
                Some(429),
                "You've hit your weekly limit · resets Nov 25, 5pm",
                F::UsageLimit,
            ),
            (
                "success",
                "api_error",
                None,
                "You\u{2019}ve hit your session limit · resets 8:30pm (Asia/Tokyo)",
                F::UsageLimit,
            ),
            (
                "success",
                "api_error",
                Some(429),
                "Request rate limit reached, try again",
                F::Overload,
            ),
            (
                "success",
                "api_error",
                Some(429),
                "rate_limit_error",
                F::Overload,
            ),
            (
                "success",
                "api_error",
                Some(429),
                "Claude AI usage limit reached|1760000000",
                F::UsageLimit,
            ),
            ("success", "api_error", Some(529), "Overloaded", F::Overload),
            ("success", "api_error", Some(500), "", F::TransientApi),
            (
                "success",
                "api_error",
                None,
                "Connection error.",
                F::TransientApi,
            ),
            (
                "success",
                "api_error",
                None,
                "Invalid API key · Please run /login",
                F::Authentication,
            ),
            ("success", "api_error", Some(400), "bad", F::Other),
            (
                "error_max_budget_usd",
                "budget_exhausted",
                None,
                "",
                F::Budget,
            ),
            ("error_max_turns", "max_turns", None, "", F::Other),
            (
                "error_during_execution",
                "aborted_tools",
                None,
                "",
                F::Crash,
            ),
            ("error_of_next_year", "", None, "", F::Crash),
        ] {
            let (found, detail) = of_result(&result(subtype, reason, status, text));
            assert_eq!(
                found, class,
                "{subtype} {reason} {status:?} {text}: {detail}"
            );
        }
    }

    #[test]
    fn exits_are_told_apart() {
        let exit = |code, signal| Exit { code, signal };
        for (exit, stderr, class, words) in [
            (exit(None, Some(9)), "", FailureClass::Crash, "SIGKILL"),
            (
                exit(Some(143), None),
                "",
                FailureClass::Crash,
                "143 (signal 15)",
            ),
            (
                exit(Some(0), None),
                "",
                FailureClass::BadResult,
                "exit code 0",
            ),
            (
                exit(Some(1), None),
                "Error: Session ID x is already in use.",
                FailureClass::Crash,
                "already in use",
            ),
            (
                exit(Some(1), None),
                "Not logged in · Please run /login",
                FailureClass::Authentication,
                "/login",
            ),
        ] {
            let (found, detail) = of_exit(exit, stderr, false);
            assert_eq!(found, class, "{detail}");
            assert!(detail.contains(words), "{detail}");
        }
    }

    #[test]
    fn an_end_for_want_of_memory_and_a_prompt_that_was_not_taken_are_told() {
        let exit = Exit {
            code: None,
            signal: Some(9),
        };
        let (class, detail) = of_exit(exit, "", true);
        assert_eq!(class, FailureClass::OutOfMemory);
        assert!(detail.contains("want of memory"), "{detail}");
        let refused = TurnResult {
            subtype: "success".into(),
            text: "blocked by a hook: no".into(),
            ..TurnResult::default()
        };
        let (class, detail) = of_refused_prompt(&refused);
        assert_eq!(class, FailureClass::BadResult);
        assert!(detail.contains("blocked by a hook: no"), "{detail}");
    }

    #[test]
    fn success_needs_both_signs() {
        assert!(ended_well(&TurnResult {
            subtype: "success".into(),
            ..TurnResult::default()
        }));
        assert!(!ended_well(&result("success", "api_error", Some(401), "")));
    }
}
