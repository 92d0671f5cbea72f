//! Hand-built looks at runs, for tests.

use std::path::PathBuf;

use uuid::Uuid;

use super::clock;
use super::merging::Merging;
use super::snapshot::{EmergencyView, Snapshot, Standing, TaskView};
use crate::core::attempt::{AttemptEnd, FailureClass, SessionId, StartMode};
use crate::core::graph::TaskIx;
use crate::core::id::{BranchName, Oid, OrchestrationId, TaskName};
use crate::core::plan::Priority;
use crate::core::queue::QueuePolicy;
use crate::core::record::{
    AsideWhy, IntegrationEnd, MergeMode, Place, QueueItem, QueueLink, QueueResult, QueueWork,
    Record, SettledFile, Verdict,
};
use crate::core::retry::RetryPolicy;
use crate::core::state::{Policy, State, TaskFacts};
use crate::core::time::{Millis, Timestamp};
use crate::format::launch_file::AgentChoice;
use crate::format::settings_file::{CleanupWhen, SettingsFile};
use crate::format::status_file::{
    InstanceStatus, Progress, Resources, StatusFile, TodoItem, Tokens,
};
use crate::store::journal::Line;

/// When the sample run begins: 2026-11-21T09:00:00Z.
pub(crate) const T0: Timestamp = Timestamp(1_795_251_600_000);

/// A run in the making. Times are in seconds; finished tasks ran before the working ones.
pub(crate) struct Sample {
    tasks: Vec<TaskView>,
    phases: Vec<Vec<usize>>,
    records: Vec<(Timestamp, Record)>,
    now: Timestamp,
    pub(crate) request: String,
    pub(crate) emergency: Option<EmergencyView>,
}

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

pub(crate) fn oid(c: char) -> Oid {
    Oid::parse(&c.to_string().repeat(40)).unwrap()
}

impl Sample {
    /// Tasks `t1`, `t2`, … each of which needs the one before.
    pub(crate) fn chain(n: usize) -> Self {
        let names: Vec<String> = (1..=n).map(|i| format!("t{i}")).collect();
        let tasks: Vec<(&str, Vec<usize>)> = names
            .iter()
            .enumerate()
            .map(|(i, n)| (n.as_str(), i.checked_sub(1).into_iter().collect()))
            .collect();
        Self::of(&tasks)
    }

    /// Tasks `t1`, `t2`, … of which none needs another.
    pub(crate) fn flat(n: usize) -> Self {
        let names: Vec<String> = (1..=n).map(|i| format!("t{i}")).collect();
        let tasks: Vec<(&str, Vec<usize>)> = names.iter().map(|n| (n.as_str(), vec![])).collect();
        Self::of(&tasks)
    }

    /// Tasks with the positions of what they need; dependencies come first.
    pub(crate) fn of(tasks: &[(&str, Vec<usize>)]) -> Self {
        let mut phases: Vec<Vec<usize>> = Vec::new();
        let mut level = Vec::new();
        for (at, (_, needs)) in tasks.iter().enumerate() {
            let own = needs.iter().map(|n| level[*n] + 1).max().unwrap_or(0);
            level.push(own);
            if phases.len() <= own {
                phases.push(vec![]);
            }
            phases[own].push(at);
        }
        Self {
            tasks: tasks
                .iter()
                .map(|(task, needs)| TaskView {
                    name: name(task),
                    description: Some(format!("Make {task} work as it should")),
                    prompt: None,
                    role: "feature-development".into(),
                    priority: Priority::Normal,
                    issue_number: None,
                    estimated_minutes: None,
                    estimate_is_learned: false,
                    max_attempts: 3,
                    needs: needs.clone(),
                    after: vec![],
                    state: crate::core::state::TaskState::Waiting,
                    held: false,
                    attempts: 0,
                    failures: 0,
                    session: None,
                    place: None,
                    worktree_exists: false,
                    started_at: None,
                    attempt_started_at: None,
                    ended_at: None,
                    worked: Millis(0),
                    supervisor_alive: false,
                    status: None,
                    by_hand: None,
                })
                .collect(),
            phases,
            records: vec![(T0, Record::Begun)],
            now: T0,
            request: "Create frontend, build backend, setup database".into(),
            emergency: None,
        }
    }

    fn at(&mut self, record: Record) {
        self.records.push((self.now, record));
    }

    fn view(&mut self, task: &str) -> &mut TaskView {
        self.tasks
            .iter_mut()
            .find(|t| t.name == name(task))
            .unwrap()
    }

    /// Changes a task's plan side.
    pub(crate) fn with(mut self, task: &str, change: impl FnOnce(&mut TaskView)) -> Self {
        change(self.view(task));
        self
    }

    fn start(&mut self, task: &str) {
        let place = Place {
            branch: BranchName::for_task(&name(task)),
            worktree: PathBuf::from(format!("/work-trees/app/{task}")),
            base: oid('b'),
        };
        let before = self
            .records
            .iter()
            .filter(
                |(_, r)| matches!(r, Record::AttemptStarted { task: t, .. } if *t == name(task)),
            )
            .count();
        let attempt = 1 + u32::try_from(before).unwrap();
        self.at(Record::Prepared {
            task: name(task),
            place,
        });
        self.at(Record::AttemptStarted {
            task: name(task),
            attempt,
            session: SessionId(Uuid::from_u128(7)),
            start: StartMode::Fresh,
            approach: crate::core::retry::Approach::default(),
            grant: crate::core::budget::Grant::default(),
            at: None,
            attached: None,
        });
        self.at(Record::AttemptRunning {
            task: name(task),
            attempt,
        });
        let id = OrchestrationId::parse("run-1").unwrap();
        let mut status = StatusFile::registered(&id, &name(task));
        status.status = InstanceStatus::Working;
        status.attempt = attempt;
        status.branch = Some(format!("task/{task}"));
        status.files_changed = Some(2);
        status.lines_added = Some(120);
        status.lines_removed = Some(7);
        status.cost_usd = Some(0.25);
        status.tokens = Some(Tokens {
            input: 1200,
            output: 3400,
            cache_creation: 0,
            cache_read: 50_000,
        });
        let view = self.view(task);
        view.status = Some(status);
        view.worktree_exists = true;
    }

    fn end(&mut self, task: &str, end: AttemptEnd) {
        let attempt = self.view(task).status.as_ref().unwrap().attempt;
        self.at(Record::AttemptEnded {
            task: name(task),
            attempt,
            end,
            session_seen: true,
            until: None,
            account: crate::core::budget::Account::default(),
        });
    }

    /// The task took so long and is done.
    pub(crate) fn done(mut self, task: &str, seconds: u64) -> Self {
        self.start(task);
        self.now = self.now.plus(Millis::from_secs(seconds));
        let end = AttemptEnd::Complete {
            head: oid('d'),
            summary: format!("{task} works, with tests."),
        };
        self.end(task, end);
        self.view(task).status.as_mut().unwrap().status = InstanceStatus::Complete;
        self
    }

    /// The task took so long and failed.
    pub(crate) fn failed(mut self, task: &str, seconds: u64, detail: &str) -> Self {
        self.start(task);
        self.now = self.now.plus(Millis::from_secs(seconds));
        let class = FailureClass::GateNotPassed;
        self.end(
            task,
            AttemptEnd::Failed {
                class,
                detail: detail.into(),
            },
        );
        self.at(Record::TaskFailed {
            task: name(task),
            class,
            detail: detail.into(),
        });
        self.view(task).status.as_mut().unwrap().status = InstanceStatus::Failed;
        self
    }

    /// The task is not tried, because of another.
    pub(crate) fn skipped(mut self, task: &str, because: &str) -> Self {
        self.at(Record::TaskSkipped {
            task: name(task),
            because: name(because),
        });
        self
    }

    /// An instance is so long at work on the task, and its list is so far.
    pub(crate) fn working(mut self, task: &str, seconds: u64, percent: Option<u8>) -> Self {
        self.start(task);
        self.now = self.now.plus(Millis::from_secs(seconds));
        let beat = Timestamp(self.now.0 - 5000);
        let view = self.view(task);
        view.supervisor_alive = true;
        let status = view.status.as_mut().unwrap();
        status.last_heartbeat = Some(clock::rfc3339(beat));
        status.activity = Some(format!("Edit: /work-trees/app/{task}/src/lib.rs"));
        status.resources = Resources {
            processes: Some(3),
            memory_bytes: Some(210_000_000),
            peak_memory_bytes: Some(260_000_000),
            cpu_ms: Some(4500),
        };
        if let Some(percent) = percent {
            let item = |text: &str, state: &str| TodoItem {
                text: text.into(),
                state: state.into(),
            };
            status.progress = Progress {
                said: None,
                done: Some(1),
                total: Some(2),
                percent: Some(percent),
                current: Some("write tests".into()),
                items: vec![
                    item("write the model", "completed"),
                    item("write tests", "in_progress"),
                ],
            };
        }
        self
    }

    /// As [`Sample::working`], but it waits for an answer.
    pub(crate) fn stuck(mut self, task: &str, seconds: u64, reason: &str) -> Self {
        self = self.working(task, seconds, None);
        let status = self.view(task).status.as_mut().unwrap();
        status.status = InstanceStatus::Stuck;
        status.stuck_reason = Some(reason.into());
        status.options = vec!["use the old key".into(), "make a new one".into()];
        self
    }

    /// The results of these tasks were merged, in this order, each link's commit beginning with
    /// the letter given.
    pub(crate) fn merged(mut self, links: &[(&str, char)]) -> Self {
        let links: Vec<QueueLink> = links
            .iter()
            .map(|(task, commit)| QueueLink {
                task: name(task),
                commit: oid(*commit),
                settled: vec![],
            })
            .collect();
        let items = links
            .iter()
            .map(|link| QueueItem {
                task: link.task.clone(),
                head: oid('d'),
                needs: vec![],
            })
            .collect();
        self = self.work(QueueWork::Merge {
            onto: None,
            items,
            trial: false,
        });
        self.at(Record::QueueEnded {
            result: QueueResult::Merged {
                base: oid('b'),
                links,
                conflicts: vec![],
            },
        });
        self
    }

    /// The last conflict that was settled mechanically is in this file of this task.
    pub(crate) fn settled(mut self, task: &str, path: &str, by: &str) -> Self {
        for (_, record) in &mut self.records {
            if let Record::QueueEnded {
                result: QueueResult::Merged { links, .. },
            } = record
            {
                for link in links.iter_mut().filter(|l| l.task == name(task)) {
                    link.settled.push(SettledFile {
                        path: path.into(),
                        by: by.into(),
                    });
                }
            }
        }
        self
    }

    /// The merge queue is at this piece of work.
    pub(crate) fn work(self, work: QueueWork) -> Self {
        self.record(Record::QueueStarted { work })
    }

    /// The verify command was run on a commit.
    pub(crate) fn verified(self, commit: char, green: bool) -> Self {
        self.work(QueueWork::Verify {
            commit: oid(commit),
        })
        .record(Record::QueueEnded {
            result: QueueResult::Verified {
                green,
                tail: if green {
                    String::new()
                } else {
                    "running 2 tests\ntest orders ... FAILED\nerror: 1 test failed".into()
                },
            },
        })
    }

    /// All that is merged up to a commit is proven.
    pub(crate) fn proven(self, commit: char) -> Self {
        self.record(Record::Proven {
            commit: oid(commit),
            verified: true,
        })
    }

    /// A result was set aside.
    pub(crate) fn aside(self, task: &str, why: AsideWhy) -> Self {
        self.record(Record::SetAside {
            task: name(task),
            why,
        })
    }

    /// A result was set aside as it makes the tree red.
    pub(crate) fn red(self, task: &str, with: &[&str]) -> Self {
        let why = AsideWhy::Red {
            commit: oid('e'),
            tail: "running 2 tests\ntest orders ... FAILED\nerror: 1 test failed".into(),
            with: with.iter().map(|n| name(n)).collect(),
        };
        self.aside(task, why)
    }

    /// A result was set aside as it conflicts with others.
    pub(crate) fn conflict(self, task: &str, files: &[&str], with: &[&str]) -> Self {
        let why = AsideWhy::Conflict {
            files: files.iter().map(|f| (*f).to_owned()).collect(),
            with: with.iter().map(|n| name(n)).collect(),
            detail: None,
        };
        self.aside(task, why)
    }

    /// What is proven was delivered, and integration ended so.
    pub(crate) fn delivered(self, commit: char) -> Self {
        self.work(QueueWork::Deliver {
            from: oid('b'),
            to: oid(commit),
        })
        .record(Record::QueueEnded {
            result: QueueResult::Delivered,
        })
        .record(Record::IntegrationEnded {
            result: IntegrationEnd::Delivered {
                from: oid('b'),
                to: oid(commit),
                verified: true,
            },
        })
    }

    /// What is proven was put on a branch for people.
    pub(crate) fn presented(self, commit: char) -> Self {
        self.work(QueueWork::Present {
            from: oid('b'),
            commit: oid(commit),
        })
        .record(Record::QueueEnded {
            result: QueueResult::Presented {
                branch: BranchName::parse("orchestra/run-1").unwrap(),
            },
        })
    }

    /// One more record, now.
    pub(crate) fn record(mut self, record: Record) -> Self {
        self.at(record);
        self
    }

    /// The run ends.
    pub(crate) fn finished(self, verdict: Verdict) -> Self {
        self.record(Record::Finished { verdict })
            .record(Record::Closed)
    }

    /// The journal.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let line = |(n, (at, entry)): (usize, &(Timestamp, Record))| Line {
            v: 1,
            seq: n as u64 + 1,
            at: *at,
            entry: entry.clone(),
        };
        self.records.iter().enumerate().map(line).collect()
    }

    /// The look.
    pub(crate) fn build(self) -> Snapshot {
        let lines = self.lines();
        let facts = self
            .tasks
            .iter()
            .map(|t| TaskFacts {
                name: t.name.clone(),
                needs: t
                    .needs
                    .iter()
                    .map(|n| TaskIx::new(u32::try_from(*n).unwrap()))
                    .collect(),
                after: vec![],
                files: vec![],
                urgency: 2,
                chain: 1,
                max_attempts: 3,
                limit: crate::core::budget::Limit::default(),
            })
            .collect();
        let policy = Policy {
            workers: 5,
            success_percent: 80,
            merge: Some(MergeMode::Automatic),
            queue: QueuePolicy {
                verify: false,
                early: true,
                deliver_each: false,
                resolvers: 2,
            },
            retry: RetryPolicy::default(),
            budget: crate::core::budget::BudgetPolicy::default(),
            token: Uuid::nil(),
        };
        let state = State::replay(facts, policy, lines.iter().map(|l| &l.entry));
        let mut snapshot = Snapshot {
            id: OrchestrationId::parse("run-1").unwrap(),
            dir: PathBuf::from("/app/.claude/orchestration/run-1"),
            taken_at: self.now,
            settings: None,
            request: Some(self.request),
            emergency: self.emergency,
            tasks: self.tasks,
            resolvers: Vec::new(),
            phases: self.phases,
            standing: Standing::Running,
            workers: None,
            paused: false,
            conditions: None,
            shortage: None,
            cancelling: false,
            integration: None,
            taken_back: false,
            merging: Merging::default(),
            conductor_alive: true,
            begun_at: None,
            ended_at: None,
            records: 0,
            conflicts: vec![],
            budget: None,
            notes: vec![],
            problems: vec![],
        };
        snapshot.take_times(&lines);
        snapshot.take_state(&state);
        snapshot.merging = Merging::of(&state, &lines);
        snapshot
    }
}

/// Settings of a run in no particular place.
pub(crate) fn settings(id: &str) -> SettingsFile {
    SettingsFile {
        schema_version: 1,
        orchestration_id: OrchestrationId::parse(id).unwrap(),
        token: Uuid::nil(),
        created_at: clock::rfc3339(T0),
        main_checkout: PathBuf::from("/app"),
        base_branch: BranchName::parse("main").unwrap(),
        base_commit: oid('b'),
        worktree_dir: PathBuf::from("/work-trees/app"),
        state_dir: PathBuf::from("/state"),
        agent: AgentChoice::Scripted { script: None },
        max_workers: 5,
        admission: crate::format::settings_file::Admission::default(),
        timeout_seconds: 3600,
        command_timeout_seconds: 900,
        max_attempts: 3,
        gate_rounds: 3,
        merge_early: true,
        deliver_each: false,
        resolvers: 2,
        delivery_style: crate::core::record::DeliveryStyle::Merge,
        commit_hooks: false,
        answer_timeout_seconds: 60,
        permission_requests: crate::core::permission::PermissionRequests::Ask,
        permission_timeout_seconds: 60,
        limits: crate::format::instance_limits::InstanceLimits::default(),
        radar_seconds: 30,
        retry_base_ms: 2000,
        success_percent: 80,
        merge: Some(MergeMode::Automatic),
        cleanup: CleanupWhen::Success,
        backup_days: 30,
        permission_mode: "acceptEdits".into(),
        allowed_tools: vec![],
        disallowed_tools: vec![],
        model: None,
        max_budget_usd: None,
        budgets: crate::format::settings_file::Budgets::default(),
        retries: crate::format::settings_file::Retries::default(),
        learned: crate::core::history::Learned::default(),
        verify: None,
        setup: None,
        union_files: vec![],
        notify: Vec::new(),
        notify_command: None,
        lockfiles: std::collections::BTreeMap::new(),
        started_by_session: None,
    }
}
