//! Checks a plan and reports every fault at once.

use std::collections::HashMap;

use super::text::quoted;
use super::{
    Emergency, Faults, FilePattern, Graph, Limits, Note, OverlapPolicy, Plan, Priority, Sequenced,
    Task, TaskDraft, TaskIx, ValidPlan, nearest, suggest_name, urgency,
};
use crate::core::id::TaskName;
use crate::core::overlap;

mod fields;

/// Looking for the nearest name is only worth its time for so many wrong ones.
const MAX_SUGGESTIONS: usize = 50;

impl Plan {
    /// Checks the plan. `found` holds the faults that reading it has found already; they
    /// are reported together with the others.
    ///
    /// # Errors
    /// Every fault, in the order of the input, each with its place and a remedy.
    pub fn validate(
        &self,
        limits: &Limits,
        found: Faults,
    ) -> Result<(ValidPlan, Vec<Note>), Faults> {
        let mut check = Check {
            limits,
            faults: found,
            notes: Vec::new(),
            suggestions: MAX_SUGGESTIONS,
        };
        let request = check.text("request", self.request.as_deref(), limits.max_text_bytes);
        check.count(self.tasks.len());
        let tasks: Vec<Option<Task>> = self
            .tasks
            .iter()
            .enumerate()
            .map(|(at, draft)| check.task(at, draft))
            .collect();
        let by_name = check.names(&self.tasks);
        let declared = check.dependencies(&self.tasks, &by_name);
        let given = check.given_sequence(self, &by_name);
        check.untold(&self.tasks);

        let edges = given.iter().map(|edge| (edge.before, edge.after));
        let graph = Graph::new(self.tasks.len(), declared.edges().chain(edges));
        check.cycles(&graph, &declared, &self.tasks);
        let sequenced = check.overlaps(&graph, &tasks, &self.tasks);

        let all: Option<Vec<Task>> = tasks.into_iter().collect();
        let Some(tasks) = all.filter(|_| check.faults.is_empty()) else {
            check.faults.sort();
            return Err(check.faults);
        };
        let mut sequenced = [given, sequenced].concat();
        sequenced.sort_by_key(|edge| (edge.after, edge.before));
        Ok((
            build(request, tasks, declared, sequenced, by_name),
            check.notes,
        ))
    }
}

fn build(
    request: Option<String>,
    tasks: Vec<Task>,
    declared: Graph,
    sequenced: Vec<Sequenced>,
    by_name: HashMap<String, TaskIx>,
) -> ValidPlan {
    let added = sequenced.iter().map(|edge| (edge.before, edge.after));
    let graph = Graph::new(tasks.len(), declared.edges().chain(added));
    let given: Vec<u64> = tasks
        .iter()
        .filter_map(|task| task.estimated_minutes.map(u64::from))
        .collect();
    let mean = match given.len() as u64 {
        0 => 1,
        count => given.iter().sum::<u64>().div_ceil(count),
    };
    let chains = graph.remaining_chains(|ix| {
        let minutes = tasks[ix.index()].estimated_minutes;
        minutes.map_or(mean, u64::from)
    });
    let critical: Vec<TaskIx> = graph
        .tasks()
        .filter(|ix| tasks[ix.index()].priority == Priority::Critical)
        .collect();
    let words = request
        .as_deref()
        .map(urgency::incident_words)
        .unwrap_or_default();
    let emergency =
        (!critical.is_empty() || !words.is_empty()).then_some(Emergency { critical, words });
    ValidPlan {
        request,
        phases: graph.phases(),
        order: graph.order(),
        tasks,
        declared,
        graph,
        sequenced,
        by_name,
        chains,
        emergency,
    }
}

/// The form in which names are compared, usable or not.
fn key(name: &str) -> String {
    name.split_whitespace()
        .collect::<Vec<_>>()
        .join("-")
        .to_ascii_lowercase()
}

struct Check<'a> {
    limits: &'a Limits,
    faults: Faults,
    notes: Vec<Note>,
    suggestions: usize,
}

impl Check<'_> {
    fn note(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.notes.push(Note::new(place, message));
    }

    fn count(&mut self, tasks: usize) {
        let limit = self.limits.max_tasks;
        if tasks == 0 {
            self.faults.add(
                "tasks",
                "There is no task",
                "Add at least one: {\"tasks\": [{\"name\": \"…\"}]}",
            );
        } else if tasks > limit {
            self.faults.add(
                "plan",
                format!("There are {tasks} tasks; more than {limit} make no sense in one run"),
                "Join small tasks, split the plan into several runs, or raise the limit",
            );
        } else if tasks > self.limits.many_tasks {
            self.note("tasks", many_tasks_hint(tasks));
        } else if tasks == 1 {
            self.note("tasks", one_task_hint());
        }
    }

    /// All names by their folded form, the unusable ones too, so that a dependency on a
    /// task whose name is at fault is not another fault.
    fn names(&mut self, tasks: &[TaskDraft]) -> HashMap<String, TaskIx> {
        let mut by_name = HashMap::with_capacity(tasks.len());
        let mut repeated = Vec::new();
        for (at, draft) in tasks.iter().enumerate() {
            let key = key(&draft.name);
            if key.is_empty() {
                continue;
            }
            match by_name.get(&key) {
                Some(first) => repeated.push((at, *first, key)),
                None => {
                    by_name.insert(key, TaskIx::at(at));
                }
            }
        }
        for (at, first, key) in repeated {
            let (mine, theirs) = (&tasks[at].name, &tasks[first.index()].name);
            let place = first.index();
            let problem = if mine == theirs {
                format!("{} is the name of tasks[{place}] too", quoted(mine))
            } else {
                format!(
                    "{} and {} (tasks[{place}]) are one name: blanks become '-', and some file \
                     systems ignore case",
                    quoted(mine),
                    quoted(theirs)
                )
            };
            let free = (2..)
                .map(|n| format!("{key}-{n}"))
                .find(|name| !by_name.contains_key(name));
            let free = free.as_deref().and_then(suggest_name);
            let remedy = free.map_or_else(
                || "Give each task a name of its own".to_owned(),
                |name| format!("Give it a name of its own, such as {:?}", name.as_str()),
            );
            self.faults
                .add(format!("tasks[{at}].name"), problem, remedy);
        }
        by_name
    }

    /// The graph of the declared dependencies.
    fn dependencies(&mut self, tasks: &[TaskDraft], by_name: &HashMap<String, TaskIx>) -> Graph {
        let mut edges = Vec::new();
        for (at, draft) in tasks.iter().enumerate() {
            let ix = TaskIx::at(at);
            let mut seen = std::collections::HashSet::new();
            let mut repeated = None;
            for (n, dependency) in draft.dependencies.iter().enumerate() {
                let place = || format!("tasks[{at}].dependencies[{n}]");
                match by_name.get(&key(dependency)) {
                    // A repeated name belongs to its first owner; that is reported already.
                    Some(dep) if *dep == ix => self.faults.add(
                        place(),
                        format!("{} waits for itself", quoted(dependency)),
                        "Remove this dependency",
                    ),
                    Some(dep) => {
                        if !seen.insert(*dep) {
                            repeated.get_or_insert(n);
                        }
                        edges.push((*dep, ix));
                    }
                    None => {
                        let remedy = self.unknown_task(dependency, at, tasks);
                        self.faults.add(
                            place(),
                            format!("There is no task {}", quoted(dependency)),
                            remedy,
                        );
                    }
                }
            }
            if let Some(n) = repeated {
                self.note(
                    format!("tasks[{at}].dependencies[{n}]"),
                    "this dependency is there already; it counts once",
                );
            }
        }
        Graph::new(tasks.len(), edges)
    }

    fn unknown_task(&mut self, wrong: &str, at: usize, tasks: &[TaskDraft]) -> String {
        let near = if self.suggestions > 0 && !self.faults.is_full() {
            self.suggestions -= 1;
            let others = tasks.iter().enumerate().filter(|(other, _)| *other != at);
            nearest(wrong, others.map(|(_, task)| task.name.as_str()))
        } else {
            None
        };
        match near {
            Some(near) => format!(
                "Did you mean {}? Otherwise add that task or remove the dependency",
                quoted(near)
            ),
            None => "Add that task or remove the dependency".to_owned(),
        }
    }

    /// The edges that an earlier validation added.
    fn given_sequence(&mut self, plan: &Plan, by_name: &HashMap<String, TaskIx>) -> Vec<Sequenced> {
        let mut given: Vec<Sequenced> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (n, edge) in plan.sequenced.iter().enumerate() {
            let mut find = |side: &str, name: &str| {
                let ix = by_name.get(&key(name)).copied();
                if ix.is_none() {
                    self.faults.add(
                        format!("sequenced[{n}].{side}"),
                        format!("There is no task {}", quoted(name)),
                        "Remove this entry; overlaps are found anew",
                    );
                }
                ix
            };
            let before = find("before", &edge.before);
            let after = find("after", &edge.after);
            let (Some(before), Some(after)) = (before, after) else {
                continue;
            };
            if before == after {
                self.faults.add(
                    format!("sequenced[{n}]"),
                    format!("{} waits for itself", quoted(&edge.before)),
                    "Remove this entry",
                );
            } else if seen.insert((before, after)) {
                given.push(Sequenced {
                    before,
                    after,
                    because: edge.because.clone(),
                });
            }
        }
        given
    }

    fn cycles(&mut self, graph: &Graph, declared: &Graph, tasks: &[TaskDraft]) {
        const SHOWN: usize = 12;
        for cycle in graph.cycles() {
            let [first, second, ..] = cycle[..] else {
                continue;
            };
            let mut names: Vec<String> = cycle
                .iter()
                .take(SHOWN)
                .map(|ix| {
                    let name = &tasks[ix.index()].name;
                    TaskName::parse(name).map_or_else(|_| quoted(name), |name| name.to_string())
                })
                .collect();
            if cycle.len() > SHOWN {
                names.push(format!("… ({} more)", cycle.len() - SHOWN));
            }
            names.extend(names.first().cloned());
            let ring = cycle.iter().zip(cycle.iter().cycle().skip(1));
            let added = ring
                .clone()
                .any(|(ix, need)| !declared.deps(*ix).contains(need));
            let at = first.index();
            let needed = tasks[at]
                .dependencies
                .iter()
                .position(|name| key(name) == key(&tasks[second.index()].name));
            let place = match needed {
                Some(n) => format!("tasks[{at}].dependencies[{n}]"),
                None => format!("tasks[{at}].dependencies"),
            };
            let remedy = if added {
                "Remove one of these dependencies, or the entries of \"sequenced\", which are \
                 found anew"
            } else {
                "Remove one of these dependencies, or join the tasks into one"
            };
            self.faults.add(
                place,
                format!(
                    "These tasks wait for each other in a circle: {}",
                    names.join(" → ")
                ),
                remedy,
            );
        }
    }

    /// The edges that overlapping files ask for; when that is refused, faults instead.
    fn overlaps(
        &mut self,
        graph: &Graph,
        tasks: &[Option<Task>],
        drafts: &[TaskDraft],
    ) -> Vec<Sequenced> {
        let mut files: Vec<&[FilePattern]> = vec![&[]; tasks.len()];
        // What is on or behind a circle has no time of running; the circle is reported.
        for ix in graph.order() {
            if let Some(task) = &tasks[ix.index()] {
                files[ix.index()] = &task.files;
            }
        }
        let urgency = |ix: TaskIx| tasks[ix.index()].as_ref().map(|task| task.priority);
        if self.limits.overlap == OverlapPolicy::Sequence {
            // With faults there will be no plan, so that nobody needs the edges.
            if !self.faults.is_empty() {
                return Vec::new();
            }
            return overlap::sequence(graph, urgency, &files);
        }
        for pair in overlap::concurrent_overlaps(graph, urgency, &files) {
            let (before, after) = (
                &drafts[pair.before.index()].name,
                &drafts[pair.after.index()].name,
            );
            let globs = pair.because.first();
            let which = globs.map_or_else(String::new, |(one, other)| {
                if one == other {
                    format!(": {}", quoted(one))
                } else {
                    format!(": {} meets {}", quoted(other), quoted(one))
                }
            });
            let place = globs.and_then(|(_, other)| {
                let files = &drafts[pair.after.index()].files;
                files.iter().position(|glob| glob == other)
            });
            self.faults.add_beside(
                format!("tasks[{}].files[{}]", pair.after.index(), place.unwrap_or(0)),
                format!("{} and {} may run at the same time and touch the same files{which}", quoted(after), quoted(before)),
                format!("Let one depend on the other, separate their files, or leave out --strict to have {} wait", quoted(after)),
            );
        }
        Vec::new()
    }

    fn untold(&mut self, tasks: &[TaskDraft]) {
        let blank =
            |text: &Option<String>| text.as_deref().is_none_or(|text| text.trim().is_empty());
        let names: Vec<&str> = tasks
            .iter()
            .filter(|task| blank(&task.prompt) && blank(&task.description))
            .map(|task| task.name.as_str())
            .collect();
        let (shown, rest) = names.split_at(names.len().min(6));
        if shown.is_empty() {
            return;
        }
        let more = if rest.is_empty() {
            String::new()
        } else {
            format!(" and {} more", rest.len())
        };
        self.note(
            "tasks",
            format!(
                "without prompt and description the name is all that an instance is told: {}{more}",
                shown.join(", ")
            ),
        );
    }
}

/// What a plan of one task makes one think of.
pub(crate) fn one_task_hint() -> &'static str {
    "there is only one task: one ordinary session is enough for it"
}

/// What a plan of so many tasks makes one think of.
pub(crate) fn many_tasks_hint(tasks: usize) -> String {
    format!("{tasks} tasks are many; fewer and larger ones usually finish sooner")
}
