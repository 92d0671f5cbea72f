//! What became of the results: what was delivered, what is proven, what was set aside and
//! why, and what is being done with them right now. In words for people.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::id::{BranchName, Oid, TaskName};
use crate::core::queue::{Batch, Queue, Verdict};
use crate::core::record::{
    AsideWhy, IntegrationEnd, QueueLink, QueueResult, QueueWork, Record, Resolution, SettledFile,
};
use crate::core::state::{Phase, State, TaskState};
use crate::store::journal::Line;

use super::log_line;
use super::page::{Tone, columns, one_line};
use super::snapshot::{Snapshot, Standing, TaskView};
use super::summary;

/// Most results that a text at the end of a command names.
const NAMED: usize = 6;

/// What is being done with the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// So many are merged.
    Merging(usize),
    /// The verify command runs on the last of so many that are merged and not proven.
    Verifying {
        /// The commit.
        commit: Oid,
        /// How many results.
        results: usize,
        /// The run on this commit, from 1.
        run: u32,
    },
    /// One of so many makes the tree red; it is looked for.
    Searching(usize),
    /// This one makes the tree red; whether it does so by itself is looked for.
    Suspecting(TaskName),
    /// The tree is red; whether the base branch is so by itself is looked for.
    CheckingBase,
    /// The base branch is moved to this commit.
    Delivering(Oid),
    /// This commit is put on a branch for people.
    Presenting(Oid),
}

/// A commit on which the verify command gave both answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaky {
    /// The commit.
    pub commit: Oid,
    /// How often it succeeded.
    pub green: u32,
    /// How often it failed.
    pub red: u32,
}

/// Where one result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultIs<'a> {
    /// The base branch holds it, as part of this commit.
    Delivered(&'a Oid),
    /// Merged and found good, as part of this commit.
    Proven(&'a Oid),
    /// Merged into this commit, which is not proven yet.
    Merged(&'a Oid),
    /// An instance resolves its conflict.
    Resolving(&'a Resolution),
    /// It is not delivered with the others.
    Aside(&'a AsideWhy),
    /// None of these.
    Open,
}

impl ResultIs<'_> {
    /// The name of it, as the files for tools have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Proven(_) => "proven",
            Self::Merged(_) => "merged",
            Self::Resolving(_) => "resolving",
            Self::Aside(_) => "set-aside",
            Self::Open => "not-delivered",
        }
    }
}

/// What became of the results of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merging {
    /// Whether a verify command decides what is good.
    pub verifies: bool,
    /// Whether the run has ended: what is not delivered stays so.
    pub ended: bool,
    /// What is being done; none while nothing is.
    pub doing: Option<Doing>,
    /// The results on the base branch, each with a commit that holds it.
    pub delivered: BTreeMap<TaskName, Oid>,
    /// The results that are found good and not delivered yet.
    pub proven: BTreeMap<TaskName, Oid>,
    /// The results that are merged and not proven yet.
    pub merged: BTreeMap<TaskName, Oid>,
    /// The results that were set aside, and why.
    pub aside: BTreeMap<TaskName, AsideWhy>,
    /// Conflicts that were settled without a person or a model, by task.
    pub settled: BTreeMap<TaskName, Vec<SettledFile>>,
    /// Conflicts that instances resolve now.
    pub resolutions: Vec<Resolution>,
    /// Commits on which the verify command gave both answers.
    pub flaky: Vec<Flaky>,
    /// How often it was run on merged commits.
    pub verify_runs: u32,
    /// The branch on which merged results wait for a person, and its tip.
    pub waits_on: Option<(BranchName, Oid)>,
    /// The base branch's commit, when the verify command is red on it before anything is
    /// merged, and the end of what the command printed.
    pub base_is_red: Option<(Oid, String)>,
}

impl Merging {
    /// As a state and its journal tell it.
    #[must_use]
    pub fn of(state: &State, lines: &[Line]) -> Self {
        let queue = state.queue();
        let commits = |links: &[QueueLink]| -> BTreeMap<TaskName, Oid> {
            let pair = |link: &QueueLink| (link.task.clone(), link.commit.clone());
            links.iter().map(pair).collect()
        };
        let batch = queue.batch();
        let mut delivered = queue.delivered().clone();
        for delivery in state.deliveries().all() {
            if !delivery.stands() {
                delivered.retain(|task, _| !delivery.tasks.contains(task));
            }
        }
        for delivery in state.deliveries().all().iter().filter(|d| d.stands()) {
            for task in &delivery.tasks {
                if let Some(commit) = queue.delivered().get(task) {
                    delivered.insert(task.clone(), commit.clone());
                }
            }
        }
        let mut merging = Self {
            verifies: true,
            ended: matches!(state.phase(), Phase::Finished { .. }),
            doing: queue.work().map(|work| doing(queue, work)),
            delivered,
            proven: commits(queue.proven()),
            merged: batch.map(|b| commits(&b.links)).unwrap_or_default(),
            aside: queue.aside().clone(),
            settled: BTreeMap::new(),
            resolutions: queue.resolutions().cloned().collect(),
            flaky: queue
                .flaky()
                .map(|(commit, verdict)| Flaky {
                    commit: commit.clone(),
                    green: verdict.green,
                    red: verdict.red,
                })
                .collect(),
            verify_runs: queue.verify_runs(),
            waits_on: queue
                .presented()
                .map(|(commit, branch)| (branch.clone(), commit.clone())),
            base_is_red: batch.and_then(|batch| red_base(queue, batch)),
        };
        merging.settled = merging.settled_in(lines);
        merging
    }

    /// What was settled on the way to the commits that count.
    fn settled_in(&self, lines: &[Line]) -> BTreeMap<TaskName, Vec<SettledFile>> {
        let counts = |link: &&QueueLink| {
            [&self.delivered, &self.proven, &self.merged]
                .iter()
                .any(|known| known.get(&link.task) == Some(&link.commit))
        };
        let mut settled = BTreeMap::new();
        for line in lines {
            if let Record::QueueEnded {
                result: QueueResult::Merged { links, .. },
            } = &line.entry
            {
                for link in links.iter().filter(counts) {
                    if !link.settled.is_empty() {
                        settled.insert(link.task.clone(), link.settled.clone());
                    }
                }
            }
        }
        settled
    }

    /// Where the result of a task stands; none of a task that is not done.
    #[must_use]
    pub fn result(&self, task: &TaskView) -> Option<ResultIs<'_>> {
        if !matches!(task.state, TaskState::Done { .. }) {
            return None;
        }
        let name = &task.name;
        let found = if let Some(why) = self.aside.get(name) {
            ResultIs::Aside(why)
        } else if let Some(resolution) = self.resolutions.iter().find(|r| r.task == *name) {
            ResultIs::Resolving(resolution)
        } else if let Some(commit) = self.delivered.get(name) {
            ResultIs::Delivered(commit)
        } else if let Some(commit) = self.proven.get(name) {
            ResultIs::Proven(commit)
        } else if let Some(commit) = self.merged.get(name) {
            ResultIs::Merged(commit)
        } else {
            ResultIs::Open
        };
        Some(found)
    }

    /// How many results are found good, the delivered ones included.
    #[must_use]
    pub fn good(&self) -> usize {
        let names: BTreeSet<&TaskName> = self.delivered.keys().chain(self.proven.keys()).collect();
        names.len()
    }

    /// What it is called to be found good.
    #[must_use]
    pub fn good_word(&self) -> &'static str {
        if self.verifies { "proven" } else { "merged" }
    }

    /// Where a result stands, in a word or two; none when nothing is to be said of it.
    #[must_use]
    pub fn word(&self, task: &TaskView) -> Option<&'static str> {
        Some(match self.result(task)? {
            ResultIs::Delivered(_) => "delivered",
            ResultIs::Proven(_) | ResultIs::Merged(_) if self.ended => "not delivered",
            ResultIs::Proven(_) => self.good_word(),
            ResultIs::Merged(_) if self.verifies => "being verified",
            ResultIs::Merged(_) => "being merged",
            ResultIs::Resolving(_) => "in conflict",
            ResultIs::Aside(_) => "SET ASIDE",
            ResultIs::Open => return None,
        })
    }
}

fn red_base(queue: &Queue, batch: &Batch) -> Option<(Oid, String)> {
    let verdict = queue.verdict(&batch.onto)?;
    let red = queue.proven().is_empty() && verdict.is_red();
    red.then(|| (batch.onto.clone(), verdict.tail.clone()))
}

fn doing(queue: &Queue, work: &QueueWork) -> Doing {
    match work {
        QueueWork::Merge {
            items, trial: true, ..
        } => match items.last() {
            // The one that is suspected comes last.
            Some(item) => Doing::Suspecting(item.task.clone()),
            None => Doing::Merging(0),
        },
        QueueWork::Merge { items, .. } => Doing::Merging(items.len()),
        QueueWork::Verify { commit } => verifying(queue, commit),
        QueueWork::Deliver { to, .. } => Doing::Delivering(to.clone()),
        QueueWork::Present { commit, .. } => Doing::Presenting(commit.clone()),
    }
}

fn verifying(queue: &Queue, commit: &Oid) -> Doing {
    let batch = queue.batch();
    let results = batch.map_or(0, |batch| batch.links.len());
    let is_red = |commit| queue.verdict(commit).is_some_and(Verdict::is_red);
    let Some(batch) = batch.filter(|batch| is_red(batch.after(results))) else {
        let known = queue.verdict(commit);
        return Doing::Verifying {
            commit: commit.clone(),
            results,
            run: known.map_or(0, |v| v.green + v.red) + 1,
        };
    };
    if *commit == batch.onto {
        return Doing::CheckingBase;
    }
    let suspects = queue.suspects(batch);
    match batch.links.get(suspects.start) {
        Some(link) if suspects.len() == 1 => Doing::Suspecting(link.task.clone()),
        _ => Doing::Searching(suspects.len()),
    }
}

/// What is being done with the results, in a few words; none while nothing is.
#[must_use]
pub fn activity(snapshot: &Snapshot) -> Option<String> {
    let merging = &snapshot.merging;
    let more = if merging.good() > 0 { " more" } else { "" };
    Some(match &merging.doing {
        Some(Doing::Merging(n)) => format!("merging {n}{more}"),
        Some(Doing::Verifying { results: 0, .. }) => "verifying".to_owned(),
        Some(Doing::Verifying { results, run, .. }) if *run > 1 => {
            format!("red: verifying {results} again")
        }
        Some(Doing::Verifying { results, .. }) => format!("verifying {results}{more}"),
        Some(Doing::Searching(n)) => format!("red: looking for the cause among {n}"),
        Some(Doing::Suspecting(task)) => format!("red with {task}: finding out why"),
        Some(Doing::CheckingBase) => format!("red: checking {} alone", base(snapshot)),
        Some(Doing::Delivering(to)) => format!("delivering {}", to.short()),
        Some(Doing::Presenting(commit)) => format!("putting {} on a branch", commit.short()),
        None => {
            let resolution = merging.resolutions.first()?;
            format!(
                "{} resolves a conflict of {}",
                resolution.resolver, resolution.task
            )
        }
    })
}

fn base(snapshot: &Snapshot) -> &str {
    let settings = snapshot.settings.as_ref();
    settings.map_or("the base branch", |s| s.base_branch.as_str())
}

/// How far the results are and what is being done with them, in a line; none while there is
/// nothing to be told.
#[must_use]
pub fn progress(snapshot: &Snapshot) -> Option<String> {
    let merging = &snapshot.merging;
    let activity = activity(snapshot);
    let integrating = matches!(snapshot.standing, Standing::Integrating(_));
    let stands = activity.is_none() && merging.base_is_red.is_some();
    if !snapshot.is_live() || !(activity.is_some() || integrating || stands) {
        return None;
    }
    let mut text = format!(
        "{} of {} {}",
        merging.good(),
        snapshot.tasks.len(),
        merging.good_word()
    );
    if let Some(activity) = activity {
        text.push_str(&format!(", {activity}"));
    } else if stands {
        text.push_str(&format!(", {} itself is red", base(snapshot)));
    }
    if !merging.aside.is_empty() {
        text.push_str(&format!(", {} set aside", merging.aside.len()));
    }
    Some(text)
}

/// The results that were set aside, in the order of the plan.
pub fn set_aside(snapshot: &Snapshot) -> impl Iterator<Item = (&TaskView, &AsideWhy)> {
    snapshot
        .tasks
        .iter()
        .filter_map(|task| match snapshot.merging.result(task)? {
            ResultIs::Aside(why) => Some((task, why)),
            _ => None,
        })
}

/// The branch on which results wait since too few of them could be delivered.
#[must_use]
pub fn too_few(snapshot: &Snapshot) -> Option<&BranchName> {
    let (branch, _) = snapshot.merging.waits_on.as_ref()?;
    matches!(
        snapshot.integration,
        Some(
            IntegrationEnd::Conflict { .. }
                | IntegrationEnd::Red { .. }
                | IntegrationEnd::Failed { .. }
        )
    )
    .then_some(branch)
}

/// How integration ended, in a sentence, with all that a look knows of it.
#[must_use]
pub fn ended(snapshot: &Snapshot) -> Option<(String, Tone)> {
    let end = snapshot.integration.as_ref()?;
    let merging = &snapshot.merging;
    let (plain, tone) = summary::integration(end);
    let all = snapshot.tasks.len();
    Some(match end {
        _ if too_few(snapshot).is_some() => {
            let needed = snapshot.settings.as_ref().map_or_else(String::new, |s| {
                format!(" ({}% are needed)", s.success_percent)
            });
            let text = format!(
                "nothing was delivered: only {} of {all} results can be{needed}",
                merging.good()
            );
            (text, Tone::Bad)
        }
        IntegrationEnd::Red { commit, .. }
            if merging
                .base_is_red
                .as_ref()
                .is_some_and(|(base, _)| base == commit) =>
        {
            let text = format!(
                "the verify command is red on {} itself ({}), before anything is merged",
                base(snapshot),
                commit.short()
            );
            (text, Tone::Bad)
        }
        IntegrationEnd::Delivered { .. } if !merging.aside.is_empty() => {
            let (got, aside) = (merging.delivered.len(), merging.aside.len());
            let text = format!("{got} of {all} {plain}, {aside} set aside");
            (text, Tone::Warn)
        }
        IntegrationEnd::Conflict { .. } | IntegrationEnd::Red { .. }
            if !merging.aside.is_empty() =>
        {
            (
                "nothing was delivered: no result could be".to_owned(),
                Tone::Bad,
            )
        }
        _ => (plain, tone),
    })
}

/// What a person must know at the end of a command that followed the run: what was not
/// delivered, why, and what comes next. No line when all is well.
#[must_use]
pub fn last_words(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if snapshot.verdict().is_none() {
        return lines;
    }
    let id = &snapshot.id;
    let aside: Vec<_> = set_aside(snapshot).collect();
    if !aside.is_empty() {
        if let Some((text, _)) = ended(snapshot) {
            lines.push(one_line(&text));
        }
        lines.push("set aside:".to_owned());
        let width = aside.iter().map(|(t, _)| columns(t.name.as_str())).max();
        let width = width.unwrap_or(0).min(24);
        for (task, why) in aside.iter().take(NAMED) {
            let name = task.name.as_str();
            let why = one_line(&log_line::aside(why));
            lines.push(format!("  {name:<width$}  {why}"));
        }
        if aside.len() > NAMED {
            lines.push(format!("  and {} more", aside.len() - NAMED));
        }
        lines.push(format!(
            "orchestra status issues --orchestration {id} - what you can do about it"
        ));
    }
    if let Some(branch) = too_few(snapshot) {
        lines.push(format!(
            "orchestra merge automatic --orchestration {id} - delivers the others; they wait on \
             {branch}"
        ));
    }
    lines
}

/// As [`log_line::aside`], with the names of the commands for it.
#[must_use]
pub fn follow_up(snapshot: &Snapshot, task: &TaskView, why: &AsideWhy) -> String {
    let id = &snapshot.id;
    let name = &task.name;
    let next = match why {
        AsideWhy::Conflict { .. } => format!(
            "`orchestra control answer {name} \"HOW TO RESOLVE IT\" --orchestration {id}`, or \
             `orchestra control retry {name} --orchestration {id}`"
        ),
        AsideWhy::Red { .. } => {
            format!("`orchestra control retry {name} --orchestration {id}`")
        }
        AsideWhy::Because { task } => format!("it is merged when {task} is"),
    };
    format!("{name} was set aside: {}; {next}", log_line::aside(why))
}

#[cfg(test)]
mod tests;
