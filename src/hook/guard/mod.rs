//! `orchestra-guard`: asked before tool calls, in two places.
//!
//! In a person's session ([`in_session`]) it lets this program's own commands pass, and only
//! those of one exact shape: see [`own`]. It never denies anything there.
//!
//! In an instance ([`in_instance`]) it keeps the work inside the worktree. File tools are
//! decided by the resolved path. Shell commands are only read: [`shell`] finds the simple
//! commands of a line, [`git`] and [`writes`] look at them. **That is a fence against
//! mistakes, not a wall**: what a script or an interpreter does, a path that is only known at
//! run time (`$X/file`), a program that writes where nobody would expect it, an alias or a
//! function all pass. Deny rules and an operating-system sandbox stand behind it.

pub mod git;
pub mod others;
pub mod own;
pub mod paths;
pub mod shell;
pub mod writes;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Outcome;
use super::edge::World;
use crate::format::hook_json::HookEvent;
use paths::{Bounds, Place};

/// What the guard says to a tool call.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing: the client decides as it would without the guard.
    NoOpinion,
    /// It may be done, with this input in the place of the one given.
    Allow {
        /// The input.
        input: Value,
    },
    /// It may not be done; the text says why and what to do instead.
    Deny(String),
}

impl Verdict {
    /// What is printed for Claude Code; nothing when there is nothing to say.
    #[must_use]
    pub fn answer(&self) -> Option<Value> {
        let output = match self {
            Self::NoOpinion => return None,
            Self::Allow { input } => json!({
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "permissionDecisionReason": "a command of Orchestra itself",
                "updatedInput": input,
            }),
            Self::Deny(reason) => json!({
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": reason,
            }),
        };
        Some(json!({ "hookSpecificOutput": output }))
    }
}

/// Longest event that is read, bytes: one may carry the whole content of a file.
pub const MAX_EVENT: usize = 64 * 1024 * 1024;

/// The whole hook: `orchestra-guard` in a session,
/// `orchestra-guard --worktree PATH --main PATH` in an instance.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    let bounds = match arguments(world) {
        Ok(bounds) => bounds,
        Err(why) => return Outcome::Fault(why),
    };
    let event = if world.input.len() > MAX_EVENT {
        Err("the event is too long".to_owned())
    } else {
        HookEvent::parse(&world.input).map_err(|fault| fault.to_string())
    };
    let verdict = match (bounds, event) {
        (Some(bounds), Ok(event)) => in_instance(&event, &bounds),
        (Some(_), Err(why)) => Verdict::Deny(format!("the tool call cannot be checked: {why}")),
        // The plugin is loaded inside an instance: its own guard decides there.
        (None, Ok(_)) if world.in_instance() => Verdict::NoOpinion,
        (None, Ok(event)) => {
            let exe = world.program("orchestra");
            if exe.is_file() {
                in_session(&event, &exe)
            } else {
                Verdict::NoOpinion
            }
        }
        (None, Err(why)) => return Outcome::Fault(why),
    };
    verdict.answer().map_or(Outcome::Silent, Outcome::Answer)
}

/// The places that an instance's guard is told; none in a session.
fn arguments(world: &World) -> Result<Option<Bounds>, String> {
    let (mut worktree, mut main) = (None, None);
    let mut args = world.args.iter();
    while let Some(flag) = args.next() {
        let place = match flag.as_str() {
            "--worktree" => &mut worktree,
            "--main" => &mut main,
            _ => return Err(format!("{flag:?} is not known; --worktree and --main are")),
        };
        let path = args.next().map(PathBuf::from).filter(|p| p.is_absolute());
        *place = Some(path.ok_or_else(|| format!("{flag} needs an absolute path"))?);
    }
    match (worktree, main) {
        (None, None) => Ok(None),
        (Some(worktree), Some(main)) => Ok(Some(Bounds::new(
            &worktree,
            &main,
            world.var("TMPDIR").map(PathBuf::from),
            world.var("HOME").map(PathBuf::from),
        ))),
        _ => Err("--worktree and --main belong together".to_owned()),
    }
}

/// For a person's session: lets the program's own commands pass.
///
/// `exe` is the program beside the guard. The command is made to run that very program, so
/// that another one named `orchestra` earlier in PATH is not what was allowed.
#[must_use]
pub fn in_session(event: &HookEvent, exe: &Path) -> Verdict {
    if event.hook_event_name != "PreToolUse" || event.tool_name != "Bash" {
        return Verdict::NoOpinion;
    }
    let (Some(command), Some(exe)) = (event.input_text("command"), exe.to_str()) else {
        return Verdict::NoOpinion;
    };
    let Some(words) = own::words(command) else {
        return Verdict::NoOpinion;
    };
    let looking_only = event.permission_mode == "plan";
    // A path with a quote cannot be put into quotes this simply; such a place gets no help.
    if exe.contains('\'') || !own::is_allowed(&words, looking_only) {
        return Verdict::NoOpinion;
    }
    let mut input = event.tool_input.clone();
    let line = std::iter::once(format!("'{exe}'"))
        .chain(words.iter().skip(1).cloned())
        .collect::<Vec<_>>()
        .join(" ");
    input["command"] = Value::String(line);
    Verdict::Allow { input }
}

/// For an instance: keeps the work inside its worktree.
///
/// An input that cannot be understood is denied: the guard is what stands between an
/// instance and the person's checkout.
#[must_use]
pub fn in_instance(event: &HookEvent, bounds: &Bounds) -> Verdict {
    let cwd = if event.cwd.is_empty() {
        bounds.worktree().to_owned()
    } else {
        event.cwd.clone().into()
    };
    let denial = match event.tool_name.as_str() {
        "Edit" | "Write" | "MultiEdit" => path_denial(event, "file_path", &cwd, bounds),
        "NotebookEdit" => path_denial(event, "notebook_path", &cwd, bounds),
        "Bash" => match event.input_text("command") {
            Some(command) => command_denial(command, &cwd, bounds),
            None => Some("the command is not a text".to_owned()),
        },
        _ => None,
    };
    denial.map_or(Verdict::NoOpinion, Verdict::Deny)
}

fn path_denial(event: &HookEvent, field: &str, cwd: &Path, bounds: &Bounds) -> Option<String> {
    let Some(path) = event.input_text(field) else {
        return Some(format!("the tool's `{field}` is not a text"));
    };
    let real = bounds.resolve(path, cwd);
    if bounds.is_own_settings(&real) {
        return Some(format!(
            "{path} is this worktree's own configuration and stays as it is. \
             Work on the files of your task."
        ));
    }
    let what = match bounds.place(&real) {
        Place::Worktree | Place::Scratch => return None,
        Place::Main => "in the person's main checkout",
        Place::Sibling => "in another task's worktree",
        Place::Outside => "outside your worktree",
    };
    let mut reason = format!("{path} is {what}. ");
    // What the same file is called in the worktree is mostly what was meant.
    match bounds.same_in_worktree(&real) {
        Some(mine) => reason.push_str(&format!("Your copy of it is {}.", mine.display())),
        None => reason.push_str(&format!(
            "Work only inside {}; temporary files may go to {}.",
            bounds.worktree().display(),
            bounds.scratch().display()
        )),
    }
    Some(reason)
}

fn command_denial(command: &str, cwd: &Path, bounds: &Bounds) -> Option<String> {
    let line = match shell::read(command) {
        Ok(line) => line,
        // The shell will not understand it either.
        Err(shell::ShellFault::Unfinished) => return None,
        Err(shell::ShellFault::TooDeep) => {
            return Some("the command is nested too deeply to be looked at; split it".to_owned());
        }
    };
    let mut here = writes::Here::new(cwd, bounds);
    line.iter().find_map(|simple| {
        here.denial(simple)
            .or_else(|| git::denial(simple, &here))
            .or_else(|| others::denial(simple))
    })
}

#[cfg(test)]
mod tests;
