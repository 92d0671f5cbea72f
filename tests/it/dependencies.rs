//! What this program is built from: known licences, and each dependency explained.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences that an MIT program may be distributed with.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unlicense",
    "Unicode-3.0",
    "CC0-1.0",
    "MIT-0",
    "BSL-1.0",
    "0BSD",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        // Crates of other systems are not part of the program.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("run cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Whether one of the alternatives of an SPDX expression is allowed. Parentheses only group
/// alternatives in what is used here.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "");
    plain
        .split(" OR ")
        .flat_map(|part| part.split('/'))
        .any(|alternative| {
            alternative
                .split(" AND ")
                .all(|licence| ALLOWED.contains(&licence.trim()))
        })
}

#[test]
fn every_licence_is_known() {
    let metadata = metadata();
    let wrong: Vec<String> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|p| !is_allowed(p["license"].as_str().unwrap_or("")))
        .map(|p| format!("{} {}", p["name"], p["license"]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dependency_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map");
    let (_, table) = text
        .split_once("## Dependencies")
        .expect("a section on dependencies");
    let metadata = metadata();
    let own = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .find(|p| p["name"] == "orchestra")
        .expect("this package");
    for dependency in own["dependencies"].as_array().expect("dependencies") {
        let name = dependency["name"].as_str().expect("a name");
        let explained = table.lines().any(|line| {
            line.split('|')
                .nth(1)
                .is_some_and(|cell| cell.split(',').any(|n| n.trim() == name))
        });
        assert!(explained, "ARCHITECTURE.md does not say what {name} is for");
    }
}

#[test]
fn the_check_of_licences_can_fail() {
    assert!(is_allowed("MIT OR Apache-2.0"));
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!is_allowed("GPL-3.0-only"));
    assert!(!is_allowed(""));
}
