//! `orchestra report stuck|progress|note`: what an instance says of itself.
//!
//! They are for instances only. An instance knows what it is from its environment; that it is
//! one is proved by the process marker, which names the run's random token.

use std::path::{Path, PathBuf};

use crate::agent::tree::{MARK_VARIABLE, Marker};
use crate::cli::{Context, Exit, Failure};
use crate::conduct::worktree;
use crate::core::id::{OrchestrationId, TaskName};
use crate::format::beat_file::BeatLine;
use crate::format::instance_request::InstanceRequest;
use crate::format::launch_file::LaunchFile;
use crate::store::layout::{Layout, RunDir};
use crate::store::{atomic, beats, instance_inbox, lock, run_log};
use crate::supervise;

/// Longest text, characters. What is longer is cut: it is for people, and for prompts.
const LONG: usize = 4_000;
/// Longest option, characters.
const LONG_OPTION: usize = 300;
/// The most options.
const MOST_OPTIONS: usize = 12;

/// What an instance says of itself.
#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Say {
    /// From inside an instance: it cannot go on without an answer from a person
    #[command(after_help = "Examples:\n  \
        orchestra report stuck --reason \"Which key is for tests?\" --option \"the old one\" \
        --option \"a new one\"\n  \
        orchestra report stuck --reason - <question.txt")]
    Stuck {
        /// What it needs to know; `-` reads it from standard input
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// A way to go on that it considered; may be given several times
        #[arg(long = "option", value_name = "TEXT")]
        options: Vec<String>,
    },
    /// From inside an instance: how far it is
    #[command(after_help = "Examples:\n  \
        orchestra report progress \"The parser reads all examples\" --percent 40\n  \
        orchestra report progress \"Porting the pages\" --done 3 --of 9")]
    Progress {
        /// What it does; `-` reads it from standard input
        text: String,
        /// How much of its task is done
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100),
              conflicts_with_all = ["done", "of"])]
        percent: Option<u8>,
        /// Steps that are done
        #[arg(long, value_name = "N", requires = "of")]
        done: Option<u32>,
        /// Steps in all
        #[arg(long, value_name = "M", requires = "done",
              value_parser = clap::value_parser!(u32).range(1..))]
        of: Option<u32>,
    },
    /// From inside an instance: something that others should know who work here later
    #[command(after_help = "Examples:\n  \
        orchestra report note \"The tests need the variable TZ=UTC\"\n  \
        orchestra report note - <learnt.txt")]
    Note {
        /// What it learnt; `-` reads it from standard input
        text: String,
    },
}

pub(super) fn run(say: &Say, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    if let Some((run, task)) = opened_by_hand(cx) {
        return by_hand(say, &run, &task, cx);
    }
    let instance = instance(cx)?;
    let attempt = Some(instance.attempt);
    let (request, answer) = match say {
        Say::Stuck { reason, options } => {
            let request = InstanceRequest::Stuck {
                reason: text(reason, cx)?,
                options: options
                    .iter()
                    .map(|option| clip(option.trim(), LONG_OPTION))
                    .filter(|option| !option.is_empty())
                    .take(MOST_OPTIONS)
                    .collect(),
                attempt,
            };
            let answer = "The question was passed on to the person. End your turn now, with a \
                          sentence about where you stand. Do not wait in a command and do not ask \
                          again: the answer reaches you as the next message of this session.\n";
            (request, answer)
        }
        Say::Progress {
            text: said,
            percent,
            done,
            of,
        } => {
            let request = InstanceRequest::Progress {
                text: text(said, cx)?,
                percent: *percent,
                steps: done.zip(*of).map(|(done, of)| (done.min(of), of)),
                attempt,
            };
            (request, "Told. Go on.\n")
        }
        Say::Note { text: note } => {
            let request = InstanceRequest::Note {
                text: text(note, cx)?,
            };
            (request, "Noted for those who work here later. Go on.\n")
        }
    };
    instance_inbox::post(&instance.run, &instance.task, &request, cx.now())?;
    cx.print(answer)?;
    Ok(Exit::Success)
}

/// The task in whose worktree a person opened this session by hand: no process mark names it,
/// and nobody else works there.
fn opened_by_hand(cx: &Context<'_>) -> Option<(RunDir, TaskName)> {
    if cx.env.get(MARK_VARIABLE).is_some() {
        return None;
    }
    let repo = cx.repository().ok()?;
    let start = cx.start().canonicalize().ok()?;
    let top = start.ancestors().find(|dir| dir.join(".git").exists())?;
    let (run, task) = worktree::owner(&Layout::new(repo.root()), top)?;
    (!lock::may_be_held(&run.lock(&task))).then_some((run, task))
}

/// A person is there, and nobody supervises: it is kept for whoever looks at the run.
fn by_hand(
    say: &Say,
    run: &RunDir,
    task: &TaskName,
    cx: &mut Context<'_>,
) -> Result<Exit, Failure> {
    let (event, said) = match say {
        Say::Stuck { reason, .. } => ("Stuck", text(reason, cx)?),
        Say::Progress { text: said, .. } => ("Progress", text(said, cx)?),
        Say::Note { text: note } => {
            let note = text(note, cx)?;
            supervise::leave_note(run, task, &note)?;
            cx.print("Noted for those who work here later. Go on.\n")?;
            return Ok(Exit::Success);
        }
    };
    let beat = BeatLine {
        at: cx.now().0,
        event: event.to_owned(),
        said: said.clone(),
        ..BeatLine::default()
    };
    beats::add(&run.beat(task), &beat)?;
    if event == "Stuck" {
        let line = format!("{task}: STUCK in a session opened by hand - {said}");
        run_log::append(run, cx.now(), &[line]);
        cx.print("It is noted. A person is with you in this session: ask them now.\n")?;
    } else {
        cx.print("Told. Go on.\n")?;
    }
    Ok(Exit::Success)
}

fn text(given: &str, cx: &mut Context<'_>) -> Result<String, Failure> {
    let text = if given == "-" {
        let bytes = cx.read_input(Path::new("-"))?;
        String::from_utf8(bytes).map_err(|_| Failure::usage("the text is not UTF-8"))?
    } else {
        given.to_owned()
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::usage("the text is empty"));
    }
    Ok(clip(text, LONG))
}

fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain("…".chars()).collect()
}

/// The instance in which this process runs.
struct Instance {
    run: RunDir,
    task: TaskName,
    attempt: u32,
}

fn instance(cx: &Context<'_>) -> Result<Instance, Failure> {
    let var = |name: &str| {
        cx.env.get(name).map(str::to_owned).ok_or_else(|| {
            Failure::usage(format!(
                "this is for an instance that works on a task of a run, and {name} is not set: \
                 this is none"
            ))
            .next("orchestra report - prints the report of a run")
            .next("orchestra control answer TASK \"...\" - tells an instance something")
        })
    };
    let id = var("ORCHESTRA_ORCHESTRATION")?;
    let task = var("ORCHESTRA_TASK")?;
    let main = PathBuf::from(var("ORCHESTRA_MAIN_CHECKOUT")?);
    let mark = var(MARK_VARIABLE)?;
    let senseless = |what: String| {
        Failure::environment(what)
            .next("this happens when the variables of an instance are changed")
    };
    let id = OrchestrationId::parse(&id)
        .map_err(|e| senseless(format!("ORCHESTRA_ORCHESTRATION is no id: {e}")))?;
    let task =
        TaskName::parse(&task).map_err(|e| senseless(format!("ORCHESTRA_TASK is no name: {e}")))?;
    let run = Layout::new(&main).run(&id);
    let launch: Option<LaunchFile> = atomic::peek_json(&run.launch(&task));
    let launch = launch.filter(|launch| {
        Marker::new(&launch.token, &id, Some(&task))
            .value()
            .to_str()
            == Some(mark.as_str())
    });
    let Some(launch) = launch else {
        return Err(senseless(format!(
            "{id} in {} has no instance {task} to which this process belongs",
            main.display()
        )));
    };
    if !lock::may_be_held(&run.lock(&task)) {
        return Err(Failure::environment(format!(
            "nobody watches over {task} of {id} any more, so nobody would hear this"
        )));
    }
    Ok(Instance {
        run,
        task,
        attempt: launch.attempt,
    })
}
