//! Money and tokens: what may be spent, what is promised, what was spent.
//!
//! Nothing starts without a [`Grant`]: what its attempt may spend at most. The sum of what was
//! spent and of all grants in work never passes the run's limit, so that the run can pass it
//! only by what a client overshoots: one request per running instance. What an attempt spent is
//! taken to be its whole grant when nobody can tell.
//!
//! A grant is the task's fair share of what is left; what others did not need comes back to
//! those that still work. The first grant keeps something back: when it is used up, the session
//! goes on with the rest and is told to bring its work to an end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of a task's share the first grant is, in percent; the rest is for the ending.
const FIRST_PERCENT: u64 = 85;

/// US dollars in millionths, so that sums are exact.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(pub u64);

impl Money {
    /// From dollars; what is negative or no number counts as nothing.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and rounding to millionths is meant"
    )]
    pub fn from_dollars(dollars: f64) -> Self {
        Self((dollars * 1e6).round() as u64)
    }

    /// In dollars.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact up to nine thousand million dollars"
    )]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Money {
    /// `$0.125`: cents, and more digits where they say something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0.is_multiple_of(10_000) { 2 } else { 4 };
        f.pad(&format!("${:.digits$}", self.dollars()))
    }
}

/// An upper limit; what is absent is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limit {
    /// Money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Money>,
    /// Tokens of all kinds, each counted once per message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// What one attempt may spend. Nothing is limited by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grant {
    /// The limit.
    #[serde(flatten)]
    pub limit: Limit,
    /// Whether it is all that there is: the work is to be brought to an end with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

impl Grant {
    /// Whether it limits nothing.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.limit == Limit::default()
    }

    /// Whether money and tokens are limited, so that either may have ended an attempt.
    fn both(&self) -> bool {
        self.limit.usd.is_some() && self.limit.tokens.is_some()
    }
}

/// What was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Money.
    pub usd: Money,
    /// Tokens.
    pub tokens: u64,
}

impl Spent {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            usd: Money(self.usd.0.saturating_add(other.usd.0)),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }
}

/// What is known of an attempt besides how it ended; absent is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Money that it spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Money>,
    /// Tokens that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Whether it was cut off within a turn, of which the money is told only at its end: it
    /// spent at least this much.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usd_is_partial: bool,
    /// How long it worked, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_ms: Option<u64>,
}

impl Account {
    /// Of an attempt that never ran.
    #[must_use]
    pub const fn of_nothing() -> Self {
        Self {
            usd: Some(Money(0)),
            tokens: Some(0),
            usd_is_partial: false,
            worked_ms: Some(0),
        }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it counts as having spent. Unknown is the whole grant; and an attempt that its
    /// budget ended spent its grant, whatever it says: of money and tokens at least one.
    #[must_use]
    pub fn counted(&self, grant: Grant, ended_by_budget: bool) -> Spent {
        let usd = (self.usd.map(|m| m.0), grant.limit.usd.map(|m| m.0));
        let tokens = (self.tokens, grant.limit.tokens);
        // Which of them ended it is what was used up; when neither was, nobody knows.
        let is_told = used_up(usd) || used_up(tokens);
        let all = ended_by_budget && !(grant.both() && is_told);
        let counted = |(known, granted): (Option<u64>, Option<u64>), all: bool| match known {
            Some(known) if all => known.max(granted.unwrap_or(0)),
            Some(known) => known,
            None => granted.unwrap_or(0),
        };
        Spent {
            usd: Money(counted(usd, all || self.usd_is_partial)),
            tokens: counted(tokens, all),
        }
    }
}

/// Whether so much was used that it may have ended the attempt; a client may round its limit.
fn used_up((known, granted): (Option<u64>, Option<u64>)) -> bool {
    known
        .zip(granted)
        .is_some_and(|(known, granted)| known >= granted - granted / 20)
}

/// The limits of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetPolicy {
    /// Of the run as a whole.
    pub run: Limit,
    /// How much of that only the merge queue's resolvers may use, in percent.
    pub reserve_percent: u8,
}

/// Who asks for a grant, and how things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The task's own limit.
    pub task: Limit,
    /// What the task spent so far.
    pub task_spent: Spent,
    /// What the run spent so far.
    pub run_spent: Spent,
    /// What attempts in work may still spend.
    pub promised: Spent,
    /// Tasks among which the rest is to be shared, this one included: those without an attempt
    /// in work that are not settled.
    pub sharing: u32,
    /// Whether it is for the merge queue, which may use the reserve.
    pub for_merging: bool,
    /// What the attempt before was granted, when that ended the attempt.
    pub used_up: Option<Limit>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// So much.
    Grant(Grant),
    /// Not now: what others do not use may be enough.
    Wait,
    /// Never: the budget is spent. Says which.
    Spent(String),
}

/// The smallest sums that are worth an attempt: about one request.
const LEAST: Spent = Spent {
    usd: Money(10_000),
    tokens: 2_000,
};

/// One kind of what is limited.
struct Purse {
    run: Option<u64>,
    spent: u64,
    promised: u64,
    task: Option<u64>,
    task_spent: u64,
    least: u64,
    used_up: Option<u64>,
}

enum Share {
    Unlimited,
    Some { amount: u64, last: bool },
    Wait,
    TaskSpent(u64),
    RunSpent(u64),
}

impl Purse {
    fn share(&self, sharing: u32, reserve_percent: u8) -> Share {
        let fair = self.run.map(|run| {
            let kept = u128::from(run) * u128::from(reserve_percent.min(100)) / 100;
            let kept = u64::try_from(kept).unwrap_or(u64::MAX);
            let left = run
                .saturating_sub(kept)
                .saturating_sub(self.spent)
                .saturating_sub(self.promised);
            // Where there is not enough for all, there is for those that come first.
            (left / u64::from(sharing.max(1))).max(left.min(self.least))
        });
        let own = self.task.map(|task| task.saturating_sub(self.task_spent));
        if let (Some(own), Some(task)) = (own, self.task)
            && own < self.least.min(task)
        {
            return Share::TaskSpent(task);
        }
        if let (Some(fair), Some(run)) = (fair, self.run)
            && fair < self.least.min(run)
        {
            return if self.promised > 0 {
                Share::Wait
            } else {
                Share::RunSpent(run)
            };
        }
        let Some(amount) = [fair, own].into_iter().flatten().min() else {
            return Share::Unlimited;
        };
        // After a grant that was used up: much more is another share, a rest is the end.
        let last = self.used_up.is_some_and(|used| amount < used / 2);
        Share::Some { amount, last }
    }
}

/// How much an attempt may spend.
#[must_use]
pub fn grant(policy: BudgetPolicy, ask: &Ask) -> Granted {
    let money = Purse {
        run: policy.run.usd.map(|m| m.0),
        spent: ask.run_spent.usd.0,
        promised: ask.promised.usd.0,
        task: ask.task.usd.map(|m| m.0),
        task_spent: ask.task_spent.usd.0,
        least: LEAST.usd.0,
        used_up: ask.used_up.and_then(|l| l.usd).map(|m| m.0),
    };
    let tokens = Purse {
        run: policy.run.tokens,
        spent: ask.run_spent.tokens,
        promised: ask.promised.tokens,
        task: ask.task.tokens,
        task_spent: ask.task_spent.tokens,
        least: LEAST.tokens,
        used_up: ask.used_up.and_then(|l| l.tokens),
    };
    let reserve = if ask.for_merging {
        0
    } else {
        policy.reserve_percent
    };
    let shares = [
        money.share(ask.sharing, reserve),
        tokens.share(ask.sharing, reserve),
    ];
    let name = |n: usize, amount: u64| match n {
        0 => Money(amount).to_string(),
        _ => format!("{amount} tokens"),
    };
    for (n, share) in shares.iter().enumerate() {
        match share {
            Share::TaskSpent(limit) => {
                let limit = name(n, *limit);
                return Granted::Spent(format!("the task's budget of {limit} is spent"));
            }
            Share::RunSpent(limit) => {
                let limit = name(n, *limit);
                return Granted::Spent(format!(
                    "the run's budget of {limit} is spent or kept for merging"
                ));
            }
            _ => {}
        }
    }
    if shares.iter().any(|share| matches!(share, Share::Wait)) {
        return Granted::Wait;
    }
    let last = shares
        .iter()
        .any(|share| matches!(share, Share::Some { last: true, .. }));
    let cut = |share: &Share| match share {
        Share::Some { amount, .. } if last => Some(*amount),
        Share::Some { amount, .. } => {
            let part = u128::from(*amount) * u128::from(FIRST_PERCENT) / 100;
            Some(u64::try_from(part).unwrap_or(u64::MAX).max(1))
        }
        _ => None,
    };
    Granted::Grant(Grant {
        limit: Limit {
            usd: cut(&shares[0]).map(Money),
            tokens: cut(&shares[1]),
        },
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dollars(usd: f64) -> Limit {
        Limit {
            usd: Some(Money::from_dollars(usd)),
            tokens: None,
        }
    }

    fn spent(usd: f64) -> Spent {
        Spent {
            usd: Money::from_dollars(usd),
            tokens: 0,
        }
    }

    fn ask() -> Ask {
        Ask {
            task: Limit::default(),
            task_spent: Spent::default(),
            run_spent: Spent::default(),
            promised: Spent::default(),
            sharing: 1,
            for_merging: false,
            used_up: None,
        }
    }

    fn policy(usd: f64, reserve_percent: u8) -> BudgetPolicy {
        BudgetPolicy {
            run: dollars(usd),
            reserve_percent,
        }
    }

    fn amount(granted: Granted) -> (f64, bool) {
        match granted {
            Granted::Grant(grant) => (grant.limit.usd.unwrap().dollars(), grant.last),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_limit_nothing_is_limited() {
        assert_eq!(
            grant(BudgetPolicy::default(), &ask()),
            Granted::Grant(Grant::default())
        );
    }

    #[test]
    fn a_share_is_fair_and_keeps_something_for_the_ending() {
        let four = Ask {
            sharing: 4,
            ..ask()
        };
        assert_eq!(amount(grant(policy(10.0, 20), &four)), (1.7, false));
        let resolver = Ask {
            for_merging: true,
            ..ask()
        };
        assert_eq!(amount(grant(policy(10.0, 20), &resolver)), (8.5, false));
    }

    #[test]
    fn what_is_used_up_goes_on_with_the_rest_and_then_ends() {
        let task = Ask {
            task: dollars(1.0),
            ..ask()
        };
        let none = BudgetPolicy::default();
        assert_eq!(amount(grant(none, &task)), (0.85, false));
        let again = Ask {
            task_spent: spent(0.87),
            used_up: Some(dollars(0.85)),
            ..task
        };
        assert_eq!(amount(grant(none, &again)), (0.13, true));
        let over = Ask {
            task_spent: spent(1.02),
            ..again
        };
        assert_eq!(
            grant(none, &over),
            Granted::Spent("the task's budget of $1.00 is spent".into())
        );
        // What others did not need: as much again, and no end in sight.
        let more = Ask {
            task: Limit::default(),
            task_spent: spent(0.85),
            run_spent: spent(1.0),
            used_up: Some(dollars(0.85)),
            ..ask()
        };
        assert_eq!(amount(grant(policy(3.0, 0), &more)), (1.7, false));
    }

    #[test]
    fn too_little_waits_for_others_and_ends_when_there_are_none() {
        let late = Ask {
            run_spent: spent(0.5),
            promised: spent(0.5),
            ..ask()
        };
        assert_eq!(grant(policy(1.0, 0), &late), Granted::Wait);
        let alone = Ask {
            run_spent: spent(1.0),
            promised: spent(0.0),
            ..late
        };
        assert!(matches!(grant(policy(1.0, 0), &alone), Granted::Spent(_)));
    }

    #[test]
    fn what_nobody_can_tell_counts_as_the_whole_grant() {
        let grant = Grant {
            limit: dollars(0.5),
            last: false,
        };
        let unknown = Account::default();
        assert_eq!(unknown.counted(grant, false).usd, Money(500_000));
        let known = Account {
            usd: Some(Money(200_000)),
            ..unknown
        };
        assert_eq!(known.counted(grant, false).usd, Money(200_000));
        assert_eq!(known.counted(grant, true).usd, Money(500_000));
        assert_eq!(
            Account::of_nothing().counted(grant, false),
            Spent::default()
        );
        let cut_off = Account {
            usd_is_partial: true,
            ..known
        };
        assert_eq!(cut_off.counted(grant, false).usd, Money(500_000));
    }

    #[test]
    fn an_attempt_that_its_budget_ended_spent_it_whatever_it_says() {
        let grant = Grant {
            limit: Limit {
                tokens: Some(10_000),
                ..dollars(0.5)
            },
            last: false,
        };
        let says = |usd, tokens| {
            let account = Account {
                usd: Some(Money(usd)),
                tokens: Some(tokens),
                ..Account::default()
            };
            let counted = account.counted(grant, true);
            (counted.usd.0, counted.tokens)
        };
        assert_eq!(says(499_990, 70), (499_990, 70));
        assert_eq!(says(200_000, 10_020), (200_000, 10_020));
        // Or it would be granted the same again for ever.
        assert_eq!(says(0, 0), (500_000, 10_000));
    }

    #[test]
    fn a_budget_that_is_not_enough_for_all_is_for_those_that_come_first() {
        let many = Ask {
            sharing: 200,
            ..ask()
        };
        assert_eq!(amount(grant(policy(1.0, 0), &many)), (0.0085, false));
        let all_promised = Ask {
            promised: spent(0.995),
            ..many
        };
        assert_eq!(grant(policy(1.0, 0), &all_promised), Granted::Wait);
    }

    proptest! {
        /// However attempts are granted, overshoot and end, what is spent stays within the
        /// limit but for what each running attempt overshoots.
        #[test]
        fn the_run_never_passes_its_limit(
            limit in 1_000u64..50_000_000,
            reserve in 0u8..40,
            slots in 1usize..6,
            turns in proptest::collection::vec((0u64..150, any::<bool>(), 0u64..30_000), 1..60),
        ) {
            let policy = BudgetPolicy {
                run: Limit { usd: Some(Money(limit)), tokens: None },
                reserve_percent: reserve,
            };
            let mut active: Vec<Grant> = Vec::new();
            let mut total = Spent::default();
            let mut overshot = 0u64;
            for (percent, known, request) in turns {
                let promised = active.iter().fold(Spent::default(), |sum, grant| {
                    sum.plus(Spent { usd: grant.limit.usd.unwrap(), tokens: 0 })
                });
                if active.len() < slots
                    && let Granted::Grant(grant) = super::grant(policy, &Ask {
                        run_spent: total,
                        promised,
                        sharing: 3,
                        ..ask()
                    })
                {
                    active.push(grant);
                } else if let Some(grant) = active.pop() {
                    let granted = grant.limit.usd.unwrap().0;
                    let used = granted * percent / 100;
                    // The client stops after the request that passes its limit.
                    let used = used.min(granted + request);
                    overshot += used.saturating_sub(granted);
                    let account = Account {
                        usd: known.then_some(Money(used)),
                        ..Account::default()
                    };
                    let counted = account.counted(grant, used >= granted);
                    prop_assert!(!known || counted.usd.0 >= used);
                    total = total.plus(counted);
                }
                let promised: u64 = active.iter().map(|g| g.limit.usd.unwrap().0).sum();
                prop_assert!(total.usd.0 + promised <= limit + overshot);
            }
        }
    }
}
