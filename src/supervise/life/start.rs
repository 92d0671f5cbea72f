//! The beginning: the set-up command, then the agent.

use std::path::PathBuf;
use std::sync::Arc;

use super::client::{Client, Drained};
use super::{Life, Phase};
use crate::agent::shell::CommandReport;
use crate::agent::tree::seal_children;
use crate::agent::{CommandSpec, choose, process, sandbox, worktree_git_folder};
use crate::core::attempt::FailureClass;
use crate::core::sandbox::Sandbox;
use crate::format::claude_stream::one_line;
use crate::format::launch_file::AgentChoice;
use crate::format::status_file::InstanceStatus;
use crate::supervise::gate;
use crate::supervise::stream_log::StreamLog;
use crate::supervise::watch::{self, Msg};

impl Life<'_> {
    /// Runs the set-up command.
    pub(super) fn set_up(&mut self, cmd: String) {
        self.report.status.activity = Some(format!("set-up: {}", one_line(&cmd, 120)));
        let stop = Arc::clone(&self.stop_work);
        let sent = self.workshop.send("set-up", &self.tell, move |shop| {
            Msg::Setup(shop.run(&cmd, &stop))
        });
        match sent {
            Ok(()) => self.works += 1,
            Err(why) => self.fail(FailureClass::Crash, why),
        }
    }

    /// The set-up command ended.
    pub(super) fn on_set_up(&mut self, report: &CommandReport) {
        if self.ending.is_some() {
            return;
        }
        if report.is_green() {
            if let (Some(mark), Some(cmd)) = (self.set_up_mark(), &self.launch.setup) {
                // Unmarked, it is only done once more by the next attempt.
                let _ = std::fs::write(mark, cmd);
            }
            self.start_agent();
            return;
        }
        let detail = format!(
            "the set-up command failed ({}): {}",
            report.ending(),
            one_line(report.tail.lines().last().unwrap_or_default(), 300)
        );
        let conflict = self
            .launch
            .merging
            .as_ref()
            .is_some_and(|m| !m.files.is_empty());
        if conflict {
            // Perhaps only since there are markers in what it reads: once more at the end.
            self.note(&detail);
            let rules = &mut self.workshop.rules;
            rules.verify = gate::set_up_and_verify(self.launch.setup.as_deref(), &rules.verify);
            self.start_agent();
        } else {
            self.fail(FailureClass::Setup, detail);
        }
    }

    /// Where it is kept that a worktree is set up: with the worktree, and not in it.
    fn set_up_mark(&self) -> Option<PathBuf> {
        Some(worktree_git_folder(&self.launch.worktree)?.join("orchestra-set-up"))
    }

    /// Whether this command has set the worktree up already.
    pub(super) fn is_set_up(&self, cmd: &str) -> bool {
        self.set_up_mark()
            .is_some_and(|mark| std::fs::read_to_string(mark).is_ok_and(|done| done == cmd))
    }

    /// Starts the agent and gives it its task.
    pub(super) fn start_agent(&mut self) {
        let agent = choose(&self.launch.agent, self.supervision.exe);
        let spec = self.enclosed(agent.command(&self.launch, &self.workshop.env));
        // No other thread starts anything meanwhile that would carry the seal as well.
        let helpers = self.workshop.helpers.clone();
        let alone = helpers.try_hold();
        let sealing = alone
            .is_some()
            .then(|| seal_children(&self.workshop.marker));
        let spawned = process::spawn(&spec);
        drop((sealing, alone));
        match spawned {
            Ok(running) => {
                if let Err(why) = self.attend(running) {
                    self.fail(FailureClass::Crash, why);
                    return;
                }
                self.report.status.status = InstanceStatus::Working;
                self.report.status.activity = Some("started".into());
                self.phase = Phase::Working;
                self.times.agent_started();
                self.enclose();
                let prompt = self.launch.prompt.clone();
                let waiting = self.messages_for_a_resumed_session();
                self.say_first(&prompt, waiting);
                // Messages that waited for a session.
                self.look_into_inbox();
            }
            Err(error) => self.fail(FailureClass::Crash, error.to_string()),
        }
    }

    /// The command inside the sandbox that is configured.
    fn enclosed(&self, spec: CommandSpec) -> CommandSpec {
        if self.launch.sandbox != Sandbox::Bubblewrap {
            return spec;
        }
        let inbox = self.supervision.run.instance_inbox(self.supervision.task);
        let _ = std::fs::create_dir_all(&inbox);
        let scratch = spec
            .env
            .get("TMPDIR")
            .map_or_else(|| inbox.clone(), PathBuf::from);
        let mut shown: Vec<PathBuf> = self
            .supervision
            .exe
            .parent()
            .map(Into::into)
            .into_iter()
            .collect();
        if let AgentChoice::Scripted {
            script: Some(script),
        } = &self.launch.agent
        {
            shown.push(script.clone());
        }
        let places = sandbox::Places {
            worktree: &self.launch.worktree,
            scratch: &scratch,
            main: &self.launch.main_checkout,
            branch: self.launch.branch.as_str(),
            inbox: &inbox,
            shown: &shown,
        };
        sandbox::wrap(spec, &places)
    }

    /// Keeps the process and listens to it.
    fn attend(&mut self, running: process::Running) -> Result<(), String> {
        let path = self.supervision.run.stream_log(self.supervision.task);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| {
                let why = format!("{}: {e}", path.display());
                self.note(&format!("the stream is not kept: {why}"));
                self.log_fault = Some(why);
            })
            .ok();
        let process::Running {
            child,
            key,
            stdin,
            stdout,
            stderr,
        } = running;
        // The process is known from here on, so that it is ended whatever fails.
        let agent = self.agent.insert(Client {
            child,
            key,
            stdin: None,
            drained: Drained::default(),
            stream_ended: None,
            exit: None,
        });
        let text = |e: std::io::Error| format!("cannot start a thread: {e}");
        let tell = self.tell.clone();
        let ended = move || drop(tell.send(Msg::Exit));
        process::on_end(agent.child.id(), ended).map_err(text)?;
        agent.stdin = Some(watch::write_stdin(stdin).map_err(text)?);
        let log = StreamLog::new(log, self.launch.limits.max_log());
        watch::read_stream(stdout, log, self.tell.clone()).map_err(text)?;
        watch::read_stderr(stderr, self.tell.clone()).map_err(text)
    }
}
