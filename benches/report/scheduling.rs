//! The scheduler in virtual time: how near its runs come to what no order can beat, and
//! what an event costs in runs of a thousand and of ten thousand tasks.

use std::time::Instant;

use orchestra::core::step::step;

use super::large::{Job, Random, SHAPES, play};
use super::table::Table;
use super::{Options, median};

const WORKERS: [u32; 2] = [5, 20];

pub(crate) fn measure(options: &Options, table: &mut Table) {
    makespans(options, table);
    events(options, table);
}

fn makespans(options: &Options, table: &mut Table) {
    let seeds = if options.quick { 1 } else { 5 };
    for (what, noise) in [("exact estimates", 0), ("estimates off by up to half", 50)] {
        let mut all = Vec::new();
        for shape in SHAPES {
            let mut ratios = Vec::new();
            for seed in 1..=seeds {
                let job = Job::random(shape, 1_000, seed);
                let mut random = Random::new(seed + 99);
                let expected: Vec<u64> = job
                    .lengths
                    .iter()
                    .map(|length| {
                        let percent = 100 - noise + random.below(2 * noise + 1);
                        length * percent as u64 / 100
                    })
                    .collect();
                for workers in WORKERS {
                    let went = play(&job, job.facts(|at| expected[at]), workers, step);
                    ratios.push(went.makespan as f64 / job.bound(workers as usize) as f64);
                }
            }
            all.push((shape, mean(&ratios)));
        }
        let each: Vec<String> = all
            .iter()
            .map(|(shape, ratio)| format!("{shape} {ratio:.3}"))
            .collect();
        let ratios: Vec<f64> = all.iter().map(|(_, ratio)| *ratio).collect();
        table.row(
            &format!("makespan of 1,000 tasks in virtual time, {what}"),
            &format!("{:.3} ({})", mean(&ratios), each.join(", ")),
            "the longer of critical path and work shared by 5 or 20 workers",
            if noise == 0 { "≤ 1.05" } else { "" },
        );
    }
}

fn events(options: &Options, table: &mut Table) {
    for shape in ["layered", "chains"] {
        let time = |tasks: usize| {
            let job = Job::random(shape, tasks, 3);
            let times = (0..if options.quick { 1 } else { 3 }).map(|_| {
                let mut spent = 0.0;
                let facts = job.facts(|at| job.lengths[at]);
                let went = play(&job, facts, 20, |state, event, now| {
                    let begin = Instant::now();
                    let out = step(state, event, now);
                    spent += begin.elapsed().as_secs_f64();
                    out
                });
                spent / went.events as f64
            });
            median(times.collect())
        };
        let (few, many) = (time(1_000), time(10_000));
        table.row(
            &format!("an event of the state machine, {shape} graph of 10,000 tasks"),
            &format!("{:.2} ({:.1} µs)", many / few, many * 1e6),
            &format!("one of 1,000 tasks, {:.1} µs", few * 1e6),
            "< 2",
        );
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
