//! Keeps the history of the repository: a line for each attempt that ended and each task that
//! is settled. A line that a conductor did not get to write before it died is written by the
//! next one.

use std::collections::HashSet;

use crate::core::attempt::AttemptEnd;
use crate::core::graph::TaskIx;
use crate::core::history::{Fate, RESOLUTION};
use crate::core::id::TaskName;
use crate::core::record::Record;
use crate::core::state::{State, TaskState};
use crate::core::time::Timestamp;
use crate::format::history_file::HistoryLine;
use crate::format::launch_file::LaunchFile;
use crate::format::outcome_file::OutcomeFile;
use crate::format::status_file::{StatusFile, Tokens};
use crate::store::journal::Line;
use crate::store::{atomic, history, run_log};

use super::context::Context;

/// Writes the lines of one run.
#[derive(Debug)]
pub(super) struct Historian {
    /// What was written before.
    known: HashSet<(String, u32, bool)>,
    /// It could not be written, and that was said.
    said: bool,
}

impl Historian {
    /// Finds out what is written already, and writes what is missing of what the journal
    /// holds.
    pub(super) fn new(context: &Context, state: &State, journal: &[Line]) -> Self {
        let run = context.run.id().as_str();
        let mut historian = Self {
            known: HashSet::new(),
            said: false,
        };
        if journal.is_empty() {
            return historian;
        }
        let known = history::lines(&context.layout).unwrap_or_default();
        let own = known.iter().filter(|line| line.run == run);
        historian.known = own.map(HistoryLine::key).collect();
        let missing = journal
            .iter()
            .flat_map(|line| lines_of(context, state, &line.entry, line.at))
            .collect();
        historian.write(context, missing);
        historian
    }

    /// Takes in what was decided.
    pub(super) fn follow(&mut self, context: &Context, state: &State, records: &[Record]) {
        let now = super::now();
        let new = records
            .iter()
            .flat_map(|record| lines_of(context, state, record, now))
            .collect();
        self.write(context, new);
    }

    fn write(&mut self, context: &Context, mut lines: Vec<HistoryLine>) {
        lines.retain(|line| self.known.insert(line.key()));
        if let Err(error) = history::append(&context.layout, &lines)
            && !self.said
        {
            self.said = true;
            let line = format!("the history of this repository misses something: {error}");
            run_log::append(&context.run, super::now(), &[line]);
        }
    }
}

/// The lines that a record gives: an attempt that ended, a task that is settled.
fn lines_of(context: &Context, state: &State, record: &Record, at: Timestamp) -> Vec<HistoryLine> {
    let mut lines = Vec::new();
    match record {
        Record::AttemptEnded {
            task,
            attempt,
            end,
            account,
            ..
        } => {
            let fate = match end {
                AttemptEnd::Complete { .. } => Fate::Done,
                AttemptEnd::Failed { class, .. } => Fate::Failed(class.to_string()),
                AttemptEnd::Paused | AttemptEnd::Cancelled => Fate::Stopped,
            };
            let Some(ix) = state.find(task) else {
                return lines;
            };
            let mut line = attempt_line(context, state, ix, *attempt, at);
            line.duration_ms = account.worked_ms;
            line.cost_usd = account.usd.map(|usd| usd.dollars());
            line.tokens = account.tokens;
            lines.push(line.ended(&fate));
            if fate == Fate::Done {
                lines.extend(whole_line(context, state, task, &fate, at));
            }
        }
        Record::TaskFailed { task, class, .. } => {
            let fate = Fate::Failed(class.to_string());
            lines.extend(whole_line(context, state, task, &fate, at));
        }
        Record::TaskCancelled { task } => {
            lines.extend(whole_line(context, state, task, &Fate::Stopped, at));
        }
        _ => {}
    }
    lines
}

fn line(context: &Context, state: &State, ix: TaskIx, at: Timestamp) -> HistoryLine {
    let name = state.name(ix);
    let planned = context.plan.ix(name).map(|ix| context.plan.task(ix));
    let model = planned.and_then(|task| task.model.as_ref());
    HistoryLine {
        at,
        run: context.run.id().to_string(),
        task: name.to_string(),
        agent: context.settings.agent.kind().to_owned(),
        kind: planned.map_or_else(|| RESOLUTION.to_owned(), |task| task.kind.to_string()),
        role: planned.map(|task| task.role().to_owned()),
        model: model
            .map(|model| model.as_str().to_owned())
            .or_else(|| context.settings.model.clone()),
        ..HistoryLine::default()
    }
}

fn attempt_line(
    context: &Context,
    state: &State,
    ix: TaskIx,
    attempt: u32,
    at: Timestamp,
) -> HistoryLine {
    let run = &context.run;
    let name = state.name(ix);
    let mut line = line(context, state, ix, at);
    line.attempt = attempt;
    // The files are about the last attempt; of an earlier one they say nothing.
    let order: Option<LaunchFile> = atomic::peek_json(&run.launch(name));
    if let Some(order) = order.filter(|order| order.attempt == attempt) {
        line.model = order.model;
    }
    let outcome: Option<OutcomeFile> = atomic::peek_json(&run.outcome(name));
    let outcome = outcome.filter(|outcome| outcome.attempt == attempt);
    line.peak_memory_bytes = outcome.and_then(|outcome| outcome.peak_memory_bytes);
    if let Some(status) = status(context, name).filter(|status| status.attempt == attempt) {
        line.cpu_ms = status.resources.cpu_ms;
        changes(&mut line, &status);
    }
    line
}

/// A task that never began teaches nothing.
fn whole_line(
    context: &Context,
    state: &State,
    task: &TaskName,
    fate: &Fate,
    at: Timestamp,
) -> Option<HistoryLine> {
    let ix = state.find(task)?;
    let entry = state.task(ix);
    // The state may be a later one: of a task that was revived only the last end is told.
    let settled = matches!(
        (&entry.state, fate),
        (TaskState::Done { .. }, Fate::Done)
            | (TaskState::Failed { .. }, Fate::Failed(_))
            | (TaskState::Cancelled, Fate::Stopped)
    );
    if entry.attempts == 0 || !settled {
        return None;
    }
    let mut line = line(context, state, ix, at);
    line.whole = true;
    line.attempt = entry.attempts;
    line.duration_ms = Some(entry.worked.0).filter(|ms| *ms > 0);
    if let Some(status) = status(context, task) {
        line.cost_usd = status.cost_usd;
        line.tokens = status.tokens.map(Tokens::total);
        changes(&mut line, &status);
    }
    Some(line.ended(fate))
}

fn status(context: &Context, task: &TaskName) -> Option<StatusFile> {
    atomic::peek_json(&context.run.status(task))
}

fn changes(line: &mut HistoryLine, status: &StatusFile) {
    line.files_changed = status.files_changed;
    line.lines_added = status.lines_added;
    line.lines_removed = status.lines_removed;
}
