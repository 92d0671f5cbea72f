//! `orchestra prune`

use std::collections::HashMap;
use std::sync::Mutex;

use super::cleanup::{self, Tidied};
use super::select::{Purpose, RunChoice, choose};
use super::{Context, Exit, Failure, conductor};
use crate::conduct::cleanup::{Manner, prune};
use crate::core::id::{BranchName, Oid};
use crate::git::Repo;
use crate::github::{Gh, GithubError, MergedPull};
use crate::store::layout::Layout;

/// Remove worktrees and branches of tasks whose pull request is merged
///
/// A task goes when a pull request from its branch is merged on GitHub and holds all of its
/// commits. Uncommitted work is kept in a backup ref first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestra prune --dry-run\n  orchestra prune\n  \
    orchestra prune --orchestration 20261121-0913 --json"
)]
pub struct Args {
    /// Which run [default: all runs of the repository].
    #[command(flatten)]
    pub choice: RunChoice,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let repo = cx.repository()?;
    let layout = Layout::new(repo.root());
    let runs = match &args.choice.orchestration {
        Some(_) => vec![choose(&layout, &args.choice, Purpose::Look, cx)?.run],
        None => layout.runs(),
    };
    let manner = if args.dry_run {
        Manner::DryRun
    } else {
        Manner::Told
    };
    let mut pulls: Option<Pulls> = None;
    let mut tidied = Tidied::default();
    for run in runs.iter().filter(|run| run.settings().is_file()) {
        let (context, state) = match conductor::load(run, cx) {
            Ok(loaded) => loaded,
            // One damaged run holds no other up.
            Err(failure) => {
                tidied.unread.push((run.id().clone(), failure.what));
                continue;
            }
        };
        // Nobody is asked for `gh` before there is something to ask it about.
        let pulls = match &pulls {
            Some(pulls) => pulls,
            None => pulls.insert(Pulls::new(&repo, cx).map_err(|error| failure(&error))?),
        };
        let items = prune(&context, &state, manner, &|branch, tip| {
            pulls.verdict(branch, tip)
        })?;
        let id = run.id();
        tidied
            .rows
            .extend(items.into_iter().map(|item| (id.clone(), item)));
        if let Some(error) = pulls.fault() {
            return Err(failure(&error));
        }
    }
    cleanup::tell(args.dry_run, args.json, &tidied, cx)
}

fn failure(error: &GithubError) -> Failure {
    Failure::environment(error.to_string()).next(error.remedy())
}

/// What GitHub says of branches, asked once for each.
struct Pulls {
    gh: Gh,
    repo: Repo,
    known: Mutex<HashMap<BranchName, Vec<MergedPull>>>,
    fault: Mutex<Option<GithubError>>,
}

impl Pulls {
    fn new(repo: &Repo, cx: &Context<'_>) -> Result<Self, GithubError> {
        Ok(Self {
            gh: Gh::find(&cx.environment(), repo.root())?,
            repo: repo.clone(),
            known: Mutex::default(),
            fault: Mutex::default(),
        })
    }

    /// The first thing that went wrong.
    fn fault(&self) -> Option<GithubError> {
        lock(&self.fault).clone()
    }

    /// Why a branch at `tip` stays; nothing when all of it is merged.
    fn verdict(&self, branch: &BranchName, tip: &Oid) -> Option<String> {
        // What failed once is not waited for once more for each branch.
        if let Some(error) = self.fault() {
            return Some(error.to_string());
        }
        let known = lock(&self.known).get(branch).cloned();
        let pulls = match known {
            Some(pulls) => pulls,
            None => match self.gh.merged_from(branch) {
                Ok(pulls) => {
                    lock(&self.known).insert(branch.clone(), pulls.clone());
                    pulls
                }
                Err(error) => {
                    let text = error.to_string();
                    lock(&self.fault).get_or_insert(error);
                    return Some(text);
                }
            },
        };
        let Some(last) = pulls.first() else {
            return Some("no pull request from its branch is merged".to_owned());
        };
        let holds = |pull: &MergedPull| {
            pull.head == *tip || self.repo.is_ancestor(tip, &pull.head).unwrap_or(false)
        };
        if pulls.iter().any(holds) {
            return None;
        }
        Some(format!(
            "its pull request #{} is merged, but its branch has commits that were not in it",
            last.number
        ))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::agent::environment::Environment;

    /// A `gh` that hangs is waited for once, and not once for each branch.
    #[test]
    fn what_github_did_not_say_is_not_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("gh"), "#!/bin/sh\necho asked >>asked\nexit 1\n").unwrap();
        std::fs::set_permissions(path("gh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        git2::Repository::init(dir.path()).unwrap();
        let env = Environment::from_vars([("PATH", dir.path().display().to_string())]);
        let pulls = Pulls {
            gh: Gh::find(&env, dir.path()).unwrap(),
            repo: Repo::discover(dir.path()).unwrap(),
            known: Mutex::default(),
            fault: Mutex::new(Some(GithubError::TimedOut { what: "x".into() })),
        };
        let branch = BranchName::parse("task/a").unwrap();
        let tip = Oid::parse(&"a".repeat(40)).unwrap();
        let said = pulls.verdict(&branch, &tip).unwrap();
        assert!(said.contains("no answer within"), "{said}");
        assert!(!path("asked").exists());
    }
}
