//! Ports of an instance's own: a range that no other instance of this user has.
//!
//! Ranges are numbered; each number is a lock file in a folder of the user, held as long as
//! the supervisor lives. What the kernel gives out by itself begins at 32768, so ranges end
//! below.

use std::path::Path;

use crate::agent::environment::Environment;
use crate::core::id::{OrchestrationId, TaskName};
use crate::store::lock::Lock;

/// First port of the first range.
const FIRST_PORT: u32 = 20_000;
/// Ports in a range.
pub(crate) const PORTS: u32 = 20;
/// How many ranges there are.
const SLOTS: u32 = 600;

/// A range that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _lock: Lock,
    base: u32,
}

/// Takes the first free range; none when all are taken or the folder cannot be used.
pub(crate) fn take(folder: &Path) -> Option<Slot> {
    std::fs::create_dir_all(folder).ok()?;
    (0..SLOTS).find_map(|number| {
        let lock = Lock::try_take(&folder.join(format!("slot-{number}.lock"))).ok()??;
        Some(Slot {
            _lock: lock,
            base: FIRST_PORT + number * PORTS,
        })
    })
}

impl Slot {
    /// Tells the instance its ports.
    pub(crate) fn announce(&self, env: &mut Environment) {
        env.set("ORCHESTRA_PORT_BASE", self.base.to_string());
        env.set("ORCHESTRA_PORT_COUNT", PORTS.to_string());
        env.set("PORT", self.base.to_string());
    }
}

/// A compose project name of the instance's own: lower-case letters, digits, `-` and `_`.
pub(crate) fn compose_project(id: &OrchestrationId, task: &TaskName) -> String {
    format!("orchestra-{id}-{task}")
        .to_ascii_lowercase()
        .replace(
            |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'),
            "-",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("slots");
        let first = take(&folder).unwrap();
        let second = take(&folder).unwrap();
        assert_eq!((first.base, second.base), (20_000, 20_020));
        drop(first);
        // Another test may start a process at this moment, which holds copies of all open
        // files until it has become its program.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while take(&folder).unwrap().base != 20_000 {
            assert!(
                std::time::Instant::now() < deadline,
                "it does not come back"
            );
        }
        let mut env = Environment::default();
        second.announce(&mut env);
        assert_eq!(env.get("PORT").unwrap(), "20020");
        const { assert!(FIRST_PORT + SLOTS * PORTS <= 32_768) };
    }

    #[test]
    fn an_unusable_folder_gives_none() {
        assert!(take(Path::new("/proc/nothing")).is_none());
    }

    #[test]
    fn compose_names_are_clean() {
        let id = OrchestrationId::parse("Run.1").unwrap();
        let task = TaskName::parse("User Auth_2").unwrap();
        assert_eq!(compose_project(&id, &task), "orchestra-run-1-user-auth_2");
    }
}
