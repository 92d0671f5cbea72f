//! `orchestra worktree`

use std::ffi::OsString;

use serde::Serialize;

use super::plan_input::{Obtained, PlanInput};
use super::run::{Preparation, begin, prepare};
use super::settings_flags::{SettingsFlags, resolved};
use super::{Context, Exit, Failure, conductor};
use crate::conduct;
use crate::format::SCHEMA_VERSION;

/// Make and configure the worktrees of a plan; all of them or none
///
/// Prints their paths, branches and status as JSON. No instance is started: the run stands
/// paused, `orchestra control resume --orchestration ID` lets it begin, and `orchestra cleanup
/// all --orchestration ID` takes everything away again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra worktree --plan plan.json\n  \
    orchestra worktree --plan '{\"tasks\":[{\"name\":\"api\"},{\"name\":\"docs\"}]}'\n  \
    orchestra worktree --plan - --worktree-dir ../trees < plan.json")]
pub struct Args {
    /// The plan: JSON, a file, or `-` for standard input
    #[arg(long, value_name = "JSON")]
    pub plan: OsString,
    /// What is set for this run.
    #[command(flatten)]
    pub settings: SettingsFlags,
    /// Branch that they start from [default: the present one]
    #[arg(long, value_name = "BRANCH")]
    pub base_branch: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    schema_version: u32,
    orchestration_id: &'a str,
    base_branch: &'a str,
    base_commit: &'a str,
    worktrees: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    task: String,
    path: String,
    branch: String,
    base: String,
    status: &'static str,
    /// Tasks whose results it will be brought up to before its instance starts.
    waits_for: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let repo = cx.repository()?;
    let config = resolved(&args.settings, Some(repo.root()), cx)?;
    let obtained = obtain(args, cx, &repo)?;
    let start = cx.start();
    let settings = prepare(&Preparation {
        repo: &repo,
        start: &start,
        plan: &obtained.parsed.plan,
        config: &config,
        base_branch: args.base_branch.as_deref(),
        script: None,
        id: None,
        cx,
    })?;
    let run = begin(&repo, &obtained, &settings)?;
    let (context, _) = conductor::load(&run, cx)?;
    let places = conduct::make_all(&context).map_err(|error| {
        Failure::environment(format!("the worktrees were not made: {error}"))
            .next("nothing of them is left; mend the cause and try again")
    })?;
    let worktrees = places
        .iter()
        .map(|(ix, place)| Row {
            task: context.plan.name(*ix).to_string(),
            path: place.worktree.display().to_string(),
            branch: place.branch.to_string(),
            base: place.base.to_string(),
            status: "created",
            waits_for: context
                .plan
                .deps(*ix)
                .iter()
                .map(|dep| context.plan.name(*dep).to_string())
                .collect(),
        })
        .collect();
    cx.print_json(&Made {
        schema_version: SCHEMA_VERSION,
        orchestration_id: run.id().as_str(),
        base_branch: settings.base_branch.as_str(),
        base_commit: settings.base_commit.as_str(),
        worktrees,
    })?;
    Ok(Exit::Success)
}

fn obtain(args: &Args, cx: &mut Context<'_>, repo: &crate::git::Repo) -> Result<Obtained, Failure> {
    let text = args.plan.to_string_lossy();
    if text.trim_start().starts_with(['{', '[']) {
        return PlanInput::of_bytes(text.as_bytes(), cx);
    }
    let input = PlanInput {
        tasks: Some(args.plan.clone().into()),
        ..PlanInput::default()
    };
    input.obtain(cx, Some(repo.root()), false, 1)
}
