//! What others want of the instance: stop, a message; and being stuck until one comes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Life, Phase};
use crate::core::attempt::AttemptEnd;
use crate::core::event::StopHow;
use crate::core::id::TaskName;
use crate::format::claude_stream::{interrupt, one_line};
use crate::format::instance_request::InstanceRequest;
use crate::format::status_file::InstanceStatus;
use crate::store::instance_inbox;

/// How long an instance that is to make room may take to come to a boundary.
const YIELD_PATIENCE: Duration = Duration::from_secs(60);
/// Longest part of a message in the log, characters.
const SHOWN_MESSAGE: usize = 160;
/// Longest part of the reason why an instance is stuck in the log, characters.
const SHOWN_REASON: usize = 400;
/// The same for each option.
const SHOWN_OPTION: usize = 100;

impl Life<'_> {
    /// Takes the requests that wait.
    pub(super) fn look_into_inbox(&mut self) {
        self.times.looked(self.watcher.is_some());
        let folder = self.supervision.run.instance_inbox(self.supervision.task);
        for (path, request) in instance_inbox::pending(&folder) {
            if self.taken.contains(&path) {
                continue;
            }
            match request {
                Ok(InstanceRequest::Stop { how, attempt }) => {
                    if attempt.is_some_and(|meant| meant < self.launch.attempt) {
                        // It came too late for an attempt that is over.
                        let _ = std::fs::remove_file(&path);
                    } else {
                        self.taken.push(path);
                        self.stop(how);
                    }
                }
                Ok(InstanceRequest::Message { text }) => {
                    // Kept for the next attempt when this one cannot take it any more, and
                    // until there is a session to take it.
                    let takes = matches!(
                        self.phase,
                        Phase::Working | Phase::Gating | Phase::Waiting(_)
                    );
                    if takes && self.agent_listens() {
                        self.forward(&text);
                        let _ = std::fs::remove_file(&path);
                    }
                }
                Ok(InstanceRequest::Notice { text, attempt }) => {
                    if attempt.is_some_and(|meant| meant < self.launch.attempt) {
                        let _ = std::fs::remove_file(&path);
                    } else if self.phase == Phase::Working && self.agent_listens() {
                        // Neither the answer to a question, nor a reason to go on when all
                        // is done.
                        self.forward(&text);
                        let _ = std::fs::remove_file(&path);
                    }
                }
                Ok(InstanceRequest::Stuck { reason, options }) => {
                    self.is_stuck(reason, options);
                    let _ = std::fs::remove_file(&path);
                }
                Err(why) => self.note(&format!("a request means nothing: {why}")),
            }
        }
    }

    /// Passes a message on; to a stuck instance it is the answer.
    fn forward(&mut self, text: &str) {
        if let Phase::Waiting(since) = self.phase {
            // Waiting for a person does not use up the task's time.
            self.times.add(since.elapsed());
        }
        self.turn_began();
        self.phase = Phase::Working;
        self.report.status.status = InstanceStatus::Working;
        self.report.status.stuck_reason = None;
        self.report.status.options.clear();
        self.report.status.forwarded_message = Some(text.to_owned());
        self.say(text);
        self.report.flush(true);
        self.announce(&format!("told: {}", one_line(text, SHOWN_MESSAGE)));
    }

    /// Ends the attempt before its time.
    pub(super) fn stop(&mut self, how: StopHow) {
        match how {
            StopHow::Cancel => {
                self.ending = Some(AttemptEnd::Cancelled);
                self.candidate = None;
                self.stop_work.store(true, Ordering::Relaxed);
                self.close();
                self.end_tree();
            }
            // Done is done: a pause that comes this late changes nothing.
            StopHow::Pause | StopHow::Yield
                if self.ending.is_some() || self.candidate.is_some() => {}
            StopHow::Yield if self.yielding.is_some() => {}
            StopHow::Yield if matches!(self.phase, Phase::Working | Phase::Gating) => {
                self.yielding = Some(Instant::now());
                self.note("asked to make room: it stops after the present tool call");
            }
            StopHow::Pause | StopHow::Yield => {
                self.ending = Some(AttemptEnd::Paused);
                self.stop_work.store(true, Ordering::Relaxed);
                if self.phase == Phase::Working && self.agent_listens() {
                    self.phase = Phase::Stopping(Instant::now());
                    self.report.status.activity = Some("pausing".into());
                    self.send(interrupt("pause"));
                } else {
                    self.close();
                }
            }
        }
    }

    /// No tool is open: one that is to make room does so.
    pub(super) fn at_boundary(&mut self) {
        if self.yielding.is_some() {
            self.stop(StopHow::Pause);
        }
    }

    /// One that is to make room and comes to no boundary is interrupted.
    pub(super) fn look_at_yielding(&mut self, at: Instant) {
        if self
            .yielding
            .is_some_and(|since| at >= since + YIELD_PATIENCE)
        {
            self.stop(StopHow::Pause);
        }
    }

    /// The instance needs an answer. It may say so twice, by a request and at the end of its
    /// turn; people hear the same question once.
    pub(super) fn is_stuck(&mut self, reason: String, options: Vec<String>) {
        let question = question(self.supervision.task, &reason, &options);
        let status = &mut self.report.status;
        let is_known = status.status == InstanceStatus::Stuck
            && status.stuck_reason.as_ref() == Some(&reason)
            && status.options == options;
        status.status = InstanceStatus::Stuck;
        status.stuck_reason = Some(reason);
        status.options = options;
        self.report.flush(true);
        if !is_known {
            self.announce(&question);
        }
    }
}

/// The question of a stuck instance for people, and how to answer it.
fn question(task: &TaskName, reason: &str, options: &[String]) -> String {
    let reason = one_line(reason, SHOWN_REASON);
    let reason = if reason.is_empty() {
        "it did not say why"
    } else {
        &reason
    };
    let options: Vec<String> = options.iter().map(|o| one_line(o, SHOWN_OPTION)).collect();
    let options = if options.is_empty() {
        String::new()
    } else {
        format!(" (options: {})", options.join(" | "))
    };
    format!("STUCK - {reason}{options}; answer with: orchestra control answer {task} \"…\"")
}

/// A last text in which a line begins with `STUCK:`: the reason, and the options in the list
/// behind it.
pub(super) fn says_stuck(text: &str) -> Option<(String, Vec<String>)> {
    let mut lines = text.lines().map(str::trim);
    let reason = lines.find_map(|line| line.strip_prefix("STUCK:"))?;
    let options = lines
        .filter_map(|line| line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")))
        .map(|option| one_line(option, 300))
        .collect();
    Some((one_line(reason, 1000), options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_how_to_answer() {
        let task = TaskName::parse("api").unwrap();
        assert_eq!(
            question(&task, "which\ncolour?", &["red".into(), "blue".into()]),
            "STUCK - which colour? (options: red | blue); \
             answer with: orchestra control answer api \"…\""
        );
        assert_eq!(
            question(&task, " ", &[]),
            "STUCK - it did not say why; answer with: orchestra control answer api \"…\""
        );
        let long = question(&task, &"x".repeat(5000), &["y".repeat(5000)]);
        assert!(
            long.len() < 700 && long.ends_with("answer api \"…\""),
            "{long}"
        );
    }

    #[test]
    fn a_stuck_instance_says_why_and_what_it_considered() {
        assert_eq!(says_stuck("All done. Not STUCK: at all"), None);
        assert_eq!(
            says_stuck("I tried.\nSTUCK: no key for the service\n- ask for one\n* use a fake"),
            Some((
                "no key for the service".into(),
                vec!["ask for one".into(), "use a fake".into()]
            ))
        );
    }
}
