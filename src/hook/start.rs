//! `orchestration-start`: a request is taken in.
//!
//! On `/parallel-dev` it takes what was typed after the command, byte for byte, before any
//! model sees it and without any shell: the workspace is made, the analysis is set going, and
//! the session is told the id. From then on the session hears of the run, see [`announce`].

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::edge::World;
use super::{Outcome, announce};
use crate::agent::detach::{Readiness, spawn_detached};
use crate::conduct::{self, create, listen};
use crate::core::id::OrchestrationId;
use crate::format::claude_stream::one_line;
use crate::format::hook_json::{self, HookEvent, Input, MAX_REQUEST, StartDocument};
use crate::git::{Head, Repo};
use crate::store::layout::{Layout, RunDir};
use crate::store::run_log;

/// How long the analysis may take to say that it has begun.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole hook.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    match hook_json::parse::<StartDocument>(&world.input) {
        Err(fault) => Outcome::Fault(fault.to_string()),
        Ok(Input::Script(document)) => of_script(&document, world),
        Ok(Input::Event(event)) => of_event(&event, world),
    }
}

fn of_event(event: &HookEvent, world: &World) -> Outcome {
    if world.in_instance() {
        return Outcome::Silent;
    }
    match event.own_command() {
        Some("parallel-dev") => of_command(event, world),
        _ => Outcome::Silent,
    }
}

fn of_command(event: &HookEvent, world: &World) -> Outcome {
    let request = unquoted(&event.command_args);
    let told = |text: &str| Outcome::context("UserPromptExpansion", text);
    let refused = |why: &str| {
        told(&format!(
            "Orchestra did not start: {why}\nNothing was created. Tell the person this, and \
             run no orchestra command."
        ))
    };
    if request.trim().is_empty() {
        return refused(
            "there is no request. Usage: /parallel-dev \"WHAT YOU WANT\", for example \
             /parallel-dev \"Add user profiles, fix the login, update the docs\"",
        );
    }
    if request.len() > MAX_REQUEST {
        return refused(&format!(
            "the request is longer than {MAX_REQUEST} bytes; put the long part into a file of \
             the repository and name it"
        ));
    }
    match take_in(&world.folder(&event.cwd), None, request, world) {
        Err(why) => refused(&why),
        Ok(taken) => {
            hears_of(&taken.run, event, world);
            told(&format!(
                "Orchestra has taken the request in.\norchestration id: {id}\nanalysis: {analysis}\n\
             Go on with step 1 of the command, with this id. {there}",
                id = taken.run.id(),
                there = attendance(world),
                analysis = match &taken.analysis {
                    Ok(()) => "it has begun, in the background".to_owned(),
                    Err(why) => format!("it has not begun ({why}); step 1 does it"),
                }
            ))
        }
    }
}

/// The session of an event hears of a run, if a person sits there.
fn hears_of(run: &RunDir, event: &HookEvent, world: &World) {
    if let Some(who) = announce::sitter(event, world) {
        let layout = Layout::new(run.main_checkout());
        if let Err(error) = listen::join(&layout, &who, run.id()) {
            let line = format!("the session that asked for this will not hear of it: {error}");
            run_log::append(run, conduct::now(), &[line]);
        }
    }
}

/// Whether somebody sits in front of the session, for the model.
pub(super) fn attendance(world: &World) -> &'static str {
    if world.var("CLAUDE_CODE_SESSION_ATTENDED") == Some("0") {
        "Nobody is there to be asked: wherever you would ask, go on and say so."
    } else {
        "A person is there to be asked."
    }
}

fn of_script(document: &StartDocument, world: &World) -> Outcome {
    let id = &document.orchestration_id;
    match take_in(&world.cwd, Some(id), &document.user_request, world) {
        Err(why) => Outcome::Fault(why),
        Ok(taken) => Outcome::Answer(json!({
            "orchestration_id": id,
            "status": if taken.analysis.is_ok() { "analysing" } else { "registered" },
            "workspace": taken.run.dir(),
            "log": taken.run.log(),
            "message": taken.analysis.err(),
        })),
    }
}

/// What came of taking a request in.
struct Taken {
    run: RunDir,
    /// Whether the analysis has begun, or why not.
    analysis: Result<(), String>,
}

/// Makes the workspace and sets the analysis going. Everything is checked before anything is
/// made.
fn take_in(
    start: &Path,
    id: Option<&OrchestrationId>,
    request: &str,
    world: &World,
) -> Result<Taken, String> {
    let repo = Repo::discover(start).map_err(|e| e.to_string())?;
    let head = repo.head().map_err(|e| e.to_string())?;
    if matches!(head, Head::Unborn { .. }) {
        return Err(
            "the repository has no commit yet; tasks start from a commit. Commit something first"
                .to_owned(),
        );
    }
    let id = id.map_or_else(|| create::new_id(conduct::now()), Clone::clone);
    let known = Layout::new(repo.root()).run(&id);
    if known.dir().symlink_metadata().is_ok() {
        let same = std::fs::read(known.request()).is_ok_and(|r| r == request.as_bytes());
        if !same {
            return Err(format!(
                "there is an orchestration {id} already, with another request; choose a new id"
            ));
        }
        if known.plan().exists() || known.settings().exists() {
            return Ok(Taken {
                run: known,
                analysis: Err("it was done before".to_owned()),
            });
        }
    }
    let run = create::open_workspace(&repo, &id, Some(request)).map_err(|e| e.to_string())?;
    let begun = [
        "orchestration started",
        &format!("request: {}", one_line(request, 500)),
        &format!("id: {id}"),
        "status: analysing the request",
    ];
    run_log::append(&run, conduct::now(), &begun);
    let analysis = set_going(&run, repo.root(), world);
    if let Err(why) = &analysis {
        let line = format!("status: the analysis has not begun: {why}");
        run_log::append(&run, conduct::now(), &[line]);
    }
    Ok(Taken { run, analysis })
}

/// Starts the analysis in the background.
fn set_going(run: &RunDir, main_checkout: &Path, world: &World) -> Result<(), String> {
    let args = [
        "analyze".into(),
        "--repo".into(),
        main_checkout.into(),
        run.id().as_str().into(),
    ];
    let started = spawn_detached(
        &world.program("orchestra"),
        &args,
        main_checkout,
        &world.env,
        &run.analysis_stderr(),
        PATIENCE,
    );
    match started.map(|started| started.readiness) {
        Ok(Readiness::Ready | Readiness::Late) => Ok(()),
        Ok(Readiness::Refused(why)) => Err(why),
        Ok(Readiness::Silent) => Err(format!(
            "it ended at once, see {}",
            run.analysis_stderr().display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// The request without the one pair of quotes that people put round it.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    for (open, close) in [('"', '"'), ('\'', '\''), ('“', '”'), ('«', '»')] {
        let inner = text
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        if let Some(inner) = inner
            && encloses(inner, open, close)
        {
            return inner;
        }
    }
    text
}

/// Whether the quotes at both ends of a text are one pair: the next quote inside, if there is
/// one, opens something (`"add "x" and y"`) and does not close what the first one opened
/// (`"add" and "fix"`).
fn encloses(inner: &str, open: char, close: char) -> bool {
    let mut before = open;
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if (c == open || c == close) && before != '\\' {
            let opens_word = chars.peek().is_some_and(|next| !next.is_whitespace());
            return opens_word && (before.is_whitespace() || before == '(');
        }
        before = c;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_of_quotes_is_taken_off() {
        for (typed, request) in [
            ("\"Add x, fix y\"", "Add x, fix y"),
            (" 'Add x' ", "Add x"),
            ("“Add x”", "Add x"),
            ("Add x", "Add x"),
            ("\"Add\" and \"fix\"", "\"Add\" and \"fix\""),
            ("\"Add \"x\" and y\"", "Add \"x\" and y"),
            ("\"Add \\\"x\\\" and y\"", "Add \\\"x\\\" and y"),
            ("\"Add x\", then \"y\"", "\"Add x\", then \"y\""),
            ("'it's'", "'it's'"),
            ("\"", "\""),
            ("\"\"", ""),
            ("it's", "it's"),
            ("\"it's $(x) `y` \\\"", "it's $(x) `y` \\"),
            ("", ""),
        ] {
            assert_eq!(unquoted(typed), request, "{typed}");
        }
    }
}
