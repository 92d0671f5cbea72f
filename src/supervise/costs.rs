//! Money and tokens: counted once, added up over processes.
//!
//! The client's figures are cumulative for its process and begin at nothing in the next
//! one, also when that resumes the session. Tokens of a turn that is under way are known
//! only roughly, from its messages, each of which is printed once per content block.

use std::collections::HashSet;

use crate::format::claude_stream::{Assistant, TurnResult};
use crate::format::status_file::Tokens;

/// What was spent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs {
    earlier_usd: Option<f64>,
    earlier_tokens: Option<Tokens>,
    usd: Option<f64>,
    settled: Tokens,
    under_way: Tokens,
    seen: HashSet<String>,
    any: bool,
}

impl Costs {
    /// Starts with what earlier attempts spent.
    pub(crate) fn after(usd: Option<f64>, tokens: Option<Tokens>) -> Self {
        Self {
            earlier_usd: usd,
            earlier_tokens: tokens,
            ..Self::default()
        }
    }

    /// A part of a message.
    pub(crate) fn said(&mut self, said: &Assistant) {
        if said.message_id.is_empty() || self.seen.insert(said.message_id.clone()) {
            self.under_way = self.under_way.plus(said.usage);
            self.any = true;
        }
    }

    /// The end of a turn.
    pub(crate) fn turn_ended(&mut self, result: &TurnResult) {
        if let Some(total) = result.total_cost_usd {
            // A result that tells less than one before it is not believed.
            self.usd = Some(self.usd.map_or(total, |known| known.max(total)));
        }
        self.settled = result
            .process_tokens
            .unwrap_or_else(|| self.settled.plus(result.turn_tokens));
        self.under_way = Tokens::default();
        self.seen.clear();
        self.any = true;
    }

    /// Money of this process, US dollars.
    pub(crate) fn attempt_usd(&self) -> Option<f64> {
        self.usd
    }

    /// Money of the task so far, US dollars.
    pub(crate) fn task_usd(&self) -> Option<f64> {
        match (self.earlier_usd, self.usd) {
            (None, None) => None,
            (earlier, now) => Some(earlier.unwrap_or(0.0) + now.unwrap_or(0.0)),
        }
    }

    /// Tokens of the task so far.
    pub(crate) fn task_tokens(&self) -> Option<Tokens> {
        let now = self.settled.plus(self.under_way);
        match self.earlier_tokens {
            Some(earlier) => Some(earlier.plus(now)),
            None => self.any.then_some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, output: u64) -> Tokens {
        Tokens {
            input,
            output,
            ..Tokens::default()
        }
    }

    fn said(id: &str, usage: Tokens) -> Assistant {
        Assistant {
            message_id: id.into(),
            usage,
            ..Assistant::default()
        }
    }

    #[test]
    fn a_message_counts_once_and_the_result_settles_it() {
        let mut costs = Costs::default();
        assert_eq!((costs.task_usd(), costs.task_tokens()), (None, None));
        costs.said(&said("m1", tokens(100, 1)));
        costs.said(&said("m1", tokens(100, 1)));
        costs.said(&said("m2", tokens(50, 1)));
        assert_eq!(costs.task_tokens(), Some(tokens(150, 2)));
        costs.turn_ended(&TurnResult {
            total_cost_usd: Some(0.5),
            process_tokens: Some(tokens(150, 40)),
            ..TurnResult::default()
        });
        assert_eq!(costs.task_tokens(), Some(tokens(150, 40)));
        // The second result of the process tells the sum of both.
        costs.turn_ended(&TurnResult {
            total_cost_usd: Some(0.7),
            process_tokens: Some(tokens(200, 60)),
            ..TurnResult::default()
        });
        assert_eq!(costs.task_usd(), Some(0.7));
        assert_eq!(costs.task_tokens(), Some(tokens(200, 60)));
    }

    #[test]
    fn attempts_add_up() {
        let mut costs = Costs::after(Some(1.0), Some(tokens(10, 1)));
        assert_eq!(costs.task_usd(), Some(1.0));
        costs.turn_ended(&TurnResult {
            total_cost_usd: Some(0.25),
            turn_tokens: tokens(5, 5),
            ..TurnResult::default()
        });
        assert_eq!(costs.task_usd(), Some(1.25));
        assert_eq!(costs.attempt_usd(), Some(0.25));
        assert_eq!(costs.task_tokens(), Some(tokens(15, 6)));
    }
}
