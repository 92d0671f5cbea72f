//! Globs that may match the same file.

/// Why a text is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PatternFault {
    #[error("it is empty")]
    Empty,
}

/// A glob of files of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePattern {
    text: String,
}

impl FilePattern {
    /// Reads a glob.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// The glob as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether some file may match both globs. Never wrongly `false`.
    #[must_use]
    pub fn may_overlap(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
