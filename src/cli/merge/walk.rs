//! Going through the results one at a time, with a person who answers.

use std::io::IsTerminal;

use crate::cli::{Context, Exit, Failure, select};
use crate::core::id::{TaskName, listed};
use crate::core::record::MergeMode;
use crate::core::state::State;

use super::rows::{self, Row, Rows};
use super::{Merging, Telling, merge};

/// Whether there is somebody who can answer.
pub(in crate::cli) fn can_ask(cx: &Context<'_>) -> bool {
    cx.terminal && std::io::stdin().is_terminal()
}

/// One answer; none at the end of the input.
pub(in crate::cli) fn answer(
    question: &str,
    cx: &mut Context<'_>,
) -> Result<Option<String>, Failure> {
    cx.print(question)?;
    let mut line = Vec::new();
    let mut byte = [0; 1];
    loop {
        if cx.stdin.read(&mut byte)? == 0 {
            return Ok(None);
        }
        match byte {
            [b'\n'] => break,
            [other] => line.push(other),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}

/// Takes, skips, resolves or shows each result that is not delivered yet, in merge order.
pub(super) fn walk(
    merging: &Merging,
    only: Option<&[TaskName]>,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    let mut skipped: Vec<TaskName> = Vec::new();
    loop {
        // What was taken changes what the others meet.
        let state = merging.state()?;
        let rows = Rows::of(merging, &state, only)?;
        let next = rows
            .iter()
            .find(|row| !row.delivered && !skipped.contains(&row.name));
        let Some(mut row) = next.cloned() else { break };
        // It is taken alone, or with what it builds on.
        row.conflicts_in_order.clear();
        cx.print(&row.text())?;
        match ask_about(&row, merging, &state, cx)? {
            Choice::Take => {
                let only = Some(vec![row.name.clone()]);
                exit = merge(
                    merging,
                    MergeMode::Automatic,
                    only,
                    true,
                    Telling::default(),
                    cx,
                )?;
                // Taken or not: it is not asked about for ever.
                skipped.push(row.name);
            }
            Choice::Skip => skipped.push(row.name),
            Choice::Quit => break,
        }
    }
    let state = merging.state()?;
    let rows = Rows::of(merging, &state, only)?;
    let left: Vec<&TaskName> = rows
        .iter()
        .filter(|row| !row.delivered)
        .map(|row| &row.name)
        .collect();
    if left.is_empty() {
        cx.print("all results are delivered\n")?;
        return Ok(exit);
    }
    cx.print(&format!(
        "not delivered: {}. Their branches stay; `orchestra merge manual` goes on\n",
        listed(left)
    ))?;
    Ok(exit)
}

enum Choice {
    Take,
    Skip,
    Quit,
}

fn ask_about(
    row: &Row,
    merging: &Merging,
    state: &State,
    cx: &mut Context<'_>,
) -> Result<Choice, Failure> {
    let conflicts = !row.clean;
    let question = if conflicts {
        "[r]esolve by an instance, [s]kip, [d]iff, [q]uit? "
    } else {
        "[t]ake, [s]kip, [d]iff, [q]uit? "
    };
    loop {
        let Some(said) = answer(question, cx)? else {
            return Ok(Choice::Quit);
        };
        match said.as_str() {
            "t" | "take" if !conflicts => return Ok(Choice::Take),
            "r" | "resolve" if conflicts => return Ok(Choice::Take),
            "s" | "skip" => return Ok(Choice::Skip),
            "q" | "quit" => return Ok(Choice::Quit),
            "d" | "diff" => {
                let text = rows::diff(merging, state, &row.name, cx.page.color)?;
                cx.print(&text)?;
            }
            _ => {}
        }
    }
}

/// Whether what was reviewed is to be delivered.
pub(super) fn confirm(
    merging: &Merging,
    state: &State,
    cx: &mut Context<'_>,
) -> Result<bool, Failure> {
    let base = merging.context.settings.base_branch.to_string();
    let question = format!("Deliver it to {base}? [y]es, [n]o, [d]iff TASK: ");
    loop {
        let Some(said) = answer(&question, cx)? else {
            return Ok(false);
        };
        let mut words = said.split_whitespace();
        match (words.next(), words.next()) {
            (Some("y" | "yes"), None) => return Ok(true),
            (Some("n" | "no") | None, None) => return Ok(false),
            (Some("d" | "diff"), Some(task)) => {
                let shown = select::task(&merging.snapshot, task)
                    .and_then(|task| rows::diff(merging, state, &task, cx.page.color));
                match shown {
                    Ok(text) => cx.print(&text)?,
                    Err(failure) => cx.remark(&failure.what),
                }
            }
            _ => {}
        }
    }
}
