//! From the command to the delivered result, against the time that the agents need on the
//! longest chain: no scheduler can be faster than that.

use serde_json::json;

use super::processes::{self, Usage};
use super::scratch::Scratch;
use super::table::Table;
use super::{Options, median};

/// Files in the repository.
const FILES: usize = 200;

/// The graph of five tasks on four levels.
const CHAIN: &[(&str, &[&str])] = &[
    ("database-schema", &[]),
    ("api-endpoints", &["database-schema"]),
    ("frontend-components", &["api-endpoints"]),
    ("documentation", &["api-endpoints", "frontend-components"]),
    ("testing", &["api-endpoints", "frontend-components"]),
];

pub(crate) fn measure(options: &Options, table: &mut Table) {
    let mut seconds = vec![2];
    if options.long {
        seconds.push(10);
    }
    for seconds in seconds {
        let aim = if seconds < 10 { "≤ 1.03" } else { "≤ 1.01" };
        for count in [3, 5, 10] {
            let names: Vec<String> = (1..=count).map(|n| format!("part-{n}")).collect();
            let tasks: Vec<(&str, &[&str])> =
                names.iter().map(|name| (name.as_str(), &[] as _)).collect();
            let what = format!("{count} independent tasks of {seconds} s");
            one(options, table, &what, &tasks, 1, seconds, aim);
        }
        let what = format!("five tasks on four levels of {seconds} s");
        one(options, table, &what, CHAIN, 4, seconds, aim);
    }
}

fn one(
    options: &Options,
    table: &mut Table,
    what: &str,
    tasks: &[(&str, &[&str])],
    levels: u32,
    seconds: u32,
    aim: &str,
) {
    let times = if options.quick || seconds > 2 { 1 } else { 3 };
    let bound = f64::from(levels * seconds);
    let usages: Vec<Usage> = (0..times).map(|_| run(options, tasks, seconds)).collect();
    let middle = |of: &dyn Fn(&Usage) -> f64| median(usages.iter().map(of).collect());
    let wall = middle(&|u| u.wall);
    table.row(
        &format!("makespan, {what}"),
        &format!("{:.3}", wall / bound),
        &format!("the agents' own {bound} s on the longest chain"),
        aim,
    );
    table.row(
        &format!("CPU and memory, {what}"),
        &format!(
            "{:.2} CPU-s, {:.0} MB",
            middle(&|u| u.cpu),
            middle(&|u| u.memory as f64) / 1e6
        ),
        "all processes with git; PSS of all of Orchestra's at the peak",
        if levels == 4 {
            "< 0.38 CPU-s, < 26 MB"
        } else {
            ""
        },
    );
}

/// One run, everything included: plan, worktrees, instances, merge, delivery.
pub(crate) fn run(options: &Options, tasks: &[(&str, &[&str])], seconds: u32) -> Usage {
    let scratch = Scratch::with_files(FILES);
    let plan = json!({"tasks": tasks.iter().map(|(name, needs)| json!({
        "name": name, "type": "feature", "prompt": "Write it.", "dependencies": needs,
        "files": [format!("{name}.txt")],
    })).collect::<Vec<_>>()});
    let play = tasks.iter().map(|(name, _)| {
        let steps = json!({"steps": [
            {"sleep_ms": seconds * 1000},
            {"write": {"path": format!("{name}.txt"), "text": "done\n"}},
            {"commit": format!("Add {name}")},
            {"say": "Written and committed."},
        ]});
        ((*name).to_owned(), steps)
    });
    let script = json!({"schemaVersion": 1, "tasks": play.collect::<serde_json::Map<_, _>>()});
    let plan = scratch.write("plan.json", &plan.to_string());
    let script = scratch.write("script.json", &script.to_string());
    let mut command = scratch.command(&options.program);
    command
        .args(["run", "--agent", "scripted", "--max-workers"])
        .arg(tasks.len().to_string())
        .arg("--tasks")
        .arg(plan)
        .arg("--script")
        .arg(script)
        .stdout(std::process::Stdio::null());
    let usage = processes::run(&mut command, &options.program);
    for (name, _) in tasks {
        let file = scratch.repo().join(format!("{name}.txt"));
        assert!(file.is_file(), "{} was not delivered", file.display());
    }
    usage
}
