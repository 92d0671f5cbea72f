//! Configuration: `.claude/orchestra.toml` of a project, `orchestra/config.toml` of a person,
//! `ORCHESTRA_…` variables and flags, as layers of the same keys.
//!
//! Reading a layer is here, finding the files is the business of the edges. [`resolve`] puts
//! layers over each other and remembers for each key where its value comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::instance_limits::InstanceLimits;
use super::settings_file::{Admission, AdmissionMode, Budgets, CleanupWhen, NotifyBy, Retries};
use super::statusline::{Part, Symbols};
use crate::core::breaker::BreakerPolicy;
use crate::core::permission::{DEFAULT_PERMISSION_TIMEOUT, PermissionRequests};
use crate::core::plan::nearest;
use crate::core::record::{DeliveryStyle, MergeMode};
use crate::core::time::Millis;

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
    /// `.claude/orchestra.toml` of the repository.
    Project,
    /// `orchestra/config.toml` in the person's configuration folder.
    User,
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
            fn purpose(key: &str) -> &'static str {
                match key {
                    $(stringify!($key) => concat!($($doc),*).trim_start(),)*
                    _ => "",
                }
            }

            /// The value of a key as JSON; null when it is not set.
            fn value(&self, key: &str) -> serde_json::Value {
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

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self, place: String) -> Result<(), ConfigFault> {
        let tests = [
            (
                "max_workers",
                self.max_workers.is_none_or(|n| (1..=1000).contains(&n)),
                "from 1 to 1000",
            ),
            (
                "max_load_per_cpu",
                self.max_load_per_cpu
                    .is_none_or(|x| x.is_finite() && x >= 0.0),
                "0 or more",
            ),
            (
                "timeout_seconds",
                self.timeout_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            (
                "command_timeout_seconds",
                self.command_timeout_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            (
                "max_attempts",
                self.max_attempts.is_none_or(|n| (1..=100).contains(&n)),
                "from 1 to 100",
            ),
            (
                "max_tokens",
                self.max_tokens.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            (
                "run_budget_usd",
                self.run_budget_usd.is_none_or(|x| x.is_finite() && x > 0.0),
                "more than 0",
            ),
            (
                "run_tokens",
                self.run_tokens.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            (
                "reserve_percent",
                self.reserve_percent.is_none_or(|n| n <= 90),
                "at most 90",
            ),
            (
                "retry_base_ms",
                self.retry_base_ms
                    .is_none_or(|n| (1..=120_000).contains(&n)),
                "from 1 to 120000",
            ),
            (
                "outages",
                self.outages.is_none_or(|n| (1..=1000).contains(&n)),
                "from 1 to 1000",
            ),
            (
                "usage_limit_wait_seconds",
                self.usage_limit_wait_seconds
                    .is_none_or(|n| n <= 31 * 86_400),
                "at most 2678400",
            ),
            (
                "reset_margin_ms",
                self.reset_margin_ms.is_none_or(|n| n <= 3_600_000),
                "at most 3600000",
            ),
            (
                "rate_limit_pause_ms",
                self.rate_limit_pause_ms.is_none_or(|n| n <= 3_600_000),
                "at most 3600000",
            ),
            (
                "rate_limit_quiet_ms",
                self.rate_limit_quiet_ms
                    .is_none_or(|n| (1..=86_400_000).contains(&n)),
                "from 1 to 86400000",
            ),
            (
                "gate_rounds",
                self.gate_rounds.is_none_or(|n| n <= 100),
                "at most 100",
            ),
            (
                "resolvers",
                self.resolvers.is_none_or(|n| n <= 10),
                "at most 10",
            ),
            (
                "answer_timeout_seconds",
                self.answer_timeout_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            (
                "permission_timeout_seconds",
                self.permission_timeout_seconds
                    .is_none_or(|n| (1..=31_536_000).contains(&n)),
                "from 1 to 31536000",
            ),
            (
                "closing_silence_seconds",
                self.closing_silence_seconds.is_none_or(|n| n >= 1),
                "at least 1",
            ),
            (
                "max_memory_mb",
                self.max_memory_mb.is_none_or(|n| n == 0 || n >= 64),
                "0, or at least 64",
            ),
            (
                "radar_seconds",
                self.radar_seconds.is_none_or(|n| n <= 86_400),
                "at most 86400",
            ),
            (
                "success_percent",
                self.success_percent.is_none_or(|n| (1..=100).contains(&n)),
                "from 1 to 100",
            ),
            (
                "max_budget_usd",
                self.max_budget_usd.is_none_or(|x| x.is_finite() && x > 0.0),
                "more than 0",
            ),
            (
                "permission_mode",
                self.permission_mode
                    .as_ref()
                    .is_none_or(|m| !m.is_empty() && m.chars().all(char::is_alphanumeric)),
                "a word such as acceptEdits",
            ),
            (
                "union_files",
                self.union_files
                    .iter()
                    .flatten()
                    .all(|g| file_glob(g).is_ok()),
                "a list of globs such as \"CHANGELOG.md\"",
            ),
            (
                "lockfiles",
                self.lockfiles
                    .iter()
                    .flatten()
                    .all(|(g, _)| file_glob(g).is_ok()),
                "a table of commands by globs such as \"tools/*.lock\"",
            ),
        ];
        match tests.into_iter().find(|(_, good, _)| !good) {
            None => Ok(()),
            Some((key, _, range)) => Err(ConfigFault {
                place,
                problem: format!("the value of `{key}` is out of range"),
                remedy: format!("It must be {range}"),
            }),
        }
    }

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
            answer_timeout_seconds: Some(super::launch_file::DEFAULT_ANSWER_TIMEOUT),
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
            backup_days: Some(super::settings_file::BACKUP_DAYS),
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

/// The layers of one command, each with what it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers {
    /// Flags of the command.
    pub flags: Layer,
    /// `ORCHESTRA_…` variables.
    pub environment: Layer,
    /// The project's file.
    pub project: Layer,
    /// The person's file.
    pub user: Layer,
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

/// Puts the layers over each other: flags, environment, project, person, built-in values.
#[must_use]
pub fn resolve(layers: &Layers) -> Resolved {
    let defaults = Layer::defaults();
    let mut sources = BTreeMap::new();
    let mut all = Layer::default();
    for (layer, source) in [
        (&layers.flags, Source::Flag),
        (&layers.environment, Source::Environment),
        (&layers.project, Source::Project),
        (&layers.user, Source::User),
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
        answer_timeout_seconds: all
            .answer_timeout_seconds
            .unwrap_or(super::launch_file::DEFAULT_ANSWER_TIMEOUT),
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

/// The JSON Schema of a configuration file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Layer).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_layer_wins_and_is_named() {
        let layers = Layers {
            flags: Layer {
                max_workers: Some(2),
                ..Layer::default()
            },
            environment: Layer::from_env(|name| match name {
                "ORCHESTRA_MAX_WORKERS" => Some("3"),
                "ORCHESTRA_MODEL" => Some("5"),
                "ORCHESTRA_ALLOWED_TOOLS" => Some("Read, Edit"),
                "ORCHESTRA_MERGE" => Some("review"),
                _ => None,
            })
            .unwrap(),
            project: Layer::from_toml("verify = \"make test\"\nmodel = \"big\"\n", "p").unwrap(),
            user: Layer::from_toml("verify = \"true\"\nsuccess_percent = 90", "u").unwrap(),
        };
        let resolved = resolve(&layers);
        assert_eq!(resolved.max_workers, 2);
        assert_eq!(resolved.model.as_deref(), Some("5"));
        assert_eq!(resolved.verify.as_deref(), Some("make test"));
        assert_eq!(resolved.allowed_tools, ["Read", "Edit"]);
        assert_eq!(resolved.merge, MergeChoice::Review);
        assert_eq!(resolved.success_percent, 90);
        assert_eq!(resolved.timeout_seconds, 3600);
        let source = |key| resolved.rows.iter().find(|r| r.key == key).unwrap().source;
        for (key, expected) in [
            ("max_workers", Source::Flag),
            ("model", Source::Environment),
            ("verify", Source::Project),
            ("success_percent", Source::User),
            ("timeout_seconds", Source::Default),
            ("setup", Source::Default),
        ] {
            assert_eq!(source(key), expected, "{key}");
        }
        assert!(resolved.rows.iter().all(|row| !row.purpose.is_empty()));
    }

    #[test]
    fn lists_and_tables_are_read_from_files_and_variables() {
        let text = "union_files = ['CHANGELOG.md']\n[lockfiles]\n'*.lock' = 'make lock'\n";
        let mut layers = Layers {
            project: Layer::from_toml(text, "p").unwrap(),
            ..Layers::default()
        };
        let resolved = resolve(&layers);
        assert_eq!(resolved.union_files, ["CHANGELOG.md"]);
        assert_eq!(resolved.lockfiles["*.lock"], "make lock");
        layers.environment = Layer::from_env(|name| match name {
            "ORCHESTRA_UNION_FILES" => Some("a, b/*"),
            "ORCHESTRA_LOCKFILES" => Some("{ 'Cargo.lock' = '' }"),
            _ => None,
        })
        .unwrap();
        let resolved = resolve(&layers);
        assert_eq!(resolved.union_files, ["a", "b/*"]);
        assert_eq!(resolved.lockfiles["Cargo.lock"], "");
        assert_eq!(resolve(&Layers::default()).union_files.len(), 0);
    }

    #[test]
    fn an_empty_text_takes_a_value_away() {
        let layers = Layers {
            flags: Layer {
                verify: Some(String::new()),
                ..Layer::default()
            },
            project: Layer::from_toml("verify = 'make'", "p").unwrap(),
            ..Layers::default()
        };
        assert_eq!(resolve(&layers).verify, None);
    }

    #[test]
    fn faults_name_the_line_and_the_remedy() {
        for (text, said) in [
            (
                "\nmax_worker = 3\n",
                "c.toml:2: there is no key `max_worker`. Did you mean `max_workers`?",
            ),
            (
                "a = 1",
                "c.toml:1: there is no key `a`. Known keys: max_workers",
            ),
            (
                "model = 'x'\nmax_workers = 0",
                "c.toml:2: the value of `max_workers` is out of range. It must be from 1",
            ),
            (
                "merge = 'yes'",
                "c.toml:1: the value of `merge` does not fit: unknown variant `yes`",
            ),
            (
                "verify = [1]",
                "c.toml:1: the value of `verify` does not fit",
            ),
            (
                "union_files = ['a', '[']",
                "c.toml:1: the value of `union_files` is out of range. It must be a list of globs",
            ),
            (
                "\nlockfiles = { '{a' = 'make' }",
                "c.toml:2: the value of `lockfiles` is out of range",
            ),
            ("x = \ny = 2", "c.toml:1: this is not TOML"),
            ("model = \"\u{1b}[2J", "c.toml:1: this is not TOML"),
        ] {
            let fault = Layer::from_toml(text, "c.toml").unwrap_err().to_string();
            assert!(fault.starts_with(said), "{text}: {fault}");
        }
        let fault = Layer::from_env(|n| (n == "ORCHESTRA_MAX_WORKERS").then_some("many"));
        assert!(
            fault
                .unwrap_err()
                .to_string()
                .starts_with("ORCHESTRA_MAX_WORKERS: the value of")
        );
    }

    #[test]
    fn the_schema_knows_every_key() {
        let schema = json_schema();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), Layer::KEYS.len());
        assert_eq!(schema["additionalProperties"], false);
        for key in Layer::KEYS {
            assert!(properties[*key]["description"].is_string(), "{key}");
        }
    }
}
