//! The script of the built-in agent (`orchestra play`).
//!
//! ```json
//! { "schemaVersion": 1,
//!   "tasks": {
//!     "schema": { "steps": [
//!         {"todo": {"items": [{"text": "Write it", "state": "in_progress"}]}},
//!         {"write": {"path": "schema.sql", "text": "create table t(x);\n"}},
//!         {"commit": "Add the schema"} ] },
//!     "api": { "attempts": [
//!         [ {"exit": 1} ],
//!         [ {"require": {"path": "schema.sql"}}, {"write": {"path": "api.rs", "text": "…"}},
//!           "end_turn", {"commit": "After feedback"} ] ] } },
//!   "default": { "steps": [ {"write_prompt": "NOTES.md"}, {"commit": "Notes"} ] } }
//! ```
//!
//! A turn begins with a user message and ends with `end_turn`, `result` or the end of the
//! list; the next user message (feedback, an answer) goes on after it. `steps` is one list:
//! a resumed session goes on where it was. With `attempts`, every attempt has a list of its
//! own, and the last list serves all later attempts; a resumed session starts that list from
//! its beginning. A task without an entry and without `default` writes `TASK.md` with the
//! text that it was given, and commits it.
//!
//! Steps for faults, and what a supervisor makes of them:
//!
//! | step | what it plays |
//! |---|---|
//! | `hang_at_start` | a client that never says a word |
//! | `hang` | a provider that is silent; an interrupt ends the turn |
//! | `{"hang": {"deaf": true}}` | the same, and neither interrupts nor SIGTERM help |
//! | `{"run": "tail -f /dev/null"}` | a tool that hangs; an interrupt ends it and the turn |
//! | `{"run": "…busy…"}` | a tool that works: CPU, input and output, or files |
//! | `end_turn_and_hang` | a client that hangs after its result |
//! | `{"api_retry": {"status": 529, "delay_ms": 9000}}` | a provider that is tried again |
//! | `{"result": {…}}` | any result line: 401, 429, 529, budget, a usage limit, … |
//! | `{"refuse_prompt": "why"}` | exit 0 with nothing done: a prompt that was blocked |
//! | `{"exit": 0}`, `{"exit": 1}` | an end without a result |
//! | `{"signal": 11}`, `{"signal": 9}` | a crash; SIGKILL |
//! | `{"allocate": {"mb": 500, "ms": 60000}}` | too much memory, in the client itself |
//! | `{"run": "head -c 500M /dev/zero \| tail -c 1"}` | the same in a process below it |
//! | `{"detach": {"seconds": 600, "clear_env": true}}` | a daemon that cleaned its environment |
//! | `{"raw": "…"}`, `invalid_utf8`, `{"huge_line": 100000000}` | rubbish in the stream |
//! | `{"endless": "noise"}` | output without end |
//! | `close_output` | a stream that stops while the process lives |

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::status_file::TodoItem;

/// The script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlayerScript {
    /// Version of this shape.
    #[serde(default)]
    pub schema_version: u32,
    /// What is played for each task, by its name.
    #[serde(default)]
    pub tasks: BTreeMap<String, Part>,
    /// What is played for a task that is not named.
    #[serde(default)]
    pub default: Option<Part>,
}

/// What is played for one task: one of the two lists.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    /// One list for all attempts; a resumed session goes on where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Step>>,
    /// A list for each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<Vec<Step>>>,
}

impl PlayerScript {
    /// The list for an attempt at a task, and whether it is one for all attempts.
    #[must_use]
    pub fn steps(&self, task: &str, attempt: u32) -> (Vec<Step>, bool) {
        let part = self.tasks.get(task).or(self.default.as_ref());
        if let Some(lists) = part.and_then(|part| part.attempts.as_ref()) {
            let at = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
            let list = lists.get(at).or(lists.last());
            return (list.cloned().unwrap_or_default(), false);
        }
        let steps = part.and_then(|part| part.steps.clone());
        let fallback = || {
            vec![
                Step::WritePrompt(format!("{task}.md").into()),
                Step::Commit(format!("Add {task}")),
            ]
        };
        (steps.unwrap_or_else(fallback), true)
    }
}

/// One thing that the player does. Paths are relative to the worktree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Writes a file, and the folders above it.
    Write {
        /// The file.
        path: PathBuf,
        /// What is in it.
        text: String,
    },
    /// Writes the text of the last user message into a file.
    WritePrompt(PathBuf),
    /// Adds to the end of a file, unless that is its end already.
    Append {
        /// The file.
        path: PathBuf,
        /// What is added.
        text: String,
    },
    /// Deletes a file.
    Delete(PathBuf),
    /// Ends with exit code 9 unless a file is there and holds a text.
    Require {
        /// The file.
        path: PathBuf,
        /// What it must hold.
        #[serde(default)]
        contains: Option<String>,
    },
    /// Runs a command with `sh -c`; the player goes on whatever its exit code. The call is
    /// told before it runs, its result afterwards. An interrupt ends the command and the turn.
    Run(String),
    /// Commits everything; nothing to commit is no error.
    Commit(String),
    /// Brings the todo list to this state.
    Todo {
        /// All items in order.
        items: Vec<TodoItem>,
        /// Whether the older TodoWrite tool is used rather than TaskCreate and TaskUpdate.
        #[serde(default)]
        todo_write: bool,
    },
    /// Says something.
    Say(String),
    /// Says that it is stuck and ends its turn.
    Stuck {
        /// Why.
        reason: String,
        /// What it considered.
        #[serde(default)]
        options: Vec<String>,
    },
    /// Waits, milliseconds. An interrupt ends the wait and the turn.
    SleepMs(u64),
    /// Spends money and tokens.
    Usage {
        /// US dollars.
        #[serde(default)]
        cost_usd: f64,
        /// Input tokens.
        #[serde(default)]
        input_tokens: u64,
        /// Output tokens.
        #[serde(default)]
        output_tokens: u64,
    },
    /// Reports a tool call that was denied.
    Deny {
        /// The tool.
        tool: String,
        /// Its command or file.
        what: String,
    },
    /// Asks on the stream whether it may use a tool, and waits for the answer. A Bash command
    /// that is allowed is run, one that is denied is reported as such.
    Ask {
        /// The tool.
        tool: String,
        /// Its input.
        input: serde_json::Value,
        /// The rule that the client would remember, such as `git commit *`.
        #[serde(default)]
        rule: Option<String>,
        /// File into which the answer is written as it came.
        #[serde(default)]
        answer: Option<PathBuf>,
        /// Takes the request back after this time, milliseconds, and goes on.
        #[serde(default)]
        withdraw_ms: Option<u64>,
    },
    /// Reports a request to the provider that is tried again.
    ApiRetry {
        /// HTTP status.
        status: u64,
        /// How long the client says that it waits, milliseconds. It does not wait by itself.
        #[serde(default = "half_a_second")]
        delay_ms: u64,
    },
    /// Prints a line as it is.
    Raw(String),
    /// Prints a line that is not UTF-8.
    InvalidUtf8,
    /// Prints one line of so many bytes.
    HugeLine(u64),
    /// Prints on the standard error.
    Complain(String),
    /// Starts a process that leaves the session and outlives its parent.
    Detach {
        /// How long it lives.
        seconds: u64,
        /// Whether it forgets its environment, and with it the process marker.
        #[serde(default)]
        clear_env: bool,
    },
    /// Ends the turn well.
    EndTurn,
    /// Ends the turn as one whose prompt was not taken (a hook blocked it): nothing was said.
    RefusePrompt(String),
    /// Ends the turn with this result line.
    Result {
        /// `success`, `error_during_execution`, ….
        subtype: String,
        /// Whether it is an error.
        #[serde(default)]
        is_error: bool,
        /// The last text.
        #[serde(default)]
        text: String,
        /// `api_error`, `budget_exhausted`, ….
        #[serde(default)]
        terminal_reason: Option<String>,
        /// HTTP status.
        #[serde(default)]
        api_error_status: Option<u64>,
    },
    /// Ends the turn well, then never ends itself, even when its input is closed.
    EndTurnAndHang,
    /// As the first step of a process: it says nothing, not even that it began, and hears
    /// nothing but the end of its input.
    HangAtStart,
    /// Closes its standard output, and lives on in silence.
    CloseOutput,
    /// Prints the same line again and again without end, and hears nothing.
    Endless(String),
    /// Uses so much memory itself for a while, MiB.
    Allocate {
        /// How much.
        mb: u64,
        /// How long, milliseconds; it is given back afterwards.
        ms: u64,
    },
    /// Does nothing any more: no tool is open. With `deaf` not even an interrupt helps.
    Hang {
        /// Whether interrupts and SIGTERM are ignored.
        #[serde(default)]
        deaf: bool,
    },
    /// Ends the process with this code, without a result line.
    Exit(i32),
    /// Ends the process by this signal number.
    Signal(i32),
}

fn half_a_second() -> u64 {
    500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_read() {
        let script: PlayerScript = serde_json::from_str(
            r#"{"schemaVersion":1,"tasks":{
                "schema":{"steps":[{"write":{"path":"a","text":"x"}},"end_turn",{"commit":"c"}]},
                "api":{"attempts":[[{"exit":1}],[{"require":{"path":"a"}}]]}}}"#,
        )
        .unwrap();
        assert_eq!(script.steps("schema", 7).0.len(), 3);
        assert!(script.steps("schema", 1).1);
        assert_eq!(script.steps("api", 1), (vec![Step::Exit(1)], false));
        let second = script.steps("api", 2);
        assert!(matches!(second.0[0], Step::Require { .. }));
        assert_eq!(script.steps("api", 9), second);
        let (steps, _) = script.steps("other", 1);
        assert_eq!(steps[0], Step::WritePrompt("other.md".into()));
    }

    #[test]
    fn a_misspelt_step_is_an_error() {
        let wrong = r#"{"tasks":{"a":{"steps":[{"wrte":{"path":"a","text":"x"}}]}}}"#;
        assert!(serde_json::from_str::<PlayerScript>(wrong).is_err());
    }
}
