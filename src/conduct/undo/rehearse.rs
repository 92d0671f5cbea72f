//! Going through a rollback in memory, newest delivery first.

use std::collections::{HashMap, HashSet};

use super::{Known, UndoError, Wish};
use crate::core::delivery::{Delivery, Undo};
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use crate::core::record::{Record, UndoHow};
use crate::core::state::TaskState;
use crate::git::{CommitInfo, DeliverError, GitError, Lines, Merge, Repo};
use crate::store::layout::RunDir;
use crate::store::lock;

/// One delivery that is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The run that delivered it.
    pub run: OrchestrationId,
    /// The base branch's tip before the delivery.
    pub from: Oid,
    /// Its tip after it.
    pub to: Oid,
    /// How many commits were delivered.
    pub commits: usize,
    /// The files that they changed.
    pub files: Vec<String>,
    /// The lines that they added and removed.
    pub lines: Lines,
    /// The tasks whose results these were.
    pub tasks: Vec<TaskName>,
}

/// What taking back means, gone through in memory.
#[derive(Debug)]
pub struct Rehearsal {
    /// The base branch.
    pub branch: BranchName,
    /// Its tip now.
    pub tip: Oid,
    /// Where it goes back to; with a commit on top: its tip now.
    pub end: Oid,
    /// The tree that it has then.
    pub tree: Oid,
    /// The deliveries, newest first.
    pub steps: Vec<Step>,
    /// What is in the way, if anything is.
    pub obstacle: Option<Obstacle>,
    /// Deliveries that the base branch does not hold (any more).
    pub absent: Vec<Oid>,
    /// What an earlier call did and could not write down.
    pub mends: Vec<(RunDir, Vec<Record>)>,
}

impl Rehearsal {
    /// The deliveries of one run.
    pub fn of<'a>(&'a self, id: &'a OrchestrationId) -> impl Iterator<Item = &'a Step> {
        self.steps.iter().filter(move |step| step.run == *id)
    }
}

/// What is in the way of taking a delivery back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Obstacle {
    #[error(
        "{branch} went on from the delivery {} of {run}: {}", to.short(), on_top(people, later)
    )]
    BuiltOn {
        branch: BranchName,
        run: OrchestrationId,
        to: Oid,
        /// Commits on top that no run delivered, oldest first.
        people: Vec<CommitInfo>,
        /// Runs that delivered on top.
        later: Vec<OrchestrationId>,
    },
    #[error(
        "the delivery {} of {run} was pushed ({}): moving the branch back here would not take \
         it back there",
        to.short(),
        places.join(", ")
    )]
    Pushed {
        run: OrchestrationId,
        to: Oid,
        places: Vec<String>,
    },
    #[error(
        "the delivery {} of {run} cannot be taken out of what came later: conflicts in {}",
        to.short(),
        files.join(", ")
    )]
    Conflict {
        run: OrchestrationId,
        to: Oid,
        files: Vec<String>,
    },
    #[error(
        "between {} and {} there are commits that {run} did not make, so that it cannot be told \
         what it delivered: {}",
        from.short(),
        to.short(),
        list(commits)
    )]
    Foreign {
        run: OrchestrationId,
        from: Oid,
        to: Oid,
        commits: Vec<CommitInfo>,
    },
    #[error(
        "{live} is at work on top of the delivery {} of {run}, and would bring it back with its \
         own results",
        to.short()
    )]
    InUse {
        run: OrchestrationId,
        to: Oid,
        live: OrchestrationId,
    },
    #[error(transparent)]
    Refused(#[from] DeliverError),
}

impl Obstacle {
    /// Whether a commit on top that does the opposite is a way past it.
    #[must_use]
    pub fn is_passed_by_a_revert(&self) -> bool {
        matches!(self, Self::BuiltOn { .. } | Self::Pushed { .. })
    }
}

fn list(commits: &[CommitInfo]) -> String {
    const SHOWN: usize = 5;
    let mut shown: Vec<String> = commits
        .iter()
        .take(SHOWN)
        .map(|c| format!("{} {} ({})", c.oid.short(), c.summary, c.author.name))
        .collect();
    if commits.len() > SHOWN {
        shown.push(format!("and {} more", commits.len() - SHOWN));
    }
    shown.join("; ")
}

fn on_top(people: &[CommitInfo], later: &[OrchestrationId]) -> String {
    let mut parts = Vec::new();
    if !people.is_empty() {
        parts.push(list(people));
    }
    parts.extend(later.iter().map(|id| format!("what {id} delivered")));
    parts.join("; ")
}

/// One standing delivery that the base branch holds.
struct Standing<'a> {
    known: &'a Known,
    delivery: &'a Delivery,
}

/// Goes through it in memory; changes nothing.
///
/// - `runs`: all runs of the repository, `target` one of them.
///
/// # Errors
/// When the run delivered nothing, the base branch is gone, or git fails. What is in the way
/// is no error but in the result.
pub fn rehearse(runs: &[Known], target: &Known, wish: Wish) -> Result<Rehearsal, UndoError> {
    if target.state.deliveries().all().is_empty() {
        return Err(UndoError::Nothing(target.id().clone()));
    }
    let repo = &target.context.repo;
    let branch = &target.context.settings.base_branch;
    let tip = repo.branch_tip(branch)?.ok_or_else(|| {
        Obstacle::from(DeliverError::Gone {
            branch: branch.clone(),
        })
    })?;
    let mut rehearsal = Rehearsal {
        branch: branch.clone(),
        end: tip.clone(),
        tree: repo.tree_of(&tip)?,
        steps: Vec::new(),
        obstacle: None,
        absent: Vec::new(),
        mends: Vec::new(),
        tip,
    };
    let mut all = Vec::new();
    for known in runs
        .iter()
        .filter(|k| k.context.settings.base_branch == *branch)
    {
        all.extend(standing(repo, known, target, &mut rehearsal)?);
    }
    let own: Vec<&Standing<'_>> = all.iter().filter(|s| s.known.id() == target.id()).collect();
    let Some(oldest) = own.first() else {
        return Ok(rehearsal);
    };
    // Parents come before their children.
    let history = repo.commits_between(&oldest.delivery.from, &rehearsal.tip)?;
    let place: HashMap<&Oid, usize> = history.iter().map(|c| &c.oid).zip(0..).collect();
    let mut chosen: Vec<&Standing<'_>> = all
        .iter()
        .filter(|s| {
            s.known.id() == target.id() || (wish.chain && place.contains_key(&s.delivery.to))
        })
        .collect();
    chosen.sort_by_key(|s| std::cmp::Reverse(place.get(&s.delivery.to)));
    for s in &chosen {
        rehearsal.steps.push(step(repo, s)?);
    }
    rehearsal.obstacle = if wish.revert {
        reverted(repo, &chosen, &mut rehearsal)?
    } else {
        rewound(repo, runs, &all, &chosen, &mut rehearsal)?
    };
    Ok(rehearsal)
}

/// The deliveries of a run that the base branch holds; what an earlier call did is mended.
fn standing<'a>(
    repo: &Repo,
    known: &'a Known,
    target: &Known,
    rehearsal: &mut Rehearsal,
) -> Result<Vec<Standing<'a>>, GitError> {
    let mut found: Vec<Standing<'a>> = Vec::new();
    let mut mends = Vec::new();
    let tip = rehearsal.tip.clone();
    let holds = |commit: &Oid| match repo.is_ancestor(commit, &tip) {
        // Long gone, and collected.
        Err(GitError::Missing { .. }) => Ok(false),
        other => other,
    };
    for delivery in known.state.deliveries().all().iter().filter(|d| d.stands()) {
        let held = holds(&delivery.to)?;
        if let Undo::Begun { how, .. } = &delivery.undo {
            let done = match how {
                UndoHow::Rewind => !held,
                UndoHow::Revert { commit } => holds(commit)?,
            };
            if done {
                mends.push(Record::Undone {
                    from: delivery.from.clone(),
                    to: delivery.to.clone(),
                    how: how.clone(),
                });
                continue;
            }
        }
        // Nothing new was delivered then: other commits came on top of the same delivery.
        let again = found.iter().any(|s| s.delivery.from == delivery.from);
        if held && !again {
            found.push(Standing { known, delivery });
        } else if !held && known.id() == target.id() {
            rehearsal.absent.push(delivery.to.clone());
        }
    }
    // Only under its lock a journal is written to, and only that of the target is sure to be.
    if !mends.is_empty() && known.id() == target.id() {
        rehearsal.mends.push((known.context.run.clone(), mends));
    }
    Ok(found)
}

/// What one delivery brought.
fn step(repo: &Repo, standing: &Standing<'_>) -> Result<Step, GitError> {
    let Standing { known, delivery } = standing;
    let commits = repo.commits_between(&delivery.from, &delivery.to)?;
    let stat = repo.diff_stat(&delivery.from, &delivery.to)?;
    let here: HashSet<&Oid> = commits.iter().map(|c| &c.oid).collect();
    let named: HashSet<&str> = commits
        .iter()
        .flat_map(|c| c.message.lines())
        .filter_map(|line| line.strip_prefix("Orchestra-Task: "))
        .collect();
    let state = &known.state;
    let tasks = state
        .indexes()
        .filter(|ix| {
            let merged = match &state.task(*ix).state {
                TaskState::Done { head, .. } => here.contains(head),
                _ => false,
            };
            merged || named.contains(state.name(*ix).as_str())
        })
        .map(|ix| state.name(ix).clone())
        .collect();
    Ok(Step {
        run: known.id().clone(),
        from: delivery.from.clone(),
        to: delivery.to.clone(),
        commits: commits.len(),
        files: stat.files.iter().map(|f| f.path.clone()).collect(),
        lines: stat.lines,
        tasks,
    })
}

/// Moving the branch back: each delivery must be what the branch ends with when its turn
/// comes.
fn rewound(
    repo: &Repo,
    runs: &[Known],
    all: &[Standing<'_>],
    chosen: &[&Standing<'_>],
    rehearsal: &mut Rehearsal,
) -> Result<Option<Obstacle>, GitError> {
    let mut at = rehearsal.tip.clone();
    for s in chosen {
        let delivery = s.delivery;
        if at != delivery.to {
            return built_on(repo, all, s, &at, &rehearsal.branch).map(Some);
        }
        if let Some(foreign) = foreign(repo, s)? {
            return Ok(Some(foreign));
        }
        at = delivery.from.clone();
    }
    if let Some(oldest) = chosen.last() {
        let (run, to) = (oldest.known.id().clone(), oldest.delivery.to.clone());
        let places = repo.pushed_to(&to)?;
        if !places.is_empty() {
            return Ok(Some(Obstacle::Pushed { run, to, places }));
        }
        for other in runs.iter().filter(|k| {
            !k.over
                && k.context.settings.base_branch == rehearsal.branch
                && lock::may_be_held(&k.context.run.conductor_lock())
                && *k.id() != run
        }) {
            if repo.is_ancestor(&to, &other.context.settings.base_commit)? {
                let live = other.id().clone();
                return Ok(Some(Obstacle::InUse { run, to, live }));
            }
        }
    }
    rehearsal.tree = repo.tree_of(&at)?;
    rehearsal.end = at;
    match repo.can_rewind(&rehearsal.branch, &rehearsal.tip, &rehearsal.end) {
        Ok(()) => Ok(None),
        Err(DeliverError::Git(error)) => Err(error),
        Err(refused) => Ok(Some(refused.into())),
    }
}

/// Doing the opposite on top: one after the other in memory.
fn reverted(
    repo: &Repo,
    chosen: &[&Standing<'_>],
    rehearsal: &mut Rehearsal,
) -> Result<Option<Obstacle>, GitError> {
    let mut at = rehearsal.tip.clone();
    for s in chosen {
        let Delivery { from, to, .. } = s.delivery;
        if let Some(foreign) = foreign(repo, s)? {
            return Ok(Some(foreign));
        }
        match repo.reverse(&at, from, to)? {
            Merge::Clean { tree } => {
                if repo.tree_of(&at)? != tree {
                    at = repo.commit_in_memory(&tree, &[at])?;
                }
                rehearsal.tree = tree;
            }
            Merge::Conflict { files, .. } => {
                return Ok(Some(Obstacle::Conflict {
                    run: s.known.id().clone(),
                    to: to.clone(),
                    files: files.into_iter().map(|f| f.path).collect(),
                }));
            }
        }
    }
    if at == rehearsal.tip {
        // Somebody did the same by hand.
        let taken = std::mem::take(&mut rehearsal.steps);
        rehearsal.absent.extend(taken.into_iter().map(|s| s.to));
    }
    Ok(None)
}

/// Who built what on a delivery.
fn built_on(
    repo: &Repo,
    all: &[Standing<'_>],
    standing: &Standing<'_>,
    at: &Oid,
    branch: &BranchName,
) -> Result<Obstacle, GitError> {
    let to = &standing.delivery.to;
    let mut people = repo.commits_between(to, at)?;
    let mut later = Vec::new();
    for other in all.iter().filter(|o| o.delivery.to != *to) {
        if !people.iter().any(|c| c.oid == other.delivery.to) {
            continue;
        }
        let theirs = repo.commits_between(&other.delivery.from, &other.delivery.to)?;
        people.retain(|c| !theirs.iter().any(|t| t.oid == c.oid));
        if !later.contains(other.known.id()) {
            later.push(other.known.id().clone());
        }
    }
    Ok(Obstacle::BuiltOn {
        branch: branch.clone(),
        run: standing.known.id().clone(),
        to: to.clone(),
        people,
        later,
    })
}

/// A delivery that was made by a conductor that did not live to say so is written down by
/// the next one, perhaps with commits of others that came in between. Each commit on the way
/// must be one that the run made: a task's own, one that says so, or a copy of a task's own.
fn foreign(repo: &Repo, standing: &Standing<'_>) -> Result<Option<Obstacle>, GitError> {
    let Standing { known, delivery } = standing;
    let commits = repo.commits_between(&delivery.from, &delivery.to)?;
    let by_id: HashMap<&Oid, &CommitInfo> = commits.iter().map(|c| (&c.oid, c)).collect();
    let mut path = Vec::new();
    let mut at = Some(&delivery.to);
    while let Some(commit) = at.and_then(|oid| by_id.get(oid)) {
        path.push(*commit);
        at = commit.parents.first();
    }
    path.retain(|c| !says_whose_it_is(c));
    if path.is_empty() {
        return Ok(None);
    }
    let mut made = Vec::new();
    for ix in known.state.every() {
        let entry = known.state.task(ix);
        if let (TaskState::Done { head, .. }, Some(place)) = (&entry.state, &entry.place) {
            match repo.commits_between(&place.base, head) {
                Ok(commits) => made.extend(commits),
                Err(GitError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    path.retain(|c| {
        !made.iter().any(|own| {
            own.oid == c.oid
                || (own.author == c.author && own.time == c.time && own.message == c.message)
        })
    });
    if path.is_empty() {
        return Ok(None);
    }
    path.reverse();
    Ok(Some(Obstacle::Foreign {
        run: known.id().clone(),
        from: delivery.from.clone(),
        to: delivery.to.clone(),
        commits: path.into_iter().cloned().collect(),
    }))
}

fn says_whose_it_is(commit: &CommitInfo) -> bool {
    commit
        .message
        .lines()
        .any(|line| line.starts_with("Orchestra-Task: ") || line.starts_with("Orchestra-Run: "))
}
