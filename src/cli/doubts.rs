//! What is doubtful about a plan is said, and where somebody is there to answer, they are asked
//! before it starts.
//!
//! | who started it | with doubts that ask |
//! |---|---|
//! | a person in a terminal | is asked; anything but yes starts nothing |
//! | a session of Claude Code with somebody in front of it | refused until `--yes`: the session asks |
//! | a script, a pipe, `claude -p` | goes on, and says so; `--strict` refuses |
//!
//! `--yes` goes on everywhere.

use super::exit::Exit;
use super::merge::{answer, can_ask};
use super::plan_input::Obtained;
use super::{Context, Failure};
use crate::core::doubt::{self, Doubt, Surroundings};
use crate::core::history::Learned;
use crate::format::config::Resolved;
use crate::git::Repo;

/// All doubts about a plan that was just read. Without a repository nothing is known of one.
pub(super) fn about(
    repo: Option<&Repo>,
    obtained: &Obtained,
    config: &Resolved,
    learned: &Learned,
) -> Vec<Doubt> {
    let uncommitted = repo
        .and_then(|repo| repo.status(repo.root()).ok())
        .map_or(0, |status| {
            status.staged.len() + status.modified.len() + status.conflicted.len()
        });
    let around = Surroundings {
        verified: config.verify.is_some() || repo.is_none(),
        uncommitted,
        budget_usd: config.budgets.run_usd,
    };
    let mut all = obtained.doubts.clone();
    all.extend(doubt::doubts(&obtained.parsed.plan, learned, &around));
    all
}

/// Who is there to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A person at this terminal.
    Terminal,
    /// A person in the session of Claude Code that runs this command.
    Session,
    Nobody,
}

fn asker(cx: &Context<'_>) -> Asker {
    if can_ask(cx) {
        Asker::Terminal
    } else if is_attended(cx) {
        Asker::Session
    } else {
        Asker::Nobody
    }
}

/// Whether this is a command of a session in front of which somebody sits.
pub(super) fn is_attended(cx: &Context<'_>) -> bool {
    cx.env.get("CLAUDECODE").is_some() && cx.env.get("CLAUDE_CODE_SESSION_ATTENDED") == Some("1")
}

/// Lets a run begin, or not.
///
/// - `again`: the command that goes on, for whoever has to be asked elsewhere.
///
/// # Errors
/// When somebody has to agree first, or did not.
pub(super) fn settle(
    doubts: &[Doubt],
    yes: bool,
    strict: bool,
    again: &str,
    cx: &mut Context<'_>,
) -> Result<(), Failure> {
    let asking = doubts.iter().filter(|doubt| doubt.asks).count();
    if asking == 0 || yes {
        return Ok(());
    }
    let what = if asking == 1 {
        "one thing about this plan is doubtful".to_owned()
    } else {
        format!("{asking} things about this plan are doubtful")
    };
    match asker(cx) {
        Asker::Terminal => {
            let said = answer("Go on? [y/N] ", cx)?;
            let agreed =
                said.is_some_and(|said| matches!(said.to_ascii_lowercase().as_str(), "y" | "yes"));
            if agreed {
                return Ok(());
            }
            Err(Failure::new(Exit::NotConfirmed, "nothing was started")
                .next(format!("`{again}` starts it without asking")))
        }
        Asker::Session => Err(Failure::new(
            Exit::NotConfirmed,
            format!("{what}: nothing was started"),
        )
        .next("tell the person what is doubtful, and ask whether to go on")
        .next(format!("when they have said yes: {again}"))),
        Asker::Nobody if strict => Err(Failure::new(
            Exit::NotConfirmed,
            format!("{what}, and --strict does not go on without being told to"),
        )
        .next(format!("`{again}` goes on all the same"))),
        Asker::Nobody => {
            cx.remark(&format!(
                "{what}; nobody is there to be asked, so it goes on (--strict refuses):"
            ));
            for doubt in doubts.iter().filter(|doubt| doubt.asks) {
                cx.remark(&format!("  {}", doubt.text));
            }
            Ok(())
        }
    }
}
