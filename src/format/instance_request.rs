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
    },
}

/// The file itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRequestFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// `message`, `notice`, `stop` or `stuck`.
    pub kind: String,
    /// The message, or the reason why it is stuck.
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
}

/// Why a request file means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RequestFault {
    #[error("a request of kind {0:?} is unknown; known are message, notice, stop and stuck")]
    Kind(String),
    #[error("a request of kind {0:?} needs a text")]
    NoText(String),
}

impl From<&InstanceRequest> for InstanceRequestFile {
    fn from(request: &InstanceRequest) -> Self {
        let (kind, text, how, options) = match request {
            InstanceRequest::Message { text } => ("message", Some(text.clone()), None, Vec::new()),
            InstanceRequest::Notice { text, .. } => {
                ("notice", Some(text.clone()), None, Vec::new())
            }
            InstanceRequest::Stop { how, .. } => ("stop", None, Some(*how), Vec::new()),
            InstanceRequest::Stuck { reason, options } => {
                ("stuck", Some(reason.clone()), None, options.clone())
            }
        };
        let attempt = match request {
            InstanceRequest::Stop { attempt, .. } | InstanceRequest::Notice { attempt, .. } => {
                *attempt
            }
            InstanceRequest::Message { .. } | InstanceRequest::Stuck { .. } => None,
        };
        Self {
            schema_version: SCHEMA_VERSION,
            kind: kind.into(),
            text,
            how,
            attempt,
            options,
        }
    }
}

impl TryFrom<InstanceRequestFile> for InstanceRequest {
    type Error = RequestFault;

    fn try_from(file: InstanceRequestFile) -> Result<Self, RequestFault> {
        let kind = file.kind.clone();
        let text = file.text.filter(|text| !text.trim().is_empty());
        match (kind.as_str(), text) {
            ("message", Some(text)) => Ok(Self::Message { text }),
            ("notice", Some(text)) => Ok(Self::Notice {
                text,
                attempt: file.attempt,
            }),
            ("stuck", Some(reason)) => Ok(Self::Stuck {
                reason,
                options: file.options,
            }),
            ("message" | "notice" | "stuck", None) => Err(RequestFault::NoText(kind)),
            ("stop", _) => Ok(Self::Stop {
                how: file.how.unwrap_or(StopHow::Pause),
                attempt: file.attempt,
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
