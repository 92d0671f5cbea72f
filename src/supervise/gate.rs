//! Is it really done? Evidence as plain values, and the decision about it.
//!
//! An exit code or a sentence is no evidence. Evidence is: commits on the task's branch
//! since its base, nothing uncommitted, nothing under way, and the verify command green.

use std::fmt::Write as _;

use super::merging::LineAt;
use crate::core::id::{BranchName, Oid};
use crate::format::launch_file::Merging;

/// Most paths that are named in a message.
const NAMED_PATHS: usize = 20;

/// Most characters of a line that are shown.
const NAMED_CHARACTERS: usize = 100;

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
    /// What became of the merge, when one was to be brought to its end.
    pub(crate) merge: Option<MergeEvidence>,
}

/// What git says of a merge that was to be brought to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MergeEvidence {
    /// Whether `head` contains the commit that was to be merged.
    pub(crate) contains_theirs: bool,
    /// Markers that are left, by path.
    pub(crate) markers: Vec<(String, Vec<LineAt>)>,
    /// Paths that differ from what git merged and were not in conflict.
    pub(crate) elsewhere: Vec<String>,
    /// Lines outside of the places in conflict that are not as git merged them, by path.
    pub(crate) strayed: Vec<(String, LineAt)>,
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
    /// The merge that is to be brought to its end.
    pub(crate) merging: Option<Merging>,
}

/// One thing that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lack {
    OffBranch {
        on: Option<BranchName>,
    },
    BaseLost,
    Operation(String),
    NoCommits,
    Uncommitted(Vec<String>),
    Verify {
        ending: String,
        tail: String,
    },
    /// The merge is under way still.
    MergeOpen,
    /// What was to be merged is not contained.
    NotMerged,
    Markers {
        path: String,
        lines: Vec<LineAt>,
    },
    Elsewhere(Vec<String>),
    Strayed {
        path: String,
        line: LineAt,
    },
}

/// The command that is evidence when the set-up command failed before the instance began: the
/// set-up once more, then the verify command. None when there is no verify command.
pub(crate) fn set_up_and_verify(setup: Option<&str>, verify: &Option<String>) -> Option<String> {
    match (setup, verify) {
        // On lines of their own, as either may end with a comment.
        (Some(setup), Some(verify)) => Some(format!("{{\n{setup}\n}} && {{\n{verify}\n}}")),
        _ => verify.clone(),
    }
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
    let on_branch = !matches!(lacks.first(), Some(Lack::OffBranch { .. }));
    if let (Some(_), Some(merge)) = (&rules.merging, &git.merge) {
        let open = git.operation.as_deref() == Some("merge");
        if open {
            // All else follows from it.
            lacks.push(Lack::MergeOpen);
            return lacks;
        }
        lacks.extend(lacks_in_merge(merge, on_branch && git.contains_base));
    }
    if let Some(operation) = &git.operation {
        lacks.push(Lack::Operation(operation.clone()));
    }
    let may_end = rules.may_end_without_commits || rules.merging.is_some();
    if on_branch && git.contains_base && git.commits == 0 && !may_end {
        lacks.push(Lack::NoCommits);
    }
    if !git.uncommitted.is_empty() {
        lacks.push(Lack::Uncommitted(git.uncommitted.clone()));
    }
    lacks
}

/// What is missing of a merge that is not under way any more.
fn lacks_in_merge(merge: &MergeEvidence, on_branch: bool) -> Vec<Lack> {
    if !merge.contains_theirs {
        return on_branch.then_some(Lack::NotMerged).into_iter().collect();
    }
    let markers = merge.markers.iter().map(|(path, lines)| Lack::Markers {
        path: path.clone(),
        lines: lines.clone(),
    });
    let mut lacks: Vec<Lack> = markers.collect();
    if !merge.elsewhere.is_empty() {
        lacks.push(Lack::Elsewhere(merge.elsewhere.clone()));
    }
    // Markers that are left are outside of nothing.
    let open = |path: &String| merge.markers.iter().any(|(marked, _)| marked == path);
    let strayed = merge.strayed.iter().filter(|(path, _)| !open(path));
    lacks.extend(strayed.map(|(path, line)| Lack::Strayed {
        path: path.clone(),
        line: line.clone(),
    }));
    lacks
}

/// What the instance is told: exactly what is missing, and what to do about each.
pub(crate) fn message(rules: &Rules, lacks: &[Lack]) -> String {
    let branch = &rules.branch;
    let merging = rules.merging.as_ref();
    let theirs = merging.map_or("", |merging| merging.theirs.as_str());
    let tree = merging.map_or("", |merging| merging.tree.as_str());
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
            Lack::BaseLost if merging.is_some() => write!(
                text,
                "{branch} no longer contains the commit {} that it started from. Do not rebase, \
                 that would take the merge apart: keep the resolved files, go back with `git \
                 reset --hard {}`, begin the merge again with `git merge --no-commit --no-ff \
                 {theirs}`, put the resolved files in place, `git add`, then `git commit \
                 --no-edit`.",
                rules.base.short(),
                rules.base
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
            Lack::MergeOpen => write!(
                text,
                "The merge is still under way. Resolve what `git status` shows as unmerged, \
                 `git add` it, then `git commit --no-edit`. If you cannot, say why in one line \
                 that begins with `STUCK:`."
            ),
            Lack::NotMerged => write!(
                text,
                "{branch} does not contain the commit {theirs} that was to be merged. Begin the \
                 merge again with `git merge --no-commit --no-ff {theirs}`, resolve the \
                 conflict, `git add`, then `git commit --no-edit`."
            ),
            Lack::Markers { path, lines } => write!(
                text,
                "Conflict markers are left in {path}: {}. Decide each of these places, remove \
                 the markers and commit.",
                numbered(lines)
            ),
            Lack::Elsewhere(paths) => write!(
                text,
                "These files were not in conflict, and they differ from what git merged: {}. \
                 Bring them back (`git checkout {tree} -- FILE`; remove one that is new) and \
                 commit. If the resolution needs more than the places in conflict, say so in one \
                 line that begins with `STUCK:`.",
                named(paths)
            ),
            Lack::Strayed { path, line } => write!(
                text,
                "{path} was changed outside of the places in conflict: the line `{}` (line {} of \
                 `git show {tree}:{path}`, which is the file as git merged it) is not there \
                 unchanged, or something was added before or after it. Bring all that is not \
                 between markers there back as it was and commit.",
                clip(&line.text),
                line.number
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
            Lack::MergeOpen => "the merge is still under way".into(),
            Lack::NotMerged => "the result that was to be merged is not contained".into(),
            Lack::Markers { path, lines } => {
                format!("conflict markers are left in {path}: {}", numbered(lines))
            }
            Lack::Elsewhere(paths) => {
                format!("changed without having been in conflict: {}", named(paths))
            }
            Lack::Strayed { path, line } => format!(
                "{path} was changed outside of the conflict, at `{}`",
                clip(&line.text)
            ),
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
            Lack::MergeOpen => "the merge is still under way".into(),
            Lack::NotMerged => "not merged".into(),
            Lack::Markers { path, .. } => format!("conflict markers in {path}"),
            Lack::Elsewhere(paths) => match paths.len() {
                1 => "1 file changed that was not in conflict".into(),
                count => format!("{count} files changed that were not in conflict"),
            },
            Lack::Strayed { path, .. } => format!("{path} changed outside of the conflict"),
        })
        .collect();
    parts.join(", ")
}

fn numbered(lines: &[LineAt]) -> String {
    let parts: Vec<String> = lines
        .iter()
        .map(|line| format!("line {} `{}`", line.number, clip(&line.text)))
        .collect();
    parts.join(", ")
}

/// A line, as far as it is worth showing.
fn clip(line: &str) -> String {
    let mut text: String = line.chars().take(NAMED_CHARACTERS).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    text
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
            merging: None,
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
            merge: None,
        }
    }

    /// Of a resolver that did all that it was to do.
    fn merged() -> (Rules, GitEvidence) {
        let mut rules = rules();
        rules.merging = Some(Merging {
            theirs: oid('d'),
            tree: oid('e'),
            files: vec!["f".into()],
            generated: Vec::new(),
            moves: false,
        });
        let mut git = good();
        git.merge = Some(MergeEvidence {
            contains_theirs: true,
            ..MergeEvidence::default()
        });
        (rules, git)
    }

    #[test]
    fn a_merge_is_done_when_it_is_whole_and_touched_nothing_else() {
        let (rules, git) = merged();
        assert_eq!(lacks_in_git(&rules, &git), []);
        let line = |text: &str| LineAt {
            number: 3,
            text: text.into(),
        };
        type Change = Box<dyn Fn(&mut GitEvidence, &mut MergeEvidence)>;
        let cases: Vec<(Change, Lack, &str, &str)> = vec![
            (
                Box::new(|g, m| {
                    g.operation = Some("merge".into());
                    g.uncommitted = vec!["f".into()];
                    g.commits = 0;
                    m.contains_theirs = false;
                }),
                Lack::MergeOpen,
                "git commit --no-edit",
                "the merge is still under way",
            ),
            (
                Box::new(|g, m| {
                    g.commits = 0;
                    m.contains_theirs = false;
                }),
                Lack::NotMerged,
                "git merge --no-commit --no-ff dddd",
                "not merged",
            ),
            (
                Box::new(|g, _| g.contains_base = false),
                Lack::BaseLost,
                "git reset --hard bbbb",
                "its base is lost",
            ),
            (
                Box::new(move |_, m| {
                    m.markers = vec![("f".into(), vec![line("<<<<<<< HEAD")])];
                    m.strayed = vec![("f".into(), line("x"))];
                }),
                Lack::Markers {
                    path: "f".into(),
                    lines: vec![line("<<<<<<< HEAD")],
                },
                "in f: line 3 `<<<<<<< HEAD`",
                "conflict markers in f",
            ),
            (
                Box::new(|_, m| m.elsewhere = vec!["g".into()]),
                Lack::Elsewhere(vec!["g".into()]),
                "git checkout eeee",
                "1 file changed that was not in conflict",
            ),
            (
                Box::new(move |_, m| m.strayed = vec![("f".into(), line("x"))]),
                Lack::Strayed {
                    path: "f".into(),
                    line: line("x"),
                },
                "eeee:f`",
                "f changed outside of the conflict",
            ),
        ];
        for (change, lack, words, few) in cases {
            let (rules, mut git) = merged();
            let mut merge = git.merge.clone().unwrap();
            change(&mut git, &mut merge);
            git.merge = Some(merge);
            let lacks = lacks_in_git(&rules, &git);
            assert_eq!(lacks, [lack]);
            let told = message(&rules, &lacks);
            assert!(told.contains(words), "{words}\n{told}");
            assert!(!detail(&lacks).is_empty());
            assert_eq!(brief(&lacks), few);
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
