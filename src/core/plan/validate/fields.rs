//! The fields of one task, and the request: each checked by itself.

use super::super::text::quoted;
use super::super::{
    AgentName, FilePattern, ModelName, Priority, Task, TaskDraft, TaskKind, ToolRule, nearest,
    suggest_name,
};
use super::Check;
use crate::core::id::{BranchName, TaskName};

/// Longest single success criterion, in bytes.
const MAX_CRITERION: usize = 10_000;
/// Most entries in any list of a task but its dependencies.
const MAX_ENTRIES: usize = 200;
const MAX_SECONDS: f64 = 30.0 * 24.0 * 3600.0;
const MAX_MINUTES: f64 = 30.0 * 24.0 * 60.0;
const MAX_ATTEMPTS: f64 = 100.0;
const MAX_USD: f64 = 1_000_000.0;
/// Numbers above this are not exact in JSON.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

impl Check<'_> {
    /// The task, or nothing when its name is unusable. Other faults leave a blank behind.
    pub(super) fn task(&mut self, at: usize, draft: &TaskDraft) -> Option<Task> {
        let place = |field: &str| format!("tasks[{at}].{field}");
        let longest = self.limits.max_text_bytes;
        let name = self.name(at, &draft.name);
        let kind = match (&draft.kind, &name) {
            (Some(word), _) => self.word(
                &place("type"),
                word,
                TaskKind::parse,
                "Write feature, bugfix, documentation, testing, refactoring, investigation or \
                 another plain word",
            ),
            (None, Some(name)) => Some(TaskKind::told_by(name)),
            (None, None) => None,
        };
        let priority = draft
            .priority
            .as_deref()
            .map_or(Some(Priority::default()), |word| {
                let known = Priority::parse(word);
                if known.is_none() {
                    let words = Priority::ALL.map(Priority::as_str);
                    let meant = nearest(word, words)
                        .map(|near| format!("Did you mean {near:?}? "))
                        .unwrap_or_default();
                    self.faults.add(
                        place("priority"),
                        format!("{} is not a priority", quoted(word)),
                        format!("{meant}Write critical, high, normal or low"),
                    );
                }
                known
            });
        let task = Task {
            kind: kind.unwrap_or_default(),
            description: self.text(&place("description"), draft.description.as_deref(), longest),
            prompt: self.text(&place("prompt"), draft.prompt.as_deref(), longest),
            subagent: draft.subagent.as_deref().and_then(|word| {
                self.word(
                    &place("subagent"),
                    word,
                    AgentName::parse,
                    "Write the name of a subagent, such as feature-development",
                )
            }),
            priority: priority.unwrap_or_default(),
            files: self.files(at, &draft.files),
            success_criteria: self.criteria(at, &draft.success_criteria),
            allowed_tools: self.tools(at, draft.allowed_tools.as_deref()),
            base_branch: draft.base_branch.as_deref().and_then(|word| {
                // The fault names the text itself.
                BranchName::parse(word)
                    .map_err(|fault| {
                        self.faults.add(
                            place("base_branch"),
                            format!(
                                "{} is not a branch name that git accepts: {}",
                                quoted(word),
                                fault.why
                            ),
                            "Write the name of an existing branch, such as main",
                        );
                    })
                    .ok()
            }),
            model: draft.model.as_deref().and_then(|word| {
                self.word(
                    &place("model"),
                    word,
                    ModelName::parse,
                    "Write the name of a model, such as sonnet",
                )
            }),
            timeout_seconds: self
                .whole(
                    &place("timeout_seconds"),
                    draft.timeout_seconds,
                    MAX_SECONDS,
                    "Write how many seconds, such as 3600, or leave it out",
                )
                .map(to_u32),
            max_budget_usd: self.money(&place("max_budget_usd"), draft.max_budget_usd),
            max_attempts: self
                .whole(
                    &place("max_attempts"),
                    draft.max_attempts,
                    MAX_ATTEMPTS,
                    "Write how many times it may be tried, such as 3, or leave it out",
                )
                .map(to_u32),
            estimated_minutes: self.minutes(&place("estimated_minutes"), draft.estimated_minutes),
            issue_number: self
                .whole(
                    &place("issue_number"),
                    draft.issue_number,
                    MAX_EXACT,
                    "Write the number of the issue, such as 123, or leave it out",
                )
                .map(to_u64),
            name: name?,
        };
        Some(task)
    }

    fn name(&mut self, at: usize, raw: &str) -> Option<TaskName> {
        match TaskName::parse(raw) {
            Ok(name) => Some(name),
            Err(fault) => {
                let suggestion = suggest_name(raw)
                    .map_or_else(|| format!("task-{}", at + 1), |name| name.to_string());
                self.faults.add(
                    format!("tasks[{at}].name"),
                    format!("{} is not usable as a name: {fault}", quoted(raw)),
                    format!("Call it {suggestion:?}, for example"),
                );
                None
            }
        }
    }

    /// A text; blank counts as not given.
    pub(super) fn text(
        &mut self,
        place: &str,
        text: Option<&str>,
        longest: usize,
    ) -> Option<String> {
        let text = text.filter(|text| !text.trim().is_empty())?;
        if text.len() > longest {
            self.faults.add(
                place,
                format!(
                    "The text is {} bytes long; at most {longest} are allowed",
                    text.len()
                ),
                "Shorten it, and name a file of the repository to read instead",
            );
        } else if text.contains('\0') {
            self.faults
                .add(place, "The text holds a NUL character", "Remove it");
        }
        Some(text.to_owned())
    }

    /// A word with a grammar of its own.
    fn word<T, E: std::fmt::Display>(
        &mut self,
        place: &str,
        word: &str,
        parse: impl Fn(&str) -> Result<T, E>,
        remedy: &str,
    ) -> Option<T> {
        match parse(word) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.faults.add(
                    place,
                    format!("{} is not usable here: {fault}", quoted(word)),
                    remedy,
                );
                None
            }
        }
    }

    fn entries(&mut self, place: &str, count: usize) {
        if count > MAX_ENTRIES {
            self.faults.add(
                place,
                format!("The list has {count} entries; at most {MAX_ENTRIES} are allowed"),
                "Shorten it",
            );
        }
    }

    fn files(&mut self, at: usize, globs: &[String]) -> Vec<FilePattern> {
        self.entries(&format!("tasks[{at}].files"), globs.len());
        let mut files: Vec<FilePattern> = Vec::new();
        for (n, glob) in globs.iter().enumerate().take(MAX_ENTRIES) {
            let place = format!("tasks[{at}].files[{n}]");
            match FilePattern::parse(glob) {
                Ok(pattern) => {
                    if pattern.covers_everything() {
                        self.note(
                            place,
                            "this glob covers the whole repository, so that no other task with \
                             files can run at the same time",
                        );
                    }
                    if !files.contains(&pattern) {
                        files.push(pattern);
                    }
                }
                Err(fault) => self.faults.add(
                    place,
                    format!("{} is not a usable glob: {fault}", quoted(glob)),
                    fault.remedy(),
                ),
            }
        }
        files
    }

    fn criteria(&mut self, at: usize, criteria: &[String]) -> Vec<String> {
        self.entries(&format!("tasks[{at}].success_criteria"), criteria.len());
        criteria
            .iter()
            .enumerate()
            .take(MAX_ENTRIES)
            .filter_map(|(n, text)| {
                let place = format!("tasks[{at}].success_criteria[{n}]");
                self.text(&place, Some(text), MAX_CRITERION)
            })
            .collect()
    }

    fn tools(&mut self, at: usize, rules: Option<&[String]>) -> Option<Vec<ToolRule>> {
        let rules = rules?;
        self.entries(&format!("tasks[{at}].allowed_tools"), rules.len());
        let mut tools: Vec<ToolRule> = Vec::new();
        for (n, rule) in rules.iter().enumerate().take(MAX_ENTRIES) {
            let rule = self.word(
                &format!("tasks[{at}].allowed_tools[{n}]"),
                rule,
                ToolRule::parse,
                "Write one tool per entry, such as \"Edit\" or \"Bash(git add *)\"",
            );
            tools.extend(rule.filter(|rule| !tools.contains(rule)));
        }
        // An instance without any tool could do nothing, so that an empty list means none given.
        (!tools.is_empty()).then_some(tools)
    }

    /// A whole number from 1 to `most`.
    fn whole(&mut self, place: &str, value: Option<f64>, most: f64, remedy: &str) -> Option<f64> {
        let value = value?;
        if value.fract() == 0.0 && (1.0..=most).contains(&value) {
            return Some(value);
        }
        self.faults.add(
            place,
            format!("{value} is not a whole number from 1 to {most}"),
            remedy,
        );
        None
    }

    fn money(&mut self, place: &str, value: Option<f64>) -> Option<f64> {
        let value = value?;
        if value > 0.0 && value <= MAX_USD {
            return Some(value);
        }
        self.faults.add(
            place,
            format!("{value} is not an amount of money above 0 and up to {MAX_USD}"),
            "Write US dollars, such as 2.5, or leave it out",
        );
        None
    }

    /// Minutes, rounded up.
    fn minutes(&mut self, place: &str, value: Option<f64>) -> Option<u32> {
        let value = value?;
        if value > 0.0 && value <= MAX_MINUTES {
            return Some(to_u32(value.ceil()));
        }
        self.faults.add(
            place,
            format!("{value} is not a number of minutes above 0 and up to {MAX_MINUTES}"),
            "Write an estimate, or leave it out",
        );
        None
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number from 1 to a limit far below u32::MAX"
)]
fn to_u32(value: f64) -> u32 {
    value as u32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number from 1 to 2^53 - 1"
)]
fn to_u64(value: f64) -> u64 {
    value as u64
}
