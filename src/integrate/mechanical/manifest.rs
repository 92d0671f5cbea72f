//! Manifests: what each place in them is, and merging three versions of one.

use super::tree::{self, Place, Table};
use super::{json_text, toml_text};

/// Manifests longer than this are left alone. Bytes.
pub(super) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// The manifests whose meaning is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manifest {
    /// `Cargo.toml`
    Cargo,
    /// `package.json`
    Npm,
    /// `pyproject.toml`
    Python,
}

/// Where a dependency of Cargo or Poetry comes from.
const SOURCE: &[&str] = &[
    "version",
    "path",
    "git",
    "branch",
    "tag",
    "rev",
    "registry",
    "registry-index",
    "package",
    "workspace",
    "url",
    "file",
    "source",
];

impl Manifest {
    /// The manifest that a file of this name is.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "Cargo.toml" => Some(Self::Cargo),
            "package.json" => Some(Self::Npm),
            "pyproject.toml" => Some(Self::Python),
            _ => None,
        }
    }

    /// What a place is.
    pub(super) fn place(self, path: &[&str]) -> Place {
        match self {
            Self::Cargo => cargo_place(path),
            Self::Npm => npm_place(path),
            Self::Python => python_place(path),
        }
    }

    /// Merges three versions; none for whatever is not certain. `start` is the text to
    /// change: git's own merge of the file with our lines where both sides changed some, so
    /// that what lies outside of the conflict is as git has it.
    pub(super) fn merge(
        self,
        base: Option<&[u8]>,
        ours: &[u8],
        theirs: &[u8],
        start: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        let base = base.map_or(Some((String::new(), None)), |b| {
            lines(b).map(|(text, ends)| (text, Some(ends)))
        })?;
        let (ours, our_ends) = lines(ours)?;
        let (theirs, their_ends) = lines(theirs)?;
        // Whoever changed the ends of lines wanted to.
        let ends = if base.1 == Some(our_ends) {
            their_ends
        } else {
            our_ends
        };
        let start = start.and_then(lines).map(|(text, _)| text);
        let place = |path: &[&str]| self.place(path);
        let (merge, read): (Writer, Reader) = match self {
            Self::Cargo | Self::Python => (toml_text::write, toml_text::read),
            Self::Npm => (json_text::write, json_text::read),
        };
        let old = match base.1 {
            Some(_) => read(&base.0, &place)?,
            None => Table::new(),
        };
        let merged =
            tree::merge(&old, &read(&ours, &place)?, &read(&theirs, &place)?, &place).ok()?;
        let text = [start.as_deref(), Some(&ours)]
            .into_iter()
            .flatten()
            .filter(|start| read(start, &place).is_some())
            .find_map(|start| {
                let text = merge(start, &merged, &ours, &theirs, &place)?;
                // Whatever went wrong on the way: a text that does not say exactly what was
                // merged, or lost a remark of one side, is none.
                (read(&text, &place).as_ref() == Some(&merged)
                    && (self == Self::Npm || keeps_remarks(&base.0, &ours, &theirs, &text)))
                .then_some(text)
            })?;
        Some(match ends {
            Ends::Lf => text.into_bytes(),
            Ends::CrLf => text.replace('\n', "\r\n").into_bytes(),
        })
    }
}

type Reader = fn(&str, &dyn Fn(&[&str]) -> Place) -> Option<Table>;
type Writer = fn(&str, &Table, &str, &str, &dyn Fn(&[&str]) -> Place) -> Option<String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Lf,
    CrLf,
}

/// A text with plain line ends, and which it had; none for what is no text or has both.
fn lines(content: &[u8]) -> Option<(String, Ends)> {
    let text = std::str::from_utf8(content).ok()?;
    if text.starts_with('\u{feff}') || text.contains('\0') {
        return None;
    }
    let carriage = text.matches('\r').count();
    if carriage == 0 {
        return Some((text.to_owned(), Ends::Lf));
    }
    let pairs = text.matches("\r\n").count();
    (pairs == carriage && pairs == text.matches('\n').count())
        .then(|| (text.replace("\r\n", "\n"), Ends::CrLf))
}

/// Whether every remark that a side added is in the merged text. What looks like one inside
/// of a value is taken for one as well, which never does harm.
fn keeps_remarks(base: &str, ours: &str, theirs: &str, merged: &str) -> bool {
    let remarks = |text: &str| {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for line in text.lines() {
            if let Some((_, remark)) = line.split_once('#') {
                *counts.entry(remark.trim().to_owned()).or_default() += 1;
            }
        }
        counts
    };
    let (base, merged) = (remarks(base), remarks(merged));
    [ours, theirs].into_iter().all(|side| {
        remarks(side).iter().all(|(remark, count)| {
            count <= base.get(remark).unwrap_or(&0) || count <= merged.get(remark).unwrap_or(&0)
        })
    })
}

fn cargo_place(path: &[&str]) -> Place {
    let is_dependencies = |holder: &[&str], section: &str| {
        matches!(holder, [] | ["workspace"] | ["target", _])
            && matches!(
                section,
                "dependencies"
                    | "dev-dependencies"
                    | "build-dependencies"
                    | "dev_dependencies"
                    | "build_dependencies"
            )
    };
    match path {
        []
        | ["features" | "workspace" | "patch" | "profile" | "lints" | "target" | "badges"]
        | ["patch" | "lints" | "target", _]
        | ["package" | "workspace", "metadata" | "lints"]
        | ["workspace", "lints", _] => Place::Collection,
        ["workspace", "members" | "exclude" | "default-members"] | ["features", _] => Place::Set,
        ["patch", _, _] => Place::Entry(SOURCE),
        [holder @ .., section] if is_dependencies(holder, section) => Place::Collection,
        [holder @ .., section, _] if is_dependencies(holder, section) => Place::Entry(SOURCE),
        [holder @ .., section, _, "features"] if is_dependencies(holder, section) => Place::Set,
        _ => Place::Plain,
    }
}

fn npm_place(path: &[&str]) -> Place {
    match path {
        []
        | [
            "dependencies"
            | "devDependencies"
            | "peerDependencies"
            | "peerDependenciesMeta"
            | "optionalDependencies"
            | "scripts"
            | "engines"
            | "bin"
            | "resolutions",
        ] => Place::Collection,
        ["workspaces" | "keywords" | "bundleDependencies" | "bundledDependencies"]
        | ["workspaces", "packages"] => Place::Set,
        // Conditions are tried in the order in which they are written.
        ["exports" | "imports" | "browser"] => Place::Whole,
        _ => Place::Plain,
    }
}

fn python_place(path: &[&str]) -> Place {
    let poetry = |rest: &[&str]| {
        matches!(
            rest,
            ["dependencies" | "dev-dependencies"] | ["group", _, "dependencies"]
        )
    };
    match path {
        []
        | ["dependency-groups" | "tool"]
        | [
            "project",
            "optional-dependencies" | "scripts" | "gui-scripts" | "urls",
        ]
        | ["tool", "uv", "sources"]
        | ["tool", "poetry", "scripts" | "extras" | "group"] => Place::Collection,
        ["project", "dependencies"]
        | ["project", "optional-dependencies", _]
        | ["dependency-groups", _] => Place::Requirements,
        ["project", "keywords" | "classifiers"] | ["tool", "uv", "workspace", "members"] => {
            Place::Set
        }
        ["tool", "poetry", rest @ ..] if poetry(rest) => Place::Collection,
        ["tool", "poetry", rest @ .., _] if poetry(rest) => Place::Entry(SOURCE),
        ["tool", "poetry", rest @ .., _, "extras"] if poetry(rest) => Place::Set,
        _ => Place::Plain,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CARGO: &str = "\
# The package.
[package]
name = \"app\"
version = \"0.1.0\"

[dependencies]
anyhow = \"1\" # errors
serde = { version = \"1\", features = [\"derive\"] }

[features]
default = [
    \"std\",
]
std = []
";

    fn merge(kind: Manifest, base: &str, ours: &str, theirs: &str) -> Option<String> {
        let base = base.as_bytes();
        kind.merge(Some(base), ours.as_bytes(), theirs.as_bytes(), None)
            .map(|m| String::from_utf8(m).unwrap())
    }

    fn cargo(ours: &[(&str, &str)], theirs: &[(&str, &str)]) -> Option<String> {
        merge(
            Manifest::Cargo,
            CARGO,
            &edit(CARGO, ours),
            &edit(CARGO, theirs),
        )
    }

    fn edit(text: &str, changes: &[(&str, &str)]) -> String {
        changes.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    }

    #[test]
    fn dependencies_of_both_sides_are_kept_in_order_with_their_remarks() {
        let merged = cargo(
            &[("serde =", "rand = \"0.9\"\nserde =")],
            &[
                (
                    "serde =",
                    "# For patterns.\nregex = { version = \"1\" } # slow\nserde =",
                ),
                ("[\"derive\"]", "[\"derive\", \"rc\"]"),
            ],
        );
        let expected = edit(
            CARGO,
            &[
                (
                    "serde =",
                    "rand = \"0.9\"\n# For patterns.\nregex = { version = \"1\" } # slow\nserde =",
                ),
                ("[\"derive\"]", "[\"derive\", \"rc\"]"),
            ],
        );
        assert_eq!(merged, Some(expected));
    }

    #[test]
    fn features_and_lists_are_sets() {
        let merged = cargo(
            &[
                ("    \"std\",\n", "    \"net\",\n    \"std\",\n"),
                ("[\"derive\"]", "[\"derive\", \"alloc\"]"),
                ("std = []", "std = []\nnet = []"),
            ],
            &[
                ("    \"std\",\n", "    \"std\",\n    \"tls\",\n"),
                ("[\"derive\"]", "[\"derive\", \"rc\"]"),
                ("std = []", "std = []\ntls = [\"std\"]"),
            ],
        )
        .unwrap();
        assert!(
            merged.contains("    \"net\",\n    \"std\",\n    \"tls\",\n]"),
            "{merged}"
        );
        assert!(
            merged.contains("features = [\"derive\", \"alloc\", \"rc\"] }"),
            "{merged}"
        );
        assert!(merged.contains("net = []") && merged.contains("tls = [\"std\"]"));
        assert!(merged.contains("anyhow = \"1\" # errors"));
    }

    #[test]
    fn a_new_section_of_one_side_is_put_in() {
        let merged = cargo(
            &[(
                "std = []\n",
                "std = []\n\n# Tests.\n[dev-dependencies]\ninsta = \"1\"\n",
            )],
            &[(
                "std = []\n",
                "std = []\n\n[profile.release]\nstrip = true\n",
            )],
        )
        .unwrap();
        let document: toml_edit::DocumentMut = merged.parse().unwrap();
        assert_eq!(document["dev-dependencies"]["insta"].as_str(), Some("1"));
        assert_eq!(
            document["profile"]["release"]["strip"].as_bool(),
            Some(true)
        );
        assert!(
            merged.contains("\n\n# Tests.\n[dev-dependencies]\n"),
            "{merged}"
        );
    }

    #[test]
    fn real_disputes_stay() {
        for (ours, theirs) in [
            (("\"0.1.0\"", "\"0.2.0\""), ("\"0.1.0\"", "\"0.3.0\"")),
            (
                ("anyhow = \"1\"", "anyhow = \"2\""),
                ("anyhow = \"1\" # errors\n", ""),
            ),
            (
                ("anyhow = \"1\"", "anyhow = { path = \"a\" }"),
                ("anyhow = \"1\"", "anyhow = { git = \"g\" }"),
            ),
            (
                ("serde =", "rand = \"0.8\"\nserde ="),
                ("serde =", "rand = \"0.9\"\nserde ="),
            ),
            // Not TOML any more.
            (
                ("serde =", "rand = \nserde ="),
                ("serde =", "regex = \"1\"\nserde ="),
            ),
            (
                ("serde =", "a = 1\na = 2\nserde ="),
                ("serde =", "regex = \"1\"\nserde ="),
            ),
        ] {
            assert_eq!(cargo(&[ours], &[theirs]), None, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn the_same_dependency_with_and_without_features_is_one() {
        let merged = cargo(
            &[("serde =", "rand = \"0.9\"\nserde =")],
            &[(
                "serde =",
                "rand = { version = \"0.9\", features = [\"small\"] }\nserde =",
            )],
        );
        let expected = edit(
            CARGO,
            &[(
                "serde =",
                "rand = { version = \"0.9\", features = [\"small\"] }\nserde =",
            )],
        );
        assert_eq!(merged, Some(expected));
    }

    #[test]
    fn a_remark_that_would_be_lost_keeps_the_conflict() {
        // Both change the value, in the same way, and each says why.
        let ours = (
            "anyhow = \"1\" # errors",
            "# Ours.\nanyhow = \"2\" # errors",
        );
        let theirs = (
            "anyhow = \"1\" # errors",
            "# Theirs.\nanyhow = \"2\" # errors",
        );
        assert_eq!(cargo(&[ours], &[theirs]), None);
    }

    const NPM: &str = "{\n  \"name\": \"app\",\n  \"scripts\": {\n    \"test\": \"node t.js\"\n  },\n  \
        \"dependencies\": {\n    \"a\": \"^1.0.0\",\n    \"m\": \"1\"\n  },\n  \"exports\": {\n    \
        \"import\": \"./a.mjs\"\n  },\n  \"version\": \"1.0.0\"\n}\n";

    fn npm(ours: &[(&str, &str)], theirs: &[(&str, &str)]) -> Option<String> {
        merge(Manifest::Npm, NPM, &edit(NPM, ours), &edit(NPM, theirs))
    }

    #[test]
    fn packages_of_both_sides_are_kept_in_order() {
        let merged = npm(
            &[
                ("    \"m\"", "    \"b\": \"2\",\n    \"m\""),
                ("\"node t.js\"", "\"node t.js\",\n    \"lint\": \"l\""),
            ],
            &[
                ("    \"m\"", "    \"c\": \"3\",\n    \"m\""),
                (
                    "\"node t.js\"",
                    "\"node t.js\",\n    \"fmt\": \"f \\u00e9\"",
                ),
                ("    \"a\": \"^1.0.0\",\n", ""),
            ],
        );
        let expected = edit(
            NPM,
            &[
                (
                    "    \"a\": \"^1.0.0\",\n    \"m\"",
                    "    \"b\": \"2\",\n    \"c\": \"3\",\n    \"m\"",
                ),
                (
                    "\"node t.js\"",
                    "\"node t.js\",\n    \"lint\": \"l\",\n    \"fmt\": \"f é\"",
                ),
            ],
        );
        assert_eq!(merged, Some(expected));
    }

    #[test]
    fn disputes_in_json_stay() {
        for (ours, theirs) in [
            (("1.0.0\"\n}", "1.1.0\"\n}"), ("1.0.0\"\n}", "2.0.0\"\n}")),
            // Conditions in an order that counts.
            (
                ("\"import\"", "\"node\": \"./n\",\n    \"import\""),
                ("\"import\"", "\"require\": \"./r\",\n    \"import\""),
            ),
            (
                ("\"m\": \"1\"", "\"m\": \"1\", \"m\": \"2\""),
                ("\"m\": \"1\"", "\"z\": \"1\""),
            ),
            (
                ("\"m\": \"1\"", "\"m\": \"1\","),
                ("\"m\": \"1\"", "\"z\": \"1\""),
            ),
            (
                ("\"m\": \"1\"", "\"m\": \"1\" // x"),
                ("\"m\": \"1\"", "\"z\": \"1\""),
            ),
        ] {
            assert_eq!(npm(&[ours], &[theirs]), None, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn tabs_and_missing_final_line_breaks_stay() {
        let base = "{\n\t\"dependencies\": {\n\t\t\"a\": \"1\"\n\t}\n}";
        let ours = base.replace("\"1\"", "\"1\",\n\t\t\"b\": \"1\"");
        let theirs = base.replace("\"1\"", "\"1\",\n\t\t\"c\": \"1\"");
        let expected = base.replace("\"1\"", "\"1\",\n\t\t\"b\": \"1\",\n\t\t\"c\": \"1\"");
        assert_eq!(merge(Manifest::Npm, base, &ours, &theirs), Some(expected));
    }

    #[test]
    fn requirements_of_python() {
        let base = "[project]\nname = \"x\"\ndependencies = [\n    \"idna>=3\", # names\n]\n\n\
            [tool.poetry.dependencies]\nidna = \"^3\"\n";
        let with = |line: &str, more: &str| {
            base.replace("# names\n", &format!("# names\n    {line},\n")) + more
        };
        let ours = with("\"six\"", "six = \"1\"\n");
        let theirs = with("\"toml>=0.10\"", "toml = { version = \"0.10\" }\n");
        let expected = "[project]\nname = \"x\"\ndependencies = [\n    \"idna>=3\", # names\n    \
            \"six\",\n    \"toml>=0.10\",\n]\n\n[tool.poetry.dependencies]\nidna = \"^3\"\n\
            six = \"1\"\ntoml = { version = \"0.10\" }\n";
        let merged = merge(Manifest::Python, base, &ours, &theirs);
        assert_eq!(merged.as_deref(), Some(expected));
        let other = base.replace("idna>=3", "idna>=4");
        let another = base.replace("idna>=3", "idna>=5");
        assert_eq!(merge(Manifest::Python, base, &other, &another), None);
    }

    #[test]
    fn both_made_the_manifest() {
        let ours = "[package]\nname = \"x\"\n\n[dependencies]\na = \"1\"\n";
        let theirs = "[package]\nname = \"x\"\n\n[dependencies]\nb = \"1\"\n";
        let made = Manifest::Cargo.merge(None, ours.as_bytes(), theirs.as_bytes(), None);
        let expected = "[package]\nname = \"x\"\n\n[dependencies]\na = \"1\"\nb = \"1\"\n";
        assert_eq!(made.as_deref(), Some(expected.as_bytes()));
        let other = theirs.replace("\"x\"", "\"y\"");
        let made = Manifest::Cargo.merge(None, ours.as_bytes(), other.as_bytes(), None);
        assert_eq!(made, None);
    }

    #[test]
    fn line_ends_are_those_of_whoever_changed_them() {
        let ours = edit(CARGO, &[("serde =", "rand = \"0.9\"\nserde =")]);
        let theirs = edit(CARGO, &[("serde =", "regex = \"1\"\nserde =")]);
        let merged = merge(Manifest::Cargo, CARGO, &ours, &theirs).unwrap();
        let crlf = |text: &str| text.replace('\n', "\r\n");
        for (base, ours, theirs, expected) in [
            (crlf(CARGO), crlf(&ours), crlf(&theirs), crlf(&merged)),
            (CARGO.into(), ours.clone(), crlf(&theirs), crlf(&merged)),
            (CARGO.into(), crlf(&ours), theirs.clone(), crlf(&merged)),
            (crlf(CARGO), ours.clone(), crlf(&theirs), merged.clone()),
        ] {
            assert_eq!(
                merge(Manifest::Cargo, &base, &ours, &theirs),
                Some(expected)
            );
        }
        let mixed = crlf(&ours).replacen("\r\n", "\n", 1);
        assert_eq!(merge(Manifest::Cargo, CARGO, &mixed, &theirs), None);
    }

    #[test]
    fn hostile_texts_are_no_manifests() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let wide = format!("a = {}1{}\n", "[".repeat(100_000), "]".repeat(100_000));
        for kind in [Manifest::Cargo, Manifest::Npm] {
            for hostile in [
                &b"\xff\xfe"[..],
                b"null",
                b"[]",
                b"\xef\xbb\xbf{}",
                b"{\"a\": 1}\0",
                deep.as_bytes(),
                wide.as_bytes(),
            ] {
                let good = match kind {
                    Manifest::Cargo | Manifest::Python => "b = 1\n",
                    Manifest::Npm => "{\"b\": 1}",
                };
                let made = kind.merge(Some(b"x = 3"), hostile, good.as_bytes(), Some(hostile));
                assert_eq!(made, None, "{:?}", hostile.get(..20.min(hostile.len())));
            }
        }
    }

    /// A few dependencies, in the forms that people write.
    fn dependencies() -> impl Strategy<Value = Vec<(String, u8)>> {
        prop::collection::btree_map("[a-f]", 0_u8..5, 0..5).prop_map(|m| m.into_iter().collect())
    }

    fn cargo_text(dependencies: &[(String, u8)]) -> String {
        let mut text = String::from("[package]\nname = \"x\"\n\n[dependencies]\n");
        for (name, form) in dependencies {
            let value = match form {
                0 => "\"1\"",
                1 => "{ version = \"1\", features = [\"x\"] }",
                2 => "{ version = \"1\", features = [\"y\", \"x\"], optional = true }",
                3 => "{ path = \"p\" } # local",
                _ => "\"2\"",
            };
            text += &format!("{name} = {value}\n");
        }
        text
    }

    fn npm_text(dependencies: &[(String, u8)]) -> String {
        let lines = dependencies.iter();
        let lines: Vec<String> = lines
            .map(|(n, v)| format!("    \"{n}\": \"{v}\""))
            .collect();
        format!(
            "{{\n  \"name\": \"x\",\n  \"dependencies\": {{\n{}\n  }}\n}}\n",
            lines.join(",\n")
        )
    }

    proptest! {
        #[test]
        fn merged_texts_say_what_was_merged(
            base in dependencies(), ours in dependencies(), theirs in dependencies()
        ) {
            for (kind, text) in [
                (Manifest::Cargo, cargo_text as fn(&[(String, u8)]) -> String),
                (Manifest::Npm, npm_text),
            ] {
                let (base, ours, theirs) = (text(&base), text(&ours), text(&theirs));
                let place = |path: &[&str]| kind.place(path);
                let read = match kind {
                    Manifest::Cargo | Manifest::Python => toml_text::read,
                    Manifest::Npm => json_text::read,
                };
                let trees = [&base, &ours, &theirs].map(|t| read(t, &place).unwrap());
                let expected = tree::merge(&trees[0], &trees[1], &trees[2], &place).ok();
                let merged = merge(kind, &base, &ours, &theirs);
                // Only a remark that would be lost may stand in the way.
                if !(kind == Manifest::Cargo && merged.is_none() && expected.is_some()) {
                    prop_assert_eq!(merged.as_ref().map(|m| read(m, &place).unwrap()), expected);
                }
                prop_assert_eq!(merge(kind, &base, &ours, &base), Some(ours.clone()));
                if let Some(taken) = merge(kind, &base, &base, &theirs) {
                    prop_assert_eq!(read(&taken, &place), read(&theirs, &place));
                }
            }
        }
    }
}
