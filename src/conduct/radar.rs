//! The conflict radar of a run: looks at the worktrees while instances work in them, keeps
//! `radar.json` for those who look at the run, and tells the instances concerned.
//!
//! It is a thread of its own with the lowest claim to anything: it rests at least twenty times
//! as long as it worked, its processes give way to all others, and nobody ever waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::event::Event;
use crate::core::graph::TaskIx;
use crate::core::id::TaskName;
use crate::core::state::{Phase, State, TaskState};
use crate::core::time::{Millis, Timestamp};
use crate::format::SCHEMA_VERSION;
use crate::format::instance_request::InstanceRequest;
use crate::format::radar_file::{PredictedConflict, RadarFile, Told};
use crate::format::status_file::StatusFile;
use crate::git::{GitError, Scanner};
use crate::integrate::radar::{Clash, Party, PartyAt, Surveyor};
use crate::store::atomic::{self, Durability};
use crate::store::{instance_inbox, run_log};
use crate::view::clock;

use super::Signal;
use super::context::Context;

/// It rests so many times as long as it worked.
const SHARE: u32 = 20;

/// How nice its processes are to others (19 is the most).
#[cfg(target_os = "linux")]
const NICE: i32 = 15;

/// Enough for libgit2.
const STACK: usize = 512 * 1024;

/// A worktree of which nothing was seen is looked at all the same after this time: somebody
/// else may work in it.
const LOOK_ANYWAY: Millis = Millis::from_secs(5 * 60);

/// A sign of life is in the status file so long after it came, at most.
const SLOW_SIGN: Millis = Millis::from_secs(5);

/// How often one instance is told of the same other task.
const MAX_TOLD: u32 = 3;

/// Between two such times.
const TELL_AGAIN: Millis = Millis::from_secs(5 * 60);

/// Between two messages to one instance, whatever they are about.
const TELL_NEXT: Millis = Millis::from_secs(2 * 60);

/// More files, or tasks, than this are not named in a message.
const MAX_NAMED: usize = 8;

/// What there is to look at.
#[derive(Debug, Clone, Default)]
struct Scene {
    parties: Vec<Subject>,
    /// Whether a task that was never started could still be put after another.
    anyone_waits: bool,
    /// Whether the run has come to an end.
    is_over: bool,
}

/// One party, and how it stands in the state.
#[derive(Debug, Clone)]
struct Subject {
    ix: TaskIx,
    /// The attempt in work; none when it is done.
    attempt: Option<u32>,
    party: Party,
}

impl Scene {
    fn of(context: &Context, state: &State) -> Self {
        let mut scene = Self {
            is_over: matches!(state.phase(), Phase::Finished { .. }),
            ..Self::default()
        };
        if !matches!(state.phase(), Phase::Running) {
            return scene;
        }
        for ix in state.indexes() {
            let entry = state.task(ix);
            let (attempt, at) = match (&entry.state, &entry.place) {
                (TaskState::Active(active), Some(place)) if active.running => (
                    Some(active.attempt),
                    PartyAt::Worktree {
                        path: place.worktree.clone(),
                        is_quiet: false,
                    },
                ),
                (TaskState::Done { head, .. }, Some(_)) => (None, PartyAt::Commit(head.clone())),
                (TaskState::Waiting | TaskState::Ready(_), _) if entry.attempts == 0 => {
                    scene.anyone_waits |= !state.facts(ix).files.is_empty();
                    continue;
                }
                _ => continue,
            };
            let base = entry.place.as_ref().map(|place| place.base.clone());
            let base = base.unwrap_or_else(|| context.settings.base_commit.clone());
            scene.parties.push(Subject {
                ix,
                attempt,
                party: Party {
                    task: state.name(ix).clone(),
                    base,
                    at,
                },
            });
        }
        scene
    }

    fn working(&self) -> impl Iterator<Item = &Subject> {
        self.parties.iter().filter(|s| s.attempt.is_some())
    }

    /// Whether looking can show anything.
    fn is_worth_it(&self) -> bool {
        self.working().next().is_some() && (self.parties.len() > 1 || self.anyone_waits)
    }
}

/// The radar of a conductor. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Radar {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    scene: Mutex<Scene>,
    changed: Condvar,
    stop: Arc<AtomicBool>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Waits until there is something to look at; false when it is to end.
    fn wait(&self) -> bool {
        let mut scene = self.lock();
        while !self.is_stopped() && !scene.is_worth_it() {
            scene = self
                .changed
                .wait(scene)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !self.is_stopped()
    }

    /// Rests, unless it is to end or nothing is worth a look any more.
    fn rest(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut scene = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_stopped() || !scene.is_worth_it() {
                return;
            }
            scene = self
                .changed
                .wait_timeout(scene, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Radar {
    /// Starts it, if the run is to have one.
    pub(super) fn start(context: &Context, tell: Sender<Signal>) -> Option<Self> {
        if context.settings.radar_seconds == 0 {
            return None;
        }
        let shared = Arc::new(Shared::default());
        let (own, context) = (Arc::clone(&shared), context.clone());
        let thread = std::thread::Builder::new()
            .name("radar".into())
            .stack_size(STACK)
            .spawn(move || Watch::new(&context, &own, tell).run())
            .ok()?;
        Some(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Shows it how things stand.
    pub(super) fn show(&self, context: &Context, state: &State) {
        *self.shared.lock() = Scene::of(context, state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Radar {
    fn drop(&mut self) {
        {
            // Under the lock, so that a thread about to wait does not miss it.
            let _scene = self.shared.lock();
            self.shared.stop.store(true, Ordering::SeqCst);
        }
        self.shared.changed.notify_all();
        // A process that runs is ended within a moment, and none is left behind.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Watch<'a> {
    context: &'a Context,
    shared: &'a Shared,
    tell: Sender<Signal>,
    surveyor: Option<Surveyor>,
    book: Book,
    /// What `radar.json` says.
    written: RadarFile,
    /// When the last picture of each worktree was begun, and for which attempt.
    looked: HashMap<TaskName, (u32, Timestamp)>,
    /// Faults that were told already.
    faults: BTreeSet<(TaskName, String)>,
}

impl<'a> Watch<'a> {
    fn new(context: &'a Context, shared: &'a Shared, tell: Sender<Signal>) -> Self {
        let written: RadarFile = atomic::peek_json(&context.run.radar()).unwrap_or_default();
        Self {
            context,
            shared,
            tell,
            surveyor: None,
            book: Book::of(&written),
            written,
            looked: HashMap::new(),
            faults: BTreeSet::new(),
        }
    }

    fn run(mut self) {
        #[cfg(target_os = "linux")]
        // On Linux this is about this thread, and its processes inherit it.
        let _ = rustix::process::setpriority_process(None, NICE);
        let interval = Duration::from_secs(self.context.settings.radar_seconds);
        let mut pause = interval;
        while self.shared.wait() {
            self.shared.rest(pause);
            let scene = self.shared.lock().clone();
            if self.shared.is_stopped() {
                break;
            }
            if scene.is_worth_it() {
                let begin = Instant::now();
                self.look(&scene);
                pause = interval.max(begin.elapsed() * SHARE);
            }
            let scene = self.shared.lock().clone();
            if !scene.is_worth_it() {
                // Whoever was in conflict is done, or stopped.
                self.take_in(&[], &scene);
            }
        }
        // Nobody looks any more, so nothing is predicted any more.
        self.surveyor = None;
        self.book.conflicts.clear();
        if self.shared.lock().is_over {
            self.book.told.clear();
        }
        self.write();
    }

    fn look(&mut self, scene: &Scene) {
        let now = super::now();
        let parties: Vec<Party> = scene.parties.iter().map(|s| self.party(s, now)).collect();
        let survey = match self.surveyor() {
            Ok(surveyor) => surveyor.look(&parties),
            Err(error) => Err(error),
        };
        if self.shared.is_stopped() {
            return;
        }
        let survey = match survey {
            Ok(survey) => survey,
            Err(error) => {
                let whole = scene.working().next().map(|s| s.party.task.clone());
                self.fault(whole, &error.to_string());
                return;
            }
        };
        for task in survey.looked_at {
            if let Some(subject) = scene.parties.iter().find(|s| s.party.task == task) {
                self.looked
                    .insert(task, (subject.attempt.unwrap_or(0), now));
            }
        }
        for (task, what) in survey.faults {
            self.fault(Some(task), &what);
        }
        if scene.anyone_waits {
            for (task, files) in survey.touched {
                if let Some(subject) = scene.working().find(|s| s.party.task == task) {
                    let event = Event::Touched {
                        task: subject.ix,
                        files,
                    };
                    let _ = self.tell.send(Signal::Event(event));
                }
            }
        }
        self.take_in(&survey.clashes, scene);
    }

    fn surveyor(&mut self) -> Result<&mut Surveyor, GitError> {
        if self.surveyor.is_none() {
            let folder = self.context.run.radar_folder();
            let stop = Arc::clone(&self.shared.stop);
            let scanner = Scanner::open(self.context.repo.clone(), &folder, stop)?;
            self.surveyor = Some(Surveyor::new(scanner));
        }
        self.surveyor.as_mut().ok_or(GitError::Missing {
            what: "the radar's folder".to_owned(),
        })
    }

    /// The party, and whether anything was seen of its instance since its last picture.
    fn party(&self, subject: &Subject, now: Timestamp) -> Party {
        let mut party = subject.party.clone();
        if let PartyAt::Worktree { is_quiet, .. } = &mut party.at
            && let Some((attempt, at)) = self.looked.get(&party.task)
            && subject.attempt == Some(*attempt)
            && now.since(*at) < LOOK_ANYWAY
            && let Some(status) =
                atomic::peek_json::<StatusFile>(&self.context.run.status(&party.task))
            && let Some(beat) = status.last_heartbeat.as_deref()
            && let Some(beat) = clock::parse(beat)
        {
            *is_quiet = beat.plus(SLOW_SIGN) < *at;
        }
        party
    }

    fn fault(&mut self, task: Option<TaskName>, what: &str) {
        let Some(task) = task else { return };
        if self.faults.insert((task.clone(), what.to_owned())) {
            self.log(&[format!(
                "radar: {task} cannot be looked at, which is tried again: {what}"
            )]);
        }
    }

    fn log(&self, lines: &[String]) {
        run_log::append(&self.context.run, super::now(), lines);
    }

    /// Takes the conflicts in that there are now.
    fn take_in(&mut self, clashes: &[Clash], scene: &Scene) {
        let now = super::now();
        let lines = self.book.take_in(clashes, now);
        if !lines.is_empty() {
            self.log(&lines);
        }
        let working: BTreeMap<&TaskName, u32> = scene
            .working()
            .filter_map(|s| Some((&s.party.task, s.attempt?)))
            .collect();
        for (to, about) in self.book.to_be_told(&working, now) {
            let request = InstanceRequest::Notice {
                text: message(&about, |task| working.contains_key(task)),
                attempt: working.get(&to).copied(),
            };
            match instance_inbox::post(&self.context.run, &to, &request, now) {
                Ok(_) => self.book.was_told(&to, about, now),
                Err(error) => self.fault(Some(to), &error.to_string()),
            }
        }
        self.write();
    }

    fn write(&mut self) {
        let file = self.book.file();
        if file == self.written {
            return;
        }
        let path = self.context.run.radar();
        let done = if file.conflicts.is_empty() && file.told.is_empty() {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(format!("cannot remove {}: {e}", path.display()))
                }
                _ => Ok(()),
            }
        } else {
            atomic::write_json(
                &path,
                "the predicted conflicts",
                &file,
                Durability::Volatile,
            )
            .map_err(|e| e.to_string())
        };
        match done {
            Ok(()) => self.written = file,
            Err(why) => self.log(&[format!("radar: {why}")]),
        }
    }
}

/// What is known of the conflicts, and what was said of them.
#[derive(Debug, Default)]
struct Book {
    conflicts: BTreeMap<(TaskName, TaskName), (Vec<String>, Timestamp)>,
    /// By the task that was told and the one that it was told about.
    told: BTreeMap<(TaskName, TaskName), Told>,
}

impl Book {
    fn of(file: &RadarFile) -> Self {
        let conflicts = file.conflicts.iter().cloned();
        let told = file.told.iter().cloned();
        Self {
            conflicts: conflicts.map(|c| (c.tasks, (c.files, c.since))).collect(),
            told: told.map(|t| ((t.to.clone(), t.about.clone()), t)).collect(),
        }
    }

    fn file(&self) -> RadarFile {
        let conflict = |(tasks, (files, since)): (&(TaskName, TaskName), &(Vec<String>, _))| {
            PredictedConflict {
                tasks: tasks.clone(),
                files: files.clone(),
                since: *since,
            }
        };
        RadarFile {
            schema_version: SCHEMA_VERSION,
            conflicts: self.conflicts.iter().map(conflict).collect(),
            told: self.told.values().cloned().collect(),
        }
    }

    /// Takes the conflicts in that there are now; lines for the log about what is new or gone.
    fn take_in(&mut self, clashes: &[Clash], now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        let mut before = std::mem::take(&mut self.conflicts);
        for clash in clashes {
            let (one, other) = &clash.tasks;
            let known = before.remove(&clash.tasks);
            if known
                .as_ref()
                .is_none_or(|(files, _)| *files != clash.files)
            {
                lines.push(format!(
                    "radar: {one} and {other} do not merge as they are: {}",
                    named(&clash.files)
                ));
            }
            let since = known.map_or(now, |(_, since)| since);
            self.conflicts
                .insert(clash.tasks.clone(), (clash.files.clone(), since));
        }
        for (one, other) in before.into_keys() {
            lines.push(format!(
                "radar: {one} and {other} are no longer in conflict"
            ));
        }
        lines
    }

    /// Who is to be told of whom and of which files: only what was not said before, and not
    /// too often.
    fn to_be_told(&self, working: &BTreeMap<&TaskName, u32>, now: Timestamp) -> Vec<Message> {
        let mut messages: BTreeMap<TaskName, Vec<(TaskName, Vec<String>)>> = BTreeMap::new();
        for ((one, other), (files, _)) in &self.conflicts {
            for (to, about) in [(one, other), (other, one)] {
                if !working.contains_key(to) {
                    continue;
                }
                let told = self.told.get(&(to.clone(), about.clone()));
                let enough = told
                    .is_some_and(|told| told.times >= MAX_TOLD || now.since(told.at) < TELL_AGAIN);
                let known = told.map_or(&[][..], |told| told.files.as_slice());
                let fresh: Vec<String> = files
                    .iter()
                    .filter(|f| !known.contains(f))
                    .cloned()
                    .collect();
                if !enough && !fresh.is_empty() {
                    let list = messages.entry(to.clone()).or_default();
                    list.push((about.clone(), fresh));
                }
            }
        }
        messages.retain(|to, _| {
            let of = self.told.values().filter(|told| told.to == *to);
            of.map(|told| told.at)
                .max()
                .is_none_or(|at| now.since(at) >= TELL_NEXT)
        });
        messages.into_iter().collect()
    }

    fn was_told(&mut self, to: &TaskName, about: Vec<(TaskName, Vec<String>)>, now: Timestamp) {
        for (about, files) in about {
            let key = (to.clone(), about.clone());
            let told = self.told.entry(key).or_insert_with(|| Told {
                to: to.clone(),
                about,
                files: Vec::new(),
                times: 0,
                at: now,
            });
            told.files.extend(files);
            told.times += 1;
            told.at = now;
        }
    }
}

/// Whom to tell, and of which tasks and files.
type Message = (TaskName, Vec<(TaskName, Vec<String>)>);

/// What an instance is told.
fn message(about: &[(TaskName, Vec<String>)], is_working: impl Fn(&TaskName) -> bool) -> String {
    let mut text = String::from(
        "A note while you work; it needs no answer. As things stand, your changes do not merge \
         with those of:\n",
    );
    for (task, files) in about.iter().take(MAX_NAMED) {
        let how = if is_working(task) {
            "at work at the same time"
        } else {
            "done"
        };
        text.push_str(&format!("- the task {task} ({how}), in {}\n", named(files)));
    }
    if about.len() > MAX_NAMED {
        text.push_str(&format!("- and {} more tasks\n", about.len() - MAX_NAMED));
    }
    text.push_str(
        "Both results will be merged. Keep your change in these files as small as your task \
         allows: change only the lines that you must, do not reformat, reorder, move or rename \
         anything there, and put new code where it is out of the way. Do not do the other \
         task's work, and do not wait for it. Then go on with your own task.",
    );
    text
}

/// A list of files for people.
fn named(files: &[String]) -> String {
    let mut text = files
        .iter()
        .take(MAX_NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if files.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", files.len() - MAX_NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str) -> TaskName {
        TaskName::parse(name).unwrap()
    }

    fn clash(one: &str, other: &str, files: &[&str]) -> Clash {
        Clash {
            tasks: (task(one), task(other)),
            files: files.iter().map(|f| (*f).to_owned()).collect(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1000)
    }

    /// Tells all that is due; `to about files`, one per line.
    fn tell(book: &mut Book, working: &[&str], now: Timestamp) -> Vec<String> {
        let names: Vec<TaskName> = working.iter().map(|name| task(name)).collect();
        let working = names.iter().map(|name| (name, 1)).collect();
        let mut said = Vec::new();
        for (to, about) in book.to_be_told(&working, now) {
            for (other, files) in &about {
                said.push(format!("{to} {other} {}", files.join(",")));
            }
            book.was_told(&to, about, now);
        }
        said
    }

    #[test]
    fn each_set_of_files_is_told_once_and_never_too_often() {
        let mut book = Book::default();
        let lines = book.take_in(&[clash("a", "b", &["x"])], at(0));
        assert_eq!(lines, ["radar: a and b do not merge as they are: x"]);
        assert_eq!(tell(&mut book, &["a", "b"], at(0)), ["a b x", "b a x"]);
        // The same again, or gone and back: nothing is said, but it is still known since when.
        assert_eq!(book.take_in(&[clash("a", "b", &["x"])], at(30)), [""; 0]);
        assert_eq!(book.file().conflicts[0].since, at(0));
        assert_eq!(
            book.take_in(&[], at(60)),
            ["radar: a and b are no longer in conflict"]
        );
        assert_eq!(book.file().conflicts, []);
        book.take_in(&[clash("a", "b", &["x"])], at(1000));
        assert_eq!(book.file().conflicts[0].since, at(1000));
        assert_eq!(tell(&mut book, &["a", "b"], at(1000)), [""; 0]);
        // A new file is new, after a while; a task that is done is told nothing.
        book.take_in(&[clash("a", "b", &["x", "y"])], at(1030));
        assert_eq!(tell(&mut book, &["a"], at(1030)), ["a b y"]);
        book.take_in(&[clash("a", "b", &["z"])], at(1060));
        assert_eq!(tell(&mut book, &["a"], at(1060)), [""; 0], "too soon");
        assert_eq!(tell(&mut book, &["a"], at(1330)), ["a b z"]);
        book.take_in(&[clash("a", "b", &["w"])], at(9000));
        assert_eq!(tell(&mut book, &["a"], at(9000)), [""; 0], "often enough");
        // The next conductor knows all of it.
        let book_again = Book::of(&book.file());
        assert_eq!(book_again.file(), book.file());
    }

    #[test]
    fn one_message_tells_of_many_tasks() {
        let mut book = Book::default();
        let clashes: Vec<Clash> = ["b", "c", "d"].map(|t| clash("a", t, &["list"])).to_vec();
        book.take_in(&clashes, at(0));
        assert_eq!(
            tell(&mut book, &["a"], at(0)),
            ["a b list", "a c list", "a d list"]
        );
        // One more soon after has to wait.
        book.take_in(&[clash("a", "e", &["list"])], at(30));
        assert_eq!(tell(&mut book, &["a"], at(30)), [""; 0]);
        assert_eq!(tell(&mut book, &["a"], at(121)), ["a e list"]);
    }

    #[test]
    fn a_message_says_who_where_and_what_to_do() {
        let files: Vec<String> = (0..10).map(|n| format!("f{n}")).collect();
        let about = [(task("b"), files), (task("c"), vec!["g".to_owned()])];
        let text = message(&about, |task| task.as_str() == "b");
        assert!(
            text.contains(
                "- the task b (at work at the same time), in f0, f1, f2, f3, f4, f5, f6, f7 and 2 \
                 more\n- the task c (done), in g\n"
            ),
            "{text}"
        );
        assert!(text.contains("do not wait") && text.len() < 900, "{text}");
        let many: Vec<_> = (0..60)
            .map(|n| (task(&format!("t{n}")), vec!["x".to_owned()]))
            .collect();
        assert!(message(&many, |_| true).contains("and 52 more tasks"));
    }
}
