//! Shell commands that would write into somebody else's place.

use std::path::{Path, PathBuf};

use super::paths::Bounds;
use super::shell::{self, Simple, Word};

/// Where a command line stands while it is read: `cd` moves it.
pub struct Here<'a> {
    bounds: &'a Bounds,
    /// The folder; nothing once it depends on what only the shell knows.
    cwd: Option<PathBuf>,
    depth: usize,
}

/// Programs that change the files that they name.
const CHANGE_ALL: &[&str] = &[
    "rm", "rmdir", "mv", "touch", "mkdir", "tee", "truncate", "chmod", "chown", "chgrp", "shred",
    "unlink", "patch",
];

/// Programs that change the last file that they name.
const CHANGE_LAST: &[&str] = &["cp", "ln", "install", "rsync"];

impl<'a> Here<'a> {
    /// At the beginning of a command line.
    #[must_use]
    pub fn new(cwd: &Path, bounds: &'a Bounds) -> Self {
        Self {
            bounds,
            cwd: Some(cwd.to_owned()),
            depth: 0,
        }
    }

    /// The places.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        self.bounds
    }

    /// Where a word leads; nothing when only the shell knows.
    #[must_use]
    pub fn resolve(&self, word: &Word) -> Option<PathBuf> {
        if !word.exact {
            return self.resolve_beginning(&word.text);
        }
        let cwd = match &self.cwd {
            Some(cwd) => cwd.as_path(),
            None if word.text.starts_with(['/', '~']) => Path::new("/"),
            None => return None,
        };
        Some(self.bounds.resolve(&word.text, cwd))
    }

    /// The folder part of a word with a pattern in it: `/main/src/*.rs` is in `/main/src`.
    fn resolve_beginning(&self, text: &str) -> Option<PathBuf> {
        let plain = text.find(['$', '*', '?', '[', '{']).map(|at| &text[..at])?;
        let folder = &plain[..=plain.rfind('/')?];
        let word = Word {
            text: folder.to_owned(),
            exact: true,
        };
        self.resolve(&word)
    }

    fn foreign(&self, word: &Word) -> bool {
        self.resolve(word)
            .is_some_and(|real| self.bounds.is_foreign(&real))
    }

    /// Why a command may not run, if so. Follows `cd`.
    pub fn denial(&mut self, simple: &Simple) -> Option<String> {
        if let Some(target) = simple.writes.iter().find(|w| self.foreign(w)) {
            return Some(self.say("writing to", &target.text));
        }
        let simple = simple.unwrapped();
        if let Some(script) = simple.inner_script() {
            return self.inner(&script);
        }
        let (first, rest) = simple.words.split_first()?;
        let name = first.text.rsplit('/').next().unwrap_or_default();
        if matches!(name, "cd" | "pushd") {
            return self.change_folder(rest);
        }
        let named: Vec<&Word> = rest.iter().filter(|w| !w.text.starts_with('-')).collect();
        let changed: Vec<&Word> = if CHANGE_ALL.contains(&name) {
            named
        } else if CHANGE_LAST.contains(&name) {
            let target = rest.iter().find_map(|w| {
                let text = w.text.strip_prefix("--target-directory=")?;
                Some(self.foreign(&Word {
                    text: text.to_owned(),
                    exact: w.exact,
                }))
            });
            if target == Some(true) {
                return Some(self.say("writing to", "the folder that --target-directory names"));
            }
            named.last().copied().into_iter().collect()
        } else if matches!(name, "sed" | "perl")
            && rest
                .iter()
                .any(|w| w.text.starts_with("-i") || w.text.starts_with("-pi"))
        {
            named
        } else if name == "dd" {
            let out = rest.iter().find_map(|w| w.text.strip_prefix("of="))?;
            let word = Word {
                text: out.to_owned(),
                exact: true,
            };
            return self.foreign(&word).then(|| self.say("writing to", out));
        } else {
            Vec::new()
        };
        let bad = changed.into_iter().find(|w| self.foreign(w))?;
        Some(self.say(&format!("`{name}` on"), &bad.text))
    }

    fn change_folder(&mut self, rest: &[Word]) -> Option<String> {
        let Some(target) = rest.iter().find(|w| !w.text.starts_with('-')) else {
            self.cwd = None;
            return None;
        };
        let real = if target.exact {
            self.resolve(target)
        } else {
            None
        };
        if real
            .as_ref()
            .is_some_and(|real| self.bounds.is_foreign(real))
        {
            return Some(self.say("going to", &target.text));
        }
        self.cwd = real;
        None
    }

    /// A script within the command.
    fn inner(&mut self, script: &str) -> Option<String> {
        if self.depth >= 8 {
            return Some("the command is nested too deeply to be looked at; split it".to_owned());
        }
        self.depth += 1;
        let commands = shell::read(script).ok()?;
        let found = commands
            .iter()
            .find_map(|c| self.denial(c).or_else(|| super::git::denial(c, self)));
        self.depth -= 1;
        found
    }

    fn say(&self, what: &str, target: &str) -> String {
        format!(
            "{what} {target} would reach outside your worktree, into the person's checkout or \
             another task's. Work only inside {}.",
            self.bounds.worktree().display()
        )
    }
}
