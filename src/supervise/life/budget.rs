//! The attempt's grant. Money is the client's to watch, which is told the limit and stops after
//! the request that passes it; tokens are watched here, message by message.

use super::Life;
use crate::core::attempt::FailureClass;
use crate::core::budget::Money;

/// From which part of its tokens on an instance is told to come to an end, in percent.
const WARN_PERCENT: u64 = 80;

/// How far an attempt is through its grant of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Fine,
    NearlySpent,
    Spent,
}

fn stand(used: u64, granted: u64) -> Stand {
    let percent = u128::from(used) * 100 / u128::from(granted.max(1));
    if used >= granted {
        Stand::Spent
    } else if percent >= u128::from(WARN_PERCENT) {
        Stand::NearlySpent
    } else {
        Stand::Fine
    }
}

impl Life<'_> {
    /// Looks at the tokens after a message: warns once, and ends the attempt once they are
    /// spent. What the request under way uses is all that can come on top.
    pub(super) fn look_at_tokens(&mut self) {
        let Some(granted) = self.launch.grant.limit.tokens else {
            return;
        };
        if self.ending.is_some() || self.candidate.is_some() {
            return;
        }
        let used = self.heard.costs.attempt_tokens();
        let used = used.map_or(0, |tokens| tokens.total());
        match stand(used, granted) {
            Stand::Fine => {}
            Stand::NearlySpent if self.heard.warned_of_budget => {}
            Stand::NearlySpent => {
                self.heard.warned_of_budget = true;
                self.announce(&format!(
                    "has used {used} of {granted} tokens; it was told to finish and commit"
                ));
                self.say(
                    "Your budget of tokens is nearly spent. Begin nothing new: commit what is \
                     sound now, and finish in as few steps as possible.",
                );
            }
            Stand::Spent => {
                let detail = format!("the budget is spent: {used} tokens of {granted} granted");
                self.fail(FailureClass::Budget, detail);
                self.end_tree();
            }
        }
    }

    /// Why no other turn may begin: the money of the attempt is spent.
    pub(super) fn money_is_spent(&self) -> Option<String> {
        let granted = self.launch.grant.limit.usd?;
        let used = Money::from_dollars(self.heard.costs.attempt_usd()?);
        (used >= granted).then(|| format!("the budget is spent: {used} of {granted} granted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_before_the_end() {
        for (used, granted, expected) in [
            (0, 100, Stand::Fine),
            (79, 100, Stand::Fine),
            (80, 100, Stand::NearlySpent),
            (99, 100, Stand::NearlySpent),
            (100, 100, Stand::Spent),
            (u64::MAX, u64::MAX, Stand::Spent),
            (0, 0, Stand::Spent),
        ] {
            assert_eq!(stand(used, granted), expected, "{used} of {granted}");
        }
    }
}
