//! Programs that run others.

use super::arguments::{has, joined, plain, put_in, values_of};
use super::files::stays;
use super::{at_home, foreign_argument, other, piped};
use crate::hook::guard::flow::Flow;
use crate::hook::guard::value;
use crate::hook::guard::value::{Field, Seg};
use crate::hook::guard::walk::{Step, Walk};

pub(super) fn wrapped(
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

pub(super) fn env(
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
pub(super) fn shell(walk: &mut Walk<'_>, name: &str, rest: &[Field], input: &Flow) -> Step {
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
pub(super) fn plain_for(walk: &Walk<'_>, name: &str, text: &str) -> Step {
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

pub(super) fn interpreter(
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

pub(super) fn find(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
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

pub(super) fn fd(walk: &mut Walk<'_>, rest: &[Field]) -> Step<Flow> {
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

pub(super) fn xargs(walk: &mut Walk<'_>, name: &str, rest: &[Field], input: &Flow) -> Step<Flow> {
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
pub(super) fn call_joined(walk: &mut Walk<'_>, name: &str, words: &[Field]) -> Step {
    if name == "parallel"
        && let Ok(text) = joined(walk, words)
    {
        return walk.text(&text);
    }
    walk.call(words, &[], &Flow::Unknown).map(drop)
}
