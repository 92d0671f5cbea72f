//! `orchestra doctor`: is everything there that a run needs, and what did earlier ones leave?
//!
//! | file | what |
//! |---|---|
//! | `base` | git, repository, configuration, Claude Code, disk |
//! | `installation` | the plugin and the status line in Claude Code |
//! | `finding` | what is found, and how it is mended |
//! | `runs` | runs without conductor or keeper, damaged ones, what ended ones left |
//! | `processes` | processes of instances that nobody owns any more |
//! | `trees` | worktrees, folders, branches and names of runs that are gone |
//! | `locks` | lock files that a killed git left |
//! | `groups` | control groups of supervisors that were killed |
//! | `files` | files of the runs' folders: set aside, half written, open to others |

mod base;
mod files;
mod finding;
mod groups;
mod installation;
mod locks;
mod processes;
mod runs;
mod trees;

use serde::Serialize;

use super::{Context, Exit, Failure};
use crate::format::SCHEMA_VERSION;
use crate::view::page::{Page, Tone, fit, one_line, plural};
use finding::{Finding, Scene};

/// Check git, Claude Code, disk, locks and leftovers, and say what to do; --fix does it
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra doctor\n  \
    orchestra doctor --fix\n  \
    orchestra doctor --json | jq '.checks[] | select(.state != \"good\")'\n\n\
  --fix mends what can be mended without losing anything: work is in a backup ref before it\n  \
  goes (`orchestra restore` lists them), and live runs are left alone. It asks nothing, says\n  \
  what it did, and finds nothing to mend when it is called again.\n\n\
  Exits with 4 when something stops a run from working, and with 7 when something could not be\n  \
  mended; warnings do not count.")]
pub struct Args {
    /// Mend what can safely be mended
    #[arg(long)]
    fix: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Warning,
    Bad,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    name: &'static str,
    state: State,
    /// What was found, and where.
    what: String,
    /// Why it matters; none when it is good.
    why: Option<String>,
    /// What a person can do about it.
    remedy: Option<String>,
    /// Whether `--fix` mends it.
    mendable: bool,
    /// What `--fix` did about it.
    mended: Option<String>,
    /// Why `--fix` could not mend it.
    failed: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Diagnosis {
    schema_version: u32,
    usable: bool,
    checks: Vec<Check>,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn good(&mut self, name: &'static str, what: impl Into<String>) {
        self.add(name, State::Good, what.into(), None);
    }

    fn warn(&mut self, name: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(name, State::Warning, what.into(), Some(remedy.into()));
    }

    fn bad(&mut self, name: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(name, State::Bad, what.into(), Some(remedy.into()));
    }

    fn add(&mut self, name: &'static str, state: State, what: String, remedy: Option<String>) {
        self.0.push(Check {
            name,
            state,
            what,
            why: None,
            remedy,
            mendable: false,
            mended: None,
            failed: None,
        });
    }

    /// A finding, mended if that is wanted and can be.
    fn take(&mut self, finding: Finding, fix: bool) {
        let mut check = Check {
            name: finding.name,
            state: State::Warning,
            what: finding.what,
            why: Some(finding.why),
            remedy: Some(finding.remedy),
            mendable: finding.mend.is_some(),
            mended: None,
            failed: None,
        };
        if let (Some(mend), true) = (finding.mend, fix) {
            match mend() {
                Ok(done) => {
                    check.state = State::Good;
                    check.mended = Some(done);
                }
                Err(why) => check.failed = Some(why),
            }
        }
        self.0.push(check);
    }
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let mut checks = Checks::default();
    base::git(&mut checks);
    let repo = base::repository(&mut checks, cx);
    installation::find(&mut checks, cx);
    let worktrees = base::configuration(&mut checks, repo.as_ref(), cx);
    if let Some(folder) = worktrees {
        base::disk(&mut checks, &folder);
    }
    if let Some(repo) = repo {
        let scene = Scene::look(repo, cx)?;
        // In this order: what nobody owns goes before a conductor may bring new ones.
        for find in [
            processes::find,
            locks::find,
            files::find,
            groups::find,
            trees::find,
            runs::find,
        ] {
            for finding in find(&scene) {
                checks.take(finding, args.fix);
            }
        }
        runs::count(&mut checks, &scene);
        if let Some(line) = super::history::in_a_line(&scene.layout) {
            checks.good("history", line);
        }
    }
    let usable = checks.0.iter().all(|c| c.state != State::Bad);
    let exit = if !usable {
        Exit::Environment
    } else if checks.0.iter().any(|c| c.failed.is_some()) {
        Exit::Internal
    } else {
        Exit::Success
    };
    if args.json {
        cx.print_json(&Diagnosis {
            schema_version: SCHEMA_VERSION,
            usable,
            checks: checks.0,
        })?;
    } else {
        let text = render(&checks.0, &cx.page);
        cx.print(&text)?;
    }
    Ok(exit)
}

fn render(checks: &[Check], page: &Page) -> String {
    let mut text = String::new();
    for check in checks {
        let (mark, tone) = match check.state {
            State::Good => ("[+]", Tone::Good),
            State::Warning => ("[!]", Tone::Warn),
            State::Bad => ("[x]", Tone::Bad),
        };
        let what = match check.state {
            State::Good => fit(&one_line(&check.what), page.width.saturating_sub(18)),
            // What is to be mended is told in full, with its place.
            _ => one_line(&check.what),
        };
        text.push_str(&format!(
            "{} {} {what}\n",
            page.paint(tone, mark),
            page.strong(&format!("{:<13}", check.name))
        ));
        let mut below = |mark: &str, line: &str| {
            text.push_str(&format!("{:18}{mark} {}\n", "", one_line(line)));
        };
        match (&check.mended, &check.failed) {
            (Some(done), _) => below("=>", done),
            (None, Some(why)) => below("=>", &format!("could not be mended: {why}")),
            (None, None) => {}
        }
        if check.mended.is_none() {
            if let Some(why) = &check.why {
                below("  ", why);
            }
            if let Some(remedy) = &check.remedy {
                below("->", remedy);
            }
        }
    }
    let count = |state| checks.iter().filter(|c| c.state == state).count();
    text.push_str(&format!(
        "\n{}, {}",
        plural(count(State::Bad), "problem"),
        plural(count(State::Warning), "warning")
    ));
    let mended = checks.iter().filter(|c| c.mended.is_some()).count();
    let mendable = |c: &&Check| c.mendable && c.mended.is_none() && c.failed.is_none();
    let mendable = checks.iter().filter(mendable).count();
    if mended > 0 {
        text.push_str(&format!(", {mended} mended"));
    }
    if mendable > 0 {
        text.push_str(&format!("; `orchestra doctor --fix` mends {mendable}"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_comes_with_a_remedy() {
        let mut checks = Checks::default();
        checks.good("git", "2.47.3");
        checks.warn("verify", "no command proves the results", "set one");
        checks.bad("claude", "Claude Code was not found", "install it");
        insta::assert_snapshot!(render(&checks.0, &Page::new(80, false)), @r"
        [+] git           2.47.3
        [!] verify        no command proves the results
                          -> set one
        [x] claude        Claude Code was not found
                          -> install it

        1 problem, 1 warning
        ");
    }

    #[test]
    fn what_was_mended_is_told_and_what_could_not_be_too() {
        let found = |what: &str, mend: Option<Result<String, String>>| Finding {
            name: "git lock",
            what: what.into(),
            why: "git waits for it".into(),
            remedy: "rm x".into(),
            mend: mend.map(|done| Box::new(move || done) as finding::Mend),
        };
        let all = || {
            [
                found("one", Some(Ok("removed it".into()))),
                found("two", Some(Err("no permission".into()))),
                found("three", None),
            ]
        };
        let mut checks = Checks::default();
        for finding in all() {
            checks.take(finding, true);
        }
        insta::assert_snapshot!(render(&checks.0, &Page::new(80, false)), @r"
        [+] git lock      one
                          => removed it
        [!] git lock      two
                          => could not be mended: no permission
                             git waits for it
                          -> rm x
        [!] git lock      three
                             git waits for it
                          -> rm x

        0 problems, 2 warnings, 1 mended
        ");
        let mut checks = Checks::default();
        for finding in all() {
            checks.take(finding, false);
        }
        let text = render(&checks.0, &Page::new(80, false));
        assert!(
            text.ends_with("3 warnings; `orchestra doctor --fix` mends 2\n"),
            "{text}"
        );
    }
}
