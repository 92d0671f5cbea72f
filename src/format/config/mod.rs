//! Configuration: `.claude/orchestra.toml` of a project, `orchestra/config.toml` of a person,
//! `ORCHESTRA_…` variables and flags, as layers of the same keys; the later is the stronger.
//!
//! Reading a layer is here, finding the files is the business of the edges. [`resolve()`] puts
//! layers over each other and remembers for each key where its value comes from.

mod check;
mod defaults;
mod resolve;

pub use resolve::{Layers, Resolved, Row, resolve};

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::settings_file::{AdmissionMode, CleanupWhen, NotifyBy};
use super::statusline::{Part, Symbols};
use crate::core::permission::PermissionRequests;
use crate::core::plan::nearest;
use crate::core::record::{DeliveryStyle, MergeMode};
use crate::core::sandbox::Sandbox;

/// Seconds between two looks of the conflict radar, when nothing else is configured.
pub const DEFAULT_RADAR_SECONDS: u64 = 30;

/// First pause before a retry in milliseconds, when nothing else is configured.
pub const DEFAULT_RETRY_BASE_MS: u64 = 2_000;

/// What is done with the results.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MergeChoice {
    /// Merge, verify, deliver to the base branch when green.
    Automatic,
    /// Merge and verify into a branch for review; deliver nothing.
    Review,
    /// Nothing; the task branches stay.
    None,
}

impl MergeChoice {
    /// The mode for the state machine.
    #[must_use]
    pub fn mode(self) -> Option<MergeMode> {
        match self {
            Self::Automatic => Some(MergeMode::Automatic),
            Self::Review => Some(MergeMode::Review),
            Self::None => None,
        }
    }
}

/// Who works on the tasks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AgentKind {
    /// Claude Code.
    Claude,
    /// The built-in scripted player, for demonstrations and tests.
    Scripted,
}

impl AgentKind {
    /// As it is written in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Scripted => "scripted",
        }
    }
}

/// Where a value comes from; the first of these that has one wins.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A flag of the command.
    Flag,
    /// An `ORCHESTRA_…` variable.
    Environment,
    /// `orchestra/config.toml` in the person's configuration folder: what a project's file says
    /// came with the repository, and takes nothing back of what the person settled.
    User,
    /// `.claude/orchestra.toml` of the repository.
    Project,
    /// Built in.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Project => "project",
            Self::User => "user",
            Self::Default => "default",
        })
    }
}

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}. {remedy}")]
pub struct ConfigFault {
    /// Where: `FILE:LINE`, or the variable.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

macro_rules! layer {
    ($($(#[doc = $doc:literal])* $key:ident: $type:ty,)*) => {
        /// The keys of one layer. What is not set is left to the layers below.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(title = "Configuration of orchestra")]
        pub struct Layer {
            $($(#[doc = $doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $key: Option<$type>,)*
        }

        impl Layer {
            /// All keys, in the order in which they are shown.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            /// Sets a key; false when there is none of that name.
            fn set(&mut self, key: &str, values: &[toml::Value]) -> Result<bool, String> {
                match key {
                    $(stringify!($key) => self.$key = Some(first_that_fits(values)?),)*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Fills what is not set from the layer below, and says which keys that were.
            fn fill(&mut self, below: &Self) -> Vec<&'static str> {
                let mut filled = Vec::new();
                $(if self.$key.is_none() && below.$key.is_some() {
                    self.$key.clone_from(&below.$key);
                    filled.push(stringify!($key));
                })*
                filled
            }

            /// What each key is for, in a sentence.
            #[must_use]
            pub fn purpose(key: &str) -> &'static str {
                match key {
                    $(stringify!($key) => concat!($($doc),*).trim_start(),)*
                    _ => "",
                }
            }

            /// The value of a key as JSON; null when it is not set.
            #[must_use]
            pub fn value(&self, key: &str) -> serde_json::Value {
                match key {
                    $(stringify!($key) => serde_json::to_value(&self.$key).unwrap_or_default(),)*
                    _ => serde_json::Value::Null,
                }
            }
        }
    };
}

layer! {
    /// Instances at once.
    max_workers: u32,
    /// Time for one attempt at a task, in seconds.
    timeout_seconds: u64,
    /// Time for one run of the verify or set-up command, in seconds.
    command_timeout_seconds: u64,
    /// Claude Code's permission mode for instances.
    permission_mode: String,
    /// What the operating system keeps instances from: nothing (off), what bubblewrap stops
    /// (bubblewrap), or that where it is to be had (auto).
    sandbox: Sandbox,
    /// Command that proves a tree; run in each worktree and on the merged tree. Empty: none.
    verify: String,
    /// Command that makes a new worktree ready. Empty: none.
    setup: String,
    /// Whether fewer run at once when the machine has no room for more: auto or off.
    admission: AdmissionMode,
    /// Memory that stays free, in MB; a tenth of all if that is more.
    min_free_memory_mb: u64,
    /// Disk space that stays free, in MB; a twentieth of all if that is more.
    min_free_disk_mb: u64,
    /// From which load for each CPU on nothing more begins. 0: the load does not matter.
    max_load_per_cpu: f64,
    /// Model for tasks that name none. Empty: the client's own.
    model: String,
    /// Most money that one task may cost, in US dollars.
    max_budget_usd: f64,
    /// Most tokens that one task may use, of all kinds together.
    max_tokens: u64,
    /// Most money that the whole run may cost, in US dollars.
    run_budget_usd: f64,
    /// Most tokens that the whole run may use.
    run_tokens: u64,
    /// How much of the run's budget is kept for resolving conflicts, in percent.
    reserve_percent: u8,
    /// Attempts per task.
    max_attempts: u32,
    /// Model for tasks that others failed twice. Empty: the same as before.
    stronger_model: String,
    /// First pause before a retry, in milliseconds; doubled for each further one.
    retry_base_ms: u64,
    /// How often in a row the provider may fail a task before that is given up.
    outages: u32,
    /// How long a usage limit's reset is waited for at most, in seconds. 0: not at all.
    usage_limit_wait_seconds: u64,
    /// How long after a usage limit's reset it goes on, in milliseconds: clocks differ.
    reset_margin_ms: u64,
    /// How long nothing starts after the provider limited the rate, in milliseconds; doubled
    /// while it goes on.
    rate_limit_pause_ms: u64,
    /// For how long the provider must not limit the rate before one more instance may run, in
    /// milliseconds.
    rate_limit_quiet_ms: u64,
    /// How often an instance is sent back for missing evidence.
    gate_rounds: u32,
    /// How long a stuck instance waits for an answer before its task fails, in seconds.
    answer_timeout_seconds: u64,
    /// What is done when an instance asks for a permission that no rule gives: ask the person,
    /// or deny it at once.
    permission_requests: PermissionRequests,
    /// How long the person has to answer such a request before it is denied, in seconds.
    permission_timeout_seconds: u64,
    /// How long an instance may take from its start to its first word, in seconds. 0: for ever.
    startup_silence_seconds: u64,
    /// How long an instance may wait for the provider without a sign, in seconds. 0: for ever.
    provider_silence_seconds: u64,
    /// How long a tool of an instance may do nothing at all (no output, no CPU time, no input
    /// or output, no changed file), in seconds. 0: for ever.
    tool_silence_seconds: u64,
    /// How long an instance may take to end after its result, in seconds.
    closing_silence_seconds: u64,
    /// Most memory of an instance with all of its processes, in MiB. 0: no limit.
    max_memory_mb: u64,
    /// Most of an instance's stream that is kept in its log, in MiB. 0: all of it.
    max_log_mb: u64,
    /// Seconds between two looks for conflicts among the tasks in work. 0: none.
    radar_seconds: u64,
    /// From how many percent of tasks done a run counts as a success.
    success_percent: u8,
    /// What is done with the results: automatic, review or none.
    merge: MergeChoice,
    /// Whether results are merged and proved while other tasks are still worked on.
    merge_early: bool,
    /// Whether each proven batch of results is delivered at once rather than all at the end.
    deliver_each: bool,
    /// How many resolver instances may try one conflict; 0: none.
    resolvers: u32,
    /// What delivered commits look like: merge (a merge commit per task), squash (one commit
    /// per task) or rebase (each task's own commits).
    delivery_style: DeliveryStyle,
    /// Whether the repository's commit-msg and pre-merge-commit hooks judge delivered commits.
    commit_hooks: bool,
    /// What is tidied up at the end: never, success or all.
    cleanup: CleanupWhen,
    /// Days after which backups of a run that nobody uses go. 0: never.
    backup_days: u32,
    /// Where stuck, failed and finished are told besides the session: desktop, bell.
    notify: Vec<NotifyBy>,
    /// Command that is run for each of them, with ORCHESTRA_EVENT (stuck, failed, ready or
    /// finished), ORCHESTRA_TASK, ORCHESTRA_TEXT and ORCHESTRA_RUN in its environment.
    notify_command: String,
    /// Globs of files in which a merge keeps the lines of both sides where both changed some.
    union_files: Vec<String>,
    /// Commands that write lock files in conflict anew, by globs. An empty one switches off
    /// the built-in command.
    lockfiles: BTreeMap<String, String>,
    /// Folder for the worktrees; relative ones start at the repository.
    worktree_dir: PathBuf,
    /// Tools that instances may use without asking.
    allowed_tools: Vec<String>,
    /// Tools that instances may not use.
    disallowed_tools: Vec<String>,
    /// Signs of the status line: unicode, ascii, or NAME=SIGN,… with the names conducting,
    /// active, complete, integration, cleanup, success and error.
    statusline_symbols: Symbols,
    /// What the status line shows, in this order, the last of it goes first when there is no
    /// room: count, instances, tasks, progress, time, cost, resources.
    statusline_show: Vec<Part>,
    /// Who works on the tasks: claude or scripted.
    agent: AgentKind,
    /// The Claude Code program: a path, or a name that is looked up in PATH.
    claude_program: PathBuf,
}

impl Layer {
    /// Reads a configuration file; `name` is how faults call it.
    ///
    /// # Errors
    /// The first fault, with its line: no TOML, an unknown key (the nearest known one is
    /// named), a value that does not fit.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, ConfigFault> {
        type Entries = BTreeMap<toml::Spanned<String>, toml::Spanned<toml::Value>>;
        let place = |at: usize| format!("{name}:{}", line_of(text, at));
        let entries: Entries = toml::from_str(text).map_err(|error| ConfigFault {
            place: place(error.span().map_or(0, |span| span.start)),
            problem: format!("this is not TOML: {}", error.message()),
            remedy: "Write `key = value`, texts in quotation marks".to_owned(),
        })?;
        let mut layer = Self::default();
        for (key, value) in entries {
            let at = place(key.span().start);
            layer.set_checked(key.get_ref(), &[value.into_inner()], at)?;
        }
        Ok(layer)
    }

    /// Reads the variables `ORCHESTRA_KEY` (in capitals). Others of that beginning are not
    /// looked at, since other parts of the program use some.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub fn from_env<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ConfigFault> {
        let mut layer = Self::default();
        for key in Self::KEYS {
            let variable = variable(key);
            let Some(raw) = get(&variable) else { continue };
            let mut values = vec![toml::Value::String(raw.to_owned())];
            let typed: Result<BTreeMap<String, toml::Value>, _> =
                toml::from_str(&format!("x={raw}"));
            values.extend(typed.ok().and_then(|mut t| t.remove("x")));
            let parts = raw.split(',').map(str::trim).filter(|p| !p.is_empty());
            values.push(parts.map(str::to_owned).collect::<Vec<_>>().into());
            layer.set_checked(key, &values, variable)?;
        }
        Ok(layer)
    }

    fn set_checked(
        &mut self,
        key: &str,
        values: &[toml::Value],
        place: String,
    ) -> Result<(), ConfigFault> {
        match self.set(key, values) {
            Ok(true) => {}
            Ok(false) => {
                let remedy = match nearest(key, Self::KEYS.iter().copied()) {
                    Some(near) => format!("Did you mean `{near}`?"),
                    None => format!("Known keys: {}", Self::KEYS.join(", ")),
                };
                return Err(ConfigFault {
                    place,
                    problem: format!("there is no key `{}`", key.escape_debug()),
                    remedy,
                });
            }
            Err(problem) => {
                return Err(ConfigFault {
                    place,
                    problem: format!("the value of `{key}` does not fit: {problem}"),
                    remedy: Self::purpose(key).to_owned(),
                });
            }
        }
        self.check(place)
    }
}

/// Reads a glob of files of the repository as in `.gitattributes`: one without `/` matches
/// in every folder, any other from the top; one that ends with `/` is all of a folder.
///
/// # Errors
/// When it is no glob.
pub fn file_glob(glob: &str) -> Result<globset::Glob, globset::Error> {
    let mut text = glob.strip_prefix('/').unwrap_or(glob).to_owned();
    if !glob.contains('/') {
        text.insert_str(0, "**/");
    }
    if text.ends_with('/') {
        text.push_str("**");
    }
    globset::GlobBuilder::new(&text)
        .literal_separator(true)
        .build()
}

/// The variable that sets a key.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("ORCHESTRA_{}", key.to_ascii_uppercase())
}

fn first_that_fits<T: DeserializeOwned>(values: &[toml::Value]) -> Result<T, String> {
    let mut problem = String::from("there is no value");
    for value in values {
        match value.clone().try_into() {
            Ok(value) => return Ok(value),
            Err(error) => problem = toml::de::Error::to_string(&error).trim().to_owned(),
        }
    }
    Err(problem)
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|b| **b == b'\n').count()
}

/// The JSON Schema of a configuration file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Layer).to_value()
}

#[cfg(test)]
mod tests;
