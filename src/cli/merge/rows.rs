//! What there is to merge, a row per task.

use serde::Serialize;

use crate::cli::Failure;
use crate::core::id::TaskName;
use crate::core::record::AsideWhy;
use crate::core::state::State;
use crate::format::SCHEMA_VERSION;
use crate::integrate::{self, Preview};
use crate::view::log_line;
use crate::view::page::{one_line, plural};

use super::{Merging, Mode};

/// The done tasks in merge order.
pub(super) struct Rows {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) task: String,
    pub(super) delivered: bool,
    pub(super) commits: usize,
    pub(super) files: usize,
    pub(super) lines_added: u64,
    pub(super) lines_removed: u64,
    /// Whether it merges cleanly with the base branch as it is.
    pub(super) clean: bool,
    pub(super) conflicts: Vec<String>,
    /// Where it conflicts when all are merged in this order.
    pub(super) conflicts_in_order: Vec<String>,
    pub(super) conflicts_with: Vec<Pair>,
    /// Why it was set aside when it was last merged.
    pub(super) set_aside: Option<String>,
    pub(super) command: String,
    #[serde(skip)]
    pub(super) name: TaskName,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pair {
    task: String,
    files: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a> {
    schema_version: u32,
    orchestration_id: String,
    base_branch: String,
    dry_run: bool,
    tasks: &'a [Row],
}

/// What a task changed, as a patch.
pub(super) fn diff(
    merging: &Merging,
    state: &State,
    task: &TaskName,
    color: bool,
) -> Result<String, Failure> {
    let done = state
        .find(task)
        .and_then(|ix| merging.context.merge_task(state, ix));
    let Some(done) = done else {
        return Err(Failure::usage(format!(
            "{task} is not done: it has no result yet"
        )));
    };
    Ok(merging.context.repo.patch(&done.start, &done.head, color)?)
}

impl Rows {
    /// # Errors
    /// When git fails, or the base branch is gone.
    pub(super) fn of(
        merging: &Merging,
        state: &State,
        only: Option<&[TaskName]>,
    ) -> Result<Self, Failure> {
        let context = &merging.context;
        let tasks: Vec<_> = state
            .merge_order()
            .into_iter()
            .filter_map(|ix| context.merge_task(state, ix))
            .filter(|task| only.is_none_or(|only| only.contains(&task.name)))
            .collect();
        let base = &context.settings.base_branch;
        let previews = integrate::preview(&context.repo, base, &tasks)?;
        Ok(Self {
            rows: previews.iter().map(|p| Row::of(p, state)).collect(),
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    pub(super) fn json(&self, merging: &Merging, manual: bool) -> impl Serialize {
        Listing {
            schema_version: SCHEMA_VERSION,
            orchestration_id: merging.run.id().to_string(),
            base_branch: merging.context.settings.base_branch.to_string(),
            dry_run: !manual,
            tasks: &self.rows,
        }
    }

    pub(super) fn text(&self, merging: &Merging, mode: Mode) -> String {
        let settings = &merging.context.settings;
        let base = &settings.base_branch;
        let mut text = format!(
            "Results of {} against {base}, in merge order:\n",
            merging.run.id()
        );
        for row in &self.rows {
            text.push_str(&row.text());
        }
        let proof = settings
            .verify
            .as_ref()
            .map_or("no verify command is configured".to_owned(), |verify| {
                format!("verified with `{verify}`")
            });
        text.push_str(&match mode {
            Mode::Manual => "Nothing was changed. `orchestra merge automatic --task TASK` takes \
                             one, `orchestra merge manual --diff TASK` shows what it changed.\n"
                .to_owned(),
            Mode::Automatic => format!(
                "Nothing was changed. What merges would be put together in memory, {proof}, and \
                 delivered to {base}.\n"
            ),
            Mode::Review => format!(
                "Nothing was changed. What merges would be put together in memory, {proof}, and \
                 put on the branch orchestra/{} to be looked at.\n",
                merging.run.id()
            ),
        });
        text
    }

    /// What is on the branch for review.
    pub(super) fn review(&self, state: &State) -> String {
        let mut text = String::from("For review:\n");
        for row in &self.rows {
            let standing = if row.delivered {
                "delivered already".to_owned()
            } else if let Some(why) = &row.set_aside {
                format!("set aside: {why}")
            } else {
                match state
                    .queue()
                    .proven()
                    .iter()
                    .find(|link| link.task == row.name)
                    .map(|link| state.queue().verdict(&link.commit))
                {
                    Some(Some(verdict)) if verdict.is_flaky() => {
                        format!("verified; the check failed {} times before", verdict.red)
                    }
                    Some(_) => "merged".to_owned(),
                    None => "not merged".to_owned(),
                }
            };
            text.push_str(&format!("  {}: {}, {standing}\n", row.task, row.size()));
        }
        text
    }
}

impl Row {
    fn of(preview: &Preview, state: &State) -> Self {
        let place = state
            .find(&preview.task)
            .and_then(|ix| state.task(ix).place.as_ref());
        let branch = place.map_or_else(String::new, |place| place.branch.to_string());
        let queue = state.queue();
        Self {
            task: preview.task.to_string(),
            name: preview.task.clone(),
            delivered: preview.contained || queue.is_delivered(&preview.task),
            commits: preview.commits,
            files: preview.stat.files.len(),
            lines_added: preview.stat.lines.added,
            lines_removed: preview.stat.lines.removed,
            clean: preview.conflicts.is_empty(),
            conflicts: preview.conflicts.clone(),
            conflicts_in_order: preview.in_order.clone(),
            conflicts_with: preview
                .against
                .iter()
                .map(|(task, files)| Pair {
                    task: task.to_string(),
                    files: files.clone(),
                })
                .collect(),
            set_aside: queue.aside().get(&preview.task).map(|why| match why {
                AsideWhy::Red { tail, .. } => {
                    let last = tail.lines().rev().find(|line| !line.trim().is_empty());
                    format!(
                        "{} ({})",
                        log_line::aside(why),
                        one_line(last.unwrap_or_default())
                    )
                }
                why => log_line::aside(why),
            }),
            command: format!("git merge --no-ff {branch}"),
        }
    }

    pub(super) fn size(&self) -> String {
        format!(
            "{}, {}, +{} -{}",
            plural(self.commits, "commit"),
            plural(self.files, "file"),
            self.lines_added,
            self.lines_removed
        )
    }

    pub(super) fn text(&self) -> String {
        let size = self.size();
        let mut text = if self.delivered {
            format!("  = {}: delivered already\n", self.task)
        } else if !self.conflicts.is_empty() {
            format!(
                "  ! {}: conflicts in {} ({size})\n      {}\n",
                self.task,
                self.conflicts.join(", "),
                self.command
            )
        } else if !self.conflicts_in_order.is_empty() {
            format!(
                "  ! {}: conflicts with what comes before it in {} ({size})\n      {}\n",
                self.task,
                self.conflicts_in_order.join(", "),
                self.command
            )
        } else {
            format!(
                "  + {}: merges cleanly ({size})\n      {}\n",
                self.task, self.command
            )
        };
        for pair in &self.conflicts_with {
            text.push_str(&format!(
                "      conflicts with {} in {}\n",
                pair.task,
                pair.files.join(", ")
            ));
        }
        if let Some(why) = &self.set_aside {
            text.push_str(&format!("      was set aside: {why}\n"));
        }
        text
    }
}
