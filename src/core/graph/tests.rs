use proptest::prelude::*;

use super::*;

fn graph(len: usize, edges: &[(u32, u32)]) -> Graph {
    let edges = edges
        .iter()
        .map(|(a, b)| (TaskIx::new(*a), TaskIx::new(*b)));
    Graph::new(len, edges)
}

fn plain(list: &[TaskIx]) -> Vec<usize> {
    list.iter().map(|ix| ix.index()).collect()
}

fn plainer(lists: &[Vec<TaskIx>]) -> Vec<Vec<usize>> {
    lists.iter().map(|list| plain(list)).collect()
}

#[test]
fn a_diamond() {
    let graph = graph(
        5,
        &[
            (4, 0),
            (0, 1),
            (0, 2),
            (1, 3),
            (2, 3),
            (2, 3),
            (3, 3),
            (0, 9),
        ],
    );
    assert_eq!(plain(&graph.order()), [4, 0, 1, 2, 3]);
    assert_eq!(
        plainer(&graph.phases()),
        [vec![4], vec![0], vec![1, 2], vec![3]]
    );
    assert_eq!(plain(&graph.descendants(TaskIx::new(0))), [1, 2, 3]);
    assert_eq!(plain(&graph.ancestors(TaskIx::new(3))), [0, 1, 2, 4]);
    assert!(graph.waits_for(TaskIx::new(3), TaskIx::new(4)));
    assert!(!graph.waits_for(TaskIx::new(4), TaskIx::new(3)));
    assert_eq!(
        plain(&graph.ready(|ix| matches!(ix.index(), 0 | 4))),
        [1, 2]
    );
    let weights = [1, 5, 7, 1, 1];
    let chains = graph.remaining_chains(|ix| weights[ix.index()]);
    assert_eq!(chains, [9, 6, 8, 1, 10]);
    assert_eq!(plain(&graph.critical_path(&chains)), [4, 0, 2, 3]);
    assert_eq!(graph.cycles(), Vec::<Vec<TaskIx>>::new());
}

#[test]
fn nothing_at_all() {
    let none = graph(0, &[]);
    assert!(none.is_empty() && none.order().is_empty() && none.phases().is_empty());
    assert!(none.critical_path(&[]).is_empty() && none.cycles().is_empty());
}

#[test]
fn one_circle_of_each_knot() {
    // 0 needs 1, 1 needs 2, 2 needs 0 and 1; 3 waits behind; 4 and 5 need each other.
    let graph = graph(6, &[(1, 0), (2, 1), (0, 2), (1, 2), (0, 3), (5, 4), (4, 5)]);
    assert_eq!(plainer(&graph.cycles()), [vec![0, 1, 2], vec![4, 5]]);
    assert!(graph.order().is_empty());
}

#[test]
fn ten_thousand_tasks_in_one_chain_or_one_circle() {
    let len = 10_000;
    let mut edges: Vec<(u32, u32)> = (1..len).map(|n| (n - 1, n)).collect();
    let chain = graph(len as usize, &edges);
    assert_eq!(chain.phases().len(), len as usize);
    assert_eq!(chain.remaining_chains(|_| 1)[0], u64::from(len));
    assert!(chain.cycles().is_empty());
    edges.push((len - 1, 0));
    let circle = graph(len as usize, &edges);
    assert_eq!(circle.cycles().len(), 1);
    assert_eq!(circle.cycles()[0].len(), len as usize);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_phases_and_circles_fit_together(edges in prop::collection::vec((0..9_u32, 0..9_u32), 0..20)) {
        let graph = graph(9, &edges);
        let order = graph.order();
        let cycles = graph.cycles();
        prop_assert_eq!(order.len() == 9, cycles.is_empty());
        let place = |ix: TaskIx| order.iter().position(|at| *at == ix);
        for (before, after) in graph.edges() {
            if let Some(later) = place(after) {
                prop_assert!(place(before).is_some_and(|earlier| earlier < later));
            }
        }
        // Each circle is one, and no two share a task.
        let mut seen = std::collections::HashSet::new();
        for cycle in &cycles {
            for (n, ix) in cycle.iter().enumerate() {
                prop_assert!(seen.insert(*ix));
                let need = cycle[(n + 1) % cycle.len()];
                prop_assert!(graph.deps(*ix).contains(&need));
            }
            prop_assert_eq!(cycle.iter().min(), cycle.first());
        }
        if cycles.is_empty() {
            let levels = graph.levels();
            prop_assert_eq!(graph.phases().concat().len(), 9);
            for (before, after) in graph.edges() {
                prop_assert!(levels[before.index()] < levels[after.index()]);
            }
            let chains = graph.remaining_chains(|_| 1);
            let path = graph.critical_path(&chains);
            prop_assert_eq!(path.len(), graph.phases().len());
            for pair in path.windows(2) {
                prop_assert!(graph.dependents(pair[0]).contains(&pair[1]));
            }
        }
    }

    /// What is done grows from ready to ready until all is done: nothing starves.
    #[test]
    fn everything_gets_ready(edges in prop::collection::vec((0..9_u32, 0..9_u32), 0..20)) {
        let edges: Vec<_> = edges.into_iter().filter(|(a, b)| a < b).collect();
        let graph = graph(9, &edges);
        let mut done = [false; 9];
        for _ in 0..9 {
            let ready = graph.ready(|ix| done[ix.index()]);
            prop_assert!(!ready.is_empty());
            done[ready[0].index()] = true;
        }
        prop_assert!(graph.ready(|ix| done[ix.index()]).is_empty());
    }
}
