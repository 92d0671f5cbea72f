//! The hooks: what Claude Code tells this program on the way, and what it answers.
//!
//! Every hook is a decision with thin edges: [`edge`] reads the process, a function of this
//! room decides and acts, its [`Outcome`] is printed. A hook that is not concerned prints
//! nothing and exits 0; bad input ends with exit code 1 and one line on standard error. None
//! exits with 2, which would block the session, but for [`announce`], which runs beside it and
//! wakes it so. None panics.

pub mod announce;
pub mod command;
pub mod edge;
pub mod guard;
pub mod heartbeat;
pub mod instance;
pub mod integration;
pub mod place;
pub mod session;
pub mod start;
pub mod statusline;
pub mod transcript;

use serde_json::{Value, json};

/// What a hook comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is not concerned.
    Silent,
    /// An answer for Claude Code, or for a script.
    Answer(Value),
    /// A line for people.
    Line(String),
    /// Nothing was done; the line says why.
    Fault(String),
    /// The session is woken with a text. Only for hooks that run beside the session.
    Wake(String),
}

impl Outcome {
    /// Something for the model to know, as the answer to an event.
    #[must_use]
    pub fn context(event: &str, text: &str) -> Self {
        Self::Answer(json!({
            "hookSpecificOutput": { "hookEventName": event, "additionalContext": text },
        }))
    }

    /// The prompt is answered with a text; no model is asked. The client shows it below
    /// "Operation stopped by hook:", empties its input, and tells the model with the next prompt.
    #[must_use]
    pub fn answered(text: &str) -> Self {
        Self::Answer(json!({
            "continue": false,
            "stopReason": format!("\n{text}"),
            "suppressOriginalPrompt": true,
            "hookSpecificOutput": {
                "hookEventName": "UserPromptExpansion",
                "suppressOriginalPrompt": true,
            },
        }))
    }
}
