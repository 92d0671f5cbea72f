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
        if let Some(budget) = launch.grant.limit.usd {
            add(&["--max-budget-usd", &format!("{:.4}", budget.dollars())]);
        }
        if !launch.system_prompt.is_empty() {
            add(&["--append-system-prompt", &launch.system_prompt]);
        }
        if let Some(settings) = &launch.settings {
            args.push("--settings".into());
            args.push(settings.into());
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
