//! Starting a supervisor for an attempt, or finding the one that runs.

use std::ffi::OsString;
use std::time::Duration;

use crate::agent::detach::{Readiness, spawn_detached};
use crate::core::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use crate::core::budget::{Account, Grant};
use crate::core::event::Left;
use crate::core::graph::TaskIx;
use crate::core::id::TaskName;
use crate::core::plan::Task;
use crate::core::record::Place;
use crate::core::retry::Approach;
use crate::format::SCHEMA_VERSION;
use crate::format::issue_file::IssueFile;
use crate::format::launch_file::LaunchFile;
use crate::format::outcome_file::OutcomeFile;
use crate::format::status_file::StatusFile;
use crate::store::atomic::{self, Durability};
use crate::store::layout::RunDir;
use crate::store::{claims, lock, run_log};
use crate::supervise::end_leftovers;

use super::assignment::{self, Assignment, Conflict, Ready};
use super::attend;
use super::by_hand;
use super::context::Context;
use super::notes;
use super::prepare::StartError;
use super::prompt::{self, Briefing, Finished};
use super::resolution::{self, Dispute, Side};
use super::worktree::{self, Rights};

/// How long a supervisor may take to say that it holds its lock.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether a person's terminal took its attempt up.
const PERSON_LOOK: Duration = Duration::from_millis(30);

/// How long one that did not say so in that time may take to begin.
const LATE_PATIENCE: Duration = Duration::from_secs(120);

/// How long an earlier attempt's supervisor may take to go.
const LEAVE_PATIENCE: Duration = Duration::from_secs(60);

/// The most files of a dependency that are named to an instance.
const NAMED_FILES: usize = 30;

/// An attempt to be started.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// The task's place in the state.
    pub(super) ix: TaskIx,
    /// What it is about.
    pub(super) assignment: Assignment,
    /// Number of the attempt.
    pub(super) attempt: u32,
    /// Its session.
    pub(super) session: SessionId,
    /// Fresh or resumed.
    pub(super) start: StartMode,
    /// What it does differently.
    pub(super) approach: Approach,
    /// What it may spend.
    pub(super) grant: Grant,
    /// How the attempts before ended.
    pub(super) lesson: Option<String>,
    /// The request of the person who works in it, if one does.
    pub(super) attached: Option<String>,
    /// Where.
    pub(super) place: Place,
    /// Finished tasks that it builds on.
    pub(super) finished: Vec<crate::integrate::MergeTask>,
    /// Tasks in work at the same time.
    pub(super) others: Vec<TaskName>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Launch {
    /// Its supervisor holds its lock.
    Running,
    /// It ended; perhaps long ago, when a conductor that died did not see it.
    Over(Over),
}

/// What an ended attempt left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Over {
    /// How it ended.
    pub(super) end: AttemptEnd,
    /// What else is known of it.
    pub(super) left: Left,
}

impl Over {
    /// That of an attempt that ended before it began.
    pub(super) fn of_nothing(end: AttemptEnd) -> Self {
        let account = Account::of_nothing();
        Self {
            end,
            left: Left {
                account,
                ..Left::default()
            },
        }
    }
}

/// Makes sure that the attempt runs or ran: never twice.
///
/// # Errors
/// When the worktree cannot be made, or the supervisor cannot be started.
pub(super) fn launch(context: &Context, order: &Order) -> Result<Launch, StartError> {
    let run = &context.run;
    let task = order.assignment.name();
    if let Some(over) = over(run, task, order.attempt)? {
        return Ok(Launch::Over(over));
    }
    if lock::is_held(&run.lock(task))? {
        let known: Option<LaunchFile> = atomic::peek_json(&run.launch(task));
        if known.is_some_and(|known| known.attempt == order.attempt) {
            return Ok(Launch::Running);
        }
        wait_for_leaving(context, task)?;
    }
    if began(context, task, order.attempt) {
        // It ran, is gone, and left no outcome: it was killed.
        return Ok(Launch::Over(lost(context, task)));
    }
    if order.attached.is_none()
        && let Some(over) = by_hand::await_end(run, task, order.attempt)
    {
        return Ok(Launch::Over(over));
    }
    hold_names(context, task, &order.place)?;
    let ready = assignment::make_ready(context, &order.assignment, &order.place)?;
    let rights = rights(context, &order.assignment.task);
    let file = launch_file(context, order, ready, rights);
    atomic::write_json(
        &run.launch(task),
        "a launch order",
        &file,
        Durability::Durable,
    )?;
    if let Some(ticket) = &order.attached {
        return await_person(context, task, order.attempt, ticket);
    }
    start_supervisor(context, task, order.attempt)
}

/// Waits until the terminal of the person who asked for the attempt takes it up. One that is
/// gone before that leaves the task as it was.
fn await_person(
    context: &Context,
    task: &TaskName,
    attempt: u32,
    ticket: &str,
) -> Result<Launch, StartError> {
    let run = &context.run;
    loop {
        // In this order: a terminal takes the order up, and only then gives its own lock back.
        let path = run.attach_lock(task);
        let another = || std::fs::read_to_string(&path).is_ok_and(|t| t != ticket);
        let waits = lock::may_be_held(&path) && !another();
        if let Some(over) = over(run, task, attempt)? {
            return Ok(Launch::Over(over));
        }
        if began(context, task, attempt) {
            return Ok(Launch::Running);
        }
        if !waits {
            // The task goes on as it was.
            return Ok(Launch::Over(Over::of_nothing(AttemptEnd::Paused)));
        }
        std::thread::sleep(PERSON_LOOK);
    }
}

/// Makes the worktree of a task ready. Returns the settings file to hand to the agent.
///
/// # Errors
/// As [`worktree::make_ready`].
pub(super) fn make_ready(
    context: &Context,
    task: &Task,
    place: &Place,
) -> Result<Option<std::path::PathBuf>, StartError> {
    let (allow, deny) = rights(context, task);
    let rights = Rights {
        allow: &allow,
        deny: &deny,
        guard: beside(context, "orchestra-guard"),
        heartbeat: beside(context, "orchestra-heartbeat"),
        command_timeout_seconds: context.settings.command_timeout_seconds,
        main: &context.settings.main_checkout,
    };
    worktree::make_ready(&context.repo, &context.run, &task.name, place, &rights)
}

/// A task that was tidied up gave its names back; another run may have them by now.
fn hold_names(context: &Context, task: &TaskName, place: &Place) -> Result<(), StartError> {
    let Some(name) = place.claimed_name() else {
        return Ok(());
    };
    match claims::renew(&context.layout, context.run.id(), task, &name)? {
        None => Ok(()),
        Some(holder) => Err(StartError::Taken {
            branch: place.branch.clone(),
            by: holder.orchestration_id,
        }),
    }
}

fn start_supervisor(
    context: &Context,
    task: &TaskName,
    attempt: u32,
) -> Result<Launch, StartError> {
    let run = &context.run;
    let args: [OsString; 7] = [
        "supervise".into(),
        "--repo".into(),
        context.settings.main_checkout.clone().into(),
        "--slots".into(),
        context.settings.state_dir.join("ports").into(),
        run.id().as_str().into(),
        task.as_str().into(),
    ];
    let mut started = spawn_detached(
        &context.exe,
        &args,
        run.dir(),
        &context.env,
        &run.supervisor_stderr(task),
        READY_PATIENCE,
    )
    .map_err(|e| StartError::Other(e.to_string()))?;
    let readiness = match started.readiness.clone() {
        Readiness::Late => {
            let began = || began(context, task, attempt);
            attend::await_late(&mut started.child, began, LATE_PATIENCE)
        }
        said => said,
    };
    started.reap_in_background();
    let held = lock::may_be_held(&run.lock(task));
    what_was_said(readiness, held).map_err(|why| {
        StartError::Other(match why {
            Some(why) => format!("the supervisor of {task} refused: {why}"),
            None => format!(
                "the supervisor of {task} ended before it began; see {}",
                run.supervisor_stderr(task).display()
            ),
        })
    })
}

/// Whether the attempt runs, by what its supervisor said and whether its lock is held.
fn what_was_said(readiness: Readiness, held: bool) -> Result<Launch, Option<String>> {
    match readiness {
        Readiness::Ready => Ok(Launch::Running),
        // One that a conductor started just before it was killed took the lock meanwhile; the
        // order that it found is the same.
        Readiness::Refused(_) if held => Ok(Launch::Running),
        Readiness::Refused(why) => Err(Some(why)),
        Readiness::Silent | Readiness::Late => Err(None),
    }
}

/// What the attempt left, when it ended by itself.
pub(super) fn over(
    run: &RunDir,
    task: &TaskName,
    attempt: u32,
) -> Result<Option<Over>, StartError> {
    let outcome: Option<OutcomeFile> = atomic::read_json(&run.outcome(task), "an outcome")?;
    Ok(outcome
        .filter(|outcome| outcome.attempt == attempt)
        .map(|outcome| Over {
            left: outcome.left(),
            end: outcome.outcome,
        }))
}

/// A supervisor was killed: what is left of its instance ends, and the attempt counts as lost.
/// When it was a person's terminal, the task simply goes on: that is nothing against the task.
pub(super) fn lost(context: &Context, task: &TaskName) -> Over {
    let report = end_leftovers(&context.run, &context.token(), task);
    let launch: Option<LaunchFile> = atomic::peek_json(&context.run.launch(task));
    if launch.is_some_and(|launch| launch.attached.is_some()) {
        let line = format!("{task}: the terminal in which a person worked on it is gone");
        run_log::append(&context.run, super::now(), &[line]);
        return Over {
            end: AttemptEnd::Paused,
            left: Left {
                session_seen: session_seen(context, task),
                ..Left::default()
            },
        };
    }
    let mut detail = "its supervisor was killed".to_owned();
    if report.signalled > 0 {
        detail.push_str("; the processes that it left were ended");
    }
    Over {
        end: AttemptEnd::Failed {
            class: FailureClass::SupervisorLost,
            detail,
        },
        left: Left {
            session_seen: session_seen(context, task),
            ..Left::default()
        },
    }
}

/// Whether the attempt's supervisor ever ran: its first act is to say so in the status file.
fn began(context: &Context, task: &TaskName, attempt: u32) -> bool {
    let launch: Option<LaunchFile> = atomic::peek_json(&context.run.launch(task));
    let status: Option<StatusFile> = atomic::peek_json(&context.run.status(task));
    launch.is_some_and(|l| l.attempt == attempt) && status.is_some_and(|s| s.attempt == attempt)
}

/// What is known of the session when no outcome tells: it is there if it was to be resumed, or
/// if the supervisor wrote it into the status file, which it does once the client has
/// confirmed it.
fn session_seen(context: &Context, task: &TaskName) -> bool {
    let launch: Option<LaunchFile> = atomic::peek_json(&context.run.launch(task));
    let status: Option<StatusFile> = atomic::peek_json(&context.run.status(task));
    match (launch, status.and_then(|s| s.session_id)) {
        (Some(launch), _) if launch.start == StartMode::Resume => true,
        (Some(launch), Some(seen)) => launch.session_id.to_string() == seen,
        _ => false,
    }
}

fn wait_for_leaving(context: &Context, task: &TaskName) -> Result<(), StartError> {
    let path = context.run.lock(task);
    match lock::Lock::take_within(&path, LEAVE_PATIENCE)? {
        Some(_lock) => Ok(()),
        None => Err(StartError::Other(format!(
            "an earlier attempt at {task} does not end ({} is held)",
            path.display()
        ))),
    }
}

/// Another program, when it is installed beside this one.
fn beside(context: &Context, name: &str) -> Option<std::path::PathBuf> {
    let program = context.exe.with_file_name(name);
    program.is_file().then_some(program)
}

/// What the instance may do without asking, and what it may not do.
fn rights(context: &Context, task: &Task) -> (Vec<String>, Vec<String>) {
    let settings = &context.settings;
    let allow = match &task.allowed_tools {
        None => settings.allowed_tools.clone(),
        // A plan may narrow what the person allowed, never widen it.
        Some(wanted) => wanted
            .iter()
            .map(|rule| rule.as_str().to_owned())
            .filter(|rule| {
                let tool = rule.split('(').next().unwrap_or(rule);
                settings
                    .allowed_tools
                    .iter()
                    .any(|allowed| allowed == rule || allowed == tool)
            })
            .collect(),
    };
    // What an instance says of itself is never a question.
    let mut allow: Vec<String> = allow;
    allow.push("Bash(orchestra report *)".to_owned());
    let main = settings.main_checkout.display();
    let mut deny = settings.disallowed_tools.clone();
    deny.push(format!("Edit(/{main}/**)"));
    deny.extend(
        [
            "Bash(git push *)",
            "Bash(git stash *)",
            "Bash(git worktree *)",
        ]
        .map(str::to_owned),
    );
    if settings.permission_mode != "plan" {
        // Nobody approves a plan; the task is the plan.
        deny.extend(["EnterPlanMode", "ExitPlanMode"].map(str::to_owned));
    }
    (allow, deny)
}

fn launch_file(
    context: &Context,
    order: &Order,
    ready: Ready,
    (allowed_tools, disallowed_tools): (Vec<String>, Vec<String>),
) -> LaunchFile {
    let settings = &context.settings;
    let task = &order.assignment.task;
    let finished: Vec<Finished> = order
        .finished
        .iter()
        .map(|done| Finished {
            task: done.name.clone(),
            summary: done.summary.clone(),
            files: changed_files(context, done),
        })
        .collect();
    let issue = context.issue();
    let briefing = Briefing {
        issue: issue.as_ref(),
        request: context.plan.request(),
        task,
        role_text: crate::agent::roles::role_text(task.role()),
        branch: &order.place.branch,
        worktree: &order.place.worktree,
        verify: settings.verify.as_deref(),
        finished: &finished,
        others: &order.others,
        lesson: order.lesson.as_deref(),
        resolves: order.assignment.conflict.is_some(),
    };
    let mut prompt = match (order.start, &order.assignment.conflict, &ready.merge) {
        // The last order for the task that was carried out.
        (StartMode::Resume, ..) => {
            match atomic::peek_json::<LaunchFile>(&context.run.launch(&task.name)) {
                // One who went away before the session was open said nothing in it.
                Some(before)
                    if before.attached.is_some()
                        && !order.grant.last
                        && began(context, &task.name, before.attempt) =>
                {
                    prompt::message_after_person()
                }
                _ => prompt::resume_message(order.lesson.as_deref(), order.grant.last),
            }
        }
        (StartMode::Fresh, Some(conflict), Some(begun)) => {
            let sides = sides(context, conflict, &begun.merging.files);
            resolution::first_message(&Dispute {
                resolution: &conflict.resolution,
                merging: &begun.merging,
                kinds: &begun.kinds,
                sides: &sides,
                setup: settings.setup.as_deref(),
                lesson: order.lesson.as_deref(),
            })
        }
        (StartMode::Fresh, ..) => prompt::first_message(&briefing),
    };
    if order.start == StartMode::Fresh {
        prompt.push_str(&notes::told(&context.run));
    }
    let stronger = settings.retries.stronger_model.clone();
    // Where the model that is wanted was not enough before, it is not tried first.
    let begins = settings.learned.stronger.contains_key(&task.name);
    let stronger = stronger.filter(|_| order.approach.stronger || begins);
    let env = [
        ("ORCHESTRA_ORCHESTRATION", context.run.id().to_string()),
        ("ORCHESTRA_TASK", task.name.to_string()),
        (
            crate::agent::tree::MAIN_CHECKOUT_VARIABLE,
            settings.main_checkout.display().to_string(),
        ),
        (
            "TMPDIR",
            worktree::scratch_folder(&order.place.worktree)
                .display()
                .to_string(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    LaunchFile {
        schema_version: SCHEMA_VERSION,
        orchestration_id: context.run.id().clone(),
        token: context.token(),
        task: task.name.clone(),
        attempt: order.attempt,
        session_id: order.session,
        start: order.start,
        attached: order.attached.clone(),
        agent: settings.agent.clone(),
        worktree: order.place.worktree.clone(),
        main_checkout: settings.main_checkout.clone(),
        branch: order.place.branch.clone(),
        base: order.place.base.clone(),
        prompt,
        system_prompt: prompt::rules(&briefing),
        permission_mode: settings.permission_mode.clone(),
        sandbox: settings.sandbox,
        allowed_tools,
        disallowed_tools,
        settings: ready.settings,
        model: stronger
            .or_else(|| task.model.as_ref().map(|m| m.as_str().to_owned()))
            .or_else(|| settings.model.clone()),
        env: env.into(),
        setup: settings.setup.clone(),
        verify: settings.verify.clone(),
        timeout_seconds: task
            .timeout_seconds
            .map_or(settings.timeout_seconds, u64::from),
        command_timeout_seconds: settings.command_timeout_seconds,
        grant: order.grant,
        breaker: Some(context.breaker_order()),
        gate_rounds: settings.gate_rounds,
        answer_timeout_seconds: settings.answer_timeout_seconds,
        permission_requests: settings.permission_requests,
        permission_timeout_seconds: settings.permission_timeout_seconds,
        limits: settings.limits,
        may_end_without_commits: prompt::may_end_without_commits(&task.kind),
        merging: ready.merge.map(|begun| begun.merging),
        issue_number: issue_of(issue.as_ref(), task).0,
        issue_title: issue_of(issue.as_ref(), task).1,
    }
}

/// The issue that a task works on, by number and title: its own, else the run's.
pub(super) fn issue_of(run: Option<&IssueFile>, task: &Task) -> (Option<u64>, Option<String>) {
    match (task.issue_number, run) {
        (Some(own), Some(issue)) if own == issue.number => (Some(own), Some(issue.title.clone())),
        (Some(own), _) => (Some(own), task.description.clone()),
        (None, Some(issue)) => (Some(issue.number), Some(issue.title.clone())),
        (None, None) => (None, None),
    }
}

/// What the tasks that meet in a conflict wanted and did there.
fn sides<'a>(context: &'a Context, conflict: &'a Conflict, files: &[String]) -> Vec<Side<'a>> {
    let sides = conflict.sides.iter().filter_map(|done| {
        let ix = context.plan.ix(&done.name)?;
        // What git cannot show, the instance may find out itself.
        let diff = context.repo.diff_of_files(&done.start, &done.head, files);
        Some(Side {
            task: context.plan.task(ix),
            summary: &done.summary,
            diff: diff.unwrap_or_default(),
        })
    });
    sides.collect()
}

/// The files that a finished task changed against where it began; empty when git cannot say.
fn changed_files(context: &Context, done: &crate::integrate::MergeTask) -> Vec<String> {
    let base = &context.settings.base_commit;
    let mut files = context
        .repo
        .changed_paths(base, &done.head)
        .unwrap_or_default();
    files.truncate(NAMED_FILES);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_another_conductor_started_is_watched_rather_than_given_up() {
        let refused = Readiness::Refused("another supervisor works on a".into());
        assert_eq!(
            what_was_said(refused.clone(), true),
            Ok(Launch::Running),
            "the one that works has the same order"
        );
        assert!(matches!(what_was_said(refused, false), Err(Some(_))));
        assert_eq!(what_was_said(Readiness::Silent, false), Err(None));
        assert_eq!(what_was_said(Readiness::Ready, true), Ok(Launch::Running));
    }
}
