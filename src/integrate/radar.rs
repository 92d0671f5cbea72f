//! The conflict radar: which results would not merge if their tasks ended now.
//!
//! One [`Survey`] looks again and again at the same run. A worktree in which nothing changed
//! is not compared again, and a pair of which neither changed is not merged again; only pairs
//! that touch the same places are merged at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use crate::core::id::{Oid, TaskName};
use crate::git::{GitError, Look, MergePair, RadarChange, Scanner};

/// A worktree that could not be looked at is left alone for twice as many looks each time,
/// up to this many.
const MAX_PAUSE: u32 = 32;

/// A task whose result is to be merged one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The task.
    pub task: TaskName,
    /// The commit that it started from.
    pub base: Oid,
    /// Where its result is.
    pub at: PartyAt,
}

/// Where a result is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartyAt {
    /// In the making, in a worktree.
    Worktree {
        /// The worktree.
        path: PathBuf,
        /// Nothing was done in it since the last look: the picture that there is serves.
        is_quiet: bool,
    },
    /// Done and frozen.
    Commit(Oid),
}

/// Two results that do not merge as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clash {
    /// The two tasks; the lesser name first.
    pub tasks: (TaskName, TaskName),
    /// The paths in conflict, in order.
    pub files: Vec<String>,
}

/// What one look showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The pairs in conflict of which at least one is in work, in order of their names.
    pub clashes: Vec<Clash>,
    /// The tasks in work whose changed paths are others than at the last look, with those
    /// paths.
    pub touched: Vec<(TaskName, Vec<String>)>,
    /// The worktrees of which a picture was taken now, successfully.
    pub looked_at: Vec<TaskName>,
    /// What could not be looked at.
    pub faults: Vec<(TaskName, String)>,
    /// How many pairs were merged; the others did not touch or were known.
    pub merged: usize,
}

/// What is known of one party.
#[derive(Debug, Clone)]
struct Seen {
    base: Oid,
    commit: Oid,
    changes: Changes,
    /// Done: nothing can be said to it any more.
    is_frozen: bool,
}

impl Seen {
    fn is_of(&self, party: &Party, commit: &Oid) -> bool {
        self.commit == *commit
            && self.base == party.base
            && self.is_frozen == matches!(party.at, PartyAt::Commit(_))
    }
}

/// Looks at a run again and again.
#[derive(Debug)]
pub struct Surveyor {
    scanner: Scanner,
    seen: BTreeMap<TaskName, Seen>,
    /// Merged pairs by their commits, and what came of it.
    merged: HashMap<(Oid, Oid), Vec<String>>,
    /// Failures in a row, and looks still to be left out.
    pauses: HashMap<TaskName, (u32, u32)>,
}

impl Surveyor {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(scanner: Scanner) -> Self {
        Self {
            scanner,
            seen: BTreeMap::new(),
            merged: HashMap::new(),
            pauses: HashMap::new(),
        }
    }

    /// Looks. A worktree that cannot be looked at holds up no other; what was last seen of it
    /// counts, as long as it is there.
    ///
    /// # Errors
    /// When nothing could be compared or merged, or the scanner was stopped.
    pub fn look(&mut self, parties: &[Party]) -> Result<Survey, GitError> {
        let mut survey = Survey::default();
        let tasks: HashSet<&TaskName> = parties.iter().map(|party| &party.task).collect();
        let gone: Vec<TaskName> = self
            .seen
            .keys()
            .filter(|task| !tasks.contains(task))
            .cloned()
            .collect();
        for task in gone {
            self.forget(&task);
        }
        let mut moved = Vec::new();
        for party in parties {
            if let Some(commit) = self.commit_of(party, &mut survey) {
                let known = self.seen.get(&party.task);
                if known.is_none_or(|seen| !seen.is_of(party, &commit)) {
                    moved.push((party, commit));
                }
            }
        }
        self.compare(moved, &mut survey)?;
        self.merge(&mut survey)?;
        if !survey.looked_at.is_empty() && self.scanner.trim()? {
            // The next look takes all pictures again; they have the same ids.
            self.seen.clear();
        }
        Ok(survey)
    }

    fn forget(&mut self, task: &TaskName) {
        self.seen.remove(task);
        self.pauses.remove(task);
        self.scanner.forget(task);
    }

    /// The commit that stands for a party now; none when what was last seen of it stays, if
    /// anything.
    fn commit_of(&mut self, party: &Party, survey: &mut Survey) -> Option<Oid> {
        let (path, is_quiet) = match &party.at {
            PartyAt::Commit(commit) => return Some(commit.clone()),
            PartyAt::Worktree { path, is_quiet } => (path, *is_quiet),
        };
        if is_quiet && self.seen.contains_key(&party.task) {
            return None;
        }
        if let Some((_, left)) = self.pauses.get_mut(&party.task)
            && *left > 0
        {
            *left -= 1;
            return None;
        }
        match self.scanner.look(&party.task, path) {
            Ok(Look::Taken { picture, .. }) => {
                self.pauses.remove(&party.task);
                survey.looked_at.push(party.task.clone());
                Some(picture.commit)
            }
            Ok(Look::Busy(_) | Look::Unborn) => None,
            Err(error) => {
                survey.faults.push((party.task.clone(), error.to_string()));
                if path.is_dir() {
                    let failures = self.pauses.get(&party.task).map_or(0, |(n, _)| *n) + 1;
                    let pause = 2u32.saturating_pow(failures).min(MAX_PAUSE);
                    self.pauses.insert(party.task.clone(), (failures, pause));
                } else {
                    self.forget(&party.task);
                }
                None
            }
        }
    }

    /// Finds out what those that moved have changed.
    fn compare(&mut self, moved: Vec<(&Party, Oid)>, survey: &mut Survey) -> Result<(), GitError> {
        let pairs: Vec<(Oid, Oid)> = moved
            .iter()
            .map(|(party, commit)| (party.base.clone(), commit.clone()))
            .collect();
        let changes = self.scanner.changes(&pairs)?;
        for ((party, commit), changes) in moved.into_iter().zip(changes) {
            let changes = Changes::of(&changes);
            let before = self.seen.get(&party.task);
            if matches!(party.at, PartyAt::Worktree { .. })
                && before.is_none_or(|seen| seen.changes.paths != changes.paths)
            {
                let mut paths: Vec<String> = changes.paths.iter().cloned().collect();
                paths.sort();
                survey.touched.push((party.task.clone(), paths));
            }
            let seen = Seen {
                base: party.base.clone(),
                commit,
                changes,
                is_frozen: matches!(party.at, PartyAt::Commit(_)),
            };
            self.seen.insert(party.task.clone(), seen);
        }
        Ok(())
    }

    /// Merges the pairs that touch and were not merged before.
    fn merge(&mut self, survey: &mut Survey) -> Result<(), GitError> {
        let seen: Vec<(&TaskName, &Seen)> = self.seen.iter().collect();
        let mut touching = Vec::new();
        for (at, one) in seen.iter().enumerate() {
            for other in seen.iter().skip(at + 1) {
                let both_frozen = one.1.is_frozen && other.1.is_frozen;
                if !both_frozen && one.1.changes.touch(&other.1.changes) {
                    touching.push((*one, *other));
                }
            }
        }
        let key = |(one, other): &((&TaskName, &Seen), (&TaskName, &Seen))| {
            (one.1.commit.clone(), other.1.commit.clone())
        };
        let open: Vec<_> = touching
            .iter()
            .filter(|pair| !self.merged.contains_key(&key(pair)))
            .collect();
        let pairs: Vec<MergePair> = open
            .iter()
            .map(|(one, other)| MergePair {
                ours: one.1.commit.clone(),
                theirs: other.1.commit.clone(),
                attributes: match one.1.changes.attributes {
                    true => one.1.commit.clone(),
                    false => one.1.base.clone(),
                },
            })
            .collect();
        let answers = self.scanner.merge_all(&pairs)?;
        survey.merged = pairs.len();
        let mut fresh = Vec::new();
        for (pair, answer) in open.into_iter().zip(answers) {
            // What git says nothing about now it says nothing about the next time.
            fresh.push((key(pair), answer.unwrap_or_default()));
        }
        self.merged.extend(fresh);
        let present: HashSet<(Oid, Oid)> = touching.iter().map(key).collect();
        for pair in &touching {
            let Some(files) = self.merged.get(&key(pair)) else {
                continue;
            };
            let (one, other) = pair;
            let files = of_both(files, one.1, other.1);
            if !files.is_empty() {
                survey.clashes.push(Clash {
                    tasks: (one.0.clone(), other.0.clone()),
                    files,
                });
            }
        }
        self.merged.retain(|key, _| present.contains(key));
        Ok(())
    }

    /// Bytes on disk that the pictures take up.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.scanner.bytes()
    }
}

/// The files over which these two are in conflict. When they did not start from the same
/// commit, one may hold the result of a third task with which the other is in conflict.
fn of_both(files: &[String], one: &Seen, other: &Seen) -> Vec<String> {
    let of_both = |path: &&String| {
        let this = Changes::of(&[RadarChange {
            path: (*path).clone(),
            kind: 'M',
        }]);
        one.changes.touch(&this) && other.changes.touch(&this)
    };
    let mut files: Vec<String> = if one.base == other.base {
        files.to_vec()
    } else {
        files.iter().filter(of_both).cloned().collect()
    };
    files.sort();
    files.dedup();
    files
}

/// The changed paths of one party, made ready for finding those that touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Changes {
    paths: HashSet<String>,
    /// Every folder above a changed path.
    folders: HashSet<String>,
    /// The folders out of which something was taken: perhaps they were renamed.
    left: HashSet<String>,
    /// Every folder above an added path: what is added to a renamed folder goes with it.
    entered: HashSet<String>,
    /// Whether `.gitattributes` are among them.
    attributes: bool,
}

impl Changes {
    fn of(changes: &[RadarChange]) -> Self {
        let mut found = Self::default();
        for change in changes {
            let path = &change.path;
            found.attributes |= path.rsplit('/').next() == Some(".gitattributes");
            let mut above = path.as_str();
            let mut is_parent = true;
            while let Some((folder, _)) = above.rsplit_once('/') {
                found.folders.insert(folder.to_owned());
                if change.kind == 'D' && is_parent {
                    found.left.insert(folder.to_owned());
                }
                if change.kind == 'A' {
                    found.entered.insert(folder.to_owned());
                }
                is_parent = false;
                above = folder;
            }
            found.paths.insert(path.clone());
        }
        found
    }

    /// Whether both changed the same path, or one a path and the other something in a folder
    /// of that name, or one took files out of a folder into which the other put some. Says so
    /// rather too often than too rarely.
    fn touch(&self, other: &Self) -> bool {
        !self.paths.is_empty()
            && !other.paths.is_empty()
            && (meet(&self.paths, &other.paths)
                || meet(&self.paths, &other.folders)
                || meet(&self.folders, &other.paths)
                || meet(&self.left, &other.entered)
                || meet(&self.entered, &other.left))
    }
}

fn meet(a: &HashSet<String>, b: &HashSet<String>) -> bool {
    let (less, more) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    less.iter().any(|item| more.contains(item))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::git::WorktreeSpec;
    use crate::git::testkit::{Fixture, commit_in, git_in, write_in};

    fn task(name: &str) -> TaskName {
        TaskName::parse(name).unwrap()
    }

    fn changes(list: &[&str]) -> Changes {
        let change = |text: &&str| RadarChange {
            kind: text.chars().next().unwrap(),
            path: text[2..].to_owned(),
        };
        Changes::of(&list.iter().map(change).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_can_meet_touches() {
        for (a, b, expected) in [
            (vec!["M x"], vec!["M x"], true),
            (vec!["M x"], vec!["M y"], false),
            (vec!["M src/x"], vec!["M src/y"], false),
            (vec!["A src"], vec!["M src/y"], true),
            (vec!["M src/a/b/c"], vec!["A src/a"], true),
            (vec!["M src/ab"], vec!["A src/a"], false),
            // A file moved, the other edits it.
            (vec!["D a/x", "A b/x"], vec!["M a/x"], true),
            // A folder moved, the other adds to it.
            (vec!["D a/x", "A b/x"], vec!["A a/new"], true),
            (vec!["D a/x", "A b/x"], vec!["A a/deep/new"], true),
            (vec!["D a/x", "A b/x"], vec!["M a/other"], false),
            (vec![], vec!["M x"], false),
            (vec![], vec![], false),
        ] {
            let (one, other) = (changes(&a), changes(&b));
            assert_eq!(one.touch(&other), expected, "{a:?} {b:?}");
            assert_eq!(other.touch(&one), expected, "{b:?} {a:?}");
        }
        assert!(changes(&["M src/.gitattributes"]).attributes);
    }

    struct Site {
        f: Fixture,
        base: Oid,
        surveyor: Surveyor,
    }

    impl Site {
        fn new(worktrees: &[&str]) -> Self {
            let f = Fixture::new();
            for name in ["shared", "src/one", "src/two"] {
                f.write(name, "1\n2\n3\n4\n5\n");
            }
            let base = f.commit("files");
            for name in worktrees {
                f.repo()
                    .worktree_add(&WorktreeSpec {
                        path: f.beside(name),
                        branch: None,
                        at: base.clone(),
                    })
                    .unwrap();
            }
            let scanner = Scanner::open(f.repo(), &f.beside("radar"), Arc::default()).unwrap();
            Self {
                base,
                surveyor: Surveyor::new(scanner),
                f,
            }
        }

        fn party(&self, name: &str, is_quiet: bool) -> Party {
            Party {
                task: task(name),
                base: self.base.clone(),
                at: PartyAt::Worktree {
                    path: self.f.beside(name),
                    is_quiet,
                },
            }
        }

        fn look(&mut self, names: &[&str]) -> Survey {
            let parties: Vec<Party> = names.iter().map(|name| self.party(name, false)).collect();
            self.surveyor.look(&parties).unwrap()
        }

        fn at(&self, name: &str) -> PathBuf {
            self.f.beside(name)
        }
    }

    fn shown(survey: &Survey) -> Vec<String> {
        let show = |c: &Clash| format!("{} {} {}", c.tasks.0, c.tasks.1, c.files.join(","));
        survey.clashes.iter().map(show).collect()
    }

    fn edit(at: &Path, path: &str, line: &str) {
        write_in(at, path, &format!("1\n2\n{line}\n4\n5\n"));
    }

    #[test]
    fn a_conflict_comes_and_goes_with_the_work_and_nothing_is_done_twice() {
        let mut site = Site::new(&["a", "b", "c"]);
        let all = ["a", "b", "c"];
        assert_eq!(site.look(&all).clashes, []);
        edit(&site.at("a"), "shared", "a");
        edit(&site.at("b"), "shared", "b");
        write_in(&site.at("b"), "both", "b\n");
        write_in(&site.at("a"), "both", "a\n");
        edit(&site.at("c"), "src/one", "c");
        let survey = site.look(&all);
        assert_eq!(shown(&survey), ["a b both,shared"]);
        assert_eq!(survey.merged, 1);
        let touched: Vec<String> = survey
            .touched
            .iter()
            .map(|(t, p)| format!("{t} {}", p.join(",")))
            .collect();
        assert_eq!(touched, ["a both,shared", "b both,shared", "c src/one"]);

        let again = site.look(&all);
        assert_eq!(again.clashes, survey.clashes);
        assert_eq!((again.merged, again.touched.len()), (0, 0));
        // Committing changes nothing of what the trees hold, but it is another commit.
        commit_in(&site.at("a"), "a");
        assert_eq!(shown(&site.look(&all)), ["a b both,shared"]);

        // One gives way in one place.
        std::fs::remove_file(site.at("b").join("both")).unwrap();
        assert_eq!(shown(&site.look(&all)), ["a b shared"]);
        edit(&site.at("b"), "shared", "3");
        let calm = site.look(&all);
        assert_eq!((calm.clashes.len(), calm.merged), (0, 0));
        // Another one begins.
        edit(&site.at("b"), "src/one", "b");
        assert_eq!(shown(&site.look(&all)), ["b c src/one"]);
        assert_eq!(site.look(&["a", "c"]).clashes, []);
    }

    #[test]
    fn a_done_task_counts_by_its_commit_and_a_quiet_one_by_what_was_seen() {
        let mut site = Site::new(&["a", "b"]);
        edit(&site.at("a"), "shared", "a");
        let head = commit_in(&site.at("a"), "a");
        edit(&site.at("b"), "shared", "b");
        let done = Party {
            at: PartyAt::Commit(head),
            ..site.party("a", false)
        };
        let parties = [done.clone(), site.party("b", true)];
        let survey = site.surveyor.look(&parties).unwrap();
        assert_eq!(shown(&survey), ["a b shared"], "never seen before");
        assert_eq!(survey.looked_at, [task("b")]);
        edit(&site.at("b"), "shared", "a");
        let survey = site.surveyor.look(&parties).unwrap();
        assert_eq!(shown(&survey), ["a b shared"], "nothing moved, it is said");
        assert_eq!(survey.looked_at, []);
        let parties = [done, site.party("b", false)];
        assert_eq!(site.surveyor.look(&parties).unwrap().clashes, []);
    }

    #[test]
    fn a_conflict_with_a_third_task_is_not_laid_at_the_door_of_one_that_builds_on_it() {
        let mut site = Site::new(&["a", "b"]);
        // b builds on a task that changed `shared`; itself it changes src/one.
        edit(&site.at("b"), "shared", "third");
        let base = commit_in(&site.at("b"), "third");
        edit(&site.at("b"), "src/one", "b");
        edit(&site.at("a"), "shared", "a");
        edit(&site.at("a"), "src/one", "a");
        let b = Party {
            base,
            ..site.party("b", false)
        };
        let parties = [site.party("a", false), b];
        let survey = site.surveyor.look(&parties).unwrap();
        assert_eq!(shown(&survey), ["a b src/one"]);
    }

    #[test]
    fn a_worktree_that_is_gone_or_in_the_middle_of_something_stops_no_other() {
        let mut site = Site::new(&["a", "b", "c"]);
        for name in ["a", "b", "c"] {
            edit(&site.at(name), "shared", name);
        }
        let all = ["a", "b", "c"];
        assert_eq!(site.look(&all).clashes.len(), 3);
        std::fs::remove_dir_all(site.at("a")).unwrap();
        let survey = site.look(&all);
        assert_eq!(shown(&survey), ["b c shared"]);
        assert_eq!(survey.faults.len(), 1);

        // In the middle of a merge what was last seen counts.
        commit_in(&site.at("b"), "b");
        git_in(&site.at("c"), &["commit", "-q", "-a", "-m", "c"]);
        let b = git_in(&site.at("b"), &["rev-parse", "HEAD"]);
        assert_eq!(shown(&site.look(&["b", "c"])), ["b c shared"]);
        std::fs::write(site.at("c").join("free"), "x").unwrap();
        let merge = std::panic::catch_unwind(|| git_in(&site.at("c"), &["merge", "-q", &b]));
        assert!(merge.is_err());
        let survey = site.look(&["b", "c"]);
        assert_eq!(shown(&survey), ["b c shared"]);
        assert_eq!(survey.looked_at, [task("b")]);
        git_in(&site.at("c"), &["checkout", "-q", "--theirs", "shared"]);
        commit_in(&site.at("c"), "merged");
        assert_eq!(site.look(&["b", "c"]).clashes, []);
    }

    #[test]
    fn folders_and_renames_in_conflict_are_found() {
        let mut site = Site::new(&["a", "b"]);
        // A folder moved as a whole, and a new file for it on the other side.
        git_in(&site.at("a"), &["mv", "src", "lib"]);
        write_in(&site.at("b"), "src/three", "x\n");
        let survey = site.look(&["a", "b"]);
        assert_eq!(survey.merged, 1);
        assert_eq!(survey.clashes.len(), 1, "the place of the new file is open");
        // A file where the other has a folder.
        git_in(&site.at("b"), &["rm", "-q", "-r", "-f", "src"]);
        write_in(&site.at("b"), "lib", "a file\n");
        let survey = site.look(&["a", "b"]);
        assert!(!survey.clashes.is_empty());
    }
}
