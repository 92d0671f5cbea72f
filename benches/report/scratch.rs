//! Repositories to measure in, with a configuration and a home of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with a repository, a home, and room for worktrees.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    /// A repository with so many small files in one commit.
    pub(crate) fn with_files(count: usize) -> Self {
        Self::with(count, |n| {
            format!("// file {n}\n{}", "let it = be();\n".repeat(40))
        })
    }

    /// The same with files in which nothing is: many worktrees of it take little room.
    pub(crate) fn with_empty_files(count: usize) -> Self {
        Self::with(count, |_| String::new())
    }

    fn with(count: usize, text: impl Fn(usize) -> String) -> Self {
        let scratch = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let repo = scratch.repo();
        std::fs::create_dir_all(scratch.path().join("home")).unwrap();
        std::fs::create_dir_all(&repo).unwrap();
        scratch.git(&["init", "--quiet", "--initial-branch=main"]);
        scratch.git(&["config", "user.name", "Bench"]);
        scratch.git(&["config", "user.email", "bench@orchestra.invalid"]);
        // Nothing of git's own is to go on in the background.
        scratch.git(&["config", "gc.auto", "0"]);
        scratch.git(&["config", "maintenance.auto", "false"]);
        for n in 0..count {
            let folder = repo.join(format!("src/part-{}", n / 50));
            if n % 50 == 0 {
                std::fs::create_dir_all(&folder).unwrap();
            }
            std::fs::write(folder.join(format!("file-{n}.rs")), text(n)).unwrap();
        }
        scratch.git(&["add", "--all"]);
        scratch.git(&["commit", "--quiet", "--message", "All of it"]);
        scratch.git(&["gc", "--quiet"]);
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.path().join("repo")
    }

    /// A command in the repository that knows nothing of the person's configuration.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.repo())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path().join("home"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            // What else the machine does must not matter; looking at it is part of the costs.
            .env("ORCHESTRA_MAX_LOAD_PER_CPU", "0")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn git(&self, args: &[&str]) {
        let status = self.command("git").args(args).status().unwrap();
        assert!(status.success(), "git {args:?}");
    }

    /// Writes a file beside the repository.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}
