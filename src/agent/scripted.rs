//! The built-in agent without login or network: this same program as `orchestra play`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::environment::Environment;
use super::{Agent, CommandSpec};
use crate::core::attempt::StartMode;
use crate::format::launch_file::LaunchFile;

/// The scripted agent.
#[derive(Debug, Clone)]
pub struct Scripted {
    /// This program.
    pub exe: PathBuf,
    /// The script; the player's default when absent.
    pub script: Option<PathBuf>,
}

impl Agent for Scripted {
    fn command(&self, launch: &LaunchFile, env: &Environment) -> CommandSpec {
        let mut args: Vec<OsString> = vec!["play".into()];
        if let Some(script) = &self.script {
            args.push("--script".into());
            args.push(script.into());
        }
        args.push("--task".into());
        args.push(launch.task.as_str().into());
        args.push("--attempt".into());
        args.push(launch.attempt.to_string().into());
        args.push(
            match launch.start {
                StartMode::Fresh => "--session-id",
                StartMode::Resume => "--resume",
            }
            .into(),
        );
        args.push(launch.session_id.to_string().into());
        if let Some(budget) = launch.grant.limit.usd {
            args.push("--max-budget-usd".into());
            args.push(format!("{:.4}", budget.dollars()).into());
        }
        CommandSpec {
            program: self.exe.clone(),
            args,
            env: env.clone(),
            cwd: launch.worktree.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::attempt::SessionId;
    use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
    use crate::format::SCHEMA_VERSION;
    use crate::format::instance_limits::InstanceLimits;
    use crate::format::launch_file::AgentChoice;

    /// An order to build tests on.
    pub(crate) fn launch(task: &str) -> LaunchFile {
        let task = TaskName::parse(task).unwrap();
        LaunchFile {
            schema_version: SCHEMA_VERSION,
            orchestration_id: OrchestrationId::parse("run-1").unwrap(),
            token: "token".into(),
            branch: BranchName::for_task(&task),
            task,
            attempt: 1,
            session_id: SessionId(uuid::Uuid::from_u128(7)),
            start: StartMode::Fresh,
            attached: None,
            agent: AgentChoice::Scripted { script: None },
            worktree: "/w".into(),
            main_checkout: "/m".into(),
            base: Oid::parse(&"a".repeat(40)).unwrap(),
            prompt: "Do it".into(),
            system_prompt: String::new(),
            permission_mode: "acceptEdits".into(),
            sandbox: crate::core::sandbox::Sandbox::Off,
            allowed_tools: Vec::new(),
            disallowed_tools: Vec::new(),
            settings: None,
            model: None,
            env: std::collections::BTreeMap::new(),
            setup: None,
            verify: None,
            timeout_seconds: 60,
            command_timeout_seconds: 60,
            grant: crate::core::budget::Grant::default(),
            breaker: None,
            gate_rounds: 2,
            answer_timeout_seconds: 60,
            permission_requests: crate::core::permission::PermissionRequests::Ask,
            permission_timeout_seconds: 60,
            limits: InstanceLimits::default(),
            may_end_without_commits: false,
            merging: None,
            issue_number: None,
            issue_title: None,
        }
    }

    #[test]
    fn the_player_is_told_task_attempt_and_session() {
        let agent = Scripted {
            exe: "/bin/orchestra".into(),
            script: Some("/s.json".into()),
        };
        let spec = agent.command(&launch("work"), &Environment::default());
        let args: Vec<_> = spec.args.iter().map(|a| a.to_string_lossy()).collect();
        assert_eq!(
            args.join(" "),
            "play --script /s.json --task work --attempt 1 --session-id \
             00000000-0000-0000-0000-000000000007"
        );
    }
}
