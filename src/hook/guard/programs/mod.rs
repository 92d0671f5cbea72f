//! What programs do with the paths that they are given.
//!
//! | module | what |
//! |---|---|
//! | `tables` | names of programs by what they do |
//! | `arguments` | flags and their values |
//! | `runners` | programs that run others: wrappers, shells, interpreters, `find`, `xargs` |
//! | `builtins` | what changes the shell itself |
//! | `text` | `sed`, `awk`, and what readers pass on |
//! | `files` | programs that write files |

mod arguments;
mod builtins;
mod files;
mod runners;
mod tables;
mod text;

use super::flow::Flow;
use super::paths::Place;
use super::value;
use super::value::{Field, Seg};
use super::walk::{Step, Walk};
use arguments::{flag, has, has_letter, joined, plain, targets, values_of};
pub use builtins::variable;
use builtins::{folder, print, read};
use files::{change, copy, fetch, link, mktemp, tar, unpack};
use runners::{env, fd, find, interpreter, shell, wrapped, xargs};
use tables::{
    BEYOND, CHANGERS, COPIERS, INTERPRETERS, OUTPUTS, READERS, REMOVERS, SHELLS, WRAPPERS,
};
use text::{awk, passed, sed};

/// A program with its arguments. What it prints, as far as that is known.
///
/// # Errors
/// Why it may not run.
pub fn check(
    walk: &mut Walk<'_>,
    name: &str,
    rest: &[Field],
    assigned: &[(String, Vec<Field>)],
    input: &Flow,
) -> Step<Flow> {
    if let Some((_, flags)) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name) {
        return wrapped(walk, name, flags, rest, assigned, input);
    }
    if SHELLS.contains(&name) {
        return shell(walk, name, rest, input).map(|()| Flow::Unknown);
    }
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if let Some((_, flags)) = INTERPRETERS
        .iter()
        .find(|(interpreter, _)| *interpreter == name || *interpreter == stem)
        && name != "awk"
    {
        return interpreter(walk, name, stem, flags, rest, input).map(|()| Flow::Unknown);
    }
    match name {
        "cd" | "chdir" | "pushd" => return folder(walk, name, rest).map(|()| Flow::None),
        "popd" => {
            let before = walk.state.before.clone();
            walk.state.folders.extend(before);
            walk.state.folders.sort();
            walk.state.folders.dedup();
            return Ok(Flow::None);
        }
        "env" => return env(walk, rest, assigned, input),
        "eval" => {
            let text = joined(walk, rest)?;
            walk.text(&text)?;
            return Ok(Flow::Unknown);
        }
        "source" | "." => {
            let Some((file, rest)) = rest.split_first() else {
                return Ok(Flow::None);
            };
            foreign_argument(walk, "source", file)?;
            if walk.strict && value::beginning(file).starts_with("/dev/") {
                return Err(piped(name));
            }
            walk.file(file, rest)?;
            walk.state.variables.forget();
            return Ok(Flow::Unknown);
        }
        "trap" => {
            if let Some(script) = plain(rest).first()
                && let Some(text) = value::known(script)
            {
                walk.text(&text)?;
            }
            return Ok(Flow::None);
        }
        "set" => {
            if rest
                .iter()
                .any(|f| flag(f).is_none() || value::known(f).as_deref() == Some("--"))
            {
                let arguments: Vec<Field> = plain(rest).into_iter().cloned().collect();
                // `set -o pipefail` sets none.
                if !has(rest, &["-o", "+o"]) && !has_letter(rest, 'o') {
                    walk.positional(&arguments);
                }
            }
            return Ok(Flow::None);
        }
        "shift" => {
            walk.unknown_positional();
            return Ok(Flow::None);
        }
        "unset" => {
            for field in plain(rest) {
                if let Some(name) = value::known(field) {
                    walk.state.variables.set(&name, vec![vec![Seg::Unknown]]);
                }
            }
            return Ok(Flow::None);
        }
        "setopt" | "unsetopt" | "emulate" | "zmodload" => {
            return Err(format!(
                "`{name}` changes how commands are read; leave it out."
            ));
        }
        "getopts" => {
            for field in plain(rest).iter().skip(1) {
                if let Some(name) = value::known(field) {
                    walk.state.variables.set(&name, vec![vec![Seg::Atom]]);
                }
            }
            walk.state.variables.set("OPTARG", vec![vec![Seg::Unknown]]);
            return Ok(Flow::None);
        }
        "export" | "declare" | "typeset" | "readonly" | "local"
            if name != "export" && has_letter(rest, 'n') =>
        {
            return Err("a variable that stands for another one hides what is used.".to_owned());
        }
        "export" | "declare" | "typeset" | "readonly" | "local" => {
            for field in rest {
                if let Some((name, value)) = value::split_once(field, '=') {
                    walk.assign(&name, vec![value])?;
                }
            }
            return Ok(Flow::Unknown);
        }
        "alias" => {
            if rest
                .iter()
                .any(|field| value::beginning(field).contains('='))
            {
                return Err("an alias hides what is run; write the command out.".to_owned());
            }
            return Ok(Flow::Unknown);
        }
        "enable" => return Err("`enable` changes what commands mean; leave it out.".to_owned()),
        "read" | "readarray" | "mapfile" => {
            return read(walk, rest, input).map(|()| Flow::None);
        }
        "printf"
            if value::beginning(rest.first().map_or(&[][..], Vec::as_slice)).starts_with("-v") =>
        {
            let named = value::strip(&rest[0], "-v").and_then(|f| value::known(&f));
            let named = named.filter(|name| !name.is_empty());
            let named = named.or_else(|| rest.get(1).and_then(|f| value::known(f)));
            if let Some(name) = named {
                walk.assign(&name, vec![vec![Seg::Unknown]])?;
            }
            return Ok(Flow::None);
        }
        "printf" | "echo" => return print(name, rest),
        "find" | "gfind" => return find(walk, rest),
        "fd" | "fdfind" => return fd(walk, rest),
        "xargs" | "gxargs" | "parallel" => return xargs(walk, name, rest, input),
        "sed" | "gsed" => return sed(walk, rest).map(|()| Flow::Unknown),
        "awk" | "gawk" | "mawk" | "nawk" => return awk(walk, rest).map(|()| Flow::Unknown),
        "ln" | "link" | "symlink" => return link(walk, rest).map(|()| Flow::None),
        "mv" | "gmv" => {
            for field in targets(rest).iter().chain(plain(rest).iter().copied()) {
                walk.remove("`mv` on", field)?;
            }
            return Ok(Flow::Unknown);
        }
        "dd" => {
            for field in rest {
                if let Some(target) = value::strip(field, "of=") {
                    walk.write("`dd` to", &target)?;
                }
                known_or_refuse(walk, name, field)?;
            }
            return Ok(Flow::Unknown);
        }
        "tar" | "bsdtar" | "gtar" => return tar(walk, rest).map(|()| Flow::Unknown),
        "unzip" | "7z" | "7za" | "unrar" | "cpio" | "ar" => {
            return unpack(walk, name, rest).map(|()| Flow::Unknown);
        }
        "patch" => {
            for folder in values_of(rest, &["-d", "--directory", "-o", "--output", "-r", "-B"]) {
                walk.write("`patch` in", &folder)?;
            }
            if let Some(file) = plain(rest).first() {
                walk.write("`patch` on", file)?;
            }
            at_home(walk, name)?;
            return Ok(Flow::Unknown);
        }
        "xxd" | "uniq" | "iconv" | "sort" | "yq" | "tree" | "mlr" => {
            for target in values_of(rest, &["-o", "--output"]) {
                walk.write(&format!("`{name}` to"), &target)?;
            }
            if matches!(name, "xxd" | "uniq")
                && let Some(target) = plain(rest).get(1)
            {
                walk.write(&format!("`{name}` to"), target)?;
            }
            if name == "yq" && (has_letter(rest, 'i') || has(rest, &["--inplace"])) {
                for file in plain(rest).iter().skip(1) {
                    walk.write("`yq -i` on", file)?;
                }
            }
            return Ok(passed(name, rest, input));
        }
        "mktemp" => return mktemp(walk, rest),
        "curl" | "wget" | "aria2c" => return fetch(walk, name, rest).map(|()| Flow::Unknown),
        "ssh" | "sftp" | "telnet" | "nc" | "ncat" | "socat" => {
            for field in rest {
                if let Some(text) = value::known(field) {
                    walk.code(&text)?;
                    if name == "socat" || has_letter(rest, 'e') && name != "ssh" {
                        return Err(format!(
                            "`{name}` would hand a shell or a file to a connection; that is not \
                             for an instance."
                        ));
                    }
                }
            }
            return Ok(Flow::Unknown);
        }
        "script" | "flock" | "entr" | "hyperfine" | "concurrently" => {
            // A command is among the words, as one word or as several.
            for (at, field) in rest.iter().enumerate() {
                let Some(text) = value::known(field).filter(|text| !text.starts_with('-')) else {
                    continue;
                };
                if text.contains(' ') {
                    walk.text(&text)?;
                } else if at + 1 < rest.len() && (name == "flock" || name == "entr") {
                    let words = &rest[at..];
                    walk.call(words, assigned, &Flow::Unknown)?;
                }
            }
            if matches!(name, "script" | "flock")
                && let Some(file) = plain(rest).first()
            {
                let what = format!("`{name}` to");
                walk.write(&what, file)?;
            }
            return Ok(Flow::Unknown);
        }
        _ => {}
    }
    if let Some(why) = published(name, rest) {
        return Err(why);
    }
    if BEYOND.contains(&name) || name.starts_with("mkfs") {
        return Err(format!(
            "`{name}` runs or changes things beyond your worktree, where nothing can be seen of \
             it. Run what you need directly, in the worktree."
        ));
    }
    if REMOVERS.contains(&name) {
        for field in plain(rest) {
            walk.remove(&format!("`{name}` on"), field)?;
        }
        return Ok(Flow::None);
    }
    if CHANGERS.contains(&name) {
        return change(walk, name, rest, input);
    }
    if COPIERS.contains(&name) {
        return copy(walk, name, rest).map(|()| Flow::Unknown);
    }
    if READERS.contains(&name) {
        return Ok(passed(name, rest, input));
    }
    other(walk, name, rest)?;
    Ok(Flow::Unknown)
}

/// What leaves the machine, or changes it, by the plain name of a command.
fn published(name: &str, rest: &[Field]) -> Option<String> {
    let words: Vec<String> = plain(rest).iter().map(|f| value::shown(f)).collect();
    let first = words.first().map_or("", String::as_str);
    let second = words.get(1).map_or("", String::as_str);
    let looks = |word: &str| {
        matches!(
            word,
            "list" | "view" | "status" | "diff" | "checks" | "search" | "browse" | "show" | "get"
        )
    };
    let why = match name {
        "gh" | "glab" | "hub" => {
            let sends = has(
                rest,
                &[
                    "-X",
                    "--method",
                    "-f",
                    "-F",
                    "--field",
                    "--raw-field",
                    "--input",
                ],
            );
            let fine = first.is_empty()
                || looks(first)
                || looks(second)
                || first == "api" && !sends
                || matches!(first, "auth" | "help" | "version") && second != "login";
            (!fine).then_some("what is published or opened is for the person")
        }
        "npm" | "pnpm" | "yarn" | "bun" => {
            if matches!(first, "publish" | "unpublish" | "login" | "deprecate") {
                Some("what is published is for the person")
            } else if has(rest, &["-g", "--global"]) || first == "global" || first == "link" {
                Some("it changes what is installed for everybody; install into the worktree")
            } else {
                None
            }
        }
        "cargo" => match first {
            "publish" | "yank" | "login" | "owner" => Some("what is published is for the person"),
            "install" | "uninstall" if values_of(rest, &["--root"]).is_empty() => {
                Some("it changes what is installed for everybody; give it --root in the worktree")
            }
            _ => None,
        },
        "twine" => Some("what is published is for the person"),
        "docker" | "podman" if matches!(first, "push" | "login") => {
            Some("what is published is for the person")
        }
        "make" | "gmake" | "ninja"
            if words.iter().any(|word| word == "install")
                && !rest.iter().any(|f| {
                    let text = value::beginning(f).to_lowercase();
                    text.starts_with("destdir=") || text.starts_with("prefix=")
                }) =>
        {
            Some("it would install outside; give it DESTDIR= in the worktree")
        }
        "apt" | "apt-get" | "dpkg" | "yum" | "dnf" | "apk" | "pacman" | "brew" | "snap"
        | "zypper" | "port"
            if !matches!(
                first,
                "list" | "show" | "search" | "info" | "policy" | "-l" | ""
            ) =>
        {
            Some("it changes what is installed for everybody")
        }
        "kill"
            if rest.len() > 1
                && rest.last().and_then(|f| value::known(f)).as_deref() == Some("-1") =>
        {
            Some("it would end everything of the person's")
        }
        "pkill" | "killall"
            if words
                .iter()
                .any(|w| w.contains("orchestra") || w.contains("claude")) =>
        {
            Some("those processes are not yours")
        }
        _ => None,
    };
    why.map(|why| format!("`{name} {first}` is not for an instance: {why}."))
}

fn piped(name: &str) -> String {
    format!(
        "what `{name}` would run is only known when it runs, so it cannot be checked. Write the \
         commands out, or put them into a file in your worktree and run that."
    )
}

/// Everything of it is known.
fn known_or_refuse(walk: &Walk<'_>, name: &str, field: &[Seg]) -> Step {
    if walk.strict && matches!(field.first(), Some(Seg::Unknown)) {
        return Err(piped(name));
    }
    Ok(())
}

/// The folder it runs in is the instance's own.
fn at_home(walk: &Walk<'_>, name: &str) -> Step {
    if !walk.strict || walk.is_at_home() {
        return Ok(());
    }
    Err(format!(
        "`{name}` would run outside your worktree, or where that is can only be known when it \
         runs. Run it in {}.",
        walk.bounds.worktree().display()
    ))
}

fn foreign_argument(walk: &Walk<'_>, name: &str, field: &[Seg]) -> Step {
    for path in walk.paths(field) {
        if walk.bounds.is_foreign(&path) {
            return Err(walk.outside(&format!("`{name}` with"), field, &path));
        }
    }
    Ok(())
}

/// A program of which nothing is known: it may be told nothing of other people's places, and
/// may not be told to write elsewhere.
///
/// # Errors
/// Why it may not run.
pub fn other(walk: &Walk<'_>, name: &str, rest: &[Field]) -> Step {
    at_home(walk, name)?;
    let made_from = values_of(rest, &["-f", "--file", "--makefile"]);
    if walk.strict
        && matches!(name, "make" | "gmake" | "ninja" | "just")
        && made_from.iter().any(|f| {
            let text = value::shown(f);
            text == "-" || text.starts_with("/dev/") || text.starts_with("/proc/")
        })
    {
        return Err(piped(name));
    }
    for target in values_of(rest, OUTPUTS) {
        // It is only noted where things would be installed.
        if name == "configure" {
            break;
        }
        let shown = value::shown(&target);
        // `-o` takes other things than files as well.
        if shown.contains('/') || target.contains(&Seg::Unknown) && shown == "…" {
            walk.write(&format!("`{name}` to"), &target)?;
        }
    }
    let container = matches!(name, "docker" | "podman" | "nerdctl" | "docker-compose");
    for field in rest {
        let text: String = field
            .iter()
            .map(|seg| match seg {
                Seg::Text(text) | Seg::Glob(text) => text.as_str(),
                _ => "x",
            })
            .collect();
        if walk.bounds.is_mentioned(&text) {
            return Err(refuse_mention(walk, name, field));
        }
        for token in text.split(|c: char| c.is_whitespace() || "'\"`=:,;()<>|&".contains(c)) {
            let token = token.trim_start_matches("-C").trim_start_matches("-I");
            let path_like = token.starts_with('/')
                || token.starts_with('~')
                || token.split('/').any(|part| part == "..");
            if !path_like {
                // A plain name that is a link may lead there as well.
                if token.is_empty() || token.len() > 300 || token.starts_with('-') {
                    continue;
                }
            }
            foreign_token(walk, name, field, token, container)?;
        }
    }
    Ok(())
}

fn foreign_token(walk: &Walk<'_>, name: &str, field: &[Seg], token: &str, container: bool) -> Step {
    let bounds = walk.bounds;
    for folder in walk.state.folders.iter().flatten() {
        let real = bounds.resolve(token, folder);
        if bounds.is_foreign(&real) {
            return Err(refuse_mention(walk, name, field));
        }
        // A container sees what lies below what is given to it.
        if container
            && token.starts_with(['/', '~', '.'])
            && (bounds.main().starts_with(&real)
                || bounds.siblings().is_some_and(|s| s.starts_with(&real)))
            && bounds.place(&real) == Place::Outside
        {
            return Err(refuse_mention(walk, name, field));
        }
    }
    Ok(())
}

fn refuse_mention(walk: &Walk<'_>, name: &str, field: &[Seg]) -> String {
    format!(
        "`{name}` with `{}` could write into the person's checkout or another task's worktree. \
         Run it on your own files in {}; to read from there use cat, grep, diff or cp to here.",
        value::shown(field),
        walk.bounds.worktree().display()
    )
}
