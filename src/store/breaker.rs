//! The rate-limit breaker of one account, shared by all runs of the machine's user.
//!
//! Everybody who hears of the provider writes into one file, under its own lock; every
//! conductor looks at it. A live run is a held lock, `breaker-KEY.N.lock`, with the number of
//! its instances beside it: what the account may run at once is shared among them, and a sign
//! counts how many ran when it came.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::StoreError;
use super::atomic::{self, Durability};
use super::lock::{self, Lock};
use crate::core::breaker::{Breaker, BreakerPolicy, Sign, share};
use crate::core::time::{Millis, Timestamp};
use crate::format::SCHEMA_VERSION;
use crate::format::breaker_file::{BreakerFile, BreakerOrder, MemberFile};

const WHAT: &str = "what the provider said";

/// How long the file may be held by others: they hold it for one small write.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many runs of one account are told apart; the ones beyond share nothing.
const MEMBERS: usize = 64;

/// The breaker of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerStore {
    order: BreakerOrder,
}

/// What the provider said to an instance, but for what others must add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is overloaded, or limits the rate; how long it asks to wait.
    Throttled(Option<Millis>),
    /// The usage limit is reached; when it is reset.
    Limited(Option<Timestamp>),
    /// It answered.
    Well,
}

impl BreakerStore {
    /// The breaker that an order names.
    #[must_use]
    pub fn new(order: BreakerOrder) -> Self {
        Self { order }
    }

    /// How it reckons.
    #[must_use]
    pub fn policy(&self) -> &BreakerPolicy {
        &self.order.policy
    }

    /// The file that all share. When it is deleted, nothing is held back any more.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.named("json")
    }

    fn named(&self, end: &str) -> PathBuf {
        let account = &self.order.account;
        self.order.folder.join(format!("breaker-{account}.{end}"))
    }

    fn member(&self, number: usize, end: &str) -> PathBuf {
        self.named(&format!("{number}.{end}"))
    }

    /// Moves what was written by a clock that was set back since.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn settle(&self, now: Timestamp) -> Result<(), StoreError> {
        let _lock = Lock::take_within(&self.named("lock"), PATIENCE)?;
        let heard = self.heard();
        if heard.is_ahead(now) {
            self.write(heard.rebased(now))?;
        }
        Ok(())
    }

    fn write(&self, heard: Breaker) -> Result<(), StoreError> {
        let file = BreakerFile {
            schema_version: SCHEMA_VERSION,
            heard,
        };
        atomic::write_json(&self.path(), WHAT, &file, Durability::Volatile)
    }

    /// Tells what was heard; true when that changed anything. `seed` spreads the pauses.
    ///
    /// # Errors
    /// When the file cannot be written, or a newer version of this program wrote it. What
    /// cannot be read is set aside, and begun anew.
    pub fn report(&self, heard: Heard, now: Timestamp, seed: u64) -> Result<bool, StoreError> {
        let folder = &self.order.folder;
        std::fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let _lock = Lock::take_within(&self.named("lock"), PATIENCE)?;
        let known: Option<BreakerFile> = match atomic::read_json(&self.path(), WHAT) {
            Err(StoreError::Unreadable { .. }) => None,
            other => other?,
        };
        let mut breaker = known.unwrap_or_default().heard;
        let sign = match heard {
            Heard::Throttled(retry_after) => Sign::Throttled {
                running: self.members().iter().map(|(_, m)| m.running).sum(),
                retry_after,
            },
            Heard::Limited(resets_at) => Sign::Limited { resets_at },
            Heard::Well => Sign::Well,
        };
        if !breaker.hear(self.policy(), sign, now, seed) {
            return Ok(false);
        }
        self.write(breaker)?;
        Ok(true)
    }

    /// What was heard so far, by anybody; nothing when it cannot be read.
    #[must_use]
    pub fn heard(&self) -> Breaker {
        atomic::peek_json::<BreakerFile>(&self.path())
            .unwrap_or_default()
            .heard
    }

    /// The live runs of the account, with their numbers.
    fn members(&self) -> Vec<(usize, MemberFile)> {
        (0..MEMBERS)
            .filter(|number| lock::is_held(&self.member(*number, "lock")).unwrap_or(false))
            .map(|number| {
                let file = atomic::peek_json(&self.member(number, "json"));
                (number, file.unwrap_or_default())
            })
            .collect()
    }

    /// Counts this run among the live ones, until the membership is dropped; none when there
    /// are too many, or the folder cannot be used.
    #[must_use]
    pub fn join(&self) -> Option<Membership> {
        std::fs::create_dir_all(&self.order.folder).ok()?;
        let free = |number| Some((number, Lock::try_take(&self.member(number, "lock")).ok()??));
        let (number, lock) = (0..MEMBERS).find_map(free)?;
        // What an earlier run left there says nothing of this one.
        let _ = std::fs::remove_file(self.member(number, "json"));
        Some(Membership {
            store: self.clone(),
            number,
            told: None,
            _lock: lock,
        })
    }
}

/// One run among those of the account.
#[derive(Debug)]
pub struct Membership {
    store: BreakerStore,
    number: usize,
    told: Option<MemberFile>,
    _lock: Lock,
}

impl Membership {
    /// Tells how many instances the run has, and how many it would have. Written only when it
    /// changed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tell(&mut self, running: u32, wants: u32) -> Result<(), StoreError> {
        let file = MemberFile {
            schema_version: SCHEMA_VERSION,
            running,
            wants,
        };
        if self.told == Some(file) {
            return Ok(());
        }
        let path = self.store.member(self.number, "json");
        atomic::write_json(&path, "the size of a run", &file, Durability::Volatile)?;
        self.told = Some(file);
        Ok(())
    }

    /// What this run gets of what the account may run at once.
    #[must_use]
    pub fn share(&self, allowed: u32) -> u32 {
        let members = self.store.members();
        let wants: Vec<u32> = members.iter().map(|(_, member)| member.wants).collect();
        let mine = members
            .iter()
            .position(|(number, _)| *number == self.number);
        // Not to be found: its own lock file was taken away.
        mine.map_or(1, |mine| share(allowed, &wants, mine))
    }
}

/// Looks at the file as often as one likes: it is read only when it is another one than before.
#[derive(Debug)]
pub struct BreakerView {
    store: BreakerStore,
    stamp: Option<(u64, i64, i64)>,
    heard: Breaker,
}

impl BreakerView {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(store: BreakerStore) -> Self {
        Self {
            store,
            stamp: None,
            heard: Breaker::default(),
        }
    }

    /// What was heard so far, by anybody.
    pub fn look(&mut self) -> &Breaker {
        // Each write is a file of its own.
        let stamp = std::fs::metadata(self.store.path())
            .ok()
            .map(|about| (about.ino(), about.mtime(), about.mtime_nsec()));
        if stamp != self.stamp {
            self.heard = self.store.heard();
            self.stamp = stamp;
        }
        &self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_760_000_000_000);

    fn store(folder: &std::path::Path, account: &str) -> BreakerStore {
        BreakerStore::new(BreakerOrder {
            folder: folder.join("state"),
            account: account.into(),
            policy: BreakerPolicy::default(),
        })
    }

    fn slots(store: &BreakerStore) -> Option<u32> {
        store.heard().allowance(store.policy(), NOW).slots
    }

    #[test]
    fn a_sign_counts_the_instances_of_all_live_runs() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (store(dir.path(), "a"), store(dir.path(), "b"));
        assert!(!one.report(Heard::Well, NOW, 0).unwrap(), "nothing to tell");
        assert!(!one.path().exists());
        let mut first = one.join().unwrap();
        let mut second = one.join().unwrap();
        let mut gone = one.join().unwrap();
        first.tell(4, 4).unwrap();
        second.tell(2, 5).unwrap();
        gone.tell(50, 50).unwrap();
        drop(gone);
        // Another test may start a process at this moment, which holds copies of all open
        // files until it has become its program.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while one.members().len() > 2 {
            assert!(std::time::Instant::now() < deadline, "it stays a member");
        }
        let mut view = BreakerView::new(one.clone());
        assert!(view.look().is_calm(one.policy(), NOW));
        assert!(one.report(Heard::Throttled(None), NOW, 0).unwrap());
        assert_eq!(slots(&one), Some(3));
        assert!(!view.look().is_calm(one.policy(), NOW));
        assert_eq!((first.share(3), second.share(3)), (2, 1));
        assert_eq!(slots(&other), None, "another account");
        // A person who knows better.
        std::fs::remove_file(one.path()).unwrap();
        assert!(view.look().is_calm(one.policy(), NOW));
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_a_newer_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), "a");
        std::fs::create_dir_all(dir.path().join("state")).unwrap();
        std::fs::write(store.path(), "{half").unwrap();
        assert_eq!(slots(&store), None);
        assert!(store.report(Heard::Limited(None), NOW, 0).unwrap());
        assert!(!store.heard().is_calm(store.policy(), NOW));
        let names: Vec<_> = std::fs::read_dir(dir.path().join("state"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("unreadable"))
            .collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let newer = r#"{"schemaVersion":99}"#;
        std::fs::write(store.path(), newer).unwrap();
        assert!(store.report(Heard::Limited(None), NOW, 0).is_err());
        assert_eq!(std::fs::read_to_string(store.path()).unwrap(), newer);
    }

    #[test]
    fn signs_of_many_at_once_are_all_taken_in() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), "a");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    let heard = match n % 2 {
                        0 => Heard::Throttled(None),
                        _ => Heard::Limited(Some(NOW.plus(Millis::from_secs(60)))),
                    };
                    store.report(heard, NOW, n).unwrap();
                });
            }
        });
        let seen = store.heard().allowance(store.policy(), NOW);
        assert_eq!(seen.slots, Some(1));
        assert_eq!(seen.hold.unwrap().0, NOW.plus(Millis::from_secs(75)));
    }
}
