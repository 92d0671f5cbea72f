//! What a run may cost, and what of that is gone.

use super::page::{count, money};
use crate::core::budget::{Limit, Spent};
use crate::core::state::State;
use crate::format::status_report::BudgetReport;

/// The budget of a run that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetView {
    /// What it may cost.
    pub limit: Limit,
    /// What ended attempts spent, or were granted where nobody could tell.
    pub spent: Spent,
    /// What attempts in work were granted.
    pub promised: Spent,
}

impl BudgetView {
    /// Of a run; none when nothing is limited.
    #[must_use]
    pub fn of(state: &State) -> Option<Self> {
        let limit = state.limit();
        (limit != Limit::default()).then(|| Self {
            limit,
            spent: state.spent(),
            promised: state.promised(),
        })
    }

    /// One line: `$1.04 of $2.00 spent, $0.85 granted to instances at work`.
    #[must_use]
    pub fn line(&self) -> String {
        let part = |spent: String, limit: String, promised: Option<String>| {
            let promised = promised.map_or(String::new(), |promised| {
                format!(", {promised} granted to instances at work")
            });
            format!("{spent} of {limit} spent{promised}")
        };
        let usd = self.limit.usd.map(|limit| {
            let promised = (self.promised.usd.0 > 0).then(|| money(self.promised.usd.dollars()));
            part(
                money(self.spent.usd.dollars()),
                money(limit.dollars()),
                promised,
            )
        });
        let tokens = self.limit.tokens.map(|limit| {
            let promised = (self.promised.tokens > 0).then(|| count(self.promised.tokens));
            let limit = format!("{} tokens", count(limit));
            part(count(self.spent.tokens), limit, promised)
        });
        let parts: Vec<String> = usd.into_iter().chain(tokens).collect();
        parts.join("; ")
    }

    /// The same for programs.
    #[must_use]
    pub fn report(&self) -> BudgetReport {
        BudgetReport {
            limit_usd: self.limit.usd.map(|m| m.dollars()),
            spent_usd: self.spent.usd.dollars(),
            granted_usd: self.promised.usd.dollars(),
            limit_tokens: self.limit.tokens,
            spent_tokens: self.spent.tokens,
            granted_tokens: self.promised.tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::Money;

    #[test]
    fn what_is_limited_is_told() {
        let view = BudgetView {
            limit: Limit {
                usd: Some(Money::from_dollars(2.0)),
                tokens: None,
            },
            spent: Spent {
                usd: Money::from_dollars(1.04),
                tokens: 77_000,
            },
            promised: Spent {
                usd: Money::from_dollars(0.85),
                tokens: 0,
            },
        };
        assert_eq!(
            view.line(),
            "$1.04 of $2.00 spent, $0.85 granted to instances at work"
        );
        let tokens = BudgetView {
            limit: Limit {
                usd: None,
                tokens: Some(1_000_000),
            },
            promised: Spent::default(),
            ..view
        };
        assert_eq!(tokens.line(), "77.0k of 1.0M tokens spent");
    }
}
