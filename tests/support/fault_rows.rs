//! The fault table: what can happen to an instance, what a person sees of it, what is done
//! about it, and how it ends. Tests play every row with the scripted agent and, where it is
//! marked so, with the real client; `docs/faults.md` is made out of the same rows.
//!
//! A row is played in one run with two tasks. To `once` the fault happens one time, to `ever`
//! it happens in every attempt. Both commit something before it, and have an uncommitted file.

use orchestra::core::attempt::{FailureClass, StartMode};
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
        ever: fails(FailureClass::Hang, says[1], &[F, R]),
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
        "",
    )),
    really(each(
        "overload_529",
        "The provider is overloaded (529) for longer than the client tries",
        FailureClass::Overload,
        "the provider answered 529",
        [&[F, R], &[F, R, R]],
        "",
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
        remedy: "log in",
        real: true,
    }),
    really(each(
        "connection_reset",
        "The connection to the provider breaks in the middle of an answer",
        FailureClass::TransientApi,
        "the provider could not be used",
        [&[F, R], &[F, R, R]],
        "",
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
        "",
    ),
    really(nudged(
        "hang_before_result",
        "Silence before the result: the provider says nothing any more",
        [
            "while it waited for the provider; interrupted",
            "while it waited for the provider",
        ],
        "",
    )),
    each(
        "hang_deaf",
        "The same, and the client does not hear an interrupt",
        FailureClass::Hang,
        "while it waited for the provider",
        [&[F, R], &[F, R]],
        "",
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
        "are allowed",
        [&[F, R], &[F, R]],
        "max_memory_mb",
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
    each(
        "prompt_refused",
        "The client does not take the prompt (a hook blocks it)",
        FailureClass::BadResult,
        "the client did not take the prompt",
        [&[F, F], &[F, F, F]],
        "",
    ),
    really(Row {
        name: "done_uncommitted",
        fault: "It says that it is done, with uncommitted work",
        once: goes_on("sent back"),
        ever: fails(FailureClass::GateNotPassed, "not committed: ever-draft", &[F, F]),
        remedy: "",
        real: true,
    }),
    really(Row {
        name: "done_red",
        fault: "It says that it is done, and the verify command is red",
        once: goes_on("sent back"),
        ever: fails(FailureClass::GateNotPassed, "the verify command is not green", &[F, F]),
        remedy: "",
        real: true,
    }),
    each(
        "endless_output",
        "Output without end",
        FailureClass::Timeout,
        "not done within",
        [&[F, F], &[F, F]],
        "timeout_seconds",
    ),
    really(harmless("huge_line", "100 MB in one line", "")),
    really(harmless("invalid_utf8", "Output that is not UTF-8", "")),
    harmless(
        "unknown_events",
        "Events in the stream that nobody knows, and lines that are no JSON",
        "",
    ),
    really(harmless(
        "tool_busy",
        "A tool call of ten minutes in which something happens",
        "",
    )),
    really(nudged(
        "tool_idle",
        "A tool call in which nothing happens",
        [
            "inside Bash: tail -f /dev/null; interrupted",
            "inside Bash: tail -f /dev/null",
        ],
        "",
    )),
    really(harmless(
        "daemon",
        "A daemon is left behind that forgot its environment",
        "",
    )),
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

/// What lines of the log about the task say.
pub(crate) fn seen(course: &Course) -> Vec<String> {
    let mut lines = Vec::new();
    match course.class {
        Some(class) => {
            lines.push(format!("attempt failed ({}): ", class_name(class)));
            lines.push(course.says.to_owned());
            if !course.done {
                lines.push(format!("FAILED ({}): ", class_name(class)));
            }
        }
        None => lines.push(course.says.to_owned()),
    }
    lines
}
