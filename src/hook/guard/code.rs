//! Programs in other languages, given on the command line: what can be seen of where they
//! write. Only plain paths and plain commands are; everything else is for the sandbox.

use super::paths::Place;
use super::value;
use super::walk::{Step, Walk};

/// Signs that a program writes, or starts others.
const WRITES: &[&str] = &[
    "write",
    "'w",
    "\"w",
    "'a'",
    "\"a\"",
    "'x'",
    "\"x\"",
    "'r+",
    "\"r+",
    "'wb",
    "append",
    "unlink",
    "remove",
    "rmtree",
    "rmdir",
    "mkdir",
    "makedirs",
    "rename",
    "replace(",
    "symlink",
    "copy",
    "move",
    "chmod",
    "chown",
    "truncate",
    "touch",
    "system",
    "subprocess",
    "popen",
    "exec",
    "spawn",
    "fork",
    ">",
    "open(",
    "unlinksync",
    "mkdtemp",
    "dump",
    "save",
    "rm",
    "cp",
    "mv",
];

/// What git may not be told to do, as words one after the other.
const GIT: &[&str] = &[
    "push",
    "stash",
    "worktree",
    "switch",
    "update-ref",
    "symbolic-ref",
    "send-pack",
];

/// Looks at the text of a program.
///
/// # Errors
/// When it plainly writes outside.
pub fn check(walk: &Walk<'_>, text: &str) -> Step {
    let bounds = walk.bounds;
    if bounds.is_mentioned(text) {
        return Err(format!(
            "the program names a path in the person's checkout or in another task's worktree. \
             Work only inside {}; to read from there use cat, grep or the like.",
            bounds.worktree().display()
        ));
    }
    let lower = text.to_lowercase();
    let writes = WRITES.iter().any(|sign| lower.contains(sign));
    let folder = walk
        .state
        .folders
        .first()
        .cloned()
        .flatten()
        .unwrap_or_else(|| bounds.worktree().to_owned());
    for token in text.split(|c: char| c.is_whitespace() || "'\"`(),;=<>[]{}".contains(c)) {
        let path_like = token.starts_with('/') && token.len() > 1
            || token.starts_with("~/")
            || token.split('/').any(|part| part == "..");
        if !path_like || token.starts_with("//") {
            continue;
        }
        let real = bounds.resolve(token, &folder);
        let bad = match bounds.place(&real) {
            Place::Main | Place::Sibling => true,
            // Programs, libraries and what the kernel shows are mostly read or run.
            Place::Outside => {
                writes
                    && real.components().count() > 2
                    && !["/usr", "/bin", "/lib", "/proc", "/sys"]
                        .iter()
                        .any(|known| real.starts_with(known))
            }
            _ => false,
        };
        if bad && (walk.strict || bounds.is_foreign(&real)) {
            return Err(walk.outside(
                "the program names a path; writing to",
                &value::text(token),
                &real,
            ));
        }
    }
    let words: Vec<&str> = lower
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    for pair in words.windows(2) {
        if pair[0] == "git" && GIT.contains(&pair[1]) {
            return Err(format!(
                "the program runs `git {}`, which is not for an instance: worktrees share refs, \
                 stash and remotes. Commit on your branch; it is merged for you.",
                pair[1]
            ));
        }
    }
    Ok(())
}
