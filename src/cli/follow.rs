//! Following a run to its end: its log as plain lines, or a live region on a terminal.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::announcing::Following;
use super::conductor;
use super::watch::Watch;
use super::{Context, Exit, Failure};
use crate::conduct::ensure::{self, Ensured};
use crate::core::event::Request;
use crate::store::layout::RunDir;
use crate::store::{inbox, journal};
use crate::view::live::{self, Region, terminal_size};
use crate::view::merging;
use crate::view::page::Page;
use crate::view::snapshot::Snapshot;

/// How often to look when nothing is heard of a change: figures such as the time go on, and
/// a conductor may have died.
const BEAT: Duration = Duration::from_millis(500);

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

/// Follows until the run is closed or at rest: lines of its log, and on a terminal a region
/// at the foot that is repainted. Brings a new conductor when its own dies. Lines of the log
/// before the byte `log_from` are passed over.
///
/// # Errors
/// When the output cannot be written, or no conductor can be had.
pub fn follow(
    run: &RunDir,
    interrupts: &Interrupts,
    log_from: u64,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    follow_until(run, interrupts, log_from, None, cx)
}

/// The same, and leaves it to the background at `deadline`.
///
/// # Errors
/// As [`follow`].
pub fn follow_until(
    run: &RunDir,
    interrupts: &Interrupts,
    log_from: u64,
    deadline: Option<Instant>,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let changes = Watch::of(run.dir());
    let mut following = Following::of(run);
    let mut screen = Screen {
        log: LogTail::new(run, log_from),
        painted: Vec::new(),
    };
    let mut cancelled = false;
    let mut ensured: Option<Instant> = None;
    let mut warned = false;
    loop {
        // Looked at before the log is read, so that nothing is missed at the end.
        let over = is_over(run)?;
        screen.show(run, over, cx)?;
        if over {
            let (exit, last_words) = end(run, cx)?;
            for line in last_words {
                cx.print(&format!("{line}\n"))?;
            }
            if exit != Exit::StillRunning {
                following.told(cx);
            }
            if exit == Exit::StillRunning {
                let id = run.id();
                cx.remark(&format!(
                    "{id} is paused, and nothing of it runs: `orchestra control resume \
                     --orchestration {id}` lets it go on, `orchestra control cancel \
                     --orchestration {id}` ends it"
                ));
            }
            return Ok(exit);
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            cx.remark("it goes on in the background; `orchestra status` shows how far it is");
            return Ok(Exit::StillRunning);
        }
        if interrupts.take() {
            if cancelled {
                cx.remark(
                    "it is still being cancelled in the background; `orchestra status` shows \
                     how far it is",
                );
                return Ok(Exit::Cancelled);
            }
            cancelled = true;
            cx.remark(
                "cancelling: instances are stopped, their work is kept on its branches \
                 (again to leave it to the background)",
            );
            conductor::ask(run, Request::Cancel { task: None }, cx)?;
        }
        // A dead conductor changes nothing, so that there is no need to ask at each change.
        if ensured.is_none_or(|at| at.elapsed() >= BEAT) {
            if conductor::ensure_patiently(run, &mut warned, cx)? == Ensured::Started {
                cx.detail("a new conductor has taken over");
            }
            ensured = Some(Instant::now());
        }
        following.hold();
        following.ring(cx)?;
        changes.pause(BEAT);
    }
}

/// What `run` shows while it goes on.
struct Screen {
    log: LogTail,
    painted: Vec<String>,
}

impl Screen {
    fn show(&mut self, run: &RunDir, over: bool, cx: &mut Context<'_>) -> Result<(), Failure> {
        let news = self.log.news();
        if !cx.terminal {
            return match news {
                Some(text) => cx.print(&text),
                None => Ok(()),
            };
        }
        let painted = std::mem::take(&mut self.painted);
        let mut region = Region::resume(&mut *cx.out, painted);
        if let Some(text) = news {
            region.above(&text)?;
        }
        if over {
            region.clear()?;
        } else if let Ok(snapshot) = Snapshot::load(run, super::context::now()) {
            let (columns, rows) = terminal_size().unwrap_or((cx.page.width, 24));
            let page = Page::new(columns, cx.page.color);
            region.repaint(live::region(
                &snapshot,
                &page,
                rows.saturating_sub(2).max(3),
            ))?;
        }
        self.painted = region.into_painted();
        Ok(())
    }
}

/// Closed, or paused with nothing in work; and nothing is asked of it.
fn is_over(run: &RunDir) -> Result<bool, Failure> {
    // First the inbox, then the journal: a letter goes when what follows from it is written.
    // A run that was closed and is asked for more is not over.
    if inbox::letters_waiting(&run.inbox()) {
        return Ok(false);
    }
    Ok(ensure::is_over(&journal::read(&run.journal())?))
}

/// The exit code, and what a person must know beyond it.
fn end(run: &RunDir, cx: &Context<'_>) -> Result<(Exit, Vec<String>), Failure> {
    let snapshot = Snapshot::load(run, cx.now())?;
    let exit = match snapshot.verdict() {
        Some(verdict) => Exit::of_run(verdict, snapshot.integration.as_ref()),
        None => Exit::StillRunning,
    };
    Ok((exit, merging::last_words(&snapshot)))
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

    /// Whole lines that were added; the rest of a line comes with the next look.
    fn news(&mut self) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.at)).ok()?;
        file.read_to_end(&mut bytes).ok()?;
        let whole = bytes.iter().rposition(|b| *b == b'\n')? + 1;
        bytes.truncate(whole);
        self.at += whole as u64;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
