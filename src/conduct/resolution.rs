//! What the instance that resolves a conflict is told. Pure text.

use std::fmt::Write as _;

use crate::core::id::listed;
use crate::core::plan::Task;
use crate::core::record::Resolution;
use crate::format::launch_file::Merging;

use super::prompt::clip;

/// Longest difference of one side that is shown, in characters.
const LONG_DIFF: usize = 12_000;

/// Manifests, and the files that tools make from them.
const GENERATED: &[(&str, &[&str])] = &[
    ("Cargo.toml", &["Cargo.lock"]),
    (
        "package.json",
        &[
            "package-lock.json",
            "npm-shrinkwrap.json",
            "yarn.lock",
            "pnpm-lock.yaml",
            "bun.lock",
        ],
    ),
    ("pnpm-workspace.yaml", &["pnpm-lock.yaml"]),
    ("pyproject.toml", &["uv.lock", "poetry.lock", "pdm.lock"]),
    ("Pipfile", &["Pipfile.lock"]),
    ("go.mod", &["go.sum"]),
    ("Gemfile", &["Gemfile.lock"]),
    ("composer.json", &["composer.lock"]),
    ("mix.exs", &["mix.lock"]),
    ("pubspec.yaml", &["pubspec.lock"]),
    ("flake.nix", &["flake.lock"]),
];

/// One of the finished tasks that meet in a conflict.
#[derive(Debug, Clone)]
pub(super) struct Side<'a> {
    /// The task as it was planned.
    pub(super) task: &'a Task,
    /// What its instance said at the end.
    pub(super) summary: &'a str,
    /// What it changed in the files in conflict.
    pub(super) diff: String,
}

/// A conflict, as the prompt tells it.
#[derive(Debug)]
pub(super) struct Dispute<'a> {
    /// What the merge queue knows.
    pub(super) resolution: &'a Resolution,
    /// What git knows.
    pub(super) merging: &'a Merging,
    /// What git says of each conflict.
    pub(super) kinds: &'a [String],
    /// First the task that is being merged, then those that are merged already.
    pub(super) sides: &'a [Side<'a>],
    /// The command that makes a worktree ready.
    pub(super) setup: Option<&'a str>,
    /// How the attempt before ended.
    pub(super) lesson: Option<&'a str>,
}

/// In one line, for people.
pub(super) fn title(resolution: &Resolution) -> String {
    let mut text = format!("Resolve the conflict of {}", resolution.task);
    if !resolution.with.is_empty() {
        let _ = write!(text, " with {}", listed(&resolution.with));
    }
    text
}

/// The message of the merge that the instance ends.
pub(super) fn commit_message(resolution: &Resolution) -> String {
    let onto = if resolution.with.is_empty() {
        "what was merged before".to_owned()
    } else {
        listed(&resolution.with)
    };
    format!("Merge {} with {onto}", resolution.task)
}

/// Whether a conflict is about where files are, rather than about what is in them.
pub(super) fn is_about_places(kind: &str) -> bool {
    ["rename", "location", "directory", "distinct", "file/"]
        .iter()
        .any(|word| kind.contains(word))
}

/// Files that a tool makes from others which are in conflict: they may change as a whole.
/// `configured` are globs of lock files that the person named.
pub(super) fn generated_beside(files: &[String], configured: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in files {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let known = GENERATED.iter().any(|(_, made)| made.contains(&name));
        if known || configured.contains(&path.as_str()) || configured.contains(&name) {
            found.push(path.clone());
        }
        let plain = configured
            .iter()
            .filter(|glob| !glob.contains(['*', '?', '[']));
        let own = GENERATED.iter().filter(|(manifest, _)| *manifest == name);
        let made: Vec<&str> = own
            .clone()
            .flat_map(|(_, made)| made.iter().copied())
            .collect();
        // A workspace keeps its lock file further up.
        let mut at = Some(folder);
        while let Some(folder) = at {
            for file in &made {
                found.push(join(folder, file));
            }
            at = match folder.rsplit_once('/') {
                Some((above, _)) => Some(above),
                None if folder.is_empty() => None,
                None => Some(""),
            };
        }
        if !made.is_empty() {
            found.extend(plain.map(|path| path.trim_start_matches('/').to_owned()));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// The first message of a resolver's session.
pub(super) fn first_message(dispute: &Dispute<'_>) -> String {
    let resolution = dispute.resolution;
    let task = &resolution.task;
    let theirs = &resolution.theirs;
    let mut text = format!(
        "Your task: {}\n\n{}.\n\nBoth sides are finished and each was checked by itself; git \
         cannot merge them. Your branch holds the results that were merged so far. In your \
         worktree the merge of the result of {task} (commit {theirs}) was begun and stopped at \
         the conflict. Bring this merge to its end, so that both sides keep what they are for.\n",
        resolution.resolver,
        title(resolution),
    );
    if let Some(guidance) = &resolution.guidance {
        let _ = write!(
            text,
            "\nA person who knows of this conflict decided how it is to be resolved. Do it so:\n\
             {}\n",
            clip(guidance.trim())
        );
    }
    text.push_str("\nFiles in conflict:\n");
    let files = if dispute.merging.files.is_empty() {
        &resolution.files
    } else {
        &dispute.merging.files
    };
    for file in files {
        let _ = writeln!(text, "- {file}");
    }
    if !dispute.kinds.is_empty() {
        text.push_str("\nWhat git says of them:\n");
        for kind in dispute.kinds {
            let _ = writeln!(text, "- {kind}");
        }
    }
    for (n, side) in dispute.sides.iter().enumerate() {
        text.push_str(&told(side, n == 0));
    }
    let _ = write!(
        text,
        "\nHow to do it:\n\
         - `git status` shows what is unmerged. Between `<<<<<<<` and `=======` is what was \
         merged before, between `=======` and `>>>>>>>` what {task} brings. `git log --merge -p \
         -- FILE` shows how it came about.\n\
         - Decide each place so that the intent of both tasks holds, not only the text of one. \
         Remove every marker.\n\
         - Change nothing else: no other file, and in these files nothing outside of the \
         places in conflict. Only a lock file may be written anew by its tool when the file \
         that it is made from was in conflict.\n\
         - Then `git add` the files and `git commit --no-edit`: the merge commit keeps both \
         parents, and that is the proof that the merge was brought to its end. Never `git \
         rebase`, `git reset`, `git merge --abort`, `git checkout` of another commit, or a new \
         commit in the place of the merge.\n\
         - Should no merge be under way (`git status` says so), begin it again with `git merge \
         --no-commit --no-ff {theirs}`.\n\
         - When both cannot hold, do not choose for the person. Leave the merge as it is and \
         end your turn with a line `STUCK: ` that says what contradicts what, followed by a \
         line `- ` for each way to resolve it. The answer reaches you here.\n",
    );
    if let Some(setup) = dispute.setup {
        let _ = write!(
            text,
            "\nThe worktree was made ready with `{setup}` while the markers were in the files. If \
             that did not work because of them, run it again when they are gone.\n"
        );
    }
    if let Some(lesson) = dispute.lesson {
        let _ = write!(
            text,
            "\nAn earlier attempt at this conflict did not succeed. What it left is in your \
             worktree; look at it before you begin. It ended so:\n{}\n",
            clip(lesson.trim())
        );
    }
    text
}

fn told(side: &Side<'_>, is_merged_now: bool) -> String {
    let task = side.task;
    let which = if is_merged_now {
        "its result is being merged"
    } else {
        "its result was merged before"
    };
    let mut text = format!(
        "\n## The task {} ({which})\n\nWhat it was told:\n{}\n",
        task.name,
        clip(task.instruction().trim())
    );
    if !task.success_criteria.is_empty() {
        text.push_str("\nIt is done when:\n");
        for criterion in &task.success_criteria {
            let _ = writeln!(text, "- {criterion}");
        }
    }
    let summary = side.summary.trim();
    if !summary.is_empty() {
        let _ = write!(text, "\nIt was summed up so:\n{}\n", clip(summary));
    }
    let diff = side.diff.trim_end();
    if !diff.is_empty() {
        let fence = fence_for(diff);
        let cut = if diff.chars().count() > LONG_DIFF {
            let start: String = diff.chars().take(LONG_DIFF).collect();
            format!("{start}\n[… cut]")
        } else {
            diff.to_owned()
        };
        let _ = write!(
            text,
            "\nWhat it changed in these files:\n{fence}diff\n{cut}\n{fence}\n"
        );
    }
    text
}

/// A fence that the text itself does not hold.
fn fence_for(text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    fence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{Oid, TaskName};
    use crate::core::plan::{Faults, Limits, Plan, TaskDraft, ValidPlan};

    fn plan() -> ValidPlan {
        let draft = |name: &str, prompt: &str| TaskDraft {
            prompt: Some(prompt.into()),
            success_criteria: vec![format!("{name} works")],
            ..TaskDraft::new(name)
        };
        let plan = Plan {
            tasks: vec![draft("one", "Greet loudly"), draft("two", "Greet politely")],
            ..Plan::default()
        };
        plan.validate(&Limits::default(), Faults::default())
            .unwrap()
            .0
    }

    fn resolution() -> Resolution {
        let name = |text: &str| TaskName::parse(text).unwrap();
        let oid = |digit: &str| Oid::parse(&digit.repeat(40)).unwrap();
        Resolution {
            resolver: name("resolve-two"),
            task: name("two"),
            onto: oid("a"),
            theirs: oid("b"),
            merged: vec![name("one")],
            files: vec!["greet.rs".into()],
            with: vec![name("one")],
            partly: None,
            guidance: Some("Politeness first".into()),
        }
    }

    #[test]
    fn the_prompt_tells_both_sides_and_how_to_end_the_merge() {
        let plan = plan();
        let resolution = resolution();
        let merging = Merging {
            theirs: resolution.theirs.clone(),
            tree: resolution.onto.clone(),
            files: vec!["greet.rs".into()],
            generated: Vec::new(),
            moves: false,
        };
        let side = |at: usize, diff: &str| Side {
            task: &plan.tasks()[at],
            summary: "Done as told.",
            diff: diff.into(),
        };
        let sides = [
            side(1, "+hello, please\n"),
            side(0, &"+HELLO```\n".repeat(2_000)),
        ];
        let kinds = ["CONFLICT (content): Merge conflict in greet.rs".to_owned()];
        let text = first_message(&Dispute {
            resolution: &resolution,
            merging: &merging,
            kinds: &kinds,
            sides: &sides,
            setup: Some("make deps"),
            lesson: Some("markers were left"),
        });
        let theirs = resolution.theirs.as_str();
        for words in [
            "Your task: resolve-two",
            "Resolve the conflict of two with one.",
            "Politeness first",
            "- greet.rs\n",
            "CONFLICT (content)",
            "## The task two (its result is being merged)",
            "## The task one (its result was merged before)",
            "Greet loudly",
            "- one works",
            "Done as told.",
            "```diff\n+hello, please\n```",
            "````diff\n+HELLO```\n",
            "[… cut]",
            "git commit --no-edit",
            "STUCK: ",
            "`make deps`",
            "markers were left",
            theirs,
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
        assert!(text.len() < 30_000);
    }

    #[test]
    fn lock_files_beside_manifests_in_conflict_are_known() {
        let of = |files: &[&str], configured: &[&str]| {
            let files: Vec<String> = files.iter().map(|f| (*f).to_owned()).collect();
            generated_beside(&files, configured)
        };
        assert_eq!(
            of(&["crates/a/Cargo.toml"], &[]),
            ["Cargo.lock", "crates/Cargo.lock", "crates/a/Cargo.lock"]
        );
        assert_eq!(
            of(&["Cargo.toml"], &["own.lock"]),
            ["Cargo.lock", "own.lock"]
        );
        assert_eq!(of(&["web/yarn.lock"], &[]), ["web/yarn.lock"]);
        assert_eq!(of(&["x/own.lock"], &["own.lock"]), ["x/own.lock"]);
        assert_eq!(of(&["src/main.rs"], &["own.lock"]), Vec::<String>::new());
    }

    #[test]
    fn conflicts_about_places_are_told_from_those_about_contents() {
        for (kind, is) in [
            ("CONFLICT (contents)", false),
            ("CONFLICT (binary)", false),
            ("CONFLICT (modify/delete)", false),
            ("CONFLICT (rename/delete)", true),
            ("CONFLICT (file location)", true),
            ("CONFLICT (file/directory)", true),
            ("CONFLICT (distinct modes)", true),
        ] {
            assert_eq!(is_about_places(kind), is, "{kind}");
        }
    }
}
