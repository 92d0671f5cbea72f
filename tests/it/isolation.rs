//! What the guard lets an instance do: see [`crate::guard_rows`].

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use orchestra::agent::environment::Environment;
use orchestra::format::hook_json::HookEvent;
use orchestra::hook::Outcome;
use orchestra::hook::edge::World;
use orchestra::hook::guard::paths::Bounds;
use orchestra::hook::guard::{Verdict, hook, in_instance};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::harness::Room;
use crate::guard_rows::{self, CLASSES, Ground, ORDINARY, ORDINARY_TOOLS, Sandbox, TOOLS};

struct Field {
    _dir: tempfile::TempDir,
    ground: Ground,
    bounds: Bounds,
}

fn field() -> Field {
    let dir = tempfile::tempdir().unwrap();
    let ground = Ground::make(dir.path());
    let bounds = Bounds::new(
        &ground.work(),
        &ground.main(),
        [ground.scratch()],
        Environment::from_vars([
            ("HOME", ground.root.join("home")),
            ("TMPDIR", ground.scratch()),
            ("PATH", "/usr/bin:/bin".into()),
            ("CLAUDE_PROJECT_DIR", ground.work()),
        ]),
    );
    Field {
        _dir: dir,
        ground,
        bounds,
    }
}

impl Field {
    fn tool(&self, tool: &str, input: &Value) -> Verdict {
        let event = json!({
            "session_id": "5d0c2b7c-4a0e-4d1d-9a55-0a2f5b6c7d8e",
            "transcript_path": "/x/y.jsonl",
            "cwd": self.ground.work(),
            "permission_mode": "acceptEdits",
            "hook_event_name": "PreToolUse",
            "tool_name": tool,
            "tool_input": input,
            "tool_use_id": "toolu_1",
        });
        let event = HookEvent::parse(event.to_string().as_bytes()).unwrap();
        in_instance(&event, &self.bounds)
    }

    fn command(&self, command: &str) -> Verdict {
        self.tool("Bash", &json!({"command": command, "description": "x"}))
    }
}

#[test]
fn every_attempt_to_get_out_is_denied_with_a_reason() {
    let field = field();
    let mut wrong = Vec::new();
    let mut count = 0;
    for class in CLASSES {
        for attempt in class.attempts {
            count += 1;
            match field.command(&field.ground.put(attempt)) {
                Verdict::Deny(why) if why.len() > 20 && why.len() < 1_500 => {}
                other => wrong.push(format!("{}: {attempt}: {other:?}", class.name)),
            }
        }
    }
    for (tool, input) in TOOLS {
        count += 1;
        let input: Value = serde_json::from_str(&field.ground.put(input)).unwrap();
        let verdict = field.tool(tool, &input);
        if !matches!(verdict, Verdict::Deny(_)) {
            wrong.push(format!("{tool} {input}: {verdict:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 120, "{count}");
}

#[test]
fn ordinary_work_passes() {
    let field = field();
    let mut wrong = Vec::new();
    let count = ORDINARY.len() + ORDINARY_TOOLS.len();
    for command in ORDINARY {
        if let Verdict::Deny(why) = field.command(&field.ground.put(command)) {
            wrong.push(format!("{command}\n      {why}"));
        }
    }
    for (tool, input) in ORDINARY_TOOLS {
        let input: Value = serde_json::from_str(&field.ground.put(input)).unwrap();
        if let Verdict::Deny(why) = field.tool(tool, &input) {
            wrong.push(format!("{tool} {why}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 120, "{count}");
}

#[test]
fn the_page_about_isolation_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/isolation.md");
    let page = guard_rows::page();
    if std::env::var_os("ORCHESTRA_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "ORCHESTRA_BLESS=1 writes it anew");
}

/// The program itself: what it cannot read, and what it cannot do, is denied.
#[test]
fn the_guard_fails_closed() {
    let field = field();
    let hook = |input: &[u8], args: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_orchestra-guard"))
            .args(args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let work = field.ground.work().display().to_string();
    let main = field.ground.main().display().to_string();
    let args = ["--worktree", &work, "--main", &main];
    let event = |command: &str| {
        json!({"hook_event_name": "PreToolUse", "tool_name": "Bash", "cwd": work,
               "tool_input": {"command": command}})
        .to_string()
    };
    for input in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "\"x\"".to_owned(),
        format!("{}1", "[".repeat(100_000)),
        event(&"(".repeat(100_000)),
        event(&"$(".repeat(100_000)),
        event(&"{a,".repeat(100_000)),
        event(&"${a:-".repeat(50_000)),
        event(&"if ".repeat(50_000)),
        event(&"eval ".repeat(5_000)),
        event(&"f(){ f; f; }; f; ".repeat(3)),
        event("touch a\0b > ../x"),
    ] {
        let (code, out) = hook(input.as_bytes(), &args);
        assert_eq!(code, Some(0), "{}", &input[..input.len().min(80)]);
        assert!(
            out.contains("\"deny\""),
            "{} {out}",
            &input[..input.len().min(80)]
        );
    }
    // The client takes any other end for a refusal (`onFailure`).
    assert_eq!(
        hook(event("ls").as_bytes(), &["--worktree", &work]).0,
        Some(1)
    );
    assert_eq!(
        hook(event("ls").as_bytes(), &args),
        (Some(0), String::new())
    );
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The same thing done in another way.
fn wrapped(text: &str, how: usize) -> String {
    match how {
        0 => format!("true && {text}"),
        1 => format!("true; {text}"),
        2 => format!("# a remark: 'it\n{text}"),
        3 => format!("\n\n \t {text}\n"),
        4 => format!("if true; then\n{text}\nfi"),
        5 => format!("if false; then :; else\n{text}\nfi"),
        6 => format!("{{ {text}\n}}"),
        7 => format!("( {text}\n)"),
        8 => format!("for i in 1; do\n{text}\ndone"),
        9 => format!("while true; do\n{text}\nbreak; done"),
        10 => format!("{text}\ntrue"),
        11 => format!("true | {{ {text}\n}}"),
        12 => format!("echo \"$( {text}\n)\""),
        13 => format!("f() {{\n{text}\n}}; f"),
        14 => format!("bash -c {}", quoted(text)),
        15 => format!("eval {}", quoted(text)),
        16 => format!("! {{ {text}\n}}"),
        17 => format!("case x in (y) ;; *)\n{text}\n;; esac"),
        18 => format!("FOO=bar\n{text}"),
        19 => format!("cat <<'E_O_F' > /dev/null\n{text}\nE_O_F\n{text}"),
        20 => format!("x=$( {text}\n)"),
        21 => format!("true \\\n && {text}"),
        22 => format!("echo 'a\" $( ' \"b' \" \\' ; {text}"),
        23 => format!("false || {text}"),
        24 => format!("{{ true; }} 2>/dev/null && {text}"),
        25 => format!("env A=b bash -c {}", quoted(text)),
        26 => format!("[[ a == a ]] && {text}"),
        27 => format!("(( 1 < 2 )) ; {text}"),
        28 => format!("a=(1 '2 3' ${{a:-4}}); {text}"),
        _ => format!("echo `true` ${{x:-'y'}} $((1 + 2)) {{a,b}} *; {text}"),
    }
}

fn all_attempts() -> Vec<&'static str> {
    CLASSES
        .iter()
        .flat_map(|class| class.attempts.iter().copied())
        .collect()
}

thread_local! {
    static FIELD: Field = field();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// `PROPTEST_CASES=100000 cargo test --test it isolation` looks for longer.
    #[test]
    fn what_is_denied_stays_so_whatever_stands_round_it(
        attempt in proptest::sample::select(all_attempts()),
        hows in proptest::collection::vec(0_usize..30, 1..4),
        wide in any::<bool>(),
    ) {
        FIELD.with(|field| {
            let mut line = field.ground.put(attempt);
            if wide {
                line = line.replace(" && ", "  \\\n &&\t ");
            }
            for how in &hows {
                line = wrapped(&line, *how);
            }
            let verdict = field.command(&line);
            prop_assert!(matches!(verdict, Verdict::Deny(_)), "{hows:?}\n{line}");
            Ok(())
        })?;
    }

    /// Pieces of the attempts and of ordinary work in any order, cut anywhere.
    #[test]
    fn no_line_makes_it_fail(
        pieces in proptest::collection::vec(
            proptest::sample::select([all_attempts(), ORDINARY.to_vec()].concat()), 1..4),
        cuts in proptest::collection::vec((0_usize..200, 0_usize..200), 3),
        glue in "[ -~\n]{0,6}",
    ) {
        FIELD.with(|field| {
            let mut line = String::new();
            for (piece, (from, length)) in pieces.iter().zip(cuts.iter().cycle()) {
                let piece: String = piece.chars().skip(from / 10).take(*length).collect();
                line.push_str(&field.ground.put(&piece));
                line.push_str(&glue);
            }
            let _ = field.command(&line);
        });
    }

    #[test]
    fn no_text_makes_it_fail(line in "[a-z./~$'\"`()<>&|;{}\\\\ \n\t#=*?!,@%:0-9\\[\\]-]{0,120}") {
        FIELD.with(|field| drop(field.command(&line)));
    }

    /// Whatever comes in, an instance's guard says no or nothing.
    #[test]
    fn no_event_makes_it_fail(at in 0_usize..400, with in any::<u8>(), command in "\\PC{0,20}") {
        FIELD.with(|field| {
            let event = json!({"hook_event_name": "PreToolUse", "tool_name": "Bash",
                "cwd": field.ground.work(), "tool_input": {"command": command}});
            let mut input = event.to_string().into_bytes();
            let at = at % input.len();
            input[at] = with;
            let world = World {
                input,
                args: ["--worktree", &field.ground.put("MINE"), "--main", &field.ground.put("MAIN")]
                    .map(str::to_owned).to_vec(),
                ..World::default()
            };
            let outcome = hook(&world);
            let fine = match &outcome {
                Outcome::Silent => true,
                Outcome::Answer(answer) => {
                    answer["hookSpecificOutput"]["permissionDecision"] == "deny"
                }
                _ => false,
            };
            prop_assert!(fine, "{outcome:?}");
            Ok(())
        })?;
    }
}

/// Every file below a folder with its content, to see whether anything changed.
fn content(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.push((path.clone(), Vec::new()));
                open.push(path);
            } else if kind.is_file() {
                found.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A scripted instance is not asked by any guard: what it tries in the sandbox is stopped by
/// that alone. It commits, and says something of itself.
#[test]
fn the_sandbox_stops_what_the_page_says_and_work_goes_on_in_it() {
    let mut room = Room::new();
    room.set("ORCHESTRA_SANDBOX", "bubblewrap");
    room.plan(&[("mine", &[])]);
    fs::create_dir_all(room.path("out")).unwrap();
    let worktree = room.repo.with_file_name(format!(
        "{}.worktrees",
        room.repo.file_name().unwrap().to_string_lossy()
    ));
    let mut tries = String::from("exec 2>/dev/null </dev/null\n");
    for class in CLASSES
        .iter()
        .filter(|class| class.sandbox == Sandbox::Stops)
    {
        for attempt in class.attempts.iter().take(7) {
            let place = |path: &Path| path.display().to_string();
            let line = attempt
                .replace("MAIN", &place(&room.repo))
                .replace("../../main", &place(&room.repo))
                .replace("OTHER", &place(&worktree.join("other")))
                .replace("MINE", ".")
                .replace("HOME_DIR", "$HOME")
                .replace("OUT", &place(&room.path("out")));
            tries.push_str(&format!(
                "timeout 5 bash -c {} > /dev/null\n",
                quoted(&line)
            ));
            tries.push_str(
                "cd \"$W\"; git checkout -q -f task/mine; git reset -q --hard; git clean -fdq\n",
            );
        }
    }
    let main = room.repo.display().to_string();
    let work = [
        "W=$PWD; export W; touch begun".to_owned(),
        tries,
        format!("python3 -c \"open('{main}/made','w')\""),
        format!("touch /proc/1/root{main}/made /proc/$(pgrep -o orchestra)/root{main}/made"),
        "touch ~/made ~/.bashrc /etc/orchestra-made; git update-ref refs/heads/main HEAD~0 0000000000000000000000000000000000000000".to_owned(),
        "echo x > /tmp/private && echo y > $TMPDIR/other && cat $TMPDIR/private".to_owned(),
    ]
    .join("\n");
    room.script(&json!({ "mine": { "steps": [
        { "run": format!("( {work}\n) >/dev/null 2>&1; true") },
        { "run": "orchestra report progress half --percent 50 && echo x > mine.md && git add mine.md" },
        { "commit": "mine" },
    ]}}));
    let home = content(&room.path("home"));
    room.git(&["config", "core.filemode", "true"]);
    let git = |name: &str| fs::read(room.repo.join(".git").join(name)).unwrap_or_default();
    let before = (
        git("config"),
        git("HEAD"),
        git("index"),
        content(&room.repo.join(".git/hooks")),
    );
    let tip = room.git(&["rev-parse", "main"]);
    room.run(&["--no-merge", "--detach"]).expect(0);
    room.orchestra(&["wait"]);
    let run = room.only_run();
    let status = room.status(&run, "mine");
    assert_eq!(status["status"], "complete", "{status:#}");
    assert_eq!(status["progress"]["said"]["text"], "half", "{status:#}");
    assert_eq!(
        before,
        (
            git("config"),
            git("HEAD"),
            git("index"),
            content(&room.repo.join(".git/hooks"))
        )
    );
    assert_eq!(tip, room.git(&["rev-parse", "main"]));
    assert_eq!(room.git(&["status", "--porcelain"]), "");
    assert_eq!(room.git(&["show", "task/mine:mine.md"]), "x");
    for place in [
        room.repo.join("made"),
        room.path("out/made"),
        "/etc/orchestra-made".into(),
    ] {
        assert!(!place.exists(), "{}", place.display());
    }
    let changed: Vec<_> = content(&room.path("home"))
        .into_iter()
        .filter(|(path, _)| !path.components().any(|c| c.as_os_str() == ".claude"))
        .filter(|file| !home.contains(file))
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
    let log = fs::read_to_string(run.dir().join("notes.jsonl")).unwrap_or_default();
    assert!(!log.contains("cannot"), "{log}");
}

#[test]
fn a_sandbox_that_is_not_to_be_had_is_said_before_anything_begins() {
    let mut room = Room::new();
    room.plan(&[("a", &[])]);
    room.script(&json!({"a": super::harness::writes("a", "x\n")}));
    // git and the like, but no bubblewrap.
    let bin = room.path("bin");
    fs::create_dir_all(&bin).unwrap();
    for program in ["git", "sh", "bash", "env", "true"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
            .unwrap();
        std::os::unix::fs::symlink(found, bin.join(program)).unwrap();
    }
    room.set("PATH", bin.display().to_string());
    room.set("ORCHESTRA_SANDBOX", "bubblewrap");
    let refused = room.run(&[]).expect(2);
    assert!(
        refused.err.contains("bubblewrap (bwrap) is not installed"),
        "{}",
        refused.err
    );
    assert!(room.runs().is_empty());
    room.set("ORCHESTRA_SANDBOX", "auto");
    let ended = room.run(&[]).expect(0);
    assert!(ended.err.contains("without a sandbox"), "{}", ended.err);
}
