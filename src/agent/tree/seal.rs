//! A mark that a process can neither clean from its environment nor leave behind by leaving its
//! session: a resource limit.
//!
//! Limits are inherited over forks and over the start of other programs. `RLIMIT_RTTIME` bounds
//! the processor time of real-time processes only, and a number of years is no bound; so its
//! soft limit can carry a number that tells whose a process is (see `getrlimit(2)`; others read
//! it in `/proc/PID/limits`). With it the daemons of an instance are found even when they
//! cleaned their environment and their supervisor was killed before it ever saw them.

use super::{Marker, table};

/// Far above what any process uses: the seal takes nothing away. About 73,000 years.
const FLOOR: u64 = 1 << 61;

impl Marker {
    /// The number that the processes of an instance carry; none for the run itself, whose
    /// processes start others that are not its own.
    pub(super) fn seal(&self) -> Option<u64> {
        self.task.as_ref()?;
        let value = self.value();
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, value.as_encoded_bytes());
        Some(FLOOR | (id.as_u64_pair().0 >> 3))
    }
}

/// While this lives, what this process starts carries the seal.
#[derive(Debug)]
pub struct Sealing {
    before: Option<table::Limit>,
}

/// Gives what is started from now on the seal of an instance. Nothing else may be started
/// meanwhile. Without the seal (the system cannot do it) the other marks remain.
#[must_use]
pub fn seal_children(marker: &Marker) -> Sealing {
    Sealing {
        before: marker.seal().and_then(table::wear_seal),
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            table::take_seal_off(before);
        }
    }
}
