//! Is it really done? Evidence as plain values, and the decision about it.
//!
//! An exit code or a sentence is no evidence. Evidence is: commits on the task's branch
//! since its base, nothing uncommitted, nothing under way, and the verify command green.

use std::fmt::Write as _;

use crate::core::id::{BranchName, Oid};

/// Most paths that are named in a message.
const NAMED_PATHS: usize = 20;

/// What git says about the worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GitEvidence {
    /// The branch that is checked out; none when `HEAD` is on no branch.
    pub(crate) branch: Option<BranchName>,
    /// The commit that is checked out.
    pub(crate) head: Option<Oid>,
    /// Whether `head` contains the base.
    pub(crate) contains_base: bool,
    /// Commits since the base.
    pub(crate) commits: usize,
    /// Changed and untracked paths, each once, in order. Ignored files are not among them.
    pub(crate) uncommitted: Vec<String>,
    /// A merge, rebase, … that was begun and not ended.
    pub(crate) operation: Option<String>,
}

/// What is asked of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The task's branch.
    pub(crate) branch: BranchName,
    /// The commit that it started from.
    pub(crate) base: Oid,
    /// Whether it may end without commits.
    pub(crate) may_end_without_commits: bool,
    /// The verify command, for the message.
    pub(crate) verify: Option<String>,
}

/// One thing that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lack {
    OffBranch { on: Option<BranchName> },
    BaseLost,
    Operation(String),
    NoCommits,
    Uncommitted(Vec<String>),
    Verify { ending: String, tail: String },
}

/// What git alone shows to be missing. When it is nothing, the verify command is worth
/// running.
pub(crate) fn lacks_in_git(rules: &Rules, git: &GitEvidence) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if git.branch.as_ref() != Some(&rules.branch) {
        lacks.push(Lack::OffBranch {
            on: git.branch.clone(),
        });
    } else if !git.contains_base {
        lacks.push(Lack::BaseLost);
    }
    if let Some(operation) = &git.operation {
        lacks.push(Lack::Operation(operation.clone()));
    }
    let on_branch = !matches!(lacks.first(), Some(Lack::OffBranch { .. }));
    if on_branch && git.contains_base && git.commits == 0 && !rules.may_end_without_commits {
        lacks.push(Lack::NoCommits);
    }
    if !git.uncommitted.is_empty() {
        lacks.push(Lack::Uncommitted(git.uncommitted.clone()));
    }
    lacks
}

/// What the instance is told: exactly what is missing, and what to do about each.
pub(crate) fn message(rules: &Rules, lacks: &[Lack]) -> String {
    let branch = &rules.branch;
    let mut text =
        String::from("Your work was checked, and it is not done yet. What is missing:\n");
    for lack in lacks {
        text.push_str("\n- ");
        let _ = match lack {
            Lack::OffBranch { on: Some(on) } => write!(
                text,
                "The branch {on} is checked out. Your work belongs on {branch}: bring your \
                 commits there and check {branch} out."
            ),
            Lack::OffBranch { on: None } => write!(
                text,
                "HEAD is on no branch. Your work belongs on {branch}: bring your commits there \
                 and check {branch} out."
            ),
            Lack::BaseLost => write!(
                text,
                "{branch} no longer contains the commit {} that it started from. Bring your \
                 commits back on top of it (for example `git rebase {}`).",
                rules.base.short(),
                rules.base
            ),
            Lack::Operation(operation) => write!(
                text,
                "A {operation} was begun and is not finished. Finish it or abort it."
            ),
            Lack::NoCommits => write!(
                text,
                "There is no commit on {branch} since {}. Do the task, then commit it. If you \
                 cannot, say why in one line that begins with `STUCK:`.",
                rules.base.short()
            ),
            Lack::Uncommitted(paths) => write!(
                text,
                "These files are changed or new and not committed: {}. Commit what belongs to \
                 the task; remove what you made by accident.",
                named(paths)
            ),
            Lack::Verify { ending, tail } => write!(
                text,
                "The verify command `{}` is not green ({ending}). The end of its output:\n\n\
                 ```\n{tail}\n```\n\n  Repair the cause and commit.",
                rules.verify.as_deref().unwrap_or_default()
            ),
        };
    }
    text.push_str("\n\nGo on until all of it is there, then end your turn.");
    text
}

/// The same for people, on one line.
pub(crate) fn detail(lacks: &[Lack]) -> String {
    let parts: Vec<String> = lacks
        .iter()
        .map(|lack| match lack {
            Lack::OffBranch { on: Some(on) } => format!("the branch {on} is checked out"),
            Lack::OffBranch { on: None } => "HEAD is on no branch".into(),
            Lack::BaseLost => "the branch no longer contains its base".into(),
            Lack::Operation(operation) => format!("a {operation} is not finished"),
            Lack::NoCommits => "there are no commits".into(),
            Lack::Uncommitted(paths) => format!("not committed: {}", named(paths)),
            Lack::Verify { ending, tail } => {
                let last = tail.lines().last().unwrap_or_default();
                format!("the verify command is not green ({ending}): {last}")
            }
        })
        .collect();
    parts.join("; ")
}

/// The same in a few words, for the log.
pub(crate) fn brief(lacks: &[Lack]) -> String {
    let parts: Vec<String> = lacks
        .iter()
        .map(|lack| match lack {
            Lack::OffBranch { on: Some(on) } => format!("on the branch {on}"),
            Lack::OffBranch { on: None } => "on no branch".into(),
            Lack::BaseLost => "its base is lost".into(),
            Lack::Operation(operation) => format!("a {operation} is not finished"),
            Lack::NoCommits => "no commits".into(),
            Lack::Uncommitted(paths) => match paths.len() {
                1 => "1 file not committed".into(),
                count => format!("{count} files not committed"),
            },
            Lack::Verify { ending, .. } => format!("the verify command is not green ({ending})"),
        })
        .collect();
    parts.join(", ")
}

fn named(paths: &[String]) -> String {
    let mut text = paths
        .iter()
        .take(NAMED_PATHS)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if paths.len() > NAMED_PATHS {
        let _ = write!(text, " and {} more", paths.len() - NAMED_PATHS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(name: &str) -> BranchName {
        BranchName::parse(name).unwrap()
    }

    fn oid(digit: char) -> Oid {
        Oid::parse(&digit.to_string().repeat(40)).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            branch: branch("task/a"),
            base: oid('b'),
            may_end_without_commits: false,
            verify: Some("make test".into()),
        }
    }

    fn good() -> GitEvidence {
        GitEvidence {
            branch: Some(branch("task/a")),
            head: Some(oid('c')),
            contains_base: true,
            commits: 2,
            uncommitted: Vec::new(),
            operation: None,
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(lacks_in_git(&rules(), &good()), []);
        type Change = fn(&mut GitEvidence);
        let cases: [(Change, Lack, &str, &str); 6] = [
            (
                |g| g.commits = 0,
                Lack::NoCommits,
                "no commit on task/a",
                "no commits",
            ),
            (
                |g| g.uncommitted = vec!["x.rs".into()],
                Lack::Uncommitted(vec!["x.rs".into()]),
                "not committed: x.rs",
                "1 file not committed",
            ),
            (
                |g| g.branch = Some(BranchName::parse("main").unwrap()),
                Lack::OffBranch {
                    on: Some(branch("main")),
                },
                "The branch main is checked out",
                "on the branch main",
            ),
            (
                |g| g.branch = None,
                Lack::OffBranch { on: None },
                "HEAD is on no branch",
                "on no branch",
            ),
            (
                |g| g.contains_base = false,
                Lack::BaseLost,
                "no longer contains",
                "its base is lost",
            ),
            (
                |g| g.operation = Some("rebase".into()),
                Lack::Operation("rebase".into()),
                "A rebase was begun",
                "a rebase is not finished",
            ),
        ];
        for (change, lack, words, few) in cases {
            let mut git = good();
            change(&mut git);
            let lacks = lacks_in_git(&rules(), &git);
            assert_eq!(lacks, [lack]);
            assert!(message(&rules(), &lacks).contains(words), "{words}");
            assert!(!detail(&lacks).is_empty());
            assert_eq!(brief(&lacks), few);
        }
    }

    #[test]
    fn an_investigation_may_end_without_commits_but_not_with_a_dirty_tree() {
        let mut rules = rules();
        rules.may_end_without_commits = true;
        let mut git = good();
        git.commits = 0;
        assert_eq!(lacks_in_git(&rules, &git), []);
        git.uncommitted.push("x".into());
        assert_eq!(lacks_in_git(&rules, &git).len(), 1);
    }

    #[test]
    fn a_red_verify_command_is_told_with_its_output() {
        let lacks = [Lack::Verify {
            ending: "exit code 2".into(),
            tail: "line\nassertion failed".into(),
        }];
        let told = message(&rules(), &lacks);
        for words in ["`make test`", "exit code 2", "assertion failed"] {
            assert!(told.contains(words), "{told}");
        }
        assert!(detail(&lacks).ends_with("assertion failed"));
    }

    #[test]
    fn many_paths_are_not_all_named() {
        let lacks = [Lack::Uncommitted(
            (0..50).map(|n| format!("f{n}")).collect(),
        )];
        assert!(detail(&lacks).ends_with("f19 and 30 more"));
        let more = [Lack::NoCommits, lacks[0].clone()];
        assert_eq!(brief(&more), "no commits, 50 files not committed");
    }
}
