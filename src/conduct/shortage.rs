//! What the machine ran short of. Nobody did anything wrong then, and another try by somebody
//! else finds the same: a conductor that meets it ends, its keeper starts another one after a
//! pause, and that one begins again what was begun, until there is room.

use crate::core::time::Timestamp;
use crate::format::SCHEMA_VERSION;
use crate::format::shortage_file::ShortageFile;
use crate::store::atomic::{self, Durability};
use crate::store::layout::RunDir;

/// What systems say when there is no room, on every way by which it reaches a message.
const SAYINGS: [&str; 6] = [
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Too many open files",
    "Cannot allocate memory",
    "Resource temporarily unavailable",
];

/// Whether an error's message says that the machine ran short of something. Messages of git and
/// of the system are in English here, whatever the person's language.
pub(super) fn is_shortage(message: &str) -> bool {
    SAYINGS.iter().any(|saying| message.contains(saying))
}

/// Writes down that a run waits for what the machine is short of. Where there is no room even
/// for that, those who look see the log.
pub(super) fn begins(run: &RunDir, what: &str, now: Timestamp) {
    let path = run.shortage();
    let before: Option<ShortageFile> = atomic::peek_json(&path);
    let (since, tries) = before.map_or((now, 0), |file| (file.since, file.tries));
    let file = ShortageFile {
        schema_version: SCHEMA_VERSION,
        what: what.to_owned(),
        since,
        tries: tries.saturating_add(1),
    };
    let _ = atomic::write_json(
        &path,
        "what the machine is short of",
        &file,
        Durability::Volatile,
    );
}

/// Something went on: the run does not wait any more.
pub(super) fn ends(run: &RunDir) {
    // Nearly always it is not there.
    let _ = std::fs::remove_file(run.shortage());
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn the_systems_own_words_are_known() {
        for (errno, short) in [
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::ROFS, true),
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOMEM, true),
            (Errno::AGAIN, true),
            (Errno::ACCESS, false),
            (Errno::NOENT, false),
            (Errno::IO, false),
        ] {
            let error = std::io::Error::from(errno);
            assert_eq!(is_shortage(&error.to_string()), short, "{error}");
        }
    }
}
