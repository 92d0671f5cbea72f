//! `orchestra doctor`

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::run::find_claude;
use super::settings_flags::{SettingsFlags, resolved};
use super::{Context, Exit, Failure};
use crate::agent::{CommandSpec, process};
use crate::conduct::ensure::is_orphaned;
use crate::conduct::worktree::default_folder;
use crate::core::time::Millis;
use crate::format::SCHEMA_VERSION;
use crate::format::config::AgentKind;
use crate::git::{LockFile, MINIMUM_GIT, Repo, git_version};
use crate::store::layout::Layout;
use crate::store::lock;
use crate::view::page::{Page, Tone, bytes, fit, one_line, plural};
use crate::view::snapshot::{Snapshot, Standing};

/// Below this the disk is a warning, bytes.
const LITTLE_DISK: u64 = 2_000_000_000;

/// Git holds its locks for moments; one that is older was left, or has a long job behind it.
const OLD_LOCK: Duration = Duration::from_secs(60);

/// Check git, Claude Code, disk, locks and leftovers, and say what to do
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra doctor\n  \
    orchestra doctor --json | jq '.checks[] | select(.state != \"good\")'\n\n\
  Exits with 4 when something stops a run from working; warnings do not.")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Warning,
    Bad,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    name: &'static str,
    state: State,
    what: String,
    remedy: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Diagnosis {
    schema_version: u32,
    usable: bool,
    checks: Vec<Check>,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn good(&mut self, name: &'static str, what: impl Into<String>) {
        self.0.push(Check {
            name,
            state: State::Good,
            what: what.into(),
            remedy: None,
        });
    }

    fn warn(&mut self, name: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(name, State::Warning, what.into(), remedy.into());
    }

    fn bad(&mut self, name: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(name, State::Bad, what.into(), remedy.into());
    }

    fn add(&mut self, name: &'static str, state: State, what: String, remedy: String) {
        self.0.push(Check {
            name,
            state,
            what,
            remedy: Some(remedy),
        });
    }
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let mut checks = Checks::default();
    git(&mut checks);
    let repo = repository(&mut checks, cx);
    let worktrees = configuration(&mut checks, repo.as_ref(), cx);
    if let Some(folder) = worktrees {
        disk(&mut checks, &folder);
    }
    if let Some(repo) = &repo {
        runs(&mut checks, repo, cx);
        if let Some(line) = super::history::in_a_line(&Layout::new(repo.root())) {
            checks.good("history", line);
        }
        unreadable(&mut checks, &Layout::new(repo.root()));
        stale_worktrees(&mut checks, repo);
        left_locks(&mut checks, repo);
    }
    let usable = checks.0.iter().all(|c| c.state != State::Bad);
    let exit = if usable {
        Exit::Success
    } else {
        Exit::Environment
    };
    if args.json {
        cx.print_json(&Diagnosis {
            schema_version: SCHEMA_VERSION,
            usable,
            checks: checks.0,
        })?;
    } else {
        let text = render(&checks.0, &cx.page);
        cx.print(&text)?;
    }
    Ok(exit)
}

fn render(checks: &[Check], page: &Page) -> String {
    let mut text = String::new();
    for check in checks {
        let (mark, tone) = match check.state {
            State::Good => ("[+]", Tone::Good),
            State::Warning => ("[!]", Tone::Warn),
            State::Bad => ("[x]", Tone::Bad),
        };
        let what = fit(&one_line(&check.what), page.width.saturating_sub(18));
        text.push_str(&format!(
            "{} {} {what}\n",
            page.paint(tone, mark),
            page.strong(&format!("{:<13}", check.name))
        ));
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("{:18}-> {}\n", "", one_line(remedy)));
        }
    }
    let count = |state| checks.iter().filter(|c| c.state == state).count();
    text.push_str(&format!(
        "\n{}, {}\n",
        plural(count(State::Bad), "problem"),
        plural(count(State::Warning), "warning")
    ));
    text
}

fn git(checks: &mut Checks) {
    match git_version() {
        Ok(version) => checks.good("git", version.to_string()),
        Err(error) => checks.bad(
            "git",
            error.to_string(),
            format!("install git {MINIMUM_GIT} or newer and put it on PATH"),
        ),
    }
}

fn repository(checks: &mut Checks, cx: &Context<'_>) -> Option<Repo> {
    match cx.repository() {
        Ok(repo) => {
            match repo.head() {
                Ok(head) if head.oid().is_none() => checks.bad(
                    "repository",
                    format!("{} has no commit yet", repo.root().display()),
                    "commit something first: git add -A && git commit",
                ),
                Ok(_) => checks.good("repository", repo.root().display().to_string()),
                Err(error) => checks.bad("repository", error.to_string(), "git status says more"),
            }
            Some(repo)
        }
        Err(failure) => {
            checks.bad(
                "repository",
                failure.what,
                "go to your project, or give --repo DIR",
            );
            None
        }
    }
}

/// Checks the configuration and what it names; returns the folder for worktrees.
fn configuration(checks: &mut Checks, repo: Option<&Repo>, cx: &Context<'_>) -> Option<PathBuf> {
    let root = repo.map(Repo::root);
    let config = match resolved(&SettingsFlags::default(), root, cx) {
        Ok(config) => config,
        Err(failure) => {
            let place = failure.place.clone().unwrap_or_default();
            checks.bad(
                "configuration",
                format!("{place}: {}", failure.what),
                failure.next.join("; "),
            );
            return None;
        }
    };
    match (&config.verify, repo) {
        (Some(verify), _) => checks.good("verify", format!("`{verify}` proves the results")),
        (None, Some(_)) => checks.warn(
            "verify",
            "no command proves the results; they are delivered unverified",
            "set verify = \"COMMAND\" in .claude/orchestra.toml, or give --verify CMD",
        ),
        (None, None) => {}
    }
    if config.agent == AgentKind::Claude {
        claude(checks, &config.claude_program, cx);
    }
    let repo = repo?;
    match config.worktree_dir {
        Some(folder) => Some(repo.root().join(folder)),
        None => default_folder(repo).ok(),
    }
}

fn claude(checks: &mut Checks, program: &Path, cx: &Context<'_>) {
    let path = match find_claude(program, cx) {
        Ok(path) => path,
        Err(failure) => {
            checks.bad(
                "claude",
                failure.what,
                "install Claude Code: https://code.claude.com/docs/en/setup (orchestra demo works without)",
            );
            return;
        }
    };
    match version_of(&path, cx) {
        Some(version) => checks.good("claude", format!("{version} ({})", path.display())),
        None => checks.warn(
            "claude",
            format!("{} does not tell its version", path.display()),
            "run `claude --version` and see what it says",
        ),
    }
    // Credentials are nobody's business but the client's.
    let key = [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
    ]
    .into_iter()
    .find(|name| cx.env.get(name).is_some());
    match key {
        Some(name) => checks.good(
            "login",
            format!("{name} is set; whether it is valid shows at the first request"),
        ),
        None => checks.good(
            "login",
            "not looked at; if instances fail with \"not logged in\", run `claude` once and log in",
        ),
    }
}

/// The first line that a program prints for `--version`, within some seconds.
fn version_of(program: &Path, cx: &Context<'_>) -> Option<String> {
    let spec = CommandSpec {
        program: program.to_owned(),
        args: vec![OsString::from("--version")],
        env: cx.environment().for_instance(),
        cwd: cx.cwd.clone(),
    };
    let process::Running {
        mut child,
        stdin,
        stdout,
        ..
    } = process::spawn(&spec).ok()?;
    drop(stdin);
    let deadline = Instant::now() + Duration::from_secs(10);
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                // It is ours and has no children worth mentioning.
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
        }
    };
    if !ended {
        return None;
    }
    let mut text = String::new();
    stdout.take(4096).read_to_string(&mut text).ok()?;
    let line = one_line(text.lines().next()?);
    (!line.is_empty()).then_some(line)
}

fn disk(checks: &mut Checks, folder: &Path) {
    match crate::agent::machine::disk(folder).map(|(_, free)| free) {
        Some(free) if free < LITTLE_DISK => checks.warn(
            "disk",
            format!(
                "only {} free for worktrees in {}",
                bytes(free),
                folder.display()
            ),
            "free some, or set worktree_dir to a folder on another disk",
        ),
        Some(free) => checks.good(
            "disk",
            format!("{} free for worktrees in {}", bytes(free), folder.display()),
        ),
        None => checks.warn(
            "disk",
            format!("the room in {} cannot be measured", folder.display()),
            "look with `df -h`",
        ),
    }
}

/// Runs: live ones without a conductor, damaged ones, what ended ones left.
fn runs(checks: &mut Checks, repo: &Repo, cx: &Context<'_>) {
    let all = Layout::new(repo.root()).runs();
    let (mut held, mut live) = (0, 0);
    for run in &all {
        let Ok(snapshot) = Snapshot::load(run, cx.now()) else {
            continue;
        };
        let id = &snapshot.id;
        live += usize::from(snapshot.is_live());
        held += usize::from(snapshot.conductor_alive);
        held += snapshot.tasks.iter().filter(|t| t.supervisor_alive).count();
        for problem in &snapshot.problems {
            let remedy = if matches!(snapshot.standing, Standing::Planned) {
                format!(
                    "an unfinished plan; remove {} if you do not need it",
                    run.dir().display()
                )
            } else {
                format!(
                    "nothing was changed; repair it by hand, or remove {} once its branches are safe",
                    run.dir().display()
                )
            };
            checks.warn("damage", format!("{id}: {problem}"), remedy);
        }
        if is_orphaned(run) {
            checks.warn(
                "conductor",
                format!("{id} has something to do, and no conductor"),
                "orchestra status starts one",
            );
        }
        if matches!(snapshot.standing, Standing::Finished { closed: true, .. }) {
            let left: Vec<&str> = snapshot
                .tasks
                .iter()
                .filter(|t| t.worktree_exists)
                .map(|t| t.name.as_str())
                .collect();
            if !left.is_empty() {
                checks.warn(
                    "leftovers",
                    format!(
                        "{id} has ended, and {} of it are there: {}",
                        plural(left.len(), "worktree"),
                        left.join(", ")
                    ),
                    format!(
                        "orchestra cleanup all --orchestration {id} (work is kept in backup refs)"
                    ),
                );
            }
            let alive: Vec<&str> = snapshot
                .tasks
                .iter()
                .filter(|t| t.supervisor_alive)
                .map(|t| t.name.as_str())
                .collect();
            if !alive.is_empty() {
                checks.warn(
                    "instances",
                    format!(
                        "{id} has ended, but instances still run: {}",
                        alive.join(", ")
                    ),
                    format!("orchestra cleanup all --orchestration {id}"),
                );
            }
        }
    }
    checks.good(
        "runs",
        format!(
            "{}, {live} live, {}",
            plural(all.len(), "run"),
            plural(held, "held lock")
        ),
    );
    let start = all
        .iter()
        .filter(|r| lock::is_held(&r.start_lock()))
        .count();
    if start > 0 {
        checks.warn(
            "runs",
            format!("{} being started right now", plural(start, "run")),
            "wait a moment",
        );
    }
}

/// Files that could not be read and were set aside.
fn unreadable(checks: &mut Checks, layout: &Layout) {
    let mut found = BTreeSet::new();
    let folders = layout.runs().into_iter().map(|r| r.dir().to_owned());
    for folder in folders.chain([layout.root().to_owned(), layout.claims()]) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(".unreadable-") {
                found.insert(entry.path());
            }
        }
    }
    for path in found {
        checks.warn(
            "set aside",
            format!("{} could not be read when it was needed", path.display()),
            "look at it; remove it when you do not need it",
        );
    }
}

/// Lock files that git holds for moments, and that have been there for long.
fn left_locks(checks: &mut Checks, repo: &Repo) {
    let old = |lock: &&LockFile| lock.age > OLD_LOCK;
    let locks = repo.lock_files();
    for lock in locks.iter().filter(old) {
        let age = Millis::from_secs(lock.age.as_secs());
        let (running, remedy) = match process::is_running("git") {
            Some(true) => (
                ", and a git is running",
                "wait for that git; when it is at work elsewhere, remove the file",
            ),
            Some(false) => (
                ", and no git is running",
                "a git that was killed left it: remove the file",
            ),
            None => ("", "when no git is running, remove the file"),
        };
        checks.warn(
            "git lock",
            format!("{} has been there for {age}{running}", lock.path.display()),
            remedy,
        );
    }
}

/// Entries of worktrees whose folder is gone.
fn stale_worktrees(checks: &mut Checks, repo: &Repo) {
    match repo.worktrees() {
        Ok(list) => {
            let gone: Vec<String> = list
                .iter()
                .filter(|w| w.prunable.is_some())
                .map(|w| w.path.display().to_string())
                .collect();
            if !gone.is_empty() {
                checks.warn(
                    "worktrees",
                    format!("git knows worktrees that are gone: {}", gone.join(", ")),
                    "git worktree prune",
                );
            }
        }
        Err(error) => checks.warn(
            "worktrees",
            error.to_string(),
            "git worktree list says more",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_comes_with_a_remedy() {
        let mut checks = Checks::default();
        checks.good("git", "2.47.3");
        checks.warn("verify", "no command proves the results", "set one");
        checks.bad("claude", "Claude Code was not found", "install it");
        insta::assert_snapshot!(render(&checks.0, &Page::new(80, false)), @r"
        [+] git           2.47.3
        [!] verify        no command proves the results
                          -> set one
        [x] claude        Claude Code was not found
                          -> install it

        1 problem, 1 warning
        ");
    }
}
