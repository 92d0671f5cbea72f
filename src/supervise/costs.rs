//! Money and tokens: counted once, added up over processes.
//!
//! The client's totals are not to be added up over processes: a process that resumes a
//! session counts the money of the one before it when that ended cleanly, and not when it
//! was killed. What counts is what was spent since the result before. Tokens of a turn that
//! is under way are known from its messages: their input when they begin (printed once per
//! content block), their output when they end. Of a message that was cut off, how much of it
//! was written is not known.

use std::collections::HashMap;

use crate::format::claude_stream::{Assistant, Piece, TurnResult};
use crate::format::status_file::Tokens;

/// What was spent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs {
    earlier_usd: Option<f64>,
    earlier_tokens: Option<Tokens>,
    usd: Option<f64>,
    settled: Tokens,
    /// Messages of the turn that is under way, by their ids.
    messages: HashMap<String, Tokens>,
    /// Which message each speaker (none: the instance itself) is about to say.
    saying: HashMap<Option<String>, String>,
    /// Of messages without an id.
    nameless: Tokens,
    any: bool,
    /// Whether a turn is under way.
    in_turn: bool,
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

    /// The client was told something, which begins a turn or joins one.
    pub(crate) fn told(&mut self) {
        self.in_turn = true;
    }

    /// Whether a turn is under way, of which the money is told only at its end.
    pub(crate) fn is_partial(&self) -> bool {
        self.in_turn
    }

    /// A part of a message.
    pub(crate) fn said(&mut self, said: &Assistant) {
        self.in_turn = true;
        self.any = true;
        if said.message_id.is_empty() {
            self.nameless = self.nameless.plus(said.usage);
            return;
        }
        let known = self.messages.entry(said.message_id.clone()).or_default();
        *known = Tokens {
            output: known.output.max(said.usage.output),
            ..said.usage
        };
    }

    /// A piece of a message that is under way.
    pub(crate) fn piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Start {
                speaker,
                message_id,
            } => {
                if message_id.is_empty() {
                    // It is counted as a whole, once it comes.
                    self.saying.remove(speaker);
                } else {
                    self.saying.insert(speaker.clone(), message_id.clone());
                }
            }
            Piece::Written { speaker, output } => {
                if let Some(id) = self.saying.get(speaker) {
                    let known = self.messages.entry(id.clone()).or_default();
                    known.output = known.output.max(*output);
                    self.any = true;
                }
            }
            Piece::Other => {}
        }
    }

    /// Tokens of the turn that is under way.
    fn under_way(&self) -> Tokens {
        let messages = self.messages.values();
        messages.fold(self.nameless, |all, one| all.plus(*one))
    }

    /// The end of a turn.
    pub(crate) fn turn_ended(&mut self, result: &TurnResult) {
        if let Some((usd, tokens)) = result.since_last {
            self.usd = Some(self.usd.unwrap_or(0.0) + usd);
            self.settled = self.settled.plus(tokens);
        } else {
            // A client that does not say it: its total, without what earlier attempts spent
            // when that seems to be in it.
            if let Some(total) = result.total_cost_usd {
                let earlier = self.earlier_usd.filter(|e| *e <= total).unwrap_or(0.0);
                let own = total - earlier;
                self.usd = Some(self.usd.map_or(own, |known| known.max(own)));
            }
            self.settled = self.settled.plus(result.turn_tokens);
        }
        self.nameless = Tokens::default();
        self.messages.clear();
        self.saying.clear();
        self.any = true;
        self.in_turn = false;
    }

    /// Money of this process, US dollars.
    pub(crate) fn attempt_usd(&self) -> Option<f64> {
        self.usd
    }

    /// Tokens of this process.
    pub(crate) fn attempt_tokens(&self) -> Option<Tokens> {
        self.any.then(|| self.settled.plus(self.under_way()))
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
        let now = self.settled.plus(self.under_way());
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

    fn result(total: f64, since_last: Option<(f64, Tokens)>) -> TurnResult {
        TurnResult {
            total_cost_usd: Some(total),
            since_last,
            turn_tokens: tokens(5, 5),
            ..TurnResult::default()
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
        costs.turn_ended(&result(0.5, Some((0.5, tokens(150, 40)))));
        assert_eq!(costs.task_tokens(), Some(tokens(150, 40)));
        costs.turn_ended(&result(0.75, Some((0.25, tokens(50, 20)))));
        assert_eq!(costs.task_usd(), Some(0.75));
        assert_eq!(costs.task_tokens(), Some(tokens(200, 60)));
    }

    #[test]
    fn what_is_written_counts_before_the_turn_ends() {
        let mut costs = Costs::default();
        let start = |speaker: Option<&str>, id: &str| Piece::Start {
            speaker: speaker.map(str::to_owned),
            message_id: id.into(),
        };
        let written = |speaker: Option<&str>, output| Piece::Written {
            speaker: speaker.map(str::to_owned),
            output,
        };
        // A subagent speaks at the same time. Output is told as a total, and again.
        costs.piece(&written(None, 7));
        assert_eq!(costs.task_tokens(), None, "of nothing that is known");
        costs.piece(&start(None, "m1"));
        costs.said(&said("m1", tokens(100, 1)));
        costs.piece(&start(Some("call"), "m2"));
        costs.said(&said("m2", tokens(10, 1)));
        costs.piece(&written(None, 40));
        costs.piece(&written(Some("call"), 5));
        costs.piece(&written(None, 60));
        costs.said(&said("m1", tokens(100, 1)));
        assert_eq!(costs.attempt_tokens(), Some(tokens(110, 65)));
        costs.turn_ended(&result(0.5, Some((0.5, tokens(110, 65)))));
        assert_eq!(costs.attempt_tokens(), Some(tokens(110, 65)));
        // One without a name is counted once, and is no part of the one before.
        costs.piece(&start(None, "m3"));
        costs.piece(&written(None, 3));
        costs.piece(&start(None, ""));
        costs.piece(&written(None, 9));
        costs.said(&said("", tokens(4, 9)));
        assert_eq!(costs.attempt_tokens(), Some(tokens(114, 77)));
    }

    #[test]
    fn the_money_of_a_turn_that_is_under_way_is_not_known() {
        let mut costs = Costs::default();
        costs.told();
        assert!(costs.is_partial());
        costs.turn_ended(&result(0.5, None));
        assert!(!costs.is_partial());
        costs.said(&said("m1", tokens(1, 1)));
        assert!(costs.is_partial() && costs.attempt_usd() == Some(0.5));
    }

    #[test]
    fn attempts_add_up_whether_or_not_the_total_holds_the_earlier_ones() {
        for total in [0.25, 1.25] {
            let mut costs = Costs::after(Some(1.0), Some(tokens(10, 1)));
            assert_eq!(costs.task_usd(), Some(1.0));
            costs.turn_ended(&result(total, Some((0.25, tokens(5, 5)))));
            assert_eq!(costs.task_usd(), Some(1.25));
            assert_eq!(costs.attempt_usd(), Some(0.25));
            assert_eq!(costs.task_tokens(), Some(tokens(15, 6)));
        }
    }

    #[test]
    fn a_client_that_tells_only_totals_is_understood() {
        let mut costs = Costs::after(Some(1.0), None);
        costs.turn_ended(&result(1.25, None));
        costs.turn_ended(&result(1.5, None));
        assert_eq!(
            (costs.task_usd(), costs.attempt_usd()),
            (Some(1.5), Some(0.5))
        );
        assert_eq!(costs.task_tokens(), Some(tokens(10, 10)));
        let mut costs = Costs::default();
        costs.turn_ended(&result(0.5, None));
        costs.turn_ended(&result(0.75, None));
        assert_eq!(costs.task_usd(), Some(0.75));
    }
}
