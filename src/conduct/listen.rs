//! Which session hears of which run: seats, and who sits there.
//!
//! A seat belongs to a client process. The session that started a run hears of it while its
//! client lives; after that the next one that starts in the project.

use std::path::PathBuf;

use crate::agent::tree::{ProcessKey, boot_id};
use crate::core::id::OrchestrationId;
use crate::format::announcement_file::{ProcessName, SeatFile};
use crate::store::layout::Layout;
use crate::store::{StoreError, seats};

/// A session as one of its processes knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sitter {
    /// The session.
    pub session: String,
    /// The client's own record of it; empty when that is not known.
    pub transcript: PathBuf,
    /// The client; none when that is not known.
    pub client: Option<ProcessName>,
}

/// A process that runs now, by its number.
#[must_use]
pub fn process_name(pid: u32) -> Option<ProcessName> {
    let key = ProcessKey::of(pid);
    Some(ProcessName {
        pid: i32::try_from(pid).ok()?,
        start: key.map_or(0, |key| key.start),
        boot: boot_id().unwrap_or_default(),
    })
}

/// Whether a process still runs. On systems that do not tell when a process started, one with
/// its number counts.
#[must_use]
pub fn is_alive(name: &ProcessName) -> bool {
    if name.start == 0 {
        return rustix::process::Pid::from_raw(name.pid)
            .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    }
    let key = ProcessKey {
        pid: name.pid,
        start: name.start,
    };
    boot_id().unwrap_or_default() == name.boot && key.is_alive()
}

/// A session hears of a run from now on.
///
/// # Errors
/// When that cannot be written.
pub fn join(layout: &Layout, who: &Sitter, run: &OrchestrationId) -> Result<(), StoreError> {
    let _lock = seats::lock(layout)?;
    let mut seat = seats::of_session(layout, &who.session).unwrap_or_default();
    sit(&mut seat, who);
    if !seat.runs.contains(run) {
        seat.runs.push(run.clone());
    }
    seats::put(layout, &seat)
}

/// What is known of the session goes into its seat.
fn sit(seat: &mut SeatFile, who: &Sitter) {
    seat.schema_version = crate::format::SCHEMA_VERSION;
    seat.session.clone_from(&who.session);
    if who.client.is_some() {
        seat.client.clone_from(&who.client);
    }
    if !who.transcript.as_os_str().is_empty() {
        seat.transcript.clone_from(&who.transcript);
    }
}

/// A session begins, or goes on under another name (its client was told to clear it): it sits
/// where its client sat, or where it sat itself before it was resumed. Seats whose clients are
/// gone go: what somebody should hear of is among the orphans.
///
/// - `orphans`: runs that somebody should hear of. Those that no living client hears of are
///   this session's from now on.
///
/// # Errors
/// When that cannot be written.
pub fn begin(
    layout: &Layout,
    who: &Sitter,
    orphans: &[OrchestrationId],
) -> Result<SeatFile, StoreError> {
    let _lock = seats::lock(layout)?;
    forget_clients(layout);
    let mut mine = SeatFile::default();
    sit(&mut mine, who);
    let mut heard = Vec::new();
    for seat in seats::all(layout) {
        let same_client = who.client.is_some() && seat.client == who.client;
        let lives = seat.client.as_ref().is_some_and(is_alive);
        if same_client || seat.session == who.session {
            mine.runs.extend(seat.runs.clone());
            if seat.session != who.session {
                seats::remove(layout, &seat.session);
            }
        } else if lives {
            heard.extend(seat.runs.clone());
        } else if seat.client.is_some() {
            seats::remove(layout, &seat.session);
        }
    }
    let orphans = orphans.iter().filter(|run| !heard.contains(run));
    mine.runs.extend(orphans.cloned());
    mine.runs.sort();
    mine.runs.dedup();
    mine.runs.retain(|run| !heard.contains(run));
    if mine.runs.is_empty() {
        seats::remove(layout, &who.session);
    } else {
        seats::put(layout, &mine)?;
    }
    Ok(mine)
}

/// Removes the locks of clients that are gone. No other process ever has such a name.
fn forget_clients(layout: &Layout) {
    for entry in std::fs::read_dir(layout.seats())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let client = name
            .to_str()
            .and_then(|name| name.strip_suffix(".lock")?.split_once('-'))
            .and_then(|(pid, start)| {
                Some(ProcessName {
                    pid: pid.parse().ok()?,
                    start: start.parse().ok()?,
                    boot: boot_id().unwrap_or_default(),
                })
            });
        if client.is_some_and(|client| !is_alive(&client)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The seat of a client, whatever its session is called by now.
#[must_use]
pub fn seat_of(layout: &Layout, client: &ProcessName) -> Option<SeatFile> {
    seats::all(layout)
        .into_iter()
        .find(|seat| seat.client.as_ref() == Some(client))
}

/// Nothing more is to be heard of these runs.
///
/// # Errors
/// When that cannot be written.
pub fn leave(layout: &Layout, session: &str, runs: &[OrchestrationId]) -> Result<(), StoreError> {
    let _lock = seats::lock(layout)?;
    let Some(mut seat) = seats::of_session(layout, session) else {
        return Ok(());
    };
    seat.runs.retain(|run| !runs.contains(run));
    if seat.runs.is_empty() {
        seats::remove(layout, session);
        return Ok(());
    }
    seats::put(layout, &seat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::environment::Environment;
    use crate::agent::process;
    use std::path::Path;

    fn who(session: &str, client: Option<ProcessName>) -> Sitter {
        Sitter {
            session: session.into(),
            transcript: PathBuf::from(format!("/t/{session}.jsonl")),
            client,
        }
    }

    #[test]
    fn a_run_is_heard_of_by_its_starter_while_that_lives_and_by_the_next_one_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let run = OrchestrationId::parse("run-1").unwrap();
        std::fs::create_dir_all(layout.run(&run).dir()).unwrap();
        let me = process_name(std::process::id()).unwrap();
        assert!(is_alive(&me));
        let other_boot = ProcessName {
            boot: "another".into(),
            ..process_name(std::process::id()).unwrap()
        };
        assert!(!is_alive(&other_boot));
        let orphans = [run.clone()];
        // It joins by a command that does not know the client.
        join(&layout, &who("s1", None), &run).unwrap();
        join(&layout, &who("s1", Some(me.clone())), &run).unwrap();
        assert_eq!(seat_of(&layout, &me).unwrap().runs, orphans);
        // Another client hears nothing while the first lives.
        let mut sleeper = process::command(Path::new("/bin/sleep"), &Environment::default())
            .arg("600")
            .spawn()
            .unwrap();
        let second = process_name(sleeper.id()).unwrap();
        let seat = begin(&layout, &who("s2", Some(second.clone())), &orphans).unwrap();
        assert!(seat.runs.is_empty() && seat_of(&layout, &second).is_none());
        // The first goes on under another name.
        let seat = begin(&layout, &who("s1b", Some(me.clone())), &[]).unwrap();
        assert_eq!(
            (seat.runs.as_slice(), seat.session.as_str()),
            (&orphans[..], "s1b")
        );
        assert!(seats::of_session(&layout, "s1").is_none());
        // It is gone: the second hears of the run from now on.
        let dead = SeatFile {
            client: Some(other_boot),
            ..seat
        };
        seats::put(&layout, &dead).unwrap();
        let seat = begin(&layout, &who("s2", Some(second.clone())), &orphans).unwrap();
        assert_eq!(seat.runs, orphans);
        // The first is resumed; the second keeps what it hears of.
        let seat = begin(&layout, &who("s1b", Some(me)), &orphans).unwrap();
        assert!(seat.runs.is_empty());
        leave(&layout, "s2", &orphans).unwrap();
        assert!(seats::all(&layout).is_empty());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(!is_alive(&second));
    }
}
