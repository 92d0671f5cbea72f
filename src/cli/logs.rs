//! `orchestra logs`

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::select::{self, Purpose, RunChoice};
use super::watch::Watch;
use super::{Context, Exit, Failure};
use crate::core::id::TaskName;
use crate::format::claude_stream::{LineSplitter, MAX_LINE};
use crate::store::layout::RunDir;
use crate::view::page::one_line;
use crate::view::snapshot::Snapshot;
use crate::view::stream;

/// Show what an instance said and did, or the log of the run
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra logs\n  \
    orchestra logs user-profiles\n  \
    orchestra logs user-profiles -f\n  \
    orchestra logs user-profiles --raw | jq -r 'select(.type == \"result\").result'")]
pub struct Args {
    /// The task, or #NUMBER of its issue; the log of the run when not given
    task: Option<String>,
    /// Which run.
    #[command(flatten)]
    choice: RunChoice,
    /// Go on with what is added, until the instance or the run ends
    #[arg(short, long)]
    follow: bool,
    /// Print the stream as it is (one JSON object per line)
    #[arg(long, requires = "task")]
    raw: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let chosen = select::choose(&layout, &args.choice, Purpose::Look, cx)?;
    let task = match &args.task {
        Some(name) => Some(select::task(&chosen.snapshot, name)?),
        None => None,
    };
    let path = match &task {
        Some(task) => chosen.run.stream_log(task),
        None => chosen.run.log(),
    };
    if !args.follow && !path.exists() {
        let what = match &task {
            Some(task) => format!("{task} has no log yet: no instance was started"),
            None => format!("{} has no log yet", chosen.snapshot.id),
        };
        return Err(Failure::usage(what)
            .in_path(&path)
            .next("orchestra status shows where everything stands, -f waits for what comes"));
    }
    let mut source = Source {
        path,
        file: None,
        splitter: LineSplitter::new(MAX_LINE),
        form: match (&task, args.raw) {
            (_, true) => Form::Raw,
            (Some(_), false) => Form::Stream,
            (None, false) => Form::Log,
        },
    };
    if !args.follow {
        source.copy(cx)?;
        source.finish(cx)?;
        return Ok(Exit::Success);
    }
    let changes = Watch::of(chosen.run.dir());
    loop {
        // First the look, then the reading: what was written before the end is not missed.
        let over = is_over(&chosen.run, task.as_ref(), cx);
        source.copy(cx)?;
        if over {
            source.finish(cx)?;
            return Ok(Exit::Success);
        }
        changes.pause(Duration::from_secs(1));
    }
}

/// Whether nothing more comes.
fn is_over(run: &RunDir, task: Option<&TaskName>, cx: &Context<'_>) -> bool {
    let Ok(snapshot) = Snapshot::load(run, cx.now()) else {
        return true;
    };
    if !snapshot.is_live() {
        return true;
    }
    task.and_then(|name| snapshot.task(name))
        .is_some_and(|t| t.state.is_settled() && !t.supervisor_alive)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Stream,
    Log,
}

/// A file that grows.
struct Source {
    path: PathBuf,
    file: Option<File>,
    splitter: LineSplitter,
    form: Form,
}

impl Source {
    /// Prints what was added since the last time.
    fn copy(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(unreadable(&self.path, &e)),
            };
        }
        let mut piece = vec![0; 64 * 1024];
        while let Some(file) = &mut self.file {
            let n = file
                .read(&mut piece)
                .map_err(|e| unreadable(&self.path, &e))?;
            let Some(read) = piece.get(..n).filter(|r| !r.is_empty()) else {
                break;
            };
            if self.form == Form::Raw {
                cx.out.write_all(read)?;
                continue;
            }
            let (form, page) = (self.form, cx.page);
            let mut text = String::new();
            self.splitter
                .feed(read, |line| text.push_str(&shown(line, form, &page)));
            cx.out.write_all(text.as_bytes())?;
        }
        Ok(cx.out.flush()?)
    }

    /// Prints a last line that has no end.
    fn finish(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let (form, page) = (self.form, cx.page);
        let mut text = String::new();
        self.splitter
            .finish(|line| text.push_str(&shown(line, form, &page)));
        cx.print(&text)
    }
}

fn shown(line: &[u8], form: Form, page: &crate::view::page::Page) -> String {
    match form {
        Form::Log => format!("{}\n", one_line(&String::from_utf8_lossy(line))),
        Form::Stream | Form::Raw => stream::render(line, page),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::internal(format!("the log cannot be read: {error}")).in_path(path)
}
