//! What the merge queue adds to the time of the verify command: from the end of the last task
//! to the delivered result, against `git merge` in a loop and the same command.

use std::time::Instant;

use orchestra::core::record::{QueueResult, QueueWork, Record};
use orchestra::store::journal;
use orchestra::store::layout::Layout;
use serde_json::json;

use super::scratch::Scratch;
use super::table::Table;
use super::{Options, median};

/// Files in the repository.
const FILES: usize = 200;
const TASKS: usize = 10;
/// How long the verify command takes on a merged tree, seconds.
const VERIFY: f64 = 0.2;

pub(crate) fn measure(options: &Options, table: &mut Table) {
    let times = if options.quick { 1 } else { 5 };
    let own = median((0..times).map(|_| through_us(options)).collect());
    let git = median((0..times).map(|_| through_git()).collect());
    table.row(
        &format!("integrating {TASKS} finished tasks, apart from verify time"),
        &format!("{:.2}, {:.0} ms", own / git, own * 1e3),
        &format!("`git merge` in a loop in a checkout, {:.0} ms", git * 1e3),
        "",
    );
}

/// From the end of the last task to the delivery, without the time of the verify command.
fn through_us(options: &Options) -> f64 {
    let scratch = Scratch::with_files(FILES);
    let names: Vec<String> = (0..TASKS).map(|n| format!("part-{n}")).collect();
    let plan = json!({"tasks": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    let play = names.iter().map(|name| {
        let steps = json!({"steps": [
            {"write": {"path": format!("{name}.txt"), "text": "done\n"}},
            {"commit": format!("Add {name}")},
        ]});
        (name.clone(), steps)
    });
    let script = json!({"schemaVersion": 1, "tasks": play.collect::<serde_json::Map<_, _>>()});
    let plan = scratch.write("plan.json", &plan.to_string());
    let script = scratch.write("script.json", &script.to_string());
    let verify = format!("case \"$PWD\" in *_verify-*) sleep {VERIFY};; esac");
    let status = scratch
        .command(&options.program)
        .env("ORCHESTRA_MERGE_EARLY", "false")
        .args(["run", "--agent", "scripted", "--verify", &verify])
        .args(["--max-workers", &TASKS.to_string(), "--tasks"])
        .arg(plan)
        .arg("--script")
        .arg(script)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let run = Layout::new(&scratch.repo()).runs().remove(0);
    let lines = journal::read(&run.journal()).unwrap();
    let last = |is: fn(&Record) -> bool| {
        let line = lines.iter().rev().find(|line| is(&line.entry));
        line.expect("the run was integrated").at
    };
    let begin = last(|r| matches!(r, Record::AttemptEnded { .. }));
    let end = last(|r| {
        matches!(
            r,
            Record::QueueEnded {
                result: QueueResult::Delivered
            }
        )
    });
    let verified = lines.iter().filter(|line| {
        matches!(
            line.entry,
            Record::QueueStarted {
                work: QueueWork::Verify { .. }
            }
        )
    });
    end.since(begin).duration().as_secs_f64() - VERIFY * verified.count() as f64
}

/// The same results merged in the checkout; the command is started and its time taken off.
fn through_git() -> f64 {
    let scratch = Scratch::with_files(FILES);
    for n in 0..TASKS {
        scratch.git(&["checkout", "--quiet", "-b", &format!("part-{n}"), "main"]);
        std::fs::write(scratch.repo().join(format!("part-{n}.txt")), "done\n").unwrap();
        scratch.git(&["add", "--all"]);
        scratch.git(&["commit", "--quiet", "--message", "Add it"]);
    }
    scratch.git(&["checkout", "--quiet", "main"]);
    let begin = Instant::now();
    for n in 0..TASKS {
        let branch = format!("part-{n}");
        scratch.git(&["merge", "--quiet", "--no-ff", "-m", "merged", &branch]);
    }
    let verify = format!("sleep {VERIFY}");
    let status = scratch.command("sh").args(["-c", &verify]).status();
    assert!(status.unwrap().success());
    begin.elapsed().as_secs_f64() - VERIFY
}
