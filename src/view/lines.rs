//! The line form of a task, and what belongs under it.
//!
//! `[*] #123 - WORKING (45m) - Add export button`; a task without an issue has its name.

use crate::core::id::{TaskName, listed};
use crate::core::state::TaskState;
use crate::core::time::{Millis, Timestamp};

use super::log_line;
use super::merging::ResultIs;
use super::page::{Page, Tone, columns, fit, one_line, wrap};
use super::snapshot::{EmergencyView, Snapshot, TaskView, Word};

/// The symbol of a word, in brackets.
#[must_use]
pub fn symbol(word: Word) -> &'static str {
    match word {
        Word::Waiting => "[ ]",
        Word::Ready => "[>]",
        Word::Retry => "[~]",
        Word::Paused => "[=]",
        Word::Starting | Word::Working => "[*]",
        Word::Stuck => "[!]",
        Word::Lost => "[?]",
        Word::Done | Word::PrReady => "[+]",
        Word::Failed => "[x]",
        Word::Skipped | Word::Cancelled => "[-]",
    }
}

/// How a word looks.
#[must_use]
pub fn tone(word: Word) -> Tone {
    match word {
        Word::Waiting | Word::Skipped | Word::Cancelled => Tone::Faint,
        Word::Ready | Word::Paused => Tone::Plain,
        Word::Retry | Word::Stuck | Word::Lost => Tone::Warn,
        Word::Starting | Word::Working => Tone::Busy,
        Word::Done | Word::PrReady => Tone::Good,
        Word::Failed => Tone::Bad,
    }
}

/// A length of time in its largest unit, or the two largest from an hour on: `45m`, `2h05m`.
#[must_use]
pub fn short(time: Millis) -> String {
    let seconds = time.0 / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// What identifies the task: its issue's number, or its name.
#[must_use]
pub fn label(task: &TaskView) -> String {
    // That of the plan: parts of one issue all have that issue's in their status.
    let number = task.issue_number;
    number.map_or_else(|| task.name.to_string(), |n| format!("#{n}"))
}

/// The time that the line form shows: how long it took, or how long it stands so.
fn time(task: &TaskView, now: Timestamp) -> Option<Millis> {
    match task.word() {
        Word::Done | Word::PrReady | Word::Failed | Word::Cancelled => {
            (task.attempts > 0).then_some(task.worked)
        }
        Word::Skipped | Word::Waiting | Word::Ready | Word::Retry => None,
        _ => Some(now.since(task.since()?)),
    }
}

/// What an instance does right now; paths in its worktree without the way there.
#[must_use]
pub fn activity(task: &TaskView) -> Option<String> {
    let instance = task.instance()?;
    let mut activity = instance.activity.as_deref().map(one_line);
    if instance.attached_since.is_some() {
        activity = Some(match activity {
            Some(activity) => format!("with you - {activity}"),
            None => "with you".to_owned(),
        });
    }
    Some(without_way(task, &activity?))
}

/// A text in which paths of the task's worktree are without the way there.
#[must_use]
pub fn without_way(task: &TaskView, text: &str) -> String {
    match &task.place {
        Some(place) => text.replace(&format!("{}/", place.worktree.display()), ""),
        None => text.to_owned(),
    }
}

/// The symbol of a task and how it looks: a result that was set aside wants a person, though
/// its task is done.
#[must_use]
pub fn mark(snapshot: &Snapshot, task: &TaskView) -> (&'static str, Tone) {
    match snapshot.merging.result(task) {
        Some(ResultIs::Aside(_)) => (symbol(Word::Stuck), Tone::Warn),
        _ => (symbol(task.word()), tone(task.word())),
    }
}

/// The line form, at most as wide as the page.
#[must_use]
pub fn task_line(snapshot: &Snapshot, task: &TaskView, page: &Page) -> String {
    let word = task.word();
    let (symbol, tone) = mark(snapshot, task);
    let head = format!("{symbol} {} - ", label(task));
    let mut state = word.text().to_owned();
    if let Some(time) = time(task, snapshot.taken_at) {
        state.push_str(&format!(" ({})", short(time)));
    }
    if let Some(result) = snapshot.merging.word(task) {
        state.push_str(&format!(", {result}"));
    }
    let mut tail = String::new();
    if let Some(title) = task.title() {
        tail = format!(" - {}", one_line(title));
    }
    let room = page.width.saturating_sub(columns(&head) + columns(&state));
    let tail = if room < 8 {
        String::new()
    } else {
        fit(&tail, room)
    };
    format!(
        "{}{}{}",
        page.paint(tone, symbol) + &head[symbol.len()..],
        page.paint(tone, &state),
        if tone == Tone::Faint {
            page.faint(&tail)
        } else {
            tail
        }
    )
}

/// What a person must know below the line: the reason, the address, whom it waits for.
#[must_use]
pub fn below(snapshot: &Snapshot, task: &TaskView, page: &Page) -> Vec<String> {
    let word = task.word();
    let mut lines = Vec::new();
    let mut say = |label: &str, text: &str| {
        let text = format!("{label}: {}", one_line(text));
        let most = 3;
        let mut wrapped = wrap(&text, page.width.saturating_sub(4));
        if wrapped.len() > most {
            wrapped.truncate(most);
            if let Some(last) = wrapped.last_mut() {
                *last = fit(&format!("{last} …"), page.width.saturating_sub(4));
            }
        }
        lines.extend(wrapped.into_iter().map(|l| format!("    {l}")));
    };
    match snapshot.merging.result(task) {
        Some(ResultIs::Aside(why)) => say("Set aside", &log_line::aside(why)),
        Some(ResultIs::Resolving(resolution)) => say(
            "Conflict",
            &format!(
                "{} resolves it ({})",
                resolution.resolver,
                resolution.files.join(", ")
            ),
        ),
        _ => {}
    }
    if let Some(session) = &task.by_hand {
        let age = short(snapshot.taken_at.since(session.seen));
        let doing = without_way(task, &session.doing);
        say("Opened by hand", &format!("{doing} ({age} ago)"));
    }
    match word {
        Word::Stuck => {
            let reason = task.instance().and_then(|s| s.stuck_reason.as_deref());
            say("Reason", reason.unwrap_or("it did not say why"));
        }
        Word::PrReady => {
            if let Some(url) = task.pull_request() {
                // An address must stay in one piece.
                lines.push(format!("    {}", one_line(url)));
            }
        }
        Word::Failed | Word::Retry => {
            if let TaskState::Failed { detail, .. } | TaskState::Undecided { detail, .. } =
                &task.state
            {
                say("Reason", detail);
            } else if let Some(error) = task.status.as_ref().and_then(|s| s.last_error.as_deref()) {
                say("After", error);
            }
        }
        Word::Waiting => {
            let open: Vec<&TaskName> = task
                .needs
                .iter()
                .chain(&task.after)
                .filter_map(|at| snapshot.tasks.get(*at))
                .filter(|t| !t.state.is_settled())
                .map(|t| &t.name)
                .collect();
            if !open.is_empty() {
                say("Waits for", &listed(open));
            }
        }
        Word::Skipped => {
            if let TaskState::Skipped { because } = &task.state
                && let Some(cause) = snapshot.tasks.get(because.index())
            {
                say("Reason", &format!("{} did not get done", cause.name));
            }
        }
        Word::Lost => say(
            "Reason",
            "its supervisor ended without a word; it will be tried again",
        ),
        _ => {}
    }
    lines
}

/// The banner of an emergency run.
#[must_use]
pub fn emergency(emergency: &EmergencyView, page: &Page) -> String {
    let mut why = Vec::new();
    if !emergency.words.is_empty() {
        why.push(format!("the request says {}", quoted(&emergency.words)));
    }
    if !emergency.critical.is_empty() {
        why.push(format!("critical: {}", emergency.critical.join(", ")));
    }
    let text = format!("!! EMERGENCY RUN: {}", why.join("; "));
    page.paint(Tone::Bad, &fit(&one_line(&text), page.width))
}

fn quoted(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    quoted.join(", ")
}

/// Phases as milestones: one line each, with what stands in them.
#[must_use]
pub fn milestones(snapshot: &Snapshot, page: &Page) -> Vec<String> {
    if snapshot.phases.len() < 2 {
        return Vec::new();
    }
    let current = super::figures::phase(snapshot).map(|(at, _)| at - 1);
    let mut lines = Vec::new();
    for (n, phase) in snapshot.phases.iter().enumerate() {
        let tasks: Vec<&TaskView> = phase
            .iter()
            .filter_map(|at| snapshot.tasks.get(*at))
            .collect();
        let done = tasks
            .iter()
            .filter(|t| matches!(t.state, TaskState::Done { .. }))
            .count();
        let settled = tasks.iter().all(|t| t.state.is_settled());
        let (mark, tone) = if done == tasks.len() {
            ("[+]", Tone::Good)
        } else if settled {
            ("[x]", Tone::Bad)
        } else if current == Some(n) {
            ("[*]", Tone::Busy)
        } else {
            ("[ ]", Tone::Faint)
        };
        let text = format!(
            " phase {}  {done}/{}  {}",
            n + 1,
            tasks.len(),
            listed(tasks.iter().map(|t| &t.name))
        );
        lines.push(format!(
            "{}{}",
            page.paint(tone, mark),
            fit(&text, page.width.saturating_sub(3))
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testkit::Sample;

    #[test]
    fn the_line_form_is_a_contract() {
        let snapshot = Sample::flat(4)
            .with("t1", |t| {
                t.issue_number = Some(123);
                t.description = Some("Add export button".into());
            })
            .done("t3", 125)
            .stuck("t2", 720, "Which\nkey \x1b[31mis right?")
            .working("t1", 45 * 60, None)
            .with("t3", |t| {
                t.status.as_mut().unwrap().pull_request_url =
                    Some("https://github.com/o/r/pull/7".into());
            })
            .build();
        let page = Page::new(60, false);
        let text: Vec<String> = snapshot
            .tasks
            .iter()
            .flat_map(|t| {
                let mut lines = vec![task_line(&snapshot, t, &page)];
                lines.extend(below(&snapshot, t, &page));
                lines
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        [*] #123 - WORKING (45m) - Add export button
        [!] t2 - STUCK (45m) - Make t2 work as it should
            Reason: Which key [31mis right?
        [+] t3 - PR READY (2m) - Make t3 work as it should
            https://github.com/o/r/pull/7
        [>] t4 - READY - Make t4 work as it should
        ");
    }

    #[test]
    fn lengths_are_short() {
        for (s, text) in [
            (0, "0s"),
            (59, "59s"),
            (2700, "45m"),
            (7500, "2h05m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(short(Millis::from_secs(s)), text);
        }
    }
}
