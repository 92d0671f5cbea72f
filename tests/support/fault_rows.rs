//! The fault table: what can happen to an instance, what a person sees of it, what is done
//! about it, and how it ends. Tests play every row with the scripted agent and, where it is
//! marked so, with the real client; `docs/faults.md` is made out of the same rows.
//!
//! A row is played in one run with two tasks. To `once` the fault happens one time, to `ever`
//! it happens in every attempt. Both commit something before it, and have an uncommitted file.

use std::path::PathBuf;

use orchestra::core::attempt::{AttemptEnd, FailureClass, StartMode};
use orchestra::core::record::Record;
use orchestra::view::log_line::class_name;

/// How one task fares.
pub(crate) struct Course {
    /// How its attempts fail; none when none does.
    pub(crate) class: Option<FailureClass>,
    /// What a line of the log says about it: the detail of the failure, else anything. Empty:
    /// nothing is said, since nothing has to be.
    pub(crate) says: &'static str,
    /// How its attempts begin.
    pub(crate) starts: &'static [StartMode],
    /// Whether it gets done.
    pub(crate) done: bool,
}

/// One fault.
pub(crate) struct Row {
    /// The name of its test.
    pub(crate) name: &'static str,
    /// What happens, for people.
    pub(crate) fault: &'static str,
    /// It happens one time.
    pub(crate) once: Course,
    /// It happens whenever it can.
    pub(crate) ever: Course,
    /// What `status issues` names as a way out, beyond what it names for every failed task.
    pub(crate) remedy: &'static str,
    /// Whether the real client is put through it as well.
    pub(crate) real: bool,
}

const F: StartMode = StartMode::Fresh;
const R: StartMode = StartMode::Resume;

const fn fails(class: FailureClass, says: &'static str, starts: &'static [StartMode]) -> Course {
    Course {
        class: Some(class),
        says,
        starts,
        done: false,
    }
}

const fn recovers(class: FailureClass, says: &'static str, starts: &'static [StartMode]) -> Course {
    Course {
        class: Some(class),
        says,
        starts,
        done: true,
    }
}

/// The attempt goes on, with a word about it or without.
const fn goes_on(says: &'static str) -> Course {
    Course {
        class: None,
        says,
        starts: &[F],
        done: true,
    }
}

/// The row of a fault that ends each attempt in the same way.
const fn each(
    name: &'static str,
    fault: &'static str,
    class: FailureClass,
    says: &'static str,
    starts: [&'static [StartMode]; 2],
    remedy: &'static str,
) -> Row {
    Row {
        name,
        fault,
        once: recovers(class, says, starts[0]),
        ever: fails(class, says, starts[1]),
        remedy,
        real: false,
    }
}

const fn harmless(name: &'static str, fault: &'static str, says: &'static str) -> Row {
    Row {
        name,
        fault,
        once: goes_on(says),
        ever: goes_on(says),
        remedy: "",
        real: false,
    }
}

const fn nudged(
    name: &'static str,
    fault: &'static str,
    says: [&'static str; 2],
    remedy: &'static str,
) -> Row {
    Row {
        name,
        fault,
        once: goes_on(says[0]),
        ever: fails(FailureClass::Hang, says[1], &[F]),
        remedy,
        real: false,
    }
}

const fn really(row: Row) -> Row {
    Row { real: true, ..row }
}

/// The table.
pub(crate) const ROWS: &[Row] = &[
    really(each(
        "storm_429",
        "The provider limits the rate (429), again and again",
        FailureClass::Overload,
        "the provider answered 429",
        [&[F, R], &[F, R, R]],
        "try again once the provider answers",
    )),
    really(each(
        "overload_529",
        "The provider is overloaded (529) for longer than the client tries",
        FailureClass::Overload,
        "the provider answered 529",
        [&[F, R], &[F, R, R]],
        "try again once the provider answers",
    )),
    really(Row {
        name: "login_401",
        fault: "The key or the login is refused (401)",
        once: fails(
            FailureClass::Authentication,
            "the provider answered 401",
            &[F],
        ),
        ever: fails(
            FailureClass::Authentication,
            "the provider answered 401",
            &[F],
        ),
        remedy: "log in (start claude, then /login) or set a key that is valid",
        real: true,
    }),
    really(each(
        "usage_limit",
        "The account's usage limit is reached, and its reset is told",
        FailureClass::UsageLimit,
        "usage limit reached",
        [&[F, R], &[F, R, R]],
        "try again after the limit's reset",
    )),
    Row {
        name: "usage_limit_far",
        fault: "The same, and the reset is further away than `usage_limit_wait_seconds`",
        once: fails(FailureClass::UsageLimit, "usage limit reached", &[F]),
        ever: fails(FailureClass::UsageLimit, "usage limit reached", &[F]),
        remedy: "try again after the limit's reset",
        real: false,
    },
    really(each(
        "connection_reset",
        "The connection to the provider breaks in the middle of an answer",
        FailureClass::TransientApi,
        "the provider could not be used",
        [&[F, R], &[F, R, R]],
        "try again once the provider answers",
    )),
    really(each(
        "answer_without_end",
        "An answer of the provider stops without its end",
        FailureClass::TransientApi,
        "the provider could not be used",
        [&[F, R], &[F, R, R]],
        "try again once the provider answers",
    )),
    each(
        "output_ends",
        "The client's stream stops without an end while its process lives",
        FailureClass::Crash,
        "its output ended without a result while its process went on",
        [&[F, R], &[F, R]],
        "",
    ),
    each(
        "hang_at_start",
        "The client never says a word",
        FailureClass::Hang,
        "since its start",
        [&[F, F], &[F, F]],
        "provider_silence_seconds and tool_silence_seconds",
    ),
    really(nudged(
        "hang_before_result",
        "Silence before the result: the provider says nothing any more",
        [
            "while it waited for the provider; interrupted",
            "while it waited for the provider",
        ],
        "provider_silence_seconds and tool_silence_seconds",
    )),
    each(
        "hang_deaf",
        "The same, and the client does not hear an interrupt",
        FailureClass::Hang,
        "while it waited for the provider",
        [&[F, R], &[F, R]],
        "provider_silence_seconds and tool_silence_seconds",
    ),
    really(harmless(
        "hang_after_result",
        "The client does not end after its result",
        "",
    )),
    really(each(
        "crash_segv",
        "The client crashes (SIGSEGV)",
        FailureClass::Crash,
        "the agent ended without a result: ended by signal 11",
        [&[F, R], &[F, R, F]],
        "",
    )),
    really(each(
        "crash_kill",
        "The client is killed (SIGKILL)",
        FailureClass::Crash,
        "the agent ended without a result: killed by SIGKILL",
        [&[F, R], &[F, R, F]],
        "",
    )),
    each(
        "supervisor_killed",
        "The supervisor is killed (SIGKILL)",
        FailureClass::SupervisorLost,
        "",
        [&[F, R], &[F, R, F]],
        "",
    ),
    each(
        "memory_client",
        "The client uses more memory than `max_memory_mb`",
        FailureClass::OutOfMemory,
        "100 MiB are allowed",
        [&[F, R], &[F, R]],
        "max_memory_mb of a new run allows more",
    ),
    really(harmless(
        "memory_tool",
        "A process below the client uses more memory than `max_memory_mb`",
        "was ended for want of memory",
    )),
    each(
        "exit_0",
        "The client ends with exit code 0 and has done nothing",
        FailureClass::BadResult,
        "the agent ended without a result: exit code 0",
        [&[F, F], &[F, F, F]],
        "",
    ),
    really(each(
        "prompt_refused",
        "The client does not take the prompt (a hook blocks it)",
        FailureClass::BadResult,
        "the client did not take the prompt",
        [&[F, F], &[F, F, F]],
        "",
    )),
    really(Row {
        name: "done_uncommitted",
        fault: "It says that it is done, with uncommitted work",
        once: goes_on("sent back"),
        ever: fails(
            FailureClass::GateNotPassed,
            "not committed: ever-draft",
            &[F, F],
        ),
        remedy: "",
        real: true,
    }),
    really(Row {
        name: "done_red",
        fault: "It says that it is done, and the verify command is red",
        once: goes_on("sent back"),
        ever: fails(
            FailureClass::GateNotPassed,
            "the verify command is not green",
            &[F, F],
        ),
        remedy: "",
        real: true,
    }),
    really(each(
        "endless_output",
        "Output without end",
        FailureClass::Timeout,
        "not done within",
        [&[F, F], &[F, F]],
        "timeout_seconds of a new run allows more",
    )),
    really(harmless("huge_line", "100 MB in one line", "")),
    really(harmless("invalid_utf8", "Output that is not UTF-8", "")),
    really(harmless(
        "unknown_events",
        "Events in the stream that nobody knows, and lines that are no JSON",
        "",
    )),
    really(harmless(
        "tool_busy",
        "A tool call of any length in which something happens (seconds here; ten minutes in the pure tests of `core/liveness.rs`)",
        "",
    )),
    really(nudged(
        "tool_idle",
        "A tool call in which nothing happens",
        [
            "inside Bash: tail -f /dev/null; interrupted",
            "inside Bash: tail -f /dev/null",
        ],
        "provider_silence_seconds and tool_silence_seconds",
    )),
    really(harmless(
        "daemon",
        "A daemon is left behind that forgot its environment",
        "",
    )),
    Row {
        name: "disk_full",
        fault: "The disk of the worktrees is full",
        once: goes_on("sent back"),
        ever: fails(FailureClass::GateNotPassed, "is full", &[F, F]),
        remedy: "",
        real: true,
    },
];

impl Row {
    /// The exit code of a run of which half of the tasks are enough.
    pub(crate) fn exit(&self) -> u8 {
        match (self.once.done, self.ever.done) {
            (true, true) => 0,
            (false, false) => 1,
            _ => 5,
        }
    }
}

/// The words of a text whose lines are broken anywhere between words.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const HEAD: &str = "# Faults

What can happen to an instance, what is done about it, and what you see of it. Every row is a test:
`cargo test --test it fault_table` plays it with the scripted agent, and `cargo test --test real_client
fault_table` the rows marked with `*` with the real client. This page is made out of the table in
`tests/support/fault_rows.rs`, and a test compares both.

Each row is one run with two tasks. To one of them the fault happens one time, to the other one in
every attempt (three attempts at most, fewer where more of them show nothing new). Before the fault both
have committed something and have a file that is not committed.

For every row it is tested that

- the run ends by itself, with the exit code that is named (half of the tasks are enough for it here:
  `success_percent = 50`), and no process is left, daemons included;
- what is said stands in `orchestration.log`, after the words for the class of the failure; when the
  task failed, `orchestra status issues` says it too, with `orchestra control retry TASK` and the way
  out that is named here;
- nothing is lost: what gets done is delivered with all of the work from before the fault, and what
  failed keeps its branch with its commits, its worktree with its uncommitted files, and a backup of
  both (`orchestra restore`).

The first of two things that are said is for the fault that happens once. A new run's settings are meant
where a way out names a setting: a run keeps the ones that it began with.

| what happens | what is said | when it happens once | when it stays | exit | way out |
|---|---|---|---|---|---|
";

const TAIL: &str = "
A supervisor that is killed says nothing any more; the conductor says it. Limits on silence are
`startup_silence_seconds`, `provider_silence_seconds`, `tool_silence_seconds` and
`closing_silence_seconds`; how often is tried, `max_attempts` (the task's failures) and `outages` (the
provider's). When the disk on which a run keeps its state is full, that is nobody's failure: the run
waits until there is room again.
";

/// The page for people.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for row in ROWS {
        let mut said = Vec::new();
        for course in [&row.once, &row.ever] {
            let words = match (course.class, course.says) {
                (None, "") => continue,
                (None, says) => format!("`{says}`"),
                (Some(class), "") => format!("`{}`", class_name(class)),
                (Some(class), says) => format!("`{}`: `{says}`", class_name(class)),
            };
            if !said.contains(&words) {
                said.push(words);
            }
        }
        let said = match said.is_empty() {
            true => "nothing".to_owned(),
            false => said.join("; "),
        };
        page.push_str(&format!(
            "| {}{} | {said} | {} | {} | {} | {} |\n",
            row.fault,
            if row.real { " *" } else { "" },
            fate(&row.once),
            fate(&row.ever),
            row.exit(),
            row.remedy,
        ));
    }
    page + TAIL
}

/// How a task fares, for people.
fn fate(course: &Course) -> String {
    let again: Vec<&str> = course.starts[1..]
        .iter()
        .map(|start| match start {
            StartMode::Fresh => "a new session",
            StartMode::Resume => "the same session",
        })
        .collect();
    let tried = again.join(", then ");
    match (course.done, tried.as_str()) {
        (true, "") => "goes on in the same turn or session".to_owned(),
        (true, tried) => format!("{tried} gets it done"),
        (false, "") if course.class == Some(FailureClass::Hang) => {
            "nudged at most three times; then the attempt fails".to_owned()
        }
        (false, "") => "fails at once".to_owned(),
        (false, tried) => format!("{tried}; then it fails"),
    }
}

/// What a run left for people and for those who look closer.
pub(crate) struct Trace<'a> {
    pub(crate) records: &'a [Record],
    pub(crate) log: &'a str,
    /// What `status issues` printed.
    pub(crate) issues: &'a str,
    /// git in the repository.
    pub(crate) git: &'a dyn Fn(&[&str]) -> Result<String, String>,
    /// Where a task's worktree is, or was.
    pub(crate) worktree: &'a dyn Fn(&str) -> PathBuf,
    /// The fault is the first thing that happens: there is no work before it.
    pub(crate) nothing_before: bool,
}

impl Trace<'_> {
    /// Fails the test unless all is as the row says.
    #[track_caller]
    pub(crate) fn check(&self, row: &Row) {
        for (task, course) in [("once", &row.once), ("ever", &row.ever)] {
            self.check_seen(task, course);
            self.check_attempts(task, course);
            self.check_kept(row, task, course);
        }
        if !row.ever.done {
            assert!(joined(self.issues).contains(row.remedy), "{}", self.issues);
        }
    }

    /// What a person sees: lines of the log, and what `status issues` says of what failed.
    #[track_caller]
    fn check_seen(&self, task: &str, course: &Course) {
        let (log, issues) = (self.log, self.issues);
        assert!(!log.contains("panicked"), "{log}");
        let mut lines = vec![course.says.to_owned()];
        if let Some(class) = course.class {
            lines.push(format!("attempt failed ({}): ", class_name(class)));
            if !course.done {
                lines.push(format!("FAILED ({}): ", class_name(class)));
            }
        }
        let own = format!(" {task}: ");
        for line in lines {
            let mut of_task = log.lines().filter(|l| l.contains(&own));
            assert!(
                of_task.any(|l| l.contains(&line)),
                "no line of {task} says {line:?}:\n{log}"
            );
        }
        let failed = format!("{task} - FAILED");
        assert_eq!(issues.contains(&failed), !course.done, "{issues}\n{log}");
        if !course.done {
            let said = joined(issues);
            assert!(said.contains(course.says), "{}: {said}", course.says);
            let retry = format!("orchestra control retry {task}");
            assert!(said.contains(&retry), "{said}");
        }
    }

    /// Each attempt begins as it should: a session that goes on is the same, a new one is
    /// another. Every failure is of the class.
    #[track_caller]
    fn check_attempts(&self, name: &str, course: &Course) {
        let (mut last, mut starts) = (None, Vec::new());
        for record in self.records {
            match record {
                Record::AttemptStarted {
                    task,
                    session,
                    start,
                    ..
                } if task.as_str() == name => {
                    assert_eq!(last == Some(*session), *start == R, "{name}");
                    last = Some(*session);
                    starts.push(*start);
                }
                Record::AttemptEnded {
                    task,
                    end: AttemptEnd::Failed { class, detail },
                    ..
                } if task.as_str() == name => {
                    assert_eq!(Some(*class), course.class, "{name}: {detail}");
                }
                _ => {}
            }
        }
        assert_eq!(starts, course.starts, "{name}\n{}", self.log);
    }

    /// What is done is delivered with all that was done before the fault; what failed is where
    /// it was: commits on its branch, the rest in its worktree; and in backups.
    #[track_caller]
    fn check_kept(&self, row: &Row, task: &str, course: &Course) {
        let (first, draft) = (format!("{task}-first"), format!("{task}-draft"));
        let holds = |rev: &str, path: &str, text: &str| {
            (self.git)(&["show", &format!("{rev}:{path}")]).is_ok_and(|t| t.trim_end() == text)
        };
        let tree = (self.worktree)(task);
        assert_eq!(tree.exists(), !course.done, "{}", self.log);
        if course.done {
            assert!(holds("HEAD", &first, "first"), "{}", self.log);
            assert!(holds("HEAD", &draft, "draft"), "{}", self.log);
            return;
        }
        if self.nothing_before {
            return;
        }
        assert!(
            holds(&format!("task/{task}"), &first, "first"),
            "{}",
            self.log
        );
        // Under a red verify command everything is committed.
        let kept = std::fs::read_to_string(tree.join(&draft)).unwrap_or_default();
        assert_eq!(kept, "draft\n", "{}: {}", row.name, self.log);
        let refs = [
            "for-each-ref",
            "--format=%(refname)",
            "refs/orchestra/backup",
        ];
        let backups = (self.git)(&refs).unwrap();
        let own = format!("/{task}/");
        let mut own = backups.lines().filter(|name| name.contains(&own));
        assert!(
            own.any(|name| holds(name, &draft, "draft") && holds(name, &first, "first")),
            "{backups}"
        );
    }
}
