//! `orchestra status detailed`: each task with all that is known of it.

use crate::core::record::SettledFile;
use crate::format::status_file::Progress;

use super::clock;
use super::lines::{self, short};
use super::merging::ResultIs;
use super::page::{Page, Tone, bar, count, fit, money, one_line, plural};
use super::snapshot::{Snapshot, TaskView};
use super::summary;

/// The most notes that are shown.
const MOST_NOTES: usize = 20;

/// The detailed view.
#[must_use]
pub fn render(snapshot: &Snapshot, page: &Page) -> String {
    let mut text = summary::header(snapshot, page);
    let phases = lines::milestones(snapshot, page);
    if !phases.is_empty() {
        text.push('\n');
    }
    for line in phases {
        text.push_str(&line);
        text.push('\n');
    }
    for task in snapshot.rows() {
        text.push('\n');
        text.push_str(&lines::task_line(snapshot, task, page));
        text.push('\n');
        for line in lines::below(snapshot, task, page) {
            text.push_str(&line);
            text.push('\n');
        }
        for line in facts(snapshot, task, page) {
            text.push_str("    ");
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str(&notes(snapshot, page));
    text
}

/// The newest notes of the run.
fn notes(snapshot: &Snapshot, page: &Page) -> String {
    let mut text = String::new();
    if snapshot.notes.is_empty() {
        return text;
    }
    let hidden = snapshot.notes.len().saturating_sub(MOST_NOTES);
    text.push_str(&format!("\n{}\n", page.faint("notes of the instances")));
    for note in snapshot.notes.iter().skip(hidden) {
        let line = format!("{}: {}", note.task, one_line(&note.text));
        text.push_str(&format!(
            "    {}\n",
            fit(&line, page.width.saturating_sub(4))
        ));
    }
    if hidden > 0 {
        let file = snapshot.dir.join("notes.jsonl");
        let line = format!("{hidden} older ones are in {}", file.display());
        text.push_str(&format!("    {}\n", page.faint(&line)));
    }
    text
}

fn facts(snapshot: &Snapshot, task: &TaskView, page: &Page) -> Vec<String> {
    let width = page.width.saturating_sub(4);
    let mut out = Vec::new();
    let mut row = |label: &str, value: &str| {
        let value = fit(&one_line(value), width.saturating_sub(10));
        out.push(format!("{}{value}", page.faint(&format!("{label:<10}"))));
    };
    let attempt = match task.attempts {
        0 => format!("role {}, not started", task.role),
        // Attempts that were paused do not count against the limit.
        n if task.failures > 0 => format!(
            "role {}, attempt {n} ({} of at most {} failed)",
            task.role, task.failures, task.max_attempts
        ),
        n => format!("role {}, attempt {n}", task.role),
    };
    row("work", &attempt);
    if let Some(place) = &task.place {
        row("branch", place.branch.as_str());
        let gone = if task.worktree_exists {
            ""
        } else {
            " (removed)"
        };
        row("worktree", &format!("{}{gone}", place.worktree.display()));
    }
    if let Some((text, settled)) = result(snapshot, task) {
        row("result", &text);
        for file in settled {
            row("settled", &format!("{} ({})", file.path, file.by));
        }
    }
    let Some(status) = task.status.as_ref().filter(|_| task.attempts > 0) else {
        return out;
    };
    let unknown = || "?".to_owned();
    let lines_changed = match (status.lines_added, status.lines_removed) {
        (Some(added), Some(removed)) => format!("+{added} -{removed} lines"),
        _ => "? lines".to_owned(),
    };
    let files = status
        .files_changed
        .map_or_else(|| "? files".to_owned(), |n| plural(n as usize, "file"));
    row("changes", &format!("{files}, {lines_changed}"));
    let tokens = status.tokens.map_or_else(
        || "? tokens".to_owned(),
        |t| {
            format!(
                "{} tokens in, {} out",
                count(t.input + t.cache_creation + t.cache_read),
                count(t.output)
            )
        },
    );
    row(
        "cost",
        &format!("{}, {tokens}", status.cost_usd.map_or_else(unknown, money)),
    );
    if let Some(since) = task.instance().and_then(|s| s.attached_since.as_deref()) {
        let since = clock::parse(since).map_or_else(unknown, clock::time_of_day);
        row("attached", &format!("with you, since {since} UTC"));
    }
    if let Some(session) = &task.by_hand {
        let since = clock::time_of_day(session.since);
        let age = short(snapshot.taken_at.since(session.seen));
        let mut text = format!("since {since} UTC, {age} ago: ");
        if let (Some(done), Some(total)) = (session.progress.done, session.progress.total) {
            text.push_str(&format!("{done} of {total} items, "));
        }
        text.push_str(&lines::without_way(task, &session.doing));
        row("by hand", &text);
    }
    if task.is_active() {
        let beat = task.heartbeat_age(snapshot.taken_at);
        row(
            "heartbeat",
            &beat.map_or_else(unknown, |age| format!("{} ago", short(age))),
        );
    }
    if task.is_active()
        && let Some(activity) = lines::activity(task)
    {
        row("doing", &activity);
    }
    if let Some(message) = &status.forwarded_message {
        row("told", message);
    }
    let progress = &status.progress;
    match (
        task.percent().filter(|_| task.is_active()),
        progress.done,
        progress.total,
    ) {
        (Some(percent), Some(done), Some(total)) => {
            row(
                "progress",
                &format!("[{}] {percent}%  {done} of {total} items", bar(percent, 20)),
            );
        }
        (Some(percent), _, _) => row("progress", &format!("[{}] {percent}%", bar(percent, 20))),
        (None, Some(done), Some(total)) => row("items", &format!("{done} of {total}")),
        _ if task.is_active() => row("progress", &unmeasured(progress)),
        _ => {}
    }
    for item in &progress.items {
        let (mark, tone) = match item.state.as_str() {
            "completed" => ("[x]", Tone::Good),
            "in_progress" => ("[>]", Tone::Busy),
            _ => ("[ ]", Tone::Faint),
        };
        let text = fit(&one_line(&item.text), width.saturating_sub(14));
        out.push(format!("{:10}{} {text}", "", page.paint(tone, mark)));
    }
    out
}

/// Progress without a list: in the instance's own words, as such.
fn unmeasured(progress: &Progress) -> String {
    let Some(said) = &progress.said else {
        return "? (the instance keeps no list)".to_owned();
    };
    let figure = match (said.percent, said.done, said.total) {
        (Some(percent), ..) => Some(format!("{percent}%")),
        (None, Some(done), Some(total)) => Some(format!("{done} of {total}")),
        _ => None,
    };
    match figure {
        Some(figure) => format!("? (it says {figure}: {})", said.text),
        None => format!("? (it says: {})", said.text),
    }
}

/// Where the result of a task that is done stands, and the conflicts that were settled
/// mechanically on the way.
fn result<'a>(snapshot: &'a Snapshot, task: &TaskView) -> Option<(String, &'a [SettledFile])> {
    let merging = &snapshot.merging;
    let text = match merging.result(task)? {
        ResultIs::Delivered(commit) => format!("delivered in {}", commit.short()),
        ResultIs::Proven(commit) => {
            let word = merging.good_word();
            format!("{word} in {}, not delivered yet", commit.short())
        }
        ResultIs::Merged(commit) if merging.verifies => {
            format!("merged in {}, being verified", commit.short())
        }
        ResultIs::Merged(commit) => format!("merged in {}", commit.short()),
        ResultIs::Resolving(resolution) => {
            format!("in conflict; {} resolves it", resolution.resolver)
        }
        // The line above says why.
        ResultIs::Aside(_) => "set aside, not delivered".to_owned(),
        ResultIs::Open => return None,
    };
    let settled = merging.settled.get(&task.name);
    Some((text, settled.map_or(&[], Vec::as_slice)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testkit::Sample;

    fn sample() -> Snapshot {
        Sample::of(&[
            ("database-schema", vec![]),
            ("api-endpoints", vec![0]),
            ("search", vec![]),
        ])
        .done("database-schema", 300)
        .working("api-endpoints", 95, Some(50))
        .build()
    }

    #[test]
    fn at_80_columns() {
        insta::assert_snapshot!(render(&sample(), &Page::new(80, false)), @r#"
        run-1  RUNNING  for 6m
        "Create frontend, build backend, setup database"

        [*] phase 1  1/2  database-schema, search
        [ ] phase 2  0/1  api-endpoints

        [+] database-schema - DONE (5m) - Make database-schema work as it should
            work      role feature-development, attempt 1
            branch    task/database-schema
            worktree  /work-trees/app/database-schema
            changes   2 files, +120 -7 lines
            cost      $0.25, 51.2k tokens in, 3.4k out

        [*] api-endpoints - WORKING (1m) - Make api-endpoints work as it should
            work      role feature-development, attempt 1
            branch    task/api-endpoints
            worktree  /work-trees/app/api-endpoints
            changes   2 files, +120 -7 lines
            cost      $0.25, 51.2k tokens in, 3.4k out
            heartbeat 5s ago
            doing     Edit: src/lib.rs
            progress  [##########----------] 50% 1 of 2 items
                      [x] write the model
                      [>] write tests

        [>] search - READY - Make search work as it should
            work      role feature-development, not started
        "#);
    }

    #[test]
    fn at_160_columns() {
        insta::assert_snapshot!(render(&sample(), &Page::new(160, false)), @r#"
        run-1  RUNNING  for 6m
        "Create frontend, build backend, setup database"

        [*] phase 1  1/2  database-schema, search
        [ ] phase 2  0/1  api-endpoints

        [+] database-schema - DONE (5m) - Make database-schema work as it should
            work      role feature-development, attempt 1
            branch    task/database-schema
            worktree  /work-trees/app/database-schema
            changes   2 files, +120 -7 lines
            cost      $0.25, 51.2k tokens in, 3.4k out

        [*] api-endpoints - WORKING (1m) - Make api-endpoints work as it should
            work      role feature-development, attempt 1
            branch    task/api-endpoints
            worktree  /work-trees/app/api-endpoints
            changes   2 files, +120 -7 lines
            cost      $0.25, 51.2k tokens in, 3.4k out
            heartbeat 5s ago
            doing     Edit: src/lib.rs
            progress  [##########----------] 50% 1 of 2 items
                      [x] write the model
                      [>] write tests

        [>] search - READY - Make search work as it should
            work      role feature-development, not started
        "#);
    }
}
