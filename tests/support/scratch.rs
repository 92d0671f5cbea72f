//! Where tests make their folders.

use std::path::PathBuf;

/// Room that a test run may take up at once, with much to spare, bytes.
const ENOUGH: u64 = 4 << 30;

/// The folder for temporary folders: a disk in memory where there is one with room, since the
/// tests sync thousands of small files; what `TMPDIR` says when it is set.
pub(crate) fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let room = |path: &PathBuf| {
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    };
    let is_writable = || rustix::fs::access(&memory, rustix::fs::Access::WRITE_OK).is_ok();
    let wanted = std::env::var_os("TMPDIR").is_some();
    if !wanted && room(&memory).is_some_and(|free| free >= ENOUGH) && is_writable() {
        memory
    } else {
        std::env::temp_dir()
    }
}
