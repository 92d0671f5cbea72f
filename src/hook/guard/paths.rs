//! Where a path really leads, and whose place that is.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::agent::environment::Environment;

/// The places that an instance has to do with. All are real paths, without links.
#[derive(Debug, Clone)]
pub struct Bounds {
    worktree: PathBuf,
    main: PathBuf,
    siblings: Option<PathBuf>,
    scratch: Vec<PathBuf>,
    env: Environment,
}

/// Whose place a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The instance's own.
    Worktree,
    /// The person's main checkout, git's own folder in it included.
    Main,
    /// Another task's worktree.
    Sibling,
    /// For temporary files.
    Scratch,
    /// A device that keeps nothing.
    Device,
    /// Anywhere else.
    Outside,
}

impl Bounds {
    /// The places of the instance whose worktree this is.
    ///
    /// - `scratch`: folders for temporary files.
    /// - `env`: the environment that its commands see.
    #[must_use]
    pub fn new(
        worktree: &Path,
        main: &Path,
        scratch: impl IntoIterator<Item = PathBuf>,
        env: Environment,
    ) -> Self {
        let real = |path: &Path| walk(Path::new("/"), path);
        let worktree = real(worktree);
        let scratch: Vec<PathBuf> = scratch
            .into_iter()
            .filter(|path| path.is_absolute() && path.parent().is_some())
            .map(|path| real(&path))
            .collect();
        let main = real(main);
        // Worktrees lie side by side in a folder of their own, unless somebody put them
        // straight into a place that holds everything.
        let siblings = worktree
            .parent()
            .filter(|p| p.parent().is_some() && !main.starts_with(p))
            .map(Path::to_owned);
        Self {
            worktree,
            main,
            siblings,
            scratch,
            env,
        }
    }

    /// The instance's worktree.
    #[must_use]
    pub fn worktree(&self) -> &Path {
        &self.worktree
    }

    /// The main checkout.
    #[must_use]
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// The folder that the worktrees of all tasks lie in.
    #[must_use]
    pub fn siblings(&self) -> Option<&Path> {
        self.siblings.as_deref()
    }

    /// The first place for temporary files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch
            .first()
            .map_or(self.worktree.as_path(), PathBuf::as_path)
    }

    /// A variable of the environment that the instance's commands see.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name)?.to_str()
    }

    /// Where a path leads that a tool names: relative to `cwd`, `~` and links followed, also
    /// links that lead to nothing yet.
    #[must_use]
    pub fn resolve(&self, path: &str, cwd: &Path) -> PathBuf {
        if let (Some(rest), Some(home)) = (path.strip_prefix('~'), self.var("HOME"))
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return self.resolve_plain(&format!("{home}{rest}"), cwd);
        }
        self.resolve_plain(path, cwd)
    }

    /// The same; `~` is a name like any other.
    #[must_use]
    pub fn resolve_plain(&self, path: &str, cwd: &Path) -> PathBuf {
        walk(&walk(Path::new("/"), cwd), Path::new(path))
    }

    /// Whose place a resolved path is. Of places that lie in each other the innermost counts.
    #[must_use]
    pub fn place(&self, real: &Path) -> Place {
        let own = [(Some(self.worktree.as_path()), Place::Worktree)];
        let others = [
            (Some(self.main.as_path()), Place::Main),
            (self.siblings.as_deref(), Place::Sibling),
        ];
        let scratch = self
            .scratch
            .iter()
            .map(|path| (Some(path.as_path()), Place::Scratch));
        let innermost = own
            .into_iter()
            .chain(others)
            .chain(scratch)
            .filter_map(|(place, kind)| Some((place?, kind)))
            .filter(|(place, _)| real.starts_with(place))
            .max_by_key(|(place, _)| place.components().count());
        match innermost {
            Some((_, kind)) => kind,
            None if is_harmless_device(real) => Place::Device,
            None => Place::Outside,
        }
    }

    /// Whether a resolved path is another's: the main checkout or another worktree.
    #[must_use]
    pub fn is_foreign(&self, real: &Path) -> bool {
        matches!(self.place(real), Place::Main | Place::Sibling)
    }

    /// Whether a resolved path is one that the instance may write to.
    #[must_use]
    pub fn is_own(&self, real: &Path) -> bool {
        matches!(
            self.place(real),
            Place::Worktree | Place::Scratch | Place::Device
        )
    }

    /// Whether a text names the main checkout or the folder of the other worktrees.
    #[must_use]
    pub fn is_mentioned(&self, text: &str) -> bool {
        let mentions = |place: &Path| {
            place.to_str().is_some_and(|place| {
                text.match_indices(place).any(|(at, _)| {
                    let rest = &text[at..];
                    let end = rest
                        .find(|c: char| c.is_whitespace() || "'\"`:;,)(|&<>=".contains(c))
                        .unwrap_or(rest.len());
                    self.is_foreign(&self.resolve_plain(&rest[..end], "/".as_ref()))
                })
            })
        };
        mentions(&self.main) || self.siblings.as_deref().is_some_and(mentions)
    }

    /// Whether a resolved path is what binds the worktree to git, or to this guard.
    #[must_use]
    pub fn is_own_settings(&self, real: &Path) -> bool {
        // Also in a repository that is made in the scratch folder: a file of that name can
        // lead anywhere. Its folder `.git` is git's.
        if self.is_own(real) && real.file_name().is_some_and(|name| name == ".git") {
            return !real.is_dir();
        }
        real.strip_prefix(&self.worktree).is_ok_and(|rest| {
            rest == Path::new(".claude/settings.local.json")
                || rest == Path::new(".claude/settings.json")
        })
    }

    /// Whether what binds the worktree is lost with a resolved path.
    #[must_use]
    pub fn holds_own_settings(&self, real: &Path) -> bool {
        self.is_own_settings(real) || real == self.worktree || real == self.worktree.join(".claude")
    }

    /// The worktree's copy of a file of the main checkout.
    #[must_use]
    pub fn same_in_worktree(&self, real: &Path) -> Option<PathBuf> {
        let rest = real.strip_prefix(&self.main).ok()?;
        (!rest.starts_with(".git")).then(|| self.worktree.join(rest))
    }
}

/// Devices that keep nothing of what is written to them, or are the command's own output.
fn is_harmless_device(real: &Path) -> bool {
    let Some(text) = real.to_str() else {
        return false;
    };
    matches!(
        text,
        "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/tty" | "/dev/zero" | "/dev/full"
    ) || text
        .strip_prefix("/dev/fd/")
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Links followed at most, as the kernel does.
const MAX_LINKS: usize = 40;

/// Goes a path step by step from a real folder, as the kernel would: `..` leads up from where
/// one really is. What does not exist is taken as a plain name.
fn walk(from: &Path, path: &Path) -> PathBuf {
    let mut at = from.to_owned();
    let mut open: Vec<OsString> = Vec::new();
    push_steps(&mut open, &mut at, path);
    let mut links = 0;
    while let Some(step) = open.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&step);
        // What these lead to depends on whose descriptors are looked at: not on this process's.
        if at == Path::new("/dev")
            && (step == "stdout" || step == "stderr" || step == "fd" || step == "stdin")
        {
            at = next;
            continue;
        }
        match std::fs::read_link(&next) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                push_steps(&mut open, &mut at, &target);
            }
            _ => at = next,
        }
    }
    at
}

/// Puts the steps of a path on the stack, the first one on top.
fn push_steps(open: &mut Vec<OsString>, at: &mut PathBuf, path: &Path) {
    if path.is_absolute() {
        *at = PathBuf::from("/");
    }
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => open.push(name.to_owned()),
            Component::ParentDir => open.push("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_followed_to_where_they_lead() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let make = |p: &str| std::fs::create_dir_all(root.join(p)).unwrap();
        make("trees/a/src");
        make("trees/b");
        make("main/src");
        symlink(root.join("main"), root.join("trees/a/out")).unwrap();
        symlink("../../main/new.txt", root.join("trees/a/dangling")).unwrap();
        symlink("loop", root.join("trees/a/loop")).unwrap();
        let work = root.join("trees/a");
        let bounds = Bounds::new(
            &work,
            &root.join("main"),
            [root.join("scratch")],
            Environment::from_vars([("HOME", root.join("home"))]),
        );
        for (path, place) in [
            ("src/x.rs", Place::Worktree),
            ("./new/deep/x.rs", Place::Worktree),
            ("src/../../a/x", Place::Worktree),
            ("", Place::Worktree),
            ("../b/x", Place::Sibling),
            ("../../main/src/x", Place::Main),
            ("out/src/x", Place::Main),
            ("out/../main/x", Place::Main),
            ("nothing/../../b/x", Place::Sibling),
            ("dangling", Place::Main),
            ("loop", Place::Worktree),
            ("~/x", Place::Outside),
            ("~other/x", Place::Worktree),
            ("/etc/passwd", Place::Outside),
            ("/tmp/x", Place::Outside),
            ("../../scratch/x", Place::Scratch),
            ("/dev/null", Place::Device),
            ("/dev/stderr", Place::Device),
            ("/dev/fd/2", Place::Device),
            ("/dev/fd/", Place::Outside),
            ("/dev/sda", Place::Outside),
            ("/dev/shm/x", Place::Outside),
            ("/dev/tcp/127.0.0.1/80", Place::Outside),
        ] {
            let real = bounds.resolve(path, &work);
            assert_eq!(bounds.place(&real), place, "{path} -> {}", real.display());
        }
        let main = bounds.resolve("../../main/src/x", &work);
        assert_eq!(bounds.same_in_worktree(&main), Some(work.join("src/x")));
        let git = bounds.resolve("../../main/.git/config", &work);
        assert_eq!(bounds.same_in_worktree(&git), None);
        assert!(bounds.is_own_settings(&bounds.resolve(".git", &work)));
    }
}
