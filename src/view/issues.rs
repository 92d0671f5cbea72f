//! `orchestra status issues`: what wants a person, and how to answer.

mod aside;

use crate::core::attempt::FailureClass;
use crate::core::record::{AsideWhy, IntegrationEnd};
use crate::core::state::TaskState;
use crate::format::radar_file::PredictedConflict;

use super::lines;
use super::merging::{self, Flaky};
use super::page::{Page, Tone, columns, fit, one_line, wrap};
use super::snapshot::{Snapshot, TaskView, Word};
use super::summary;

/// Most files of a conflict that are named.
const NAMED_FILES: usize = 12;

/// One thing that wants a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// What it is, in a word or two.
    pub kind: &'static str,
    /// The task, when it is about one.
    pub task: Option<String>,
    /// What happened.
    pub what: String,
    /// More about it: both sides of a conflict, the end of an output. A line each.
    pub details: Vec<String>,
    /// The options that were considered.
    pub options: Vec<String>,
    /// What to do, as commands or sentences.
    pub remedies: Vec<String>,
}

/// All that wants a person, the most urgent first.
#[must_use]
pub fn issues(snapshot: &Snapshot) -> Vec<Issue> {
    let mut found = Vec::new();
    let at = |word: Word| snapshot.tasks.iter().filter(move |t| t.word() == word);
    let of_all = |word: Word| snapshot.rows().filter(move |t| t.word() == word);
    found.extend(of_all(Word::Stuck).map(|t| stuck(snapshot, t)));
    if let Some(end) = &snapshot.integration {
        found.extend(of_integration(snapshot, end));
    } else if snapshot.is_live() {
        found.extend(red_base(snapshot));
    }
    found.extend(merging::set_aside(snapshot).map(|(t, why)| aside::issue(snapshot, t, why)));
    found.extend(snapshot.conflicts.iter().map(|c| predicted(snapshot, c)));
    found.extend(at(Word::Failed).map(|t| failed(snapshot, t)));
    found.extend(of_all(Word::Lost).map(|t| Issue {
        kind: "lost",
        task: Some(t.name.to_string()),
        what: "its supervisor ended without a word".to_owned(),
        details: vec![],
        options: vec![],
        remedies: vec!["nothing: the conductor tries it again".to_owned()],
    }));
    for task in at(Word::Skipped) {
        if let TaskState::Skipped { because } = &task.state
            && let Some(cause) = snapshot.tasks.get(because.index())
        {
            found.push(Issue {
                kind: "skipped",
                task: Some(task.name.to_string()),
                what: format!("it needs {}, which did not get done", cause.name),
                details: vec![],
                options: vec![],
                remedies: vec![format!(
                    "orchestra control retry {} --orchestration {}",
                    task.name, snapshot.id
                )],
            });
        }
    }
    found.extend(snapshot.merging.flaky.iter().map(flaky));
    for problem in &snapshot.problems {
        found.push(Issue {
            kind: "unreadable",
            task: None,
            what: problem.clone(),
            details: vec![],
            options: vec![],
            remedies: vec!["orchestra doctor".to_owned()],
        });
    }
    found.extend(snapshot.waits_for_room().map(no_room));
    found.extend(snapshot.allowed().into_iter().map(held));
    if snapshot.is_live() && !snapshot.conductor_alive && snapshot.shortage.is_none() {
        found.push(Issue {
            kind: "no conductor",
            task: None,
            what: "the run is live, but nothing conducts it".to_owned(),
            details: vec![],
            options: vec![],
            remedies: vec![
                "orchestra status starts a conductor; orchestra doctor says more".to_owned(),
            ],
        });
    }
    found
}

/// The machine is short of something that only a person can give it.
fn no_room(what: String) -> Issue {
    Issue {
        kind: "no room",
        task: None,
        what,
        details: vec![],
        options: vec![],
        remedies: vec!["make room: the run goes on by itself then, and nothing is lost".to_owned()],
    }
}

/// Something outside of the run, that passes by itself.
fn held(what: String) -> Issue {
    Issue {
        kind: "held back",
        task: None,
        what,
        details: vec![],
        options: vec![],
        remedies: vec!["it goes on by itself; nothing has to be done".to_owned()],
    }
}

fn stuck(snapshot: &Snapshot, task: &TaskView) -> Issue {
    let status = task.instance();
    let reason = status.and_then(|s| s.stuck_reason.clone());
    let id = &snapshot.id;
    Issue {
        kind: "stuck",
        task: Some(task.name.to_string()),
        what: reason.unwrap_or_else(|| "it did not say why".to_owned()),
        details: vec![],
        options: status.map(|s| s.options.clone()).unwrap_or_default(),
        remedies: vec![
            format!(
                "orchestra control answer {} \"YOUR ANSWER\" --orchestration {id}",
                task.name
            ),
            format!("orchestra logs {} --orchestration {id}", task.name),
        ],
    }
}

fn predicted(snapshot: &Snapshot, conflict: &PredictedConflict) -> Issue {
    let (one, other) = &conflict.tasks;
    let since = lines::short(snapshot.taken_at.since(conflict.since));
    let files = conflict.files.iter().take(NAMED_FILES).cloned();
    let mut files = files.collect::<Vec<_>>().join(", ");
    if conflict.files.len() > NAMED_FILES {
        files.push_str(&format!(" and {} more", conflict.files.len() - NAMED_FILES));
    }
    Issue {
        kind: "predicted conflict",
        task: Some(one.to_string()),
        what: format!(
            "as it stands (for {since}), its work does not merge with that of {other}: {files}"
        ),
        details: vec![],
        options: vec![],
        remedies: vec![
            "nothing: their instances are told, and it may pass before they are done".to_owned(),
        ],
    }
}

fn failed(snapshot: &Snapshot, task: &TaskView) -> Issue {
    let (what, first) = match &task.state {
        TaskState::Failed { detail, class, .. } => (detail.clone(), advice(*class)),
        _ => (String::new(), None),
    };
    let mut remedies: Vec<String> = first.map(str::to_owned).into_iter().collect();
    remedies.extend([
        format!(
            "orchestra logs {} --orchestration {}",
            task.name, snapshot.id
        ),
        format!(
            "orchestra control retry {} --orchestration {}",
            task.name, snapshot.id
        ),
    ]);
    if let Some(place) = task.place.as_ref().filter(|_| task.worktree_exists) {
        remedies.push(format!("look at its work in {}", place.worktree.display()));
    }
    Issue {
        kind: "failed",
        task: Some(task.name.to_string()),
        what,
        details: vec![],
        options: vec![],
        remedies,
    }
}

/// What a failure of this class wants before another try can end in another way. None where
/// the log of the instance has to say it.
#[must_use]
pub fn advice(class: FailureClass) -> Option<&'static str> {
    use FailureClass as F;
    Some(match class {
        F::TransientApi | F::Overload => {
            "the task did nothing wrong: try again once the provider answers"
        }
        F::UsageLimit => "the task did nothing wrong: try again after the limit's reset",
        F::Authentication => "log in (start claude, then /login) or set a key that is valid, first",
        F::Budget => "max_budget_usd and max_tokens of a new run grant more",
        F::OutOfMemory => "max_memory_mb of a new run allows more; what it ran may need less",
        F::Timeout => "timeout_seconds of a new run allows more; a smaller task needs less",
        F::Hang => {
            "if that silence was work: provider_silence_seconds and tool_silence_seconds of a \
             new run allow more"
        }
        F::Permission => "allowed_tools of a new run may name the tool",
        F::Setup => "mend the set-up command first",
        F::Crash
        | F::SupervisorLost
        | F::BadResult
        | F::GateNotPassed
        | F::Worktree
        | F::DependencyConflict
        | F::Other => return None,
    })
}

/// A result that was set aside, with both sides of its conflict or the end of the output.
#[must_use]
pub fn of_aside(snapshot: &Snapshot, task: &TaskView, why: &AsideWhy) -> Issue {
    aside::issue(snapshot, task, why)
}

/// The verify command gave both answers.
fn flaky(flaky: &Flaky) -> Issue {
    Issue {
        kind: "flaky check",
        task: None,
        what: flaky_text(flaky),
        details: vec![],
        options: vec![],
        remedies: vec![
            "make it dependable: one that fails at times may let a bad result through".to_owned(),
        ],
    }
}

/// A flaky check in a sentence.
#[must_use]
pub fn flaky_text(flaky: &Flaky) -> String {
    format!(
        "the verify command gave both answers on the same commit {}: {} green, {} red; it \
         counted as green",
        flaky.commit.short(),
        flaky.green,
        flaky.red
    )
}

/// Nothing can be delivered, whatever the tasks do.
fn red_base(snapshot: &Snapshot) -> Option<Issue> {
    let (commit, tail) = snapshot.merging.base_is_red.as_ref()?;
    let base = snapshot.settings.as_ref();
    let base = base.map_or("the base branch", |s| s.base_branch.as_str());
    Some(Issue {
        kind: "base is red",
        task: None,
        what: format!(
            "the verify command is red on {base} itself ({}), before anything is merged",
            commit.short()
        ),
        details: aside::end_of(tail),
        options: vec![],
        remedies: vec![format!(
            "mend {base}, then: orchestra merge automatic --orchestration {}",
            snapshot.id
        )],
    })
}

fn of_integration(snapshot: &Snapshot, end: &IntegrationEnd) -> Option<Issue> {
    let what = merging::ended(snapshot)?.0;
    if let Some(branch) = merging::too_few(snapshot) {
        let id = &snapshot.id;
        return Some(Issue {
            kind: "not delivered",
            task: None,
            what: format!("{what}; they wait on {branch}"),
            details: vec![],
            options: vec![],
            remedies: vec![
                format!("orchestra merge automatic --orchestration {id} - delivers what can be"),
                format!("git log -p {branch} - shows it"),
            ],
        });
    }
    if let IntegrationEnd::Red { .. } = end
        && let Some(issue) = red_base(snapshot)
    {
        return Some(issue);
    }
    // Each result that was set aside is an issue of its own, and says more.
    if matches!(
        end,
        IntegrationEnd::Conflict { .. } | IntegrationEnd::Red { .. }
    ) && !snapshot.merging.aside.is_empty()
    {
        return None;
    }
    let merge = "orchestra merge automatic, once that is solved".to_owned();
    let (kind, task, remedies) = match end {
        IntegrationEnd::Delivered { .. } | IntegrationEnd::Reviewable { .. } => return None,
        IntegrationEnd::Conflict { task, .. } => (
            "conflict",
            Some(task.to_string()),
            vec![
                "orchestra merge manual - one at a time, with both sides".to_owned(),
                merge,
            ],
        ),
        IntegrationEnd::Red { .. } => (
            "not verified",
            None,
            vec![
                format!("read {}", snapshot.dir.join("verify.log").display()),
                merge,
            ],
        ),
        IntegrationEnd::NotDelivered { .. } | IntegrationEnd::Failed { .. } => {
            ("not delivered", None, vec![merge])
        }
    };
    Some(Issue {
        kind,
        task,
        what,
        details: vec![],
        options: vec![],
        remedies,
    })
}

/// The issues view.
#[must_use]
pub fn render(snapshot: &Snapshot, page: &Page) -> String {
    let mut text = summary::header(snapshot, page);
    let issues = issues(snapshot);
    if issues.is_empty() {
        text.push_str(&format!("\n{}\n", page.paint(Tone::Good, "No issues.")));
        return text;
    }
    for issue in &issues {
        let (mark, tone) = match issue.kind {
            "stuck" => (lines::symbol(Word::Stuck), Tone::Warn),
            "skipped" => (lines::symbol(Word::Skipped), Tone::Faint),
            "predicted conflict" | "flaky check" => (lines::symbol(Word::Stuck), Tone::Warn),
            "lost" => (lines::symbol(Word::Lost), Tone::Warn),
            _ => (lines::symbol(Word::Failed), Tone::Bad),
        };
        let name = issue.task.as_deref().unwrap_or("the run");
        let kind = issue.kind.to_uppercase();
        text.push_str(&format!(
            "\n{} {} - {}\n",
            page.paint(tone, mark),
            page.strong(name),
            page.paint(tone, &kind)
        ));
        for line in wrap(&issue.what, page.width.saturating_sub(4)) {
            text.push_str(&format!("    {line}\n"));
        }
        for detail in &issue.details {
            // What is quoted keeps its indent.
            let said = detail.trim_start();
            let indent = 4 + detail.len() - said.len();
            for line in wrap(said, page.width.saturating_sub(indent)) {
                text.push_str(&format!("{:indent$}{line}\n", ""));
            }
        }
        for (n, option) in issue.options.iter().enumerate() {
            let option = fit(&one_line(option), page.width.saturating_sub(16));
            text.push_str(&format!("    option {}: {option}\n", n + 1));
        }
        for remedy in &issue.remedies {
            // Commands must stay in one piece to be copied.
            let remedy = one_line(remedy);
            match remedy.rsplit_once(" - ") {
                Some((command, why)) if columns(&remedy) + 7 > page.width => {
                    text.push_str(&format!("    -> {command}\n"));
                    for line in wrap(why, page.width.saturating_sub(7)) {
                        text.push_str(&format!("       {line}\n"));
                    }
                }
                _ => text.push_str(&format!("    -> {remedy}\n")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::TaskName;
    use crate::core::record::{Record, Verdict};
    use crate::view::testkit::Sample;

    #[test]
    fn everything_that_wants_a_person_with_its_remedy() {
        let snapshot = Sample::of(&[("a", vec![]), ("b", vec![0]), ("c", vec![])])
            .failed(
                "a",
                60,
                "the verify command is still red after 3 rounds: 2 tests fail",
            )
            .skipped("b", "a")
            .stuck("c", 100, "Which key may I use?")
            .build();
        insta::assert_snapshot!(render(&snapshot, &Page::new(80, false)), @r#"
        run-1  RUNNING  for 2m
        "Create frontend, build backend, setup database"

        [!] c - STUCK
            Which key may I use?
            option 1: use the old key
            option 2: make a new one
            -> orchestra control answer c "YOUR ANSWER" --orchestration run-1
            -> orchestra logs c --orchestration run-1

        [x] a - FAILED
            the verify command is still red after 3 rounds: 2 tests fail
            -> orchestra logs a --orchestration run-1
            -> orchestra control retry a --orchestration run-1
            -> look at its work in /work-trees/app/a

        [-] b - SKIPPED
            it needs a, which did not get done
            -> orchestra control retry b --orchestration run-1
        "#);
    }

    #[test]
    fn conflicts_are_shown_before_they_happen() {
        let mut snapshot = Sample::flat(2)
            .working("t1", 60, None)
            .working("t2", 60, None)
            .build();
        snapshot.conflicts.push(PredictedConflict {
            tasks: (
                TaskName::parse("t1").unwrap(),
                TaskName::parse("t2").unwrap(),
            ),
            files: (0..14).map(|n| format!("src/f{n}.rs")).collect(),
            since: crate::view::testkit::T0,
        });
        insta::assert_snapshot!(render(&snapshot, &Page::new(80, false)), @r#"
        run-1  RUNNING  for 2m
        "Create frontend, build backend, setup database"

        [!] t1 - PREDICTED CONFLICT
            as it stands (for 2m), its work does not merge with that of t2: src/f0.rs,
            src/f1.rs, src/f2.rs, src/f3.rs, src/f4.rs, src/f5.rs, src/f6.rs, src/f7.rs,
            src/f8.rs, src/f9.rs, src/f10.rs, src/f11.rs and 2 more
            -> nothing: their instances are told, and it may pass before they are done
        "#);
    }

    #[test]
    fn a_conflict_and_a_quiet_run() {
        let snapshot = Sample::flat(1)
            .done("t1", 60)
            .record(Record::IntegrationEnded {
                result: IntegrationEnd::Conflict {
                    task: TaskName::parse("t1").unwrap(),
                    files: vec!["src/lib.rs".into(), "Cargo.lock".into()],
                },
            })
            .finished(Verdict::Failed)
            .build();
        insta::assert_snapshot!(render(&snapshot, &Page::new(80, false)), @r#"
        run-1  FAILED  took 1m
        "Create frontend, build backend, setup database"

        [x] t1 - CONFLICT
            t1 does not merge: conflicts in src/lib.rs, Cargo.lock
            -> orchestra merge manual - one at a time, with both sides
            -> orchestra merge automatic, once that is solved
        "#);
        let quiet = Sample::flat(1).working("t1", 9, None).build();
        assert!(render(&quiet, &Page::default()).ends_with("No issues.\n"));
    }
}
