//! What changes the shell itself: folders and variables.

use super::arguments::flag;
use super::tables::LOADERS;
use crate::hook::guard::flow::Flow;
use crate::hook::guard::value;
use crate::hook::guard::value::{Field, Seg};
use crate::hook::guard::walk::{Step, Walk};

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

pub(super) fn folder(walk: &mut Walk<'_>, name: &str, rest: &[Field]) -> Step {
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

pub(super) fn read(walk: &mut Walk<'_>, rest: &[Field], input: &Flow) -> Step {
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

pub(super) fn print(name: &str, rest: &[Field]) -> Step<Flow> {
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
pub(super) fn unescaped(text: &str) -> Option<String> {
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
