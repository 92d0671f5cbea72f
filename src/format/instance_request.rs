//! `instance-TASK.inbox/*.json`: requests to the supervisor of an instance.
//!
//! One file per request, taken in the order of their names and removed once they took
//! effect. A request is delivered at least once: a supervisor that dies between the effect
//! and the removal does it again.

use serde::{Deserialize, Serialize};

use super::SCHEMA_VERSION;
use crate::core::event::StopHow;

/// What is asked of an instance or said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceRequest {
    /// A message for the session: an answer, guidance.
    Message {
        /// The message.
        text: String,
        /// The question that it answers, by its id in the status file; whatever is asked when
        /// it comes when absent.
        question: Option<String>,
    },
    /// Something that it should know while it works. Never an answer: an instance that is
    /// stuck hears it once it goes on.
    Notice {
        /// The message.
        text: String,
        /// The attempt that it is for; later ones do not hear it. Whichever runs when absent.
        attempt: Option<u32>,
    },
    /// End it.
    Stop {
        /// How.
        how: StopHow,
        /// The attempt that is meant; whichever runs when absent.
        attempt: Option<u32>,
    },
    /// The instance itself says that it cannot go on without an answer.
    Stuck {
        /// Why.
        reason: String,
        /// What it considered.
        options: Vec<String>,
        /// The attempt that says so; whichever runs when absent.
        attempt: Option<u32>,
    },
    /// The instance itself says how far it is.
    Progress {
        /// What it says; what it does when that is not said.
        text: String,
        /// How far it is, percent, as it says itself.
        percent: Option<u8>,
        /// Steps done and in all, as it says itself.
        steps: Option<(u32, u32)>,
        /// The attempt that says so; whichever runs when absent.
        attempt: Option<u32>,
    },
    /// The instance itself leaves something for those that come after it.
    Note {
        /// What it learnt.
        text: String,
    },
}

/// The file itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRequestFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// `message`, `notice`, `stop`, `stuck`, `progress` or `note`.
    pub kind: String,
    /// The message, the reason why it is stuck, what it does, or what it learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<StopHow>,
    /// The attempt that is meant; whichever runs when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The options that a stuck instance considered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The question that a message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Percent done, as the instance says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Steps done, as the instance says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u32>,
    /// Steps in all, as the instance says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
}

/// Why a request file means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RequestFault {
    #[error(
        "a request of kind {0:?} is unknown; known are message, notice, stop, stuck, progress and note"
    )]
    Kind(String),
    #[error("a request of kind {0:?} needs a text")]
    NoText(String),
}

impl From<&InstanceRequest> for InstanceRequestFile {
    fn from(request: &InstanceRequest) -> Self {
        let of = |kind: &str, text: Option<&String>| Self {
            schema_version: SCHEMA_VERSION,
            kind: kind.into(),
            text: text.cloned(),
            how: None,
            attempt: None,
            options: Vec::new(),
            question: None,
            percent: None,
            done: None,
            total: None,
        };
        match request {
            InstanceRequest::Message { text, question } => Self {
                question: question.clone(),
                ..of("message", Some(text))
            },
            InstanceRequest::Notice { text, attempt } => Self {
                attempt: *attempt,
                ..of("notice", Some(text))
            },
            InstanceRequest::Stop { how, attempt } => Self {
                how: Some(*how),
                attempt: *attempt,
                ..of("stop", None)
            },
            InstanceRequest::Stuck {
                reason,
                options,
                attempt,
            } => Self {
                options: options.clone(),
                attempt: *attempt,
                ..of("stuck", Some(reason))
            },
            InstanceRequest::Progress {
                text,
                percent,
                steps,
                attempt,
            } => Self {
                percent: *percent,
                done: steps.map(|(done, _)| done),
                total: steps.map(|(_, total)| total),
                attempt: *attempt,
                ..of("progress", Some(text))
            },
            InstanceRequest::Note { text } => of("note", Some(text)),
        }
    }
}

impl TryFrom<InstanceRequestFile> for InstanceRequest {
    type Error = RequestFault;

    fn try_from(file: InstanceRequestFile) -> Result<Self, RequestFault> {
        let kind = file.kind.clone();
        let attempt = file.attempt;
        let text = file.text.filter(|text| !text.trim().is_empty());
        match (kind.as_str(), text) {
            ("message", Some(text)) => Ok(Self::Message {
                text,
                question: file.question,
            }),
            ("notice", Some(text)) => Ok(Self::Notice { text, attempt }),
            ("stuck", Some(reason)) => Ok(Self::Stuck {
                reason,
                options: file.options,
                attempt,
            }),
            ("progress", Some(text)) => Ok(Self::Progress {
                text,
                percent: file.percent.map(|p| p.min(100)),
                steps: file.done.zip(file.total).filter(|(_, total)| *total > 0),
                attempt,
            }),
            ("note", Some(text)) => Ok(Self::Note { text }),
            ("message" | "notice" | "stuck" | "progress" | "note", None) => {
                Err(RequestFault::NoText(kind))
            }
            ("stop", _) => Ok(Self::Stop {
                how: file.how.unwrap_or(StopHow::Pause),
                attempt,
            }),
            _ => Err(RequestFault::Kind(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_file() {
        for request in [
            InstanceRequest::Message {
                text: "Use A".into(),
                question: Some("q1".into()),
            },
            InstanceRequest::Progress {
                text: "half".into(),
                percent: Some(50),
                steps: Some((1, 2)),
                attempt: Some(1),
            },
            InstanceRequest::Note {
                text: "tabs".into(),
            },
            InstanceRequest::Notice {
                text: "b works there too".into(),
                attempt: Some(3),
            },
            InstanceRequest::Stop {
                how: StopHow::Pause,
                attempt: None,
            },
            InstanceRequest::Stop {
                how: StopHow::Cancel,
                attempt: Some(2),
            },
            InstanceRequest::Stuck {
                reason: "no key".into(),
                options: vec!["a".into(), "b".into()],
                attempt: Some(1),
            },
        ] {
            let json = serde_json::to_string(&InstanceRequestFile::from(&request)).unwrap();
            let file: InstanceRequestFile = serde_json::from_str(&json).unwrap();
            assert_eq!(InstanceRequest::try_from(file), Ok(request), "{json}");
        }
    }

    #[test]
    fn senseless_requests_are_named() {
        for (json, fault) in [
            (
                r#"{"schemaVersion":1,"kind":"dance"}"#,
                RequestFault::Kind("dance".into()),
            ),
            (
                r#"{"schemaVersion":1,"kind":"message","text":" "}"#,
                RequestFault::NoText("message".into()),
            ),
        ] {
            let file: InstanceRequestFile = serde_json::from_str(json).unwrap();
            assert_eq!(InstanceRequest::try_from(file), Err(fault));
        }
    }
}
