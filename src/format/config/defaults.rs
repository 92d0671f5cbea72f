//! The built-in values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{AgentKind, DEFAULT_RADAR_SECONDS, DEFAULT_RETRY_BASE_MS, Layer, MergeChoice};
use crate::core::breaker::BreakerPolicy;
use crate::core::permission::{DEFAULT_PERMISSION_TIMEOUT, PermissionRequests};
use crate::core::record::DeliveryStyle;
use crate::core::sandbox::Sandbox;
use crate::format::instance_limits::InstanceLimits;
use crate::format::settings_file::{Admission, Budgets, CleanupWhen, Retries};
use crate::format::statusline::{Part, Symbols};

impl Layer {
    /// The built-in values; what has none is not in here.
    #[must_use]
    pub fn defaults() -> Self {
        let texts = |list: &[&str]| Some(list.iter().map(|t| (*t).to_owned()).collect());
        let limits = InstanceLimits::default();
        Self {
            max_workers: Some(5),
            admission: Some(Admission::default().mode),
            min_free_memory_mb: Some(Admission::default().min_free_memory_mb),
            min_free_disk_mb: Some(Admission::default().min_free_disk_mb),
            max_load_per_cpu: Some(Admission::default().max_load_per_cpu),
            timeout_seconds: Some(3600),
            command_timeout_seconds: Some(900),
            permission_mode: Some("acceptEdits".to_owned()),
            sandbox: Some(Sandbox::Off),
            reserve_percent: Some(Budgets::default().reserve_percent),
            max_attempts: Some(3),
            retry_base_ms: Some(DEFAULT_RETRY_BASE_MS),
            outages: Some(Retries::default().outages),
            usage_limit_wait_seconds: Some(Retries::default().usage_limit_wait_seconds),
            reset_margin_ms: Some(BreakerPolicy::default().margin_ms.0),
            rate_limit_pause_ms: Some(BreakerPolicy::default().pause_ms.0),
            rate_limit_quiet_ms: Some(BreakerPolicy::default().quiet_ms.0),
            gate_rounds: Some(3),
            merge_early: Some(true),
            deliver_each: Some(false),
            resolvers: Some(2),
            delivery_style: Some(DeliveryStyle::Merge),
            commit_hooks: Some(false),
            answer_timeout_seconds: Some(crate::format::launch_file::DEFAULT_ANSWER_TIMEOUT),
            permission_requests: Some(PermissionRequests::Ask),
            permission_timeout_seconds: Some(DEFAULT_PERMISSION_TIMEOUT),
            startup_silence_seconds: Some(limits.startup_silence_seconds),
            provider_silence_seconds: Some(limits.provider_silence_seconds),
            tool_silence_seconds: Some(limits.tool_silence_seconds),
            closing_silence_seconds: Some(limits.closing_silence_seconds),
            max_memory_mb: Some(limits.max_memory_mb),
            max_log_mb: Some(limits.max_log_mb),
            radar_seconds: Some(DEFAULT_RADAR_SECONDS),
            success_percent: Some(80),
            merge: Some(MergeChoice::Automatic),
            cleanup: Some(CleanupWhen::Success),
            backup_days: Some(crate::format::settings_file::BACKUP_DAYS),
            notify: Some(Vec::new()),
            union_files: texts(&[]),
            lockfiles: Some(BTreeMap::new()),
            allowed_tools: texts(&["Bash", "Edit", "Write", "Read", "Glob", "Grep"]),
            disallowed_tools: texts(&["Bash(git push *)", "Bash(gh pr merge *)"]),
            statusline_symbols: Some(Symbols::unicode()),
            statusline_show: Some(Part::DEFAULT.to_vec()),
            agent: Some(AgentKind::Claude),
            claude_program: Some(PathBuf::from("claude")),
            ..Self::default()
        }
    }
}
