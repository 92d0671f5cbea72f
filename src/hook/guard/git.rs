//! git commands that reach beyond the worktree: worktrees share refs, configuration and stash.

use super::shell::{Simple, Word};
use super::writes::Here;

/// Why a git command may not run, if so.
#[must_use]
pub fn denial(simple: &Simple, here: &Here<'_>) -> Option<String> {
    let simple = simple.unwrapped();
    let location = simple.assignments.iter().find(|(name, value)| {
        matches!(
            name.as_str(),
            "GIT_DIR" | "GIT_WORK_TREE" | "GIT_COMMON_DIR" | "GIT_INDEX_FILE"
        ) && leads_elsewhere(value, here)
    });
    if let Some((name, _)) = location {
        return Some(elsewhere(name));
    }
    let (first, rest) = simple.words.split_first()?;
    if first.text.rsplit('/').next() != Some("git") {
        // `export GIT_DIR=…`
        let exported = matches!(first.text.as_str(), "export" | "declare")
            .then(|| rest.iter().find(|w| w.text.starts_with("GIT_DIR=")))
            .flatten()?;
        let value = Word {
            text: exported.text.trim_start_matches("GIT_DIR=").to_owned(),
            exact: exported.exact,
        };
        return leads_elsewhere(&value, here).then(|| elsewhere("GIT_DIR"));
    }
    let mut words = rest.iter();
    let command = loop {
        let word = words.next()?;
        let (flag, joined) = match word.text.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
            _ => (word.text.as_str(), None),
        };
        match flag {
            "-C" | "--git-dir" | "--work-tree" => {
                let value = match joined {
                    Some(text) => Word {
                        text: text.to_owned(),
                        exact: word.exact,
                    },
                    None => words.next()?.clone(),
                };
                if leads_elsewhere(&value, here) {
                    return Some(elsewhere(flag));
                }
            }
            "-c" | "--namespace" | "--exec-path" | "--config-env" | "--super-prefix"
                if joined.is_none() =>
            {
                words.next()?;
            }
            _ if flag.starts_with('-') => {}
            _ => break word.text.as_str(),
        }
    };
    let arguments: Vec<&Word> = words.collect();
    decide(command, &arguments, here)
}

fn elsewhere(what: &str) -> String {
    format!(
        "{what} points git at the person's checkout or at another task's worktree. \
         Run git in your own worktree, without it."
    )
}

fn leads_elsewhere(value: &Word, here: &Here<'_>) -> bool {
    here.resolve(value)
        .is_some_and(|real| here.bounds().is_foreign(&real))
}

fn decide(command: &str, arguments: &[&Word], here: &Here<'_>) -> Option<String> {
    let text = |at: usize| arguments.get(at).map(|w| w.text.as_str());
    let has = |flags: &[&str]| arguments.iter().any(|w| flags.contains(&w.text.as_str()));
    let plain = || arguments.iter().filter(|w| !w.text.starts_with('-'));
    let no = |why: &str| Some(format!("`git {command}` is not for an instance: {why}"));
    match command {
        "push" | "send-pack" => {
            no("your commits are merged and delivered for you. Commit, and leave it at that.")
        }
        "stash" if !matches!(text(0), Some("list" | "show")) => no(
            "all worktrees share one stash. Commit what you want to keep on your branch instead.",
        ),
        "worktree" if text(0) != Some("list") => no("worktrees are made and removed for you."),
        "switch" => no("stay on your branch; your work is looked for there."),
        "checkout" if leaves_the_branch(arguments, here) => {
            no("stay on your branch; your work is looked for there. \
             For files, write `git checkout REVISION -- FILE` or `git restore FILE`.")
        }
        "branch"
            if has(&[
                "-d",
                "-D",
                "-m",
                "-M",
                "-f",
                "-c",
                "-C",
                "--delete",
                "--move",
                "--force",
                "--copy",
                "-u",
                "--unset-upstream",
                "--edit-description",
            ]) || (plain().next().is_some()
                && !has(&[
                    "--list",
                    "-l",
                    "--contains",
                    "--merged",
                    "--no-merged",
                    "--points-at",
                    "--format",
                    "--sort",
                ])) =>
        {
            no("branches are shared with the person and with the other tasks.")
        }
        "update-ref" | "gc" | "prune" | "pack-refs" | "repack" | "filter-branch" | "replace" => {
            no("it changes what all worktrees share.")
        }
        "symbolic-ref" if plain().count() > 1 || has(&["-d", "--delete"]) => {
            no("stay on your branch; your work is looked for there.")
        }
        "reflog" if matches!(text(0), Some("expire" | "delete")) => {
            no("it changes what all worktrees share.")
        }
        "remote"
            if !matches!(
                text(0),
                None | Some("-v" | "--verbose" | "show" | "get-url")
            ) =>
        {
            no("remotes are shared with the person.")
        }
        "config" if changes_config(arguments) => {
            no("the configuration is shared with the person. \
             For one command, write `git -c NAME=VALUE …`.")
        }
        _ => None,
    }
}

fn changes_config(arguments: &[&Word]) -> bool {
    const READ: &[&str] = &[
        "--get",
        "--get-all",
        "--get-regexp",
        "--get-urlmatch",
        "--list",
        "-l",
        "get",
        "list",
        "--get-color",
        "--get-colorbool",
    ];
    const CHANGE: &[&str] = &[
        "--add",
        "--unset",
        "--unset-all",
        "--replace-all",
        "--edit",
        "-e",
        "--rename-section",
        "--remove-section",
        "set",
        "unset",
        "edit",
        "rename-section",
        "remove-section",
    ];
    let any = |words: &[&str]| arguments.iter().any(|w| words.contains(&w.text.as_str()));
    if any(CHANGE) {
        return true;
    }
    !any(READ)
        && arguments
            .iter()
            .filter(|w| !w.text.starts_with('-'))
            .count()
            > 1
}

/// Whether a checkout is one of a branch or a commit, and not of files.
fn leaves_the_branch(arguments: &[&Word], here: &Here<'_>) -> bool {
    let is = |flags: &[&str]| arguments.iter().any(|w| flags.contains(&w.text.as_str()));
    if is(&["-b", "-B", "--orphan", "--detach", "-d", "-t", "--track"]) {
        return true;
    }
    if is(&[
        "--",
        "-p",
        "--patch",
        "--ours",
        "--theirs",
        "-m",
        "--merge",
        "--conflict",
    ]) || arguments
        .iter()
        .any(|w| w.text.starts_with("--pathspec-from-file"))
    {
        return false;
    }
    let plain: Vec<&&Word> = arguments
        .iter()
        .filter(|w| !w.text.starts_with('-') || w.text == "-")
        .collect();
    match plain.as_slice() {
        [] => false,
        // One word is a branch, unless it is a file: git refuses what could be both.
        [one] => {
            one.text == "-"
                || one.text == "@"
                || !here.resolve(one).is_some_and(|real| real.exists())
        }
        _ => false,
    }
}
