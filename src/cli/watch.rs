//! Following a run: waiting until its folder changes or some time is over.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};

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
                    // Where changes never cease, it is looked at all the same.
                    let began = Instant::now();
                    while began.elapsed() < most
                        && changes.recv_timeout(Duration::from_millis(20)).is_ok()
                    {
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(most),
            },
            None => std::thread::sleep(most),
        }
    }
}
