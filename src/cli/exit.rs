//! How a command ended, as an exit code that scripts can rely on.

use std::process::ExitCode;

use crate::core::record::{IntegrationEnd, Verdict};

/// The exit codes of `orchestra`. Numbers and meanings never change; new ones are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// It worked; of a run: every task done, and delivered as far as asked.
    Success = 0,
    /// The run failed: too few tasks got done.
    RunFailed = 1,
    /// The command was not understood.
    Usage = 2,
    /// The plan is not valid.
    PlanInvalid = 3,
    /// The repository or the environment cannot be used; nothing was created.
    Environment = 4,
    /// Enough tasks are done for a success, but not all.
    Partial = 5,
    /// The run was cancelled.
    Cancelled = 6,
    /// Input or output failed, or something inside did.
    Internal = 7,
    /// The tasks are done, but their results could not be merged, verified or delivered.
    NotIntegrated = 8,
    /// It still runs; the time to wait is over.
    StillRunning = 9,
    /// A person has to agree first.
    NotConfirmed = 10,
}

impl Exit {
    /// All of them, in order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::RunFailed,
        Self::Usage,
        Self::PlanInvalid,
        Self::Environment,
        Self::Partial,
        Self::Cancelled,
        Self::Internal,
        Self::NotIntegrated,
        Self::StillRunning,
        Self::NotConfirmed,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a line.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RunFailed => "the run failed",
            Self::Usage => "the command was not understood",
            Self::PlanInvalid => "the plan is not valid",
            Self::Environment => "repository or environment not usable; nothing was created",
            Self::Partial => "partial success: enough tasks are done, not all",
            Self::Cancelled => "the run was cancelled",
            Self::Internal => "input/output failed, or an internal error",
            Self::NotIntegrated => "results could not be merged, verified or delivered",
            Self::StillRunning => "still running when the time to wait was over",
            Self::NotConfirmed => "a person has to agree first; nothing was started",
        }
    }

    /// How a run that ended with `verdict` is told to the caller. A run that failed although
    /// its tasks are done failed in integration.
    #[must_use]
    pub fn of_run(verdict: Verdict, integration: Option<&IntegrationEnd>) -> Self {
        match verdict {
            Verdict::Success | Verdict::Unmerged => Self::Success,
            Verdict::Partial => Self::Partial,
            Verdict::Cancelled => Self::Cancelled,
            Verdict::Failed => match integration {
                None
                | Some(IntegrationEnd::Delivered { .. } | IntegrationEnd::Reviewable { .. }) => {
                    Self::RunFailed
                }
                Some(
                    IntegrationEnd::Conflict { .. }
                    | IntegrationEnd::Red { .. }
                    | IntegrationEnd::NotDelivered { .. }
                    | IntegrationEnd::Failed { .. },
                ) => Self::NotIntegrated,
            },
        }
    }

    /// The table for `--help`.
    #[must_use]
    pub fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{Oid, TaskName};

    #[test]
    fn the_numbers_are_a_contract() {
        let table: Vec<(u8, &str)> = Exit::ALL.iter().map(|e| (e.code(), e.meaning())).collect();
        assert_eq!(
            table,
            [
                (0, "success"),
                (1, "the run failed"),
                (2, "the command was not understood"),
                (3, "the plan is not valid"),
                (
                    4,
                    "repository or environment not usable; nothing was created"
                ),
                (5, "partial success: enough tasks are done, not all"),
                (6, "the run was cancelled"),
                (7, "input/output failed, or an internal error"),
                (8, "results could not be merged, verified or delivered"),
                (9, "still running when the time to wait was over"),
                (10, "a person has to agree first; nothing was started"),
            ]
        );
    }

    #[test]
    fn every_end_of_a_run_has_its_code() {
        let oid = Oid::parse(&"a".repeat(40)).unwrap();
        let conflict = IntegrationEnd::Conflict {
            task: TaskName::parse("a").unwrap(),
            files: vec![],
        };
        let red = IntegrationEnd::Red {
            commit: oid.clone(),
            tail: String::new(),
        };
        let delivered = IntegrationEnd::Delivered {
            from: oid.clone(),
            to: oid,
            verified: true,
        };
        for (verdict, integration, exit) in [
            (Verdict::Success, Some(&delivered), Exit::Success),
            (Verdict::Unmerged, None, Exit::Success),
            (Verdict::Partial, Some(&delivered), Exit::Partial),
            (Verdict::Cancelled, None, Exit::Cancelled),
            (Verdict::Failed, None, Exit::RunFailed),
            (Verdict::Failed, Some(&conflict), Exit::NotIntegrated),
            (Verdict::Failed, Some(&red), Exit::NotIntegrated),
        ] {
            assert_eq!(Exit::of_run(verdict, integration), exit, "{verdict:?}");
        }
    }
}
