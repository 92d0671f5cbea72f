//! The start of a session: a run that lost its conductor gets a new one.

use std::path::Path;

use super::Outcome;
use super::edge::World;
use crate::conduct::{
    self,
    ensure::{self, Ensured},
};
use crate::store::inbox;
use crate::store::layout::{Layout, RunDir};
use crate::store::modified;
use crate::store::run_log;

/// A run that nobody touched for this long is not taken up unasked, milliseconds.
const FRESH: i64 = 24 * 60 * 60 * 1000;

/// Takes up what nobody works on; what people should know of it, a sentence each.
#[must_use]
pub fn take_up(main: &Path, layout: &Layout, world: &World) -> Vec<String> {
    let now = conduct::now().0;
    let mut said = Vec::new();
    for run in layout.runs() {
        if is_settled(&run) || !ensure::is_orphaned(&run) {
            continue;
        }
        let id = run.id();
        let touched = modified(&run.journal()).map_or(0, |at| at.0);
        if now.saturating_sub(touched) > FRESH {
            said.push(format!(
                "the orchestration {id} is unfinished and nobody works on it; \
                 `orchestra run --orchestration {id}` goes on with it, \
                 `orchestra cleanup all --orchestration {id}` puts it away"
            ));
            continue;
        }
        match ensure::ensure(&run, main, &world.program("orchestra"), &world.env) {
            Ensured::Started => {
                let line = "the conductor was gone; a new one took over";
                run_log::append(&run, conduct::now(), &[line]);
                said.push(format!(
                    "the orchestration {id} was interrupted and goes on now"
                ));
            }
            Ensured::Failed(why) => said.push(format!(
                "the orchestration {id} was interrupted and could not be taken up: {why}"
            )),
            Ensured::NotNeeded | Ensured::Running => {}
        }
    }
    said
}

/// The same for whoever starts a session without a person, as the answer to its start.
#[must_use]
pub fn tell(said: &[String]) -> Outcome {
    if said.is_empty() {
        return Outcome::Silent;
    }
    let text = format!("Orchestra: {}.", said.join("; "));
    Outcome::Answer(serde_json::json!({
        "systemMessage": text,
        "hookSpecificOutput": { "hookEventName": "SessionStart", "additionalContext": text },
    }))
}

/// Ended, and nobody asks for anything: told by two looks, without reading its journal.
fn is_settled(run: &RunDir) -> bool {
    !run.settings().exists() || (run.results().exists() && !inbox::letters_waiting(&run.inbox()))
}
