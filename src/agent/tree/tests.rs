//! With real processes: each test has a token of its own, so that tests side by side do not
//! see each other's processes.

#![cfg(target_os = "linux")]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::agent::environment::Environment;

fn marker(token: &str, task: &str) -> Marker {
    Marker::new(
        token,
        &OrchestrationId::parse("run").unwrap(),
        Some(&TaskName::parse(task).unwrap()),
    )
}

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Starts a shell that carries a marker.
fn start(marker: &Marker, script: &str) -> Child {
    let mut env = Environment::from_vars([("PATH", "/usr/bin:/bin")]);
    env.set(MARK_VARIABLE, marker.value());
    crate::agent::process::command(std::path::Path::new("/bin/sh"), &env)
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_grandchild_in_a_session_of_its_own_is_found_and_ended() {
    let mark = marker(&unique(), "a");
    // The middle shell ends at once: nobody's child any more, in a session of its own.
    let mut child = start(&mark, "(setsid sleep 600 &) ; exec sleep 600");
    let tree = Tree::marked(mark);
    wait_for("two sleepers", || tree.find().len() == 2);
    let report = end(&tree, &EndPlan::default());
    assert_eq!(report.left, []);
    assert!(report.signalled >= 2, "{report:?}");
    assert_eq!(tree.find(), []);
    let _ = child.wait();
}

#[test]
fn what_ignores_the_gentle_signal_is_killed() {
    let mark = marker(&unique(), "a");
    let mut child = start(&mark, "trap '' TERM; while :; do sleep 600; done");
    let tree = Tree::marked(mark);
    wait_for("the sleeper", || tree.find().len() == 2);
    let plan = EndPlan {
        grace: Duration::from_millis(50),
        ..EndPlan::default()
    };
    assert_eq!(end(&tree, &plan).left, []);
    let _ = child.wait();
}

#[test]
fn foreign_processes_are_not_touched() {
    let token = unique();
    let mine = marker(&token, "a");
    let others = [
        marker(&unique(), "a"),
        marker(&token, "b"),
        marker(&token, "ab"),
        marker(&format!("{token}x"), "a"),
    ];
    let mut child = start(&mine, "exec sleep 600");
    let mut foreign: Vec<Child> = others.iter().map(|m| start(m, "exec sleep 600")).collect();
    wait_for("all", || {
        others
            .iter()
            .chain([&mine])
            .all(|m| Tree::marked(m.clone()).find().len() == 1)
    });
    let report = end_marked(
        &token,
        &OrchestrationId::parse("run").unwrap(),
        Some(&TaskName::parse("a").unwrap()),
    );
    assert_eq!(report.left, []);
    for (process, marker) in foreign.iter_mut().zip(&others) {
        assert_eq!(process.try_wait().unwrap(), None, "{marker:?} was ended");
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let _ = child.wait();
}

#[test]
fn a_marker_of_the_run_covers_its_tasks() {
    let token = unique();
    let id = OrchestrationId::parse("run").unwrap();
    let mut child = start(&marker(&token, "a"), "exec sleep 600");
    let run = Tree::marked(Marker::new(&token, &id, None));
    wait_for("the sleeper", || run.find().len() == 1);
    assert_eq!(end_marked(&token, &id, None).left, []);
    let _ = child.wait();
}

#[test]
fn a_reused_number_is_another_process() {
    let mark = marker(&unique(), "a");
    let mut child = start(&mark, "exec sleep 600");
    let key = ProcessKey::of(child.id()).unwrap();
    assert!(key.is_alive());
    let earlier = ProcessKey {
        start: key.start - 1,
        ..key
    };
    assert!(!earlier.is_alive());
    let tree = Tree {
        roots: vec![earlier],
        ..Tree::default()
    };
    assert_eq!(end(&tree, &EndPlan::default()), EndReport::default());
    assert!(key.is_alive());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!key.is_alive());
}

#[test]
fn usage_is_measured() {
    let mark = marker(&unique(), "a");
    let mut child = start(&mark, "while :; do :; done");
    let tree = Tree::marked(mark);
    wait_for("CPU time", || tree.usage().cpu_ms > 0);
    let usage = tree.usage();
    assert_eq!(usage.processes, 1);
    assert!(usage.memory_bytes > 100_000, "{usage:?}");
    end(&tree, &EndPlan::default());
    let _ = child.wait();
}

#[test]
fn of_what_was_seen_only_the_very_process_of_this_boot_is_ended() {
    use crate::format::SCHEMA_VERSION;
    use crate::format::processes_file::SeenProcess;

    // It carries another marker: nothing but the file knows it.
    let mut child = start(&marker(&unique(), "a"), "exec sleep 600");
    let key = ProcessKey::of(child.id()).unwrap();
    let end = |boot_id: &str, start: u64| {
        let seen = ProcessesFile {
            schema_version: SCHEMA_VERSION,
            boot_id: boot_id.into(),
            processes: vec![SeenProcess {
                pid: key.pid,
                start,
            }],
        };
        end_leftovers(marker(&unique(), "a"), Some(&seen))
    };
    let boot = boot_id().unwrap();
    for (boot_id, start) in [("another boot", key.start), (&boot, key.start - 1)] {
        assert_eq!(end(boot_id, start), EndReport::default());
        assert!(key.is_alive());
    }
    assert_eq!(end(&boot, key.start).signalled, 1);
    assert!(!key.is_alive());
    let _ = child.wait();
}
