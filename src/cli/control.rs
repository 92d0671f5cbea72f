//! `orchestra control`

use serde_json::json;

use super::select::{self, Chosen, Purpose, RunChoice};
use super::{Context, Exit, Failure, conductor};
use crate::core::event::Request;
use crate::core::id::TaskName;
use crate::core::record::AsideWhy;
use crate::format::SCHEMA_VERSION;
use crate::format::instance_request::InstanceRequest;
use crate::store::instance_inbox;
use crate::view::snapshot::{Snapshot, Standing, TaskView, Word};

/// Steer a run while it goes on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra control pause\n  \
    orchestra control cancel user-profiles\n  \
    orchestra control scale-up\n  \
    orchestra control answer payment-fix \"Use the sandbox key\"\n  \
    echo \"Use the sandbox key\" | orchestra control answer payment-fix -\n  \
    orchestra control retry --orchestration 20261121-0913")]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    action: Action,
    /// Which run.
    #[command(flatten)]
    choice: GlobalChoice,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

/// As [`RunChoice`], but allowed after the action too.
#[derive(Debug, Clone, Default, clap::Args)]
struct GlobalChoice {
    /// The orchestration: its id or the beginning of it [default: the newest live one]
    #[arg(long, value_name = "ID", global = true)]
    orchestration: Option<String>,
}

/// One task, or the whole run.
#[derive(Debug, Clone, Default, clap::Args)]
struct Target {
    /// The task, or #NUMBER of its issue; the whole run when not given
    task: Option<String>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Start nothing new; running instances stop and keep their sessions
    #[command(after_help = "Examples:\n  orchestra control pause\n  orchestra control pause docs")]
    Pause(Target),
    /// Go on after a pause
    #[command(
        after_help = "Examples:\n  orchestra control resume\n  orchestra control resume docs"
    )]
    Resume(Target),
    /// End it; work that was done is kept on its branches
    #[command(
        after_help = "Examples:\n  orchestra control cancel\n  orchestra control cancel docs"
    )]
    Cancel(Target),
    /// One more instance at once
    #[command(
        after_help = "Examples:\n  orchestra control scale-up\n  orchestra control scale-up --by 3"
    )]
    ScaleUp {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        by: u16,
    },
    /// One instance fewer at once; running ones go on
    #[command(
        after_help = "Examples:\n  orchestra control scale-down\n  orchestra control scale-down --by 2"
    )]
    ScaleDown {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        by: u16,
    },
    /// Give failed, skipped and cancelled tasks a new chance
    #[command(after_help = "Examples:\n  orchestra control retry\n  orchestra control retry docs")]
    Retry(Target),
    /// Answer an instance that is stuck, or tell it something
    #[command(
        after_help = "Examples:\n  orchestra control answer docs \"Leave the old page\"\n  \
        echo \"Leave the old page\" | orchestra control answer docs -"
    )]
    Answer {
        /// The task, or #NUMBER of its issue
        task: String,
        /// What to tell it; `-` reads it from standard input
        text: String,
    },
    /// Tell all running instances something
    #[command(
        after_help = "Examples:\n  orchestra control broadcast \"The staging server is down\""
    )]
    Broadcast {
        /// What to tell them; `-` reads it from standard input
        text: String,
    },
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let layout = cx.layout()?;
    let choice = RunChoice {
        orchestration: args.choice.orchestration.clone(),
    };
    let chosen = select::choose(&layout, &choice, Purpose::Act, cx)?;
    let snapshot = &chosen.snapshot;
    match &args.action {
        Action::Answer { task, text } => {
            let task = select::task(snapshot, task)?;
            let text = message(text, cx)?;
            let aside = snapshot.merging.aside.get(&task);
            if let Some(AsideWhy::Conflict { .. }) = aside {
                let said = format!("{task}: an instance resolves its conflict as you said");
                let request = Request::Resolve { task, text };
                return ask(&chosen, &request, &said, args.json, cx);
            }
            return tell(&chosen, &[task], &text, args.json, cx);
        }
        Action::Broadcast { text } => {
            let text = message(text, cx)?;
            let running: Vec<TaskName> = snapshot.active().map(|t| t.name.clone()).collect();
            return tell(&chosen, &running, &text, args.json, cx);
        }
        _ => {}
    }
    let (request, said) = request(&args.action, snapshot)?;
    ask(&chosen, &request, &said, args.json, cx)
}

/// Hands a request to the conductor, and says what it does.
fn ask(
    chosen: &Chosen,
    request: &Request,
    said: &str,
    json: bool,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let snapshot = &chosen.snapshot;
    conductor::ask(&chosen.run, request.clone(), cx)?;
    if json {
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": snapshot.id.as_str(),
            "request": request,
        }))?;
    } else {
        cx.print(&format!("{}: {said}\n", snapshot.id))?;
    }
    Ok(Exit::Success)
}

/// The request, and what it does in words.
fn request(action: &Action, snapshot: &Snapshot) -> Result<(Request, String), Failure> {
    let finished = matches!(snapshot.standing, Standing::Finished { .. });
    let over = || {
        Failure::usage(format!(
            "{} has ended; nothing is left to steer",
            snapshot.id
        ))
        .next("orchestra control retry - gives what did not get done a new chance")
        .next("orchestra status --orchestration ID - shows another run")
    };
    if matches!(snapshot.standing, Standing::Planned) {
        return Err(
            Failure::usage(format!("{} was planned, but not started", snapshot.id))
                .next(format!("orchestra run --orchestration {}", snapshot.id)),
        );
    }
    if finished && !matches!(action, Action::Retry(_)) {
        return Err(over());
    }
    let target = |target: &Target| match &target.task {
        Some(name) => select::task(snapshot, name).map(Some),
        None => Ok(None),
    };
    let whole = |task: &Option<TaskName>| {
        task.as_ref()
            .map_or_else(|| "the run".to_owned(), ToString::to_string)
    };
    let workers = |by: i32| match snapshot.workers {
        Some(now) => format!(
            "at most {} instances at once",
            i64::from(now).saturating_add(i64::from(by)).max(1)
        ),
        None => format!("{by:+} instances at once"),
    };
    Ok(match action {
        Action::Pause(t) => {
            let task = target(t)?;
            let said = format!(
                "{} is being paused; `orchestra control resume` goes on",
                whole(&task)
            );
            (Request::Pause { task }, said)
        }
        Action::Resume(t) => {
            let task = target(t)?;
            let said = format!("{} goes on", whole(&task));
            (Request::Resume { task }, said)
        }
        Action::Cancel(t) => {
            let task = target(t)?;
            if let Some(name) = &task
                && snapshot.task(name).is_some_and(|t| t.state.is_settled())
            {
                return Err(
                    Failure::usage(format!("{name} has come to its end already"))
                        .next("orchestra status shows how"),
                );
            }
            let said = format!("{} is being cancelled; its work is kept", whole(&task));
            (Request::Cancel { task }, said)
        }
        Action::ScaleUp { by } => (
            Request::Scale { by: i32::from(*by) },
            workers(i32::from(*by)),
        ),
        Action::ScaleDown { by } => (
            Request::Scale {
                by: -i32::from(*by),
            },
            workers(-i32::from(*by)),
        ),
        Action::Retry(t) => {
            let task = target(t)?;
            let mut some = snapshot.tasks.iter();
            let any = match &task {
                Some(name) => snapshot.task(name).is_some_and(|t| is_missed(snapshot, t)),
                None => some.any(|t| is_missed(snapshot, t)),
            };
            if !any {
                return Err(Failure::usage(format!(
                    "there is nothing to try again: {} did not fail",
                    whole(&task)
                ))
                .next("orchestra status shows where everything stands"));
            }
            let said = match &task {
                Some(name) => format!("{name} gets a new chance"),
                None => "what did not get done gets a new chance".to_owned(),
            };
            (Request::Retry { task }, said)
        }
        // These go to the instances themselves.
        Action::Answer { .. } | Action::Broadcast { .. } => {
            return Err(Failure::internal(
                "a message is no request to the conductor",
            ));
        }
    })
}

/// Whether a task can be tried again: it did not get done, or its result was set aside for
/// what is wrong with it.
fn is_missed(snapshot: &Snapshot, task: &TaskView) -> bool {
    let missed = [Word::Failed, Word::Skipped, Word::Cancelled];
    let of_no_use = matches!(
        snapshot.merging.aside.get(&task.name),
        Some(AsideWhy::Red { .. } | AsideWhy::Conflict { .. })
    );
    missed.contains(&task.word()) || of_no_use
}

fn message(text: &str, cx: &mut Context<'_>) -> Result<String, Failure> {
    let text = if text == "-" {
        String::from_utf8(cx.read_input(std::path::Path::new("-"))?)
            .map_err(|_| Failure::usage("the message is not UTF-8 text"))?
    } else {
        text.to_owned()
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("the message is empty"));
    }
    Ok(text.trim_end().to_owned())
}

/// Puts a message into the inboxes of running instances.
fn tell(
    chosen: &Chosen,
    tasks: &[TaskName],
    text: &str,
    json: bool,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let snapshot = &chosen.snapshot;
    for name in tasks {
        let running = snapshot.task(name).is_some_and(|t| t.is_active());
        if !running {
            let word = snapshot.task(name).map_or("?", |t| t.word().text());
            return Err(Failure::usage(format!(
                "{name} has no running instance that could be told something (it is {word})"
            ))
            .next("orchestra status shows which are running"));
        }
    }
    if tasks.is_empty() {
        return Err(Failure::usage(format!(
            "no instance of {} is running",
            snapshot.id
        )));
    }
    let request = InstanceRequest::Message {
        text: text.to_owned(),
    };
    for name in tasks {
        instance_inbox::post(&chosen.run, name, &request, cx.now())?;
    }
    conductor::ensure_and_say(&chosen.run, cx);
    let names: Vec<&str> = tasks.iter().map(TaskName::as_str).collect();
    if json {
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": snapshot.id.as_str(),
            "told": names,
        }))?;
    } else {
        cx.print(&format!("{}: told {}\n", snapshot.id, names.join(", ")))?;
    }
    Ok(Exit::Success)
}
