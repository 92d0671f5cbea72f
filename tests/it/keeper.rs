//! The keeper: nobody has to run a command for a run to go on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::{Process, Room, signal, wait_for, writes};

/// A run with one task that waits for the file `go`, and one that needs it.
fn waiting() -> (Room, RunDir) {
    let room = Room::new();
    let run = begin(&room);
    (room, run)
}

fn begin(room: &Room) -> RunDir {
    room.plan(&[("a", &[]), ("b", &["a"])]);
    room.script(&json!({
        "a": {"steps": [
            {"run": "for n in $(seq 1200); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done"},
            {"write": {"path": "a", "text": "from a\n"}}, {"commit": "Add a"},
        ]},
        "b": writes("b", "from b\n"),
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    room.wait_until_running(&run, "a");
    room.keeper();
    run
}

fn finish(room: &Room, run: &RunDir) {
    fs::write(room.path("go"), "").unwrap();
    room.wait_until_closed(run);
    assert_eq!(room.read("b"), "from b\n");
    room.assert_tidy();
}

/// Another process of this kind than `old`.
fn another(room: &Room, kind: &str, old: &Process) -> Process {
    wait_for(kind, || {
        let mut all = room.processes_of(kind);
        all.retain(|p| p.pid != old.pid);
        all.pop()
    })
}

#[test]
fn whichever_of_the_two_is_killed_the_other_brings_a_new_one() {
    let (room, run) = waiting();
    for _ in 0..3 {
        let old = room.conductor();
        old.kill();
        let new = another(&room, "conduct", &old);
        wait_for("the keeper to say so", || {
            let log = fs::read_to_string(run.log()).unwrap();
            log.contains("a new one took over").then_some(())
        });
        let old = room.keeper();
        old.kill();
        another(&room, "keep", &old);
        assert!(
            room.processes_of("conduct")
                .iter()
                .any(|p| p.pid == new.pid)
        );
    }
    finish(&room, &run);
    assert_eq!(
        room.inits(&run, "a").len(),
        1,
        "the instance saw nothing of it"
    );
}

#[test]
#[allow(
    clippy::print_stdout,
    reason = "the figures, for whoever asks for them"
)]
fn a_keeper_costs_next_to_nothing() {
    let (room, run) = waiting();
    let keeper = room.keeper();
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", keeper.pid)).unwrap();
    // Once it blocks on the lock, every second looks like the first.
    wait_for("the keeper to block", || {
        read("stat").contains(") S ").then_some(())
    });
    let ticks = || {
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
        fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks() - before <= 1, "it polls");
    let resident: u64 = read("status")
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap();
    assert!(resident < 4 * 1024, "{resident} KiB of its own");
    let figures = ["VmRSS", "RssAnon", "Threads"];
    for line in read("status")
        .lines()
        .filter(|l| figures.iter().any(|f| l.starts_with(f)))
    {
        println!("{line}");
    }
    finish(&room, &run);
}

#[test]
fn a_paused_run_has_no_keeper_and_gets_one_again() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &["a"])]);
    room.script(&json!({
        "a": {"attempts": [
            [{"sleep_ms": 600_000}],
            [{"write": {"path": "a", "text": "from a\n"}}, {"commit": "Add a"}],
        ]},
        "b": writes("b", "from b\n"),
    }));
    room.run(&["--detach"]).expect(0);
    let run = room.only_run();
    wait_for("a first turn", || {
        (!room.inits(&run, "a").is_empty()).then_some(())
    });
    room.keeper();
    room.orchestra(&["control", "pause"]).expect(0);
    room.assert_quiet();
    assert!(kept(&run, "PATH").is_some(), "it is not over");
    room.orchestra(&["control", "resume"]).expect(0);
    room.keeper();
    finish(&room, &run);
}

#[test]
fn a_second_keeper_refuses() {
    let (room, run) = waiting();
    let ended = room.orchestra(&["keep", run.id().as_str()]).expect(9);
    assert!(ended.out.starts_with("refused: "), "{}", ended.out);
    assert_eq!(room.processes_of("keep").len(), 1);
    finish(&room, &run);
    // Nobody is left to be kept.
    room.orchestra(&["keep", run.id().as_str()]).expect(0);
}

/// What the run's `environment.json` says of a variable.
fn kept(run: &RunDir, name: &str) -> Option<String> {
    let file: Value = serde_json::from_slice(&fs::read(run.environment()).unwrap()).unwrap();
    file["variables"][name].as_str().map(str::to_owned)
}

#[test]
fn the_environment_of_the_first_conductor_counts_whoever_brings_a_later_one() {
    let mut room = Room::new();
    room.set("ANTHROPIC_API_KEY", "first-key");
    let run = begin(&room);
    let mode = fs::metadata(run.environment())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(kept(&run, "ANTHROPIC_API_KEY").unwrap(), "first-key");
    let first_path = kept(&run, "PATH").unwrap();
    room.kill_conductor();
    // Another shell, with another key and hardly a PATH.
    room.set("ANTHROPIC_API_KEY", "second-key");
    room.set("PATH", "/usr/bin:/bin");
    room.set("ONLY_HERE", "x");
    let ended = room.orchestra(&["status"]).expect(0);
    assert!(ended.err.contains("new one"), "{}", ended.err);
    for process in [room.conductor(), room.keeper()] {
        let environ = fs::read(format!("/proc/{}/environ", process.pid)).unwrap();
        let environ = String::from_utf8_lossy(&environ);
        let vars: Vec<&str> = environ.split('\0').collect();
        assert!(vars.contains(&"ANTHROPIC_API_KEY=first-key"), "{vars:?}");
        assert!(vars.contains(&format!("PATH={first_path}").as_str()));
        assert!(!environ.contains("ONLY_HERE"), "{vars:?}");
    }
    finish(&room, &run);
    assert!(!run.environment().exists(), "no key lies about");
}

#[test]
#[allow(
    clippy::print_stdout,
    reason = "the figures, for whoever asks for them"
)]
fn from_the_death_of_a_conductor_to_the_next_one_takes_no_second() {
    let (room, run) = waiting();
    let mut times = Vec::new();
    for _ in 0..5 {
        let old = room.conductor();
        let begin = Instant::now();
        signal(old.pid, rustix::process::Signal::KILL);
        wait_for("another conductor that holds the lock", || {
            let is_new = |p: &Process| p.pid != old.pid;
            let there = room.processes_of("conduct").iter().any(is_new);
            let held = orchestra::store::lock::is_held(&run.conductor_lock()).unwrap();
            (there && held).then_some(())
        });
        times.push(begin.elapsed());
    }
    println!("{times:?}");
    assert!(times[0] < Duration::from_secs(2), "{times:?}");
    finish(&room, &run);
}
