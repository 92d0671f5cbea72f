//! `orchestra demo`

use std::fs;
use std::path::PathBuf;

use super::plan_input::Obtained;
use super::run::{Preparation, begin, prepare, watch};
use super::settings_flags::{SettingsFlags, resolved};
use super::{Context, Exit, Failure};
use crate::core::plan::Limits;
use crate::format::config::AgentKind;
use crate::format::plan_file;
use crate::git::{GitError, Repo};

const PLAN: &str = include_str!("plan.json");
const SCRIPT: &str = include_str!("script.json");

/// The sample project: a shop with a wrong total, and a way to test it.
const PROJECT: &[(&str, &str)] = &[
    ("README.md", include_str!("project/README.md")),
    ("shop.sh", include_str!("project/shop.sh")),
    ("lib/total.sh", include_str!("project/total.sh")),
    ("tests/run.sh", include_str!("project/tests/run.sh")),
];

/// Show the whole job in a scratch repository, without login or network
///
/// A sample project gets three tasks: two at once, and one that builds on both. The instances
/// are played by a built-in agent; everything else (plan, worktrees, supervision, merge,
/// verification, delivery, tidying up) is what happens with Claude Code.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestra demo\n  orchestra demo --keep /tmp/look-at-it")]
pub struct Args {
    /// Make the scratch repository here, in an empty folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let folder = match &args.keep {
        Some(folder) => cx.cwd.join(folder),
        // It stays: looking at what came out is the point of a demonstration.
        None => tempfile::Builder::new()
            .prefix("orchestra-demo-")
            .tempdir()
            .map_err(|e| Failure::internal(format!("no scratch folder can be made: {e}")))?
            .keep(),
    };
    let shop = folder.join("shop");
    let repo = Repo::create(&shop, PROJECT, "A tiny shop").map_err(|error| match error {
        GitError::PathOccupied { .. } => {
            Failure::usage(error.to_string()).next("give an empty or new folder with --keep DIR")
        }
        other => Failure::from(other),
    })?;
    let script = folder.join("script.json");
    fs::write(&script, SCRIPT)
        .map_err(|e| Failure::internal(format!("cannot write the script: {e}")).in_path(&script))?;
    cx.repo = Some(shop.clone());
    cx.print(&format!(
        "A sample project is in {}. Request: \"Implement user auth, fix payment bugs, update docs\"\n\n",
        shop.display()
    ))?;
    let flags = SettingsFlags {
        verify: Some("sh tests/run.sh".into()),
        agent: Some(crate::format::config::AgentKind::Scripted),
        ..SettingsFlags::default()
    };
    let mut config = resolved(&flags, Some(repo.root()), cx)?;
    config.agent = AgentKind::Scripted;
    let parsed = plan_file::parse(PLAN.as_bytes(), &Limits::default())
        .map_err(|faults| Failure::internal(faults.to_string()))?;
    let obtained = Obtained {
        doubts: Vec::new(),
        issue: None,
        request: parsed.plan.request().map(str::to_owned),
        parsed,
        orchestration: None,
    };
    let settings = prepare(&Preparation {
        repo: &repo,
        start: &shop,
        plan: &obtained.parsed.plan,
        config: &config,
        base_branch: None,
        script: Some(script),
        id: None,
        cx,
    })?;
    let run = begin(&repo, &obtained, &settings)?;
    let exit = watch(&run, false, cx)?;
    if exit != Exit::Success {
        return Ok(exit);
    }
    cx.print(&closing(&shop))?;
    Ok(exit)
}

fn closing(shop: &std::path::Path) -> String {
    let shop = shop.display();
    format!(
        "\nLook at what was delivered:\n  \
           git -C {shop} log --graph --oneline\n  \
           {shop}/shop.sh total 250 3\n\n\
         The same with Claude Code, in a repository of yours:\n  \
           in a terminal:       orchestra run \"Implement user auth, fix payment bugs, update docs\"\n  \
           inside Claude Code:  /parallel-dev \"Implement user auth, fix payment bugs, update docs\"\n"
    )
}
