//! Real conflicts, real tools, no network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Conflict, Rules, Rung, Settled, Workbench, remember, settle};
use crate::agent::environment::Environment;
use crate::agent::shell::{CommandReport, run_configured};
use crate::agent::tree::Marker;
use crate::core::id::{Oid, OrchestrationId};
use crate::git::testkit::{Fixture, commit_in, git_in, read, write_executable};
use crate::git::{Merge, Repo};

const LONG: Duration = Duration::from_secs(300);

/// A path, and what the base and the two sides have there.
type Meeting<'a> = (&'a str, &'a [u8], &'a [u8], &'a [u8]);

/// A repository whose branches meet, and a workbench beside it.
struct Room {
    f: Fixture,
    scratch: PathBuf,
    log: PathBuf,
    env: Environment,
    marker: Marker,
    stop: AtomicBool,
    union: Vec<String>,
    lockfiles: BTreeMap<String, String>,
}

impl Room {
    #[allow(
        clippy::disallowed_methods,
        reason = "the tools that are tried are found as the person finds them"
    )]
    fn new() -> Self {
        let f = Fixture::new();
        let home = f.beside("home");
        std::fs::create_dir_all(&home).unwrap();
        // The tools themselves: what finds them for a person needs their home.
        let cargo = Path::new(env!("CARGO")).parent().unwrap();
        let mut path = cargo.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut env = Environment::from_vars([("HOME", home.as_os_str())]);
        env.set("PATH", path);
        env.set("GIT_CONFIG_GLOBAL", "/dev/null");
        env.set("GIT_CONFIG_NOSYSTEM", "1");
        env.set("npm_config_update_notifier", "false");
        let token = uuid::Uuid::new_v4().to_string();
        Self {
            scratch: f.beside("scratch"),
            log: f.beside("log"),
            env,
            marker: Marker::integration(&token, &OrchestrationId::parse("r").unwrap()),
            stop: AtomicBool::new(false),
            union: Vec::new(),
            lockfiles: BTreeMap::new(),
            f,
        }
    }

    fn repo(&self) -> Repo {
        self.f.repo()
    }

    fn bench(&self) -> Workbench<'_> {
        Workbench {
            scratch: &self.scratch,
            env: &self.env,
            log: &self.log,
            timeout: LONG,
            marker: &self.marker,
            stop: &self.stop,
        }
    }

    fn run(&self, folder: &Path, command: &str) -> CommandReport {
        let never = AtomicBool::new(false);
        let (env, log) = (&self.env, &self.log);
        run_configured(command, folder, env, log, LONG, &self.marker, &never)
    }

    fn must(&self, folder: &Path, command: &str) -> String {
        let report = self.run(folder, command);
        assert!(report.is_green(), "{command}: {}", report.tail);
        report.tail
    }

    /// A commit on a branch of its own that starts at `main`.
    fn branch(&self, name: &str, work: impl FnOnce(&Path)) -> Oid {
        self.f.git(&["checkout", "-q", "-b", name, "main"]);
        work(&self.f.root);
        let commit = commit_in(&self.f.root, name);
        self.f.git(&["checkout", "-q", "main"]);
        commit
    }

    /// A base and two sides of one file.
    fn three(&self, path: &str, base: &[u8], ours: &[u8], theirs: &[u8]) -> (Oid, Oid) {
        self.files(&[(path, base, ours, theirs)])
    }

    fn files(&self, files: &[Meeting<'_>]) -> (Oid, Oid) {
        let put = |root: &Path, pick: &dyn Fn(usize) -> Vec<u8>| {
            for (at, (path, ..)) in files.iter().enumerate() {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, pick(at)).unwrap();
            }
        };
        put(&self.f.root, &|at| files[at].1.to_vec());
        self.f.commit("base");
        let ours = self.branch("ours", |root| put(root, &|at| files[at].2.to_vec()));
        let theirs = self.branch("theirs", |root| put(root, &|at| files[at].3.to_vec()));
        (ours, theirs)
    }

    /// Merges, which must conflict, and settles; the person's things stay as they are.
    fn settle(&self, ours: &Oid, theirs: &Oid) -> Settled {
        let repo = self.repo();
        let Merge::Conflict {
            tree,
            files,
            messages,
        } = repo.merge(ours, theirs).unwrap()
        else {
            panic!("must conflict");
        };
        let conflict = Conflict {
            tree: &tree,
            files: &files,
            messages: &messages,
        };
        let config = read(&self.f.root, ".git/config");
        let index = std::fs::read(self.f.root.join(".git/index")).unwrap();
        let rules = Rules::new(&self.union, &self.lockfiles).unwrap();
        let settled = settle(&repo, ours, theirs, conflict, &rules, &self.bench()).unwrap();
        assert!(repo.status(&self.f.root).unwrap().is_clean());
        assert_eq!(read(&self.f.root, ".git/config"), config);
        assert_eq!(
            std::fs::read(self.f.root.join(".git/index")).unwrap(),
            index
        );
        let debris = std::fs::read_dir(self.f.root.join(".git"))
            .unwrap()
            .flatten();
        let debris = debris.filter(|e| e.file_name().to_string_lossy().starts_with("orchestra-r"));
        assert_eq!(debris.count(), 0);
        settled
    }

    /// The paths and rungs of a merge that was settled as a whole, and its tree.
    fn all(&self, ours: &Oid, theirs: &Oid) -> (Oid, Vec<(String, Rung)>) {
        match self.settle(ours, theirs) {
            Settled::All { tree, how } => (tree, how),
            some => panic!("{some:?}\n{}", self.said()),
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn left(&self, ours: &Oid, theirs: &Oid) -> Vec<String> {
        match self.settle(ours, theirs) {
            Settled::All { .. } => Vec::new(),
            Settled::Some { left, .. } => left.into_iter().map(|f| f.path).collect(),
        }
    }

    fn content(&self, tree: &Oid, path: &str) -> String {
        self.f.git(&["cat-file", "blob", &format!("{tree}:{path}")]) + "\n"
    }

    /// A folder that holds a tree, apart from the scratch worktree.
    fn export(&self, tree: &Oid) -> PathBuf {
        let folder = self.f.beside("export");
        let commit = self.f.git(&["commit-tree", "-m", "export", tree.as_str()]);
        let shown = folder.display().to_string();
        self.f
            .git(&["worktree", "add", "-q", "--detach", &shown, &commit]);
        folder
    }
}

#[test]
fn rungs_are_written_in_kebab_case() {
    let command = "make lock".to_owned();
    let written = serde_json::to_string(&[Rung::Structural, Rung::Lockfile { command }]).unwrap();
    assert_eq!(
        written,
        r#"[{"by":"structural"},{"by":"lockfile","command":"make lock"}]"#
    );
}

fn structural(path: &str) -> (String, Rung) {
    (path.to_owned(), Rung::Structural)
}

/// Crates that Cargo takes for those of the registry, in two versions each.
fn vendor(root: &Path) {
    let config = "[source.crates-io]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"vendor\"\n";
    write(root, ".cargo/config.toml", config);
    for name in ["bar", "foo", "old"] {
        for version in ["1.0.0", "1.1.0"] {
            let folder = format!("vendor/{name}-{version}");
            let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n");
            write(root, &format!("{folder}/Cargo.toml"), &manifest);
            write(root, &format!("{folder}/src/lib.rs"), "");
            let sums = format!("{{\"files\":{{}},\"package\":\"{}\"}}", "0".repeat(64));
            write(root, &format!("{folder}/.cargo-checksum.json"), &sums);
        }
    }
}

fn write(root: &Path, path: &str, text: &str) {
    crate::git::testkit::write_in(root, path, text);
}

fn crate_manifest(name: &str, dependencies: &[&str]) -> String {
    let mut text = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n\n[dependencies]\n");
    for dependency in dependencies {
        text += &format!("{dependency} = \"1\"\n");
    }
    text
}

#[test]
fn two_dependencies_of_a_cargo_project() {
    let room = Room::new();
    let root = room.f.root.clone();
    // Pinned to what is not the newest.
    let pin = |root: &Path| {
        room.must(root, "cargo update --workspace --offline");
        let lock = read(root, "Cargo.lock");
        write(root, "Cargo.lock", &lock.replace("\"1.1.0\"", "\"1.0.0\""));
        room.must(root, "cargo update --workspace --locked --offline");
    };
    vendor(&root);
    write(&root, ".gitignore", "target\n");
    write(&root, "src/main.rs", "fn main() {}\n");
    write(&root, "Cargo.toml", &crate_manifest("app", &["old"]));
    pin(&root);
    room.f.commit("base");
    let ours = room.branch("ours", |root| {
        write(root, "Cargo.toml", &crate_manifest("app", &["foo", "old"]));
        pin(root);
    });
    let theirs = room.branch("theirs", |root| {
        write(root, "Cargo.toml", &crate_manifest("app", &["bar", "old"]));
        pin(root);
    });
    let (tree, how) = room.all(&ours, &theirs);
    let offline = "cargo update --workspace --offline".to_owned();
    assert_eq!(
        how,
        [
            ("Cargo.lock".to_owned(), Rung::Lockfile { command: offline }),
            structural("Cargo.toml")
        ]
    );
    assert_eq!(
        room.content(&tree, "Cargo.toml"),
        crate_manifest("app", &["bar", "foo", "old"])
    );
    let lock = room.content(&tree, "Cargo.lock");
    assert_eq!(
        lock.matches("version = \"1.0.0\"").count(),
        3,
        "pins stay: {lock}"
    );
    let export = room.export(&tree);
    room.must(&export, "cargo build --locked --offline");
    assert!(room.repo().status(&export).unwrap().is_clean());
}

#[test]
fn a_cargo_workspace_in_a_folder_whose_members_conflict() {
    let room = Room::new();
    let root = room.f.root.clone();
    let member = |root: &Path, name: &str, dependencies: &[&str]| {
        let folder = format!("rust/{name}");
        write(root, &format!("{folder}/src/lib.rs"), "");
        write(
            root,
            &format!("{folder}/Cargo.toml"),
            &crate_manifest(name, dependencies),
        );
    };
    let workspace = |root: &Path, members: &[&str]| {
        let members: Vec<String> = members.iter().map(|m| format!("    \"{m}\",\n")).collect();
        let text = format!(
            "[workspace]\nresolver = \"3\"\nmembers = [\n{}]\n",
            members.concat()
        );
        write(root, "rust/Cargo.toml", &text);
        room.must(&root.join("rust"), "cargo update --workspace --offline");
    };
    vendor(&root);
    member(&root, "a", &[]);
    workspace(&root, &["a"]);
    room.f.commit("base");
    let ours = room.branch("ours", |root| {
        member(root, "b", &["foo"]);
        workspace(root, &["a", "b"]);
    });
    let theirs = room.branch("theirs", |root| {
        member(root, "c", &["bar"]);
        workspace(root, &["a", "c"]);
    });
    let (tree, how) = room.all(&ours, &theirs);
    let paths: Vec<&str> = how.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["rust/Cargo.lock", "rust/Cargo.toml"]);
    let manifest = room.content(&tree, "rust/Cargo.toml");
    assert!(
        manifest.contains("\n    \"a\",\n    \"b\",\n    \"c\",\n]"),
        "{manifest}"
    );
    let export = room.export(&tree).join("rust");
    room.must(
        &export,
        "cargo metadata --locked --offline --format-version 1",
    );
}

#[test]
fn a_lock_file_waits_for_its_manifest() {
    let room = Room::new();
    let manifest = |version: &str| format!("[package]\nname = \"x\"\nversion = \"{version}\"\n");
    let lock = |v: &str| format!("version = 4\n\n[[package]]\nname = \"x\"\nversion = \"{v}\"\n");
    let (base, a, b) = (manifest("1.0.0"), manifest("1.1.0"), manifest("2.0.0"));
    let (lock_base, lock_a, lock_b) = (lock("1.0.0"), lock("1.1.0"), lock("2.0.0"));
    let (ours, theirs) = room.files(&[
        ("x/Cargo.toml", base.as_bytes(), a.as_bytes(), b.as_bytes()),
        (
            "Cargo.lock",
            lock_base.as_bytes(),
            lock_a.as_bytes(),
            lock_b.as_bytes(),
        ),
    ]);
    assert_eq!(room.left(&ours, &theirs), ["Cargo.lock", "x/Cargo.toml"]);
    assert!(!room.scratch.exists(), "nothing was needed on disk");
}

fn npm_manifest(names: &[&str]) -> String {
    let lines: Vec<String> = names
        .iter()
        .map(|n| format!("    \"{n}\": \"file:vendor/{n}\""))
        .collect();
    format!(
        "{{\n  \"name\": \"app\",\n  \"version\": \"1.0.0\",\n  \"dependencies\": {{\n{}\n  }}\n}}\n",
        lines.join(",\n")
    )
}

#[test]
fn two_dependencies_of_an_npm_project() {
    let room = Room::new();
    let root = room.f.root.clone();
    let install = |root: &Path, names: &[&str]| {
        write(root, "package.json", &npm_manifest(names));
        room.must(
            root,
            "npm install --package-lock-only --ignore-scripts --no-audit --no-fund --offline",
        );
    };
    for name in ["a", "b", "c"] {
        let manifest = format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}\n");
        write(&root, &format!("vendor/{name}/package.json"), &manifest);
    }
    write(&root, ".gitignore", "node_modules\n");
    install(&root, &["a"]);
    room.f.commit("base");
    let ours = room.branch("ours", |root| install(root, &["a", "b"]));
    let theirs = room.branch("theirs", |root| install(root, &["a", "c"]));
    let (tree, how) = room.all(&ours, &theirs);
    assert_eq!(how.len(), 2);
    assert_eq!(how[1], structural("package.json"));
    assert!(
        matches!(&how[0], (path, Rung::Lockfile { command })
            if path == "package-lock.json" && command.ends_with("--offline")),
        "{how:?}"
    );
    assert_eq!(
        room.content(&tree, "package.json"),
        npm_manifest(&["a", "b", "c"])
    );
    let export = room.export(&tree);
    room.must(
        &export,
        "npm ci --offline --ignore-scripts --no-audit --no-fund",
    );
    let listed = room.must(&export, "npm ls");
    for name in ["a@1.0.0", "b@1.0.0", "c@1.0.0"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert!(room.repo().status(&export).unwrap().is_clean());
}

#[test]
fn lines_of_both_sides_where_the_person_said_so() {
    let mut room = Room::new();
    let (ours, theirs) = room.files(&[
        (
            "CHANGELOG.md",
            b"# Log\n",
            b"# Log\n- ours\n",
            b"# Log\n- theirs\n",
        ),
        ("other.md", b"x\n", b"ours\n", b"theirs\n"),
        (
            "raw.log",
            b"\xff\n",
            b"\xff\nours\xfe\n",
            b"\xff\ntheirs\xfd\n",
        ),
        ("picture.log", b"\0a", b"\0b", b"\0c"),
    ]);
    assert_eq!(
        room.left(&ours, &theirs),
        ["CHANGELOG.md", "other.md", "picture.log", "raw.log"]
    );
    room.union = vec!["CHANGELOG.md".into(), "*.log".into()];
    let Settled::Some {
        tree,
        settled,
        left,
    } = room.settle(&ours, &theirs)
    else {
        panic!("other.md is left");
    };
    let paths: Vec<&str> = left.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["other.md", "picture.log"]);
    assert_eq!(
        settled,
        [
            ("CHANGELOG.md".to_owned(), Rung::Union),
            ("raw.log".to_owned(), Rung::Union)
        ]
    );
    assert_eq!(
        room.content(&tree, "CHANGELOG.md"),
        "# Log\n- ours\n- theirs\n"
    );
    assert!(
        room.content(&tree, "other.md").contains("<<<<<<<"),
        "markers stay"
    );
    let raw = room.repo().blob(
        &crate::git::testkit::oid(&room.f.git(&["rev-parse", &format!("{tree}:raw.log")])),
        99,
    );
    assert_eq!(raw.unwrap().unwrap(), b"\xff\nours\xfe\ntheirs\xfd\n");
    assert!(!room.scratch.exists(), "nothing was needed on disk");
}

#[test]
fn a_file_that_both_made_is_united_from_nothing() {
    let mut room = Room::new();
    room.union = vec!["/notes/".into()];
    let ours = room.branch("ours", |root| write(root, "notes/today.txt", "a\n"));
    let theirs = room.branch("theirs", |root| write(root, "notes/today.txt", "b\n"));
    let (tree, how) = room.all(&ours, &theirs);
    assert_eq!(how, [("notes/today.txt".to_owned(), Rung::Union)]);
    assert_eq!(room.content(&tree, "notes/today.txt"), "a\nb\n");
}

#[test]
fn line_ends_of_windows_and_a_change_outside_of_the_conflict() {
    let room = Room::new();
    let text = |top: &str, dependencies: &str| {
        format!(
            "# {top}\n[package]\nname = \"x\"\n\n\n\n\n[dependencies]\na = \"1\"\n{dependencies}"
        )
        .replace('\n', "\r\n")
    };
    let (base, a, b) = (
        text("Old.", ""),
        text("Old.", "b = \"1\"\n"),
        text("New.", "c = \"1\"\n"),
    );
    let (ours, theirs) = room.three("Cargo.toml", base.as_bytes(), a.as_bytes(), b.as_bytes());
    let (tree, how) = room.all(&ours, &theirs);
    assert_eq!(how, [structural("Cargo.toml")]);
    assert_eq!(
        room.content(&tree, "Cargo.toml").trim_end(),
        text("New.", "b = \"1\"\nc = \"1\"\n").trim_end()
    );
}

#[test]
fn sums_of_go_need_no_tool() {
    let room = Room::new();
    let (ours, theirs) = room.three(
        "go.sum",
        b"a v1.0.0 h1:A=\n",
        b"a v1.0.0 h1:A=\nb v1.0.0 h1:B=\n",
        b"a v1.0.0 h1:A=\nc v1.0.0 h1:C=\n",
    );
    let (tree, how) = room.all(&ours, &theirs);
    assert_eq!(how, [structural("go.sum")]);
    assert_eq!(
        room.content(&tree, "go.sum"),
        "a v1.0.0 h1:A=\nb v1.0.0 h1:B=\nc v1.0.0 h1:C=\n"
    );
}

#[test]
fn a_command_of_the_person_writes_a_lock_file() {
    let mut room = Room::new();
    let script = "set -e; sort -u \"$ORCHESTRA_OURS\" \"$ORCHESTRA_THEIRS\" > \"$ORCHESTRA_FILE\"; \
        test -s \"$ORCHESTRA_BASE\"; touch untracked; echo done in $(basename \"$PWD\")";
    write_executable(&room.f.beside("mend"), script);
    let command = room.f.beside("mend").display().to_string();
    room.lockfiles
        .insert("my deps.lock".into(), command.clone());
    let (ours, theirs) = room.three("sub/my deps.lock", b"m\n", b"m\nours\n", b"m\ntheirs\n");
    let (tree, how) = room.all(&ours, &theirs);
    assert_eq!(
        how,
        [("sub/my deps.lock".to_owned(), Rung::Lockfile { command })]
    );
    assert_eq!(room.content(&tree, "sub/my deps.lock"), "m\nours\ntheirs\n");
    assert!(room.said().contains("done in sub"));
    let listed = room.f.git(&["ls-tree", "-r", "--name-only", tree.as_str()]);
    assert!(!listed.contains("untracked"), "{listed}");
}

#[test]
fn a_command_that_does_anything_else_settles_nothing() {
    let mut room = Room::new();
    let (ours, theirs) = room.three("x.lock", b"m\n", b"m\nours\n", b"m\ntheirs\n");
    for command in [
        "echo new > x.lock; exit 3",
        "echo new > x.lock; echo more >> README",
        "echo new > x.lock; rm README",
        "echo new > x.lock; echo more >> README; git add README",
        "echo new > x.lock; git -c user.name=x -c user.email=x@y commit -qam x",
        "rm x.lock",
        "rm x.lock; ln -s /etc/passwd x.lock",
        "rm x.lock; mkdir x.lock",
        "printf '<<<<<<< ours\\na\\n=======\\nb\\n>>>>>>> theirs\\n' > x.lock",
        "no-such-tool-anywhere",
        "kill -9 $$",
    ] {
        room.lockfiles.insert("*.lock".into(), command.into());
        assert_eq!(room.left(&ours, &theirs), ["x.lock"], "{command}");
    }
    room.lockfiles
        .insert("*.lock".into(), "echo new > x.lock".into());
    let (tree, _) = room.all(&ours, &theirs);
    assert_eq!(
        room.content(&tree, "x.lock"),
        "new\n",
        "what was left behind is gone"
    );
}

#[test]
fn a_command_that_spoils_the_scratch_worktree_does_not_reach_beyond_it() {
    let mut room = Room::new();
    let (ours, theirs) = room.files(&[
        ("x.lock", b"m\n", b"m\nours\n", b"m\ntheirs\n"),
        ("y.lock", b"m\n", b"m\nours\n", b"m\ntheirs\n"),
    ]);
    // Inside the person's checkout: what lies round it is theirs.
    room.scratch = room.f.root.join(".git/scratch/x");
    let inside = room.f.root.join("inside/x");
    for scratch in [room.scratch.clone(), inside] {
        room.scratch = scratch;
        room.f.write(".git/info/exclude", "inside\n");
        let command = "echo new > $ORCHESTRA_FILE; rm ../x/.git";
        room.lockfiles.insert("*.lock".into(), command.into());
        let tip = room.f.git(&["rev-parse", "HEAD"]);
        assert_eq!(room.left(&ours, &theirs), ["x.lock", "y.lock"]);
        assert_eq!(room.f.git(&["rev-parse", "HEAD"]), tip);
        assert_eq!(room.f.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
        let command = "echo new > $ORCHESTRA_FILE";
        room.lockfiles.insert("*.lock".into(), command.into());
        assert_eq!(room.all(&ours, &theirs).1.len(), 2, "it is made anew");
    }
}

#[test]
fn a_configured_json_lock_file_must_be_json() {
    let mut room = Room::new();
    let (ours, theirs) = room.three("l.json", b"{}\n", b"{\"a\":1}\n", b"{\"b\":1}\n");
    room.lockfiles
        .insert("l.json".into(), "echo '{\"a\":' > l.json".into());
    assert_eq!(room.left(&ours, &theirs), ["l.json"]);
    room.lockfiles
        .insert("l.json".into(), "echo '{\"a\": 2}' > l.json".into());
    assert_eq!(room.all(&ours, &theirs).1.len(), 1);
    // Switched off.
    room.lockfiles.insert("l.json".into(), " ".into());
    assert_eq!(room.left(&ours, &theirs), ["l.json"]);
}

#[test]
fn a_command_of_the_person_waits_for_its_neighbours() {
    let mut room = Room::new();
    let (ours, theirs) = room.files(&[
        ("p/deps.in", b"m\n", b"ours\n", b"theirs\n"),
        ("p/deps.lock", b"m\n", b"ours\n", b"theirs\n"),
        ("q/deps.lock", b"m\n", b"ours\n", b"theirs\n"),
    ]);
    room.lockfiles
        .insert("deps.lock".into(), "echo made > deps.lock".into());
    assert_eq!(room.left(&ours, &theirs), ["p/deps.in", "p/deps.lock"]);
    room.union = vec!["deps.in".into()];
    assert_eq!(room.all(&ours, &theirs).1.len(), 3);
}

#[test]
fn a_wish_to_stop_is_heard_during_a_command() {
    let mut room = Room::new();
    let (ours, theirs) = room.files(&[
        ("a.lock", b"m\n", b"m\nours\n", b"m\ntheirs\n"),
        (
            "package.json",
            b"{}\n",
            b"{\"name\": \"x\"}\n",
            b"{\"license\": \"MIT\"}\n",
        ),
        ("z.lock", b"m\n", b"m\nours\n", b"m\ntheirs\n"),
    ]);
    let began = room.f.beside("began");
    let command = format!("touch '{}'; sleep 600", began.display());
    room.lockfiles.insert("*.lock".into(), command);
    let begin = Instant::now();
    let settled = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !began.exists() {
                assert!(begin.elapsed() < LONG, "the command did not begin");
                std::thread::sleep(Duration::from_millis(10));
            }
            room.stop.store(true, Ordering::Relaxed);
        });
        room.settle(&ours, &theirs)
    });
    assert!(begin.elapsed() < LONG);
    let Settled::Some { settled, left, .. } = settled else {
        panic!("the lock files are left");
    };
    assert_eq!(
        settled,
        [structural("package.json")],
        "what was done is kept"
    );
    assert_eq!(left.len(), 2);
    assert_eq!(room.said().matches("sleep 600").count(), 1);
}

#[test]
fn what_was_resolved_once_is_resolved_again() {
    let room = Room::new();
    room.f.git(&["config", "rerere.enabled", "true"]);
    let (ours, theirs) = room.files(&[
        ("f", b"1\n2\n3\n", b"1\nours\n3\n", b"1\ntheirs\n3\n"),
        ("g", b"1\n2\n3\n", b"1\nours g\n3\n", b"1\ntheirs g\n3\n"),
    ]);
    let cache = room.f.root.join(".git/rr-cache");
    assert_eq!(room.left(&ours, &theirs), ["f", "g"]);
    let remembered = || std::fs::read_dir(&cache).map_or(0, Iterator::count);
    assert_eq!(
        remembered(),
        0,
        "what nobody resolved leaves nothing behind"
    );

    // A resolver settles one of them (and knows nothing of the other).
    let resolved = room.f.commit_on(&ours, &[("f", "1\nboth\n3\n")]);
    let repo = room.repo();
    let other = room.f.commit_on(&ours, &[("h", "unrelated\n")]);
    let tree = room.f.git(&["rev-parse", &format!("{resolved}^{{tree}}")]);
    assert_eq!(
        remember(&repo, &ours, &theirs, &resolved, &room.bench()).unwrap(),
        2
    );
    assert!(remembered() > 0);
    assert!(repo.status(&room.f.root).unwrap().is_clean());
    assert!(repo.status(&room.scratch).unwrap().is_clean());

    // Again on top of something else.
    let (again, how) = room.all(&other, &theirs);
    let rerere = |path: &str| (path.to_owned(), Rung::Rerere);
    assert_eq!(how, [rerere("f"), rerere("g")]);
    assert_eq!(room.content(&again, "f"), "1\nboth\n3\n");
    assert_eq!(room.content(&again, "h"), "unrelated\n");
    assert_eq!(
        room.content(&again, "g"),
        room.content(&crate::git::testkit::oid(&tree), "g")
    );

    // The person's own merge finds it too.
    room.f.git(&["checkout", "-q", "ours"]);
    // It ends with an error all the same: nothing is committed yet.
    git_in(
        &room.f.root,
        &["config", "alias.m", "!git merge -q \"$@\"; :"],
    );
    git_in(&room.f.root, &["m", theirs.as_str()]);
    assert_eq!(read(&room.f.root, "f"), "1\nboth\n3\n");
}

#[test]
fn without_a_memory_nothing_is_remembered() {
    let room = Room::new();
    let (ours, theirs) = room.three("f", b"1\n2\n", b"1\nours\n", b"1\ntheirs\n");
    let resolved = room.f.commit_on(&ours, &[("f", "1\nboth\n")]);
    let repo = room.repo();
    let known = |room: &Room| remember(&repo, &ours, &theirs, &resolved, &room.bench()).unwrap();
    assert_eq!(known(&room), 0);
    assert!(!room.scratch.exists() && !room.f.root.join(".git/rr-cache").exists());
    // Git's default: on when there is a memory. It also asks who merges.
    room.f.git(&["config", "--unset", "user.email"]);
    room.f.git(&["config", "user.useConfigOnly", "true"]);
    std::fs::create_dir(room.f.root.join(".git/rr-cache")).unwrap();
    assert_eq!(known(&room), 1);
    assert_eq!(room.all(&ours, &theirs).1, [("f".to_owned(), Rung::Rerere)]);
    room.f.git(&["config", "rerere.enabled", "false"]);
    assert_eq!(room.left(&ours, &theirs), ["f"]);
    assert_eq!(known(&room), 0);
}

#[test]
fn hostile_contents_stay_in_conflict() {
    let room = Room::new();
    let huge = |key: &str| {
        let mut text = format!("{{\"{key}\": \"").into_bytes();
        text.resize(5 * 1024 * 1024, b'x');
        text.extend_from_slice(b"\"}\n");
        text
    };
    let (huge_a, huge_b) = (huge("a"), huge("b"));
    let deep = format!("{{\"a\": {}{}}}\n", "[".repeat(50_000), "]".repeat(50_000));
    let (ours, theirs) = room.files(&[
        ("huge/package.json", b"{}\n", &huge_a, &huge_b),
        (
            "bytes/package.json",
            b"{}\n",
            b"{\"a\": \"\xff\"}\n",
            b"{\"b\": 1}\n",
        ),
        (
            "deep/package.json",
            b"{}\n",
            deep.as_bytes(),
            b"{\"b\": 1}\n",
        ),
        (
            "twice/package.json",
            b"{}\n",
            b"{\"a\": 1, \"a\": 2}\n",
            b"{\"b\": 1}\n",
        ),
        (
            "broken/Cargo.toml",
            b"a = 1\n",
            b"a = 1\nb =\n",
            b"a = 1\nc = 1\n",
        ),
        ("lock/Cargo.lock", b"a\n", b"b\n", b"c\n"),
    ]);
    assert_eq!(
        room.left(&ours, &theirs),
        [
            "broken/Cargo.toml",
            "bytes/package.json",
            "deep/package.json",
            "huge/package.json",
            "lock/Cargo.lock",
            "twice/package.json"
        ]
    );
}

#[test]
fn conflicts_about_more_than_content_are_left() {
    let mut room = Room::new();
    room.union = vec!["*".into()];
    let root = room.f.root.clone();
    write(&root, "gone", "1\n2\n3\n");
    write(&root, "mode", "1\n");
    room.f.commit("base");
    let link = |root: &Path, to: &str| std::os::unix::fs::symlink(to, root.join("link")).unwrap();
    let ours = room.branch("ours", |root| {
        std::fs::remove_file(root.join("gone")).unwrap();
        link(root, "a");
        write_executable(&root.join("mode"), "ours");
    });
    let theirs = room.branch("theirs", |root| {
        write(root, "gone", "1\n2\n3\nmore\n");
        link(root, "b");
        write(root, "mode", "theirs\n");
    });
    let Settled::Some {
        tree,
        settled,
        left,
    } = room.settle(&ours, &theirs)
    else {
        panic!("links and deletions are left");
    };
    let paths: Vec<&str> = left.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["gone", "link"]);
    assert_eq!(settled, [("mode".to_owned(), Rung::Union)]);
    let listed = room.f.git(&["ls-tree", tree.as_str(), "mode"]);
    assert!(
        listed.starts_with("100755 "),
        "the changed mode stays: {listed}"
    );
}
