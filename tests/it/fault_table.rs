//! The fault table, played by the scripted agent: see [`crate::fault_rows`].

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use orchestra::core::record::Record;
use serde_json::{Value, json};

use super::full_disk::Disk;
use super::harness::{Room, wait_for};
use crate::fault_rows::{self, Course, ROWS, Row, Trace};

/// How a row is played.
struct Play {
    /// What the agent does after its first commit.
    steps: Vec<Value>,
    /// Settings, as variables.
    settings: Vec<(&'static str, &'static str)>,
    /// Processes with these words must not be left.
    gone: Option<String>,
}

fn play(steps: Value) -> Play {
    let Value::Array(steps) = steps else {
        panic!("steps are a list")
    };
    Play {
        steps,
        settings: Vec::new(),
        gone: None,
    }
}

impl Play {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.settings.push((name, value));
        self
    }
}

/// What is the first thing that happens, so that nothing was done before.
const FIRST: [&str; 3] = ["hang_at_start", "exit_0", "prompt_refused"];

fn refused(status: Option<u64>, text: &str) -> Value {
    json!({"result": {
        "subtype": "success", "is_error": true, "text": text,
        "terminal_reason": "api_error", "api_error_status": status,
    }})
}

fn tried_again(status: u64) -> Value {
    json!({"api_retry": {"status": status, "delay_ms": 20}})
}

/// A usage limit that is reset so many seconds from now.
fn limit_until(seconds: u64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let reset = now.as_secs() + seconds;
    refused(Some(429), &format!("Claude AI usage limit reached|{reset}"))
}

/// Seconds that nobody else sleeps, to know a process without a marker by.
fn unique() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    600_000_000 + std::process::id() * 10 + COUNT.fetch_add(1, Ordering::Relaxed)
}

fn the(name: &str) -> Play {
    match name {
        "storm_429" => {
            let mut steps = vec![tried_again(429); 5];
            let text = "API Error: Request rejected (429) · rate_limit_error";
            steps.push(refused(Some(429), text));
            play(Value::Array(steps))
        }
        "overload_529" => {
            let mut steps = vec![tried_again(529); 5];
            steps.push(refused(Some(529), "API Error: 529 Overloaded"));
            play(Value::Array(steps))
        }
        "login_401" => play(json!([refused(Some(401), "Invalid API key")])),
        "usage_limit" => play(json!([limit_until(3)])),
        "usage_limit_far" => play(json!([limit_until(3600)]))
            .with("ORCHESTRA_USAGE_LIMIT_WAIT_SECONDS", "60"),
        "connection_reset" => play(json!([refused(
            None,
            "API Error: Connection error."
        )])),
        "answer_without_end" => play(json!([refused(
            None,
            "API Error: Stream ended without a message"
        )])),
        "output_ends" => play(json!(["close_output"]))
            .with("ORCHESTRA_CLOSING_SILENCE_SECONDS", "1"),
        "hang_at_start" => play(json!(["hang_at_start"]))
            .with("ORCHESTRA_STARTUP_SILENCE_SECONDS", "1"),
        "hang_before_result" => play(json!([{"hang": {}}]))
            .with("ORCHESTRA_PROVIDER_SILENCE_SECONDS", "1"),
        "hang_deaf" => play(json!([{"hang": {"deaf": true}}]))
            .with("ORCHESTRA_PROVIDER_SILENCE_SECONDS", "1"),
        // Its last step: it is done before it hangs.
        "hang_after_result" => play(json!(["end_turn_and_hang"]))
            .with("ORCHESTRA_CLOSING_SILENCE_SECONDS", "1"),
        "crash_segv" => play(json!([{"signal": 11}])),
        "crash_kill" => play(json!([{"signal": 9}])),
        "supervisor_killed" => play(json!([
            {"run": "kill -9 $(ps -o ppid= -p $(ps -o ppid= -p $$))"}, {"hang": {}},
        ])),
        "memory_client" => play(json!([{"allocate": {"mb": 160, "ms": 600_000}}]))
            .with("ORCHESTRA_MAX_MEMORY_MB", "100"),
        "memory_tool" => play(json!([
            {"run": "x=$(head -c 160000000 /dev/zero | tr '\\0' x); sleep 600"},
        ]))
        .with("ORCHESTRA_MAX_MEMORY_MB", "100"),
        "exit_0" => play(json!([{"exit": 0}])),
        "prompt_refused" => play(json!([{"refuse_prompt": "blocked by a hook: no"}])),
        "done_uncommitted" => play(json!(["end_turn"])),
        "done_red" => play(json!([
            {"write": {"path": "red", "text": "x"}}, {"commit": "Red"}, "end_turn",
        ])),
        "endless_output" => play(json!([{"endless": "noise ".repeat(100)}]))
            .with("ORCHESTRA_TIMEOUT_SECONDS", "2")
            .with("ORCHESTRA_MAX_LOG_MB", "1"),
        "huge_line" => play(json!([{"huge_line": 100_000_000}])),
        "invalid_utf8" => play(json!(["invalid_utf8", "invalid_utf8"])),
        "unknown_events" => play(json!([
            {"raw": r#"{"type":"news_of_next_year","payload":{"a":[1,2]}}"#},
            {"raw": r#"{"type":"system","subtype":"unheard_of"}"#},
            {"raw": r#"{"type":"assistant","message":42}"#},
            {"raw": r#"{"no":"type"}"#}, {"raw": "[1,2,3]"}, {"raw": "no JSON at all {"},
            {"raw": ""},
        ])),
        "tool_busy" => play(json!([
            {"run": "for i in 1 2 3 4 5 6 7; do echo $i >> ignored; : $(seq 20000); sleep 0.5; done"},
        ]))
        .with("ORCHESTRA_TOOL_SILENCE_SECONDS", "2"),
        "tool_idle" => play(json!([{"run": "tail -f /dev/null"}]))
            .with("ORCHESTRA_TOOL_SILENCE_SECONDS", "1"),
        "daemon" => {
            let seconds = unique();
            let mut play = play(json!([{"detach": {"seconds": seconds, "clear_env": true}}]));
            play.gone = Some(format!("sleep {seconds}"));
            play
        }
        other => panic!("nobody plays {other}"),
    }
}

/// What a task does: a first commit and a draft, the fault, and the rest of its work.
fn part(row: &Row, course: &Course, name: &str, steps: &[Value]) -> Value {
    let mut half = vec![
        json!({"write": {"path": format!("{name}-first"), "text": "first\n"}}),
        // Only this file: what is not committed stays so in a second attempt, too.
        json!({"run": format!("git add {name}-first; git commit -qm 'First of {name}'; true")}),
        json!({"write": {"path": format!("{name}-draft"), "text": "draft\n"}}),
    ];
    let rest = [
        json!({"require": {"path": format!("{name}-first")}}),
        json!({"delete": "red"}),
        json!({"require": {"path": format!("{name}-draft"), "contains": "draft"}}),
        json!({"commit": format!("The rest of {name}")}),
    ];
    let ever = name == "ever" && !course.done;
    let mut whole = match row.name {
        _ if FIRST.contains(&row.name) => steps.to_vec(),
        "hang_after_result" => [&half[..], &rest, steps].concat(),
        _ => {
            // More often than it is nudged.
            let times = if ever { 6 } else { 1 };
            for _ in 0..times {
                half.extend_from_slice(steps);
            }
            half
        }
    };
    if ever {
        return json!({"attempts": [whole]});
    }
    let mut again = rest.to_vec();
    if FIRST.contains(&row.name) {
        again = vec![
            json!({"write": {"path": "once-first", "text": "first\n"}}),
            json!({"write": {"path": "once-draft", "text": "draft\n"}}),
            json!({"commit": "All of once"}),
        ];
    } else if row.name != "hang_after_result" {
        whole.extend(rest);
    }
    json!({"attempts": [whole, again]})
}

/// The settings of each row.
fn settings(row: &Row) -> [(&'static str, String); 9] {
    let tries = row.ever.starts.len().max(row.once.starts.len()).to_string();
    [
        ("ORCHESTRA_MAX_ATTEMPTS", tries.clone()),
        ("ORCHESTRA_OUTAGES", tries),
        ("ORCHESTRA_RETRY_BASE_MS", "20".into()),
        ("ORCHESTRA_RATE_LIMIT_PAUSE_MS", "50".into()),
        ("ORCHESTRA_RATE_LIMIT_QUIET_MS", "50".into()),
        ("ORCHESTRA_RESET_MARGIN_MS", "100".into()),
        ("ORCHESTRA_GATE_ROUNDS", "1".into()),
        ("ORCHESTRA_SUCCESS_PERCENT", "50".into()),
        ("ORCHESTRA_VERIFY", "test ! -e red".into()),
    ]
}

/// The worktrees are on a disk of their own, which becomes full when both tasks have begun; it
/// gets room again once one of them failed.
fn check_full_disk(row: &Row) {
    let disk = Disk::new();
    let room = &disk.room;
    room.plan(&[("once", &[]), ("ever", &[])]);
    let begins = |name: &str| {
        json!({"run": format!(
            "[ -e {name}-first ] || {{ echo first > {name}-first; git add {name}-first; \
             git commit -qm First; echo draft > {name}-draft; }}; touch \"$ROOM/{name}-begun\"; \
             until [ -e \"$ROOM/full\" ]; do sleep 0.02; done; \
             head -c 300000 /dev/zero > {name}-big; true"
        )})
    };
    room.script(&json!({
        "once": {"steps": [
            begins("once"), "end_turn",
            {"run": "until [ -e \"$ROOM/roomy\" ]; do sleep 0.02; done; rm once-big"},
            {"commit": "The rest of once"},
        ]},
        "ever": {"attempts": [[begins("ever")]]},
    }));
    let variables = settings(row).map(|(name, value)| format!("{name}='{value}'"));
    let program = env!("CARGO_BIN_EXE_orchestra");
    let (code, out) = disk.order(&format!(
        "cd \"$ROOM/repo\" && env {} {program} run --tasks ../plan.json --agent scripted \
         --script ../script.json --worktree-dir \"$ROOM/disk/trees\" --detach",
        variables.join(" ")
    ));
    assert_eq!(code, 0, "{out}");
    let run = room.only_run();
    for name in ["once", "ever"] {
        let begun = room.path(&format!("{name}-begun"));
        wait_for("work", || begun.exists().then_some(()));
    }
    disk.fill();
    fs::write(room.path("full"), "").unwrap();
    room.wait_for_record(&run, "the failure of one", |record| {
        matches!(record, Record::TaskFailed { .. })
    });
    disk.make_room();
    fs::write(room.path("roomy"), "").unwrap();
    let (code, out) = disk.order(&format!("cd \"$ROOM/repo\" && {program} wait"));
    let log = fs::read_to_string(run.log()).unwrap();
    assert_eq!(code, i32::from(row.exit()), "{out}\n{log}");
    let (_, issues) = disk.order(&format!("cd \"$ROOM/repo\" && {program} status issues"));
    let trees = disk.outside(&disk.inside.join("trees"));
    let trace = Trace {
        records: &room.records(&run),
        log: &log,
        issues: &issues,
        git: &|args| room.try_git(args),
        worktree: &|task| trees.join(task),
        nothing_before: false,
    };
    trace.check(row);
    fs::write(room.path("stop"), "").unwrap();
    room.assert_quiet();
}

/// Plays a row, and looks at everything that the table says about it.
fn check(name: &str) {
    let row = ROWS.iter().find(|row| row.name == name).expect("a row");
    if name == "disk_full" {
        check_full_disk(row);
        return;
    }
    let play = the(name);
    let mut room = Room::new();
    for (name, value) in settings(row) {
        room.set(name, value);
    }
    for (name, value) in &play.settings {
        room.set(name, *value);
    }
    room.plan(&[("once", &[]), ("ever", &[])]);
    room.script(&json!({
        "once": part(row, &row.once, "once", &play.steps),
        "ever": part(row, &row.ever, "ever", &play.steps),
    }));
    let ended = room.run(&[]);
    let run = room.only_run();
    let log = fs::read_to_string(run.log()).unwrap();
    let told = format!("{name}\n{}{}\n--- log\n{log}", ended.out, ended.err);

    // It ends, as it is said, and nothing of it runs.
    assert_eq!(ended.code, i32::from(row.exit()), "{told}");
    room.assert_quiet();
    if let Some(words) = &play.gone {
        let listed = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(!listed.contains(words.as_str()), "{words} is left: {told}");
    }
    let issues = room.orchestra(&["status", "issues"]).expect(0).out;
    let trace = Trace {
        records: &room.records(&run),
        log: &log,
        issues: &issues,
        git: &|args| room.try_git(args),
        worktree: &|task| room.worktree(task),
        nothing_before: FIRST.contains(&name),
    };
    trace.check(row);
    if row.ever.done {
        room.assert_tidy();
    }
}

macro_rules! rows {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_row_is_played() {
            let played = [$(stringify!($name)),*];
            let rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            assert_eq!(rows, played);
        }
    };
}

rows! {
    storm_429 overload_529 login_401 usage_limit usage_limit_far connection_reset answer_without_end output_ends hang_at_start
    hang_before_result hang_deaf hang_after_result crash_segv crash_kill supervisor_killed
    memory_client memory_tool exit_0 prompt_refused done_uncommitted done_red endless_output
    huge_line invalid_utf8 unknown_events tool_busy tool_idle daemon disk_full
}

/// Set `ORCHESTRA_BLESS` to write it anew.
#[test]
fn the_page_about_faults_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let page = fault_rows::page();
    if std::env::var_os("ORCHESTRA_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "ORCHESTRA_BLESS=1 writes it anew");
}
