//! A result that was set aside, with what a person needs in order to decide about it.

use crate::core::id::{TaskName, listed};
use crate::core::record::AsideWhy;
use crate::core::state::TaskState;

use super::super::log_line;
use super::super::page::{fit, one_line};
use super::super::snapshot::{Snapshot, TaskView};
use super::{Issue, NAMED_FILES};

/// Most tasks on the other side of a conflict that are shown with what they are about.
const SIDES: usize = 3;
/// Most characters of what a task is about, and of what its instance said.
const INTENT: usize = 240;
/// Most lines of an output that are shown.
const OUTPUT: usize = 8;

/// The issue.
pub(super) fn issue(snapshot: &Snapshot, task: &TaskView, why: &AsideWhy) -> Issue {
    let (id, name) = (&snapshot.id, &task.name);
    let retry = format!(
        "orchestra control retry {name} --orchestration {id} - its own instance goes on, on top \
         of what was delivered"
    );
    let (what, details, remedies) = match why {
        AsideWhy::Conflict {
            files,
            with,
            detail,
        } => {
            let mut details = side(snapshot, task);
            let others = with.iter().filter_map(|other| snapshot.task(other));
            details.extend(others.take(SIDES).flat_map(|t| side(snapshot, t)));
            if let Some(detail) = detail {
                details.push(format!("an instance tried to resolve it: {detail}"));
            }
            (
                conflict(files, with),
                details,
                of_conflict(snapshot, name, retry),
            )
        }
        AsideWhy::Red { commit, tail, with } => {
            let how = if with.is_empty() {
                "the verify command fails with it and passes without it".to_owned()
            } else {
                format!(
                    "the verify command passes with it alone and fails with it and {} together",
                    listed(with)
                )
            };
            (
                format!("{how} (in {})", commit.short()),
                end_of(tail),
                vec![
                    retry,
                    format!(
                        "git worktree add --detach ../red {} - the tree on which it fails",
                        commit.short()
                    ),
                ],
            )
        }
        AsideWhy::Because { task } => (
            log_line::aside(why),
            vec![],
            vec![format!("nothing for itself: it is merged when {task} is")],
        ),
    };
    Issue {
        kind: "set aside",
        task: Some(name.to_string()),
        what,
        details,
        options: vec![],
        remedies,
    }
}

/// What can be done about a conflict.
fn of_conflict(snapshot: &Snapshot, name: &TaskName, retry: String) -> Vec<String> {
    let id = &snapshot.id;
    vec![
        format!(
            "orchestra control answer {name} \"HOW TO RESOLVE IT\" --orchestration {id} - an \
             instance resolves it as you say"
        ),
        retry,
        format!("orchestra merge manual --orchestration {id} - you merge it, one at a time"),
    ]
}

fn conflict(files: &[String], with: &[TaskName]) -> String {
    let mut named = files
        .iter()
        .take(NAMED_FILES)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if files.len() > NAMED_FILES {
        named.push_str(&format!(" and {} more", files.len() - NAMED_FILES));
    }
    if with.is_empty() {
        format!("it conflicts with the base branch in {named}")
    } else {
        format!("it conflicts with {} in {named}", listed(with))
    }
}

/// One side of a conflict: its branch and commit, what it was to do, what it did.
fn side(snapshot: &Snapshot, task: &TaskView) -> Vec<String> {
    let mut head = format!("{}:", task.name);
    if let Some(place) = &task.place {
        head.push_str(&format!(" {}", place.branch));
    }
    let mut lines = Vec::new();
    let own = task.description.as_deref().or(task.prompt.as_deref());
    let intent = own.or_else(|| {
        // The only task of a sentence is about that sentence.
        let only = snapshot.tasks.len() == 1;
        snapshot.request.as_deref().filter(|_| only)
    });
    let mut say = |label: &str, text: &str| {
        let first = text.trim().lines().next().unwrap_or_default();
        let text = fit(&one_line(first), INTENT);
        if !text.is_empty() {
            lines.push(format!("  {label} {text}"));
        }
    };
    if let Some(intent) = intent {
        say("asked:", intent);
    }
    if let TaskState::Done { head: tip, summary } = &task.state {
        head.push_str(&format!(" at {}", tip.short()));
        say("did:", summary);
    }
    lines.insert(0, head);
    lines
}

/// The last lines of an output.
pub(super) fn end_of(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(OUTPUT);
    let mut out: Vec<String> = Vec::new();
    if from > 0 {
        out.push("  | …".to_owned());
    }
    let rest = lines.iter().skip(from);
    out.extend(rest.map(|line| fit(&format!("  | {}", one_line(line)), INTENT)));
    out
}
