//! The keeper: a tiny process per run that waits for the conductor's end, and starts another
//! one as long as the run needs one.
//!
//! Conductor and keeper each block on the lock that the other holds, so that neither costs
//! anything while both live, and both must be killed at the same instant to need a person.
//! A run that needs nobody any more (closed, or paused with nothing in work) has no keeper
//! either: whoever takes it up starts a conductor, and that one a keeper.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::agent::detach::{Readiness, spawn_detached};
use crate::agent::environment::Environment;
use crate::agent::tree::MARK_VARIABLE;
use crate::store::layout::RunDir;
use crate::store::lock::{self, Lock};
use crate::store::{StoreError, run_log};

use super::announce;
use super::context::Context;
use super::ensure::{self, Ensured};
use super::surroundings;

/// How long a keeper may take to say that it holds its lock.
const PATIENCE: Duration = Duration::from_secs(20);

/// A starting keeper waits this long for its lock: whoever asks whether it is held, or waits
/// for it, holds it for an instant.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// How often a conductor that may be about to end looks whether it goes on.
const LOOK: Duration = Duration::from_millis(20);

/// The pauses between tries that come to nothing: a full disk stays full for a while.
#[derive(Debug, Clone)]
struct Backoff {
    pause: Duration,
    begun: Instant,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(60);
    /// What lived this long did not die at once.
    const LIVED: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self {
            pause: Duration::ZERO,
            begun: Instant::now(),
        }
    }

    /// The pause before the next try, when the last one came to its end after `lived`.
    fn next(&mut self, lived: Duration) -> Duration {
        if lived >= Self::LIVED {
            self.pause = Duration::ZERO;
        }
        let pause = self.pause;
        self.pause = (pause * 2).clamp(Self::FIRST, Self::LONGEST);
        pause
    }

    /// Waits before a try; none before the first.
    fn wait(&mut self) {
        let pause = self.next(self.begun.elapsed());
        std::thread::sleep(pause);
        self.begun = Instant::now();
    }
}

/// How a keeper ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The run needs no conductor any more.
    Done,
    /// Another keeper is there.
    Held,
    /// No conductor can ever be started, and why.
    GivenUp(String),
}

/// Keeps a run conducted until it needs no conductor. `ready` is called once the lock is held.
///
/// - `exe`, `env`: this program and the environment for a run that kept none.
///
/// # Errors
/// When the keeper's lock file cannot be opened.
pub fn keep(
    run: &RunDir,
    exe: &Path,
    env: &Environment,
    ready: impl FnOnce(),
) -> Result<Kept, StoreError> {
    let Some(_lock) = Lock::take_within(&run.keeper_lock(), LOCK_PATIENCE)? else {
        return Ok(Kept::Held);
    };
    ready();
    let mut backoff = Backoff::new();
    let mut told = None;
    let mut say = |what: String| {
        if told.as_ref() != Some(&what) {
            run_log::append(run, super::now(), &[&what]);
            told = Some(what);
        }
    };
    loop {
        if lock::wait_until_free(&run.conductor_lock()).is_err() {
            // Whether it is free is not known: too many open files, perhaps.
            backoff.wait();
            continue;
        }
        if !ensure::needs_one(run) {
            // The conductor may have died between the run's last record and its announcement.
            // What cannot be written now is written by whoever looks for it.
            let _ = announce::complete(run);
            return Ok(Kept::Done);
        }
        backoff.wait();
        // Somebody else may have been faster during the pause.
        match ensure::ensure(run, run.main_checkout(), exe, env) {
            Ensured::Started => say("the conductor was gone; a new one took over".into()),
            Ensured::Running => {}
            Ensured::NotNeeded => return Ok(Kept::Done),
            Ensured::Failed(why) => {
                if is_hopeless(run, exe, env) {
                    return Ok(Kept::GivenUp(why));
                }
                say(format!(
                    "no conductor can be started, which is tried again: {why}"
                ));
            }
        }
    }
}

/// Whether a conductor would find the same however often it is started: files that cannot be
/// read stay so, a full disk does not.
fn is_hopeless(run: &RunDir, exe: &Path, env: &Environment) -> bool {
    env.get(MARK_VARIABLE).is_some()
        || super::load(run, exe, env.clone()).is_err_and(|error| error.is_lasting())
}

/// Sees to it that a run has a keeper, for as long as this lives.
pub(super) struct Keepers(Arc<Wish>);

#[derive(Default)]
struct Wish {
    /// The conductor may be about to end: the keeper that ends with it is not to be replaced.
    rests: AtomicBool,
    over: AtomicBool,
}

impl Keepers {
    /// Begins, on a thread of its own. What an instance began ends with that instance, and
    /// has no keeper.
    pub(super) fn start(context: &Context) -> Self {
        let wish = Arc::new(Wish::default());
        if context.env.get(MARK_VARIABLE).is_none() {
            let (context, wish) = (context.clone(), Arc::clone(&wish));
            // Without the thread there is no keeper, and the run goes on.
            let _ = std::thread::Builder::new()
                .name("keeper".into())
                .stack_size(256 * 1024)
                .spawn(move || watch(&context, &wish));
        }
        Self(wish)
    }

    /// Whether a keeper that ends just now is left alone.
    pub(super) fn rest(&self, rests: bool) {
        self.0.rests.store(rests, Ordering::SeqCst);
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

fn watch(context: &Context, wish: &Wish) {
    let run = &context.run;
    let mut backoff = Backoff::new();
    loop {
        let waited = lock::wait_until_free(&run.keeper_lock());
        backoff.wait();
        while wish.rests.load(Ordering::SeqCst) && !wish.over.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK);
        }
        if wish.over.load(Ordering::SeqCst) {
            return;
        }
        if waited.is_ok() {
            // What went wrong is tried again, and holds nothing up.
            let _ = start(run, &context.exe, &context.env);
        }
    }
}

/// Starts a keeper for a run, unless it has one by now. Says why none could be started.
///
/// - `exe`, `env`: this program and the environment for a run that kept none.
///
/// # Errors
/// What kept it from being started.
pub fn start(run: &RunDir, exe: &Path, env: &Environment) -> Result<(), String> {
    let main = run.main_checkout();
    let args = [
        "keep".into(),
        "--repo".into(),
        main.into(),
        run.id().as_str().into(),
    ];
    let env = surroundings::of_run(run, env);
    let stderr = run.keeper_stderr();
    let started =
        spawn_detached(exe, &args, main, &env, &stderr, PATIENCE).map_err(|e| e.to_string())?;
    let readiness = started.readiness.clone();
    started.reap_in_background();
    match readiness {
        Readiness::Ready | Readiness::Late => Ok(()),
        Readiness::Refused(_) if lock::may_be_held(&run.keeper_lock()) => Ok(()),
        Readiness::Refused(why) => Err(why),
        Readiness::Silent => Err(format!(
            "the keeper ended before it began; see {}",
            stderr.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_life() {
        let mut backoff = Backoff::new();
        let short = Duration::from_secs(1);
        let pauses: Vec<u64> = (0..13)
            .map(|_| u64::try_from(backoff.next(short).as_millis()).unwrap())
            .collect();
        assert_eq!(
            pauses,
            [
                0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000
            ]
        );
        assert_eq!(backoff.next(Duration::from_secs(40)), Duration::ZERO);
        assert_eq!(backoff.next(short), Backoff::FIRST);
    }
}
