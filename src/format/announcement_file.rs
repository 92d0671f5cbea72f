//! `announcements/ledger.jsonl` of a run: what people are to be told without asking, and who
//! was told it. A line each; readers pass over lines that they cannot read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::core::id::{OrchestrationId, TaskName};
use crate::core::time::Timestamp;

/// What an announcement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnnouncementKind {
    /// An instance waits for an answer.
    Stuck,
    /// A task was given up.
    Failed,
    /// The merged results wait on a branch for review.
    Ready,
    /// The run ended.
    Finished,
}

impl AnnouncementKind {
    /// The word for it, as `ORCHESTRA_EVENT` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Failed => "failed",
            Self::Ready => "ready",
            Self::Finished => "finished",
        }
    }
}

/// Something that people are to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// What it is made of: the same thing is never announced twice.
    pub id: String,
    /// What it is about.
    pub kind: AnnouncementKind,
    /// The task, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskName>,
    /// The question of a stuck instance, as its status file names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// One line, for a desktop.
    pub headline: String,
    /// All of it, for a session: several lines.
    pub text: String,
}

/// Longest reason that is told, characters.
const LONGEST_REASON: usize = 2000;
/// Longest option that is told, characters.
const LONGEST_OPTION: usize = 300;
/// Longest headline, characters.
const LONGEST_HEADLINE: usize = 160;

impl Announcement {
    /// That an instance waits for an answer. Its words are quoted, whatever is in them.
    #[must_use]
    pub fn stuck(
        run: &OrchestrationId,
        task: &TaskName,
        question: &str,
        reason: &str,
        options: &[String],
    ) -> Self {
        let reason = match reason.trim() {
            "" => "it did not say why",
            reason => reason,
        };
        let mut text = format!("{task} is STUCK. It says:\n{}", quoted(reason));
        if !options.is_empty() {
            text.push_str("\nIts options:");
            for (n, option) in options.iter().enumerate() {
                let option = clean(option, LONGEST_OPTION);
                text.push_str(&format!("\n> {}. {option}", n + 1));
            }
        }
        text.push_str(&format!(
            "\nThe person answers with: /orchestra-control answer {task} \"TEXT\""
        ));
        Self {
            id: format!("stuck/{task}/{question}"),
            kind: AnnouncementKind::Stuck,
            task: Some(task.clone()),
            question: Some(question.to_owned()),
            headline: headline(&format!("{task} is stuck: {reason}"), run),
            text,
        }
    }

    /// That a task was given up, as line `seq` of the journal says.
    #[must_use]
    pub fn failed(
        run: &OrchestrationId,
        task: &TaskName,
        seq: u64,
        class: &str,
        detail: &str,
    ) -> Self {
        let detail = match detail.trim() {
            "" => "it is not known why",
            detail => detail,
        };
        Self {
            id: format!("failed/{task}/{seq}"),
            kind: AnnouncementKind::Failed,
            task: Some(task.clone()),
            question: None,
            headline: headline(&format!("{task} failed ({class}): {detail}"), run),
            text: format!(
                "{task} FAILED ({class}):\n{}\nAnother try: /orchestra-control retry {task}",
                quoted(detail)
            ),
        }
    }

    /// That the run ended, as line `seq` of the journal says.
    #[must_use]
    pub fn ended(
        run: &OrchestrationId,
        kind: AnnouncementKind,
        seq: u64,
        lines: &[String],
    ) -> Self {
        let first = lines.first().map_or("it ended", String::as_str);
        Self {
            id: format!("{}/{seq}", kind.word()),
            kind,
            task: None,
            question: None,
            headline: headline(first, run),
            text: lines
                .iter()
                .map(|line| clean(line, LONGEST_REASON))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    /// What a terminal is sent: its bell, and a notification in the shape that most terminals
    /// with notifications know (OSC 777). Empty when neither is wanted.
    #[must_use]
    pub fn terminal_sequence(&self, bell: bool, notification: bool) -> String {
        let mut sequence = String::new();
        if notification {
            // No control characters are in it, so that nothing ends it before its end.
            sequence.push_str(&format!(
                "\u{1b}]777;notify;Orchestra;{}\u{7}",
                self.headline
            ));
        }
        if bell {
            sequence.push('\u{7}');
        }
        sequence
    }

    /// What stands in a told text and in no other, so that it can be found again.
    #[must_use]
    pub fn tag(&self, run: &OrchestrationId) -> String {
        format!("[{run} {}]", self.id)
    }
}

fn headline(text: &str, run: &OrchestrationId) -> String {
    format!("{} ({run})", clean(text, LONGEST_HEADLINE))
}

/// Each line with a mark in front, so that it cannot be taken for ours.
fn quoted(text: &str) -> String {
    let mut left = LONGEST_REASON;
    let mut lines = Vec::new();
    for line in text.lines() {
        if left == 0 {
            break;
        }
        let line = clean(line, left);
        left = left.saturating_sub(line.chars().count().max(1));
        lines.push(format!("> {line}"));
    }
    lines.join("\n")
}

/// One line without control characters, of at most `most` characters.
fn clean(text: &str, most: usize) -> String {
    let mut clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(most)
        .collect();
    if text.chars().nth(most).is_some() {
        clean.push('…');
    }
    clean
}

/// A process for as long as it lives, and the run of the system in which it has this number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Its number.
    pub pid: i32,
    /// When it started, clock ticks since boot.
    pub start: u64,
    /// The boot.
    #[serde(default)]
    pub boot: String,
}

/// Who undertook to tell something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claimant {
    /// The session.
    pub session: String,
    /// The client's own record of it.
    pub transcript: PathBuf,
    /// How long that record was then, bytes: what was told stands behind this.
    pub from: u64,
    /// The client.
    pub client: ProcessName,
    /// The process that hands the text to the client.
    pub watcher: ProcessName,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum LedgerEntry {
    /// Nothing before this line of the journal is announced.
    Since {
        /// Its number.
        seq: u64,
    },
    /// Something is to be told.
    Announced(Announcement),
    /// A session is being told.
    Claimed {
        /// What.
        ids: Vec<String>,
        /// By whom.
        by: Claimant,
    },
    /// It was not told after all.
    Released {
        /// What.
        ids: Vec<String>,
        /// Why that is known.
        why: String,
    },
    /// It was told.
    Told {
        /// What.
        ids: Vec<String>,
        /// Who was told: a session, or a command that followed the run.
        to: String,
    },
    /// It need not be told any more: the question was answered.
    Moot {
        /// What.
        ids: Vec<String>,
    },
    /// The configured notifications were, or are being, given.
    Notified {
        /// What.
        ids: Vec<String>,
    },
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// Version of this shape.
    pub v: u32,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub entry: LedgerEntry,
}

/// `.sessions/SESSION.json`: a session that a person sits at, and the runs that it hears of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeatFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The session.
    pub session: String,
    /// The client's own record of it; empty until that is known.
    pub transcript: PathBuf,
    /// The client; none until that is known.
    pub client: Option<ProcessName>,
    /// The runs.
    pub runs: Vec<OrchestrationId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (OrchestrationId, TaskName) {
        (
            OrchestrationId::parse("run-1").unwrap(),
            TaskName::parse("docs").unwrap(),
        )
    }

    #[test]
    fn a_question_is_told_word_for_word_with_options_and_the_way_to_answer() {
        let (run, task) = names();
        let options = ["dark".to_owned(), "light\u{1b}[2J".to_owned()];
        let told = Announcement::stuck(
            &run,
            &task,
            "stuck-1-1",
            "Which theme?\nTwo exist.",
            &options,
        );
        assert_eq!(
            told.text,
            "docs is STUCK. It says:\n> Which theme?\n> Two exist.\nIts options:\n> 1. dark\n\
             > 2. light [2J\nThe person answers with: /orchestra-control answer docs \"TEXT\""
        );
        assert_eq!(
            told.headline,
            "docs is stuck: Which theme? Two exist. (run-1)"
        );
        assert_eq!(told.tag(&run), "[run-1 stuck/docs/stuck-1-1]");
        assert_eq!(told.terminal_sequence(false, false), "");
        assert_eq!(
            told.terminal_sequence(true, true),
            "\u{1b}]777;notify;Orchestra;docs is stuck: Which theme? Two exist. (run-1)\u{7}\u{7}"
        );
        let long = Announcement::stuck(&run, &task, "q", &"x\n".repeat(9000), &[]);
        assert!(long.text.len() < 9000 && long.headline.chars().count() < 200);
        let empty = Announcement::stuck(&run, &task, "q", " ", &[]);
        assert!(empty.text.contains("> it did not say why"));
    }

    #[test]
    fn lines_are_read_back() {
        let (run, task) = names();
        let announced = Announcement::failed(&run, &task, 7, "crash", "it died");
        let lines = [
            LedgerEntry::Since { seq: 3 },
            LedgerEntry::Announced(announced),
            LedgerEntry::Claimed {
                ids: vec!["failed/docs/7".into()],
                by: Claimant::default(),
            },
            LedgerEntry::Moot { ids: vec![] },
        ];
        for entry in lines {
            let line = LedgerLine {
                v: 1,
                at: Timestamp(5),
                entry,
            };
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(
                serde_json::from_str::<LedgerLine>(&text).unwrap(),
                line,
                "{text}"
            );
        }
    }
}
