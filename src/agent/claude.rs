//! The command line of the real Claude Code client.

use std::ffi::OsString;
use std::path::PathBuf;

use super::environment::Environment;
use super::{Agent, CommandSpec};
use crate::core::attempt::StartMode;
use crate::format::launch_file::LaunchFile;

/// The real client, `claude -p` with stream-json on both sides.
#[derive(Debug, Clone)]
pub struct Claude {
    /// The program: a path, or a name that is looked up in PATH.
    pub program: PathBuf,
}

impl Agent for Claude {
    fn command(&self, launch: &LaunchFile, env: &Environment) -> CommandSpec {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |parts: &[&str]| args.extend(parts.iter().map(OsString::from));
        add(&["-p", "--verbose"]);
        add(&["--input-format", "stream-json"]);
        add(&["--output-format", "stream-json"]);
        // A long answer would be silence otherwise: whole blocks are told only at their end.
        add(&["--include-partial-messages"]);
        // What no rule decides is asked on the stream, and answered there by the supervisor.
        add(&["--permission-prompt-tool", "stdio"]);
        // The client says when it takes a message into a turn.
        add(&["--replay-user-messages"]);
        if let Some(budget) = launch.grant.limit.usd {
            add(&["--max-budget-usd", &format!("{:.4}", budget.dollars())]);
        }
        self.session(args, launch, env, launch.settings.clone().map(Into::into))
    }
}

impl Claude {
    /// The same client for a person in a terminal: same session, rights, model and settings,
    /// without the streams. `settings` stands in for those of the order.
    ///
    /// A session that does not exist yet begins with the task as its first message.
    #[must_use]
    pub fn in_terminal(
        &self,
        launch: &LaunchFile,
        env: &Environment,
        settings: Option<OsString>,
    ) -> CommandSpec {
        let first = match launch.start {
            StartMode::Fresh => vec![OsString::from(&launch.prompt)],
            StartMode::Resume => Vec::new(),
        };
        self.session(first, launch, env, settings)
    }

    /// What belongs to the session, however one talks to it.
    fn session(
        &self,
        mut args: Vec<OsString>,
        launch: &LaunchFile,
        env: &Environment,
        settings: Option<OsString>,
    ) -> CommandSpec {
        let mut add = |parts: &[&str]| args.extend(parts.iter().map(OsString::from));
        let session = launch.session_id.to_string();
        match launch.start {
            StartMode::Fresh => add(&["--session-id", &session]),
            StartMode::Resume => add(&["--resume", &session]),
        }
        add(&[
            "-n",
            &format!("{}/{}", launch.orchestration_id, launch.task),
        ]);
        add(&["--permission-mode", &launch.permission_mode]);
        // The user's own plugins stay out: an instance must not conduct in its turn.
        add(&["--setting-sources", "project,local"]);
        if let Some(model) = &launch.model {
            add(&["--model", model]);
        }
        if !launch.system_prompt.is_empty() {
            add(&["--append-system-prompt", &launch.system_prompt]);
        }
        if let Some(settings) = settings {
            args.push("--settings".into());
            args.push(settings);
        }
        // These two take any number of values: last, and in one value each, so that nothing
        // after them can be taken for a tool.
        for (flag, tools) in [
            ("--allowedTools", &launch.allowed_tools),
            ("--disallowedTools", &launch.disallowed_tools),
        ] {
            if !tools.is_empty() {
                args.push(flag.into());
                args.push(tools.join(",").into());
            }
        }
        let mut env = env.clone();
        env.set("CLAUDE_CODE_ENABLE_TODO_TOOLS", "1");
        env.set("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1");
        env.set("DISABLE_AUTOUPDATER", "1");
        CommandSpec {
            program: self.program.clone(),
            args,
            env,
            cwd: launch.worktree.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::scripted::tests::launch;

    fn line(spec: &CommandSpec) -> Vec<String> {
        spec.args
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_fresh_attempt_chooses_its_session_and_a_resumed_one_names_it() {
        let claude = Claude {
            program: "claude".into(),
        };
        let mut launch = launch("work");
        let args = line(&claude.command(&launch, &Environment::default()));
        assert!(args.contains(&"--session-id".to_owned()), "{args:?}");
        assert!(!args.contains(&"--resume".to_owned()), "{args:?}");
        launch.start = StartMode::Resume;
        let args = line(&claude.command(&launch, &Environment::default()));
        assert!(args.contains(&"--resume".to_owned()), "{args:?}");
        assert!(!args.contains(&"--session-id".to_owned()), "{args:?}");
    }

    #[test]
    fn in_a_terminal_it_is_the_same_session_with_the_same_rights() {
        let claude = Claude {
            program: "claude".into(),
        };
        let mut launch = launch("work");
        launch.disallowed_tools = vec!["Bash(git push *)".into()];
        launch.model = Some("opus".into());
        launch.start = StartMode::Resume;
        let env = Environment::default();
        let headless = line(&claude.command(&launch, &env));
        let own = line(&claude.in_terminal(&launch, &env, None));
        assert!(own.iter().all(|arg| headless.contains(arg)), "{own:?}");
        for flag in ["-p", "--output-format", "--permission-prompt-tool"] {
            assert!(!own.contains(&flag.to_owned()), "{flag}");
        }
        launch.start = StartMode::Fresh;
        let own = line(&claude.in_terminal(&launch, &env, Some("{}".into())));
        assert_eq!(own[0], "Do it");
        assert!(own.windows(2).any(|w| w == ["--settings", "{}"]), "{own:?}");
    }

    #[test]
    fn tools_with_blanks_stay_one_argument() {
        let claude = Claude {
            program: "claude".into(),
        };
        let mut launch = launch("work");
        launch.allowed_tools = vec!["Bash(git add *)".into(), "Edit".into()];
        launch.disallowed_tools = vec!["Bash(git push *)".into()];
        let args = line(&claude.command(&launch, &Environment::default()));
        assert_eq!(
            args[args.len() - 4..],
            [
                "--allowedTools",
                "Bash(git add *),Edit",
                "--disallowedTools",
                "Bash(git push *)"
            ]
        );
    }
}
