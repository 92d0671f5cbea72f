//! One repository, in which runs are played one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use uuid::Uuid;

use super::super::*;
use crate::core::attempt::{AttemptEnd, FailureClass};
use crate::core::budget::{BudgetPolicy, Limit};
use crate::core::event::{Effect, Event, Left, Request};
use crate::core::graph::TaskIx;
use crate::core::queue::QueuePolicy;
use crate::core::record::{
    AsideWhy, IntegrationEnd, MergeMode, Place, QueueItem, QueueWork, Record,
};
use crate::core::retry::RetryPolicy;
use crate::core::state::{Phase, Policy, State, TaskFacts, TaskState};
use crate::core::step::step;
use crate::core::time::{Millis, Timestamp};
use crate::git::KeptAuthor;
use crate::git::testkit::{Fixture, Node, oid};

/// One change of a commit, to one of a few files.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Edit(u8, usize, u8),
    Delete(u8),
    Move(u8, u8),
    Add(u8, u8),
}

/// What a task does.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) needs: Vec<usize>,
    pub(super) commits: Vec<Vec<Op>>,
    /// The tree is red with it.
    pub(super) red: bool,
    /// The tree is red when it holds both halves.
    pub(super) half: Option<u8>,
}

/// Something uncommitted in the person's checkout.
#[derive(Debug, Clone)]
pub(super) enum Dirty {
    Edited(u8),
    Staged(u8),
    Deleted(u8),
    Untracked(u8),
    Ignored,
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) works: Vec<Work>,
    pub(super) dirty: Vec<Dirty>,
    /// The base branch is checked out nowhere.
    pub(super) detached: bool,
    pub(super) early: bool,
    pub(super) each: bool,
    /// Which of the things that are in work ends next.
    pub(super) choices: Vec<u8>,
    /// In which turns the person commits to the base branch, and to which file.
    pub(super) moves: Vec<(usize, u8)>,
    /// In which turns the conductor dies.
    pub(super) crashes: Vec<usize>,
}

/// What happened in all cases together.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) delivered: u32,
    pub(super) overlaps: u32,
    pub(super) aside: u32,
    pub(super) moved: u32,
    pub(super) nothing: u32,
}

type Files = BTreeMap<String, String>;

pub(super) struct World {
    f: Fixture,
    repo: Repo,
    style: DeliveryStyle,
    base: Oid,
    env: Environment,
    count: usize,
    pub(super) seen: Seen,
}

const VERIFY: &str = "! grep -rqs RED --exclude-dir=.git --exclude=.git . && \
                      ! { [ -e half-1 ] && [ -e half-2 ]; }";

fn path(n: u8) -> String {
    format!("{}/f{n}", if n < 3 { "src" } else { "lib" })
}

fn apply(files: &mut Files, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Edit(file, line, word) => {
                if let Some(text) = files.get_mut(&path(*file)) {
                    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    if let Some(line) = lines.get_mut(*line) {
                        line.push_str(&format!(" {word}"));
                    }
                    *text = lines.join("\n") + "\n";
                }
            }
            Op::Delete(file) => _ = files.remove(&path(*file)),
            Op::Move(from, to) => {
                if !files.contains_key(&path(*to))
                    && let Some(text) = files.remove(&path(*from))
                {
                    files.insert(path(*to), text);
                }
            }
            Op::Add(file, word) => {
                let text = || format!("new {word}\n");
                files.entry(path(*file)).or_insert_with(text);
            }
        }
    }
}

fn name(n: usize) -> TaskName {
    TaskName::parse(&format!("t{n}")).unwrap()
}

fn ix(n: usize) -> TaskIx {
    TaskIx::new(u32::try_from(n).unwrap())
}

/// As git sees it: the same path, or one is a folder of the other.
fn meet(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.starts_with('/'));
    a == b || below(a, b) || below(b, a)
}

impl World {
    #[allow(
        clippy::disallowed_methods,
        reason = "the check is run by a shell that is found as the person finds it"
    )]
    pub(super) fn new(style: DeliveryStyle) -> Self {
        let f = Fixture::new();
        f.git(&["config", "gc.auto", "0"]);
        f.write(".gitignore", "*.ign\n");
        for n in 0..4 {
            let lines: Vec<String> = (0..8).map(|l| format!("file {n} line {l}")).collect();
            f.write(&path(n), &(lines.join("\n") + "\n"));
        }
        let base = f.commit("base");
        let mut env = Environment::default();
        env.set("PATH", std::env::var_os("PATH").unwrap());
        Self {
            repo: f.repo(),
            f,
            style,
            base,
            env,
            count: 0,
            seen: Seen::default(),
        }
    }

    fn files_of(&self, commit: &Oid) -> Files {
        let list = ["ls-tree", "-r", "--name-only", commit.as_str()];
        let names = self.f.git(&list);
        let show = |name: &str| {
            let content = self.repo.read_file(commit, name).unwrap().unwrap();
            String::from_utf8(content).unwrap()
        };
        names.lines().map(|n| (n.to_owned(), show(n))).collect()
    }

    /// Commits of these contents, one on top of the other, on a branch.
    fn import(&self, branch: &str, onto: &Oid, contents: &[Files]) -> Oid {
        let mut parent = onto.clone();
        for (n, files) in contents.iter().enumerate() {
            let nodes = files
                .iter()
                .map(|(path, text)| (path.clone().into_bytes(), Node::text(text)))
                .collect();
            parent = self.f.import_on(&parent, &format!("{branch} {n}"), &nodes);
        }
        self.f.git(&["update-ref", branch, parent.as_str()]);
        parent
    }

    /// A clean checkout at the base, and nothing of the case before.
    fn clear(&self) {
        let f = &self.f;
        f.git(&["checkout", "-q", "-f", "--detach", self.base.as_str()]);
        f.git(&["clean", "-fdxq"]);
        let refs = f.git(&["for-each-ref", "--format=delete %(refname)"]);
        f.git_with_input(&["update-ref", "--stdin"], &(refs + "\n"));
        let _ = fs::remove_file(f.root.join(".git/logs/refs/heads/main"));
        f.git(&["update-ref", "refs/heads/main", self.base.as_str()]);
    }

    pub(super) fn play(&mut self, case: &Case) -> Result<(), TestCaseError> {
        self.clear();
        self.count += 1;
        let mut run = Run::new(self, case);
        run.make_dirty();
        run.take(&Event::Adopted);
        run.play_out().and_then(|()| run.check()).map_err(|error| {
            let story = run.journal.iter().map(|r| format!("{r:?}"));
            let story: Vec<String> = story.collect();
            let told = run.told.lock().unwrap().join("\n");
            TestCaseError::fail(format!("{error}\n{}\n{told}", story.join("\n")))
        })?;
        let seen = run.seen.clone();
        self.seen.delivered += seen.delivered;
        self.seen.overlaps += seen.overlaps;
        self.seen.aside += seen.aside;
        self.seen.moved += seen.moved;
        self.seen.nothing += seen.nothing;
        Ok(())
    }
}

/// What is uncommitted in the checkout.
#[derive(Debug, PartialEq, Eq)]
struct Uncommitted {
    files: BTreeMap<String, Option<Vec<u8>>>,
    staged: String,
    status: BTreeSet<String>,
}

struct Run<'w> {
    world: &'w World,
    case: &'w Case,
    id: OrchestrationId,
    facts: Vec<TaskFacts>,
    policy: Policy,
    state: State,
    journal: Vec<Record>,
    /// What is in work.
    pending: Vec<Effect>,
    turn: usize,
    /// Commits that the person made on the base branch.
    persons: BTreeSet<Oid>,
    /// Commits that the check was green on.
    green: BTreeSet<Oid>,
    /// Paths that are dirty.
    dirty: BTreeSet<String>,
    before: Option<Uncommitted>,
    stop: AtomicBool,
    author: KeptAuthor,
    told: Mutex<Vec<String>>,
    seen: Seen,
}

impl<'w> Run<'w> {
    fn new(world: &'w World, case: &'w Case) -> Self {
        let facts: Vec<TaskFacts> = case
            .works
            .iter()
            .enumerate()
            .map(|(n, work)| TaskFacts {
                name: name(n),
                needs: work.needs.iter().map(|d| ix(*d)).collect(),
                files: Vec::new(),
                after: Vec::new(),
                urgency: 2,
                chain: 1,
                max_attempts: 1,
                limit: Limit::default(),
            })
            .collect();
        let policy = Policy {
            workers: 3,
            success_percent: 1,
            merge: Some(MergeMode::Automatic),
            queue: QueuePolicy {
                verify: true,
                early: case.early,
                deliver_each: case.each,
                resolvers: 0,
            },
            retry: RetryPolicy {
                base_delay: Millis(1),
                max_delay: Millis(1),
                ..RetryPolicy::default()
            },
            budget: BudgetPolicy::default(),
            token: Uuid::from_u128(1),
        };
        Self {
            id: OrchestrationId::parse(&format!("r{}", world.count)).unwrap(),
            state: State::new(facts.clone(), policy),
            facts,
            policy,
            journal: Vec::new(),
            pending: Vec::new(),
            turn: 0,
            persons: BTreeSet::from([world.base.clone()]),
            green: BTreeSet::new(),
            dirty: BTreeSet::new(),
            before: None,
            stop: AtomicBool::new(false),
            author: KeptAuthor::default(),
            told: Mutex::new(Vec::new()),
            seen: Seen::default(),
            world,
            case,
        }
    }

    fn git(&self, args: &[&str]) -> String {
        self.world.f.git(args)
    }

    fn main(&self) -> Oid {
        oid(&self.git(&["rev-parse", "refs/heads/main"]))
    }

    // ---- The person.

    fn make_dirty(&mut self) {
        let f = &self.world.f;
        if !self.case.detached {
            f.git(&["checkout", "-q", "main"]);
        }
        for dirty in &self.case.dirty {
            let path = match dirty {
                Dirty::Edited(n) | Dirty::Staged(n) | Dirty::Deleted(n) | Dirty::Untracked(n) => {
                    path(*n)
                }
                Dirty::Ignored => "src/mine.ign".into(),
            };
            if !self.dirty.insert(path.clone()) {
                continue;
            }
            let full = f.root.join(&path);
            match dirty {
                Dirty::Deleted(_) => fs::remove_file(&full).unwrap(),
                Dirty::Edited(_) | Dirty::Staged(_) => {
                    let text = fs::read_to_string(&full).unwrap();
                    fs::write(&full, text + "mine\n").unwrap();
                }
                Dirty::Untracked(_) | Dirty::Ignored => f.write(&path, "mine\n"),
            }
            if matches!(dirty, Dirty::Staged(_)) {
                f.git(&["add", &path]);
            }
        }
        self.before = Some(self.uncommitted());
    }

    fn uncommitted(&self) -> Uncommitted {
        let root = &self.world.f.root;
        let read = |path: &String| (path.clone(), fs::read(root.join(path)).ok());
        let status = self.git(&["status", "--porcelain", "-uall", "--ignored"]);
        Uncommitted {
            files: self.dirty.iter().map(read).collect(),
            staged: self.git(&["diff", "--cached", "--binary"]),
            status: status.lines().map(str::to_owned).collect(),
        }
    }

    /// The person commits to the base branch; what else is uncommitted stays so.
    fn move_base(&mut self, file: u8) {
        let f = &self.world.f;
        let tip = self.main();
        let own = path(file);
        if self.case.detached {
            let mut files = self.world.files_of(&tip);
            let line = format!("of the person {}\n", self.turn);
            files.entry(own).or_default().push_str(&line);
            self.world.import("refs/heads/main", &tip, &[files]);
        } else {
            let usable = !self.dirty.contains(&own) && f.root.join(&own).exists();
            let own = if usable {
                own
            } else {
                format!("person-{}", self.turn)
            };
            let old = fs::read_to_string(f.root.join(&own)).unwrap_or_default();
            f.write(&own, &format!("{old}of the person {}\n", self.turn));
            f.git(&["add", &own]);
            f.git(&["commit", "-q", "-m", "person", "--only", "--", &own]);
        }
        self.persons.insert(self.main());
        self.seen.moved = 1;
    }

    // ---- The run.

    fn take(&mut self, event: &Event) {
        let now = Timestamp(i64::try_from(self.journal.len()).unwrap() + 1);
        let out = step(&mut self.state, event, now);
        self.journal.extend(out.records);
        self.pending.extend(
            out.effects
                .into_iter()
                .filter(|e| !matches!(e, Effect::WakeAt(_))),
        );
    }

    fn play_out(&mut self) -> Result<(), TestCaseError> {
        while !self.pending.is_empty() {
            self.turn += 1;
            prop_assert!(self.turn < 2000, "it does not end");
            let choice = self.case.choices[self.turn % self.case.choices.len()];
            let effect = self
                .pending
                .remove(usize::from(choice) % self.pending.len());
            let moves = self.case.moves.iter();
            let moves: Vec<u8> = moves
                .filter(|(turn, _)| *turn == self.turn)
                .map(|(_, file)| *file)
                .collect();
            for file in moves {
                self.move_base(file);
            }
            let event = self.carry_out(&effect)?;
            if self.case.crashes.contains(&self.turn) {
                // It was done, and nobody lived to write it down.
                self.pending.clear();
                self.state = State::replay(self.facts.clone(), self.policy, &self.journal);
                self.take(&Event::Adopted);
            } else if let Some(event) = event {
                self.take(&event);
            }
        }
        let over = matches!(self.state.phase(), Phase::Finished { closed: true, .. });
        prop_assert!(over, "it stands still: {:?}", self.state.queue());
        Ok(())
    }

    fn carry_out(&mut self, effect: &Effect) -> Result<Option<Event>, TestCaseError> {
        Ok(match effect {
            Effect::Prepare { task } => Some(self.prepare(*task)),
            Effect::Launch { task, attempt, .. } => Some(Event::Ended {
                task: *task,
                attempt: *attempt,
                end: AttemptEnd::Complete {
                    head: self.work(*task),
                    summary: "Did it.".into(),
                },
                left: Left {
                    session_seen: true,
                    ..Left::default()
                },
            }),
            Effect::Queue(work) => {
                let result = self.queue(work);
                if let (QueueWork::Verify { commit }, QueueResult::Verified { green: true, .. }) =
                    (work, &result)
                {
                    self.green.insert(commit.clone());
                }
                if let QueueResult::Failed { detail } = &result {
                    prop_assert!(false, "{work:?} failed: {detail}");
                }
                Some(Event::Queue(result))
            }
            Effect::Close { number, .. } => Some(Event::Closed { number: *number }),
            Effect::Stop { .. } | Effect::StopQueue | Effect::WakeAt(_) => None,
        })
    }

    fn merge_task(&self, task: TaskIx) -> Option<MergeTask> {
        let entry = self.state.task(task);
        let TaskState::Done { head, summary } = &entry.state else {
            return None;
        };
        Some(MergeTask {
            name: self.state.name(task).clone(),
            start: entry.place.as_ref()?.base.clone(),
            head: head.clone(),
            needs: Vec::new(),
            title: "A task".into(),
            summary: summary.clone(),
        })
    }

    fn queued(&self, item: &QueueItem) -> Option<MergeTask> {
        let mut task = self.merge_task(self.state.find(&item.task)?)?;
        task.head = item.head.clone();
        task.needs.clone_from(&item.needs);
        Some(task)
    }

    fn prepare(&self, task: TaskIx) -> Event {
        let needs = &self.state.facts(task).needs;
        let dependencies: Vec<MergeTask> =
            needs.iter().filter_map(|d| self.merge_task(*d)).collect();
        let name = self.state.name(task);
        let repo = &self.world.repo;
        let settle_nothing = |_: &Oid, _: &MergeTask, conflict: Conflict<'_>| {
            Ok(Settled::Some {
                tree: conflict.tree.clone(),
                settled: Vec::new(),
                left: conflict.files.to_vec(),
            })
        };
        let base = &self.world.base;
        match base_for(
            repo,
            &self.author,
            base,
            &dependencies,
            name,
            settle_nothing,
        )
        .unwrap()
        {
            Ok(base) => Event::Prepared {
                task,
                place: Place {
                    branch: BranchName::for_task(name),
                    worktree: "/nowhere".into(),
                    base,
                },
            },
            Err(stop) => Event::NotStarted {
                task,
                class: FailureClass::DependencyConflict,
                detail: stop.files.join(", "),
            },
        }
    }

    /// The result of a task, made once.
    fn work(&self, task: TaskIx) -> Oid {
        let branch = BranchName::for_task(self.state.name(task));
        if let Some(there) = self.world.repo.branch_tip(&branch).unwrap() {
            return there;
        }
        let base = self.state.task(task).place.as_ref().unwrap().base.clone();
        let work = &self.case.works[task.index()];
        let mut files = self.world.files_of(&base);
        if work.red {
            files.insert(format!("red-{}", task.index()), "RED\n".into());
        }
        if let Some(half) = work.half {
            files.insert(format!("half-{half}"), "half\n".into());
        }
        let contents: Vec<Files> = work
            .commits
            .iter()
            .map(|ops| {
                apply(&mut files, ops);
                files.clone()
            })
            .collect();
        self.world.import(&branch.full_ref(), &base, &contents)
    }

    fn queue(&self, work: &QueueWork) -> QueueResult {
        let f = &self.world.f;
        let tell = |line: &str| self.told.lock().unwrap().push(line.to_owned());
        let bench = Bench {
            repo: self.world.repo.clone(),
            id: self.id.clone(),
            token: Uuid::from_u128(7).simple().to_string(),
            base_branch: BranchName::parse("main").unwrap(),
            setup: None,
            verify: Some(VERIFY.into()),
            timeout: Duration::from_secs(60),
            env: self.world.env.clone(),
            style: self.world.style,
            hooks: false,
            union_files: Vec::new(),
            lockfiles: BTreeMap::new(),
            scratch: f.beside("scratch"),
            log: f.beside("verify.log"),
            author: &self.author,
            stop: &self.stop,
            tell: &tell,
        };
        match work {
            QueueWork::Merge { onto, items, trial } => {
                let under = self.state.queue().under(*trial).iter();
                let before: Vec<MergeTask> = under
                    .filter_map(|link| self.merge_task(self.state.find(&link.task)?))
                    .collect();
                let tasks: Vec<MergeTask> = items.iter().filter_map(|i| self.queued(i)).collect();
                bench.merge(onto.as_ref(), &before, &tasks, *trial)
            }
            QueueWork::Verify { commit } => bench.verify(commit),
            QueueWork::Deliver { from, to } => bench.deliver(from, to),
            QueueWork::Present { from, commit } => bench.present(from, commit),
        }
    }

    // ---- What must hold.

    fn check(&mut self) -> Result<(), TestCaseError> {
        self.check_base()?;
        let before = self.before.take();
        prop_assert_eq!(before.as_ref(), Some(&self.uncommitted()));
        self.seen.aside = u32::from(!self.state.queue().aside().is_empty());
        match self.state.integration().cloned() {
            Some(IntegrationEnd::Delivered { to, .. }) => {
                let tip = self.main();
                prop_assert!(self.persons.contains(&tip) || tip == to);
                self.seen.delivered = 1;
                self.check_delivered()
            }
            Some(IntegrationEnd::NotDelivered { commit, detail }) => {
                self.seen.overlaps = 1;
                self.check_overlap(&commit, &detail)
            }
            Some(IntegrationEnd::Red { .. } | IntegrationEnd::Conflict { .. }) => {
                self.seen.nothing = 1;
                prop_assert!(self.persons.contains(&self.main()));
                prop_assert!(!self.state.queue().aside().is_empty());
                self.check_aside()
            }
            other => Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }

    /// The base branch never was anywhere but where the person put it or where it was green.
    fn check_base(&self) -> Result<(), TestCaseError> {
        let log = self.world.f.root.join(".git/logs/refs/heads/main");
        let log = fs::read_to_string(log).unwrap_or_default();
        for line in log.lines() {
            let to = oid(line.split(' ').nth(1).unwrap());
            let known = self.persons.contains(&to) || self.green.contains(&to);
            prop_assert!(known, "{} on the base branch was never green", to);
        }
        Ok(())
    }

    fn check_delivered(&self) -> Result<(), TestCaseError> {
        let queue = self.state.queue();
        let main = self.main();
        let files = self.world.files_of(&main);
        prop_assert!(!files.values().any(|text| text.contains("RED")));
        prop_assert!(!(files.contains_key("half-1") && files.contains_key("half-2")));
        for task in self.state.indexes() {
            let TaskState::Done { head, .. } = &self.state.task(task).state else {
                continue;
            };
            let name = self.state.name(task);
            let aside = queue.aside().contains_key(name);
            prop_assert_ne!(queue.is_delivered(name), aside, "{}", name);
            let work = &self.case.works[task.index()];
            if let Some(half) = work.half.filter(|_| !aside) {
                prop_assert!(files.contains_key(&format!("half-{half}")), "{}", name);
            }
            if self.world.style == DeliveryStyle::Merge && !aside {
                prop_assert!(self.world.repo.is_ancestor(head, &main).unwrap());
            }
            // Whatever style: its commits are there.
            let found = self.git(&["for-each-ref", "--count=1", "--contains", head.as_str()]);
            prop_assert_ne!(found, "");
        }
        self.check_aside()
    }

    /// Whoever is blamed is blamed rightly, and the evidence is kept.
    fn check_aside(&self) -> Result<(), TestCaseError> {
        for (task, why) in self.state.queue().aside() {
            let AsideWhy::Red { commit, with, .. } = why else {
                continue;
            };
            let kept = self.git(&["for-each-ref", "--contains", commit.as_str()]);
            prop_assert_ne!(kept, "", "the red commit of {} is lost", task);
            let works = self.works_below(vec![self.state.find(task).unwrap()]);
            let halves: BTreeSet<u8> = works.iter().filter_map(|w| w.half).collect();
            if with.is_empty() {
                // What was delivered before belongs to the base on which it is judged.
                let delivered = self.state.indexes().filter(|ix| {
                    self.case.each && self.state.queue().is_delivered(self.state.name(*ix))
                });
                let base = delivered.filter_map(|ix| self.case.works[ix.index()].half);
                let there: BTreeSet<u8> = halves.iter().copied().chain(base).collect();
                let meets = !halves.is_empty() && there.len() == 2;
                let own = works.iter().any(|w| w.red) || meets;
                prop_assert!(own, "{} is blamed wrongly", task);
            } else {
                prop_assert!(!halves.is_empty(), "{} is blamed wrongly: {:?}", task, with);
                let partners = with.iter().filter_map(|name| self.state.find(name));
                let together = self.works_below(partners.collect());
                let all = halves
                    .into_iter()
                    .chain(together.iter().filter_map(|w| w.half));
                let all: BTreeSet<u8> = all.collect();
                prop_assert_eq!(all.len(), 2, "{} is red with others than {:?}", task, with);
            }
        }
        Ok(())
    }

    /// What these tasks do, and those that they build on.
    fn works_below(&self, tasks: Vec<TaskIx>) -> Vec<&Work> {
        let mut closure = tasks;
        let mut at = 0;
        while at < closure.len() {
            closure.extend(self.state.facts(closure[at]).needs.clone());
            at += 1;
        }
        let works = closure.iter().map(|ix| &self.case.works[ix.index()]);
        works.collect()
    }

    /// Uncommitted work is in the way: that is so, it is told, and what was proved waits for
    /// one command.
    fn check_overlap(&mut self, commit: &Oid, detail: &str) -> Result<(), TestCaseError> {
        prop_assert!(!self.case.detached, "{}", detail);
        let tip = self.main();
        prop_assert!(self.green.contains(commit));
        let range = format!("{tip}..{commit}");
        let changed = self.git(&["diff", "--name-only", "--no-renames", &range]);
        let in_the_way: Vec<&String> = self
            .dirty
            .iter()
            .filter(|own| changed.lines().any(|theirs| meet(own, theirs)))
            .collect();
        prop_assert!(!in_the_way.is_empty(), "{}", detail);
        for path in in_the_way {
            prop_assert!(detail.contains(path.as_str()), "{}: {}", path, detail);
        }
        prop_assert!(detail.contains("orchestra merge automatic"), "{}", detail);
        let kept = self.git(&["for-each-ref", "--contains", commit.as_str()]);
        prop_assert_ne!(kept, "", "the merged commit is lost");

        // The person moves it out of the way.
        self.git(&["reset", "-q", "--hard"]);
        self.git(&["clean", "-fdxq"]);
        let id = format!("q{}", self.journal.len());
        let request = Request::Merge {
            mode: MergeMode::Automatic,
            only: None,
        };
        self.take(&Event::Asked { id, request });
        self.play_out()?;
        self.check_base()?;
        let end = self.state.integration();
        let delivered = matches!(end, Some(IntegrationEnd::Delivered { .. }));
        prop_assert!(delivered, "{:?}", end);
        prop_assert_eq!(self.git(&["status", "--porcelain"]), "");
        self.check_delivered()
    }
}
