//! Systems whose process table this program cannot read yet: nothing is found, so nothing
//! is ended but what the standard library's own child handle reaches.

use rustix::process::Signal;

use super::{ProcessKey, Row};

pub(super) fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

pub(super) fn rows() -> Vec<Row> {
    Vec::new()
}

pub(super) fn rows_below_me() -> Option<Vec<Row>> {
    None
}

pub(super) fn row(_pid: i32) -> Option<Row> {
    None
}

pub(super) fn environment(_pid: i32) -> Option<Vec<u8>> {
    None
}

pub(super) fn io_bytes(_pid: i32) -> Option<u64> {
    None
}

pub(super) fn share_of_memory(_pid: i32) -> Option<u64> {
    None
}

pub(super) fn command_line(_pid: i32) -> Option<String> {
    None
}

pub(super) fn boot_id() -> Option<String> {
    None
}

pub(super) fn kernel_kills() -> Option<u64> {
    None
}

pub(super) fn signal(_key: ProcessKey, _signal: Signal) {}

pub(super) fn reap(_pid: i32) {}

pub(super) fn become_subreaper() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

pub(super) type Limit = ();

pub(super) fn wear_seal(_seal: u64) -> Option<Limit> {
    None
}

pub(super) fn take_seal_off(_before: Limit) {}

pub(super) fn seal_of(_pid: i32) -> Option<u64> {
    None
}
pub(super) fn program(_pid: i32) -> Option<String> {
    None
}

pub(super) fn folder(_pid: i32) -> Option<std::path::PathBuf> {
    None
}

pub(super) fn has_open(_pid: i32, _file: &std::path::Path) -> bool {
    false
}
