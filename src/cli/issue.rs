//! A GitHub issue as the source of a plan.

use std::path::Path;

use serde_json::Value;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::plan_input::{Obtained, validated};
use super::select::{Chosen, Purpose, RunChoice, choose};
use super::{analyzer, conductor, control};
use crate::core::doubt::{Doubt, DoubtKind};
use crate::core::state::State;
use crate::format::issue_file::IssueFile;
use crate::format::issue_markdown::{self, Item};
use crate::github::{Gh, GithubError, IssueNumber};
use crate::store::atomic;
use crate::store::layout::{Layout, RunDir};

/// Most issues that the items of a list are looked up in.
const MAX_LOOKUPS: usize = 50;

/// Reads the issue and makes a plan of it: of its lists, or, when it has none, of its text by
/// the analyzer. Makes nothing.
///
/// # Errors
/// When there is no such issue, `gh` cannot be used, or no plan can be made.
pub(super) fn obtain(
    root: &Path,
    number: u64,
    strict: bool,
    workers: usize,
    cx: &mut Context<'_>,
) -> Result<Obtained, Failure> {
    let number = valid(number)?;
    let gh = Gh::find(&cx.environment(), root).map_err(|error| failure(&error))?;
    let issue = gh.issue(number).map_err(|error| failure(&error))?;
    let request = request(&issue);
    let items = issue_markdown::items(&issue.body);
    let mut doubts = Vec::new();
    if !issue.open {
        doubts.push(Doubt::new(
            DoubtKind::Reference,
            format!("issue #{} is closed", issue.number),
            "reopen it, or go on all the same",
        ));
    }
    let titles = titles(&gh, number, &items, &mut doubts)?;
    let bytes = match issue_markdown::plan(issue.number, &request, &items, &titles) {
        Some((plan, dangling)) => {
            doubts.extend(dangling.into_iter().map(|wrong| {
                Doubt::new(
                    DoubtKind::Reference,
                    format!(
                        "{} says that it needs {:?}, which is nothing in the list",
                        wrong.task, wrong.names
                    ),
                    "correct the issue, or go on without that dependency",
                )
            }));
            plan.to_string().into_bytes()
        }
        None => {
            cx.remark(&format!(
                "Issue #{} has no list of two or more open tasks: its text is analysed.",
                issue.number
            ));
            of_one_issue(&analyzer::by_claude(root, &request, cx)?, issue.number)?
        }
    };
    let parsed = validated(&bytes, None, strict, workers, cx).map_err(|failure| {
        let failure = failure.at(format!("issue #{}", issue.number));
        failure.next("correct the lists of the issue: orchestra plan --issue N --dry-run")
    })?;
    Ok(Obtained {
        parsed,
        request: Some(request),
        orchestration: None,
        doubts,
        issue: Some(issue),
    })
}

fn valid(number: u64) -> Result<IssueNumber, Failure> {
    IssueNumber::new(number).ok_or_else(|| {
        Failure::usage(format!("{number} is not the number of an issue"))
            .next("`gh issue list` shows those that there are")
    })
}

fn failure(error: &GithubError) -> Failure {
    let failure = Failure::environment(error.to_string()).next(error.remedy());
    match error {
        GithubError::NotInstalled | GithubError::NotLoggedIn { .. } => {
            failure.next("or give the tasks in a file: orchestra run --tasks FILE")
        }
        _ => failure,
    }
}

fn request(issue: &IssueFile) -> String {
    let body = issue.body.trim();
    let title = issue.title.trim();
    format!("Issue #{}: {title}\n\n{body}", issue.number)
        .trim_end()
        .to_owned()
}

/// What the issues are that items stand for.
fn titles(
    gh: &Gh,
    own: IssueNumber,
    items: &[Item],
    doubts: &mut Vec<Doubt>,
) -> Result<Vec<(u64, String, String, bool)>, Failure> {
    let mut found: Vec<(u64, String, String, bool)> = Vec::new();
    let mut numbers: Vec<u64> = items
        .iter()
        .filter(|item| !item.done)
        .filter_map(|item| item.issue)
        .collect();
    let all = numbers.len();
    numbers.truncate(MAX_LOOKUPS);
    if all > MAX_LOOKUPS {
        doubts.push(Doubt::new(
            DoubtKind::Reference,
            format!(
                "the list names {all} issues; the first {MAX_LOOKUPS} were read, and of the others is \
                 known what the list says"
            ),
            "work on fewer of them at once, or go on",
        ));
    }
    for number in numbers {
        let Some(number) = IssueNumber::new(number).filter(|number| *number != own) else {
            continue;
        };
        if found.iter().any(|(known, ..)| *known == number.get()) {
            continue;
        }
        match gh.issue(number) {
            Ok(issue) => found.push((issue.number, issue.title, issue.body, issue.open)),
            Err(error @ (GithubError::NoSuchIssue { .. } | GithubError::PullRequest { .. })) => {
                doubts.push(Doubt::new(
                    DoubtKind::Reference,
                    format!("the list names #{}: {error}", number.get()),
                    "correct the issue, or go on with what the list says of it",
                ));
            }
            Err(error) => return Err(failure(&error)),
        }
    }
    Ok(found)
}

/// The only task of a plan is the issue itself.
fn of_one_issue(bytes: &[u8], number: u64) -> Result<Vec<u8>, Failure> {
    let unreadable = |e: serde_json::Error| Failure::internal(format!("the plan is no JSON: {e}"));
    let mut plan: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
    if let Some([Value::Object(task)]) = plan
        .get_mut("tasks")
        .and_then(Value::as_array_mut)
        .map(Vec::as_mut_slice)
    {
        task.insert("issue_number".into(), number.into());
    }
    Ok(plan.to_string().into_bytes())
}

/// Writes down what issue a run works on.
///
/// # Errors
/// When it cannot be written.
pub(super) fn store(run: &RunDir, issue: &IssueFile) -> Result<(), Failure> {
    Ok(atomic::write_json(
        &run.issue(),
        "the run's issue",
        issue,
        atomic::Durability::Durable,
    )?)
}

/// The last run of an issue, for another try at what failed in it.
///
/// # Errors
/// When there is none that was started.
pub(super) fn last_run(layout: &Layout, number: u64, cx: &Context<'_>) -> Result<Chosen, Failure> {
    let number = valid(number)?.get();
    let run = layout.runs().into_iter().rfind(|run| {
        run.settings().is_file()
            && atomic::peek_json::<IssueFile>(&run.issue())
                .is_some_and(|issue| issue.number == number)
    });
    let Some(run) = run else {
        return Err(
            Failure::usage(format!("issue #{number} was not worked on here yet"))
                .next(format!("orchestra run --issue {number}")),
        );
    };
    let choice = RunChoice {
        orchestration: Some(run.id().to_string()),
    };
    choose(layout, &choice, Purpose::Act, cx)
}

/// Shows what another try would take.
///
/// # Errors
/// When there is nothing to try again.
pub(super) fn show_retry(chosen: &Chosen, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    control::retry(chosen, None, cx)?;
    let (_, state) = conductor::load(&chosen.run, cx)?;
    let mut text = format!("{} would try again:\n", chosen.snapshot.id);
    for name in missed(&state) {
        text.push_str(&format!("  {name}\n"));
    }
    cx.print(&text)?;
    Ok(Exit::Success)
}

fn missed(state: &State) -> impl Iterator<Item = String> + '_ {
    state
        .indexes()
        .filter(|ix| state.can_be_revived(*ix))
        .map(|ix| state.name(ix).to_string())
}
