//! Which command lines are this program's own, beyond any doubt.
//!
//! A line is one only if it is a single call of `orchestra` made of words that every shell
//! reads as they are written. There is nothing to get wrong in it: no quoting, no expansion,
//! no second command. And only commands are let pass that look, or that carry out what the
//! person started: none that decides in their place (delivering what they wanted to review,
//! throwing away, cancelling), none that puts words into an instance, and no flag that changes
//! what is run (`--verify`, `--setup`, `--permission-mode`, `--agent`, `--repo`, …).

/// The words of a line that is one call of `orchestra`, else nothing.
#[must_use]
pub fn words(line: &str) -> Option<Vec<String>> {
    if line.len() > 2_000 {
        return None;
    }
    let words: Vec<String> = line
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let safe = |word: &String| {
        word.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./:,+@%".contains(&b))
    };
    (words.first().is_some_and(|first| first == "orchestra") && words.iter().all(safe))
        .then_some(words)
}

/// What a flag's value must be.
#[derive(Clone, Copy)]
enum Value {
    None,
    Id,
    Number,
}

/// A command that is let pass.
struct Rule {
    name: &'static str,
    /// What may stand in its first place; empty means nothing.
    places: &'static [&'static str],
    /// Whether a task may come after that.
    task: bool,
    flags: &'static [(&'static str, Value)],
    /// Of these flags one is needed.
    needs: &'static [&'static str],
    /// Whether it only looks.
    looks: bool,
}

const ID: (&str, Value) = ("--orchestration", Value::Id);
const JSON: (&str, Value) = ("--json", Value::None);
const DRY: (&str, Value) = ("--dry-run", Value::None);
const TASK: (&str, Value) = ("--task", Value::Id);
const ISSUE: (&str, Value) = ("--issue", Value::Number);

const fn looking(name: &'static str, places: &'static [&'static str]) -> Rule {
    Rule {
        name,
        places,
        task: false,
        flags: &[ID, JSON],
        needs: &[],
        looks: true,
    }
}

const fn acting(
    name: &'static str,
    places: &'static [&'static str],
    flags: &'static [(&'static str, Value)],
    needs: &'static [&'static str],
) -> Rule {
    Rule {
        name,
        places,
        task: false,
        flags,
        needs,
        looks: false,
    }
}

const RULES: &[Rule] = &[
    looking("status", &["summary", "detailed", "resources", "issues"]),
    looking("list", &[]),
    looking("report", &[]),
    looking("doctor", &[]),
    looking("schema", &["plan", "status", "results", "config"]),
    Rule {
        task: true,
        ..looking("logs", &[])
    },
    Rule {
        flags: &[ID, JSON, ("--timeout", Value::Number)],
        ..looking("wait", &[])
    },
    acting(
        "plan",
        &[],
        &[ID, JSON, DRY, ISSUE, ("--retry", Value::None)],
        &["--orchestration", "--issue"],
    ),
    acting(
        "run",
        &[],
        &[
            ID,
            JSON,
            DRY,
            ISSUE,
            ("--retry", Value::None),
            ("--yes", Value::None),
            ("--detach", Value::None),
            ("--no-merge", Value::None),
            ("--max-workers", Value::Number),
            ("--timeout", Value::Number),
        ],
        &["--orchestration", "--issue"],
    ),
    acting(
        "merge",
        &["review", "manual"],
        &[
            ID,
            JSON,
            DRY,
            TASK,
            ("--diff", Value::Id),
            ("--timeout", Value::Number),
        ],
        &[],
    ),
    acting(
        "merge",
        &["automatic"],
        &[ID, JSON, DRY, TASK],
        &["--dry-run"],
    ),
    acting("undo", &[], &[JSON, DRY], &["--dry-run"]),
    looking("restore", &[]),
    acting("cleanup", &["success"], &[ID, JSON, DRY], &[]),
    acting("prune", &[], &[ID, JSON, DRY], &[]),
    acting(
        "cleanup",
        &["failed", "all"],
        &[ID, JSON, DRY],
        &["--dry-run"],
    ),
    Rule {
        task: true,
        ..acting("control", &["pause", "resume", "retry"], &[ID, JSON], &[])
    },
    acting("control", &["scale-up", "scale-down"], &[ID, JSON], &[]),
];

/// Whether the words are a command that is let pass. `looking_only`: only commands that
/// change nothing are.
#[must_use]
pub fn is_allowed(words: &[String], looking_only: bool) -> bool {
    let Some((name, rest)) = words.get(1).zip(words.get(2..)) else {
        // The bare program shows the status.
        return words.len() == 1;
    };
    if rest.is_empty() && matches!(name.as_str(), "--help" | "--version") {
        return true;
    }
    RULES
        .iter()
        .any(|rule| rule.name == name && (rule.looks || !looking_only) && fits(rule, rest))
}

fn fits(rule: &Rule, words: &[String]) -> bool {
    let mut places = 0;
    let mut needed = rule.needs.is_empty();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            let Some((flag, value)) = rule.flags.iter().find(|(flag, _)| *flag == word) else {
                return false;
            };
            let good = match value {
                Value::None => true,
                Value::Id => words.next().is_some_and(is_name),
                Value::Number => words
                    .next()
                    .is_some_and(|w| w.len() <= 6 && w.bytes().all(|b| b.is_ascii_digit())),
            };
            if !good {
                return false;
            }
            needed |= rule.needs.contains(flag);
            continue;
        }
        let first_is_word = !rule.places.is_empty();
        let good = match places {
            0 if first_is_word => rule.places.contains(&word),
            0 => rule.task && is_name(word),
            1 if first_is_word => rule.task && is_name(word),
            _ => false,
        };
        if !good {
            return false;
        }
        places += 1;
    }
    // `merge`, `cleanup` and `control` are nothing without their word.
    let complete = rule.looks || rule.places.is_empty() || places > 0;
    needed && complete
}

fn is_name(word: &str) -> bool {
    crate::core::id::OrchestrationId::parse(word).is_ok()
}
