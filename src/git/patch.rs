//! A difference as people read it.

use super::error::GitError;
use super::repo::Repo;
use crate::core::id::Oid;

impl Repo {
    /// The difference between two commits as a patch, as far as git can show it as text. No
    /// program that the person configured for looking at differences is started.
    ///
    /// # Errors
    /// When git fails.
    pub fn patch(&self, from: &Oid, to: &Oid, color: bool) -> Result<String, GitError> {
        let color = if color { "always" } else { "never" };
        let output = self
            .git()
            .args([
                "diff",
                "--no-ext-diff",
                "--no-textconv",
                "--stat",
                "--patch",
            ])
            .arg(format!("--color={color}"))
            .args([from.as_str(), to.as_str(), "--"])
            .run()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::git::testkit::Fixture;

    #[test]
    fn a_patch_is_plain_unless_colour_is_asked_for() {
        let f = Fixture::new();
        f.write("a", "1\n");
        let from = f.commit("One");
        f.write("a", "2\n");
        let to = f.commit("Two");
        let plain = f.repo().patch(&from, &to, false).unwrap();
        assert!(plain.contains("-1\n+2\n"), "{plain}");
        assert!(!plain.contains('\u{1b}'));
        let colored = f.repo().patch(&from, &to, true).unwrap();
        assert!(colored.contains('\u{1b}'));
    }
}
