//! Notifications outside of any session: the desktop, and a command of the person's own.
//!
//! They are given on a thread of its own, one after the other, each with a time limit, and
//! never hold the run up. A notification is marked as given before it is: one that a crash
//! interrupts is not given twice, since a session is told for sure.

use std::ffi::OsStr;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::context::Context;
use crate::agent::shell;
use crate::agent::tree::Marker;
use crate::core::time::Millis;
use crate::format::announcement_file::{Announcement, LedgerEntry};
use crate::format::settings_file::{NotifyBy, SettingsFile};
use crate::store::announcements::{Ledger, ledger};
use crate::store::{StoreError, run_log};

/// How long one notification may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What is older is no news: nobody was there to give it.
const OLD: Millis = Millis::from_secs(600);

/// A fixed line: what is told comes in variables, and is never part of it.
const DESKTOP: &str = r#"if command -v notify-send >/dev/null 2>&1; then
    exec notify-send --app-name=Orchestra -- Orchestra "$ORCHESTRA_TEXT"
elif command -v osascript >/dev/null 2>&1; then
    exec osascript -e 'display notification (system attribute "ORCHESTRA_TEXT") with title "Orchestra"'
else
    echo "there is neither notify-send nor osascript"
    exit 1
fi"#;

/// Gives the configured notifications.
#[derive(Debug)]
pub(super) struct Notifier {
    tell: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// How long the ledger was at the last look, bytes.
    seen: u64,
}

impl Notifier {
    /// Starts the thread, if anything is configured.
    pub(super) fn start(context: &Context) -> Self {
        let mut notifier = Self {
            tell: None,
            thread: None,
            seen: 0,
        };
        let commands = commands(context);
        if commands.is_empty() {
            return notifier;
        }
        let (tell, told) = channel();
        let context = context.clone();
        // Without the thread there are no notifications, and the run goes on.
        notifier.thread = std::thread::Builder::new()
            .name("notifier".into())
            .stack_size(256 * 1024)
            .spawn(move || give_all(&context, &commands, &told))
            .ok();
        notifier.tell = Some(tell);
        notifier
    }

    /// Looks whether there is anything new. Costs one look at one file.
    pub(super) fn look(&mut self, context: &Context) {
        let Some(tell) = &self.tell else { return };
        let length = ledger(&context.run).metadata().map_or(0, |meta| meta.len());
        if length != self.seen {
            self.seen = length;
            let _ = tell.send(());
        }
    }

    /// Waits for what is being given. Only for a process that holds nothing any more.
    pub(super) fn finish(mut self, context: &Context) {
        self.look(context);
        self.tell = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an announcement does to a terminal that follows the run, as a sequence to be sent to
/// it; often nothing.
///
/// - `path`: the variable PATH. Where it leads to no program for desktops, the terminal is
///   asked for a notification instead.
#[must_use]
pub fn for_terminal(settings: &SettingsFile, path: Option<&OsStr>, news: &Announcement) -> String {
    let wants = |by| settings.notify.contains(&by);
    let has_program = || {
        let mut folders = path.into_iter().flat_map(std::env::split_paths);
        folders.any(|f| {
            ["notify-send", "osascript"]
                .iter()
                .any(|p| f.join(p).is_file())
        })
    };
    let asks = wants(NotifyBy::Desktop) && !has_program();
    news.terminal_sequence(wants(NotifyBy::Bell), asks)
}

fn commands(context: &Context) -> Vec<String> {
    let settings = &context.settings;
    let desktop = settings.notify.contains(&NotifyBy::Desktop);
    let own = settings.notify_command.clone();
    desktop
        .then(|| DESKTOP.to_owned())
        .into_iter()
        .chain(own)
        .collect()
}

fn give_all(context: &Context, commands: &[String], told: &Receiver<()>) {
    let mut said = vec![false; commands.len()];
    while told.recv().is_ok() {
        while let Ok(Some(news)) = next(context) {
            for (command, said) in commands.iter().zip(&mut said) {
                if let Err(why) = give(context, command, &news)
                    && !std::mem::replace(said, true)
                {
                    let line = format!("a notification could not be given: {why}");
                    run_log::append(&context.run, super::now(), &[line]);
                }
            }
        }
    }
}

/// The first that was not given; it counts as given from now on.
fn next(context: &Context) -> Result<Option<Announcement>, StoreError> {
    let Some(mut ledger) = Ledger::open(&context.run)? else {
        return Ok(None);
    };
    let now = super::now();
    let mut ids = Vec::new();
    let mut news = None;
    for item in ledger.book.items.iter().filter(|item| !item.notified) {
        ids.push(item.announcement.id.clone());
        if now.since(item.at) < OLD {
            news = Some(item.announcement.clone());
            break;
        }
    }
    if !ids.is_empty() {
        ledger.append(vec![LedgerEntry::Notified { ids }], now)?;
    }
    Ok(news)
}

fn give(context: &Context, command: &str, news: &Announcement) -> Result<(), String> {
    let mut env = context.env.clone();
    let task = news.task.as_ref().map_or("", |task| task.as_str());
    for (name, value) in [
        ("ORCHESTRA_EVENT", news.kind.word()),
        ("ORCHESTRA_TASK", task),
        ("ORCHESTRA_TEXT", &news.headline),
        ("ORCHESTRA_RUN", context.run.id().as_str()),
    ] {
        env.set(name, value);
    }
    let token = format!("{}/notify", context.token());
    let report = shell::run_configured(
        command,
        context.run.main_checkout(),
        &env,
        &context.run.dir().join("notifications.log"),
        LIMIT,
        &Marker::new(&token, context.run.id(), None),
        &AtomicBool::new(false),
    );
    if report.is_green() {
        return Ok(());
    }
    let last = report.tail.lines().last().unwrap_or_default();
    Err(format!("{} {last}", report.ending()))
}
