//! `install.sh` and the plugin from git, each from a clean home, with the real client.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::plugin::{PROGRAMS, only_run, said, source};
use super::support::client::{Home, Live, claude, events, program_command};
use super::support::model_server::{ModelServer, Script};

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// The programs of this build without what only debuggers need: copied again and again, that is
/// most of them.
pub(crate) fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let built = |path: &str| fs::metadata(path).unwrap().modified().unwrap();
        let stamp = PROGRAMS.iter().map(|(_, path)| built(path)).max().unwrap();
        let stamp = stamp.duration_since(std::time::UNIX_EPOCH).unwrap();
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
        let folder = parent.join(stamp.as_nanos().to_string());
        if !folder.exists() {
            let _ = fs::remove_dir_all(&parent);
            fs::create_dir_all(&parent).unwrap();
            let fresh = tempfile::tempdir_in(&parent).unwrap().keep();
            for (name, path) in PROGRAMS {
                let strip = Command::new("strip")
                    .arg("-o")
                    .arg(fresh.join(name))
                    .arg(path)
                    .status();
                if !strip.is_ok_and(|status| status.success()) {
                    fs::copy(path, fresh.join(name)).unwrap();
                }
            }
            // Another test program may have been quicker.
            let _ = fs::rename(&fresh, &folder);
        }
        folder
    })
}

/// Runs install.sh in a home; what it said.
#[track_caller]
pub(crate) fn install(home: &Home, server: &ModelServer, arguments: &[&str]) -> String {
    let output = program_command(source().join("install.sh"), home, server)
        .arg("--from")
        .arg(programs())
        .args(arguments)
        .current_dir(home.path())
        .output()
        .expect("run install.sh");
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

/// Everything in a folder: what each path is, its mode and what is in it.
fn picture(folder: &Path) -> BTreeMap<PathBuf, String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if meta.is_dir() {
                open.push(path.clone());
                String::new()
            } else {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            };
            let short = path.strip_prefix(folder).unwrap().to_owned();
            found.insert(short, format!("{:o} {content}", meta.mode()));
        }
    }
    found
}

/// What the client keeps for itself: its state, its folder but for the settings.
fn without_the_clients(mut picture: BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    picture.retain(|path, _| {
        let text = path.to_string_lossy();
        !text.starts_with(".claude.json")
            && (!text.starts_with(".claude/") || text == ".claude/settings.json")
    });
    picture
}

/// From nothing to a working command with a status line, and back to nothing.
#[test]
fn installing_twice_works_and_uninstalling_leaves_nothing() {
    let home = Home::new();
    let repository = home.repository("repo");
    let server = ModelServer::start(Script::new());
    let settings = home.path().join(".claude/settings.json");
    let own =
        r#"{ "statusLine": { "type":"command", "command": "echo 'my own'" }, "theme": "dark" }"#;
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(&settings, own).unwrap();
    let before = picture(&home.path());
    let text = install(&home, &server, &["--dry-run", "--statusline"]);
    assert!(text.contains("Nothing was changed"), "{text}");
    assert_eq!(picture(&home.path()), before);

    install(&home, &server, &["--statusline", "--yes"]);
    let text = install(&home, &server, &["--statusline", "--yes"]);
    assert!(text.contains("Installed: orchestra"), "{text}");
    assert!(text.contains("/parallel-dev"), "{text}");
    assert!(text.contains("has the status line already"), "{text}");
    let data = home.path().join(".local/share/orchestra");
    assert_eq!(fs::read_dir(data.join("versions")).unwrap().count(), 2);
    let link = home.path().join(".local/bin/orchestra");
    let run = |program: &Path, arguments: &[&str]| {
        let output = program_command(program, &home, &server)
            .args(arguments)
            .current_dir(&repository)
            .output()
            .expect("run it");
        said(&output)
    };
    assert!(run(&link, &["--version"]).starts_with("orchestra "));
    for file in [
        "man/man1/orchestra.1",
        "man/man1/orchestra-run.1",
        "bash-completion/completions/orchestra",
        "zsh/site-functions/_orchestra",
        "fish/vendor_completions.d/orchestra.fish",
    ] {
        let text = fs::read_to_string(home.path().join(".local/share").join(file)).unwrap();
        assert!(text.contains("orchestra"), "{file}");
    }
    let line: Value = serde_json::from_str(&fs::read_to_string(&settings).unwrap()).unwrap();
    let command = line["statusLine"]["command"].as_str().unwrap();
    assert!(
        command.contains("current/bin/orchestra-statusline"),
        "{command}"
    );
    let shown = run(Path::new("/bin/sh"), &["-c", command]);
    assert_eq!(shown.trim(), "my own");
    let text = run(claude(), &["-p", "/orchestra-status"]);
    assert!(text.contains("no orchestration"), "{text}");
    assert!(server.requests().is_empty());

    install(&home, &server, &["--uninstall", "--yes"]);
    let text = run(claude(), &["-p", "/orchestra-status"]);
    assert!(!text.contains("no orchestration"), "{text}");
    let after = picture(&home.path());
    for (path, content) in &after {
        let text = path.to_string_lossy();
        // The client's own state and its notes of what was said to it.
        let is_state = [
            ".claude.json",
            ".claude/backups",
            ".claude/projects",
            ".claude/history",
        ]
        .iter()
        .any(|part| text.starts_with(part));
        assert!(
            is_state || !(text.contains("orchestra") || content.contains("orchestra")),
            "{text}: {content}"
        );
    }
    let mut after = without_the_clients(after);
    let mut before = without_the_clients(before);
    // The client wrote the settings anew, with its own layout and two empty keys.
    let text = after.remove(Path::new(".claude/settings.json")).unwrap();
    before.remove(Path::new(".claude/settings.json"));
    let value: Value = serde_json::from_str(text.split_once(' ').unwrap().1).unwrap();
    let own: Value = serde_json::from_str(own).unwrap();
    assert_eq!(
        (&value["statusLine"], &value["theme"]),
        (&own["statusLine"], &own["theme"])
    );
    for (key, value) in value.as_object().unwrap() {
        assert!(
            own.get(key).is_some() || *value == json!({}),
            "{key}: {value}"
        );
    }
    assert_eq!(after, before);

    // Somebody else's program is never replaced.
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::write(&link, "#!/bin/sh\n").unwrap();
    let text = run(&source().join("install.sh"), &["--from", "/nowhere"]);
    assert!(text.contains("is not this program's"), "{text}");
    assert!(!data.exists());
}

/// A run and a session that began before an upgrade both go on with it.
#[test]
fn an_upgrade_disturbs_neither_a_run_nor_a_session() {
    let home = Home::new();
    let repository = home.repository("repo");
    let server = ModelServer::start(Script::new());
    install(&home, &server, &[]);
    let first = fs::read_link(home.path().join(".local/share/orchestra/current")).unwrap();
    let gate = home.beside("go");
    start_scripted(&home, &server, &repository, &gate, &["left", "right"]);
    let run = only_run(&repository);
    let mut command = program_command(claude(), &home, &server);
    command.current_dir(&repository);
    let mut session = Live::start(command);
    session.say("/orchestra-status");
    let told = session.result(PATIENCE).expect("an answer");
    assert!(told["result"].as_str().unwrap().contains("left"), "{told}");

    install(&home, &server, &[]);
    let second = fs::read_link(home.path().join(".local/share/orchestra/current")).unwrap();
    assert_ne!(first, second);
    session.say("/orchestra-status");
    let told = session.result(PATIENCE).expect("an answer");
    assert!(told["result"].as_str().unwrap().contains("left"), "{told}");
    fs::write(&gate, "").unwrap();
    let results = run.join("results.json");
    let log = || fs::read_to_string(run.join("orchestration.log")).unwrap_or_default();
    wait_for("the end of the run", || results.exists(), log);
    let results: Value = serde_json::from_slice(&fs::read(&results).unwrap()).unwrap();
    assert_eq!(results["verdict"], "success", "{}", log());
    for task in ["left", "right"] {
        let text = home.git(&repository, &["show", &format!("main:{task}.txt")]);
        assert_eq!(text, task);
    }
    session.say("/orchestra-status");
    let told = session.result(PATIENCE).expect("an answer");
    assert!(
        told["result"].as_str().unwrap().contains("2 of 2"),
        "{told}"
    );
    assert_eq!(session.finish(), Some(0));
    // What the run used stayed until it was not needed, and stays for a week.
    assert!(
        home.path()
            .join(".local/share/orchestra")
            .join(first)
            .exists()
    );
    assert!(server.requests().is_empty());
}

/// Starts a run of the scripted agent whose tasks wait until a file is there.
pub(crate) fn start_scripted(
    home: &Home,
    server: &ModelServer,
    repository: &Path,
    gate: &Path,
    tasks: &[&str],
) {
    let wait = format!(
        "for n in $(seq 2400); do [ -e '{}' ] && break; sleep 0.05; done",
        gate.display()
    );
    let steps = |name: &str| {
        json!({"steps": [{"run": wait}, {"write": {"path": format!("{name}.txt"), "text": name}},
            {"commit": "Work"}]})
    };
    let plan: Vec<Value> = tasks.iter().map(|name| json!({"name": name})).collect();
    let script: BTreeMap<&str, Value> = tasks.iter().map(|name| (*name, steps(name))).collect();
    let (plan_file, script_file) = (home.beside("plan.json"), home.beside("script.json"));
    fs::write(&plan_file, json!({"tasks": plan}).to_string()).unwrap();
    fs::write(&script_file, json!({"tasks": script}).to_string()).unwrap();
    let installed = home.path().join(".local/bin/orchestra");
    let program = if installed.exists() {
        installed
    } else {
        PathBuf::from(PROGRAMS[0].1)
    };
    let output = program_command(program, home, server)
        .args(["run", "--detach", "--agent", "scripted", "--tasks"])
        .arg(&plan_file)
        .arg("--script")
        .arg(&script_file)
        .current_dir(repository)
        .output()
        .expect("run the program");
    assert!(output.status.success(), "{}", said(&output));
    let run = only_run(repository);
    wait_for(
        "instances at work",
        || {
            tasks.iter().all(|task| {
                fs::read_to_string(run.join(format!("instance-{task}.status.json")))
                    .is_ok_and(|text| text.contains("\"working\""))
            })
        },
        || fs::read_to_string(run.join("orchestration.log")).unwrap_or_default(),
    );
}

#[track_caller]
pub(crate) fn wait_for(what: &str, done: impl Fn() -> bool, context: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "no {what}: {}", context());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Installed by the client from git, with nothing built: ordinary sessions see nothing of it,
/// and its commands say what to do.
#[test]
fn from_git_without_a_build_only_its_commands_say_something() {
    let home = Home::new();
    let repository = home.repository("repo");
    let clone = home.beside("published");
    for part in [".claude-plugin", "hooks", "commands", "agents", "bin"] {
        fs::create_dir_all(clone.join(part)).unwrap();
        for entry in fs::read_dir(source().join(part)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, clone.join(part).join(path.file_name().unwrap())).unwrap();
        }
    }
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "publish"],
        &[
            "config",
            "--global",
            &format!("url.file://{}.insteadOf", clone.display()),
            "https://orchestra.invalid/plugin.git",
        ],
    ] {
        home.git(&clone, arguments);
    }
    let server = ModelServer::start(Script::new().conversation(
        |r| r.mentions("Say hello"),
        |w| w.bash("orchestra status; echo \"exit $?\"").say("Hello."),
    ));
    let client = |arguments: &[&str]| {
        let output = program_command(claude(), &home, &server)
            .args(arguments)
            .current_dir(&repository)
            .output()
            .expect("run the client");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        output
    };
    let url = "https://orchestra.invalid/plugin.git";
    client(&["plugin", "marketplace", "add", url]);
    client(&["plugin", "install", "orchestra@orchestra"]);
    let streamed = [
        "--output-format",
        "stream-json",
        "--verbose",
        "--include-hook-events",
    ];
    let output = client(
        &[
            &streamed[..],
            &["--allowedTools", "Bash", "-p", "Say hello"],
        ]
        .concat(),
    );
    let mut hooks = 0;
    for event in events(&output) {
        if event["subtype"] == "hook_response" {
            hooks += 1;
            assert_eq!(
                (&event["output"], &event["exit_code"]),
                (&json!(""), &json!(0)),
                "{event}"
            );
        }
        let kind = event["subtype"].as_str().unwrap_or_default();
        assert!(!["informational", "hook_error"].contains(&kind), "{event}");
    }
    assert!(hooks > 0, "{}", said(&output));
    let results = server.requests().last().unwrap().tool_results();
    assert!(
        results[0].text.contains("install.sh --release"),
        "{}",
        results[0].text
    );
    assert!(results[0].text.contains("exit 4"), "{}", results[0].text);
    let asked = server.requests().len();
    for command in ["/parallel-dev \"Add x\"", "/orchestra-status"] {
        let text = said(&client(&["-p", command]));
        assert!(
            text.contains("install.sh") && text.contains("not on this machine"),
            "{text}"
        );
        assert!(!text.contains("Original prompt"), "{text}");
    }
    assert_eq!(server.requests().len(), asked);
    server.assert_all_expected();
}
