//! Programs that write, link, pack and fetch files.

use super::arguments::{has, has_letter, has_reference, plain, targets, values_of};
use super::at_home;
use crate::hook::guard::flow::Flow;
use crate::hook::guard::value;
use crate::hook::guard::value::{Field, Seg};
use crate::hook::guard::walk::{Step, Walk};

/// Whether a path is a plain one downwards.
pub(super) fn stays(field: &[Seg]) -> bool {
    !field.contains(&Seg::Unknown)
        && !value::beginning(field).starts_with(['/', '~'])
        && !value::shown(field).split('/').any(|part| part == "..")
}

/// A link must not lead out: what is written through it later looks like the worktree's own.
pub(super) fn link(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
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

pub(super) fn tar(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
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

pub(super) fn unpack(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
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

pub(super) fn fetch(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
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

pub(super) fn mktemp(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
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

pub(super) fn change(walk: &mut Walk<'_>, name: &str, rest: &[Field], input: &Flow) -> Step<Flow> {
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

pub(super) fn copy(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
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
