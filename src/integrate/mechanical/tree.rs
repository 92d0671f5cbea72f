//! Merging three versions of a document as trees of values.
//!
//! The order of keys has no meaning here, and neither have comments: whoever writes the
//! merged document looks after both.

use std::collections::{BTreeMap, BTreeSet};

/// A value of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Values by key.
    Table(Table),
    /// Values in an order that counts.
    Array(Vec<Node>),
    /// Anything else, written in one way only.
    Leaf(String),
}

/// Values by key.
pub(super) type Table = BTreeMap<String, Node>;

/// What a place in a document is, as far as merging is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A value; a table that both sides changed is merged key by key.
    Plain,
    /// A table of independent entries: one that both sides made is merged as well.
    Collection,
    /// As a collection, but the keys named are about one thing (where a dependency comes
    /// from): when both sides change some of them, nobody knows what was meant.
    Entry(&'static [&'static str]),
    /// An array in which only the presence of each text counts.
    Set,
    /// A set of requirements (`name[extra]>=1; marker`): what is said of one name is changed
    /// by one side only.
    Requirements,
    /// A value that is merged as a whole or not at all.
    Whole,
}

/// The place at which both sides want different things: its keys from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dispute(pub(super) Vec<String>);

/// Merges three versions of a document.
///
/// What one side changed is as that side has it; what both changed in the same way is so.
///
/// # Errors
/// The first place that both changed in different ways.
pub(super) fn merge(
    base: &Table,
    ours: &Table,
    theirs: &Table,
    place: &dyn Fn(&[&str]) -> Place,
) -> Result<Table, Dispute> {
    tables(&mut Vec::new(), base, ours, theirs, place)
}

fn tables<'a>(
    path: &mut Vec<&'a str>,
    base: &'a Table,
    ours: &'a Table,
    theirs: &'a Table,
    place: &dyn Fn(&[&str]) -> Place,
) -> Result<Table, Dispute> {
    let mut merged = Table::new();
    let new = theirs.keys().filter(|key| !ours.contains_key(*key));
    for key in ours.keys().chain(new) {
        path.push(key);
        let value = values(path, base.get(key), ours.get(key), theirs.get(key), place)?;
        path.pop();
        if let Some(value) = value {
            merged.insert(key.clone(), value);
        }
    }
    Ok(merged)
}

fn values<'a>(
    path: &mut Vec<&'a str>,
    base: Option<&'a Node>,
    ours: Option<&'a Node>,
    theirs: Option<&'a Node>,
    place: &dyn Fn(&[&str]) -> Place,
) -> Result<Option<Node>, Dispute> {
    static EMPTY: Table = Table::new();
    if ours == theirs || base == theirs {
        return Ok(ours.cloned());
    }
    if base == ours {
        return Ok(theirs.cloned());
    }
    let dispute = |path: &[&str]| Dispute(path.iter().map(|p| (*p).to_owned()).collect());
    let kind = place(path);
    match (base, ours, theirs) {
        _ if kind == Place::Whole => Err(dispute(path)),
        (base, Some(Node::Table(ours)), Some(Node::Table(theirs))) => {
            let base = match (base, kind) {
                (Some(Node::Table(base)), _) => base,
                (None, Place::Collection | Place::Entry(_)) => &EMPTY,
                _ => return Err(dispute(path)),
            };
            if let Place::Entry(together) = kind {
                let part = |table: &'a Table| -> Vec<Option<&'a Node>> {
                    together.iter().map(|key| table.get(*key)).collect()
                };
                let (base, ours, theirs) = (part(base), part(ours), part(theirs));
                if base != ours && base != theirs && ours != theirs {
                    return Err(dispute(path));
                }
            }
            tables(path, base, ours, theirs, place).map(|t| Some(Node::Table(t)))
        }
        (base, Some(Node::Array(ours)), Some(Node::Array(theirs)))
            if matches!(kind, Place::Set | Place::Requirements) =>
        {
            let base = match base {
                Some(Node::Array(base)) => base.as_slice(),
                None => &[],
                Some(_) => return Err(dispute(path)),
            };
            if kind == Place::Requirements && disagree(base, ours, theirs) {
                return Err(dispute(path));
            }
            sets(base, ours, theirs)
                .map(|set| Some(Node::Array(set)))
                .ok_or_else(|| dispute(path))
        }
        _ => Err(dispute(path)),
    }
}

/// Merges sets: in our order, what they added behind its neighbour there, or in order when
/// both sides are ordered. None when one of them is not a plain set of texts.
fn sets(base: &[Node], ours: &[Node], theirs: &[Node]) -> Option<Vec<Node>> {
    for side in [base, ours, theirs] {
        for (at, element) in side.iter().enumerate() {
            let Node::Leaf(text) = element else {
                return None;
            };
            // Twice the same: not a set. An exclusion: its place counts.
            let (before, _) = side.split_at(at);
            if before.contains(element) || text.starts_with("\"!") {
                return None;
            }
        }
    }
    let mut merged: Vec<Node> = ours
        .iter()
        .filter(|e| theirs.contains(e) || !base.contains(e))
        .cloned()
        .collect();
    for (at, element) in theirs.iter().enumerate() {
        if base.contains(element) || merged.contains(element) {
            continue;
        }
        let (before, _) = theirs.split_at(at);
        let neighbour = before.iter().rev().find_map(|b| position(&merged, b));
        merged.insert(behind(neighbour, &merged, theirs), element.clone());
    }
    if is_ordered(ours) && is_ordered(theirs) {
        merged.sort_by(|a, b| leaf(a).cmp(leaf(b)));
    }
    Some(merged)
}

/// Whether both sides changed what is said of one name, in different ways.
fn disagree(base: &[Node], ours: &[Node], theirs: &[Node]) -> bool {
    let said = |list: &[Node]| {
        let mut names = BTreeMap::<String, BTreeSet<String>>::new();
        for text in list.iter().map(leaf) {
            let name = text.trim_start_matches(['"', ' ']);
            let end = name.find(|c: char| !c.is_alphanumeric() && !"._-".contains(c));
            let name = name.get(..end.unwrap_or(name.len())).unwrap_or(name);
            // One name however it is written.
            let name = name.to_lowercase().replace(['_', '.'], "-");
            names.entry(name).or_default().insert(text.to_owned());
        }
        names
    };
    let (base, ours, theirs) = (said(base), said(ours), said(theirs));
    ours.keys().chain(theirs.keys()).any(|name| {
        let [base, ours, theirs] = [&base, &ours, &theirs].map(|side| side.get(name));
        base != ours && base != theirs && ours != theirs
    })
}

fn position<T: PartialEq>(list: &[T], element: &T) -> Option<usize> {
    list.iter().position(|e| e == element)
}

fn leaf(node: &Node) -> &str {
    match node {
        Node::Leaf(text) => text,
        _ => "",
    }
}

fn is_ordered(list: &[Node]) -> bool {
    list.iter().map(leaf).is_sorted()
}

/// Where a new key goes among those that are there: in order when these are in order, else
/// behind its nearest predecessor on the side that it comes from, else at the end.
pub(super) fn place_for(key: &str, there: &[&str], source: &[&str]) -> usize {
    if there.is_sorted() && (there.len() > 1 || source.is_sorted()) {
        return there.partition_point(|k| *k < key);
    }
    let own = source.iter().position(|k| *k == key).unwrap_or(0);
    let (before, _) = source.split_at(own);
    let neighbour = before.iter().rev().find_map(|k| position(there, k));
    behind(neighbour, there, source)
}

/// Behind a neighbour and what else is new there; at the end without one.
fn behind<T: PartialEq>(neighbour: Option<usize>, there: &[T], source: &[T]) -> usize {
    let Some(neighbour) = neighbour else {
        return there.len();
    };
    let after = there.iter().enumerate().skip(neighbour + 1);
    after
        .skip_while(|(_, other)| !source.contains(other))
        .map(|(at, _)| at)
        .next()
        .unwrap_or(there.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(text: &str) -> Node {
        Node::Leaf(format!("\"{text}\""))
    }

    fn table(entries: &[(&str, Node)]) -> Table {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect()
    }

    fn array(texts: &[&str]) -> Node {
        Node::Array(texts.iter().map(|t| leaf(t)).collect())
    }

    fn rules(path: &[&str]) -> Place {
        match path.last() {
            Some(&"deps") => Place::Collection,
            Some(&"set") => Place::Set,
            Some(&"whole") => Place::Whole,
            _ if path.len() == 2 && path.first() == Some(&"deps") => {
                Place::Entry(&["version", "path"])
            }
            _ => Place::Plain,
        }
    }

    #[test]
    fn each_side_adds_its_own_and_takes_away_what_the_other_left_alone() {
        let base = table(&[("a", leaf("1")), ("old", leaf("x")), ("b", leaf("1"))]);
        let ours = table(&[
            ("a", leaf("2")),
            ("old", leaf("x")),
            ("b", leaf("1")),
            ("o", leaf("o")),
        ]);
        let theirs = table(&[("a", leaf("1")), ("b", leaf("1")), ("t", leaf("t"))]);
        let merged = merge(&base, &ours, &theirs, &rules).unwrap();
        assert_eq!(
            merged,
            table(&[
                ("a", leaf("2")),
                ("b", leaf("1")),
                ("o", leaf("o")),
                ("t", leaf("t"))
            ])
        );
    }

    #[test]
    fn what_both_changed_differently_is_a_dispute_and_named() {
        let one = |value: Option<Node>| {
            let inner: Vec<(&str, Node)> = value.map(|v| ("k", v)).into_iter().collect();
            table(&[("t", Node::Table(table(&inner)))])
        };
        for (base, ours, theirs) in [
            (Some("1"), Some("2"), Some("3")),
            (None, Some("2"), Some("3")),
            (Some("1"), None, Some("3")),
            (Some("1"), Some("2"), None),
        ] {
            let side = |text: Option<&str>| one(text.map(leaf));
            assert_eq!(
                merge(&side(base), &side(ours), &side(theirs), &rules),
                Err(Dispute(vec!["t".into(), "k".into()]))
            );
        }
        let side = |texts: &[&str]| table(&[("list", array(texts))]);
        assert!(
            merge(
                &side(&["a"]),
                &side(&["a", "b"]),
                &side(&["a", "c"]),
                &rules
            )
            .is_err()
        );
    }

    #[test]
    fn a_table_that_both_made_is_merged_only_where_entries_are_independent() {
        let side =
            |section: &str, key: &str| table(&[(section, Node::Table(table(&[(key, leaf("1"))])))]);
        let none = Table::new();
        assert!(merge(&none, &side("deps", "a"), &side("deps", "b"), &rules).is_ok());
        assert!(merge(&none, &side("other", "a"), &side("other", "b"), &rules).is_err());
    }

    #[test]
    fn keys_that_belong_together_are_changed_by_one_side_only() {
        let entry = |entries: &[(&str, Node)]| {
            table(&[(
                "deps",
                Node::Table(table(&[("x", Node::Table(table(entries)))])),
            )])
        };
        let base = entry(&[("version", leaf("1"))]);
        let path = entry(&[("path", leaf("x"))]);
        let newer = entry(&[("version", leaf("2"))]);
        let more = entry(&[("version", leaf("1")), ("set", array(&["f"]))]);
        assert!(merge(&base, &path, &newer, &rules).is_err());
        assert_eq!(
            merge(&base, &newer, &more, &rules),
            Ok(entry(&[("version", leaf("2")), ("set", array(&["f"]))]))
        );
        assert!(merge(&Table::new(), &path, &newer, &rules).is_err());
    }

    #[test]
    fn sets_keep_their_order() {
        let sets = |base: &[&str], ours: &[&str], theirs: &[&str]| {
            let side = |texts: &[&str]| table(&[("set", array(texts))]);
            merge(&side(base), &side(ours), &side(theirs), &rules)
                .map(|t| t.get("set").cloned().unwrap())
        };
        for (base, ours, theirs, merged) in [
            (
                &["a", "c"][..],
                &["a", "b", "c"][..],
                &["a", "c", "d"][..],
                &["a", "b", "c", "d"][..],
            ),
            (
                &["z", "a"],
                &["z", "a", "o"],
                &["z", "t", "a"],
                &["z", "t", "a", "o"],
            ),
            (&["a", "b"], &["b", "c"], &["a"], &["c"]),
            (&[], &["x"], &["x", "y"], &["x", "y"]),
        ] {
            assert_eq!(sets(base, ours, theirs), Ok(array(merged)));
        }
        assert!(sets(&["a"], &["a", "a"], &["a", "b"]).is_err(), "not a set");
        assert!(
            sets(&["a"], &["a", "!b"], &["a", "c"]).is_err(),
            "exclusions"
        );
    }

    #[test]
    fn requirements_of_one_name_are_changed_by_one_side_only() {
        let merged = |base: &[&str], ours: &[&str], theirs: &[&str]| {
            let side = |texts: &[&str]| table(&[("list", array(texts))]);
            let rules = |_: &[&str]| Place::Requirements;
            merge(&side(base), &side(ours), &side(theirs), &rules)
                .map(|t| t.get("list").cloned().unwrap())
        };
        assert_eq!(
            merged(&["a>=1", "b"], &["a>=2", "b", "c[x]"], &["a>=1", "d ; os"]),
            Ok(array(&["a>=2", "c[x]", "d ; os"]))
        );
        for (base, ours, theirs) in [
            (&["a>=1"][..], &["a>=2"][..], &["a>=3"][..]),
            (&["a>=1"], &["a>=2"], &[]),
            (&[], &["a-b>=1"], &["A_b>=2"]),
            (&[], &["a"], &["a[x]"]),
        ] {
            assert!(merged(base, ours, theirs).is_err(), "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn what_counts_as_a_whole_is_not_mixed() {
        let side = |key: &str| table(&[("whole", Node::Table(table(&[(key, leaf("1"))])))]);
        assert!(merge(&side("a"), &side("b"), &side("c"), &rules).is_err());
        assert_eq!(
            merge(&side("a"), &side("a"), &side("c"), &rules),
            Ok(side("c"))
        );
    }

    #[test]
    fn new_keys_find_their_place() {
        assert_eq!(place_for("b", &["a", "c"], &["a", "b", "c"]), 1);
        assert_eq!(place_for("z", &["a", "c"], &["z"]), 2);
        assert_eq!(place_for("b", &["c", "a"], &["c", "b", "a"]), 1);
        assert_eq!(place_for("b", &["c", "a"], &["b"]), 2);
        assert_eq!(place_for("b", &[], &["b"]), 0);
        assert_eq!(place_for("a", &["b"], &["a", "b"]), 0);
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf = "[ab]{0,1}".prop_map(|t| leaf(&t));
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::btree_map("[a-c]|set|deps|whole", inner.clone(), 0..4)
                    .prop_map(Node::Table),
                prop::collection::vec(inner, 0..3).prop_map(Node::Array),
            ]
        })
    }

    fn document() -> impl Strategy<Value = Table> {
        prop::collection::btree_map("[a-c]|set|deps|whole", node(), 0..4)
    }

    /// Arrays as sets: which side's order wins depends on which side is ours.
    fn unordered(node: &Node) -> Node {
        match node {
            Node::Table(t) => {
                Node::Table(t.iter().map(|(k, v)| (k.clone(), unordered(v))).collect())
            }
            Node::Array(a) => {
                let mut all: Vec<Node> = a.iter().map(unordered).collect();
                all.sort_by_key(|n| format!("{n:?}"));
                Node::Array(all)
            }
            Node::Leaf(_) => node.clone(),
        }
    }

    proptest! {
        #[test]
        fn equal_and_untouched_sides(base in document(), side in document()) {
            prop_assert_eq!(merge(&base, &side, &side, &rules), Ok(side.clone()));
            prop_assert_eq!(merge(&base, &base, &side, &rules), Ok(side.clone()));
            prop_assert_eq!(merge(&base, &side, &base, &rules), Ok(side));
        }

        #[test]
        fn the_sides_can_be_exchanged(base in document(), a in document(), b in document()) {
            let one = merge(&base, &a, &b, &rules);
            let other = merge(&base, &b, &a, &rules);
            prop_assert_eq!(
                one.map(|t| unordered(&Node::Table(t))).ok(),
                other.map(|t| unordered(&Node::Table(t))).ok()
            );
        }

        #[test]
        fn no_key_of_either_side_is_lost_and_none_invented(
            base in document(), ours in document(), theirs in document()
        ) {
            if let Ok(merged) = merge(&base, &ours, &theirs, &rules) {
                for (side, other) in [(&ours, &theirs), (&theirs, &ours)] {
                    for (key, value) in side {
                        if !base.contains_key(key) {
                            prop_assert!(merged.contains_key(key), "{} was added", key);
                        } else if other.get(key) == base.get(key) {
                            prop_assert_eq!(merged.get(key), Some(value));
                        } else if !other.contains_key(key) {
                            // Taken away there, untouched here, or it were a dispute.
                            prop_assert!(!merged.contains_key(key));
                        }
                    }
                }
                for key in merged.keys() {
                    prop_assert!(ours.contains_key(key) || theirs.contains_key(key));
                }
            }
        }
    }
}
