//! `orchestra status resources`: memory, CPU, disk, tokens and money.

use super::figures;
use super::machine::{Admitted, Machine};
use super::page::{Page, bytes, cell, cell_right, count, fit, money};
use super::snapshot::{Snapshot, TaskView};
use super::summary;

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Processor time against time, in percent of one CPU, over the present attempt.
#[must_use]
pub fn cpu_percent(snapshot: &Snapshot, task: &TaskView) -> Option<u64> {
    let cpu = task.instance()?.resources.cpu_ms?;
    let time = snapshot.taken_at.since(task.attempt_started_at?).0;
    (cpu * 100).checked_div(time)
}

/// The resources view.
#[must_use]
pub fn render(snapshot: &Snapshot, machine: &Machine, page: &Page) -> String {
    let mut text = summary::header(snapshot, page);
    text.push('\n');
    let name_width = snapshot
        .tasks
        .iter()
        .map(|t| t.name.as_str().len())
        .max()
        .unwrap_or(0)
        .clamp(8, page.width.saturating_sub(52).max(8));
    let row = |cells: [&str; 7]| {
        let [name, processes, memory, cpu, disk, tokens, cost] = cells;
        let widths = [5, 9, 6, 9, 9, 9];
        let mut line = cell(name, name_width);
        for (text, width) in [processes, memory, cpu, disk, tokens, cost]
            .into_iter()
            .zip(widths)
        {
            line.push(' ');
            line.push_str(&cell_right(text, width));
        }
        line
    };
    let head = row([
        "instance", "procs", "memory", "cpu", "disk", "tokens", "cost",
    ]);
    text.push_str(&page.strong(&fit(&head, page.width)));
    text.push('\n');
    let mut memory_sum: Option<u64> = None;
    let mut disk_sum: Option<u64> = None;
    for task in snapshot.rows() {
        let status = task.status.as_ref().filter(|_| task.attempts > 0);
        let resources = task
            .instance()
            .filter(|_| task.is_active())
            .map(|s| s.resources);
        let memory = resources.and_then(|r| r.memory_bytes);
        let disk = machine.worktrees.get(task.name.as_str()).copied();
        memory_sum = add(memory_sum, memory);
        disk_sum = add(disk_sum, disk);
        let cpu = task
            .is_active()
            .then(|| cpu_percent(snapshot, task))
            .flatten();
        let tokens = status.and_then(|s| s.tokens);
        let line = row([
            task.name.as_str(),
            &or_dash(resources.and_then(|r| r.processes).map(|n| n.to_string())),
            &or_dash(memory.map(bytes)),
            &or_dash(cpu.map(|n| format!("{n}%"))),
            &or_dash(disk.map(bytes)),
            &or_dash(tokens.map(|t| count(t.input + t.output + t.cache_creation + t.cache_read))),
            &or_dash(status.and_then(|s| s.cost_usd).map(money)),
        ]);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let totals = figures::totals(snapshot);
    let tokens = totals
        .tokens
        .map(|t| t.input + t.output + t.cache_creation + t.cache_read);
    let sum = row([
        "together",
        "",
        &or_dash(memory_sum.map(bytes)),
        "",
        &or_dash(disk_sum.map(bytes)),
        &or_dash(tokens.map(count)),
        &or_dash(totals.cost_usd.map(money)),
    ]);
    text.push_str(&page.strong(sum.trim_end()));
    text.push_str("\n\n");
    text.push_str(&system(machine, page));
    if let Some(budget) = &snapshot.budget {
        let label = page.faint(&format!("{:<11}", "budget"));
        text.push_str(&format!("{label}{}\n", budget.line()));
    }
    text
}

fn add(sum: Option<u64>, part: Option<u64>) -> Option<u64> {
    match (sum, part) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn system(machine: &Machine, page: &Page) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        text.push_str(&format!("{}{value}\n", page.faint(&format!("{label:<11}"))));
    };
    let unknown = || "?".to_owned();
    let figures = &machine.figures;
    if let Some(admitted) = &machine.admitted {
        let why = admitted.why.as_ref().map(|why| format!(": {why}"));
        let Admitted { slots, wanted, .. } = admitted;
        let why = why.unwrap_or_default();
        line("at once", format!("{slots} of {wanted}{why}"));
    }
    line(
        "memory",
        match (figures.memory_available, figures.memory_total) {
            (Some(free), Some(total)) => format!("{} free of {}", bytes(free), bytes(total)),
            _ => unknown(),
        },
    );
    line(
        "load",
        match (figures.load1, figures.cpus) {
            (Some(load), Some(cpus)) => format!("{load:.1} on {cpus} CPUs"),
            (Some(load), None) => format!("{load:.1}"),
            _ => unknown(),
        },
    );
    line(
        "disk",
        figures
            .disk_free
            .map_or_else(unknown, |n| format!("{} free", bytes(n))),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testkit::Sample;

    fn sample() -> (Snapshot, Machine) {
        let snapshot = Sample::of(&[
            ("database-schema", vec![]),
            ("api-endpoints", vec![0]),
            ("search", vec![]),
        ])
        .done("database-schema", 300)
        .working("api-endpoints", 90, None)
        .build();
        let machine = Machine {
            figures: crate::core::admission::Machine {
                memory_total: Some(16_000_000_000),
                memory_available: Some(9_500_000_000),
                load1: Some(1.5),
                cpus: Some(8.0),
                disk_free: Some(120_000_000_000),
                ..Default::default()
            },
            admitted: Some(Admitted {
                slots: 3,
                wanted: 5,
                why: Some("memory".to_owned()),
            }),
            worktrees: [("api-endpoints".to_owned(), 45_000_000)].into(),
        };
        (snapshot, machine)
    }

    #[test]
    fn at_80_columns() {
        let (snapshot, machine) = sample();
        insta::assert_snapshot!(render(&snapshot, &machine, &Page::new(80, false)), @r#"
        run-1  RUNNING  for 6m
        "Create frontend, build backend, setup database"

        instance        procs    memory    cpu      disk    tokens      cost
        database-schema     -         -      -         -     54.6k     $0.25
        api-endpoints       3    210 MB     5%     45 MB     54.6k     $0.25
        search              -         -      -         -         -         -
        together                 210 MB            45 MB    109.2k     $0.50

        at once    3 of 5: memory
        memory     9.5 GB free of 16 GB
        load       1.5 on 8 CPUs
        disk       120 GB free
        "#);
    }

    #[test]
    fn what_was_not_measured_is_shown_as_unknown() {
        let (snapshot, _) = sample();
        let text = render(&snapshot, &Machine::default(), &Page::new(160, false));
        insta::assert_snapshot!(text, @r#"
        run-1  RUNNING  for 6m
        "Create frontend, build backend, setup database"

        instance        procs    memory    cpu      disk    tokens      cost
        database-schema     -         -      -         -     54.6k     $0.25
        api-endpoints       3    210 MB     5%         -     54.6k     $0.25
        search              -         -      -         -         -         -
        together                 210 MB                -    109.2k     $0.50

        memory     ?
        load       ?
        disk       ?
        "#);
    }
}
