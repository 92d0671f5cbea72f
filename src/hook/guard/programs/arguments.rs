//! Flags, their values, and what is neither.

use super::piped;
use crate::hook::guard::value;
use crate::hook::guard::value::{Field, Seg};
use crate::hook::guard::walk::{Step, Walk};

pub(super) fn flag(field: &[Seg]) -> Option<String> {
    let text = value::beginning(field);
    (text.starts_with('-') && text.len() > 1).then_some(text)
}

/// What is no flag. After `--` everything is.
pub(super) fn plain(rest: &[Field]) -> Vec<&Field> {
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
pub(super) fn values_of(rest: &[Field], flags: &[&str]) -> Vec<Field> {
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

pub(super) fn has(rest: &[Field], flags: &[&str]) -> bool {
    rest.iter()
        .any(|field| value::known(field).is_some_and(|text| flags.contains(&text.as_str())))
}

/// Whether short flags hold a letter: `-ni` holds `i`.
pub(super) fn has_letter(rest: &[Field], letter: char) -> bool {
    rest.iter().any(|field| {
        let text = value::beginning(field);
        text.starts_with('-') && !text.starts_with("--") && text.contains(letter)
    })
}

pub(super) fn joined(walk: &Walk<'_>, rest: &[Field]) -> Step<String> {
    let words: Option<Vec<String>> = rest.iter().map(|field| value::known(field)).collect();
    match words {
        Some(words) => Ok(words.join(" ")),
        None if !walk.strict => Ok(String::new()),
        None => Err(piped("eval")),
    }
}

/// A word with something put in the place of a sign.
pub(super) fn put_in(word: &[Seg], sign: &str, value: &[Seg]) -> Field {
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

pub(super) fn targets(rest: &[Field]) -> Vec<Field> {
    values_of(rest, &["-t", "--target-directory"])
}

pub(super) fn has_reference(rest: &[Field]) -> bool {
    rest.iter()
        .any(|field| value::beginning(field).starts_with("--reference"))
}
