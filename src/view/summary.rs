//! `orchestra status summary`: how far the run is, and each task in a line.

use crate::core::record::{IntegrationEnd, MergeMode, Verdict};

use super::clock;
use super::figures::{self, TimeLeft};
use super::lines::{self, short};
use super::merging;
use super::page::{Page, Tone, bar, fit, one_line, plural};
use super::snapshot::{Snapshot, Standing, Word};

/// Where the run stands, in a word or two.
#[must_use]
pub fn standing(snapshot: &Snapshot) -> (String, Tone) {
    let (text, tone) = match snapshot.standing {
        Standing::Planned => ("PLANNED, not started", Tone::Plain),
        Standing::Unknown => ("UNKNOWN", Tone::Warn),
        Standing::Running if snapshot.cancelling => ("CANCELLING", Tone::Warn),
        Standing::Running if snapshot.paused => ("PAUSED", Tone::Warn),
        Standing::Running if snapshot.hold().is_some() => ("HELD", Tone::Warn),
        Standing::Running => ("RUNNING", Tone::Busy),
        Standing::Integrating(MergeMode::Automatic) => ("INTEGRATING", Tone::Busy),
        Standing::Integrating(MergeMode::Review) => ("MERGING FOR REVIEW", Tone::Busy),
        Standing::Finished { verdict, .. } => match verdict {
            Verdict::Success => ("SUCCESS", Tone::Good),
            Verdict::Partial => ("PARTIAL SUCCESS", Tone::Warn),
            Verdict::Unmerged => ("DONE, not merged", Tone::Good),
            Verdict::Failed => ("FAILED", Tone::Bad),
            Verdict::Cancelled => ("CANCELLED", Tone::Warn),
        },
    };
    (text.to_owned(), tone)
}

/// How integration ended, in a sentence.
#[must_use]
pub fn integration(end: &IntegrationEnd) -> (String, Tone) {
    let how = |verified: &bool| {
        if *verified {
            "verified"
        } else {
            "not verified: no verify command is configured"
        }
    };
    match end {
        IntegrationEnd::Delivered { to, verified, .. } => (
            format!("delivered as {} ({})", to.short(), how(verified)),
            Tone::Good,
        ),
        IntegrationEnd::Reviewable {
            branch,
            commit,
            verified,
        } => (
            format!(
                "waits for review on {branch} at {} ({})",
                commit.short(),
                how(verified)
            ),
            Tone::Good,
        ),
        IntegrationEnd::Conflict { task, files } => (
            format!("{task} does not merge: conflicts in {}", files.join(", ")),
            Tone::Bad,
        ),
        IntegrationEnd::Red { commit, .. } => (
            format!(
                "the verify command is red on the merged tree ({})",
                commit.short()
            ),
            Tone::Bad,
        ),
        IntegrationEnd::NotDelivered { commit, detail } => (
            format!(
                "merged and green as {}, but not delivered: {detail}",
                commit.short()
            ),
            Tone::Bad,
        ),
        IntegrationEnd::Failed { detail } => (format!("failed: {detail}"), Tone::Bad),
    }
}

/// The lines that every mode begins with.
#[must_use]
pub fn header(snapshot: &Snapshot, page: &Page) -> String {
    let mut text = String::new();
    if let Some(emergency) = &snapshot.emergency {
        text.push_str(&lines::emergency(emergency, page));
        text.push('\n');
    }
    let (state, tone) = standing(snapshot);
    text.push_str(&format!(
        "{}  {}",
        page.strong(snapshot.id.as_str()),
        page.paint(tone, &state)
    ));
    if let Some(elapsed) = snapshot.elapsed() {
        let word = if snapshot.ended_at.is_some() {
            "took"
        } else {
            "for"
        };
        text.push_str(&format!("  {word} {}", short(elapsed)));
    }
    text.push('\n');
    if let Some(request) = &snapshot.request {
        let request = fit(&one_line(request), page.width.saturating_sub(2));
        text.push_str(&page.faint(&format!("\"{request}\"")));
        text.push('\n');
    }
    text
}

/// Time left, with what it rests on.
#[must_use]
pub fn time_left(snapshot: &Snapshot) -> String {
    match figures::time_left(snapshot) {
        TimeLeft::Over => match snapshot.standing {
            Standing::Integrating(_) => "unknown (results are being merged)".to_owned(),
            _ => "-".to_owned(),
        },
        TimeLeft::Unknown(why) => format!("unknown ({why})"),
        TimeLeft::About { left, basis } => format!("about {} ({basis})", short(left)),
    }
}

fn instances(snapshot: &Snapshot) -> String {
    let mut text = format!("{} active", snapshot.active().count());
    if let Some(workers) = snapshot.workers {
        text.push_str(&format!(" of at most {workers}"));
    }
    let stuck = snapshot.count(&[Word::Stuck]);
    if stuck > 0 {
        text.push_str(&format!(", {stuck} stuck"));
    }
    text
}

/// The summary.
#[must_use]
pub fn render(snapshot: &Snapshot, page: &Page) -> String {
    let mut text = header(snapshot, page);
    text.push('\n');
    let mut row = |label: &str, value: &str| {
        let label = page.faint(&format!("{label:<11}"));
        text.push_str(&format!(
            "{label}{}\n",
            fit(value, page.width.saturating_sub(11))
        ));
    };
    match figures::overall(snapshot) {
        None => row("progress", "?"),
        Some(all) => {
            let mut value = format!(
                "[{}] {}%  {} of {} done",
                bar(all.percent, 20),
                all.percent,
                all.done,
                plural(all.total, "task")
            );
            if all.unmeasured > 0 {
                value.push_str(&format!(", {} without a list", all.unmeasured));
            }
            row("progress", &value);
        }
    }
    if snapshot.is_live() {
        row("instances", &instances(snapshot));
    }
    row("worktrees", &figures::worktrees(snapshot).to_string());
    if snapshot.is_live() {
        row("time left", &time_left(snapshot));
    }
    if let Some(budget) = &snapshot.budget {
        row("budget", &budget.line());
    }
    if let Some((at, of)) = figures::phase(snapshot) {
        row("phase", &format!("{at} of {of}"));
    }
    if let Some(text) = merging::progress(snapshot) {
        row("merging", &one_line(&text));
    }
    if let Some((text, _)) = merging::ended(snapshot) {
        row("results", &one_line(&text));
    } else if snapshot.taken_back {
        row("results", "delivered, and taken back");
    }
    for said in snapshot.held_back() {
        row("outside", &one_line(&said));
    }
    if snapshot.is_live() && !snapshot.conductor_alive {
        row("conductor", "none at work");
    }
    if let Some(ended) = snapshot.ended_at {
        row("ended", &clock::date_time(ended));
    }
    if !snapshot.tasks.is_empty() {
        text.push('\n');
    }
    for task in snapshot.rows() {
        text.push_str(&lines::task_line(snapshot, task, page));
        text.push('\n');
        for line in lines::below(snapshot, task, page) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str(&hints(snapshot, page));
    text
}

/// What can be done next, and what could not be read.
fn hints(snapshot: &Snapshot, page: &Page) -> String {
    let mut text = String::new();
    if !snapshot.problems.is_empty() {
        text.push('\n');
    }
    for problem in &snapshot.problems {
        let problem = fit(&one_line(problem), page.width.saturating_sub(4));
        text.push_str(&format!("{} {problem}\n", page.paint(Tone::Warn, "[!]")));
    }
    let mut hints = Vec::new();
    if snapshot.rows().any(|t| t.word() == Word::Stuck) {
        hints.push("orchestra status issues - what is asked, and how to answer");
    }
    if !snapshot.conflicts.is_empty() {
        hints.push("orchestra status issues - which tasks are about to be in conflict");
    }
    if merging::set_aside(snapshot).next().is_some() {
        hints.push("orchestra status issues - what was set aside, and what you can do");
    }
    if merging::too_few(snapshot).is_some() {
        hints.push("orchestra merge automatic - deliver what can be delivered");
    }
    if matches!(snapshot.standing, Standing::Finished { .. })
        && snapshot.count(&[Word::Failed, Word::Skipped, Word::Cancelled]) > 0
    {
        hints.push("orchestra status issues - what went wrong");
        hints.push("orchestra control retry - try again what did not get done");
    }
    let unmerged = snapshot.done() > 0 && snapshot.integration.is_none();
    if unmerged
        && matches!(
            snapshot.verdict(),
            Some(Verdict::Failed | Verdict::Cancelled | Verdict::Unmerged)
        )
    {
        hints.push("orchestra merge automatic - merge what is done");
    }
    if !hints.is_empty() {
        text.push('\n');
    }
    for hint in hints {
        text.push_str(&format!("{}\n", page.faint(&fit(hint, page.width))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Record;
    use crate::view::snapshot::EmergencyView;
    use crate::view::testkit::{Sample, oid};

    fn busy() -> Snapshot {
        let mut sample = Sample::of(
            &[
                ("database-schema", vec![]),
                ("api-endpoints", vec![0]),
                ("frontend-components", vec![1]),
                ("documentation", vec![1, 2]),
                ("日本語の仕事", vec![]),
            ]
            .map(|(n, d)| if n.is_ascii() { (n, d) } else { ("search", d) }),
        )
        .with("search", |t| {
            t.description = Some(
                "日本語の検索を速くして、結果の並び順も直す。とても長い説明がここに続く".into(),
            );
        })
        .done("database-schema", 300)
        .stuck(
            "search",
            720,
            "Which index may be rebuilt, and is there a copy of the production data to test with?",
        )
        .working("api-endpoints", 95, Some(50));
        sample.emergency = Some(EmergencyView {
            critical: vec!["api-endpoints".into()],
            words: vec!["production is down".into()],
        });
        sample.build()
    }

    #[test]
    fn a_busy_run_at_80_columns() {
        insta::assert_snapshot!(render(&busy(), &Page::new(80, false)), @r#"
        !! EMERGENCY RUN: the request says "production is down"; critical: api-endpoints
        run-1  RUNNING  for 18m
        "Create frontend, build backend, setup database"

        progress   [######--------------] 30%  1 of 5 tasks done, 1 without a list
        instances  2 active of at most 5, 1 stuck
        worktrees  3
        time left  unknown (an instance waits for an answer)
        phase      1 of 4

        [+] database-schema - DONE (5m) - Make database-schema work as it should
        [*] api-endpoints - WORKING (1m) - Make api-endpoints work as it should
        [ ] frontend-components - WAITING - Make frontend-components work as it should
            Waits for: api-endpoints
        [ ] documentation - WAITING - Make documentation work as it should
            Waits for: api-endpoints, frontend-components
        [!] search - STUCK (1m) - 日本語の検索を速くして、結果の並び順も直す。とても長…
            Reason: Which index may be rebuilt, and is there a copy of the production
            data to test with?

        orchestra status issues - what is asked, and how to answer
        "#);
    }

    #[test]
    fn a_busy_run_at_160_columns() {
        insta::assert_snapshot!(render(&busy(), &Page::new(160, false)), @r#"
        !! EMERGENCY RUN: the request says "production is down"; critical: api-endpoints
        run-1  RUNNING  for 18m
        "Create frontend, build backend, setup database"

        progress   [######--------------] 30%  1 of 5 tasks done, 1 without a list
        instances  2 active of at most 5, 1 stuck
        worktrees  3
        time left  unknown (an instance waits for an answer)
        phase      1 of 4

        [+] database-schema - DONE (5m) - Make database-schema work as it should
        [*] api-endpoints - WORKING (1m) - Make api-endpoints work as it should
        [ ] frontend-components - WAITING - Make frontend-components work as it should
            Waits for: api-endpoints
        [ ] documentation - WAITING - Make documentation work as it should
            Waits for: api-endpoints, frontend-components
        [!] search - STUCK (1m) - 日本語の検索を速くして、結果の並び順も直す。とても長い説明がここに続く
            Reason: Which index may be rebuilt, and is there a copy of the production data to test with?

        orchestra status issues - what is asked, and how to answer
        "#);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let plain = render(&busy(), &Page::new(80, false));
        let colored = render(&busy(), &Page::new(80, true));
        assert_ne!(plain, colored);
        assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain);
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        for width in [40, 60, 80, 160] {
            for line in render(&busy(), &Page::new(width, false)).lines() {
                assert!(
                    super::super::page::columns(line) <= width,
                    "{width}: {line}"
                );
            }
        }
    }

    #[test]
    fn a_delivered_run() {
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
        insta::assert_snapshot!(render(&snapshot, &Page::new(80, false)), @r#"
        run-1  SUCCESS  took 1m
        "Create frontend, build backend, setup database"

        progress   [####################] 100%  2 of 2 tasks done
        worktrees  2
        results    delivered as cccccccccc (verified)
        ended      2026-11-21 09:01:30 UTC

        [+] t1 - DONE (1m), delivered - Make t1 work as it should
        [+] t2 - DONE (30s), delivered - Make t2 work as it should
        "#);
    }

    #[test]
    fn a_half_made_run_says_what_is_not_known() {
        let mut snapshot = Sample::flat(1).build();
        snapshot.tasks.clear();
        snapshot.standing = Standing::Unknown;
        snapshot.request = None;
        snapshot.workers = None;
        snapshot.problems = vec!["cannot read orchestration-plan.json".into()];
        insta::assert_snapshot!(render(&snapshot, &Page::new(80, false)), @r"
        run-1  UNKNOWN  for 0s

        progress   ?
        worktrees  0

        [!] cannot read orchestration-plan.json
        ");
    }
}
