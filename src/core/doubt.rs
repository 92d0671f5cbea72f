//! What is doubtful about a plan: good enough to be carried out, and worth a look before it
//! is.
//!
//! Validation refuses what cannot be done. A [`Doubt`] is about what can be done and may not
//! be what the person wants. Those that [ask](DoubtKind::asks) hold a run up where somebody is
//! there to answer; the others are only said.

use serde::Serialize;

use super::history::Learned;
use super::plan::{Limits, TaskIx, ValidPlan, many_tasks_hint, one_task_hint};

/// What a doubt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DoubtKind {
    /// There is only one task.
    OneTask,
    /// More tasks than sense.
    ManyTasks,
    /// Tasks wait for each other only because they touch the same files.
    Overlap,
    /// The person's checkout has changes that no instance will see.
    Uncommitted,
    /// It will probably cost more than the run may.
    Budget,
    /// What it was made of names something that is not there.
    Reference,
    /// Nothing proves what is delivered.
    Unverified,
}

impl DoubtKind {
    /// Whether a person is asked before it starts. That nothing is verified is said each time,
    /// and asks nothing: it is a choice about the project, not about this plan.
    #[must_use]
    pub fn asks(self) -> bool {
        self != Self::Unverified
    }
}

/// Something that a person may want to know before a plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// What it is about.
    pub kind: DoubtKind,
    /// Whether a person is asked.
    pub asks: bool,
    /// What is doubtful, without a full stop.
    pub text: String,
    /// What can be done about it, without a full stop.
    pub remedy: String,
}

impl Doubt {
    /// A doubt.
    #[must_use]
    pub fn new(kind: DoubtKind, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind,
            asks: kind.asks(),
            text: text.into(),
            remedy: remedy.into(),
        }
    }
}

/// What surrounds a plan, as far as it can make it doubtful.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Surroundings {
    /// Whether a verify command is configured.
    pub verified: bool,
    /// Changed tracked files in the person's checkout that are not committed.
    pub uncommitted: usize,
    /// Most money that the run may cost, US dollars.
    pub budget_usd: Option<f64>,
}

/// All doubts about a plan, those that ask first.
#[must_use]
pub fn doubts(plan: &ValidPlan, learned: &Learned, around: &Surroundings) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if plan.len() == 1 {
        doubts.push(Doubt::new(
            DoubtKind::OneTask,
            one_task_hint(),
            "do it in an ordinary session, or go on",
        ));
    }
    if plan.len() > Limits::default().many_tasks {
        doubts.push(Doubt::new(
            DoubtKind::ManyTasks,
            many_tasks_hint(plan.len()),
            "say it with fewer parts, or go on",
        ));
    }
    doubts.extend(overlap(plan));
    doubts.extend(budget(plan, learned, around));
    if around.uncommitted > 0 {
        let plural = if around.uncommitted == 1 { "" } else { "s" };
        doubts.push(Doubt::new(
            DoubtKind::Uncommitted,
            format!(
                "{} uncommitted change{plural} in the checkout: no instance will see them, and \
                 they stay as they are",
                around.uncommitted
            ),
            "commit what belongs to it first, or go on without",
        ));
    }
    if !around.verified {
        doubts.push(Doubt::new(
            DoubtKind::Unverified,
            "no verify command is configured: results are merged and delivered unproved",
            "verify = \"make test\" in .claude/orchestra.toml, or --verify CMD",
        ));
    }
    doubts
}

/// How many pairs of tasks are named.
const NAMED: usize = 3;

fn overlap(plan: &ValidPlan) -> Option<Doubt> {
    let edges = plan.sequenced();
    if edges.is_empty() {
        return None;
    }
    let name = |ix: TaskIx| plan.name(ix);
    let mut pairs: Vec<String> = edges
        .iter()
        .take(NAMED)
        .map(|edge| format!("{} waits for {}", name(edge.after), name(edge.before)))
        .collect();
    if edges.len() > NAMED {
        pairs.push(format!("{} more", edges.len() - NAMED));
    }
    Some(Doubt::new(
        DoubtKind::Overlap,
        format!(
            "tasks that expect to touch the same files go one after the other: {}",
            pairs.join(", ")
        ),
        "draw the border between them otherwise, or go on in that order",
    ))
}

fn budget(plan: &ValidPlan, learned: &Learned, around: &Surroundings) -> Option<Doubt> {
    let limit = around.budget_usd?;
    let price = learned.price?;
    let all = price.all(plan.len());
    (all > limit).then(|| {
        Doubt::new(
            DoubtKind::Budget,
            format!(
                "{} tasks will cost about ${all:.2} (${:.2} each, from {} tasks here), and the \
                 run may cost ${limit:.2}",
                plan.len(),
                price.usd,
                price.tasks
            ),
            "raise --run-budget-usd, take fewer tasks, or go on as far as it reaches",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::Price;
    use crate::core::plan::{Faults, Plan, TaskDraft};

    fn plan(tasks: Vec<TaskDraft>) -> ValidPlan {
        let plan = Plan {
            tasks,
            ..Plan::default()
        };
        plan.validate(&Limits::default(), Faults::default())
            .unwrap()
            .0
    }

    fn kinds(plan: &ValidPlan, learned: &Learned, around: &Surroundings) -> Vec<DoubtKind> {
        let all = doubts(plan, learned, around);
        assert!(all.iter().all(|d| d.asks == d.kind.asks()));
        all.iter().map(|d| d.kind).collect()
    }

    #[test]
    fn each_doubt_has_its_cause() {
        let fine = Surroundings {
            verified: true,
            ..Surroundings::default()
        };
        let two = plan(vec![TaskDraft::new("a"), TaskDraft::new("b")]);
        let none = Learned::default();
        assert_eq!(kinds(&two, &none, &fine), []);
        assert_eq!(
            kinds(&two, &none, &Surroundings::default()),
            [DoubtKind::Unverified]
        );
        let dirty = Surroundings {
            uncommitted: 1,
            ..fine
        };
        assert_eq!(kinds(&two, &none, &dirty), [DoubtKind::Uncommitted]);
        let one = plan(vec![TaskDraft::new("a")]);
        assert_eq!(kinds(&one, &none, &fine), [DoubtKind::OneTask]);
        let many = (0..21).map(|n| TaskDraft::new(format!("t{n}"))).collect();
        assert_eq!(kinds(&plan(many), &none, &fine), [DoubtKind::ManyTasks]);
        let same = plan(vec![
            TaskDraft::new("a").touching(["src/**"]),
            TaskDraft::new("b").touching(["src/x.rs"]),
        ]);
        assert_eq!(kinds(&same, &none, &fine), [DoubtKind::Overlap]);
        let priced = Learned {
            price: Some(Price { usd: 0.6, tasks: 4 }),
            ..Learned::default()
        };
        let limit = |usd| Surroundings {
            budget_usd: Some(usd),
            ..fine
        };
        assert_eq!(kinds(&two, &priced, &limit(1.0)), [DoubtKind::Budget]);
        assert_eq!(kinds(&two, &priced, &limit(2.0)), []);
        assert_eq!(kinds(&two, &none, &limit(0.1)), [], "nothing is known");
        let text = &doubts(&same, &none, &fine)[0].text;
        assert!(text.contains("b waits for a"), "{text}");
    }
}
