//! Processes that hide: found all the same.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::harness::{Room, signal, wait_for, writes};

/// Processes that work in the room's worktrees, whatever their environment.
fn daemons(room: &Room) -> Vec<u32> {
    let folder = room.path("repo.worktrees");
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let cwd = fs::read_link(entry.path().join("cwd")).ok()?;
        let args = fs::read(entry.path().join("cmdline")).ok()?;
        (cwd.starts_with(&folder) && args.starts_with(b"sleep")).then_some(pid)
    })
    .collect()
}

#[test]
fn a_daemon_that_its_supervisor_never_saw_ends_with_the_instance() {
    let room = Room::new();
    room.plan(&[("a", &[]), ("b", &[])]);
    let begins = room.path("begins");
    let go = room.path("go");
    room.script(&json!({
        "a": {"attempts": [
            [{"run": format!("touch {} ; until test -e {} ; do sleep 0.01 ; done",
                begins.display(), go.display())},
             {"detach": {"seconds": 599, "clear_env": true}},
             {"hang": {}}],
            [{"write": {"path": "a", "text": "a\n"}}, {"commit": "Add a"}],
        ]},
        "b": writes("b", "b\n"),
    }));
    let started = room.start_run(&[]);
    wait_for("the agent", || begins.exists().then_some(()));
    let supervisor = room.process("supervise", "a");
    // It sees nothing of what comes now.
    signal(supervisor.pid, Signal::STOP);
    fs::write(&go, "").unwrap();
    let daemon = wait_for("the daemon", || {
        let mut all = daemons(&room);
        all.retain(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            !environment
                .split(|b| *b == 0)
                .any(|var| var.starts_with(b"ORCHESTRA_MARK="))
        });
        all.pop()
    });
    supervisor.kill();
    started.end().expect(0);
    // What has ended works nowhere, even if nobody has reaped it yet.
    assert!(!daemons(&room).contains(&daemon));
    room.assert_quiet();
}
