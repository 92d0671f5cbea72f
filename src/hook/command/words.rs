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
    // `--orchestration ID` may stand anywhere, but not in what is a text to the end.
    let texts = ["answer", "broadcast"];
    let at = words
        .iter()
        .take_while(|word| !texts.contains(word))
        .position(|word| *word == "--orchestration");
    let mut choice = Vec::new();
    let mut dropped = 0;
    if let Some(at) = at
        && let Some(id) = words.get(at + 1).filter(|id| is_id(id))
    {
        choice = owned(&["--orchestration", id]);
        words.drain(at..at + 2);
        dropped = 2;
    }
    let line = Line {
        command,
        typed,
        words: &words,
        choice,
        dropped,
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
    /// How many words of what was typed those were.
    dropped: usize,
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
            ["answer", task, _, ..] if is_task(task) => {
                let text = after(self.typed, self.dropped + 2);
                self.text(&["control", "answer", task], text)
            }
            ["broadcast", _, ..] => self.text(
                &["control", "broadcast"],
                after(self.typed, self.dropped + 1),
            ),
            ["answer"] => self.lacks("answer needs a task and a text"),
            ["answer", task] if is_task(task) => self.lacks("answer needs a text"),
            ["broadcast"] => self.lacks("broadcast needs a text"),
            _ => self.wrong(),
        }
    }

    fn issue(&self) -> Meant {
        let Some((number, mut rest)) = self.words.split_first() else {
            return self.lacks("the number of an issue is needed");
        };
        let Some(digits) = issue_number(number) else {
            return self.wrong();
        };
        if !self.choice.is_empty() {
            return self.lacks("it begins a run, or tries the issue's last one again");
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
            let mut text =
                format!("There is a plan already. Run: orchestra run --issue {digits} --retry");
            if !settings.is_empty() {
                text.push_str(&format!(
                    "\nTell the person: a run that is tried again keeps its settings, so{settings} \
                     changes nothing; /orchestra-control scale-up and scale-down do."
                ));
            }
            text
        } else {
            format!(
                "Plan: orchestra plan --issue {digits}\nRun, with the id that the plan names: \
                 orchestra run --orchestration ID{settings}"
            )
        };
        Meant::Tell(format!("Orchestra is to work on issue #{digits}.\n{lines}"))
    }

    fn is_issue(&self, word: &str) -> bool {
        self.command.name == "parallel-orchestrate" && issue_number(word).is_some()
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

    /// Help where something is missing.
    fn lacks(&self, what: &str) -> Meant {
        let command = self.command;
        Meant::Say(format!("/{}: {what}.\n{}", command.name, command.help()))
    }

    /// Help on the first word that is wrong.
    fn wrong(&self) -> Meant {
        let command = self.command;
        let unknown = self.words.iter().enumerate().find(|(at, word)| {
            !(command.knows(word) || command.takes(word) || *at == 0 && self.is_issue(word))
        });
        let unknown = unknown.map(|(_, word)| word);
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

    /// Whether a flag is one of this command's, or `--yes`.
    fn takes(&self, word: &str) -> bool {
        let flags = |usage: &&str| {
            usage
                .split(|c: char| !(c.is_alphanumeric() || c == '-'))
                .any(|flag| flag == word)
        };
        word == "--yes" || (word.starts_with("--") && self.usage.iter().any(flags))
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

/// The digits of an issue's number, written with or without `#`.
fn issue_number(word: &str) -> Option<&str> {
    let digits = word.strip_prefix('#').unwrap_or(word);
    (is_number(digits, 15) && digits.bytes().any(|b| b != b'0')).then_some(digits)
}

fn is_number(word: &str, longest: usize) -> bool {
    !word.is_empty() && word.len() <= longest && word.bytes().all(|b| b.is_ascii_digit())
}

/// What was typed after so many words, without the quotes round it; line breaks and blanks
/// inside stay.
fn after(typed: &str, words: usize) -> &str {
    let mut rest = typed.trim_start();
    for _ in 0..words {
        rest = rest
            .split_once(char::is_whitespace)
            .map_or("", |(_, rest)| rest.trim_start());
    }
    let rest = rest.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = rest.strip_prefix(quote).and_then(|r| r.strip_suffix(quote))
            && !ends_inside(inner, quote)
        {
            return inner;
        }
    }
    rest
}

/// Whether the first quote inside ends what began before it, as in `"yes" and "no"`; in
/// `"say "no" to it"` it begins something.
fn ends_inside(inner: &str, quote: char) -> bool {
    inner.split_once(quote).is_some_and(|(before, after)| {
        before.ends_with(|c: char| !c.is_whitespace()) && after.starts_with(char::is_whitespace)
    })
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
            // What it says of how to go on is what it takes.
            (
                "merge-results",
                "automatic --orchestration r-1",
                "merge|automatic|--dry-run|--orchestration|r-1\
                 ?/merge-results automatic --orchestration r-1 --yes",
            ),
            (
                "merge-results",
                "automatic --orchestration r-1 --yes",
                "merge|automatic|--timeout|60|--orchestration|r-1",
            ),
            (
                "merge-results",
                "manual --task ../x",
                "/merge-results does not know \"../x\".",
            ),
            (
                "merge-results",
                "manual --task",
                "/merge-results does not go together like that.",
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
                "/parallel-orchestrate: the number of an issue is needed.",
            ),
            (
                "parallel-orchestrate",
                "12 --retry --max-workers 3",
                "tell:There is a plan already. Run: orchestra run --issue 12 --retry\nTell the \
                 person: a run that is tried again keeps its settings, so --max-workers 3 changes \
                 nothing; /orchestra-control scale-up and scale-down do.",
            ),
            (
                "parallel-orchestrate",
                "12 --orchestration r-1",
                "/parallel-orchestrate: it begins a run, or tries the issue's last one again.",
            ),
            (
                "parallel-orchestrate",
                "0",
                "/parallel-orchestrate does not know \"0\".",
            ),
            (
                "parallel-orchestrate",
                "12; rm -rf /",
                "/parallel-orchestrate does not know \"12;\".",
            ),
            (
                "parallel-orchestrate",
                "12 --max-workers $(x)",
                "/parallel-orchestrate does not know \"$(x)\".",
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
            (
                "orchestra-control",
                "answer auth",
                "/orchestra-control: answer needs a text.",
            ),
            (
                "orchestra-control",
                "broadcast",
                "/orchestra-control: broadcast needs a text.",
            ),
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
            "answer auth auth",
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
        for (typed, told) in [
            ("\"yes\" and \"no\"", "\"yes\" and \"no\""),
            ("'this' or 'that'", "'this' or 'that'"),
            ("'it's fine'", "it's fine"),
            ("\"", "\""),
            ("\"open", "\"open"),
        ] {
            assert_eq!(
                called("orchestra-control", &format!("answer auth {typed}")).unwrap(),
                format!("control|answer|auth|--|-<{told}")
            );
        }
        // Neither an id nor a task's name is taken for the words before the text.
        assert_eq!(
            called("orchestra-control", "--orchestration answer-a answer a a b").unwrap(),
            "control|answer|a|--orchestration|answer-a|--|-<a b"
        );
        assert_eq!(
            called("orchestra-control", "--orchestration r-1 broadcast --x").unwrap(),
            "control|broadcast|--orchestration|r-1|--|-<--x"
        );
    }
}
