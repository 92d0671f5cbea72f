//! Lock files as sets of pinned versions, so that a tool that mends one starts from what
//! both sides chose.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{ArrayOfTables, DocumentMut, Item};

/// Merges lock files that list `[[package]]` tables (Cargo, uv) as sets: what either side
/// pinned anew is in, what either side dropped is out, the rest is as in ours. Not a valid
/// lock file by itself, but one that its tool reads; none when one version is no such file.
pub(super) fn packages(base: Option<&str>, ours: &str, theirs: &str) -> Option<String> {
    let base = base.map_or(Some(BTreeSet::new()), |b| Some(pins(&b.parse().ok()?)))?;
    let mut merged: DocumentMut = ours.parse().ok()?;
    let theirs: DocumentMut = theirs.parse().ok()?;
    let their_pins = pins(&theirs);
    let our_pins = pins(&merged);
    let list = merged.get_mut("package")?.as_array_of_tables_mut()?;
    list.retain(|table| {
        let pin = Pin::of(table);
        their_pins.contains(&pin) || !base.contains(&pin)
    });
    for table in theirs.get("package")?.as_array_of_tables()? {
        let pin = Pin::of(table);
        if !our_pins.contains(&pin) && !base.contains(&pin) {
            let mut table = table.clone();
            table.set_position(None);
            list.push(table);
        }
    }
    Some(merged.to_string())
}

/// Whether a lock file pins something from elsewhere that the one before did not: a tool
/// that may not use the network takes what it has instead of what was pinned.
pub(super) fn repinned(before: &str, after: &str) -> bool {
    let (Ok(before), Ok(after)) = (before.parse(), after.parse()) else {
        return true;
    };
    let before = pins(&before);
    pins(&after)
        .iter()
        .any(|pin| pin.source.is_some() && !before.contains(pin))
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pin {
    name: String,
    version: String,
    /// None for what lies in the repository.
    source: Option<String>,
}

impl Pin {
    fn of(table: &toml_edit::Table) -> Self {
        let text = |key: &str| {
            table
                .get(key)
                .map(|item| item.to_string().trim().to_owned())
        };
        Self {
            name: text("name").unwrap_or_default(),
            version: text("version").unwrap_or_default(),
            source: text("source"),
        }
    }
}

fn pins(document: &DocumentMut) -> BTreeSet<Pin> {
    let list = document.get("package").and_then(Item::as_array_of_tables);
    list.into_iter()
        .flat_map(ArrayOfTables::iter)
        .map(Pin::of)
        .collect()
}

/// Merges `go.sum` files, which are sets of `MODULE VERSION HASH` lines; a line too many does
/// no harm. None when the sides disagree on a hash, or one is no such file.
pub(super) fn go_sum(base: Option<&str>, ours: &str, theirs: &str) -> Option<String> {
    let base = sums(base.unwrap_or_default())?;
    let (ours, theirs) = (sums(ours)?, sums(theirs)?);
    let mut merged = BTreeMap::new();
    for (key, hash) in ours.iter().chain(&theirs) {
        let (our, their) = (ours.get(key), theirs.get(key));
        if our.is_some() && their.is_some() && our != their {
            return None;
        }
        let dropped = base.contains_key(key) && (our.is_none() || their.is_none());
        if !dropped {
            merged.insert(key, hash);
        }
    }
    let lines = merged.iter();
    Some(
        lines
            .map(|((module, version), hash)| format!("{module} {version} {hash}\n"))
            .collect(),
    )
}

fn sums(text: &str) -> Option<BTreeMap<(&str, &str), &str>> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let (Some(module), Some(version), Some(hash), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return None;
        };
        let (kind, _) = hash.split_once(':')?;
        let known = sums.insert((module, version), hash);
        if kind != "h1" || known.is_some_and(|known| known != hash) {
            return None;
        }
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(entries: &[(&str, &str)]) -> String {
        let mut text = String::from("version = 4\n");
        for (name, version) in entries {
            text += &format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry\"\n"
            );
        }
        text
    }

    #[test]
    fn the_pins_of_both_sides_are_kept() {
        let base = lock(&[("a", "1.0.0"), ("b", "1.0.0"), ("c", "1.0.0")]);
        let ours = lock(&[
            ("a", "1.0.1"),
            ("b", "1.0.0"),
            ("c", "1.0.0"),
            ("o", "2.0.0"),
        ]);
        let theirs = lock(&[("a", "1.0.0"), ("b", "1.2.0"), ("t", "3.0.0")]);
        let merged = packages(Some(&base), &ours, &theirs).unwrap();
        let expected = lock(&[
            ("a", "1.0.1"),
            ("b", "1.2.0"),
            ("o", "2.0.0"),
            ("t", "3.0.0"),
        ]);
        assert_eq!(
            pins(&merged.parse().unwrap()),
            pins(&expected.parse().unwrap())
        );
        assert!(merged.starts_with("version = 4\n"));
        for broken in ["<<<<<<< ours", "package = 1", ""] {
            assert_eq!(packages(Some(&base), broken, &theirs), None, "{broken}");
            assert_eq!(packages(Some(&base), &ours, broken), None, "{broken}");
        }
    }

    #[test]
    fn another_version_than_pinned_is_noticed() {
        let before = lock(&[("a", "1.0.0"), ("b", "1.0.0")]);
        assert!(!repinned(&before, &lock(&[("a", "1.0.0")])));
        assert!(repinned(&before, &lock(&[("a", "1.0.1")])));
        let own = format!("{before}\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n");
        assert!(
            !repinned(&before, &own),
            "what lies in the repository is not pinned"
        );
        assert!(repinned(&before, "<<<<<<<"));
    }

    #[test]
    fn sums_of_go_are_a_set() {
        let base = "a v1.0.0 h1:A=\nold v1.0.0 h1:O=\n";
        let ours = "a v1.0.0 h1:A=\nold v1.0.0 h1:O=\nb v1.0.0/go.mod h1:B=\n";
        let theirs = "a v1.0.0 h1:A=\nc v1.0.0 h1:C=\n";
        assert_eq!(
            go_sum(Some(base), ours, theirs).as_deref(),
            Some("a v1.0.0 h1:A=\nb v1.0.0/go.mod h1:B=\nc v1.0.0 h1:C=\n")
        );
        let other = "a v1.0.0 h1:EVIL=\n";
        assert_eq!(go_sum(None, ours, other), None, "who is right?");
        for broken in ["a v1\n", "a v1 h1:A= x\n", "<<<<<<< ours\n", "a v1 z\n"] {
            assert_eq!(go_sum(None, broken, theirs), None, "{broken}");
        }
    }
}
