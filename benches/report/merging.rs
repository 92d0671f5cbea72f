//! Bringing many branches together, against `git merge` in a loop in a checkout.

use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use orchestra::core::id::{BranchName, Oid, TaskName};
use orchestra::core::record::DeliveryStyle;
use orchestra::git::Repo;
use orchestra::integrate::{LinkHow, Linked, MergeTask, link};

use super::scratch::Scratch;
use super::table::Table;
use super::{Options, median};

const FILES: usize = 1_000;

pub(crate) fn measure(options: &Options, table: &mut Table) {
    let scratch = Scratch::with_files(FILES);
    let times = if options.quick { 1 } else { 9 };
    for count in [10, 50] {
        let heads = branches(&scratch, count);
        let (mut own, mut git) = (Vec::new(), Vec::new());
        // One pair unmeasured: it warms the caches of both.
        for round in 0..=times {
            let pair = (through_git(&scratch, &heads), through_us(&scratch, &heads));
            assert_eq!(pair.0.1, pair.1.1, "both come to the same files");
            if round > 0 {
                git.push(pair.0.0);
                own.push(pair.1.0);
            }
        }
        let (own, git) = (median(own), median(git));
        table.row(
            &format!("merging {count} disjoint branches, delivered"),
            &format!("{:.2}", own / git),
            &format!("`git merge` in a loop in a checkout, {:.0} ms", git * 1e3),
            "< 1",
        );
    }
}

/// Branches that change a file each and add another one.
fn branches(scratch: &Scratch, count: usize) -> Vec<Oid> {
    let mut script = String::new();
    for n in 0..count {
        let at = n * FILES / count;
        script.push_str(&format!(
            "commit refs/heads/bench/{n}\nmark :{}\ncommitter Bench <b@x> 1700000000 +0000\n\
             data 5\nwork\nfrom refs/heads/main\n",
            n + 1
        ));
        for path in [
            format!("src/part-{}/file-{at}.rs", at / 50),
            format!("src/new-{n}.rs"),
        ] {
            let text = format!("// done {n}\n{}", "let it = be();\n".repeat(40));
            script.push_str(&format!(
                "M 100644 inline {path}\ndata {}\n{text}\n",
                text.len()
            ));
        }
    }
    let mut child = scratch
        .command("git")
        .args(["fast-import", "--quiet", "--force"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    (0..count)
        .map(|n| said(scratch, &format!("bench/{n}")))
        .collect()
}

fn said(scratch: &Scratch, rev: &str) -> Oid {
    let output = scratch
        .command("git")
        .args(["rev-parse", rev])
        .output()
        .unwrap();
    Oid::parse(std::str::from_utf8(&output.stdout).unwrap().trim()).unwrap()
}

/// The time, and the tree that the base branch has then.
fn through_git(scratch: &Scratch, heads: &[Oid]) -> (f64, Oid) {
    let begin = Instant::now();
    for head in heads {
        let status = scratch
            .command("git")
            .args(["merge", "--quiet", "--no-ff", "-m", "merged", head.as_str()])
            .status()
            .unwrap();
        assert!(status.success());
    }
    let taken = begin.elapsed().as_secs_f64();
    (taken, clear(scratch, heads.len()))
}

fn through_us(scratch: &Scratch, heads: &[Oid]) -> (f64, Oid) {
    let tasks: Vec<MergeTask> = heads
        .iter()
        .enumerate()
        .map(|(n, head)| MergeTask {
            name: TaskName::parse(&format!("t{n}")).unwrap(),
            start: head.clone(),
            head: head.clone(),
            needs: Vec::new(),
            title: "Work".to_owned(),
            summary: "Did it.".to_owned(),
        })
        .collect();
    let branch = BranchName::parse("main").unwrap();
    let begin = Instant::now();
    let repo = Repo::discover(&scratch.repo()).unwrap();
    let base = repo.branch_tip(&branch).unwrap().unwrap();
    let how = LinkHow::new(&branch, DeliveryStyle::Merge);
    let mut tip = base.clone();
    for task in &tasks {
        match link(&repo, &tip, task, &how).unwrap() {
            Linked::Commit(commit) => tip = commit,
            other => panic!("{other:?}"),
        }
    }
    repo.deliver(&branch, &base, &tip).unwrap();
    let taken = begin.elapsed().as_secs_f64();
    (taken, clear(scratch, heads.len()))
}

/// The tree of the base branch, which is put back to where it was.
fn clear(scratch: &Scratch, count: usize) -> Oid {
    let tree = said(scratch, "main^{tree}");
    scratch.git(&["reset", "--quiet", "--hard", &format!("main~{count}")]);
    // Nothing that was written this time is to be there next time.
    scratch.git(&["update-ref", "-d", "ORIG_HEAD"]);
    scratch.git(&["reflog", "expire", "--expire=now", "--all"]);
    scratch.git(&["prune", "--expire=now"]);
    scratch.git(&["status", "--short"]);
    tree
}
