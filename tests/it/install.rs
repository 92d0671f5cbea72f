//! `install.sh` with a release, and what makes releases: no client, no network, no build.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Stands for every program of a release.
const PROGRAM: &str = "#!/bin/sh\ncase $1 in\n--version) echo \"orchestra of a release\" ;;\n\
    completions) echo \"# $2\" ;;\nman) echo .TH >\"$2/orchestra.1\" ;;\nesac\n";

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.path("home")).unwrap();
        fs::create_dir(world.path("built")).unwrap();
        for entry in fs::read_dir(source().join("bin")).unwrap() {
            let path = world.path("built").join(entry.unwrap().file_name());
            fs::write(&path, PROGRAM).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path(""))
            .env(
                "ORCHESTRA_RELEASES",
                format!("file://{}", self.path("releases").display()),
            )
            .current_dir(self.path("home"))
            .output()
            .unwrap()
    }

    /// Packs a release of this platform; its archive.
    fn pack(&self, target: &str) -> PathBuf {
        let (out, built) = (self.path("releases"), self.path("built"));
        let output = self.run(
            &source().join(".ci/package"),
            &[target, out.to_str().unwrap(), built.to_str().unwrap()],
        );
        assert!(output.status.success(), "{output:?}");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    }
}

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> String {
    let system = match std::env::consts::OS {
        "macos" => "apple-darwin",
        _ => "unknown-linux-gnu",
    };
    format!("{}-{system}", std::env::consts::ARCH)
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_release_is_taken_when_its_checksum_is_right_and_only_then() {
    let world = World::new();
    let install = source().join("install.sh");
    let home = world.path("home");
    let empty = || fs::read_dir(&home).unwrap().next().is_none();
    let release = |more: &[&str]| {
        let arguments = [&["--release", "--no-claude"], more].concat();
        world.run(&install, &arguments)
    };
    // There is none; then one that is not what its checksum says.
    let output = release(&[]);
    assert!(!output.status.success());
    assert!(
        words(&output).contains("could not be downloaded"),
        "{}",
        words(&output)
    );
    let archive = world.pack(&target());
    let good = fs::read(&archive).unwrap();
    let mut bad = good.clone();
    bad.push(0);
    fs::write(&archive, bad).unwrap();
    let output = release(&[]);
    assert!(!output.status.success());
    assert!(words(&output).contains("checksum"), "{}", words(&output));
    let checksum = PathBuf::from(format!("{}.sha256", archive.display()));
    let right = fs::read(&checksum).unwrap();
    fs::write(&checksum, "").unwrap();
    assert!(!release(&[]).status.success());
    fs::write(&archive, good).unwrap();
    fs::write(&checksum, right).unwrap();
    assert!(!release(&["--release=0.0.0-none"]).status.success());
    assert!(!release(&["--release=../../x"]).status.success());
    assert!(
        empty(),
        "{:?}",
        fs::read_dir(&home).unwrap().collect::<Vec<_>>()
    );

    let output = release(&[]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("Installed: orchestra of a release"),
        "{}",
        words(&output)
    );
    let current = home.join(".local/share/orchestra/current");
    for part in ["hooks/hooks.json", "commands/parallel-dev.md", "install.sh"] {
        assert!(current.join(part).is_file(), "{part}");
    }
    assert_eq!(
        fs::read_to_string(home.join(".local/share/man/man1/orchestra.1")).unwrap(),
        ".TH\n"
    );
    // Unpacked by hand it installs itself; nothing of either stays.
    let unpacked = world.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let output = world.run(
        Path::new("tar"),
        &[
            "-xzf",
            archive.to_str().unwrap(),
            "-C",
            unpacked.to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{}", words(&output));
    let folder = fs::read_dir(&unpacked)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(folder.join("share/completions/orchestra.bash").is_file());
    let output = world.run(&folder.join("install.sh"), &["--no-claude"]);
    assert!(output.status.success(), "{}", words(&output));
    let output = world.run(&install, &["--uninstall", "--no-claude", "--yes"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        empty(),
        "{:?}",
        fs::read_dir(&home).unwrap().collect::<Vec<_>>()
    );
    // Nothing stayed behind in the folder for temporary files either.
    let left = fs::read_dir(world.path("")).unwrap().count();
    assert_eq!(left, 4, "home, built, releases, unpacked");
}

/// Two terminals, or a script in each of several containers with one home.
#[test]
fn installations_at_the_same_time_do_not_disturb_each_other() {
    let world = World::new();
    let built = world.path("built");
    let arguments = ["--from", built.to_str().unwrap(), "--no-claude"];
    std::thread::scope(|scope| {
        let install = || world.run(&source().join("install.sh"), &arguments);
        let all: Vec<_> = (0..3).map(|_| scope.spawn(install)).collect();
        for one in all {
            let output = one.join().unwrap();
            assert!(output.status.success(), "{}", words(&output));
        }
    });
    let home = world.path("home");
    let program = home.join(".local/bin/orchestra");
    assert!(program.canonicalize().unwrap().is_file());
    let output = world.run(
        &source().join("install.sh"),
        &["--uninstall", "--no-claude", "--yes"],
    );
    assert!(output.status.success(), "{}", words(&output));
    let left: Vec<_> = fs::read_dir(&home).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A run starts its programs again and again: they stay until it has ended.
#[test]
fn programs_that_run_are_not_taken_from_under_a_run() {
    let world = World::new();
    let (home, built) = (world.path("home"), world.path("built"));
    // What a script is run by is the shell.
    fs::copy("/bin/sleep", built.join("orchestra-guard")).unwrap();
    // The home is reached through a link.
    fs::rename(&home, world.path("real")).unwrap();
    std::os::unix::fs::symlink(world.path("real"), &home).unwrap();
    let install = |arguments: &[&str]| {
        let arguments = [arguments, &["--no-claude", "--yes"]].concat();
        let output = world.run(&source().join("install.sh"), &arguments);
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    install(&["--from", built.to_str().unwrap()]);
    let folder = home.join(".local/share/orchestra");
    let version = folder.join(fs::read_link(folder.join("current")).unwrap());
    let mut running = Command::new(version.join("bin/orchestra-guard"))
        .arg("600")
        .spawn()
        .unwrap();
    let said = install(&["--uninstall"]);
    assert!(said.contains("its programs run"), "{said}");
    assert!(version.join("bin/orchestra").is_file());
    assert!(!home.join(".local/bin/orchestra").exists());
    running.kill().unwrap();
    running.wait().unwrap();
    install(&["--uninstall"]);
    let left: Vec<_> = fs::read_dir(&home).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A plugin without programs answers typed commands as the programs do, whatever its folder is
/// called, and is silent otherwise.
#[test]
fn a_stand_in_answers_typed_commands_and_nothing_else() {
    let world = World::new();
    let bin = world.path("a \"b\" \\n c/bin");
    fs::create_dir_all(&bin).unwrap();
    let said = |name: &str, event: &str| {
        let program = bin.join(name);
        fs::copy(source().join("bin").join(name), &program).unwrap();
        let input = world.path("input");
        fs::write(&input, format!("{{\"hook_event_name\":\"{event}\"}}")).unwrap();
        let output = Command::new("sh")
            .arg(&program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", world.path("home"))
            // No absolute path: the specification has it ignored, and so does install.sh.
            .env("XDG_DATA_HOME", "data")
            .stdin(fs::File::open(input).unwrap())
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}", words(&output));
        assert!(output.status.success(), "{}", words(&output));
        output.stdout
    };
    for name in ["orchestration-start", "orchestra-command"] {
        assert!(said(name, "SessionStart").is_empty());
        let answer: serde_json::Value =
            serde_json::from_slice(&said(name, "UserPromptExpansion")).unwrap();
        let text = answer["stopReason"].as_str().unwrap().to_owned();
        let way = format!("  {}/install.sh --release", bin.parent().unwrap().display());
        assert!(text.contains(&way), "{text}");
        let orchestra::hook::Outcome::Answer(as_programs) =
            orchestra::hook::Outcome::answered(text.strip_prefix('\n').unwrap())
        else {
            panic!("no answer");
        };
        assert_eq!(answer, as_programs);
    }
    assert!(said("orchestra-guard", "PreToolUse").is_empty());
}

/// Whatever platform install.sh asks a release for, the workflow makes.
#[test]
fn the_workflow_makes_what_install_sh_asks_for() {
    let world = World::new();
    let workflow = fs::read_to_string(source().join(".github/workflows/release.yml")).unwrap();
    let tools = world.path("tools");
    fs::create_dir(&tools).unwrap();
    let tool = |name: &str, text: &str| {
        fs::write(tools.join(name), text).unwrap();
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let mut asked = Vec::new();
    for system in ["Linux", "Darwin"] {
        for machine in ["x86_64", "amd64", "aarch64", "arm64"] {
            tool(
                "uname",
                &format!("#!/bin/sh\ncase $1 in -m) echo {machine} ;; *) echo {system} ;; esac\n"),
            );
            let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
            let output = Command::new(source().join("install.sh"))
                .args(["--release", "1.2.3", "--dry-run", "--no-claude"])
                .env("PATH", path)
                .env("HOME", world.path("home"))
                .env("ORCHESTRA_RELEASES", "https://releases.invalid/")
                .output()
                .unwrap();
            let text = words(&output);
            let start = "https://releases.invalid/v1.2.3/orchestra-1.2.3-";
            let (_, rest) = text.split_once(start).expect(&text);
            let (target, _) = rest.split_once(".tar.gz").expect(&text);
            assert!(workflow.contains(&format!("target: {target} ")), "{target}");
            asked.push(target.to_owned());
        }
    }
    asked.sort();
    asked.dedup();
    assert_eq!(workflow.matches("target: ").count(), asked.len());
    for name in asked {
        let archive = world.pack(&name);
        assert!(archive.ends_with(format!(
            "orchestra-{}-{name}.tar.gz",
            env!("CARGO_PKG_VERSION")
        )));
    }
    let output = Command::new(source().join("install.sh"))
        .args(["--release", "--dry-run", "--scope", "galaxy"])
        .env("HOME", world.path("home"))
        .output()
        .unwrap();
    assert!(words(&output).contains("there are user, project and local"));
}

/// What client 2.1.197 knows, as its program lists it. One name that it does not know makes it
/// leave the whole file of hooks aside.
const EVENTS: &[&str] = &[
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PostToolBatch",
    "Notification",
    "UserPromptSubmit",
    "UserPromptExpansion",
    "SessionStart",
    "SessionEnd",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "PreCompact",
    "PostCompact",
    "PermissionRequest",
    "PermissionDenied",
    "Setup",
    "TeammateIdle",
    "TaskCreated",
    "TaskCompleted",
    "Elicitation",
    "ElicitationResult",
    "ConfigChange",
    "WorktreeCreate",
    "WorktreeRemove",
    "InstructionsLoaded",
    "CwdChanged",
    "FileChanged",
    "MessageDisplay",
];

#[test]
fn the_oldest_client_knows_every_event_of_the_hooks() {
    let text = fs::read_to_string(source().join("hooks/hooks.json")).unwrap();
    let hooks: serde_json::Value = serde_json::from_str(&text).unwrap();
    let events: Vec<&String> = hooks["hooks"].as_object().unwrap().keys().collect();
    assert!(events.len() >= 3, "{events:?}");
    for event in events {
        assert!(EVENTS.contains(&event.as_str()), "{event}");
    }
}

/// A program that is built is installed, packed and has its stand-in.
#[test]
fn every_program_is_in_every_list() {
    let read = |name: &str| fs::read_to_string(source().join(name)).unwrap();
    let manifest: toml::Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let names = |list: &toml::Value| -> BTreeSet<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|bin| bin["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let built = names(&manifest["bin"]);
    let stand_ins: BTreeSet<String> = fs::read_dir(source().join("bin"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(built, stand_ins);
    let script = read("install.sh");
    let (_, list) = script.split_once("\nprograms='").unwrap();
    let (list, _) = list.split_once('\'').unwrap();
    let listed: BTreeSet<String> = list.split_whitespace().map(str::to_owned).collect();
    assert_eq!(built, listed);
    let first = read("bin/orchestra");
    for name in &built {
        assert_eq!(read(&format!("bin/{name}")), first, "{name}");
    }
}
