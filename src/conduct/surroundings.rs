//! The environment of a run: that of its first conductor, whoever brings a later one.
//!
//! A conductor that is killed is replaced by whoever finds out: the keeper, or a person's
//! `orchestra status` in another shell, with another PATH and another key. So the first
//! conductor keeps its environment in the run's folder, and every later one is started with
//! it. The file goes when the run is closed: its secrets do not lie about, and whoever takes
//! a closed run up again gives it an environment of their own.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::agent::environment::Environment;
use crate::agent::tree::MARK_VARIABLE;
use crate::format::environment_file::EnvironmentFile;
use crate::store::atomic;
use crate::store::layout::RunDir;
use crate::store::{StoreError, run_log};

const WHAT: &str = "the run's environment";

/// The environment to conduct a run with, for a process whose own is `own`.
#[must_use]
pub fn of_run(run: &RunDir, own: &Environment) -> Environment {
    // Whoever only looks sets nothing aside.
    let kept = atomic::read_json_in_place::<EnvironmentFile>(&run.environment(), WHAT);
    let Ok(Some(file)) = kept else {
        return own.clone();
    };
    let os = |bytes| OsString::from_vec(bytes);
    let vars = file.into_vars().map(|(name, value)| (os(name), os(value)));
    let mut env = Environment::from_vars(vars);
    // What an instance starts ends with that instance.
    if let Some(mark) = own.get(MARK_VARIABLE) {
        env.set(MARK_VARIABLE, mark);
    }
    env
}

/// Keeps the environment of a run's first conductor. One that is kept already stays; one that
/// cannot be read is set aside. Only for whoever holds the conductor's lock.
///
/// A run that cannot keep it goes on all the same.
pub(super) fn remember(run: &RunDir, env: &Environment) {
    if let Err(error) = try_remember(run, env) {
        let line = format!(
            "the environment of this run is not kept, so that a conductor which follows gets \
             that of whoever starts it: {error}"
        );
        run_log::append(run, super::now(), &[line]);
    }
}

fn try_remember(run: &RunDir, env: &Environment) -> Result<(), StoreError> {
    let path = run.environment();
    match atomic::read_json::<EnvironmentFile>(&path, WHAT) {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => {}
        Err(error @ StoreError::Unreadable { .. }) => {
            run_log::append(run, super::now(), &[error.to_string()]);
        }
        Err(error) => return Err(error),
    }
    // Neither the mark of an outer instance nor the traces of an outer session: they say
    // something about the process that began, not about the run.
    let env = env.for_instance();
    let vars = env.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    let file = EnvironmentFile::of(vars);
    let bytes = serde_json::to_vec_pretty(&file)
        .map_err(|source| StoreError::Encode { what: WHAT, source })?;
    atomic::create_private(&path, &bytes).map(|_| ())
}

/// Lets the environment of a closed run go. Idempotent.
pub(super) fn forget(run: &RunDir) {
    // What is left is found by `orchestra doctor`.
    let _ = std::fs::remove_file(run.environment());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::OrchestrationId;
    use crate::store::layout::Layout;
    use std::os::unix::fs::PermissionsExt;

    fn run(dir: &std::path::Path) -> RunDir {
        let run = Layout::new(dir).run(&OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        run
    }

    #[test]
    fn the_first_environment_counts_until_the_run_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        let first = Environment::from_vars([("PATH", "/first"), ("KEY", "k1")]);
        let later = Environment::from_vars([("PATH", "/later"), ("OTHER", "x")]);
        assert_eq!(of_run(&run, &later), later);
        remember(&run, &first);
        remember(&run, &later);
        assert_eq!(of_run(&run, &later), first);
        let mode = std::fs::metadata(run.environment()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        forget(&run);
        forget(&run);
        assert_eq!(of_run(&run, &later), later);
    }

    #[test]
    fn the_mark_is_that_of_whoever_starts() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        let inside = Environment::from_vars([("A", "1"), (MARK_VARIABLE, "t/r/a")]);
        remember(&run, &inside);
        let outside = Environment::default();
        assert_eq!(of_run(&run, &outside), Environment::from_vars([("A", "1")]));
        assert_eq!(of_run(&run, &inside), inside);
    }

    #[test]
    fn an_unreadable_one_is_set_aside_and_a_newer_one_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        let own = Environment::from_vars([("A", "1")]);
        std::fs::write(run.environment(), "half").unwrap();
        assert_eq!(of_run(&run, &own), own);
        remember(&run, &own);
        assert!(run.dir().join("environment.json.unreadable-1").exists());
        assert_eq!(of_run(&run, &Environment::default()), own);
        let newer = r#"{"schemaVersion":99}"#;
        std::fs::write(run.environment(), newer).unwrap();
        remember(&run, &own);
        assert_eq!(std::fs::read_to_string(run.environment()).unwrap(), newer);
        assert_eq!(of_run(&run, &own), own);
    }
}
