//! The scripted player: what `orchestra play` does.
//!
//! It speaks the client's stream-json on both sides and does what its script says, in the
//! worktree in which it is started. It is the agent of the demo and of most tests, so it
//! behaves like the client where a supervisor could tell: sessions that can be resumed and
//! not be made twice, turns, interrupts, todo tools, costs that add up per process.

mod act;
mod say;

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use crate::format::player_script::{PlayerScript, Step};
use crate::format::status_file::TodoItem;
use act::Flow;
use say::Speaker;

/// What the command line of `orchestra play` says.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayOptions {
    /// The script; its default when absent.
    pub script: Option<PathBuf>,
    /// The task that is played.
    pub task: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The session.
    pub session: String,
    /// Whether that session is resumed.
    pub resume: bool,
    /// What this process may spend, US dollars: the turn ends after the step that passes it.
    pub max_budget_usd: Option<f64>,
}

impl PlayOptions {
    /// Reads `--script FILE --task NAME --attempt N --session-id ID|--resume ID
    /// --max-budget-usd X`.
    ///
    /// # Errors
    /// What is missing or unknown.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self {
            script: None,
            task: String::new(),
            attempt: 1,
            session: String::new(),
            resume: false,
            max_budget_usd: None,
        };
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            let flag = flag.to_string_lossy().into_owned();
            let value = args.next().ok_or(format!("{flag} needs a value"))?;
            let text = value.to_string_lossy().into_owned();
            match flag.as_str() {
                "--script" => options.script = Some(value.into()),
                "--task" => options.task = text,
                "--attempt" => {
                    options.attempt = text.parse().map_err(|e| format!("--attempt {text}: {e}"))?;
                }
                "--max-budget-usd" => {
                    let usd = text.parse();
                    options.max_budget_usd = Some(usd.map_err(|e| format!("{flag} {text}: {e}"))?);
                }
                "--session-id" => options.session = text,
                "--resume" => {
                    options.session = text;
                    options.resume = true;
                }
                _ => return Err(format!("{flag} is unknown to the player")),
            }
        }
        if options.task.is_empty() || options.session.is_empty() {
            return Err("the player needs --task and --session-id or --resume".into());
        }
        Ok(options)
    }
}

/// What a session remembers between two processes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    /// Steps of the list that are done.
    done: usize,
    /// The todo list.
    todo: Vec<TodoItem>,
}

/// What comes in.
#[derive(Debug)]
enum Input {
    Message(Message),
    Interrupt(String),
    /// The answer to a request of ours: its id, and the response.
    Answer(String, serde_json::Value),
    /// A command of its own ended; what it printed.
    Ran(String),
    /// Nothing more comes in.
    End,
}

/// A message to the session.
#[derive(Debug, Clone)]
struct Message {
    text: String,
    /// Repeated when the message is taken into a turn.
    id: Option<String>,
}

/// Plays until the input ends or the script ends the process; returns the exit code.
///
/// `cwd` is the worktree. Complaints go to `stderr`.
pub fn play(
    options: &PlayOptions,
    stdin: impl BufRead + Send + 'static,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    cwd: &Path,
    env: &Environment,
) -> u8 {
    match prepare(options, cwd) {
        Ok((steps, memory, memory_file)) => {
            let (tell, input) = mpsc::channel();
            listen(stdin, tell.clone());
            let mut player = Player {
                steps,
                memory,
                memory_file,
                input,
                tell,
                queue: Vec::new(),
                input_ended: false,
                max_budget_usd: options.max_budget_usd,
                say: Speaker::new(stdout, &options.session, cwd),
                stderr,
                cwd,
                env,
                prompt: String::new(),
            };
            player.run()
        }
        Err(why) => {
            let _ = writeln!(stderr, "{why}");
            1
        }
    }
}

fn prepare(options: &PlayOptions, cwd: &Path) -> Result<(Vec<Step>, Memory, PathBuf), String> {
    let script = match &options.script {
        None => PlayerScript::default(),
        Some(path) => std::fs::read(path)
            .map_err(|e| e.to_string())
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()))
            .map_err(|e| format!("cannot read the script {}: {e}", path.display()))?,
    };
    let (steps, for_all) = script.steps(&options.task, options.attempt);
    let memory_file = git_folder(cwd).join(format!("orchestra-player-{}.json", options.session));
    let known = std::fs::read(&memory_file).ok();
    let memory = match (known, options.resume) {
        (Some(_), false) => {
            return Err(format!(
                "Error: Session ID {} is already in use.",
                options.session
            ));
        }
        (None, true) => {
            return Err(format!(
                "No conversation found with session ID: {}",
                options.session
            ));
        }
        (Some(bytes), true) => {
            let mut memory: Memory = serde_json::from_slice(&bytes).unwrap_or_default();
            if !for_all {
                memory.done = 0;
            }
            memory
        }
        (None, false) => Memory::default(),
    };
    Ok((steps, memory, memory_file))
}

/// The git folder of a worktree, where the player's memory is no part of the work.
fn git_folder(cwd: &Path) -> PathBuf {
    super::worktree_git_folder(cwd).unwrap_or_else(|| cwd.to_owned())
}

/// Reads the input on a thread, so that an interrupt is heard at any time.
fn listen(stdin: impl BufRead + Send + 'static, tell: Sender<Input>) {
    let at_end = tell.clone();
    let listens = std::thread::Builder::new()
        .name("input".into())
        .spawn(move || {
            for line in stdin.split(b'\n').map_while(Result::ok) {
                if let Some(input) = understand(&line)
                    && tell.send(input).is_err()
                {
                    return;
                }
            }
            let _ = tell.send(Input::End);
        });
    if listens.is_err() {
        // Without the thread nothing comes in.
        let _ = at_end.send(Input::End);
    }
}

fn understand(line: &[u8]) -> Option<Input> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    match value.get("type")?.as_str()? {
        "user" => Some(Input::Message(Message {
            text: value.get("message")?.get("content")?.as_str()?.to_owned(),
            id: value
                .get("uuid")
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned),
        })),
        "control_response" => {
            let response = value.get("response")?;
            let id = response.get("request_id")?.as_str()?.to_owned();
            let said = response.get("response").cloned().unwrap_or_default();
            Some(Input::Answer(id, said))
        }
        "control_request" => {
            let request = value.get("request")?.get("subtype")?.as_str()?;
            (request == "interrupt").then(|| {
                Input::Interrupt(
                    value
                        .get("request_id")
                        .and_then(serde_json::Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                )
            })
        }
        _ => None,
    }
}

struct Player<'a> {
    steps: Vec<Step>,
    memory: Memory,
    memory_file: PathBuf,
    input: Receiver<Input>,
    /// For what comes in from its own commands.
    tell: Sender<Input>,
    /// Messages that came during a turn.
    queue: Vec<Message>,
    input_ended: bool,
    max_budget_usd: Option<f64>,
    say: Speaker<'a>,
    stderr: &'a mut dyn Write,
    cwd: &'a Path,
    env: &'a Environment,
    prompt: String,
}

impl Player<'_> {
    fn run(&mut self) -> u8 {
        self.remember();
        while let Some(message) = self.next_message() {
            if self.steps.get(self.memory.done) == Some(&Step::HangAtStart) {
                self.say.fall_silent();
            }
            self.say.init();
            self.say.replay(&message.text, message.id.as_deref());
            self.prompt = message.text;
            match self.turn() {
                Flow::Exit(code) => return code,
                Flow::TurnOver | Flow::Next => {}
            }
        }
        0
    }

    /// One turn: steps up to its end.
    fn turn(&mut self) -> Flow {
        while let Some(step) = self.steps.get(self.memory.done).cloned() {
            // Steps that may end the process are done once they begin: a resumed session
            // goes on behind them. All others can be done twice.
            let ends = matches!(
                step,
                Step::Exit(_)
                    | Step::Signal(_)
                    | Step::Hang { .. }
                    | Step::HangAtStart
                    | Step::CloseOutput
                    | Step::Endless(_)
                    | Step::Allocate { .. }
                    | Step::RefusePrompt(_)
                    | Step::EndTurnAndHang
            );
            if ends {
                self.step_done();
            }
            let flow = self.act(&step);
            if !ends {
                self.step_done();
            }
            match flow {
                Flow::Next => {}
                over => return over,
            }
        }
        self.end_turn()
    }

    fn step_done(&mut self) {
        self.memory.done += 1;
        self.remember();
    }

    fn remember(&mut self) {
        let written = serde_json::to_vec(&self.memory)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&self.memory_file, bytes));
        if let Err(e) = written {
            let _ = writeln!(self.stderr, "the player forgets where it is: {e}");
        }
    }

    fn next_message(&mut self) -> Option<Message> {
        if !self.queue.is_empty() {
            return Some(self.queue.remove(0));
        }
        while !self.input_ended {
            match self.input.recv() {
                Ok(Input::Message(text)) => return Some(text),
                Ok(Input::Interrupt(id)) => self.say.control_response(&id),
                Ok(Input::Ran(_) | Input::Answer(..)) => {}
                Ok(Input::End) | Err(_) => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
