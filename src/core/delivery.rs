//! What a run delivered to the base branch, and what of it was taken back.

use super::id::{Oid, TaskName};
use super::record::UndoHow;

/// One delivery of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The base branch's tip before.
    pub from: Oid,
    /// Its tip afterwards.
    pub to: Oid,
    /// Whether a verify command was run and green.
    pub verified: bool,
    /// The tasks whose results these were.
    pub tasks: Vec<TaskName>,
    /// Whether it was taken back.
    pub undo: Undo,
}

impl Delivery {
    /// Whether it was not taken back, as far as the journal tells.
    #[must_use]
    pub fn stands(&self) -> bool {
        !matches!(self.undo, Undo::Done { .. })
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// Nobody took it back.
    No,
    /// Taking it back was begun, and its end is not written down.
    Begun {
        /// The base branch's tip when it was begun.
        tip: Oid,
        /// How.
        how: UndoHow,
    },
    /// It was taken back.
    Done {
        /// How.
        how: UndoHow,
    },
}

/// The deliveries of one run, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deliveries {
    all: Vec<Delivery>,
    /// The merge queue wrote them down; older journals only have ends of integrations.
    by_queue: bool,
}

impl Deliveries {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Delivery] {
        &self.all
    }

    /// Whether one of them was not taken back.
    #[must_use]
    pub fn any_stands(&self) -> bool {
        self.all.iter().any(Delivery::stands)
    }

    /// Whether there was one and every one was taken back.
    #[must_use]
    pub fn all_taken_back(&self) -> bool {
        !self.all.is_empty() && !self.any_stands()
    }

    /// The base branch was moved.
    pub(super) fn delivered(&mut self, from: &Oid, to: &Oid, verified: bool, tasks: Vec<TaskName>) {
        self.by_queue = true;
        self.add(from, to, verified, tasks);
    }

    /// An integration ended with a delivery: of what was done then, in journals that are older
    /// than the merge queue.
    pub(super) fn integration_ended<'a>(
        &mut self,
        from: &Oid,
        to: &Oid,
        verified: bool,
        done: impl Iterator<Item = &'a TaskName>,
    ) {
        if !self.by_queue {
            self.add(from, to, verified, done.cloned().collect());
        }
    }

    /// One that is written down again, or that moved nothing, is none.
    fn add(&mut self, from: &Oid, to: &Oid, verified: bool, mut tasks: Vec<TaskName>) {
        if from == to || self.all.iter().any(|d| d.stands() && d.to == *to) {
            return;
        }
        let before = |task: &TaskName| {
            let mut standing = self.all.iter().filter(|d| d.stands());
            standing.any(|d| d.tasks.contains(task))
        };
        tasks.retain(|task| !before(task));
        self.all.push(Delivery {
            from: from.clone(),
            to: to.clone(),
            verified,
            tasks,
            undo: Undo::No,
        });
    }

    pub(super) fn undo_begun(&mut self, from: &Oid, to: &Oid, tip: &Oid, how: &UndoHow) {
        let _ = self.set(
            from,
            to,
            Undo::Begun {
                tip: tip.clone(),
                how: how.clone(),
            },
        );
    }

    /// Returns the tasks whose results were taken back.
    pub(super) fn undone(&mut self, from: &Oid, to: &Oid, how: &UndoHow) -> Vec<TaskName> {
        self.set(from, to, Undo::Done { how: how.clone() })
    }

    fn set(&mut self, from: &Oid, to: &Oid, undo: Undo) -> Vec<TaskName> {
        let known = self
            .all
            .iter_mut()
            .rev()
            .find(|d| d.stands() && d.from == *from && d.to == *to);
        let Some(delivery) = known else {
            return Vec::new();
        };
        delivery.undo = undo;
        delivery.tasks.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(c: char) -> Oid {
        Oid::parse(&c.to_string().repeat(40)).unwrap()
    }

    #[test]
    fn a_delivery_is_counted_once_and_can_be_made_again_after_it_was_taken_back() {
        let mut all = Deliveries::default();
        let (a, b) = (oid('a'), oid('b'));
        all.delivered(&a, &a, true, vec![]);
        assert_eq!(all.all(), []);
        all.delivered(&a, &b, true, vec![]);
        all.delivered(&a, &b, true, vec![]);
        assert_eq!(all.all().len(), 1);
        all.undo_begun(&a, &b, &b, &UndoHow::Rewind);
        assert!(all.all()[0].stands() && !all.all_taken_back());
        all.undone(&a, &b, &UndoHow::Rewind);
        assert!(all.all_taken_back());
        all.undone(&a, &b, &UndoHow::Rewind);
        all.delivered(&a, &b, true, vec![]);
        assert_eq!(all.all().len(), 2);
        assert!(all.all()[1].stands());
    }

    #[test]
    fn taking_back_what_was_never_delivered_changes_nothing() {
        let mut all = Deliveries::default();
        all.delivered(&oid('a'), &oid('b'), false, vec![]);
        let before = all.clone();
        all.undone(&oid('b'), &oid('c'), &UndoHow::Rewind);
        assert_eq!(all, before);
    }
}
