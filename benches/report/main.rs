//! The one command behind the table in the README: `cargo bench --bench report`.
//!
//! Prints a Markdown table on standard output and what it is doing on standard error. Every
//! figure is a ratio against something measured in the same run on the same machine, or a
//! figure of processes that does not depend on the clock; nothing here is a promise, and
//! nothing fails for being slow.
//!
//! ```text
//! cargo bench --bench report                      # about six minutes
//! cargo bench --bench report -- --long            # tasks of 10 seconds and fifty large worktrees as well
//! cargo bench --bench report -- --quick           # fewer repetitions
//! cargo bench --bench report -- --only makespan   # or memory, hooks, worktrees, merging, queue, radar,
//!                                                 # scheduling, detection
//! cargo bench --bench report -- --into README.md  # between the bench:begin and bench:end marks
//! cargo bench --bench report -- --program PATH    # another build of orchestra
//! ```
//!
//! Repositories are made in the temporary folder: `TMPDIR` chooses the disk. On a machine that
//! has other work to do, the share of the processor that is left counts in the makespan;
//! `chrt -r 1 cargo bench …` (as root, after a first run that builds everything) measures as if
//! there were none.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark starts processes, prints, and fails loudly"
)]

mod detection;
mod hooks;
mod machine;
mod makespan;
mod memory;
mod merging;
mod processes;
mod queue;
mod radar;
mod scheduling;
mod scratch;
mod table;
// The runs that the tests play as well.
#[path = "../../src/core/simulation/large.rs"]
mod large;
mod worktrees;

use std::path::{Path, PathBuf};

use orchestra::core;

use table::Table;

/// What was asked for.
struct Options {
    program: PathBuf,
    long: bool,
    quick: bool,
    only: Option<String>,
    into: Option<PathBuf>,
}

impl Options {
    fn from_args() -> Self {
        let mut options = Self {
            program: env!("CARGO_BIN_EXE_orchestra").into(),
            long: false,
            quick: false,
            only: None,
            into: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().expect("a value after the option");
            match arg.as_str() {
                // What `cargo bench` itself adds.
                "--bench" => {}
                "--long" => options.long = true,
                "--quick" => options.quick = true,
                "--only" => options.only = Some(value()),
                "--into" => options.into = Some(value().into()),
                "--program" => options.program = value().into(),
                other => panic!("{other} is no option; see the head of benches/report/main.rs"),
            }
        }
        options
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() {
    let options = Options::from_args();
    // Background processes of a run become children of this one at the end of theirs, so
    // that what they used is counted.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut table = Table::default();
    if options.wants("makespan") {
        makespan::measure(&options, &mut table);
    }
    if options.wants("memory") {
        memory::measure(&options, &mut table);
    }
    if options.wants("hooks") {
        hooks::measure(&options, &mut table);
    }
    if options.wants("worktrees") {
        worktrees::measure(&options, &mut table);
    }
    if options.wants("merging") {
        merging::measure(&options, &mut table);
    }
    if options.wants("queue") {
        queue::measure(&options, &mut table);
    }
    if options.wants("scheduling") {
        scheduling::measure(&options, &mut table);
    }
    if options.wants("radar") {
        radar::measure(&options, &mut table);
    }
    if options.wants("detection") {
        detection::measure(&options, &mut table);
    }
    let text = format!("{}\n{}", table.render(), machine::describe());
    println!("{text}");
    if let Some(file) = &options.into {
        put_between_marks(file, &text);
    }
}

fn put_between_marks(file: &Path, text: &str) {
    const BEGIN: &str = "<!-- bench:begin -->";
    const END: &str = "<!-- bench:end -->";
    let old = std::fs::read_to_string(file).unwrap();
    let (head, rest) = old.split_once(BEGIN).expect("the mark bench:begin");
    let (_, tail) = rest.split_once(END).expect("the mark bench:end");
    std::fs::write(file, format!("{head}{BEGIN}\n\n{text}\n{END}{tail}")).unwrap();
}

/// The middle of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
