//! From JSON to a [`Plan`]: strict about fields and types, and all faults at once.
//!
//! Where something is unreadable a blank stands in for it, so that the positions of
//! everything else stay those of the input.

use std::collections::HashMap;

use super::SCHEMA_VERSION;
use super::json::Json;
use crate::core::plan::{Faults, Limits, Plan, SequenceDraft, TaskDraft, nearest};

/// The fields of a plan.
pub(super) const PLAN_FIELDS: &[&str] = &["schemaVersion", "request", "tasks", "sequenced"];

/// The fields of a task.
pub(super) const TASK_FIELDS: &[&str] = &[
    "name",
    "description",
    "prompt",
    "type",
    "subagent",
    "dependencies",
    "priority",
    "files",
    "success_criteria",
    "allowed_tools",
    "base_branch",
    "model",
    "timeout_seconds",
    "max_budget_usd",
    "max_attempts",
    "estimated_minutes",
    "issue_number",
];

pub(super) const SEQUENCE_FIELDS: &[&str] = &["before", "after", "because"];

/// Words that others use for these fields. Not accepted, but pointed at.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("acceptance", "success_criteria"),
    ("acceptancecriteria", "success_criteria"),
    ("agent", "subagent"),
    ("agenttype", "subagent"),
    ("branch", "base_branch"),
    ("blockedby", "dependencies"),
    ("budget", "max_budget_usd"),
    ("criteria", "success_criteria"),
    ("dependson", "dependencies"),
    ("deps", "dependencies"),
    ("estimate", "estimated_minutes"),
    ("goal", "request"),
    ("id", "name"),
    ("instructions", "prompt"),
    ("issue", "issue_number"),
    ("key", "name"),
    ("kind", "type"),
    ("paths", "files"),
    ("requires", "dependencies"),
    ("retries", "max_attempts"),
    ("role", "subagent"),
    ("steps", "tasks"),
    ("timeout", "timeout_seconds"),
    ("title", "name"),
    ("tools", "allowed_tools"),
    ("userrequest", "request"),
    ("version", "schemaVersion"),
];

/// Reads a plan. `None` when there is so much of it that nothing else needs a look.
pub(super) fn plan(json: Json, limits: &Limits, faults: &mut Faults) -> Option<Plan> {
    let fields = match json {
        Json::List(tasks) => vec![("tasks".to_owned(), Json::List(tasks))],
        Json::Object(fields) => fields,
        other => {
            faults.add(
                "plan",
                format!("The plan is {}, not an object", other.what()),
                "Write {\"tasks\": [{\"name\": \"…\"}]}",
            );
            return None;
        }
    };
    let mut fields = Fields::new(fields, "", PLAN_FIELDS, faults);
    // Editors want to know the schema; it says nothing about the plan.
    if let Some(version) = fields.number("schemaVersion", faults)
        && version != f64::from(SCHEMA_VERSION)
    {
        faults.add(
            "schemaVersion",
            format!("The plan has version {version}; this program knows version {SCHEMA_VERSION}"),
            "Update this program, or write 1 or nothing if you wrote the plan yourself",
        );
    }
    let request = fields.text("request", faults);
    let entries = fields.list("tasks", faults).unwrap_or_else(|| {
        // Without tasks nothing else can be said of them.
        faults.add(
            "tasks",
            "The field \"tasks\" is missing",
            "Add \"tasks\": [{\"name\": \"…\"}]",
        );
        Vec::new()
    });
    if entries.len() > limits.max_tasks.saturating_mul(10) {
        faults.add(
            "plan",
            format!(
                "There are {} tasks; more than {} make no sense in one run",
                entries.len(),
                limits.max_tasks
            ),
            "Join small tasks, or split the plan into several runs",
        );
        return None;
    }
    let tasks = entries
        .into_iter()
        .enumerate()
        .map(|(at, json)| task(json, &format!("tasks[{at}]"), faults))
        .collect();
    let sequenced = fields.list("sequenced", faults).unwrap_or_default();
    let sequenced = sequenced
        .into_iter()
        .enumerate()
        .map(|(at, json)| sequence(json, &format!("sequenced[{at}]"), faults))
        .collect();
    Some(Plan {
        request,
        tasks,
        sequenced,
    })
}

fn task(json: Json, place: &str, faults: &mut Faults) -> TaskDraft {
    let fields = match json {
        Json::Object(fields) => fields,
        other => {
            let remedy = match &other {
                Json::Text(name) if name.len() < 100 => format!("Write {{\"name\": {name:?}}}"),
                _ => "Write {\"name\": \"…\"}".to_owned(),
            };
            faults.add(
                place,
                format!("The task is {}, not an object", other.what()),
                remedy,
            );
            return TaskDraft::default();
        }
    };
    let mut fields = Fields::new(fields, place, TASK_FIELDS, faults);
    let name = fields.text("name", faults).unwrap_or_else(|| {
        faults.add(
            format!("{place}.name"),
            "The task has no name",
            "Add \"name\": \"…\", with letters, digits and '-'",
        );
        String::new()
    });
    TaskDraft {
        name,
        description: fields.text("description", faults),
        prompt: fields.text("prompt", faults),
        kind: fields.text("type", faults),
        subagent: fields.text("subagent", faults),
        dependencies: fields.texts("dependencies", faults).unwrap_or_default(),
        priority: fields.text("priority", faults),
        files: fields.texts("files", faults).unwrap_or_default(),
        success_criteria: fields.texts("success_criteria", faults).unwrap_or_default(),
        allowed_tools: fields.texts("allowed_tools", faults),
        base_branch: fields.text("base_branch", faults),
        model: fields.text("model", faults),
        timeout_seconds: fields.number("timeout_seconds", faults),
        max_budget_usd: fields.number("max_budget_usd", faults),
        max_attempts: fields.number("max_attempts", faults),
        estimated_minutes: fields.number("estimated_minutes", faults),
        issue_number: fields.number("issue_number", faults),
    }
}

fn sequence(json: Json, place: &str, faults: &mut Faults) -> SequenceDraft {
    let Json::Object(fields) = json else {
        faults.add(
            place,
            format!("The entry is {}, not an object", json.what()),
            "Remove it; overlaps are found anew",
        );
        return SequenceDraft::default();
    };
    let mut fields = Fields::new(fields, place, SEQUENCE_FIELDS, faults);
    let mut side = |field: &str, faults: &mut Faults| {
        fields.text(field, faults).unwrap_or_else(|| {
            faults.add(
                format!("{place}.{field}"),
                format!("The field \"{field}\" is missing"),
                "Add the name of a task, or remove the entry",
            );
            String::new()
        })
    };
    let (before, after) = (side("before", faults), side("after", faults));
    let mut because = Vec::new();
    for (n, pair) in fields
        .list("because", faults)
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        if let Json::List(pair) = pair
            && let Ok([Json::Text(one), Json::Text(other)]) = <[Json; 2]>::try_from(pair)
        {
            because.push((one, other));
            continue;
        }
        faults.add(
            format!("{place}.because[{n}]"),
            "The reason is not a pair of globs",
            "Write [\"src/**\", \"src/api/*\"], or remove it",
        );
    }
    SequenceDraft {
        before,
        after,
        because,
    }
}

/// The fields of one object, each taken once.
struct Fields {
    place: String,
    values: HashMap<&'static str, Json>,
}

impl Fields {
    /// Sorts out unknown and repeated fields.
    fn new(
        fields: Vec<(String, Json)>,
        place: &str,
        known: &'static [&'static str],
        faults: &mut Faults,
    ) -> Self {
        let mut values = HashMap::new();
        let at = |name: &str| {
            if name.is_empty() {
                format!("{place}[\"\"]")
            } else if place.is_empty() {
                name.to_owned()
            } else {
                format!("{place}.{name}")
            }
        };
        for (name, value) in fields {
            // Editors look for this one, and it says nothing about the plan.
            if name == "$schema" && place.is_empty() {
                continue;
            }
            let Some(field) = known.iter().copied().find(|field| is_field(&name, field)) else {
                let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
                let remedy = match meant(&name, known) {
                    Some(near) => format!("Did you mean {near:?}? Otherwise remove it"),
                    None => format!("Remove it; known fields are {}", known.join(", ")),
                };
                faults.add(at(&shown), format!("There is no field \"{shown}\""), remedy);
                continue;
            };
            if values.contains_key(field) {
                faults.add(
                    at(field),
                    format!("The field \"{field}\" occurs twice"),
                    "Keep one of them",
                );
            } else {
                values.insert(field, value);
            }
        }
        Self {
            place: place.to_owned(),
            values,
        }
    }

    fn at(&self, field: &str) -> String {
        if self.place.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.place)
        }
    }

    /// The value; null is the same as none.
    fn take(&mut self, field: &str) -> Option<Json> {
        self.values
            .remove(field)
            .filter(|value| *value != Json::Null)
    }

    fn text(&mut self, field: &str, faults: &mut Faults) -> Option<String> {
        match self.take(field)? {
            Json::Text(text) => Some(text),
            other => {
                let remedy = match other {
                    Json::Number(number) => format!("Put it in quotation marks: \"{number}\""),
                    _ => "Write a text in quotation marks".to_owned(),
                };
                faults.add(
                    self.at(field),
                    format!("A text was expected, not {}", other.what()),
                    remedy,
                );
                None
            }
        }
    }

    fn number(&mut self, field: &str, faults: &mut Faults) -> Option<f64> {
        match self.take(field)? {
            Json::Number(number) => Some(number),
            other => {
                let remedy = match &other {
                    Json::Text(text) if text.trim().parse::<f64>().is_ok_and(f64::is_finite) => {
                        format!("Write {} without quotation marks", text.trim())
                    }
                    _ => "Write a number, or leave it out".to_owned(),
                };
                faults.add(
                    self.at(field),
                    format!("A number was expected, not {}", other.what()),
                    remedy,
                );
                None
            }
        }
    }

    fn list(&mut self, field: &str, faults: &mut Faults) -> Option<Vec<Json>> {
        match self.take(field)? {
            Json::List(list) => Some(list),
            other => {
                let remedy = match &other {
                    Json::Text(text) if text.len() < 100 => format!("Write [{text:?}]"),
                    Json::Object(_) => "Write [{…}]".to_owned(),
                    _ => "Write a list: […]".to_owned(),
                };
                faults.add(
                    self.at(field),
                    format!("A list was expected, not {}", other.what()),
                    remedy,
                );
                None
            }
        }
    }

    fn texts(&mut self, field: &str, faults: &mut Faults) -> Option<Vec<String>> {
        let list = self.list(field, faults)?;
        let texts = list.into_iter().enumerate().map(|(n, json)| match json {
            Json::Text(text) => text,
            other => {
                faults.add(
                    format!("{}[{n}]", self.at(field)),
                    format!("A text was expected, not {}", other.what()),
                    "Write a text in quotation marks, or remove the entry",
                );
                String::new()
            }
        });
        Some(texts.collect())
    }
}

/// Whether `written` is the field, in snake_case or in camelCase.
fn is_field(written: &str, field: &str) -> bool {
    written == field || written == camel(field) || written == snake(field)
}

fn camel(field: &str) -> String {
    let mut parts = field.split('_');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut chars = part.chars();
        name.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

fn snake(field: &str) -> String {
    let mut name = String::new();
    for c in field.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// The known field that was probably meant.
fn meant(written: &str, known: &[&'static str]) -> Option<&'static str> {
    let folded: String = written
        .chars()
        .take(60)
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    OTHER_WORDS
        .iter()
        .find(|(other, field)| *other == folded && known.contains(field))
        .map(|(_, field)| *field)
        .or_else(|| nearest(written, known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_a_field_are_known() {
        for written in ["max_budget_usd", "maxBudgetUsd"] {
            assert!(is_field(written, "max_budget_usd"));
        }
        for written in ["schemaVersion", "schema_version"] {
            assert!(is_field(written, "schemaVersion"));
        }
        for written in ["maxbudgetusd", "Name", "max-budget-usd"] {
            assert!(!is_field(written, "max_budget_usd") && !is_field(written, "name"));
            assert!(meant(written, TASK_FIELDS).is_some(), "{written}");
        }
    }

    #[test]
    fn words_of_others_are_pointed_at() {
        for (written, field) in [
            ("depends_on", "dependencies"),
            ("dependsOn", "dependencies"),
            ("acceptanceCriteria", "success_criteria"),
            ("prioritty", "priority"),
        ] {
            assert_eq!(meant(written, TASK_FIELDS), Some(field));
        }
        assert_eq!(meant("colour", TASK_FIELDS), None);
        for (_, field) in OTHER_WORDS {
            assert!(
                TASK_FIELDS.contains(field) || PLAN_FIELDS.contains(field),
                "{field}"
            );
        }
    }
}
