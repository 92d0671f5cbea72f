//! The steps of a script, acted out.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};
use serde_json::{Value, json};

use super::{Input, Player};
use crate::agent::process::command;
use crate::format::player_script::Step;
use crate::format::status_file::TodoItem;

/// What comes after a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    TurnOver,
    Exit(u8),
}

/// Exit code of a player whose requirement is not met.
const REQUIREMENT_NOT_MET: u8 = 9;

impl Player<'_> {
    pub(super) fn act(&mut self, step: &Step) -> Flow {
        match step {
            Step::Write { path, text } => self.write(path, text),
            Step::WritePrompt(path) => {
                let prompt = self.prompt.clone();
                self.write(path, &format!("{prompt}\n"))
            }
            Step::Append { path, text } => {
                let before = std::fs::read_to_string(self.cwd.join(path)).unwrap_or_default();
                if before.ends_with(text.as_str()) {
                    Flow::Next
                } else {
                    self.write(path, &format!("{before}{text}"))
                }
            }
            Step::Delete(path) => {
                let _ = std::fs::remove_file(self.cwd.join(path));
                self.bash(&format!("rm {}", path.display()), "")
            }
            Step::Require { path, contains } => self.require(path, contains.as_deref()),
            Step::Run(cmd) => self.run_command(cmd),
            Step::Commit(message) => self.commit(message),
            Step::Todo { items, todo_write } => self.todo(items, *todo_write),
            Step::Say(text) => {
                self.say.text(text);
                Flow::Next
            }
            Step::Stuck { reason, options } => {
                let mut text = format!("STUCK: {reason}");
                for option in options {
                    text.push_str("\n- ");
                    text.push_str(option);
                }
                self.say.text(&text);
                self.end_turn()
            }
            Step::SleepMs(ms) => self.wait(Some(Duration::from_millis(*ms)), false),
            Step::Usage {
                cost_usd,
                input_tokens,
                output_tokens,
            } => {
                self.say.spend(*cost_usd, *input_tokens, *output_tokens);
                let limit = self.max_budget_usd;
                if limit.is_none_or(|limit| self.say.total_usd() < limit) {
                    return Flow::Next;
                }
                let how = json!({
                    "subtype": "error_max_budget_usd", "is_error": true,
                    "terminal_reason": "budget_exhausted",
                    "errors": ["Reached maximum budget"],
                });
                self.say.result(&how, self.queue.len());
                Flow::Exit(1)
            }
            Step::Deny { tool, what } => {
                self.say.denied(tool, what);
                Flow::Next
            }
            Step::Ask {
                tool,
                input,
                rule,
                answer,
                withdraw_ms,
            } => {
                let id = self.say.ask(tool, input, rule.as_deref());
                let patience = withdraw_ms.map(Duration::from_millis);
                self.asked(&id, tool, input, answer.as_deref(), patience)
            }
            Step::ApiRetry { status, delay_ms } => {
                self.say.api_retry(*status, *delay_ms);
                Flow::Next
            }
            Step::Raw(line) => self.raw(line.as_bytes()),
            Step::InvalidUtf8 => self.raw(b"\xff\xfe{\"type\":\"\xc3\x28\"}"),
            Step::HugeLine(bytes) => {
                let line = vec![b'x'; usize::try_from(*bytes).unwrap_or(usize::MAX)];
                self.raw(&line)
            }
            Step::Complain(text) => {
                let _ = writeln!(self.stderr, "{text}");
                Flow::Next
            }
            Step::Detach { seconds, clear_env } => self.detach(*seconds, *clear_env),
            Step::EndTurn => self.end_turn(),
            Step::RefusePrompt(why) => {
                let how = json!({
                    "subtype": "success", "is_error": false, "result": why, "num_turns": 0,
                });
                self.say.result(&how, self.queue.len());
                Flow::TurnOver
            }
            Step::Result {
                subtype,
                is_error,
                text,
                terminal_reason,
                api_error_status,
            } => {
                let how = json!({
                    "subtype": subtype, "is_error": is_error, "result": text,
                    "terminal_reason": terminal_reason, "api_error_status": api_error_status,
                });
                self.say.result(&how, self.queue.len());
                Flow::TurnOver
            }
            Step::EndTurnAndHang => {
                self.say.result_success(self.queue.len());
                self.wait(None, true)
            }
            // It is as deaf as it is mute since before the turn began.
            Step::HangAtStart => self.wait(None, true),
            Step::CloseOutput => {
                let closed = std::fs::File::options()
                    .write(true)
                    .open("/dev/null")
                    .and_then(|nowhere| Ok(rustix::stdio::dup2_stdout(&nowhere)?));
                match closed {
                    Ok(()) => self.wait(None, true),
                    Err(e) => self.give_up(&format!("cannot close the output: {e}")),
                }
            }
            Step::Endless(line) => loop {
                if !self.say.raw(line.as_bytes()) {
                    return Flow::Exit(1);
                }
            },
            Step::Allocate { mb, ms } => {
                let size = usize::try_from(mb.saturating_mul(1024 * 1024)).unwrap_or(usize::MAX);
                let held = vec![1u8; size];
                let flow = self.wait(Some(Duration::from_millis(*ms)), false);
                drop(std::hint::black_box(held));
                flow
            }
            Step::Hang { deaf } => self.wait(None, *deaf),
            Step::Exit(code) => Flow::Exit(u8::try_from(*code).unwrap_or(1)),
            Step::Signal(number) => {
                if let Some(signal) = Signal::from_named_raw(*number) {
                    // The first of some signals is taken by the runtime, which looks whether
                    // the stack is full.
                    let _ = kill_process(getpid(), signal);
                    let _ = kill_process(getpid(), signal);
                }
                // A signal that does not end a process leaves it as it is.
                Flow::Next
            }
        }
    }

    pub(super) fn end_turn(&mut self) -> Flow {
        self.take_what_waits();
        self.say.result_success(self.queue.len());
        Flow::TurnOver
    }

    fn raw(&mut self, line: &[u8]) -> Flow {
        self.say.raw(line);
        Flow::Next
    }

    fn bash(&mut self, cmd: &str, said: &str) -> Flow {
        let outcome = json!({"stdout": said});
        self.say
            .tool("Bash", &json!({"command": cmd}), said, &outcome);
        Flow::Next
    }

    fn write(&mut self, path: &Path, text: &str) -> Flow {
        let full = self.cwd.join(path);
        let written = full
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&full, text));
        match written {
            Ok(()) => {
                let input = json!({"file_path": full, "content": text});
                self.say
                    .tool("Write", &input, "File written", &json!({"type": "create"}));
                Flow::Next
            }
            Err(e) => self.give_up(&format!("cannot write {}: {e}", full.display())),
        }
    }

    fn require(&mut self, path: &Path, contains: Option<&str>) -> Flow {
        let full = self.cwd.join(path);
        match (std::fs::read_to_string(&full), contains) {
            (Err(e), _) => self.give_up(&format!("{} is needed: {e}", full.display())),
            (Ok(text), Some(part)) if !text.contains(part) => {
                self.give_up(&format!("{} is needed with {part:?} in it", full.display()))
            }
            (Ok(_), _) => Flow::Next,
        }
    }

    fn give_up(&mut self, why: &str) -> Flow {
        self.say.text(why);
        let _ = writeln!(self.stderr, "{why}");
        Flow::Exit(REQUIREMENT_NOT_MET)
    }

    /// Runs a command as the client's shell tool does: in a session of its own.
    fn shell(&mut self, cmd: &str) -> String {
        let output = command(Path::new("/bin/sh"), self.env)
            .args(["-c", cmd])
            .current_dir(self.cwd)
            .process_group(0)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) => {
                let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
                said.push_str(&String::from_utf8_lossy(&output.stderr));
                said
            }
            Err(e) => format!("cannot run it: {e}"),
        }
    }

    /// Runs a command as a tool call that can be interrupted.
    fn run_command(&mut self, cmd: &str) -> Flow {
        let id = self.say.call("Bash", &json!({"command": cmd}));
        let child = command(Path::new("/bin/sh"), self.env)
            .args(["-c", cmd])
            .current_dir(self.cwd)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(e) => {
                let said = format!("cannot run it: {e}");
                self.say.answer(&id, &said, &json!({"stdout": said}));
                return Flow::Next;
            }
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let tell = self.tell.clone();
        let waits = std::thread::Builder::new()
            .name("command".into())
            .spawn(move || {
                let said = match child.wait_with_output() {
                    Ok(output) => {
                        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
                        said.push_str(&String::from_utf8_lossy(&output.stderr));
                        said
                    }
                    Err(e) => e.to_string(),
                };
                let _ = tell.send(Input::Ran(said));
            });
        if waits.is_err() {
            return self.give_up("no thread for a command");
        }
        loop {
            match self.input.recv() {
                Ok(Input::Ran(said)) => {
                    self.say.answer(&id, &said, &json!({"stdout": said}));
                    return Flow::Next;
                }
                Ok(Input::Message(text)) => self.queue.push(text),
                Ok(Input::Interrupt(request)) => {
                    self.say.control_response(&request);
                    if let Some(group) = group {
                        let _ = kill_process_group(group, Signal::KILL);
                    }
                    let said = "[Request interrupted by user for tool use]";
                    self.say.answer(&id, said, &json!({"interrupted": true}));
                    self.say.interrupted(self.queue.len());
                    return Flow::TurnOver;
                }
                Ok(Input::Answer(..)) => {}
                Ok(Input::End) => self.input_ended = true,
                Err(_) => return Flow::Exit(1),
            }
        }
    }

    fn commit(&mut self, message: &str) -> Flow {
        let mut env = self.env.clone();
        let git = |env: &crate::agent::environment::Environment, args: &[&str]| {
            command(Path::new("git"), env)
                .args(args)
                .current_dir(self.cwd)
                .stdin(Stdio::null())
                .output()
        };
        let has_identity =
            git(&env, &["config", "user.email"]).is_ok_and(|output| output.status.success());
        if !has_identity {
            for who in ["AUTHOR", "COMMITTER"] {
                env.set_default(format!("GIT_{who}_NAME"), "Orchestra player");
                env.set_default(format!("GIT_{who}_EMAIL"), "player@orchestra.invalid");
            }
        }
        let mut said = String::new();
        for args in [
            &["add", "-A"][..],
            &["commit", "--quiet", "--no-verify", "-m", message],
        ] {
            match git(&env, args) {
                Ok(output) => {
                    said.push_str(&String::from_utf8_lossy(&output.stdout));
                    said.push_str(&String::from_utf8_lossy(&output.stderr));
                }
                Err(e) => return self.give_up(&format!("cannot run git: {e}")),
            }
        }
        self.bash(&format!("git add -A && git commit -m {message:?}"), &said)
    }

    fn todo(&mut self, items: &[TodoItem], todo_write: bool) -> Flow {
        if todo_write {
            let todos: Vec<Value> = items
                .iter()
                .map(|i| json!({"content": i.text, "status": i.state, "activeForm": i.text}))
                .collect();
            let input = json!({"todos": todos});
            self.say
                .tool("TodoWrite", &input, "Todos have been modified", &input);
            self.memory.todo = items.to_vec();
            return Flow::Next;
        }
        for item in items {
            let known = self.memory.todo.iter().position(|k| k.text == item.text);
            let at = known.unwrap_or(self.memory.todo.len());
            let id = (at + 1).to_string();
            if known.is_none() {
                self.say.tool(
                    "TaskCreate",
                    &json!({"subject": item.text, "description": item.text}),
                    &format!("Task #{id} created successfully: {}", item.text),
                    &json!({"task": {"id": id, "subject": item.text}}),
                );
                self.memory.todo.push(TodoItem {
                    text: item.text.clone(),
                    state: "pending".into(),
                });
            }
            if let Some(kept) = self.memory.todo.get_mut(at)
                && kept.state != item.state
            {
                kept.state.clone_from(&item.state);
                self.say.tool(
                    "TaskUpdate",
                    &json!({"taskId": id, "status": item.state}),
                    &format!("Updated task #{id} status"),
                    &json!({"success": true, "taskId": id}),
                );
            }
        }
        Flow::Next
    }

    fn detach(&mut self, seconds: u64, clear_env: bool) -> Flow {
        let forget = if clear_env {
            "env -i PATH=/usr/bin:/bin "
        } else {
            ""
        };
        let cmd = format!("({forget}setsid sleep {seconds} </dev/null >/dev/null 2>&1 &)");
        let said = self.shell(&cmd);
        self.bash(&cmd, &said)
    }

    /// Waits for a length of time, or for ever. An interrupt ends the turn unless deaf.
    fn wait(&mut self, length: Option<Duration>, deaf: bool) -> Flow {
        if deaf {
            // From here on a gentle signal only sets a flag that nobody reads.
            let nobody = std::sync::Arc::default();
            let _ = signal_hook::flag::register(signal_hook::consts::SIGTERM, nobody);
        }
        let deadline = length.map(|length| Instant::now() + length);
        loop {
            let left = deadline.map_or(Duration::from_secs(3600), |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Flow::Next;
            }
            if self.input_ended {
                std::thread::sleep(left);
                continue;
            }
            match self.input.recv_timeout(left) {
                Ok(Input::Message(message)) => self.queue.push(message),
                Ok(Input::Answer(..)) => {}
                Ok(Input::Interrupt(_)) if deaf => {}
                Ok(Input::Interrupt(id)) => return self.interrupted(&id),
                Ok(Input::Ran(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => self.input_ended = true,
            }
        }
    }

    fn interrupted(&mut self, id: &str) -> Flow {
        self.say.control_response(id);
        self.say.interrupted(self.queue.len());
        Flow::TurnOver
    }

    /// Waits for the answer to a request, and does what it says.
    fn asked(
        &mut self,
        request: &str,
        tool: &str,
        input: &Value,
        file: Option<&Path>,
        patience: Option<Duration>,
    ) -> Flow {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let answer = loop {
            let left = deadline.map_or(Duration::from_secs(3600), |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            match self.input.recv_timeout(left) {
                Ok(Input::Message(message)) => self.queue.push(message),
                Ok(Input::Answer(id, answer)) if id == request => break answer,
                Ok(Input::Answer(..) | Input::Ran(_)) => {}
                Ok(Input::Interrupt(id)) => {
                    self.say.withdraw(request);
                    return self.interrupted(&id);
                }
                Err(RecvTimeoutError::Timeout) if deadline.is_none() => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.say.withdraw(request);
                    return Flow::Next;
                }
                // As the client: without anybody to ask it is denied.
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => {
                    self.input_ended = true;
                    break json!({"behavior": "deny"});
                }
            }
        };
        if let Some(file) = file {
            let _ = std::fs::write(self.cwd.join(file), answer.to_string());
        }
        if answer.get("behavior").and_then(Value::as_str) != Some("allow") {
            let message = answer.get("message").and_then(Value::as_str);
            self.say.refused(tool, input, message.unwrap_or_default());
            return Flow::Next;
        }
        match input.get("command").and_then(Value::as_str) {
            Some(command) if tool == "Bash" => {
                let said = self.shell(command);
                self.bash(command, &said)
            }
            _ => {
                self.say.tool(tool, input, "done", &Value::Null);
                Flow::Next
            }
        }
    }

    /// Takes messages that came during the turn, so that the result can tell their number.
    fn take_what_waits(&mut self) {
        while let Ok(input) = self.input.try_recv() {
            match input {
                Input::Message(message) => self.queue.push(message),
                Input::Answer(..) => {}
                Input::Interrupt(id) => self.say.control_response(&id),
                Input::End => self.input_ended = true,
                Input::Ran(_) => {}
            }
        }
    }
}
