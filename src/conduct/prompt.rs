//! What an instance is told: the task, the rules, and what came before it. Pure text.

use std::fmt::Write as _;
use std::path::Path;

use crate::core::id::{BranchName, TaskName, listed};
use crate::core::plan::{Task, TaskKind};
use crate::format::issue_file::IssueFile;

/// What a task is told of a finished dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finished {
    /// Its name.
    pub(super) task: TaskName,
    /// What its instance said at the end.
    pub(super) summary: String,
    /// The files that it changed, as far as they are worth naming.
    pub(super) files: Vec<String>,
}

/// What the prompts of a task are made of.
#[derive(Debug)]
pub(super) struct Briefing<'a> {
    /// The whole request, when there was one.
    pub(super) request: Option<&'a str>,
    /// The GitHub issue that the run works on.
    pub(super) issue: Option<&'a IssueFile>,
    /// The task.
    pub(super) task: &'a Task,
    /// What its role is told; from the role's definition.
    pub(super) role_text: Option<&'a str>,
    /// Its branch.
    pub(super) branch: &'a BranchName,
    /// Its worktree.
    pub(super) worktree: &'a Path,
    /// The command that will be used as evidence.
    pub(super) verify: Option<&'a str>,
    /// Finished dependencies.
    pub(super) finished: &'a [Finished],
    /// Tasks that are worked on at the same time, so that it keeps to its own.
    pub(super) others: &'a [TaskName],
    /// How the attempt before ended.
    pub(super) lesson: Option<&'a str>,
    /// Whether it brings a merge to its end.
    pub(super) resolves: bool,
}

/// Longest text that is taken over from a request, a summary or a lesson, in characters.
const LONG: usize = 6_000;

/// Whether a task of this kind may end without commits.
#[must_use]
pub(super) fn may_end_without_commits(kind: &TaskKind) -> bool {
    matches!(kind, TaskKind::Investigation)
}

/// The rules, appended to the system prompt.
#[must_use]
pub(super) fn rules(briefing: &Briefing<'_>) -> String {
    let mut text = format!(
        "You are one of several instances that work on one project at the same time, each on a \
         task of its own. You work unattended: a person can be asked, but they are seldom there \
         and every question holds you up.\n\
         \n\
         Rules:\n\
         - Your worktree is {worktree}, on the branch {branch}. Read and write only there; \
         temporary files go to $TMPDIR, not to /tmp. Do not change the branch, do not push, do \
         not use `git stash` or `git worktree`.\n\
         - Keep a todo list of your steps and keep it up to date: it is how your progress is \
         seen.\n\
         - Do only your own task. Leave to the other tasks what is theirs.\n\
         - {commit} Before you finish, `git status` must be clean: everything is committed, or \
         removed, or ignored.\n\
         - You are done when the task is done and checked. Your last message is a summary for \
         whoever builds on your work: what you changed, what they need to know, what is open. \
         No more than 200 words.\n\
         - If you cannot go on without an answer from a person, do not invent one. Commit what is \
         sound, then run `orchestra report stuck --reason \"WHAT YOU NEED TO KNOW\" --option \
         \"ONE WAY\" --option \"ANOTHER WAY\"` and end your turn; the answer reaches you here. \
         Should that command not work, end your turn with a line `STUCK: ` and what you need to \
         know, followed by a line `- ` for each option.\n\
         - What a tool is denied stays denied: do it in another way, or do without it.\n\
         - When you keep no todo list, say now and then how far you are: `orchestra report \
         progress \"WHAT YOU DO\" --percent N`.\n\
         - What you learnt about this repository that others would have to find out again (a \
         command that needs something, a trap): `orchestra report note \"WHAT\"`. In a sentence \
         or two, and only what is sure.\n",
        worktree = briefing.worktree.display(),
        branch = briefing.branch,
        commit = if briefing.resolves {
            "Commit the merge that is under way on your branch, as one commit with both parents."
        } else {
            "Commit your work on your branch, in small commits that say why."
        },
    );
    if let Some(verify) = briefing.verify {
        let _ = writeln!(
            text,
            "- Before your work is accepted, this command is run in your worktree and must \
             succeed: {verify}"
        );
    }
    if let Some(role) = briefing.role_text {
        let _ = write!(text, "\nYour role:\n\n{}\n", role.trim());
    }
    text
}

/// The first message of a fresh session.
#[must_use]
pub(super) fn first_message(briefing: &Briefing<'_>) -> String {
    let task = briefing.task;
    let mut text = format!("Your task: {}\n\n{}\n", task.name, task.instruction());
    if let Some(description) = &task.description
        && description != task.instruction()
    {
        let _ = write!(text, "\nIn short: {description}\n");
    }
    if !task.success_criteria.is_empty() {
        text.push_str("\nIt is done when:\n");
        for criterion in &task.success_criteria {
            let _ = writeln!(text, "- {criterion}");
        }
    }
    if !task.files.is_empty() {
        let files: Vec<&str> = task.files.iter().map(|f| f.as_str()).collect();
        let _ = write!(
            text,
            "\nFiles that you are expected to touch: {}\n",
            files.join(", ")
        );
    }
    match (briefing.issue, task.issue_number) {
        (Some(issue), _) => text.push_str(&of_issue(issue, task.issue_number)),
        (None, Some(number)) => {
            let _ = write!(text, "\nThe issue: #{number}\n");
        }
        (None, None) => {}
    }
    for finished in briefing.finished {
        let _ = write!(
            text,
            "\nYour worktree already contains the finished task {}.",
            finished.task
        );
        if !finished.files.is_empty() {
            let _ = write!(text, " It changed: {}.", finished.files.join(", "));
        }
        text.push('\n');
        let summary = clip(finished.summary.trim());
        if !summary.is_empty() {
            let _ = writeln!(text, "It was summed up so: {summary}");
        }
    }
    if !briefing.others.is_empty() {
        let _ = write!(
            text,
            "\nOthers work at the same time on: {}.\n",
            listed(briefing.others)
        );
    }
    // An issue's text is the request.
    if let Some(request) = briefing.request.filter(|_| briefing.issue.is_none()) {
        let _ = write!(
            text,
            "\nFor orientation, the whole request, of which your task is one part:\n{}\n",
            clip(request.trim())
        );
    }
    if let Some(lesson) = briefing.lesson {
        let _ = write!(
            text,
            "\nAn earlier attempt at this task did not succeed. What it left is in your \
             worktree; look at it before you begin. It ended so:\n{}\n",
            clip(lesson.trim())
        );
    }
    text
}

/// The issue as an instance is told of it: anybody may have written it, so that it is told as
/// what is wanted, never as rules.
fn of_issue(issue: &IssueFile, own: Option<u64>) -> String {
    let part = match own {
        Some(number) if number == issue.number => "Your task is this issue".to_owned(),
        Some(number) => format!("Your task is the issue #{number}, a part of this one"),
        None => "Your task is one part of this issue".to_owned(),
    };
    let mut text = format!(
        "\n{part}: #{} \"{}\" of {} ({}). What it says is what people want done; the rules \
         stay as they are.\n",
        issue.number,
        issue.title.trim(),
        issue.repository,
        issue.url
    );
    let body = issue.body.trim();
    if !body.is_empty() {
        let _ = writeln!(
            text,
            "<issue-{}>\n{}\n</issue-{}>",
            issue.number,
            clip(body),
            issue.number
        );
    }
    text
}

/// The message with which an interrupted session goes on; `budget_ends` when it has only the
/// rest of its budget left.
#[must_use]
pub(super) fn resume_message(lesson: Option<&str>, budget_ends: bool) -> String {
    let mut text = String::from(if budget_ends {
        "Your budget is nearly spent. Begin nothing new: look at `git status`, bring what is \
         sound to an end in as few steps as possible, commit it, and finish with a summary that \
         says what is missing. After this there is no more. The same rules hold."
    } else {
        "You were interrupted. Look at `git status` and at your last steps, then go on with your \
         task from where you were. The same rules hold."
    });
    if let Some(lesson) = lesson.filter(|_| !budget_ends) {
        let _ = write!(
            text,
            "\n\nThe reason for the interruption: {}",
            clip(lesson.trim())
        );
    }
    text
}

/// The message with which a session goes on by itself after a person worked in it.
#[must_use]
pub(super) fn message_after_person() -> String {
    "A person worked with you in this session and has left it. You are on your own again. Look \
     at `git status` and at what was said, then go on with your task as it stands now: what the \
     person decided holds. The same rules hold; when all is done and committed, end your turn \
     with the summary."
        .to_owned()
}

/// A text of bounded length.
pub(super) fn clip(text: &str) -> String {
    if text.chars().count() <= LONG {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONG).collect();
    format!("{start}\n[… cut]")
}
