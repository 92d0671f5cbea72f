//! `orchestra-guard`: asked before tool calls, in two places.
//!
//! In a person's session ([`in_session`]) it lets this program's own commands pass, and only
//! those of one exact shape: see [`own`]. It never denies anything there.
//!
//! In an instance ([`in_instance`]) it keeps the work inside the worktree and the scratch
//! folder. File tools are decided by the resolved path. A shell line is read ([`shell`]) and
//! gone through as the shell would ([`walk`]), with the folders it may be in and what its
//! variables may hold ([`value`]); [`programs`], [`git`] and [`code`] know what commands do with
//! what they are told. What is not understood, and where a write leads that is only known at
//! run time, is denied with a reason. **What a program does by itself nobody sees here**: a
//! build script, a test, a program whose text is a file. Deny rules and, if it is configured,
//! a sandbox of the operating system stand behind it.

pub mod code;
pub mod flow;
pub mod git;
pub mod others;
pub mod own;
pub mod paths;
pub mod programs;
pub mod servers;
pub mod shell;
pub mod value;
pub mod walk;

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
        (Some(bounds), Ok(event)) => without_panic(|| in_instance(&event, &bounds)),
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

/// A fault in the guard itself is no way out.
fn without_panic(decide: impl FnOnce() -> Verdict) -> Verdict {
    let decided = std::panic::catch_unwind(std::panic::AssertUnwindSafe(decide));
    decided.unwrap_or_else(|_| {
        Verdict::Deny(
            "the guard of this worktree failed at this call; write it more plainly.".to_owned(),
        )
    })
}

/// The places that an instance's guard is told; none in a session.
fn arguments(world: &World) -> Result<Option<Bounds>, String> {
    let (mut worktree, mut main, mut scratch) = (None, None, None);
    let mut args = world.args.iter();
    while let Some(flag) = args.next() {
        let place = match flag.as_str() {
            "--worktree" => &mut worktree,
            "--main" => &mut main,
            "--scratch" => &mut scratch,
            _ => {
                return Err(format!(
                    "{flag:?} is not known; --worktree, --main and --scratch are"
                ));
            }
        };
        let path = args.next().map(PathBuf::from).filter(|p| p.is_absolute());
        *place = Some(path.ok_or_else(|| format!("{flag} needs an absolute path"))?);
    }
    match (worktree, main) {
        (None, None) if scratch.is_none() => Ok(None),
        (Some(worktree), Some(main)) => {
            // An instance that was started before it had a scratch folder of its own.
            let scratch = scratch.or_else(|| world.var("TMPDIR").map(PathBuf::from));
            Ok(Some(Bounds::new(
                &worktree,
                &main,
                scratch,
                world.env.clone(),
            )))
        }
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
        "" => Some("the call names no tool".to_owned()),
        "Edit" | "Write" | "MultiEdit" => path_denial(event, "file_path", &cwd, bounds),
        "NotebookEdit" => path_denial(event, "notebook_path", &cwd, bounds),
        "Bash" | "Monitor" => match event.input_text("command") {
            Some(command) => command_denial(command, &cwd, bounds)
                .or_else(|| unsandboxed(event).map(str::to_owned)),
            None if event.tool_name == "Monitor" && event.tool_input.get("command").is_none() => {
                None
            }
            None => Some("the command is not a text".to_owned()),
        },
        "PowerShell" | "REPL" => Some(format!(
            "what {} would do cannot be checked. Use Bash.",
            event.tool_name
        )),
        "EnterWorktree" | "ExitWorktree" => {
            Some("worktrees are made and removed for you; stay in your own.".to_owned())
        }
        "Agent" | "Task" => event
            .input_text("isolation")
            .map(|_| "an agent of yours works in your worktree; leave `isolation` out.".to_owned()),
        name => name
            .strip_prefix("mcp__")
            .and_then(|name| servers::denial(name, &event.tool_input, &cwd, bounds)),
    };
    denial.map_or(Verdict::NoOpinion, Verdict::Deny)
}

/// A call that asks to be run outside the client's sandbox.
fn unsandboxed(event: &HookEvent) -> Option<&'static str> {
    let asked = event.tool_input.get("dangerouslyDisableSandbox")?;
    (!matches!(asked, Value::Bool(false) | Value::Null)).then_some(
        "leave `dangerouslyDisableSandbox` out: an instance works inside its worktree only.",
    )
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
        Place::Worktree | Place::Scratch | Place::Device => return None,
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
    walk::Walk::new(cwd, bounds).text(command).err()
}

#[cfg(test)]
mod tests;
