//! Following a run to its end: its log as plain lines, or a live region on a terminal.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::conductor;
use super::{Context, Exit, Failure};
use crate::conduct::ensure::Ensured;
use crate::core::event::Request;
use crate::core::record::Record;
use crate::store::journal;
use crate::store::layout::RunDir;
use crate::view::snapshot::Snapshot;

/// How often a person sees something new.
const BEAT: Duration = Duration::from_millis(80);

/// Interrupts that the person sent: the first cancels the run, the second leaves it.
#[derive(Debug, Clone)]
pub struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    /// Listens for Ctrl-C and for a request to terminate.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> Result<Self, Failure> {
        let count = Arc::new(AtomicUsize::new(0));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_usize(signal, Arc::clone(&count), 1)
                .map_err(|e| Failure::internal(format!("signals cannot be handled: {e}")))?;
        }
        Ok(Self(count))
    }

    /// Whether one came since the last question.
    fn take(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) > 0
    }
}

/// Follows until the run is closed or at rest. Brings a new conductor when its own dies.
/// Lines of the log before the byte `log_from` are passed over.
///
/// # Errors
/// When the output cannot be written, or no conductor can be had.
pub fn follow(
    run: &RunDir,
    interrupts: &Interrupts,
    log_from: u64,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let mut log = LogTail::new(run, log_from);
    let cancelled = AtomicBool::new(false);
    loop {
        let over = is_over(run);
        log.print_new(cx)?;
        if over {
            return end(run, cx);
        }
        if interrupts.take() {
            if cancelled.swap(true, Ordering::SeqCst) {
                cx.remark(
                    "it is still being cancelled in the background; `orchestra status` shows how far it is",
                );
                return Ok(Exit::Cancelled);
            }
            cx.remark(
                "cancelling: instances are stopped, their work is kept on its branches \
                 (again to leave it to the background)",
            );
            conductor::ask(run, Request::Cancel { task: None }, cx)?;
        }
        match conductor::ensure(run, cx)? {
            Ensured::Failed(why) => {
                return Err(
                    Failure::internal(format!("no conductor can be started: {why}"))
                        .in_path(run.dir())
                        .next("`orchestra doctor` looks for the cause"),
                );
            }
            Ensured::Started => cx.detail("a new conductor has taken over"),
            Ensured::Running | Ensured::NotNeeded => {}
        }
        std::thread::sleep(BEAT);
    }
}

/// Closed, or paused with nothing in work.
fn is_over(run: &RunDir) -> bool {
    let Ok(lines) = journal::read(&run.journal()) else {
        return false;
    };
    let closed = lines
        .last()
        .is_some_and(|line| matches!(line.entry, Record::Closed));
    closed || crate::conduct::ensure::is_at_rest(&lines)
}

fn end(run: &RunDir, cx: &Context<'_>) -> Result<Exit, Failure> {
    let snapshot = Snapshot::load(run, cx.now())?;
    Ok(match snapshot.verdict() {
        Some(verdict) => Exit::of_run(verdict, snapshot.integration.as_ref()),
        None => Exit::StillRunning,
    })
}

/// What was added to the log since the last look.
struct LogTail {
    path: std::path::PathBuf,
    at: u64,
}

impl LogTail {
    fn new(run: &RunDir, at: u64) -> Self {
        Self {
            path: run.log(),
            at,
        }
    }

    fn print_new(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Ok(mut file) = File::open(&self.path) else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.at)).is_err() || file.read_to_end(&mut bytes).is_err() {
            return Ok(());
        }
        // Only whole lines: the rest comes with the next look.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        bytes.truncate(whole);
        self.at += whole as u64;
        if bytes.is_empty() {
            return Ok(());
        }
        cx.print(&String::from_utf8_lossy(&bytes))
    }
}
