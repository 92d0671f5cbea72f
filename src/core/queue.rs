//! The merge queue: finished results become one chain of commits on top of the base branch,
//! each link proved before it counts.
//!
//! [`Queue`] is the fold of the journal's records about it, and knows no policy. What to do
//! next is decided in `decide`, from the fold alone: so a queue that was killed anywhere
//! goes on where it was.
//!
//! A chain grows in three parts. The *proven* links are good: the verify command was green on
//! the last commit of them. The *batch* is merged behind them and not yet proved. What is
//! finished and in neither is *ready*. When a batch is red, its first bad link is looked for
//! by halving; the links before it are proven by that very search, the bad one is set aside
//! and the rest is merged anew without it.

pub(super) mod decide;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use decide::QueuePolicy;

use super::id::{BranchName, Oid, TaskName, listed};
use super::record::{
    AsideWhy, IntegrationEnd, QueueConflict, QueueItem, QueueLink, QueueResult, QueueWork,
    Resolution,
};

/// What the verify command said of a commit, over all its runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// How often it succeeded.
    pub green: u32,
    /// How often it failed.
    pub red: u32,
    /// The end of what it printed when it last failed.
    pub tail: String,
}

impl Verdict {
    /// Whether the commit counts as good: it was once. A check that fails at times says
    /// nothing against a commit; that it does so is told.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.green > 0
    }

    /// Whether the commit counts as bad: it was red twice and never green.
    #[must_use]
    pub fn is_red(&self) -> bool {
        !self.is_green() && self.red > 1
    }

    /// Whether the check gave both answers.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        self.green > 0 && self.red > 0
    }
}

/// Merged results that are not proved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The commit under them.
    pub onto: Oid,
    /// The results, in order; never empty.
    pub links: Vec<QueueLink>,
}

impl Batch {
    /// The commit that holds the first `count` of the links.
    #[must_use]
    pub fn after(&self, count: usize) -> &Oid {
        let last = count.checked_sub(1).and_then(|n| self.links.get(n));
        last.map_or(&self.onto, |link| &link.commit)
    }
}

/// How often conflicts of one task were given to a resolver, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Resolving {
    /// Resolvers so far, since a person last said something about it.
    tries: u32,
    /// The one at work.
    present: Option<Resolution>,
    /// Why the last one did not succeed.
    failed: Option<String>,
    /// The conflict that the last one was for.
    files: Vec<String>,
    with: Vec<TaskName>,
    /// The last result: what is merged in the place of the task's own.
    resolved: Option<(Oid, Vec<TaskName>)>,
    /// What a person said.
    guidance: Option<String>,
}

/// The merge queue as its records tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queue {
    /// The base branch's tip under the chain.
    base: Option<Oid>,
    /// The proven links.
    proven: Vec<QueueLink>,
    /// The tasks of these links.
    proven_tasks: BTreeSet<TaskName>,
    /// Whether the verify command said so of the last of them.
    verified: bool,
    batch: Option<Batch>,
    work: Option<QueueWork>,
    verdicts: BTreeMap<Oid, Verdict>,
    /// Commits that were merged to find out what fails together: by the tasks in them; none
    /// when these do not merge.
    trials: BTreeMap<Vec<TaskName>, Option<Oid>>,
    conflicts: BTreeMap<TaskName, QueueConflict>,
    resolving: BTreeMap<TaskName, Resolving>,
    aside: BTreeMap<TaskName, AsideWhy>,
    /// Delivered results, with the commit of the chain that held each.
    delivered: BTreeMap<TaskName, Oid>,
    /// The last delivery.
    last: Option<Delivery>,
    /// Whether it is one of the present integration.
    fresh: bool,
    /// The tasks that the present integration is about, with all that they build on; all
    /// tasks when absent.
    only: Option<Vec<TaskName>>,
    /// Whether somebody asked for the present integration.
    asked: bool,
    /// The proven commit on the branch for people, and that branch.
    presented: Option<(Oid, BranchName)>,
    /// How often the base branch moved since integration was last asked for.
    moves: u32,
    /// Why the queue cannot go on before it is asked to again.
    fault: Option<Fault>,
    /// Verify runs so far.
    runs: u32,
}

/// A move of the base branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it was.
    pub from: Oid,
    /// Where it is since.
    pub to: Oid,
    /// Whether the verify command was green there; false when none is configured.
    pub verified: bool,
}

/// Why a queue stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// A branch could not be moved.
    Refused(String),
    /// Something could not be done.
    Failed(String),
    /// It was stopped on request.
    Stopped,
}

impl Queue {
    /// The proven links, in order.
    #[must_use]
    pub fn proven(&self) -> &[QueueLink] {
        &self.proven
    }

    /// The links that a merge of results has under it: a trial stands on the base branch and
    /// has none.
    #[must_use]
    pub fn under(&self, trial: bool) -> &[QueueLink] {
        if trial { &[] } else { &self.proven }
    }

    /// The links that are merged behind the proven ones and not proved yet.
    #[must_use]
    pub fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// The piece of work that is going on.
    #[must_use]
    pub fn work(&self) -> Option<&QueueWork> {
        self.work.as_ref()
    }

    /// The results that are not delivered with the others, and why.
    #[must_use]
    pub fn aside(&self) -> &BTreeMap<TaskName, AsideWhy> {
        &self.aside
    }

    /// Whether the base branch holds a task's result.
    #[must_use]
    pub fn is_delivered(&self, task: &TaskName) -> bool {
        self.delivered.contains_key(task)
    }

    /// The delivered results, each with the commit of the chain that held it.
    #[must_use]
    pub fn delivered(&self) -> &BTreeMap<TaskName, Oid> {
        &self.delivered
    }

    /// The commits on which the verify command gave both answers.
    pub fn flaky(&self) -> impl Iterator<Item = (&Oid, &Verdict)> {
        self.verdicts.iter().filter(|(_, v)| v.is_flaky())
    }

    /// What the verify command said of a commit.
    #[must_use]
    pub fn verdict(&self, commit: &Oid) -> Option<&Verdict> {
        self.verdicts.get(commit)
    }

    /// Which links of a red batch the first bad one is among: those behind the last good
    /// commit, as far as the first that was red.
    #[must_use]
    pub fn suspects(&self, batch: &Batch) -> Range<usize> {
        let verdict = |count| self.verdict(batch.after(count));
        let all = batch.links.len();
        let good = (1..all)
            .rev()
            .find(|n| verdict(*n).is_some_and(Verdict::is_green));
        let low = good.unwrap_or(0);
        let bad = (low + 1..all).find(|n| verdict(*n).is_some_and(|v| v.red > 0));
        low..bad.unwrap_or(all)
    }

    /// The last move of the base branch.
    #[must_use]
    pub fn last_delivery(&self) -> Option<&Delivery> {
        self.last.as_ref()
    }

    /// How often the verify command was run.
    #[must_use]
    pub fn verify_runs(&self) -> u32 {
        self.runs
    }

    /// The resolvers at work.
    pub fn resolutions(&self) -> impl Iterator<Item = &Resolution> {
        self.resolving.values().filter_map(|r| r.present.as_ref())
    }

    /// The proven commit that was put on a branch for people, and that branch.
    #[must_use]
    pub fn presented(&self) -> Option<(&Oid, &BranchName)> {
        let (commit, branch) = self.presented.as_ref()?;
        Some((commit, branch))
    }

    /// The last proven commit; the base when nothing is proven, none before anything was
    /// merged.
    #[must_use]
    pub fn tip(&self) -> Option<&Oid> {
        self.proven
            .last()
            .map(|link| &link.commit)
            .or(self.base.as_ref())
    }

    /// The commit that is merged for a task: its own result, or that of its resolver.
    #[must_use]
    pub fn head<'a>(&'a self, task: &TaskName, own: &'a Oid) -> &'a Oid {
        self.resolving
            .get(task)
            .and_then(|r| r.resolved.as_ref())
            .map_or(own, |(head, _)| head)
    }

    /// The tasks whose commits the resolved result of a task contains.
    fn resolved_with(&self, task: &TaskName) -> &[TaskName] {
        self.resolving
            .get(task)
            .and_then(|r| r.resolved.as_ref())
            .map_or(&[], |(_, merged)| merged)
    }

    /// Whether something goes on that may yet decide how a task's result is merged.
    pub(super) fn is_deciding(&self, task: &TaskName) -> bool {
        let decided =
            self.is_proven(task) || self.is_delivered(task) || self.aside.contains_key(task);
        !decided && (self.work.is_some() || self.resolutions().next().is_some())
    }

    /// Whether a resolver came to a result for the task.
    pub(super) fn is_resolved(&self, task: &TaskName) -> bool {
        self.resolving
            .get(task)
            .is_some_and(|r| r.resolved.is_some())
    }

    /// Whether a task's result is merged and found good, delivered or not.
    pub(super) fn is_settled(&self, task: &TaskName) -> bool {
        self.is_proven(task) || self.is_delivered(task)
    }

    fn is_proven(&self, task: &TaskName) -> bool {
        self.proven_tasks.contains(task)
    }

    fn is_resolving(&self, task: &TaskName) -> bool {
        self.resolving
            .get(task)
            .is_some_and(|r| r.present.is_some())
    }

    /// Integration begins; `again` after an end of the run. A chain that holds more than
    /// what is wanted is dropped.
    pub(super) fn integration_started(
        &mut self,
        again: bool,
        only: Option<&[TaskName]>,
        asked: bool,
    ) {
        self.fault = None;
        self.moves = 0;
        self.asked = asked;
        self.only = only.map(<[_]>::to_vec);
        if again {
            self.fresh = false;
            self.verdicts.clear();
            for resolving in self.resolving.values_mut() {
                resolving.tries = 0;
            }
            // Whatever was wrong may have been mended, on the base branch too.
            if !self.aside.is_empty() {
                self.start_over(None);
            }
        }
        let batch = self.batch.iter().flat_map(|batch| &batch.links);
        let mut chain = self.proven.iter().chain(batch);
        if only.is_some_and(|only| chain.any(|link| !only.contains(&link.task))) {
            self.start_over(None);
        }
    }

    /// Integration ended. Journals that are older than the queue say no more than this.
    pub(super) fn integration_ended<'a>(
        &mut self,
        end: &IntegrationEnd,
        done: impl Iterator<Item = &'a TaskName>,
    ) {
        if let IntegrationEnd::Delivered { from, to, verified } = end
            && self.last.is_none()
        {
            self.last = Some(Delivery {
                from: from.clone(),
                to: to.clone(),
                verified: *verified,
            });
            self.delivered
                .extend(done.map(|task| (task.clone(), to.clone())));
        }
    }

    pub(super) fn started(&mut self, work: &QueueWork) {
        if matches!(work, QueueWork::Verify { .. }) {
            self.runs = self.runs.saturating_add(1);
        }
        self.work = Some(work.clone());
    }

    pub(super) fn ended(&mut self, result: &QueueResult) {
        let Some(work) = self.work.take() else { return };
        match (work, result) {
            (
                QueueWork::Merge { items, trial, onto },
                QueueResult::Merged {
                    base,
                    links,
                    conflicts,
                },
            ) => {
                if trial {
                    let whole = links.len() == items.len();
                    let commit = links.last().filter(|_| whole).map(|l| l.commit.clone());
                    self.trials.insert(names(&items), commit);
                    return;
                }
                let onto = onto.unwrap_or_else(|| base.clone());
                self.base.get_or_insert_with(|| base.clone());
                for conflict in conflicts {
                    self.conflicts
                        .insert(conflict.task.clone(), conflict.clone());
                }
                for link in links {
                    self.conflicts.remove(&link.task);
                }
                self.batch = (!links.is_empty()).then(|| Batch {
                    onto,
                    links: links.clone(),
                });
            }
            (QueueWork::Verify { commit }, QueueResult::Verified { green, tail }) => {
                let verdict = self.verdicts.entry(commit).or_default();
                if *green {
                    verdict.green += 1;
                } else {
                    verdict.red += 1;
                    verdict.tail.clone_from(tail);
                }
            }
            (QueueWork::Deliver { from, to }, QueueResult::Delivered) => {
                for link in std::mem::take(&mut self.proven) {
                    self.delivered.insert(link.task, link.commit);
                }
                self.proven_tasks.clear();
                self.last = Some(Delivery {
                    from,
                    to: to.clone(),
                    verified: self.verified,
                });
                self.fresh = true;
                self.base = Some(to);
                self.presented = None;
                self.trials.clear();
            }
            (QueueWork::Present { commit, .. }, QueueResult::Presented { branch }) => {
                self.presented = Some((commit, branch.clone()));
            }
            (_, QueueResult::BaseMoved { to }) => {
                self.moves = self.moves.saturating_add(1);
                self.start_over(Some(to.clone()));
            }
            (_, QueueResult::Refused { detail }) => {
                self.fault = Some(Fault::Refused(detail.clone()));
            }
            (_, QueueResult::Failed { detail }) => {
                self.fault = Some(Fault::Failed(detail.clone()));
            }
            (_, QueueResult::Stopped) => self.fault = Some(Fault::Stopped),
            // A result that does not belong to the work says nothing.
            _ => {}
        }
    }

    /// The links up to this commit are good; the others of the batch are ready again.
    pub(super) fn prove(&mut self, commit: &Oid, verified: bool) {
        let Some(batch) = self.batch.take() else {
            return;
        };
        let upto = batch.links.iter().rposition(|l| l.commit == *commit);
        let good = upto.map_or(0, |last| last + 1);
        if good > 0 {
            self.verified = verified;
        }
        let good = batch.links.into_iter().take(good);
        for link in good {
            self.proven_tasks.insert(link.task.clone());
            self.proven.push(link);
        }
    }

    pub(super) fn set_aside(&mut self, task: &TaskName, why: &AsideWhy) {
        self.conflicts.remove(task);
        self.aside.insert(task.clone(), why.clone());
        self.batch = None;
    }

    pub(super) fn resolver_added(&mut self, resolution: &Resolution) {
        self.conflicts.remove(&resolution.task);
        let resolving = self.resolving.entry(resolution.task.clone()).or_default();
        resolving.tries += 1;
        resolving.failed = None;
        resolving.files.clone_from(&resolution.files);
        resolving.with.clone_from(&resolution.with);
        resolving.present = Some(resolution.clone());
    }

    /// The resolver of a task ended, with a result or without.
    pub(super) fn resolver_ended(&mut self, resolver: &TaskName, result: Result<&Oid, String>) {
        let Some(resolving) = self
            .resolving
            .values_mut()
            .find(|r| matches!(&r.present, Some(p) if p.resolver == *resolver))
        else {
            return;
        };
        let Some(present) = resolving.present.take() else {
            return;
        };
        match result {
            Ok(head) => resolving.resolved = Some((head.clone(), present.merged)),
            Err(why) => resolving.failed = Some(why),
        }
    }

    pub(super) fn conflict_answered(&mut self, task: &TaskName, text: &str) {
        self.aside.remove(task);
        self.forgive_followers();
        let resolving = self.resolving.entry(task.clone()).or_default();
        resolving.tries = 0;
        resolving.failed = None;
        resolving.guidance = Some(text.to_owned());
    }

    /// A delivery was taken back: its results are ready again.
    pub(super) fn taken_back(&mut self, to: &Oid, tasks: &[TaskName]) {
        for task in tasks {
            self.delivered.remove(task);
        }
        if self.last.as_ref().is_some_and(|last| last.to == *to) {
            self.last = None;
            self.fresh = false;
        }
        self.start_over(None);
    }

    /// A task is worked on again: what was known of its result is void.
    pub(super) fn forget(&mut self, task: &TaskName) {
        self.aside.remove(task);
        self.forgive_followers();
        self.conflicts.remove(task);
        self.resolving.remove(task);
        self.delivered.remove(task);
        if self.is_proven(task) {
            self.start_over(None);
        }
        self.batch = None;
    }

    /// Those that were set aside because of others are decided about anew.
    fn forgive_followers(&mut self) {
        self.aside
            .retain(|_, why| !matches!(why, AsideWhy::Because { .. }));
    }

    /// All results are merged anew, those that were set aside as well: on another base they
    /// may be good.
    fn start_over(&mut self, base: Option<Oid>) {
        self.base = base;
        self.aside.clear();
        for resolving in self.resolving.values_mut() {
            resolving.failed = None;
        }
        self.proven.clear();
        self.proven_tasks.clear();
        self.verified = false;
        self.batch = None;
        self.trials.clear();
        self.conflicts.clear();
        self.presented = None;
    }
}

fn names(items: &[QueueItem]) -> Vec<TaskName> {
    let names: BTreeSet<&TaskName> = items.iter().map(|item| &item.task).collect();
    names.into_iter().cloned().collect()
}

/// What a task's instance is told of a result that was set aside, when it works on it again.
pub(super) fn lesson(why: &AsideWhy) -> String {
    let on_top = "Merge the base branch into your branch first (`git merge`, in your worktree), \
                  so that you work on top of what was delivered meanwhile.";
    match why {
        AsideWhy::Red { tail, with, .. } => {
            let how = if with.is_empty() {
                String::new()
            } else {
                format!(" together with {}", listed(with))
            };
            format!(
                "Your result was complete, but the merged tree{how} is red with it and green \
                 without it. {on_top} The end of what the verify command printed:\n{tail}"
            )
        }
        AsideWhy::Conflict { files, with, .. } => format!(
            "Your result was complete, but it conflicts with what else was done ({}) in {}. \
             {on_top} Resolve the conflict so that the intent of both sides is kept.",
            listed(with),
            files.join(", ")
        ),
        AsideWhy::Because { task } => format!(
            "Your result was complete, but it builds on that of {task}, which could not be \
             merged. {on_top}"
        ),
    }
}
