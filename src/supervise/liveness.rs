//! Signs of life. Only what was seen counts: an event of the stream, work of the processes,
//! a change of files. A loop that says "working" is none of these.

use crate::core::time::{Millis, Timestamp};

/// When the instance last gave a sign of life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Liveness {
    last: Timestamp,
    cpu_ms: u64,
    files: Option<(u32, u64, u64)>,
}

/// CPU time below this between two looks is the idle ticking of a waiting process.
const IDLE_CPU_MS: u64 = 50;

impl Liveness {
    /// Begins now.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            last: now,
            cpu_ms: 0,
            files: None,
        }
    }

    /// A line of the stream.
    pub(crate) fn event(&mut self, now: Timestamp) {
        self.last = now;
    }

    /// The tree's CPU time, milliseconds. It may fall when a process ends.
    pub(crate) fn cpu(&mut self, cpu_ms: u64, now: Timestamp) {
        if cpu_ms > self.cpu_ms.saturating_add(IDLE_CPU_MS) {
            self.last = now;
        }
        // Ticking must not add up to a sign of life either.
        self.cpu_ms = cpu_ms;
    }

    /// Files changed, lines added and removed since the base. Returns whether they changed.
    pub(crate) fn files(&mut self, files: (u32, u64, u64), now: Timestamp) -> bool {
        let changed = self.files != Some(files);
        if changed && self.files.is_some() {
            self.last = now;
        }
        self.files = Some(files);
        changed
    }

    /// The last sign of life.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// How long nothing was seen.
    #[allow(dead_code, reason = "the thresholds that act on it are not there yet")]
    pub(crate) fn silence(&self, now: Timestamp) -> Millis {
        now.since(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_signs_count() {
        let mut life = Liveness::new(Timestamp(0));
        life.cpu(10, Timestamp(1));
        assert_eq!(life.last(), Timestamp(0), "start-up ticking");
        life.cpu(500, Timestamp(2));
        assert_eq!(life.last(), Timestamp(2));
        life.cpu(520, Timestamp(3));
        assert_eq!(life.last(), Timestamp(2), "idle ticking");
        life.cpu(100, Timestamp(4));
        assert_eq!(life.last(), Timestamp(2), "a process ended");
        life.cpu(200, Timestamp(5));
        assert_eq!(life.last(), Timestamp(5));
        assert!(life.files((1, 1, 0), Timestamp(6)));
        assert_eq!(life.last(), Timestamp(5), "the first look shows no change");
        assert!(!life.files((1, 1, 0), Timestamp(7)));
        assert!(life.files((1, 2, 0), Timestamp(8)));
        assert_eq!(life.last(), Timestamp(8));
        assert_eq!(life.silence(Timestamp(10)), Millis(2));
    }

    #[test]
    fn idle_ticking_does_not_add_up() {
        let mut life = Liveness::new(Timestamp(0));
        for n in 1..=100u8 {
            life.cpu(u64::from(n) * 10, Timestamp(i64::from(n)));
        }
        assert_eq!(life.last(), Timestamp(0));
    }
}
