//! What words become: variables, substitutions, fields.

use super::{Step, Walk, value};
use crate::hook::guard::shell::{Change, Piece, Word};
use crate::hook::guard::value::{Field, MAX_FIELDS, Seg};

impl Walk<'_> {
    /// What a word comes to.
    ///
    /// # Errors
    /// When commands in it may not run.
    pub fn expand(&mut self, word: &Word) -> Step<Vec<Field>> {
        let fields = self.fields(&word.pieces, true)?;
        let mut split = Vec::new();
        for (field, splits) in fields {
            if splits {
                split.extend(self.split(field));
            } else {
                split.push(field);
            }
        }
        if split.len() > MAX_FIELDS {
            return Ok(vec![vec![Seg::Unknown]]);
        }
        Ok(split)
    }

    /// The same where the shell does not split words.
    ///
    /// # Errors
    /// When commands in it may not run.
    pub fn expand_unsplit(&mut self, word: &Word) -> Step<Vec<Field>> {
        let fields = self.fields(&word.pieces, false)?;
        Ok(fields.into_iter().map(|(field, _)| field).collect())
    }

    /// Splits at blanks that came out of a variable. They are marked by [`BLANK`].
    pub(super) fn split(&self, field: Field) -> Vec<Field> {
        if !self.state.splits {
            return vec![vec![Seg::Unknown]];
        }
        let mut fields = vec![Vec::new()];
        let mut any = false;
        for seg in field {
            let Seg::Text(text) = seg else {
                if let Some(last) = fields.last_mut() {
                    last.push(seg);
                }
                any = true;
                continue;
            };
            for (at, part) in text.split(BLANK).enumerate() {
                if at > 0 {
                    fields.push(Vec::new());
                }
                if !part.is_empty() {
                    any = true;
                    if let Some(last) = fields.last_mut() {
                        last.push(Seg::Text(part.to_owned()));
                    }
                }
            }
        }
        fields.retain(|field| !field.is_empty());
        if any { fields } else { Vec::new() }
    }

    /// The fields of a word, and whether any of it is to be split.
    pub(super) fn fields(&mut self, pieces: &[Piece], split: bool) -> Step<Vec<(Field, bool)>> {
        let mut fields: Vec<(Field, bool)> = vec![(Vec::new(), false)];
        for (at, piece) in pieces.iter().enumerate() {
            let (values, splits) = match piece {
                Piece::Text { text, quoted } => {
                    (vec![self.tilde(text, *quoted, at, pieces)], false)
                }
                Piece::Glob(pattern) if split => (vec![vec![Seg::Glob(pattern.clone())]], false),
                Piece::Glob(pattern) => (vec![value::text(pattern)], false),
                Piece::Mark(c) => (vec![value::text(&c.to_string())], false),
                Piece::Atom => (vec![vec![Seg::Atom]], false),
                Piece::Opaque(_) => {
                    self.run_within(std::slice::from_ref(piece))?;
                    (vec![vec![Seg::Unknown]], false)
                }
                Piece::Process(script) => {
                    let before = self.state.clone();
                    self.nested(|walk| walk.script(script))?;
                    self.state = before;
                    (vec![value::text("/dev/fd/63")], false)
                }
                Piece::Command { script, quoted } => {
                    let before = self.state.clone();
                    let flow = self.nested(|walk| walk.script(script))?;
                    self.state = before;
                    let bare = split && !*quoted;
                    (vec![marked(flow.field(), bare)], bare)
                }
                Piece::Var {
                    name,
                    change,
                    quoted,
                } => {
                    let bare = split && !*quoted;
                    let values = self.variable(name, change)?;
                    let values = values.into_iter().map(|v| marked(v, bare)).collect();
                    (values, bare)
                }
            };
            let mut next = Vec::new();
            for (before, was) in &fields {
                for value in &values {
                    let mut field = before.clone();
                    field.extend(value.iter().cloned());
                    next.push((field, *was || splits));
                }
            }
            if next.len() > MAX_FIELDS {
                next = vec![(vec![Seg::Unknown], false)];
            }
            fields = next;
        }
        Ok(fields)
    }

    /// A word's text with `~` at its beginning followed.
    pub(super) fn tilde(&self, text: &str, quoted: bool, at: usize, pieces: &[Piece]) -> Field {
        let alone = at > 0 || quoted || !text.starts_with('~');
        if alone {
            // In an assignment, and in arguments like `--x=~/y` for some shells, it counts
            // behind `=` and `:` too.
            if !quoted && (text.contains("=~") || text.contains(":~")) {
                if let Some(home) = self.bounds.var("HOME") {
                    let text = text.replace("=~", &format!("={home}"));
                    return value::text(&text.replace(":~", &format!(":{home}")));
                }
                return vec![Seg::Unknown];
            }
            return value::text(text);
        }
        let (user, rest) = match text.find('/') {
            Some(end) => (&text[1..end], &text[end..]),
            None => (&text[1..], ""),
        };
        if rest.is_empty() && pieces.len() > 1 && user.is_empty() && pieces.get(1).is_some() {
            return value::text(text);
        }
        let home = match user {
            "" => self.variable_text("HOME"),
            "+" => self.folder_text(),
            _ => None,
        };
        match home {
            Some(home) => value::text(&format!("{home}{rest}")),
            None => vec![Seg::Unknown],
        }
    }

    pub(super) fn variable_text(&self, name: &str) -> Option<String> {
        match self.state.variables.get(name).map(Vec::as_slice) {
            Some([one]) => value::known(one),
            Some(_) => None,
            None => self.bounds.var(name).map(str::to_owned),
        }
    }

    pub(super) fn folder_text(&self) -> Option<String> {
        match self.state.folders.as_slice() {
            [Some(folder)] => folder.to_str().map(str::to_owned),
            _ => None,
        }
    }

    /// What a variable may hold.
    pub(super) fn variable(&mut self, name: &str, change: &Change) -> Step<Vec<Field>> {
        let value = self.plain(name);
        Ok(match change {
            Change::None => value.unwrap_or_else(|| vec![vec![Seg::Unknown]]),
            Change::Length => vec![vec![Seg::Atom]],
            Change::Default { word, keep } => {
                let other: Vec<Field> = self
                    .fields(word, false)?
                    .into_iter()
                    .map(|(field, _)| field)
                    .collect();
                let values = match value {
                    // Known not to be empty: the other word does not come into it.
                    Some(values)
                        if values.iter().all(|v| {
                            v.iter().any(|s| !matches!(s, Seg::Text(t) if t.is_empty()))
                        }) && !values.iter().any(|v| v.contains(&Seg::Unknown)) =>
                    {
                        values
                    }
                    Some(values) => [values, other].concat(),
                    // Whatever it is, it was not set by anything that is seen here.
                    None => [vec![vec![Seg::Unknown]], other].concat(),
                };
                if *keep {
                    self.assign(name, values.clone())?;
                }
                values
            }
            Change::Alternative(word) => {
                let mut values: Vec<Field> = self
                    .fields(word, false)?
                    .into_iter()
                    .map(|(field, _)| field)
                    .collect();
                values.push(value::text(""));
                values
            }
            Change::Trim {
                end,
                longest,
                pattern,
            } => {
                self.run_within(pattern)?;
                let pattern = plain_pattern(pattern);
                value
                    .unwrap_or_else(|| vec![vec![Seg::Unknown]])
                    .into_iter()
                    .map(|field| trim(&field, *end, *longest, pattern.as_deref()))
                    .collect()
            }
            Change::Other(word) => {
                self.run_within(word)?;
                vec![vec![Seg::Unknown]]
            }
        })
    }

    pub(super) fn plain(&self, name: &str) -> Option<Vec<Field>> {
        if let Some(values) = self.state.variables.get(name) {
            return Some(values.clone());
        }
        match name {
            "?" | "$" | "!" | "#" | "-" | "RANDOM" | "SECONDS" | "UID" | "EUID" | "PPID"
            | "LINENO" | "BASHPID" | "EPOCHSECONDS" | "HOSTNAME" | "OSTYPE" | "HOSTTYPE"
            | "SHLVL" | "USER" | "LOGNAME" | "0" => Some(vec![vec![Seg::Atom]]),
            "@" | "*" => Some(vec![value::text("")]),
            "PWD" => self.folder_text().map(|text| vec![value::text(&text)]),
            "OLDPWD" | "_" | "IFS" => None,
            // Not of the shell: the client gives it to hooks only.
            _ if name.starts_with("CLAUDE_PROJECT") || name.starts_with("CLAUDE_PLUGIN") => None,
            _ => self.bounds.var(name).map(|text| vec![value::text(text)]),
        }
    }
}

/// Stands for a blank at which the shell splits.
pub(super) const BLANK: char = '\u{e000}';

/// A value with its blanks marked where it is split.
pub(super) fn marked(field: Field, splits: bool) -> Field {
    if !splits {
        return field;
    }
    field
        .into_iter()
        .flat_map(|seg| match seg {
            // What is used bare is a pattern as well.
            Seg::Text(text) => {
                let mut segs = Vec::new();
                let mut plain = String::new();
                for c in text.chars() {
                    match c {
                        ' ' | '\t' | '\n' => plain.push(BLANK),
                        '*' | '?' | '[' => {
                            segs.push(Seg::Text(std::mem::take(&mut plain)));
                            segs.push(Seg::Glob(c.to_string()));
                        }
                        c => plain.push(c),
                    }
                }
                segs.push(Seg::Text(plain));
                segs
            }
            other => vec![other],
        })
        .collect()
}

/// A pattern of text and `*` only.
pub(super) fn plain_pattern(pieces: &[Piece]) -> Option<String> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text { text, .. } if !text.contains(['*', '?', '[']) => Some(text.as_str()),
            Piece::Glob(text) if text != "[" => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

pub(super) fn trim(field: &[Seg], end: bool, longest: bool, pattern: Option<&str>) -> Field {
    let Some(pattern) = pattern else {
        return vec![Seg::Unknown];
    };
    if let Some(text) = value::known(field) {
        let cuts: Vec<usize> = text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .collect();
        let part = |at: usize| if end { &text[at..] } else { &text[..at] };
        let mut fitting: Vec<usize> = cuts
            .into_iter()
            .filter(|at| value::wild(pattern, part(*at)))
            .collect();
        // The longest end begins first.
        if longest == end {
            fitting.truncate(1);
        }
        return match fitting.last() {
            Some(at) if end => value::text(&text[..*at]),
            Some(at) => value::text(&text[*at..]),
            None => value::text(&text),
        };
    }
    match field {
        // The name without its folders.
        [Seg::Below] if !end && longest && pattern == "*/" => vec![Seg::Atom],
        // The name without its ending.
        [Seg::Below] if end && pattern.starts_with('.') && !pattern.contains('/') && !longest => {
            vec![Seg::Below]
        }
        [Seg::Atom] => vec![Seg::Atom],
        _ => vec![Seg::Unknown],
    }
}
