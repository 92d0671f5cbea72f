//! git commands that reach beyond the worktree: worktrees share refs, configuration and stash.

use std::path::{Path, PathBuf};

use super::flow::Flow;
use super::paths::Place;
use super::value::{self, Field, Seg};
use super::walk::{Step, Walk};

/// Variables that point git at a place.
const PLACES: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_TEMPLATE_DIR",
    "GIT_EXEC_PATH",
];

/// Variables whose value is a command.
const COMMANDS: &[&str] = &[
    "GIT_SSH_COMMAND",
    "GIT_SSH",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_PAGER",
    "GIT_EXTERNAL_DIFF",
    "GIT_ASKPASS",
    "GIT_PROXY_COMMAND",
];

/// Commands that change nothing, wherever they are run.
const READING: &[&str] = &[
    "annotate",
    "archive",
    "blame",
    "cat-file",
    "check-attr",
    "check-ignore",
    "check-ref-format",
    "cherry",
    "count-objects",
    "describe",
    "diff",
    "diff-files",
    "diff-index",
    "diff-tree",
    "for-each-ref",
    "fsck",
    "grep",
    "help",
    "log",
    "ls-files",
    "ls-remote",
    "ls-tree",
    "merge-base",
    "name-rev",
    "range-diff",
    "rev-list",
    "rev-parse",
    "shortlog",
    "show",
    "show-branch",
    "show-ref",
    "status",
    "var",
    "verify-commit",
    "version",
    "whatchanged",
    "merge-tree",
    "patch-id",
    "stripspace",
    "mailinfo",
    "hash-object",
    "verify-tag",
    "bugreport",
    "column",
    "interpret-trailers",
    "cvsimport",
    "get-tar-commit-id",
    "unpack-file",
    "show-index",
    "fmt-merge-msg",
    "diagnose",
    "format-patch",
];

/// Commands that change the worktree, its index or its branch, and nothing else.
const OWN: &[&str] = &[
    "add",
    "am",
    "apply",
    "cherry-pick",
    "clean",
    "commit",
    "commit-tree",
    "merge",
    "merge-file",
    "merge-index",
    "mktag",
    "mktree",
    "mv",
    "read-tree",
    "rebase",
    "rerere",
    "reset",
    "restore",
    "revert",
    "rm",
    "stage",
    "update-index",
    "write-tree",
    "checkout-index",
    "pull",
    "quiltimport",
    "unpack-objects",
    "index-pack",
    "pack-objects",
    "merge-one-file",
    "merge-recursive",
    "merge-ours",
    "update-server-info",
    "hook",
    "blame-tree",
];

/// Sets a variable that concerns git.
///
/// # Errors
/// When it points git elsewhere.
pub fn variable(walk: &mut Walk<'_>, name: &str, values: &[Field]) -> Step {
    if PLACES.contains(&name) {
        for field in values {
            elsewhere(walk, name, field)?;
        }
    }
    if matches!(name, "GIT_CONFIG_PARAMETERS" | "GIT_CONFIG_COUNT")
        || name.starts_with("GIT_CONFIG_KEY")
    {
        return Err(format!(
            "{name} can make git do anything; write `git -c NAME=VALUE …` for one command."
        ));
    }
    if COMMANDS.contains(&name) {
        for field in values {
            script(walk, name, field)?;
        }
    }
    Ok(())
}

/// A setting or a variable that git runs.
fn script(walk: &mut Walk<'_>, what: &str, field: &[Seg]) -> Step {
    let Some(text) = value::known(field) else {
        if !walk.strict {
            return Ok(());
        }
        return Err(format!(
            "what {what} runs can only be known when it runs; write it out."
        ));
    };
    let state = walk.state.clone();
    let strict = std::mem::replace(&mut walk.strict, true);
    let text = text.trim_start_matches('!');
    // A name alone may be an editor, or one's own script.
    let result = if text.trim().is_empty() {
        Ok(())
    } else {
        walk.text(text)
    };
    walk.strict = strict;
    walk.state = state;
    result
}

/// A place that git is pointed at must be the instance's own.
fn elsewhere(walk: &Walk<'_>, what: &str, field: &[Seg]) -> Step {
    if !walk.strict && value::known(field).is_none() {
        return Ok(());
    }
    if field == [Seg::Below] {
        return Ok(());
    }
    let paths = walk.paths(field);
    let own = |path: &PathBuf| walk.bounds.is_own(path);
    if !paths.is_empty() && paths.iter().all(own) {
        return Ok(());
    }
    if !walk.strict && !paths.iter().any(|path| walk.bounds.is_foreign(path)) {
        return Ok(());
    }
    Err(format!(
        "{what} points git at `{}`, which is not in your worktree: at the person's checkout, at \
         another task's worktree, or at a place that is only known when it runs. Run git in your \
         own worktree, without it.",
        value::shown(field)
    ))
}

fn no(command: &str, why: &str) -> Step<Flow> {
    Err(format!("`git {command}` is not for an instance: {why}"))
}

/// A call of git.
///
/// # Errors
/// Why it may not run.
pub fn check(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
    let before = walk.state.clone();
    let result = within(walk, rest);
    walk.state = before;
    result
}

fn within(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
    let mut at = 0;
    while let Some(field) = rest.get(at) {
        let text = value::beginning(field);
        if !text.starts_with('-') {
            break;
        }
        let (name, joined) = match value::split_once(field, '=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (text.clone(), None),
        };
        let take = |at: &mut usize| {
            joined.clone().or_else(|| {
                *at += 1;
                rest.get(*at).cloned()
            })
        };
        match name.as_str() {
            "-C" => {
                if let Some(folder) = take(&mut at) {
                    if value::known(&folder).is_some_and(|text| text.is_empty()) {
                        at += 1;
                        continue;
                    }
                    // The same as `cd`, with its words.
                    walk.go(&folder).map_err(|why| format!("git -C: {why}"))?;
                }
            }
            // Alone it only tells the folder.
            "--exec-path" if joined.is_none() => {}
            "--git-dir" | "--work-tree" | "--exec-path" => {
                if let Some(place) = take(&mut at) {
                    elsewhere(walk, &name, &place)?;
                }
            }
            "-c" | "--config-env" => {
                if let Some(setting) = take(&mut at) {
                    setting_for_once(walk, &setting)?;
                }
            }
            "--namespace" | "--super-prefix" | "--attr-source" | "--list-cmds" => {
                let _ = take(&mut at);
            }
            "--" => {}
            _ => {}
        }
        at += 1;
    }
    let Some(first) = rest.get(at) else {
        return Ok(Flow::Unknown);
    };
    let Some(command) = value::known(first) else {
        if !walk.strict {
            return Ok(Flow::Unknown);
        }
        return Err(
            "which git command that is can only be known when it runs; write it out.".to_owned(),
        );
    };
    let arguments = &rest[at + 1..];
    let call = Call {
        command: &command,
        arguments,
    };
    written(walk, &call)?;
    if READING.contains(&command.as_str()) {
        return Ok(call.prints(walk));
    }
    let home = walk.is_at_home();
    if !home && walk.strict {
        return Err(format!(
            "`git {command}` would run outside your worktree, or where that is can only be known \
             when it runs. Run it in {}.",
            walk.bounds.worktree().display()
        ));
    }
    if in_repository_of_its_own(walk) {
        return call.in_scratch(walk);
    }
    call.decide(walk)
}

/// `-c NAME=VALUE`.
fn setting_for_once(walk: &mut Walk<'_>, field: &[Seg]) -> Step {
    let Some((name, value)) = value::split_once(field, '=') else {
        return Ok(());
    };
    let name = name.to_lowercase();
    let runs = [
        "core.editor",
        "core.pager",
        "core.sshcommand",
        "core.fsmonitor",
        "core.askpass",
        "core.gitproxy",
        "sequence.editor",
        "diff.external",
        "gpg.program",
        "credential.helper",
        "uploadpack.packobjectshook",
        "core.alternaterefscommand",
        "interactive.difffilter",
    ];
    if name.starts_with("alias.") {
        return Err("an alias hides what git runs; write the command out.".to_owned());
    }
    if matches!(
        name.as_str(),
        "core.worktree" | "core.hookspath" | "include.path" | "core.attributesfile"
    ) || name.starts_with("includeif.")
    {
        return elsewhere(walk, &name, &value);
    }
    let ends = |end: &str| name.ends_with(end);
    if runs.contains(&name.as_str())
        || name.starts_with("pager.")
        || ends(".cmd")
        || ends(".textconv")
        || ends(".command")
        || ends(".driver")
        || ends(".clean")
        || ends(".smudge")
        || ends(".process")
        || ends(".program")
        || value::beginning(&value).starts_with('!')
    {
        if name == "core.fsmonitor"
            && matches!(value::known(&value).as_deref(), Some("true" | "false"))
        {
            return Ok(());
        }
        return script(walk, &name, &value);
    }
    Ok(())
}

/// Whether git works there in a repository that the instance made in its scratch folder, or
/// in one within its worktree that is not the worktree's.
fn in_repository_of_its_own(walk: &Walk<'_>) -> bool {
    !walk.state.folders.is_empty()
        && walk.state.folders.iter().all(|folder| {
            let Some(folder) = folder else { return false };
            nearest(folder, walk)
        })
}

fn nearest(folder: &Path, walk: &Walk<'_>) -> bool {
    for place in folder.ancestors() {
        if place == walk.bounds.worktree() || !walk.bounds.is_own(place) {
            // Where there is none yet, `git init` and `git clone` make one.
            return walk.bounds.place(folder) == Place::Scratch;
        }
        let git = place.join(".git");
        let bare = place.join("HEAD").is_file() && place.join("objects").is_dir();
        if git.symlink_metadata().is_ok() || bare {
            let git = if bare { place.to_owned() } else { git };
            return git.symlink_metadata().is_ok_and(|m| m.is_dir())
                && !git.join("commondir").exists();
        }
    }
    false
}

/// What a command writes to files that it is told.
fn written(walk: &Walk<'_>, call: &Call<'_>) -> Step {
    let what = format!("`git {}` to", call.command);
    let flags: &[&str] = match call.command {
        "archive" => &["-o", "--output"],
        "format-patch" => &["-o", "--output-directory", "--output"],
        "bugreport" | "diagnose" => &["-o", "--output-directory"],
        _ => &["--output"],
    };
    for (at, field) in call.arguments.iter().enumerate() {
        let text = value::beginning(field);
        for flag in flags {
            let target = if text == *flag {
                call.arguments.get(at + 1).cloned()
            } else if flag.starts_with("--") {
                value::strip(field, &format!("{flag}="))
            } else {
                value::strip(field, flag).filter(|_| text.len() > 2)
            };
            if let Some(target) = target {
                walk.write(&what, &target)?;
            }
        }
    }
    if call.command == "grep" {
        for field in call.arguments {
            let text = value::beginning(field);
            if text.starts_with("-O") || text.starts_with("--open-files-in-pager") {
                return Err(
                    "`git grep -O` runs a program on what it finds; leave it out.".to_owned(),
                );
            }
        }
    }
    if call.command == "ls-remote"
        || call.command == "fetch"
        || call.command == "pull"
        || call.command == "clone"
    {
        for field in call.arguments {
            let text = value::shown(field);
            if text.starts_with("--upload-pack")
                || text.starts_with("--exec")
                || text.starts_with("-u") && call.command == "clone"
                || text.starts_with("ext::")
            {
                return Err(format!(
                    "`git {}` would run another program; leave that out.",
                    call.command
                ));
            }
        }
    }
    Ok(())
}

struct Call<'a> {
    command: &'a str,
    arguments: &'a [Field],
}

impl Call<'_> {
    fn texts(&self) -> Vec<String> {
        self.arguments
            .iter()
            .map(|field| value::shown(field))
            .collect()
    }

    fn has(&self, flags: &[&str]) -> bool {
        self.texts().iter().any(|text| {
            let name = text.split_once('=').map_or(text.as_str(), |(name, _)| name);
            flags.contains(&text.as_str()) || name.starts_with("--") && flags.contains(&name)
        })
    }

    /// Whether short flags hold a letter.
    fn letter(&self, letter: char) -> bool {
        self.texts()
            .iter()
            .take_while(|text| *text != "--")
            .any(|t| t.starts_with('-') && !t.starts_with("--") && t.contains(letter))
    }

    /// What is no flag, up to `--`.
    fn plain(&self) -> Vec<String> {
        self.texts()
            .into_iter()
            .take_while(|text| text != "--")
            .filter(|text| !text.starts_with('-') || text == "-")
            .collect()
    }

    /// What a command that only reads prints, as far as it matters.
    fn prints(&self, walk: &Walk<'_>) -> Flow {
        match self.command {
            "rev-parse" if self.has(&["--show-toplevel"]) => {
                let own = walk
                    .state
                    .folders
                    .iter()
                    .flatten()
                    .all(|f| f.starts_with(walk.bounds.worktree()));
                match walk.bounds.worktree().to_str() {
                    Some(top) if own && walk.is_at_home() => Flow::Text(top.to_owned()),
                    _ => Flow::Unknown,
                }
            }
            "rev-parse"
                if self.has(&[
                    "--git-dir",
                    "--git-common-dir",
                    "--absolute-git-dir",
                    "--git-path",
                    "--show-cdup",
                ]) =>
            {
                Flow::Unknown
            }
            "rev-parse" if self.has(&["--abbrev-ref", "--symbolic-full-name"]) => Flow::Unknown,
            "rev-parse" | "rev-list" | "merge-base" | "hash-object" => Flow::Atoms,
            "ls-files" => Flow::Below,
            "diff" | "log" | "show" | "diff-tree" | "ls-tree"
                if self.has(&["--name-only"]) && !self.has(&["--no-index"]) =>
            {
                Flow::Below
            }
            "grep" if self.letter('l') || self.has(&["--files-with-matches", "--name-only"]) => {
                Flow::Below
            }
            _ => Flow::Unknown,
        }
    }

    /// In a repository of the instance's own: its refs are its own, what it sends is not.
    fn in_scratch(&self, walk: &mut Walk<'_>) -> Step<Flow> {
        match self.command {
            "push" | "send-pack" => no(
                self.command,
                "it could reach the person's repository. What you need from there can be fetched.",
            ),
            "config" if self.has(&["--global", "--system"]) || self.named_file(walk)? => no(
                self.command,
                "that configuration is the person's. Set it for the repository only.",
            ),
            "worktree" => {
                for field in self.arguments.iter().skip(1) {
                    if value::beginning(field).contains('/') {
                        walk.write("`git worktree` at", field)?;
                    }
                }
                Ok(Flow::Unknown)
            }
            "clone" | "init" => self.make(walk),
            "submodule" | "bisect" | "rebase" | "filter-branch" => {
                self.scripts(walk)?;
                Ok(Flow::Unknown)
            }
            _ => Ok(Flow::Unknown),
        }
    }

    /// What follows some flags.
    fn told(&self, flags: &[&str]) -> Vec<Field> {
        let mut found = Vec::new();
        for (at, field) in self.arguments.iter().enumerate() {
            for flag in flags {
                if value::known(field).as_deref() == Some(*flag) {
                    found.extend(self.arguments.get(at + 1).cloned());
                } else {
                    found.extend(value::strip(field, &format!("{flag}=")));
                }
            }
        }
        found
    }

    /// Commands that are told to a command.
    fn scripts(&self, walk: &mut Walk<'_>) -> Step {
        for (at, field) in self.arguments.iter().enumerate() {
            let text = value::beginning(field);
            let told = match (self.command, text.as_str()) {
                ("rebase", "-x" | "--exec") => self.arguments.get(at + 1).cloned(),
                ("rebase", _) => value::strip(field, "--exec=")
                    .or_else(|| value::strip(field, "-x").filter(|f| *f != value::text(""))),
                ("submodule", "foreach") | ("bisect", "run") => {
                    let rest: Vec<Field> = self.arguments[at + 1..]
                        .iter()
                        .filter(|f| !value::beginning(f).starts_with("--"))
                        .cloned()
                        .collect();
                    if let [one] = rest.as_slice() {
                        Some(one.clone())
                    } else {
                        walk.call(&rest, &[], &Flow::Unknown)?;
                        None
                    }
                }
                ("filter-branch", _) => {
                    return Err("`git filter-branch` is not for an instance.".to_owned());
                }
                _ => None,
            };
            if let Some(told) = told {
                script(walk, "the command", &told)?;
            }
        }
        Ok(())
    }

    /// `clone` and `init`: where they make a repository.
    fn make(&self, walk: &mut Walk<'_>) -> Step<Flow> {
        let places: Vec<&Field> = self
            .arguments
            .iter()
            .filter(|field| !value::beginning(field).starts_with('-'))
            .collect();
        for field in self.arguments {
            if let Some(place) = value::strip(field, "--separate-git-dir=") {
                walk.write("`git init` at", &place)?;
            }
        }
        let place = if self.command == "clone" {
            (places.len() > 1).then(|| places[places.len() - 1])
        } else {
            places.last().copied()
        };
        if let Some(place) = place {
            walk.write(&format!("`git {}` at", self.command), place)?;
            for real in walk.paths(place) {
                if real == walk.bounds.worktree() {
                    return no(self.command, "your worktree has a repository already.");
                }
            }
        } else if self.command == "init"
            && walk
                .state
                .folders
                .iter()
                .flatten()
                .any(|f| f == walk.bounds.worktree())
        {
            return no(self.command, "your worktree has a repository already.");
        }
        Ok(Flow::Unknown)
    }

    /// Whether `config` is told a file; it must be the instance's own.
    fn named_file(&self, walk: &Walk<'_>) -> Step<bool> {
        for (at, field) in self.arguments.iter().enumerate() {
            let text = value::beginning(field);
            let file = if matches!(text.as_str(), "-f" | "--file") {
                self.arguments.get(at + 1).cloned()
            } else {
                value::strip(field, "--file=")
            };
            if let Some(file) = file {
                walk.write("`git config` in", &file)?;
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn decide(&self, walk: &mut Walk<'_>) -> Step<Flow> {
        const STAY: &str = "stay on your branch; your work is looked for there.";
        const SHARED: &str = "it changes what all worktrees share.";
        let command = self.command;
        let texts = self.texts();
        let first = texts.first().map(String::as_str);
        match command {
            "push" | "send-pack" => {
                return no(
                    command,
                    "your commits are merged and delivered for you. Commit, and leave it at that.",
                );
            }
            "stash" if !matches!(first, Some("list" | "show")) => {
                return no(
                    command,
                    "all worktrees share one stash. Commit what you want to keep on your branch \
                     instead.",
                );
            }
            "worktree" if first != Some("list") => {
                return no(command, "worktrees are made and removed for you.");
            }
            "switch" => return no(command, STAY),
            "checkout" if self.leaves_the_branch(walk) => {
                return no(
                    command,
                    "stay on your branch; your work is looked for there. For files, write \
                     `git checkout REVISION -- FILE` or `git restore FILE`.",
                );
            }
            "branch" if self.changes_branches() => {
                return no(
                    command,
                    "branches are shared with the person and with the other tasks.",
                );
            }
            "tag" if self.changes_tags() => {
                return no(command, "tags are shared with the person.");
            }
            "notes" if !matches!(first, None | Some("show" | "list" | "get-ref")) => {
                return no(command, "notes are shared with the person.");
            }
            "bisect" => {
                if !matches!(first, Some("log" | "view" | "visualize" | "help" | "terms")) {
                    return no(
                        command,
                        "it leaves your branch. Clone the repository into $TMPDIR and look there.",
                    );
                }
            }
            "update-ref" | "gc" | "prune" | "pack-refs" | "repack" | "filter-branch"
            | "replace" | "maintenance" | "filter-repo" | "multi-pack-index" | "commit-graph"
            | "refs" | "fast-import" | "remote-https" | "receive-pack" | "upload-pack"
            | "daemon" | "svn" | "p4" | "instaweb" | "http-push" | "prune-packed"
            | "credential" | "credential-store" | "credential-cache" | "fsmonitor--daemon"
            | "request-pull" | "send-email" | "imap-send" | "shell" | "subtree" | "scalar"
            | "flow" => {
                return no(command, SHARED);
            }
            "sparse-checkout" if first != Some("list") => return no(command, SHARED),
            "sparse-checkout" => {}
            "difftool" | "mergetool" => {
                for told in self.told(&["-x", "--extcmd", "-t", "--tool"]) {
                    script(walk, "the tool", &told)?;
                }
            }
            "symbolic-ref" if self.plain().len() > 1 || self.has(&["-d", "--delete"]) => {
                return no(command, STAY);
            }
            "reflog" if matches!(first, Some("expire" | "delete" | "drop" | "write")) => {
                return no(command, SHARED);
            }
            "remote" if !matches!(first, None | Some("-v" | "--verbose" | "show" | "get-url")) => {
                return no(command, "remotes are shared with the person.");
            }
            "config" => {
                let _ = self.named_file(walk)?;
                let file = self.has(&["-f", "--file"]);
                if !file && self.changes_config() {
                    return no(
                        command,
                        "the configuration is shared with the person. For one command, write \
                         `git -c NAME=VALUE …`.",
                    );
                }
            }
            "fetch" | "pull" => self.fetch()?,
            "submodule" => {
                if matches!(
                    first,
                    Some("deinit" | "sync" | "set-url" | "set-branch" | "absorbgitdirs")
                ) {
                    return no(command, "that configuration is shared with the person.");
                }
                self.scripts(walk)?;
            }
            "lfs" => {
                if !matches!(
                    first,
                    None | Some(
                        "track"
                            | "untrack"
                            | "ls-files"
                            | "status"
                            | "pull"
                            | "fetch"
                            | "checkout"
                            | "env"
                            | "version"
                            | "pointer"
                            | "migrate-info"
                    )
                ) {
                    return no(command, SHARED);
                }
            }
            "rebase" => {
                if self.has(&["--update-refs"]) {
                    return no(command, "`--update-refs` moves the branches of others.");
                }
                let mut plain = self.plain();
                // What these flags take is no branch.
                for flag in ["--onto", "-x", "--exec", "-s", "--strategy", "-X", "-C"] {
                    if let Some(at) = texts.iter().position(|t| t == flag)
                        && let Some(taken) = texts.get(at + 1)
                        && let Some(place) = plain.iter().position(|p| p == taken)
                    {
                        plain.remove(place);
                    }
                }
                if plain.len() > 1 {
                    return no(command, STAY);
                }
                self.scripts(walk)?;
            }
            "clean" => {
                let spares = texts.iter().any(|t| t.contains(".claude"));
                let paths = !self.plain().is_empty() || texts.iter().any(|t| t == "--");
                if (self.letter('x') || self.letter('X')) && !spares && !paths {
                    return no(
                        command,
                        "with -x it takes away your own settings. Write `git clean -fdx -e .claude`.",
                    );
                }
            }
            "rm" | "mv" => {
                for field in self
                    .arguments
                    .iter()
                    .filter(|field| !value::beginning(field).starts_with('-'))
                {
                    if walk.bounds.var("HOME").is_some() {
                        walk.write(&format!("`git {command}` on"), field)?;
                    }
                }
            }
            "apply" | "am" => {
                if self.has(&["--unsafe-paths"]) {
                    return no(command, "with `--unsafe-paths` it writes outside.");
                }
            }
            "checkout-index" => {
                for field in self.arguments {
                    if let Some(prefix) = value::strip(field, "--prefix=") {
                        walk.write("`git checkout-index` to", &prefix)?;
                    }
                }
            }
            "clone" | "init" => return self.make(walk),
            "bundle" => {
                if first == Some("create")
                    && let Some(file) = self
                        .arguments
                        .iter()
                        .skip(1)
                        .find(|field| !value::beginning(field).starts_with('-'))
                {
                    walk.write("`git bundle` to", file)?;
                }
                if first == Some("unbundle") {
                    return Ok(Flow::Unknown);
                }
            }
            "checkout" | "branch" | "tag" | "notes" | "symbolic-ref" | "reflog" | "remote"
            | "stash" | "worktree" | "gui" | "citool" => {}
            _ if OWN.contains(&command) => {}
            _ if !walk.strict => {}
            _ => {
                return Err(format!(
                    "`git {command}` is an alias or a program of its own, so what it does cannot \
                     be checked. Write the git command out."
                ));
            }
        }
        Ok(Flow::Unknown)
    }

    /// What a fetch may bring: what others published, into the places for it.
    fn fetch(&self) -> Step {
        for text in self.plain().iter().skip(1) {
            if let Some((_, to)) = text.split_once(':')
                && !to.is_empty()
                && !to.starts_with("refs/remotes/")
            {
                return no(
                    self.command,
                    "it may not move branches; leave out what follows `:`.",
                )
                .map(drop);
            }
        }
        let first = self.plain().first().cloned().unwrap_or_default();
        if first == "." && self.plain().iter().any(|t| t.contains(':') || t == "…") {
            return no(self.command, "it may not move branches.").map(drop);
        }
        if self.has(&[
            "--prune",
            "-p",
            "--prune-tags",
            "-P",
            "--update-head-ok",
            "--refmap",
            "--mirror",
            "--force",
            "-f",
            "--set-upstream",
            "--refetch",
            "--write-fetch-head=no",
        ]) || self.texts().iter().any(|t| t == "…")
        {
            return no(
                self.command,
                "refs are shared with the person; only a plain one passes.",
            )
            .map(drop);
        }
        Ok(())
    }

    fn changes_branches(&self) -> bool {
        const CHANGE: &[&str] = &[
            "-d",
            "-D",
            "-m",
            "-M",
            "-f",
            "-c",
            "-C",
            "-u",
            "--delete",
            "--move",
            "--force",
            "--copy",
            "--unset-upstream",
            "--edit-description",
            "--set-upstream-to",
            "--track",
            "-t",
            "--create-reflog",
            "--set-upstream",
        ];
        const LOOK: &[&str] = &[
            "--list",
            "-l",
            "--contains",
            "--no-contains",
            "--merged",
            "--no-merged",
            "--points-at",
            "--format",
            "--sort",
            "--show-current",
        ];
        let texts = self.texts();
        let grouped = texts.iter().any(|t| {
            t.starts_with('-')
                && !t.starts_with("--")
                && t[1..].contains(['d', 'D', 'm', 'M', 'f', 'c', 'C', 'u'])
        });
        grouped || self.has(CHANGE) || !self.plain().is_empty() && !self.has(LOOK)
    }

    fn changes_tags(&self) -> bool {
        const LOOK: &[&str] = &[
            "--list",
            "-l",
            "--contains",
            "--no-contains",
            "--merged",
            "--no-merged",
            "--points-at",
            "--format",
            "--sort",
            "-n",
            "-v",
            "--verify",
            "--column",
        ];
        const CHANGE: &[&str] = &[
            "-d", "--delete", "-f", "--force", "-a", "-s", "-m", "-F", "-u",
        ];
        self.has(CHANGE) || !self.plain().is_empty() && !self.has(LOOK) && !self.letter('n')
    }

    fn changes_config(&self) -> bool {
        const READ: &[&str] = &[
            "--get",
            "--get-all",
            "--get-regexp",
            "--get-urlmatch",
            "--list",
            "-l",
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
        ];
        const CHANGE_WORDS: &[&str] = &["set", "unset", "edit", "rename-section", "remove-section"];
        let plain = self.plain();
        let first = plain.first().map(String::as_str).unwrap_or_default();
        if self.has(CHANGE) || CHANGE_WORDS.contains(&first) {
            return true;
        }
        let reads = self.has(READ) || matches!(first, "get" | "list");
        let unsure = self.texts().iter().any(|t| t.contains('…'));
        !reads && (plain.len() > 1 || unsure)
    }

    /// Whether a checkout is one of a branch or a commit, and not of files.
    fn leaves_the_branch(&self, walk: &Walk<'_>) -> bool {
        if self.has(&[
            "-b", "-B", "--orphan", "--detach", "-d", "-t", "--track", "--guess", "-l",
        ]) {
            return true;
        }
        let texts = self.texts();
        if texts
            .iter()
            .any(|t| t.starts_with("-b") || t.starts_with("-B"))
        {
            return true;
        }
        // `git checkout main --` is one of a branch: there is no file behind it.
        let files = texts
            .iter()
            .position(|t| t == "--")
            .is_some_and(|at| at + 1 < texts.len())
            || texts.iter().any(|t| t.starts_with("--pathspec-from-file"));
        if files || self.has(&["-p", "--patch", "--ours", "--theirs"]) {
            return false;
        }
        let plain: Vec<&Field> = self
            .arguments
            .iter()
            .filter(|field| {
                let text = value::beginning(field);
                !text.starts_with('-') || text == "-"
            })
            .collect();
        match plain.as_slice() {
            [] => false,
            // One word is a branch, unless it is a file: git refuses what could be both.
            [one] => {
                let text = value::shown(one);
                let there = walk.paths(one).iter().any(|path| path.exists());
                text == "-" || text == "@" || !there && !value::shown(one).contains('*')
            }
            _ => false,
        }
    }
}
