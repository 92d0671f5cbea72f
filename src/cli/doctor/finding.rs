//! What is found, and how it is mended.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::super::{Context, Failure};
use crate::agent::environment::Environment;
use crate::conduct;
use crate::core::state::State;
use crate::core::time::Timestamp;
use crate::git::Repo;
use crate::store::layout::{Layout, RunDir};

/// What mends a finding: says what it did, or why it could not.
pub(super) type Mend = Box<dyn FnOnce() -> Result<String, String>>;

/// Files that are there for a moment only, and are older than this, were left.
pub(super) const MOMENT: Duration = Duration::from_secs(60);

/// Something that was left, or is not as it should be.
pub(super) struct Finding {
    /// Its kind, in a word or two.
    pub(super) name: &'static str,
    /// What, and where.
    pub(super) what: String,
    /// Why it matters.
    pub(super) why: String,
    /// What a person can do: mostly one command.
    pub(super) remedy: String,
    /// What `--fix` does; none when that is a person's decision.
    pub(super) mend: Option<Mend>,
}

impl Finding {
    /// A finding that only a person can mend.
    pub(super) fn new(
        name: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name,
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
            mend: None,
        }
    }

    /// The same, mended by `--fix`.
    pub(super) fn mended_by(
        mut self,
        mend: impl FnOnce() -> Result<String, String> + 'static,
    ) -> Self {
        self.mend = Some(Box::new(mend));
        self
    }
}

/// What all finders look at.
pub(super) struct Scene {
    pub(super) repo: Repo,
    pub(super) layout: Layout,
    pub(super) runs: Vec<RunDir>,
    /// Those that were started and can be read.
    pub(super) known: Vec<(conduct::Context, State)>,
    /// Whether one that was started cannot be read: it may name anything.
    pub(super) unread: bool,
    pub(super) exe: PathBuf,
    pub(super) env: Environment,
    pub(super) now: Timestamp,
}

impl Scene {
    pub(super) fn look(repo: Repo, cx: &Context<'_>) -> Result<Self, Failure> {
        let layout = Layout::new(repo.root());
        let runs = layout.runs();
        let (exe, env) = (cx.own_exe()?, cx.environment());
        let mut known = Vec::new();
        let mut unread = false;
        for run in runs.iter().filter(|run| run.settings().exists()) {
            let read = conduct::load(run, &exe, env.clone())
                .ok()
                .and_then(|context| Some((conduct::read_state(&context).ok()?, context)));
            match read {
                Some((state, context)) => known.push((context, state)),
                None => unread = true,
            }
        }
        Ok(Self {
            repo,
            layout,
            runs,
            known,
            unread,
            exe,
            env,
            now: cx.now(),
        })
    }
}

/// How long ago a file was changed; none when that is not known, or seems to be in the future.
pub(super) fn age(path: &std::path::Path) -> Option<Duration> {
    let about = path.symlink_metadata().ok()?;
    SystemTime::now()
        .duration_since(about.modified().ok()?)
        .ok()
}

/// Removes a file; one that is gone is as good.
pub(super) fn remove_file(path: &std::path::Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {e}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A path as an argument in a shell line for people.
pub(super) fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%=:,".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
