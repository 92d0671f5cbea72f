//! What earlier runs in a repository teach about the next one: how long tasks take, what
//! they cost, how much memory an instance needs, and where a model was not enough.
//!
//! Figures are medians and percentiles of what was measured; where there is too little of it
//! there is no figure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::TaskName;
use super::plan::ValidPlan;
use super::time::{Millis, Timestamp};

/// How an attempt, or a task as a whole, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Done, with evidence.
    Done,
    /// Not done; the class of the failure as it is written in files.
    Failed(String),
    /// Ended on request.
    Stopped,
}

/// One attempt of the past, or one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// When it ended.
    pub at: Timestamp,
    /// Its run.
    pub run: String,
    /// Its task.
    pub task: String,
    /// Whether this is the task as a whole rather than one attempt at it.
    pub whole: bool,
    /// What kind of work it was.
    pub kind: String,
    /// The model that was asked for; the client's own choice when absent.
    pub model: Option<String>,
    /// How it ended.
    pub fate: Fate,
    /// How long it was worked on.
    pub worked: Option<Millis>,
    /// What it cost, US dollars.
    pub usd: Option<f64>,
    /// Memory of its processes at the peak, bytes.
    pub memory: Option<u64>,
}

/// The kind of tasks that the merge queue adds; they say nothing about planned ones.
pub const RESOLUTION: &str = "resolution";

/// So many tasks of a kind make a figure.
const ENOUGH_OF_A_KIND: usize = 3;

/// So many tasks of all kinds make a figure for any.
const ENOUGH_OF_ALL: usize = 5;

/// So many instances make a figure of their memory.
const ENOUGH_INSTANCES: usize = 3;

/// So many tries with a model make a figure of how good it is.
const ENOUGH_TRIES: usize = 4;

/// How long a task will probably take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guess {
    /// Minutes, at least 1.
    pub minutes: u32,
    /// From so many tasks.
    pub tasks: usize,
    /// Of this kind; of all kinds when absent.
    #[serde(default)]
    pub kind: Option<String>,
}

impl Guess {
    /// `from 7 feature tasks here`.
    #[must_use]
    pub fn basis(&self) -> String {
        match &self.kind {
            Some(kind) => format!("from {} {kind} tasks here", self.tasks),
            None => format!("from {} tasks of other kinds here", self.tasks),
        }
    }
}

/// What a task will probably cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// US dollars.
    pub usd: f64,
    /// From so many tasks.
    pub tasks: usize,
}

impl Price {
    /// What so many tasks will cost, US dollars.
    #[must_use]
    pub fn all(&self, tasks: usize) -> f64 {
        self.usd * u32::try_from(tasks).map_or(f64::INFINITY, f64::from)
    }
}

/// A model that was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotEnough {
    /// So many tries failed their gate.
    pub failed: usize,
    /// Of so many.
    pub tries: usize,
}

/// What the past says about the tasks of one plan. Frozen when a run begins, so that what it
/// does never depends on what others do meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Learned {
    /// How long tasks will take for which the plan gives no estimate.
    pub durations: BTreeMap<TaskName, Guess>,
    /// What a task will cost.
    pub price: Option<Price>,
    /// Memory of an instance at the peak, bytes.
    pub memory: Option<u64>,
    /// Tasks that begin with the stronger model.
    pub stronger: BTreeMap<TaskName, NotEnough>,
}

impl Learned {
    /// How many minutes a task will take: what its plan says, else what the past says.
    #[must_use]
    pub fn minutes(&self, plan: &ValidPlan, ix: super::graph::TaskIx) -> Option<u64> {
        let task = plan.task(ix);
        let said = task.estimated_minutes.map(u64::from);
        said.or_else(|| Some(u64::from(self.durations.get(&task.name)?.minutes)))
    }

    /// Weight of the heaviest chain that starts with each task, in the order of the plan; a
    /// task of which nothing is known counts as the mean of the others.
    #[must_use]
    pub fn chains(&self, plan: &ValidPlan) -> Vec<u64> {
        let known: Vec<u64> = plan.ixs().filter_map(|ix| self.minutes(plan, ix)).collect();
        let mean = match known.len() as u64 {
            0 => 1,
            count => known.iter().sum::<u64>().div_ceil(count),
        };
        let weight = |ix| self.minutes(plan, ix).unwrap_or(mean);
        plan.graph().remaining_chains(weight)
    }
}

/// All that is known of the past.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    past: Vec<Past>,
}

/// The tasks of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct KindRow {
    /// The kind.
    pub kind: String,
    /// How many tasks.
    pub tasks: usize,
    /// How many of them got done.
    pub done: usize,
    /// How many attempts were made.
    pub attempts: usize,
    /// How long a done one was worked on: the median.
    pub worked: Option<Millis>,
    /// What a done one cost: the median, US dollars.
    pub usd: Option<f64>,
    /// Memory of an instance at the peak: nine of ten needed no more, bytes.
    pub memory: Option<u64>,
}

impl History {
    /// A history of these, in any order.
    #[must_use]
    pub fn new(mut past: Vec<Past>) -> Self {
        past.sort_by_key(|one| one.at);
        Self { past }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }

    fn tasks(&self) -> impl Iterator<Item = &Past> {
        self.past.iter().filter(|one| one.whole)
    }

    fn attempts(&self) -> impl Iterator<Item = &Past> {
        self.past.iter().filter(|one| !one.whole)
    }

    fn done(&self) -> impl Iterator<Item = &Past> {
        self.tasks().filter(|one| one.fate == Fate::Done)
    }

    /// How long a task of a kind takes: the median of its kind, else of all.
    #[must_use]
    pub fn typical(&self, kind: &str) -> Option<Guess> {
        let of = |wanted: &dyn Fn(&Past) -> bool, enough: usize, kind: Option<&str>| {
            let lengths: Vec<u64> = self
                .done()
                .filter(|one| wanted(one))
                .filter_map(|one| Some(one.worked?.0))
                .collect();
            let tasks = lengths.len();
            let minutes = median(lengths)?.div_ceil(60_000).max(1);
            (tasks >= enough).then(|| Guess {
                minutes: u32::try_from(minutes).unwrap_or(u32::MAX),
                tasks,
                kind: kind.map(str::to_owned),
            })
        };
        of(&|one| one.kind == kind, ENOUGH_OF_A_KIND, Some(kind))
            .or_else(|| of(&|one| one.kind != RESOLUTION, ENOUGH_OF_ALL, None))
    }

    /// What a task costs: the median.
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        let mut prices: Vec<f64> = self
            .done()
            .filter(|one| one.kind != RESOLUTION)
            .filter_map(|one| one.usd)
            .collect();
        prices.sort_by(f64::total_cmp);
        let tasks = prices.len();
        let usd = prices.get(tasks.checked_sub(1)? / 2).copied()?;
        (tasks >= ENOUGH_OF_A_KIND).then_some(Price { usd, tasks })
    }

    /// Memory of an instance at the peak: nine of ten needed no more, bytes.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let peaks: Vec<u64> = self.attempts().filter_map(|one| one.memory).collect();
        (peaks.len() >= ENOUGH_INSTANCES).then(|| percentile(peaks, 90))?
    }

    /// Whether a model was not enough for a kind of tasks: at least half of the last tries
    /// failed their gate.
    #[must_use]
    pub fn not_enough(&self, kind: &str, model: Option<&str>) -> Option<NotEnough> {
        let by_gate = |one: &&Past| matches!(&one.fate, Fate::Failed(c) if c == "gate-not-passed");
        let tries: Vec<&Past> = self
            .attempts()
            .filter(|one| one.kind == kind && one.model.as_deref() == model)
            .filter(|one| one.fate == Fate::Done || by_gate(one))
            .collect();
        let failed = tries.iter().copied().filter(by_gate).count();
        let tries = tries.len();
        (tries >= ENOUGH_TRIES && failed * 2 >= tries).then_some(NotEnough { failed, tries })
    }

    /// What all this says about a plan. `model` is the one for tasks that name none,
    /// `stronger` the one to go over to, if there is one.
    #[must_use]
    pub fn learn(&self, plan: &ValidPlan, model: Option<&str>, stronger: Option<&str>) -> Learned {
        let tasks = plan.tasks().iter();
        let open = tasks
            .clone()
            .filter(|task| task.estimated_minutes.is_none());
        let weak = tasks.filter_map(|task| {
            let model = task.model.as_ref().map(|m| m.as_str()).or(model);
            if stronger.is_none() || model == stronger {
                return None;
            }
            let why = self.not_enough(task.kind.as_str(), model)?;
            Some((task.name.clone(), why))
        });
        Learned {
            durations: open
                .filter_map(|task| Some((task.name.clone(), self.typical(task.kind.as_str())?)))
                .collect(),
            price: self.price(),
            memory: self.memory(),
            stronger: weak.collect(),
        }
    }

    /// The tasks by kind, the most frequent first.
    #[must_use]
    pub fn kinds(&self) -> Vec<KindRow> {
        let kinds: BTreeSet<&str> = self.past.iter().map(|one| one.kind.as_str()).collect();
        let mut rows: Vec<KindRow> = kinds
            .into_iter()
            .map(|kind| {
                let of = |one: &&Past| one.kind == kind;
                let done: Vec<&Past> = self.done().filter(of).collect();
                let mut prices: Vec<f64> = done.iter().filter_map(|one| one.usd).collect();
                prices.sort_by(f64::total_cmp);
                let attempts: Vec<&Past> = self.attempts().filter(of).collect();
                KindRow {
                    kind: kind.to_owned(),
                    tasks: self.tasks().filter(of).count(),
                    done: done.len(),
                    attempts: attempts.len(),
                    worked: median(done.iter().filter_map(|one| Some(one.worked?.0)).collect())
                        .map(Millis),
                    usd: prices.get(prices.len().saturating_sub(1) / 2).copied(),
                    memory: percentile(attempts.iter().filter_map(|one| one.memory).collect(), 90),
                }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.tasks));
        rows
    }

    /// How many tasks met each class of failure at least once, the most frequent first; and
    /// how many tasks there were.
    #[must_use]
    pub fn failures(&self) -> (Vec<(String, usize)>, usize) {
        let mut all = BTreeSet::new();
        let mut met: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for one in &self.past {
            let name = (one.run.as_str(), one.task.as_str());
            all.insert(name);
            if let Fate::Failed(class) = &one.fate {
                met.entry(class).or_default().insert(name);
            }
        }
        let mut counts: Vec<(String, usize)> = met
            .into_iter()
            .map(|(class, tasks)| (class.to_owned(), tasks.len()))
            .collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        (counts, all.len())
    }

    /// The kinds with what is typical of them, for whoever estimates new tasks; none when
    /// too little is known.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        let lines: Vec<String> = self
            .kinds()
            .iter()
            .filter(|row| row.kind != RESOLUTION)
            .filter_map(|row| {
                let guess = self
                    .typical(&row.kind)
                    .filter(|guess| guess.kind.is_some())?;
                let Guess { minutes, tasks, .. } = guess;
                Some(format!("- {}: {minutes} min (median of {tasks})", row.kind))
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

fn median(values: Vec<u64>) -> Option<u64> {
    percentile(values, 50)
}

/// The smallest value that so many percent do not exceed.
fn percentile(mut values: Vec<u64>, percent: usize) -> Option<u64> {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).checked_sub(1)?;
    values.get(rank).copied()
}

#[cfg(test)]
mod tests;
