//! Everything that the parts of a conductor share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::agent::account;
use crate::agent::environment::Environment;
use crate::core::graph::TaskIx;
use crate::core::id::TaskName;
use crate::core::plan::ValidPlan;
use crate::core::record::{Place, QueueItem};
use crate::core::state::{State, TaskState};
use crate::format::breaker_file::BreakerOrder;
use crate::format::issue_file::IssueFile;
use crate::format::settings_file::SettingsFile;
use crate::git::{KeptAuthor, Repo};
use crate::integrate::{self, Bench, MergeTask};
use crate::store::atomic;
use crate::store::layout::{Layout, RunDir};

/// One run, loaded.
#[derive(Debug, Clone)]
pub struct Context {
    /// Its folder.
    pub run: RunDir,
    /// The folder of all runs.
    pub layout: Layout,
    /// How it was configured.
    pub settings: SettingsFile,
    /// Its plan.
    pub plan: ValidPlan,
    /// Its repository.
    pub repo: Repo,
    /// This program, for starting supervisors.
    pub exe: PathBuf,
    /// The environment that instances inherit.
    pub env: Environment,
    /// Who merges results.
    pub author: Arc<KeptAuthor>,
}

impl Context {
    /// The run's random token as it stands in process markers.
    #[must_use]
    pub fn token(&self) -> String {
        self.settings.token.simple().to_string()
    }

    /// Where all runs of the account tell each other what its provider says.
    #[must_use]
    pub fn breaker_order(&self) -> BreakerOrder {
        BreakerOrder {
            folder: self.settings.state_dir.clone(),
            account: account::key(&self.settings.agent, &self.env, &self.token()),
            policy: self.settings.retries.provider,
        }
    }

    /// The GitHub issue that the run works on.
    #[must_use]
    pub fn issue(&self) -> Option<IssueFile> {
        atomic::peek_json(&self.run.issue())
    }

    /// A task as it enters a merge; none when it is not done.
    #[must_use]
    pub fn merge_task(&self, state: &State, ix: TaskIx) -> Option<MergeTask> {
        let entry = state.task(ix);
        let TaskState::Done { head, summary } = &entry.state else {
            return None;
        };
        let start = entry.place.as_ref().map(|place| &place.base);
        Some(MergeTask {
            name: state.name(ix).clone(),
            start: start.unwrap_or(&self.settings.base_commit).clone(),
            head: head.clone(),
            needs: Vec::new(),
            title: self.title(state, ix),
            summary: summary.clone(),
        })
    }

    /// A result as the merge queue froze it; none for tasks that there are not.
    #[must_use]
    pub fn queued(&self, state: &State, item: &QueueItem) -> Option<MergeTask> {
        let mut task = self.merge_task(state, state.find(&item.task)?)?;
        task.head = item.head.clone();
        task.needs.clone_from(&item.needs);
        Some(task)
    }

    fn title(&self, state: &State, ix: TaskIx) -> String {
        let name = state.name(ix);
        let planned = self.plan.ix(name).map(|ix| self.plan.task(ix));
        planned
            .and_then(|task| task.description.clone())
            .unwrap_or_else(|| name.to_string())
    }

    /// The workbench of the run's merge queue.
    #[must_use]
    pub fn bench<'a>(&'a self, stop: &'a AtomicBool, tell: &'a dyn Fn(&str)) -> Bench<'a> {
        let settings = &self.settings;
        Bench {
            repo: self.repo.clone(),
            id: self.run.id().clone(),
            token: self.token(),
            base_branch: settings.base_branch.clone(),
            setup: settings.setup.clone(),
            verify: settings.verify.clone(),
            timeout: Duration::from_secs(settings.command_timeout_seconds),
            env: self.env.for_instance(),
            style: settings.delivery_style,
            hooks: settings.commit_hooks,
            union_files: settings.union_files.clone(),
            lockfiles: settings.lockfiles.clone(),
            scratch: integrate::scratch_worktree(&settings.worktree_dir, self.run.id()),
            log: self.run.verify_log(),
            author: &self.author,
            stop,
            tell,
        }
    }

    /// The finished tasks that `ix` builds on.
    #[must_use]
    pub fn finished_before(&self, state: &State, ix: TaskIx) -> Vec<MergeTask> {
        let facts = state.facts(ix);
        facts
            .needs
            .iter()
            .chain(&facts.after)
            .filter_map(|before| {
                let mut task = self.merge_task(state, *before)?;
                task.head = state.queue().head(&task.name, &task.head).clone();
                Some(task)
            })
            .collect()
    }

    /// The same without those that go before `ix` only because it turned out, while they ran,
    /// that they change its files: what they did helps, but is not needed.
    #[must_use]
    pub fn planned_before(&self, state: &State, ix: TaskIx) -> Vec<MergeTask> {
        let mut finished = self.finished_before(state, ix);
        // What the plan does not know has its own reasons for what it builds on.
        if let Some(ix) = self.plan.ix(state.name(ix)) {
            let planned = self.plan.deps(ix);
            finished.retain(|task| planned.iter().any(|dep| *self.plan.name(*dep) == task.name));
        }
        finished
    }

    /// The finished tasks whose results a place for `ix` holds.
    #[must_use]
    pub fn finished_in(&self, state: &State, ix: TaskIx, place: &Place) -> Vec<MergeTask> {
        let mut finished = self.finished_before(state, ix);
        let planned = self.planned_before(state, ix);
        finished.retain(|task| {
            planned.contains(task)
                || self
                    .repo
                    .is_ancestor(&task.head, &place.base)
                    .unwrap_or(false)
        });
        finished
    }

    /// The tasks that are worked on at the moment, but for `ix`.
    #[must_use]
    pub fn others(&self, state: &State, ix: TaskIx) -> Vec<TaskName> {
        state
            .active()
            .iter()
            .filter(|other| **other != ix)
            .map(|other| state.name(*other).clone())
            .collect()
    }
}
