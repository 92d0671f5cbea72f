//! Looking for conflicts among worktrees at work, against one call of git per worktree and
//! per pair.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use orchestra::core::id::{BranchName, Oid, TaskName};
use orchestra::git::{Head, Repo, Scanner, WorktreeSpec};
use orchestra::integrate::radar::{Party, PartyAt, Surveyor};

use super::scratch::Scratch;
use super::table::Table;
use super::{Options, median};

/// Of the pairs that are merged one by one at most so many are, and the rest is reckoned.
const MERGED_ONE_BY_ONE: usize = 150;

/// The built-in pause between two looks, seconds, and the least share of rest.
const INTERVAL: f64 = 30.0;
const REST: f64 = 20.0;

pub(crate) fn measure(options: &Options, table: &mut Table) {
    // Fifty worktrees of that size are two and a half million files.
    let large = if options.long { 50 } else { 10 };
    for (files, most) in [(1_000, 50), (50_000, large)] {
        let site = Site::new(files, most);
        for count in [10, 50].into_iter().filter(|count| *count <= most) {
            site.measure(count, options, table);
        }
    }
}

struct Site {
    scratch: Scratch,
    repo: Repo,
    base: Oid,
    files: usize,
}

impl Site {
    /// A repository and worktrees with uncommitted work: five at a time in the same file.
    fn new(files: usize, count: usize) -> Self {
        let scratch = Scratch::with_empty_files(files);
        let repo = Repo::discover(&scratch.repo()).unwrap();
        let Ok(Head::Branch { oid: base, .. }) = repo.head() else {
            panic!("no branch is checked out");
        };
        let site = Self {
            scratch,
            repo,
            base,
            files,
        };
        let specs: Vec<WorktreeSpec> = (0..count)
            .map(|n| WorktreeSpec {
                path: site.worktree(n),
                branch: Some(BranchName::for_task(&task(n))),
                at: site.base.clone(),
            })
            .collect();
        site.repo.worktrees_add(&specs).unwrap();
        for n in 0..count {
            let at = site.worktree(n);
            let write = |path: String, text: &str| std::fs::write(at.join(path), text).unwrap();
            let own = 50 + n;
            write(format!("src/part-{}/file-{own}.rs", own / 50), "own\n");
            write(format!("src/part-3/new-{n}.rs"), "new\n");
            write(
                format!("src/part-0/file-{}.rs", 10 + n / 5),
                &format!("of {n}\n"),
            );
        }
        site
    }

    fn worktree(&self, n: usize) -> PathBuf {
        self.scratch.path().join(format!("w/{n}"))
    }

    fn parties(&self, count: usize, at_work: impl Fn(usize) -> bool) -> Vec<Party> {
        (0..count)
            .map(|n| Party {
                task: task(n),
                base: self.base.clone(),
                at: PartyAt::Worktree {
                    path: self.worktree(n),
                    is_quiet: !at_work(n),
                },
            })
            .collect()
    }

    fn measure(&self, count: usize, options: &Options, table: &mut Table) {
        let times = if options.quick { 1 } else { 3 };
        let status = median((0..=times).map(|_| self.statuses(count)).collect());
        let naive = self.naive(count);
        let (mut first, mut changed, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        let (mut same, mut quiet) = (Vec::new(), Vec::new());
        for round in 0..times {
            let folder = self.scratch.path().join("radar");
            let scanner = Scanner::open(self.repo.clone(), &folder, Arc::default()).unwrap();
            let mut surveyor = Surveyor::new(scanner);
            let mut look = |at_work: &dyn Fn(usize) -> bool, conflicts: usize| {
                let parties = self.parties(count, at_work);
                let begin = Instant::now();
                let survey = surveyor.look(&parties).unwrap();
                assert_eq!(survey.clashes.len(), conflicts);
                begin.elapsed().as_secs_f64()
            };
            let pairs = count / 5 * 10;
            first.push(look(&|_| true, pairs));
            let before = cpu_used();
            let wall = look(&|_| true, pairs);
            cpu.push((cpu_used() - before) / INTERVAL.max(REST * wall));
            same.push(wall);
            quiet.push(look(&|_| false, pairs));
            let text = format!("again {count} {round}\n");
            std::fs::write(self.worktree(1).join("src/part-0/file-10.rs"), text).unwrap();
            changed.push(look(&|n| n == 1, pairs));
        }
        let place = format!("{count} worktrees of {} files", self.files);
        let mut row = |what: &str, taken: f64, against: f64, name: &str, aim: &str| {
            table.row(
                &format!("radar, {what}, {place}"),
                &format!("{:.2} ({:.0} ms)", taken / against, taken * 1e3),
                &format!("{name}, {:.0} ms", against * 1e3),
                aim,
            );
        };
        let one_by_one = "a picture of each and `git merge-tree` of each pair";
        row("first look", median(first), naive, one_by_one, "≤ 1");
        let each = "`git status` in each";
        row("nothing changed", median(same), status, each, "≤ 1");
        row("nobody worked", median(quiet), status, each, "< 0.1");
        row("one changed", median(changed), naive, one_by_one, "< 0.1");
        table.row(
            &format!("radar, all at work, {place}"),
            &format!("{:.1} % of a core", median(cpu) * 100.0),
            "one core; a look every 30 s, or after 20 times its length",
            "< 5 %",
        );
    }

    /// Seconds for `git status` in each worktree.
    fn statuses(&self, count: usize) -> f64 {
        let begin = Instant::now();
        for n in 0..count {
            self.git(&self.worktree(n), &[], &["status", "--porcelain"]);
        }
        begin.elapsed().as_secs_f64()
    }

    /// Seconds for a commit of all that each worktree holds, and a merge of each pair.
    fn naive(&self, count: usize) -> f64 {
        let begin = Instant::now();
        let index = self.scratch.path().join("index");
        let env = [("GIT_INDEX_FILE", index.to_str().unwrap())];
        let mut commits = Vec::new();
        for n in 0..count {
            let at = self.worktree(n);
            let git_dir = self.git(&at, &[], &["rev-parse", "--absolute-git-dir"]);
            let own = Path::new(&git_dir).join("index");
            std::fs::copy(&own, &index).unwrap();
            // Of files as young as the index git reads the content again; a copy that looks
            // younger would hide changes.
            let time = std::fs::metadata(&own).unwrap().modified().unwrap();
            let copy = std::fs::File::options().write(true).open(&index).unwrap();
            copy.set_modified(time).unwrap();
            self.git(&at, &env, &["add", "--all"]);
            let tree = self.git(&at, &env, &["write-tree"]);
            commits.push(self.git(&at, &[], &["commit-tree", "-p", "HEAD", "-m", "x", &tree]));
        }
        let pictures = begin.elapsed().as_secs_f64();
        let mut pairs = Vec::new();
        for (at, one) in commits.iter().enumerate() {
            pairs.extend(commits[at + 1..].iter().map(|other| (one, other)));
        }
        let step = pairs.len().div_ceil(MERGED_ONE_BY_ONE);
        let begin = Instant::now();
        let mut merged = 0;
        for (one, other) in pairs.iter().step_by(step) {
            let args = ["merge-tree", "--write-tree", "--name-only", one, other];
            self.git(&self.scratch.repo(), &[], &args);
            merged += 1;
        }
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let share = pairs.len() as f64 / f64::from(merged);
        pictures + begin.elapsed().as_secs_f64() * share
    }

    fn git(&self, at: &Path, env: &[(&str, &str)], args: &[&str]) -> String {
        let mut command: Command = self.scratch.command("git");
        let output = command
            .current_dir(at)
            .envs(env.iter().copied())
            .env("GIT_OPTIONAL_LOCKS", "0")
            .args(args)
            .output()
            .unwrap();
        // 1 is a conflict.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn task(n: usize) -> TaskName {
    TaskName::parse(&format!("t{n}")).unwrap()
}

/// CPU time of this process and of its children that ended, seconds.
fn cpu_used() -> f64 {
    let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
    let children = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
    let ticks = stat.utime + stat.stime + children;
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let seconds = ticks as f64 / procfs::ticks_per_second() as f64;
    seconds
}
