//! The flags that set configuration for one command, and the layers below them.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::failure::Failure;
use crate::format::config::{
    AgentKind, ConfigFault, Layer, Layers, MergeChoice, Resolved, resolve,
};
use crate::format::settings_file::CleanupWhen;

/// Flags that set configuration.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsFlags {
    /// Instances at once
    #[arg(long, value_name = "N")]
    pub max_workers: Option<u32>,
    /// Time for one attempt at a task
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Claude Code's permission mode for instances
    #[arg(long, value_name = "MODE")]
    pub permission_mode: Option<String>,
    /// Command that proves a tree; run in each worktree and on the merged tree
    #[arg(long, value_name = "CMD")]
    pub verify: Option<String>,
    /// Command that makes a new worktree ready
    #[arg(long, value_name = "CMD")]
    pub setup: Option<String>,
    /// Model for tasks that name none
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Most money that one task may cost
    #[arg(long, value_name = "X")]
    pub max_budget_usd: Option<f64>,
    /// Most tokens that one task may use
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u64>,
    /// Most money that the whole run may cost
    #[arg(long, value_name = "X")]
    pub run_budget_usd: Option<f64>,
    /// Most tokens that the whole run may use
    #[arg(long, value_name = "N")]
    pub run_tokens: Option<u64>,
    /// Attempts per task
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// From how many percent of tasks done the run counts as a success
    #[arg(long, value_name = "PERCENT")]
    pub success_percent: Option<u8>,
    /// What is done with the results
    #[arg(
        long = "merge",
        value_enum,
        value_name = "MODE",
        conflicts_with = "no_merge"
    )]
    pub merge: Option<MergeChoice>,
    /// Leave the results on the task branches
    #[arg(long)]
    pub no_merge: bool,
    /// What is tidied up at the end; `success` when given without a value
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "success")]
    pub cleanup: Option<CleanupWhen>,
    /// Folder for the worktrees
    #[arg(long, value_name = "DIR")]
    pub worktree_dir: Option<PathBuf>,
    /// Who works on the tasks
    #[arg(long, value_enum, value_name = "AGENT")]
    pub agent: Option<AgentKind>,
}

impl SettingsFlags {
    /// The flags as a layer.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub fn layer(&self) -> Result<Layer, Failure> {
        let layer = Layer {
            max_workers: self.max_workers,
            timeout_seconds: self.timeout,
            permission_mode: self.permission_mode.clone(),
            verify: self.verify.clone(),
            setup: self.setup.clone(),
            model: self.model.clone(),
            max_budget_usd: self.max_budget_usd,
            max_tokens: self.max_tokens,
            run_budget_usd: self.run_budget_usd,
            run_tokens: self.run_tokens,
            max_attempts: self.max_attempts,
            success_percent: self.success_percent,
            merge: if self.no_merge {
                Some(MergeChoice::None)
            } else {
                self.merge
            },
            cleanup: self.cleanup,
            worktree_dir: self.worktree_dir.clone(),
            agent: self.agent,
            ..Layer::default()
        };
        layer
            .check("the command line".to_owned())
            .map_err(|fault| Failure::usage(fault.problem).next(fault.remedy))?;
        Ok(layer)
    }
}

/// The file of a project.
#[must_use]
pub fn project_file(root: &Path) -> PathBuf {
    root.join(".claude").join("orchestra.toml")
}

/// The file of the person.
#[must_use]
pub fn user_file(cx: &Context<'_>) -> Option<PathBuf> {
    Some(cx.env.config_home()?.join("orchestra").join("config.toml"))
}

/// Reads all layers. `root` is the main checkout; no project file is read without one.
///
/// # Errors
/// When a file or a variable is faulty.
pub fn layers(flags: Layer, root: Option<&Path>, cx: &Context<'_>) -> Result<Layers, Failure> {
    Ok(Layers {
        flags,
        environment: Layer::from_env(|name| cx.env.get(name)).map_err(failure)?,
        project: root.map_or(Ok(Layer::default()), |root| read(&project_file(root)))?,
        user: user_file(cx).map_or(Ok(Layer::default()), |path| read(&path))?,
    })
}

/// The values that count for a command with these flags.
///
/// # Errors
/// As [`layers`].
pub fn resolved(
    flags: &SettingsFlags,
    root: Option<&Path>,
    cx: &Context<'_>,
) -> Result<Resolved, Failure> {
    Ok(resolve(&layers(flags.layer()?, root, cx)?))
}

fn read(path: &Path) -> Result<Layer, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Layer::from_toml(&text, &path.display().to_string()).map_err(failure),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Layer::default()),
        Err(e) => Err(
            Failure::environment(format!("the configuration cannot be read: {e}")).in_path(path),
        ),
    }
}

fn failure(fault: ConfigFault) -> Failure {
    Failure::environment(format!("the configuration is faulty: {}", fault.problem))
        .at(fault.place)
        .next(fault.remedy)
}
