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

/// What a session did since the person last said something, when its turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stop<'a> {
    /// The last text of the turn.
    pub said: &'a str,
    /// Todo items done and in all, when it keeps a list.
    pub todos: Option<(u32, u32)>,
    /// Whether tools were used that can change something.
    pub worked: bool,
    /// How often it was sent back since.
    pub sent_back: u32,
}

/// What is asked for at the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: the person and the model talk.
    Nothing,
    /// That what was changed is committed.
    Tidy,
    /// All the evidence that the task is done.
    All,
}

impl Stop<'_> {
    /// Which evidence the turn should be backed by.
    ///
    /// A turn that only answers, or that asks, is part of a conversation. One that worked and
    /// leaves it at that is reminded of what it has not committed, once for each thing that
    /// the person says; in the middle of a list it is not even that. A list that is done is
    /// the word that the task is: that is held to all of the evidence, at most `rounds` times.
    #[must_use]
    pub fn wants(&self, rounds: u32) -> Wanted {
        if !self.worked || asks(self.said) {
            return Wanted::Nothing;
        }
        match self.todos.filter(|(_, total)| *total > 0) {
            Some((done, total)) if done < total => Wanted::Nothing,
            Some(_) if self.sent_back < rounds => Wanted::All,
            None if self.sent_back == 0 && rounds > 0 => Wanted::Tidy,
            _ => Wanted::Nothing,
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
    fn a_conversation_is_left_alone_and_a_list_that_is_done_is_held_to_the_evidence() {
        let stop = |said, todos, worked, sent_back| Stop {
            said,
            todos,
            worked,
            sent_back,
        };
        for (stop, wanted) in [
            (stop("It is in line 7.", None, false, 0), Wanted::Nothing),
            (
                stop("It is in line 7.", Some((2, 2)), false, 0),
                Wanted::Nothing,
            ),
            (stop("Changed. Is that it?", None, true, 0), Wanted::Nothing),
            (stop("Changed.", None, true, 0), Wanted::Tidy),
            (
                stop("You want it like that.", None, true, 1),
                Wanted::Nothing,
            ),
            (
                stop("The first step is done.", Some((1, 3)), true, 0),
                Wanted::Nothing,
            ),
            (stop("All done.", Some((3, 3)), true, 0), Wanted::All),
            (stop("All done.", Some((3, 3)), true, 1), Wanted::All),
            (stop("All done.", Some((3, 3)), true, 2), Wanted::Nothing),
        ] {
            assert_eq!(stop.wants(2), wanted, "{stop:?}");
        }
        assert_eq!(stop("Changed.", None, true, 0).wants(0), Wanted::Nothing);
    }

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
            (
                turn("The first part is committed.", Some((1, 3)), true),
                false,
            ),
            (turn("It is in src/lib.rs, line 7.", None, false), false),
            (
                turn("Done. Shall I also change the docs?", None, true),
                false,
            ),
            (turn("Which one?**\n\n", Some((3, 3)), true), false),
            (turn("I tried.\n  STUCK: no key\n- ask", None, true), false),
            (turn("", Some((3, 3)), true), false),
            (turn("Done.", Some((0, 0)), false), false),
        ] {
            assert_eq!(turn.claims_done(), done, "{turn:?}");
        }
    }
}
