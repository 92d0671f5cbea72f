//! What the provider says to the instance, told to all runs of the account at once.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Life;
use crate::core::attempt::FailureClass;
use crate::core::time::{Millis, Timestamp};
use crate::format::breaker_file::BreakerOrder;
use crate::format::claude_stream::{ApiRetry, Assistant, RateLimit};
use crate::store::breaker::{BreakerStore, Heard};
use crate::supervise::limits::{self, Zone};
use crate::supervise::report::now;

/// How often it is looked whether anybody waits for an answer of the provider.
const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// What is known of the provider, and where it is told.
#[derive(Debug, Default)]
pub(super) struct Provider {
    store: Option<BreakerStore>,
    /// A usage limit that the client told of in the present turn.
    limit: Option<RateLimit>,
    /// When it was last looked whether an answer is waited for.
    answered: Option<Instant>,
}

impl Provider {
    pub(super) fn new(order: Option<&BreakerOrder>) -> Self {
        Self {
            store: order.cloned().map(BreakerStore::new),
            ..Self::default()
        }
    }

    /// The reset of the limit that the client told of, as a number.
    fn told_reset(&self) -> Option<Timestamp> {
        limits::of_epoch(self.limit.as_ref()?.resets_at?)
    }
}

impl Life<'_> {
    /// A request is tried again by the client.
    pub(super) fn provider_retried(&mut self, retry: &ApiRetry) {
        let word = retry.error.to_ascii_lowercase();
        let busy = matches!(retry.status, Some(429 | 503 | 529))
            || word.contains("rate_limit")
            || word.contains("overloaded");
        if busy {
            let asked = Some(Millis(retry.delay_ms)).filter(|delay| delay.0 > 0);
            self.tell_provider(Heard::Throttled(asked));
        }
    }

    /// The client told how the account stands.
    pub(super) fn provider_limits(&mut self, limit: &RateLimit) {
        if limit.is_over() {
            self.provider.limit = Some(limit.clone());
            if !limit.is_of_one_model() {
                self.tell_provider(Heard::Limited(self.provider.told_reset()));
            }
        } else {
            self.provider.limit = None;
        }
    }

    /// The model, or the client in its place, said something.
    pub(super) fn provider_said(&mut self, said: &Assistant) {
        if let Some(refusal) = &said.refusal {
            if let Some(limit) = &refusal.limit {
                self.provider_limits(limit);
            }
            return;
        }
        let due = self.provider.answered;
        if due.is_some_and(|at| at.elapsed() < ANSWER_EVERY) {
            return;
        }
        self.provider.answered = Some(Instant::now());
        let waited_for = |store: &BreakerStore| store.heard().is_limited();
        if self.provider.store.as_ref().is_some_and(waited_for) {
            self.tell_provider(Heard::Well);
        }
    }

    /// A turn failed; the class once more, with what the client told besides the words.
    pub(super) fn provider_failed(&mut self, class: FailureClass, said: &str) -> FailureClass {
        let over = self.provider.limit.is_some();
        let class = match class {
            FailureClass::Overload if over => FailureClass::UsageLimit,
            class => class,
        };
        match class {
            FailureClass::Overload => {
                let asked = limits::resets_at(said, now(), &Zone::Here);
                self.tell_provider(Heard::Throttled(asked.map(|at| at.since(now()))));
            }
            FailureClass::UsageLimit if !self.is_of_one_model(said) => {
                self.tell_provider(Heard::Limited(self.reset_of_limit(said)));
            }
            _ => {}
        }
        class
    }

    /// When the usage limit is reset that a text tells of.
    pub(super) fn reset_of_limit(&self, said: &str) -> Option<Timestamp> {
        let told = self.provider.told_reset();
        told.or_else(|| limits::resets_at(said, now(), &Zone::Here))
    }

    fn is_of_one_model(&self, said: &str) -> bool {
        let said = said.to_ascii_lowercase();
        let told = self.provider.limit.as_ref();
        told.is_some_and(RateLimit::is_of_one_model)
            || ["opus limit", "sonnet limit", "haiku limit"]
                .iter()
                .any(|words| said.contains(words))
    }

    fn tell_provider(&mut self, heard: Heard) {
        let Some(store) = &self.provider.store else {
            return;
        };
        let at = now();
        let name = format!("{}/{}", self.launch.attempt, at.0);
        let (seed, _) = Uuid::new_v5(&self.launch.session_id.0, name.as_bytes()).as_u64_pair();
        if let Err(error) = store.report(heard, at, seed) {
            // The instance itself is none the worse for it.
            self.note(&format!(
                "what the provider says could not be told: {error}"
            ));
        }
    }
}
