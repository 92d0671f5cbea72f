//! What the instance asks of the person in the middle of a turn: whether it may use a tool,
//! and questions with options. Its turn waits for the answer; the loop does not.
//!
//! Questions queue up. The first is what the status file tells; the next one is shown when it
//! is answered. What is done about a request for permission, [`Permissions`] decides.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Life, Phase};
use crate::core::attempt::FailureClass;
use crate::core::permission::{Decision, Permissions, Reply};
use crate::core::time::Millis;
use crate::format::SCHEMA_VERSION;
use crate::format::claude_stream::one_line;
use crate::format::permission_request::{PermissionRequest, QUESTION_TOOL, refusal};
use crate::format::permissions_file::PermissionsFile;
use crate::store::atomic::{Durability, read_json, write_json};
use crate::store::layout::RunDir;

/// Questions that are remembered as settled.
const REMEMBERED: usize = 64;
/// Longest reply in the log, characters.
const SHOWN_REPLY: usize = 160;

/// A request that waits for the person.
#[derive(Debug)]
struct Asked {
    request: PermissionRequest,
    /// Questions that are answered already, with their answers.
    answers: Vec<(String, String)>,
}

impl Asked {
    /// The id of what is asked now.
    fn id(&self) -> String {
        if self.request.questions.is_empty() {
            self.request.id.clone()
        } else {
            format!("{}/{}", self.request.id, self.answers.len() + 1)
        }
    }

    fn question(&self) -> Option<&crate::core::permission::Question> {
        self.request.questions.get(self.answers.len())
    }
}

/// What people are told of something that waits for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its id, which an answer repeats.
    pub(super) id: String,
    /// What is asked.
    pub(super) reason: String,
    /// What may be answered.
    pub(super) options: Vec<String>,
}

/// The requests that wait for the person.
#[derive(Debug)]
pub(super) struct Desk {
    permissions: Permissions,
    waiting: VecDeque<Asked>,
    /// Since when somebody is waited for.
    since: Option<Instant>,
    /// When the time for the first in the queue began.
    clock: Instant,
    /// Ids of what was asked and needs no answer any more.
    settled: VecDeque<String>,
}

impl Desk {
    /// Before anything was asked, with what was allowed for good in earlier attempts.
    pub(super) fn begin(permissions: Permissions) -> Self {
        Self {
            permissions,
            waiting: VecDeque::new(),
            since: None,
            clock: Instant::now(),
            settled: VecDeque::new(),
        }
    }

    /// Whether the person is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The first question.
    pub(super) fn shown(&self) -> Option<Shown> {
        let asked = self.waiting.front()?;
        let id = asked.id();
        Some(match asked.question() {
            Some(question) => Shown {
                id,
                reason: question.shown(),
                options: question.options.iter().map(|(l, _)| l.clone()).collect(),
            },
            None => {
                let call = &asked.request.call;
                let mut reason = format!("may it do this? {}", call.text());
                if let Some(why) = &asked.request.reason {
                    reason.push_str(&format!(" ({why})"));
                }
                // Who allows something for good should see how much.
                if let Some(rules) = call.rules() {
                    reason.push_str(&format!("; \"allow always\" is about {rules}"));
                }
                Shown {
                    id,
                    reason,
                    options: Reply::OPTIONS.map(str::to_owned).to_vec(),
                }
            }
        })
    }

    /// Whether the first question is about a permission.
    pub(super) fn asks_permission(&self) -> bool {
        let first = self.waiting.front();
        first.is_some_and(|asked| asked.request.questions.is_empty())
    }

    /// Whether this was asked and needs no answer any more.
    pub(super) fn is_settled(&self, id: &str) -> bool {
        self.settled.iter().any(|known| known == id)
    }

    /// Remembers that no answer to this is needed any more.
    pub(super) fn settle(&mut self, id: String) {
        if self.settled.len() >= REMEMBERED {
            self.settled.pop_front();
        }
        self.settled.push_back(id);
    }

    /// A person gave a sign.
    pub(super) fn somebody_is_there(&mut self) {
        self.permissions.somebody_is_there();
    }

    fn push(&mut self, request: PermissionRequest) {
        if self.waiting.iter().any(|a| a.request.id == request.id) {
            return;
        }
        if self.waiting.is_empty() {
            let now = Instant::now();
            self.since = Some(now);
            self.clock = now;
        }
        self.waiting.push_back(Asked {
            request,
            answers: Vec::new(),
        });
    }

    /// Takes the first one out.
    fn pop(&mut self) -> Option<Asked> {
        let asked = self.waiting.pop_front()?;
        self.settle(asked.id());
        self.clock = Instant::now();
        Some(asked)
    }

    /// How long somebody was waited for, once nobody is any more.
    fn waited(&mut self) -> Option<Duration> {
        if self.waiting.is_empty() {
            Some(self.since.take()?.elapsed())
        } else {
            None
        }
    }

    /// When the time of the first one is over.
    fn deadline(&self, permission: Millis, answer: Millis) -> Option<Instant> {
        let asked = self.waiting.front()?;
        let time = if asked.request.questions.is_empty() {
            self.permissions.time(permission)
        } else {
            answer
        };
        Some(self.clock + Duration::from_millis(time.0))
    }
}

/// What was allowed for good in earlier attempts at the task. A file that cannot be read is
/// set aside: the person is asked again.
pub(super) fn allowed_before(run: &RunDir, task: &crate::core::id::TaskName) -> PermissionsFile {
    let file = read_json(&run.permissions(task), "what was allowed for good");
    file.ok().flatten().unwrap_or(PermissionsFile {
        schema_version: SCHEMA_VERSION,
        allowed: std::collections::BTreeSet::new(),
    })
}

impl Life<'_> {
    /// Whether a person is waited for, so that silence is no sign of trouble.
    pub(super) fn waits_for_person(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_)) || self.desk.is_waiting()
    }

    /// The client asks whether a tool may be used.
    pub(super) fn on_permission_request(&mut self, request: PermissionRequest) {
        self.turn_began();
        if self.phase != Phase::Working {
            self.send(request.deny("The session is being ended."));
            return;
        }
        if request.call.tool == QUESTION_TOOL {
            if request.questions.is_empty() {
                self.send(request.deny("There is no question in it."));
                return;
            }
            self.desk.push(request);
            self.show_question();
            return;
        }
        match self.desk.permissions.decide(&request.call) {
            Decision::Allow => {
                self.announce(&format!(
                    "allowed, as before: {}",
                    one_line(&request.call.text(), SHOWN_REPLY)
                ));
                self.send(request.allow(&[]));
            }
            Decision::Deny(why) => self.deny(&request, &why),
            Decision::Ask => {
                self.desk.push(request);
                self.show_question();
            }
        }
    }

    /// A request that is not understood must not wait for ever.
    pub(super) fn on_other_request(&mut self, request_id: &str, subtype: &str) {
        self.note(&format!(
            "the client asks for {subtype:?}, which is not known here"
        ));
        self.send(refusal(request_id, "this host does not know such requests"));
    }

    /// The client takes a request back.
    pub(super) fn on_request_withdrawn(&mut self, request_id: &str) {
        let withdrawn: Vec<String> = self
            .desk
            .waiting
            .iter()
            .filter(|asked| asked.request.id == request_id)
            .map(Asked::id)
            .collect();
        let was_first =
            self.desk.waiting.front().map(|a| a.request.id.as_str()) == Some(request_id);
        self.desk.waiting.retain(|a| a.request.id != request_id);
        if was_first {
            self.desk.clock = Instant::now();
        }
        for id in withdrawn {
            self.desk.settle(id);
        }
        self.after_answer();
    }

    /// Nothing that was asked in this turn or session needs an answer any more.
    pub(super) fn withdraw_all(&mut self) {
        if self.desk.is_waiting() {
            while self.desk.pop().is_some() {}
            self.after_answer();
        }
    }

    /// A person's answer to the first question. Returns whether it says something to the
    /// session beyond the request that it answers.
    pub(super) fn answer_question(&mut self, text: &str) -> bool {
        self.report.status.forwarded_message = Some(text.to_owned());
        let Some(mut asked) = self.desk.pop() else {
            return false;
        };
        let is_question = !asked.request.questions.is_empty();
        if let Some(question) = asked.question() {
            let answer = question.answer(text);
            self.announce(&format!("answered: {}", one_line(&answer, SHOWN_REPLY)));
            asked.answers.push((question.text.clone(), answer));
            if asked.question().is_some() {
                self.desk.waiting.push_front(asked);
            } else {
                self.send(asked.request.allow(&asked.answers));
            }
        } else {
            let reply = Reply::read(text);
            self.desk.permissions.answered(&asked.request.call, &reply);
            let call = one_line(&asked.request.call.text(), SHOWN_REPLY);
            match &reply {
                Reply::Allow => {
                    self.announce(&format!("allowed: {call}"));
                    self.send(asked.request.allow(&[]));
                }
                Reply::AllowAlways => {
                    let all = asked.request.call.rules().unwrap_or_else(|| call.clone());
                    self.announce(&format!("allowed for the rest of the task: {all}"));
                    self.keep_allowed();
                    self.send(asked.request.allow(&[]));
                }
                Reply::Deny(reason) => {
                    let why = Reply::denial(reason.as_deref());
                    self.deny(&asked.request, &why);
                }
            }
        }
        self.after_answer();
        is_question
    }

    /// Denies a call and remembers it: the reason why a task is not done may be here.
    fn deny(&mut self, request: &PermissionRequest, why: &str) {
        let call = one_line(&request.call.text(), SHOWN_REPLY);
        self.heard.denied(std::slice::from_ref(&call));
        self.note(&format!("denied: {call}: {}", one_line(why, 200)));
        self.announce(&format!("denied: {call}"));
        self.send(request.deny(why));
    }

    fn after_answer(&mut self) {
        // The silence while it was waited for was the person's.
        self.signs.heard(self.clock.now());
        if let Some(waited) = self.desk.waited() {
            // Waiting for a person does not use up the task's time.
            self.times.add(waited);
        }
        self.show_question();
    }

    fn keep_allowed(&mut self) {
        let file = PermissionsFile {
            schema_version: SCHEMA_VERSION,
            allowed: self.desk.permissions.allowed.clone(),
        };
        let path = self.supervision.run.permissions(self.supervision.task);
        // Unwritten, it is only asked once more by the next attempt.
        if let Err(e) = write_json(
            &path,
            "what was allowed for good",
            &file,
            Durability::Durable,
        ) {
            self.note(&e.to_string());
        }
    }

    /// Looks whether somebody had enough time to answer.
    pub(super) fn look_at_questions(&mut self, at: Instant) {
        let permission = Millis::from_secs(self.launch.permission_timeout_seconds);
        let answer = Millis::from_secs(self.launch.answer_timeout_seconds);
        let is_due = self
            .desk
            .deadline(permission, answer)
            .is_some_and(|d| at >= d);
        if !is_due || self.ending.is_some() {
            return;
        }
        let is_question = self
            .desk
            .waiting
            .front()
            .is_some_and(|asked| asked.question().is_some());
        if is_question {
            let reason = self.desk.shown().map(|s| s.reason).unwrap_or_default();
            self.nobody_answered(&reason);
            return;
        }
        if let Some(asked) = self.desk.pop() {
            let why = self.desk.permissions.missed(&asked.request.call);
            self.announce("nobody answered; it goes on without");
            self.deny(&asked.request, &why);
            self.after_answer();
        }
    }

    /// Nobody answered what the instance cannot go on without.
    pub(super) fn nobody_answered(&mut self, reason: &str) {
        let detail = format!(
            "nobody answered within {}: {reason}",
            Millis::from_secs(self.launch.answer_timeout_seconds)
        );
        self.fail(FailureClass::Permission, detail);
        self.end_tree();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::claude_stream::{Event, parse_line};

    fn request(id: &str, tool: &str, input: &str) -> PermissionRequest {
        let line = format!(
            r#"{{"type":"control_request","request_id":"{id}","request":{{
            "subtype":"can_use_tool","tool_name":"{tool}","input":{input}}}}}"#
        );
        match parse_line(line.as_bytes()) {
            Some(Event::PermissionRequest(request)) => *request,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn questions_queue_up_and_are_asked_once() {
        let mut desk = Desk::begin(Permissions::default());
        assert_eq!(desk.shown(), None);
        let bash = request("1", "Bash", r#"{"command":"make"}"#);
        desk.push(bash.clone());
        desk.push(bash);
        desk.push(request(
            "2",
            "AskUserQuestion",
            r#"{"questions":[{"question":"A?","options":[{"label":"x"}]},{"question":"B?"}]}"#,
        ));
        assert_eq!(
            desk.shown(),
            Some(Shown {
                id: "1".into(),
                reason: "may it do this? Bash: make".into(),
                options: vec!["allow".into(), "allow always".into(), "deny".into()],
            })
        );
        assert!(!desk.is_settled("1"));
        let _ = desk.pop();
        assert!(desk.is_settled("1"));
        assert_eq!(desk.waited(), None, "there is another one");
        let shown = desk.shown().unwrap();
        assert_eq!((shown.id.as_str(), shown.reason.as_str()), ("2/1", "A?"));
        assert_eq!(shown.options, ["x"]);
        let _ = desk.pop();
        assert!(desk.waited().is_some());
        assert!(desk.waited().is_none(), "counted once");
    }

    #[test]
    fn permissions_and_answers_have_times_of_their_own() {
        let mut desk = Desk::begin(Permissions::default());
        let (short, long) = (Millis(1_000), Millis(9_000));
        assert_eq!(desk.deadline(short, long), None);
        desk.push(request("1", "Bash", "{}"));
        let question = r#"{"questions":[{"question":"A?"}]}"#;
        desk.push(request("2", "AskUserQuestion", question));
        let time = |desk: &Desk| desk.deadline(short, long).unwrap() - desk.clock;
        assert_eq!(time(&desk), Duration::from_secs(1));
        let _ = desk.pop();
        assert_eq!(time(&desk), Duration::from_secs(9));
    }

    #[test]
    fn what_is_settled_is_forgotten_in_time() {
        let mut desk = Desk::begin(Permissions::default());
        for n in 0..=REMEMBERED {
            desk.settle(n.to_string());
        }
        assert!(!desk.is_settled("0") && desk.is_settled("1"));
    }
}
