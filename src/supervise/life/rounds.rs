//! Rounds of the gate: looking for the evidence, sending the instance back without it, and
//! confirming it once nothing can change any more. What evidence is, [`gate`] decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Life, Phase};
use crate::core::attempt::{AttemptEnd, FailureClass};
use crate::core::event::StopHow;
use crate::core::id::Oid;
use crate::format::claude_stream::one_line;
use crate::supervise::gate::{self, Lack};
use crate::supervise::watch::{GateReport, Msg};

/// A commit for which the evidence was seen.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    head: Oid,
    /// What was uncommitted after the verify command, which may leave files behind.
    uncommitted: Vec<String>,
}

impl Life<'_> {
    /// Begins a look; its end is a message.
    pub(super) fn start_gate(&mut self) {
        self.phase = Phase::Gating;
        self.look += 1;
        self.stop_work = Arc::default();
        self.report.status.activity = Some("checking whether it is done".into());
        let (look, stop) = (self.look, Arc::clone(&self.stop_work));
        let sent = self.workshop.send("gate", &self.tell, move |shop| {
            Msg::Gate(look, shop.gate(&stop))
        });
        match sent {
            Ok(()) => self.works += 1,
            Err(why) => self.fail(FailureClass::Crash, why),
        }
    }

    /// Ends a look that is out of date.
    pub(super) fn abandon_gate(&mut self) {
        self.look += 1;
        self.stop_work.store(true, Ordering::Relaxed);
    }

    /// A look ended.
    pub(super) fn on_gate(&mut self, look: u64, report: Result<GateReport, String>) {
        if look != self.look || self.phase != Phase::Gating {
            return;
        }
        let report = match report {
            Ok(report) => report,
            Err(why) => {
                let detail = format!("the worktree cannot be looked at: {why}");
                self.fail(FailureClass::Worktree, detail);
                return;
            }
        };
        match (&report.git.head, report.lacks.is_empty()) {
            (Some(head), true) => {
                // The last chance for a message: behind this the session ends.
                self.look_into_inbox();
                if self.phase != Phase::Gating {
                    return;
                }
                self.candidate = Some(Candidate {
                    head: head.clone(),
                    uncommitted: report.left_by_verify,
                });
                self.report.status.activity = Some("done; ending the session".into());
                self.close();
            }
            _ => self.send_back(&report.lacks),
        }
    }

    fn send_back(&mut self, lacks: &[Lack]) {
        let detail = gate::detail(lacks);
        if self.yielding.is_some() {
            self.stop(StopHow::Pause);
            return;
        }
        if self.rounds >= self.launch.gate_rounds || !self.agent_listens() {
            let (class, detail) = self.gate_failure(lacks, detail);
            self.fail(class, detail);
            return;
        }
        if let Some(spent) = self.money_is_spent() {
            self.fail(FailureClass::Budget, format!("{spent}; missing: {detail}"));
            return;
        }
        self.rounds += 1;
        self.report.status.activity = Some(format!(
            "sent back ({} of {}): {}",
            self.rounds,
            self.launch.gate_rounds,
            one_line(&detail, 200)
        ));
        self.note(&detail);
        self.announce(&format!("sent back: {}", gate::brief(lacks)));
        self.phase = Phase::Working;
        let message = gate::message(&self.workshop.rules, lacks);
        self.say(&message);
    }

    /// Why the gate is not passed: a denied commit is a question of permission.
    fn gate_failure(&self, lacks: &[Lack], mut detail: String) -> (FailureClass, String) {
        let commit_denied = self
            .heard
            .denials
            .iter()
            .any(|denial| denial.contains("git commit") || denial.contains("git add"));
        let uncommitted = lacks
            .iter()
            .any(|lack| matches!(lack, Lack::NoCommits | Lack::Uncommitted(_)));
        if !self.heard.denials.is_empty() {
            detail.push_str("; denied: ");
            detail.push_str(&self.heard.denials.join("; "));
        }
        if commit_denied && uncommitted {
            (FailureClass::Permission, detail)
        } else {
            (FailureClass::GateNotPassed, detail)
        }
    }

    /// Looks again once nobody can change anything any more. The client may have gone on
    /// after the evidence was seen; then all of it is gathered anew.
    pub(super) fn confirm(&mut self, candidate: &Candidate) -> AttemptEnd {
        let complete = |head| AttemptEnd::Complete {
            head,
            summary: self.summary(),
        };
        let failed = |why: String| AttemptEnd::Failed {
            class: FailureClass::Worktree,
            detail: format!("the worktree cannot be looked at: {why}"),
        };
        match self.workshop.look() {
            Ok(git)
                if git.head.as_ref() == Some(&candidate.head)
                    && git.branch.as_ref() == Some(&self.launch.branch)
                    && git
                        .uncommitted
                        .iter()
                        .all(|p| candidate.uncommitted.contains(p)) =>
            {
                return complete(candidate.head.clone());
            }
            Ok(_) => {}
            Err(why) => return failed(why),
        }
        match self.workshop.gate(&AtomicBool::new(false)) {
            Ok(report) => match (report.git.head, report.lacks.is_empty()) {
                (Some(head), true) => complete(head),
                _ => {
                    let detail = format!(
                        "changed after it was checked: {}",
                        gate::detail(&report.lacks)
                    );
                    let (class, detail) = self.gate_failure(&report.lacks, detail);
                    AttemptEnd::Failed { class, detail }
                }
            },
            Err(why) => failed(why),
        }
    }
}
