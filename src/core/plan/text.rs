//! Helping with words: the nearest known one, and a usable name for an unusable one.

use crate::core::id::TaskName;

/// The nearest of `known` to `word`, when one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| -> String {
        let kept = text.chars().filter(|c| c.is_alphanumeric()).take(80);
        kept.flat_map(char::to_lowercase).collect()
    };
    let word = fold(word);
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A usable name as near as possible to `text`: `../x y` becomes `x-y`. At most 50 bytes,
/// cut at a word where that is possible. `None` when nothing usable is left.
#[must_use]
pub fn suggest_name(text: &str) -> Option<TaskName> {
    let mut name = String::new();
    for c in text.chars().take(400) {
        if c == '.' && name.ends_with('.') {
            continue;
        }
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    if name.len() > 50 {
        let cut = name[..50].rfind('-').filter(|at| *at >= 20).unwrap_or(50);
        name.truncate(cut);
    }
    let mut name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    while name.to_ascii_lowercase().ends_with(".lock") {
        name = name[..name.len() - 5].trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    }
    TaskName::parse(name).ok()
}

/// A word of the input in quotation marks, for a message: control characters escaped, long
/// ones cut.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().nth(LONGEST).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST - 1).collect();
    format!("\"{}…\"", start.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let known = ["dependencies", "description", "files", "name"];
        for (word, hit) in [
            ("dependancies", Some("dependencies")),
            ("Descripton", Some("description")),
            ("nmae", Some("name")),
            ("file", Some("files")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), hit, "{word}");
        }
    }

    #[test]
    fn suggested_names_are_usable() {
        for (raw, name) in [
            ("../x", Some("x")),
            ("-rf", Some("rf")),
            (".git", Some("git")),
            ("a/b", Some("a-b")),
            ("a..b", Some("a.b")),
            ("x.lock.LOCK", Some("x")),
            ("Fix: the (big) bug!", Some("Fix-the-big-bug")),
            ("", None),
            ("é…", None),
        ] {
            let got = suggest_name(raw);
            assert_eq!(got.as_ref().map(TaskName::as_str), name, "{raw}");
        }
        assert!(
            suggest_name(&"long word ".repeat(30))
                .unwrap()
                .as_str()
                .len()
                <= 50
        );
    }
}
