//! The threads that turn what happens outside into messages for the one loop.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::ChildStdin;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;

use notify::{RecursiveMode, Watcher};

use super::evidence::Changes;
use super::gate::{GitEvidence, Lack};
use super::stream_log::StreamLog;
use crate::agent::shell::CommandReport;
use crate::format::claude_stream::{Event, LineSplitter, MAX_LINE, parse_line};

/// Stack of the small threads. They parse a line or write one, nothing deep.
const SMALL_STACK: usize = 256 * 1024;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Msg {
    /// A line of the agent's stream.
    Event(Event),
    /// Lines that were too long to read.
    TooLong(u64),
    /// A piece of the agent's standard error.
    Stderr(String),
    /// The agent's standard output is over.
    StreamEnd,
    /// The agent's standard error is over; every piece of it came before.
    StderrEnd,
    /// The agent's process ended, or may have.
    Exit,
    /// The copy of the stream cannot be written.
    LogFault(String),
    /// There may be requests.
    Inbox,
    /// Somebody wants this process to end.
    Terminate,
    /// The set-up command ended.
    Setup(CommandReport),
    /// The gate looked; of the given round.
    Gate(u64, Result<GateReport, String>),
    /// The worktree was measured.
    Measured(Result<Changes, String>),
}

/// What the gate saw.
#[derive(Debug, Clone)]
pub(crate) struct GateReport {
    /// What git said before the verify command ran.
    pub(crate) git: GitEvidence,
    /// What is missing; nothing when it is done.
    pub(crate) lacks: Vec<Lack>,
    /// What was uncommitted after the verify command, which may leave files behind.
    pub(crate) left_by_verify: Vec<String>,
}

/// Starts a thread with a small stack.
pub(crate) fn small_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name(name.into())
        .stack_size(SMALL_STACK)
        .spawn(work)
}

/// Reads the agent's stream: a copy into `log`, its lines as events.
pub(crate) fn read_stream(
    mut out: impl Read + Send + 'static,
    mut log: StreamLog,
    tell: SyncSender<Msg>,
) -> std::io::Result<()> {
    small_thread("stream", move || {
        let mut splitter = LineSplitter::new(MAX_LINE);
        let mut piece = [0; 16 * 1024];
        let mut reported = 0;
        loop {
            let bytes = match out.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => piece.get(..n).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if let Err(e) = log.keep(bytes) {
                // The work goes on without its copy.
                let _ = tell.send(Msg::LogFault(e.to_string()));
            }
            splitter.feed(bytes, |line| forward(line, &tell));
            if splitter.skipped() > reported {
                reported = splitter.skipped();
                let _ = tell.send(Msg::TooLong(reported));
            }
        }
        let _ = log.finish();
        splitter.finish(|line| forward(line, &tell));
        let _ = tell.send(Msg::StreamEnd);
    })
    .map(drop)
}

fn forward(line: &[u8], tell: &SyncSender<Msg>) {
    if let Some(event) = parse_line(line) {
        let _ = tell.send(Msg::Event(event));
    }
}

/// Reads the agent's standard error.
pub(crate) fn read_stderr(
    mut err: impl Read + Send + 'static,
    tell: SyncSender<Msg>,
) -> std::io::Result<()> {
    small_thread("stderr", move || {
        let mut piece = [0; 4 * 1024];
        loop {
            match err.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    let text = String::from_utf8_lossy(piece.get(..n).unwrap_or_default());
                    let _ = tell.send(Msg::Stderr(text.into_owned()));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = tell.send(Msg::StderrEnd);
    })
    .map(drop)
}

/// Writes to the agent on a thread, because one that does not read would block the loop.
/// Dropping the sender closes the agent's input.
pub(crate) fn write_stdin(mut stdin: ChildStdin) -> std::io::Result<Sender<String>> {
    let (send, lines) = mpsc::channel::<String>();
    small_thread("stdin", move || {
        for line in lines {
            if stdin.write_all(line.as_bytes()).is_err() {
                // It is gone or going; its end is told by its exit.
                break;
            }
        }
    })?;
    Ok(send)
}

/// Watches the folder of requests. The watcher must be kept; without one the loop polls.
pub(crate) fn watch_inbox(
    folder: &Path,
    tell: SyncSender<Msg>,
) -> Option<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Looking into the folder is an event as well; it must not cause the next look.
        let own_looking = event.is_ok_and(|event| event.kind.is_access());
        if !own_looking {
            // A full channel is no loss: the loop looks from time to time anyway.
            let _ = tell.try_send(Msg::Inbox);
        }
    })
    .ok()?;
    watcher.watch(folder, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

/// Turns SIGTERM, SIGINT and SIGHUP into messages, for as long as the process lives.
pub(crate) fn watch_signals(tell: SyncSender<Msg>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    small_thread("signals", move || {
        for _ in signals.forever() {
            if tell.send(Msg::Terminate).is_err() {
                return;
            }
        }
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_standard_error_comes_after_all_of_it() {
        let (tell, told) = mpsc::sync_channel(1);
        let text = "No conversation found\n".repeat(1000);
        read_stderr(std::io::Cursor::new(text.clone()), tell).unwrap();
        let mut heard = String::new();
        let mut ends = 0;
        for msg in told {
            match msg {
                Msg::Stderr(piece) => {
                    assert_eq!(ends, 0);
                    heard.push_str(&piece);
                }
                Msg::StderrEnd => ends += 1,
                other => unreachable!("{other:?}"),
            }
        }
        assert_eq!((heard, ends), (text, 1));
    }
}
