//! Sessions that a person opened by hand in a task's worktree: nothing is started beside one.
//!
//! Nobody supervises such a session and it holds no lock. Its hooks name its client in
//! `instance-TASK.beat`, and a client that still runs and said no goodbye is one that works
//! there, however long it is silent.

use std::time::Duration;

use crate::core::attempt::AttemptEnd;
use crate::core::event::StopHow;
use crate::core::id::TaskName;
use crate::format::announcement_file::ProcessName;
use crate::format::beat_file;
use crate::format::instance_request::InstanceRequest;
use crate::store::layout::RunDir;
use crate::store::{instance_inbox, run_log};

use super::launch::Over;
use super::listen::is_alive;

/// How often it is looked whether it goes on.
const LOOK: Duration = Duration::from_millis(250);

/// The client of a session that somebody opened in the worktree of a task, and that goes on.
#[must_use]
pub fn open(run: &RunDir, task: &TaskName) -> Option<ProcessName> {
    let bytes = std::fs::read(run.beat(task)).ok()?;
    let mut gone = Vec::new();
    // The newest line of each client is what counts.
    for line in beat_file::lines(&String::from_utf8_lossy(&bytes)).rev() {
        let Some(client) = line.client.filter(|client| !gone.contains(client)) else {
            continue;
        };
        if line.event != "SessionEnd" && is_alive(&client) {
            return Some(client);
        }
        gone.push(client);
    }
    None
}

/// Waits until no such session is open. Returns how the attempt ended when it was to stop
/// meanwhile.
pub(super) fn await_end(run: &RunDir, task: &TaskName, attempt: u32) -> Option<Over> {
    let mut told = false;
    while let Some(client) = open(run, task) {
        if !std::mem::replace(&mut told, true) {
            let line = format!(
                "{task}: waits for the session that somebody opened in its worktree (process \
                 {}): close that, and it goes on",
                client.pid
            );
            run_log::append(run, super::now(), &[line]);
        }
        if let Some(end) = wish_to_stop(run, task, attempt) {
            return Some(Over::of_nothing(end));
        }
        std::thread::sleep(LOOK);
    }
    None
}

/// Takes letters out of the inbox that want this attempt to stop. Nobody else reads it: the
/// attempt has no supervisor yet.
fn wish_to_stop(run: &RunDir, task: &TaskName, attempt: u32) -> Option<AttemptEnd> {
    let mut end = None;
    for (path, request) in instance_inbox::pending(&run.instance_inbox(task)) {
        if let Ok(InstanceRequest::Stop { how, attempt: of }) = request
            && of.is_none_or(|of| of >= attempt)
        {
            end = match (how, end) {
                (StopHow::Cancel, _) | (_, Some(AttemptEnd::Cancelled)) => {
                    Some(AttemptEnd::Cancelled)
                }
                _ => Some(AttemptEnd::Paused),
            };
            let _ = std::fs::remove_file(path);
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduct::listen::process_name;
    use crate::core::id::OrchestrationId;
    use crate::core::time::Timestamp;
    use crate::format::beat_file::BeatLine;
    use crate::store::beats;
    use crate::store::layout::Layout;

    #[test]
    fn a_session_counts_while_its_client_lives_and_said_no_goodbye() {
        let dir = tempfile::tempdir().unwrap();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        let task = TaskName::parse("a").unwrap();
        let add = |event: &str, client: Option<&ProcessName>| {
            let beat = BeatLine {
                event: event.into(),
                client: client.cloned(),
                ..BeatLine::default()
            };
            beats::add(&run.beat(&task), &beat).unwrap();
        };
        let me = process_name(std::process::id()).unwrap();
        let dead = ProcessName {
            boot: "another".into(),
            ..me.clone()
        };
        assert_eq!(open(&run, &task), None);
        // Of a session that a supervisor knows no client is named.
        add("SessionStart", None);
        add("SessionStart", Some(&dead));
        assert_eq!(open(&run, &task), None);
        assert_eq!(await_end(&run, &task, 2), None);
        add("SessionStart", Some(&me));
        // Cleared: the same client goes on under another name.
        add("SessionEnd", Some(&me));
        assert_eq!(open(&run, &task), None);
        add("SessionStart", Some(&me));
        add("Stop", Some(&dead));
        assert_eq!(open(&run, &task), Some(me.clone()));
        // Whoever waits for it hears when it is not to begin any more; older wishes are over.
        let stop = |how, attempt| {
            let stop = InstanceRequest::Stop { how, attempt };
            instance_inbox::post(&run, &task, &stop, Timestamp(1)).unwrap()
        };
        let old = stop(StopHow::Cancel, Some(1));
        let yields = stop(StopHow::Yield, Some(2));
        let end = |over: Option<Over>| over.map(|over| over.end);
        let over = end(await_end(&run, &task, 2));
        assert_eq!(over, Some(AttemptEnd::Paused));
        assert!(old.exists() && !yields.exists());
        stop(StopHow::Cancel, Some(2));
        stop(StopHow::Pause, Some(2));
        let over = end(await_end(&run, &task, 2));
        assert_eq!(over, Some(AttemptEnd::Cancelled));
        assert!(
            std::fs::read_to_string(run.log())
                .unwrap()
                .contains("a: waits for the session that somebody opened in its worktree")
        );
        add("SessionEnd", Some(&me));
        assert_eq!(await_end(&run, &task, 2), None);
    }
}
