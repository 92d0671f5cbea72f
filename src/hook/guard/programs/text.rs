//! `sed` and `awk`, which have languages of their own, and what readers pass on.

use super::arguments::{has, has_letter, plain, values_of};
use super::files::stays;
use crate::hook::guard::flow::Flow;
use crate::hook::guard::value;
use crate::hook::guard::value::{Field, Seg};
use crate::hook::guard::walk::{Step, Walk};

/// What a reader prints.
pub(super) fn passed(name: &str, rest: &[Field], input: &Flow) -> Flow {
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
pub(super) fn kept(input: &Flow) -> Flow {
    match input {
        Flow::Below | Flow::Atoms => input.clone(),
        _ => Flow::Unknown,
    }
}

pub(super) fn sed(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
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
pub(super) fn sed_runs(text: &str) -> bool {
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
pub(super) fn sed_script(walk: &mut Walk<'_>, text: &str) -> Step {
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

pub(super) fn awk(walk: &mut Walk<'_>, rest: &[Field]) -> Step {
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
