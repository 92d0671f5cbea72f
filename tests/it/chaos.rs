//! Whole runs of twelve tasks under random faults, with random processes killed at random
//! moments. A handful of seeds here; many with
//!
//! ```sh
//! ORCHESTRA_CHAOS=200 cargo test --locked --test it chaos -- --nocapture
//! ```
//!
//! `ORCHESTRA_CHAOS_FROM=N` begins with another seed. A failure names its seed and keeps the
//! room's folder.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use orchestra::core::attempt::AttemptEnd;
use orchestra::core::record::Record;
use orchestra::core::state::{Phase, State};
use orchestra::format::settings_file::SettingsFile;
use orchestra::store::atomic::read_json_in_place;
use orchestra::store::layout::RunDir;
use serde_json::{Value, json};

use super::harness::Room;

/// Seeds that are always tried.
const SEEDS: u64 = 3;
/// What the whole run may cost, and what one request costs, US dollars.
const CEILING: f64 = 4.0;
const REQUEST: f64 = 0.02;
const WORKERS: u32 = 4;
/// How long one run may take however often it is disturbed.
const PATIENCE: Duration = Duration::from_secs(180);

/// Random numbers (SplitMix64, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Twelve tasks, each after up to two of those before it.
fn graph(dice: &mut Dice) -> Vec<(String, Vec<String>)> {
    (0..12u64)
        .map(|n| {
            let wanted = if n == 0 { 0 } else { dice.below(3) };
            let mut needs: Vec<String> =
                (0..wanted).map(|_| format!("t{}", dice.below(n))).collect();
            needs.sort();
            needs.dedup();
            (format!("t{n}"), needs)
        })
        .collect()
}

/// A request that costs money, written down by the one who is charged.
fn request() -> [Value; 2] {
    [
        json!({"run": format!("echo {REQUEST} >> \"$ROOM/ledger\"")}),
        json!({"usage": {"cost_usd": REQUEST, "input_tokens": 100, "output_tokens": 10}}),
    ]
}

/// What goes wrong in an attempt before it has done anything of use.
fn fault(dice: &mut Dice) -> Vec<Value> {
    let result = |status: u64, text: &str| {
        json!({"result": {"subtype": "success", "is_error": true, "text": text,
            "terminal_reason": "api_error", "api_error_status": status}})
    };
    let last = match dice.below(12) {
        0 => json!({"exit": 1}),
        1 => json!({"signal": 11}),
        2 => json!({"signal": 9}),
        3 => json!({"hang": {}}),
        4 => json!({"hang": {"deaf": true}}),
        5 => result(529, "Overloaded"),
        6 => result(500, "Internal server error"),
        7 => json!({"huge_line": 3_000_000}),
        8 => json!("invalid_utf8"),
        9 => json!({"detach": {"seconds": 600, "clear_env": true}}),
        10 => json!({"write": {"path": "uncommitted", "text": "left behind\n"}}),
        _ => json!("close_output"),
    };
    vec![last]
}

/// What a task's attempts do; the last one is good, and whatever comes after it.
fn part(name: &str, dice: &mut Dice) -> Value {
    let mut attempts = Vec::new();
    while attempts.len() < 2 && dice.one_in(3) {
        let mut steps = Vec::from(request());
        steps.extend(fault(dice));
        attempts.push(steps);
    }
    let mut good = Vec::new();
    for n in 0..1 + dice.below(3) {
        good.extend(request());
        good.push(json!({"sleep_ms": 20 + dice.below(200)}));
        good.push(
            json!({"write": {"path": format!("{name}/{n}"), "text": format!("{name} {n}\n")}}),
        );
        good.push(json!({"commit": format!("{name}: part {n}")}));
    }
    if dice.one_in(3) {
        good.push(json!({"detach": {"seconds": 600, "clear_env": dice.one_in(2)}}));
    }
    // Whatever an attempt before left behind.
    good.push(json!({"run": "rm -f uncommitted"}));
    attempts.push(good);
    json!({"attempts": attempts})
}

/// One run, and what was done to it.
struct Storm {
    seed: u64,
    room: Room,
    story: String,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut room = Room::new();
        for (name, value) in [
            ("ORCHESTRA_RETRY_BASE_MS", "20"),
            ("ORCHESTRA_STARTUP_SILENCE_SECONDS", "2"),
            ("ORCHESTRA_PROVIDER_SILENCE_SECONDS", "2"),
            ("ORCHESTRA_TOOL_SILENCE_SECONDS", "2"),
            ("ORCHESTRA_MAX_ATTEMPTS", "12"),
            ("ORCHESTRA_OUTAGES", "12"),
            ("ORCHESTRA_SUCCESS_PERCENT", "1"),
        ] {
            room.set(name, value);
        }
        Self {
            seed,
            room,
            story: String::new(),
        }
    }

    fn blow(&mut self) {
        let mut dice = Dice(self.seed);
        let graph = graph(&mut dice);
        let tasks: Vec<Value> = graph
            .iter()
            .map(|(name, needs)| json!({"name": name, "prompt": "Do it", "dependencies": needs}))
            .collect();
        self.room.plan_of(&json!({"tasks": tasks}));
        let parts: serde_json::Map<String, Value> = graph
            .iter()
            .map(|(name, _)| (name.clone(), part(name, &mut dice)))
            .collect();
        self.room.script(&Value::Object(parts));
        self.room
            .run(&[
                "--detach",
                "--cleanup=all",
                "--verify",
                "true",
                "--max-workers",
                &WORKERS.to_string(),
                "--run-budget-usd",
                &CEILING.to_string(),
            ])
            .expect(0);
        let run = self.room.only_run();
        self.disturb(&run, &mut dice);
        self.judge(&run);
    }

    /// Kills until enough were killed, then lets the run come to its end. From time to time a
    /// person looks at it, which is how a run is found of which nothing is left alive.
    fn disturb(&mut self, run: &RunDir, dice: &mut Dice) {
        let begun = Instant::now();
        let mut kills = 4 + dice.below(8);
        let mut next = begun + Duration::from_millis(dice.below(600));
        let mut look = begun + Duration::from_secs(2);
        while !self.is_closed(run) {
            let now = Instant::now();
            assert!(
                now < begun + PATIENCE,
                "seed {}: it does not end\n{}\n{}",
                self.seed,
                self.story,
                fs::read_to_string(run.log()).unwrap_or_default()
            );
            if kills > 0 && now >= next {
                kills -= 1;
                next = now + Duration::from_millis(dice.below(900));
                self.kill_one(dice, begun);
            }
            if now >= look {
                look = now + Duration::from_secs(2);
                self.room.orchestra(&["status"]);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill_one(&mut self, dice: &mut Dice, begun: Instant) {
        let mut all = self.room.processes();
        all.sort_by_key(|p| p.pid);
        all.retain(|p| {
            ["conduct", "keep", "supervise", "play"]
                .iter()
                .any(|s| p.is(s))
        });
        let Some(some) = usize::try_from(dice.below(all.len().max(1) as u64))
            .ok()
            .and_then(|n| all.get(n))
        else {
            return;
        };
        let at = begun.elapsed().as_millis();
        let _ = writeln!(self.story, "{at} ms: killed {:?}", some.args);
        if dice.one_in(12) {
            let _ = writeln!(self.story, "{at} ms: … and everything else");
            self.room.kill_all();
        } else {
            some.kill();
        }
    }

    fn is_closed(&self, run: &RunDir) -> bool {
        self.room.records(run).last() == Some(&Record::Closed)
    }

    fn judge(&self, run: &RunDir) {
        let records = self.room.records(run);
        let settings: SettingsFile = read_json_in_place(&run.settings(), "settings")
            .unwrap()
            .unwrap();
        let plan = orchestra::format::plan_file::parse(
            &fs::read(run.plan()).unwrap(),
            &orchestra::core::plan::Limits::default(),
        )
        .unwrap()
        .plan;
        let state = State::replay(settings.facts(&plan), settings.policy(), &records);
        assert!(
            matches!(state.phase(), Phase::Finished { closed: true, .. }),
            "seed {}: {:?}\n{}",
            self.seed,
            state.phase(),
            self.story
        );
        // No task was brought to its end twice, and none of what was done is lost.
        let mut complete: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for record in &records {
            if let Record::AttemptEnded {
                task,
                end: AttemptEnd::Complete { head, .. },
                ..
            } = record
            {
                complete
                    .entry(task.as_str())
                    .or_default()
                    .push(head.as_str());
            }
        }
        for (task, heads) in &complete {
            assert_eq!(
                heads.len(),
                1,
                "seed {}: {task} was done twice\n{}",
                self.seed,
                self.story
            );
            let holders = self.room.git(&[
                "for-each-ref",
                "--contains",
                heads[0],
                "--format=%(refname)",
            ]);
            assert!(
                holders
                    .lines()
                    .any(|r| r == "refs/heads/main" || r.starts_with("refs/orchestra/backup/")),
                "seed {}: {task} is lost; {holders:?}\n{}",
                self.seed,
                self.story
            );
        }
        // Nothing that succeeded is missing from the result.
        if state.integration().is_some() {
            for (task, _) in complete {
                let first = self.room.git(&["show", &format!("main:{task}/0")]);
                assert_eq!(first.trim_end(), format!("{task} 0"), "seed {}", self.seed);
            }
        }
        self.assert_nothing_left(run);
        // What was really charged, whatever the journal says.
        let ledger = fs::read_to_string(self.room.path("ledger")).unwrap_or_default();
        let charged: f64 = ledger.lines().filter_map(|l| l.parse::<f64>().ok()).sum();
        assert!(
            charged <= CEILING + f64::from(WORKERS) * REQUEST + 1e-9,
            "seed {}: {charged} was spent of {CEILING}",
            self.seed
        );
    }

    fn assert_nothing_left(&self, run: &RunDir) {
        assert_eq!(
            self.room.worktrees(),
            std::slice::from_ref(&self.room.repo),
            "seed {}\n{}\n{}",
            self.seed,
            self.story,
            fs::read_to_string(run.log()).unwrap_or_default()
        );
        // Daemons that cleaned their environment are told by where they are.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left: Vec<String> = self
                .room
                .processes()
                .into_iter()
                .map(|p| format!("{:?}", p.args))
                .chain(self.inside())
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "seed {}: left running: {left:#?}\n{}",
                self.seed,
                self.story
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processes whose working directory is, or was, in the room.
    fn inside(&self) -> Vec<String> {
        let room = self.room.path("");
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| {
            let cwd: PathBuf = fs::read_link(entry.path().join("cwd")).ok()?;
            let args = fs::read(entry.path().join("cmdline")).ok()?;
            cwd.starts_with(&room)
                .then(|| String::from_utf8_lossy(&args).replace('\0', " "))
        })
        .collect()
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |n| n.parse().expect(name))
}

#[test]
fn whatever_is_killed_and_whatever_fails_the_run_ends_and_nothing_is_lost() {
    let from = number("ORCHESTRA_CHAOS_FROM", 1);
    let seeds = number("ORCHESTRA_CHAOS", SEEDS);
    for seed in from..from + seeds {
        let begun = Instant::now();
        let mut storm = Storm::new(seed);
        storm.blow();
        println!(
            "seed {seed}: {} disturbances, {:.1} s",
            storm.story.lines().count(),
            begun.elapsed().as_secs_f64()
        );
    }
}
