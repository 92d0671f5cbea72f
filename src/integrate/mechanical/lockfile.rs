//! Lock files: written anew by the tool that they belong to.

use std::ffi::OsString;
use std::path::Path;

use super::pins;
use super::rules::Mender;
use super::workbench::Workbench;
use crate::core::id::Oid;
use crate::git::{GitError, Head, Lean, Repo, TreeStatus};

/// Lock files longer than this are left alone. Bytes.
pub(super) const MAX_LOCKFILE: u64 = 64 * 1024 * 1024;

/// A package manager that mends its own lock file.
#[derive(Debug)]
pub(super) struct Tool {
    /// The name of the lock file.
    pub(super) file: &'static str,
    /// The files that it is made from, in its folder or beneath.
    pub(super) manifests: &'static [&'static str],
    /// What lies in the lock file's place when a command begins, by preference.
    starts: &'static [Start],
    /// What writes the lock file: without the network, then with it.
    commands: [&'static str; 2],
    /// What proves it.
    check: &'static str,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The `[[package]]` tables of both.
    Pins,
    /// Both with markers round what differs.
    Markers,
    /// Ours.
    Ours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Toml,
    Json,
    Text,
}

/// The tools whose behaviour is known; each was tried with lock files in conflict.
///
/// - `cargo update --workspace` keeps every pinned version that still fits. Without the
///   network it only takes versions that were downloaded before, even instead of a pinned
///   one that fits: such a result is not taken.
/// - `npm` and `pnpm` read a lock file with markers in it and keep what both sides pinned.
/// - `uv lock` keeps what is pinned, and refuses a file that is not TOML.
pub(super) const BUILT_IN: &[Tool] = &[
    Tool {
        file: "Cargo.lock",
        manifests: &["Cargo.toml"],
        starts: &[Start::Pins, Start::Ours],
        commands: [
            "cargo update --workspace --offline",
            "cargo update --workspace",
        ],
        check: "cargo update --workspace --locked --offline",
        form: Form::Toml,
    },
    Tool {
        file: "package-lock.json",
        manifests: &["package.json", ".npmrc"],
        starts: &[Start::Markers, Start::Ours],
        commands: [
            "npm install --package-lock-only --ignore-scripts --no-audit --no-fund --offline",
            "npm install --package-lock-only --ignore-scripts --no-audit --no-fund",
        ],
        check: "npm ci --dry-run --ignore-scripts --no-audit --no-fund --offline",
        form: Form::Json,
    },
    Tool {
        file: "pnpm-lock.yaml",
        manifests: &["package.json", "pnpm-workspace.yaml", ".npmrc"],
        starts: &[Start::Markers, Start::Ours],
        commands: [
            "pnpm install --lockfile-only --ignore-scripts --no-frozen-lockfile --offline",
            "pnpm install --lockfile-only --ignore-scripts --no-frozen-lockfile",
        ],
        check: "pnpm install --lockfile-only --ignore-scripts --frozen-lockfile --offline",
        form: Form::Text,
    },
    Tool {
        file: "uv.lock",
        manifests: &["pyproject.toml", "uv.toml"],
        starts: &[Start::Pins, Start::Ours],
        commands: ["uv lock --offline", "uv lock"],
        check: "uv lock --check --offline",
        form: Form::Toml,
    },
];

/// The versions of a file that meet, and where.
#[derive(Debug)]
pub(super) struct Meeting<'a> {
    pub(super) path: &'a str,
    pub(super) base: Option<&'a [u8]>,
    pub(super) ours: &'a [u8],
    pub(super) theirs: &'a [u8],
}

/// Lets a lock file be written anew in the scratch worktree, which holds everything that is
/// settled so far; the blob and the command that made it, or none when it did not work.
pub(super) fn mend(
    repo: &Repo,
    bench: &Workbench<'_>,
    meeting: &Meeting<'_>,
    mender: Mender<'_>,
) -> Result<Option<(Oid, String)>, GitError> {
    let file = bench.place(meeting.path);
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Ok(None);
    };
    let before = repo.status(bench.scratch)?;
    let attempt = Attempt {
        repo,
        bench,
        meeting,
        file: &file,
        folder,
        before,
        head: repo.head_at(bench.scratch)?,
    };
    match mender {
        Mender::Command(command) => {
            let versions = tempfile::tempdir_in(repo.common_dir())
                .map_err(|e| GitError::io("making a folder in", repo.common_dir(), &e))?;
            let mut variables = vec![("ORCHESTRA_FILE", name.to_owned())];
            for (variable, content) in [
                ("ORCHESTRA_BASE", meeting.base.unwrap_or_default()),
                ("ORCHESTRA_OURS", meeting.ours),
                ("ORCHESTRA_THEIRS", meeting.theirs),
            ] {
                let path = versions.path().join(variable);
                std::fs::write(&path, content).map_err(|e| GitError::io("writing", &path, &e))?;
                variables.push((variable, path.into_os_string()));
            }
            let form = form_of(meeting.path);
            attempt.one(meeting.ours, command, &variables, form, None, false)
        }
        Mender::Tool(tool) => {
            for start in tool.starts {
                let Some(content) = attempt.start(*start)? else {
                    continue;
                };
                for (at, command) in tool.commands.iter().enumerate() {
                    let offline = at == 0;
                    // What is ours alone would lose their versions to what happens to be
                    // on this machine.
                    if offline && *start == Start::Ours {
                        continue;
                    }
                    let keeps = offline && tool.form == Form::Toml;
                    let check = Some(tool.check);
                    let made = attempt.one(&content, command, &[], tool.form, check, keeps)?;
                    if made.is_some() || bench.is_stopped() {
                        return Ok(made);
                    }
                }
            }
            Ok(None)
        }
    }
}

struct Attempt<'a> {
    repo: &'a Repo,
    bench: &'a Workbench<'a>,
    meeting: &'a Meeting<'a>,
    file: &'a Path,
    folder: &'a Path,
    before: TreeStatus,
    head: Head,
}

impl Attempt<'_> {
    fn start(&self, start: Start) -> Result<Option<Vec<u8>>, GitError> {
        let Meeting {
            base, ours, theirs, ..
        } = *self.meeting;
        let text = |bytes| std::str::from_utf8(bytes).ok();
        match start {
            Start::Ours => Ok(Some(ours.to_owned())),
            Start::Markers => {
                let base = base.unwrap_or_default();
                self.repo.merge_file(base, ours, theirs, Lean::Markers)
            }
            Start::Pins => Ok(match (base.map(text), text(ours), text(theirs)) {
                (Some(None), _, _) => None,
                (base, Some(ours), Some(theirs)) => {
                    pins::packages(base.flatten(), ours, theirs).map(String::into_bytes)
                }
                _ => None,
            }),
        }
    }

    /// Runs one command with one content in the lock file's place.
    fn one(
        &self,
        start: &[u8],
        command: &str,
        variables: &[(&str, OsString)],
        form: Form,
        check: Option<&str>,
        keeps_pins: bool,
    ) -> Result<Option<(Oid, String)>, GitError> {
        let io = |e| GitError::io("writing", self.file, &e);
        if !is_plain(self.file) || !is_inside(self.folder, self.bench.scratch) {
            return Ok(None);
        }
        std::fs::write(self.file, start).map_err(io)?;
        if !self.bench.run(command, self.folder, variables).is_green() {
            return Ok(None);
        }
        let Some(content) = self.result()? else {
            return Ok(None);
        };
        let sound = match form {
            Form::Toml => std::str::from_utf8(&content)
                .is_ok_and(|t| t.parse::<toml_edit::DocumentMut>().is_ok()),
            Form::Json => serde_json::from_slice::<serde::de::IgnoredAny>(&content).is_ok(),
            Form::Text => true,
        };
        if !sound || has_markers(&content) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&content);
        if keeps_pins && pins::repinned(&String::from_utf8_lossy(start), &text) {
            return Ok(None);
        }
        if let Some(check) = check
            && !(self.bench.run(check, self.folder, &[]).is_green()
                && self.result()?.as_ref() == Some(&content))
        {
            return Ok(None);
        }
        if !self.changed_nothing_else()? {
            return Ok(None);
        }
        let blob = self
            .repo
            .write_file(self.bench.scratch, self.meeting.path)?;
        Ok(Some((blob, command.to_owned())))
    }

    /// What the command left in the lock file's place, when that is a file.
    fn result(&self) -> Result<Option<Vec<u8>>, GitError> {
        let small = |m: std::fs::Metadata| m.is_file() && m.len() <= MAX_LOCKFILE;
        if !std::fs::symlink_metadata(self.file).is_ok_and(small)
            || !is_inside(self.folder, self.bench.scratch)
        {
            return Ok(None);
        }
        std::fs::read(self.file)
            .map(Some)
            .map_err(|e| GitError::io("reading", self.file, &e))
    }

    fn changed_nothing_else(&self) -> Result<bool, GitError> {
        if !self.repo.is_linked_worktree(self.bench.scratch) {
            return Ok(false);
        }
        let after = self.repo.status(self.bench.scratch)?;
        let tracked = |status: &TreeStatus| -> Vec<String> {
            let untracked = &status.untracked;
            let paths = status.paths().filter(|p| !untracked.iter().any(|u| u == p));
            paths.map(str::to_owned).collect()
        };
        let before = tracked(&self.before);
        Ok(after.operation.is_none()
            && self.repo.head_at(self.bench.scratch)? == self.head
            && tracked(&after)
                .iter()
                .all(|path| path == self.meeting.path || before.contains(path)))
    }
}

fn is_plain(file: &Path) -> bool {
    std::fs::symlink_metadata(file).is_ok_and(|m| m.is_file())
}

fn is_inside(folder: &Path, top: &Path) -> bool {
    matches!((folder.canonicalize(), top.canonicalize()),
        (Ok(folder), Ok(top)) if folder.starts_with(&top))
}

fn has_markers(content: &[u8]) -> bool {
    content
        .split(|b| *b == b'\n')
        .any(|line| line.starts_with(b"<<<<<<< ") || line.starts_with(b">>>>>>> "))
}

fn form_of(path: &str) -> Form {
    let name = path.rsplit('/').next().unwrap_or(path);
    if let Some(tool) = BUILT_IN.iter().find(|tool| tool.file == name) {
        return tool.form;
    }
    match name.rsplit_once('.') {
        Some((_, "json")) => Form::Json,
        Some((_, "toml")) => Form::Toml,
        _ => Form::Text,
    }
}
