//! Whether an instance that a person talks to says that its task is done.
//!
//! A headless instance ends its turn when it is done: its gate looks at the evidence after each.
//! One that a person talks to ends a turn with every answer. What it says there counts as "done"
//! only when nothing speaks against it: evidence alone would take a clean worktree in the middle
//! of the work for its end.

/// What is known of a session when its turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn<'a> {
    /// The last text of the turn; empty when it was broken off, or none ended.
    pub said: &'a str,
    /// Todo items done and in all, when it keeps a list.
    pub todos: Option<(u32, u32)>,
    /// Whether anything was changed or committed in this session.
    pub worked: bool,
}

impl Turn<'_> {
    /// Whether the instance takes its task for done. With a list of its own, that is what
    /// counts: all of it is done, or it is not. Without one it is done when it worked and asks
    /// for nothing.
    #[must_use]
    pub fn claims_done(&self) -> bool {
        if self.said.trim().is_empty() || asks(self.said) {
            return false;
        }
        match self.todos {
            Some((done, total)) if total > 0 => done >= total,
            _ => self.worked,
        }
    }
}

/// Whether a text ends with a question, or says that the instance cannot go on.
#[must_use]
pub fn asks(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let stuck = text
        .lines()
        .any(|line| line.trim_start().starts_with("STUCK:"));
    let last = lines.next_back().unwrap_or_default();
    let last = last.trim_end_matches(['*', '_', '`', '"', '\'', ')', ' ']);
    stuck || last.ends_with(['?', '？', '؟'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_is_what_nothing_speaks_against() {
        let turn = |said, todos, worked| Turn {
            said,
            todos,
            worked,
        };
        for (turn, done) in [
            (turn("All is committed.", None, true), true),
            (turn("All is committed.", Some((3, 3)), false), true),
            (turn("The first part is committed.", Some((1, 3)), true), false),
            (turn("It is in src/lib.rs, line 7.", None, false), false),
            (turn("Done. Shall I also change the docs?", None, true), false),
            (turn("Which one?**\n\n", Some((3, 3)), true), false),
            (turn("I tried.\n  STUCK: no key\n- ask", None, true), false),
            (turn("", Some((3, 3)), true), false),
            (turn("Done.", Some((0, 0)), false), false),
        ] {
            assert_eq!(turn.claims_done(), done, "{turn:?}");
        }
    }
}
