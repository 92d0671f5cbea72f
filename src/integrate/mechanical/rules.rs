//! What may be done to which file.

use std::collections::BTreeMap;

use globset::{GlobMatcher, GlobSet, GlobSetBuilder};

use super::lockfile::{BUILT_IN, Tool};
use crate::format::config::file_glob;

/// Which files are settled how. Manifests and the built-in lock files need no rule.
#[derive(Debug, Clone)]
pub struct Rules {
    union: GlobSet,
    /// The longest pattern first.
    lockfiles: Vec<(GlobMatcher, String)>,
}

/// How a lock file is mended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mender<'a> {
    /// By a tool that is known.
    Tool(&'static Tool),
    /// By a command of the person.
    Command(&'a str),
}

impl Rules {
    /// Rules from the configuration: globs of files in which the lines of both sides are
    /// kept, and commands by globs of the lock files that they write anew (none when it is
    /// empty, also instead of a built-in one). When several match, the longest glob counts.
    ///
    /// # Errors
    /// The first text that is no glob.
    pub fn new(
        union: &[String],
        lockfiles: &BTreeMap<String, String>,
    ) -> Result<Self, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for glob in union {
            set.add(file_glob(glob)?);
        }
        let mut commands: Vec<(GlobMatcher, String)> = lockfiles
            .iter()
            .map(|(glob, command)| Ok((file_glob(glob)?.compile_matcher(), command.clone())))
            .collect::<Result<_, globset::Error>>()?;
        commands.sort_by_key(|(glob, _)| std::cmp::Reverse(glob.glob().glob().len()));
        Ok(Self {
            union: set.build()?,
            lockfiles: commands,
        })
    }

    pub(super) fn unites(&self, path: &str) -> bool {
        self.union.is_match(path)
    }

    pub(super) fn mender(&self, path: &str) -> Option<Mender<'_>> {
        let configured = self.lockfiles.iter().find(|(glob, _)| glob.is_match(path));
        if let Some((_, command)) = configured {
            let command = command.trim();
            return (!command.is_empty()).then_some(Mender::Command(command));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let tool = BUILT_IN.iter().find(|tool| tool.file == name);
        tool.map(Mender::Tool)
    }

    /// Whether the person chose what happens to a lock file.
    pub(super) fn is_configured(&self, path: &str) -> bool {
        self.lockfiles.iter().any(|(glob, _)| glob.is_match(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(union: &[&str], lockfiles: &[(&str, &str)]) -> Rules {
        let union: Vec<String> = union.iter().map(|t| (*t).to_owned()).collect();
        let lockfiles = lockfiles.iter();
        let lockfiles = lockfiles.map(|(g, c)| ((*g).to_owned(), (*c).to_owned()));
        Rules::new(&union, &lockfiles.collect()).unwrap()
    }

    #[test]
    fn the_longest_glob_decides_and_an_empty_command_switches_off() {
        let rules = rules(
            &[],
            &[
                ("Cargo.lock", ""),
                ("tools/*/Cargo.lock", "make lock"),
                ("*.lock", "other"),
            ],
        );
        let command = |path| match rules.mender(path) {
            Some(Mender::Command(command)) => Some(command),
            Some(Mender::Tool(tool)) => Some(tool.file),
            None => None,
        };
        assert_eq!(command("Cargo.lock"), None);
        assert_eq!(command("a/Cargo.lock"), None);
        assert_eq!(command("tools/x/Cargo.lock"), Some("make lock"));
        assert_eq!(command("deep/down/uv.lock"), Some("other"));
        assert_eq!(command("web/package-lock.json"), Some("package-lock.json"));
        assert_eq!(command("lock"), None);
    }

    #[test]
    fn union_globs_match_as_in_gitattributes() {
        let rules = rules(&["CHANGELOG.md", "/docs/*.txt", "log/"], &[]);
        for (path, is) in [
            ("CHANGELOG.md", true),
            ("a/b/CHANGELOG.md", true),
            ("docs/a.txt", true),
            ("docs/a/b.txt", false),
            ("x/docs/a.txt", false),
            ("log/a/b", true),
            ("catalog/a", false),
        ] {
            assert_eq!(rules.unites(path), is, "{path}");
        }
        assert!(Rules::new(&["[".to_owned()], &BTreeMap::new()).is_err());
    }
}
