//! bubblewrap round an instance's client.
//!
//! The whole file system can be read, and only the instance's own places can be written: its
//! worktree, its folder for temporary files (which is `/tmp` as well), what git needs to commit
//! on its branch, the client's own folder, its inbox, and caches. Processes are not hidden:
//! the supervisor watches them, and those outside belong to another user namespace, through
//! which `/proc/PID/root` leads nowhere.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::CommandSpec;
use super::environment::Environment;
use super::process::command;
use crate::core::sandbox::Sandbox;

/// Where it is looked for.
const PROGRAM: &str = "bwrap";

/// Folders of the home folder that programs keep what they fetched in. Written when they are
/// there.
const CACHES: &[&str] = &[
    ".cache",
    ".cargo/registry",
    ".cargo/git",
    ".npm",
    ".pnpm-store",
    ".local/share/pnpm",
    ".yarn",
    ".bun/install/cache",
    "go/pkg",
    ".m2/repository",
    ".gradle",
    ".nuget",
    ".ivy2",
    ".cabal/packages",
    ".hex",
    ".mix",
    ".gem",
    ".bundle",
    "Library/Caches",
];

/// What in the client's folder makes later sessions run something.
const CLIENT_SETTINGS: &[&str] = &[
    "settings.json",
    "settings.local.json",
    "CLAUDE.md",
    "agents",
    "commands",
    "hooks",
    "skills",
    "plugins",
];

/// What in git's folder is the person's, or makes git run something.
const GIT_OWN: &[&str] = &[
    "HEAD",
    "config",
    "config.worktree",
    "index",
    "hooks",
    "info",
    "modules",
    "packed-refs",
    "refs",
    "logs",
    "worktrees",
    "description",
    "ORIG_HEAD",
    "FETCH_HEAD",
    "COMMIT_EDITMSG",
];

/// Sockets by which a process outside can be told to do anything.
const SOCKETS: &[&str] = &[
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/dbus/system_bus_socket",
];

/// What an instance has of its own.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    /// Its worktree.
    pub worktree: &'a Path,
    /// Its folder for temporary files.
    pub scratch: &'a Path,
    /// The main checkout.
    pub main: &'a Path,
    /// The branch it works on.
    pub branch: &'a str,
    /// The folder that its requests are put into.
    pub inbox: &'a Path,
    /// What else has to be seen of it, wherever it lies.
    pub shown: &'a [PathBuf],
}

/// What will be used of what is wanted, and a word about it when it is less.
///
/// # Errors
/// When what is wanted by name is not to be had; what to do then.
pub fn choose(wanted: Sandbox, env: &Environment) -> Result<(Sandbox, Option<String>), String> {
    match wanted {
        Sandbox::Off => Ok((Sandbox::Off, None)),
        Sandbox::Bubblewrap => probe(env).map(|()| (Sandbox::Bubblewrap, None)),
        Sandbox::Auto => Ok(match probe(env) {
            Ok(()) => (Sandbox::Bubblewrap, None),
            Err(why) => (
                Sandbox::Off,
                Some(format!("instances run without a sandbox: {why}")),
            ),
        }),
    }
}

/// Whether bubblewrap is there and may do what is needed.
///
/// # Errors
/// Why not, and what to do.
pub fn probe(env: &Environment) -> Result<(), String> {
    let output = command(Path::new(PROGRAM), env)
        .args(BASE)
        .args(["--tmpfs", "/tmp", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "bubblewrap cannot make a sandbox here ({}); the system has to allow user namespaces, \
             or set sandbox = \"off\"",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(
            "bubblewrap (bwrap) is not installed; install the package of that name, or set \
             sandbox = \"off\""
                .to_owned(),
        ),
        Err(error) => Err(format!("bubblewrap (bwrap) cannot be started: {error}")),
    }
}

/// Everything can be read and nothing written; no rights beyond those of the user.
const BASE: &[&str] = &[
    "--unshare-user",
    "--cap-drop",
    "ALL",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
];

/// The command inside a sandbox.
#[must_use]
pub fn wrap(spec: CommandSpec, places: &Places<'_>) -> CommandSpec {
    let mut mounts = Mounts {
        args: BASE.iter().map(OsString::from).collect(),
        hidden: vec!["/tmp".into(), "/dev/shm".into(), "/var/tmp".into()],
    };
    let var = |name: &str| {
        spec.env
            .get(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    mounts.bind("--bind", places.scratch, Path::new("/tmp"));
    mounts.bind("--bind", places.scratch, Path::new("/var/tmp"));
    // Services of the session: one of them starts programs outside for whoever asks.
    if let Some(runtime) = var("XDG_RUNTIME_DIR").filter(|p| p.is_dir()) {
        mounts.add(&["--tmpfs".into(), runtime.clone().into()]);
        mounts.hidden.push(runtime);
    }
    for socket in SOCKETS.iter().map(Path::new).filter(|p| p.exists()) {
        mounts.bind("--ro-bind", Path::new("/dev/null"), socket);
    }
    let home = var("HOME");
    let client = var("CLAUDE_CONFIG_DIR").or_else(|| Some(home.as_ref()?.join(".claude")));
    // What was hidden and is needed is shown again.
    let seen = [Some(places.main), home.as_deref(), spec.program.parent()];
    for place in seen.into_iter().flatten() {
        mounts.show(place);
    }
    for place in places.shown {
        mounts.show(place);
    }
    if let Some(home) = &home {
        for cache in CACHES {
            mounts.own(&home.join(cache));
        }
    }
    if let Some(client) = &client {
        let _ = std::fs::create_dir_all(client);
        mounts.own(client);
        for name in CLIENT_SETTINGS {
            mounts.keep(&client.join(name));
        }
    }
    // Last, so that it is the innermost that counts.
    git(&mut mounts, places);
    mounts.own(places.worktree);
    mounts.own(places.scratch);
    mounts.own(places.inbox);
    for name in [
        ".git",
        ".claude/settings.json",
        ".claude/settings.local.json",
    ] {
        mounts.keep(&places.worktree.join(name));
    }
    mounts.add(&["--chdir".into(), spec.cwd.clone().into()]);
    mounts.add(&["--".into(), spec.program.into()]);
    mounts.args.extend(spec.args);
    CommandSpec {
        program: PROGRAM.into(),
        args: mounts.args,
        env: spec.env,
        cwd: spec.cwd,
    }
}

/// What git needs to commit: objects, the branches of tasks, what it keeps of this worktree.
/// Files are put beside the others of git's folder for a moment when a ref goes, so the folder
/// itself can be written; what is the person's in it cannot.
fn git(mounts: &mut Mounts, places: &Places<'_>) {
    let Some(own) = super::worktree_git_folder(places.worktree) else {
        return;
    };
    let common = std::fs::read_to_string(own.join("commondir"))
        .map_or_else(|_| own.clone(), |text| own.join(text.trim_end()));
    let Ok(common) = common.canonicalize() else {
        return;
    };
    // Missing ones could be made, and would be the person's.
    for folder in ["hooks", "info"] {
        let _ = std::fs::create_dir_all(common.join(folder));
    }
    mounts.own(&common);
    for name in GIT_OWN {
        mounts.keep(&common.join(name));
    }
    if let Some((folder, _)) = places.branch.rsplit_once('/') {
        for kind in ["refs/heads", "logs/refs/heads"] {
            let folder = common.join(kind).join(folder);
            let _ = std::fs::create_dir_all(&folder);
            mounts.own(&folder);
        }
    }
    for name in ["refs/remotes", "logs/refs/remotes"] {
        mounts.own(&common.join(name));
    }
    if let Ok(own) = own.canonicalize() {
        mounts.own(&own);
        for name in ["commondir", "gitdir", "config.worktree"] {
            mounts.keep(&own.join(name));
        }
    }
}

struct Mounts {
    args: Vec<OsString>,
    /// Folders in the place of which something else is shown.
    hidden: Vec<PathBuf>,
}

impl Mounts {
    fn add(&mut self, args: &[OsString]) {
        self.args.extend_from_slice(args);
    }

    fn bind(&mut self, kind: &str, from: &Path, to: &Path) {
        self.add(&[kind.into(), from.into(), to.into()]);
    }

    /// May be written.
    fn own(&mut self, place: &Path) {
        if place.exists() {
            self.bind("--bind", place, place);
        }
    }

    /// May be read only, inside what may be written.
    fn keep(&mut self, place: &Path) {
        // A link is followed by the mount; what it leads to lies in a place that is read only
        // already, or is seen by its own name.
        if place.symlink_metadata().is_ok_and(|m| !m.is_symlink()) {
            self.bind("--ro-bind", place, place);
        }
    }

    /// Shows what lies in a hidden folder.
    fn show(&mut self, place: &Path) {
        if place.exists() && self.hidden.iter().any(|hidden| place.starts_with(hidden)) {
            self.bind("--ro-bind", place, place);
        }
    }
}
