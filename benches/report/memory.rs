//! Memory of each background process while five instances run.

use super::table::Table;
use super::{Options, makespan};

pub(crate) fn measure(options: &Options, table: &mut Table) {
    let names: Vec<String> = (1..=5).map(|n| format!("part-{n}")).collect();
    let tasks: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[] as _)).collect();
    let usage = makespan::run(options, &tasks, 3);
    for (role, name) in [("conduct", "conductor"), ("supervise", "supervisor")] {
        table.row(
            &format!("memory of a {name}, five instances"),
            &{
                let (pss, private) = usage.memory_of.get(role).copied().unwrap_or_default();
                format!(
                    "{:.1} MB (private {:.1} MB)",
                    pss as f64 / 1e6,
                    private as f64 / 1e6
                )
            },
            &format!(
                "PSS, the largest of {} at its peak",
                usage.instances.get(role).copied().unwrap_or_default()
            ),
            "< 10 MB",
        );
    }
}
