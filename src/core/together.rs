//! Which files change together, by the commits of the past: whoever changes one of them will
//! probably change the other, so that one task should have both.

use std::cmp::Reverse;
use std::collections::HashMap;

/// A commit of more files is a sweep through everything and says nothing about pairs.
const SWEEP: usize = 20;

/// A pair that changed together less often is chance.
const OFTEN: usize = 3;

/// Two files and how often commits changed both.
pub type Pair<'a> = (&'a str, &'a str, usize);

/// The pairs that changed together most often, at most `most` of them: those of which more than
/// half of the changes to the rarer file came with the other. Most often first, then by name.
///
/// - `changes`: the paths that each commit changed.
#[must_use]
pub fn together(changes: &[Vec<String>], most: usize) -> Vec<Pair<'_>> {
    let mut single: HashMap<&str, usize> = HashMap::new();
    let mut both: HashMap<(&str, &str), usize> = HashMap::new();
    for commit in changes {
        let mut paths: Vec<&str> = commit.iter().map(String::as_str).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in &paths {
            *single.entry(path).or_default() += 1;
        }
        if paths.len() > SWEEP {
            continue;
        }
        for (at, one) in paths.iter().enumerate() {
            for other in paths.iter().skip(at + 1) {
                *both.entry((one, other)).or_default() += 1;
            }
        }
    }
    let count = |path: &str| single.get(path).copied().unwrap_or(0);
    let mut pairs: Vec<Pair<'_>> = both
        .into_iter()
        .filter(|((one, other), times)| *times >= OFTEN && times * 2 > count(one).min(count(other)))
        .map(|((one, other), times)| (one, other, times))
        .collect();
    pairs.sort_unstable_by_key(|(one, other, times)| (Reverse(*times), *one, *other));
    pairs.truncate(most);
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_change_together_are_found_and_chance_is_not() {
        let commit = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
        let sweep: Vec<String> = (0..30).map(|n| format!("f{n}")).collect();
        let mut changes = vec![
            commit("api.rs schema.json"),
            commit("api.rs schema.json docs.md"),
            commit("schema.json api.rs"),
            commit("api.rs"),
            commit("README.md api.rs"),
            commit("README.md docs.md"),
        ];
        changes.extend([sweep.clone(), sweep.clone(), sweep]);
        assert_eq!(together(&changes, 5), [("api.rs", "schema.json", 3)]);
        assert_eq!(together(&changes, 0), []);
        // A file that changes with nearly everything is bound to nothing by that.
        let busy: Vec<Vec<String>> = (0..40)
            .map(|n| vec!["CHANGELOG.md".to_owned(), format!("src/{}.rs", n % 8)])
            .collect();
        let found = together(&busy, 3);
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
