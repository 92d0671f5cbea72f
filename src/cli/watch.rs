//! Following a run: waiting until its folder changes or some time is over.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};

/// How long events of one change follow each other.
const SAME_CHANGE: Duration = Duration::from_millis(10);

/// Wakes when something in a folder changes.
pub(super) struct Watch {
    changes: Option<Receiver<()>>,
    // Dropping it ends the watching.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Watches a folder. Where that is not possible (too many watches, a network disk), each
    /// pause simply takes its whole time.
    pub(super) fn of(folder: &Path) -> Self {
        let (tell, changes) = channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is no change.
            if event.is_ok_and(|e| !e.kind.is_access()) {
                // The other side is gone when the command ends.
                let _ = tell.send(());
            }
        })
        .and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        })
        .ok();
        Self {
            changes: watcher.is_some().then_some(changes),
            _watcher: watcher,
        }
    }

    /// Pauses until something changes, but no longer than `most`.
    pub(super) fn pause(&self, most: Duration) {
        match &self.changes {
            Some(changes) => match changes.recv_timeout(most) {
                Ok(()) => {
                    // One write is several events; what follows at once is the same change.
                    // Not for longer, or a busy folder would hold back its news.
                    let until = Instant::now() + SAME_CHANGE;
                    while let Some(left) = until.checked_duration_since(Instant::now())
                        && changes.recv_timeout(left).is_ok()
                    {}
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(most),
            },
            None => std::thread::sleep(most),
        }
    }
}
