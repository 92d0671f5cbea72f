//! What each role is told.

/// The text of a role.
#[must_use]
pub fn role_text(_role: &str) -> Option<&'static str> {
    None
}
