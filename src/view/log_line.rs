//! One line for people per record of the journal: for `orchestration.log` and for the
//! progress that `run` prints where it cannot repaint.

use crate::core::attempt::{AttemptEnd, FailureClass, StartMode};
use crate::core::id::listed;
use crate::core::record::{AsideWhy, MergeMode, QueueResult, QueueWork, Record, UndoHow};

use super::page::{Tone, one_line};
use super::report_json::verdict_name;
use super::summary;

/// What a record says, in a line without a time; `None` for records that tell a person
/// nothing.
#[must_use]
pub fn text(record: &Record) -> Option<(String, Tone)> {
    let said = |text: String, tone| Some((one_line(&text), tone));
    match record {
        Record::Begun => said("orchestration started".into(), Tone::Strong),
        Record::Prepared { task, place } => said(
            format!("{task}: {} in {}", place.branch, place.worktree.display()),
            Tone::Faint,
        ),
        Record::AttemptStarted {
            task,
            attempt,
            start,
            attached,
            ..
        } => {
            let how = match (attempt, start) {
                _ if attached.is_some() => format!("is with you now (attempt {attempt})"),
                (1, _) => "started".to_owned(),
                (n, StartMode::Resume) => format!("goes on (attempt {n})"),
                (n, StartMode::Fresh) => format!("started again (attempt {n})"),
            };
            said(format!("{task}: {how}"), Tone::Plain)
        }
        Record::AttemptRunning { task, .. } => said(format!("{task}: working"), Tone::Busy),
        Record::AttemptEnded { task, end, .. } => match end {
            AttemptEnd::Complete { head, summary } => {
                let summary = one_line(summary);
                let short = super::page::fit(&summary, 200);
                let tail = if short.is_empty() {
                    short
                } else {
                    format!(" - {short}")
                };
                said(
                    format!("{task}: done at {}{tail}", head.short()),
                    Tone::Good,
                )
            }
            AttemptEnd::Failed { class, detail } => said(
                format!("{task}: attempt failed ({}): {detail}", class_name(*class)),
                Tone::Warn,
            ),
            AttemptEnd::Paused => said(format!("{task}: paused"), Tone::Plain),
            AttemptEnd::Cancelled => said(format!("{task}: cancelled"), Tone::Warn),
        },
        Record::Requeued { task, start, .. } => {
            let how = match start {
                StartMode::Fresh => "a new session",
                StartMode::Resume => "the same session",
            };
            said(
                format!("{task}: will be tried again with {how}"),
                Tone::Plain,
            )
        }
        Record::TaskFailed {
            task,
            class,
            detail,
        } => said(
            format!("{task}: FAILED ({}): {detail}", class_name(*class)),
            Tone::Bad,
        ),
        Record::TaskSkipped { task, because } => said(
            format!("{task}: skipped, since {because} did not get done"),
            Tone::Warn,
        ),
        Record::TaskCancelled { task } => said(format!("{task}: cancelled"), Tone::Warn),
        Record::PutAfter { task, after, files } => {
            let what = if files.is_empty() {
                "files that it expects to touch".to_owned()
            } else {
                files.join(", ")
            };
            said(
                format!("{task}: waits for {after}, which changes {what}"),
                Tone::Plain,
            )
        }
        Record::AttachAsked { task, .. } => {
            said(format!("{task}: a person takes it over"), Tone::Strong)
        }
        Record::TaskRevived { task } => said(format!("{task}: gets a new chance"), Tone::Plain),
        Record::PauseRequested { task } => said(
            task.as_ref()
                .map_or("paused".to_owned(), |t| format!("{t}: held back")),
            Tone::Warn,
        ),
        Record::ResumeRequested { task } => said(
            task.as_ref()
                .map_or("goes on".to_owned(), |t| format!("{t}: goes on")),
            Tone::Plain,
        ),
        Record::CancelRequested { task: Some(task) } => {
            said(format!("{task}: being cancelled"), Tone::Warn)
        }
        Record::CancelRequested { task: None } => said(
            "cancel requested; running instances are stopped".into(),
            Tone::Warn,
        ),
        Record::WorkersChanged { workers } => {
            said(format!("at most {workers} instances at once"), Tone::Plain)
        }
        Record::IntegrationStarted { mode, .. } => said(
            match mode {
                MergeMode::Automatic => "integration: merging the results".to_owned(),
                MergeMode::Review => "integration: merging the results for review".to_owned(),
            },
            Tone::Busy,
        ),
        Record::IntegrationEnded { result } => {
            let (text, tone) = summary::integration(result);
            said(format!("integration: {text}"), tone)
        }
        Record::UndoStarted { to, how, .. } => said(
            match how {
                UndoHow::Rewind => format!("taking the delivery {} back", to.short()),
                UndoHow::Revert { commit } => format!(
                    "taking the delivery {} back with the commit {}",
                    to.short(),
                    commit.short()
                ),
            },
            Tone::Busy,
        ),
        Record::Undone { to, .. } => said(
            format!("the delivery {} was taken back", to.short()),
            Tone::Warn,
        ),
        Record::Finished { verdict } => said(
            format!("orchestration ended: {}", verdict_name(*verdict)),
            Tone::Strong,
        ),
        Record::QueueStarted { work } => queue_work(work),
        Record::QueueEnded { result } => queue_result(result),
        Record::Proven { .. } => None,
        Record::SetAside { task, why } => {
            said(format!("{task}: SET ASIDE, {}", aside(why)), Tone::Bad)
        }
        Record::ResolverAdded { resolution } => said(
            format!(
                "{}: {} is to resolve its conflict in {}",
                resolution.task,
                resolution.resolver,
                resolution.files.join(", ")
            ),
            Tone::Warn,
        ),
        Record::ConflictAnswered { task, .. } => {
            said(format!("{task}: its conflict was answered"), Tone::Plain)
        }
        Record::Closed | Record::RequestTaken { .. } => None,
    }
}

fn queue_work(work: &QueueWork) -> Option<(String, Tone)> {
    let text = match work {
        // What the command does is told as it goes.
        QueueWork::Verify { .. } | QueueWork::Merge { .. } => return None,
        QueueWork::Deliver { to, .. } => format!("integration: delivering {}", to.short()),
        QueueWork::Present { commit, .. } => {
            format!(
                "integration: {} goes on a branch to be looked at",
                commit.short()
            )
        }
    };
    Some((text, Tone::Busy))
}

fn queue_result(result: &QueueResult) -> Option<(String, Tone)> {
    let (text, tone) = match result {
        QueueResult::Merged { links, .. } if !links.is_empty() => {
            let names = listed(links.iter().map(|link| &link.task));
            let text = format!("integration: merged in memory: {names}");
            (text, Tone::Plain)
        }
        QueueResult::Refused { detail } | QueueResult::Failed { detail } => {
            (format!("integration: {detail}"), Tone::Bad)
        }
        QueueResult::Stopped => ("integration: stopped".to_owned(), Tone::Warn),
        _ => return None,
    };
    Some((one_line(&text), tone))
}

/// Why a result was set aside, in words.
#[must_use]
pub fn aside(why: &AsideWhy) -> String {
    match why {
        AsideWhy::Red { with, .. } if with.is_empty() => "the tree is red with it".to_owned(),
        AsideWhy::Red { with, .. } => {
            format!("the tree is red with it and {} together", listed(with))
        }
        AsideWhy::Conflict { files, with, .. } if with.is_empty() => {
            format!("it conflicts in {}", files.join(", "))
        }
        AsideWhy::Conflict { files, with, .. } => {
            format!("it conflicts with {} in {}", listed(with), files.join(", "))
        }
        AsideWhy::Because { task } => format!("it builds on {task}, which was set aside"),
    }
}

/// A class of failure in words.
#[must_use]
pub fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::TransientApi => "passing API trouble",
        FailureClass::Overload => "provider overloaded",
        FailureClass::UsageLimit => "usage limit",
        FailureClass::Authentication => "not logged in",
        FailureClass::Budget => "budget spent",
        FailureClass::Crash => "crash",
        FailureClass::SupervisorLost => "supervisor lost",
        FailureClass::OutOfMemory => "out of memory",
        FailureClass::Timeout => "time over",
        FailureClass::Hang => "nothing heard for too long",
        FailureClass::Permission => "permission denied",
        FailureClass::BadResult => "ended without a result",
        FailureClass::GateNotPassed => "evidence missing",
        FailureClass::Setup => "set-up command failed",
        FailureClass::Worktree => "worktree trouble",
        FailureClass::DependencyConflict => "dependencies conflict",
        FailureClass::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Verdict;
    use crate::view::testkit::Sample;

    #[test]
    fn a_whole_run_reads_as_a_story() {
        let sample = Sample::of(&[("a", vec![]), ("b", vec![0])])
            .failed("a", 60, "red\ntests")
            .skipped("b", "a")
            .finished(Verdict::Failed);
        let log: Vec<String> = sample
            .lines()
            .iter()
            .filter_map(|l| Some(format!("{} {}", l.at.rfc3339(), text(&l.entry)?.0)))
            .collect();
        let log = log.join("\n");
        insta::assert_snapshot!(log, @r"
        2026-11-21T09:00:00Z orchestration started
        2026-11-21T09:00:00Z a: task/a in /work-trees/app/a
        2026-11-21T09:00:00Z a: started
        2026-11-21T09:00:00Z a: working
        2026-11-21T09:01:00Z a: attempt failed (evidence missing): red tests
        2026-11-21T09:01:00Z a: FAILED (evidence missing): red tests
        2026-11-21T09:01:00Z b: skipped, since a did not get done
        2026-11-21T09:01:00Z orchestration ended: failed
        ");
    }
}
