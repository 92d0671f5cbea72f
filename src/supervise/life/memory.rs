//! What is done about an instance that uses too much memory. Which remedy is due,
//! [`crate::core::memory`] decides; where the kernel bounds the tree, it does so by itself.
//!
//! Watched memory is the resident one of all processes together as long as that is within the
//! bound; it counts what is shared once per process. Once it is not, each process counts with
//! its share (PSS), so that nothing is ended for memory that is counted twice.

use std::time::{Duration, Instant};

use super::{Life, Phase};
use crate::agent::cgroup::{self, Group};
use crate::agent::tree::{self, Member, ProcessKey};
use crate::core::attempt::FailureClass;
use crate::core::memory::{MemoryWatch, Remedy, Usage};
use crate::format::claude_stream::one_line;
use crate::supervise::classify::Exit;

/// The memory of an instance.
#[derive(Debug)]
pub(super) struct Memory {
    watch: Option<MemoryWatch>,
    group: Option<Group>,
    /// The kernel's count of processes that it ended for want of memory: when the agent
    /// began, in a group when it last grew.
    kills_before: Option<u64>,
    /// When that of the group last grew.
    grew: Option<Instant>,
    /// The most that was seen, bytes.
    pub(super) peak: Option<u64>,
}

impl Memory {
    pub(super) fn new(cap: Option<u64>) -> Self {
        Self {
            watch: cap.map(MemoryWatch::new),
            group: None,
            kills_before: None,
            grew: None,
            peak: None,
        }
    }

    /// Whether a process that ended so was ended by the kernel for want of memory, as far as
    /// can be told: for certain in a group, else when the kernel ended any meanwhile.
    pub(super) fn ran_out(&self, exit: Exit) -> bool {
        let now = match &self.group {
            Some(group) => group.kernel_kills(),
            None => tree::kernel_kills(),
        };
        // A look may have seen the end of the client in the count before it saw it otherwise.
        let just_grew = self.grew.is_some_and(|at| at.elapsed() < RECENTLY);
        was_killed(exit) && (just_grew || has_grown(self.kills_before, now))
    }

    /// Ends what is in the group, at once.
    pub(super) fn kill_group(&self) {
        if let Some(group) = &self.group {
            group.kill();
        }
    }
}

impl Life<'_> {
    /// Gives the agent that has just begun a group of its own, where that is to be had.
    pub(super) fn enclose(&mut self) {
        self.memory.kills_before = tree::kernel_kills();
        let (Some(watch), Some(key)) = (
            &self.memory.watch,
            self.agent.as_ref().and_then(|agent| agent.key),
        ) else {
            return;
        };
        let name = format!("orchestra-{}-{}", std::process::id(), self.launch.attempt);
        self.memory.group = cgroup::make(&name, watch.cap()).filter(|g| g.add(key).is_ok());
        if let Some(group) = &self.memory.group {
            self.memory.kills_before = group.kernel_kills();
        }
    }

    /// Keeps the peak, and does what is to be done about too much.
    pub(super) fn look_at_memory(&mut self, client: Option<ProcessKey>, members: &[Member]) {
        let resident = members.iter().map(|m| m.memory_bytes).sum::<u64>();
        let measured = self.memory.group.as_ref().and_then(Group::peak_memory);
        let peak = &mut self.memory.peak;
        *peak = (*peak).max(Some(measured.unwrap_or(resident)));
        self.report.status.resources.peak_memory_bytes = *peak;
        let ends = self.ending.is_some() || self.candidate.is_some();
        if ends || self.memory.watch.is_none() {
            return;
        }
        if self.memory.group.is_some() {
            self.look_at_group(members);
        } else {
            self.look_at_processes(client, members, resident);
        }
    }

    /// The kernel bounds the tree: what it ended is told. What was started before the group
    /// was there is brought in.
    fn look_at_group(&mut self, members: &[Member]) {
        let Some(group) = &self.memory.group else {
            return;
        };
        for member in members {
            let _ = group.add(member.key);
        }
        let kills = group.kernel_kills();
        if has_grown(self.memory.kills_before, kills) && self.agent_runs() {
            self.memory.kills_before = kills;
            self.memory.grew = Some(Instant::now());
            self.tell_of_memory("A process of yours");
        }
    }

    fn look_at_processes(&mut self, client: Option<ProcessKey>, members: &[Member], resident: u64) {
        let Some(watch) = &mut self.memory.watch else {
            return;
        };
        if resident <= watch.cap() {
            return;
        }
        let usages: Vec<Usage> = members
            .iter()
            .map(|member| Usage {
                bytes: member.share_of_memory(),
                is_client: Some(member.key) == client,
            })
            .collect();
        match watch.look(self.clock.now().tick, &usages) {
            Remedy::Nothing => {}
            Remedy::EndOne(at) => {
                let Some(member) = members.get(at) else {
                    return;
                };
                let name = tree::command_line(member.key)
                    .map_or("a process".into(), |line| one_line(&line, 100));
                tree::kill(member.key);
                let used = usages.get(at).map_or(0, |usage| usage.bytes);
                let what = format!("The process `{name}` ({} MiB)", used / MIB);
                self.tell_of_memory(&what);
            }
            Remedy::EndAll => {
                let used = usages.iter().map(|u| u.bytes).sum::<u64>();
                let detail = format!(
                    "its processes used {} MiB of memory, {} MiB are allowed",
                    used / MIB,
                    self.launch.limits.max_memory_mb
                );
                self.fail(FailureClass::OutOfMemory, detail);
                self.end_tree();
            }
        }
    }

    fn tell_of_memory(&mut self, what: &str) {
        let allowed = self.launch.limits.max_memory_mb;
        let text = format!(
            "{what} was ended, because all of your processes together used more than the {allowed} \
             MiB of memory that you have. Do this in smaller pieces, or with less at the same time."
        );
        self.note(&text);
        self.announce(&format!("{what} was ended for want of memory"));
        if self.phase == Phase::Working && self.agent_listens() {
            self.say(&text);
        }
    }
}

/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;

/// How long before the end of the client the kernel's count may have grown for it.
const RECENTLY: Duration = Duration::from_secs(3);

fn was_killed(exit: Exit) -> bool {
    exit.signal == Some(9) || exit.code == Some(137)
}

/// A count that is not known now or was not known before has not grown.
fn has_grown(before: Option<u64>, now: Option<u64>) -> bool {
    before.is_some() && now > before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unexplained_kill_while_the_kernel_counted_one_is_a_want_of_memory() {
        let exit = |code, signal| Exit { code, signal };
        let count = tree::kernel_kills();
        for (exit, before, just_grew, expected) in [
            (exit(None, Some(9)), count, false, false),
            (exit(None, Some(9)), count, true, true),
            (exit(Some(137), None), count, true, true),
            (exit(None, Some(11)), count, true, false),
            (exit(Some(1), None), count, true, false),
            (exit(None, Some(9)), None, false, false),
        ] {
            let memory = Memory {
                kills_before: before,
                grew: just_grew.then(Instant::now),
                ..Memory::new(None)
            };
            assert_eq!(memory.ran_out(exit), expected, "{exit:?} {just_grew}");
        }
        assert!(has_grown(Some(3), Some(4)));
        assert!(!has_grown(Some(3), Some(3)) && !has_grown(None, Some(4)));
        assert!(!has_grown(Some(3), None));
    }
}
