//! `environment.json`: the environment that a run's processes are started with.
//!
//! It may hold secrets (a key of the provider, a token). The file is readable by its owner
//! alone, in a folder that only the owner may enter, and goes when the run is closed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SCHEMA_VERSION;

/// An environment as a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentFile {
    /// Version of this shape.
    pub schema_version: u32,
    /// The variables whose name and value are text.
    pub variables: BTreeMap<String, String>,
    /// Name and value, as bytes, of those that are not UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_text: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Names only: values may be secrets, and this may end in a log.
impl std::fmt::Debug for EnvironmentFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvironmentFile")
            .field("variables", &self.variables.keys())
            .field("not_text", &self.not_text.len())
            .finish_non_exhaustive()
    }
}

impl EnvironmentFile {
    /// The file of these variables: names and values as bytes.
    pub fn of<'a>(vars: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut file = Self {
            schema_version: SCHEMA_VERSION,
            variables: BTreeMap::new(),
            not_text: Vec::new(),
        };
        for (name, value) in vars {
            match (std::str::from_utf8(name), std::str::from_utf8(value)) {
                (Ok(name), Ok(value)) => {
                    file.variables.insert(name.to_owned(), value.to_owned());
                }
                _ => file.not_text.push((name.to_owned(), value.to_owned())),
            }
        }
        file
    }

    /// All variables, names and values as bytes.
    pub fn into_vars(self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.variables
            .into_iter()
            .map(|(name, value)| (name.into_bytes(), value.into_bytes()))
            .chain(self.not_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_come_back_and_no_value_is_ever_printed() {
        let vars: [(&[u8], &[u8]); 2] = [(b"KEY", b"secret"), (b"ODD", b"\xff\xfe")];
        let file = EnvironmentFile::of(vars);
        let text = serde_json::to_string(&file).unwrap();
        let back: EnvironmentFile = serde_json::from_str(&text).unwrap();
        assert_eq!(back, file);
        let all: Vec<_> = back.into_vars().collect();
        assert_eq!(all[1], (b"ODD".to_vec(), b"\xff\xfe".to_vec()));
        assert!(!format!("{file:?}").contains("secret"));
    }
}
