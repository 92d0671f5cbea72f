//! The reports that a run leaves: `ORCHESTRATION_SUCCESS.md` and `ORCHESTRATION_FAILURE.md`.

use crate::core::record::IntegrationEnd;
use crate::core::state::TaskState;
use crate::core::time::Millis;

use super::clock::date_time;
use super::issues::{self, Issue};
use super::merging;
use super::page::{money, one_line, plural};
use super::report_json::follow_ups;
use super::snapshot::{Snapshot, TaskView};
use super::{figures, summary};

/// The report of a good end. `files` are the paths that the delivered commit changed against
/// the base, when they are known.
#[must_use]
pub fn success(snapshot: &Snapshot, files: Option<&[String]>) -> String {
    let mut text = String::from("# Orchestration finished\n\n");
    text.push_str(&facts(snapshot));
    text.push_str("\n## Summary\n\n");
    text.push_str(&tasks(snapshot));
    text.push_str(&set_aside(snapshot));
    text.push_str("\n## Files modified\n\n");
    match files {
        Some([]) => text.push_str("None.\n"),
        Some(files) => {
            for file in files {
                text.push_str(&format!("- `{}`\n", one_line(file)));
            }
        }
        None => match figures::totals(snapshot).files {
            Some(n) => text.push_str(&format!(
                "{n} in all tasks together; a file that two tasks changed counts twice.\n"
            )),
            None => text.push_str("Not known.\n"),
        },
    }
    text.push_str(&notes(snapshot));
    text.push_str("\n## Next steps\n\n");
    let mut next = follow_ups(snapshot);
    match &snapshot.integration {
        Some(IntegrationEnd::Delivered { from, to, .. }) => {
            next.insert(
                0,
                format!(
                    "look at the changes: `git diff {} {}`",
                    from.short(),
                    to.short()
                ),
            );
        }
        Some(IntegrationEnd::Reviewable { branch, .. }) => {
            let base = snapshot
                .settings
                .as_ref()
                .map_or("HEAD", |s| s.base_branch.as_str());
            next.insert(
                0,
                format!("look at the changes: `git diff {base}...{branch}`"),
            );
        }
        None if snapshot.taken_back => {
            next.push("what was delivered was taken back; `orchestra undo` tells how".to_owned());
        }
        _ => next.push("merge the task branches: `orchestra merge automatic`".to_owned()),
    }
    for step in next {
        text.push_str(&format!("- {}\n", one_line(&step)));
    }
    text
}

/// What the instances learnt, in their words.
fn notes(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    if snapshot.notes.is_empty() {
        return text;
    }
    text.push_str("\n## Notes of the instances\n\n");
    for note in &snapshot.notes {
        text.push_str(&format!("- {}: {}\n", note.task, one_line(&note.text)));
    }
    text
}

/// The report of a bad end: what went wrong, how to find out more, what was kept.
#[must_use]
pub fn failure(snapshot: &Snapshot) -> String {
    let mut text = String::from("# Orchestration did not succeed\n\n");
    text.push_str(&facts(snapshot));
    text.push_str("\n## Issues\n\n");
    let issues = issues::issues(snapshot);
    if issues.is_empty() {
        text.push_str("None beyond the result above.\n");
    }
    for issue in &issues {
        text.push_str(&of_issue(issue));
    }
    // What was set aside has its output with it.
    if let Some(IntegrationEnd::Red { tail, .. }) = &snapshot.integration
        && snapshot.merging.aside.is_empty()
    {
        text.push_str(&format!(
            "\nThe end of what the verify command printed:\n\n{}",
            fenced(tail)
        ));
    }
    text.push_str("\n## Summary\n\n");
    text.push_str(&tasks(snapshot));
    text.push_str(&notes(snapshot));
    text.push_str("\n## Debugging steps\n\n");
    let id = &snapshot.id;
    let mut steps = vec![
        format!("orchestra status issues --orchestration {id}"),
        format!("orchestra logs --orchestration {id}"),
    ];
    for task in &snapshot.tasks {
        if matches!(task.state, TaskState::Failed { .. }) {
            steps.push(format!("orchestra logs {} --orchestration {id}", task.name));
            if let Some(place) = task.place.as_ref() {
                steps.push(format!(
                    "git log --stat {}..{}",
                    place.base.short(),
                    place.branch
                ));
                if task.worktree_exists {
                    steps.push(format!(
                        "git -C {} status",
                        shell_word(&place.worktree.display().to_string())
                    ));
                }
            }
        }
    }
    steps.push(format!("orchestra control retry --orchestration {id}"));
    text.push_str(&fenced(&steps.join("\n")));
    text.push_str("\n## Kept branches and worktrees\n\n");
    let kept: Vec<&TaskView> = snapshot
        .tasks
        .iter()
        .filter(|t| t.place.is_some())
        .collect();
    if kept.is_empty() {
        text.push_str("None was made.\n");
    }
    for task in kept {
        if let Some(place) = &task.place {
            let there = if task.worktree_exists {
                format!(" in `{}`", place.worktree.display())
            } else {
                String::new()
            };
            text.push_str(&format!("- `{}`{there}\n", place.branch));
        }
    }
    if let Some(IntegrationEnd::Red { commit, .. } | IntegrationEnd::NotDelivered { commit, .. }) =
        &snapshot.integration
    {
        text.push_str(&format!("- the merged commit `{commit}`\n"));
    }
    text
}

fn facts(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let mut row = |label: &str, value: &str| {
        text.push_str(&format!("- **{label}**: {value}\n"));
    };
    row("Id", snapshot.id.as_str());
    let (result, _) = summary::standing(snapshot);
    row("Result", &result);
    if let Some(request) = &snapshot.request {
        row("Request", &one_line(request));
    }
    if let Some(begun) = snapshot.begun_at {
        row("Begun", &date_time(begun));
    }
    if let Some(ended) = snapshot.ended_at {
        row("Ended", &date_time(ended));
    }
    let totals = figures::totals(snapshot);
    if let Some(elapsed) = snapshot.elapsed() {
        row("Time", &format!("{elapsed} ({} of work)", totals.worked));
    }
    row(
        "Tasks",
        &format!("{} of {} done", snapshot.done(), snapshot.tasks.len()),
    );
    if let Some((text, _)) = merging::ended(snapshot) {
        row("Integration", &one_line(&text));
    }
    match snapshot.merging.verify_runs {
        0 => {}
        1 => row("Verify runs", "1 on merged results"),
        n => row("Verify runs", &format!("{n} on merged results")),
    }
    row(
        "Cost",
        &totals
            .cost_usd
            .map_or_else(|| "not known".to_owned(), money),
    );
    text
}

fn tasks(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for task in &snapshot.tasks {
        let mut parts = vec![task.word().text().to_lowercase()];
        parts.extend(snapshot.merging.word(task).map(str::to_lowercase));
        if task.attempts > 0 {
            parts.push(Millis::to_string(&task.worked));
        }
        if task.attempts > 1 {
            parts.push(plural(task.attempts as usize, "attempt"));
        }
        let status = task.status.as_ref().filter(|_| task.attempts > 0);
        if let Some(files) = status.and_then(|s| s.files_changed) {
            parts.push(plural(files as usize, "file"));
        }
        if let Some((added, removed)) =
            status.and_then(|s| Some((s.lines_added?, s.lines_removed?)))
        {
            parts.push(format!("+{added} -{removed}"));
        }
        text.push_str(&format!("- **{}** ({})", task.name, parts.join(", ")));
        if let TaskState::Done { summary, .. } = &task.state
            && !summary.trim().is_empty()
        {
            text.push_str(&format!(": {}", one_line(summary)));
        }
        if let Some(url) = task.pull_request() {
            text.push_str(&format!(" - {}", one_line(url)));
        }
        text.push('\n');
        for file in snapshot
            .merging
            .settled
            .get(&task.name)
            .into_iter()
            .flatten()
        {
            text.push_str(&format!(
                "  - conflict in `{}` settled mechanically ({})\n",
                one_line(&file.path),
                one_line(&file.by)
            ));
        }
    }
    text
}

/// The results that were set aside, with what a person needs in order to decide about them.
fn set_aside(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let aside = merging::set_aside(snapshot);
    for issue in aside.map(|(task, why)| issues::of_aside(snapshot, task, why)) {
        text.push_str(&of_issue(&issue));
    }
    if !text.is_empty() {
        text.insert_str(0, "\n## Set aside\n\n");
    }
    text
}

fn of_issue(issue: &Issue) -> String {
    let name = issue.task.as_deref().unwrap_or("the run");
    let mut text = format!("- **{name}** ({}): {}\n", issue.kind, one_line(&issue.what));
    if !issue.details.is_empty() {
        text.push('\n');
        for line in fenced(&issue.details.join("\n")).lines() {
            text.push_str(&format!("  {line}\n"));
        }
        text.push('\n');
    }
    for option in &issue.options {
        text.push_str(&format!("  - considered: {}\n", one_line(option)));
    }
    for remedy in &issue.remedies {
        text.push_str(&format!("  - {}\n", one_line(remedy)));
    }
    text
}

/// A code block that nothing in the text can end.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let clean: Vec<String> = text
        .lines()
        .map(|l| {
            l.chars()
                .filter(|c| *c == '\t' || !c.is_control())
                .collect()
        })
        .collect();
    format!("{fence}\n{}\n{fence}\n", clean.join("\n"))
}

/// A word for a shell line that is to be copied.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::{Record, Verdict};
    use crate::view::testkit::{Sample, oid};

    #[test]
    fn a_good_end() {
        let snapshot = Sample::flat(2)
            .done("t1", 60)
            .done("t2", 30)
            .record(Record::IntegrationEnded {
                result: IntegrationEnd::Delivered {
                    from: oid('a'),
                    to: oid('c'),
                    verified: true,
                },
            })
            .finished(Verdict::Success)
            .build();
        let files = ["src/a.rs".to_owned(), "README.md".to_owned()];
        insta::assert_snapshot!(success(&snapshot, Some(&files)), @r"
        # Orchestration finished

        - **Id**: run-1
        - **Result**: SUCCESS
        - **Request**: Create frontend, build backend, setup database
        - **Begun**: 2026-11-21 09:00:00 UTC
        - **Ended**: 2026-11-21 09:01:30 UTC
        - **Time**: 1m30s (1m30s of work)
        - **Tasks**: 2 of 2 done
        - **Integration**: delivered as cccccccccc (verified)
        - **Cost**: $0.50

        ## Summary

        - **t1** (done, delivered, 1m, 2 files, +120 -7): t1 works, with tests.
        - **t2** (done, delivered, 30s, 2 files, +120 -7): t2 works, with tests.

        ## Files modified

        - `src/a.rs`
        - `README.md`

        ## Next steps

        - look at the changes: `git diff aaaaaaaaaa cccccccccc`
        ");
    }

    #[test]
    fn a_bad_end() {
        let snapshot = Sample::of(&[("a", vec![]), ("b", vec![0]), ("c", vec![])])
            .done("c", 30)
            .failed("a", 60, "2 tests are red after 3 rounds")
            .skipped("b", "a")
            .record(Record::IntegrationEnded {
                result: IntegrationEnd::Red {
                    commit: oid('c'),
                    tail: "FAIL x\n```\n".into(),
                },
            })
            .finished(Verdict::Failed)
            .build();
        insta::assert_snapshot!(failure(&snapshot), @r"
        # Orchestration did not succeed

        - **Id**: run-1
        - **Result**: FAILED
        - **Request**: Create frontend, build backend, setup database
        - **Begun**: 2026-11-21 09:00:00 UTC
        - **Ended**: 2026-11-21 09:01:30 UTC
        - **Time**: 1m30s (1m30s of work)
        - **Tasks**: 1 of 3 done
        - **Integration**: the verify command is red on the merged tree (cccccccccc)
        - **Cost**: $0.50

        ## Issues

        - **the run** (not verified): the verify command is red on the merged tree (cccccccccc)
          - read /app/.claude/orchestration/run-1/verify.log
          - orchestra merge automatic, once that is solved
        - **a** (failed): 2 tests are red after 3 rounds
          - orchestra logs a --orchestration run-1
          - orchestra control retry a --orchestration run-1
          - look at its work in /work-trees/app/a
        - **b** (skipped): it needs a, which did not get done
          - orchestra control retry b --orchestration run-1

        The end of what the verify command printed:

        ````
        FAIL x
        ```
        ````

        ## Summary

        - **a** (failed, 1m, 2 files, +120 -7)
        - **b** (skipped)
        - **c** (done, 30s, 2 files, +120 -7): c works, with tests.

        ## Debugging steps

        ```
        orchestra status issues --orchestration run-1
        orchestra logs --orchestration run-1
        orchestra logs a --orchestration run-1
        git log --stat bbbbbbbbbb..task/a
        git -C /work-trees/app/a status
        orchestra control retry --orchestration run-1
        ```

        ## Kept branches and worktrees

        - `task/a` in `/work-trees/app/a`
        - `task/c` in `/work-trees/app/c`
        - the merged commit `cccccccccccccccccccccccccccccccccccccccc`
        ");
    }

    #[test]
    fn paths_can_be_copied_into_a_shell() {
        assert_eq!(shell_word("/a/b-c"), "/a/b-c");
        assert_eq!(shell_word("/a b/it's"), r"'/a b/it'\''s'");
    }
}
