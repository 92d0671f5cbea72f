//! Tools of MCP servers: programs of their own, of which only the input is seen.

use std::path::Path;

use serde_json::Value;

use super::paths::Bounds;
use super::walk::Walk;

/// Parts of names of tools that only look.
const LOOKS: &[&str] = &[
    "read", "list", "get", "search", "query", "fetch", "find", "view", "show", "describe", "info",
    "stat", "tree", "diff", "log", "status",
];

/// Parts of names of tools that change something.
const CHANGES: &[&str] = &[
    "write", "edit", "create", "move", "delete", "remove", "rename", "append", "put", "save",
    "copy", "update", "patch", "mkdir", "replace", "insert", "upload", "download", "export",
];

/// Fields that hold a shell line.
const LINES: &[&str] = &["command", "cmd", "script", "shell"];

/// Why a tool of a server may not be called, if so. `name` is `SERVER__TOOL`.
#[must_use]
pub fn denial(name: &str, input: &Value, cwd: &Path, bounds: &Bounds) -> Option<String> {
    let tool = name.rsplit("__").next().unwrap_or(name).to_lowercase();
    let is = |parts: &[&str]| parts.iter().any(|part| tool.contains(part));
    let changes = is(CHANGES);
    if is(LOOKS) && !changes {
        return None;
    }
    let mut found = None;
    visit(input, "", &mut |key, text| {
        if found.is_some() {
            return;
        }
        if LINES.contains(&key) {
            found = Walk::new(cwd, bounds).text(text).err();
            return;
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        let path_like = path.len() < 4_096
            && !path.contains('\n')
            && (path.starts_with(['/', '~']) || path.split('/').any(|part| part == ".."));
        let key = key.to_lowercase();
        let named = [
            "path", "file", "dir", "folder", "dest", "source", "target", "uri", "cwd",
        ]
        .iter()
        .any(|part| key.contains(part));
        let real = bounds.resolve(path, cwd);
        let bad = bounds.is_foreign(&real) && (path_like || named)
            || changes && named && !bounds.is_own(&real)
            || changes && named && bounds.is_own_settings(&real);
        if bad {
            found = Some(format!(
                "{path} is not yours to change. Work only inside {}; temporary files go to {}.",
                bounds.worktree().display(),
                bounds.scratch().display()
            ));
        }
    });
    found
}

/// Every text in a value, with the name of its field.
fn visit(value: &Value, key: &str, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => see(key, text),
        Value::Array(items) => items.iter().for_each(|item| visit(item, key, see)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| visit(value, key, see)),
        _ => {}
    }
}
