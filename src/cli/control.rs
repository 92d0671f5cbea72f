//! `orchestra control`

use serde_json::json;

use super::select::{self, Chosen, Purpose, RunChoice};
use super::{Context, Exit, Failure, conductor};
use crate::core::event::Request;
use crate::core::id::{TaskName, listed};
use crate::core::record::AsideWhy;
use crate::core::state::TaskState;
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
    /// One instance fewer at once; the least advanced stops after its tool call and is queued again
    #[command(
        after_help = "Examples:\n  orchestra control scale-down\n  orchestra control scale-down --by 2"
    )]
    ScaleDown {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        by: u16,
    },
    /// Give failed, skipped, cancelled and set aside tasks a new chance
    #[command(after_help = "Examples:\n  orchestra control retry\n  orchestra control retry docs")]
    Retry(Target),
    /// Answer an instance that is stuck, tell it something, or say how a conflict is resolved
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
    /// Tell all instances something: those that run now, and the others when they start
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
            return match answered(&chosen, &task, text, cx)? {
                Answered::Instance(text) => answer(&chosen, &task, text, args.json, cx),
                Answered::Ended(text) => {
                    let said = format!("{task} gets a new chance and hears what you said");
                    post_answer(&chosen, &task, text, cx)?;
                    hand_over(&chosen, &Request::Answer { task }, &said, args, cx)
                }
                Answered::Queue(request, said) => hand_over(&chosen, &request, &said, args, cx),
            };
        }
        Action::Broadcast { text } => {
            let text = message(text, cx)?;
            return broadcast(&chosen, &text, args.json, cx);
        }
        _ => {}
    }
    let (request, said) = match &args.action {
        Action::Retry(target) => retry(&chosen, target.task.as_deref(), cx)?,
        action => request(action, snapshot)?,
    };
    hand_over(&chosen, &request, &said, args, cx)
}

/// Gives a request to the conductor, and says so.
fn hand_over(
    chosen: &Chosen,
    request: &Request,
    said: &str,
    args: &Args,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let snapshot = &chosen.snapshot;
    conductor::ask(&chosen.run, request.clone(), cx)?;
    if args.json {
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

/// The request for a new chance, and what it does in words.
///
/// # Errors
/// When there is no such task, or it needs none.
pub(super) fn retry(
    chosen: &Chosen,
    task: Option<&str>,
    cx: &Context<'_>,
) -> Result<(Request, String), Failure> {
    let task = match task {
        Some(name) => Some(select::task(&chosen.snapshot, name)?),
        None => None,
    };
    let (_, state) = conductor::load(&chosen.run, cx)?;
    let mut missed = state.indexes().filter(|ix| state.can_be_revived(*ix));
    let (any, whole) = match &task {
        Some(name) => (missed.any(|ix| state.name(ix) == name), name.as_str()),
        None => (missed.next().is_some(), "the run"),
    };
    let resolution = task.as_ref().and_then(|name| state.find(name));
    if let Some(resolution) = resolution.and_then(|ix| state.resolvers().get(&ix)) {
        return Err(Failure::usage(format!(
            "{whole} is no task: it resolves the conflict of {}",
            resolution.task
        ))
        .next(format!(
            "orchestra control answer {} \"...\" - says how, and tries the conflict again",
            resolution.task
        )));
    }
    if !any {
        return Err(Failure::usage(format!(
            "there is nothing to try again: {whole} did not fail, and nothing of it was set aside"
        ))
        .next("orchestra status shows where everything stands"));
    }
    let said = match &task {
        Some(name) => format!("{name} gets a new chance"),
        None => "what did not get done gets a new chance".to_owned(),
    };
    Ok((Request::Retry { task }, said))
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
    if finished {
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
        // These are dealt with before.
        Action::Answer { .. } | Action::Broadcast { .. } | Action::Retry(_) => {
            return Err(Failure::internal(
                "this is no simple request to the conductor",
            ));
        }
    })
}

/// Whom an answer is for.
enum Answered {
    /// An instance that runs, or that is to run: the text as it is.
    Instance(String),
    /// An instance that ended without being done: the text as it is.
    Ended(String),
    /// The merge queue, which tries the conflict again; and what that means, in words.
    Queue(Request, String),
}

/// Finds out whom an answer is for: the instance when one is at work, else the merge queue
/// when the task's result waits for a word about a conflict.
fn answered(
    chosen: &Chosen,
    task: &TaskName,
    text: String,
    cx: &Context<'_>,
) -> Result<Answered, Failure> {
    let snapshot = &chosen.snapshot;
    if snapshot.task(task).is_some_and(|t| t.is_active()) {
        return Ok(Answered::Instance(text));
    }
    // What cannot be read here is told where the conductor meets it.
    let Ok((_, state)) = conductor::load(&chosen.run, cx) else {
        return Ok(Answered::Instance(text));
    };
    let resolution = state.find(task).and_then(|ix| state.resolvers().get(&ix));
    let result = resolution.map_or(task, |resolution| &resolution.task);
    if let Some(at_work) = state.queue().resolutions().find(|r| r.task == *result) {
        return Err(Failure::usage(format!(
            "the conflict of {result} is being resolved by {}",
            at_work.resolver
        ))
        .next(format!(
            "orchestra control answer {} \"...\" - tells that instance",
            at_work.resolver
        )));
    }
    match state.queue().aside().get(result) {
        Some(AsideWhy::Conflict { files, .. }) => {
            // Even in a run without resolvers: who says how wants it resolved.
            let said = format!(
                "{result}: its conflict in {} is tried again with what you said",
                files.join(", ")
            );
            let task = result.clone();
            Ok(Answered::Queue(Request::Resolve { task, text }, said))
        }
        Some(AsideWhy::Red { .. }) => Err(Failure::usage(format!(
            "{result} waits for no answer: it was set aside since the merged tree is red with it"
        ))
        .next(format!(
            "orchestra control retry {result} - its instance mends it"
        ))),
        Some(AsideWhy::Because { task: cause }) => Err(Failure::usage(format!(
            "{result} waits for no answer: it builds on {cause}, which was set aside"
        ))
        .next(format!("orchestra control answer {cause} \"...\""))),
        None => match snapshot.task(task).map(|t| &t.state) {
            Some(TaskState::Failed { .. } | TaskState::Cancelled) if resolution.is_none() => {
                Ok(Answered::Ended(text))
            }
            _ => Ok(Answered::Instance(text)),
        },
    }
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

/// Puts an answer into the inbox of an instance: to what it asks now, when it asks something.
fn post_answer(
    chosen: &Chosen,
    task: &TaskName,
    text: String,
    cx: &Context<'_>,
) -> Result<(), Failure> {
    let asked = chosen.snapshot.task(task).and_then(|view| {
        let is_stuck = view.is_active() && view.word() == Word::Stuck;
        view.instance().filter(|_| is_stuck)?.question.clone()
    });
    let request = InstanceRequest::Message {
        text,
        question: asked,
    };
    instance_inbox::post(&chosen.run, task, &request, cx.now())?;
    Ok(())
}

/// Tells one instance something; one that does not run hears it when it does.
fn answer(
    chosen: &Chosen,
    task: &TaskName,
    text: String,
    json: bool,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let snapshot = &chosen.snapshot;
    let view = snapshot.task(task);
    if view.is_none_or(|view| view.state.is_settled()) {
        let word = view.map_or("?", |t| t.word().text());
        return Err(Failure::usage(format!(
            "{task} has no instance that could be told something (it is {word})"
        ))
        .next("orchestra status shows which are running")
        .next("orchestra control retry TASK - gives what did not get done a new chance"));
    }
    let later = view.is_some_and(hears_later);
    post_answer(chosen, task, text, cx)?;
    let names = vec![task.clone()];
    told(chosen, &names, if later { &names } else { &[] }, json, cx)
}

/// Tells all instances something that run or are to run. It is no answer to what one of them
/// asks: that one hears it when it goes on.
fn broadcast(
    chosen: &Chosen,
    text: &str,
    json: bool,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let snapshot = &chosen.snapshot;
    let open = || snapshot.rows().filter(|view| !view.state.is_settled());
    let names: Vec<TaskName> = open().map(|view| view.name.clone()).collect();
    let later: Vec<TaskName> = open()
        .filter(|view| hears_later(view))
        .map(|view| view.name.clone())
        .collect();
    if names.is_empty() {
        return Err(Failure::usage(format!(
            "no instance of {} is running, and none is to run",
            snapshot.id
        )));
    }
    let request = InstanceRequest::Notice {
        text: text.to_owned(),
        attempt: None,
    };
    for name in &names {
        instance_inbox::post(&chosen.run, name, &request, cx.now())?;
    }
    told(chosen, &names, &later, json, cx)
}

/// Whether what is said to a task now reaches its next attempt only: it does not run, or a person
/// sits there, who tells it what they want themselves.
fn hears_later(view: &TaskView) -> bool {
    !view.is_active() || has_person(view)
}

fn has_person(view: &TaskView) -> bool {
    matches!(&view.state, TaskState::Active(active) if active.attached.is_some())
}

/// Says who was told something, and who hears it only later.
fn told(
    chosen: &Chosen,
    names: &[TaskName],
    later: &[TaskName],
    json: bool,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let snapshot = &chosen.snapshot;
    conductor::ensure_and_say(&chosen.run, cx);
    if json {
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "orchestrationId": snapshot.id.as_str(),
            "told": names,
            "later": later,
        }))?;
        return Ok(Exit::Success);
    }
    let now = listed(names.iter().filter(|name| !later.contains(name)));
    if !now.is_empty() {
        cx.print(&format!("{}: told {now}\n", snapshot.id))?;
    }
    let is_with_person = |name: &&TaskName| snapshot.task(name).is_some_and(has_person);
    let (with_person, waiting): (Vec<&TaskName>, Vec<&TaskName>) =
        later.iter().partition(is_with_person);
    if !waiting.is_empty() {
        let later = listed(waiting);
        cx.print(&format!(
            "{}: {later} will be told when it runs\n",
            snapshot.id
        ))?;
    }
    for name in with_person {
        cx.print(&format!(
            "{}: a person works on {name} in a terminal now; it will be told once it goes on \
             without them\n",
            snapshot.id
        ))?;
    }
    Ok(Exit::Success)
}
