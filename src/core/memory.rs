//! What is done when an instance's processes use more memory than they may: the policy.
//!
//! Once, the largest process below the client is ended, and the instance is told, so that one
//! greedy test does not cost the session. The next excess, or one of the client itself, ends
//! the attempt.

use super::liveness::Tick;
use super::time::Millis;

/// One process of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its memory, bytes.
    pub bytes: u64,
    /// Whether it is the client itself.
    pub is_client: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    Nothing,
    /// The process at this place of the list is ended, and the instance is told.
    EndOne(usize),
    /// All are ended; the attempt is over.
    EndAll,
}

/// How long memory may take to become free after a process was ended.
const SETTLE: Millis = Millis::from_secs(3);

/// The watch over one tree.
#[derive(Debug, Clone, Copy)]
pub struct MemoryWatch {
    cap: u64,
    ended_one: Option<Tick>,
}

impl MemoryWatch {
    /// A watch over a tree that may use `cap` bytes.
    #[must_use]
    pub fn new(cap: u64) -> Self {
        Self {
            cap,
            ended_one: None,
        }
    }

    /// The most that the tree may use, bytes.
    #[must_use]
    pub fn cap(&self) -> u64 {
        self.cap
    }

    /// Looks at the processes of the tree.
    pub fn look(&mut self, now: Tick, processes: &[Usage]) -> Remedy {
        let sum = |client_only: bool| {
            processes
                .iter()
                .filter(|p| p.is_client || !client_only)
                .fold(0u64, |sum, p| sum.saturating_add(p.bytes))
        };
        if sum(false) <= self.cap {
            return Remedy::Nothing;
        }
        if sum(true) > self.cap {
            return Remedy::EndAll;
        }
        if let Some(at) = self.ended_one {
            return if now.since(at) < SETTLE {
                Remedy::Nothing
            } else {
                Remedy::EndAll
            };
        }
        let largest = processes
            .iter()
            .enumerate()
            .filter(|(_, p)| !p.is_client)
            .max_by_key(|(_, p)| p.bytes);
        match largest {
            Some((at, _)) => {
                self.ended_one = Some(now);
                Remedy::EndOne(at)
            }
            None => Remedy::EndAll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(client: u64, others: &[u64]) -> Vec<Usage> {
        let client = Usage {
            bytes: client,
            is_client: true,
        };
        let others = others.iter().map(|bytes| Usage {
            bytes: *bytes,
            is_client: false,
        });
        std::iter::once(client).chain(others).collect()
    }

    #[test]
    fn one_process_goes_first_and_all_only_when_that_did_not_help() {
        let mut watch = MemoryWatch::new(100);
        let second = |n: u64| Tick(n * 1000);
        assert_eq!(watch.look(second(1), &tree(40, &[30, 30])), Remedy::Nothing);
        let over = tree(40, &[10, 50, 20]);
        assert_eq!(watch.look(second(2), &over), Remedy::EndOne(2));
        assert_eq!(watch.look(second(3), &over), Remedy::Nothing, "it is going");
        assert_eq!(watch.look(second(4), &tree(40, &[10])), Remedy::Nothing);
        assert_eq!(watch.look(second(900), &over), Remedy::EndAll);
    }

    #[test]
    fn a_client_that_is_too_large_alone_ends_the_attempt() {
        let mut watch = MemoryWatch::new(100);
        assert_eq!(watch.look(Tick(0), &tree(101, &[500])), Remedy::EndAll);
        assert_eq!(watch.look(Tick(0), &[]), Remedy::Nothing);
    }
}
