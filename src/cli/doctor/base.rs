//! What a run needs: git, a repository, a configuration, Claude Code, room on the disk.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::Context;
use super::super::run::find_claude;
use super::super::settings_flags::{SettingsFlags, resolved};
use super::Checks;
use crate::agent::{CommandSpec, machine, process, sandbox};
use crate::conduct::worktree::default_folder;
use crate::core::sandbox::Sandbox;
use crate::format::config::AgentKind;
use crate::git::{MINIMUM_GIT, Repo, git_version};
use crate::view::page::{bytes, one_line};

/// Below this the disk is a warning, bytes.
const LITTLE_DISK: u64 = 2_000_000_000;

pub(super) fn git(checks: &mut Checks) {
    match git_version() {
        Ok(version) => checks.good("git", version.to_string()),
        Err(error) => checks.bad(
            "git",
            error.to_string(),
            format!("install git {MINIMUM_GIT} or newer and put it on PATH"),
        ),
    }
}

pub(super) fn repository(checks: &mut Checks, cx: &Context<'_>) -> Option<Repo> {
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
pub(super) fn configuration(
    checks: &mut Checks,
    repo: Option<&Repo>,
    cx: &Context<'_>,
) -> Option<PathBuf> {
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
    stands_round(checks, config.sandbox, cx);
    let repo = repo?;
    match config.worktree_dir {
        Some(folder) => Some(repo.root().join(folder)),
        None => default_folder(repo).ok(),
    }
}

/// What is configured to stand round instances, and whether it is to be had.
fn stands_round(checks: &mut Checks, wanted: Sandbox, cx: &Context<'_>) {
    const REMEDY: &str = "install bubblewrap, or set sandbox = \"off\"";
    match sandbox::choose(wanted, &cx.environment()) {
        Ok((_, Some(word))) => checks.warn("sandbox", word, REMEDY),
        Ok((Sandbox::Off, None)) => {}
        Ok(_) => checks.good("sandbox", "bubblewrap stands round every instance"),
        Err(why) => checks.bad("sandbox", why, REMEDY),
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
        Some(version) if is_older(&version, OLDEST) => checks.warn(
            "claude",
            format!(
                "{version} ({}) is older than what this was tried with",
                path.display()
            ),
            "claude update (2.1.197 is the oldest; with 2.1.329 nothing is missing)",
        ),
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

/// The oldest client that the plugin was tried with.
const OLDEST: [u32; 3] = [2, 1, 197];

/// Whether what `--version` says begins with a lower number; false where it says no number.
fn is_older(version: &str, than: [u32; 3]) -> bool {
    let number = version.split(' ').next().unwrap_or_default();
    let parts: Result<Vec<u32>, _> = number.split('.').map(str::parse).collect();
    parts.is_ok_and(|parts| parts.len() == 3 && parts.as_slice() < than.as_slice())
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

pub(super) fn disk(checks: &mut Checks, folder: &Path) {
    match machine::disk(folder).map(|(_, free)| free) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lower_number_is_older() {
        for (version, older) in [
            ("2.1.196 (Claude Code)", true),
            ("1.9.999", true),
            ("2.1.197 (Claude Code)", false),
            ("2.1.329", false),
            ("2.2.0", false),
            ("3.0.0-beta", false),
            ("a fake client", false),
            ("", false),
        ] {
            assert_eq!(is_older(version, OLDEST), older, "{version}");
        }
    }
}
