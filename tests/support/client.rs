//! The real client, pinned, in a world of its own.
//!
//! [`claude`] installs it once (see `install-client.sh`) and [`Home`] is a
//! throw-away home folder for it. Commands made here have an empty environment
//! but for what is needed, a dummy key, and the loopback server as their only
//! address, so that nothing of the person who runs the tests is read, and
//! nothing reaches past loopback.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::model_server::ModelServer;

/// The version that the tests are written for; `install-client.sh` pins the same.
pub const VERSION: &str = "2.1.329";

/// The key that the client sends; no service knows it.
pub const DUMMY_KEY: &str = "dummy-key";

/// The path of the client, installed if need be.
///
/// # Panics
/// With what to do about it when it cannot be installed.
pub fn claude() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match install() {
        Ok(path) => path,
        Err(message) => panic!("the real client is needed for this test: {message}"),
    })
}

/// Runs the installing script under a lock, so that the many test programs
/// install once.
fn install() -> Result<PathBuf, String> {
    let folder = client_folder();
    let parent = folder.parent().ok_or("the client folder has no parent")?;
    fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    let lock_path = folder.with_extension("lock");
    let lock = File::create(&lock_path).map_err(|e| format!("{}: {e}", lock_path.display()))?;
    lock.lock()
        .map_err(|e| format!("{}: {e}", lock_path.display()))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/install-client.sh");
    let output = Command::new("sh")
        .arg(&script)
        .arg(&folder)
        .output()
        .map_err(|e| format!("{}: {e}", script.display()))?;
    if output.status.success() {
        let path = String::from_utf8_lossy(&output.stdout);
        Ok(PathBuf::from(path.trim()))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// `ORCHESTRA_CLIENT_DIR`, else a folder in the target directory.
fn client_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("ORCHESTRA_CLIENT_DIR").filter(|v| !v.is_empty()) {
        return folder.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    target.join(format!("claude-client-{VERSION}"))
}

/// A throw-away world: a home folder, and room for repositories beside it. It
/// is removed when dropped, unless `ORCHESTRA_KEEP_HOMES` is set.
pub struct Home {
    root: PathBuf,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// Makes one.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "claude-home-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::SeqCst)
        );
        let root = super::scratch::folder().join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("home")).expect("make a throw-away home");
        let root = root.canonicalize().expect("the home that was just made");
        fs::write(
            root.join("home/.gitconfig"),
            "[user]\n\tname = Test\n\temail = test@example.invalid\n\
             [init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n[gc]\n\tauto = 0\n",
        )
        .expect("write a git configuration");
        Self { root }
    }

    /// The home folder.
    pub fn path(&self) -> PathBuf {
        self.root.join("home")
    }

    /// A path beside the home folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a repository with one commit beside the home folder.
    ///
    /// # Panics
    /// When git fails.
    pub fn repository(&self, name: &str) -> PathBuf {
        let path = self.beside(name);
        fs::create_dir_all(&path).expect("make a folder for a repository");
        fs::write(path.join("README.md"), "# Test\n").expect("write a file");
        for arguments in [
            &["init", "--quiet"][..],
            &["add", "--all"],
            &["commit", "--quiet", "--message", "start"],
        ] {
            self.git(&path, arguments);
        }
        path
    }

    /// Runs git in a folder, with this home's configuration only.
    ///
    /// # Panics
    /// When git fails.
    #[track_caller]
    pub fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(folder).env_clear();
        self.environment(&mut command);
        let output = command.output().expect("run git");
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Accepts what an interactive client asks at its first start: onboarding,
    /// the key, and trust in these folders.
    ///
    /// # Panics
    /// When the configuration cannot be written.
    pub fn accept_everything(&self, folders: &[&Path]) {
        let projects: serde_json::Map<String, Value> = folders
            .iter()
            .map(|folder| {
                let trusted = json!({"hasTrustDialogAccepted": true,
                    "hasCompletedProjectOnboarding": true});
                (folder.display().to_string(), trusted)
            })
            .collect();
        let configuration = json!({"hasCompletedOnboarding": true, "theme": "dark",
            "customApiKeyResponses": {"approved": [DUMMY_KEY], "rejected": []},
            "projects": projects});
        fs::write(self.path().join(".claude.json"), configuration.to_string())
            .expect("write the client's configuration");
    }

    /// Adds a folder as a marketplace and installs plugins (`NAME@MARKET`) from it, at user scope.
    ///
    /// # Panics
    /// With the client's words when it refuses.
    #[track_caller]
    pub fn install_plugin(&self, marketplace: &Path, plugin: &str) {
        let folder = marketplace.display().to_string();
        for arguments in [
            &["plugin", "marketplace", "add", folder.as_str()][..],
            &["plugin", "install", plugin],
        ] {
            let mut command = Command::new(claude());
            command.args(arguments).current_dir(&self.root).env_clear();
            self.environment(&mut command);
            let output = command.output().expect("run the client");
            assert!(
                output.status.success(),
                "claude {arguments:?}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    /// The variables that every process of a test gets.
    pub fn environment(&self, command: &mut Command) {
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("TMPDIR", std::env::temp_dir())
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_ERROR_REPORTING", "1")
            // How busy the machine is must not matter.
            .env("ORCHESTRA_ADMISSION", "off");
        // Bypassing permissions is refused to root outside a sandbox.
        if is_root() {
            command.env("IS_SANDBOX", "1");
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::env::var_os("ORCHESTRA_KEEP_HOMES").is_none() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Sets the address and the key for whatever process starts the client: the
/// client itself, or a program under test that starts it.
pub fn point_at(command: &mut Command, server: &ModelServer) {
    command
        .env("ANTHROPIC_BASE_URL", server.url())
        .env("ANTHROPIC_API_KEY", DUMMY_KEY);
}

/// The client with an environment of its own that knows only this server.
pub fn claude_command(home: &Home, server: &ModelServer) -> Command {
    let mut command = Command::new(claude());
    command.env_clear();
    home.environment(&mut command);
    point_at(&mut command, server);
    command
}

/// Any other program in the same world as the client; the client's folder is
/// first in its PATH, so that it finds `claude` by name.
pub fn program_command(program: impl AsRef<Path>, home: &Home, server: &ModelServer) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear();
    home.environment(&mut command);
    point_at(&mut command, server);
    let mut path = claude()
        .parent()
        .map(Path::as_os_str)
        .unwrap_or_default()
        .to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.env("PATH", path);
    command
}

/// The lines of a stream-json output; lines that are no JSON are left out.
pub fn events(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// A client that listens: messages go in while it runs, events come out. It is
/// killed when dropped.
pub struct Live {
    child: Child,
    input: Option<ChildStdin>,
    events: Arc<(Mutex<Vec<Value>>, Condvar)>,
    /// How many events [`Live::next`] has passed.
    cursor: usize,
}

impl Live {
    /// Starts `command` with `-p` and streams both ways; add other arguments before.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .args([
                "-p",
                "--input-format",
                "stream-json",
                "--output-format",
                "stream-json",
            ])
            .arg("--verbose")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the client");
        let output = child.stdout.take().expect("its output is a pipe");
        let events: Arc<(Mutex<Vec<Value>>, Condvar)> = Arc::default();
        let shared = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line) {
                    lock(&shared.0).push(event);
                    shared.1.notify_all();
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            events,
            cursor: 0,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a message of the user.
    pub fn say(&mut self, text: &str) {
        self.send(&json!({"type": "user", "message": {"role": "user", "content": text}}));
    }

    /// Asks the client to interrupt its turn.
    pub fn interrupt(&mut self, request_id: &str) {
        self.send(&json!({"type": "control_request", "request_id": request_id,
            "request": {"subtype": "interrupt"}}));
    }

    /// Sends one line.
    ///
    /// # Panics
    /// When the client does not read any more.
    pub fn send(&mut self, line: &Value) {
        let input = self.input.as_mut().expect("the input is still open");
        writeln!(input, "{line}").expect("the client reads its input");
    }

    /// The next event that satisfies `wanted`; the ones before are passed over.
    ///
    /// # Errors
    /// After `patience`, a list of the events so far.
    pub fn next(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + patience;
        let (events, changed) = &*self.events;
        let mut guard = lock(events);
        loop {
            while let Some(event) = guard.get(self.cursor) {
                self.cursor += 1;
                if wanted(event) {
                    return Ok(event.clone());
                }
            }
            let now = Instant::now();
            if now >= deadline {
                let seen: Vec<String> = guard
                    .iter()
                    .map(|e| format!("{} {}", e["type"], e["subtype"]))
                    .collect();
                return Err(format!(
                    "not within {patience:?}; events: {}",
                    seen.join(", ")
                ));
            }
            guard = match changed.wait_timeout(guard, deadline - now) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// The next result line.
    ///
    /// # Errors
    /// As [`Live::next`].
    pub fn result(&mut self, patience: Duration) -> Result<Value, String> {
        self.next(patience, |event| event["type"] == "result")
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<Value> {
        lock(&self.events.0).clone()
    }

    /// Closes the input, which ends the client, and gives its exit code.
    pub fn finish(&mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().ok().and_then(|status| status.code())
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // The owner of the process's own entry, where there is one, else whether
    // root's home can be read.
    match fs::metadata("/proc/self") {
        Ok(entry) => entry.uid() == 0,
        Err(_) => std::env::var("USER").is_ok_and(|user| user == "root"),
    }
}
