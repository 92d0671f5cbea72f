//! The room against real repositories, made in temporary folders.

mod checkout;
mod deliver;
mod merge;
mod merge_matrix;
mod merging;
mod objects;
mod open;
mod past;
mod radar;
mod refs;
mod resolve;
mod submodule;
mod undo;
mod worktree;

use super::testkit::Fixture;

/// Kinds of repository that libgit2 cannot open; those that this git cannot make are
/// left out.
fn exotic() -> Vec<Fixture> {
    let mut fixtures = vec![Fixture::with_init("sha256", &["--object-format=sha256"])];
    let version = super::git_version().unwrap();
    if (version.major, version.minor) >= (2, 45) {
        fixtures.push(Fixture::with_init("reftable", &["--ref-format=reftable"]));
    }
    fixtures
}
