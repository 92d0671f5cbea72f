//! `orchestra-command`: slash commands that are answered without a model.
//!
//! Looking and steering must work at once, cost nothing, and work when the provider does
//! not. So the words after the command go from here to the command line, as words and never
//! as a shell line, and its answer is shown. What merges or removes for good shows first what
//! it would do. Only working on an issue needs a model: there the words are checked, and it is
//! told which commands to run.

mod words;

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use super::Outcome;
use super::edge::World;
use crate::agent::process;
use crate::format::hook_json::HookEvent;
use words::{Job, Meant, meant};

/// How long the command may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// A hook's output of more than 10,000 characters would be shown as a preview only; the text
/// may have so many once it is JSON.
const MAX_SHOWN: usize = 9_000;

/// The whole hook.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    let event = match HookEvent::parse(&world.input) {
        Ok(event) => event,
        Err(fault) => return Outcome::Fault(fault.to_string()),
    };
    let Some(command) = event.own_command().filter(|_| !world.in_instance()) else {
        return Outcome::Silent;
    };
    match meant(command, &event.command_args) {
        None => Outcome::Silent,
        Some(Meant::Say(text)) => Outcome::answered(&text),
        Some(Meant::Run(job)) => Outcome::answered(&run(&job, &event, world)),
        Some(Meant::Tell(text)) => Outcome::context(
            "UserPromptExpansion",
            &format!("{text}\n{}", super::start::attendance(world)),
        ),
    }
}

/// The width for answers: that of the client's terminal, where there is one, without the
/// margin that it puts before them.
fn width() -> usize {
    const MARGIN: usize = 6;
    let columns = rustix::process::getppid()
        .and_then(|client| {
            let path = format!("/proc/{}/fd/1", client.as_raw_nonzero());
            let terminal = std::fs::File::open(path).ok()?;
            rustix::termios::tcgetwinsize(&terminal).ok()
        })
        .map_or(80, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns }.clamp(60, 160) - MARGIN
}

/// Runs the program with these words and gives what it says.
fn run(job: &Job, event: &HookEvent, world: &World) -> String {
    let words = &job.words;
    let program = world.program("orchestra");
    let mut env = world.env.clone();
    env.set("NO_COLOR", "1");
    env.set("COLUMNS", width().to_string());
    let child = process::command(&program, &env)
        .args(words)
        .current_dir(world.folder(&event.cwd))
        .stdin(if job.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return format!("{} could not be started: {error}", program.display()),
    };
    if let (Some(input), Some(mut pipe)) = (job.input.clone(), child.stdin.take()) {
        // Longer than a pipe holds, perhaps; a program that does not read it says why.
        std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    }
    let Some(printed) = process::output_within(&mut child, PATIENCE) else {
        return format!(
            "`orchestra {}` took longer than {} s and was stopped; run it in a terminal",
            words.join(" "),
            PATIENCE.as_secs()
        );
    };
    let [out, err] = [&printed.out, &printed.err]
        .map(|text| String::from_utf8_lossy(text).trim_end().to_owned());
    let would = out.contains("would");
    let text = match (out.is_empty(), err.is_empty()) {
        (false, true) => out,
        (true, false) => err,
        (false, false) => format!("{out}\n{err}"),
        (true, true) => "done".to_owned(),
    };
    let mut text = bounded(&text, words);
    if let Some(then) = job.then.as_ref().filter(|_| printed.success && would) {
        text.push_str(&format!("\n\n{then}"));
    }
    text
}

/// A text that the client shows whole.
fn bounded(text: &str, words: &[String]) -> String {
    let coded = |c: char| match c {
        '"' | '\\' | '\n' | '\t' | '\r' => 2,
        c if c.is_control() => 6,
        _ => 1,
    };
    let mut room = MAX_SHOWN;
    for (at, c) in text.char_indices() {
        let Some(left) = room.checked_sub(coded(c)) else {
            let shown = text.get(..at).unwrap_or_default();
            let whole = shown.rfind('\n').and_then(|end| shown.get(..end));
            return format!(
                "{}\n… `orchestra {}` in a terminal shows all",
                whole.unwrap_or(shown),
                words.join(" ")
            );
        };
        room = left;
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_commands_and_instances_are_left_alone() {
        let mut world = World {
            input:
                br#"{"hook_event_name":"UserPromptExpansion","command_name":"x:orchestra-status"}"#
                    .to_vec(),
            ..World::default()
        };
        assert_eq!(hook(&world), Outcome::Silent);
        world.input = br#"{"hook_event_name":"UserPromptExpansion","command_name":"orchestra-status","command_args":"x"}"#.to_vec();
        assert!(matches!(hook(&world), Outcome::Answer(_)));
        world.env.set("ORCHESTRA_MARK", "t/r/a");
        assert_eq!(hook(&world), Outcome::Silent);
        world.input = b"nonsense".to_vec();
        assert!(matches!(hook(&world), Outcome::Fault(_)));
    }

    #[test]
    fn an_answer_is_never_so_long_that_the_client_cuts_it() {
        let words = ["status".to_owned()];
        assert_eq!(bounded("short\ntext", &words), "short\ntext");
        for text in [
            "line\n".repeat(9_000),
            "\"\u{1b}".repeat(9_000),
            "x".repeat(20_000),
        ] {
            let shown = bounded(&text, &words);
            let answer = Outcome::answered(&shown);
            let Outcome::Answer(json) = answer else {
                panic!("no answer")
            };
            assert!(json.to_string().chars().count() < 10_000);
            assert!(shown.ends_with("in a terminal shows all"));
        }
    }
}
