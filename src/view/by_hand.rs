//! Sessions that a person opened by hand in a task's worktree, as their hooks tell.
//!
//! Such a session has no supervisor, so nobody writes what it does into the status file. It is
//! merged here, for whoever looks.

use crate::core::time::{Millis, Timestamp};
use crate::format::beat_file::{self, BeatLine};
use crate::format::claude_stream::one_line;
use crate::format::status_file::{Progress, StatusFile};
use crate::format::todo_list::Todos;

use super::clock;

/// A session of which nothing was heard for this long is not shown any more: one that was
/// killed says no goodbye.
const SILENT: Millis = Millis(12 * 60 * 60 * 1000);

/// A session that was opened by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct ByHand {
    /// Since when something is known of it.
    pub since: Timestamp,
    /// When something was last heard of it.
    pub seen: Timestamp,
    /// What it does, for people.
    pub doing: String,
    /// Its todo items.
    pub progress: Progress,
}

/// What the lines of the hooks tell of a session that goes on at `now`, in a worktree whose
/// instance ended as `status` says.
#[must_use]
pub fn read(text: &str, status: Option<&StatusFile>, now: Timestamp) -> Option<ByHand> {
    // What came before belongs to the instance, or to a session that it went on with.
    let ended =
        status.and_then(|s| clock::parse(s.ended_at.as_ref().or(s.last_heartbeat.as_ref())?));
    let lines: Vec<BeatLine> = beat_file::lines(text)
        .filter(|line| ended.is_none_or(|ended| line.at > ended.0))
        .collect();
    let last = lines.last()?;
    let seen = Timestamp(last.at);
    let over = last.event == "SessionEnd" || now.since(seen) > SILENT;
    if over {
        return None;
    }
    // What the instance says of itself names no session.
    let session = lines.iter().rev().find(|l| !l.session.is_empty());
    let session = session.map_or("", |l| l.session.as_str());
    let own = lines.iter();
    let own: Vec<&BeatLine> = own
        .filter(|l| l.session == session || l.session.is_empty())
        .collect();
    let start = own.iter().rposition(|l| l.event == "SessionStart");
    let own = own.get(start.unwrap_or(0)..).unwrap_or_default();
    let mut todos = Todos::resumed(status.map_or(&[][..], |s| &s.progress.items[..]));
    let mut doing = "opened".to_owned();
    for line in own {
        if let Some(call) = &line.todo {
            todos.beat(&line.tool, call);
        }
        doing = match line.event.as_str() {
            "UserPromptSubmit" => "at work on what you said".to_owned(),
            "PostToolUse" if line.subject.is_empty() => line.tool.clone(),
            "PostToolUse" => format!("{}: {}", line.tool, line.subject),
            "Stop" if line.sent_back.is_empty() => "waits for what you say".to_owned(),
            "Stop" => format!("sent back: {}", line.sent_back),
            "Stuck" => format!("STUCK - {}", line.said),
            "Progress" => line.said.clone(),
            _ => doing,
        };
    }
    Some(ByHand {
        since: Timestamp(own.first()?.at),
        seen,
        doing: one_line(&doing, 200),
        progress: todos.progress(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{OrchestrationId, TaskName};
    use serde_json::json;

    #[test]
    fn a_session_counts_from_its_start_to_its_end_and_after_the_instance() {
        let id = OrchestrationId::parse("run-1").unwrap();
        let mut status = StatusFile::registered(&id, &TaskName::parse("docs").unwrap());
        status.ended_at = Some("1970-01-01T00:00:10.000Z".into());
        let line = |second: i64, event: &str, tool: &str| {
            let call = json!({"input": {"subject": "x"}, "created": "1"});
            let todo = (tool == "TaskCreate").then_some(call);
            let line = json!({"at": second * 1000, "event": event, "tool": tool,
                "subject": "", "session": "s", "todo": todo});
            format!("{line}\n")
        };
        let now = Timestamp(60_000);
        let mut text = line(5, "SessionStart", "") + &line(6, "PostToolUse", "Read");
        assert_eq!(read(&text, Some(&status), now), None, "of the instance");
        text += &line(20, "SessionStart", "");
        text += &line(21, "PostToolUse", "TaskCreate");
        let session = read(&text, Some(&status), now).unwrap();
        assert_eq!(
            (session.since, session.seen),
            (Timestamp(20_000), Timestamp(21_000))
        );
        assert_eq!(session.doing, "TaskCreate");
        assert_eq!(session.progress.total, Some(1));
        text += &line(22, "Stop", "");
        let session = read(&text, Some(&status), now).unwrap();
        assert_eq!(session.doing, "waits for what you say");
        let late = Timestamp(now.0 + 24 * 3_600_000);
        assert_eq!(read(&text, Some(&status), late), None);
        text += &line(23, "SessionEnd", "");
        assert_eq!(read(&text, Some(&status), now), None);
    }
}
