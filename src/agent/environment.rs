//! Environments as values, and what an instance must not inherit.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// A whole environment. The real one is read at the edges of the program and handed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

/// Variables by which an outer Claude Code session would be taken for the instance's own.
const OF_OUTER_SESSION: &[&str] = &[
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_PROJECT_DIR",
    "CLAUDE_SESSION_ID",
    "CLAUDE_ENV_FILE",
    "ORCHESTRA_MARK",
    "ORCHESTRA_ATTACHED",
    "ORCHESTRA_COMMAND",
];

/// Variables that point git at another repository, index or object store (the location part
/// of `git rev-parse --local-env-vars`). A git hook of the person may have set them.
const OF_GIT_LOCATION: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_QUARANTINE_PATH",
];

/// Variables that say what a terminal can do and where it is. Those that begin with `LC_` are
/// of the same kind.
const OF_TERMINAL: &[&str] = &[
    "TERM",
    "COLORTERM",
    "COLORFGBG",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "VTE_VERSION",
    "WT_SESSION",
    "KITTY_WINDOW_ID",
    "WEZTERM_PANE",
    "ITERM_SESSION_ID",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "SSH_TTY",
    "SSH_CONNECTION",
    "SSH_AUTH_SOCK",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "NO_COLOR",
    "FORCE_COLOR",
    "LANG",
    "EDITOR",
    "VISUAL",
];

impl Environment {
    /// An environment of these variables; of equal names the last one counts.
    pub fn from_vars<K: Into<OsString>, V: Into<OsString>>(
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self(
            vars.into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }

    /// The same without what belongs to an outer session or names a git location.
    #[must_use]
    pub fn for_instance(&self) -> Self {
        let mut vars = self.0.clone();
        vars.retain(|name, _| {
            let name = name.to_string_lossy();
            !OF_OUTER_SESSION.contains(&name.as_ref())
                && !OF_GIT_LOCATION.contains(&name.as_ref())
                && !name.starts_with("CLAUDE_PLUGIN_")
        });
        Self(vars)
    }

    /// The same in the terminal of a process with the environment `of`.
    #[must_use]
    pub fn in_terminal_of(&self, of: &Self) -> Self {
        let is_its = |name: &OsStr| {
            let name = name.to_string_lossy();
            OF_TERMINAL.contains(&name.as_ref()) || name.starts_with("LC_")
        };
        let mut vars = self.0.clone();
        vars.retain(|name, _| !is_its(name));
        let its = of.0.iter().filter(|(name, _)| is_its(name));
        vars.extend(its.map(|(name, value)| (name.clone(), value.clone())));
        Self(vars)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets a variable that is not there yet.
    pub fn set_default(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.entry(name.into()).or_insert_with(|| value.into());
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// All variables in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_another_terminal_only_that_is_another_one() {
        let of_run = Environment::from_vars([("KEY", "k"), ("TERM", "dumb"), ("TMUX", "old")]);
        let own = Environment::from_vars([("KEY", "other"), ("TERM", "xterm"), ("LC_ALL", "C")]);
        assert_eq!(
            of_run.in_terminal_of(&own),
            Environment::from_vars([("KEY", "k"), ("TERM", "xterm"), ("LC_ALL", "C")])
        );
    }

    #[test]
    fn an_instance_inherits_neither_the_outer_session_nor_a_git_location() {
        let env = Environment::from_vars([
            ("PATH", "/bin"),
            ("CLAUDECODE", "1"),
            ("CLAUDE_PLUGIN_ROOT", "/p"),
            ("GIT_DIR", "/elsewhere/.git"),
            ("GIT_AUTHOR_NAME", "Me"),
            ("CLAUDE_CODE_MAX_RETRIES", "2"),
        ])
        .for_instance();
        assert_eq!(
            env,
            Environment::from_vars([
                ("PATH", "/bin"),
                ("GIT_AUTHOR_NAME", "Me"),
                ("CLAUDE_CODE_MAX_RETRIES", "2"),
            ])
        );
    }
}
