//! Runs of a thousand and of ten thousand tasks.

use super::large::{Job, SHAPES, play};
use crate::core::step::step;

#[test]
fn every_shape_comes_near_the_bound_and_breaks_nothing() {
    let mut ratios = Vec::new();
    for (seed, shape) in (1..).zip(SHAPES) {
        let job = Job::random(shape, 1_000, seed);
        for workers in [5, 20] {
            let facts = job.facts(|at| job.lengths[at]);
            let went = play(&job, facts, workers, step);
            let bound = job.bound(workers as usize);
            assert!(went.makespan >= bound, "{shape}: faster than can be");
            #[allow(clippy::cast_precision_loss, reason = "far from 2^53")]
            let ratio = went.makespan as f64 / bound as f64;
            assert!(ratio < 1.25, "{shape} with {workers}: {ratio}");
            ratios.push(ratio);
        }
    }
    let mean = ratios.iter().sum::<f64>() / 10.0;
    assert!(mean < 1.05, "{mean}: {ratios:?}");
}

#[test]
fn ten_thousand_tasks_take_ten_times_the_events_and_the_journal_of_one_thousand() {
    for shape in ["layered", "chains"] {
        let count = |tasks| {
            let job = Job::random(shape, tasks, 3);
            let facts = job.facts(|at| job.lengths[at]);
            let went = play(&job, facts, 20, step);
            (went.events, went.named)
        };
        let (few, many) = (count(1_000), count(10_000));
        assert!(many.0 < few.0 * 11, "{shape}: {few:?} {many:?} events");
        assert!(many.1 < few.1 * 12, "{shape}: {few:?} {many:?} named");
    }
}
