//! Making worktrees, against `git worktree add` in a loop.

use std::process::Command;
use std::time::Instant;

use orchestra::core::id::{BranchName, TaskName};
use orchestra::git::{Head, Repo, WorktreeSpec};

use super::scratch::Scratch;
use super::table::Table;
use super::{Options, median};

pub(crate) fn measure(options: &Options, table: &mut Table) {
    for files in [1_000, 10_000] {
        let scratch = Scratch::with_files(files);
        for count in [1, 4, 8] {
            let times = match (options.quick, files) {
                (true, _) => 1,
                (false, 1_000) => 9,
                (false, _) => 5,
            };
            let (mut own, mut git) = (Vec::new(), Vec::new());
            // One pair unmeasured: it warms the caches of both.
            for round in 0..=times {
                let pair = (through_git(&scratch, count), through_us(&scratch, count));
                if round > 0 {
                    git.push(pair.0);
                    own.push(pair.1);
                }
            }
            let (own, git) = (median(own), median(git));
            let plural = if count == 1 { "" } else { "s" };
            table.row(
                &format!("{count} worktree{plural} of {files} files"),
                &format!("{:.2}", own / git),
                &format!("`git worktree add` in a loop, {:.0} ms", git * 1e3),
                if count == 8 { "< 1" } else { "≤ 1" },
            );
        }
    }
}

fn through_git(scratch: &Scratch, count: usize) -> f64 {
    let begin = Instant::now();
    for n in 0..count {
        let (branch, folder) = (format!("bench/{n}"), scratch.path().join(format!("w/{n}")));
        let folder = folder.to_str().unwrap();
        // With the environment that this program's own git has.
        let status = Command::new("git")
            .current_dir(scratch.repo())
            .args(["worktree", "add", "--quiet", "-b", &branch, folder, "main"])
            .status()
            .unwrap();
        assert!(status.success());
    }
    let taken = begin.elapsed().as_secs_f64();
    clear(scratch);
    taken
}

fn through_us(scratch: &Scratch, count: usize) -> f64 {
    let repo = Repo::discover(&scratch.repo()).unwrap();
    let Ok(Head::Branch { oid, .. }) = repo.head() else {
        panic!("no branch is checked out");
    };
    let specs: Vec<WorktreeSpec> = (0..count)
        .map(|n| WorktreeSpec {
            path: scratch.path().join(format!("w/{n}")),
            branch: Some(BranchName::for_task(
                &TaskName::parse(&format!("t{n}")).unwrap(),
            )),
            at: oid.clone(),
        })
        .collect();
    let begin = Instant::now();
    repo.worktrees_add(&specs).unwrap();
    let taken = begin.elapsed().as_secs_f64();
    clear(scratch);
    taken
}

/// Takes worktrees and branches away again, and lets the disk come to rest.
fn clear(scratch: &Scratch) {
    std::fs::remove_dir_all(scratch.path().join("w")).unwrap();
    scratch.git(&["worktree", "prune"]);
    let script = "git for-each-ref --format='%(refname)' refs/heads/bench refs/heads/task | \
                  xargs -r -n1 git update-ref -d; sync";
    let status = scratch.command("sh").args(["-c", script]).status().unwrap();
    assert!(status.success());
}
