//! A request becomes a plan: one headless client that may only read.
//!
//! The client is asked for structured output, its answer is validated like any other plan,
//! and faults go back to the same session a bounded number of times. The answer may also
//! come as text (some models, an older client): then the plan is looked for in it. The whole
//! process tree is ended before this returns, whatever happened.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::environment::Environment;
use super::process::{self, Running};
use super::tree::{self, EndPlan, MARK_VARIABLE, Marker, Tree};
use super::{CommandSpec, SpawnError, roles};
use crate::core::plan::{Faults, Limits};
use crate::format::claude_stream::{
    self, Event, LineSplitter, MAX_LINE, TurnResult, one_line, user_message,
};
use crate::format::plan_file::{self, Parsed};

/// How often faults go back before it is given up.
const ROUNDS: u32 = 2;

/// Whose role it is.
pub(crate) const ROLE: &str = "task-analyzer";

/// Tools that only read, and the one that answers.
const TOOLS: &str = "Read,Grep,Glob";

/// What an analysis needs beside the request.
#[derive(Debug)]
pub struct AnalyzerOptions<'a> {
    /// Claude Code: a path, or a name that is looked up in PATH of `env`.
    pub program: &'a Path,
    /// The environment of the caller; what belongs to an outer session is taken out of it.
    pub env: &'a Environment,
    /// The main checkout, which is looked at.
    pub cwd: &'a Path,
    /// What is told of the repository, in a few lines; may be empty.
    pub context: &'a str,
    /// The model; the client's own choice when absent.
    pub model: Option<&'a str>,
    /// Most money it may cost, US dollars.
    pub max_budget_usd: Option<f64>,
    /// Longest time for all of it.
    pub timeout: Duration,
    /// What sense allows for a plan.
    pub limits: &'a Limits,
    /// Carried by every process of it.
    pub marker: Marker,
}

/// A plan that was made and found good.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The plan and what is worth knowing about it.
    pub parsed: Parsed,
    /// What it cost, US dollars; nothing when the client did not say.
    pub cost_usd: Option<f64>,
    /// How often faults went back.
    pub corrections: u32,
    /// The client's session.
    pub session: Uuid,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AnalyzerError {
    #[error(transparent)]
    Start(#[from] SpawnError),
    #[error(
        "the analysis took longer than {} s and was stopped; try again, split the request, or \
         write the tasks yourself: `orchestra init`",
        .0.as_secs()
    )]
    TimedOut(Duration),
    #[error(
        "Claude Code is not logged in, or its key is refused ({said}): run `claude` once and log in"
    )]
    NotLoggedIn { said: String },
    #[error("Claude Code could not analyse the request: {said}; try again in a while")]
    Refused { said: String },
    #[error("Claude Code ended without an answer (exit code {code}): {said}", code = code_text(*.exit))]
    Ended { exit: Option<i32>, said: String },
    #[error("the answer holds no plan. It was: {said}")]
    NoPlan { said: String },
    #[error("after {corrections} corrections, {faults}")]
    Invalid { corrections: u32, faults: Faults },
}

fn code_text(exit: Option<i32>) -> String {
    exit.map_or_else(|| "none".to_owned(), |code| code.to_string())
}

/// Makes a plan for a request, which is planned and never obeyed.
///
/// # Errors
/// When the client cannot be started or refuses, time is over, or no answer was a plan that
/// can be carried out.
pub fn analyze(request: &str, options: &AnalyzerOptions<'_>) -> Result<Analysis, AnalyzerError> {
    let session = Uuid::new_v4();
    let mut client = Client::start(options, session)?;
    let mut cost_usd = None;
    let mut corrections = 0;
    let mut message = first_message(request, options.context);
    loop {
        client.say(&message);
        let turn = client.turn()?;
        cost_usd = turn.total_cost_usd.or(cost_usd);
        // The client itself gave up on the shape of the answers; the session goes on.
        let shapeless = turn.is_error && said_of(&turn).contains("structured output");
        if turn.is_error && !shapeless {
            return Err(refusal(&turn));
        }
        let faults = match plan_in(&turn.text, request, options.limits) {
            Found::Plan(parsed) => {
                return Ok(Analysis {
                    parsed: *parsed,
                    cost_usd,
                    corrections,
                    session,
                });
            }
            Found::Faults(faults) => Some(faults),
            Found::Nothing => None,
        };
        if corrections == ROUNDS {
            return Err(match faults {
                Some(faults) => AnalyzerError::Invalid {
                    corrections,
                    faults,
                },
                None => AnalyzerError::NoPlan {
                    said: one_line(&turn.text, 600),
                },
            });
        }
        corrections += 1;
        message = correction(faults.as_ref());
    }
}

/// What the request becomes. Its end is marked with a word that it cannot hold.
fn first_message(request: &str, context: &str) -> String {
    let tag = format!("request-{}", &Uuid::new_v4().simple().to_string()[..8]);
    let mut text = format!("Plan this request.\n\n<{tag}>\n{request}\n</{tag}>\n");
    if !context.is_empty() {
        text.push_str("\nThe repository is your working directory. ");
        text.push_str(context);
    }
    text
}

fn correction(faults: Option<&Faults>) -> String {
    match faults {
        Some(faults) => format!(
            "That plan cannot be carried out: {faults}\n\nGive the whole plan again, corrected."
        ),
        None => "That is no plan. Give the plan as JSON, {\"tasks\":[…]}, and nothing else. \
                 Where the request leaves something open, choose what is usual and say so in \
                 the prompt of the task."
            .to_owned(),
    }
}

/// What a failed turn says of itself.
fn said_of(turn: &TurnResult) -> String {
    let mut said = one_line(&turn.text, 300);
    if said.is_empty() {
        said = one_line(&turn.errors.join("; "), 300);
    }
    if said.is_empty() {
        said = turn
            .terminal_reason
            .clone()
            .unwrap_or_else(|| turn.subtype.clone());
    }
    said
}

fn refusal(turn: &TurnResult) -> AnalyzerError {
    let said = said_of(turn);
    let login = matches!(turn.api_error_status, Some(401 | 403)) || said.contains("/login");
    if login {
        AnalyzerError::NotLoggedIn { said }
    } else {
        AnalyzerError::Refused { said }
    }
}

/// What an answer holds.
enum Found {
    Plan(Box<Parsed>),
    Faults(Faults),
    Nothing,
}

/// Looks for a plan: the whole text, else the last fenced block, else from the first brace to
/// the last.
/// The request is put into it as the person gave it.
fn plan_in(text: &str, request: &str, limits: &Limits) -> Found {
    let fenced = text.rsplit("```").nth(1).map(|block| {
        block
            .split_once('\n')
            .map_or(block, |(_language, rest)| rest)
    });
    let braced = text
        .find('{')
        .zip(text.rfind('}'))
        .and_then(|(from, to)| text.get(from..=to));
    let mut first_faults = None;
    for candidate in [Some(text), fenced, braced].into_iter().flatten() {
        let plan = match serde_json::from_str::<Value>(candidate) {
            Ok(Value::Object(mut plan)) => {
                plan.insert("request".into(), request.into());
                Value::Object(plan)
            }
            Ok(Value::Array(tasks)) => json!({ "request": request, "tasks": tasks }),
            _ => continue,
        };
        match plan_file::parse(plan.to_string().as_bytes(), limits) {
            Ok(parsed) => return Found::Plan(Box::new(parsed)),
            Err(faults) => first_faults = first_faults.or(Some(faults)),
        }
    }
    if let Some(faults) = first_faults {
        return Found::Faults(faults);
    }
    // Almost JSON (comments, say): a plan all the same, if without the request.
    match plan_file::parse(text.as_bytes(), limits) {
        Ok(parsed) => Found::Plan(Box::new(parsed)),
        Err(_) => Found::Nothing,
    }
}

/// The client's command line.
fn command(options: &AnalyzerOptions<'_>, session: Uuid) -> CommandSpec {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |parts: &[&str]| args.extend(parts.iter().map(OsString::from));
    add(&["-p", "--verbose"]);
    add(&["--input-format", "stream-json"]);
    add(&["--output-format", "stream-json"]);
    add(&["--session-id", &session.to_string()]);
    add(&["-n", "orchestra: analysis"]);
    // The person's own plugins stay out, or the analysis would conduct in its turn; servers
    // of tools would only take time to start.
    add(&["--setting-sources", "project", "--strict-mcp-config"]);
    add(&["--tools", TOOLS]);
    add(&["--json-schema", &schema().to_string()]);
    if let Some(text) = roles::role_text(ROLE) {
        add(&["--append-system-prompt", text]);
    }
    if let Some(model) = options.model {
        add(&["--model", model]);
    }
    if let Some(budget) = options.max_budget_usd {
        add(&["--max-budget-usd", &format!("{budget:.4}")]);
    }
    let mut env = options.env.for_instance();
    env.set(MARK_VARIABLE, options.marker.value());
    env.set("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1");
    env.set("DISABLE_AUTOUPDATER", "1");
    CommandSpec {
        program: options.program.to_owned(),
        args,
        env,
        cwd: options.cwd.to_owned(),
    }
}

/// The schema that the client is given: what a plan looks like, but lenient. The client gives
/// up after a few answers that do not fit its schema and says little about why; validation
/// says all faults at once, with remedies. The request is known already.
fn schema() -> Value {
    let mut schema = plan_file::analyzer_schema();
    if let Some(root) = schema.as_object_mut() {
        root.insert("required".into(), json!(["tasks"]));
        root.remove("additionalProperties");
    }
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        fields.remove("request");
    }
    if let Some(Value::Object(task)) = schema.pointer_mut("/properties/tasks/items") {
        task.insert("required".into(), json!(["name", "prompt"]));
        task.remove("additionalProperties");
    }
    if let Some(Value::Object(name)) = schema.pointer_mut("/properties/tasks/items/properties/name")
    {
        name.remove("pattern");
    }
    schema
}

/// The running client. Its whole tree ends when this is dropped.
struct Client {
    running: Option<RunningParts>,
    /// Messages for it; dropped to close its input.
    input: Option<mpsc::Sender<String>>,
    events: mpsc::Receiver<Heard>,
    deadline: Instant,
    timeout: Duration,
    tree: Tree,
    errors: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    /// Closed once standard error is read to its end.
    errors_end: mpsc::Receiver<()>,
    program: PathBuf,
}

struct RunningParts {
    child: std::process::Child,
    key: Option<tree::ProcessKey>,
}

enum Heard {
    Turn(Box<TurnResult>),
    End,
}

/// How much of the end of standard error is kept, bytes.
const ERROR_TAIL: usize = 4_000;

impl Client {
    fn start(options: &AnalyzerOptions<'_>, session: Uuid) -> Result<Self, AnalyzerError> {
        let spec = command(options, session);
        let Running {
            child,
            key,
            mut stdin,
            mut stdout,
            mut stderr,
        } = process::spawn(&spec)?;
        let (input, messages) = mpsc::channel::<String>();
        let (tell, events) = mpsc::channel();
        let (errors_open, errors_end) = mpsc::channel::<()>();
        let errors = std::sync::Arc::default();
        let client = Self {
            running: Some(RunningParts { child, key }),
            input: Some(input),
            events,
            deadline: Instant::now() + options.timeout,
            timeout: options.timeout,
            tree: Tree {
                roots: key.into_iter().collect(),
                marker: Some(options.marker.clone()),
                ..Tree::default()
            },
            errors: std::sync::Arc::clone(&errors),
            errors_end,
            program: spec.program,
        };
        // A pipe has no deadline, so each gets a thread; all end with the client.
        client.thread("analysis-in", move || {
            for message in messages {
                if stdin
                    .write_all(message.as_bytes())
                    .and_then(|()| stdin.flush())
                    .is_err()
                {
                    break;
                }
            }
        })?;
        client.thread("analysis-out", move || {
            let mut splitter = LineSplitter::new(MAX_LINE);
            let mut buffer = vec![0; 64 * 1024];
            let mut take = |line: &[u8]| {
                if let Some(Event::Result(turn)) = claude_stream::parse_line(line) {
                    let _ = tell.send(Heard::Turn(turn));
                }
            };
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                splitter.feed(buffer.get(..length).unwrap_or_default(), &mut take);
            }
            splitter.finish(&mut take);
            let _ = tell.send(Heard::End);
        })?;
        client.thread("analysis-err", move || {
            let _open = errors_open;
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut buffer) {
                let mut tail = lock(&errors);
                tail.extend_from_slice(buffer.get(..length).unwrap_or_default());
                let over = tail.len().saturating_sub(ERROR_TAIL);
                tail.drain(..over);
            }
        })?;
        Ok(client)
    }

    fn thread(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), SpawnError> {
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map(|_| ())
            .map_err(|source| SpawnError::Prepare {
                action: "start a thread",
                program: self.program.clone(),
                source,
            })
    }

    fn say(&self, text: &str) {
        if let Some(input) = &self.input {
            // A client that is gone is noticed at its output.
            let _ = input.send(user_message(text));
        }
    }

    fn turn(&mut self) -> Result<TurnResult, AnalyzerError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left) {
            Ok(Heard::Turn(turn)) => Ok(*turn),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(AnalyzerError::TimedOut(self.timeout)),
            Ok(Heard::End) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                let exit = self
                    .running
                    .take()
                    .and_then(|mut parts| parts.child.wait().ok())
                    .and_then(|status| status.code());
                // Its last words; a grandchild may keep the pipe open for longer.
                let _ = self.errors_end.recv_timeout(Duration::from_secs(1));
                let said = String::from_utf8_lossy(&lock(&self.errors)).into_owned();
                let said = one_line(said.trim(), 600);
                Err(if said.contains("/login") {
                    AnalyzerError::NotLoggedIn { said }
                } else {
                    AnalyzerError::Ended { exit, said }
                })
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.input = None;
        let managed: Vec<_> = self.running.iter().filter_map(|p| p.key).collect();
        tree::end(
            &self.tree,
            &EndPlan {
                managed: &managed,
                ..EndPlan::default()
            },
        );
        if let Some(mut parts) = self.running.take() {
            let _ = parts.child.wait();
        }
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::OrchestrationId;
    use std::os::unix::fs::PermissionsExt;

    /// A client that answers each message with the next line of `answers`.
    fn analyze_with(script: &str, timeout: Duration) -> Result<Analysis, AnalyzerError> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("claude");
        std::fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = AnalyzerOptions {
            program: &program,
            env: &Environment::from_vars([("PATH", "/usr/bin:/bin"), ("CLAUDECODE", "1")]),
            cwd: dir.path(),
            context: "At its top: src, docs.",
            model: Some("m"),
            max_budget_usd: Some(1.5),
            timeout,
            limits: &Limits::default(),
            marker: Marker::new(
                &Uuid::new_v4().to_string(),
                &OrchestrationId::parse("a").unwrap(),
                None,
            ),
        };
        // A test beside this one may hold the fresh script open for writing while it forks.
        for _ in 0..50 {
            match analyze("Build \"it\"", &options) {
                Err(AnalyzerError::Start(SpawnError::Start { source, .. }))
                    if source.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                result => return result,
            }
        }
        panic!("the script stays busy")
    }

    const LONG: Duration = Duration::from_secs(30);

    /// A shell line that prints a result.
    fn answer(text: &str, more: &str) -> String {
        let text = serde_json::to_string(text).unwrap();
        format!(
            "cat <<'END'\n{{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\
             \"result\":{text},\"total_cost_usd\":0.25{more}}}\nEND\n"
        )
    }

    const GOOD: &str = r#"{"tasks":[{"name":"a"},{"name":"b","dependencies":["a"]}]}"#;

    #[test]
    fn a_plan_is_taken_from_json_or_from_text() {
        for text in [
            GOOD.to_owned(),
            format!("Here it is:\n\n```json\n{GOOD}\n```\nDone."),
            format!("I think {GOOD} will do."),
        ] {
            let analysis =
                analyze_with(&format!("read line\n{}", answer(&text, "")), LONG).unwrap();
            assert_eq!(analysis.parsed.plan.len(), 2, "{text}");
            assert_eq!(analysis.parsed.plan.request(), Some("Build \"it\""));
            assert_eq!(analysis.cost_usd, Some(0.25));
            assert_eq!(analysis.corrections, 0);
        }
    }

    #[test]
    fn faults_go_back_and_the_corrected_plan_is_taken() {
        let bad = r#"{"tasks":[{"name":"a","dependencies":["nothing"]}]}"#;
        let script = format!(
            "read line\n{}read line\ncase \"$line\" in *nothing*) ;; *) exit 9;; esac\n{}",
            answer(bad, ""),
            answer(GOOD, "")
        );
        let analysis = analyze_with(&script, LONG).unwrap();
        assert_eq!(analysis.corrections, 1);
    }

    #[test]
    fn it_is_given_up_after_two_corrections() {
        let bad = answer(r#"{"tasks":[{"name":"../x"}]}"#, "");
        let script = format!("read a\n{bad}read a\n{bad}read a\n{bad}");
        let error = analyze_with(&script, LONG).unwrap_err();
        assert!(
            matches!(error, AnalyzerError::Invalid { corrections: 2, .. }),
            "{error}"
        );
        let text = answer("Which of the two?", "");
        let script = format!("read a\n{text}read a\n{text}read a\n{text}");
        let error = analyze_with(&script, LONG).unwrap_err();
        assert!(error.to_string().contains("Which of the two?"), "{error}");
    }

    #[test]
    fn every_other_end_is_a_typed_error() {
        let login = answer("Invalid API key", ",\"api_error_status\":401")
            .replace("\"is_error\":false", "\"is_error\":true");
        let overload = answer("Overloaded", ",\"api_error_status\":529")
            .replace("\"is_error\":false", "\"is_error\":true");
        for (script, said) in [
            (format!("read a\n{login}"), "not logged in"),
            (format!("read a\n{overload}"), "try again in a while"),
            ("echo 'Please run /login' >&2; exit 1".to_owned(), "log in"),
            ("echo boom >&2; exit 3".to_owned(), "exit code 3): boom"),
            (
                "read a; echo nonsense; echo '[1]'".to_owned(),
                "exit code 0",
            ),
        ] {
            let error = analyze_with(&script, LONG).unwrap_err().to_string();
            assert!(error.contains(said), "{script}: {error}");
        }
        let before = Instant::now();
        let error = analyze_with("sleep 100 & sleep 100", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, AnalyzerError::TimedOut(_)), "{error}");
        assert!(before.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_client_may_only_read_and_knows_no_outer_session() {
        let limits = Limits::default();
        let options = AnalyzerOptions {
            program: Path::new("claude"),
            env: &Environment::from_vars([("CLAUDECODE", "1"), ("HOME", "/h")]),
            cwd: Path::new("/r"),
            context: "",
            model: None,
            max_budget_usd: None,
            timeout: LONG,
            limits: &limits,
            marker: Marker::new("t", &OrchestrationId::parse("a").unwrap(), None),
        };
        let spec = command(&options, Uuid::nil());
        let args: Vec<String> = spec
            .args
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        let after = |flag: &str| {
            let at = args.iter().position(|a| a == flag).unwrap();
            args[at + 1].clone()
        };
        assert_eq!(after("--tools"), "Read,Grep,Glob");
        assert_eq!(after("--setting-sources"), "project");
        assert!(after("--append-system-prompt").starts_with("You split one request"));
        assert!(serde_json::from_str::<serde_json::Value>(&after("--json-schema")).is_ok());
        assert!(spec.env.get("CLAUDECODE").is_none());
        assert_eq!(spec.env.get(MARK_VARIABLE), Some("t/a".as_ref()));
    }
}
