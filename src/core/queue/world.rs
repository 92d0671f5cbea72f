//! A repository for tests of the queue: a commit is the set of tasks in it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::id::{BranchName, Oid, TaskName};
use super::super::record::{QueueConflict, QueueLink, QueueResult, QueueWork};

pub(in crate::core) type Content = BTreeSet<String>;

/// Whether a tree is red, as a function of what is in it and of how often it was asked.
pub(in crate::core) type Check = Box<dyn Fn(&Content, u32) -> bool>;

pub(in crate::core) struct World {
    commits: BTreeMap<Oid, Content>,
    pub(in crate::core) tip: Oid,
    /// What the tip was before; the last is the one before it.
    former_tips: Vec<Oid>,
    /// Pairs of tasks that do not merge.
    pub(in crate::core) conflicts: Vec<(String, String)>,
    /// Results of resolvers: they merge with everything.
    pub(in crate::core) resolved: BTreeSet<Oid>,
    pub(in crate::core) is_red: Check,
    /// What was found green; only such commits may be delivered.
    green: BTreeSet<Oid>,
    asked: BTreeMap<Oid, u32>,
    pub(in crate::core) runs: u32,
    pub(in crate::core) deliveries: Vec<Content>,
    pub(in crate::core) needs_proof: bool,
}

impl World {
    pub(in crate::core) fn new() -> Self {
        let mut world = Self {
            commits: BTreeMap::new(),
            tip: number(0xba5e),
            former_tips: Vec::new(),
            conflicts: Vec::new(),
            resolved: BTreeSet::new(),
            is_red: Box::new(|_, _| false),
            green: BTreeSet::new(),
            asked: BTreeMap::new(),
            runs: 0,
            deliveries: Vec::new(),
            needs_proof: true,
        };
        world.commits.insert(world.tip.clone(), Content::new());
        world
    }

    /// Somebody commits to the base branch.
    pub(in crate::core) fn move_base(&mut self) {
        let mut content = self.content(&self.tip);
        content.insert(format!("person {}", self.commits.len()));
        let tip = self.commit(content);
        self.former_tips.push(std::mem::replace(&mut self.tip, tip));
    }

    pub(in crate::core) fn content(&self, commit: &Oid) -> Content {
        self.commits.get(commit).cloned().unwrap_or_default()
    }

    pub(in crate::core) fn commit(&mut self, content: Content) -> Oid {
        let oid = number(0xc0_0000 + self.commits.len());
        self.commits.insert(oid.clone(), content);
        oid
    }

    fn meets(&self, task: &TaskName, head: &Oid, content: &Content) -> bool {
        !self.resolved.contains(head)
            && self.conflicts.iter().any(|(a, b)| {
                (task.as_str() == a && content.contains(b))
                    || (task.as_str() == b && content.contains(a))
            })
    }

    pub(in crate::core) fn carry_out(&mut self, work: &QueueWork) -> QueueResult {
        match work {
            QueueWork::Merge { onto, items, .. } => {
                let base = onto.clone().unwrap_or_else(|| self.tip.clone());
                let mut tip = base.clone();
                let (mut links, mut conflicts) = (Vec::new(), Vec::new());
                let mut lost: BTreeSet<&TaskName> = BTreeSet::new();
                for item in items {
                    let content = self.content(&tip);
                    if item.needs.iter().any(|n| lost.contains(n)) {
                        lost.insert(&item.task);
                        continue;
                    }
                    for needed in &item.needs {
                        assert!(
                            content.contains(needed.as_str()),
                            "{} is merged before {needed}, which it contains",
                            item.task
                        );
                    }
                    if self.meets(&item.task, &item.head, &content) {
                        lost.insert(&item.task);
                        conflicts.push(QueueConflict {
                            task: item.task.clone(),
                            at: tip.clone(),
                            files: vec!["file".into()],
                            with: Vec::new(),
                            partly: None,
                        });
                        continue;
                    }
                    let mut content = content;
                    content.insert(item.task.to_string());
                    tip = self.commit(content);
                    links.push(QueueLink {
                        task: item.task.clone(),
                        commit: tip.clone(),
                        settled: Vec::new(),
                    });
                }
                QueueResult::Merged {
                    base,
                    links,
                    conflicts,
                }
            }
            QueueWork::Verify { commit } => {
                self.runs += 1;
                let asked = self.asked.entry(commit.clone()).or_default();
                *asked += 1;
                let asked = *asked;
                let red = (self.is_red)(&self.content(commit), asked);
                if !red {
                    self.green.insert(commit.clone());
                }
                QueueResult::Verified {
                    green: !red,
                    tail: if red { "red".into() } else { String::new() },
                }
            }
            QueueWork::Deliver { from, to } => {
                // Delivered before a crash; somebody may have gone on from there since.
                if self.tip == *to || self.former_tips.contains(to) {
                    return QueueResult::Delivered;
                }
                if self.tip != *from {
                    return QueueResult::BaseMoved {
                        to: self.tip.clone(),
                    };
                }
                assert!(
                    !self.needs_proof || self.green.contains(to),
                    "an unproven commit is delivered: {:?}",
                    self.content(to)
                );
                let before = std::mem::replace(&mut self.tip, to.clone());
                self.former_tips.push(before);
                self.deliveries.push(self.content(to));
                QueueResult::Delivered
            }
            QueueWork::Present { from, .. } if self.tip != *from => QueueResult::BaseMoved {
                to: self.tip.clone(),
            },
            QueueWork::Present { .. } => QueueResult::Presented {
                branch: BranchName::parse("orchestra/x").unwrap(),
            },
        }
    }
}

fn number(n: usize) -> Oid {
    Oid::parse(&format!("{n:040x}")).unwrap()
}
