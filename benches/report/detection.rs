//! How soon what went wrong is noticed: a death, silence beyond its limit, a question, a
//! conductor that is gone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use orchestra::core::record::Record;
use orchestra::store::layout::{Layout, RunDir};
use orchestra::store::{journal, lock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::scratch::Scratch;
use super::table::Table;
use super::{Options, median};

/// The limit on silence, seconds.
const LIMIT: u64 = 2;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A conductor that did not live so long is followed by a pause.
const SETTLED: Duration = Duration::from_millis(5_500);

pub(crate) fn measure(options: &Options, table: &mut Table) {
    let times = if options.quick { 3 } else { 10 };
    let aim = "max < 1 s";
    let mut row = |what: &str, latencies: Vec<f64>, from: &str| {
        let most = latencies.iter().copied().fold(0.0, f64::max);
        let figure = format!("p50 {:.2} s, max {most:.2} s", median(latencies.clone()));
        let against = format!("{from}; {} times", latencies.len());
        table.row(&format!("noticed: {what}"), &figure, &against, aim);
    };
    row(
        "the death of an instance",
        deaths(options, times),
        "from SIGKILL to the end of the attempt in the journal, its work in a backup",
    );
    let limit = format!("from the last sign of life to the interrupt, less the limit of {LIMIT} s");
    for (class, step) in [
        ("a silent provider", json!({"hang": {}})),
        (
            "a tool that hangs",
            json!({"run": "exec tail -f /dev/null"}),
        ),
    ] {
        row(class, silences(options, times, &step), &limit);
    }
    row(
        "a client that never says a word",
        silent_starts(options, times),
        &format!("from its start to the log's line, less the limit of {LIMIT} s"),
    );
    row(
        "a question of an instance",
        questions(options, times),
        "from its last act before it asks to the log's line",
    );
    row(
        "the death of a conductor",
        adoptions(options, times),
        "from SIGKILL until its successor holds the run's lock",
    );
}

/// A run in which each task plays the same steps.
struct Site {
    scratch: Scratch,
    run: RunDir,
    names: Vec<String>,
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.processes() {
            signal(pid.0, Signal::KILL);
        }
        while rustix::process::wait(rustix::process::WaitOptions::NOHANG).is_ok_and(|w| w.is_some())
        {
        }
    }
}

impl Site {
    /// `steps` of a task, by the path of a file that it may touch; `limit` on silence, seconds.
    fn begin(options: &Options, count: usize, limit: u64, steps: impl Fn(&Path) -> Value) -> Self {
        let scratch = Scratch::with_files(50);
        let names: Vec<String> = (0..count).map(|n| format!("part-{n}")).collect();
        let tasks: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
        let plan = scratch.write("plan.json", &json!({"tasks": tasks}).to_string());
        let play = names.iter().map(|name| {
            let mark = scratch.path().join(format!("{name}.mark"));
            (name.clone(), json!({"attempts": [steps(&mark)]}))
        });
        let script = json!({"tasks": play.collect::<serde_json::Map<_, _>>()});
        let script = scratch.write("script.json", &script.to_string());
        let limit = limit.to_string();
        let status = scratch
            .command(&options.program)
            .args(["run", "--detach", "--agent", "scripted"])
            .args(["--max-workers", &count.to_string(), "--max-attempts", "1"])
            .arg("--tasks")
            .arg(plan)
            .arg("--script")
            .arg(script)
            .env("ORCHESTRA_ADMISSION", "off")
            .env("ORCHESTRA_STARTUP_SILENCE_SECONDS", &limit)
            .env("ORCHESTRA_PROVIDER_SILENCE_SECONDS", &limit)
            .env("ORCHESTRA_TOOL_SILENCE_SECONDS", &limit)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "the run does not begin");
        let run = Layout::new(&scratch.repo()).runs().pop().expect("a run");
        Self {
            scratch,
            run,
            names,
        }
    }

    fn mark(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.mark"))
    }

    /// Processes of this site: their numbers and arguments.
    fn processes(&self) -> Vec<(i32, Vec<String>)> {
        let home = format!("HOME={}", self.scratch.path().join("home").display());
        let all = procfs::process::all_processes().into_iter().flatten();
        all.flatten()
            .filter(|process| {
                let path = format!("/proc/{}/environ", process.pid);
                let environ = std::fs::read(path).unwrap_or_default();
                environ.split(|b| *b == 0).any(|v| v == home.as_bytes())
            })
            .map(|process| (process.pid, process.cmdline().unwrap_or_default()))
            .collect()
    }

    /// The process of a subcommand, for a task when one is named.
    fn process(&self, subcommand: &str, task: Option<&str>) -> Option<i32> {
        let all = self.processes().into_iter();
        let mut fitting = all.filter(|(_, args)| {
            args.get(1).is_some_and(|arg| arg == subcommand)
                && task.is_none_or(|task| args.iter().any(|arg| arg == task))
        });
        fitting.next().map(|(pid, _)| pid)
    }

    fn records(&self) -> Vec<Record> {
        let lines = journal::read(&self.run.journal()).unwrap();
        lines.into_iter().map(|line| line.entry).collect()
    }

    /// When each of the tasks first has a line with these words in the run's log, as seconds
    /// since `since` says it.
    fn lines(&self, words: &str, since: impl Fn(&str) -> f64) -> Vec<f64> {
        let mut found: Vec<Option<f64>> = vec![None; self.names.len()];
        wait_for("lines of the log", || {
            let log = std::fs::read_to_string(self.run.log()).unwrap_or_default();
            for (name, found) in self.names.iter().zip(&mut found) {
                let own = format!(" {name}: ");
                let mut lines = log.lines().filter(|line| line.contains(&own));
                if found.is_none() && lines.any(|line| line.contains(words)) {
                    *found = Some(since(name));
                }
            }
            found.iter().all(Option::is_some).then_some(())
        });
        found.into_iter().flatten().collect()
    }

    /// Seconds since the task touched its file.
    fn since_mark(&self, name: &str) -> f64 {
        let touched = std::fs::metadata(self.mark(name)).unwrap().modified();
        let passed = SystemTime::now().duration_since(touched.unwrap());
        passed.unwrap_or_default().as_secs_f64()
    }
}

fn touch(mark: &Path) -> Value {
    json!({"run": format!("touch '{}'", mark.display())})
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain waited for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Instances that are killed one after the other.
fn deaths(options: &Options, times: usize) -> Vec<f64> {
    let site = Site::begin(
        options,
        times,
        0,
        |mark| json!([touch(mark), {"sleep_ms": 600_000}]),
    );
    for name in &site.names {
        wait_for("the instances", || site.mark(name).exists().then_some(()));
    }
    let each = site.names.iter().map(|name| {
        let pid = site.process("play", Some(name)).expect("its process");
        let begun = Instant::now();
        signal(pid, Signal::KILL);
        wait_for("its end in the journal", || {
            let ended = |record: &Record| matches!(record, Record::AttemptEnded { task, .. } if task.as_str() == name);
            site.records().iter().any(ended).then_some(())
        });
        begun.elapsed().as_secs_f64()
    });
    each.collect()
}

/// Instances that fall silent all at once, after they touched a file.
fn silences(options: &Options, times: usize, step: &Value) -> Vec<f64> {
    let site = Site::begin(options, times, LIMIT, |mark| {
        json!([touch(mark), step, step])
    });
    let limit = LIMIT as f64;
    site.lines("; interrupted", |name| site.since_mark(name) - limit)
}

/// Clients that say nothing from their start on.
fn silent_starts(options: &Options, times: usize) -> Vec<f64> {
    let site = Site::begin(options, times, LIMIT, |_| json!(["hang_at_start"]));
    let begun: Vec<(String, f64)> = site
        .names
        .iter()
        .map(|name| {
            let pid = wait_for("a client", || site.process("play", Some(name)));
            (name.clone(), started(pid))
        })
        .collect();
    let limit = LIMIT as f64;
    site.lines("since its start; ended", |name| {
        let (_, at) = begun.iter().find(|(n, _)| n == name).unwrap();
        uptime() - at - limit
    })
}

/// When a process started, seconds since the system did.
fn started(pid: i32) -> f64 {
    let process = procfs::process::Process::new(pid).unwrap();
    process.stat().unwrap().starttime as f64 / procfs::ticks_per_second() as f64
}

/// Seconds since the system started.
fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Instances that ask something all at once.
fn questions(options: &Options, times: usize) -> Vec<f64> {
    let site = Site::begin(
        options,
        times,
        0,
        |mark| json!([touch(mark), {"stuck": {"reason": "Which colour?"}}]),
    );
    site.lines("Which colour?", |name| site.since_mark(name))
}

/// Conductors of a run with work, killed again and again.
fn adoptions(options: &Options, times: usize) -> Vec<f64> {
    let site = Site::begin(
        options,
        2,
        0,
        |mark| json!([touch(mark), {"sleep_ms": 600_000}]),
    );
    let held = || lock::is_held(&site.run.conductor_lock()).unwrap_or(false);
    let each = (0..times).map(|_| {
        let old = wait_for("a conductor", || site.process("conduct", None));
        wait_for("a keeper", || site.process("keep", None));
        std::thread::sleep(SETTLED);
        let begun = Instant::now();
        signal(old, Signal::KILL);
        wait_for("another conductor", || {
            let new = site.process("conduct", None).filter(|pid| *pid != old);
            new.filter(|_| held()).map(drop)
        });
        begun.elapsed().as_secs_f64()
    });
    each.collect()
}
