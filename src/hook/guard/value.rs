//! What a word comes to, as far as that can be known without running anything.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::paths::Bounds;

/// A part of what a word comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seg {
    /// This text.
    Text(String),
    /// A pattern for file names.
    Glob(String),
    /// Some text without a slash: a number, a date, the name of a file in a folder.
    Atom,
    /// A path, or several, of files below the folder, or of those that were made for
    /// temporary files.
    Below,
    /// Anything.
    Unknown,
}

/// One word after all expansion.
pub type Field = Vec<Seg>;

/// Most values that are followed for one word; with more it is unknown.
pub const MAX_FIELDS: usize = 400;

/// A field of known text.
#[must_use]
pub fn text(text: &str) -> Field {
    vec![Seg::Text(text.to_owned())]
}

/// The text of a field, when all of it is known.
#[must_use]
pub fn known(field: &[Seg]) -> Option<String> {
    field
        .iter()
        .map(|seg| match seg {
            Seg::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// The text that a field begins with, up to what is not known.
#[must_use]
pub fn beginning(field: &[Seg]) -> String {
    let mut all = String::new();
    for seg in field {
        match seg {
            Seg::Text(text) => all.push_str(text),
            _ => break,
        }
    }
    all
}

/// As it is shown to the instance.
#[must_use]
pub fn shown(field: &[Seg]) -> String {
    field
        .iter()
        .map(|seg| match seg {
            Seg::Text(text) | Seg::Glob(text) => text.as_str(),
            Seg::Atom | Seg::Below | Seg::Unknown => "…",
        })
        .collect()
}

/// A field without its first characters, when those are known.
#[must_use]
pub fn strip(field: &[Seg], prefix: &str) -> Option<Field> {
    let Some(Seg::Text(first)) = field.first() else {
        return None;
    };
    let rest = first.strip_prefix(prefix)?;
    let mut stripped = field.to_vec();
    stripped[0] = Seg::Text(rest.to_owned());
    Some(stripped)
}

/// A field in two at a character of its known beginning.
#[must_use]
pub fn split_once(field: &[Seg], at: char) -> Option<(String, Field)> {
    let Some(Seg::Text(first)) = field.first() else {
        return None;
    };
    let (before, after) = first.split_once(at)?;
    let mut rest = field.to_vec();
    rest[0] = Seg::Text(after.to_owned());
    Some((before.to_owned(), rest))
}

/// Where a path can lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// To one of these, all of them real.
    At(Vec<PathBuf>),
    /// Somewhere below the instance's own places.
    Inside,
    /// Nobody knows.
    Unknown,
}

/// Where a field leads from a folder; nothing for the folder means that it is not known.
#[must_use]
pub fn resolve(field: &[Seg], cwd: Option<&Path>, bounds: &Bounds) -> Where {
    if let Some(text) = known(field) {
        return match cwd {
            _ if text.starts_with('/') => {
                Where::At(vec![bounds.resolve_plain(&text, "/".as_ref())])
            }
            Some(cwd) => Where::At(vec![bounds.resolve_plain(&text, cwd)]),
            None => Where::Unknown,
        };
    }
    if field.contains(&Seg::Unknown) {
        return Where::Unknown;
    }
    if field.contains(&Seg::Below) {
        // What comes before and after must not lead up.
        let before = beginning(field);
        let clean = field.iter().all(|seg| match seg {
            Seg::Text(text) | Seg::Glob(text) => !text.contains(".."),
            _ => true,
        });
        let base = if before.starts_with('/') {
            Some(Path::new("/"))
        } else {
            cwd
        };
        return match base {
            Some(base) if clean => {
                let folder = before.rfind('/').map_or("", |at| &before[..=at]);
                let at = bounds.resolve_plain(folder, base);
                // A path below is below wherever it is told from, unless text stands in front.
                if before.is_empty() || bounds.is_own(&at) {
                    Where::Inside
                } else {
                    Where::Unknown
                }
            }
            _ => Where::Unknown,
        };
    }
    // Patterns and atoms: each component on its own.
    let mut written = String::new();
    for seg in field {
        match seg {
            Seg::Text(text) => written.extend(text.chars().map(|c| match c {
                '*' => '\u{1}',
                '?' => '\u{2}',
                '[' => '\u{3}',
                c => c,
            })),
            Seg::Glob(text) => written.push_str(text),
            _ => written.push('\u{4}'),
        }
    }
    let mut at = match cwd {
        _ if written.starts_with('/') => vec![PathBuf::from("/")],
        Some(cwd) => vec![bounds.resolve_plain("", cwd)],
        None => return Where::Unknown,
    };
    for component in written.split('/').filter(|c| !c.is_empty()) {
        let mut next = Vec::new();
        for folder in &at {
            if component.contains(['*', '?', '[']) {
                let Some(names) = matching(folder, component) else {
                    return Where::Unknown;
                };
                // Without a match the shell leaves the pattern as it is.
                next.push(folder.join("pattern"));
                next.extend(names.iter().map(|name| bounds.resolve_plain(name, folder)));
            } else {
                let name: String = component
                    .chars()
                    .map(|c| match c {
                        '\u{1}' => '*',
                        '\u{2}' => '?',
                        '\u{3}' => '[',
                        c => c,
                    })
                    .collect();
                next.push(bounds.resolve_plain(&name, folder));
            }
            if next.len() > MAX_FIELDS * 4 {
                return Where::Unknown;
            }
        }
        next.sort();
        next.dedup();
        at = next;
    }
    Where::At(at)
}

/// Names in a folder that a pattern may mean: too many rather than too few. Nothing when there
/// are too many to look at.
fn matching(folder: &Path, pattern: &str) -> Option<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Some(Vec::new());
    };
    let mut names = Vec::new();
    for (count, entry) in entries.flatten().enumerate() {
        if count > 20_000 {
            return None;
        }
        // Only links can lead elsewhere than the folder itself does, and only folders lead on.
        let kind = entry.file_type().ok();
        if kind.is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let pattern: String = pattern
            .chars()
            .map(|c| if c == '\u{4}' { '*' } else { c })
            .collect();
        if wild(&pattern, &name) {
            names.push(name);
        }
    }
    (names.len() <= MAX_FIELDS).then_some(names)
}

/// Whether a name matches a pattern; a `[` stands for any text, which is too much.
#[must_use]
pub fn wild(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = match pattern.find('[') {
        Some(at) => pattern[..at].chars().chain(['*']).collect(),
        None => pattern.chars().collect(),
    };
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some('?') => {
                p += 1;
                n += 1;
            }
            Some(c) if *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    p = star + 1;
                    n = from + 1;
                    retry = Some((star, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// What a command line knows of its variables.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    known: HashMap<String, Vec<Field>>,
}

impl Variables {
    /// What a variable may be; nothing when nobody knows.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Vec<Field>> {
        self.known.get(name)
    }

    /// It is this from now on.
    pub fn set(&mut self, name: &str, values: Vec<Field>) {
        let values = if values.len() > MAX_FIELDS {
            vec![vec![Seg::Unknown]]
        } else {
            values
        };
        self.known.insert(name.to_owned(), values);
    }

    /// Nothing of them is known any more.
    pub fn forget(&mut self) {
        for values in self.known.values_mut() {
            *values = vec![vec![Seg::Unknown]];
        }
    }

    /// It may be this as well: what was known before stays possible.
    pub fn add(&mut self, name: &str, mut values: Vec<Field>) {
        if let Some(before) = self.known.get(name) {
            for field in before {
                if !values.contains(field) {
                    values.push(field.clone());
                }
            }
        } else {
            values.push(vec![Seg::Unknown]);
        }
        self.set(name, values);
    }

    /// What is possible on either of two ways.
    pub fn join(&mut self, other: &Self) {
        for (name, values) in &other.known {
            match self.known.get(name) {
                Some(mine) if mine == values => {}
                Some(_) => self.add(name, values.clone()),
                None => self.add(name, values.clone()),
            }
        }
        let gone: Vec<String> = self
            .known
            .keys()
            .filter(|name| !other.known.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            let values = self.known[&name].clone();
            self.set(&name, [values, vec![vec![Seg::Unknown]]].concat());
        }
    }
}
