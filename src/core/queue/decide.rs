//! What the merge queue does next: a function of the state, without memory of its own.

use std::collections::BTreeSet;

use super::super::graph::TaskIx;
use super::super::id::{Oid, TaskName};
use super::super::record::{
    AsideWhy, IntegrationEnd, MergeMode, QueueConflict, QueueItem, QueueLink, QueueWork, Resolution,
};
use super::super::state::{Phase, State, TaskState};
use super::{Batch, Fault, Queue, Verdict, names};

/// How often a base branch that keeps moving is followed.
const MAX_MOVES: u32 = 8;

/// The rules of a merge queue, frozen when the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Whether there is a verify command.
    pub verify: bool,
    /// Whether results are merged and proved while other tasks are still worked on.
    pub early: bool,
    /// Whether each proven batch is delivered at once rather than all at the end.
    pub deliver_each: bool,
    /// How many resolver instances may try one conflict; 0 for none.
    pub resolvers: u32,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) enum Decision {
    /// Begin a piece of work.
    Start(QueueWork),
    /// Take the links up to a commit as good.
    Prove { commit: Oid, verified: bool },
    /// Leave a result out; the links up to `proven` are good.
    SetAside {
        proven: Option<Oid>,
        task: TaskName,
        why: AsideWhy,
    },
    /// Have a conflict resolved.
    Resolve(Box<Resolution>),
    /// Integration is over.
    End(IntegrationEnd),
}

/// Decides. None when there is nothing to do now: something is in work, or awaited, or
/// nothing is wanted.
pub(in crate::core) fn decide(state: &State) -> Option<Decision> {
    Decider::new(state).decide()
}

/// These tasks and all whose commits their results contain.
pub(in crate::core) fn with_contained(state: &State, tasks: &[TaskName]) -> Vec<TaskName> {
    let decider = Decider::new(state);
    let mut found = BTreeSet::new();
    for ix in tasks.iter().filter_map(|task| state.find(task)) {
        found.insert(ix);
        found.extend(decider.contained(ix));
    }
    found.into_iter().map(|ix| state.name(ix).clone()).collect()
}

struct Decider<'a> {
    state: &'a State,
    queue: &'a Queue,
    policy: QueuePolicy,
}

impl<'a> Decider<'a> {
    fn new(state: &'a State) -> Self {
        Self {
            state,
            queue: state.queue(),
            policy: state.policy.queue,
        }
    }

    fn decide(&self) -> Option<Decision> {
        if self.queue.work.is_some() {
            return None;
        }
        let integrating = match self.state.phase() {
            Phase::Integrating(mode) => Some(*mode),
            Phase::Running => {
                let early = self.policy.early && self.state.policy.merge.is_some();
                if !early || self.state.is_paused() || self.state.is_cancelling() {
                    return None;
                }
                None
            }
            Phase::Finished { .. } => return None,
        };
        let stands = self.stands_still();
        if integrating.is_some() && self.state.is_cancelling() {
            return Some(self.cancelled());
        }
        if stands.is_some() {
            return integrating.and(stands).map(Decision::End);
        }
        if let Some(batch) = &self.queue.batch {
            return match self.judge(batch) {
                Judgement::Do(decision) => Some(decision),
                Judgement::BaseIsRed(end) => integrating.map(|_| Decision::End(end)),
            };
        }
        if let Some(decision) = self.next_results() {
            return Some(decision);
        }
        if self.queue.resolutions().next().is_some() {
            return None;
        }
        match integrating {
            Some(mode) => Some(self.conclude(mode)),
            None if self.policy.deliver_each => self.deliver(),
            None => None,
        }
    }

    fn stands_still(&self) -> Option<IntegrationEnd> {
        let end = match &self.queue.fault {
            Some(Fault::Refused(detail)) => IntegrationEnd::NotDelivered {
                commit: self.queue.tip()?.clone(),
                detail: detail.clone(),
            },
            Some(Fault::Failed(detail)) => IntegrationEnd::Failed {
                detail: detail.clone(),
            },
            Some(Fault::Stopped) => stopped(),
            None if self.queue.moves > MAX_MOVES => IntegrationEnd::Failed {
                detail: format!(
                    "the base branch moved during each of {MAX_MOVES} tries; \
                     run `orchestra merge automatic` when it is at rest"
                ),
            },
            None => return None,
        };
        Some(end)
    }

    fn cancelled(&self) -> Decision {
        let done = self.queue.proven.is_empty() && self.queue.fresh;
        Decision::End(match &self.queue.last {
            Some(last) if done => delivered(last),
            _ => stopped(),
        })
    }

    // ---- What is merged next.

    /// The done tasks that integration is about and that are not proven yet, dependencies
    /// first.
    fn wanted(&self) -> Vec<TaskIx> {
        let order = self.state.unmerged();
        match &self.queue.only {
            Some(only) => order
                .into_iter()
                .filter(|ix| only.contains(self.state.name(*ix)))
                .collect(),
            None => order,
        }
    }

    /// The done tasks without which a task's result cannot be merged, however far away: those
    /// that it builds on, and those with which the results of resolvers were merged.
    fn contained(&self, ix: TaskIx) -> BTreeSet<TaskIx> {
        self.below(ix, true, |_| true)
    }

    /// Those of [`Decider::contained`] that are not in the chain or on the base branch yet.
    /// What such a one builds on is there with it, so that the search ends there.
    fn missing(&self, ix: TaskIx) -> BTreeSet<TaskIx> {
        self.below(ix, true, |ix| !self.queue.is_settled(self.state.name(ix)))
    }

    fn below(
        &self,
        ix: TaskIx,
        with_resolved: bool,
        counts: impl Fn(TaskIx) -> bool,
    ) -> BTreeSet<TaskIx> {
        let mut found = BTreeSet::new();
        let mut todo = vec![ix];
        while let Some(at) = todo.pop() {
            let facts = self.state.facts(at);
            let resolved = self.queue.resolved_with(&facts.name).iter();
            let resolved = resolved
                .filter(|_| with_resolved)
                .filter_map(|name| self.state.find(name));
            for before in facts
                .needs
                .iter()
                .chain(&facts.after)
                .copied()
                .chain(resolved)
            {
                let done = matches!(self.state.task(before).state, TaskState::Done { .. });
                if done && before != ix && counts(before) && found.insert(before) {
                    todo.push(before);
                }
            }
        }
        found
    }

    fn item(&self, ix: TaskIx) -> Option<QueueItem> {
        self.item_with(ix, self.contained(ix))
    }

    fn item_with(&self, ix: TaskIx, contained: BTreeSet<TaskIx>) -> Option<QueueItem> {
        let TaskState::Done { head, .. } = &self.state.task(ix).state else {
            return None;
        };
        let task = self.state.name(ix).clone();
        let needs = contained
            .into_iter()
            .map(|ix| self.state.name(ix))
            .filter(|name| !self.queue.is_delivered(name))
            .cloned()
            .collect();
        Some(QueueItem {
            head: self.queue.head(&task, head).clone(),
            needs,
            task,
        })
    }

    /// Merges what is ready, or decides about what cannot be merged.
    fn next_results(&self) -> Option<Decision> {
        let queue = self.queue;
        let tip = queue.tip();
        let mut ready: Vec<QueueItem> = Vec::new();
        let mut ready_names: BTreeSet<TaskName> = BTreeSet::new();
        let mut conflict: Option<&QueueConflict> = None;
        for ix in self.wanted() {
            let task = self.state.name(ix);
            if queue.is_proven(task)
                || queue.is_delivered(task)
                || queue.is_resolving(task)
                || queue.aside.contains_key(task)
            {
                continue;
            }
            let resolving = queue.resolving.get(task);
            if let Some((resolving, failed)) = resolving.and_then(|r| Some((r, r.failed.as_ref()?)))
            {
                return Some(set_aside(
                    task,
                    AsideWhy::Conflict {
                        files: resolving.files.clone(),
                        with: resolving.with.clone(),
                        detail: Some(failed.clone()),
                    },
                ));
            }
            let Some(item) = self.item_with(ix, self.missing(ix)) else {
                continue;
            };
            if let Some(lost) = item.needs.iter().find(|n| queue.aside.contains_key(*n)) {
                let task = item.task.clone();
                let why = AsideWhy::Because { task: lost.clone() };
                return Some(set_aside(&task, why));
            }
            if !item.needs.iter().all(|name| ready_names.contains(name)) {
                continue;
            }
            match queue.conflicts.get(task) {
                // It was tried on just this commit.
                Some(known) if Some(&known.at) == tip => conflict = conflict.or(Some(known)),
                _ => {
                    ready_names.insert(item.task.clone());
                    ready.push(item);
                }
            }
        }
        if !ready.is_empty() {
            return Some(Decision::Start(QueueWork::Merge {
                onto: tip.cloned(),
                items: ready,
                trial: false,
            }));
        }
        let conflict = conflict?;
        if queue.resolutions().next().is_some() {
            // One at a time: each is to know what the one before did.
            return None;
        }
        Some(self.about_conflict(conflict))
    }

    fn about_conflict(&self, conflict: &QueueConflict) -> Decision {
        let known = self.queue.resolving.get(&conflict.task);
        let tries = known.map_or(0, |r| r.tries);
        // Who says how a conflict is to be resolved wants it resolved.
        let guided = known.is_some_and(|r| r.guidance.is_some());
        let most = self.policy.resolvers.max(u32::from(guided));
        let item = self.state.find(&conflict.task).and_then(|ix| self.item(ix));
        match item {
            Some(item) if tries < most => Decision::Resolve(Box::new(Resolution {
                resolver: self.resolver_name(&conflict.task),
                task: conflict.task.clone(),
                onto: conflict.at.clone(),
                theirs: item.head,
                merged: self.queue.proven.iter().map(|l| l.task.clone()).collect(),
                files: conflict.files.clone(),
                with: conflict.with.clone(),
                partly: conflict.partly.clone(),
                guidance: known.and_then(|r| r.guidance.clone()),
            })),
            _ => set_aside(
                &conflict.task,
                AsideWhy::Conflict {
                    files: conflict.files.clone(),
                    with: conflict.with.clone(),
                    detail: (tries > 0)
                        .then(|| format!("{tries} resolvers did not bring it to an end")),
                },
            ),
        }
    }

    /// A name that no task has.
    fn resolver_name(&self, task: &TaskName) -> TaskName {
        let stem: String = task.as_str().chars().take(60).collect();
        let stem = stem.trim_end_matches(['-', '_', '.']);
        let names = (1_u32..).map(|n| match n {
            1 => format!("resolve-{stem}"),
            n => format!("resolve-{stem}-{n}"),
        });
        names
            .filter_map(|name| TaskName::parse(&name).ok())
            .find(|name| {
                let folded = name.folded();
                self.state
                    .every()
                    .all(|ix| self.state.name(ix).folded() != folded)
            })
            .unwrap_or_else(|| task.clone())
    }

    // ---- What a batch is worth.

    fn verdict(&self, commit: &Oid) -> Verdict {
        self.queue.verdicts.get(commit).cloned().unwrap_or_default()
    }

    /// Proves a batch, or looks for the link that makes it red.
    fn judge(&self, batch: &Batch) -> Judgement {
        let tip = batch.after(batch.links.len());
        let good = |verified| {
            Judgement::Do(Decision::Prove {
                commit: tip.clone(),
                verified,
            })
        };
        if !self.policy.verify {
            return good(false);
        }
        let whole = self.verdict(tip);
        if whole.is_green() {
            return good(true);
        }
        if !whole.is_red() {
            return verify(tip);
        }
        let suspects = self.queue.suspects(batch);
        if suspects.len() > 1 {
            return verify(batch.after(suspects.start + suspects.len() / 2));
        }
        if suspects.start == 0 && self.queue.proven.is_empty() {
            // Nothing of ours is known to be good here: it may be the base that is red.
            let base = self.verdict(&batch.onto);
            if base.is_red() {
                return Judgement::BaseIsRed(IntegrationEnd::Red {
                    commit: batch.onto.clone(),
                    tail: format!(
                        "the base branch itself is red, before anything is merged:\n{}",
                        base.tail
                    ),
                });
            }
            if !base.is_green() {
                return verify(&batch.onto);
            }
        }
        self.blame(batch, suspects.start)
    }

    /// The link at `bad` makes the chain red, and all before it are good: finds out whether it
    /// does so by itself.
    fn blame(&self, batch: &Batch, bad: usize) -> Judgement {
        let Some(link) = batch.links.get(bad) else {
            return verify(&batch.onto);
        };
        let proven = (bad > 0).then(|| batch.after(bad).clone());
        let verdict = self.verdict(&link.commit);
        let set_aside = |with: Vec<TaskName>| {
            Judgement::Do(Decision::SetAside {
                proven: proven.clone(),
                task: link.task.clone(),
                why: AsideWhy::Red {
                    commit: link.commit.clone(),
                    tail: verdict.tail.clone(),
                    with,
                },
            })
        };
        let chain: Vec<&TaskName> = self
            .queue
            .proven
            .iter()
            .chain(batch.links.iter().take(bad))
            .map(|link| &link.task)
            .collect();
        let own: BTreeSet<&TaskName> =
            self.state
                .find(&link.task)
                .map_or_else(BTreeSet::new, |ix| {
                    self.contained(ix)
                        .into_iter()
                        .map(|ix| self.state.name(ix))
                        .collect()
                });
        let others: Vec<&TaskName> = chain.iter().copied().filter(|t| !own.contains(t)).collect();
        // Those that cannot be taken out, though it does not build on them.
        let fixed = || -> Vec<TaskName> {
            let below = self
                .state
                .find(&link.task)
                .map(|ix| self.below(ix, false, |_| true));
            let strange = |task: &&TaskName| {
                let ix = self.state.find(task);
                !ix.zip(below.as_ref())
                    .is_some_and(|(ix, below)| below.contains(&ix))
            };
            own.iter().copied().filter(strange).cloned().collect()
        };
        if others.is_empty() {
            return if verdict.is_red() {
                set_aside(fixed())
            } else {
                verify(&link.commit)
            };
        }
        // The culprit with the first `n` of the others.
        let trial = |n: usize| -> Trial {
            let in_it: BTreeSet<&TaskName> =
                own.iter().chain(others.iter().take(n)).copied().collect();
            let items: Vec<QueueItem> = chain
                .iter()
                .filter(|task| in_it.contains(**task))
                .copied()
                .chain([&link.task])
                .filter_map(|task| self.item(self.state.find(task)?))
                .collect();
            match self.queue.trials.get(&names(&items)) {
                None => Trial::Do(Box::new(Judgement::Do(Decision::Start(QueueWork::Merge {
                    onto: self.queue.base.clone(),
                    items,
                    trial: true,
                })))),
                Some(None) => Trial::Unknown,
                Some(Some(commit)) => {
                    let verdict = self.verdict(commit);
                    if verdict.is_green() {
                        Trial::Green
                    } else if verdict.red > 0 {
                        Trial::Red
                    } else {
                        Trial::Do(Box::new(verify(commit)))
                    }
                }
            }
        };
        let first = trial(0);
        if let Trial::Do(judgement) = first {
            return *judgement;
        }
        if matches!(first, Trial::Red) {
            // Two commits with it are red.
            return set_aside(fixed());
        }
        if !verdict.is_red() {
            return verify(&link.commit);
        }
        if matches!(first, Trial::Unknown) {
            return set_aside(cloned(&others));
        }
        let (mut low, mut high) = (0, others.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match trial(middle) {
                Trial::Do(judgement) => return *judgement,
                Trial::Green => low = middle,
                Trial::Red => high = middle,
                Trial::Unknown => return set_aside(cloned(&others)),
            }
        }
        let partner = others.get(high - 1).map(|task| (*task).clone());
        set_aside(partner.into_iter().collect())
    }

    // ---- How it ends.

    fn deliver(&self) -> Option<Decision> {
        let from = self.queue.base.clone()?;
        let to = self.queue.proven.last()?.commit.clone();
        Some(Decision::Start(QueueWork::Deliver { from, to }))
    }

    fn present(&self) -> Option<Decision> {
        let from = self.queue.base.clone()?;
        let commit = self.queue.proven.last()?.commit.clone();
        Some(Decision::Start(QueueWork::Present { from, commit }))
    }

    /// Nothing is left to be merged.
    fn conclude(&self, mode: MergeMode) -> Decision {
        let queue = self.queue;
        let Some(QueueLink { commit: tip, .. }) = queue.proven.last() else {
            return Decision::End(self.end_without_chain());
        };
        let held = queue.proven.len() + queue.delivered.len();
        let presented = queue.presented.as_ref().filter(|(commit, _)| commit == tip);
        let step = if !queue.asked && !self.state.is_enough(held) {
            if presented.is_some() {
                return Decision::End(self.first_reason());
            }
            self.present()
        } else {
            match (mode, presented) {
                (MergeMode::Automatic, _) => self.deliver(),
                (MergeMode::Review, None) => self.present(),
                (MergeMode::Review, Some((commit, branch))) => {
                    return Decision::End(IntegrationEnd::Reviewable {
                        branch: branch.clone(),
                        commit: commit.clone(),
                        verified: queue.verified,
                    });
                }
            }
        };
        step.unwrap_or_else(|| Decision::End(self.end_without_chain()))
    }

    fn end_without_chain(&self) -> IntegrationEnd {
        match &self.queue.last {
            Some(last) if self.queue.fresh || self.queue.aside.is_empty() => delivered(last),
            _ => self.first_reason(),
        }
    }

    /// Why the first of the results that were set aside was.
    fn first_reason(&self) -> IntegrationEnd {
        let first = self.state.merge_order().into_iter().find_map(|ix| {
            let task = self.state.name(ix);
            match self.queue.aside.get(task)? {
                AsideWhy::Because { .. } => None,
                why => Some((task, why)),
            }
        });
        match first {
            Some((_, AsideWhy::Red { commit, tail, .. })) => IntegrationEnd::Red {
                commit: commit.clone(),
                tail: tail.clone(),
            },
            Some((task, AsideWhy::Conflict { files, .. })) => IntegrationEnd::Conflict {
                task: task.clone(),
                files: files.clone(),
            },
            _ => IntegrationEnd::Failed {
                detail: "there is no result that could be merged".into(),
            },
        }
    }
}

/// What a batch comes to.
enum Judgement {
    Do(Decision),
    BaseIsRed(IntegrationEnd),
}

/// What is known of a trial.
enum Trial {
    Do(Box<Judgement>),
    Green,
    Red,
    /// Its results do not merge without the others.
    Unknown,
}

fn verify(commit: &Oid) -> Judgement {
    Judgement::Do(Decision::Start(QueueWork::Verify {
        commit: commit.clone(),
    }))
}

fn set_aside(task: &TaskName, why: AsideWhy) -> Decision {
    Decision::SetAside {
        proven: None,
        task: task.clone(),
        why,
    }
}

fn cloned(tasks: &[&TaskName]) -> Vec<TaskName> {
    tasks.iter().map(|task| (*task).clone()).collect()
}

fn delivered(last: &super::Delivery) -> IntegrationEnd {
    IntegrationEnd::Delivered {
        from: last.from.clone(),
        to: last.to.clone(),
        verified: last.verified,
    }
}

fn stopped() -> IntegrationEnd {
    IntegrationEnd::Failed {
        detail: "stopped on request; the base branch is untouched".into(),
    }
}
