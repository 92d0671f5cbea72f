//! Where things are: `.claude/orchestration/` of the main checkout.

use std::path::{Path, PathBuf};

use crate::core::id::{OrchestrationId, TaskName};

/// The folder that holds all orchestrations of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the repository whose main checkout is `main_checkout`.
    #[must_use]
    pub fn new(main_checkout: &Path) -> Self {
        Self {
            root: main_checkout.join(".claude").join("orchestration"),
        }
    }

    /// `.claude/orchestration`
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of names (branches, worktree folders) that a run holds.
    #[must_use]
    pub fn claims(&self) -> PathBuf {
        self.root.join(".claims")
    }

    /// What became of the attempts and tasks of all runs.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.root.join("history.jsonl")
    }

    /// Held by whoever writes the history.
    #[must_use]
    pub fn history_lock(&self) -> PathBuf {
        self.root.join("history.lock")
    }

    /// The sessions that hear of runs, a file each.
    #[must_use]
    pub fn seats(&self) -> PathBuf {
        self.root.join(".sessions")
    }

    /// What instances of all runs learnt about the repository.
    #[must_use]
    pub fn notes(&self) -> PathBuf {
        self.root.join("notes.jsonl")
    }

    /// The folder of one orchestration.
    #[must_use]
    pub fn run(&self, id: &OrchestrationId) -> RunDir {
        RunDir {
            id: id.clone(),
            dir: self.root.join(id.as_str()),
        }
    }

    /// All orchestrations that there are, in order of their ids. Folders whose name is not
    /// an id are passed over.
    #[must_use]
    pub fn runs(&self) -> Vec<RunDir> {
        let mut ids: Vec<OrchestrationId> = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .filter_map(|e| OrchestrationId::parse(e.file_name().to_str()?).ok())
            .collect();
        ids.sort();
        ids.iter().map(|id| self.run(id)).collect()
    }
}

/// The folder of one orchestration, and the files in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    id: OrchestrationId,
    dir: PathBuf,
}

macro_rules! run_files {
    ($($(#[$doc:meta])* $method:ident => $file:literal;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $method(&self) -> PathBuf { self.dir.join($file) })*
    };
}

macro_rules! task_files {
    ($($(#[$doc:meta])* $method:ident => $suffix:literal;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $method(&self, task: &TaskName) -> PathBuf {
            self.dir.join(format!("instance-{task}{}", $suffix))
        })*
    };
}

impl RunDir {
    /// The orchestration's id.
    #[must_use]
    pub fn id(&self) -> &OrchestrationId {
        &self.id
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The main checkout that it is in. No question to git: a follower asks many times a
    /// second.
    #[must_use]
    pub fn main_checkout(&self) -> &Path {
        // `.claude/orchestration/ID`, as [`Layout`] joins it.
        self.dir.ancestors().nth(3).unwrap_or(&self.dir)
    }

    run_files! {
        /// The request, byte for byte as the person gave it.
        request => "request.txt";
        /// The GitHub issue that it works on, as it was read.
        issue => "issue.json";
        /// The plan.
        plan => "orchestration-plan.json";
        /// How the run was configured when it began.
        settings => "settings.json";
        /// What the machine is short of, while the run waits for it.
        shortage => "shortage.json";
        /// The log for people.
        log => "orchestration.log";
        /// What was decided and what happened: the truth from which all is rebuilt.
        journal => "journal.jsonl";
        /// Held for the moment in which a run is started.
        start_lock => "start.lock";
        /// Held while a request is analysed.
        analysis_lock => "analysis.lock";
        /// Why the last analysis gave no plan.
        analysis_error => "analysis.error";
        /// What a background analysis printed, if it ever had to.
        analysis_stderr => "analysis.stderr";
        /// Held while a hook looks whether all instances are complete.
        hook_lock => "hook.lock";
        /// Marker: a hook has asked for integration.
        integration_asked => "integration-asked";
        /// Held by the conductor.
        conductor_lock => "conductor.lock";
        /// What the conductor printed, if it ever had to.
        conductor_stderr => "conductor.stderr";
        /// Held by the keeper, which starts a conductor when there is none.
        keeper_lock => "keeper.lock";
        /// What the keeper printed, if it ever had to.
        keeper_stderr => "keeper.stderr";
        /// The environment that the run's processes are started with. Its owner's alone.
        environment => "environment.json";
        /// The conflicts that were predicted.
        radar => "radar.json";
        /// What machine and provider allow.
        conditions => "conditions.json";
        /// What the radar works with: pictures of the worktrees.
        radar_folder => "radar";
        /// What people are to be told, and who was told.
        announcements => "announcements";
        /// Requests to the conductor.
        inbox => "inbox";
        /// The machine-readable results.
        results => "results.json";
        /// The report of a good end.
        success_report => "ORCHESTRATION_SUCCESS.md";
        /// The report of a bad end.
        failure_report => "ORCHESTRATION_FAILURE.md";
        /// What its instances learnt, for those that come after them.
        notes => "notes.jsonl";
        /// What the verify command printed on the merged tree.
        verify_log => "verify.log";
    }

    task_files! {
        /// Where the instance stands.
        status => ".status.json";
        /// Marker: the task is done.
        complete_marker => "-complete";
        /// The raw stream of the instance.
        stream_log => ".log";
        /// Signs of life of an instance that a person talks to.
        beat => ".beat";
        /// What the verify command said when a person's session came to its end.
        checked => ".checked.json";
        /// The order for its present attempt.
        launch => ".launch.json";
        /// How its last attempt ended.
        outcome => ".outcome.json";
        /// Its processes as last seen, for whoever finds its supervisor lost.
        processes => ".processes.json";
        /// Held by its supervisor.
        lock => ".lock";
        /// Held by the terminal of a person who takes it over.
        attach_lock => ".attach.lock";
        /// Requests to its supervisor.
        instance_inbox => ".inbox";
        /// What its supervisor printed, if it ever had to.
        supervisor_stderr => ".supervisor.stderr";
        /// Written once its worktree is complete.
        worktree_ready => ".worktree.json";
        /// What a person allowed it for good.
        permissions => ".permissions.json";
        /// Its settings, when its worktree cannot hold them.
        instance_settings => ".settings.json";
        /// What its set-up and verify commands printed.
        commands_log => ".commands";
    }
}
