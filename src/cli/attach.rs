//! `orchestra attach`: a person takes a task over in their terminal, and gives it back.
//!
//! The terminal takes a lock, posts a letter, and waits until the conductor has written the
//! order for an attempt of its own; then it is that attempt's supervisor. What becomes of a
//! terminal that goes away at any point is decided by the locks that it held.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::json;

use super::select::{self, Chosen, Purpose, RunChoice};
use super::{Context, Exit, Failure, conductor};
use crate::agent::tree::MARK_VARIABLE;
use crate::conduct::{by_hand, surroundings};
use crate::core::attempt::AttemptEnd;
use crate::core::event::Request;
use crate::core::id::TaskName;
use crate::core::record::Record;
use crate::core::state::TaskState;
use crate::format::SCHEMA_VERSION;
use crate::format::launch_file::AgentChoice;
use crate::store::layout::RunDir;
use crate::store::lock::Lock;
use crate::store::{StoreError, inbox, journal};
use crate::supervise::Supervision;
use crate::supervise::attached::{self, Given, Then, Visit};
use crate::view::report::shell_word;
use crate::view::snapshot::{Snapshot, Standing, TaskView};

/// How often it is looked whether the task was handed over.
const LOOK: Duration = Duration::from_millis(60);
/// How often the run as a whole is looked at meanwhile.
const LOOK_AT_RUN: Duration = Duration::from_secs(1);
/// A probe of a lock holds it for an instant.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
/// What a client that was killed may have left switched on in the terminal: a hidden cursor,
/// pasting in brackets, reports of the focus, other codes for keys.
const TERMINAL_AS_BEFORE: &str = "\u{1b}[?25h\u{1b}[?2004l\u{1b}[?1004l\u{1b}[<u";

/// Take a task over in this terminal, in its own session, and give it back
///
/// An instance that works on the task stops after its present step. Its session opens here, with
/// the same rights. When you leave it (/exit, Ctrl-D), the evidence is looked at: what is done is
/// complete, anything else goes on without you.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra attach user-profiles\n  \
    orchestra attach user-profiles --then pause\n  \
    eval \"$(orchestra attach user-profiles --print)\"")]
pub struct Args {
    /// The task, or #NUMBER of its issue
    task: String,
    /// Which run.
    #[command(flatten)]
    choice: RunChoice,
    /// What becomes of the task when you leave it
    #[arg(long, value_enum, default_value_t)]
    then: Afterwards,
    /// Only print the command that opens the session, which the run does not hear of [default
    /// where there is no terminal]
    #[arg(long, conflicts_with = "then")]
    print: bool,
    /// Print JSON: the session and its worktree
    #[arg(long, conflicts_with = "then")]
    json: bool,
}

/// What becomes of the task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Afterwards {
    /// Complete when it says that it is done and the evidence is there, else it goes on
    #[default]
    Decide,
    /// Complete when the evidence is there, else it is held back
    Complete,
    /// It goes on without you
    Resume,
    /// It is held back until `orchestra control resume TASK`
    Pause,
}

impl From<Afterwards> for Then {
    fn from(then: Afterwards) -> Self {
        match then {
            Afterwards::Decide => Self::Decide,
            Afterwards::Complete => Self::Complete,
            Afterwards::Resume => Self::Resume,
            Afterwards::Pause => Self::Pause,
        }
    }
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let terminal = cx.terminal && std::io::stdout().is_terminal();
    if args.print || args.json || !terminal {
        let chosen = select::choose(&layout, &args.choice, Purpose::Look, cx)?;
        let name = select::task(&chosen.snapshot, &args.task)?;
        return print(args, &chosen, &name, cx);
    }
    let chosen = select::choose(&layout, &args.choice, Purpose::Act, cx)?;
    let name = select::task(&chosen.snapshot, &args.task)?;
    take_over(args.then.into(), &chosen, &name, cx)
}

/// Shows how to open the session by hand.
fn print(
    args: &Args,
    chosen: &Chosen,
    name: &TaskName,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let task = chosen.snapshot.task(name);
    let session = task.and_then(|t| t.session);
    let place = task.and_then(|t| t.place.as_ref().filter(|_| t.worktree_exists));
    let (Some(session), Some(place)) = (session, place) else {
        return Err(no_session(name));
    };
    // Two processes on one session would write over each other.
    if task.is_some_and(|t| t.supervisor_alive) {
        return Err(
            Failure::usage(format!("an instance is at work on {name} right now"))
                .next(format!(
                    "orchestra attach {name} - takes it over, in a terminal"
                ))
                .next(format!("orchestra logs {name} -f - follows it"))
                .next(format!(
                    "orchestra control answer {name} \"TEXT\" - tells it something"
                )),
        );
    }
    let folder = place.worktree.display().to_string();
    let command = format!("cd {} && claude --resume {session}", shell_word(&folder));
    if args.json {
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "task": name.as_str(),
            "sessionId": session.to_string(),
            "worktreePath": folder,
            "command": command,
        }))?;
    } else {
        cx.print(&format!("{command}\n"))?;
    }
    Ok(Exit::Success)
}

fn no_session(name: &TaskName) -> Failure {
    Failure::usage(format!("{name} has no session with a worktree")).next(format!(
        "orchestra logs {name} - shows what it did, when it was started"
    ))
}

/// Why a task cannot be taken over as it stands now.
fn refusal(snapshot: &Snapshot, task: &TaskView) -> Option<Failure> {
    let name = &task.name;
    let usage = |what: String| Some(Failure::usage(what));
    let scripted = snapshot
        .settings
        .as_ref()
        .is_some_and(|s| matches!(s.agent, AgentChoice::Scripted { .. }));
    if scripted {
        return usage(
            "this run is played by the built-in scripted agent, which has no session that could \
             be opened"
                .into(),
        )
        .map(|f| f.next(format!("orchestra logs {name} -f - follows it")));
    }
    match &task.state {
        TaskState::Done { .. } => usage(format!(
            "{name} is complete: what is changed there now would not be delivered"
        ))
        .map(|f| {
            f.next(format!(
                "orchestra attach {name} --print - the command that opens its session to look at"
            ))
        }),
        TaskState::Waiting | TaskState::Skipped { .. } => usage(format!(
            "{name} was not started: other tasks come before it"
        ))
        .map(|f| f.next("orchestra status - shows which")),
        _ if task.attempts == 0 => usage(format!("{name} was not started yet")).map(|f| {
            f.next("orchestra status - shows what it waits for")
                .next("orchestra control scale-up - lets one more instance work at once")
        }),
        TaskState::Failed { .. } | TaskState::Cancelled
            if matches!(snapshot.standing, Standing::Integrating(_)) =>
        {
            usage(format!(
                "the results are being merged; until that is over {name} cannot be taken up again"
            ))
            .map(|f| f.next("orchestra wait - waits for it"))
        }
        _ => None,
    }
}

fn take_over(
    then: Then,
    chosen: &Chosen,
    name: &TaskName,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let run = &chosen.run;
    if cx.env.get(MARK_VARIABLE).is_some() {
        return Err(Failure::usage(
            "an instance cannot take tasks over; this is for a person's own terminal",
        ));
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("standard input is not a terminal").next(format!(
                "orchestra attach {name} --print - the command that opens its session"
            )),
        );
    }
    let Some(task) = chosen.snapshot.task(name) else {
        return Err(no_session(name));
    };
    if let Some(failure) = refusal(&chosen.snapshot, task) {
        return Err(failure);
    }
    if let Some(client) = by_hand::open(run, name) {
        return Err(Failure::usage(format!(
            "a session that was opened by hand works in the worktree of {name} (process {})",
            client.pid
        ))
        .next("close that one first: two clients on one session would write over each other"));
    }
    let Some(settings) = &chosen.snapshot.settings else {
        return Err(select::unreadable(run, &chosen.snapshot));
    };
    let path = run.attach_lock(name);
    let Some(_turn) = Lock::take_within(&path, LOCK_PATIENCE)? else {
        return Err(
            Failure::usage(format!("somebody works on {name} in another terminal"))
                .next("orchestra status - says since when"),
        );
    };
    let ticket = uuid::Uuid::new_v4().to_string();
    std::fs::write(&path, &ticket).map_err(StoreError::io("write", &path))?;

    let own = cx.environment();
    let inherited = surroundings::of_run(run, &own).in_terminal_of(&own);
    let slots = settings.state_dir.join("ports");
    let exe = cx.own_exe()?;
    let heartbeat = exe.with_file_name("orchestra-heartbeat");
    let visit = Visit {
        supervision: Supervision {
            run,
            task: name,
            slots: &slots,
            exe: &exe,
            inherited: &inherited,
        },
        ticket: &ticket,
        then,
        heartbeat: heartbeat.is_file().then_some(heartbeat),
    };
    let request = Request::Attach {
        task: name.clone(),
        ticket: ticket.clone(),
    };
    let letter = inbox::post(&run.inbox(), request, cx.now())?;
    if task.is_active() {
        cx.remark(&format!(
            "{name}: an instance is at work; it stops after its present step (a minute at most, \
             Ctrl-C to leave it alone)"
        ));
    }
    wait_for_order(&visit, run, &letter, cx)?;
    let given = attached::attend(&visit, &mut |line| cx.remark(line)).map_err(|why| {
        Failure::environment(why).next(format!("orchestra status - shows how {name} stands"))
    })?;
    told(run, name, &given, cx)
}

/// Waits until the conductor has written the order.
fn wait_for_order(
    visit: &Visit<'_>,
    run: &RunDir,
    letter: &str,
    cx: &mut Context<'_>,
) -> Result<(), Failure> {
    let name = visit.supervision.task;
    let letter = run.inbox().join(format!("{letter}.json"));
    let mut look_at_run = Instant::now();
    let mut warned = false;
    while !attached::is_ordered(&visit.supervision, visit.ticket) {
        if Instant::now() >= look_at_run {
            look_at_run = Instant::now() + LOOK_AT_RUN;
            conductor::ensure_patiently(run, &mut warned, cx)?;
            // In this order: a letter goes after what it led to was written down.
            let unread = letter.exists();
            let snapshot = Snapshot::load(run, cx.now())?;
            if let Some(failure) = in_vain(&snapshot, name, visit.ticket, unread, run)? {
                return Err(failure);
            }
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Why no order will come any more.
fn in_vain(
    snapshot: &Snapshot,
    name: &TaskName,
    ticket: &str,
    unread: bool,
    run: &RunDir,
) -> Result<Option<Failure>, Failure> {
    let Some(task) = snapshot.task(name).filter(|_| !unread) else {
        return Ok(None);
    };
    let failure = match &task.state {
        TaskState::Done { .. } => {
            Failure::usage(format!("{name} came to its end meanwhile: it is complete"))
        }
        TaskState::Failed { detail, .. } => Failure::usage(format!("{name} failed: {detail}")),
        TaskState::Cancelled => Failure::usage(format!("{name} was cancelled")),
        _ => {
            let lines = journal::read(&run.journal())?;
            let asked = lines.iter().any(
                |line| matches!(&line.entry, Record::AttachAsked { ticket: t, .. } if t == ticket),
            );
            if asked {
                return Ok(None);
            }
            Failure::usage(format!("{name} cannot be taken over as it stands"))
        }
    };
    Ok(Some(
        failure.next("orchestra status - shows how the run stands"),
    ))
}

/// Says what becomes of the task.
fn told(
    run: &RunDir,
    name: &TaskName,
    given: &Given,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    if given.code.is_none() {
        cx.remark(TERMINAL_AS_BEFORE);
    }
    if let Some(why) = &given.lost {
        cx.remark(&format!(
            "warning: how it ended could not be written down, so the task goes on: {why}"
        ));
    }
    let open = given.open.as_deref().unwrap_or_default();
    let (line, exit) = match &given.end {
        AttemptEnd::Complete { head, .. } => (
            format!(
                "{name}: complete at {} - {}",
                head.short(),
                "the evidence is there"
            ),
            Exit::Success,
        ),
        AttemptEnd::Paused if given.held => (
            format!("{name}: held back ({open}); `orchestra control resume {name}` goes on"),
            Exit::Success,
        ),
        AttemptEnd::Paused if is_held_back(run, name, cx) => (
            format!(
                "{name}: waits, as it is held back since before ({open}); `orchestra status` says \
                 by what"
            ),
            Exit::Success,
        ),
        AttemptEnd::Paused => (
            format!(
                "{name}: goes on without you, in the same session ({open}); `orchestra logs \
                 {name} -f` follows it"
            ),
            Exit::Success,
        ),
        AttemptEnd::Cancelled => (format!("{name}: cancelled"), Exit::Cancelled),
        AttemptEnd::Failed { detail, .. } => {
            return Err(Failure::environment(format!("{name}: {detail}"))
                .next("orchestra status - shows what becomes of it"));
        }
    };
    cx.remark(&line);
    Ok(exit)
}

/// Whether a pause that was there before keeps the task from going on.
fn is_held_back(run: &RunDir, name: &TaskName, cx: &Context<'_>) -> bool {
    Snapshot::load(run, cx.now())
        .is_ok_and(|snapshot| snapshot.paused || snapshot.task(name).is_some_and(|task| task.held))
}
