//! The rooms and the one direction in which they depend on each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the ground up. A room may use those above it in this list and itself, no
/// others.
const ROOMS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("format", &["core"]),
    ("store", &["core", "format"]),
    ("git", &["core", "format"]),
    ("agent", &["core", "format", "store"]),
    ("github", &["core", "format", "agent"]),
    ("view", &["core", "format", "store", "git", "agent"]),
    ("integrate", &["core", "format", "store", "git", "agent"]),
    ("supervise", &["core", "format", "store", "git", "agent"]),
    (
        "conduct",
        &[
            "core",
            "format",
            "store",
            "git",
            "agent",
            "view",
            "integrate",
            "supervise",
        ],
    ),
    (
        "hook",
        &[
            "core",
            "format",
            "store",
            "git",
            "agent",
            "view",
            "integrate",
            "supervise",
            "conduct",
        ],
    ),
    (
        "cli",
        &[
            "core",
            "format",
            "store",
            "git",
            "agent",
            "github",
            "view",
            "integrate",
            "supervise",
            "conduct",
        ],
    ),
];

/// What the pure room must not mention.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "git2",
    "Uuid::new_v4",
    "Utc::now",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The code of a file without comments and without its tests, which may use anything.
fn code(path: &Path) -> String {
    let is_test = path
        .file_stem()
        .is_some_and(|s| s == "tests" || s == "testkit" || s == "simulation");
    if is_test {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let text = match text.find("\n#[cfg(test)]\nmod tests {") {
        Some(at) => text[..at].to_owned(),
        None => text,
    };
    text.lines()
        .map(|line| line.find("//").map_or(line, |at| &line[..at]))
        .collect::<Vec<_>>()
        .join("\n")
}

fn room_names() -> Vec<&'static str> {
    ROOMS.iter().map(|(name, _)| *name).collect()
}

/// The rooms that a piece of code names by `crate::ROOM` or in a `use crate::{…}` group.
fn rooms_used(code: &str) -> BTreeSet<&'static str> {
    let mut used = BTreeSet::new();
    for room in room_names() {
        let direct = format!("crate::{room}");
        let mut rest = code;
        while let Some(at) = rest.find(&direct) {
            let after = rest[at + direct.len()..].chars().next();
            if !after.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                used.insert(room);
            }
            rest = &rest[at + direct.len()..];
        }
    }
    for group in code.split("crate::{").skip(1) {
        let mut depth = 1;
        let mut word = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
            } else {
                if depth == 1
                    && let Some(room) = room_names().into_iter().find(|r| *r == word)
                {
                    used.insert(room);
                }
                word.clear();
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        let folder = source().join(room);
        if !folder.is_dir() {
            continue;
        }
        for file in rust_files(&folder) {
            for used in rooms_used(&code(&file)) {
                if used != *room && !allowed.contains(&used) {
                    wrong.push(format!("{} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point back:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_folder_is_a_known_room() {
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !rust_files(&path).is_empty() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                name == "bin" || room_names().contains(&name.as_str()),
                "{name} is not in the list of rooms"
            );
        }
    }
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for file in rust_files(&source().join("core")) {
        let code = code(&file);
        for word in IMPURE {
            if code.contains(word) {
                wrong.push(format!("{} mentions {word}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_itself_sees_arrows() {
    let used = rooms_used("use crate::{core::id::Oid, git::{Repo, Head}};\nuse crate::store;");
    assert_eq!(
        used.into_iter().collect::<Vec<_>>(),
        ["core", "git", "store"]
    );
    assert!(rooms_used("use crate::gitlike::X; crate::view_model();").is_empty());
}
