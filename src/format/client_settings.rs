//! One key of Claude Code's settings, `statusLine`, read and changed by structure.
//!
//! Settings are edited by hand: the order of keys, what this program does not know, remarks and
//! layout stay as they are. Whatever is not understood is refused, and nothing is changed.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The key.
const KEY: &str = "statusLine";

/// The name of the program, by which a command of ours is known.
pub const PROGRAM: &str = "orchestra-statusline";

/// The flag of it before the command that was there before.
pub const BESIDE: &str = "--beside";

/// The flag of it that asks for the status line of the person's own settings as well.
pub const BESIDE_USER: &str = "--beside-user";

/// Seconds between two calls by the client. Without it only the session's own events cause
/// any, and a session that waits for a run has none.
const REFRESH_SECONDS: u32 = 5;

/// Why settings are left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SettingsFault {
    #[error("this is not JSON: {0}")]
    Syntax(String),
    #[error("the settings are not an object")]
    NoObject,
    #[error("`statusLine` is in it more than once")]
    Twice,
}

/// The status line that settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLine {
    /// Its value as it is written, to put it back to the letter.
    pub raw: String,
    /// Its value.
    pub value: Value,
}

impl StatusLine {
    /// The command that it calls.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        (self.value["type"] == "command").then(|| self.value["command"].as_str())?
    }

    /// Whether it is this program's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.command().is_some_and(|c| c.contains(PROGRAM))
    }
}

/// What was there before, so that it comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusLineRecord {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The settings file.
    pub settings: std::path::PathBuf,
    /// The whole text before; none when there was no file.
    pub before: Option<String>,
    /// The whole text after: while the file still reads so, `before` is put back.
    pub after: String,
    /// The value before, as it was written.
    pub value: Option<String>,
    /// Whether the file's folder was made for it.
    pub made_folder: bool,
}

/// The status line in these settings.
///
/// # Errors
/// When they cannot be read.
pub fn status_line(text: &str) -> Result<Option<StatusLine>, SettingsFault> {
    let root = parse(marked(text).1)?;
    let Some(property) = object(&root)?.and_then(|o| o.get(KEY)) else {
        return Ok(None);
    };
    let Some(node) = property.value() else {
        return Ok(None);
    };
    Ok(Some(StatusLine {
        raw: node.to_string(),
        value: node.to_serde_value().unwrap_or_default(),
    }))
}

/// The settings with this status line; the text of `raw` is taken as it is.
///
/// # Errors
/// When they cannot be read.
pub fn with_status_line(text: &str, raw: &str) -> Result<String, SettingsFault> {
    let (mark, text) = marked(text);
    let root = parse(text)?;
    let object = object(&root)?.unwrap_or_else(|| root.object_value_or_set());
    // Layout is the parser's business, the value's text is not: it comes in at the end.
    let hole = uuid::Uuid::new_v4().to_string();
    let value = CstInputValue::String(hole.clone());
    match object.get(KEY) {
        Some(property) => property.set_value(value),
        None => {
            object.append(KEY, value);
        }
    }
    let mut new = root.to_string().replace(&format!("\"{hole}\""), raw);
    if text.trim().is_empty() {
        new = format!("{}\n", new.trim());
    }
    Ok(format!("{mark}{new}"))
}

/// The settings without a status line.
///
/// # Errors
/// When they cannot be read.
pub fn without_status_line(text: &str) -> Result<String, SettingsFault> {
    let (mark, text) = marked(text);
    let root = parse(text)?;
    if let Some(property) = object(&root)?.and_then(|o| o.get(KEY)) {
        property.remove();
    }
    Ok(format!("{mark}{root}"))
}

/// The value that calls our program, with what a former one says beside the command: padding
/// and the like.
#[must_use]
pub fn ours(command: &str, former: Option<&StatusLine>) -> String {
    let former = former.filter(|line| line.command().is_some());
    let mut fields = former
        .and_then(|line| line.value.as_object().cloned())
        .unwrap_or_else(|| Map::from_iter([("padding".to_owned(), json!(0))]));
    fields.remove("type");
    fields.remove("command");
    fields
        .entry("refreshInterval")
        .or_insert(json!(REFRESH_SECONDS));
    let rest: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{}: {value}", json!(key)))
        .collect();
    format!(
        "{{ \"type\": \"command\", \"command\": {}, {} }}",
        json!(command),
        rest.join(", ")
    )
}

/// A word for the shell that means exactly this text.
#[must_use]
pub fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The former command in a command of ours, as [`shell_word`] wrote it.
#[must_use]
pub fn beside(command: &str) -> Option<String> {
    let (_, rest) = command.split_once(&format!("{BESIDE} '"))?;
    let mut text = String::new();
    let mut rest = rest;
    loop {
        let (part, after) = rest.split_once('\'')?;
        text.push_str(part);
        match after.strip_prefix(r"\''") {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Some(text),
        }
    }
}

/// The byte order mark that some editors put first, and what follows it.
fn marked(text: &str) -> (&str, &str) {
    let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split_at(text.len() - rest.len())
}

fn parse(text: &str) -> Result<CstRootNode, SettingsFault> {
    // The client itself takes plain JSON; remarks and final commas do no harm here.
    let options = ParseOptions {
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
        ..ParseOptions::default()
    };
    CstRootNode::parse(text, &options).map_err(|e| SettingsFault::Syntax(e.to_string()))
}

/// The object that the settings are; none in an empty file.
fn object(root: &CstRootNode) -> Result<Option<CstObject>, SettingsFault> {
    if root.value().is_none() {
        return Ok(None);
    }
    let object = root.object_value().ok_or(SettingsFault::NoObject)?;
    let named = |p: &jsonc_parser::cst::CstObjectProp| p.decoded_name().as_deref() == Some(KEY);
    match object.properties().iter().filter(|p| named(p)).count() {
        0 | 1 => Ok(Some(object)),
        _ => Err(SettingsFault::Twice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_line_comes_and_goes_and_nothing_else_changes() {
        for before in [
            "{}",
            "{\n  \"a\": 1\n}\n",
            "{\n  // mine\n  \"z\": {\"statusLine\": 1},\n  \"a\": [1, 2], // more\n}\n",
            "{\"z\":1,\"a\":{\"b\":[]}}",
            "\t{\r\n\t\t\"model\": \"x\"\r\n\t}\r\n",
            "\u{feff}{\"model\": \"x\"}",
        ] {
            let with = with_status_line(before, &ours("run me", None)).unwrap();
            let line = status_line(&with).unwrap().unwrap();
            assert_eq!(line.command(), Some("run me"), "{with}");
            for part in before.lines().map(|l| l.trim().trim_end_matches(',')) {
                let part = if part.contains('{') { "" } else { part };
                assert!(with.contains(part), "{part} is not in {with}");
            }
            let without = without_status_line(&with).unwrap();
            assert_eq!(status_line(&without).unwrap(), None);
            let plain = |t: &str| parse(marked(t).1).unwrap().to_serde_value().unwrap();
            assert_eq!(marked(&without).0, marked(before).0);
            assert_eq!(plain(&without), plain(before), "{without}");
        }
    }

    #[test]
    fn a_value_comes_back_to_the_letter() {
        let value = "{\n    \"command\" : \"x 'y' \\u00e9\", // why\n    \"type\": \"command\",\n    \"padding\": 2 }";
        let before = format!("{{\n  \"a\": 1,\n  \"statusLine\": {value},\n  \"b\": 2\n}}\n");
        let former = status_line(&before).unwrap().unwrap();
        assert_eq!(former.raw, value);
        let raw = ours("ours", Some(&former));
        assert_eq!(
            raw,
            r#"{ "type": "command", "command": "ours", "padding": 2, "refreshInterval": 5 }"#
        );
        let with = with_status_line(&before, &raw).unwrap();
        assert!(
            with.contains("\"a\": 1") && with.ends_with("\"b\": 2\n}\n"),
            "{with}"
        );
        assert_eq!(with_status_line(&with, &former.raw).unwrap(), before);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["{", "[1]", "3", "{\"a\" 1}", "{'a': 1}", "{a: 1}", "{} {}"] {
            assert!(status_line(text).is_err(), "{text}");
            assert!(with_status_line(text, "1").is_err(), "{text}");
            assert!(without_status_line(text).is_err(), "{text}");
        }
        let twice = r#"{"statusLine": 1, "statusLine": 2}"#;
        assert_eq!(status_line(twice), Err(SettingsFault::Twice));
        assert_eq!(status_line("").unwrap(), None);
        let fresh = with_status_line("", "7").unwrap();
        assert_eq!(fresh, "{\n  \"statusLine\": 7\n}\n");
    }

    #[test]
    fn a_strange_status_line_is_nobodys_command() {
        for value in [
            "null",
            "\"x\"",
            "{\"type\":\"other\",\"command\":\"x\"}",
            "{}",
        ] {
            let line = status_line(&format!("{{\"statusLine\": {value}}}"))
                .unwrap()
                .unwrap();
            assert_eq!((line.command(), line.is_ours()), (None, false), "{value}");
            assert!(ours("a", Some(&line)).contains("\"padding\": 0"));
        }
    }

    proptest! {
        #[test]
        fn a_former_command_is_read_back(text in any::<String>()) {
            let command = format!("'/a b/{PROGRAM}' {BESIDE} {} --more", shell_word(&text));
            prop_assert_eq!(beside(&command), Some(text));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = status_line(&text);
            let _ = with_status_line(&text, "1");
            let _ = without_status_line(&text);
        }
    }
}
