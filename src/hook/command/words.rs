//! What was typed after a slash command, as words; and help where they make no sense.

use crate::core::id::{OrchestrationId, TaskName};
use crate::core::plan::nearest;

/// What is to be done about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// Run it now and show its answer.
    Run(Job),
    /// Let the model run it: what it is told.
    Tell(String),
    /// Show this; nothing is run.
    Say(String),
}

/// A call of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Job {
    /// Its arguments.
    pub(super) words: Vec<String>,
    /// What it reads on standard input; a text of any length, that is never an argument.
    pub(super) input: Option<String>,
    /// What is said below its answer when it succeeded and said that something `would` be done.
    pub(super) then: Option<String>,
}

/// A slash command and its words.
struct Command {
    name: &'static str,
    /// How it is called, a line each, without its name.
    usage: &'static [&'static str],
    /// The words that may come first, and what they do.
    words: &'static [(&'static str, &'static str)],
}

const COMMANDS: &[Command] = &[
    Command {
        name: "orchestra-status",
        usage: &["[summary|detailed|resources|issues]"],
        words: &[
            (
                "summary",
                "instances at work, how far the whole is, time left",
            ),
            (
                "detailed",
                "each task: steps, changed files, sign of life, cost",
            ),
            ("resources", "memory, CPU, disk, tokens, money"),
            (
                "issues",
                "what is stuck, failed or in conflict, and what to do",
            ),
        ],
    },
    Command {
        name: "orchestra-control",
        usage: &[
            "pause|resume|cancel|retry [TASK]",
            "scale-up|scale-down",
            "answer TASK \"TEXT\"",
            "broadcast \"TEXT\"",
        ],
        words: &[
            ("pause", "nothing new starts; a task stops where it is"),
            ("resume", "goes on"),
            ("cancel", "stops a task or all; work is kept"),
            ("retry", "a new chance for what failed or was set aside"),
            ("scale-up", "one more instance at once"),
            ("scale-down", "one less at once"),
            (
                "answer",
                "a stuck task: its question, a permission, a conflict",
            ),
            ("broadcast", "tells every instance"),
        ],
    },
    Command {
        name: "merge-results",
        usage: &[
            "manual|automatic|review [--task TASK] [--dry-run]",
            "review --diff TASK",
        ],
        words: &[
            (
                "manual",
                "lists what merges and what does not; changes nothing",
            ),
            (
                "automatic",
                "merges, verifies, delivers when green; --yes does it",
            ),
            (
                "review",
                "merges and verifies into a branch; delivers nothing",
            ),
        ],
    },
    Command {
        name: "cleanup-orchestra",
        usage: &["success|failed|all [--dry-run]"],
        words: &[
            ("success", "what delivered tasks left"),
            (
                "failed",
                "what failed and cancelled tasks left; --yes does it",
            ),
            ("all", "both; --yes does it"),
        ],
    },
    Command {
        name: "prune",
        usage: &["[--dry-run]"],
        words: &[("--dry-run", "shows what would go")],
    },
    Command {
        name: "parallel-orchestrate",
        usage: &[
            "ISSUE [--max-workers N] [--timeout SECONDS]",
            "ISSUE --dry-run | --retry",
        ],
        words: &[
            ("--max-workers", "N instances at once"),
            ("--timeout", "SECONDS for one attempt at a task"),
            ("--dry-run", "shows the plan, makes and runs nothing"),
            (
                "--retry",
                "takes only what failed in the last run of the issue",
            ),
        ],
    },
];

/// Reads the words after a command; nothing for a command that is not this hook's.
pub(super) fn meant(name: &str, typed: &str) -> Option<Meant> {
    let command = COMMANDS.iter().find(|c| c.name == name)?;
    let mut words: Vec<&str> = typed.split_whitespace().collect();
    if let [first, ..] = words.as_slice()
        && matches!(*first, "help" | "--help" | "-h" | "?")
    {
        return Some(Meant::Say(command.help()));
    }
    // `--orchestration ID` may stand in front of everything, or at the end of what has no text.
    let mut choice = Vec::new();
    if let ["--orchestration", id, ..] = words.as_slice()
        && is_id(id)
    {
        choice = owned(&["--orchestration", id]);
        words.drain(..2);
    } else if let [.., "--orchestration", id] = words.as_slice()
        && is_id(id)
        && !matches!(words.first(), Some(&("answer" | "broadcast")))
    {
        choice = owned(&["--orchestration", id]);
        words.truncate(words.len() - 2);
    }
    let line = Line {
        command,
        typed,
        words: &words,
        choice,
    };
    Some(match name {
        "orchestra-status" => line.status(),
        "orchestra-control" => line.control(),
        "merge-results" => line.merge(),
        "cleanup-orchestra" => line.cleanup(),
        "prune" => line.prune(),
        _ => line.issue(),
    })
}

/// What was typed after one command.
struct Line<'a> {
    command: &'static Command,
    typed: &'a str,
    words: &'a [&'a str],
    /// Which run, as arguments.
    choice: Vec<String>,
}

impl Line<'_> {
    fn status(&self) -> Meant {
        match self.words {
            [] => self.run(&["status"]),
            [mode] if self.command.knows(mode) => self.run(&["status", mode]),
            _ => self.wrong(),
        }
    }

    fn merge(&self) -> Meant {
        let mut rest = self.words;
        let mode = match rest {
            [] => "manual",
            ["review", "--diff", task] if is_task(task) => {
                return self.run(&["merge", "review", "--diff", task]);
            }
            [mode, more @ ..] if self.command.knows(mode) => {
                rest = more;
                mode
            }
            _ => return self.wrong(),
        };
        let mut words = vec!["merge", mode];
        let (mut dry, mut yes) = (false, false);
        loop {
            rest = match rest {
                [] => break,
                ["--task", task, more @ ..] if is_task(task) => {
                    words.extend(["--task", task]);
                    more
                }
                ["--dry-run", more @ ..] => {
                    dry = true;
                    more
                }
                ["--yes", more @ ..] => {
                    yes = true;
                    more
                }
                _ => return self.wrong(),
            };
        }
        if dry || (mode == "automatic" && !yes) {
            words.push("--dry-run");
            return self.looked(&words, !dry);
        }
        if mode != "manual" {
            // What takes longer goes on without anybody waiting.
            words.extend(["--timeout", "60"]);
        }
        self.run(&words)
    }

    fn cleanup(&self) -> Meant {
        match self.words {
            [] => self.run(&["cleanup", "all", "--dry-run"]),
            [which, "--dry-run"] if self.command.knows(which) => {
                self.run(&["cleanup", which, "--dry-run"])
            }
            ["success"] | ["success", "--yes"] => self.run(&["cleanup", "success"]),
            [which @ ("failed" | "all")] => self.looked(&["cleanup", which, "--dry-run"], true),
            [which @ ("failed" | "all"), "--yes"] => self.run(&["cleanup", which]),
            _ => self.wrong(),
        }
    }

    fn prune(&self) -> Meant {
        match self.words {
            [] | ["--yes"] => self.run(&["prune"]),
            ["--dry-run"] => self.run(&["prune", "--dry-run"]),
            _ => self.wrong(),
        }
    }

    fn control(&self) -> Meant {
        match self.words {
            [verb @ ("pause" | "resume" | "cancel" | "retry")] => self.run(&["control", verb]),
            [verb @ ("pause" | "resume" | "cancel" | "retry"), task] if is_task(task) => {
                self.run(&["control", verb, task])
            }
            [verb @ ("scale-up" | "scale-down")] => self.run(&["control", verb]),
            ["answer", task, _, ..] if is_task(task) => self.text(
                &["control", "answer", task],
                after(self.typed, &["answer", task]),
            ),
            ["broadcast", _, ..] => {
                self.text(&["control", "broadcast"], after(self.typed, &["broadcast"]))
            }
            _ => self.wrong(),
        }
    }

    fn issue(&self) -> Meant {
        let Some((number, mut rest)) = self.words.split_first() else {
            return self.wrong();
        };
        let digits = number.strip_prefix('#').unwrap_or(number);
        if !is_number(digits, 15) || digits == "0" {
            return self.wrong();
        }
        let (mut dry, mut retry) = (false, false);
        let mut settings = String::new();
        loop {
            rest = match rest {
                [] => break,
                [flag @ ("--max-workers" | "--timeout"), n, more @ ..] if is_number(n, 6) => {
                    settings.push_str(&format!(" {flag} {n}"));
                    more
                }
                ["--dry-run", more @ ..] => {
                    dry = true;
                    more
                }
                ["--retry", more @ ..] => {
                    retry = true;
                    more
                }
                _ => return self.wrong(),
            };
        }
        let retrying = if retry { " --retry" } else { "" };
        let lines = if dry {
            format!(
                "Only look: orchestra plan --issue {digits}{retrying} --dry-run\nShow its output. \
                 Nothing is made, and nothing is run after that."
            )
        } else if retry {
            format!("There is a plan already. Run: orchestra run --issue {digits} --retry")
        } else {
            format!(
                "Plan: orchestra plan --issue {digits}\nRun, with the id that the plan names: \
                 orchestra run --orchestration ID{settings}"
            )
        };
        Meant::Tell(format!("Orchestra is to work on issue #{digits}.\n{lines}"))
    }

    fn job(&self, words: &[&str]) -> Job {
        let mut words = owned(words);
        words.extend(self.choice.iter().cloned());
        Job {
            words,
            ..Job::default()
        }
    }

    fn run(&self, words: &[&str]) -> Meant {
        Meant::Run(self.job(words))
    }

    /// A look at what would be done; `ask` says how it is done.
    fn looked(&self, words: &[&str], ask: bool) -> Meant {
        let mut again = self.typed.split_whitespace().collect::<Vec<_>>().join(" ");
        if !again.is_empty() {
            again.push(' ');
        }
        let mut job = self.job(words);
        job.then = ask.then(|| {
            format!(
                "Nothing was done yet. To do it: /{} {again}--yes",
                self.command.name
            )
        });
        Meant::Run(job)
    }

    /// The text goes through standard input, so that it is never taken for a flag and may be of
    /// any length.
    fn text(&self, words: &[&str], text: &str) -> Meant {
        let mut job = self.job(words);
        job.words.extend(owned(&["--", "-"]));
        job.input = Some(text.to_owned());
        Meant::Run(job)
    }

    /// Help on the first word that is wrong.
    fn wrong(&self) -> Meant {
        let command = self.command;
        let unknown = self
            .words
            .iter()
            .find(|word| !command.knows(word) && !matches!(**word, "--yes" | "--dry-run"));
        let mut text = match (unknown, self.words.first()) {
            (None, None) => format!("/{} needs a word.", command.name),
            (None, Some(_)) => format!("/{} does not go together like that.", command.name),
            (Some(word), _) => {
                let known = command.words.iter().map(|(known, _)| *known);
                let near = nearest(word, known)
                    .map(|near| format!(" Did you mean {near}?"))
                    .unwrap_or_default();
                let short: String = word.chars().take(40).filter(|c| !c.is_control()).collect();
                format!("/{} does not know \"{short}\".{near}", command.name)
            }
        };
        text.push('\n');
        text.push_str(&command.help());
        Meant::Say(text)
    }
}

impl Command {
    fn knows(&self, word: &str) -> bool {
        self.words.iter().any(|(known, _)| *known == word)
    }

    fn help(&self) -> String {
        let mut text = String::new();
        for (n, usage) in self.usage.iter().enumerate() {
            let label = if n == 0 { "Usage: " } else { "       " };
            text.push_str(&format!("{label}/{} {usage}\n", self.name));
        }
        for (word, what) in self.words {
            text.push_str(&format!("  {word:<13} {what}\n"));
        }
        text.trim_end().to_owned()
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn is_id(word: &str) -> bool {
    OrchestrationId::parse(word).is_ok()
}

/// The name of a task, or the number of its issue.
fn is_task(word: &str) -> bool {
    TaskName::parse(word).is_ok() || word.strip_prefix('#').is_some_and(|n| is_number(n, 15))
}

fn is_number(word: &str, longest: usize) -> bool {
    !word.is_empty() && word.len() <= longest && word.bytes().all(|b| b.is_ascii_digit())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments of a call, with what it reads after `<` and `?` when it says how to go on.
    fn called(command: &str, typed: &str) -> Option<String> {
        Some(match meant(command, typed)? {
            Meant::Run(job) => {
                let mut text = job.words.join("|");
                if let Some(input) = job.input {
                    text.push_str(&format!("<{input}"));
                }
                if let Some(then) = job.then {
                    text.push_str(&format!("?{}", then.split(": ").nth(1).unwrap()));
                }
                text
            }
            Meant::Tell(text) => format!("tell:{}", text.split_once('\n').unwrap().1),
            Meant::Say(text) => text.lines().next().unwrap().to_owned(),
        })
    }

    #[test]
    fn words_become_words_and_nothing_else() {
        let status = |word: &str| format!("/orchestra-status does not know \"{word}\".");
        let control = |word: &str| format!("/orchestra-control does not know \"{word}\".");
        for (command, typed, words) in [
            ("orchestra-status", "", "status"),
            ("orchestra-status", " detailed ", "status|detailed"),
            (
                "orchestra-status",
                "--orchestration r-1 issues",
                "status|issues|--orchestration|r-1",
            ),
            (
                "orchestra-status",
                "issues --orchestration r-1",
                "status|issues|--orchestration|r-1",
            ),
            (
                "orchestra-status",
                "detaild",
                "/orchestra-status does not know \"detaild\". Did you mean detailed?",
            ),
            (
                "orchestra-status",
                "help",
                "Usage: /orchestra-status [summary|detailed|resources|issues]",
            ),
            ("orchestra-status", "--repo /x", &status("--repo")),
            ("orchestra-status", "$(x)", &status("$(x)")),
            ("orchestra-status", "`x`", &status("`x`")),
            ("orchestra-status", "-rf", &status("-rf")),
            ("merge-results", "", "merge|manual"),
            (
                "merge-results",
                "automatic",
                "merge|automatic|--dry-run?/merge-results automatic --yes",
            ),
            (
                "merge-results",
                "automatic --task a --yes",
                "merge|automatic|--task|a|--timeout|60",
            ),
            ("merge-results", "review", "merge|review|--timeout|60"),
            (
                "merge-results",
                "review --dry-run",
                "merge|review|--dry-run",
            ),
            ("merge-results", "review --diff a", "merge|review|--diff|a"),
            (
                "merge-results",
                "automatic --verify true",
                "/merge-results does not know \"--verify\".",
            ),
            ("cleanup-orchestra", "", "cleanup|all|--dry-run"),
            ("cleanup-orchestra", "success", "cleanup|success"),
            (
                "cleanup-orchestra",
                "all",
                "cleanup|all|--dry-run?/cleanup-orchestra all --yes",
            ),
            ("cleanup-orchestra", "failed --yes", "cleanup|failed"),
            (
                "cleanup-orchestra",
                "all --dry-run",
                "cleanup|all|--dry-run",
            ),
            (
                "cleanup-orchestra",
                "sucess",
                "/cleanup-orchestra does not know \"sucess\". Did you mean success?",
            ),
            ("prune", "", "prune"),
            ("prune", "--dry-run", "prune|--dry-run"),
            ("prune", "task/x", "/prune does not know \"task/x\"."),
            (
                "parallel-orchestrate",
                "#12 --timeout 900 --max-workers 3",
                "tell:Plan: orchestra plan --issue 12\nRun, with the id that the plan names: \
                 orchestra run --orchestration ID --timeout 900 --max-workers 3",
            ),
            (
                "parallel-orchestrate",
                "12 --retry",
                "tell:There is a plan already. Run: orchestra run --issue 12 --retry",
            ),
            (
                "parallel-orchestrate",
                "12 --dry-run",
                "tell:Only look: orchestra plan --issue 12 --dry-run\nShow its output. Nothing is \
                 made, and nothing is run after that.",
            ),
            (
                "parallel-orchestrate",
                "",
                "/parallel-orchestrate needs a word.",
            ),
            (
                "parallel-orchestrate",
                "12; rm -rf /",
                "/parallel-orchestrate does not know \"12;\".",
            ),
            (
                "parallel-orchestrate",
                "12 --max-workers $(x)",
                "/parallel-orchestrate does not know \"12\".",
            ),
            ("orchestra-control", "pause", "control|pause"),
            (
                "orchestra-control",
                "cancel user-auth",
                "control|cancel|user-auth",
            ),
            ("orchestra-control", "retry #12", "control|retry|#12"),
            ("orchestra-control", "cancel ../x", &control("../x")),
            ("orchestra-control", "scale-up", "control|scale-up"),
            ("orchestra-control", "scale-up 99", &control("99")),
            ("orchestra-control", "answer auth", &control("auth")),
            (
                "orchestra-control",
                "answr auth x",
                "/orchestra-control does not know \"answr\". Did you mean answer?",
            ),
            ("orchestra-control", "", "/orchestra-control needs a word."),
        ] {
            assert_eq!(
                called(command, typed).as_deref(),
                Some(words),
                "{command} {typed}"
            );
        }
        assert_eq!(meant("parallel-dev", "x"), None);
        assert_eq!(meant("other", "x"), None);
    }

    /// A terminal of 80 columns shows it without breaking a line.
    #[test]
    fn help_is_narrow() {
        for command in COMMANDS {
            for line in command.help().lines() {
                assert!(line.chars().count() <= 74, "{line}");
            }
        }
    }

    /// What people say is nobody's shell line, nobody's flag, and of any length.
    #[test]
    fn texts_arrive_as_they_were_typed() {
        let long = "long ".repeat(20_000);
        let texts = [
            "yes do",
            "--x",
            "-",
            "--orchestration other",
            "it's \"quoted\" inside",
            "$(touch evil) `touch evil` ${HOME} $((1+1)) !x && rm -rf / ; | > <",
            "two\nlines\r\nand\ttabs  and  blanks",
            "ünï – 🎼 \u{202e}abc\u{0} \\n %s",
            long.trim(),
        ];
        for text in texts {
            for (typed, told) in [
                (format!("answer auth {text}"), "control|answer|auth|--|-"),
                (
                    format!("answer  auth \"{text}\""),
                    "control|answer|auth|--|-",
                ),
                (format!("broadcast '{text}'"), "control|broadcast|--|-"),
            ] {
                let got = called("orchestra-control", &typed).unwrap();
                assert_eq!(got, format!("{told}<{text}"), "{typed:.80}");
            }
        }
        assert_eq!(
            called("orchestra-control", "--orchestration r-1 broadcast --x").unwrap(),
            "control|broadcast|--orchestration|r-1|--|-<--x"
        );
    }
}
