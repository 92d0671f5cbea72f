//! What programs do with the paths that they are given.

use super::flow::Flow;
use super::paths::Place;
use super::value::{self, Field, Seg};
use super::walk::{Step, Walk};

/// Programs that change nothing by what they are told: paths outside may be named to them.
const READERS: &[&str] = &[
    ":",
    "[",
    "[[",
    "ag",
    "arch",
    "b2sum",
    "base32",
    "base64",
    "basename",
    "bat",
    "break",
    "bzcat",
    "cal",
    "cat",
    "cksum",
    "clear",
    "cloc",
    "cmp",
    "colordiff",
    "column",
    "comm",
    "continue",
    "cut",
    "date",
    "delta",
    "df",
    "diff",
    "diff3",
    "dir",
    "dirname",
    "du",
    "echo",
    "egrep",
    "exa",
    "exit",
    "expand",
    "expr",
    "eza",
    "factor",
    "false",
    "fgrep",
    "file",
    "fmt",
    "fold",
    "free",
    "getconf",
    "getent",
    "grep",
    "groups",
    "hash",
    "head",
    "hexdump",
    "hexyl",
    "hostname",
    "icdiff",
    "id",
    "jobs",
    "join",
    "jq",
    "kill",
    "ldd",
    "less",
    "let",
    "local",
    "locale",
    "locate",
    "logname",
    "ls",
    "lsof",
    "lscpu",
    "man",
    "md5",
    "md5sum",
    "more",
    "nl",
    "nm",
    "nproc",
    "numfmt",
    "objdump",
    "od",
    "paste",
    "pgrep",
    "pidof",
    "popd",
    "pr",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readelf",
    "readlink",
    "realpath",
    "return",
    "rev",
    "rg",
    "seq",
    "set",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "shasum",
    "shift",
    "shopt",
    "size",
    "sleep",
    "stat",
    "strings",
    "sum",
    "tac",
    "tail",
    "test",
    "tokei",
    "top",
    "tput",
    "tr",
    "true",
    "tsort",
    "tty",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "uname",
    "unexpand",
    "unset",
    "uptime",
    "users",
    "vmstat",
    "wait",
    "wc",
    "whatis",
    "whereis",
    "which",
    "who",
    "whoami",
    "xzcat",
    "yes",
    "zcat",
    "zgrep",
    "zipinfo",
    "zless",
    "zstdcat",
    "disown",
    "bg",
    "fg",
    "times",
    "hostnamectl",
    "pkill",
    "killall",
    "uuidgen",
    "tldr",
    "ll",
];

/// Programs that change, make or take away every file that they name.
const CHANGERS: &[&str] = &[
    "touch",
    "mkdir",
    "truncate",
    "chmod",
    "chown",
    "chgrp",
    "tee",
    "mkfifo",
    "mknod",
    "setfacl",
    "chattr",
    "fallocate",
    "split",
    "csplit",
    "gzip",
    "gunzip",
    "bzip2",
    "bunzip2",
    "xz",
    "unxz",
    "zstd",
    "unzstd",
    "lz4",
    "dos2unix",
    "unix2dos",
    "ed",
    "ex",
    "vi",
    "vim",
    "nvim",
    "nano",
    "emacs",
    "sponge",
    "zip",
    "mktemp",
    "logger",
    "rename",
    "pico",
    "sqlite3",
];

/// Programs that take away what they name.
const REMOVERS: &[&str] = &["rm", "rmdir", "unlink", "shred", "trash", "srm"];

/// Programs that write only the last place that they name.
const COPIERS: &[&str] = &["cp", "install", "rsync", "scp", "ditto", "pax", "gcp"];

/// Programs that run the rest of their line, with their flags that take a word.
const WRAPPERS: &[(&str, &[&str])] = &[
    ("nohup", &[]),
    ("setsid", &[]),
    ("builtin", &[]),
    ("exec", &["-a"]),
    ("command", &[]),
    ("noglob", &[]),
    ("nocorrect", &[]),
    ("-", &[]),
    ("repeat", &[]),
    ("nice", &["-n", "--adjustment"]),
    ("ionice", &["-c", "-n", "--class", "--classdata"]),
    ("chrt", &[]),
    ("taskset", &[]),
    (
        "stdbuf",
        &["-i", "-o", "-e", "--input", "--output", "--error"],
    ),
    ("timeout", &["-s", "-k", "--signal", "--kill-after"]),
    ("gtimeout", &["-s", "-k", "--signal", "--kill-after"]),
    (
        "sudo",
        &[
            "-u", "-g", "-h", "-p", "-U", "-C", "-T", "-r", "-t", "--user", "--group",
        ],
    ),
    ("doas", &["-u", "-C"]),
    ("time", &["-f", "--format"]),
    ("watch", &["-n", "-d", "--interval"]),
    ("strace", &["-e", "-p", "-s", "-u", "-E", "-P"]),
    ("ltrace", &["-e", "-p", "-s", "-u"]),
    ("unbuffer", &[]),
    ("caffeinate", &["-t", "-w"]),
    ("busybox", &[]),
    ("toybox", &[]),
    ("catchsegv", &[]),
    ("valgrind", &[]),
    ("faketime", &[]),
    ("dbus-run-session", &[]),
    ("xvfb-run", &["-n", "-s", "-e", "-f", "-w"]),
    ("setarch", &[]),
    ("chronic", &[]),
    ("retry", &[]),
];

/// Programs that run others where nothing is seen of it, or as somebody else, or later.
const BEYOND: &[&str] = &[
    "chroot",
    "nsenter",
    "unshare",
    "systemd-run",
    "at",
    "batch",
    "crontab",
    "tmux",
    "screen",
    "su",
    "runuser",
    "mount",
    "umount",
    "machinectl",
    "pkexec",
    "bwrap",
    "firejail",
    "fusermount",
    "losetup",
    "mkfs",
    "sysctl",
    "insmod",
    "gdb",
    "debugfs",
    "abduco",
    "dtach",
    "zellij",
];

/// Shells, whose scripts are looked at.
const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "zsh", "ksh", "ash", "mksh", "rbash", "fish",
];

/// Flags of any program that name what it writes.
const OUTPUTS: &[&str] = &[
    "-o",
    "-O",
    "--output",
    "--out",
    "--outfile",
    "--out-file",
    "--outdir",
    "--out-dir",
    "--output-dir",
    "--output-file",
    "--output-directory",
    "--outFile",
    "--outDir",
    "--target-dir",
    "--artifact-dir",
    "--prefix",
    "--root",
    "--root-dir",
    "--dest",
    "--destdir",
    "--destination",
    "--target-directory",
    "--install-dir",
    "--logfile",
    "--log-file",
    "--basetemp",
    "--rootdir",
    "--cache-dir",
    "--coverprofile",
    "-coverprofile",
    "--report-file",
    "--save",
    "--directory",
    "--manifest-path",
    "--cwd",
    "--project",
    "--file-prefix",
    "--basedir",
    "--userconfig",
];

/// Interpreters, and their flags behind which a program stands.
const INTERPRETERS: &[(&str, &[&str])] = &[
    ("python", &["-c"]),
    ("pypy", &["-c"]),
    ("node", &["-e", "--eval", "-p", "--print", "-pe"]),
    ("nodejs", &["-e", "--eval", "-p", "--print"]),
    ("bun", &["-e", "--eval", "-p"]),
    ("deno", &["eval"]),
    ("ruby", &["-e"]),
    ("perl", &["-e", "-E"]),
    ("php", &["-r"]),
    ("lua", &["-e"]),
    ("luajit", &["-e"]),
    ("Rscript", &["-e"]),
    ("osascript", &["-e"]),
    ("tclsh", &[]),
    ("ghc", &["-e"]),
    ("julia", &["-e"]),
    ("elixir", &["-e"]),
    ("erl", &["-eval"]),
    ("pwsh", &["-c", "-Command"]),
    ("guile", &["-c"]),
    ("sbcl", &["--eval"]),
    ("jshell", &[]),
    ("awk", &[]),
];

/// Variables by which programs are made to load or run what they would not.
const LOADERS: &[&str] = &[
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "DYLD_INSERT_LIBRARIES",
    "BASH_ENV",
    "ENV",
    "PROMPT_COMMAND",
    "ZDOTDIR",
];

/// Whether a variable may be set.
///
/// # Errors
/// When what it makes programs do lies outside, or is a command that may not run.
pub fn variable(walk: &mut Walk<'_>, name: &str, values: &[Field]) -> Step {
    // What programs write to, and where they look for what they run.
    let writes = matches!(
        name,
        "TMPDIR"
            | "TMP"
            | "TEMP"
            | "CARGO_TARGET_DIR"
            | "DESTDIR"
            | "BASH_ENV"
            | "ENV"
            | "HISTFILE"
            | "GIT_TRACE"
            | "INIT_CWD"
            | "npm_config_prefix"
            | "NPM_CONFIG_PREFIX"
    );
    for field in values {
        if writes && value::beginning(field).contains('/') {
            walk.write(&format!("pointing {name} to"), field)?;
        }
        if LOADERS.contains(&name) && name != "LD_LIBRARY_PATH" {
            for path in walk.paths(field) {
                if walk.bounds.is_foreign(&path) {
                    return Err(walk.outside(&format!("pointing {name} to"), field, &path));
                }
            }
        }
        let commands = matches!(
            name,
            "PROMPT_COMMAND" | "PAGER" | "EDITOR" | "VISUAL" | "BROWSER" | "LESSOPEN" | "MANPAGER"
        );
        if commands && let Some(text) = value::known(field) {
            let state = walk.state.clone();
            let strict = std::mem::replace(&mut walk.strict, false);
            let result = walk.text(&text);
            walk.strict = strict;
            walk.state = state;
            result?;
        }
    }
    Ok(())
}

fn flag(field: &[Seg]) -> Option<String> {
    let text = value::beginning(field);
    (text.starts_with('-') && text.len() > 1).then_some(text)
}

/// What is no flag. After `--` everything is.
fn plain(rest: &[Field]) -> Vec<&Field> {
    let mut all = false;
    rest.iter()
        .filter(|field| {
            if !all && value::known(field).is_some_and(|text| text == "--") {
                all = true;
                return false;
            }
            all || flag(field).is_none()
        })
        .collect()
}

/// The values of some flags: `-o X`, `-oX`, `--output X`, `--output=X`.
fn values_of(rest: &[Field], flags: &[&str]) -> Vec<Field> {
    let mut found = Vec::new();
    let mut fields = rest.iter().peekable();
    while let Some(field) = fields.next() {
        let text = value::beginning(field);
        for name in flags {
            if text == *name && value::known(field).is_some() {
                found.extend(fields.peek().map(|next| (*next).clone()));
            } else if name.starts_with("--") {
                found.extend(value::strip(field, &format!("{name}=")));
            } else if name.len() == 2 && text.starts_with(name) && text.len() > 2 {
                found.extend(value::strip(field, name));
            } else {
                found.extend(value::strip(field, &format!("{name}=")));
            }
        }
    }
    found
}

fn has(rest: &[Field], flags: &[&str]) -> bool {
    rest.iter()
        .any(|field| value::known(field).is_some_and(|text| flags.contains(&text.as_str())))
}

/// Whether short flags hold a letter: `-ni` holds `i`.
fn has_letter(rest: &[Field], letter: char) -> bool {
    rest.iter().any(|field| {
        let text = value::beginning(field);
        text.starts_with('-') && !text.starts_with("--") && text.contains(letter)
    })
}

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

/// What a reader prints.
fn passed(name: &str, rest: &[Field], input: &Flow) -> Flow {
    let named = plain(rest);
    match name {
        "pwd" => Flow::Unknown,
        "date" | "id" | "nproc" | "seq" | "uname" | "whoami" | "hostname" | "wc" | "expr"
        | "arch" | "uuidgen" | "logname" | "tty" | "pgrep" | "pidof" | "cksum" | "stat" => {
            Flow::Atoms
        }
        "basename" => Flow::Atoms,
        "dirname" | "realpath" | "readlink" => match named.as_slice() {
            [one] => match (name, value::known(one), one.as_slice()) {
                ("dirname", Some(text), _) => Flow::Text(match text.rfind('/') {
                    Some(0) => "/".to_owned(),
                    Some(at) => text[..at].to_owned(),
                    None => ".".to_owned(),
                }),
                ("dirname", None, [Seg::Below]) => Flow::Below,
                (_, Some(text), _) => Flow::Text(text),
                (_, None, [Seg::Below]) => Flow::Below,
                _ => Flow::Unknown,
            },
            _ => Flow::Unknown,
        },
        "grep" | "egrep" | "fgrep" | "rg" | "ag" => {
            let lists = has_letter(rest, 'l')
                || has_letter(rest, 'L')
                || has(
                    rest,
                    &["--files-with-matches", "--files", "--files-without-match"],
                );
            let from = if name == "rg" && has(rest, &["--files"]) {
                &named[..]
            } else {
                named.get(1..).unwrap_or_default()
            };
            if lists && from.iter().all(|f| stays(f)) {
                Flow::Below
            } else if !lists && from.is_empty() && !has_letter(rest, 'o') && !has_letter(rest, 'r')
            {
                kept(input)
            } else {
                Flow::Unknown
            }
        }
        "ls" if named.is_empty() => Flow::Atoms,
        "ls" if named.iter().all(|f| stays(f)) => Flow::Below,
        "cat" if named.is_empty() => input.clone(),
        "head" | "tail" | "sort" | "uniq" | "tac" if named.is_empty() || name == "head" => {
            kept(input)
        }
        "tr" => {
            let from_to: Vec<String> = named.iter().filter_map(|f| value::known(f)).collect();
            match from_to.as_slice() {
                [a, b]
                    if [a, b]
                        .iter()
                        .all(|t| ["\\n", "\\0", " ", "\\t"].contains(&t.as_str())) =>
                {
                    kept(input)
                }
                _ => Flow::Unknown,
            }
        }
        _ => Flow::Unknown,
    }
}

/// Some of the lines of it.
fn kept(input: &Flow) -> Flow {
    match input {
        Flow::Below | Flow::Atoms => input.clone(),
        _ => Flow::Unknown,
    }
}

/// Whether a path is a plain one downwards.
fn stays(field: &[Seg]) -> bool {
    !field.contains(&Seg::Unknown)
        && !value::beginning(field).starts_with(['/', '~'])
        && !value::shown(field).split('/').any(|part| part == "..")
}

fn piped(name: &str) -> String {
    format!(
        "what `{name}` would run is only known when it runs, so it cannot be checked. Write the \
         commands out, or put them into a file in your worktree and run that."
    )
}

fn joined(walk: &Walk<'_>, rest: &[Field]) -> Step<String> {
    let words: Option<Vec<String>> = rest.iter().map(|field| value::known(field)).collect();
    match words {
        Some(words) => Ok(words.join(" ")),
        None if !walk.strict => Ok(String::new()),
        None => Err(piped("eval")),
    }
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

fn wrapped(
    walk: &mut Walk<'_>,
    name: &str,
    flags: &[&str],
    rest: &[Field],
    assigned: &[(String, Vec<Field>)],
    input: &Flow,
) -> Step<Flow> {
    let mut at = 0;
    let mut assigned = assigned.to_vec();
    for folder in values_of(rest, &["--chdir", "-D"]) {
        if name == "sudo" {
            walk.go(&folder)?;
        }
    }
    while let Some(field) = rest.get(at) {
        let text = value::beginning(field);
        if name == "command" && matches!(text.as_str(), "-v" | "-V") {
            return Ok(Flow::Unknown);
        }
        if matches!(name, "time" | "strace" | "ltrace") && text.starts_with("-o")
            || text.starts_with("--output=") && name == "time"
        {
            let target = if text == "-o" {
                at += 1;
                rest.get(at).cloned()
            } else {
                value::strip(field, "-o").or_else(|| value::strip(field, "--output="))
            };
            if let Some(target) = target {
                walk.write(&format!("`{name}` to"), &target)?;
            }
        } else if flags.contains(&text.as_str()) {
            at += 1;
        } else if text.starts_with('-') && text.len() > 1 {
            if name == "sudo" && (text.contains('i') || text.contains('s')) && !text.contains("--")
            {
                let words = rest.get(at + 1..).unwrap_or_default();
                if words.is_empty() {
                    return shell(walk, "sh", words, input).map(|()| Flow::Unknown);
                }
                return walk.call(words, &assigned, input);
            }
        } else if let Some((variable, value)) = value::split_once(field, '=')
            && matches!(name, "sudo" | "doas")
        {
            assigned.push((variable, vec![value]));
        } else {
            break;
        }
        at += 1;
    }
    let number = |field: &Field| {
        value::beginning(field)
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_digit() || b == b'.')
            || !field.iter().any(|seg| matches!(seg, Seg::Text(_)))
    };
    // How long, how often, on which processor.
    let takes_one = match name {
        "timeout" | "gtimeout" => true,
        "chrt" | "taskset" | "faketime" | "retry" | "repeat" => rest.get(at).is_some_and(number),
        _ => false,
    };
    if takes_one && at < rest.len() {
        at += 1;
    }
    if name == "watch"
        && let Some(text) = rest.get(at..).and_then(|words| joined(walk, words).ok())
    {
        walk.text(&text)?;
        return Ok(Flow::Unknown);
    }
    match rest.get(at..) {
        Some(words) if !words.is_empty() => walk.call(words, &assigned, input),
        _ => Ok(Flow::None),
    }
}

fn env(
    walk: &mut Walk<'_>,
    rest: &[Field],
    assigned: &[(String, Vec<Field>)],
    input: &Flow,
) -> Step<Flow> {
    let before = walk.state.clone();
    let mut assigned = assigned.to_vec();
    let mut words = rest.to_vec();
    let mut at = 0;
    while let Some(field) = words.get(at) {
        let text = value::beginning(field);
        if let Some(folder) = value::strip(field, "--chdir=") {
            walk.go(&folder)?;
        } else if text == "-C" || text == "--chdir" {
            at += 1;
            if let Some(folder) = words.get(at).cloned() {
                walk.go(&folder)?;
            }
        } else if text == "-S" || text == "--split-string" || text.starts_with("--split-string=") {
            let inner = if text.contains('=') {
                value::strip(field, "--split-string=")
            } else {
                words.get(at + 1).cloned()
            };
            let skip = if text.contains('=') { 1 } else { 2 };
            let Some(inner) = inner.and_then(|f| value::known(&f)) else {
                return Err(piped("env -S"));
            };
            if inner.contains(['\\', '"', '\'', '$']) {
                return Err(piped("env -S"));
            }
            let mut next: Vec<Field> = inner.split_whitespace().map(value::text).collect();
            next.extend(words.into_iter().skip(at + skip));
            words = next;
            at = 0;
            continue;
        } else if text.starts_with("-S") {
            return Err(piped("env -S"));
        } else if matches!(text.as_str(), "-u" | "--unset") {
            at += 1;
        } else if text.starts_with('-') {
            // -i, -0, -v
        } else if let Some((name, value)) = value::split_once(field, '=') {
            assigned.push((name, vec![value]));
        } else if matches!(field.first(), Some(Seg::Unknown)) {
            return Err(piped("env"));
        } else {
            break;
        }
        at += 1;
    }
    let words = words.get(at..).unwrap_or_default().to_vec();
    let result = walk.call(&words, &assigned, input);
    walk.state = before;
    result
}

/// `sh -c SCRIPT`, `bash FILE`, `… | bash`.
fn shell(walk: &mut Walk<'_>, name: &str, rest: &[Field], input: &Flow) -> Step {
    let mut at = 0;
    let mut script = false;
    let mut from_input = false;
    while let Some(field) = rest.get(at) {
        let text = value::beginning(field);
        if !text.starts_with(['-', '+']) || text == "-" {
            if matches!(field.first(), Some(Seg::Unknown)) && walk.strict {
                return Err(piped(name));
            }
            break;
        }
        if text == "--" {
            at += 1;
            break;
        }
        if walk.strict && (text.contains(char::is_whitespace) || value::known(field).is_none()) {
            return Err(piped(name));
        }
        if text.starts_with("--") {
            if matches!(text.as_str(), "--rcfile" | "--init-file") {
                at += 1;
                if let Some(file) = rest.get(at) {
                    walk.file(file, &[])?;
                }
            }
        } else {
            script |= text.contains('c');
            from_input |= text.contains('s');
            if text.ends_with(['o', 'O']) {
                at += 1;
            }
        }
        at += 1;
    }
    let words = rest.get(at..).unwrap_or_default();
    let before = walk.state.clone();
    let result = match words.split_first() {
        Some((text, arguments)) if script => match value::known(text) {
            Some(text) => {
                plain_for(walk, name, &text)?;
                walk.state.variables.set("0", vec![vec![Seg::Atom]]);
                walk.positional(arguments.get(1..).unwrap_or_default());
                walk.text(&text)
            }
            None if !walk.strict => Ok(()),
            None => Err(piped(name)),
        },
        Some((file, arguments)) if !from_input && value::beginning(file) != "-" => {
            if value::beginning(file).starts_with("/dev/") && walk.strict {
                return Err(piped(name));
            }
            foreign_argument(walk, name, file)?;
            at_home(walk, name)?;
            walk.file(file, arguments)
        }
        _ => match input {
            Flow::Text(text) => {
                plain_for(walk, name, text)?;
                walk.text(text)
            }
            Flow::None => Ok(()),
            _ if !walk.strict => Ok(()),
            _ => Err(piped(name)),
        },
    };
    walk.state = before;
    result
}

/// Smaller shells read some things as other things than is known here.
fn plain_for(walk: &Walk<'_>, name: &str, text: &str) -> Step {
    let own = |sign: &str| text.contains(sign);
    let arithmetic = text.replace("$((", "").contains("((");
    if walk.strict
        && !matches!(name, "bash" | "zsh" | "rbash")
        && (arithmetic || own("[[") || own("$'") || own("<(") || own(">(") || own("<<<"))
    {
        return Err(format!(
            "`{name}` may read this differently from bash, so it cannot be checked; use `bash` \
             for it, or write it more plainly."
        ));
    }
    Ok(())
}

fn interpreter(
    walk: &mut Walk<'_>,
    name: &str,
    stem: &str,
    flags: &[&str],
    rest: &[Field],
    input: &Flow,
) -> Step {
    at_home(walk, name)?;
    let mut programs = values_of(rest, flags);
    // `perl -pe`, `perl -i -ne`, `ruby -ne`: the letter stands among others.
    let letters = matches!(stem, "perl" | "ruby" | "php" | "python");
    let mut edits = false;
    for (at, field) in rest.iter().enumerate() {
        let text = value::beginning(field);
        if letters && text.starts_with('-') && !text.starts_with("--") && text.len() > 2 {
            let last = text.chars().last().unwrap_or(' ');
            if "eEcr".contains(last) {
                programs.extend(rest.get(at + 1).cloned());
            }
        }
        edits |= matches!(stem, "perl" | "ruby")
            && text.starts_with('-')
            && !text.starts_with("--")
            && text.contains('i')
            && text != "-I";
    }
    for program in &programs {
        match value::known(program) {
            Some(text) => walk.code(&text)?,
            // What is put into it is text of the instance's own making; the rest is looked at.
            None => walk.code(&value::shown(program))?,
        }
    }
    if edits {
        for file in plain(rest) {
            if !programs.contains(file) {
                walk.write(&format!("`{name} -i` on"), file)?;
            }
        }
        return Ok(());
    }
    if programs.is_empty()
        && let Some(text) = plain(rest).first().and_then(|file| walk.wrote(file))
    {
        walk.code(&text)?;
    }
    if programs.is_empty() {
        let file = plain(rest).first().map(|f| value::beginning(f));
        let reads_input = file
            .as_deref()
            .is_none_or(|file| file == "-" || file == "/dev/stdin");
        if reads_input && let Flow::Text(text) = input {
            walk.code(text)?;
        }
    }
    let arguments: Vec<Field> = rest
        .iter()
        .filter(|field| !programs.contains(field))
        .cloned()
        .collect();
    // With a program on the command line the rest are its arguments: seen by it as they are.
    other(walk, name, &arguments)
}

fn folder(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
    let named: Vec<&Field> = rest
        .iter()
        .filter(|field| {
            let text = value::beginning(field);
            text == "-" || flag(field).is_none()
        })
        .collect();
    match named.first() {
        None if name == "pushd" => {
            let before = walk.state.before.clone();
            walk.state.folders.extend(before);
            Ok(())
        }
        None => match walk.bounds.var("HOME") {
            Some(home) => walk.go(&value::text(home)),
            None => walk.go(&[Seg::Unknown]),
        },
        Some(field) if value::beginning(field) == "-" => {
            let before = std::mem::take(&mut walk.state.before);
            let now = std::mem::replace(&mut walk.state.folders, before);
            walk.state.before = now;
            Ok(())
        }
        Some(field) => {
            let field = (*field).clone();
            walk.go(&field)
        }
    }
}

fn read(walk: &mut Walk<'_>, rest: &[Field], input: &Flow) -> Step {
    let value = match input {
        Flow::Below => vec![Seg::Below],
        Flow::Atoms => vec![Seg::Atom],
        _ => vec![Seg::Unknown],
    };
    let mut skip = false;
    for field in rest {
        let Some(text) = value::known(field) else {
            continue;
        };
        if std::mem::take(&mut skip) {
            continue;
        }
        if text.starts_with('-') {
            skip = matches!(
                text.as_str(),
                "-d" | "-p" | "-n" | "-N" | "-t" | "-u" | "-i" | "-C"
            );
            continue;
        }
        let values = match (input, text.as_str()) {
            (Flow::Text(lines), _) if lines.len() < 4_000 => {
                let mut values: Vec<Field> = lines.lines().map(value::text).collect();
                values.extend(lines.split_whitespace().map(value::text));
                values
            }
            _ => vec![value.clone()],
        };
        walk.state.variables.set(&text, values);
    }
    walk.state.variables.set("REPLY", vec![vec![Seg::Unknown]]);
    Ok(())
}

fn print(name: &str, rest: &[Field]) -> Step<Flow> {
    let mut words = rest;
    let mut line_end = name == "echo";
    while let Some((first, after)) = words.split_first() {
        match value::known(first).as_deref() {
            Some("-n") if name == "echo" => line_end = false,
            Some("-e" | "-E" | "-ne" | "-en") if name == "echo" => {}
            Some("--") if name == "printf" => {}
            _ => break,
        }
        words = after;
    }
    let all: Option<Vec<String>> = words.iter().map(|field| value::known(field)).collect();
    let Some(all) = all else {
        return Ok(match rest {
            [one]
                if one
                    .iter()
                    .all(|seg| *seg == Seg::Below || *seg == Seg::Atom) =>
            {
                Flow::of_field(one)
            }
            _ => Flow::Unknown,
        });
    };
    let mut text = all.join(" ");
    if name == "printf" {
        // Only the plainest format is worked out.
        let plain_format = all.first().is_some_and(|f| {
            matches!(
                f.as_str(),
                "%s" | "%s\\n" | "%s\\0" | "%s " | "%b" | "%b\\n"
            )
        });
        if plain_format {
            text = all[1..].join("\n");
        } else if all.len() > 1 || all.first().is_some_and(|f| f.contains('%')) {
            return Ok(Flow::Unknown);
        }
    }
    if text.contains('\\') {
        match unescaped(&text) {
            Some(plain) => text = plain,
            None => return Ok(Flow::Unknown),
        }
    }
    if line_end {
        text.push('\n');
    }
    Ok(Flow::Text(text))
}

/// The commonest escapes of `printf` and `echo -e`; others are not followed.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        plain.push(match chars.next()? {
            'n' => '\n',
            't' => '\t',
            _ => return None,
        });
    }
    Some(plain)
}

fn find(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
    let all = rest;
    let mut starts: Vec<Field> = Vec::new();
    let mut at = 0;
    while let Some(field) = rest.get(at) {
        let text = value::beginning(field);
        if matches!(text.as_str(), "-H" | "-L" | "-P") || text.starts_with("-O") {
            at += 1;
            continue;
        }
        if text.starts_with(['-', '(', '!']) {
            break;
        }
        starts.push(field.clone());
        at += 1;
    }
    if starts.is_empty() {
        starts.push(value::text("."));
    }
    let rest = &rest[at..];
    let inside = starts.iter().all(|start| {
        let paths = walk.paths(start);
        !paths.is_empty()
            && paths.iter().all(|path| walk.bounds.is_own(path))
            && !start.contains(&Seg::Unknown)
            || *start == [Seg::Below]
    });
    // Links are followed, or are what is looked for: they lead anywhere.
    let links = has(all, &["-L", "-follow"])
        || all.windows(2).any(|pair| {
            value::beginning(&pair[0]).ends_with("type") && value::beginning(&pair[1]).contains('l')
        });
    let inside = inside && !links;
    let found: Vec<Field> = if links {
        vec![vec![Seg::Unknown]]
    } else if inside {
        vec![vec![Seg::Below]]
    } else {
        starts.clone()
    };
    let mut prints = true;
    let mut at = 0;
    while let Some(field) = rest.get(at) {
        let text = value::beginning(field);
        match text.as_str() {
            "-delete" => {
                for start in &found {
                    walk.write("`find -delete` below", start)?;
                }
            }
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                prints = false;
                let end = rest[at + 1..]
                    .iter()
                    .position(|f| matches!(value::known(f).as_deref(), Some(";" | "+")))
                    .map_or(rest.len(), |end| at + 1 + end);
                for start in &found {
                    let words: Vec<Field> = rest[at + 1..end]
                        .iter()
                        .map(|word| put_in(word, "{}", start))
                        .collect();
                    walk.call(&words, &[], &Flow::None)?;
                }
                at = end;
            }
            "-fprint" | "-fprint0" | "-fprintf" | "-fls" => {
                if let Some(target) = rest.get(at + 1) {
                    walk.write("`find` to", target)?;
                }
            }
            "-printf" => prints = false,
            "-files0-from" => prints = false,
            _ => {}
        }
        if matches!(field.first(), Some(Seg::Unknown)) && walk.strict && field.len() == 1 {
            return Err(piped("find"));
        }
        at += 1;
    }
    Ok(if prints && inside {
        Flow::Below
    } else {
        Flow::Unknown
    })
}

/// A word with something put in the place of a sign.
fn put_in(word: &[Seg], sign: &str, value: &[Seg]) -> Field {
    let mut done = Vec::new();
    for seg in word {
        match seg {
            Seg::Text(text) => {
                for (at, part) in text.split(sign).enumerate() {
                    if at > 0 {
                        done.extend(value.iter().cloned());
                    }
                    if !part.is_empty() || text.is_empty() {
                        done.push(Seg::Text(part.to_owned()));
                    }
                }
            }
            other => done.push(other.clone()),
        }
    }
    done
}

fn fd(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
    let runs = rest.iter().position(|field| {
        matches!(
            value::known(field).as_deref(),
            Some("-x" | "--exec" | "-X" | "--exec-batch")
        )
    });
    let named = plain(&rest[..runs.unwrap_or(rest.len())]);
    let inside = named.iter().skip(1).all(|f| stays(f));
    let found = if inside { Seg::Below } else { Seg::Unknown };
    if let Some(at) = runs {
        let mut words: Vec<Field> = rest[at + 1..]
            .iter()
            .map(|word| put_in(word, "{}", std::slice::from_ref(&found)))
            .collect();
        words.push(vec![found]);
        walk.call(&words, &[], &Flow::None)?;
        return Ok(Flow::Unknown);
    }
    Ok(if inside { Flow::Below } else { Flow::Unknown })
}

fn xargs(walk: &mut Walk<'_>, name: &str, rest: &[Field], input: &Flow) -> Step<Flow> {
    const TAKES: &[&str] = &[
        "-n",
        "-P",
        "-d",
        "-s",
        "-L",
        "-E",
        "-a",
        "-j",
        "--max-args",
        "--max-procs",
        "--delimiter",
        "--arg-file",
        "--jobs",
        "--colsep",
    ];
    let mut at = 0;
    let mut sign: Option<String> = (name == "parallel").then(|| "{}".to_owned());
    let mut given = input.words();
    while let Some(field) = rest.get(at) {
        let text = value::beginning(field);
        if text == "-I" || text == "--replace" && name != "parallel" {
            at += 1;
            sign = rest.get(at).and_then(|f| value::known(f));
        } else if text.starts_with("-I") || text.starts_with("-i") {
            sign = Some(if text.len() > 2 {
                text[2..].to_owned()
            } else {
                "{}".to_owned()
            });
        } else if TAKES.contains(&text.as_str()) {
            if text == "-a" || text == "--arg-file" {
                given = vec![vec![Seg::Unknown]];
            }
            at += 1;
        } else if !text.starts_with('-') {
            break;
        } else if text.starts_with("-a") || text.starts_with("--arg-file") {
            given = vec![vec![Seg::Unknown]];
        }
        at += 1;
    }
    let mut words = rest.get(at..).unwrap_or_default().to_vec();
    if name == "parallel"
        && let Some(end) = words
            .iter()
            .position(|f| matches!(value::known(f).as_deref(), Some(":::" | "::::")))
    {
        let tail = words.split_off(end);
        given = if value::known(&tail[0]).as_deref() == Some(":::") {
            tail[1..].to_vec()
        } else {
            vec![vec![Seg::Unknown]]
        };
    }
    if words.is_empty() {
        return Ok(input.clone());
    }
    if given.is_empty() {
        given.push(vec![Seg::Unknown]);
    }
    let signed = |sign: &String| {
        words
            .iter()
            .any(|w| value::shown(w).contains(sign.as_str()))
    };
    if name == "parallel" && !sign.as_ref().is_some_and(signed) {
        words.push(value::text("{}"));
    }
    if let Some(sign) = sign {
        for value in &given {
            let words: Vec<Field> = words.iter().map(|w| put_in(w, &sign, value)).collect();
            call_joined(walk, name, &words)?;
        }
    } else {
        words.extend(given);
        call_joined(walk, name, &words)?;
    }
    Ok(Flow::Unknown)
}

/// `parallel` hands its words to a shell.
fn call_joined(walk: &mut Walk<'_>, name: &str, words: &[Field]) -> Step {
    if name == "parallel"
        && let Ok(text) = joined(walk, words)
    {
        return walk.text(&text);
    }
    walk.call(words, &[], &Flow::Unknown).map(drop)
}

fn sed(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
    let in_place = rest.iter().any(|field| {
        let text = value::beginning(field);
        text.starts_with("--in-place")
            || text.starts_with('-')
                && !text.starts_with("--")
                && text[1..]
                    .chars()
                    .take_while(|c| "nrEszubi".contains(*c))
                    .any(|c| c == 'i')
    });
    let scripts = values_of(rest, &["-e", "--expression"]);
    let files = values_of(rest, &["-f", "--file"]);
    let mut named: Vec<Field> = plain(rest).into_iter().cloned().collect();
    named.retain(|field| !scripts.contains(field) && !files.contains(field));
    let mut all = scripts.clone();
    if scripts.is_empty() && files.is_empty() && !named.is_empty() {
        all.push(named.remove(0));
    }
    for script in &all {
        let text = value::known(script).unwrap_or_else(|| value::shown(script));
        sed_script(walk, &text)?;
    }
    if in_place {
        for file in &named {
            walk.write("`sed -i` on", file)?;
        }
    }
    Ok(())
}

/// Whether a substitution of a sed script runs what it made: the flag `e`.
fn sed_runs(text: &str) -> bool {
    text.split(['\n', ';', '{', '}']).any(|command| {
        let command = command.trim_start_matches(|c: char| {
            c.is_ascii_digit() || c.is_whitespace() || "$,!".contains(c)
        });
        let Some(rest) = command.strip_prefix('s') else {
            return false;
        };
        let Some(sign) = rest.chars().next().filter(|c| !c.is_alphanumeric()) else {
            return false;
        };
        let flags = rest.rsplit(sign).next().unwrap_or_default();
        flags.contains('e') && flags.chars().all(|c| "gpiIemM0123456789 ".contains(c))
    })
}

/// `w FILE` and `e COMMAND` of a sed script.
fn sed_script(walk: &mut Walk<'_>, text: &str) -> Step {
    if sed_runs(text) {
        return Err("`sed` would run what it makes (the flag `e`); leave that out.".to_owned());
    }
    let chars: Vec<char> = text.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let before = chars[..at]
            .iter()
            .rev()
            .find(|c| **c != ' ')
            .copied()
            .unwrap_or(';');
        let command =
            ";}{/$!,|#@\n".contains(before) || before.is_ascii_digit() || "gpIimM".contains(before);
        if !command {
            continue;
        }
        let rest: String = chars[at + 1..].iter().take_while(|c| **c != '\n').collect();
        let rest = rest.trim();
        match c {
            'w' | 'W' if rest.starts_with(['/', '.', '~']) => {
                let target = rest.split([';', '}']).next().unwrap_or(rest).trim();
                // `s/a/w/` has a slash there as well.
                if target.len() > 1 {
                    walk.write("`sed` with `w` to", &value::text(target))?;
                }
            }
            'e' if !rest.is_empty() && (at == 0 || !"/|#@".contains(before)) => {
                let strict = std::mem::replace(&mut walk.strict, false);
                let result = walk.text(rest);
                walk.strict = strict;
                result?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn awk(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
    let in_place = rest
        .windows(2)
        .any(|pair| value::beginning(&pair[0]) == "-i" && value::beginning(&pair[1]) == "inplace");
    let skip = values_of(rest, &["-v", "-F", "-f", "-i", "-E", "--assign"]);
    let named: Vec<Field> = plain(rest)
        .into_iter()
        .filter(|field| !skip.contains(field))
        .cloned()
        .collect();
    let has_file = has(rest, &["-f", "-E", "--file"]);
    let (program, files) = match named.split_first() {
        Some((program, files)) if !has_file => (Some(program), files),
        _ => (None, named.as_slice()),
    };
    if let Some(program) = program {
        let text = value::known(program).unwrap_or_else(|| value::shown(program));
        let literals: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        let writes = text.contains('>') || text.contains("close");
        let runs = text.contains("system") || text.contains('|') || text.contains("getline");
        for literal in &literals {
            if writes && literal.starts_with(['/', '~', '.']) && literal.len() > 1 {
                walk.write("`awk` to", &value::text(literal))?;
            }
            if runs && literal.contains(|c: char| c.is_ascii_alphabetic()) {
                let strict = std::mem::replace(&mut walk.strict, false);
                let result = walk.text(literal).and_then(|()| walk.code(literal));
                walk.strict = strict;
                result?;
            }
        }
        // `print > f` where f is given by -v.
        if writes {
            for field in &skip {
                if let Some((_, value)) = value::split_once(field, '=')
                    && value::beginning(&value).starts_with(['/', '.', '~'])
                {
                    walk.write("`awk` to", &value)?;
                }
            }
        }
    }
    if in_place {
        for file in files {
            walk.write("`awk -i inplace` on", file)?;
        }
    }
    Ok(())
}

fn targets(rest: &[Field]) -> Vec<Field> {
    values_of(rest, &["-t", "--target-directory"])
}

/// A link must not lead out: what is written through it later looks like the worktree's own.
fn link(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
    let named: Vec<Field> = plain(rest).into_iter().cloned().collect();
    let targets = targets(rest);
    let (sources, target) = match (targets.first(), named.split_last()) {
        (Some(target), _) => (named.as_slice(), Some(target.clone())),
        (None, Some((last, before))) if !before.is_empty() => (before, Some(last.clone())),
        _ => (named.as_slice(), None),
    };
    if let Some(target) = &target {
        walk.write("`ln` to", target)?;
    }
    let symbolic = has_letter(rest, 's') || has(rest, &["--symbolic"]);
    for source in sources {
        if symbolic && !value::beginning(source).starts_with('/') {
            // Told from where the link lies, which is in the worktree as well; a way up from
            // there is looked at when it is used.
            let steps = value::shown(source);
            if steps.split('/').any(|part| part == "..") {
                let base = target.clone().unwrap_or_else(|| value::text("."));
                let mut full = base;
                let folder = walk.paths(&full).iter().any(|path| path.is_dir());
                full.push(Seg::Text(if folder { "/" } else { "/../" }.to_owned()));
                full.extend(source.iter().cloned());
                let full = match value::known(&full) {
                    Some(text) => value::text(&text),
                    None => full,
                };
                walk.write("a link to", &full)?;
            }
            continue;
        }
        walk.write("a link to", source)?;
    }
    Ok(())
}

fn tar(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
    for folder in values_of(rest, &["-C", "--directory", "--one-top-level"]) {
        walk.write("`tar` in", &folder)?;
    }
    let first = rest
        .first()
        .map(|f| value::beginning(f))
        .unwrap_or_default();
    let letters = first.trim_start_matches('-');
    let long = first.starts_with("--");
    let creates = !long && letters.contains(['c', 'r', 'u', 'A'])
        || has(
            rest,
            &["-c", "--create", "--append", "--update", "-r", "-u"],
        )
        || has_letter(rest, 'c');
    if creates {
        for file in values_of(rest, &["-f", "--file"]) {
            walk.write("`tar` to", &file)?;
        }
        if !long
            && letters.contains('f')
            && let Some(file) = rest.get(1)
        {
            walk.write("`tar` to", file)?;
        }
    }
    if has(rest, &["-P", "--absolute-names"]) || !long && letters.contains('P') {
        return Err("`tar -P` may write anywhere; leave the flag out.".to_owned());
    }
    for field in rest {
        let text = value::shown(field);
        if text.starts_with("--to-command") || text.starts_with("--checkpoint-action") {
            return Err("`tar` would run another command; run that by itself.".to_owned());
        }
    }
    at_home(walk, "tar")
}

fn unpack(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
    for folder in values_of(rest, &["-d", "-o", "-D", "--directory", "-w"]) {
        walk.write(&format!("`{name}` to"), &folder)?;
    }
    at_home(walk, name)?;
    if name == "ar" || name == "7z" || name == "7za" {
        for field in plain(rest).iter().skip(1).take(1) {
            walk.write(&format!("`{name}` on"), field)?;
        }
    }
    if name == "cpio" {
        return Err("`cpio` may write anywhere; use tar.".to_owned());
    }
    Ok(())
}

fn fetch(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
    const TO: &[&str] = &[
        "-o",
        "-O",
        "--output",
        "--output-dir",
        "--output-document",
        "-P",
        "--directory-prefix",
        "-D",
        "--dump-header",
        "-c",
        "--cookie-jar",
        "--trace",
        "--trace-ascii",
        "-d",
        "--dir",
        "--output-file",
        "-a",
        "--append-output",
    ];
    let grouped = rest.windows(2).filter_map(|pair| {
        let text = value::beginning(&pair[0]);
        let takes = if name == "curl" { "ocD" } else { "OPao" };
        (text.starts_with('-')
            && !text.starts_with("--")
            && text.len() > 2
            && text.ends_with(|c| takes.contains(c)))
        .then(|| pair[1].clone())
    });
    for target in values_of(rest, TO).into_iter().chain(grouped) {
        let text = value::beginning(&target);
        if text.starts_with(['/', '~', '.']) && text != "."
            || target.first() == Some(&Seg::Unknown) && name != "curl"
        {
            walk.write(&format!("`{name}` to"), &target)?;
        }
    }
    let writes = name != "curl"
        || rest.iter().any(|field| {
            let text = value::beginning(field);
            text.starts_with("--remote-name")
                || text.starts_with('-') && !text.starts_with("--") && text.contains(['O', 'o'])
        });
    if writes { at_home(walk, name) } else { Ok(()) }
}

fn mktemp(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
    for folder in values_of(rest, &["-p", "--tmpdir"]) {
        walk.write("`mktemp` in", &folder)?;
    }
    let in_tmpdir = has(rest, &["-t"]) || has_letter(rest, 't') || has(rest, &["--tmpdir"]);
    let folders = values_of(rest, &["-p", "--tmpdir"]);
    let template = plain(rest)
        .into_iter()
        .find(|template| !folders.contains(template))
        .cloned();
    for template in template.iter() {
        if !in_tmpdir && value::beginning(template).contains('/') {
            walk.write("`mktemp` of", template)?;
        }
    }
    let own = walk
        .bounds
        .var("TMPDIR")
        .map(|dir| walk.bounds.resolve_plain(dir, "/".as_ref()))
        .is_some_and(|dir| walk.bounds.is_own(&dir))
        && walk.state.variables.get("TMPDIR").is_none();
    if !own && plain(rest).is_empty() && values_of(rest, &["-p", "--tmpdir"]).is_empty() {
        // It would lie where everybody's temporary files do.
        return Err(format!(
            "`mktemp` would make a file outside; give it a folder: `mktemp -p {}`.",
            walk.bounds.scratch().display()
        ));
    }
    // What it will be called nobody knows; that there was nothing of the name before is known.
    let scratch = walk.bounds.scratch().display();
    Ok(if template.is_none() && folders.is_empty() && own {
        Flow::Text(format!("{scratch}/tmp.made-by-mktemp\n"))
    } else {
        Flow::Below
    })
}

fn change(walk: &mut Walk<'_>, name: &str, rest: &[Field], input: &Flow) -> Step<Flow> {
    if name == "mktemp" {
        return mktemp(walk, rest);
    }
    let what = format!("`{name}` on");
    let mut named: Vec<Field> = plain(rest).into_iter().cloned().collect();
    let mut skip: Vec<Field> = Vec::new();
    match name {
        "touch" => skip = values_of(rest, &["-d", "-t", "-r", "--reference", "--date"]),
        "mkdir" | "mkfifo" => skip = values_of(rest, &["-m", "--mode"]),
        "truncate" => skip = values_of(rest, &["-s", "--size", "-r", "--reference"]),
        "fallocate" => skip = values_of(rest, &["-l", "-o", "--length", "--offset"]),
        "split" | "csplit" => skip = values_of(rest, &["-b", "-l", "-n", "-a", "-C"]),
        "chmod" | "chown" | "chgrp" | "chattr" => {
            skip = values_of(rest, &["--reference"]);
            if !has_reference(rest) && !named.is_empty() {
                named.remove(0);
            }
        }
        "mknod" => named.truncate(1),
        "sqlite3" => {
            for field in rest {
                walk.code(&value::shown(field))?;
            }
            if let Flow::Text(text) = input {
                walk.code(text)?;
            }
            named.truncate(1);
        }
        _ => {}
    }
    let reads_only = matches!(
        name,
        "gzip" | "gunzip" | "bzip2" | "bunzip2" | "xz" | "unxz" | "zstd" | "unzstd" | "lz4"
    ) && (has_letter(rest, 'c') || has_letter(rest, 't') || has_letter(rest, 'l'));
    if reads_only {
        return Ok(Flow::Unknown);
    }
    if matches!(name, "split" | "csplit") && named.len() > 1 {
        named.remove(0);
    }
    if matches!(
        name,
        "split" | "csplit" | "vi" | "vim" | "nvim" | "emacs" | "ed" | "ex"
    ) {
        at_home(walk, name)?;
        for field in rest {
            if let Some(text) = value::known(field) {
                walk.code(&text)?;
            }
        }
        if let Flow::Text(text) = input {
            walk.code(text)?;
        }
    }
    for field in named.iter().filter(|field| !skip.contains(field)) {
        walk.write(&what, field)?;
    }
    Ok(if name == "tee" {
        input.clone()
    } else {
        Flow::None
    })
}

fn has_reference(rest: &[Field]) -> bool {
    rest.iter()
        .any(|field| value::beginning(field).starts_with("--reference"))
}

fn copy(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
    let what = format!("`{name}` to");
    let links = name == "cp"
        && (has(rest, &["--link", "--symbolic-link"])
            || has_letter(rest, 'l')
            || has_letter(rest, 's'));
    let targets = targets(rest);
    for target in &targets {
        walk.write(&what, target)?;
    }
    let skip = values_of(
        rest,
        &[
            "-m",
            "-o",
            "-g",
            "--mode",
            "--owner",
            "--group",
            "-e",
            "--exclude",
            "--include",
            "-f",
            "--filter",
        ],
    );
    let named: Vec<&Field> = plain(rest)
        .into_iter()
        .filter(|f| name == "cp" || !skip.contains(f) || rest.len() <= 3)
        .collect();
    if name == "install" && (has(rest, &["--directory"]) || has_letter(rest, 'd')) {
        for field in &named {
            walk.write(&what, field)?;
        }
        return Ok(());
    }
    if links {
        for field in &named {
            walk.write("a link to", field)?;
        }
    }
    // A link that is copied as a link is one more way out.
    let whole = name == "rsync"
        || ['a', 'd', 'P', 'R', 'r']
            .iter()
            .any(|c| has_letter(rest, *c));
    for source in named.iter().rev().skip(1).filter(|_| whole) {
        let Some(text) = value::known(source) else {
            continue;
        };
        for folder in walk.state.folders.iter().flatten() {
            let is_link = folder
                .join(&text)
                .symlink_metadata()
                .is_ok_and(|m| m.is_symlink());
            let real = walk.bounds.resolve_plain(&text, folder);
            if is_link && !walk.bounds.is_own(&real) {
                return Err(walk.outside("copying the link", source, &real));
            }
        }
    }
    if name == "rsync" {
        for field in rest {
            let text = value::beginning(field);
            if text.starts_with("--remove-source-files") {
                for source in &named {
                    walk.remove("`rsync` from", source)?;
                }
            }
        }
        for folder in values_of(
            rest,
            &[
                "--backup-dir",
                "--log-file",
                "--temp-dir",
                "-T",
                "--partial-dir",
            ],
        ) {
            walk.write(&what, &folder)?;
        }
        for shell in values_of(rest, &["-e", "--rsh"]) {
            if let Some(text) = value::known(&shell) {
                walk.text(&text)?;
            }
        }
    }
    if targets.is_empty()
        && let Some(last) = named.last()
    {
        let remote = name == "scp" || name == "rsync";
        let text = value::beginning(last);
        if !(remote
            && text
                .split('/')
                .next()
                .is_some_and(|host| host.contains(':')))
        {
            walk.write(&what, last)?;
        }
    }
    Ok(())
}
