//! `orchestra restore`

use std::path::PathBuf;

use serde_json::json;

use super::{Context, Exit, Failure};
use crate::conduct::restore::{Kept, RestoreError, Restored, find, list, restore};
use crate::format::SCHEMA_VERSION;
use crate::store::layout::Layout;
use crate::view::clock;
use crate::view::lines::short;
use crate::view::page::{cell, columns, fit, one_line, plural};

/// List the backups that there are, or bring one back as a new branch
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra restore\n  \
    orchestra restore user-auth\n  \
    orchestra restore 20261121-0913/user-auth/snapshot/1 --branch again\n  \
    orchestra restore user-auth --worktree ../again\n\n\
  Nothing that is there is changed: the work comes back on a branch of its own.")]
pub struct Args {
    /// The backup: a task's name, RUN/TASK[/KIND[/N]], or a ref [default: list all]
    #[arg(value_name = "BACKUP")]
    pub backup: Option<String>,
    /// Name of the new branch [default: restored/TASK]
    #[arg(long, value_name = "NAME", requires = "backup")]
    pub branch: Option<String>,
    /// Check it out in this new folder
    #[arg(long, value_name = "DIR", requires = "backup")]
    pub worktree: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let repo = cx.repository()?;
    let Some(name) = &args.backup else {
        let kept = list(&repo, &Layout::new(repo.root()))?;
        return show(args, &kept, cx);
    };
    let backup = find(&repo, name).map_err(failure)?;
    let worktree = args.worktree.as_ref().map(|dir| cx.cwd.join(dir));
    let restored =
        restore(&repo, backup, args.branch.as_deref(), worktree.as_deref()).map_err(failure)?;
    if args.json {
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "ref": restored.backup.name,
            "commit": restored.backup.oid.to_string(),
            "branch": restored.branch.to_string(),
            "worktree": restored.worktree,
        }))?;
    } else {
        cx.print(&told(&restored))?;
    }
    Ok(Exit::Success)
}

fn told(restored: &Restored) -> String {
    let branch = &restored.branch;
    let mut text = format!("{} is on the branch {branch} now\n", restored.backup.name);
    match &restored.worktree {
        Some(path) => text.push_str(&format!("next: cd {}\n", path.display())),
        None => text.push_str(&format!(
            "next: git log -p {branch}, git switch {branch}, or git merge {branch}\n"
        )),
    }
    if restored.is_snapshot() {
        text.push_str(
            "its last commit holds what was not committed; `git reset HEAD^` on it makes that so again\n",
        );
    }
    text
}

fn show(args: &Args, kept: &[Kept], cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let now = cx.now();
    if args.json {
        let rows: Vec<_> = kept
            .iter()
            .map(|k| {
                json!({
                    "name": k.short_name(),
                    "ref": k.backup.name,
                    "orchestrationId": k.backup.run.to_string(),
                    "task": k.backup.task.to_string(),
                    "kind": k.backup.kind.as_str(),
                    "number": k.backup.number,
                    "commit": k.backup.oid.to_string(),
                    "made": k.made.map(clock::rfc3339),
                    "ageSeconds": k.age(now).map(|age| age.0 / 1000),
                    "commits": k.commits,
                    "files": k.files,
                    "subject": k.subject,
                })
            })
            .collect();
        cx.print_json(&json!({ "schemaVersion": SCHEMA_VERSION, "backups": rows }))?;
        return Ok(Exit::Success);
    }
    if kept.is_empty() {
        cx.print("there is no backup in this repository\n")?;
        return Ok(Exit::Success);
    }
    let width = kept.iter().map(|k| columns(&k.short_name())).max();
    let width = width.unwrap_or(0).min(70);
    let mut text = String::new();
    for k in kept {
        let count =
            |n: Option<usize>, word| n.map_or_else(|| format!("? {word}s"), |n| plural(n, word));
        let line = format!(
            "{}  {}  {}, {}  {}",
            cell(&k.short_name(), width),
            cell(&k.age(now).map_or_else(|| "?".to_owned(), short), 7),
            count(k.commits, "commit"),
            count(k.files, "file"),
            one_line(&k.subject)
        );
        text.push_str(&fit(&line, cx.page.width.max(width + 40)));
        text.push('\n');
    }
    text.push_str(&cx.page.faint(
        "\nThe age is that of the commit; counted is what the base branch does not hold. \
         orchestra restore NAME brings one back as a branch.\n",
    ));
    cx.print(&text)?;
    Ok(Exit::Success)
}

fn failure(error: RestoreError) -> Failure {
    let what = error.to_string();
    match error {
        RestoreError::NoSuch { .. } => {
            Failure::usage(what).next("`orchestra restore` lists the backups that there are")
        }
        RestoreError::Ambiguous { candidates, .. } => {
            let mut failure = Failure::usage(what);
            for name in candidates.iter().take(20) {
                failure = failure.next(format!("orchestra restore {name}"));
            }
            failure
        }
        RestoreError::BadBranch { .. } => Failure::usage(what),
        RestoreError::Git(error) => error.into(),
    }
}
