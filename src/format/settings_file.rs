//! `settings.json`: how one run was configured when it began. Frozen: what a run does never
//! changes because a configuration file did.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::instance_limits::InstanceLimits;
use super::launch_file::AgentChoice;
use crate::core::admission::Thresholds;
use crate::core::breaker::BreakerPolicy;
use crate::core::budget::{BudgetPolicy, Limit, Money};
use crate::core::history::Learned;
use crate::core::id::{BranchName, Oid, OrchestrationId};
use crate::core::permission::{DEFAULT_PERMISSION_TIMEOUT, PermissionRequests};
use crate::core::plan::ValidPlan;
use crate::core::queue::QueuePolicy;
use crate::core::record::{DeliveryStyle, MergeMode};
use crate::core::retry::RetryPolicy;
use crate::core::state::{Policy, TaskFacts};
use crate::core::time::Millis;

/// What is tidied up when a run ends.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CleanupWhen {
    /// Nothing: worktrees and branches stay.
    Never,
    /// What was delivered, after a good end.
    Success,
    /// Everything, failed tasks too (their work stays in backup refs).
    All,
}

/// Whether the room on the machine is heeded.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AdmissionMode {
    /// Fewer instances run at once when memory, disk or CPUs are short.
    #[default]
    Auto,
    /// As many as are wanted run, whatever the machine has left.
    Off,
}

/// A way of telling people besides their sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyBy {
    /// A notification of the desktop; by an escape sequence in the terminals of the run where
    /// the system has no program for it.
    Desktop,
    /// The bell of the terminals that follow the run, and of the session that hears of it.
    Bell,
}

/// How the room on the machine is heeded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Admission {
    /// Whether at all.
    pub mode: AdmissionMode,
    /// Memory that stays free, MB; a tenth of all if that is more.
    pub min_free_memory_mb: u64,
    /// Disk space that stays free, MB; a twentieth of all if that is more.
    pub min_free_disk_mb: u64,
    /// From which load for each CPU on nothing more begins; 0: the load does not matter.
    pub max_load_per_cpu: f64,
}

/// Bytes of a MB.
const MB: u64 = 1_000_000;

impl Default for Admission {
    fn default() -> Self {
        let built_in = Thresholds::default();
        Self {
            mode: AdmissionMode::Auto,
            min_free_memory_mb: built_in.min_free_memory / MB,
            min_free_disk_mb: built_in.min_free_disk / MB,
            max_load_per_cpu: built_in.max_load_per_cpu,
        }
    }
}

impl Admission {
    /// What is left alone; none when the machine does not matter.
    #[must_use]
    pub fn thresholds(&self) -> Option<Thresholds> {
        (self.mode == AdmissionMode::Auto).then(|| Thresholds {
            min_free_memory: self.min_free_memory_mb.saturating_mul(MB),
            min_free_disk: self.min_free_disk_mb.saturating_mul(MB),
            max_load_per_cpu: self.max_load_per_cpu,
        })
    }
}

/// What a run may cost, beside the money of each task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Budgets {
    /// Tokens of a task, for all tasks.
    pub max_tokens: Option<u64>,
    /// Money of the whole run, US dollars.
    pub run_usd: Option<f64>,
    /// Tokens of the whole run.
    pub run_tokens: Option<u64>,
    /// How much of the run's budget only resolvers of conflicts may use, percent.
    pub reserve_percent: u8,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            max_tokens: None,
            run_usd: None,
            run_tokens: None,
            reserve_percent: 10,
        }
    }
}

/// What is done about failed attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// Model for tasks that others failed twice.
    pub stronger_model: Option<String>,
    /// How often in a row the provider may fail a task.
    pub outages: u32,
    /// How long a usage limit's reset is waited for at most, seconds.
    pub usage_limit_wait_seconds: u64,
    /// What is done when the provider limits the rate, or the usage.
    pub provider: BreakerPolicy,
}

impl Default for Retries {
    fn default() -> Self {
        let policy = RetryPolicy::default();
        Self {
            stronger_model: None,
            outages: policy.outages,
            usage_limit_wait_seconds: policy.longest_wait.0 / 1000,
            provider: BreakerPolicy::default(),
        }
    }
}

/// The file itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingsFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The run.
    pub orchestration_id: OrchestrationId,
    /// Random number of this run: name space of session ids, part of process markers.
    pub token: uuid::Uuid,
    /// When the run was created, RFC 3339.
    pub created_at: String,
    /// The person's main checkout.
    pub main_checkout: PathBuf,
    /// The branch that results are delivered to.
    pub base_branch: BranchName,
    /// Its tip when the run began: where tasks without dependencies start.
    pub base_commit: Oid,
    /// The folder that holds the worktrees.
    pub worktree_dir: PathBuf,
    /// A folder of the machine's user for what is shared between runs (port slots).
    pub state_dir: PathBuf,
    /// Who works on the tasks.
    pub agent: AgentChoice,
    /// Instances at once.
    pub max_workers: u32,
    /// How the room on the machine is heeded.
    #[serde(default)]
    pub admission: Admission,
    /// Time for one attempt, seconds, for tasks that say nothing of it.
    pub timeout_seconds: u64,
    /// Time for one run of the verify or set-up command, seconds.
    pub command_timeout_seconds: u64,
    /// Attempts per task, for tasks that say nothing of it.
    pub max_attempts: u32,
    /// How often an instance is sent back for missing evidence.
    pub gate_rounds: u32,
    /// How long a stuck instance waits for an answer, seconds.
    #[serde(default = "default_answer_timeout")]
    pub answer_timeout_seconds: u64,
    /// What is done about requests for permission.
    #[serde(default)]
    pub permission_requests: PermissionRequests,
    /// How long the person has to answer one, seconds.
    #[serde(default = "default_permission_timeout")]
    pub permission_timeout_seconds: u64,
    /// How long an instance may be silent, and what it may use.
    #[serde(default)]
    pub limits: InstanceLimits,
    /// Seconds between two looks of the conflict radar; 0: it is off.
    #[serde(default = "default_radar")]
    pub radar_seconds: u64,
    /// First pause before a retry, milliseconds.
    pub retry_base_ms: u64,
    /// From how many percent of tasks done a run counts as a success.
    pub success_percent: u8,
    /// What to do with the results; nothing when null.
    pub merge: Option<MergeMode>,
    /// Whether results are merged and proved while other tasks are still worked on.
    #[serde(default)]
    pub merge_early: bool,
    /// Whether each proven batch of results is delivered at once.
    #[serde(default)]
    pub deliver_each: bool,
    /// How many resolver instances may try one conflict.
    #[serde(default)]
    pub resolvers: u32,
    /// What delivered commits look like.
    #[serde(default)]
    pub delivery_style: DeliveryStyle,
    /// Whether the repository's hooks judge delivered commits.
    #[serde(default)]
    pub commit_hooks: bool,
    /// What is tidied up at the end.
    pub cleanup: CleanupWhen,
    /// Days after which backups of runs that nobody uses go; 0: never.
    #[serde(default = "default_backup_days")]
    pub backup_days: u32,
    /// Claude Code's permission mode for instances.
    pub permission_mode: String,
    /// Tools that instances may use without asking.
    pub allowed_tools: Vec<String>,
    /// Tools that they may not use.
    pub disallowed_tools: Vec<String>,
    /// Model for tasks that say nothing of it.
    #[serde(default)]
    pub model: Option<String>,
    /// Budget of a task in US dollars, for tasks that say nothing of it.
    #[serde(default)]
    pub max_budget_usd: Option<f64>,
    /// The other budgets.
    #[serde(default)]
    pub budgets: Budgets,
    /// What is done about failed attempts.
    #[serde(default)]
    pub retries: Retries,
    /// What earlier runs taught about these tasks.
    #[serde(default)]
    pub learned: Learned,
    /// Command that proves a tree; run in each task's worktree and on the merged tree.
    #[serde(default)]
    pub verify: Option<String>,
    /// Command that makes a new worktree ready.
    #[serde(default)]
    pub setup: Option<String>,
    /// Globs of files in which a merge keeps the lines of both sides.
    #[serde(default)]
    pub union_files: Vec<String>,
    /// Commands that write lock files in conflict anew, by globs.
    #[serde(default)]
    pub lockfiles: BTreeMap<String, String>,
    /// Where people are told what wants them, besides their sessions.
    #[serde(default)]
    pub notify: Vec<NotifyBy>,
    /// Command that is run for each announcement.
    #[serde(default)]
    pub notify_command: Option<String>,
    /// The Claude Code session that started the run.
    #[serde(default)]
    pub started_by_session: Option<String>,
}

/// The built-in number of days after which backups go.
pub const BACKUP_DAYS: u32 = 30;

/// For files that were written before there was such a number.
fn default_backup_days() -> u32 {
    BACKUP_DAYS
}

/// For files that were written before there was a limit.
fn default_answer_timeout() -> u64 {
    super::launch_file::DEFAULT_ANSWER_TIMEOUT
}

/// For files that were written before anybody was asked.
pub(super) fn default_permission_timeout() -> u64 {
    DEFAULT_PERMISSION_TIMEOUT
}

/// For files that were written before there was a radar.
fn default_radar() -> u64 {
    super::config::DEFAULT_RADAR_SECONDS
}

impl SettingsFile {
    /// What the state machine must know of the tasks of a plan.
    #[must_use]
    pub fn facts(&self, plan: &ValidPlan) -> Vec<TaskFacts> {
        let limit = Limit {
            usd: self.max_budget_usd.map(Money::from_dollars),
            tokens: self.budgets.max_tokens,
        };
        let mut facts = TaskFacts::of(plan, self.max_attempts, limit);
        if !self.learned.durations.is_empty() {
            for (facts, chain) in facts.iter_mut().zip(self.learned.chains(plan)) {
                facts.chain = chain;
            }
        }
        facts
    }

    /// The rules for the state machine.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            workers: self.max_workers,
            success_percent: self.success_percent,
            merge: self.merge,
            queue: QueuePolicy {
                verify: self.verify.is_some(),
                early: self.merge_early,
                deliver_each: self.deliver_each,
                resolvers: self.resolvers,
            },
            retry: RetryPolicy {
                base_delay: Millis(self.retry_base_ms),
                outages: self.retries.outages,
                longest_wait: Millis::from_secs(self.retries.usage_limit_wait_seconds),
                after_reset: self.retries.provider.margin_ms,
                stronger: self.retries.stronger_model.is_some(),
                ..RetryPolicy::default()
            },
            budget: BudgetPolicy {
                run: Limit {
                    usd: self.budgets.run_usd.map(Money::from_dollars),
                    tokens: self.budgets.run_tokens,
                },
                reserve_percent: self.budgets.reserve_percent,
            },
            token: self.token,
        }
    }
}
