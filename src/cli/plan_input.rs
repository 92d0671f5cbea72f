//! Where a plan comes from: a sentence, a task file, an issue.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use crate::core::doubt::Doubt;
use crate::core::id::OrchestrationId;
use crate::core::plan::{Limits, OverlapPolicy};
use crate::format::issue_file::IssueFile;
use crate::format::plan_file::{self, Parsed};
use crate::store::layout::Layout;
use crate::view::plan::{self as plan_view, Options};

/// The inputs that `plan` and `run` share.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
#[group(id = "plan_input", required = true, multiple = false, args = ["request", "request_file", "tasks", "issue", "orchestration"])]
#[command(next_help_heading = "Input (one of)")]
pub struct PlanInput {
    /// What you want, in a sentence
    #[arg(value_name = "REQUEST")]
    pub request: Option<String>,
    /// The sentence out of a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub request_file: Option<PathBuf>,
    /// A task file or a plan; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub tasks: Option<PathBuf>,
    /// A GitHub issue of this repository
    #[arg(long, value_name = "N")]
    pub issue: Option<u64>,
    /// The request or plan of an orchestration that was prepared and not started yet
    #[arg(long, value_name = "ID")]
    pub orchestration: Option<String>,
}

/// A plan that was read and found good, and what was asked for.
#[derive(Debug)]
pub struct Obtained {
    /// The plan and what is worth knowing about it.
    pub parsed: Parsed,
    /// What the person asked for: their sentence, or what the task file says of it.
    pub request: Option<String>,
    /// The orchestration that it was made for, when there is one.
    pub orchestration: Option<OrchestrationId>,
    /// What was doubtful already in what the plan was made of.
    pub doubts: Vec<Doubt>,
    /// The issue that it was made of.
    pub issue: Option<IssueFile>,
}

impl PlanInput {
    /// Reads or makes the plan, and validates it. `root` is the main checkout; the analyzer
    /// needs one.
    ///
    /// # Errors
    /// When the input cannot be read, no plan can be made of it, or the plan has faults.
    pub fn obtain(
        &self,
        cx: &mut Context<'_>,
        root: Option<&Path>,
        strict: bool,
        workers: usize,
    ) -> Result<Obtained, Failure> {
        if let Some(id) = &self.orchestration {
            return of_orchestration(repository(root)?, id, strict, workers, cx);
        }
        if let Some(number) = self.issue {
            return super::issue::obtain(repository(root)?, number, strict, workers, cx);
        }
        let mut asked = None;
        let bytes = if let Some(file) = &self.tasks {
            cx.read_input(file)?
        } else {
            let text = match (&self.request, &self.request_file) {
                (Some(text), _) => text.clone(),
                (None, Some(file)) => String::from_utf8(cx.read_input(file)?)
                    .map_err(|_| Failure::usage("the request is not UTF-8 text"))?,
                (None, None) => String::new(),
            };
            if text.trim().is_empty() {
                return Err(Failure::usage("the request is empty")
                    .next("say what you want: orchestra run \"Add user profiles\""));
            }
            let bytes = super::analyzer::by_claude(repository(root)?, &text, cx)?;
            asked = Some(text);
            bytes
        };
        let place = self.tasks.as_deref().filter(|file| *file != Path::new("-"));
        let parsed = validated(&bytes, place, strict, workers, cx)?;
        let request = asked.or_else(|| parsed.plan.request().map(str::to_owned));
        Ok(Obtained {
            parsed,
            request,
            orchestration: None,
            doubts: Vec::new(),
            issue: None,
        })
    }

    /// The plan out of JSON that was given on the command line.
    ///
    /// # Errors
    /// When it has faults.
    pub fn of_bytes(bytes: &[u8], cx: &Context<'_>) -> Result<Obtained, Failure> {
        let parsed = validated(bytes, None, false, 1, cx)?;
        Ok(Obtained {
            request: parsed.plan.request().map(str::to_owned),
            parsed,
            orchestration: None,
            doubts: Vec::new(),
            issue: None,
        })
    }
}

/// Reads and validates a plan; every fault at once is the failure.
pub(super) fn validated(
    bytes: &[u8],
    place: Option<&Path>,
    strict: bool,
    workers: usize,
    cx: &Context<'_>,
) -> Result<Parsed, Failure> {
    let limits = Limits {
        overlap: if strict {
            OverlapPolicy::Refuse
        } else {
            OverlapPolicy::Sequence
        },
        ..Limits::default()
    };
    plan_file::parse(bytes, &limits).map_err(|faults| {
        let options = Options {
            color: cx.err_page.color,
            width: cx.err_page.width,
            workers,
        };
        let text = plan_view::render_faults(&faults, &options);
        let failure = Failure::new(Exit::PlanInvalid, text);
        match place {
            Some(file) => failure.in_path(file),
            None => failure,
        }
        .next("`orchestra schema plan` describes the format, `orchestra init` writes a sample")
    })
}

/// The plan of a prepared orchestration, made now if it is not there yet.
fn of_orchestration(
    root: &Path,
    id: &str,
    strict: bool,
    workers: usize,
    cx: &mut Context<'_>,
) -> Result<Obtained, Failure> {
    let id = OrchestrationId::parse(id).map_err(|why| {
        Failure::usage(format!("{id:?} is not the id of an orchestration: {why}"))
    })?;
    let run = Layout::new(root).run(&id);
    if !run.dir().is_dir() {
        return Err(
            Failure::usage(format!("there is no orchestration {id} here"))
                .in_path(run.dir())
                .next("`orchestra list` shows those that there are"),
        );
    }
    if !run.plan().exists() {
        super::analyzer::in_workspace(root, &run, || {}, cx)?;
    }
    let path = run.plan();
    let bytes = cx.read_input(&path)?;
    let parsed = validated(&bytes, Some(&path), strict, workers, cx)?;
    let request = std::fs::read_to_string(run.request())
        .ok()
        .or_else(|| parsed.plan.request().map(str::to_owned));
    Ok(Obtained {
        parsed,
        request,
        orchestration: Some(id),
        doubts: Vec::new(),
        issue: None,
    })
}

fn repository(root: Option<&Path>) -> Result<&Path, Failure> {
    root.ok_or_else(|| Failure::environment("a request can only be planned inside a repository"))
}
