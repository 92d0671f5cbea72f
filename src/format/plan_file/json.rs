//! JSON as people and models write it: a byte order mark, a Markdown fence round it and
//! comments are tolerated; keys that occur twice are kept, so that they can be reported.
//!
//! What is tolerated is blanked out, not cut out: lines and columns stay those of the input.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::core::plan::Fault;

/// A JSON value that keeps the order of keys, and keys that occur twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What it is, for a message.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "numbers beyond 2^53 are refused later"
            )]
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "numbers beyond 2^53 are refused later"
            )]
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Json, E> {
                Ok(Json::Text(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = access.next_element()? {
                    list.push(value);
                }
                Ok(Json::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(Json::Object(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Reads one JSON document.
pub(super) fn parse(bytes: &[u8]) -> Result<Json, Fault> {
    let text = decode(bytes)?;
    let mut text = text.as_bytes().to_vec();
    if text.trim_ascii().is_empty() {
        return Err(Fault::new(
            "line 1, column 1",
            "The text is empty",
            "Write a plan: {\"tasks\": [{\"name\": \"…\"}]}",
        ));
    }
    blank_fence(&mut text);
    if let Err(open) = blank_comments(&mut text) {
        let (line, column) = position(&text, open);
        return Err(Fault::new(
            format!("line {line}, column {column}"),
            "The comment that starts here does not end",
            "Close it with */",
        ));
    }
    serde_json::from_slice(&text).map_err(|error| explain(&error, &text))
}

fn decode(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Fault::new(
            "line 1, column 1",
            "The text is UTF-16",
            "Save it as UTF-8",
        ));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(bytes, error.valid_up_to());
        Fault::new(
            format!("line {line}, column {column}"),
            "The text is not UTF-8",
            "Save it as UTF-8",
        )
    })
}

/// The line and column of an offset, both from 1; columns are bytes, as in serde_json.
fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    (line, before.len() - start + 1)
}

/// Leaves of a Markdown answer only what its first fence encloses.
fn blank_fence(text: &mut [u8]) {
    let first = text.trim_ascii_start().first();
    if matches!(first, Some(b'{' | b'[' | b'/')) {
        return;
    }
    let mut lines: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        lines.push((start, start + line.len()));
        start += line.len();
    }
    let fence = |(from, to): &(usize, usize)| text[*from..*to].trim_ascii().starts_with(b"```");
    let Some(open) = lines.iter().position(fence) else {
        return;
    };
    let close = lines[open + 1..]
        .iter()
        .position(fence)
        .map(|at| at + open + 1);
    let from = lines[open].1;
    let to = close.map_or(text.len(), |line| lines[line].0);
    blank(&mut text[..from]);
    blank(&mut text[to..]);
}

fn blank(text: &mut [u8]) {
    for byte in text {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Blanks `// …` and `/* … */` outside texts. `Err` is where an unclosed one starts.
fn blank_comments(text: &mut [u8]) -> Result<(), usize> {
    let mut at = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            (b'"', _) => {
                at += 1;
                while at < text.len() && text[at] != b'"' {
                    // A backslash takes the next character with it.
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            (b'/', Some(b'/')) => {
                let rest = &text[at..];
                let end = rest
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .unwrap_or(rest.len());
                blank(&mut text[at..at + end]);
                at += end;
            }
            (b'/', Some(b'*')) => {
                let end = text[at + 2..]
                    .windows(2)
                    .position(|pair| pair == b"*/")
                    .ok_or(at)?;
                blank(&mut text[at..at + end + 4]);
                at += end + 4;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

fn explain(error: &serde_json::Error, text: &[u8]) -> Fault {
    let place = format!("line {}, column {}", error.line(), error.column());
    let whole = error.to_string();
    let said = whole
        .rsplit_once(" at line ")
        .map_or(whole.as_str(), |(said, _)| said);
    let mut found = text
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1))
        .and_then(|line| line.get(error.column().saturating_sub(1)..))
        .map(|rest| {
            String::from_utf8_lossy(rest)
                .chars()
                .take(20)
                .collect::<String>()
        })
        .unwrap_or_default();
    if !found.is_empty() {
        found = format!(", found {found:?}");
    }
    let (problem, remedy) = match said {
        _ if error.is_eof() => (
            format!("The text ends too early ({said})"),
            "Look whether it was cut off, or a bracket or quotation mark is missing",
        ),
        "recursion limit exceeded" => (
            "The lists and objects are nested too deeply".to_owned(),
            "A plan needs four levels: {\"tasks\": [{\"files\": [\"…\"]}]}",
        ),
        "trailing comma" => (
            "There is a comma before a closing bracket".to_owned(),
            "Remove the comma",
        ),
        "key must be a string" => (
            format!("A field name in double quotation marks was expected here{found}"),
            "Write \"name\": …, with straight double quotation marks",
        ),
        "trailing characters" => (
            format!("The plan ends before this{found}"),
            "Remove what follows the last closing bracket",
        ),
        "expected value" => (
            format!("This is not JSON: a value was expected here{found}"),
            "Write the plan as JSON: {\"tasks\": [{\"name\": \"…\"}]}",
        ),
        _ => (
            format!("This is not JSON: {said}{found}"),
            "Correct the JSON at this place",
        ),
    };
    Fault::new(place, problem, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<f64> {
        match parse(text.as_bytes()) {
            Ok(Json::Object(entries)) => match entries.as_slice() {
                [(key, Json::Number(n))] if key == "a" => Some(*n),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn what_people_and_models_add_is_tolerated() {
        for text in [
            "{\"a\":1}",
            "\u{feff}{\"a\":1}",
            "```json\n{\"a\":1}\n```",
            "```\n{\"a\":1}\n",
            "Here is the plan:\n\n```json\n{\"a\":1}\n```\nShall I go on?\n```\nx\n```",
            "// one\n{/* two\n */\"a\":1 // three\n}",
        ] {
            assert_eq!(number(text), Some(1.0), "{text}");
        }
    }

    #[test]
    fn texts_keep_what_looks_like_a_comment() {
        let text = r#"["http://x/*y*/", "\"//", "\\"] // z"#;
        let expected = ["http://x/*y*/", "\"//", "\\"].map(|t| Json::Text(t.to_owned()));
        assert_eq!(parse(text.as_bytes()), Ok(Json::List(expected.to_vec())));
    }

    #[test]
    fn faults_have_a_place_and_a_remedy() {
        for (text, place, problem) in [
            ("", "line 1, column 1", "empty"),
            (" \n ", "line 1, column 1", "empty"),
            ("{\"a\":", "line 1, column 5", "too early"),
            ("{\"a\":1,}", "line 1, column 8", "comma"),
            ("{\n  a: 1}", "line 2, column 3", "field name"),
            ("Please do it", "line 1, column 1", "not JSON"),
            ("{} {}", "line 1, column 4", "ends before"),
            ("[1 2]", "line 1, column 4", "not JSON"),
            ("[NaN]", "line 1, column 2", "not JSON"),
            ("[1e999]", "line 1, column 6", "out of range"),
            ("{ /* x", "line 1, column 3", "comment"),
        ] {
            let fault = parse(text.as_bytes()).unwrap_err();
            assert_eq!(fault.place, place, "{text:?}: {fault}");
            assert!(fault.problem.contains(problem), "{text:?}: {fault}");
            assert!(!fault.remedy.is_empty());
        }
        let deep = "[".repeat(100_000);
        assert!(
            parse(deep.as_bytes())
                .unwrap_err()
                .problem
                .contains("nested too deeply")
        );
        assert!(
            parse(b"\xff\xfe{\0")
                .unwrap_err()
                .problem
                .contains("UTF-16")
        );
        assert_eq!(
            parse(b"{\n\"\xff\"}").unwrap_err().place,
            "line 2, column 2"
        );
    }
}
