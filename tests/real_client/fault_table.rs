//! The fault table, played by real clients: see [`crate::fault_rows`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use orchestra::store::journal;
use orchestra::store::layout::Layout;
use serde_json::json;

use crate::fault_rows::{ROWS, Row, Trace};
use crate::killed::processes;
use crate::run::{orchestra, stdout};
use crate::support::client::{Home, claude};
use crate::support::model_server::{ModelServer, Reply, Request, Script};

/// The longest that a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a row is played.
struct Play {
    /// What the model answers when the fault is due.
    fault: Box<dyn Fn(&Request) -> Reply + Send + Sync>,
    /// How many answers the fault takes when it happens once, and ends no attempt.
    answers: usize,
    settings: Vec<(&'static str, &'static str)>,
    /// What follows the client in a program of its own, as shell lines.
    wrapper: Option<&'static str>,
    /// What the repository's own hook on prompts does, as shell lines.
    hook: Option<&'static str>,
    /// Processes with these words must not be left.
    gone: Option<String>,
    /// What the model does when it is sent back, as a shell line.
    rest: String,
    /// What runs the program instead of its own process, as shell lines: `"$@"` is the command.
    around: Option<String>,
}

impl Play {
    fn of(fault: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            fault: Box::new(fault),
            answers: 1,
            settings: Vec::new(),
            wrapper: None,
            hook: None,
            gone: None,
            rest: "rm -f red; git add -A; git commit -qm 'The rest'".to_owned(),
            around: None,
        }
    }

    fn reply(reply: Reply) -> Self {
        Self::of(move |_| reply.clone())
    }

    fn bash(command: &str) -> Self {
        Self::reply(Reply::bash(command))
    }

    fn answers(mut self, answers: usize) -> Self {
        self.answers = answers;
        self
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.settings.push((name, value));
        self
    }
}

fn refused(reply: Reply) -> Play {
    Play::reply(reply.header("retry-after", "0"))
}

/// The connection breaks in the middle of an answer, streamed or not.
fn broken(request: &Request) -> Reply {
    if request.body["stream"] == true {
        return Reply::text("so far and").cut();
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n";
    Reply::Raw(format!("{head}{{\"id\":").into_bytes())
}

/// The worktrees are on a disk of their own, which becomes full when both tasks have begun; it
/// gets room again once one of them failed.
fn full_disk(beside: &Path) -> Play {
    let beside = beside.display();
    let wait = |file: &str| format!("until [ -e {beside}/{file} ]; do sleep 0.05; done");
    let begins = format!("{}; head -c 300000 /dev/zero > big; true", wait("full"));
    let mut play = Play::of(move |request| {
        let began = request.body.to_string().contains("head -c 300000");
        match began {
            false => Reply::bash(begins.as_str()),
            true => Reply::text("Done."),
        }
    })
    .answers(2);
    play.rest = format!(
        "{}; rm -f big; git add -A; git commit -qm 'The rest'",
        wait("roomy")
    );
    // What is on the disk is seen by nobody outside: it is copied at the end.
    play.around = Some(format!(
        "cd {beside}/repo.worktrees && mkdir ../kept && mount -t tmpfs -o size=4m none . || exit 99
         (cd {beside}/repo && exec timeout 100 \"$@\") & run=$!
         until [ -e {beside}/repo.worktrees/once/once-draft ] &&
             [ -e {beside}/repo.worktrees/ever/ever-draft ]; do
             kill -0 $run || exit 98; sleep 0.05
         done
         cd {beside}/repo.worktrees
         head -c 40m /dev/zero > ../repo.worktrees/ballast; head -c 4k /dev/zero > ballast-2
         touch ../full
         until grep -q ' ever: FAILED' ../repo/.claude/orchestration/*/orchestration.log; do
             kill -0 $run || exit 97; sleep 0.05
         done
         rm ballast ballast-2; touch ../roomy
         wait $run; code=$?
         cp -a ./ ../kept; exit $code"
    ));
    play
}

/// How a row is played; `beside` is the folder in which the repository is.
fn the(name: &str, beside: &Path) -> Play {
    match name {
        "storm_429" => refused(Reply::error(429, "rate_limit_error", "Too many requests.")),
        "overload_529" => refused(Reply::overloaded()),
        "login_401" => refused(Reply::unauthorized()),
        "usage_limit" => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let words = format!("Claude AI usage limit reached|{}", now.as_secs() + 8);
            refused(Reply::error(429, "rate_limit_error", words))
        }
        "connection_reset" => Play::of(broken),
        "answer_without_end" => Play::reply(Reply::text("so far and").without_message_stop()),
        "hang_before_result" => {
            Play::reply(Reply::Hang).with("ORCHESTRA_PROVIDER_SILENCE_SECONDS", "3")
        }
        // Done, and then the program in which the client is does not end.
        "hang_after_result" => {
            let mut play = Play::bash("true").with("ORCHESTRA_CLOSING_SILENCE_SECONDS", "1");
            play.wrapper = Some("sleep 600");
            play
        }
        "crash_segv" => Play::bash("kill -SEGV $PPID; sleep 600"),
        "crash_kill" => Play::bash("kill -KILL $PPID; sleep 600"),
        "memory_tool" => Play::bash(
            "tail -c 600M <(head -c 600M /dev/zero; exec sleep 600 2> /dev/null) > /dev/null",
        )
        .with("ORCHESTRA_MAX_MEMORY_MB", "500"),
        // The client ends with exit code 0 and has done nothing.
        "prompt_refused" => {
            let mut play = Play::reply(Reply::text("Nobody asks."));
            play.hook = Some(
                "met=\"$ORCHESTRA_MAIN_CHECKOUT/../met-$ORCHESTRA_TASK\"; \
                 if [ \"$ORCHESTRA_TASK\" = ever ] || ! [ -e \"$met\" ]; then \
                 touch \"$met\"; echo 'not today' >&2; exit 2; fi",
            );
            play
        }
        // Those of a client of next year are told by a program around this one.
        "unknown_events" => {
            let mut play = Play::bash("true");
            play.wrapper =
                Some("echo '{\"type\":\"event_of_next_year\",\"x\":[1]}'; echo 'this is no JSON'");
            play
        }
        "done_uncommitted" => Play::reply(Reply::text("Done.")),
        "done_red" => Play::of(|request| {
            let red = cwd(request).join("red").exists();
            if red {
                Reply::text("Done.")
            } else {
                Reply::bash("echo x > red; git add -A; git commit -qm Red")
            }
        })
        .answers(2),
        "endless_output" => Play::bash("yes").with("ORCHESTRA_TIMEOUT_SECONDS", "10"),
        "huge_line" => Play::bash("head -c 100000000 /dev/zero | tr '\\0' x"),
        "invalid_utf8" => Play::bash("printf '\\377\\376 and \\200\\n'"),
        "tool_busy" => {
            Play::bash("for i in 1 2 3 4 5 6 7; do echo $i; : $(seq 20000); sleep 0.8; done")
                .with("ORCHESTRA_TOOL_SILENCE_SECONDS", "3")
        }
        "tool_idle" => Play::bash("tail -f /dev/null").with("ORCHESTRA_TOOL_SILENCE_SECONDS", "3"),
        "daemon" => {
            let seconds = 500_000_000 + std::process::id();
            let mut play = Play::bash(&format!(
                "env -i setsid sleep {seconds} < /dev/null > /dev/null 2>&1 &"
            ));
            play.gone = Some(format!("sleep {seconds}"));
            play
        }
        "disk_full" => full_disk(beside),
        other => panic!("nobody plays {other}"),
    }
}

/// The client's working directory: the task's worktree.
fn cwd(request: &Request) -> PathBuf {
    request.cwd().expect("a working directory").into()
}

/// Whether a file is committed on a task's branch.
fn is_committed(repository: &Path, task: &str, file: &str) -> bool {
    let known = Command::new("git")
        .args(["cat-file", "-e", &format!("task/{task}:{file}")])
        .current_dir(repository)
        .stderr(Stdio::null())
        .status();
    known.unwrap().success()
}

/// What the model says for a task: what is to be done next is seen in the worktree.
fn model(play: Play, row: &'static Row, repository: &Path) -> Script {
    let repository = repository.to_owned();
    let faults = [AtomicUsize::new(0), AtomicUsize::new(0)];
    Script::new().rule(move |request| {
        let names = ["once", "ever"];
        let at = (0..2).find(|n| request.mentions(&format!("Your task: {}", names[*n])))?;
        if request.tools().is_empty() {
            return None;
        }
        let task = names[at];
        let is_committed = |file: &str| is_committed(&repository, task, file);
        let (first, draft) = (format!("{task}-first"), format!("{task}-draft"));
        if !is_committed(&first) {
            return Some(Reply::bash(format!(
                "echo first > {first}; git add {first}; git commit -qm First; echo draft > {draft}"
            )));
        }
        let given = faults[at].fetch_add(1, Ordering::SeqCst);
        let course = [&row.once, &row.ever][at];
        let due = match course.class {
            _ if !course.done => true,
            // However often the client tries by itself.
            Some(_) => !log(&repository).contains(&format!(" {task}: attempt failed")),
            None => given < play.answers,
        };
        if due {
            return Some((play.fault)(request));
        }
        if !is_committed(&draft) || is_committed("red") {
            return Some(Reply::bash(play.rest.as_str()));
        }
        Some(Reply::text("Done."))
    })
}

/// The same command in a mount namespace of its own, run by shell lines.
fn inside(command: &Command, script: &str) -> Command {
    let mut outer = Command::new("unshare");
    outer.args(["-rm", "sh", "-c", script, "sh"]);
    outer.arg(command.get_program()).args(command.get_args());
    outer.env_clear();
    outer.envs(command.get_envs().filter_map(|(n, v)| Some((n, v?))));
    outer
}

/// What the run of a repository says for people.
fn log(repository: &Path) -> String {
    let run = Layout::new(repository).runs().pop().expect("a run");
    fs::read_to_string(run.log()).unwrap_or_default()
}

/// Plays a row, and looks at everything that the table says about it.
fn check(name: &str) {
    let row = ROWS.iter().find(|row| row.name == name).expect("a row");
    let home = Home::new();
    let repository = home.repository("repo");
    let play = the(name, repository.parent().unwrap());
    if let Some(hook) = play.hook {
        let settings = json!({"hooks": {"UserPromptSubmit": [
            {"hooks": [{"type": "command", "command": hook}]},
        ]}});
        fs::create_dir(repository.join(".claude")).unwrap();
        fs::write(
            repository.join(".claude/settings.json"),
            settings.to_string(),
        )
        .unwrap();
        home.git(&repository, &["add", "--all"]);
        home.git(&repository, &["commit", "--quiet", "--message", "Hooks"]);
    }
    let plan = home.beside("plan.json");
    let tasks = json!({"tasks": [
        {"name": "once", "prompt": "Do it once."}, {"name": "ever", "prompt": "Do it ever."},
    ]});
    fs::write(&plan, tasks.to_string()).unwrap();
    let tries = row.ever.starts.len().max(row.once.starts.len()).to_string();
    let environment = [
        ("CLAUDE_CODE_MAX_RETRIES", "1"),
        ("ORCHESTRA_ADMISSION", "off"),
        ("ORCHESTRA_MAX_ATTEMPTS", tries.as_str()),
        ("ORCHESTRA_OUTAGES", &tries),
        ("ORCHESTRA_RETRY_BASE_MS", "20"),
        ("ORCHESTRA_RATE_LIMIT_PAUSE_MS", "50"),
        ("ORCHESTRA_RATE_LIMIT_QUIET_MS", "50"),
        ("ORCHESTRA_RESET_MARGIN_MS", "100"),
        ("ORCHESTRA_GATE_ROUNDS", "1"),
        ("ORCHESTRA_SUCCESS_PERCENT", "50"),
        ("ORCHESTRA_VERIFY", "test ! -e red"),
    ];
    let settings = play.settings.clone();
    let (gone, wrapper, around) = (play.gone.clone(), play.wrapper, play.around.clone());
    let server = ModelServer::start(model(play, row, &repository));
    let mut command = orchestra(&home, &server, &repository);
    command.envs(environment).envs(settings);
    if let Some(after) = wrapper {
        let program = home.beside("client");
        let script = format!("#!/bin/sh\n{} \"$@\"\n{after}\n", claude().display());
        fs::write(&program, script).unwrap();
        let made = Command::new("chmod").arg("+x").arg(&program).status();
        assert!(made.unwrap().success());
        command.env("ORCHESTRA_CLAUDE_PROGRAM", program);
    }
    command.args(["run", "--tasks"]).arg(&plan);
    let mut trees = "repo.worktrees";
    if let Some(script) = around {
        trees = "kept";
        fs::create_dir(home.beside("repo.worktrees")).unwrap();
        command = inside(&command, &script);
    }
    let begun = Instant::now();
    let output = command.output().unwrap();
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    let run = Layout::new(&repository).runs().pop().expect("a run");
    let log = log(&repository);
    let told = format!("{name}\n{}\n--- log\n{log}", stdout(&output));

    // It ends, as it is said, and nothing of it runs.
    assert_eq!(output.status.code(), Some(i32::from(row.exit())), "{told}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes(&home).is_empty() {
        assert!(Instant::now() < deadline, "something runs: {told}");
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(words) = gone {
        let listed = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(!listed.contains(&words), "{words} is left: {told}");
    }
    let mut status = orchestra(&home, &server, &repository);
    let issues = stdout(&status.args(["status", "issues"]).output().unwrap());
    let lines = journal::read(&run.journal()).unwrap();
    let records: Vec<_> = lines.into_iter().map(|line| line.entry).collect();
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(args)
            .current_dir(&repository)
            .output();
        let output = output.unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    };
    let trace = Trace {
        records: &records,
        log: &log,
        issues: &issues,
        git: &git,
        worktree: &|task| home.beside(trees).join(task),
        nothing_before: name == "prompt_refused",
    };
    trace.check(row);
    let unexpected = server.unexpected();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

macro_rules! rows {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_row_that_is_marked_so_is_played() {
            let played = [$(stringify!($name)),*];
            let rows: Vec<&str> = ROWS.iter().filter(|row| row.real).map(|row| row.name).collect();
            assert_eq!(rows, played);
        }
    };
}

rows! {
    storm_429 overload_529 login_401 usage_limit connection_reset answer_without_end
    hang_before_result hang_after_result crash_segv crash_kill memory_tool prompt_refused
    done_uncommitted done_red endless_output huge_line invalid_utf8 unknown_events tool_busy tool_idle
    daemon disk_full
}
