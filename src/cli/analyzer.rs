//! Where a sentence becomes a plan. The deterministic part of the program only asks for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::run::find_claude;
use super::settings_flags::{SettingsFlags, resolved};
use crate::agent::analyzer::{AnalyzerError, AnalyzerOptions, analyze};
use crate::agent::environment::Environment;
use crate::agent::tree::Marker;
use crate::conduct::create;
use crate::conduct::planning::{self, Planning, PlanningError};
use crate::core::plan::Limits;
use crate::format::plan_file;
use crate::store::layout::RunDir;
use crate::store::run_log;

/// Longest time for the analysis of a request, all corrections included.
const TIMEOUT: Duration = Duration::from_mins(20);

/// What an analysis by the real client needs of configuration and surroundings.
pub(super) struct Prepared {
    program: PathBuf,
    env: Environment,
    model: Option<String>,
    limits: Limits,
}

/// Finds the client and reads the configuration.
///
/// # Errors
/// When Claude Code is not installed, or the configuration has faults.
pub(super) fn prepare(root: &Path, cx: &Context<'_>) -> Result<Prepared, Failure> {
    let config = resolved(&SettingsFlags::default(), Some(root), cx)?;
    Ok(Prepared {
        program: find_claude(&config.claude_program, cx)?,
        env: cx.environment(),
        model: config.model,
        limits: Limits::default(),
    })
}

/// The plan for a request that belongs to no orchestration yet.
///
/// # Errors
/// When no plan could be had.
pub(super) fn by_claude(
    root: &Path,
    request: &str,
    cx: &mut Context<'_>,
) -> Result<Vec<u8>, Failure> {
    let prepared = prepare(root, cx)?;
    cx.remark("Analysing the request …");
    let token = uuid::Uuid::new_v4().to_string();
    let analysis = analyze(
        request,
        &AnalyzerOptions {
            program: &prepared.program,
            env: &prepared.env,
            cwd: root,
            context: &planning::surroundings(root),
            model: prepared.model.as_deref(),
            max_budget_usd: None,
            timeout: TIMEOUT,
            limits: &prepared.limits,
            marker: Marker::new(&token, &create::new_id(cx.now()), None),
        },
    )
    .map_err(|error| failure(&error))?;
    if let Some(usd) = analysis.cost_usd {
        cx.remark(&format!("The analysis cost {usd:.2} USD."));
    }
    Ok(plan_file::write(&analysis.parsed.plan).into_bytes())
}

/// Makes the plan of a prepared orchestration, or waits for whoever makes it.
///
/// # Errors
/// When no plan could be had.
pub(super) fn in_workspace(
    root: &Path,
    run: &RunDir,
    begun: impl FnOnce(),
    cx: &mut Context<'_>,
) -> Result<(), Failure> {
    let prepared = prepare(root, cx).inspect_err(|failure| {
        let line = format!("analysis: failed: {}", failure.what);
        run_log::append(run, cx.now(), &[line]);
    })?;
    let how = Planning {
        main_checkout: root,
        program: &prepared.program,
        env: &prepared.env,
        model: prepared.model.as_deref(),
        max_budget_usd: None,
        timeout: TIMEOUT,
        limits: &prepared.limits,
    };
    match planning::obtain(run, &how, begun) {
        Ok(_) => Ok(()),
        Err(PlanningError::Analyzer(error)) => Err(failure(&error).in_path(run.dir())),
        Err(PlanningError::NoRequest { .. }) => Err(Failure::usage(
            "this orchestration holds neither a plan nor a request",
        )
        .in_path(run.dir())),
        Err(error) => Err(Failure::environment(error.to_string()).in_path(run.dir())),
    }
}

fn failure(error: &AnalyzerError) -> Failure {
    match error {
        AnalyzerError::Invalid { .. } | AnalyzerError::NoPlan { .. } => {
            Failure::new(Exit::PlanInvalid, error.to_string())
                .next("say it differently, or write the tasks yourself: `orchestra init`")
        }
        _ => Failure::environment(error.to_string()).next(
            "or write the tasks yourself: `orchestra init`, then `orchestra run --tasks FILE`",
        ),
    }
}
