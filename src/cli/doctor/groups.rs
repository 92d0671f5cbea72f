//! Control groups of instances whose supervisor was killed.

use std::path::Path;

use crate::agent::cgroup::own_group;

use super::finding::{Finding, Scene, quoted};

pub(super) fn find(_scene: &Scene) -> Vec<Finding> {
    let Some(own) = own_group() else {
        return Vec::new();
    };
    let beside = own.parent().map(Path::to_owned);
    let places = beside.into_iter().chain([own]);
    places.flat_map(|place| left_in(&place)).collect()
}

/// Groups `orchestra-PID-ATTEMPT` in a group: nobody is in them, and the supervisor that made
/// them is gone.
fn left_in(parent: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = supervisor_of(&name) else {
            continue;
        };
        let path = entry.path();
        let is_empty = std::fs::read_to_string(path.join("cgroup.procs"))
            .is_ok_and(|processes| processes.trim().is_empty());
        if !is_empty || Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        let finding = Finding::new(
            "control group",
            format!("{} is empty, and its supervisor is gone", path.display()),
            "the kernel keeps figures of it for nobody",
            format!("rmdir {}", quoted(&path)),
        );
        found.push(finding.mended_by(move || match std::fs::remove_dir(&path) {
            Ok(()) => Ok("removed it".into()),
            Err(e) => Err(e.to_string()),
        }));
    }
    found
}

fn supervisor_of(name: &str) -> Option<u32> {
    let (pid, attempt) = name.strip_prefix("orchestra-")?.split_once('-')?;
    attempt.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_groups_of_dead_supervisors_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // No process has a number this high.
        for (name, processes) in [
            ("orchestra-4194399-1", ""),
            ("orchestra-4194398-1", "77\n"),
            (&format!("orchestra-{own}-1"), ""),
            ("orchestra-x-1", ""),
            ("user.slice", ""),
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("cgroup.procs"), processes).unwrap();
        }
        let found = left_in(dir.path());
        assert_eq!(found.len(), 1);
        assert!(
            found[0].what.contains("orchestra-4194399-1"),
            "{}",
            found[0].what
        );
    }
}
