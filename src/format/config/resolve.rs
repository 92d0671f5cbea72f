//! Layers over each other: which value counts, and where it comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::{AgentKind, DEFAULT_RADAR_SECONDS, DEFAULT_RETRY_BASE_MS, Layer, MergeChoice, Source};
use crate::core::breaker::BreakerPolicy;
use crate::core::permission::{DEFAULT_PERMISSION_TIMEOUT, PermissionRequests};
use crate::core::record::DeliveryStyle;
use crate::core::sandbox::Sandbox;
use crate::core::time::Millis;
use crate::format::instance_limits::InstanceLimits;
use crate::format::launch_file::DEFAULT_ANSWER_TIMEOUT;
use crate::format::settings_file::{Admission, Budgets, CleanupWhen, NotifyBy, Retries};

/// The layers of one command, each with what it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers {
    /// Flags of the command.
    pub flags: Layer,
    /// `ORCHESTRA_…` variables.
    pub environment: Layer,
    /// The person's file.
    pub user: Layer,
    /// The project's file.
    pub project: Layer,
}

/// The values that count.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Instances at once.
    pub max_workers: u32,
    /// How the room on the machine is heeded.
    pub admission: Admission,
    /// Time for one attempt, seconds.
    pub timeout_seconds: u64,
    /// Time for one run of a command, seconds.
    pub command_timeout_seconds: u64,
    /// Claude Code's permission mode.
    pub permission_mode: String,
    /// What stands round an instance's client.
    pub sandbox: Sandbox,
    /// The verify command.
    pub verify: Option<String>,
    /// The set-up command.
    pub setup: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Budget of a task, US dollars.
    pub max_budget_usd: Option<f64>,
    /// The other budgets.
    pub budgets: Budgets,
    /// What is done about failed attempts.
    pub retries: Retries,
    /// First pause before a retry, milliseconds.
    pub retry_base_ms: u64,
    /// Attempts per task.
    pub max_attempts: u32,
    /// How often an instance is sent back.
    pub gate_rounds: u32,
    /// See [`Layer::merge_early`].
    pub merge_early: bool,
    /// See [`Layer::deliver_each`].
    pub deliver_each: bool,
    /// See [`Layer::resolvers`].
    pub resolvers: u32,
    /// See [`Layer::delivery_style`].
    pub delivery_style: DeliveryStyle,
    /// See [`Layer::commit_hooks`].
    pub commit_hooks: bool,
    /// How long a stuck instance waits for an answer, seconds.
    pub answer_timeout_seconds: u64,
    /// What is done about requests for permission.
    pub permission_requests: PermissionRequests,
    /// How long the person has to answer one, seconds.
    pub permission_timeout_seconds: u64,
    /// How long an instance may be silent, and what it may use.
    pub limits: InstanceLimits,
    /// Seconds between two looks of the conflict radar; 0: it is off.
    pub radar_seconds: u64,
    /// From how many percent on a run is a success.
    pub success_percent: u8,
    /// What is done with the results.
    pub merge: MergeChoice,
    /// What is tidied up.
    pub cleanup: CleanupWhen,
    /// Days after which backups go; 0: never.
    pub backup_days: u32,
    /// Where people are told what wants them, besides their sessions.
    pub notify: Vec<NotifyBy>,
    /// Command that is run for each announcement.
    pub notify_command: Option<String>,
    /// Globs of files in which a merge keeps the lines of both sides.
    pub union_files: Vec<String>,
    /// Commands that write lock files in conflict anew, by globs.
    pub lockfiles: BTreeMap<String, String>,
    /// Folder for the worktrees as it was given; the default place when absent.
    pub worktree_dir: Option<PathBuf>,
    /// Tools allowed without asking.
    pub allowed_tools: Vec<String>,
    /// Tools denied.
    pub disallowed_tools: Vec<String>,
    /// Who works on the tasks.
    pub agent: AgentKind,
    /// The Claude Code program.
    pub claude_program: PathBuf,
    /// All keys with their values and where these come from, for showing.
    pub rows: Vec<Row>,
}

/// One key, for showing.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The key.
    pub key: &'static str,
    /// Its value; null when nothing sets it.
    pub value: serde_json::Value,
    /// Where the value comes from.
    pub source: Source,
    /// What it is for.
    pub purpose: &'static str,
}

/// Puts the layers over each other: flags, environment, person, project, built-in values.
#[must_use]
pub fn resolve(layers: &Layers) -> Resolved {
    let defaults = Layer::defaults();
    let mut sources = BTreeMap::new();
    let mut all = Layer::default();
    for (layer, source) in [
        (&layers.flags, Source::Flag),
        (&layers.environment, Source::Environment),
        (&layers.user, Source::User),
        (&layers.project, Source::Project),
        (&defaults, Source::Default),
    ] {
        for key in all.fill(layer) {
            sources.insert(key, source);
        }
    }
    let rows = Layer::KEYS
        .iter()
        .map(|key| Row {
            key,
            value: all.value(key),
            source: sources.get(key).copied().unwrap_or(Source::Default),
            purpose: Layer::purpose(key),
        })
        .collect();
    let built_in = InstanceLimits::default();
    let limits = InstanceLimits {
        startup_silence_seconds: all
            .startup_silence_seconds
            .unwrap_or(built_in.startup_silence_seconds),
        provider_silence_seconds: all
            .provider_silence_seconds
            .unwrap_or(built_in.provider_silence_seconds),
        tool_silence_seconds: all
            .tool_silence_seconds
            .unwrap_or(built_in.tool_silence_seconds),
        closing_silence_seconds: all
            .closing_silence_seconds
            .unwrap_or(built_in.closing_silence_seconds),
        max_memory_mb: all.max_memory_mb.unwrap_or(built_in.max_memory_mb),
        max_log_mb: all.max_log_mb.unwrap_or(built_in.max_log_mb),
    };
    let filled = |text: Option<String>| text.filter(|t| !t.trim().is_empty());
    Resolved {
        max_workers: all.max_workers.unwrap_or(1),
        admission: {
            let built_in = Admission::default();
            Admission {
                mode: all.admission.unwrap_or(built_in.mode),
                min_free_memory_mb: all
                    .min_free_memory_mb
                    .unwrap_or(built_in.min_free_memory_mb),
                min_free_disk_mb: all.min_free_disk_mb.unwrap_or(built_in.min_free_disk_mb),
                max_load_per_cpu: all.max_load_per_cpu.unwrap_or(built_in.max_load_per_cpu),
            }
        },
        timeout_seconds: all.timeout_seconds.unwrap_or(3600),
        command_timeout_seconds: all.command_timeout_seconds.unwrap_or(900),
        permission_mode: all.permission_mode.unwrap_or_default(),
        sandbox: all.sandbox.unwrap_or_default(),
        verify: filled(all.verify),
        setup: filled(all.setup),
        model: filled(all.model),
        max_budget_usd: all.max_budget_usd,
        budgets: Budgets {
            max_tokens: all.max_tokens,
            run_usd: all.run_budget_usd,
            run_tokens: all.run_tokens,
            reserve_percent: all
                .reserve_percent
                .unwrap_or(Budgets::default().reserve_percent),
        },
        retries: Retries {
            stronger_model: filled(all.stronger_model),
            outages: all.outages.unwrap_or(Retries::default().outages),
            usage_limit_wait_seconds: all
                .usage_limit_wait_seconds
                .unwrap_or(Retries::default().usage_limit_wait_seconds),
            provider: BreakerPolicy {
                pause_ms: all
                    .rate_limit_pause_ms
                    .map_or(BreakerPolicy::default().pause_ms, Millis),
                quiet_ms: all
                    .rate_limit_quiet_ms
                    .map_or(BreakerPolicy::default().quiet_ms, Millis),
                margin_ms: all
                    .reset_margin_ms
                    .map_or(BreakerPolicy::default().margin_ms, Millis),
            },
        },
        retry_base_ms: all.retry_base_ms.unwrap_or(DEFAULT_RETRY_BASE_MS),
        max_attempts: all.max_attempts.unwrap_or(1),
        gate_rounds: all.gate_rounds.unwrap_or(0),
        merge_early: all.merge_early.unwrap_or(false),
        deliver_each: all.deliver_each.unwrap_or(false),
        resolvers: all.resolvers.unwrap_or(0),
        delivery_style: all.delivery_style.unwrap_or_default(),
        commit_hooks: all.commit_hooks.unwrap_or(false),
        answer_timeout_seconds: all.answer_timeout_seconds.unwrap_or(DEFAULT_ANSWER_TIMEOUT),
        permission_requests: all.permission_requests.unwrap_or_default(),
        permission_timeout_seconds: all
            .permission_timeout_seconds
            .unwrap_or(DEFAULT_PERMISSION_TIMEOUT),
        limits,
        radar_seconds: all.radar_seconds.unwrap_or(DEFAULT_RADAR_SECONDS),
        success_percent: all.success_percent.unwrap_or(100),
        merge: all.merge.unwrap_or(MergeChoice::Automatic),
        cleanup: all.cleanup.unwrap_or(CleanupWhen::Success),
        backup_days: all.backup_days.unwrap_or(0),
        notify: all.notify.unwrap_or_default(),
        notify_command: filled(all.notify_command),
        union_files: all.union_files.unwrap_or_default(),
        lockfiles: all.lockfiles.unwrap_or_default(),
        worktree_dir: all.worktree_dir.filter(|p| !p.as_os_str().is_empty()),
        allowed_tools: all.allowed_tools.unwrap_or_default(),
        disallowed_tools: all.disallowed_tools.unwrap_or_default(),
        agent: all.agent.unwrap_or(AgentKind::Claude),
        claude_program: all
            .claude_program
            .unwrap_or_else(|| PathBuf::from("claude")),
        rows,
    }
}
