//! `orchestra-command`: slash commands that are answered without a model.
//!
//! Looking and steering must work at once, cost nothing, and work when the provider does
//! not. So the words after the command go from here to the command line, as words and never
//! as a shell line, and its answer is shown. Merging may take long and needs talk: there the
//! words are only checked, and the model runs the command.

use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use super::Outcome;
use super::edge::World;
use crate::agent::process;
use crate::agent::tree::{self, EndPlan, ProcessKey, Tree};
use crate::core::id::OrchestrationId;
use crate::core::id::TaskName;
use crate::format::hook_json::HookEvent;

/// How long the command may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// More than this would be shown as a preview only, characters.
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
        Some(Err(usage)) => Outcome::answered(&usage),
        Some(Ok(Meant::Run(words))) => Outcome::answered(&run(&words, &event, world)),
        Some(Ok(Meant::Tell(words))) => Outcome::context(
            "UserPromptExpansion",
            &format!(
                "The command to run is exactly: orchestra {}",
                words.join(" ")
            ),
        ),
    }
}

/// What is to be done about a command.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    /// Run it now and show its answer.
    Run(Vec<String>),
    /// Tell the model to run it.
    Tell(Vec<String>),
}

/// Reads the words after a command; a sentence on how it is used when they make no sense.
fn meant(command: &str, typed: &str) -> Option<Result<Meant, String>> {
    let mut words: Vec<&str> = typed.split_whitespace().collect();
    // `--orchestration ID` may stand in front of everything.
    let mut choice = Vec::new();
    if let ["--orchestration", id, ..] = words.as_slice()
        && OrchestrationId::parse(id).is_ok()
    {
        choice = vec!["--orchestration".to_owned(), (*id).to_owned()];
        words.drain(..2);
    }
    let with = |name: &str, words: &[&str]| {
        let mut all = vec![name.to_owned()];
        all.extend(words.iter().map(|w| (*w).to_owned()));
        all.extend(choice.clone());
        all
    };
    Some(match command {
        "orchestra-status" => match words.as_slice() {
            [] => Ok(Meant::Run(with("status", &[]))),
            [mode @ ("summary" | "detailed" | "resources" | "issues")] => {
                Ok(Meant::Run(with("status", &[mode])))
            }
            _ => Err("Usage: /orchestra-status [summary|detailed|resources|issues]".to_owned()),
        },
        "merge-results" => match words.as_slice() {
            [] => Ok(Meant::Tell(with("merge", &["manual"]))),
            [mode @ ("automatic" | "manual" | "review")] => Ok(Meant::Tell(with("merge", &[mode]))),
            [mode @ ("automatic" | "manual" | "review"), "--dry-run"] => {
                Ok(Meant::Run(with("merge", &[mode, "--dry-run"])))
            }
            _ => Err("Usage: /merge-results automatic|manual|review [--dry-run]".to_owned()),
        },
        "cleanup-orchestra" => match words.as_slice() {
            [] => Ok(Meant::Run(with("cleanup", &["all", "--dry-run"]))),
            [which @ ("success" | "failed" | "all")] => Ok(Meant::Run(with("cleanup", &[which]))),
            [which @ ("success" | "failed" | "all"), "--dry-run"] => {
                Ok(Meant::Run(with("cleanup", &[which, "--dry-run"])))
            }
            _ => Err("Usage: /cleanup-orchestra success|failed|all [--dry-run]".to_owned()),
        },
        "orchestra-control" => control(typed, &words, &with),
        _ => return None,
    })
}

const CONTROL_USAGE: &str = "Usage: /orchestra-control pause|resume|cancel|retry [TASK]\n       \
     /orchestra-control scale-up|scale-down\n       \
     /orchestra-control answer TASK \"TEXT\"\n       \
     /orchestra-control broadcast \"TEXT\"";

fn control(
    typed: &str,
    words: &[&str],
    with: &dyn Fn(&str, &[&str]) -> Vec<String>,
) -> Result<Meant, String> {
    let usage = || Err(CONTROL_USAGE.to_owned());
    let is_task = |word: &str| TaskName::parse(word).is_ok();
    match words {
        [verb @ ("pause" | "resume" | "cancel" | "retry")] => {
            Ok(Meant::Run(with("control", &[verb])))
        }
        [verb @ ("pause" | "resume" | "cancel" | "retry"), task] if is_task(task) => {
            Ok(Meant::Run(with("control", &[verb, task])))
        }
        [verb @ ("scale-up" | "scale-down")] => Ok(Meant::Run(with("control", &[verb]))),
        ["answer", task, _, ..] if is_task(task) => {
            let text = after(typed, &["answer", task]);
            Ok(Meant::Run(with_text(
                with("control", &["answer", task]),
                text,
            )))
        }
        ["broadcast", _, ..] => {
            let text = after(typed, &["broadcast"]);
            Ok(Meant::Run(with_text(with("control", &["broadcast"]), text)))
        }
        _ => usage(),
    }
}

/// The text goes last, behind `--`, so that it is never taken for a flag.
fn with_text(mut words: Vec<String>, text: &str) -> Vec<String> {
    words.push("--".to_owned());
    words.push(text.to_owned());
    words
}

/// What was typed after these words, without the quotes round it; line breaks and blanks
/// inside stay.
fn after<'a>(typed: &'a str, words: &[&str]) -> &'a str {
    let mut rest = typed;
    for word in words {
        rest = rest
            .find(word)
            .and_then(|at| rest.get(at + word.len()..))
            .unwrap_or_default();
    }
    let rest = rest.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = rest.strip_prefix(quote).and_then(|r| r.strip_suffix(quote)) {
            return inner;
        }
    }
    rest
}

/// Runs the program with these words and gives what it says.
fn run(words: &[String], event: &HookEvent, world: &World) -> String {
    let program = world.program("orchestra");
    let mut env = world.env.clone();
    env.set("NO_COLOR", "1");
    env.set_default("COLUMNS", "100");
    let child = process::command(&program, &env)
        .args(words)
        .current_dir(world.folder(&event.cwd))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return format!("{} could not be started: {error}", program.display()),
    };
    let key = ProcessKey::of(child.id());
    let (tell, told) = mpsc::channel();
    let mut reading = 0;
    let out = child
        .stdout
        .take()
        .map(|o| Box::new(o) as Box<dyn Read + Send>);
    let err = child
        .stderr
        .take()
        .map(|e| Box::new(e) as Box<dyn Read + Send>);
    for (at, pipe) in [out, err].into_iter().enumerate() {
        let Some(mut pipe) = pipe else { continue };
        let tell = tell.clone();
        reading += 1;
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            let _ = tell.send((at, text));
        });
    }
    let mut texts = [Vec::new(), Vec::new()];
    for _ in 0..reading {
        match told.recv_timeout(PATIENCE) {
            Ok((at, text)) => {
                if let Some(place) = texts.get_mut(at) {
                    *place = text;
                }
            }
            Err(_) => {
                let tree = Tree {
                    roots: key.into_iter().collect(),
                    ..Tree::default()
                };
                tree::end(&tree, &EndPlan::default());
                return format!(
                    "`orchestra {}` took longer than {} s and was stopped; run it in a terminal",
                    words.join(" "),
                    PATIENCE.as_secs()
                );
            }
        }
    }
    let _ = child.wait();
    let [out, err] = texts.map(|text| String::from_utf8_lossy(&text).trim_end().to_owned());
    let text = match (out.is_empty(), err.is_empty()) {
        (false, true) => out,
        (true, false) => err,
        (false, false) => format!("{out}\n{err}"),
        (true, true) => "done".to_owned(),
    };
    if text.chars().count() > MAX_SHOWN {
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        return format!(
            "{shown}\n… `orchestra {}` in a terminal shows all",
            words.join(" ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_words(command: &str, typed: &str) -> Option<String> {
        match meant(command, typed)? {
            Ok(Meant::Run(words)) => Some(words.join("|")),
            Ok(Meant::Tell(words)) => Some(format!("tell:{}", words.join("|"))),
            Err(usage) => Some(usage.split(' ').next().unwrap().to_owned()),
        }
    }

    #[test]
    fn words_become_words_and_nothing_else() {
        let text = "answer auth \"Use OAuth; $(rm -rf x)\n`it's` -- \\\"so\\\"\"";
        for (command, typed, words) in [
            ("orchestra-status", "", "status"),
            ("orchestra-status", " detailed ", "status|detailed"),
            (
                "orchestra-status",
                "--orchestration r-1 issues",
                "status|issues|--orchestration|r-1",
            ),
            ("orchestra-status", "detailed; rm x", "Usage:"),
            ("orchestra-status", "--repo /x", "Usage:"),
            ("orchestra-status", "$(x)", "Usage:"),
            ("merge-results", "", "tell:merge|manual"),
            ("merge-results", "automatic", "tell:merge|automatic"),
            (
                "merge-results",
                "review --dry-run",
                "merge|review|--dry-run",
            ),
            ("merge-results", "automatic --verify true", "Usage:"),
            ("cleanup-orchestra", "", "cleanup|all|--dry-run"),
            ("cleanup-orchestra", "success", "cleanup|success"),
            (
                "cleanup-orchestra",
                "all --dry-run",
                "cleanup|all|--dry-run",
            ),
            ("cleanup-orchestra", "everything", "Usage:"),
            ("orchestra-control", "pause", "control|pause"),
            (
                "orchestra-control",
                "cancel user-auth",
                "control|cancel|user-auth",
            ),
            ("orchestra-control", "cancel ../x", "Usage:"),
            ("orchestra-control", "cancel a b", "Usage:"),
            ("orchestra-control", "scale-up", "control|scale-up"),
            ("orchestra-control", "scale-up 99", "Usage:"),
            ("orchestra-control", "answer auth", "Usage:"),
            (
                "orchestra-control",
                "answer auth yes do",
                "control|answer|auth|--|yes do",
            ),
            (
                "orchestra-control",
                "broadcast 'use  tabs'",
                "control|broadcast|--|use  tabs",
            ),
            (
                "orchestra-control",
                "--orchestration r-1 broadcast --x",
                "control|broadcast|--orchestration|r-1|--|--x",
            ),
            ("orchestra-control", "", "Usage:"),
            ("orchestra-control", "explode", "Usage:"),
            (
                "orchestra-control",
                text,
                "control|answer|auth|--|Use OAuth; $(rm -rf x)\n`it's` -- \\\"so\\\"",
            ),
        ] {
            assert_eq!(
                run_words(command, typed).as_deref(),
                Some(words),
                "{command} {typed}"
            );
        }
        assert_eq!(run_words("other", "x"), None);
    }

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
}
