//! Messages to the session that must not be lost: each stays in the inbox until the client has
//! taken it into a turn and the model has said something since. A client that dies before that
//! has not written it into its session; the next attempt finds it and tells it again.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Life;
use crate::format::claude_stream::user_message_with_id;

/// Name space of the ids of messages; an id follows from the name of the message's file.
const NAME_SPACE: Uuid = Uuid::from_u128(0x6f72_6368_6573_7472_612d_6d65_7373_6167);

/// A message on its way.
#[derive(Debug)]
struct Sent {
    /// Its file; none for what is not kept.
    path: Option<PathBuf>,
    id: Uuid,
    /// Whether the client took it into a turn.
    taken: bool,
}

/// Messages on their way.
#[derive(Debug, Default)]
pub(super) struct Mail {
    sent: Vec<Sent>,
    /// Whether this client says when it takes a message.
    says_so: bool,
}

impl Mail {
    /// Whether this file is on its way already.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.sent.iter().any(|s| s.path.as_deref() == Some(path))
    }

    /// Whether a turn is to come for a message that the client has not taken yet. Never for a
    /// client that does not say when it does.
    pub(super) fn is_under_way(&self) -> bool {
        self.says_so && self.sent.iter().any(|s| !s.taken && s.path.is_some())
    }

    fn add(&mut self, path: Option<PathBuf>, taken: bool) -> Uuid {
        let id = match path.as_deref().and_then(Path::file_name) {
            Some(name) => Uuid::new_v5(&NAME_SPACE, name.as_encoded_bytes()),
            None => Uuid::new_v4(),
        };
        self.sent.push(Sent { path, id, taken });
        id
    }

    /// The client took a message into a turn.
    pub(super) fn taken(&mut self, id: &str) {
        self.says_so = true;
        for sent in &mut self.sent {
            sent.taken |= sent.id.to_string() == id;
        }
    }

    /// The model went on: what was taken before is in the session. Returns the files of it.
    fn arrived(&mut self) -> Vec<PathBuf> {
        let (arrived, under_way) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|s| s.taken || (!self.says_so && s.path.is_some()));
        self.sent = under_way;
        let arrived: Vec<Sent> = arrived;
        arrived.into_iter().filter_map(|s| s.path).collect()
    }
}

impl Life<'_> {
    /// Tells the session something; the file is removed when it has arrived.
    pub(super) fn say_from(&mut self, path: Option<PathBuf>, text: &str) {
        let id = self.mail.add(path, false);
        self.heard.costs.told();
        self.send(user_message_with_id(text, id));
    }

    /// Begins the session or goes on with it, and tells it in the same breath what waits for it:
    /// what it does first should not be done without that.
    pub(super) fn say_first(&mut self, prompt: &str, waiting: Vec<(PathBuf, String)>) {
        let mut text = prompt.to_owned();
        let id = self.mail.add(None, false);
        for (path, message) in waiting {
            text.push_str("\n\nA person told you meanwhile:\n");
            text.push_str(&message);
            self.mail.sent.push(Sent {
                path: Some(path),
                id,
                taken: false,
            });
        }
        self.heard.costs.told();
        self.send(user_message_with_id(&text, id));
    }

    /// Keeps the file of an answer that went another way until the model goes on.
    pub(super) fn keep_until_heard(&mut self, path: PathBuf) {
        self.mail.add(Some(path), true);
    }

    /// The model said something, or its turn ended.
    pub(super) fn model_went_on(&mut self) {
        for path in self.mail.arrived() {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_arrived_when_the_model_went_on_after_it_was_taken() {
        let mut mail = Mail::default();
        let prompt = mail.add(None, false);
        assert!(!mail.is_under_way());
        mail.taken(&prompt.to_string());
        assert_eq!(mail.arrived(), [] as [PathBuf; 0]);
        let path = PathBuf::from("/inbox/7-x.json");
        let id = mail.add(Some(path.clone()), false);
        assert!(mail.holds(&path) && mail.is_under_way());
        assert_eq!(
            mail.arrived(),
            [] as [PathBuf; 0],
            "the model does not know it yet"
        );
        mail.taken(&id.to_string());
        assert!(!mail.is_under_way() && mail.holds(&path));
        assert_eq!(mail.arrived(), std::slice::from_ref(&path));
        assert!(!mail.holds(&path));
        assert_eq!(
            mail.add(Some(path), false),
            id,
            "told again under the same id"
        );
    }

    #[test]
    fn a_client_that_says_nothing_of_it_is_not_waited_for() {
        let mut mail = Mail::default();
        mail.add(None, false);
        let path = PathBuf::from("/inbox/7-x.json");
        mail.add(Some(path.clone()), false);
        assert!(!mail.is_under_way());
        assert_eq!(mail.arrived(), [path]);
    }
}
