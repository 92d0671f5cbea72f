//! What others want of an instance that a person sits at, and what it says of itself.

use super::Attached;
use crate::core::attempt::AttemptEnd;
use crate::core::event::StopHow;
use crate::format::claude_stream::one_line;
use crate::format::instance_request::InstanceRequest;
use crate::format::status_file::{InstanceStatus, SaidProgress};
use crate::store::instance_inbox;
use crate::supervise::leave_note;
use crate::supervise::life::requests::question;
use crate::supervise::report::{now, rfc3339};

impl Attached<'_> {
    pub(super) fn show_stuck(&mut self, asked: Option<(String, Vec<String>)>) {
        let status = &mut self.report.status;
        match asked {
            Some((reason, options)) => {
                let told = question(self.visit.supervision.task, &reason, &options);
                status.status = InstanceStatus::Stuck;
                status.stuck_reason = Some(reason);
                status.stuck_since = Some(rfc3339(now()));
                status.options = options;
                self.announce(&told);
            }
            None if status.status == InstanceStatus::Stuck => {
                status.status = InstanceStatus::Working;
                status.stuck_reason = None;
                status.stuck_since = None;
                status.options.clear();
            }
            None => return,
        }
        self.report.flush(true);
    }

    /// What others want of the instance. Messages and notices wait for the next attempt without
    /// a person: the person is the one who tells it something now.
    pub(super) fn look_into_inbox(&mut self) {
        let supervision = &self.visit.supervision;
        let (run, task) = (supervision.run, supervision.task);
        for (path, request) in instance_inbox::pending(&run.instance_inbox(task)) {
            if self.taken.contains(&path) {
                continue;
            }
            let old = |attempt: Option<u32>| attempt.is_some_and(|a| a < self.launch.attempt);
            match request {
                Ok(InstanceRequest::Stop { how, attempt }) => {
                    if how == StopHow::Cancel && !old(attempt) {
                        self.taken.push(path);
                        self.ending = Some(AttemptEnd::Cancelled);
                        self.end_tree();
                    } else {
                        // A pause holds back what comes after the person.
                        let _ = std::fs::remove_file(&path);
                    }
                }
                Ok(InstanceRequest::Stuck {
                    reason,
                    options,
                    attempt,
                }) => {
                    if !old(attempt) {
                        self.show_stuck(Some((reason, options)));
                    }
                    let _ = std::fs::remove_file(&path);
                }
                Ok(InstanceRequest::Progress {
                    text,
                    percent,
                    steps,
                    attempt,
                }) => {
                    if !old(attempt) {
                        self.report.status.progress.said = Some(SaidProgress {
                            text: one_line(&text, 400),
                            percent,
                            done: steps.map(|(done, _)| done),
                            total: steps.map(|(_, total)| total),
                        });
                    }
                    let _ = std::fs::remove_file(&path);
                }
                Ok(InstanceRequest::Note { text }) => {
                    if let Err(error) = leave_note(run, task, &text) {
                        self.report.status.last_error = Some(error.to_string());
                    }
                    let _ = std::fs::remove_file(&path);
                }
                Ok(InstanceRequest::Message { .. } | InstanceRequest::Notice { .. }) => {}
                Err(why) => {
                    self.report.status.last_error = Some(format!("a request means nothing: {why}"));
                }
            }
        }
    }

    /// Whether a wish to cancel waits to be looked at.
    pub(super) fn is_cancelled(&self) -> bool {
        let supervision = &self.visit.supervision;
        let folder = supervision.run.instance_inbox(supervision.task);
        let mut requests = instance_inbox::pending(&folder).into_iter();
        requests.any(|(path, request)| {
            !self.taken.contains(&path)
                && matches!(
                    request,
                    Ok(InstanceRequest::Stop { how: StopHow::Cancel, attempt })
                        if attempt.is_none_or(|of| of >= self.launch.attempt)
                )
        })
    }
}
