//! Where a path really leads, and whose place that is.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The places that an instance has to do with. All are real paths, without links.
#[derive(Debug, Clone)]
pub struct Bounds {
    worktree: PathBuf,
    main: PathBuf,
    siblings: Option<PathBuf>,
    scratch: Vec<PathBuf>,
    home: Option<PathBuf>,
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
    /// Anywhere else.
    Outside,
}

impl Bounds {
    /// The places of the instance whose worktree this is.
    ///
    /// - `scratch`: folders for temporary files; `/tmp` is always one.
    /// - `home`: what `~` stands for.
    #[must_use]
    pub fn new(
        worktree: &Path,
        main: &Path,
        scratch: impl IntoIterator<Item = PathBuf>,
        home: Option<PathBuf>,
    ) -> Self {
        let here = Path::new("/");
        let real = |path: &Path| walk(here, path);
        let worktree = real(worktree);
        let scratch: Vec<PathBuf> = scratch
            .into_iter()
            .filter(|path| path.is_absolute() && path.parent().is_some())
            .chain([PathBuf::from("/tmp")])
            .map(|path| real(&path))
            .collect();
        // Worktrees lie side by side in a folder of their own, unless somebody put them
        // straight into a place that is everybody's.
        let siblings = worktree
            .parent()
            .filter(|p| p.parent().is_some() && !scratch.iter().any(|s| s == p))
            .map(Path::to_owned);
        Self {
            worktree,
            main: real(main),
            siblings,
            scratch,
            home,
        }
    }

    /// The instance's worktree.
    #[must_use]
    pub fn worktree(&self) -> &Path {
        &self.worktree
    }

    /// The first place for temporary files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch
            .first()
            .map_or(Path::new("/tmp"), PathBuf::as_path)
    }

    /// Where a path leads that a tool or a shell word names: relative to `cwd`, `~` and links
    /// followed, also links that lead to nothing yet.
    #[must_use]
    pub fn resolve(&self, path: &str, cwd: &Path) -> PathBuf {
        let cwd = walk(Path::new("/"), cwd);
        match (path.strip_prefix('~'), &self.home) {
            (Some(""), Some(home)) => walk(&cwd, home),
            (Some(rest), Some(home)) if rest.starts_with('/') => {
                walk(&cwd, &home.join(rest.trim_start_matches('/')))
            }
            _ => walk(&cwd, Path::new(path)),
        }
    }

    /// Whose place a resolved path is.
    #[must_use]
    pub fn place(&self, real: &Path) -> Place {
        if real.starts_with(&self.worktree) {
            Place::Worktree
        } else if real.starts_with(&self.main) {
            Place::Main
        } else if self.siblings.as_ref().is_some_and(|s| real.starts_with(s)) {
            Place::Sibling
        } else if self.scratch.iter().any(|s| real.starts_with(s)) {
            Place::Scratch
        } else {
            Place::Outside
        }
    }

    /// Whether a resolved path is another's: the main checkout or another worktree.
    #[must_use]
    pub fn is_foreign(&self, real: &Path) -> bool {
        matches!(self.place(real), Place::Main | Place::Sibling)
    }

    /// Whether a resolved path is what binds the worktree to git, or to this guard.
    #[must_use]
    pub fn is_own_settings(&self, real: &Path) -> bool {
        real.strip_prefix(&self.worktree).is_ok_and(|rest| {
            rest == Path::new(".git") || rest == Path::new(".claude/settings.local.json")
        })
    }

    /// The worktree's copy of a file of the main checkout.
    #[must_use]
    pub fn same_in_worktree(&self, real: &Path) -> Option<PathBuf> {
        let rest = real.strip_prefix(&self.main).ok()?;
        (!rest.starts_with(".git")).then(|| self.worktree.join(rest))
    }
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
            Some(root.join("home")),
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
            ("~/x", Place::Scratch),
            ("~other/x", Place::Worktree),
            ("/etc/passwd", Place::Outside),
            ("/tmp/x", Place::Scratch),
        ] {
            let real = bounds.resolve(path, &work);
            // The home folder of this test lies in the temporary folder, as does everything.
            assert_eq!(bounds.place(&real), place, "{path} -> {}", real.display());
        }
        let main = bounds.resolve("../../main/src/x", &work);
        assert_eq!(bounds.same_in_worktree(&main), Some(work.join("src/x")));
        let git = bounds.resolve("../../main/.git/config", &work);
        assert_eq!(bounds.same_in_worktree(&git), None);
        assert!(bounds.is_own_settings(&bounds.resolve(".git", &work)));
    }
}
