//! `docs/configuration.md` is what the program knows of its keys.

use std::collections::BTreeSet;

use orchestra::format::config::{Layer, json_schema, variable};
use serde_json::Value;

const HEAD: &str = "# Configuration

Each key can be set in the project's `.claude/orchestra.toml`, in your own
`~/.config/orchestra/config.toml`, in the environment, and many by a flag of `orchestra run`. The later in
this list is the stronger: what you settled for yourself holds in every project. `orchestra config` shows
each value and where it comes from, `orchestra schema config` is the JSON Schema of the files. A key that
is not known is an error that names the nearest.

In the environment a key is written in capitals with `ORCHESTRA_` before it (`max_workers` is
`ORCHESTRA_MAX_WORKERS`); lists are separated by commas, tables are written as in TOML. An empty text
takes a value away.

| key | value | built in | what it is for |
|---|---|---|---|
";

/// A type of the schema, in words.
fn kind(schema: &Value, all: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        let own = &all["$defs"][name.trim_start_matches("#/$defs/")];
        return kind(own, all);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let real = choices.iter().find(|c| c["type"] != "null");
        return kind(real.expect("more than null"), all);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let words = choices.iter().filter_map(|c| c["const"].as_str());
        return words
            .map(|w| format!("`{w}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str);
        return words
            .map(|w| format!("`{w}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let types: BTreeSet<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    match types.into_iter().find(|name| *name != "null") {
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("string") => "text".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("array") => format!("list of {}", kind(&schema["items"], all)),
        Some("object") => "table of texts".to_owned(),
        other => panic!("{other:?} of {schema}"),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Object(table) if table.is_empty() => "none".to_owned(),
        other => format!("`{other}`"),
    }
}

fn page() -> String {
    let schema = json_schema();
    let defaults = Layer::defaults();
    let mut page = HEAD.to_owned();
    for key in Layer::KEYS {
        let mut value = kind(&schema["properties"][key], &schema);
        if let Some(range) = Layer::range(key) {
            value.push_str(&format!("; {range}"));
        }
        let purpose = Layer::purpose(key);
        assert!(purpose.len() > 15, "{key} is explained");
        let row = [
            format!("`{key}`"),
            value,
            shown(&defaults.value(key)),
            purpose.to_owned(),
        ];
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        page.push_str(&format!("| {} |\n", cells.join(" | ")));
        assert!(variable(key).starts_with("ORCHESTRA_"));
    }
    page
}

#[test]
fn the_page_is_what_the_program_knows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("ORCHESTRA_BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == page(),
        "docs/configuration.md is out of date: \
         `ORCHESTRA_BLESS=1 cargo test --test it configuration` writes it anew"
    );
}
