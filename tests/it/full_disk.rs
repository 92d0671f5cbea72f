//! A disk without room, and one that cannot be written to: the run waits, and goes on when there
//! is room again. The disk is a small one of the test's own, in a mount namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orchestra::core::record::Record;
use orchestra::store::journal;
use orchestra::store::layout::{Layout, RunDir};
use serde_json::json;

use super::harness::{Room, Started, wait_for, writes};

/// A room whose repository is on a disk of some megabytes.
pub(crate) struct Disk {
    pub(crate) room: Room,
    /// The disk as its processes see it.
    pub(crate) inside: PathBuf,
    /// A process that holds the namespace, and carries out commands in it.
    holder: Started,
}

impl Disk {
    /// A disk in a mount namespace of its own.
    #[track_caller]
    pub(crate) fn new() -> Self {
        let may = Command::new("unshare")
            .args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])
            .output()
            .expect("unshare, of the package util-linux");
        assert!(
            may.status.success(),
            "these tests need a disk that can be full: `unshare -rm mount -t tmpfs none /mnt` \
             must work (user namespaces, or root): {}",
            String::from_utf8_lossy(&may.stderr)
        );
        let room = Room::new();
        let inside = room.path("disk");
        fs::create_dir(&inside).unwrap();
        // One order at a time, each a shell line in a file; `done` holds how it ended.
        let script = r#"
            mount -t tmpfs -o size=24m none "$ROOM/disk" || exit 1
            cp -a "$ROOM/repo" "$ROOM/disk/repo" && touch "$ROOM/ready"
            while [ ! -e "$ROOM/stop" ]; do
                if [ -e "$ROOM/order" ]; then
                    mv "$ROOM/order" "$ROOM/taken"
                    (cd "$ROOM/disk/repo" && . "$ROOM/taken") > "$ROOM/out" 2>&1
                    echo $? > "$ROOM/done.tmp"; mv "$ROOM/done.tmp" "$ROOM/done"
                fi
                sleep 0.01
            done"#;
        let mut command = room.command(&[]);
        let envs: Vec<_> = command
            .get_envs()
            .filter_map(|(n, v)| Some((n.to_owned(), v?.to_owned())))
            .collect();
        command = Command::new("unshare");
        command
            .args(["-rm", "sh", "-c", script])
            .current_dir(room.path(""))
            .env_clear()
            .envs(envs)
            .stdin(Stdio::null());
        let holder = room.spawn(command);
        wait_for("the disk", || room.path("ready").exists().then_some(()));
        Self {
            room,
            inside,
            holder,
        }
    }

    /// Carries a shell line out in the repository on the disk.
    #[track_caller]
    pub(crate) fn order(&self, line: &str) -> (i32, String) {
        let done = self.room.path("done");
        let _ = fs::remove_file(&done);
        fs::write(self.room.path("order.tmp"), line).unwrap();
        fs::rename(self.room.path("order.tmp"), self.room.path("order")).unwrap();
        wait_for(line, || done.exists().then_some(()));
        let code = fs::read_to_string(&done).unwrap();
        let out = fs::read_to_string(self.room.path("out")).unwrap();
        (code.trim().parse().unwrap(), out)
    }

    #[track_caller]
    fn orchestra(&self, args: &str) -> (i32, String) {
        self.order(&format!("{} {args}", env!("CARGO_BIN_EXE_orchestra")))
    }

    /// A path on the disk, as this process sees it.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        root.join(path.strip_prefix("/").unwrap())
    }

    fn repo(&self) -> PathBuf {
        self.outside(&self.inside.join("repo"))
    }

    fn run(&self) -> RunDir {
        Layout::new(&self.repo()).runs().pop().expect("a run")
    }

    fn records(&self) -> Vec<Record> {
        let lines = journal::read(&self.run().journal()).expect("a whole journal");
        lines.into_iter().map(|l| l.entry).collect()
    }

    pub(crate) fn fill(&self) {
        let (_, out) =
            self.order("head -c 40m /dev/zero > ../ballast; head -c 4k /dev/zero > ../b2; df .");
        assert!(out.contains("100%"), "{out}");
    }

    pub(crate) fn make_room(&self) {
        assert_eq!(self.order("rm -f ../ballast ../b2").0, 0);
    }
}

/// Task `a` waits for a file outside of the disk, then writes and commits.
fn begin() -> Disk {
    let disk = Disk::new();
    disk.room.plan(&[("a", &[]), ("b", &["a"])]);
    disk.room.script(&json!({
        "a": {"steps": [
            {"run": "for n in $(seq 2400); do [ -e \"$ROOM/go\" ] && break; sleep 0.05; done; \
                n=0; until echo 'from a' > a && git add a && git commit --quiet -m 'Add a'; do \
                n=$((n + 1)); [ $n -lt 600 ] || exit 1; touch \"$ROOM/failed\"; sleep 0.05; done"},
        ]},
        "b": writes("b", "from b\n"),
    }));
    let (code, out) = disk.orchestra(
        "run --tasks ../../plan.json --agent scripted --script ../../script.json --detach \
         --max-attempts 9",
    );
    assert_eq!(code, 0, "{out}");
    wait_for("a's instance", || {
        let running = |r: &Record| matches!(r, Record::AttemptRunning { .. });
        disk.records().iter().any(running).then_some(())
    });
    disk.room.keeper();
    disk
}

/// The run ends as it does with room enough, and nothing of it is left.
fn finish(disk: &Disk) {
    let (code, out) = disk.orchestra("wait");
    let log = fs::read_to_string(disk.run().log()).unwrap_or_default();
    assert_eq!(code, 0, "{out}\n{log}");
    for (name, text) in [("a", "from a\n"), ("b", "from b\n")] {
        assert_eq!(fs::read_to_string(disk.repo().join(name)).unwrap(), text);
    }
    assert_eq!(disk.records().last(), Some(&Record::Closed));
    assert!(disk.run().results().exists());
    let run = disk.run();
    for entry in fs::read_dir(run.dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            !name.ends_with(".json") || entry.metadata().unwrap().len() > 2,
            "{name} is empty"
        );
    }
    fs::write(disk.room.path("stop"), "").unwrap();
    disk.room.assert_quiet();
}

#[test]
fn a_run_on_a_full_disk_waits_and_goes_on_when_there_is_room() {
    let disk = begin();
    disk.fill();
    let before = disk.records();
    // A letter has no room either, and whoever sends it is told.
    let (code, out) = disk.orchestra("control scale-up");
    assert_ne!(code, 0, "{out}");
    assert!(out.contains("No space left"), "{out}");
    // Status is read, and says nothing that is not so.
    let (code, out) = disk.orchestra("status");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("0/2") || out.contains("0 of 2"), "{out}");
    // Conductor and all of its like are gone, and cannot begin anew as they are used to.
    disk.room.conductor().kill();
    assert_eq!(disk.records(), before, "nothing half written is believed");
    fs::write(disk.room.path("go"), "").unwrap();
    // What the instance wants to write has no room.
    wait_for("a write that fails", || {
        disk.room.path("failed").exists().then_some(())
    });
    let lost = |r: &Record| matches!(r, Record::TaskFailed { .. } | Record::Finished { .. });
    assert!(!disk.records().iter().any(lost), "{:#?}", disk.records());
    disk.make_room();
    finish(&disk);
}

#[test]
fn a_run_on_a_disk_that_becomes_read_only_waits_too() {
    let disk = begin();
    // Whoever has a file open for writing keeps a file system from becoming read-only: as after
    // an error of the disk, everything that wrote is gone. Only processes of this room, by their
    // numbers: the namespace has no process table of its own.
    let holder = disk.holder.pid();
    disk.room
        .kill_at_once(|p| p.pid != holder && p.args.iter().all(|arg| arg != "0.01"));
    let (code, out) = disk.order("mount -o remount,ro \"$ROOM/disk\"; touch x");
    assert!(out.contains("Read-only"), "{code} {out}");
    let (code, out) = disk.orchestra("control pause");
    assert_ne!(code, 0, "{out}");
    assert!(out.contains("Read-only"), "{out}");
    let (code, out) = disk.orchestra("status");
    assert_eq!(code, 0, "{out}");
    let before = disk.records();
    fs::write(disk.room.path("go"), "").unwrap();
    assert_eq!(disk.records(), before);
    let (code, out) = disk.order("mount -o remount,rw \"$ROOM/disk\"");
    assert_eq!(code, 0, "{out}");
    finish(&disk);
}

#[test]
fn a_worktree_for_which_there_is_no_room_is_waited_for_and_no_task_fails() {
    let disk = Disk::new();
    let room = &disk.room;
    room.plan(&[("a", &[]), ("b", &["a"])]);
    room.script(&json!({"a": writes("a", "from a\n"), "b": writes("b", "from b\n")}));
    // The repository has room; the worktrees are elsewhere, and have none.
    let big = "x".repeat(64 * 1024);
    room.commit("big", &big);
    disk.fill();
    let (code, out) = disk.order(&format!(
        "cd \"$ROOM/repo\" && {} run --tasks ../plan.json --agent scripted --script ../script.json \
         --worktree-dir \"$ROOM/disk/trees\" --detach",
        env!("CARGO_BIN_EXE_orchestra")
    ));
    assert_eq!(code, 0, "{out}");
    let run = room.only_run();
    let said = |what: &str| {
        let log = fs::read_to_string(run.log()).unwrap_or_default();
        log.matches(what).count()
    };
    // Each conductor finds the same, and the keeper brings the next one.
    wait_for("two tries", || {
        (said("goes on once there is room") >= 2).then_some(())
    });
    assert!(said("No space left") >= 2);
    let records = room.records(&run);
    let ended = |r: &Record| matches!(r, Record::AttemptEnded { .. } | Record::TaskFailed { .. });
    assert!(!records.iter().any(ended), "{records:#?}");
    // Whoever looks is told what it waits for, and since when.
    let issues = room.orchestra(&["status", "issues"]).expect(0).out;
    for words in ["NO ROOM", "waits since", "No space left", "make room"] {
        assert!(issues.contains(words), "{words} is missing in\n{issues}");
    }
    assert!(run.shortage().exists());
    disk.make_room();
    room.wait_until_closed(&run);
    assert_eq!(room.read("b"), "from b\n");
    assert_eq!(room.inits(&run, "a").len(), 1);
    assert!(!run.shortage().exists(), "it waits no more");
    fs::write(room.path("stop"), "").unwrap();
    room.assert_quiet();
}
