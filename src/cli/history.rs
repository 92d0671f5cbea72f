//! `orchestra history`

use serde_json::json;

use super::{Context, Exit, Failure};
use crate::core::history::{History, KindRow, RESOLUTION};
use crate::format::SCHEMA_VERSION;
use crate::format::config::AgentKind;
use crate::store::history;
use crate::store::layout::Layout;
use crate::view::lines::short;
use crate::view::page::{Page, bytes, cell, cell_right, money, plural};

/// Show what earlier runs in this repository teach: how long tasks take, what they cost
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra history\n  \
    orchestra history --json | jq '.kinds[] | {kind, medianMs}'\n  \
    orchestra history --agent scripted\n\n\
  From 3 tasks of a kind on (5 of all kinds) these figures are the estimates of plans that\n  \
  give none. They lie in .claude/orchestration/history.jsonl, the newest 5,000 lines.")]
pub struct Args {
    /// Of the work of which agent
    #[arg(long, value_enum, default_value_t = AgentKind::Claude)]
    agent: AgentKind,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let history = history::of_agent(&layout, args.agent.word());
    if args.json {
        cx.print_json(&as_json(&history))?;
        return Ok(Exit::Success);
    }
    let text = if history.is_empty() {
        nothing(&layout, args.agent)
    } else {
        table(&history, &cx.page)
    };
    cx.print(&text)?;
    Ok(Exit::Success)
}

/// Says that there is nothing, and where there is something.
fn nothing(layout: &Layout, agent: AgentKind) -> String {
    let other = match agent {
        AgentKind::Claude => AgentKind::Scripted,
        AgentKind::Scripted => AgentKind::Claude,
    };
    let mut text = format!(
        "No task has come to an end here yet with --agent {}.\n",
        agent.word()
    );
    if !history::of_agent(layout, other.word()).is_empty() {
        text.push_str(&format!(
            "Of other tasks: orchestra history --agent {}\n",
            other.word()
        ));
    }
    text
}

fn as_json(history: &History) -> serde_json::Value {
    let (failures, tasks) = history.failures();
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "kinds": history.kinds().iter().map(|row| json!({
            "kind": row.kind,
            "tasks": row.tasks,
            "done": row.done,
            "attempts": row.attempts,
            "medianMs": row.worked.map(|worked| worked.0),
            "medianUsd": row.usd,
            "memoryBytes": row.memory,
        })).collect::<Vec<_>>(),
        "tasks": tasks,
        "failures": failures.iter().map(|(class, tasks)| json!({
            "class": class, "tasks": tasks,
        })).collect::<Vec<_>>(),
    })
}

fn table(history: &History, page: &Page) -> String {
    let rows = history.kinds();
    let longest = rows.iter().map(|row| row.kind.len()).max().unwrap_or(0);
    let width = longest.clamp(4, 24);
    let line = |cells: [&str; 7]| {
        let [kind, rest @ ..] = cells;
        let mut line = cell(kind, width);
        for (text, width) in rest.into_iter().zip([6, 6, 9, 9, 8, 8]) {
            line.push(' ');
            line.push_str(&cell_right(text, width));
        }
        line.trim_end().to_owned()
    };
    let head = line([
        "kind", "tasks", "done", "attempts", "time", "cost", "memory",
    ]);
    let mut text = format!("{}\n", page.strong(&head));
    let dash = || "-".to_owned();
    for row in &rows {
        let percent = (row.done * 100).checked_div(row.tasks);
        let row = line([
            &row.kind,
            &row.tasks.to_string(),
            &percent.map_or_else(dash, |percent| format!("{percent}%")),
            &row.attempts.to_string(),
            &row.worked.map_or_else(dash, short),
            &row.usd.map_or_else(dash, money),
            &row.memory.map_or_else(dash, bytes),
        ]);
        text.push_str(&row);
        text.push('\n');
    }
    text.push_str(&page.faint(
        "time and cost: median of the tasks that got done; memory: enough for nine of ten instances",
    ));
    text.push('\n');
    if let Some(line) = failures(history) {
        text.push_str(&format!("\n{line}\n"));
    }
    text
}

/// `of 20 tasks here 3 met usage-limit, 2 gate-not-passed`; none when nothing failed.
fn failures(history: &History) -> Option<String> {
    let (failures, tasks) = history.failures();
    let list: Vec<String> = failures
        .iter()
        .map(|(class, tasks)| format!("{tasks} met {class}"))
        .collect();
    (!list.is_empty()).then(|| format!("of {} here {}", plural(tasks, "task"), list.join(", ")))
}

/// One line for `doctor`: how many tasks there were, and what most often went wrong.
pub(super) fn in_a_line(layout: &Layout) -> Option<String> {
    let history = history::of_agent(layout, AgentKind::Claude.word());
    if history.is_empty() {
        return None;
    }
    let planned = |row: &&KindRow| row.kind != RESOLUTION;
    let kinds = history.kinds();
    let (tasks, done) = kinds
        .iter()
        .filter(planned)
        .fold((0, 0), |(tasks, done), row| {
            (tasks + row.tasks, done + row.done)
        });
    let worked = format!("{done} of {} here got done", plural(tasks, "task"));
    Some(match failures(&history) {
        Some(failures) => format!("{worked}; {failures}"),
        None => worked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::{Fate, Past};
    use crate::core::time::{Millis, Timestamp};

    fn past(kind: &str, n: u64, whole: bool, fate: Fate) -> Past {
        Past {
            at: Timestamp(0),
            run: "r".into(),
            task: format!("t{n}"),
            whole,
            kind: kind.into(),
            model: None,
            fate,
            worked: Some(Millis::from_secs(60 * n)),
            usd: Some(1.5),
            memory: Some(300_000_000),
        }
    }

    #[test]
    fn at_80_columns() {
        let history = History::new(vec![
            past("feature", 1, true, Fate::Done),
            past("feature", 2, true, Fate::Failed("usage-limit".into())),
            past("feature", 1, false, Fate::Done),
            past("feature", 2, false, Fate::Failed("usage-limit".into())),
            past("bugfix", 3, true, Fate::Done),
        ]);
        insta::assert_snapshot!(table(&history, &Page::new(80, false)), @r"
        kind     tasks   done  attempts      time     cost   memory
        feature      2    50%         2        1m    $1.50   300 MB
        bugfix       1   100%         0        3m    $1.50        -
        time and cost: median of the tasks that got done; memory: enough for nine of ten instances

        of 3 tasks here 1 met usage-limit
        ");
        let json = as_json(&history);
        assert_eq!(json["kinds"][0]["medianMs"], 60_000);
        assert_eq!(json["failures"][0]["class"], "usage-limit");
    }
}
