//! What is wrong with a plan, and what is merely worth knowing.

use std::fmt;

use serde::Serialize;

/// One reason why a plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: `tasks[2].dependencies[0]`, `line 3, column 5`, or `plan` for the whole.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl Fault {
    /// A fault at `place`.
    pub fn new(
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}.", self.place, self.problem, self.remedy)
    }
}

/// Something about a plan that is worth knowing and stops nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where, in the form of [`Fault::place`].
    pub place: String,
    /// What is worth knowing.
    pub message: String,
}

impl Note {
    /// A note about `place`.
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}.", self.place, self.message)
    }
}

/// More faults than this are counted, not listed.
const LISTED: usize = 500;

/// All faults of a plan, in the order of the input; never empty once it is returned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Faults {
    list: Vec<Fault>,
    unlisted: usize,
}

impl Faults {
    /// Adds a fault, unless one at the same place, or at a place that holds this one, is
    /// there already: what follows from a fault is not another one.
    pub fn add(
        &mut self,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.is_full() {
            self.unlisted += 1;
            return;
        }
        let place = place.into();
        if self.list.iter().any(|known| holds(&known.place, &place)) {
            return;
        }
        self.list.push(Fault::new(place, problem, remedy));
    }

    /// Adds a fault of a place that may have several, none following from another.
    pub(crate) fn add_beside(
        &mut self,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.is_full() {
            self.unlisted += 1;
        } else {
            self.list.push(Fault::new(place, problem, remedy));
        }
    }

    /// Whether further faults are counted only.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= LISTED
    }

    /// Puts the faults into the order of the input.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by_cached_key(|fault| order_of(&fault.place));
    }

    /// Whether a fault at `place`, or at a place that holds it, is there.
    #[must_use]
    pub fn covers(&self, place: &str) -> bool {
        self.list.iter().any(|known| holds(&known.place, place))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, the unlisted included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len() + self.unlisted
    }

    /// The faults; of very many the first 500.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// How many more there are than [`Faults::list`] holds.
    #[must_use]
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self {
            list: vec![fault],
            unlisted: 0,
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count() == 1 { "" } else { "s" };
        write!(f, "the plan has {} fault{plural}:", self.count())?;
        for fault in &self.list {
            write!(f, "\n  {fault}")?;
        }
        if self.unlisted > 0 {
            write!(f, "\n  and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Whether the place `outer` is `inner` or holds it.
fn holds(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A sort key: the tops of the document in their order, and numbers by value.
fn order_of(place: &str) -> (usize, Vec<(String, u64)>) {
    let top = [
        "line",
        "plan",
        "schemaVersion",
        "request",
        "tasks",
        "sequenced",
    ]
    .iter()
    .position(|top| place.starts_with(top))
    .unwrap_or(usize::MAX);
    let pieces = place
        .split(['[', ']'])
        .map(|piece| (piece.to_owned(), piece.parse().unwrap_or(0)))
        .map(|(text, number)| {
            if number > 0 || text == "0" {
                (String::new(), number)
            } else {
                (text, 0)
            }
        })
        .collect();
    (top, pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_a_fault_is_not_another_one() {
        let mut faults = Faults::default();
        faults.add("tasks[1]", "a", "b");
        faults.add("tasks[1].name", "a", "b");
        faults.add("tasks[10]", "a", "b");
        let places: Vec<_> = faults.list().iter().map(|f| f.place.as_str()).collect();
        assert_eq!(places, ["tasks[1]", "tasks[10]"]);
    }

    #[test]
    fn very_many_are_counted() {
        let mut faults = Faults::default();
        for n in 0..700 {
            faults.add(format!("tasks[{n}]"), "a", "b");
        }
        assert_eq!((faults.list().len(), faults.count()), (500, 700));
        assert!(faults.to_string().ends_with("and 200 more"));
    }
}
